"""Batches on a Dask cluster: submitted, merged in a tree, cut if they kill workers."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from cdstats.engine.ledger import tell

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from distributed import Future

    from cdstats.engine.cluster import Cluster
    from cdstats.engine.ledger import Ledger

Found = list[tuple[int, Any]]

BATCH_SECONDS: Final = 2.0
"""Work that a batch is meant to hold: the scheduler spends about 1 ms on each."""
MOST_ITEMS: Final = 512
FIRST_ITEMS: Final = 8
"""Items of a batch at most, and before it is known what an item takes."""
FAN: Final = 8
"""Results that are merged into one at each level of the tree, on the workers."""
MOST_BATCHES: Final = FAN * FAN
"""Batches whose results reach this process as one."""


@dataclass(eq=False)
class _Group:
    """Batches whose results come back as one.

    Attributes:
        batches: The numbers of each batch.
        root: What holds the results of all.
    """

    batches: dict[Future, list[int]]
    root: Future


class Flow:
    """The batches of a run that are on their way.

    Args:
        cluster: Where they run.
        function: What to do with an item.
        ledger: The items.

    Attributes:
        suspects: Items that are alone in a batch whose workers died.
    """

    def __init__(
        self, cluster: Cluster, function: Callable[[Any], Any], ledger: Ledger[Any, Any]
    ) -> None:
        self.suspects: list[int] = []
        self._cluster = cluster
        self._function = function
        self._ledger = ledger
        self._threads = cluster.threads()
        self._out: dict[Future, _Group] = {}
        self._seconds: float | None = None

    def results(self) -> Iterator[tuple[int, Any]]:
        """Numbers and results, until nothing is left but suspects."""
        while self._fill():
            for root in self._cluster.wait(list(self._out)):
                if root.status not in ("finished", "error"):
                    continue  # lost in the meantime, and being made again
                group = self._out.pop(root)
                found = self._found(root)
                if found is None:
                    self._mend(group)
                else:
                    yield from found

    def alone(self, number: int) -> Iterator[tuple[int, Any]]:
        """The number and result of an item, or nothing if its workers die of it."""
        future = self._submit([number])
        self._cluster.wait([future])
        yield from self._found(future) or []

    def _fill(self) -> int:
        """Submit groups while there are threads for them; returns those on the way."""
        most = max(4 * self._threads, 2 * FAN)
        while self._ledger.left and self._batches_out() < most:
            batches: list[list[int]] = []
            most_batches = self._group_size()
            while self._ledger.left and len(batches) < most_batches:
                batches.append(self._ledger.take(self._size()))
            self._send(batches)
        return len(self._out)

    def _batches_out(self) -> int:
        return sum(len(group.batches) for group in self._out.values())

    def _size(self) -> int:
        by_time = FIRST_ITEMS
        if self._seconds is not None:
            by_time = int(BATCH_SECONDS / max(self._seconds, 1e-6))
        share = self._ledger.left // (4 * self._threads)
        return max(1, min(by_time, share, MOST_ITEMS))

    def _group_size(self) -> int:
        """Batches of the next group: few at first and at the end."""
        if self._seconds is None:
            return FAN
        return max(1, min(self._ledger.left // self._size() // FAN, MOST_BATCHES))

    def _send(self, batches: Sequence[list[int]]) -> None:
        """Submit batches and the tree that merges their results."""
        futures = {self._submit(numbers): numbers for numbers in batches}
        level = list(futures)
        while len(level) > 1:
            level = [
                self._cluster.client.submit(_merge, level[at : at + FAN], pure=False)
                for at in range(0, len(level), FAN)
            ]
        self._out[level[0]] = _Group(futures, level[0])

    def _submit(self, numbers: list[int]) -> Future:
        items = [self._ledger.item(number) for number in numbers]
        submit = self._cluster.client.submit
        return submit(_work, self._function, numbers, items, pure=False)

    def _found(self, root: Future) -> Found | None:
        """Numbers and results of a group, or None if its workers died of it.

        Raises:
            Exception: What the work raised.
        """
        from distributed.scheduler import KilledWorker

        try:
            seconds, found = root.result()
        except KilledWorker:
            return None
        each = seconds / len(found)
        self._seconds = each if self._seconds is None else (self._seconds + each) / 2
        return list(found)

    def _mend(self, group: _Group) -> None:
        """Follow each batch of a failed group alone; cut the one that kills workers."""
        if len(group.batches) > 1:
            for future, numbers in group.batches.items():
                self._out[future] = _Group({future: numbers}, future)
            return
        (numbers,) = group.batches.values()
        if len(numbers) == 1:
            self.suspects += numbers
            return
        size = -(-len(numbers) // FAN)
        for at in range(0, len(numbers), size):
            self._send([numbers[at : at + size]])


def _work(
    function: Callable[[Any], Any], numbers: Sequence[int], items: Sequence[Any]
) -> tuple[float, Found]:
    """Seconds, numbers and results of a batch: what a worker runs."""
    start = time.perf_counter()
    tell(function, items)
    found = [
        (number, function(item)) for number, item in zip(numbers, items, strict=True)
    ]
    return time.perf_counter() - start, found


def _merge(parts: Sequence[tuple[float, Found]]) -> tuple[float, Found]:
    return sum(seconds for seconds, _ in parts), [one for _, f in parts for one in f]
