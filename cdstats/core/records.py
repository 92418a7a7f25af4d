"""The rows of `cdstats ratio`; field order is column order."""

from __future__ import annotations

import math
from array import array
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, Literal, TypeVar

import numpy as np

from cdstats.core.columns import (
    CHANGE_FRACTION,
    CHANGE_RATIO,
    CHANGED,
    IGNORED,
    UNCHANGED,
    column,
    per_cent,
)
from cdstats.core.counts import PixelCounts

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

ALL: Final = "all"
"""The ``split`` of a dataset row."""
MIXED: Final = "mixed"
"""The ``rule`` of a row whose masks have different rules."""


T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class ImageRecord:
    """The counts of a mask, or the reason for its failure."""

    dataset: str
    split: str
    path: str
    width: int | None
    height: int | None
    pixels: int | None
    changed: int | None = field(metadata=CHANGED)
    unchanged: int | None = field(metadata=UNCHANGED)
    ignored: int | None = field(metadata=IGNORED)
    change_ratio: float | None = field(metadata=CHANGE_RATIO)
    change_fraction: float | None = field(metadata=CHANGE_FRACTION)
    rule: str
    status: Literal["ok", "failed"]
    reason: str

    @classmethod
    def counted(
        cls,
        place: tuple[str, str, str],
        size: tuple[int, int],
        counts: PixelCounts,
        rule: str,
    ) -> ImageRecord:
        """The row of a counted mask; ``place`` is its dataset, split and path."""
        least = min(*size, counts.changed, counts.unchanged, counts.ignored)
        if least < 0 or counts.pixels != size[0] * size[1]:
            raise ValueError(
                f"{place[2]}: {counts} does not fill {size[0]} x {size[1]}"
            )
        labels = counts.changed, counts.unchanged, counts.ignored
        ratios = counts.change_ratio, counts.change_fraction
        return cls(*place, *size, counts.pixels, *labels, *ratios, rule, "ok", "")

    @classmethod
    def failed(
        cls,
        place: tuple[str, str, str],
        reason: str,
        size: tuple[int, int] | None = None,
    ) -> ImageRecord:
        """The row of a mask that could not be counted."""
        width, height = size or (None, None)
        pixels = size and size[0] * size[1]
        blank = (None, None, None, None, None)
        return cls(*place, width, height, pixels, *blank, "", "failed", reason)

    @property
    def counts(self) -> PixelCounts:
        """Pixels by label; 0 if it failed."""
        return PixelCounts(self.changed or 0, self.unchanged or 0, self.ignored or 0)


@dataclass(frozen=True, slots=True)
class SummaryRecord:
    """The counts of a split, or of a dataset (``split`` is ``"all"``)."""

    dataset: str
    split: str
    images: int
    failed: int
    without_change: int
    pixels: int
    changed: int = field(metadata=CHANGED)
    unchanged: int = field(metadata=UNCHANGED)
    ignored: int = field(metadata=IGNORED)
    change_ratio: float | None = field(metadata=CHANGE_RATIO)
    change_fraction: float | None = field(metadata=CHANGE_FRACTION)
    imbalance_ratio: float | None
    beta: float | None
    pos_weight: float | None = field(metadata=column("pos_weight"))
    mean_image_change_fraction: float | None = field(metadata=column(format=per_cent))
    median_image_change_fraction: float | None = field(metadata=column(format=per_cent))
    rule: str
    width: int | None
    height: int | None


