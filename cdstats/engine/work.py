"""Running a function over many items: in this process, or in worker processes.

Whatever runs the work, the results are the same and come with the place of their item.
"""

from __future__ import annotations

import os
import time
from typing import TYPE_CHECKING, Final, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

Item = TypeVar("Item")
Result = TypeVar("Result")

PROBE_SECONDS: Final = 0.4
"""Work done in this process before workers are thought of."""
WORTH_SECONDS: Final = 2.0
"""Work left that makes starting workers pay."""


def run(
    function: Callable[[Item], Result],
    items: Sequence[Item],
    *,
    jobs: int | None = 1,
    lost: Callable[[Item], Result],
) -> Iterator[tuple[int, Result]]:
    """Apply a function to every item.

    Args:
        function: What to do; must be importable by a worker. Its method ``expect``,
            if it has one, is told the items that follow in its process.
        items: What to do it with.
        jobs: Worker processes; 1 works in this process, None decides by the time that
            the first items take.
        lost: The result of an item whose worker died of it.

    Yields:
        The place of an item and its result, in any order.
    """
    if jobs is not None and jobs > 1 and len(items) > 1:
        yield from _in_workers(function, items, 0, jobs, lost)
        return
    announce(function, items)
    start = time.perf_counter()
    for place, item in enumerate(items):
        yield place, function(item)
        done = place + 1
        spent = time.perf_counter() - start
        if jobs is None and spent > PROBE_SECONDS and done < len(items) - 1:
            workers = os.cpu_count() or 1
            left = spent / done * (len(items) - done)
            if workers > 1 and left > WORTH_SECONDS:
                announce(function, ())
                yield from _in_workers(function, items, done, workers, lost)
                return


def announce(function: Callable[[Item], Result], items: Sequence[Item]) -> None:
    """Tell a function that wants to know it what it is applied to next, in order."""
    expect = getattr(function, "expect", None)
    if expect is not None:
        expect(items)


def _in_workers(
    function: Callable[[Item], Result],
    items: Sequence[Item],
    start: int,
    jobs: int,
    lost: Callable[[Item], Result],
) -> Iterator[tuple[int, Result]]:
    from cdstats.engine.processes import run_batches

    size = max(1, min(64, (len(items) - start) // (jobs * 8)))
    places = range(start, len(items))
    batches = [places[at : at + size] for at in range(0, len(places), size)]
    yield from run_batches(function, items, batches, jobs, lost)
