"""From scored predictions to the rows of their figures."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

import numpy as np

from cdstats.core.catalogue import choose, evaluate
from cdstats.core.chart_records import (
    BetaLoss,
    CalibrationBin,
    EpochScore,
    ThresholdScore,
    WorstImage,
)
from cdstats.core.metrics import F1, PRECISION, RECALL, Confusion
from cdstats.core.sums import BINS, SumsTable, bins_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from cdstats.core.curves import Curve
    from cdstats.core.score_records import DatasetScore, ScoreRecord

STEPS: Final = 50
"""Equal steps of β from 0 to 1."""
_SHOWN: Final = 1024
"""Steps that a curve is shown in."""
PLAIN, CLASS_MEAN = "plain", "class mean"


def beta_losses(model: str, rows: Iterable[ScoreRecord]) -> list[BetaLoss]:
    """Balanced cross-entropy of a model for every β, from its sums.

    The weighted mean runs from the mean of unchanged pixels (β = 0) over plain BCE
    (β = 1/2) and the class mean (β = share of unchanged pixels) to the mean of changed
    pixels (β = 1).

    Args:
        model: Its name.
        rows: Its image rows; failed ones are left out.

    Returns:
        Rows by rising β; none without pixels of both classes.

    Example:
        >>> beta_losses("unet", [])
        []
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
    """The scores of a model at some of its thresholds, the lowest first.

    One threshold for each step of 1/1024 in probability and in recall, and that of the
    best F1.

    Example:
        >>> from cdstats.core.curves import Curve
        >>> curve = Curve.of(np.array([0.25, 0.75]), np.array([0, 1]), np.array([1, 0]))
        >>> [(row.threshold, row.f1) for row in threshold_scores("unet", curve)]
        [(0.25, 0.666...), (0.75, 1.0)]
    """
    tp, fp, fn, tn = curve.confusion
    if not tp.size:
        return []
    steps = np.floor(curve.thresholds * _SHOWN), np.floor(tp * _SHOWN / max(tp[0], 1))
    first = [
        np.flatnonzero(np.diff(steps[0], prepend=-1)),
        np.flatnonzero(np.diff(steps[1], append=-1)),
    ]
    if curve.best:
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
    """What share of the pixels of each probability is changed.

    Args:
        model: The name of the model.
        curve: Its pixels by probability.
    """
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
    """The scores of saved epochs, by the last number in the name of each model.

    Names that differ in that number alone are one series.

    Returns:
        Rows by series and number; series of one model are left out, and so are those
        in which a number occurs twice.

    Example:
        >>> epoch_scores([])
        []
    """
    series: dict[str, list[EpochScore]] = {}
    for one in models:
        found = re.fullmatch(r"(.*?)(\d+)(\D*)", one.model, re.DOTALL)
        if found is None:
            continue
        name = f"{found[1]}#{found[3]}"
        row = EpochScore(
            name,
            int(found[2]),
            one.model,
            one.bce_mean,
            one.class_mean_bce,
            one.f1_pooled,
        )
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
    """The images of a model with the largest share of wrong pixels, the worst first.

    Args:
        model: Its name.
        rows: Its image rows; those without a wrong pixel are left out.
        most: How many to name.
    """
    wrong = []
    for row in rows:
        counts = row.confusion
        valid = counts.tp + counts.fp + counts.fn + counts.tn
        if row.status == "ok" and counts.fp + counts.fn:
            wrong.append(((counts.fp + counts.fn) / valid, row))
    # The sort is stable: images alike in their share stay in the order of the rows.
    wrong.sort(key=lambda pair: -pair[0])
    return [
        WorstImage(
            model,
            rank,
            row.pred,
            row.target,
            *(row.confusion.tp, row.confusion.fp, row.confusion.fn, row.confusion.tn),
            row.ignored or 0,
            share,
        )
        for rank, (share, row) in enumerate(wrong[:most], start=1)
    ]
