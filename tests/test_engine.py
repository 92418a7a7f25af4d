"""Running work: the same results in this process and in workers, whatever dies."""

import multiprocessing
import os
import subprocess
import time
from collections.abc import Iterator
from functools import partial
from typing import Any

import pytest
from work_items import (
    Told,
    die_at,
    die_late,
    fail_at,
    process_of,
    refuse_at,
    sleep_for,
    slowly,
    square,
)

from cdstats.core.errors import REPORT_HINT, UsageError
from cdstats.engine import work
from cdstats.engine.work import run

LOST = -1
WORTH_SECONDS = work.WORTH_SECONDS
JOBS = [pytest.param(1, id="this process"), pytest.param(None, id="as many as pay"), 2]


def with_reason(_: int, reason: str) -> Any:
    return reason


def lost(_: int, reason: str) -> int:
    assert reason
    return LOST


def workers() -> list[int]:
    """Process ids of the workers of this process."""
    listed = subprocess.run(
        ["ps", "-ww", "-o", "pid=,args=", "--ppid", str(os.getpid())],
        capture_output=True,
        text=True,
        check=False,
    )
    rows = [line.split(maxsplit=1) for line in listed.stdout.splitlines()]
    return [int(pid) for pid, command in rows if "cdstats.engine.work" in command]


@pytest.fixture(autouse=True)
def no_worker_is_left() -> Iterator[None]:
    yield
    limit = time.monotonic() + 10
    while workers() and time.monotonic() < limit:
        time.sleep(0.02)
    assert workers() == []


@pytest.mark.parametrize("jobs", JOBS)
@pytest.mark.parametrize("items", [[], [7], list(range(50))], ids=len)
def test_results_do_not_depend_on_the_number_of_workers(
    items: list[int], jobs: int | None
) -> None:
    found = list(run(square, items, jobs=jobs, lost=lost))
    assert sorted(found) == [(place, item**2) for place, item in enumerate(items)]


@pytest.mark.parametrize("jobs", JOBS)
def test_the_order_of_items_changes_no_result(jobs: int | None) -> None:
    items = list(range(30))
    forwards = run(square, items, jobs=jobs, lost=lost)
    backwards = run(square, items[::-1], jobs=jobs, lost=lost)
    assert {items[place]: result for place, result in forwards} == {
        items[::-1][place]: result for place, result in backwards
    }


def test_one_item_needs_no_worker() -> None:
    assert list(run(process_of, [1], jobs=8, lost=lost)) == [(0, os.getpid())]


def test_short_work_stays_in_this_process(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(work, "WORTH_SECONDS", WORTH_SECONDS)
    found = run(process_of, range(100), jobs=None, lost=lost)
    assert {result for _, result in found} == {os.getpid()}


def test_long_work_moves_to_workers_with_nothing_done_twice(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(work, "WORTH_SECONDS", 0.1)
    monkeypatch.setattr(os, "cpu_count", lambda: 2)
    items = list(range(40))
    processes = set()
    found = {}
    for place, result in run(slowly, items, jobs=None, lost=lost):
        assert place not in found
        found[place] = result
        processes.add(len(workers()))
    assert found == dict(enumerate(items))
    assert max(processes) == 2


@pytest.mark.parametrize("deadly", [(17,), (0, 39)], ids=str)
def test_a_worker_that_dies_loses_its_item_alone(deadly: tuple[int, ...]) -> None:
    found = list(run(partial(die_at, deadly), range(40), jobs=2, lost=lost))
    assert sorted(found) == [
        (item, LOST if item in deadly else item**2) for item in range(40)
    ]


def test_a_worker_that_dies_in_a_batch_loses_its_item_alone() -> None:
    found = list(run(partial(die_at, (70,)), range(80), jobs=2, lost=lost))
    assert len(found) == 80
    assert [place for place, result in found if result == LOST] == [70]


def test_nothing_is_lost_when_a_worker_dies_while_results_are_used() -> None:
    found = []
    for place, result in run(partial(die_late, (3,)), range(12), jobs=2, lost=lost):
        if place == 0:
            time.sleep(1.5)
        found.append((place, result))
    assert sorted(found) == [(i, LOST if i == 3 else i**2) for i in range(12)]


@pytest.mark.parametrize("jobs", JOBS)
@pytest.mark.unexpected
def test_an_exception_is_the_result_of_its_item(jobs: int | None) -> None:
    found = run(partial(fail_at, 5), range(20), jobs=jobs, lost=with_reason)
    reasons = [result for _, result in sorted(found) if isinstance(result, str)]
    assert reasons == [f"unexpected KeyError: 'item 5'. {REPORT_HINT}"]


@pytest.mark.parametrize("jobs", JOBS)
def test_an_error_that_the_user_can_fix_reaches_the_caller(jobs: int | None) -> None:
    with pytest.raises(UsageError, match="item 5"):
        list(run(partial(refuse_at, 5), range(20), jobs=jobs, lost=lost))


def test_workers_end_when_the_caller_has_enough() -> None:
    found = run(slowly, range(200), jobs=2, lost=lost)
    next(iter(found))
    start = time.monotonic()
    found.close()  # type: ignore[attr-defined]
    assert time.monotonic() - start < 5


@pytest.mark.parametrize("ending", ["exception", "close"])
def test_other_processes_of_the_program_are_left_alone(ending: str) -> None:
    context = multiprocessing.get_context("spawn")
    bystander = context.Process(target=sleep_for, args=(60,))
    bystander.start()
    try:
        found = run(partial(refuse_at, 5), range(20), jobs=2, lost=lost)
        if ending == "exception":
            with pytest.raises(UsageError):
                list(found)
        else:
            next(iter(found))
            found.close()  # type: ignore[attr-defined]
        bystander.join(0.5)
        assert bystander.is_alive()
    finally:
        bystander.kill()
        bystander.join()
        bystander.close()


@pytest.mark.parametrize("jobs", JOBS)
def test_work_is_told_what_comes_next(jobs: int | None) -> None:
    found = sorted(run(Told(), range(500), jobs=jobs, lost=lost))
    assert found == [(place, 1) for place in range(500)]
    assert next(Told.ahead, None) is None
