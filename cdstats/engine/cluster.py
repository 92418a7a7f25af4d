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

Item = TypeVar("Item")
Result = TypeVar("Result")

BATCH_SECONDS: Final = 2.0
"""Work that a batch is meant to hold: the scheduler spends about 1 ms on each, and this
process as much on its results."""
MOST_ITEMS: Final = 4096
FIRST_ITEMS: Final = 8
"""Items of a batch at most, and before it is known what an item takes."""
FAN: Final = 8
"""Batches into which one is cut whose workers died."""

CONNECT_SECONDS: Final = 10
POLL_SECONDS: Final = 5.0
"""Time without a result after which the workers are counted."""
LOST_SECONDS: Final = 0.2
"""Time between two looks at results that died with their worker."""
EMPTY_SECONDS: Final = 60.0
"""Time without any worker after which a cluster is given up."""


def _work(
    function: Callable[[Any], Any],
    numbers: Sequence[int],
    items: Sequence[Any],
    timeout: float,
) -> tuple[float, list[tuple[int, Any]]]:
    """Seconds, numbers and results of a batch: what a worker runs."""
    start, watch = time.perf_counter(), Watch(timeout)
    tell(function, items)
    found = [attempt(function, item, watch) for item in items]
    return time.perf_counter() - start, list(zip(numbers, found, strict=True))


@contextmanager
def connected(address: str) -> Iterator[Cluster]:
    """A connection to the scheduler of a cluster.

    Raises:
        UsageError: If the package is missing, nothing answers at the address, or the
            workers have another version of this package.
    """
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

    Its patience are the seconds that the scheduler may take to answer.
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

        Raises:
            DataError: If the cluster has no workers any more.
        """
        from distributed import CancelledError
        from distributed.scheduler import KilledWorker

        ledger = Ledger(items, lost)
        self.patience = timeout or None
        threads = max(sum(int(n) for n in self.client.nthreads().values()), 1)
        out: dict[Future, list[int]] = {}
        suspects: list[int] = []
        seconds: float | None = None

        def send(numbers: list[int]) -> None:
            given = [ledger.item(number) for number in numbers]
            work = function, numbers, given, timeout
            out[self.client.submit(_work, *work, pure=False)] = numbers

        try:
            while True:
                while ledger.left and len(out) < 4 * threads:
                    by_time = FIRST_ITEMS
                    if seconds is not None:
                        by_time = int(BATCH_SECONDS / max(seconds, 1e-6))
                    share = ledger.left // (4 * threads)
                    send(ledger.take(max(1, min(by_time, share, MOST_ITEMS))))
                # Alone, so that no other item can be what its workers die of.
                alone = bool(suspects) and not out
                if alone:
                    send([suspects.pop(0)])
                if not out:
                    return
                for future in self._settled(list(out)):
                    numbers = out.pop(future)
                    found: list[tuple[int, Any]] = []
                    try:
                        spent, found = future.result()
                        each = spent / len(found)
                        seconds = each if seconds is None else (seconds + each) / 2
                    except KilledWorker:
                        if alone:
                            found = [(numbers[0], Failed(DIED))]
                        elif len(numbers) == 1:
                            suspects += numbers
                        else:
                            size = -(-len(numbers) // FAN)
                            for at in range(0, len(numbers), size):
                                send(numbers[at : at + size])
                    for one in found:
                        yield from ledger.enter(*one)
        except CancelledError:
            # The client says so of all its results when its scheduler is gone.
            raise self._gone() from None

    def _settled(self, futures: Sequence[Future]) -> list[Future]:
        """Those of some futures that are settled, once any is.

        Raises:
            DataError: If there is no worker for too long, or no scheduler any more.
        """
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
