"""What nobody foresaw in one file: a row of that file, in every command."""

import json
import os
import sqlite3
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

import cdstats
from cdstats.cli import app
from cdstats.core.errors import NO_MEMORY, REPORT_HINT, DataError, one_file
from cdstats.io import png

BAD = "bad.png"
REASON = f"unexpected ZeroDivisionError: of nothing. {REPORT_HINT}"


@pytest.fixture
def folders(tmp_path: Path) -> Path:
    """Masks ``m`` and predictions ``p``, one of each called ``bad.png``."""
    pixels = np.zeros((8, 8), np.uint8)
    pixels[0] = 255
    for folder in ("m", "p"):
        (tmp_path / folder).mkdir()
        for name in ("a.png", BAD, "c.png"):
            Image.fromarray(pixels).save(tmp_path / folder / name)
    return tmp_path


@pytest.fixture
def broken(monkeypatch: pytest.MonkeyPatch) -> None:
    """A reader of PNG files with a bug."""
    usual = png.open_images

    def open_images(file: Any) -> Any:
        if file.path.name == BAD:
            raise ZeroDivisionError("of nothing")
        return usual(file)

    monkeypatch.setattr(png, "open_images", open_images)


@pytest.mark.unexpected
@pytest.mark.usefixtures("broken")
def test_an_exception_of_a_reader_is_the_row_of_its_file(folders: Path) -> None:
    masks, predictions = folders / "m", folders / "p"
    rows = cdstats.ratio(masks).images
    assert [(row.path, row.reason) for row in rows if row.status != "ok"] == [
        (BAD, REASON)
    ]
    seen = cdstats.audit(masks).images
    assert [row.reason for row in seen if row.status != "ok"] == [REASON]
    scores = cdstats.loss(predictions, masks).images
    assert [row.status for row in scores] == ["ok", "failed", "ok"]
    assert scores[1].reason == f"mask {BAD}: {REASON}"


@pytest.mark.unexpected
@pytest.mark.usefixtures("broken")
@pytest.mark.parametrize(
    "command",
    [
        "ratio m",
        "weights m",
        "audit m",
        "loss --pred p --target m",
        "compare --pred a=p --pred b=p --target m",
        "report --masks m -o r.html",
        "plot --masks m -o figures --only distribution",
    ],
)
def test_every_command_goes_on(
    folders: Path, command: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(folders)
    done = CliRunner().invoke(app, command.split())
    assert isinstance(done.exception, SystemExit)
    assert done.exit_code == 1, done.stderr
    report = folders / "r.html"
    told = done.stdout + done.stderr + (report.read_text() if report.exists() else "")
    assert "ZeroDivisionError" in " ".join(told.split())


def test_exceptions_while_blocks_are_read_or_counted_stay_with_the_file(
    folders: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def short(*_: Any, **__: Any) -> Any:
        raise MemoryError

    monkeypatch.setattr("cdstats.io.counting.count_values", short)
    rows = cdstats.ratio(folders / "m").images
    assert {row.reason for row in rows} == {NO_MEMORY}


@pytest.mark.unexpected
def test_what_a_user_can_fix_is_left_as_it_is() -> None:
    for error in (DataError("is damaged"), cdstats.UsageError("no such preset")):
        with pytest.raises(type(error)) as caught, one_file():
            raise error
        assert caught.value is error
    with pytest.raises(DataError, match="cannot be read"), one_file():
        raise PermissionError
    said = r"^unexpected KeyError: 'a b'\. This is a bug"
    with pytest.raises(DataError, match=said), one_file():
        raise KeyError("a b")


@pytest.mark.parametrize("year", [2263, 5000, 1800])
def test_a_time_of_any_year_is_no_problem(folders: Path, year: int) -> None:
    seconds = (year - 1970) * 31_556_952
    try:
        os.utime(folders / "m" / BAD, (seconds, seconds))
    except OverflowError:
        pytest.skip("the system knows no such time")
    cache = folders / "counts.sqlite"
    for _ in range(2):
        assert [row.status for row in cdstats.ratio(folders / "m").images] == ["ok"] * 3
        rows = cdstats.ratio(folders / "m", cache=cache).images
        assert [row.changed for row in rows] == [8] * 3


# Caches made by others, whose checksums are right.


def crafted(folder: Path, change: Any, finished: object = 1) -> Path:
    """A cache of the masks, the states of which were changed."""
    cache = folder / "counts.sqlite"
    cdstats.ratio(folder / "m", cache=cache)
    database = sqlite3.connect(cache)
    kept = database.execute("SELECT * FROM states")
    names = [name for name, *_ in kept.description]
    for row in kept.fetchall():
        key, _, state, _ = row
        assert names[-3:] == ["finished", "state", "checksum"]
        text = change(state)
        database.execute(
            "UPDATE states SET state = ?, checksum = ?, finished = ? WHERE key = ?",
            (text, zlib.crc32(f"{key}\nTrue\n{text}".encode()), finished, key),
        )
    database.commit()
    database.close()
    return cache


def with_fact(place: int, fact: Any) -> Any:
    def change(state: str) -> str:
        ((member, facts),) = json.loads(state)
        facts[place] = fact
        return json.dumps([[member, facts]])

    return change


@pytest.mark.parametrize(
    "change",
    [
        lambda _: "[" * 100_000 + "]" * 100_000,
        lambda _: "[]",
        lambda _: "{}",
        lambda _: '""',
        lambda _: "7",
        lambda _: '[["", "is damaged"]]',
        lambda _: '[["", "is damaged", [1]]]',
        lambda state: state.replace("PNG", "PNG\\ud800").replace('""', "null"),
        *(
            with_fact(place, fact)
            for place, fact in [
                (0, 8.0),
                (0, "8"),
                (0, True),
                (0, 0),
                (1, -8),
                (2, [[0, 56.5], [255, 7.5]]),
                (2, [[0, 64], [0, 64]]),
                (2, [[0, -8], [255, 72]]),
                (2, [[None, 64]]),
                (2, [["black", 64]]),
                (2, [[float("nan"), 64]]),
                (2, [[0, 63]]),
                (2, 5),
                (3, -1),
                (3, "1"),
                (5, 2),
                (5, None),
                (6, []),
                (7, [[0, "red"]]),
                (7, 3),
                (8, None),
            ]
        ),
    ],
)
def test_a_crafted_cache_is_refused_as_damaged(folders: Path, change: Any) -> None:
    cache = crafted(folders, change)
    with pytest.raises(DataError, match=r"is damaged .*remove it, or name another"):
        cdstats.ratio(folders / "m", cache=cache)


def test_a_cache_that_was_rewritten_unchanged_is_used(folders: Path) -> None:
    cache = crafted(folders, str)
    assert [
        row.changed for row in cdstats.ratio(folders / "m", cache=cache).images
    ] == [*[8] * 3]


@pytest.mark.parametrize("finished", ["yes", 2, b"1"])
def test_a_cache_with_another_mark_than_finished_or_not_is_refused(
    folders: Path, finished: object
) -> None:
    cache = crafted(folders, str, finished)
    with pytest.raises(DataError, match="is damaged"):
        cdstats.ratio(folders / "m", cache=cache)
