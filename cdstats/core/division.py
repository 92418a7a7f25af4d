"""Communication between work on an item and its engine: parts, time and memory."""

from __future__ import annotations

from contextvars import ContextVar
from typing import TYPE_CHECKING, Final, Generic, NamedTuple, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

Item = TypeVar("Item")
Result = TypeVar("Result")


class Divided(NamedTuple, Generic[Item, Result]):
    """Returned instead of a result to have parts processed separately.

    Parts are not divided again; ``join`` combines their results.
    """

    parts: Sequence[Item]
    join: Callable[[Sequence[Result]], Result]


def _nobody() -> None:
    """Ignore a sign of life."""


class Watch(NamedTuple):
    """Limits on the work for an item, and a callback that reports progress."""

    seconds: float = 0
    alive: Callable[[], None] = _nobody
    workers: int = 1

    @property
    def reason(self) -> str:
        """The reason for a file that exceeds the time limit."""
        return f"took longer than {self.seconds:g} s (--timeout)"


WATCH: Final[ContextVar[Watch]] = ContextVar("WATCH", default=Watch())  # noqa: B039


class NeedsAllMemoryError(BaseException):
    """An item needs more memory than the share of one worker.

    The engine repeats it alone. It is not an `Exception`, so that readers do not treat
    it as damage.
    """
