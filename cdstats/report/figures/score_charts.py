"""The figures that scored predictions give."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from cdstats.core import score_charts
from cdstats.core.chart_records import (
    BetaLoss,
    CalibrationBin,
    EpochScore,
    ThresholdScore,
    WorstImage,
)
from cdstats.report.figures import errors, scores
from cdstats.report.figures.chart import Chart, Missing
from cdstats.report.figures.names import NEEDS_PREDICTIONS

if TYPE_CHECKING:
    from collections.abc import Iterator

    from cdstats.core.material import ScoreMaterial


def charts_of_scores(held: ScoreMaterial) -> Iterator[Chart | Missing]:
    """Every figure of predictions, or why it is missing."""
    yield _beta(held)
    if held.has_pixels:
        yield from _curves(held)
    else:
        reason = "needs the pixels of predictions"
        yield from (Missing(name, reason) for name in NEEDS_PREDICTIONS)
    epochs = score_charts.epoch_scores([model.dataset for model in held.models])
    if epochs:
        title, draw = "Saved epochs", partial(scores.draw_epochs, epochs)
        caption = (
            "Mean losses, nats per pixel, and pooled F1 of the changed class over the "
            "last number in the name of the model."
        )
        yield Chart("epochs", "", title, caption, epochs, EpochScore, draw)
    else:
        yield Missing("epochs", "no two models differ in the last number of their name")
    if held.has_pixels:
        yield from _errors(held)


def _beta(held: ScoreMaterial) -> Chart | Missing:
    rows = [
        row
        for model in held.models
        for row in score_charts.beta_losses(
            model.name, (image for image in held.images if image.model == model.name)
        )
    ]
    if not rows:
        return Missing("loss-beta", "no model was scored on pixels of both classes")
    caption = (
        "Balanced cross-entropy with a fixed β, nats, divided by the weights: a "
        "changed pixel weighs β, an unchanged one 1 - β. The left end is the mean of "
        "unchanged pixels, the right end that of changed ones."
    )
    draw = partial(scores.draw_beta, rows)
    return Chart("loss-beta", "", "Loss against β", caption, rows, BetaLoss, draw)


def _curves(held: ScoreMaterial) -> Iterator[Chart | Missing]:
    """Thresholds, precision over recall, and calibration of models that have them."""
    names = NEEDS_PREDICTIONS[:3]
    levels = {
        model.name: model.histogram
        for model in held.models
        if model.histogram is not None
        and not model.is_hard
        and model.histogram.changed.any()
    }
    if not levels:
        reason = "needs probabilities and changed pixels; labels have one threshold"
        yield from (Missing(name, reason) for name in names)
        return
    swept = [
        row
        for name, one in levels.items()
        for row in score_charts.threshold_scores(name, one)
    ]
    best = [score_charts.curve_summary(name, one) for name, one in levels.items()]
    told = "; ".join(
        f"{one.model + ': ' if one.model else ''}{one.best_f1:.3f} at "
        f"{one.best_threshold:.3f}"
        for one in best
    )
    used = "" if held.threshold is None else f" Dashed: {held.threshold:g}, used here."
    yield Chart(
        "thresholds",
        "",
        "F1 over the threshold",
        f"All pixels pooled; thresholds are k / 1024. Best F1, chosen in-sample and so "
        f"too good for other data: {told}.{used}",
        swept,
        ThresholdScore,
        partial(scores.draw_thresholds, swept, best, held.threshold),
    )
    yield Chart(
        "precision-recall",
        "",
        "Precision over recall",
        "All pixels pooled. AP: average precision, the area in steps without "
        "interpolation; probabilities are tied within 1/1024.",
        swept,
        ThresholdScore,
        partial(scores.draw_precision_recall, swept, best),
    )
    rows = [
        row
        for name, one in levels.items()
        for row in score_charts.calibration_bins(name, one)
    ]
    distance = "; ".join(
        f"{one.model + ': ' if one.model else ''}{one.calibration_error:.3f}"
        for one in best
    )
    yield Chart(
        "calibration",
        "",
        "Calibration",
        "Share of pixels that are changed over their predicted probability, in 16 "
        "equal bins; the dashed line is a calibrated model. Below: share of all pixels "
        f"in each bin. Expected calibration error: {distance}.",
        rows,
        CalibrationBin,
        partial(scores.draw_calibration, rows),
    )


def _errors(held: ScoreMaterial) -> Iterator[Chart | Missing]:
    if not held.pictures:
        yield Missing("errors", "no prediction has a wrong pixel")
    for model in dict.fromkeys(one.image.model for one in held.pictures):
        own = [one for one in held.pictures if one.image.model == model]
        rows = [one.image for one in own]
        caption = (
            "The images with the largest share of wrong pixels, (FP + FN) / valid, the "
            "worst first; each cell shows the mean colour of its pixels."
        )
        draw = partial(errors.draw_errors, own)
        yield Chart("errors", model, "Worst images", caption, rows, WorstImage, draw)
