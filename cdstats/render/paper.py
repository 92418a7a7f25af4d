"""Tables for papers: number format and marking of the best values."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from cdstats.core.columns import UNDEFINED, one_line, per_cent, plain

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from cdstats.core.columns import Column

DECIMALS: Final = 3
"""Default number of decimals."""
BEST: Final = "best"
SECOND: Final = "second"
_MINUS: Final = "−"
_INTERVAL: Final = ("_difference", "_low", "_high")
"""Columns that a paper shows as one: the difference ± half the interval width."""


class Paper(NamedTuple):
    """Style of a table for papers.

    Attributes:
        caption: Caption as plain text.
        label: Label for references.
        percent: Whether metrics are in per cent; losses never are.
        decimals: Decimals of the numbers.
        narrow: Whether the table fits one column of a two-column page; only for LaTeX.
    """

    caption: str = ""
    label: str = ""
    percent: bool = False
    decimals: int = DECIMALS
    narrow: bool = False

    def is_share(self, column: Column) -> bool:
        """Whether the numbers of a column are in per cent, stated in its heading."""
        return self.percent and (column.is_share or column.format is per_cent)

    def number(self, column: Column, value: float, sign: str = "") -> str:
        """A number with the decimals of the table and a minus sign."""
        in_cell = column.format is per_cent and not self.percent
        scaled = 100 * value if in_cell or self.is_share(column) else value
        text = f"{scaled:{sign or '-'}.{self.decimals}f}"
        if not text.strip("+-0."):
            text = text.lstrip("+-")
        return text.replace("-", _MINUS) + (" %" if in_cell else "")

    def text(self, column: Column, value: Any) -> str:  # noqa: ANN401 - any value of a record
        """A value as text."""
        if isinstance(value, float) and column.format in (plain, per_cent):
            return self.number(column, value)
        text = column.cell(value)
        is_number = column.align == "right" and text.startswith("-")
        return text.replace("-", _MINUS, 1) if is_number else text


class Cell(NamedTuple):
    """The text of a cell, and ``BEST``, ``SECOND`` or no mark."""

    text: str
    mark: str = ""


class SetColumn(NamedTuple):
    """A column of a formatted table."""

    name: str
    title: str
    align: str
    cells: Sequence[Cell]

    @property
    def line(self) -> str:
        """The heading on one line."""
        return one_line(self.title)


def set_columns(
    columns: Sequence[Column],
    rows: Iterable[Sequence[Any]],
    paper: Paper,
    *,
    ranks: bool,
    joins: bool,
) -> list[SetColumn]:
    """The formatted columns of a table.

    ``joins`` puts a difference and its interval in one column; ``ranks`` marks the best
    two values of a column.
    """
    by_column: Sequence[Sequence[Any]] = [*zip(*rows, strict=True)]
    values = {
        column.name: by_column[place] if by_column else ()
        for place, column in enumerate(columns)
    }
    done: set[str] = set()
    found = []
    for column in columns:
        own = values[column.name]
        title = f"{column.title}\n(%)" if paper.is_share(column) else column.title
        stem = column.name.removesuffix(_INTERVAL[0])
        parts = [f"{stem}{part}" for part in _INTERVAL]
        if joins and column.name == parts[0] and values.keys() >= set(parts):
            done.update(parts)
            triples = zip(*(values[name] for name in parts), strict=True)
            cells = [Cell(_interval(paper, column, *one)) for one in triples]
        elif column.name in done:
            continue
        else:
            texts = [paper.text(column, value) for value in own]
            marks = _marks(column, own, paper) if ranks else [""] * len(own)
            cells = [*map(Cell, texts, marks)]
        found.append(SetColumn(column.name, title, column.align, cells))
    return found


def _interval(
    paper: Paper,
    column: Column,
    value: float | None,
    low: float | None,
    high: float | None,
) -> str:
    """A difference ± half the width of its interval."""
    if value is None:
        return UNDEFINED
    text = paper.number(column, value, "+")
    if low is None or high is None:
        return text
    return f"{text} ± {paper.number(column, (high - low) / 2)}"


def _marks(column: Column, values: Sequence[Any], paper: Paper) -> list[str]:
    """The mark of each value; values that are equal as printed get the same mark."""
    shown = [_as_printed(column, value, paper) for value in values]
    known = {one for one in shown if one is not None}
    if not column.better or len(known) < 2:
        return [""] * len(shown)
    best, second, *_ = sorted(known, reverse=column.better == "higher")
    marks = {best: BEST, second: SECOND}
    return ["" if one is None else marks.get(one, "") for one in shown]


def _as_printed(column: Column, value: Any, paper: Paper) -> float | None:  # noqa: ANN401 - any value of a record
    if not isinstance(value, (int, float)) or not math.isfinite(value):
        return None
    scale = 100 if paper.is_share(column) else 1
    return round(scale * value, paper.decimals)
