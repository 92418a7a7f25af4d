"""The numbers behind each figure, as rows; a figure is drawn from its rows alone."""

from __future__ import annotations

from dataclasses import dataclass, field

from cdstats.core.columns import CHANGE_FRACTION, CHANGED, IGNORED, column
from cdstats.core.score_records import Stated


@dataclass(frozen=True, slots=True)
class FractionBin:
    """Masks of a dataset whose change fraction lies in ``(above, up_to]``.

    ``up_to`` of 0 is the bin of masks without change.
    """

    dataset: str
    above: float
    up_to: float
    images: int


@dataclass(frozen=True, slots=True)
class FractionShare:
    """The share of a split's masks whose change fraction is at most this one."""

    dataset: str
    split: str
    change_fraction: float = field(metadata=CHANGE_FRACTION)
    share_of_images: float


@dataclass(frozen=True, slots=True)
class HeatCell:
    """The change fraction of a cell of the frame; rows from the top."""

    dataset: str
    row: int
    column: int
    change_fraction: float | None = field(metadata=CHANGE_FRACTION)


@dataclass(frozen=True, slots=True)
class BetaLoss(Stated):
    """Balanced cross-entropy with a fixed β, over all pixels of a model.

    Attributes:
        model: The model.
        beta: Weight of a changed pixel; an unchanged one weighs 1 - β.
        weighted_mean: Nats per unit of weight: on the scale of BCE for every β.
        mean: The sum divided by the pixels, as losses of this name are reported.
        mark: ``plain`` where it is BCE, ``class mean`` where β is the share of
            unchanged pixels, otherwise empty.
    """

    model: str
    beta: float
    weighted_mean: float
    mean: float
    mark: str


@dataclass(frozen=True, slots=True)
class ThresholdScore(Stated):
    """The confusion counts of a model when p >= threshold is changed."""

    model: str
    threshold: float
    tp: int
    fp: int
    fn: int
    tn: int
    precision: float | None
    recall: float | None
    f1: float | None


@dataclass(frozen=True, slots=True)
class CurveSummary:
    """What the curves of a model come to.

    Attributes:
        model: The model.
        average_precision: Area under precision over recall, in steps.
        best_f1: The highest F1 over all thresholds: in-sample.
        best_threshold: The highest threshold that gives it.
        ece: Expected calibration error, in 15 bins of equal width.
    """

    model: str
    average_precision: float | None
    best_f1: float | None
    best_threshold: float | None
    ece: float | None


@dataclass(frozen=True, slots=True)
class CalibrationBin(Stated):
    """Pixels of a model with a probability in ``[low, high)``; the last holds 1 too."""

    model: str
    low: float
    high: float
    pixels: int
    changed: int = field(metadata=CHANGED)
    mean_probability: float | None
    observed_fraction: float | None


@dataclass(frozen=True, slots=True)
class EpochScore(Stated):
    """Loss and F1 of a model by the number in its name."""

    series: str
    number: int
    model: str
    bce_mean: float | None = field(metadata=column("BCE"))
    class_mean_bce: float | None = field(metadata=column("Class-mean BCE"))
    f1_pooled: float | None = field(metadata=column("F1"))


@dataclass(frozen=True, slots=True)
class WorstImage(Stated):
    """An image with a large share of wrong pixels, and its confusion counts."""

    model: str
    rank: int
    pred: str
    target: str
    tp: int
    fp: int
    fn: int
    tn: int
    ignored: int = field(metadata=IGNORED)
    wrong_share: float
