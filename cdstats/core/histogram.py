"""Counts of probabilities on changed and on unchanged pixels.

These counts are sufficient for every loss that does not depend on pixel positions. A
stored map of 8 or 16 bits has at most 65,536 levels, so its counts are small, exact and
additive over windows and images. Sorted probabilities of one full-precision image have
the same form.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from cdstats.core.pixel_terms import (
    class_sums,
    cross_entropy,
    least_changed,
    sigmoid_and_logs,
)
from cdstats.core.sums import BINS, Floats, ImageSums, bins_of

if TYPE_CHECKING:
    from collections.abc import Iterable

    from cdstats.core.pixel_terms import Term

Counts = NDArray[np.int64]


@dataclass(frozen=True, slots=True, eq=False)
class LevelCounts:
    """Pixel counts of each class by level; adds over windows and images.

    Levels rise. They are probabilities of change, logits (kept because probabilities of
    confident logits lose digits), or stored integers that stand for either.

    Example:
        >>> levels = LevelCounts.of(np.array([0.9, 0.9]), np.array([0.1]))
        >>> (levels + levels).changed
        array([0, 4])
    """

    values: NDArray[Any]
    changed: Counts
    unchanged: Counts
    logits: bool = False

    def __post_init__(self) -> None:
        # NaN may be stored, and sorts last.
        if (self.values[1:] <= self.values[:-1]).any():
            raise ValueError("the levels do not rise")
        if not self.values.shape == self.changed.shape == self.unchanged.shape:
            raise ValueError("levels and counts differ in length")

    @classmethod
    def of(
        cls, changed: NDArray[Any], unchanged: NDArray[Any], *, logits: bool = False
    ) -> LevelCounts:
        """Count the finite values of each class by sorting."""
        one, of_one = np.unique(changed, return_counts=True)
        two, of_two = np.unique(unchanged, return_counts=True)
        return cls.grouped(
            np.concatenate([one, two]),
            np.concatenate([of_one, np.zeros_like(of_two)]),
            np.concatenate([np.zeros_like(of_one), of_two]),
            logits=logits,
        )

    @classmethod
    def grouped(
        cls,
        values: NDArray[Any],
        changed: Counts,
        unchanged: Counts,
        *,
        logits: bool = False,
    ) -> LevelCounts:
        """Levels from unsorted values; adding 0 turns -0 into 0."""
        if values.dtype.kind == "f":
            values = values.astype(np.float64) + 0.0
        # A stable sort is fast on presorted values.
        order = np.argsort(values, kind="stable")
        values, changed, unchanged = values[order], changed[order], unchanged[order]
        first = np.flatnonzero(np.append(True, values[1:] != values[:-1])[: order.size])
        if first.size < order.size:
            changed = np.add.reduceat(changed, first)
            unchanged = np.add.reduceat(unchanged, first)
        return cls(values[first], changed, unchanged, logits)

    @classmethod
    def joined(cls, parts: Iterable[LevelCounts]) -> LevelCounts:
        """Merge the levels of one or more parts."""
        held = list(parts)
        if len({one.logits for one in held}) > 1:
            raise ValueError("cannot add logits and probabilities")
        return cls.grouped(
            np.concatenate([one.values for one in held]),
            np.concatenate([one.changed for one in held]),
            np.concatenate([one.unchanged for one in held]),
            logits=held[0].logits,
        )

    def __add__(self, other: LevelCounts) -> LevelCounts:
        return self.joined([self, other])

    @property
    def pixels(self) -> Counts:
        """Pixels of each level, over both classes."""
        return self.changed + self.unchanged

    @property
    def valid(self) -> int:
        """Total number of pixels."""
        return int(self.changed.sum() + self.unchanged.sum())

    def right(self, *, changed: bool) -> Floats:
        """p_t of each level: p for changed and 1 - p for unchanged pixels."""
        if not self.logits:
            return self.values if changed else 1 - self.values
        found: Floats = sigmoid_and_logs(self.values)[0 if changed else 1]
        return found

    def cross_entropy(self, *, changed: bool) -> Floats:
        """Cross-entropy of a pixel at each level."""
        rest = self.right(changed=False) if self.logits else None
        found: Floats = cross_entropy(
            self.right(changed=True), changed=changed, rest=rest
        )
        return found

    def is_below(self, threshold: float, *, changed: bool) -> NDArray[np.bool_]:
        """Whether p_t of each level is below a threshold."""
        if not self.logits:
            return self.right(changed=changed) < threshold
        scores = self.values if changed else -self.values
        return scores < least_changed(threshold, "float64", logits=True)

    def sums(
        self, *, threshold: float = 0.5, terms: Iterable[Term] = (), ignored: int = 0
    ) -> ImageSums:
        """Sums over the pixels, evaluated once per level in float64.

        Raises:
            ValueError: If a term needs positions, or the levels are logits.
        """
        if self.logits:
            raise ValueError("sums are of probabilities, not of logits")
        p, above = self.values, np.searchsorted(self.values, threshold)
        tp, fp = int(self.changed[above:].sum()), int(self.unchanged[above:].sum())
        changed, unchanged = int(self.changed.sum()), int(self.unchanged.sum())
        plain, pairs = class_sums(p, self.changed, self.unchanged, terms)
        gaps = np.bincount(
            bins_of(p), self.unchanged * p - self.changed * (1 - p), BINS
        )
        wrong = self.changed[p == 0].sum() + self.unchanged[p == 1].sum()
        same: dict[str, Any] = {n: float(np.sum(v)) for n, v in plain.items()}
        return ImageSums(
            **same,
            valid=changed + unchanged,
            changed=changed,
            ignored=ignored,
            target_sq_sum=float(changed),
            saturated_wrong=int(wrong),
            tp=tp,
            fp=fp,
            fn=changed - tp,
            tn=unchanged - fp,
            calibration=tuple(gaps.tolist()),
            terms={
                t: (float(np.sum(a)), float(np.sum(b))) for t, (a, b) in pairs.items()
            },
        )
