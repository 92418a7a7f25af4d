"""Published pixel counts of public datasets, and comparison of counts."""

from __future__ import annotations

import csv
from dataclasses import dataclass, field
from functools import cache
from typing import TYPE_CHECKING, Any, Final, Literal

from cdstats.core.columns import (
    CHANGE_FRACTION,
    CHANGE_RATIO,
    CHANGED,
    UNCHANGED,
    Column,
    column,
    further_column,
    per_cent,
)
from cdstats.core.counts import PixelCounts
from cdstats.core.errors import counted
from cdstats.core.records import ALL
from cdstats.core.vocabulary import DATA

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from cdstats.core.records import SummaryRecord

UNVERIFIED: Final = "transcription not verified against the paper's PDF"
"""Required notice for counts from the DASNet table."""


@dataclass(frozen=True, slots=True)
class PublishedRecord:
    """Published counts; field order is column order.

    The size is common to all masks, if there is one. ``exact`` counts agree with the
    image sizes, ``rounded`` counts were rounded to float32 by their source, ``sampled``
    counts are from a sample, ``second-hand`` counts are quoted without the source, and
    ``own`` counts were added by ``cdstats published --add``.
    """

    dataset: str
    split: str
    images: int
    height: int | None
    width: int | None
    changed: int | None = field(metadata=CHANGED)
    unchanged: int | None = field(metadata=UNCHANGED)
    change_ratio_as_published: str = field(metadata=column(align="right"))
    status: Literal["exact", "rounded", "sampled", "second-hand", "own"]
    source: str
    change_fraction_as_published: str

    @staticmethod
    def further_column(name: str) -> Column:
        """The columns of the two values derived from the counts."""
        titles = {"change_ratio": CHANGE_RATIO, "change_fraction": CHANGE_FRACTION}
        return further_column(name, str(titles[name]["title"]))

    @property
    def is_dasnet(self) -> bool:
        """Whether it is from the DASNet paper."""
        return "DASNet" in self.source

    @property
    def change_ratio(self) -> str | None:
        """Changed / unchanged with three decimals, or as published."""
        ratio = self._counts.change_ratio
        return (
            self.change_ratio_as_published or None if ratio is None else f"{ratio:.3f}"
        )

    @property
    def change_fraction(self) -> str | None:
        """Changed / (changed + unchanged) in per cent, or as published."""
        share = self._counts.change_fraction
        return (
            self.change_fraction_as_published or None
            if share is None
            else per_cent(share)
        )

    @property
    def _counts(self) -> PixelCounts:
        return PixelCounts(self.changed or 0, self.unchanged or 0)


@cache
def published() -> tuple[PublishedRecord, ...]:
    """Every published count, in the order of the data file."""
    text = (DATA / "published.csv").read_text(encoding="utf-8")
    rows: list[dict[str, Any]] = [*csv.DictReader(text.splitlines())]
    for row in rows:
        for name in ("images", "height", "width", "changed", "unchanged"):
            row[name] = int(row[name]) if row[name] else None
    return tuple(PublishedRecord(**row) for row in rows)


@dataclass(frozen=True, slots=True)
class PublishedComparison:
    """A measured and a published row; field order is column order."""

    dataset: str
    split: str
    changed: int = field(metadata=CHANGED)
    unchanged: int = field(metadata=UNCHANGED)
    change_ratio: float | None = field(metadata=CHANGE_RATIO)
    published_dataset: str
    published_changed: int | None = field(metadata=column("Published\nchanged"))
    published_unchanged: int | None = field(metadata=column("Published\nunchanged"))
    published_change_ratio: str | None = field(
        metadata=column("Published\nratio", align="right")
    )
    changed_difference: int | None = field(metadata=column("Changed\ndifference"))
    unchanged_difference: int | None = field(metadata=column("Unchanged\ndifference"))
    status: str
    source: str
    published_change_fraction: str | None = field(
        metadata=column("Published\nfraction", align="right")
    )
    images: int
    published_images: int | None

    @property
    def other_set(self) -> str:
        """A message if the numbers of images differ; otherwise empty."""
        if self.published_images in (None, self.images):
            return ""
        where = self.dataset if self.split == ALL else f"{self.dataset}/{self.split}"
        return (
            f"{where}: {counted(self.images, 'image')}, but "
            f"{self.published_images:,} published: the sets differ, so their counts "
            "cannot agree"
        )


def beside_published(
    rows: Sequence[SummaryRecord], known: Sequence[PublishedRecord]
) -> list[PublishedComparison]:
    """Compare measured rows with published rows of the same split.

    A single published dataset is compared with every measured dataset; otherwise
    datasets are matched by name.
    """
    by_name = len({row.dataset for row in known}) > 1
    return [
        _beside(row, other)
        for row in rows
        for other in known
        if row.split == other.split
        and (not by_name or row.dataset.lower() == other.dataset.lower())
    ]


def _beside(row: SummaryRecord, other: PublishedRecord) -> PublishedComparison:
    then, rest = other.changed, other.unchanged
    return PublishedComparison(
        dataset=row.dataset,
        split=row.split,
        changed=row.changed,
        unchanged=row.unchanged,
        change_ratio=row.change_ratio,
        published_dataset=other.dataset,
        published_changed=then,
        published_unchanged=rest,
        published_change_ratio=other.change_ratio,
        changed_difference=None if then is None else row.changed - then,
        unchanged_difference=None if rest is None else row.unchanged - rest,
        status=f"{other.status}; {UNVERIFIED}" if other.is_dasnet else other.status,
        source=other.source,
        published_change_fraction=other.change_fraction,
        images=row.images,
        published_images=other.images,
    )


@dataclass(frozen=True, slots=True)
class Difference:
    """A number that has changed between two runs.

    The column is empty if the whole row of a split or image is new or gone.
    """

    row: str
    column: str
    was: float | None
    now: float | None
    is_image: bool

    def __str__(self) -> str:
        if not self.column:
            return f"{self.row}: is {'gone' if self.now is None else 'new'}"
        was, now = (
            "undefined" if n is None else f"{n:,}" for n in (self.was, self.now)
        )
        return f"{self.row}: {self.column} was {was}, now {now}"


def differences(
    was: Iterable[Any], now: Iterable[Any], columns: Sequence[str]
) -> list[Difference]:
    """Integers that differ between two lists of image or summary rows."""
    before, after, found = _by_key(was), _by_key(now), []
    for key in dict.fromkeys((*before, *after)):
        one, two, name = before.get(key), after.get(key), _row_name(*key)
        is_image = hasattr(one or two, "path")
        if one is None or two is None:
            there = (None if one is None else 1, None if two is None else 1)
            found.append(Difference(name, "", *there, is_image))
            continue
        pairs = [
            (column, getattr(one, column), getattr(two, column)) for column in columns
        ]
        found += [Difference(name, *row, is_image) for row in pairs if row[1] != row[2]]
    return found


def _by_key(records: Iterable[Any]) -> dict[tuple[str, str, str], Any]:
    return {(r.dataset, r.split, getattr(r, "path", "")): r for r in records}


def _row_name(dataset: str, split: str, path: str) -> str:
    """Name of a row in differences, with its split unless the path contains it."""
    name = f"{dataset}/{path or split}"
    told = not path or not split or split in path.split("/")
    return name if told else f"{name} ({split})"
