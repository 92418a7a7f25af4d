"""From counted masks to the rows of their figures."""

from __future__ import annotations

from bisect import bisect_left
from fractions import Fraction
from itertools import pairwise
from typing import TYPE_CHECKING, Final

from cdstats.core.chart_records import FractionBin, FractionShare, HeatCell
from cdstats.core.records import split_order

if TYPE_CHECKING:
    from collections.abc import Sequence

    from cdstats.core.audit_records import HeatMap
    from cdstats.core.records import ImageRecord

EDGES: Final = (
    *(Fraction(n * power, 10_000) for power in (1, 10, 100, 1000) for n in (1, 2, 5)),
    Fraction(1),
)
"""Upper ends of the bins of a change fraction: 0.01, 0.02, 0.05 ... 50 and 100 %."""


def fraction_bins(dataset: str, rows: Sequence[ImageRecord]) -> list[FractionBin]:
    """How many masks of a dataset hold how much change.

    Masks without a valid pixel are in no bin; the edges are compared as integers.

    Example:
        >>> [(row.up_to, row.images) for row in fraction_bins("CDD", [])][:2]
        [(0.0, 0), (0.0001, 0)]
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
    """The cumulative shares of a dataset's masks over their change fraction, by split.

    Example:
        >>> fraction_shares("CDD", [])
        []
    """
    valid = [row for row in rows if row.change_fraction is not None]
    shares: list[FractionShare] = []
    for split in sorted({row.split for row in valid}, key=split_order):
        own = [row.change_fraction or 0.0 for row in valid if row.split == split]
        own.sort()
        shares += [
            FractionShare(dataset, split, fraction, (place + 1) / len(own))
            for place, fraction in enumerate(own)
            if place + 1 == len(own) or own[place + 1] > fraction
        ]
    return shares


def heat_cells(heat: HeatMap) -> list[HeatCell]:
    """The cells of a heat map, row by row."""
    return [
        HeatCell(heat.dataset, row, column, fraction)
        for row, cells in enumerate(heat.cells)
        for column, fraction in enumerate(cells)
    ]
