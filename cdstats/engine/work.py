"""Running a function over many items: in this process, or in worker processes.

Whatever runs the work, the results are the same and come with the place of their item.
"""

from __future__ import annotations

import os
import time
from typing import TYPE_CHECKING, Final, TypeVar

from cdstats.engine.ledger import Ledger, tell

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterator, Sequence

    from cdstats.core.division import Divided

Item = TypeVar("Item")
Result = TypeVar("Result")

PROBE_SECONDS: Final = 0.05
"""Work done in this process, its first item aside, before workers are thought of."""
START_UP_SECONDS: Final = 0.5
"""Most that loading a decoder for the first item takes."""
WORTH_SECONDS: Final = 0.3
"""Work left that makes starting workers pay: they take about 0.1 s to start."""


def run(
    function: Callable[[Item], Result | Divided[Item, Result]],
    items: Sequence[Item],
    *,
    jobs: int | None = 1,
    lost: Callable[[Item], Result],
) -> Iterator[tuple[int, Result]]:
    """Apply a function to every item.

    Args:
        function: What to do; must be importable by a worker. It may divide an item
            into parts, which are then worked on like items. Its method ``expect``, if
            it has one, is told the items that follow in its thread.
        items: What to do it with.
        jobs: Worker processes; 1 works in this process, None decides by the time that
            the first items take.
        lost: The result of an item whose worker died of it.

    Yields:
        The place of an item and its result, in any order.
    """
    ledger: Ledger[Item, Result] = Ledger(items)
    seconds = None
    if jobs is None or jobs == 1 or len(items) < 2:
        seconds = yield from _run_here(function, ledger, jobs)
    if ledger.left:
        from cdstats.engine.processes import run_in_workers

        cores = os.cpu_count() or 1
        workers = min(jobs or cores, max(cores, len(items)))
        yield from run_in_workers(function, ledger, workers, lost, seconds)


def _run_here(
    function: Callable[[Item], Result | Divided[Item, Result]],
    ledger: Ledger[Item, Result],
    jobs: int | None,
) -> Generator[tuple[int, Result], None, float]:
    """Work in this process, until nothing is left or workers pay.

    Returns:
        Seconds that an item takes.
    """
    spent, start_up, done, each = 0.0, 0.0, 0, 0.0
    tell(function, ledger.ahead())
    try:
        while numbers := ledger.take(1):
            number = numbers[0]
            start = time.perf_counter()
            result = function(ledger.item(number))
            spent += time.perf_counter() - start
            done += 1
            yield from ledger.enter(number, result)
            # The first item may have loaded a decoder, which the others do not.
            start_up = start_up or min(spent, START_UP_SECONDS)
            each = (spent - start_up) / done
            if _workers_pay(jobs, spent - start_up, each * ledger.left, ledger.left):
                break
    finally:
        tell(function, ())
    return each


def _workers_pay(jobs: int | None, spent: float, work: float, left: int) -> bool:
    if jobs == 1 or left < 2 or spent < PROBE_SECONDS or work < WORTH_SECONDS:
        return False
    return jobs is not None or (os.cpu_count() or 1) > 1
