"""Whether the splits of a dataset are alike; the unit is the image, not the pixel."""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING, Final, Literal

from cdstats.core.audit_records import SplitShift
from cdstats.core.records import split_order

if TYPE_CHECKING:
    from collections.abc import Sequence

    from cdstats.core.records import ImageRecord

_EXACT: Final = 200
"""Images of a split up to which the probability is exact."""


def split_shifts(dataset: str, rows: Sequence[ImageRecord]) -> list[SplitShift]:
    """The distance of each split from the first, train where there is one.

    Args:
        dataset: The dataset's name.
        rows: Its image rows.

    Returns:
        Two-sample Kolmogorov-Smirnov distances of the images' change fractions.

    References:
        Hodges, "The significance probability of the Smirnov two-sample test", 1958,
        as `scipy.stats.ks_2samp` computes it.
    """
    splits: dict[str, list[float]] = {}
    for row in rows:
        if row.change_fraction is not None:
            splits.setdefault(row.split, []).append(row.change_fraction)
    names = sorted(splits, key=split_order)
    return [
        _shift(dataset, (names[0], splits[names[0]]), (name, splits[name]))
        for name in names[1:]
    ]


def _shift(
    dataset: str, first: tuple[str, list[float]], other: tuple[str, list[float]]
) -> SplitShift:
    from scipy.stats import ks_2samp

    sizes = (len(first[1]), len(other[1]))
    method: Literal["exact", "asymp"] = "exact" if max(sizes) <= _EXACT else "asymp"
    with warnings.catch_warnings():
        # Where rounding takes an exact probability beyond 1, SciPy says so and gives
        # the asymptotic one, which is near 1 as well.
        warnings.simplefilter("ignore", RuntimeWarning)
        found = ks_2samp(first[1], other[1], method=method)
    distance, probability = float(found.statistic), float(found.pvalue)
    return SplitShift(dataset, first[0], other[0], *sizes, distance, probability)
