"""A Dask cluster to work on: its connection, its workers, and what ends a run."""

from __future__ import annotations

import time
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, TypeVar

import cdstats
from cdstats.core.errors import DataError, UsageError
from cdstats.engine.flow import Flow
from cdstats.engine.ledger import Ledger

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from distributed import Client, Future

    from cdstats.core.division import Divided

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

    Attributes:
        client: The connection.
        address: The scheduler's address, for messages.
    """

    client: Client
    address: str
    _empty_since: float | None = field(default=None, init=False)

    def run(
        self,
        function: Callable[[Item], Result | Divided[Item, Result]],
        items: Sequence[Item],
        *,
        lost: Callable[[Item], Result],
    ) -> Iterator[tuple[int, Result]]:
        """Apply a function to every item; see `cdstats.engine.work.run`.

        A batch whose workers die, as often as the scheduler allows, is cut into
        smaller ones. An item is lost when its workers die although nothing else runs.

        Raises:
            DataError: If the cluster has no workers any more.
        """
        from distributed import CancelledError

        ledger: Ledger[Item, Result] = Ledger(items)
        flow = Flow(self, function, ledger)
        try:
            while ledger.left or flow.suspects:
                for number, result in flow.results():
                    yield from ledger.enter(number, result)
                # Alone, so that no other item can be what its workers die of.
                suspects, flow.suspects = flow.suspects, []
                for number in suspects:
                    alone = list(flow.alone(number))
                    found = alone or [(number, lost(ledger.item(number)))]
                    yield from ledger.enter(*found[0])
        except CancelledError:
            # The client says so of all its results when its scheduler is gone.
            raise self._gone() from None

    def threads(self) -> int:
        """Batches that the cluster can work on at a time."""
        return max(sum(int(n) for n in self.client.nthreads().values()), 1)

    def wait(self, futures: Sequence[Future]) -> list[Future]:
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
            workers = self.client.nthreads()
        except OSError:
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
