"""The figures that counted masks give."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any, Final

from cdstats.core import charts
from cdstats.core.audit_records import BinarisationShare, RegionSizes
from cdstats.core.charts import FractionBin, FractionShare, HeatCell
from cdstats.core.messages import counted
from cdstats.core.records import ALL
from cdstats.render.figures import masks
from cdstats.render.figures.chart import Chart, Missing
from cdstats.render.figures.names import NEEDS_MASKS

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from cdstats.core.audit_records import SplitShift
    from cdstats.core.material import MaskMaterial
    from cdstats.core.records import SummaryRecord

_TWO: Final = 2
_SHIFTS: Final = 3
"""Distances of splits that a caption tells, the largest of more."""


def charts_of_masks(held: MaskMaterial) -> Iterator[Chart | Missing]:
    """Every figure of masks, dataset by dataset, or why it is missing."""
    names = [row.dataset for row in held.datasets if row.split == ALL]
    for name in names:
        yield _distribution(held, name)
    for name in names:
        yield _splits(held, name)
    if not held.has_pixels:
        yield from (Missing(name, "needs the pixels of masks") for name in NEEDS_MASKS)
        return
    for name in names:
        yield _binarisation(held, name)
    for name in names:
        yield _regions(held, name)
    for name in names:
        yield _heat_map(held, name)


def _distribution(held: MaskMaterial, name: str) -> Chart | Missing:
    own = [row for row in held.images if row.dataset == name]
    rows = charts.fraction_bins(name, own)
    total = sum(row.images for row in rows)
    if not total:
        return Missing("distribution", f"{name}: no mask has a valid pixel")
    caption = (
        f"{counted(total, 'mask')} by change fraction, changed / valid pixels; orange: "
        f"without change. Rule: {_rule(held, name)}."
    )
    draw = partial(masks.draw_distribution, rows)
    title = "Change per mask"
    return Chart("distribution", name, title, caption, rows, FractionBin, draw)


def _splits(held: MaskMaterial, name: str) -> Chart | Missing:
    own = [row for row in held.images if row.dataset == name]
    rows = charts.fraction_shares(name, own)
    if len({row.split for row in rows}) < _TWO:
        return Missing("splits", f"{name}: has no splits to compare")
    caption = "Share of the masks of a split with at most so much change, per cent."
    shifts = [one for one in held.shifts if one.dataset == name]
    if shifts:
        caption += f" Kolmogorov-Smirnov over masks{_shifts_text(shifts)}"
    draw = partial(masks.draw_splits, rows)
    return Chart("splits", name, "Splits compared", caption, rows, FractionShare, draw)


def _shifts_text(shifts: Sequence[SplitShift]) -> str:
    """How far splits lie apart; of many, those that lie furthest."""
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
        "Changed pixels, per cent of valid pixels, as loaders with the rules >0, >=128 "
        f"and ==255 would count them. Rule in use: {_rule(held, name)}."
    )
    draw = partial(masks.draw_binarisation, rows)
    title = "What other loaders would see"
    kind = BinarisationShare
    return Chart("binarisation", name, title, caption, rows, kind, draw)


def _regions(held: MaskMaterial, name: str) -> Chart | Missing:
    rows = [_with_split(row) for row in held.regions if row.dataset == name]
    if not any(row.regions for row in rows):
        return Missing("regions", f"{name}: no changed region")
    limit, connectivity = rows[0].speck_limit, rows[0].connectivity
    specks = sum(row.specks for row in rows)
    caption = (
        f"Connected changed regions of each split (their number): smallest to largest, "
        f"the middle half as a bar, the median named. {connectivity} neighbours."
    )
    if specks:
        caption += f" Dashed: {specks:,} specks lie below {limit} pixels."
    draw = partial(masks.draw_regions, rows)
    return Chart("regions", name, "Region sizes", caption, rows, RegionSizes, draw)


def _heat_map(held: MaskMaterial, name: str) -> Chart | Missing:
    heat = next((one for one in held.heat_maps if one.dataset == name), None)
    if heat is None:
        images = _whole(held, name).images
        reason = "its masks differ in size" if images else "no mask was counted"
        return Missing("heat-map", f"{name}: {reason}")
    rows = charts.heat_cells(heat)
    caption = (
        f"Changed pixels, per cent of valid pixels, in each cell of the frame of "
        f"{heat.width:,} x {heat.height:,} pixels; {counted(heat.images, 'mask')}."
    )
    draw = partial(masks.draw_heat_map, rows, (heat.width, heat.height))
    title = "Where change sits"
    return Chart("heat-map", name, title, caption, rows, HeatCell, draw)


def _with_split(row: Any) -> Any:  # noqa: ANN401 - a record of a split
    """The row; masks of no split are those of all."""
    return row if row.split else replace(row, split=ALL)


def _rule(held: MaskMaterial, name: str) -> str:
    return _whole(held, name).rule


def _whole(held: MaskMaterial, name: str) -> SummaryRecord:
    """The row of a dataset as a whole."""
    return next(r for r in held.datasets if r.dataset == name and r.split == ALL)
