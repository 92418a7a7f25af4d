"""The order of probabilities and logits as integers, and counts by such rank.

A rank is fine at both ends, where confident networks put their scores: below 1/2 it
follows the bits of p, above those of 1 - p. A logit has the rank of its sigmoid, also
where the sigmoid itself would round to 1.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import numpy as np

from cdstats.core.histogram import LevelCounts

if TYPE_CHECKING:
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
_WAITING: Final = 1 << 20
"""Levels of a pool that are joined together, at least."""


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


def rounded(counts: LevelCounts, bits: NDArray[np.uint64]) -> LevelCounts:
    """The counts of coarser levels of ranks; see `rounded_down`."""
    ranks = rounded_down(counts.values, bits)
    return LevelCounts.grouped(ranks, counts.changed, counts.unchanged)


def counts_from(
    counts: LevelCounts, edges: NDArray[np.uint64]
) -> tuple[Counts, Counts]:
    """Changed and unchanged pixels from each edge of ranks up to the next."""
    place = np.maximum(np.searchsorted(edges, counts.values, side="right") - 1, 0)
    found = np.zeros((2, edges.size), dtype=np.int64)
    np.add.at(found[0], place, counts.changed)
    np.add.at(found[1], place, counts.unchanged)
    return found[0], found[1]


class LevelPool:
    """Adds levels of many images; equal ones are joined when they have doubled.

    Example:
        >>> pool = LevelPool()
        >>> pool.add(LevelCounts.of(np.array([0.5]), np.array([0.5, 0.25])))
        >>> pool.total.valid
        3
    """

    def __init__(self) -> None:
        self._parts: list[LevelCounts] = []
        self._joined = self._waiting = 0

    def add(self, counts: LevelCounts) -> None:
        """Add the levels of one image, or of another pool."""
        self._parts.append(counts)
        self._waiting += counts.values.size
        if self._waiting > max(self._joined, _WAITING):
            self._parts = [self.total]
            self._joined, self._waiting = self._parts[0].values.size, 0

    @property
    def is_empty(self) -> bool:
        """Whether nothing was added."""
        return not self._parts

    @property
    def total(self) -> LevelCounts:
        """The levels of all; there must be some."""
        return LevelCounts.joined(self._parts)
