"""Figures of counted masks, drawn from rows."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, Final

from cdstats.core.binarisation import LOADERS
from cdstats.core.records import ALL
from cdstats.render.figures.style import (
    BLUE,
    GRID,
    INK,
    MUTED,
    ORANGE,
    PAPER,
    key_above,
    key_height,
    label,
    log_ticks,
    new_axes,
    series_style,
    whole_ticks,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

    from matplotlib.artist import Artist
    from matplotlib.figure import Figure

    from cdstats.core.audit_records import BinarisationShare, RegionSizes
    from cdstats.core.charts import FractionBin, FractionShare, HeatCell

_LOWEST: Final = 1e-4
"""Lower end of a logarithmic axis of change fractions; smaller values are put there."""
_MOST_STEPS: Final = 2000
"""Largest number of steps drawn per line, above the number of dots in a column."""
_CLOSE: Final = 200
"""Largest ratio of the ends of a logarithmic axis that also has ticks at 2 and 5."""
_IN_USE: Final = "rule in use"
_MARKS: Final = dict(zip(LOADERS, (("^", 7.0), ("s", 5.0), ("v", 3.5)), strict=True))
"""Marker and size of each common rule in row order; sizes differ so that all show."""
_FRAME: Final = 2.2
"""Width of the heat map, in inches."""
_COLOUR_MAP: Final = "cividis"


def draw_distribution(rows: Sequence[FractionBin]) -> Figure:
    """Bars: number of masks in each bin of change fractions."""
    first = next((n for n, row in enumerate(rows) if n and row.images), 1)
    last = max((n for n, row in enumerate(rows) if row.images), default=1)
    shown = [rows[0], *rows[min(first, last) : max(last, first) + 1]]
    figure, axes = new_axes(2.1, grid="y")
    heights = [row.images for row in shown]
    colours = [ORANGE, *[BLUE] * (len(shown) - 1)]
    bars = axes.bar(range(len(shown)), heights, width=0.82, color=colours)
    axes.bar_label(
        bars, [f"{n:,}" if n else "" for n in heights], padding=1.5, fontsize=6.5
    )
    names = ["none", *(f"≤ {100 * row.up_to:g}" for row in shown[1:])]
    many = len(shown) > 8
    axes.set_xticks(
        range(len(shown)),
        names,
        rotation=45 if many else 0,
        ha="right" if many else "center",
    )
    axes.tick_params(axis="x", length=0)
    axes.set(xlabel="change fraction of a mask (%)", ylabel="masks")
    axes.margins(y=0.12)
    whole_ticks(axes, "y")
    return figure


def draw_splits(rows: Sequence[FractionShare]) -> Figure:
    """Steps: cumulative share of the masks of each split by change fraction."""
    splits = list(dict.fromkeys(row.split for row in rows))
    figure, axes = new_axes(2.0 + key_height(len(splits), 4))
    held = [row.change_fraction for row in rows if row.change_fraction]
    low = max(_LOWEST, 10.0 ** math.floor(math.log10(min(held, default=0.01))))
    high = max(10 * low, min(1.0, 1.3 * max(held, default=1.0)))
    axes.set_xscale("log")
    axes.set_xlim(low, high)
    key: list[tuple[Artist, str]] = []
    for number, split in enumerate(splits):
        own = _thinned([row for row in rows if row.split == split])
        x = [low, *(max(low, row.change_fraction) for row in own), high]
        y = [0.0, *(row.share_of_images for row in own), 1.0]
        style = series_style(number)
        name = label(split or ALL, 10)
        lines = axes.plot(x, y, drawstyle="steps-post", clip_on=False, **style)
        key += [(line, name) for line in lines]
    axes.set_ylim(0, 1)
    axes.set_yticks([0, 0.25, 0.5, 0.75, 1], ["0", "25", "50", "75", "100"])
    log_ticks(
        axes,
        "x",
        (low, high),
        lambda at: f"{'≤ ' * (at < 1.001 * low)}{100 * at:g}",
        (1, 2, 5) if high / low < _CLOSE else (1,),
    )
    axes.set(
        xlabel="change fraction of a mask (%)", ylabel="cumulative share of masks (%)"
    )
    key_above(figure, key, across=4)
    return figure


def _thinned(rows: Sequence[FractionShare]) -> list[FractionShare]:
    """At most as many rows as the width of a column can resolve."""
    step = -(-len(rows) // _MOST_STEPS)
    return [*rows[:-1:step], *rows[-1:]]


def draw_binarisation(rows: Sequence[BinarisationShare]) -> Figure:
    """Dots: change fraction of each split under each rule of common loaders."""
    splits = list(dict.fromkeys(row.split for row in rows))
    figure, axes = new_axes(1.0 + 0.26 * len(splits), grid="x")
    found: dict[str, list[tuple[float, int]]] = {}
    for place, split in enumerate(splits):
        own = [row for row in rows if row.split == split]
        for row, rule in zip(own, (_IN_USE, *_MARKS), strict=True):
            per_cent = 100 * (row.change_fraction or 0)
            found.setdefault(rule, []).append((per_cent, place))
        ends = [points[-1][0] for points in found.values()]
        axes.plot([min(ends), max(ends)], [place] * 2, color=GRID, linewidth=3)
    key: list[tuple[Artist, str]] = []
    for number, (rule, (mark, size)) in enumerate(_MARKS.items()):
        colour = series_style(number)["color"]
        x, y = zip(*found[rule], strict=True)
        key += [(line, rule) for line in axes.plot(x, y, mark, color=colour, ms=size)]
    ring: dict[str, Any] = {
        "markersize": 9,
        "markerfacecolor": "none",
        "markeredgewidth": 0.9,
    }
    x, y = zip(*found[_IN_USE], strict=True)
    key += [(line, _IN_USE) for line in axes.plot(x, y, "o", mec=INK, **ring)]
    axes.set_yticks(range(len(splits)), [label(split, 14) for split in splits])
    axes.set_ylim(len(splits) - 0.5, -0.5)
    axes.tick_params(axis="y", length=0)
    axes.set_xlabel("changed pixels (% of valid)")
    axes.margins(x=0.08)
    key_above(figure, key, across=4)
    return figure


def draw_regions(rows: Sequence[RegionSizes]) -> Figure:
    """Boxes: sizes of the connected changed regions of each split."""
    figure, axes = new_axes(0.85 + 0.3 * len(rows), grid="x")
    axes.set_xscale("log")
    for place, row in enumerate(rows):
        sizes = [
            row.size_min,
            row.size_q25,
            row.size_median,
            row.size_q75,
            row.size_max,
        ]
        low, q25, median, q75, high = (size or 1 for size in sizes)
        if not row.regions:
            continue
        axes.plot([low, high], [place] * 2, color=MUTED, linewidth=0.9)
        axes.plot([low, high], [place] * 2, "|", color=MUTED, markersize=6)
        axes.plot(
            [q25, q75], [place] * 2, color=BLUE, linewidth=7, solid_capstyle="butt"
        )
        axes.plot(
            [median], [place], "|", color=PAPER, markersize=7, markeredgewidth=1.6
        )
        axes.annotate(
            f"{median:,}",
            (median, place),
            xytext=(0, 5.5),
            textcoords="offset points",
            ha="center",
            fontsize=6.5,
        )
    limits = {row.speck_limit for row in rows}
    if any(row.specks for row in rows) and len(limits) == 1:
        axes.axvline(limits.pop(), color=ORANGE, linewidth=0.9, linestyle=(0, (3, 2)))
    names = [f"{label(row.split, 14)} ({row.regions:,})" for row in rows]
    axes.set_yticks(range(len(rows)), names)
    axes.set_ylim(len(rows) - 0.5, -0.7)
    axes.tick_params(axis="y", length=0)
    axes.set_xlabel("region size (pixels)")
    log_ticks(axes, "x", axes.get_xlim(), lambda size: f"{int(size):,}")
    return figure


def draw_heat_map(rows: Sequence[HeatCell], size: tuple[int, int]) -> Figure:
    """A heat map: change fraction of each cell of a grid over the image."""
    height, width = (
        max(getattr(row, n) for row in rows) + 1 for n in ("row", "column")
    )
    cells = [[float("nan")] * width for _ in range(height)]
    for row in rows:
        if row.change_fraction is not None:
            cells[row.row][row.column] = 100 * row.change_fraction
    drawn = min(max(_FRAME * size[1] / size[0], 0.7), 2 * _FRAME)
    figure, axes = new_axes(0.55 + drawn, grid="")
    x = [size[0] * n / width for n in range(width + 1)]
    y = [size[1] * n / height for n in range(height + 1)]
    mesh = axes.pcolormesh(
        x, y, cells, cmap=_COLOUR_MAP, vmin=0, edgecolor="face", linewidth=0.1
    )
    axes.set_aspect("equal")
    axes.invert_yaxis()
    axes.set(xlabel="column (pixels)", ylabel="row (pixels)")
    axes.set_xticks([0, size[0]])
    axes.set_yticks([0, size[1]])
    bar = figure.colorbar(mesh, ax=axes, shrink=0.9, pad=0.03)
    bar.set_label("changed pixels (%)")
    bar.outline.set_visible(False)
    return figure
