"""The data of each figure as rows; figures are drawn only from these."""

from __future__ import annotations

import re
from bisect import bisect_left, bisect_right
from dataclasses import dataclass, field
from fractions import Fraction
from itertools import pairwise
from typing import TYPE_CHECKING, Any, Final, Literal

import numpy as np

from cdstats.core.catalogue import choose, evaluate
from cdstats.core.columns import CHANGE_FRACTION, CHANGED, IGNORED, column
from cdstats.core.metrics import F1, PRECISION, RECALL, Confusion
from cdstats.core.records import split_order
from cdstats.core.score_records import Stated
from cdstats.core.sums import BINS, SumsTable, bins_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from cdstats.core.audit_records import HeatMap
    from cdstats.core.curves import Curve
    from cdstats.core.records import ImageRecord
    from cdstats.core.score_records import DatasetScore, ScoreRecord


@dataclass(frozen=True, slots=True)
class FractionBin:
    """Masks of a dataset with a change fraction in ``(above, up_to]``.

    The bin with ``up_to`` 0 holds the masks without change.
    """

    dataset: str
    above: float
    up_to: float
    images: int


@dataclass(frozen=True, slots=True)
class FractionShare:
    """Share of a split's masks with at most this change fraction."""

    dataset: str
    split: str
    change_fraction: float = field(metadata=CHANGE_FRACTION)
    share_of_images: float


@dataclass(frozen=True, slots=True)
class HeatCell:
    """Change fraction of one cell of the frame; rows count from the top."""

    dataset: str
    row: int
    column: int
    change_fraction: float | None = field(metadata=CHANGE_FRACTION)


@dataclass(frozen=True, slots=True)
class BetaLoss(Stated):
    """Balanced cross-entropy with a fixed β, over all pixels of a model.

    ``weighted_mean`` is per unit of weight, comparable with BCE for every β; ``mean``
    is per pixel, as such losses are usually given. ``mark`` is ``plain`` for BCE, and
    ``class mean`` where β is the share of unchanged pixels.
    """

    model: str
    beta: float
    weighted_mean: float
    mean: float
    mark: str


@dataclass(frozen=True, slots=True)
class ThresholdScore(Stated):
    """Confusion counts of a model if p >= threshold is changed."""

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
    """Summary of the curves of a model.

    ``best_threshold`` is None if no number gives the best F1, as between logits whose
    probabilities round to the same number.
    """

    model: str
    average_precision: float | None
    best_f1: float | None = field(metadata=column("Best F1, in-sample"))
    best_threshold: float | None
    ece: float | None = field(metadata=column("ECE"))


@dataclass(frozen=True, slots=True)
class CalibrationBin(Stated):
    """Pixels with a probability in ``[low, high)``; the last bin includes 1."""

    model: str
    low: float
    high: float
    pixels: int
    changed: int = field(metadata=CHANGED)
    mean_probability: float | None
    observed_fraction: float | None


@dataclass(frozen=True, slots=True)
class EpochScore(Stated):
    """Loss and F1 of a model, by the number in its name."""

    series: str
    number: int
    model: str
    bce_mean: float | None = field(metadata=column("BCE"))
    class_mean_bce: float | None = field(metadata=column("Class-mean BCE"))
    f1_pooled: float | None = field(metadata=column("F1"))


@dataclass(frozen=True, slots=True)
class WorstImage(Stated):
    """An image with many wrong pixels, and its confusion counts."""

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


@dataclass(frozen=True, slots=True)
class ErrorCounts:
    """Pixels in the error maps of a model, by outcome."""

    model: str
    maps: int
    failed: int
    tp: int = field(metadata=column("TP"))
    fp: int = field(metadata=column("FP"))
    fn: int = field(metadata=column("FN"))
    tn: int = field(metadata=column("TN"))
    ignored: int = field(metadata=IGNORED)
    uncovered: int

    @classmethod
    def of(cls, model: str, rows: Sequence[ErrorMap]) -> ErrorCounts:
        """The sum over several maps."""
        done = [row for row in rows if row.status == "ok"]
        sums = (sum(getattr(row, name) or 0 for row in done) for name in _COUNTS)
        return cls(model, len(done), len(rows) - len(done), *sums)


