"""Worker processes: fed with batches, each replaced alone when it dies."""

from __future__ import annotations

import queue
from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, Generic, TypeVar

from cdstats.core.errors import DataError
from cdstats.engine.crew import Crew, Died, Raised, Results, Stillborn

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from cdstats.core.division import Divided
    from cdstats.engine.ledger import Ledger

Item = TypeVar("Item")
Result = TypeVar("Result")

BATCH_SECONDS: Final = 0.25
"""Work that a batch is meant to hold: long against the way of a message, short against
the wait for the last worker."""
MOST_ITEMS: Final = 1024
"""Items of a batch at most."""
_STARTS: Final = 3
"""Workers that may die one after another before they can do anything."""


def run_in_workers(
    function: Callable[[Item], Result | Divided[Item, Result]],
    ledger: Ledger[Item, Result],
    jobs: int,
    lost: Callable[[Item], Result],
    seconds: float | None = None,
) -> Iterator[tuple[int, Result]]:
    """Work on what is left in a ledger, in worker processes.

    When a worker dies, a fresh worker tries its batch again and reports each item. So
    the item that kills it is known, and only that item is lost.

    Args:
        function: What to do with an item.
        ledger: Items that nobody has taken yet.
        jobs: Worker processes.
        lost: The result of an item whose worker died of it.
        seconds: What an item takes, as far as known.

    Yields:
        The place of an item and its result, in any order.

    Raises:
        DataError: If no worker can be started.
    """
    crew: Crew[Batch] = Crew(function, jobs)
    with crew:
        yield from _Dispatch(crew, ledger, jobs, lost, seconds).run()


@dataclass(eq=False)
class Batch:
    """Items that travel together.

    Attributes:
        numbers: Their numbers, without those whose results are here already.
        careful: Whether each result is sent at once, in a fresh worker.
        blamed: The item that a careful worker died of last.
    """

    numbers: list[int]
    careful: bool = False
    blamed: int | None = None


class _Dispatch(Generic[Item, Result]):
    """Keeps workers busy and takes in what they give."""

    def __init__(
        self,
        crew: Crew[Batch],
        ledger: Ledger[Item, Result],
        jobs: int,
        lost: Callable[[Item], Result],
        seconds: float | None,
    ) -> None:
        self._crew = crew
        self._ledger = ledger
        self._jobs = jobs
        self._lost = lost
        self._seconds = seconds
        self._again: deque[Batch] = deque()
        self._running = 0
        self._stillborn = 0

    def run(self) -> Iterator[tuple[int, Result]]:
        while self._fill():
            event = self._next_event()
            if isinstance(event, Results):
                yield from self._take_in(event)
            elif isinstance(event, Raised):
                raise event.error
            else:
                self._running -= 1
                if isinstance(event, Died):
                    yield from self._bury(event.batch)
                elif isinstance(event, Stillborn):
                    self._start_again(event)

    def _fill(self) -> int:
        """Hand out batches, one to each worker and one in wait; returns those out."""
        while self._running < 2 * self._jobs:
            if self._again:
                batch = self._again.popleft()
            elif self._ledger.left:
                batch = Batch(self._ledger.take(self._size()))
            else:
                break
            items = [self._ledger.item(number) for number in batch.numbers]
            self._crew.give(batch, items, careful=batch.careful)
            self._running += 1
        return self._running

    def _size(self) -> int:
        if not self._seconds:
            return 1
        by_time = int(BATCH_SECONDS / self._seconds)
        share = self._ledger.left // (3 * self._jobs)
        return max(1, min(by_time, share, MOST_ITEMS))

    def _next_event(self) -> Any:  # noqa: ANN401 - one of the crew's
        while True:
            try:
                # With a limit, so that Ctrl-C is seen on every system.
                return self._crew.events.get(timeout=1)
            except queue.Empty:
                continue

    def _take_in(self, event: Results[Batch]) -> Iterator[tuple[int, Result]]:
        self._stillborn = 0
        numbers = event.batch.numbers
        done, event.batch.numbers = (
            numbers[: len(event.results)],
            numbers[len(event.results) :],
        )
        each = event.seconds / len(done)
        self._seconds = each if self._seconds is None else (self._seconds + each) / 2
        for number, result in zip(done, event.results, strict=True):
            yield from self._ledger.enter(number, result)

    def _bury(self, batch: Batch) -> Iterator[tuple[int, Result]]:
        """Try what a dead worker has left undone, until the item to blame is known."""
        if not batch.numbers:
            return
        first = batch.numbers[0]
        known = batch.careful or len(batch.numbers) == 1
        if known and batch.blamed == first:
            yield from self._ledger.enter(first, self._lost(self._ledger.item(first)))
            if batch.numbers[1:]:
                self._again.append(Batch(batch.numbers[1:], careful=True))
            return
        self._again.append(Batch(batch.numbers, True, first if known else None))

    def _start_again(self, event: Stillborn[Batch]) -> None:
        self._stillborn += 1
        if self._stillborn >= _STARTS:
            raise DataError(
                f"worker processes end as they start (status {event.status}); "
                "count in this process with --jobs 1"
            )
        self._again.append(event.batch)
