"""From scored predictions to the rows of their figures."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

import numpy as np

from cdstats.core.catalogue import choose, evaluate
from cdstats.core.chart_records import (
    BetaLoss,
    CalibrationBin,
    CurveSummary,
    EpochScore,
    ThresholdScore,
    WorstImage,
)
from cdstats.core.curves import average_precision, best_f1
from cdstats.core.histogram import BINS
from cdstats.core.metrics import F1, PRECISION, RECALL, Confusion
from cdstats.core.sums import SumsTable

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from cdstats.core.histogram import LevelCounts
    from cdstats.core.score_records import DatasetScore, ScoreRecord

STEPS: Final = 50
"""Equal steps of β from 0 to 1."""
CALIBRATION_BINS: Final = 16
"""Equal bins of a calibration curve; each holds a whole number of histogram bins."""
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


def threshold_scores(model: str, levels: LevelCounts) -> list[ThresholdScore]:
    """The scores of a model at every threshold k / 1024, the lowest first.

    Example:
        >>> from cdstats.core.histogram import LevelCounts
        >>> levels = LevelCounts.of(np.array([0.75]), np.array([0.25])).binned()
        >>> [(row.threshold, row.f1) for row in threshold_scores("unet", levels)]
        [(0.25, 0.666...), (0.75, 1.0)]
    """
    sweep = levels.sweep()
    columns = (sweep.thresholds, sweep.tp, sweep.fp, sweep.fn, sweep.tn)
    scores = []
    rising = (column[::-1].tolist() for column in columns)
    for threshold, tp, fp, fn, tn in zip(*rising, strict=True):
        held = Confusion(tp, fp, fn, tn)
        metrics = (PRECISION.of(held), RECALL.of(held), F1.of(held))
        scores.append(ThresholdScore(model, threshold, tp, fp, fn, tn, *metrics))
    return scores


def calibration_bins(model: str, levels: LevelCounts) -> list[CalibrationBin]:
    """What share of the pixels of each probability is changed.

    The mean probability is known to 1/1024: a pixel stands at the middle of its bin of
    the histogram, one of the first bin at 0 and one of p = 1 at 1.

    Args:
        model: The name of the model.
        levels: Its histogram: `LevelCounts.binned`, or of bins.
    """
    pixels = levels.changed + levels.unchanged
    place = np.minimum(levels.values * CALIBRATION_BINS, CALIBRATION_BINS - 1)
    place = place.astype(np.int64)
    middle = np.where(levels.values % 1 > 0, levels.values + 0.5 / BINS, levels.values)
    shape = (3, CALIBRATION_BINS)
    held = np.zeros(shape)
    for row, weights in zip(
        held, (pixels, levels.changed, pixels * middle), strict=True
    ):
        np.add.at(row, place, weights)
    return [
        CalibrationBin(
            model,
            number / CALIBRATION_BINS,
            (number + 1) / CALIBRATION_BINS,
            int(count),
            int(changed),
            total / count if count else None,
            changed / count if count else None,
        )
        for number, (count, changed, total) in enumerate(held.T.tolist())
    ]


def curve_summary(model: str, levels: LevelCounts) -> CurveSummary:
    """Average precision, the best threshold and the calibration error of a model."""
    precision = average_precision(levels.changed, levels.unchanged).item()
    best, place = best_f1(levels.changed, levels.unchanged)
    defined = not np.isnan(best)
    rows = [row for row in calibration_bins(model, levels) if row.pixels]
    distances = [
        row.pixels * abs((row.observed_fraction or 0) - (row.mean_probability or 0))
        for row in rows
    ]
    return CurveSummary(
        model,
        None if np.isnan(precision) else precision,
        float(best) if defined else None,
        float(levels.values[int(place)]) if defined else None,
        sum(distances) / levels.valid if levels.valid else None,
    )


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
