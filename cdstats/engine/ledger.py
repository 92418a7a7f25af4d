"""What is still to do: items by their place, and the parts of divided ones."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Generic, TypeVar

from cdstats.core.division import Divided

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

Item = TypeVar("Item")
Result = TypeVar("Result")


class Ledger(Generic[Item, Result]):
    """Items to work on, each with a number.

    The number of an item is its place; the parts of divided items are numbered after
    the last place. Parts come first, so that few results wait for others.

    Args:
        items: All items; read one at a time, when it is their turn.
    """

    def __init__(self, items: Sequence[Item]) -> None:
        self._items = items
        self._count = len(items)
        self._next = 0
        self._parts: dict[int, Item] = {}
        self._waiting: list[int] = []
        self._open: dict[int, _Open[Item, Result]] = {}
        self._last = self._count

    @property
    def left(self) -> int:
        """Items and parts that nobody has taken yet."""
        return self._count - self._next + len(self._waiting)

    def take(self, most: int) -> list[int]:
        """Numbers of the next items or parts, which are the caller's to work on."""
        numbers = self._waiting[:most]
        del self._waiting[: len(numbers)]
        stop = min(self._next + most - len(numbers), self._count)
        numbers += range(self._next, stop)
        self._next = stop
        return numbers

    def ahead(self) -> Iterator[Item]:
        """Items that nobody has taken yet, in order; each read when it is asked for."""
        return (self._items[number] for number in range(self._next, self._count))

    def item(self, number: int) -> Item:
        """The item or part of a number."""
        return self._items[number] if number < self._count else self._parts[number]

    def enter(
        self, number: int, result: Result | Divided[Item, Result]
    ) -> list[tuple[int, Result]]:
        """Note a result.

        Returns:
            The place and result of the item that is done with it, or nothing when its
            parts have yet to be done.
        """
        if isinstance(result, Divided):
            self._divide(number, result)
            return []
        if number < self._count:
            return [(number, result)]
        del self._parts[number]
        division = self._open.pop(number)
        division.results[number] = result
        if len(division.results) < len(division.whole.parts):
            return []
        ordered = [division.results[part] for part in sorted(division.results)]
        return [(division.place, division.whole.join(ordered))]

    def _divide(self, place: int, whole: Divided[Item, Result]) -> None:
        if place >= self._count or not whole.parts:
            raise ValueError("a part was divided again, or into no parts")
        division = _Open(place, whole)
        for part in whole.parts:
            self._parts[self._last] = part
            self._open[self._last] = division
            self._waiting.append(self._last)
            self._last += 1


class _Open(Generic[Item, Result]):
    """A divided item whose parts are being worked on."""

    def __init__(self, place: int, whole: Divided[Item, Result]) -> None:
        self.place = place
        self.whole = whole
        self.results: dict[int, Result] = {}


def tell(function: Callable[[Item], Any], items: Iterable[Item]) -> None:
    """Tell a function that wants to know it what it is applied to next, in order.

    Args:
        function: What is applied to the items, in this thread.
        items: The items; read as far as the function looks ahead.
    """
    expect = getattr(function, "expect", None)
    if expect is not None:
        expect(items)
