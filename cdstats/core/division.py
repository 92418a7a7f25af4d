"""What work on an item and the engine tell each other: parts, time and memory."""

from __future__ import annotations

from contextvars import ContextVar
from typing import TYPE_CHECKING, Final, Generic, NamedTuple, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

Item = TypeVar("Item")
Result = TypeVar("Result")


class Divided(NamedTuple, Generic[Item, Result]):
    """What a function returns in place of a result when it leaves the work to parts.

    None of the parts is divided again; ``join`` makes the result from theirs.
    """

    parts: Sequence[Item]
    join: Callable[[Sequence[Result]], Result]


def _nobody() -> None:
    """Nobody waits for signs of life."""


class Watch(NamedTuple):
    """Who watches the work on an item."""

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
