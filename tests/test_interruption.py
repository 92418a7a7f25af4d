"""Runs that are killed, and disks and folders that do not take what is written.

The long mode is `python -m tests.interruption --kills 50`.
"""

from __future__ import annotations

import os
import random
import subprocess
import sys
import threading
import time
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from helpers import Done, run
from interruption.killing import Tally, damage_of, kill_often
from interruption.scene import COMMANDS, RULE, write_masks, write_predictions
from PIL import Image

from cdstats.io.discovery import find_masks
from cdstats.io.pairing import find_pairs

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

PROGRAM = "import sys; from cdstats.cli.main import run; sys.exit(run())"
SMALL = 800
"""Masks whose counts are more than a tiny disk holds."""


def started(code: str, *arguments: object, **environment: str) -> Done:
    """Run some code in a process of its own, as a command with arguments."""
    done = subprocess.run(
        [sys.executable, "-B", "-c", code, *map(str, arguments)],
        capture_output=True,
        check=False,
        env={**os.environ, **environment},
        text=True,
        timeout=120,
    )
    assert "Traceback" not in done.stderr
    return Done(done.returncode, done.stdout, done.stderr)


@pytest.fixture(scope="module")
def scene(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("scene")
    write_masks(folder, 60)
    return folder


@pytest.fixture(scope="module")
def many(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Small masks, so many that their counts fill a tiny disk."""
    folder = tmp_path_factory.mktemp("many")
    for number in range(40):
        values = np.zeros((10, 10), np.uint8)
        values.flat[: number + 1] = 255
        Image.fromarray(values).save(folder / f"{number}.png")
    for number in range(40, SMALL):
        (folder / f"{number}.png").hardlink_to(folder / f"{number % 40}.png")
    return folder


@pytest.fixture
def tiny_disk(tmp_path: Path) -> Iterator[Path]:
    """A disk of 96 kB."""
    yield from mounted(tmp_path, "size=96k")


def mounted(tmp_path: Path, options: str) -> Iterator[Path]:
    folder = tmp_path / "disk"
    folder.mkdir()
    line = ["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(folder)]
    try:
        done = subprocess.run(line, capture_output=True, check=False)
    except OSError:
        pytest.skip("there is no `mount`")
    if done.returncode:
        pytest.skip("mounting a disk is not allowed")
    yield folder
    subprocess.run(["umount", str(folder)], check=True)


# Killed.


@pytest.mark.skipif(sys.platform == "win32", reason="needs SIGKILL")
@pytest.mark.parametrize(
    "called", [pytest.param("ratio", marks=pytest.mark.full), "ratio, workers"]
)
def test_a_killed_run_leaves_whole_files_and_the_next_one_gives_the_same(
    called: str, scene: Path, tmp_path: Path
) -> None:
    tally = kill_often(COMMANDS[called], scene, tmp_path / "out", kills=2, seed=11)
    assert tally.broken == []
    assert tally.kills == 2
    assert tally.resumed == 2


def test_a_result_takes_the_place_of_the_old_file_in_one_step(
    scene: Path, tmp_path: Path
) -> None:
    """What still has the old file open, or a link to it, sees no part of the new."""
    table, link = tmp_path / "images.csv", tmp_path / "link.csv"
    table.write_text("old")
    link.hardlink_to(table)
    assert run("ratio", scene / "masks", "--csv", table).code == 0
    assert (link.read_text(), table.read_text()[:7]) == ("old", "dataset")


def test_a_result_that_differs_is_noticed(tmp_path: Path) -> None:
    from interruption.killing import Result, _see_what_is_left

    truth = Result(0, b"", b"", {"a": b"new"})
    tally = Tally()
    for found in ({}, {"a": b"old"}, {"a": b"new"}, {"a": b"ne"}):
        left = Result(-9, b"", b"", found)
        _see_what_is_left(tally, left, truth, b"old" if found else None, "here")
    assert tally.left == {"absent": 1, "old": 1, "new": 1}
    assert tally.broken == ["here: a is neither the old one nor the new"]
    (tmp_path / "c").write_bytes(b"SQLite format 3\0" + bytes(4096))
    assert damage_of(tmp_path / "c")
    assert not damage_of(tmp_path / "none")


# Full.


def fill(path: Path) -> None:
    """Write to a file until the disk takes no more."""
    with path.open("wb", buffering=0) as file, suppress(OSError):
        while file.write(bytes(512)):
            pass


@pytest.mark.parametrize(
    "rule", [pytest.param((), marks=pytest.mark.full, id="found"), RULE]
)
def test_a_cache_on_a_full_disk_ends_the_run_and_is_gone_on_with(
    rule: tuple[str, ...], many: Path, tiny_disk: Path, tmp_path: Path
) -> None:
    cache = tiny_disk / "counts.sqlite"
    table = tmp_path / "images.csv"
    line = ["ratio", many, *rule, "--format", "json"]
    kept = ["--cache", cache, "--csv", table]
    done = run(*line, *kept)
    assert (done.code, done.out.strip()) == (1, "")
    assert f"error: {cache}: cannot be used: database or disk is full" in done.err
    assert not table.exists()
    assert damage_of(cache) == ""
    remount = ["mount", "-o", "remount,size=16m", str(tiny_disk)]
    subprocess.run(remount, check=True)
    done, usual = run(*line, *kept), run(*line)
    assert (done.code, done.out) == (usual.code, usual.out)


def test_a_full_temporary_disk_is_one_line(tiny_disk: Path, tmp_path: Path) -> None:
    folder, name = tmp_path / "m", str(tiny_disk)
    folder.mkdir()
    every_value = np.arange(256, dtype=np.uint8).reshape(16, 16)
    Image.fromarray(every_value).save(folder / "0.png")
    for number in range(1, 2_000):
        (folder / f"{number}.png").hardlink_to(folder / "0.png")
    line = "ratio", folder, "--jobs", 1
    done = started(PROGRAM, *line, TMPDIR=name, SQLITE_TMPDIR=name)
    assert (done.code, done.out, done.err.count("\n")) == (1, "", 1)
    told = "the temporary file of counts: cannot be used: database or disk is"
    assert told in done.err


@pytest.mark.skipif(sys.platform == "win32", reason="needs limits of POSIX")
@pytest.mark.parametrize(
    "kilobytes", [8, *(pytest.param(n, marks=pytest.mark.full) for n in (1, 40, 120))]
)
def test_a_limit_on_the_size_of_files_is_told_and_lost_is_nothing(
    kilobytes: int, many: Path, tmp_path: Path
) -> None:
    cache, table = tmp_path / "counts.sqlite", tmp_path / "images.csv"
    limited = (
        "import resource\n"
        f"limit = {kilobytes * 1024}\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))\n"
    )
    line = ["ratio", many, "--cache", cache]
    done = started(limited + PROGRAM, *line, "--csv", table, "--jobs", 1)
    assert done.code == 1, done.err
    assert "error: " in done.err
    kept = {cache.name + end for end in ("", "-wal", "-shm")}
    assert {path.name for path in tmp_path.iterdir()} <= kept
    assert damage_of(cache) == ""
    done, usual = (run(*one, "--format", "json") for one in (line, line[:2]))
    assert (done.code, done.out) == (usual.code, usual.out)


# Read-only.


def test_a_cache_in_a_folder_that_is_read_only_is_told(
    scene: Path, tmp_path: Path
) -> None:
    for disk in mounted(tmp_path, "size=1m"):
        subprocess.run(["mount", "-o", "remount,ro", str(disk)], check=True)
        done = run("ratio", scene / "masks", "--cache", disk / "c.sqlite")
        assert (done.code, done.out) == (1, "")
        assert done.err.startswith(f"error: {disk / 'c.sqlite'}: cannot be used: ")
        assert list(disk.iterdir()) == []


# Full or read-only, for every command that writes.


@pytest.fixture(scope="module")
def pairs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Masks, `few`, and the predictions `preds` of them."""
    folder = tmp_path_factory.mktemp("pairs")
    write_predictions(folder, 4)
    return folder


def writing(command: str, pairs: Path, disk: Path) -> tuple[list[str], Path]:
    """A command line that writes to a disk, and the file that it writes first."""
    mask, pred = str(pairs / "few"), str(pairs / "preds")
    out = disk / "out.csv"
    rows = ["--csv", str(out)]
    match command:
        case "ratio":
            return ["ratio", mask, *rows], out
        case "loss":
            return ["loss", "--pred", pred, "--target", mask, *rows], out
        case "compare":
            both = [f"--pred={model}={pred}" for model in "ab"]
            return ["compare", *both, "--target", mask, "--resamples=9", *rows], out
        case "report":
            page = disk / "page.html"
            return ["report", "--masks", mask, "-o", str(page)], page
    figures = ["plot", "--masks", mask, "-o", str(disk), "--format", "svg"]
    return [*figures, "--only", "distribution"], disk / "distribution.svg"


@pytest.mark.parametrize("command", ["ratio", "loss", "compare", "report", "plot"])
@pytest.mark.parametrize("state", ["full", "read-only"])
def test_a_disk_that_takes_nothing_keeps_the_old_file_and_is_told(
    state: str, command: str, pairs: Path, tmp_path: Path
) -> None:
    for disk in mounted(tmp_path, "size=96k"):
        line, out = writing(command, pairs, disk)
        out.write_bytes(b"old")
        if state == "full":
            fill(disk / "more")
        else:
            subprocess.run(["mount", "-o", "remount,ro", str(disk)], check=True)
        before = {path.name for path in disk.iterdir()}
        done = run(*line)
        assert done.code == 1
        reason = {
            "full": "no space left on device",
            "read-only": "read-only file system",
        }
        assert f"error: {out}: cannot be written: {reason[state]}" in done.err
        assert out.read_bytes() == b"old"
        assert {path.name for path in disk.iterdir()} == before


# Files that come and go.


def count(*arguments: str | Path) -> tuple[int, list[dict[str, object]]]:
    done = run("ratio", *arguments, "--format", "json")
    return done.code, done.data()["images"]


def test_files_rewritten_during_the_scan_are_one_or_the_other_or_failed(
    tmp_path: Path,
) -> None:
    """Files are exchanged whole while runs read them; a cache keeps no mixture."""
    folder, cache = tmp_path / "m", tmp_path / "c.sqlite"
    folder.mkdir()
    changed = {3, 60}

    def write(number: int, pixels: int) -> None:
        values = np.zeros((10, 10), np.uint8)
        values.flat[:pixels] = 255
        part = tmp_path / f"part{threading.get_ident()}.png"
        Image.fromarray(values).save(part)
        part.replace(folder / f"{number}.png")

    for number in range(30):
        write(number, 3)
    ended = threading.Event()

    def rewrite() -> None:
        choice = random.Random(2)  # noqa: S311
        while not ended.is_set():
            write(choice.randrange(30), choice.choice(sorted(changed)))
            time.sleep(0.0005)

    writer = threading.Thread(target=rewrite)
    writer.start()
    try:
        for _ in range(8):
            code, rows = count(folder, "--cache", cache, *RULE)
            assert (code, len(rows)) == (0, 30)
            assert {row["changed"] for row in rows} <= changed
    finally:
        ended.set()
        writer.join()
    assert count(folder, "--cache", cache, *RULE) == count(folder, *RULE)


LEFT = {
    "audit": ("regions", "values", "binarisations", "duplicates"),
    "weights": ("changed", "unchanged", "images", "schemes", "recommendation"),
}
"""What is the same without a file as if it had never been there."""


@pytest.mark.parametrize(
    ("command", "place", "find"),
    [
        ("ratio", "scan.ratio.find_masks", find_masks),
        ("audit", "scan.audit.find_masks", find_masks),
        ("weights", "scan.ratio.find_masks", find_masks),
        ("loss", "score.loss.find_pairs", find_pairs),
    ],
)
def test_files_that_vanish_once_they_were_found_fail_alone(
    command: str, place: str, find: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_predictions(tmp_path, 6)
    gone, line = [tmp_path / "few/2.png"], [command, tmp_path / "few"]
    if command == "loss":
        gone.append(tmp_path / "preds/4.npy")
        line = [command, "--pred", tmp_path / "preds", "--target", tmp_path / "few"]
    truth = run(*line, "--format", "json").data()

    def find_and_lose(*given: object, **named: object) -> object:
        found = find(*given, **named)
        for path in gone:
            path.unlink()
        return found

    monkeypatch.setattr(f"cdstats.{place}", find_and_lose)
    done = run(*line, "--format", "json")
    monkeypatch.undo()
    assert done.code == 1
    assert "not found" in done.out + done.err
    found, alone = done.data(), run(*line, "--format", "json").data()
    if command == "weights":
        (found,), (alone,) = found["datasets"], alone["datasets"]
    for name in LEFT.get(command, ()):
        assert found[name] == alone[name], name
    if command in LEFT:
        return
    lost = {int(path.stem) for path in gone}
    for number, (row, before) in enumerate(
        zip(found["images"], truth["images"], strict=True)
    ):
        if number in lost:
            assert (row["status"], row["changed"]) == ("failed", None)
            assert "not found" in row["reason"]
        else:
            assert row == before
