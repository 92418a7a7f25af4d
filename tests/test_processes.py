"""Worker processes: what they load, what they do, and what becomes of them."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from functools import partial
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from PIL import Image
from work_items import (
    big,
    divide,
    exit_unportably,
    killed_once,
    number_and_process,
    quit_at,
    talk,
)

from cdstats.core.division import Divided
from cdstats.core.errors import DataError
from cdstats.engine.work import Ledger, run
from cdstats.io.counting import Task

if TYPE_CHECKING:
    from collections.abc import Sequence

LOST = -1
PROBE = """
import sys
from cdstats.scan.states import ReadState

def modules_after(task):
    (counted,) = ReadState()(task).counted
    assert counted.mask is not None, counted.reason
    return list(sys.modules)
"""


def lost(_: Any, reason: str) -> int:
    assert reason
    return LOST


def test_a_worker_loads_what_the_files_need_and_no_more(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "a.png"
    image = Image.fromarray(np.zeros((5, 5), np.uint8), "P")
    image.putpalette([number % 256 for number in range(768)])
    image.save(path)
    # A module of its own: this one loads more than the work does.
    (tmp_path / "probe.py").write_text(PROBE)
    monkeypatch.syspath_prepend(tmp_path)
    probe = import_module("probe")
    tasks = [Task(str(path))] * 2
    found = dict(run(probe.modules_after, tasks, jobs=2, lost=lambda *_: []))
    heavy = {"typer", "click", "rich", "pandas", "torch", "rasterio", "sqlite3"}
    rooms = {"core.labelling", "core.records", "io.raster", "io.tiff"}
    others = heavy | {"json", "logging"} | {f"cdstats.{room}" for room in rooms}
    for modules in found.values():
        assert {"numpy", "kornia_rs"} <= set(modules)
        assert others & set(modules) == set()


def test_only_the_worker_that_died_is_replaced(tmp_path: Path) -> None:
    function = partial(killed_once, tmp_path)
    found = dict(run(function, range(60), jobs=2, lost=lambda *_: (LOST, LOST)))
    assert {place: number for place, (number, _) in found.items()} == {
        number: number for number in range(60)
    }
    # The one that lives, the one that died, and one or two in its place.
    assert 2 <= len({process for _, process in found.values()}) <= 4


def test_what_the_work_prints_spoils_nothing(capfd: pytest.CaptureFixture[str]) -> None:
    assert sorted(run(talk, range(9), jobs=2, lost=lost)) == [(i, i) for i in range(9)]
    assert capfd.readouterr().out == ""


def test_an_exception_that_cannot_travel_arrives_as_text() -> None:
    with pytest.raises(RuntimeError, match=r"UnportableError: \d and \d"):
        list(run(exit_unportably, range(9), jobs=2, lost=lost))


def test_an_exception_tells_where_in_the_worker_it_was_raised() -> None:
    with pytest.raises(SystemExit) as caught:
        list(run(partial(quit_at, 3), range(9), jobs=2, lost=lost))
    assert "in quit_at" in caught.value.__notes__[0]


def test_results_larger_than_a_pipe_arrive() -> None:
    found = dict(run(big, range(6), jobs=2, lost=lambda *_: b""))
    assert [found[i] == big(i) for i in range(6)] == [True] * 6


@pytest.mark.parametrize("python", ["/bin/false", "/nowhere/python"])
def test_workers_that_cannot_start_end_the_run(
    monkeypatch: pytest.MonkeyPatch, python: str
) -> None:
    monkeypatch.setattr(sys, "executable", python)
    with pytest.raises(DataError, match=r"fail to start.*--jobs 1"):
        list(run(number_and_process, range(9), jobs=2, lost=lambda *_: (LOST, LOST)))


def test_items_are_taken_one_batch_at_a_time() -> None:
    class Watched(list[int]):
        taken = 0

        def __getitem__(self, place: Any) -> Any:
            self.taken += 1
            return super().__getitem__(place)

        def __iter__(self) -> Any:
            raise AssertionError("all items were asked for")

    items = Watched(range(5_000))
    found = run(number_and_process, items, jobs=2, lost=lambda *_: (LOST, LOST))
    next(iter(found))
    assert items.taken < 100
    found.close()  # type: ignore[attr-defined]


@pytest.mark.parametrize("jobs", [1, 2])
def test_divided_items_are_joined_in_their_places(jobs: int) -> None:
    found = sorted(run(divide, [5, 6, 7, 0], jobs=jobs, lost=lost))
    assert found == [(0, -15), (1, -18), (2, -21), (3, 0)]


def test_parts_are_worked_on_before_further_items() -> None:
    ledger: Ledger[str, int] = Ledger(["a", "b"], lost)
    assert ledger.take(1) == [0]
    assert ledger.enter(0, Divided(["x", "y"], sum)) == []
    assert [ledger.item(n) for n in ledger.take(9)] == ["x", "y", "b"]
    assert (ledger.enter(3, 5), ledger.enter(1, 1)) == ([], [(1, 1)])
    assert ledger.enter(2, 4) == [(0, 9)]


PROGRAM = """
import sys
sys.path[:0] = [{tests!r}]
from work_items import number_and_process as work
from cdstats.engine.work import run
for place, (number, process) in run(work, range(5000), jobs=2, lost=print):
    print(process, flush=True)