class Tally:
    """Sums image rows to a summary row, without keeping them.

    For the median, each counted image takes 8 bytes.
    """

    def __init__(self) -> None:
        self.images = 0
        self.failed = 0
        self.counts = PixelCounts()
        self._fractions = array("d")
        self._rules: set[str] = set()
        self._widths: set[int | None] = set()
        self._heights: set[int | None] = set()

    def add(self, row: ImageRecord) -> None:
        """Add a row."""
        if row.status != "ok":
            self.failed += 1
            return
        self.images += 1
        self.counts += row.counts
        if row.change_fraction is not None:
            self._fractions.append(row.change_fraction)
        self._rules.add(row.rule)
        _keep_two(self._widths, row.width)
        _keep_two(self._heights, row.height)

    def record(self, dataset: str, split: str) -> SummaryRecord:
        """The summary row of a split or dataset."""
        # `fsum` makes the mean independent of the order.
        counts, fractions = self.counts, self._fractions
        mean = math.fsum(fractions) / len(fractions) if fractions else None
        middle = _median(fractions) if fractions else None
        return SummaryRecord(
            dataset=dataset,
            split=split,
            images=self.images,
            failed=self.failed,
            without_change=sum(fraction == 0 for fraction in fractions),
            pixels=counts.pixels,
            changed=counts.changed,
            unchanged=counts.unchanged,
            ignored=counts.ignored,
            change_ratio=counts.change_ratio,
            change_fraction=counts.change_fraction,
            imbalance_ratio=counts.imbalance_ratio,
            beta=counts.beta,
            pos_weight=counts.pos_weight,
            mean_image_change_fraction=mean,
            median_image_change_fraction=middle,
            rule=_common(self._rules, MIXED) or "",
            width=_common(self._widths, None),
            height=_common(self._heights, None),
        )


def _median(values: Sequence[float]) -> float:
    """The median; np.median would import numpy.ma."""
    ordered = np.sort(values)
    return float(ordered[(len(ordered) - 1) // 2] + ordered[len(ordered) // 2]) / 2


def summarise(dataset: str, split: str, images: Iterable[ImageRecord]) -> SummaryRecord:
    """Sum image rows to the row of a split or dataset.

    ``images`` is the number of counted masks, ``failed`` that of failed masks, and
    ``without_change`` that of counted masks with valid but no changed pixels.

    Example:
        >>> summarise("CDD", "all", []).change_ratio is None
        True
    """
    tally = Tally()
    for row in images:
        tally.add(row)
    return tally.record(dataset, split)


class Summaries:
    """Summary rows of datasets and splits, from image rows in any order."""

    def __init__(self) -> None:
        self._tallies: dict[str, dict[str | None, Tally]] = {}

    def add(self, row: ImageRecord, *, again: bool = False) -> None:
        """Add a row; ``again`` if the mask is also in another split."""
        tallies = self._tallies.setdefault(row.dataset, {})
        # A split may be named "all", so the dataset has the key None.
        for split in {row.split or None, *(() if again else (None,))}:
            tallies.setdefault(split, Tally()).add(row)

    def records(self, datasets: Sequence[str]) -> tuple[SummaryRecord, ...]:
        """The rows of every dataset, each followed by the rows of its named splits."""
        rows: list[SummaryRecord] = []
        for dataset in datasets:
            tallies = self._tallies.get(dataset, {})
            rows.append(tallies.get(None, Tally()).record(dataset, ALL))
            rows.extend(
                tallies[split].record(dataset, split)
                for split in sorted(filter(None, tallies), key=split_order)
            )
        return tuple(rows)


def summaries(
    datasets: Sequence[str], images: Iterable[ImageRecord]
) -> tuple[SummaryRecord, ...]:
    """The rows of every dataset, each followed by the rows of its named splits."""
    found = Summaries()
    seen: dict[tuple[str, str], str] = {}
    for row in images:
        first = seen.setdefault((row.dataset, row.path), row.split)
        found.add(row, again=first != row.split)
    return found.records(datasets)


def once(rows: Iterable[ImageRecord]) -> list[ImageRecord]:
    """Rows without duplicates for masks in several splits."""
    return [*{(row.dataset, row.path): row for row in reversed([*rows])}.values()][::-1]


def split_order(split: str) -> tuple[int, str]:
    """Sort key of a split: train, val, test, then others by name.

    Example:
        >>> sorted(["tier3", "test", "train", "hold"], key=split_order)
        ['train', 'test', 'hold', 'tier3']
    """
    usual = ("", "train", "val", "test")
    return (usual.index(split) if split in usual else len(usual), split)


def _keep_two(values: set[int | None], value: int | None) -> None:
    """Add a value; two values suffice to know that values differ."""
    if len(values) < 2:
        values.add(value)


def _common(values: set[T], otherwise: T | None) -> T | None:
    """The common value; ``otherwise`` if values differ, None if there are none."""
    if not values:
        return None
    return next(iter(values)) if len(values) == 1 else otherwise
