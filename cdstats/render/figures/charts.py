"""All figures: which can be drawn from the given records, and from which rows."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Any, Final

from cdstats.core import charts
from cdstats.core.comparison_records import IN_SAMPLE_WAY
from cdstats.core.errors import counted
from cdstats.core.records import ALL
from cdstats.core.score_records import Stated
from cdstats.render.figures import NEEDS_MASKS, NEEDS_PREDICTIONS, masks, scores

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from matplotlib.figure import Figure

    from cdstats.core.audit_records import SplitShift
    from cdstats.core.charts import CurveSummary
    from cdstats.core.columns import Record
    from cdstats.core.curves import Curve
    from cdstats.core.material import MaskMaterial, Material, ScoreMaterial
    from cdstats.core.records import SummaryRecord


@dataclass(frozen=True)
class Chart:
    """One figure with its texts, its rows and the function that draws it."""

    figure: str
    subject: str
    title: str
    caption: str
    rows: Sequence[Record]
    draw: Callable[[], Figure]

    @property
    def kind(self) -> type[Record]:
        """The record type of the rows; a figure has at least one row."""
        return type(self.rows[0])


@dataclass(frozen=True)
class Missing:
    """A figure that cannot be drawn from the records, with the reason."""

    figure: str
    reason: str


_TWO: Final = 2
_SHIFTS: Final = 3
"""Number of split distances in a caption; the largest are shown."""


def charts_of_masks(held: MaskMaterial) -> Iterator[Chart | Missing]:
    """Every figure of the masks of each dataset, or the reason why it is missing."""
    whole = [row for row in held.datasets if row.split == ALL]
    names = [row.dataset for row in whole if row.images]
    yield from (
        Missing("distribution", f"{row.dataset}: no mask was counted".lstrip(": "))
        for row in whole
        if not row.images
    )
    of_pixels = (_binarisation, _regions, _heat_map)
    for chart in (_distribution, _splits, *(of_pixels if held.has_pixels else ())):
        yield from (chart(held, name) for name in names)
    if not held.has_pixels:
        yield from (Missing(name, "needs the pixels of masks") for name in NEEDS_MASKS)


def _distribution(held: MaskMaterial, name: str) -> Chart | Missing:
    own = [row for row in held.images if row.dataset == name]
    rows = charts.fraction_bins(name, own)
    total = sum(row.images for row in rows)
    if not total:
        return Missing("distribution", f"{name}: no mask has a valid pixel")
    caption = (
        f"{counted(total, 'mask')} by change fraction, changed / valid pixels; orange: "
        f"masks without change. Rule: {_whole(held, name).rule}."
    )
    draw = partial(masks.draw_distribution, rows)
    title = "Change per mask"
    return Chart("distribution", name, title, caption, rows, draw)


def _splits(held: MaskMaterial, name: str) -> Chart | Missing:
    own = [row for row in held.images if row.dataset == name]
    rows = charts.fraction_shares(name, own)
    if len({row.split for row in rows}) < _TWO:
        return Missing("splits", f"{name}: has no splits to compare")
    caption = (
        "Cumulative share of the masks of each split by change fraction, per cent."
    )
    shifts = [one for one in held.shifts if one.dataset == name]
    if shifts:
        caption += f" Kolmogorov-Smirnov over masks{_shifts_text(shifts)}"
    draw = partial(masks.draw_splits, rows)
    return Chart("splits", name, "Splits compared", caption, rows, draw)


def _shifts_text(shifts: Sequence[SplitShift]) -> str:
    """The distances of splits; only the largest if there are many."""
    furthest = sorted(shifts, key=lambda one: -one.ks_distance)[:_SHIFTS]
    parts = (
        f"{one.split} from {one.reference}: distance {one.ks_distance:.2f}, "
        f"p = {one.p_value:.2g}"
        for one in furthest
    )
    more = ", the largest" if len(shifts) > _SHIFTS else ""
    return f"{more}: {'; '.join(parts)} (if masks were independent)."


def _binarisation(held: MaskMaterial, name: str) -> Chart | Missing:
    rows = [_with_split(row) for row in held.binarisations if row.dataset == name]
    if not any(row.change_fraction is not None for row in rows):
        return Missing("binarisation", f"{name}: no mask was counted")
    caption = (
        "Changed pixels, per cent of valid pixels, as counted by loaders with the "
        f"rules >0, >=128 and ==255. Rule in use: {_whole(held, name).rule}."
    )
    draw = partial(masks.draw_binarisation, rows)
    title = "Change fraction by loader"
    return Chart("binarisation", name, title, caption, rows, draw)


def _regions(held: MaskMaterial, name: str) -> Chart | Missing:
    rows = [_with_split(row) for row in held.regions if row.dataset == name]
    if not any(row.regions for row in rows):
        return Missing("regions", f"{name}: no changed region")
    limit, connectivity = rows[0].speck_limit, rows[0].connectivity
    specks = sum(row.specks for row in rows)
    caption = (
        f"Connected changed regions of each split (their number). Line: smallest to "
        f"largest; box: interquartile range; label: median. {connectivity} neighbours."
    )
    if specks:
        caption += f" Dashed: limit of {limit} pixels, with {specks:,} specks below."
    draw = partial(masks.draw_regions, rows)
    return Chart("regions", name, "Region sizes", caption, rows, draw)


def _heat_map(held: MaskMaterial, name: str) -> Chart | Missing:
    heat = next((one for one in held.heat_maps if one.dataset == name), None)
    if heat is None:
        images = _whole(held, name).images
        reason = "its masks differ in size" if images else "no mask was counted"
        return Missing("heat-map", f"{name}: {reason}")
    rows = charts.heat_cells(heat)
    caption = (
        f"Changed pixels, per cent of valid pixels, in each cell of an image of "
        f"{heat.width:,} x {heat.height:,} pixels; {counted(heat.images, 'mask')}."
    )
    draw = partial(masks.draw_heat_map, rows, (heat.width, heat.height))
    title = "Change fraction by position"
    return Chart("heat-map", name, title, caption, rows, draw)


def _with_split(row: Any) -> Any:  # noqa: ANN401 - a record of a split
    """The row; an empty split is named ``all``."""
    return row if row.split else replace(row, split=ALL)


def _whole(held: MaskMaterial, name: str) -> SummaryRecord:
    return next(r for r in held.datasets if r.dataset == name and r.split == ALL)


def charts_of_scores(held: ScoreMaterial) -> Iterator[Chart | Missing]:
    """Every figure of predictions, or the reason why it is missing."""
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
            "Mean losses, nats per pixel, and pooled F1 of the changed class by the "
            "last number in the name of the model."
        )
        yield Chart("epochs", "", title, caption, epochs, draw)
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
        "Balanced cross-entropy with a fixed β, nats, divided by the sum of weights, "
        "β for changed and 1 - β for unchanged pixels. The left end is the mean of the "
        "unchanged pixels, the right end the mean of the changed pixels."
    )
    draw = partial(scores.draw_beta, rows)
    return Chart("loss-beta", "", "Loss against β", caption, rows, draw)


def curve_summaries(held: ScoreMaterial) -> list[CurveSummary]:
    """Average precision, best F1 and calibration error of every model with a curve."""
    errors = {model.name: model.dataset.ece for model in held.models}
    found = []
    for name, one in _curves_of(held).items():
        best, threshold = one.best or (None, None)
        found.append(
            charts.CurveSummary(
                name, one.average_precision, best, threshold, errors[name]
            )
        )
    return found


def _curves_of(held: ScoreMaterial) -> dict[str, Curve]:
    """The curves of models that have probabilities and changed pixels."""
    return {
        model.name: model.curve
        for model in held.models
        if model.curve is not None and not model.is_hard and model.curve.changed.any()
    }


def _per_model(texts: list[str], models: list[CurveSummary]) -> str:
    """The texts of the models, joined for a caption; empty for many models."""
    if len(texts) > _FEW:
        return ""
    named = zip(models, texts, strict=True)
    parts = (f"{one.model}: {text}" if one.model else text for one, text in named)
    return f": {'; '.join(parts)}"


_FEW: Final = 3
"""Largest number of models that a caption lists."""


def _curves(held: ScoreMaterial) -> Iterator[Chart | Missing]:
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
    told = _per_model([scores.best_text(one, 3) for one in best], best)
    used = "" if held.threshold is None else f" Dashed: {held.threshold:g}, in use."
    yield Chart(
        "thresholds",
        "",
        "F1 by threshold",
        "All pixels pooled, at thresholds at most 1/1024 apart in threshold and in "
        f"recall. The best F1 is optimistic: it was chosen on the same images"
        f"{told}. To {IN_SAMPLE_WAY}.{used}",
        swept,
        partial(scores.draw_thresholds, swept, best, held.threshold),
    )
    yield Chart(
        "precision-recall",
        "",
        "Precision and recall",
        "All pixels pooled. AP: average precision, the area in steps without "
        "interpolation; the curve is drawn at steps of 1/1024 in recall.",
        swept,
        partial(scores.draw_precision_recall, swept, best),
    )
    rows = [
        row
        for name, one in curves.items()
        for row in charts.calibration_bins(name, one)
    ]
    distance = _per_model(
        ["–" if one.ece is None else f"{one.ece:.3f}" for one in best], best
    )
    yield Chart(
        "calibration",
        "",
        "Calibration",
        "Share of changed pixels by predicted probability, in 15 equal bins; dashed: a "
        "perfectly calibrated model. Below: share of all pixels in each bin. Expected "
        f"calibration error{distance or ': see the table'}.",
        rows,
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
            "The images with the largest share of wrong pixels, (FP + FN) / valid, in "
            "descending order; each cell shows the mean colour of its pixels."
        )
        draw = partial(scores.draw_errors, own)
        yield Chart("errors", model, "Worst images", caption, rows, draw)


def figures_of(material: Material) -> tuple[list[Chart], list[Missing]]:
    """The figures of the records in the order of `FIGURES`, and the missing figures."""
    of_masks = charts_of_masks(material.masks) if material.masks else ()
    of_scores = charts_of_scores(material.scores) if material.scores else ()
    every = [*of_masks, *of_scores]
    found = [one for one in every if isinstance(one, Chart)]
    return found, [one for one in every if isinstance(one, Missing)]