_COUNTS: Final = ("tp", "fp", "fn", "tn", "ignored", "uncovered")


@dataclass(frozen=True, slots=True)
class ErrorMap:
    """Pixels of one error map by outcome, or the reason for its failure."""

    model: str
    split: str
    target: str
    map: str
    tp: int | None = field(metadata=column("TP"))
    fp: int | None = field(metadata=column("FP"))
    fn: int | None = field(metadata=column("FN"))
    tn: int | None = field(metadata=column("TN"))
    ignored: int | None = field(metadata=IGNORED)
    uncovered: int | None
    status: Literal["ok", "failed"]
    reason: str

    @classmethod
    def of(
        cls, rows: Sequence[ScoreRecord], *, path: str = "", reason: str = ""
    ) -> ErrorMap:
        """The row of a map, from the score of its prediction or of its crops."""
        one, status = rows[0], "failed" if reason else "ok"
        sums: dict[str, Any] = {
            name: None if reason else sum(getattr(row, name) or 0 for row in rows)
            for name in _COUNTS
        }
        named = one.model, one.split, one.target or one.pred, path
        return cls(*named, **sums, status=status, reason=reason)  # type: ignore[arg-type]


EDGES: Final = (
    *(Fraction(n * power, 10_000) for power in (1, 10, 100, 1000) for n in (1, 2, 5)),
    Fraction(1),
)
"""Upper ends of the bins of the change fraction: 0.01, 0.02, 0.05 ... 50, 100 %."""


def fraction_bins(dataset: str, rows: Sequence[ImageRecord]) -> list[FractionBin]:
    """Count the masks of a dataset by change fraction.

    Masks without valid pixels are excluded; edges are compared as integers.
    """
    held = [0] * (len(EDGES) + 1)
    for row in rows:
        changed, unchanged = row.changed or 0, row.unchanged or 0
        if row.status == "ok" and changed + unchanged:
            fraction = Fraction(changed, changed + unchanged)
            held[bisect_left(EDGES, fraction) + 1 if changed else 0] += 1
    edges = [0.0, 0.0, *map(float, EDGES)]
    return [
        FractionBin(dataset, low, high, images)
        for (low, high), images in zip(pairwise(edges), held, strict=True)
    ]


def fraction_shares(dataset: str, rows: Sequence[ImageRecord]) -> list[FractionShare]:
    """Cumulative shares of masks by change fraction, per split."""
    held: dict[str, list[float]] = {}
    for row in rows:
        if row.change_fraction is not None:
            held.setdefault(row.split, []).append(row.change_fraction)
    return [
        FractionShare(dataset, split, fraction, bisect_right(own, fraction) / len(own))
        for split in sorted(held, key=split_order)
        for own in [sorted(held[split])]
        for fraction in dict.fromkeys(own)
    ]


def heat_cells(heat: HeatMap) -> list[HeatCell]:
    """Cells of a heat map in row order."""
    return [
        HeatCell(heat.dataset, row, column, fraction)
        for row, cells in enumerate(heat.cells)
        for column, fraction in enumerate(cells)
    ]


STEPS: Final = 50
"""Number of equal steps of β from 0 to 1."""
_SHOWN: Final = 1024
"""Number of steps of a drawn curve."""
PLAIN, CLASS_MEAN = "plain", "class mean"


