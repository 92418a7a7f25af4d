"""Pipes with the names of masks, names that are none, and rows without end."""

from __future__ import annotations

import os
import tracemalloc
from typing import TYPE_CHECKING

import numpy as np
import pytest
from helpers import run
from PIL import Image

from cdstats.core.errors import DataError
from cdstats.io.counting import Task, count_file
from cdstats.io.predictions import open_predictions

if TYPE_CHECKING:
    from pathlib import Path

needs_pipes = pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="needs named pipes")
RULE = ("--changed", ">0", "--unchanged", "0")


def mask(path: Path) -> None:
    path.parent.mkdir(exist_ok=True, parents=True)
    Image.fromarray(np.eye(8, dtype=np.uint8) * 255).save(path)


@needs_pipes
@pytest.mark.parametrize("suffix", ["png", "jpg", "tif", "npy", "npz", "bmp"])
@pytest.mark.parametrize("command", ["ratio", "audit", "weights"])
def test_a_pipe_among_masks_is_a_failed_row(
    tmp_path: Path, command: str, suffix: str
) -> None:
    mask(tmp_path / "a.png")
    os.mkfifo(tmp_path / f"b.{suffix}")
    result = run(command, tmp_path, *RULE)
    assert result.code == 1
    assert "expected a regular file" in result.err + result.out


@needs_pipes
@pytest.mark.parametrize("suffix", ["png", "npy", "pt"])
def test_a_pipe_among_predictions_is_a_failed_row(tmp_path: Path, suffix: str) -> None:
    for name in ("a", "b"):
        mask(tmp_path / "target" / f"{name}.png")
    mask(tmp_path / "pred" / "a.png")
    os.mkfifo(tmp_path / "pred" / f"b.{suffix}")
    folders = ("--pred", tmp_path / "pred", "--target", tmp_path / "target")
    result = run("loss", *folders, *RULE)
    assert result.code == 1
    assert f"b.{suffix}: is a pipe or a device; expected a regular file" in result.err


@needs_pipes
def test_a_pipe_among_the_images_beside_is_no_image_to_compare(tmp_path: Path) -> None:
    mask(tmp_path / "label" / "a.png")
    (tmp_path / "A").mkdir()
    os.mkfifo(tmp_path / "A" / "a.png")
    assert run("audit", tmp_path, *RULE).code == 0


def test_a_link_to_a_mask_is_read(tmp_path: Path) -> None:
    mask(tmp_path / "a.png")
    (tmp_path / "b.png").symlink_to(tmp_path / "a.png")
    (one,) = count_file(Task(str(tmp_path / "b.png")))
    assert one.reason == ""


def test_a_list_with_null_characters_is_refused(tmp_path: Path) -> None:
    names = b"a.png\0b.png\n"
    (tmp_path / "list.txt").write_bytes(names)
    for result in (
        run("ratio", "-", stdin=names.decode()),
        run("ratio", f"@{tmp_path}/list.txt"),
    ):
        assert result.code == 1
        assert "has a null character" in result.err


@pytest.mark.parametrize("kind", ["uint8", "float64"])
def test_an_array_of_one_endless_row_is_refused(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "a.npy"
    np.lib.format.open_memmap(path, "w+", np.dtype(kind), (1, (1 << 26) + 1))
    tracemalloc.start()
    try:
        (one,) = count_file(Task(str(path)))
        assert "rows of 67,108,865 pixels" in one.reason
        with pytest.raises(DataError, match="rows of 67,108,865 pixels"):
            open_predictions(str(path), "", [None])
        assert tracemalloc.get_traced_memory()[1] < 1_000_000
    finally:
        tracemalloc.stop()
