"""A Dask cluster to work on: its connection, its workers, and what ends a run."""

from __future__ import annotations

import time
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final, TypeVar

import cdstats
from cdstats.core.division import Watch
from cdstats.core.errors import DIED, DataError, UsageError
from cdstats.engine.work import Failed, Ledger, attempt, tell

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from distributed import Client, Future

    from cdstats.core.division import Divided

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
    """Batches whose results come back as one."""

    batches: dict[Future, list[int]]
    root: Future


class Flow:
    """The batches of a run that are on their way.

    Attributes:
        suspects: Items that are alone in a batch whose workers died.
    """

    def __init__(
        self,
        cluster: Cluster,
        function: Callable[[Any], Any],
        ledger: Ledger[Any, Any],
        timeout: float,
    ) -> None:
        self.suspects: list[int] = []
        self._cluster = cluster
        self._function = function
        self._ledger = ledger
        self._timeout = timeout
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
        return submit(_work, self._function, numbers, items, self._timeout, pure=False)

    def _found(self, root: Future) -> Found | None:
        """Numbers and results of a group, or None if its workers died of it."""
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
    function: Callable[[Any], Any],
    numbers: Sequence[int],
    items: Sequence[Any],
    timeout: float,
) -> tuple[float, Found]:
    """Seconds, numbers and results of a batch: what a worker runs."""
    start, watch = time.perf_counter(), Watch(timeout)
    tell(function, items)
    found = [
        (number, attempt(function, item, watch))
        for number, item in zip(numbers, items, strict=True)
    ]
    return time.perf_counter() - start, found


def _merge(parts: Sequence[tuple[float, Found]]) -> tuple[float, Found]:
    return sum(seconds for seconds, _ in parts), [one for _, f in parts for one in f]


Item = TypeVar("Item")
Result = TypeVar("Result")

CONNECT_SECONDS: Final = 10
POLL_SECONDS: Final = 5.0
"""Time without a result after which the workers are counted."""
LOST_SECONDS: Final = 0.2
"""Time between two looks at results that died with their worker."""
EMPTY_SECONDS: Final = 60.0
"""Time without any worker after which a cluster is given up."""


@contextmanager
def connected(address: str) -> Iterator[Cluster]:
    """A connection to the scheduler of a cluster."""
    try:
        from distributed import Client
        from distributed.comm import get_address_host_port
    except ImportError:
        raise UsageError(
            '--engine dask needs the package distributed: pip install "cdstats[dask]"'
        ) from None
    try:
        get_address_host_port(address)  # before a client that would not give up
        client = Client(address, timeout=CONNECT_SECONDS, set_as_default=False)
    except (OSError, ValueError) as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise UsageError(f"no Dask scheduler answers at {address}: {reason}") from None
    with client:
        _check_workers(client, address)
        yield Cluster(client, address)


def _check_workers(client: Client, address: str) -> None:
    """Refuse workers on which the same work could give something else."""

    def version() -> str | None:
        # Sent by value: a worker without the package must be able to say so.
        try:
            import cdstats
        except ImportError:
            return None
        return cdstats.__version__

    for worker, found in client.run(version).items():
        if found != cdstats.__version__:
            has = "no cdstats" if found is None else f"cdstats {found}"
            raise UsageError(
                f"the worker {worker} of the cluster at {address} has {has}; this is "
                f"cdstats {cdstats.__version__}: install the same on every worker"
            )


@dataclass
class Cluster:
    """Runs work on the workers of a scheduler.

    Attributes:
        client: The connection.
        address: The scheduler's address, for messages.
        patience: Seconds that the scheduler may take to answer; None for any time.
    """

    client: Client
    address: str
    patience: float | None = field(default=None, init=False)
    _empty_since: float | None = field(default=None, init=False)

    def run(
        self,
        function: Callable[[Item], Result | Divided[Item, Result]],
        items: Sequence[Item],
        *,
        timeout: float = 0,
        lost: Callable[[Item, str], Result],
    ) -> Iterator[tuple[int, Result]]:
        """Apply a function to every item; see `cdstats.engine.work.run`.

        A batch whose workers die, as often as the scheduler allows, is cut into
        smaller ones. An item is lost when its workers die although nothing else runs.
        """
        from distributed import CancelledError

        ledger = Ledger(items, lost)
        self.patience = timeout or None
        flow = Flow(self, function, ledger, timeout)
        try:
            while ledger.left or flow.suspects:
                for number, result in flow.results():
                    yield from ledger.enter(number, result)
                # Alone, so that no other item can be what its workers die of.
                suspects, flow.suspects = flow.suspects, []
                for number in suspects:
                    alone = list(flow.alone(number))
                    found = alone or [(number, Failed(DIED))]
                    yield from ledger.enter(*found[0])
        except CancelledError:
            # The client says so of all its results when its scheduler is gone.
            raise self._gone() from None

    def threads(self) -> int:
        """Batches that the cluster can work on at a time."""
        return max(sum(int(n) for n in self.client.nthreads().values()), 1)

    def wait(self, futures: Sequence[Future]) -> list[Future]:
        """Those of some futures that are settled, once any is."""
        from distributed import wait

        while True:
            try:
                with self.client.as_current():
                    some = wait(futures, POLL_SECONDS, return_when="FIRST_COMPLETED")
            except TimeoutError:
                self._check_alive()
                continue
            if any(future.status == "cancelled" for future in some.done):
                raise self._gone()
            settled = [f for f in some.done if f.status in ("finished", "error")]
            if settled:
                self._empty_since = None
                return settled
            # Results that died with their worker are being made again.
            time.sleep(LOST_SECONDS)
            self._check_alive()

    def _gone(self) -> DataError:
        return DataError(f"the Dask scheduler at {self.address} went away")

    def _check_alive(self) -> None:
        try:
            workers = self.client.sync(
                self.client.scheduler.ncores, callback_timeout=self.patience
            )
        except (OSError, TimeoutError):
            raise self._gone() from None
        now = time.monotonic()
        if workers:
            self._empty_since = None
        elif self._empty_since is None:
            self._empty_since = now
        elif now - self._empty_since > EMPTY_SECONDS:
            raise DataError(
                f"the Dask cluster at {self.address} has had no worker for "
                f"{EMPTY_SECONDS:.0f} s"
            )
