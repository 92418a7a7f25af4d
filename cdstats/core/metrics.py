"""Metrics of the changed class from confusion counts.

Counts are Python integers, so each metric is rounded once, by its one division.
A metric is None where its denominator is 0.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable


@dataclass(frozen=True, slots=True)
class Confusion:
    """Pixels by label and prediction; adds over windows and images.

    Attributes:
        tp: Changed pixels predicted changed.
        fp: Unchanged pixels predicted changed.
        fn: Changed pixels predicted unchanged.
        tn: Unchanged pixels predicted unchanged.

    Example:
        >>> (Confusion(3, 1, 0, 4) + Confusion(tn=2)).oa
        0.9
    """

    tp: int = 0
    fp: int = 0
    fn: int = 0
    tn: int = 0

    def __add__(self, other: Confusion) -> Confusion:
        return Confusion(
            self.tp + other.tp,
            self.fp + other.fp,
            self.fn + other.fn,
            self.tn + other.tn,
        )

    @property
    def precision(self) -> float | None:
        """TP / (TP + FP)."""
        return _ratio(self.tp, self.tp + self.fp)

    @property
    def recall(self) -> float | None:
        """TP / (TP + FN)."""
        return _ratio(self.tp, self.tp + self.fn)

    @property
    def f1(self) -> float | None:
        """2 TP / (2 TP + FP + FN)."""
        return _ratio(2 * self.tp, 2 * self.tp + self.fp + self.fn)

    @property
    def iou(self) -> float | None:
        """TP / (TP + FP + FN)."""
        return _ratio(self.tp, self.tp + self.fp + self.fn)

    @property
    def oa(self) -> float | None:
        """Overall accuracy: (TP + TN) / all."""
        return _ratio(self.tp + self.tn, self.tp + self.fp + self.fn + self.tn)

    @property
    def mf1(self) -> float | None:
        """Mean of the F1 of the changed and of the unchanged class."""
        unchanged = Confusion(self.tn, self.fn, self.fp, self.tp).f1
        if self.f1 is None or unchanged is None:
            return None
        return (self.f1 + unchanged) / 2

    @property
    def kappa(self) -> float | None:
        """Cohen's kappa: agreement beyond what the class sizes give by chance.

        References:
            Cohen, "A coefficient of agreement for nominal scales", 1960; for two
            classes ``2 (TP TN - FP FN) / ((TP+FP)(FP+TN) + (TP+FN)(FN+TN))``.
        """
        agreement = 2 * (self.tp * self.tn - self.fp * self.fn)
        predicted = (self.tp + self.fp) * (self.fp + self.tn)
        return _ratio(agreement, predicted + (self.tp + self.fn) * (self.fn + self.tn))


@dataclass(frozen=True, slots=True)
class ChangeMetrics:
    """The metrics of a dataset: of its added counts, and as means over images.

    Attributes:
        precision_pooled: Of the added counts, as the others without ``image_mean``.
        recall_pooled: As above.
        f1_pooled: As above.
        f1_image_mean: Mean over the images whose F1 is defined: those with a pixel
            that is changed or predicted so.
        f1_image_mean_nonempty: Mean over the images with a changed pixel.
        mf1_pooled: Mean of the F1 of both classes.
        iou_pooled: Of the added counts.
        oa: Overall accuracy.
        kappa: Cohen's kappa.
    """

    precision_pooled: float | None
    recall_pooled: float | None
    f1_pooled: float | None
    f1_image_mean: float | None
    f1_image_mean_nonempty: float | None
    mf1_pooled: float | None
    iou_pooled: float | None
    oa: float | None
    kappa: float | None

    @classmethod
    def of(cls, images: Iterable[Confusion]) -> ChangeMetrics:
        """The metrics of a list of images.

        Example:
            >>> images = [Confusion(1, 0, 1, 2), Confusion(0, 1, 0, 3)]
            >>> metrics = ChangeMetrics.of(images)
            >>> metrics.f1_pooled, metrics.f1_image_mean
            (0.5, 0.333...)
        """
        counts = list(images)
        pooled = sum(counts, Confusion())
        return cls(
            precision_pooled=pooled.precision,
            recall_pooled=pooled.recall,
            f1_pooled=pooled.f1,
            f1_image_mean=_mean(image.f1 for image in counts),
            f1_image_mean_nonempty=_mean(
                image.f1 for image in counts if image.tp + image.fn
            ),
            mf1_pooled=pooled.mf1,
            iou_pooled=pooled.iou,
            oa=pooled.oa,
            kappa=pooled.kappa,
        )


def _ratio(numerator: int, denominator: int) -> float | None:
    return numerator / denominator if denominator else None


def _mean(numbers: Iterable[float | None]) -> float | None:
    defined = [number for number in numbers if number is not None]
    return math.fsum(defined) / len(defined) if defined else None