def beta_losses(model: str, rows: Iterable[ScoreRecord]) -> list[BetaLoss]:
    """Balanced cross-entropy of a model for rising β.

    The weighted mean goes from the mean of unchanged pixels (β = 0) over BCE (β = 1/2)
    and the class mean (β = share of unchanged pixels) to the mean of changed pixels
    (β = 1). Empty if a class has no pixels.
    """
    table = SumsTable.of(row.sums for row in rows if row.status == "ok").total
    changed, unchanged = table.changed[0].item(), table.unchanged[0].item()
    if not (changed and unchanged):
        return []
    marks = {0.5: PLAIN, unchanged / (changed + unchanged): CLASS_MEAN}
    betas = sorted({*(step / STEPS for step in range(STEPS + 1)), *marks})
    found = []
    for beta in betas:
        result = evaluate(choose("balanced_ce", {"beta": beta}), table)
        if result.weighted_mean is not None and result.mean is not None:
            mark = marks.get(beta, "")
            found.append(BetaLoss(model, beta, result.weighted_mean, result.mean, mark))
    return found


def threshold_scores(model: str, curve: Curve) -> list[ThresholdScore]:
    """Scores of a model at selected thresholds, lowest first.

    One threshold per step of 1/1024 in probability and in recall, and the one with the
    best F1.
    """
    tp, fp, fn, tn = curve.confusion
    if not tp.size:
        return []
    steps = np.floor(curve.thresholds * _SHOWN), np.floor(tp * _SHOWN / max(tp[0], 1))
    first = [
        np.flatnonzero(np.diff(steps[0], prepend=-1)),
        np.flatnonzero(np.diff(steps[1], append=-1)),
    ]
    if curve.best and curve.best[1] is not None:
        first.append(np.flatnonzero(curve.thresholds >= curve.best[1])[:1])
    scores = []
    for place in np.unique(np.concatenate(first)).tolist():
        held = Confusion(*(int(c[place]) for c in (tp, fp, fn, tn)))
        metrics = (PRECISION.of(held), RECALL.of(held), F1.of(held))
        threshold = float(curve.thresholds[place])
        counts = (held.tp, held.fp, held.fn, held.tn)
        scores.append(ThresholdScore(threshold, model, *counts, *metrics))
    return scores


def calibration_bins(model: str, curve: Curve) -> list[CalibrationBin]:
    """Share of changed pixels for each bin of probability."""
    pixels = curve.changed + curve.unchanged
    place = bins_of(curve.thresholds)
    held = [
        np.bincount(place, weights, BINS)
        for weights in (pixels, curve.changed, pixels * curve.thresholds)
    ]
    return [
        CalibrationBin(
            model,
            number / BINS,
            (number + 1) / BINS,
            int(count),
            int(changed),
            total / count if count else None,
            changed / count if count else None,
        )
        for number, (count, changed, total) in enumerate(np.transpose(held).tolist())
    ]


def epoch_scores(models: Sequence[DatasetScore]) -> list[EpochScore]:
    """Scores of saved epochs, by the last number in the model names.

    Names that differ only in that number form a series. Series of a single model, or
    with a number that occurs twice, are skipped.
    """
    series: dict[str, list[EpochScore]] = {}
    for one in models:
        if found := re.fullmatch(r"(.*?)(\d+)(\D*)", one.model, re.DOTALL):
            name, numbers = f"{found[1]}#{found[3]}", (one.bce_mean, one.class_mean_bce)
            row = EpochScore(name, int(found[2]), one.model, *numbers, one.f1_pooled)
            series.setdefault(name, []).append(row)
    return [
        row
        for rows in series.values()
        if len(rows) > 1 and len({row.number for row in rows}) == len(rows)
        for row in sorted(rows, key=lambda row: row.number)
    ]


def worst_images(
    model: str, rows: Iterable[ScoreRecord], most: int
) -> list[WorstImage]:
    """The images of a model with the largest share of wrong pixels, worst first.

    Images without wrong pixels are skipped.
    """
    wrong = []
    for row in rows:
        c = row.confusion
        if row.status == "ok" and c.fp + c.fn:
            counts = c.tp, c.fp, c.fn, c.tn
            wrong.append(((c.fp + c.fn) / sum(counts), row, counts))
    # The sort is stable, so ties keep the order of the rows.
    wrong.sort(key=lambda one: -one[0])
    return [
        WorstImage(model, rank, row.pred, row.target, *counts, row.ignored or 0, share)
        for rank, (share, row, counts) in enumerate(wrong[:most], start=1)
    ]
