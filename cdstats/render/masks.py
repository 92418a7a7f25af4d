"""Documents of masks: counted pixels, presets and published counts."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Final

from cdstats import __version__
from cdstats.core.columns import columns_of
from cdstats.core.records import ALL, MIXED, ImageRecord, SummaryRecord
from cdstats.render.table import Document, Table, needed

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from rich.console import Console

    from cdstats.core.columns import Record

_RATIO: Final = "change ratio = changed / unchanged; "


def counts_document(
    datasets: Sequence[SummaryRecord],
    images: Iterable[ImageRecord] = (),
    *,
    by_image: bool = False,
    adds_images: bool = False,
    columns: tuple[str, ...] | None = None,
    notes: Sequence[str] = (),
) -> Document:
    """The output of `cdstats ratio`: rows of datasets and splits, and of masks.

    With ``by_image``, formats with a single table contain only the masks; with
    ``adds_images``, the screen shows the masks below the datasets.
    """

    def every() -> Table:
        if by_image:
            return Table.of(ImageRecord, images, columns)
        return Table.of(SummaryRecord, datasets, columns)

    def shown() -> Table:
        if not by_image:
            names = columns or summary_columns(datasets)
            table = Table.of(SummaryRecord, datasets, names, _notes(names))
            return replace(table, wide=() if columns else ("change_fraction",))
        rows = list(images)
        names = columns or image_columns(rows)
        return Table.of(ImageRecord, rows, names, _notes(names))

    def _notes(names: Sequence[str]) -> list[str]:
        """The footnotes, without the definition of a column that is not shown."""
        skipped = "" if "change_ratio" in names else _RATIO
        return [note.removeprefix(skipped) for note in notes]

    def show(console: Console) -> None:
        from cdstats.render.terminal import print_notes, print_table

        if datasets and not by_image:
            print_table(console, shown())
        rows = list(images) if by_image or adds_images else []
        if rows:
            if adds_images:
                console.print()
            names = columns if by_image else None
            table = Table.of(ImageRecord, rows, names or image_columns(rows))
            print_table(console, table)
        if datasets:
            console.print()
            print_notes(console, notes)

    held = {"datasets": datasets, "images": images}
    return Document(every, shown, lambda: held, show)


def summary_columns(rows: Sequence[SummaryRecord]) -> tuple[str, ...]:
    """The columns of the DASNet table, and others that are not empty."""
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
    """Footnotes with the rules in use and the version of cdstats.

    Example:
        >>> from cdstats.core.records import summarise
        >>> rule_notes([summarise("CDD", "all", [])])
        ['change ratio = changed / unchanged; cdstats ...']
    """
    found = rules_of(rows)
    notes = [f"rule of {place}: {rule}" for place, rule in found.items()]
    if found and len(set(found.values())) == 1:
        notes = [f"rule: {next(iter(found.values()))}"]
    return [*notes, f"{_RATIO}cdstats {__version__}"]


def rules_of(rows: Sequence[SummaryRecord]) -> dict[str, str]:
    """The rule of each dataset, or of each of its splits if their rules differ."""
    single = [row for row in rows if row.rule not in ("", MIXED)]
    whole = {row.dataset for row in single if row.split == ALL}
    return {
        row.dataset if row.split == ALL else f"{row.dataset}/{row.split}": row.rule
        for row in single
        if row.split == ALL or row.dataset not in whole
    }


def list_document(
    rows: Sequence[Record],
    names: tuple[str, ...],
    notes: Sequence[str] = (),
    *,
    in_full: bool = False,
) -> Document:
    """A reference list; the screen shows the columns ``names``, other formats all.

    With ``in_full``, the screen shows all columns of the only entry.
    """

    def shown() -> Table:
        return Table.of(type(rows[0]), rows, names, notes)

    def show(console: Console) -> None:
        from cdstats.render.terminal import print_notes, print_table

        print_table(console, shown())
        for note in notes:
            console.print()
            print_notes(console, [note])

    def show_in_full(console: Console) -> None:
        from rich.text import Text

        from cdstats.render.terminal import pairs_grid

        grid = pairs_grid()
        for name, column in columns_of(type(rows[0])).items():
            value = getattr(rows[0], name)
            if value not in ("", None, (), False):
                told = ", ".join(value) if isinstance(value, tuple) else str(value)
                grid.add_row(Text(column.title, style="bold"), Text(told))
        console.print(grid)

    every = partial(Table.of, type(rows[0]), rows)
    printed = show_in_full if in_full else show
    return Document(every, shown, lambda: {"rows": rows}, printed)
