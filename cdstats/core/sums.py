"""Additive sums of scoring over the valid pixels of an image.

Plain, balanced and weighted cross-entropy, Brier and region losses follow from these
sums for every weight and smoothing; further losses from the pairs of sums in
`cdstats.core.pixel_terms`.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field, fields, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any, Final, Generic, TypeAlias, TypeVar

import numpy as np
from numpy.typing import NDArray

from cdstats.core.label_hash import total_hash
from cdstats.core.pixel_terms import LOG_FLOOR

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from cdstats.core.pixel_terms import Term

Floats: TypeAlias = NDArray[np.float64]
Column: TypeAlias = NDArray[Any]
"""One number per image: int64 for a count, float64 for a sum; ``(N,)``."""
Pair: TypeAlias = tuple[Floats, Floats]
"""A quantity over changed and over unchanged pixels, per image."""
BINS: Final = 15
"""Number of equal-width probability bins of the expected calibration error."""
_Count = TypeVar("_Count", int, Column)
_Sum = TypeVar("_Sum", float, Floats)
_NONE: Final[Any] = 0
_ZERO: Final[Any] = 0.0


def bins_of(probs: NDArray[np.floating[Any]]) -> NDArray[np.int64]:
    """The bin of each probability: 15 p, rounded down; the last bin includes 1.

    The product has the precision of p, so that 0.2 has the same bin in each precision.
    """
    return np.minimum((probs * BINS).astype(np.int64), BINS - 1)


@dataclass(frozen=True, slots=True)
class _Sums(Generic[_Count, _Sum]):
    """Sums over the valid pixels of an image, or of each image.

    Symbols are those of the usual formulas; counts are integers. With soft targets
    ``changed`` is the floating-point sum of ``y`` and the confusion counts are 0.

    Attributes:
        valid: n, pixels that are not ignored.
        changed: n1 = Σ y; an integer for hard labels, floating for soft targets.
        ignored: Pixels excluded from all other fields.
        ce_changed_sum: -S1 = -Σ y max(ln p, -100); nats.
        ce_unchanged_sum: -S0 = -Σ (1-y) max(ln(1-p), -100); nats.
        missed_sum: Σ y (1-p), the probability missing on changed pixels.
        missed_sq_sum: Σ y (1-p)².
        prob_changed_sum: I = Σ p y. Stored separately, because for small p it cannot
            be derived from ``missed_sum`` precisely; likewise the next field.
        prob_sq_changed_sum: Q1 = Σ y p².
        false_sum: Σ (1-y) p, the probability given to unchanged pixels.
        false_sq_sum: Σ (1-y) p².
        target_sq_sum: Y2 = Σ y²; equal to ``changed`` for hard labels.
        saturated_wrong: Wrong pixels with p exactly 0 or 1.
        tp: Changed pixels predicted changed, at the threshold of the run.
        fp: Unchanged pixels predicted changed.
        fn: Changed pixels predicted unchanged.
        tn: Unchanged pixels predicted unchanged.
        uncovered: Valid pixels of the mask without a prediction. They are excluded from
            other fields, except ``fn`` and ``tn`` if counted as unchanged.
    """

    valid: _Count = _NONE
    changed: _Sum = _NONE
    ignored: _Count = _NONE
    ce_changed_sum: _Sum = _ZERO
    ce_unchanged_sum: _Sum = _ZERO
    missed_sum: _Sum = _ZERO
    missed_sq_sum: _Sum = _ZERO
    prob_changed_sum: _Sum = _ZERO
    prob_sq_changed_sum: _Sum = _ZERO
    false_sum: _Sum = _ZERO
    false_sq_sum: _Sum = _ZERO
    target_sq_sum: _Sum = _ZERO
    saturated_wrong: _Count = _NONE
    tp: _Count = _NONE
    fp: _Count = _NONE
    fn: _Count = _NONE
    tn: _Count = _NONE
    uncovered: _Count = _NONE

    @property
    def prob_sum(self) -> _Sum:
        """P = Σ p."""
        return self.prob_changed_sum + self.false_sum

    @property
    def prob_sq_sum(self) -> _Sum:
        """Q = Σ p²."""
        return self.prob_sq_changed_sum + self.false_sq_sum


PLAIN: Final = tuple(f.name for f in fields(_Sums))
"""Sums with one number per image."""


@dataclass(frozen=True, slots=True)
class ImageSums(_Sums[int, float]):
    """Sums of an image or a part of it; adds over windows.

    Attributes:
        calibration: Σ (p - y) of the pixels in each of `BINS` bins of p.
        terms: Sums over changed and over unchanged pixels of each `Term` that the
            losses need.
        labels: Hash of the labels that have scores; None if not computed.
    """

    calibration: tuple[float, ...] = (0.0,) * BINS
    terms: Mapping[Term, tuple[float, float]] = field(default_factory=dict)
    labels: int | None = None

    def __add__(self, other: ImageSums) -> ImageSums:
        plain = {name: getattr(self, name) + getattr(other, name) for name in PLAIN}
        pairs = zip(self.calibration, other.calibration, strict=True)
        terms = {}
        for term in {**self.terms, **other.terms}:
            one, two = self.term(term), other.term(term)
            terms[term] = one[0] + two[0], one[1] + two[1]
        labels = total_hash((self.labels, other.labels))
        return ImageSums(
            **plain,
            calibration=tuple(a + b for a, b in pairs),
            terms=terms,
            labels=labels,
        )

    def term(self, term: Term) -> tuple[float, float]:
        """The two sums of a term; 0 without valid pixels."""
        if self.valid and term not in self.terms:
            raise ValueError(f"the sums of {term} were not computed")
        return self.terms.get(term, (0.0, 0.0))

    @property
    def counted(self) -> tuple[float, float]:
        """Changed and unchanged pixels for metrics.

        Includes uncovered pixels that count as predicted unchanged.
        """
        if self.uncovered and isinstance(self.changed, int):
            return self.tp + self.fn, self.fp + self.tn
        return self.changed, self.valid - self.changed

    def with_terms(self, terms: Mapping[Term, tuple[float, float]]) -> ImageSums:
        """A copy with further terms."""
        return replace(self, terms={**self.terms, **terms})


@dataclass(frozen=True)
class SumsTable(_Sums[Column, Floats]):
    """Sums of many images, with the fields of `ImageSums` as columns.

    ``calibration`` has a row of `BINS` sums per image.

    Example:
        >>> table = SumsTable.of([ImageSums(valid=4, changed=1), ImageSums(valid=2)])
        >>> table.unchanged, table.total.valid
        (array([3, 2]), array([6]))
    """

    calibration: Floats = field(default_factory=lambda: np.zeros((0, 0)))
    terms: Mapping[Term, Pair] = field(default_factory=dict)

    @classmethod
    def of(cls, images: Iterable[ImageSums]) -> SumsTable:
        """Build the table from images, in order."""
        rows = list(images)
        terms = {}
        for term in dict.fromkeys(term for row in rows for term in row.terms):
            both = np.array([row.term(term) for row in rows])
            terms[term] = both[:, 0], both[:, 1]
        return cls(
            **{name: _column([getattr(row, name) for row in rows]) for name in PLAIN},
            calibration=np.reshape([row.calibration for row in rows], (-1, BINS)),
            terms=terms,
        )

    @property
    def unchanged(self) -> Column:
        """n0 = n - n1."""
        return self.valid - self.changed

    @property
    def soft(self) -> bool:
        """Whether targets are soft, so that ``changed`` is floating."""
        return self.changed.dtype.kind == "f"

    @property
    def hard(self) -> bool:
        """Whether every p is 0 or 1, so that cross-entropy only counts errors."""
        exact = (self.missed_sum == self.missed_sq_sum).all()
        exact &= (self.false_sum == self.false_sq_sum).all()
        # Confident logits give equal sums here, but have a lower cross-entropy.
        errors = self.missed_sum + self.false_sum
        costs = self.ce_changed_sum + self.ce_unchanged_sum
        exact &= np.isclose(costs, -LOG_FLOOR * errors, rtol=1e-9, atol=0).all()
        return bool(exact and self.valid.any() and not self.soft)

    @property
    def prior(self) -> float:
        """Share of changed pixels over all images; NaN without valid pixels."""
        return float(quotient(self.total.changed, self.total.valid)[0])

    @property
    def error_sq_sum(self) -> Floats:
        """Σ (p-y)²."""
        return np.maximum(self.missed_error_sq_sum + self.false_sq_sum, 0.0)

    @property
    def missed_error_sq_sum(self) -> Floats:
        """Contribution of changed pixels to Σ (p-y)²; Σ y (1-p)² for labels."""
        return self.missed_sq_sum - (self.changed - self.target_sq_sum)

    @property
    def calibration_error(self) -> Floats:
        """Expected calibration error: Σ_b |Σ (p - y)| / n; NaN without pixels.

        References:
            Naeini et al., "Obtaining Well Calibrated Probabilities Using Bayesian
            Binning", 2015: equal-width bins, weighted by their pixels.
        """
        return quotient(np.abs(self.calibration).sum(1), self.valid)

    @property
    def rejected_prob(self) -> Floats:
        """n0 - (P - I), the soft true negatives."""
        return np.maximum(self.unchanged - self.false_sum, 0.0)

    def term(self, term: Term) -> Pair:
        """The two columns of a term."""
        if term not in self.terms and self.valid.any():
            raise ValueError(f"the sums of {term} were not computed")
        none = np.zeros(self.valid.shape)
        return self.terms.get(term, (none, none))

    @cached_property
    def total(self) -> SumsTable:
        """Sums of all images together, as a table of one row.

        Floating sums are rounded once, so they do not depend on the order of images.
        """
        calibration = np.array([_total(column) for column in self.calibration.T])
        return SumsTable(
            **{name: _total(getattr(self, name)) for name in PLAIN},
            calibration=calibration.reshape(1, -1),
            terms={term: (_total(a), _total(b)) for term, (a, b) in self.terms.items()},
        )


def _column(numbers: Sequence[float]) -> Column:
    """Numbers as an array; int64 if all are integers, even if empty."""
    whole = all(isinstance(number, int) for number in numbers)
    return np.array(numbers, dtype=np.int64 if whole else np.float64)


def _total(column: Column) -> Column:
    if column.dtype.kind == "f":
        return np.array([math.fsum(column)])
    return np.array([column.sum(dtype=np.int64)])


def defined_values(values: Iterable[float]) -> list[float | None]:
    """Numbers, with None for NaN."""
    return [None if math.isnan(value) else float(value) for value in values]


def quotient(numerator: Column | float, denominator: Column) -> Floats:
    """Numerator / denominator; NaN if the denominator is 0.

    Example:
        >>> quotient(np.array([1.0, 0.0]), np.array([4, 0]))
        array([0.25,  nan])
    """
    result: Floats = np.full(denominator.shape, np.nan)
    np.divide(numerator, denominator, out=result, where=denominator != 0)
    return result
