"""A table that fits its screen: text folds, numbers stay whole."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from rich import box
from rich.cells import cell_len
from rich.table import Table
from rich.text import Text

from cdstats.core.columns import column_of, values
from cdstats.core.records import ALL, SummaryRecord

if TYPE_CHECKING:
    from collections.abc import Sequence

    from cdstats.core.columns import Column, Record

_LEAST_TEXT: Final = 8
"""Signs of a text that stay on one line, however narrow the screen."""
_PLACE: Final = ("dataset", "split")
_UNBROKEN: Final = ("name", "status")
"""Texts that are looked up or are one word."""


@dataclass(frozen=True)
class _Column:
    """A column of a table.

    Attributes:
        title: Its heading.
        is_left: Whether it holds text.
        folds: Whether a narrow screen may break its text.
        cells: What stands below.
    """

    title: str
    is_left: bool
    folds: bool
    cells: tuple[str, ...]

    @property
    def width(self) -> int:
        """The signs it takes where there is room."""
        return max(map(cell_len, (*self.title.split("\n"), *self.cells)))

    @property
    def least(self) -> int:
        """The signs it needs on any screen."""
        title = max(map(cell_len, self.title.split("\n")))
        return max(title, min(self.width, _LEAST_TEXT)) if self.folds else self.width


def records_table(records: Sequence[Record], names: Sequence[str], width: int) -> Table:
    """Records as a table; a dataset's name stands once above its splits.

    Args:
        records: Records of one kind.
        names: The columns.
        width: Signs of a line. Where they are few, columns stand closer, texts fold,
            and at last dataset and split share a column.
    """
    columns, gap = _columns(records, names), 2
    if sum(column.width + gap for column in columns) - gap > width:
        gap = 1
        if sum(column.least + gap for column in columns) - gap > width:
            columns = _narrow_columns(records, names)
    table = _empty_table(columns, gap)
    for number, record in enumerate(records):
        cells = (Text(column.cells[number]) for column in columns)
        table.add_row(*cells, style="bold" if _is_whole(record) else "")
    return table


def _empty_table(columns: Sequence[_Column], gap: int) -> Table:
    table = Table(
        box=box.SIMPLE_HEAD,
        pad_edge=False,
        show_edge=False,
        padding=(0, gap - 1),
        collapse_padding=True,
    )
    for column in columns:
        table.add_column(
            Text(column.title, justify="left" if column.is_left else "right"),
            justify="left" if column.is_left else "right",
            no_wrap=not column.folds,
            overflow="fold",
            min_width=column.least,
        )
    return table


def _columns(records: Sequence[Record], names: Sequence[str]) -> list[_Column]:
    blank = "images" in names
    return [
        _column(
            records,
            name,
            [_cell(row, name, blank and _is_part(row)) for row in records],
        )
        for name in names
    ]


def _narrow_columns(records: Sequence[Record], names: Sequence[str]) -> list[_Column]:
    """The columns, dataset and split in one."""
    columns = _columns(records, names)
    if not set(_PLACE) <= set(names):
        return columns
    place = _column(records, "dataset", [_place(record) for record in records])
    return [
        place if name == "dataset" else column
        for name, column in zip(names, columns, strict=True)
        if name != "split"
    ]


def _column(records: Sequence[Record], name: str, cells: Sequence[str]) -> _Column:
    one = _declared(records, name)
    left = one.align == "left"
    return _Column(one.title, left, left and name not in _UNBROKEN, tuple(cells))


def _declared(records: Sequence[Record], name: str) -> Column:
    return column_of(type(records[0]) if records else SummaryRecord, name)


def _cell(record: Record, name: str, blank: bool) -> str:
    if blank and name == "dataset":
        return ""
    return column_of(type(record), name).cell(values(record, [name])[0])


def _place(record: Record) -> str:
    dataset, split = (_cell(record, name, blank=False) for name in _PLACE)
    if split in (ALL, ""):
        return dataset
    return f"  {split}" if _is_part(record) else f"{dataset}/{split}"


def _is_part(record: Record) -> bool:
    """Whether it is the row of a split, below that of its dataset."""
    return isinstance(record, SummaryRecord) and record.split != ALL


def _is_whole(record: Record) -> bool:
    return getattr(record, "split", "") == ALL
