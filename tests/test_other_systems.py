"""What differs on Windows, as far as it can be tried elsewhere."""

from __future__ import annotations

import errno
import os
import stat
import sys
from typing import TYPE_CHECKING

import pytest

from cdstats.cli import main
from cdstats.io.outputs import write_whole
from cdstats.io.patterns import Pattern

if TYPE_CHECKING:
    from pathlib import Path


def test_either_slash_separates_the_folders_of_a_pattern(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(os, "sep", "\\")
    found = Pattern(r"C:\runs\{model}\{}.png").match("C:/runs/bit/a.png")
    assert found == {"model": "bit", "key": "a"}


def test_elsewhere_a_backslash_belongs_to_a_name() -> None:
    assert Pattern(r"runs\{}.png").match("runs/a.png") is None


@pytest.mark.parametrize("platform", ["win32", "linux"])
def test_a_file_is_replaced_whatever_its_permissions(
    platform: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "rows.csv"
    path.write_text("old")
    path.chmod(0o444)
    monkeypatch.setattr(sys, "platform", platform)
    write_whole(path, "new")
    assert path.read_text() == "new"
    is_kept = stat.S_IMODE(path.stat().st_mode) == 0o444
    assert is_kept == (platform != "win32")
    assert [*tmp_path.iterdir()] == [path]


@pytest.mark.parametrize(
    ("platform", "number", "code"),
    [
        ("linux", errno.EPIPE, main.UNREAD),
        ("win32", errno.EINVAL, main.UNREAD),
        ("linux", errno.EINVAL, 1),
    ],
)
def test_a_reader_that_ends_early_is_no_failure(
    platform: str, number: int, code: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "platform", platform)
    monkeypatch.setattr(os, "dup2", lambda *_: None)
    assert main._report_unprinted(OSError(number, "told")) == code
