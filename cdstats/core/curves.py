"""Counts at falling thresholds: average precision, the best F1, and their bounds.

Pixels come as counts at rising levels of probability. The pixels of a level are equal,
or known to lie in one narrow range, which bounds what their order may change.
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
    """The area under the precision-recall curve, in steps: Σ (R_n - R_{n-1}) P_n.

    Pixels of one level are tied: they enter together. As in scikit-learn, nothing is
    interpolated. Levels rise, ``(..., L)``; the area ``(...)`` is NaN without a changed
    pixel.
    """
    gained = changed[..., ::-1]
    tp, fp = gained.cumsum(-1), unchanged[..., ::-1].cumsum(-1)
    precision = quotient(tp, tp + fp)
    # Above the highest score nothing is gained, and precision is not defined.
    steps = np.where(gained > 0, gained * precision, 0.0)
    return quotient(steps.sum(-1), np.asarray(changed.sum(-1)))


def best_f1(changed: NDArray[Any], unchanged: NDArray[Any]) -> tuple[Floats, Any]:
    """The highest F1 of the changed class over all thresholds, and where it is.

    Chosen on the pixels that it is computed from, it is optimistic for others. Levels
    rise, ``(..., L)``; the F1 is NaN without a changed pixel, and the place is that of
    the highest level that gives it; ``(...)``.
    """
    tp, fp = changed[..., ::-1].cumsum(-1), unchanged[..., ::-1].cumsum(-1)
    total = changed.sum(-1)
    f1 = quotient(2 * tp, tp + fp + total[..., None])
    last = f1.shape[-1] - 1
    place = np.where(np.isnan(f1), -1.0, f1).argmax(-1)
    best = np.take_along_axis(f1, place[..., None], -1)[..., 0]
    return np.where(total > 0, best, np.nan), last - place


def _harmonic(numbers: Counts) -> Floats:
    """The sum of 1/k for k below each positive number, less Euler's constant."""
    before = sum(1 / (numbers + k) for k in range(16))
    x = numbers + 16.0
    series = 1 / 12 - (1 / 120 - (1 / 252 - 1 / (240 * x**2)) / x**2) / x**2
    found: Floats = np.log(x) - 1 / (2 * x) - series / x**2 - before
    return found


def _short(below: float, most: float) -> float | None:
    """A number of few digits above one end and up to the other; None if none is.

    One that is so in float32 too is preferred.
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
    """The pixels of a model at rising thresholds: changed is p >= threshold.

    Attributes:
        thresholds: The lowest probability of each level, rising; float64, ``(L,)``.
        changed: Changed pixels of each level; int64, ``(L,)``.
        unchanged: Unchanged pixels of each level.
        tied: Whether the pixels of a level are known to have one probability.
    """

    thresholds: Floats
    changed: Counts
    unchanged: Counts
    tied: NDArray[np.bool_]

    @classmethod
    def of(cls, values: Floats, changed: Counts, unchanged: Counts) -> Curve:
        """The curve of levels of one probability each."""
        return cls(values, changed, unchanged, np.ones(values.shape, dtype=np.bool_))

    @cached_property
    def confusion(self) -> tuple[Counts, Counts, Counts, Counts]:
        """tp, fp, fn and tn at each threshold."""
        tp = self.changed[::-1].cumsum()[::-1]
        fp = self.unchanged[::-1].cumsum()[::-1]
        return tp, fp, self.changed.sum() - tp, self.unchanged.sum() - fp

    @property
    def average_precision(self) -> float | None:
        """Average precision, in the decimals that are known; None if undefined."""
        found = float(average_precision(self.changed, self.unchanged))
        if np.isnan(found):
            return None
        return found if self._decimals is None else round(found, self._decimals)

    @property
    def _decimals(self) -> int | None:
        """Decimals of average precision that are known; None where all are."""
        uncertain = self._uncertain
        return int(-np.log10(2 * uncertain)) if uncertain else None

    @cached_property
    def best(self) -> tuple[float, float | None] | None:
        """The highest F1 and a threshold that gives it; None without a changed pixel.

        Of all thresholds with the same counts, one of few digits is taken. There is
        none between logits above 36.7: no float64 lies between their probabilities.
        """
        if not self.changed.any():
            return None
        found, place = best_f1(self.changed, self.unchanged)
        at = int(place)
        below = float(self.thresholds[at - 1]) if at else -1.0
        most = float(self.thresholds[at])
        if at and not self.tied[at - 1] and below < most:
            # The pixels of the level below may lie up to the next one.
            return float(found), most
        return float(found), _short(below, most)

    @cached_property
    def spread(self) -> tuple[Floats, Floats]:
        """How much more and less each level may add to average precision.

        The pixels of a level give most when its changed ones come first and are tied,
        and least when they come last, one by one; a changed pixel adds the precision
        at its place.
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
        """How far average precision may be from that of the probabilities."""
        rounded = 0.0 if self._decimals is None else 0.5 * 10**-self._decimals
        return self._uncertain + rounded

    @property
    def _uncertain(self) -> float:
        more, less = self.spread
        return float(max(more.sum(), less.sum()))

    @property
    def reach(self) -> Floats:
        """The highest F1 that a threshold inside each level may give."""
        tp, fp, _, _ = self.confusion
        best = quotient(2 * tp, tp + fp - self.unchanged + self.changed.sum())
        inside = ~self.tied & (self.changed > 0) & (self.unchanged > 0)
        return np.where(inside, best, 0.0)
