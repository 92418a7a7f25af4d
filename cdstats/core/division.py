"""Work on one item that is better done in parts, by several workers."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Generic, TypeVar

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
