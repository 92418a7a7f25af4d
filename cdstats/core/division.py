"""What work on an item and the engine tell each other: parts, time and memory."""

from __future__ import annotations

from contextvars import ContextVar
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Generic, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

Item = TypeVar("Item")
Result = TypeVar("Result")


@dataclass(frozen=True, slots=True)
class Divided(Generic[Item, Result]):
    """What a function returns in place of a result when it leaves the work to parts.

    Attributes:
        parts: Items for the same function; none of them is divided again.
        join: The result of the whole, from those of the parts in their order.
    """

    parts: Sequence[Item]
    join: Callable[[Sequence[Result]], Result]


def _nobody() -> None:
    """Nobody waits for signs of life."""


@dataclass(frozen=True, slots=True)
class Watch:
    """Who watches the work on an item.

    Attributes:
        seconds: What one window of a file may take; 0 for any time.
        alive: Called after each window, to report that the work has not stopped.
        workers: Processes that share the memory of the run at the same time.
    """

    seconds: float = 0
    alive: Callable[[], None] = _nobody
    workers: int = 1

    @property
    def reason(self) -> str:
        """Why a file fails that takes longer."""
        return f"took longer than {self.seconds:g} s (--timeout)"


WATCH: Final[ContextVar[Watch]] = ContextVar("WATCH", default=Watch())  # noqa: B039


class NeedsAllMemoryError(BaseException):
    """An item needs more memory than the share of one of several workers.

    The engine works on it again, alone. It is no `Exception`, so that no reader takes
    it for damage.
    """
