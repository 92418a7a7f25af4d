"""Published pixel counts of public datasets, and counts set beside others."""

from __future__ import annotations

import csv
import difflib
from collections import Counter
from dataclasses import dataclass, field
from functools import cache
from importlib.resources import files
from typing import TYPE_CHECKING, Any, Final, Literal

from cdstats.core.columns import (
    CHANGE_FRACTION,
    CHANGE_RATIO,
    CHANGED,
    UNCHANGED,
    column,
    per_cent,
)
from cdstats.core.errors import UsageError
from cdstats.core.imbalance import change_fraction, change_ratio
from cdstats.core.messages import counted
from cdstats.core.records import ALL

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from cdstats.core.records import SummaryRecord

UNVERIFIED: Final = "transcription not verified against the paper's PDF"
"""What must stand beside the counts of the DASNet table."""
EVERY: Final = "published"
"""The name that stands for all published counts, matched by dataset."""


@dataclass(frozen=True, slots=True)
class PublishedRecord:
    """Counts that somebody published; the field order is the column order.

    Attributes:
        dataset: The dataset's name.
        split: The split, or ``"all"``.
        images: Number of masks.
        height: Rows of a mask, if all are alike.
        width: Pixels in a row, if all are alike.
        changed: Changed pixels, if published.
        unchanged: Unchanged pixels, if published.
        change_ratio_as_published: Changed / unchanged, as printed.
        status: ``exact`` closes with the image sizes; ``rounded`` was rounded to
            float32 by its source; ``sampled`` comes from a sample; ``second-hand`` is
            quoted and could not be checked.
        source: Where it was published.
        change_fraction_as_published: Changed / total, as printed.
    """

    dataset: str
    split: str
    images: int
    height: int | None
    width: int | None
    changed: int | None = field(metadata=CHANGED)
    unchanged: int | None = field(metadata=UNCHANGED)
    change_ratio_as_published: str = field(metadata=column(align="right"))
    status: Literal["exact", "rounded", "sampled", "second-hand"]
    source: str
    change_fraction_as_published: str

    @staticmethod
    def further_title(name: str) -> str:
        """The titles of the two numbers that follow from the counts."""
        titles = {"change_ratio": CHANGE_RATIO, "change_fraction": CHANGE_FRACTION}
        return str(titles[name]["title"])

    @property
    def is_dasnet(self) -> bool:
        """Whether it is a row of the DASNet paper."""
        return "DASNet" in self.source

    @property
    def change_ratio(self) -> str | None:
        """Changed / unchanged with three decimals, or the ratio as published."""
        if self.changed is None or self.unchanged is None:
            return self.change_ratio_as_published or None
        ratio = change_ratio(self.changed, self.unchanged)
        return None if ratio is None else f"{ratio:.3f}"

    @property
    def change_fraction(self) -> str | None:
        """Changed / (changed + unchanged) in per cent, or as published."""
        if self.changed is None or self.unchanged is None:
            return self.change_fraction_as_published or None
        fraction = change_fraction(self.changed, self.unchanged)
        return None if fraction is None else per_cent(fraction)


@cache
def published() -> tuple[PublishedRecord, ...]:
    """Every published count, in the order of the data file.

    Example:
        >>> row = published()[0]
        >>> row.dataset, row.changed, row.unchanged, row.status
        ('CDD', 134068750, 914507250, 'second-hand')
    """
    text = files("cdstats").joinpath("data/published.csv").read_text(encoding="utf-8")
    return tuple(_record(row) for row in csv.DictReader(text.splitlines()))


def _record(row: Mapping[str, Any]) -> PublishedRecord:
    numbers = ("images", "height", "width", "changed", "unchanged")
    counts = {name: int(row[name]) if row[name] else None for name in numbers}
    return PublishedRecord(**{**row, **counts})


def published_of(name: str) -> tuple[PublishedRecord, ...]:
    """The published counts of a dataset, of the DASNet paper, or all.

    Args:
        name: A dataset, ``"DASNet"``, or ``"published"``; in any case of letters.

    Raises:
        UsageError: If nothing is known by that name.
    """
    wanted = name.lower()
    if wanted == EVERY:
        return published()
    rows = tuple(
        row
        for row in published()
        if row.dataset.lower() == wanted or (wanted == "dasnet" and row.is_dasnet)
    )
    if rows:
        return rows
    known = sorted({row.dataset for row in published()})
    near = difflib.get_close_matches(name, known, n=3, cutoff=0.4)
    hint = f"; did you mean {' or '.join(near)}?" if near else ""
    raise UsageError(
        f"nothing published under {name!r} and no such file{hint} `cdstats published` "
        "lists all"
    )


