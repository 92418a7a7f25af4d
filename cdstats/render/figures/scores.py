"""Figures of scored predictions, drawn from rows."""

from __future__ import annotations

import io
import math
from itertools import product
from typing import TYPE_CHECKING, Any, Final

from cdstats.core.charts import CLASS_MEAN, PLAIN
from cdstats.render.figures.style import (
    COLUMN,
    INK,
    MUTED,
    OUTCOMES,
    PAPER,
    key_above,
    key_height,
    label,
    log_ticks,
    new_axes,
    new_figure,
    series_style,
    whole_ticks,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

    from matplotlib.artist import Artist
    from matplotlib.axes import Axes

    Key = list[tuple[Artist, str]]
    from matplotlib.figure import Figure

    from cdstats.core.charts import (
        BetaLoss,
        CalibrationBin,
        CurveSummary,
        EpochScore,
        ThresholdScore,
    )
    from cdstats.core.material import Picture

ONE_MODEL: Final = "predictions"
"""Label of a model without a name."""
_IN_KEY: Final = 12
"""Longest name followed by a number in a legend, in characters."""
_ALONE: Final = 22
"""Longest name without a number in a legend, in characters."""
_SHAPES: Final = {PLAIN: "s", CLASS_MEAN: "o"}
_MARKS: Final = {
    PLAIN: "β = ½: plain BCE",
    CLASS_MEAN: "β = share unchanged: class mean",
}
_SHARES: Final = ([0, 0.25, 0.5, 0.75, 1], ["0", "0.25", "0.5", "0.75", "1"])


def draw_beta(rows: Sequence[BetaLoss]) -> Figure:
    """Lines: balanced cross-entropy of each model by β."""
    models = list(dict.fromkeys(row.model for row in rows))
    figure, axes = new_axes(2.4 + key_height(len(models), 2))
    key: Key = []
    for number, model in enumerate(models):
        own = [row for row in rows if row.model == model]
        style = series_style(number)
        x, y = [r.beta for r in own], [r.weighted_mean for r in own]
        key += _named(axes.plot(x, y, **style), model)
        for mark, shape in _SHAPES.items():
            there = [(r.beta, r.weighted_mean) for r in own if r.mark == mark]
            axes.plot(
                *zip(*there, strict=True), shape, color=style["color"], markersize=4
            )
    axes.set_xlim(0, 1)
    # If losses barely differ, the automatic margin is too small.
    axes.set_ylim(0, 1.05 * max((row.weighted_mean for row in rows), default=0) or 1)
    axes.set_xticks(*_SHARES)
    axes.set(
        xlabel="β, weight of a changed pixel", ylabel="balanced CE (nats per weight)"
    )
    for mark, shape in _SHAPES.items():
        lines = axes.plot([], [], shape, color=MUTED, markersize=4)
        key += [(line, _MARKS[mark]) for line in lines]
    key_above(figure, key, across=2)
    return figure


def _named(lines: Sequence[Artist], model: str) -> Key:
    return [(line, label(model or ONE_MODEL, _ALONE)) for line in lines]


def draw_thresholds(
    rows: Sequence[ThresholdScore], best: Sequence[CurveSummary], used: float | None
) -> Figure:
    """Lines: F1 by threshold; for a single model also precision and recall."""
    several = len(best) > 1
    figure, axes = new_axes(2.3 + key_height(len(best), 2))
    names = ("f1",) if several else ("f1", "precision", "recall")
    key: Key = []
    for number, (one, name) in enumerate((one, n) for one in best for n in names):
        style = series_style(number)
        own = [row for row in rows if row.model == one.model]
        held = [(r.threshold, getattr(r, name)) for r in own]
        x, y = zip(*((t, v) for t, v in held if v is not None), strict=True)
        best_of = f"{label(one.model or ONE_MODEL, _IN_KEY)} {best_text(one, 2)}"
        shown = best_of if several else _NAMES[name]
        # Between two levels the counts are those at the next one: p >= threshold.
        lines = axes.step([0.0, *x, 1.0], [y[0], *y, y[-1]], where="pre", **style)
        key += [(line, shown) for line in lines]
    key += _mark_best(axes, best, several)
    if used is not None:
        axes.axvline(used, color=MUTED, linewidth=0.8, linestyle=(0, (2, 2)))
    _unit_square(axes)
    axes.set(
        xlabel="threshold: changed when p ≥ threshold",
        ylabel="F1 of the changed class" if several else "score",
    )
    key_above(figure, key, across=2 if several else 4)
    return figure


_NAMES: Final = {"f1": "F1", "precision": "precision", "recall": "recall"}


def best_text(one: CurveSummary, decimals: int) -> str:
    """The best F1 and its threshold."""
    if one.best_threshold is None:
        return f"{one.best_f1:.3f} at no threshold of p"
    return f"{one.best_f1:.3f} at {one.best_threshold:.{decimals}f}"


def _mark_best(axes: Axes, best: Sequence[CurveSummary], several: bool) -> Key:
    """Rings at the best threshold of each model, chosen on the same pixels."""
    ring: dict[str, Any] = {"markersize": 6, "markerfacecolor": "none"}
    text = "best F1, chosen in-sample"
    for number, one in enumerate(best):
        if one.best_f1 is None or one.best_threshold is None:
            continue
        colour = series_style(number)["color"]
        place = [one.best_threshold], [one.best_f1]
        axes.plot(
            *place,
            "o",
            color=colour,
            markeredgewidth=1.2,
            clip_on=False,
            zorder=5,
            **ring,
        )
        if not several:
            text = f"best F1 {one.best_f1:.3f}, in-sample"
    return [(line, text) for line in axes.plot([], [], "o", color=INK, **ring)]


def _unit_square(axes: Axes) -> None:
    axes.set(xlim=(0, 1), ylim=(0, 1))
    axes.set_xticks(*_SHARES)
    axes.set_yticks(*_SHARES)


def draw_precision_recall(
    rows: Sequence[ThresholdScore], best: Sequence[CurveSummary]
) -> Figure:
    """Lines: precision by recall of each model, with its average precision."""
    figure, axes = new_axes(2.5 + key_height(len(best), 2))
    key: Key = []
    for number, one in enumerate(best):
        own = [row for row in rows if row.model == one.model]
        held = [row for row in reversed(own) if row.precision is not None]
        x = [row.recall or 0.0 for row in held]
        y = [row.precision or 0.0 for row in held]
        area = "" if one.average_precision is None else f"{one.average_precision:.3f}"
        shown = f"{label(one.model or ONE_MODEL, _IN_KEY)} AP {area}"
        style = series_style(number)
        lines = axes.step([0.0, *x], [y[0], *y], where="pre", **style)
        key += [(line, shown) for line in lines]
    _unit_square(axes)
    axes.set(
        xlabel="recall of the changed class", ylabel="precision of the changed class"
    )
    key_above(figure, key, across=2)
    return figure


def draw_calibration(rows: Sequence[CalibrationBin]) -> Figure:
    """Lines: share of changed pixels by predicted probability."""
    models = list(dict.fromkeys(row.model for row in rows))
    figure = new_figure(3.2 + key_height(len(models), 2))
    axes, below = figure.subplots(2, 1, sharex=True, height_ratios=[3, 1])
    axes.plot([0, 1], [0, 1], color=MUTED, linewidth=0.8, linestyle=(0, (2, 2)))
    key: Key = []
    for number, model in enumerate(models):
        own = [row for row in rows if row.model == model]
        style = series_style(number)
        held = [row for row in own if row.pixels]
        x = [row.mean_probability or 0.0 for row in held]
        y = [row.observed_fraction or 0.0 for row in held]
        lines = axes.plot(x, y, marker="o", markersize=2.6, clip_on=False, **style)
        key += _named(lines, model)
        total = sum(row.pixels for row in own)
        edges = [own[0].low, *(row.high for row in own)]
        below.stairs([row.pixels / total for row in own], edges, linewidth=1, **style)
    _unit_square(axes)
    below.set_yscale("log")
    below.set_ylim(max(1e-5, below.get_ylim()[0]), 1)
    log_ticks(below, "y", below.get_ylim(), lambda share: f"{100 * share:g}")
    axes.set_ylabel("share of changed pixels")
    below.set(ylabel="pixels (%)", xlabel="predicted probability of change")
    key_above(figure, key, across=2)
    return figure


def draw_epochs(rows: Sequence[EpochScore]) -> Figure:
    """Lines in two panels: losses and F1 by the number in the name of the model."""
    series = list(dict.fromkeys(row.series for row in rows))
    figure = new_figure(3.2 + key_height(3 * len(series), 3))
    losses, scores = figure.subplots(2, 1, sharex=True)
    key: Key = []
    shown = (
        (losses, "class_mean_bce", "class-mean BCE"),
        (losses, "bce_mean", "BCE"),
        (scores, "f1_pooled", "F1"),
    )
    for number, ((axes, column, title), one) in enumerate(product(shown, series)):
        pairs = ((r.number, getattr(r, column)) for r in rows if r.series == one)
        held = [pair for pair in pairs if pair[1] is not None]
        if held:
            style = series_style(number)
            lines = axes.plot(
                *zip(*held, strict=True), marker="o", markersize=2.6, **style
            )
            name = f"{title} {label(one, _IN_KEY)}" if len(series) > 1 else title
            key += [(line, name) for line in lines]
    losses.set_ylim(bottom=0)
    losses.set_ylabel("loss (nats)")
    scores.set(ylabel="F1, pooled", xlabel="number in the name of the model")
    whole_ticks(scores, "x")
    for axes in (losses, scores):
        axes.margins(x=0.02)
    key_above(figure, key, across=3)
    return figure


WORDS: Final = {
    "tp": "found (TP)",
    "fp": "false alarm (FP)",
    "fn": "missed (FN)",
    "tn": "no change (TN)",
    "ignored": "ignored",
}
_ACROSS: Final = 3


def coloured(picture: Picture) -> Any:  # noqa: ANN401 - an array
    """An error image as RGB in [0, 1]; floating, ``(rows, columns, 3)``."""
    from matplotlib.colors import to_rgb

    return (picture.shares @ [to_rgb(OUTCOMES[name]) for name in OUTCOMES]).clip(0, 1)


def png_bytes(picture: Picture) -> bytes:
    """An error image as a PNG file; equal images give equal bytes."""
    from matplotlib.image import imsave

    data = io.BytesIO()
    # Otherwise the file would contain the version of matplotlib.
    metadata: Any = {"Software": None}
    imsave(data, coloured(picture), format="png", metadata=metadata)
    return data.getvalue()


def draw_errors(pictures: Sequence[Picture]) -> Figure:
    """The error images in rows of three, with a legend of their colours."""
    from matplotlib.patches import Patch

    rows = math.ceil(len(pictures) / _ACROSS)
    figure = new_figure(0.35 + rows * (COLUMN / _ACROSS + 0.22))
    grid = figure.subplots(rows, _ACROSS, squeeze=False)
    cells = [axes for line in grid for axes in line]
    for axes in cells:
        axes.set_axis_off()
    for axes, picture in zip(cells, pictures, strict=False):
        axes.imshow(coloured(picture), interpolation="nearest")
        name = label(picture.image.pred, 20)
        title = f"{name}\n{100 * picture.image.wrong_share:.2g} % wrong"
        axes.set_title(title, fontsize=6, fontweight="normal", loc="center", pad=2)
    keys = [
        Patch(facecolor=OUTCOMES[name], edgecolor="#5b6470", linewidth=0.4, label=text)
        for name, text in WORDS.items()
        if name != "ignored" or any(p.image.ignored for p in pictures)
    ]
    figure.legend(
        handles=keys,
        loc="outside upper left",
        ncols=5,
        frameon=False,
        fontsize=6.5,
        handlelength=1,
        handletextpad=0.4,
        columnspacing=1.2,
    )
    figure.set_facecolor(PAPER)
    return figure
