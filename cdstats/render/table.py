"""Tables of columns, rows and notes, independent of the output format.

A command describes its output as a `Document`, from which each format of
`cdstats.render.writers` takes the tables or lists that it writes.
"""

from __future__ import annotations

import difflib
import math
import re
from abc import ABC, abstractmethod
from collections.abc import Sized
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from cdstats.core.columns import (
    Column,
    column_of,
    columns_of,
    further_columns,
    values,
)
from cdstats.core.errors import UsageError
from cdstats.core.records import ALL
from cdstats.render.paper import Paper

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

    from rich.console import Console

    from cdstats.core.columns import Record

_BRIEF: Final = 24
"""Longest value in the repr of a result, in characters."""
_MOST_NAMED: Final = 60
"""Largest number of columns that a message lists."""
_NAMING: Final = ("model", "dataset", "split", "scheme")
"""Columns that identify the rows of a result."""
_NO_NAME: Final = re.compile(r"[^\w./ -]+_?")
"""Characters that MLflow does not accept in the name of a metric."""


@dataclass(frozen=True)
class Table:
    """Rows of one record type with selected columns.

    In Markdown and LaTeX, ``ranks`` marks the best two values of a column, ``joins``
    prints a difference and its interval as one column, and a narrow table omits the
    columns of ``wide``.
    """

    columns: tuple[Column, ...]
    rows: Iterable[Record]
    notes: tuple[str, ...] = ()
    caption: str = ""
    ranks: bool = False
    joins: bool = False
    wide: tuple[str, ...] = ()

    @classmethod
    def of(
        cls,
        kind: type[Record],
        rows: Iterable[Record],
        names: Iterable[str] | None = None,
        notes: Iterable[str] = (),
    ) -> Table:
        """A table of records."""
        if names is None:
            further = further_columns(rows) if hasattr(kind, "further") else ()
            names = (*columns_of(kind), *further)
        return cls(tuple(column_of(kind, n) for n in names), rows, tuple(notes))

    @property
    def names(self) -> tuple[str, ...]:
        """The names of the columns."""
        return tuple(column.name for column in self.columns)

    @property
    def values(self) -> Iterator[list[Any]]:
        """The values of each row."""
        names = self.names
        return (values(row, names) for row in self.rows)

    @property
    def cells(self) -> Iterator[list[str]]:
        """The formatted values of each row."""
        for row in self.values:
            yield [one.cell(v) for one, v in zip(self.columns, row, strict=True)]


class Document(NamedTuple):
    """The output of a command, for all formats.

    Attributes:
        every: The rows with all columns, or the chosen columns; for CSV and JSON Lines.
        shown: The rows with the main columns, or the chosen columns; for papers.
        data: All lists by name; for JSON.
        show: Prints to the screen.
        paper: Style of the table in Markdown and LaTeX.
    """

    every: Callable[[], Table]
    shown: Callable[[], Table]
    data: Callable[[], Mapping[str, Any]]
    show: Callable[[Console], None]
    paper: Paper = Paper()


class Displayed(ABC):
    """Base class of results: a short repr, and a table in notebooks.

    A result is a dataclass with ``repr=False``.
    """

    @abstractmethod
    def table(self) -> Table:
        """The main table of the result, as shown in a notebook."""

    def to_dict(self) -> dict[str, float]:
        """The numbers of the result by flat names, for TensorBoard, W&B and MLflow.

        Returns:
            The numbers of each row, NaN where undefined, as ``MODEL/COLUMN``,
            ``DATASET/COLUMN`` or ``DATASET/SPLIT/COLUMN``; empty names are omitted.
            The brackets of a loss become ``_``, because some loggers refuse them.
        """
        return flat_scalars(self.table().rows)

    def __repr__(self) -> str:
        known = [f.name for f in fields(self) if f.repr]  # type: ignore[arg-type]
        parts = (f"{name}: {_brief(getattr(self, name))}" for name in known)
        return f"{type(self).__name__}({', '.join(parts)})"

    def _repr_html_(self) -> str:
        from cdstats.render.writers import html_lines

        return "".join(html_lines(self.table()))


def _brief(value: object) -> str:
    """A short text for a value: the value, the length of a list, or a type name."""
    if isinstance(value, (str, int, float)):
        text = str(value)
        return text if len(text) <= _BRIEF else f"{text[: _BRIEF - 1]}…"
    return f"{len(value):,}" if isinstance(value, Sized) else type(value).__name__


def row_object(record: Record) -> dict[str, Any]:
    """A record as a dict by column, including further columns."""
    names = (*columns_of(type(record)), *further_columns([record]))
    return dict(zip(names, values(record, names), strict=True))


def scalars(record: Record) -> dict[str, float]:
    """The numeric columns of a record; undefined values are NaN."""
    return {
        name: math.nan if value is None else float(value)
        for name, value in row_object(record).items()
        if value is None or isinstance(value, (int, float))
    }


def flat_scalars(rows: Iterable[Record], *above: str) -> dict[str, float]:
    """The numbers of rows by flat names, from the model or the dataset and split.

    Example:
        >>> from cdstats.core.audit_records import Finding
        >>> flat_scalars([Finding("note", "size", "LEVIR", "test", 3, "")])
        {'LEVIR/test/images': 3.0}
    """
    found = {}
    for row in rows:
        texts = row_object(row)
        parts = [*above, *(texts.get(name) for name in _NAMING)]
        names = [part for part in parts if part and part != ALL]
        for column, value in scalars(row).items():
            found[_NO_NAME.sub("_", "/".join([*names, column]))] = value
    return found


def needed(names: str, **wanted: bool) -> tuple[str, ...]:
    """The columns whose keyword is not False.

    Example:
        >>> needed("path status changed", status=False)
        ('path', 'changed')
    """
    return tuple(name for name in names.split() if wanted.get(name, True))


def choose_columns(
    text: str | None, kind: type[Record], further: Sequence[str] = ()
) -> tuple[str, ...] | None:
    """The columns named by ``--columns``; a known name ending in ``[`` is a prefix."""
    if text is None:
        return None
    known = (*columns_of(kind), *(name for name in further if name[-1:] != "["))
    starts = tuple(name for name in further if name[-1:] == "[")
    # Commas inside brackets separate the parameters of a loss.
    names = re.split(r",(?![^\[]*\])", text)
    chosen = tuple(name.strip() for name in names if name.strip())
    unknown = [n for n in chosen if n not in known and not n.startswith(starts)]
    if unknown or not chosen:
        what = f"no column {unknown[0]!r}" if unknown else "--columns names none"
        raise UsageError(
            f"{what}; {columns_text(unknown[0] if unknown else '', known)}"
        )
    return chosen


def columns_text(unknown: str, known: Sequence[str]) -> str:
    """A hint with columns of similar names, and all columns unless there are many."""
    near = [name for name in known if unknown and unknown in name]
    near = near or difflib.get_close_matches(unknown, known, cutoff=0.5)
    like = f"did you mean {', '.join(near[:4])}? " if near else ""
    if len(known) <= _MOST_NAMED:
        return f"{like}available: {', '.join(known)}"
    return f"{like}--format csv without --columns prints all {len(known)}"
