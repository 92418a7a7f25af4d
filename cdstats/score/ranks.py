"""The order of probabilities and logits as integers, and counts by such rank.

A rank is fine at both ends, where confident networks put their scores: below 1/2 it
follows the bits of p, above those of 1 - p. A logit has the rank of its sigmoid, also
where the sigmoid itself would round to 1.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Iterable

    from numpy.typing import NDArray

    from cdstats.core.histogram import Counts
    from cdstats.core.sums import Floats

_HALF: Final = np.float64(0.5).view(np.uint64)
_ONE: Final = _HALF + _HALF
_ROUNDINGS: Final = np.uint64(4)
_BITS: Final = np.uint64(45)
"""Bits that ranks of one code differ in: a code keeps 7 digits of each power of two."""
_LOW: Final = np.uint64((1023 - 127) << 7)
"""Ranks of p below 2^-127 have one code, and those of 1 - p."""
CODES: Final = int(2 * ((_HALF >> _BITS) - _LOW)) + 1
"""Codes of ranks; the first holds p = 0 and the last p = 1."""
SPANS: Final = np.full(CODES, _BITS, dtype=np.uint64)
"""Bits that the ranks of each code differ in."""
SPANS[0], SPANS[-1] = 60, 63


def ranks_of(scores: NDArray[Any], *, logits: bool) -> NDArray[np.uint64]:
    """Integers that rise as the scores do, of any floating type.

    Example:
        >>> found = ranks_of(np.array([0, 0.25, 0.5, 1]), logits=False)
        >>> probs_of(found)
        array([0.  , 0.25, 0.5 , 1.  ])
    """
    wide = scores.astype(np.float64)
    if logits:
        upper = wide >= 0
        far = np.exp(-np.abs(wide))
        rest = far / (1 + far)
    else:
        upper = wide >= 0.5
        # The subtraction is exact from 1/2 to 1.
        rest = np.where(upper, 1 - wide, np.abs(wide))
    bits = rest.view(np.uint64)
    found: NDArray[np.uint64] = np.where(upper, _ONE - bits, bits)
    # A few roundings lower: the probability of a rank is never above that of the logit.
    return found - np.minimum(found, _ROUNDINGS) if logits else found


def probs_of(ranks: NDArray[np.uint64]) -> Floats:
    """The probabilities of ranks; rounded down where a sure logit has no other."""
    upper = ranks >= _HALF
    rest = np.where(upper, _ONE - ranks, ranks).view(np.float64)
    probs = np.where(upper, 1 - rest, rest)
    return np.where(upper & (1 - probs < rest), np.nextafter(probs, 0), probs)


def codes_of(ranks: NDArray[np.uint64]) -> NDArray[np.uint16]:
    """Ranks in 16 bits: 128 codes for each power of two of p and of 1 - p."""
    top = np.uint64(CODES - 1)
    codes: NDArray[np.uint64] = np.clip(ranks >> _BITS, _LOW, _LOW + top) - _LOW
    return codes.astype(np.uint16)


def ranks_of_codes(codes: NDArray[Any]) -> NDArray[np.uint64]:
    """The lowest rank of each code."""
    ranks = (codes.astype(np.uint64) + _LOW) << _BITS
    return np.where(codes > 0, ranks, np.uint64(0))


def rounded_down(
    ranks: NDArray[np.uint64], bits: NDArray[np.uint64]
) -> NDArray[np.uint64]:
    """The first rank of the level of each rank."""
    codes = codes_of(ranks)
    shifts = bits[codes]
    first: NDArray[np.uint64] = (ranks >> shifts) << shifts
    return np.maximum(first, ranks_of_codes(codes))


@dataclass(frozen=True, slots=True, eq=False)
class RankCounts:
    """Pixels of each class at each rank; adds over windows and images."""

    ranks: NDArray[np.uint64]
    changed: Counts
    unchanged: Counts

    @classmethod
    def of(
        cls, changed: NDArray[np.uint64], unchanged: NDArray[np.uint64]
    ) -> RankCounts:
        """Count the ranks of the pixels of each class."""
        positive = np.unique(changed, return_counts=True)
        negative = np.unique(unchanged, return_counts=True)
        return cls.joined(
            [
                cls(positive[0], positive[1], np.zeros_like(positive[1])),
                cls(negative[0], np.zeros_like(negative[1]), negative[1]),
            ]
        )

    @classmethod
    def joined(cls, parts: Iterable[RankCounts]) -> RankCounts:
        """All counts together.

        Example:
            >>> one = RankCounts.of(np.array([3], "u8"), np.array([1, 3, 3], "u8"))
            >>> RankCounts.joined([one, one]).unchanged
            array([2, 4])
        """
        held = [part for part in parts if part.ranks.size]
        if len(held) == 1:
            return held[0]
        columns = zip(_NONE, *map(_columns, held), strict=True)
        return _merged(*map(np.concatenate, columns))

    def rounded(self, bits: NDArray[np.uint64]) -> RankCounts:
        """The counts of coarser levels; see `rounded_down`."""
        return _merged(rounded_down(self.ranks, bits), self.changed, self.unchanged)

    def at(self, edges: NDArray[np.uint64]) -> tuple[Counts, Counts]:
        """Changed and unchanged pixels from each edge up to the next."""
        place = np.searchsorted(edges, self.ranks, side="right") - 1
        place = np.maximum(place, 0)
        found = np.zeros((2, edges.size), dtype=np.int64)
        np.add.at(found[0], place, self.changed)
        np.add.at(found[1], place, self.unchanged)
        return found[0], found[1]


_Columns = tuple["NDArray[np.uint64]", "Counts", "Counts"]
_NONE: Final = tuple(
    np.zeros(0, dtype=kind) for kind in (np.uint64, np.int64, np.int64)
)


def _columns(counts: RankCounts) -> _Columns:
    return counts.ranks, counts.changed, counts.unchanged


def _merged(
    ranks: NDArray[np.uint64], changed: Counts, unchanged: Counts
) -> RankCounts:
    """Counts by rising ranks, those of equal ranks added."""
    # A stable sort merges what is sorted already.
    order = np.argsort(ranks, kind="stable")
    ranks = ranks[order]
    first = np.flatnonzero(np.append(True, ranks[1:] != ranks[:-1])[: ranks.size])
    if not first.size:
        return RankCounts(ranks, changed, unchanged)
    return RankCounts(
        ranks[first],
        np.add.reduceat(changed[order], first),
        np.add.reduceat(unchanged[order], first),
    )


class RankPool:
    """Adds counts of many images; equal ranks are joined when they have doubled."""

    def __init__(self) -> None:
        self._parts: list[RankCounts] = []
        self._joined = self._waiting = 0

    def add(self, counts: RankCounts) -> None:
        """Add counts."""
        self._parts.append(counts)
        self._waiting += counts.ranks.size
        if self._waiting > max(self._joined, 1 << 20):
            self._parts = [self.total]
            self._joined, self._waiting = self._parts[0].ranks.size, 0

    @property
    def total(self) -> RankCounts:
        """All counts added."""
        return RankCounts.joined(self._parts)
