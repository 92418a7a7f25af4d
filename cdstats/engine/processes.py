"""Worker processes: spawned, fed with batches, replaced when one dies."""

from __future__ import annotations

import multiprocessing
import signal
from collections import deque
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from typing import TYPE_CHECKING, TypeVar

from cdstats.engine.work import announce

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterator, Sequence

Item = TypeVar("Item")
Result = TypeVar("Result")


def run_batches(
    function: Callable[[Item], Result],
    items: Sequence[Item],
    batches: Sequence[range],
    jobs: int,
    lost: Callable[[Item], Result],
) -> Iterator[tuple[int, Result]]:
    """Run batches of items in workers.

    A worker that dies costs its batch a new try in a fresh worker, in halves, until
    the item that does it is found: that one is lost, and nothing else.

    Args:
        function: What to do with an item.
        items: All items.
        batches: Places in `items` that travel together.
        jobs: Worker processes.
        lost: The result of an item whose worker died of it.

    Yields:
        The place of an item and its result, in any order.
    """
    waiting = deque(batches)
    while waiting:
        unfinished = yield from _run_pool(function, items, waiting, jobs)
        for batch in unfinished:
            yield from _run_apart(function, items, batch, lost)


def _run_pool(
    function: Callable[[Item], Result],
    items: Sequence[Item],
    waiting: deque[range],
    jobs: int,
) -> Generator[tuple[int, Result], None, list[range]]:
    """Feed one pool until all is done or it breaks; returns what broke with it."""
    running: dict[Future[list[Result]], range] = {}
    with _pool(jobs) as pool:
        try:
            while waiting or running:
                while waiting and len(running) < 2 * jobs:
                    # Taken off only once it is submitted: a broken pool refuses it.
                    batch = [items[i] for i in waiting[0]]
                    future = pool.submit(_batch, function, batch)
                    running[future] = waiting.popleft()
                for future in wait(running, return_when=FIRST_COMPLETED).done:
                    results = future.result()
                    yield from zip(running.pop(future), results, strict=True)
        except BrokenProcessPool:
            return list(running.values())
        except BaseException:
            _stop(pool)
            raise
    return []


def _run_apart(
    function: Callable[[Item], Result],
    items: Sequence[Item],
    batch: range,
    lost: Callable[[Item], Result],
) -> Iterator[tuple[int, Result]]:
    """Run a batch whose worker may have died of it, alone and then in halves."""
    try:
        with _pool(1) as pool:
            results = pool.submit(_batch, function, [items[i] for i in batch]).result()
    except BrokenProcessPool:
        if len(batch) == 1:
            yield batch[0], lost(items[batch[0]])
            return
        half = len(batch) // 2
        yield from _run_apart(function, items, batch[:half], lost)
        yield from _run_apart(function, items, batch[half:], lost)
        return
    yield from zip(batch, results, strict=True)


def _pool(jobs: int) -> ProcessPoolExecutor:
    # Spawned, never forked: GDAL and thread pools do not survive a fork.
    context = multiprocessing.get_context("spawn")
    return ProcessPoolExecutor(jobs, mp_context=context, initializer=_ignore_interrupt)


def _ignore_interrupt() -> None:
    """Leave Ctrl-C to the main process, which stops the workers."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)


def _batch(function: Callable[[Item], Result], items: list[Item]) -> list[Result]:
    announce(function, items)
    return [function(item) for item in items]


def _stop(pool: ProcessPoolExecutor) -> None:
    """End the pool's workers at once: what they hold is no longer wanted."""
    workers = list((pool._processes or {}).values())  # noqa: SLF001 - public from 3.14
    pool.shutdown(wait=False, cancel_futures=True)
    for worker in workers:
        worker.terminate()
