"""Counts that outlive a run: what is kept is never read again, and never wrong."""

import ast
import json
import math
import os
import random
import re
import shlex
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from helpers import Done, run, save
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

import cdstats
from cdstats.cli.finishing import kept_folder
from cdstats.core.counts import NAN, Counted, MaskCounts, ValueCounts
from cdstats.core.errors import DataError
from cdstats.io.counting import Task
from cdstats.scan.cache import Cache, from_text, to_text
from cdstats.scan.states import ReadState, Stamp, State

RULE = ("--changed", "255", "--unchanged", "0")
OTHER = ("--changed", "0", "--unchanged", "rest")


def ratio(*arguments: object) -> Done:
    time.sleep(0.02)  # what was written in this tick of the clock is not kept
    return run("ratio", *arguments)


def everything(*arguments: object) -> Done:
    return ratio(*arguments, "--format", "json")


def start(*arguments: str | Path) -> "subprocess.Popen[str]":
    return subprocess.Popen(
        [sys.executable, "-m", "cdstats", "ratio", *map(str, arguments)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )


def write(path: Path, values: dict[int, int]) -> Path:
    """A mask of 10 x 10 pixels that holds so many pixels of each value."""
    pixels = np.repeat(list(values), list(values.values()))
    return save(path, pixels.reshape(10, 10))


def write_masks(folder: Path, number: int) -> Path:
    """Masks 0.png, 1.png, ... with 1, 2, ... changed pixels, of 99 at most."""
    for place in range(number):
        changed = place % 99 + 1
        write(folder / f"{place}.png", {0: 100 - changed, 255: changed})
    return folder


@pytest.fixture
def masks(tmp_path: Path) -> Path:
    """Masks in two splits, a stack among them, a damaged file, and an odd one."""
    root = tmp_path / "masks"
    write_masks(root / "train", 12)
    write_masks(root / "val", 3)
    np.save(root / "train/stack.npy", np.eye(8, dtype=np.uint8).reshape(2, 4, 8) * 255)
    (root / "train/bad.png").write_bytes(b"no image at all")
    write(root / "train/odd.png", {0: 50, 7: 50})
    return root


@pytest.fixture
def cache(tmp_path: Path) -> Path:
    return tmp_path / "counts.sqlite"


@pytest.fixture
def unreadable(monkeypatch: pytest.MonkeyPatch) -> Callable[[], None]:
    """Makes every mask unreadable from now on, while its file stays the same."""

    def refuse(*_: object) -> None:
        raise DataError("is unreadable")

    return lambda: monkeypatch.setattr("cdstats.io.counting.open_masks", refuse)


# The same results.


@pytest.mark.parametrize(
    ("rule", "jobs"),
    [
        pytest.param((), "1", id="found"),
        pytest.param(RULE, "1", id="given"),
        pytest.param(OTHER, "1", id="other"),
        pytest.param(OTHER, "2", id="workers"),
    ],
)
def test_a_cache_changes_no_result(
    rule: tuple[str, ...], jobs: str, masks: Path, cache: Path
) -> None:
    plain = everything(masks, *rule)
    options: tuple[str | Path, ...] = (*rule, "--cache", cache, "--jobs", jobs)
    assert everything(masks, *options) == plain
    assert everything(masks, *options) == plain
    assert len(json.loads(plain.out)["images"]) == 19


@pytest.mark.parametrize("first", [(), RULE], ids=["found", "given"])
def test_another_rule_needs_no_pixel(
    first: tuple[str, ...], masks: Path, cache: Path, unreadable: Callable[[], None]
) -> None:
    (masks / "train/bad.png").unlink()
    other = [everything(masks, *rule) for rule in ((), RULE, OTHER)]
    ratio(masks, *first, "--cache", cache)
    unreadable()
    again = [everything(masks, *rule, "--cache", cache) for rule in ((), RULE, OTHER)]
    assert again == other
    assert everything(masks) != other[0]


def test_new_changed_and_removed_files_are_noticed(masks: Path, cache: Path) -> None:
    ratio(masks, "--cache", cache)
    (masks / "train/3.png").unlink()
    write(masks / "train/4.png", {0: 1, 255: 99})
    write(masks / "val/new.png", {0: 30, 255: 70})
    (masks / "train/bad.png").unlink()
    write(masks / "train/bad.png", {0: 10, 255: 90})
    expected = everything(masks)
    assert everything(masks, "--cache", cache) == expected
    assert everything(masks, "--cache", cache) == expected


def test_a_file_that_changes_while_it_is_read_is_not_finished(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from cdstats.io.counting import count_file

    path = write(tmp_path / "a.png", {0: 50, 255: 50})

    def slow(task: Task, **options: object) -> list[Counted]:
        found = count_file(task, **options)  # type: ignore[arg-type]
        os.utime(path, ns=(1, 1))
        return found

    assert is_kept(path)
    monkeypatch.setattr("cdstats.scan.states.count_or_divide", slow)
    assert not is_kept(path)


def is_kept(path: Path) -> bool:
    """Whether a file is counted so that its counts hold; the tick has passed."""
    time.sleep(0.02)
    state = ReadState()(Task(str(path)))
    return isinstance(state, State) and state.finished


def test_a_file_that_was_just_written_is_counted_again(tmp_path: Path) -> None:
    path = write(tmp_path / "a.png", {0: 50, 255: 50})
    state = ReadState()(Task(str(path)))
    assert isinstance(state, State)
    assert state.counted[0].mask is not None
    age = time.time_ns() - path.stat().st_ctime_ns
    assert state.finished is False or age > 10**7
    assert is_kept(path)


def test_a_file_that_was_rewritten_as_if_nothing_had_happened_is_read_again(
    tmp_path: Path, cache: Path
) -> None:
    path, other = tmp_path / "m/a.npy", tmp_path / "b.npy"
    path.parent.mkdir()
    for changed, rewrite in enumerate(("in place", "renamed", "copied back")):
        values = np.zeros((4, 4), np.uint8)
        values.flat[: changed + 1] = 255
        np.save(other, values)
        if rewrite == "renamed":
            os.utime(other, ns=(7, 7))
            other.rename(path)
        else:
            path.write_bytes(other.read_bytes())
            os.utime(path, ns=(7, 7))
        time.sleep(0.02)
        for _ in range(2):
            (row,) = cdstats.ratio(path.parent, cache=cache).images
            assert (path.stat().st_mtime_ns, row.changed) == (7, changed + 1)


def test_bands_are_kept_apart(tmp_path: Path, cache: Path) -> None:
    values = np.zeros((6, 6, 3), np.uint8)
    values[:2, :, 0], values[:3, :, 1] = 255, 255
    (tmp_path / "m").mkdir()
    Image.fromarray(values).save(tmp_path / "m/a.png")
    for _ in range(2):
        for band, changed in ((1, 12), (2, 18)):
            (row,) = cdstats.ratio(tmp_path / "m", band=band, cache=cache).images
            assert row.changed == changed


def test_counts_folded_for_one_rule_do_not_answer_another(
    tmp_path: Path, cache: Path
) -> None:
    values = np.linspace(0, 1, 100_000, dtype=np.float32).reshape(200, 500)
    (tmp_path / "m").mkdir()
    np.save(tmp_path / "m/a.npy", values)
    for _ in range(2):
        for level in (0.5, 0.9):
            (row,) = cdstats.ratio(
                tmp_path / "m", changed=f">={level}", unchanged="rest", cache=cache
            ).images
            assert row.changed == np.count_nonzero(values >= np.float64(level))
    with sqlite3.connect(cache) as database:
        keys = database.execute("SELECT key FROM states ORDER BY key").fetchall()
    database.close()
    assert [ast.literal_eval(key)[4] for (key,) in keys] == [
        "0 0.5 128 255",
        "0 0.9 128 255",
    ]


def test_truth_in_two_files_is_kept_by_both(tmp_path: Path, cache: Path) -> None:
    folder = tmp_path / "m"
    write(folder / "change.bmp", {0: 60, 255: 40})
    write(folder / "unchanged.bmp", {255: 60, 0: 40})
    options = ("--preset", "partial-pair", "--cache", cache)
    first = everything(folder, *options)
    assert everything(folder, *options) == first
    write(folder / "unchanged.bmp", {255: 20, 0: 80})
    assert everything(folder, *options) == everything(folder, *options[:2]) != first


# Broken off.


def finished(cache: Path) -> int:
    """The files that a cache holds, while a run may write it."""
    if not cache.exists():
        return 0
    database = sqlite3.connect(cache, timeout=20)
    try:
        (number,) = database.execute("SELECT count(*) FROM states").fetchone()
    except sqlite3.OperationalError:
        return 0
    finally:
        database.close()
    return int(number)


def test_an_interrupted_run_keeps_what_it_counted(
    tmp_path: Path, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from cdstats.io.counting import count_file

    def ended(task: Task, **options: object) -> list[Counted]:
        if task.path.endswith("/7.png"):
            raise KeyboardInterrupt
        return count_file(task, **options)  # type: ignore[arg-type]

    folder = write_masks(tmp_path / "m", 20)
    monkeypatch.setattr("cdstats.scan.states.count_or_divide", ended)
    assert ratio(folder, "--cache", cache, "--jobs", "1").code == 130
    assert finished(cache) == 7


def test_two_runs_share_a_cache(tmp_path: Path, cache: Path) -> None:
    folder = write_masks(tmp_path / "m", 80)
    options = ("--cache", cache, "--format", "json")
    running = [start(folder, *options), start(folder, *options, *RULE)]
    outs = [one.communicate(timeout=300)[0] for one in running]
    assert outs == [everything(folder).out, everything(folder, *RULE).out]
    assert finished(cache) == 80


def test_many_runs_may_make_a_cache_at_once(tmp_path: Path) -> None:
    """Runs that start together wait for each other to set up the file."""
    programs = [
        subprocess.Popen(
            [sys.executable, "-c", OPENS_CACHES],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        for _ in range(4)
    ]
    names = "".join(f"{tmp_path}/{number}.sqlite\n" for number in range(40))
    for program in programs:
        assert program.stdout is not None
        assert program.stdout.readline() == "ready\n"
    with ThreadPoolExecutor(4) as threads:
        done = threads.map(lambda program: program.communicate(names)[0], programs)
        assert set(done) == {"opened\n" * 40}


OPENS_CACHES = """
import sys
from pathlib import Path
from cdstats.scan.cache import Cache
print("ready", flush=True)
for line in sys.stdin:
    try:
        Cache(Path(line.strip())).close()
        print("opened")
    except Exception as error:
        print(error)
"""


def test_a_cache_that_another_run_holds_for_too_long_is_told(
    cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    Cache(cache).close()
    reader = sqlite3.connect(cache, isolation_level=None)
    reader.execute("PRAGMA journal_mode = DELETE")
    reader.execute("BEGIN")
    reader.execute("SELECT * FROM states").fetchall()
    monkeypatch.setattr("cdstats.scan.cache._WAIT_SECONDS", 0.1)
    with pytest.raises(DataError, match="database is locked"):
        Cache(cache)
    reader.execute("COMMIT")
    Cache(cache).close()
    reader.close()


# What is no cache.


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        pytest.param("notes.txt", b"dear diary", "not a cdstats cache", id="a text"),
        pytest.param(
            "c.png", b"", "has the extension of a mask", id="the name of a mask"
        ),
        pytest.param("no/c.sqlite", None, "folder does not exist", id="no folder"),
        pytest.param("masks", None, "is a folder", id="a folder"),
    ],
)
def test_what_is_no_cache_is_refused_and_left_alone(
    name: str, content: bytes | None, said: str, masks: Path
) -> None:
    path = masks.parent / name
    if content is not None:
        path.write_bytes(content)
    done = ratio(masks, "--cache", path)
    assert (done.code, done.out, done.err.count("\n")) == (2, "", 1)
    assert said in done.err
    assert content is None or path.read_bytes() == content


def test_a_cache_of_another_version_is_refused(masks: Path, cache: Path) -> None:
    ratio(masks, "--cache", cache)
    database = sqlite3.connect(cache)
    database.execute("PRAGMA user_version = 99")
    database.close()
    done = ratio(masks, "--cache", cache)
    assert done.code == 2
    assert "another version of cdstats" in done.err
    assert finished(cache) > 0


def test_a_cache_cut_short_is_refused(tmp_path: Path, cache: Path) -> None:
    folder = write_masks(tmp_path / "m", 60)
    ratio(folder, "--cache", cache)
    cache.write_bytes(cache.read_bytes()[: cache.stat().st_size // 2])
    before = cache.read_bytes()
    done = ratio(folder, "--cache", cache)
    assert (done.code, done.out, done.err.count("\n")) == (1, "", 1)
    assert "is damaged" in done.err
    assert cache.read_bytes() == before


def test_a_number_changed_in_a_cache_is_noticed(masks: Path, cache: Path) -> None:
    ratio(masks, "--cache", cache)
    database = sqlite3.connect(cache)
    database.execute("UPDATE states SET state = replace(state, '[255,9]', '[255,8]')")
    database.commit()
    database.close()
    done = ratio(masks, "--cache", cache)
    assert (done.code, done.out) == (1, "")
    assert "is damaged" in done.err


def test_every_flipped_bit_is_refused_or_harmless(tmp_path: Path, cache: Path) -> None:
    folder = write_masks(tmp_path / "m", 12)
    expected = everything(folder)
    ratio(folder, "--cache", cache)
    whole = cache.read_bytes()
    moments = random.Random(3)  # noqa: S311
    for number in range(30):
        place = moments.randrange(len(whole))
        flipped = bytearray(whole)
        flipped[place] ^= 1 << moments.randrange(8)
        # A file of its own: what another try left open or beside it takes no part.
        one = tmp_path / f"{number}.sqlite"
        one.write_bytes(flipped)
        done = everything(folder, "--cache", one, "--jobs", "1")
        refused = done.code in (1, 2) and done.out == ""
        assert done == expected or refused, (place, flipped[place], done)


# Refused splits.


def commands(err: str) -> list[list[str]]:
    """The commands that a message prints, without the program's name."""
    lines = re.findall(r"^ +cdstats (.*)$", err, re.MULTILINE)
    return [shlex.split(line) for line in lines]


@pytest.mark.parametrize("with_cache", [True, False])
def test_a_refused_run_is_finished_without_a_pixel(
    with_cache: bool, tmp_path: Path, cache: Path, unreadable: Callable[[], None]
) -> None:
    folder = tmp_path / "my masks"
    for place in range(3):
        write(folder / f"{place}.png", {1: 60 + place, 2: 40 - place})
    options = ("--cache", cache) if with_cache else ()
    done = ratio(folder, *options, "--by", "image", "--format", "csv")
    assert done.code == 1
    assert "without reading the masks again" in done.err
    found = commands(done.err)
    assert ["--changed", "2", "--unchanged", "1"] in [
        line[place : place + 4] for line in found for place in range(len(line))
    ]
    unreadable()
    for line in found:
        again = run(*line)
        assert again.code == 0, again.err
        assert again.column("changed") == ["40", "39", "38"]


def test_only_the_refused_split_is_finished(
    tmp_path: Path, unreadable: Callable[[], None]
) -> None:
    write_masks(tmp_path / "m/train", 3)
    write(tmp_path / "m/val/0.png", {0: 50, 1: 30, 255: 20})
    done = ratio(tmp_path / "m")
    unreadable()
    for line in commands(done.err):
        again = run(*line, "--format", "csv")
        assert again.code == 0, again.err
        whole, val = again.rows()
        assert (val["split"], val["pixels"], whole["pixels"]) == ("val", "100", "100")


def test_counts_that_cannot_be_kept_leave_the_refusal(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(tmp_path / "m/0.png", {1: 60, 2: 40})
    (tmp_path / "file").touch()
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    done = ratio(tmp_path / "m")
    assert done.code == 1
    assert "holds 1 (60 pixels, 60 %), 2" in done.err
    assert "the counts cannot be saved for another rule" in done.err
    assert commands(done.err) == []


def test_counts_are_kept_for_the_user_alone_until_they_are_used_or_old(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    folder = kept_folder()
    folder.mkdir(parents=True)
    for name, days in (("old.sqlite", 8), ("new.sqlite", 6), ("other.txt", 8)):
        (folder / name).touch()
        then = time.time() - days * 24 * 3600
        os.utime(folder / name, (then, then))
    write(tmp_path / "m/0.png", {1: 60, 2: 40})
    write(tmp_path / "n/0.png", {1: 60, 2: 40})
    done = ratio(tmp_path / "m", tmp_path / "n")
    (kept,) = set(folder.iterdir()) - {folder / "new.sqlite", folder / "other.txt"}
    assert (kept.stat().st_mode | folder.stat().st_mode) & 0o077 == 0
    finish = commands(done.err)
    assert str(kept) in finish[0]
    # The command of one dataset leaves what those of the other need.
    line = ["--cache", kept, "--changed", "2", "--unchanged", "1", tmp_path / "m"]
    assert ratio(*line).code == 0
    assert kept.exists()
    assert ratio(*line, tmp_path / "n").code == 0
    assert not kept.exists()


def test_a_database_that_the_user_named_stays(tmp_path: Path) -> None:
    write(tmp_path / "m/0.png", {1: 60, 2: 40})
    cache = tmp_path / "mine.sqlite"
    assert ratio("--cache", cache, tmp_path / "m").code == 1
    line = ["--cache", cache, "--changed", "2", "--unchanged", "1", tmp_path / "m"]
    assert ratio(*line).code == 0
    assert cache.exists()


# The store itself.


VALUES = st.dictionaries(
    st.integers(-(2**40), 2**40)
    | st.floats(allow_nan=False).filter(lambda v: not v.is_integer())
    | st.sampled_from(["#ff0000", NAN]),
    st.integers(1, 2**60),
    max_size=4,
)


@st.composite
def counted(draw: st.DrawFn) -> Counted:
    """Whatever may become of a mask."""
    member = draw(st.text(st.characters(exclude_categories=()), max_size=4))
    if draw(st.booleans()):
        return Counted(member, None, draw(st.text()), draw(st.none() | st.just((4, 5))))
    hidden = (draw(st.integers(1, 9)), draw(st.integers(0, 9)), draw(st.booleans()))
    counts = ValueCounts(draw(VALUES), *hidden)
    nodata = draw(st.sampled_from([None, 0, -(2**70), NAN, 0.5, -math.inf, "#ff0000"]))
    palette = draw(st.none() | st.just({0: "#000000", 7: "#ff0000"}))
    mask = MaskCounts(counts.pixels, 1, counts, nodata, palette, draw(st.text()))
    return Counted(member, mask, size=(counts.pixels, 1))


@given(st.lists(counted(), min_size=1, max_size=3))
def test_a_state_comes_back_exactly(found: list[Counted]) -> None:
    assert from_text(to_text(found)) == found
    assert repr(from_text(to_text(found))) == repr(found)


@given(found=st.lists(counted(), min_size=1, max_size=2), finished=st.booleans())
def test_only_what_is_finished_is_found(found: list[Counted], finished: bool) -> None:
    finished &= all(one.mask is not None for one in found)
    task, stamp = Task("a\udcff/b.png", "#1"), Stamp(5, 7)
    store = Cache(None)
    store.put(task, State(stamp, found, finished))
    assert store.get(task, stamp) == found
    assert store.find(task, stamp) == (found if finished else None)
    for other in (Stamp(6, 7), Stamp(5, 8), Stamp(5, 7, 1, 1)):
        assert store.find(task, other) is None
    assert store.find(Task("b.png", "#1"), stamp) is None
    store.close()


def test_what_is_finished_is_not_lost_to_a_failure() -> None:
    task, stamp = Task("a.png"), Stamp(5, 7)
    good = [Counted("", MaskCounts(1, 1, ValueCounts({0: 1})), size=(1, 1))]
    bad = [Counted("", None, "is damaged")]
    store = Cache(None)
    for found in (bad, good, bad):
        store.put(task, State(stamp, found, found is good))
        store.flush()
    assert store.find(task, stamp) == good
    store.close()


def test_a_limit_on_pixels_holds_for_what_the_cache_knows(
    tmp_path: Path, cache: Path
) -> None:
    folder = write_masks(tmp_path / "m", 5)
    assert ratio(folder, "--cache", cache).code == 0
    with_cache = everything(folder, "--cache", cache, "--max-pixels", "20")
    without = everything(folder, "--max-pixels", "20")
    assert with_cache == without
    assert with_cache.code == 1
