"""Work on a Dask cluster: connection, workers and failures."""

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
"""Target duration of a batch; the scheduler and this process spend about 1 ms on it."""
MOST_ITEMS: Final = 4096
FIRST_ITEMS: Final = 8
"""Most items per batch, and until the time per item is known."""
FAN: Final = 8
"""Number of smaller batches that replace a batch whose workers died."""

CONNECT_SECONDS: Final = 10
POLL_SECONDS: Final = 5.0
"""The workers are checked after this time without a result."""
LOST_SECONDS: Final = 0.2
"""Polling interval for results that are recomputed because their worker died."""
EMPTY_SECONDS: Final = 60.0
"""The run fails after this time without any worker."""


def _work(
    function: Callable[[Any], Any],
    numbers: Sequence[int],
    items: Sequence[Any],
    timeout: float,
) -> tuple[float, list[tuple[int, Any]]]:
    """Run a batch on a worker; returns the seconds, and results by item number."""
    start, watch = time.perf_counter(), Watch(timeout)
    tell(function, items)
    found = [attempt(function, item, watch) for item in items]
    return time.perf_counter() - start, list(zip(numbers, found, strict=True))


@contextmanager
def connected(address: str) -> Iterator[Cluster]:
    """Connect to the scheduler of a cluster.

    Raises:
        UsageError: If the package is missing, nothing answers at the address, or the
            workers have a different version of cdstats.
    """
    try:
        from distributed import Client
        from distributed.comm import get_address_host_port
    except ImportError:
        raise UsageError(
            '--engine dask needs the package distributed: pip install "cdstats[dask]"'
        ) from None
    try:
        get_address_host_port(address)  # checked first, because the client would retry
        client = Client(address, timeout=CONNECT_SECONDS, set_as_default=False)
    except (OSError, ValueError) as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise UsageError(f"no Dask scheduler answers at {address}: {reason}") from None
    with client:
        _check_workers(client, address)
        yield Cluster(client, address)


def _check_workers(client: Client, address: str) -> None:
    """Refuse workers with a different version, whose results may differ."""

    def version() -> str | None:
        # Sent by value, so that it runs on a worker without the package too.
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

    `patience` is the number of seconds that the scheduler may take to answer.
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

        A batch whose workers die as often as the scheduler allows is split into
        smaller batches. An item is lost if its workers die while nothing else runs.

        Raises:
            DataError: If the scheduler is gone, or has had no worker for too long.
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
                # Run it alone, so that only this item can kill its workers.
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
            # The client cancels all results when its scheduler is gone.
            raise self._gone() from None

    def _settled(self, futures: Sequence[Future]) -> list[Future]:
        """Wait for some futures and return those that have finished.

        Raises:
            DataError: If the scheduler is gone, or has had no worker for too long.
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
            # Results that were lost with their worker are being recomputed.
            time.sleep(LOST_SECONDS)
            self._check_alive()

    def _gone(self) -> DataError:
        return DataError(f"the Dask scheduler at {self.address} has disconnected")

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
