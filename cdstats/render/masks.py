"""Documents of masks: counted pixels, presets and published counts."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from cdstats import __version__
from cdstats.core.columns import columns_of
from cdstats.core.records import ALL, MIXED, ImageRecord, SummaryRecord
from cdstats.render.table import Table, needed

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from rich.console import Console

    from cdstats.core.columns import Record


@dataclass(frozen=True)
class CountsDocument:
    """The rows of `cdstats ratio`."""

    datasets: Sequence[SummaryRecord]
    images: Iterable[ImageRecord] = ()
    by_image: bool = False
    adds_images: bool = False
    columns: tuple[str, ...] | None = None
    notes: Sequence[str] = ()

    def every(self) -> Table:
        """All columns of masks, or of datasets and splits."""
        if self.by_image:
            return Table.of(ImageRecord, self.images, self.columns)
        return Table.of(SummaryRecord, self.datasets, self.columns)

    def shown(self) -> Table:
        """The columns of the DASNet paper, and those that the data calls for."""
        if self.by_image:
            rows = list(self.images)
            names = self.columns or image_columns(rows)
            return Table.of(ImageRecord, rows, names, self.notes)
        names = self.columns or summary_columns(self.datasets)
        return Table.of(SummaryRecord, self.datasets, names, self.notes)

    def data(self) -> Mapping[str, Any]:
        """Datasets and masks."""
        return {"datasets": self.datasets, "images": self.images}

    def show(self, console: Console) -> None:
        """Print datasets, masks and footnotes."""
        from cdstats.render.terminal import print_notes, print_table

        if self.datasets and not self.by_image:
            print_table(console, self.shown())
        images = list(self.images) if self.by_image or self.adds_images else []
        if images:
            if self.adds_images:
                console.print()
            names = self.columns if self.by_image else None
            table = Table.of(ImageRecord, images, names or image_columns(images))
            print_table(console, table)
        if self.datasets:
            console.print()
            print_notes(console, self.notes)


@dataclass(frozen=True)
class SummaryDocument(CountsDocument):
    """The rows of a ``--summary`` file, which holds no masks."""

    def data(self) -> Mapping[str, Any]:
        """Datasets alone."""
        return {"datasets": self.datasets}


def summary_columns(rows: Sequence[SummaryRecord]) -> tuple[str, ...]:
    """The columns of the dataset table: DASNet's, and what the data calls for."""
    return needed(
        "dataset split images failed changed unchanged ignored change_ratio "
        "change_fraction",
        split=any(row.split != ALL for row in rows),
        failed=any(row.failed for row in rows),
        ignored=any(row.ignored for row in rows),
    )


def image_columns(rows: Sequence[ImageRecord]) -> tuple[str, ...]:
    """The columns of the image table."""
    return needed(
        "dataset path status changed unchanged ignored change_ratio change_fraction",
        dataset=len({row.dataset for row in rows}) > 1,
        ignored=any(row.ignored for row in rows),
        status=any(row.status != "ok" for row in rows),
    )


def rule_notes(rows: Sequence[SummaryRecord]) -> list[str]:
    """Footnotes: the rules in use, and the program that applied them.

    Example:
        >>> from cdstats.core.records import summarise
        >>> rule_notes([summarise("CDD", "all", [])])
        ['change ratio = changed / unchanged; cdstats ...']
    """
    found = rules_of(rows)
    notes = [f"rule of {place}: {rule}" for place, rule in found.items()]
    if found and len(set(found.values())) == 1:
        notes = [f"rule: {next(iter(found.values()))}"]
    return [*notes, f"change ratio = changed / unchanged; cdstats {__version__}"]


def rules_of(rows: Sequence[SummaryRecord]) -> dict[str, str]:
    """The rule of each dataset, or of each of its splits where they differ."""
    single = [row for row in rows if row.rule not in ("", MIXED)]
    whole = {row.dataset for row in single if row.split == ALL}
    return {
        row.dataset if row.split == ALL else f"{row.dataset}/{row.split}": row.rule
        for row in single
        if row.split == ALL or row.dataset not in whole
    }


@dataclass(frozen=True)
class ListDocument:
    """A reference list: some columns for people, all of them for programs."""

    rows: Sequence[Record]
    names: tuple[str, ...]
    notes: Sequence[str] = ()

    def every(self) -> Table:
        """All columns."""
        return Table.of(type(self.rows[0]), self.rows)

    def shown(self) -> Table:
        """The columns for people."""
        return Table.of(type(self.rows[0]), self.rows, self.names, self.notes)

    def data(self) -> Mapping[str, Any]:
        """The rows."""
        return {"rows": self.rows}

    def show(self, console: Console) -> None:
        """Print the list, a blank line above each footnote."""
        from cdstats.render.terminal import print_notes, print_table

        print_table(console, self.shown())
        for note in self.notes:
            console.print()
            print_notes(console, [note])


@dataclass(frozen=True)
class EntryDocument(ListDocument):
    """One entry of a list, which a person sees in full."""

    def show(self, console: Console) -> None:
        """Print everything about the entry."""
        from rich.text import Text

        from cdstats.render.terminal import pairs_grid

        grid = pairs_grid()
        for name, column in columns_of(type(self.rows[0])).items():
            value = getattr(self.rows[0], name)
            if value not in ("", None, (), False):
                shown = ", ".join(value) if isinstance(value, tuple) else str(value)
                grid.add_row(Text(column.title, style="bold"), Text(shown))
        console.print(grid)
