"""The figures that scored predictions give."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any, Final

from cdstats.core import charts
from cdstats.core.charts import (
    BetaLoss,
    CalibrationBin,
    CurveSummary,
    EpochScore,
    ThresholdScore,
    WorstImage,
)
from cdstats.core.score_records import Stated
from cdstats.render.figures import errors, scores
from cdstats.render.figures.chart import Chart, Missing
from cdstats.render.figures.names import NEEDS_PREDICTIONS

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from cdstats.core.curves import Curve
    from cdstats.core.material import ScoreMaterial


def charts_of_scores(held: ScoreMaterial) -> Iterator[Chart | Missing]:
    """Every figure of predictions, or why it is missing."""
    stated = {one.name: Stated.of([one.dataset]) for one in held.models}
    for one in _charts(held):
        if isinstance(one, Missing):
            yield one
        else:
            rows: Sequence[Any] = one.rows
            yield replace(one, rows=[r.with_stated(stated[r.model]) for r in rows])


def _charts(held: ScoreMaterial) -> Iterator[Chart | Missing]:
    yield _beta(held)
    if held.has_pixels:
        yield from _curves(held)
    else:
        reason = "needs the pixels of predictions"
        yield from (Missing(name, reason) for name in NEEDS_PREDICTIONS)
    epochs = charts.epoch_scores([model.dataset for model in held.models])
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
        for row in charts.beta_losses(
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


def curve_summaries(held: ScoreMaterial) -> list[CurveSummary]:
    """What the curves come to of every model that has them."""
    errors = {model.name: model.dataset.ece for model in held.models}
    found = []
    for name, one in _curves_of(held).items():
        best, threshold = one.best or (None, None)
        found.append(
            CurveSummary(name, one.average_precision, best, threshold, errors[name])
        )
    return found


def _curves_of(held: ScoreMaterial) -> dict[str, Curve]:
    """The curves of models that have them: no labels, and changed pixels."""
    return {
        model.name: model.curve
        for model in held.models
        if model.curve is not None and not model.is_hard and model.curve.changed.any()
    }


def _few(texts: list[str], models: list[CurveSummary]) -> str:
    """What to tell of each model, where there are few."""
    if len(texts) > _FEW:
        return ""
    named = zip(models, texts, strict=True)
    parts = (f"{one.model}: {text}" if one.model else text for one, text in named)
    return f": {'; '.join(parts)}"


_FEW: Final = 3
"""Models that a caption tells of one by one."""


def _curves(held: ScoreMaterial) -> Iterator[Chart | Missing]:
    """Thresholds, precision over recall, and calibration of models that have them."""
    names = NEEDS_PREDICTIONS[:3]
    curves = _curves_of(held)
    if not curves:
        yield from (Missing(name, _no_curve(held)) for name in names)
        return
    swept = [
        row
        for name, one in curves.items()
        for row in charts.threshold_scores(name, one)
    ]
    best = curve_summaries(held)
    told = _few(
        [f"{one.best_f1:.3f} at {one.best_threshold:.3f}" for one in best], best
    )
    used = "" if held.threshold is None else f" Dashed: {held.threshold:g}, used here."
    yield Chart(
        "thresholds",
        "",
        "F1 over the threshold",
        "All pixels pooled, at thresholds at most 1/1024 apart in threshold and in "
        f"recall. The best F1 was chosen in-sample and is too good for other data"
        f"{told}.{used}",
        swept,
        ThresholdScore,
        partial(scores.draw_thresholds, swept, best, held.threshold),
    )
    yield Chart(
        "precision-recall",
        "",
        "Precision over recall",
        "All pixels pooled. AP: average precision, the area in steps without "
        "interpolation; the curve is drawn at steps of 1/1024 in recall.",
        swept,
        ThresholdScore,
        partial(scores.draw_precision_recall, swept, best),
    )
    rows = [
        row
        for name, one in curves.items()
        for row in charts.calibration_bins(name, one)
    ]
    distance = _few(
        ["–" if one.ece is None else f"{one.ece:.3f}" for one in best], best
    )
    yield Chart(
        "calibration",
        "",
        "Calibration",
        "Share of pixels that are changed over their predicted probability, in 15 "
        "equal bins; the dashed line is a calibrated model. Below: share of all pixels "
        f"in each bin. Expected calibration error{distance or ': see the table'}.",
        rows,
        CalibrationBin,
        partial(scores.draw_calibration, rows),
    )


def _no_curve(held: ScoreMaterial) -> str:
    if all(model.is_soft for model in held.models):
        return "needs masks of changed and unchanged pixels; these are soft targets"
    return "needs probabilities and changed pixels; labels have one threshold"


def _errors(held: ScoreMaterial) -> Iterator[Chart | Missing]:
    if not held.pictures:
        soft = held.models and all(model.is_soft for model in held.models)
        reason = _no_curve(held) if soft else "no prediction has a wrong pixel"
        yield Missing("errors", reason)
    for model in dict.fromkeys(one.image.model for one in held.pictures):
        own = [one for one in held.pictures if one.image.model == model]
        rows = [one.image for one in own]
        caption = (
            "The images with the largest share of wrong pixels, (FP + FN) / valid, the "
            "worst first; each cell shows the mean colour of its pixels."
        )
        draw = partial(errors.draw_errors, own)
        yield Chart("errors", model, "Worst images", caption, rows, WorstImage, draw)