"""


@pytest.fixture
def program() -> Any:
    """A program that prints the process ids of its workers, in a group of its own."""
    code = PROGRAM.format(tests=str(Path(__file__).parent))
    with subprocess.Popen(
        [sys.executable, "-c", code],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    ) as process:
        yield process
        process.kill()


def two_workers(program: subprocess.Popen[str]) -> Sequence[int]:
    found: set[int] = set()
    while len(found) < 2 and program.stdout is not None:
        found.add(int(program.stdout.readline()))
    return sorted(found)


def ps(*options: object) -> str:
    command = ["ps", *map(str, options)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    return done.stdout.strip()


def is_alive(process: int) -> bool:
    state = ps("-o", "stat=", "-p", process)
    return bool(state) and not state.startswith("Z")


def assert_end(workers: Sequence[int]) -> None:
    limit = time.monotonic() + 60
    while any(map(is_alive, workers)) and time.monotonic() < limit:
        time.sleep(0.05)
    assert [worker for worker in workers if is_alive(worker)] == []


def test_workers_end_when_their_program_is_killed(
    program: subprocess.Popen[str],
) -> None:
    workers = two_workers(program)
    program.kill()
    assert_end(workers)
    assert program.stderr is not None
    assert program.stderr.read() == ""


def test_an_interrupt_ends_program_and_workers_without_their_words(
    program: subprocess.Popen[str],
) -> None:
    workers = two_workers(program)
    os.killpg(program.pid, signal.SIGINT)
    assert program.wait(timeout=60) != 0
    assert_end(workers)
    assert program.stderr is not None
    assert program.stderr.read().count("KeyboardInterrupt") == 1


def test_an_interrupted_command_says_so_and_leaves_nobody(tmp_path: Path) -> None:
    values = np.random.default_rng(2).choice([0, 255], (1024, 1024)).astype(np.uint8)
    Image.fromarray(values).save(tmp_path / "0.png", compress_level=1)
    for number in range(1, 400):
        (tmp_path / f"{number}.png").hardlink_to(tmp_path / "0.png")
    with subprocess.Popen(
        [sys.executable, "-m", "cdstats", "ratio", str(tmp_path), "--jobs", "2"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    ) as process:
        while not ps("-o", "pid=", "--ppid", process.pid):
            time.sleep(0.02)
        os.killpg(process.pid, signal.SIGINT)
        out, err = process.communicate(timeout=120)
    assert (process.returncode, out, err) == (130, "", "interrupted\n")