@dataclass(frozen=True, slots=True)
class PublishedComparison:
    """A measured row beside a published one; the field order is the column order."""

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
        """That the rows are of different numbers of images, or an empty text."""
        if self.published_images in (None, self.images):
            return ""
        where = self.dataset if self.split == ALL else f"{self.dataset}/{self.split}"
        return (
            f"{where}: {counted(self.images, 'image')} beside "
            f"{self.published_images:,} published: the sets differ, and so do "
            "their counts"
        )


def beside_published(
    rows: Sequence[SummaryRecord], name: str
) -> list[PublishedComparison]:
    """Set measured rows beside the published ones of the same split.

    A name that is one dataset is set beside every measured dataset; ``"DASNet"`` and
    ``"published"`` are matched by the names of the datasets.

    Raises:
        UsageError: If nothing is known by that name.
    """
    known = published_of(name)
    by_name = len({row.dataset for row in known}) > 1
    return [
        _beside(row, other)
        for row in rows
        for other in known
        if row.split == other.split
        and (not by_name or row.dataset.lower() == other.dataset.lower())
    ]


def _beside(row: SummaryRecord, other: PublishedRecord) -> PublishedComparison:
    return PublishedComparison(
        dataset=row.dataset,
        split=row.split,
        changed=row.changed,
        unchanged=row.unchanged,
        change_ratio=row.change_ratio,
        published_dataset=other.dataset,
        published_changed=other.changed,
        published_unchanged=other.unchanged,
        published_change_ratio=other.change_ratio,
        changed_difference=_minus(row.changed, other.changed),
        unchanged_difference=_minus(row.unchanged, other.unchanged),
        status=f"{other.status}; {UNVERIFIED}" if other.is_dasnet else other.status,
        source=other.source,
        published_change_fraction=other.change_fraction,
        images=row.images,
        published_images=other.images,
    )


def _minus(now: int, then: int | None) -> int | None:
    return None if then is None else now - then


@dataclass(frozen=True, slots=True)
class Difference:
    """An integer that is no longer what it was.

    Attributes:
        row: Which row: dataset and split, or dataset and path.
        column: Which number; empty when the whole row is new or gone.
        was: Its earlier value, if it had one.
        now: Its value now, if it has one.
        is_image: Whether it is an image row.
    """

    row: str
    column: str
    was: int | None
    now: int | None
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
    """The integers that differ between two lists of records of one kind.

    Args:
        was: Earlier records; image records have a ``path``, others a ``split``.
        now: The records to compare.
        columns: The integer columns.

    Example:
        >>> from cdstats.core.records import summarise
        >>> row = summarise("CDD", "all", [])
        >>> differences([row], [row], ["changed"])
        []
    """
    before, after = _by_key(was), _by_key(now)
    return [
        difference
        for key in dict.fromkeys((*before, *after))
        for difference in _row_differences(
            key, before.get(key), after.get(key), columns
        )
    ]


def _row_differences(
    key: tuple[str, str, str, int],
    was: Any,  # noqa: ANN401 - any kind of record, or None
    now: Any,  # noqa: ANN401
    columns: Sequence[str],
) -> list[Difference]:
    name, is_image = _row_name(*key), hasattr(was or now, "path")
    if was is None or now is None:
        there = (None if was is None else 1, None if now is None else 1)
        return [Difference(name, "", *there, is_image)]
    pairs = [(column, getattr(was, column), getattr(now, column)) for column in columns]
    return [
        Difference(name, column, first, second, is_image)
        for column, first, second in pairs
        if first != second
    ]


def _by_key(records: Iterable[Any]) -> dict[tuple[str, str, str, int], Any]:
    """Records by dataset, split and path, and which of several of one name it is."""
    rows: dict[tuple[str, str, str, int], Any] = {}
    seen: Counter[tuple[str, str, str]] = Counter()
    for record in records:
        place = record.dataset, record.split, getattr(record, "path", "")
        rows[*place, seen[place]] = record
        seen[place] += 1
    return rows


def _row_name(dataset: str, split: str, path: str, number: int) -> str:
    """What a difference calls a row; its split where the path does not tell it."""
    name = f"{dataset}/{path or split}"
    if path and split and split not in path.split("/"):
        name = f"{name} ({split})"
    return f"{name} #{number + 1}" if number else name
