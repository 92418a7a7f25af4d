"""What became of a mask: its counts, or the reason why there are none."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from cdstats.core.counts import MaskCounts


class Counted(NamedTuple):
    """What became of one mask of a file."""

    member: str
    mask: MaskCounts | None
    reason: str = ""
    size: tuple[int, int] | None = None


class CountedMask(NamedTuple):
    """A mask of a dataset and what became of it."""

    dataset: str
    split: str
    path: str
    counted: Counted

    @property
    def place(self) -> tuple[str, str, str]:
        """Dataset, split and path: the first columns of its row."""
        return self.dataset, self.split, self.path


class FirstFailure:
    """Gives the first failure by place, once every item before it is done.

    So a run that stops at a failure names the same one however many work on it.

    Example:
        >>> first = FirstFailure(4)
        >>> first.see(2, "c fails"), first.see(0), first.see(3, "d fails")
        (None, None, None)
        >>> first.see(1)
        'c fails'
    """

    def __init__(self, number: int) -> None:
        self._seen = bytearray(number)
        self._place = number
        self._failure: str | None = None

    def see(self, place: int, failure: str | None = None) -> str | None:
        """Note what became of a place; the first failure if all before it are noted."""
        self._seen[place] = 1
        if failure is not None and place < self._place:
            self._place, self._failure = place, failure
        if self._failure is None or self._seen.find(0, 0, self._place) >= 0:
            return None
        return self._failure
