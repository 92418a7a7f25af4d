"""What became of a mask: its counts, or the reason why there are none."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from cdstats.core.counts import MaskCounts


@dataclass(frozen=True, slots=True)
class Counted:
    """What became of one mask of a file.

    Attributes:
        member: What tells it from the others of its file; empty for the only one.
        mask: Its counts, or None when it failed.
        reason: Why it failed.
        size: Width and height, when they are known.
    """

    member: str
    mask: MaskCounts | None
    reason: str = ""
    size: tuple[int, int] | None = None

    def __reduce__(self) -> tuple[Any, ...]:
        """What travels between processes: a tuple, where a dataclass is slow."""
        return Counted, (self.member, self.mask, self.reason, self.size)


@dataclass(frozen=True, slots=True)
class CountedMask:
    """A mask of a dataset and what became of it."""

    dataset: str
    split: str
    path: str
    counted: Counted

    @property
    def place(self) -> tuple[str, str, str]:
        """Dataset, split and path: the first columns of its row."""
        return self.dataset, self.split, self.path
