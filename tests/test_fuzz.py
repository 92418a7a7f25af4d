"""Forty damaged files of each format: their true count or a reason.

The long mode is `python -m tests.fuzz --files 20000`.
"""

from __future__ import annotations

import os
import time
from collections import Counter
from typing import TYPE_CHECKING

import pytest
from fuzz.clean import FORMATS, clean_files
from fuzz.damage import damaged_file
from fuzz.outcome import Outcome, judge, learn, remove
from fuzz.parts import parts_of
from fuzz.runner import READY, Serve, Tally, judged, run_format

if TYPE_CHECKING:
    from multiprocessing.connection import Connection
    from pathlib import Path

FILES = 40
every_format = pytest.mark.parametrize("format_", FORMATS)


@every_format
def test_a_damaged_file_gives_its_true_count_or_a_reason(
    format_: str, tmp_path: Path
) -> None:
    tally, (counts, _) = Tally(format_), learn(format_, tmp_path)
    for number in range(FILES):
        broken = damaged_file(format_, 21, number)
        path = tmp_path / f"{number}{broken.suffix}"
        broken.source.write(path, broken.data)
        outcome, text, unchecked = judged(broken, path, counts)
        tally.add(number, "cdstats", outcome, text, unchecked=unchecked)
        remove(path)
    assert tally.broken_promises == []
    assert tally.outcomes[Outcome.TRUE] > 0
    assert tally.outcomes[Outcome.FAILED] > FILES // 4


def test_naive_readers_miscount_the_same_files_in_silence() -> None:
    tally = run_format("png", 60, seed=20)
    assert set(tally.naive) == {"Pillow", "rasterio"}
    assert all(sum(found.values()) == 60 for found in tally.naive.values())
    assert tally.naive["rasterio"][Outcome.WRONG] > 0


@every_format
def test_parts_cover_a_whole_file_and_do_not_overlap(format_: str) -> None:
    for file in clean_files(format_):
        covered = Counter(
            at for part in parts_of(file) for at in range(part.start, part.stop)
        )
        assert max(covered.values()) == 1
        assert not set(range(len(file.data))) - set(covered)


@every_format
def test_a_wrong_count_is_told_from_a_true_one(format_: str, tmp_path: Path) -> None:
    counts, _ = learn(format_, tmp_path)
    one, other = clean_files(format_)[:2]
    path = tmp_path / one.name
    one.write(path, one.data)
    assert judge(path, counts[one.name]) == (Outcome.TRUE, "")
    one.write(path, one.data[: len(one.data) // 3])
    assert judge(path, counts[one.name])[0] is Outcome.FAILED
    wrong = [counts[name] for name in counts if counts[name] != counts[one.name]]
    one.write(path, one.data)
    if wrong:
        assert judge(path, wrong[0])[0] is Outcome.WRONG
    assert other.name != one.name


def one_dies(
    pipe: Connection, _: str, __: int, place: tuple[int, int], end: int, ___: int
) -> None:
    """A child that dies of file 2."""
    pipe.send(READY)
    for number in range(place[0], end):
        if number == 2:
            os._exit(1)
        pipe.send((Outcome.TRUE, "", False))


def one_hangs(
    pipe: Connection, _: str, __: int, place: tuple[int, int], end: int, ___: int
) -> None:
    """A child that hangs on file 2."""
    pipe.send(READY)
    for number in range(place[0], end):
        if number == 2:
            time.sleep(60)
        pipe.send((Outcome.TRUE, "", False))


@pytest.mark.parametrize(
    ("serve", "outcome"), [(one_dies, Outcome.CRASHED), (one_hangs, Outcome.HUNG)]
)
def test_a_crash_or_hang_costs_one_file_and_is_told(
    serve: Serve, outcome: Outcome
) -> None:
    tally = run_format("png", 5, 1, naive=False, serve=serve, limit=1)
    assert tally.outcomes == {Outcome.TRUE: 4, outcome: 1}
    assert [one.number for one in tally.broken_promises] == [2]


def test_miscounts_are_told_apart_by_where_the_damage_is() -> None:
    tally = Tally("png")
    tally.add(1, "cdstats", Outcome.WRONG, "", unchecked=True)
    tally.add(2, "cdstats", Outcome.WRONG, "", unchecked=False)
    tally.add(3, "cdstats", Outcome.HUNG, "", unchecked=True)
    tally.add(3, "Pillow", Outcome.WRONG, "", unchecked=True)
    assert tally.silent(unchecked=True) == tally.silent(unchecked=False) == 1
    assert [one.number for one in tally.broken_promises] == [2, 3]
    assert (tally.files, tally.unchecked) == (3, 2)
