"""Counts at falling thresholds: average precision, best F1, and error bounds.

Pixels are counted by rising level of probability. The pixels of a level are equal or in
a narrow range, which bounds the effect of their unknown order.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

from cdstats.core.sums import quotient

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from cdstats.core.histogram import Counts
    from cdstats.core.sums import Floats


def average_precision(changed: NDArray[Any], unchanged: NDArray[Any]) -> Floats:
    """Area under the precision-recall curve, as a step sum: Σ (R_n - R_{n-1}) P_n.

    Pixels of a level are tied and enter together, without interpolation, as in
    scikit-learn. Levels rise along the last axis, ``(..., L)``; the area, ``(...)``, is
    NaN without changed pixels.
    """
    gained = changed[..., ::-1]
    tp, fp = gained.cumsum(-1), unchanged[..., ::-1].cumsum(-1)
    precision = quotient(tp, tp + fp)
    # Above the highest score, recall is 0 and precision undefined.
    steps = np.where(gained > 0, gained * precision, 0.0)
    return quotient(steps.sum(-1), np.asarray(changed.sum(-1)))


def best_f1(changed: NDArray[Any], unchanged: NDArray[Any]) -> tuple[Floats, Any]:
    """Highest F1 of the changed class over all thresholds, and the index of its level.

    It is optimistic for other data than the pixels it is chosen on. Levels rise,
    ``(..., L)``; the F1 is NaN without changed pixels, and of equal maxima the highest
    level is given; ``(...)``.
    """
    tp, fp = changed[..., ::-1].cumsum(-1), unchanged[..., ::-1].cumsum(-1)
    total = changed.sum(-1)
    f1 = quotient(2 * tp, tp + fp + total[..., None])
    last = f1.shape[-1] - 1
    place = np.where(np.isnan(f1), -1.0, f1).argmax(-1)
    best = np.take_along_axis(f1, place[..., None], -1)[..., 0]
    return np.where(total > 0, best, np.nan), last - place


def _harmonic(numbers: Counts) -> Floats:
    """Harmonic sum of 1/k below each positive number, minus Euler's constant."""
    before = sum(1 / (numbers + k) for k in range(16))
    x = numbers + 16.0
    series = 1 / 12 - (1 / 120 - (1 / 252 - 1 / (240 * x**2)) / x**2) / x**2
    found: Floats = np.log(x) - 1 / (2 * x) - series / x**2 - before
    return found


def _short(below: float, most: float) -> float | None:
    """A number of few digits in ``(below, most]``; None if there is none.

    A number that is in the interval in float32 too is preferred.
    """
    if most <= below:
        return None
    zeros = -math.floor(math.log10(most)) if most > 0 else 0
    for precision in (np.float32, np.float64):
        for decimals in range(1, min(zeros + 17, 300)):
            scale = 10.0**decimals
            found = math.floor(most * scale) / scale
            if precision(found) > below and below < found <= most:
                return found
    return most


@dataclass(frozen=True)
class Curve:
    """Pixel counts of a model by rising threshold; changed means p >= threshold.

    Attributes:
        thresholds: Lowest probability of each level, rising; float64, ``(L,)``.
        changed: Changed pixels of each level; int64, ``(L,)``.
        unchanged: Unchanged pixels of each level; int64, ``(L,)``.
        tied: Whether all pixels of a level have the same probability.
    """

    thresholds: Floats
    changed: Counts
    unchanged: Counts
    tied: NDArray[np.bool_]

    @classmethod
    def of(cls, values: Floats, changed: Counts, unchanged: Counts) -> Curve:
        """A curve of levels with one probability each."""
        return cls(values, changed, unchanged, np.ones(values.shape, dtype=np.bool_))

    @cached_property
    def confusion(self) -> tuple[Counts, Counts, Counts, Counts]:
        """tp, fp, fn and tn at each threshold."""
        tp = self.changed[::-1].cumsum()[::-1]
        fp = self.unchanged[::-1].cumsum()[::-1]
        return tp, fp, self.changed.sum() - tp, self.unchanged.sum() - fp

    @property
    def average_precision(self) -> float | None:
        """Average precision, rounded to its known decimals; None if undefined."""
        found = float(average_precision(self.changed, self.unchanged))
        if np.isnan(found):
            return None
        return found if self._decimals is None else round(found, self._decimals)

    @property
    def _decimals(self) -> int | None:
        """Known decimals of average precision; None if it is exact."""
        uncertain = self._uncertain
        return int(-np.log10(2 * uncertain)) if uncertain else None

    @cached_property
    def best(self) -> tuple[float, float | None] | None:
        """Highest F1 and a threshold for it; None without changed pixels.

        Of equivalent thresholds, one of few digits is chosen. The threshold is None
        between logits above 36.7, because no float64 lies between their probabilities.
        """
        if not self.changed.any():
            return None
        found, place = best_f1(self.changed, self.unchanged)
        at = int(place)
        below = float(self.thresholds[at - 1]) if at else -1.0
        most = float(self.thresholds[at])
        if at and not self.tied[at - 1] and below < most:
            # The pixels of the level below may extend to the next level.
            return float(found), most
        return float(found), _short(below, most)

    @cached_property
    def spread(self) -> tuple[Floats, Floats]:
        """Bounds of what each level may add to average precision, above and below.

        A level adds most if its changed pixels come first and are tied, and least if
        they come last, one by one. Each changed pixel adds the precision at its rank.
        """
        more, less = np.zeros((2, self.changed.size))
        open_ = np.flatnonzero(
            ~self.tied & (self.changed > 0) & (self.changed + self.unchanged > 1)
        )
        tp, fp, _, _ = (counts[open_] for counts in self.confusion)
        gained, below = self.changed[open_], self.unchanged[open_]
        tied = gained * quotient(tp, tp + fp)
        # The sum over i = 1..gained of (tp - gained + i) / (tp - gained + fp + i).
        start = tp - gained + fp + 1
        least = gained - fp * (_harmonic(start + gained) - _harmonic(start))
        total = self.changed.sum()
        more[open_] = (gained * quotient(tp, tp + fp - below) - tied) / total
        less[open_] = np.maximum(tied - least, 0.0) / total
        return more, less

    @property
    def within(self) -> float:
        """Bound on the error of average precision."""
        rounded = 0.0 if self._decimals is None else 0.5 * 10**-self._decimals
        return self._uncertain + rounded

    @property
    def _uncertain(self) -> float:
        more, less = self.spread
        return float(max(more.sum(), less.sum()))

    @property
    def reach(self) -> Floats:
        """Highest F1 that a threshold within each level may give."""
        tp, fp, _, _ = self.confusion
        best = quotient(2 * tp, tp + fp - self.unchanged + self.changed.sum())
        inside = ~self.tied & (self.changed > 0) & (self.unchanged > 0)
        return np.where(inside, best, 0.0)
