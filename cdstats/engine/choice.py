"""Choosing where work runs: on this machine, or on a Dask cluster."""

from __future__ import annotations

from contextlib import contextmanager
from enum import StrEnum
from functools import partial
from typing import TYPE_CHECKING, Protocol, TypeVar

from cdstats.core.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from cdstats.core.division import Divided

Item = TypeVar("Item")
Result = TypeVar("Result")


class EngineName(StrEnum):
    """Where work runs."""

    LOCAL = "local"
    DASK = "dask"


class Engine(Protocol):
    """Applies a function to every item; see `cdstats.engine.work.run`."""

    def __call__(
        self,
        function: Callable[[Item], Result | Divided[Item, Result]],
        items: Sequence[Item],
        *,
        lost: Callable[[Item], Result],
    ) -> Iterator[tuple[int, Result]]:
        """The place of an item and its result, in any order."""


@contextmanager
def open_engine(
    engine: str, scheduler: str | None, jobs: int | None
) -> Iterator[Engine]:
    """The engine of a name, with the connection that it needs.

    Args:
        engine: ``"local"`` or ``"dask"``.
        scheduler: Address of the scheduler of a Dask cluster.
        jobs: Worker processes on this machine; None for as many as pay.

    Raises:
        UsageError: If the name is unknown, options do not fit together, the package
            for it is not installed, or the cluster does not answer.
    """
    name = _known(engine)
    if name is EngineName.LOCAL:
        if scheduler is not None:
            raise UsageError(f"--scheduler {scheduler} needs --engine dask")
        from cdstats.engine.work import run

        yield partial(run, jobs=jobs)
        return
    if scheduler is None:
        raise UsageError(
            "--engine dask needs the cluster's address, such as "
            "--scheduler tcp://HOST:8786"
        )
    if jobs is not None and jobs != 1:
        raise UsageError("--jobs is for --engine local: a cluster has its own workers")
    from cdstats.engine.cluster import connected

    with connected(scheduler) as cluster:
        yield cluster.run


def _known(engine: str) -> EngineName:
    for name in EngineName:
        if name.value == engine:
            return name
    known = " or ".join(name.value for name in EngineName)
    raise UsageError(f"engine {engine}: expected {known}")
