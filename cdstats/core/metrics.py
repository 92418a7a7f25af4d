"""Metrics of the changed class, each a formula of the confusion counts.

A formula takes Python integers, for a result exact up to one division, or arrays with
one number per resample. Pooled values, image values, means and intervals all use it. A
new metric is a field of `DatasetScore` whose metadata is a `Metric` with its averaging.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, fields, replace
from enum import Enum
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from cdstats.core.columns import column
from cdstats.core.sums import quotient

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

_METRIC: Final = "metric"


@dataclass(frozen=True, slots=True)
class Confusion:
    """Pixel counts by label and prediction; adds over windows and images.

    Example:
        >>> Confusion(3, 1, 0, 4) + Confusion(tn=2)
        Confusion(tp=3, fp=1, fn=0, tn=6)
    """

    tp: Any = 0
    fp: Any = 0
    fn: Any = 0
    tn: Any = 0

    def __add__(self, other: Confusion) -> Confusion:
        return Confusion(
            self.tp + other.tp,
            self.fp + other.fp,
            self.fn + other.fn,
            self.tn + other.tn,
        )

    @property
    def of_unchanged(self) -> Confusion:
        """The counts with classes swapped."""
        return Confusion(self.tn, self.fn, self.fp, self.tp)

    @property
    def of_complement(self) -> Confusion:
        """The counts if every prediction were inverted."""
        return Confusion(self.fn, self.tn, self.tp, self.fp)


class Over(Enum):
    """How a metric is averaged over the images of a dataset."""

    POOLED = "counts of all images added"
    IMAGES = "mean over the images where it is defined"
    NONEMPTY = "mean over the images with a changed pixel"


@dataclass(frozen=True, slots=True)
class Metric:
    """A metric: formula, titles and averaging."""

    title: str
    name: str
    formula: Callable[[Confusion], Any]
    headline: bool = False
    over: Over = Over.POOLED

    @property
    def pooled(self) -> Mapping[str, Any]:
        """Metadata of a field for the value of pooled counts."""
        return _metadata(self)

    @property
    def image_mean(self) -> Mapping[str, Any]:
        """Metadata of a field for the mean over images."""
        title, name = f"{self.title}\nimage mean", f"{self.name}, image mean"
        return _metadata(replace(self, title=title, name=name, over=Over.IMAGES))

    @property
    def nonempty_mean(self) -> Mapping[str, Any]:
        """Metadata of a field for the mean over images with change."""
        title, name = f"{self.title}\nnonempty", f"{self.name}, mean of nonempty images"
        mean = replace(self, title=title, name=name, over=Over.NONEMPTY)
        return _metadata(replace(mean, headline=False))

    def of(self, counts: Confusion) -> float | None:
        """The value for integer counts, rounded once; None if undefined.

        Example:
            >>> F1.of(Confusion(1, 0, 1, 2))
            0.666...
        """
        value = float(self.formula(counts))
        return None if math.isnan(value) else value

    def of_images(self, images: Iterable[Confusion]) -> list[float | None]:
        """The value of each image; None for images excluded from the mean."""
        whole = self.over is not Over.NONEMPTY
        return [self.of(one) if whole or one.tp + one.fn else None for one in images]

    def of_dataset(self, images: Iterable[Confusion]) -> float | None:
        """The value of a dataset; None if undefined."""
        if self.over is Over.POOLED:
            return self.of(sum(images, Confusion()))
        known = [value for value in self.of_images(images) if value is not None]
        return math.fsum(known) / len(known) if known else None


def _metadata(one: Metric) -> Mapping[str, Any]:
    title = one.title[:1].upper() + one.title[1:]
    return {**column(title, better="higher", is_share=True), _METRIC: one}


def metrics_of(kind: type[Any]) -> dict[str, Metric]:
    """The metrics of a record type, by column."""
    return {f.name: f.metadata[_METRIC] for f in fields(kind) if _METRIC in f.metadata}


def metric_values(kind: type[Any], images: Iterable[Confusion]) -> dict[str, Any]:
    """The values of all metrics of a record type, by column."""
    counts = list(images)
    return {name: one.of_dataset(counts) for name, one in metrics_of(kind).items()}


def ratio(numerator: Any, denominator: Any) -> Any:  # noqa: ANN401 - as counts are
    """Quotient of integers or arrays; NaN if the denominator is 0."""
    if isinstance(denominator, np.ndarray):
        return quotient(numerator, denominator)
    return numerator / denominator if denominator else math.nan


def _kappa(c: Confusion) -> Any:  # noqa: ANN401 - as counts are
    """Agreement beyond what the class sizes give by chance.

    References:
        Cohen, "A coefficient of agreement for nominal scales", 1960; for two
        classes ``2 (TP TN - FP FN) / ((TP+FP)(FP+TN) + (TP+FN)(FN+TN))``.
    """
    chance = (c.tp + c.fp) * (c.fp + c.tn) + (c.tp + c.fn) * (c.fn + c.tn)
    return ratio(2 * (c.tp * c.tn - c.fp * c.fn), chance)


def _mcc(c: Confusion) -> Any:  # noqa: ANN401 - as counts are
    """Correlation of labels and predictions, from -1 to 1.

    References:
        Matthews, 1975; ``(TP TN - FP FN) / sqrt((TP+FP)(TP+FN)(TN+FP)(TN+FN))``,
        undefined where a factor is 0.
    """
    agreement = c.tp * c.tn - c.fp * c.fn
    spread = (c.tp + c.fp) * (c.tp + c.fn) * (c.tn + c.fp) * (c.tn + c.fn)
    # For integers, the squared quotient is exact up to its division.
    sign = 1 - 2 * (agreement < 0)
    return np.sqrt(ratio(agreement * agreement, spread)) * sign


PRECISION: Final = Metric(
    "P", "Precision", lambda c: ratio(c.tp, c.tp + c.fp), headline=True
)
RECALL: Final = Metric("R", "Recall", lambda c: ratio(c.tp, c.tp + c.fn), headline=True)
F1: Final = Metric(
    "F1", "F1", lambda c: ratio(2 * c.tp, 2 * c.tp + c.fp + c.fn), headline=True
)
IOU: Final = Metric(
    "IoU", "IoU", lambda c: ratio(c.tp, c.tp + c.fp + c.fn), headline=True
)
OVERALL_ACCURACY: Final = Metric(
    "OA", "OA", lambda c: ratio(c.tp + c.tn, c.tp + c.fp + c.fn + c.tn), headline=True
)
KAPPA: Final = Metric("kappa", "Kappa", _kappa, headline=True)
MEAN_F1: Final = Metric(
    "mean F1",
    "F1, mean of both classes",
    lambda c: (F1.formula(c) + F1.formula(c.of_unchanged)) / 2,
)
MCC: Final = Metric("MCC", "Matthews correlation coefficient", _mcc)
SPECIFICITY: Final = Metric(
    "Specificity", "Specificity", lambda c: ratio(c.tn, c.tn + c.fp)
)
