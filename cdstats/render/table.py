"""A table: columns, rows and notes, whatever it is written as.

A command describes what it prints as a `Document`; each format of
`cdstats.render.writers` takes from it what it shows.
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
"""Characters of a value in the text of a result."""
_MOST_NAMED: Final = 60
"""Columns that a message lists."""
_NAMING: Final = ("model", "dataset", "split", "scheme")
"""Columns that tell the rows of a result apart."""
_NO_NAME: Final = re.compile(r"[^\w./ -]+_?")
"""What MLflow refuses in the name of a number."""


@dataclass(frozen=True)
class Table:
    """Rows of one kind with some of their columns.

    Of a table that ranks its rows, Markdown and LaTeX mark the best two values of a
    column; of one that joins intervals, they print these as one column. The columns of
    ``wide`` have no room in a narrow table.
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
        """The values of each row as people read them."""
        for row in self.values:
            yield [one.cell(v) for one, v in zip(self.columns, row, strict=True)]


class Document(NamedTuple):
    """What a command prints, for any format.

    Attributes:
        every: The rows with all columns, or those chosen: for programs.
        shown: The rows with the columns that people read, or those chosen.
        data: Every list, by name: for JSON.
        show: Prints to a person.
        paper: How Markdown and LaTeX set the shown rows.
    """

    every: Callable[[], Table]
    shown: Callable[[], Table]
    data: Callable[[], Mapping[str, Any]]
    show: Callable[[Console], None]
    paper: Paper = Paper()


class Displayed(ABC):
    """What a result shows in a session: its sizes as text, a table in a notebook.

    A result is a dataclass with ``repr=False``.
    """

    @abstractmethod
    def table(self) -> Table:
        """The table of a notebook."""

    def to_dict(self) -> dict[str, float]:
        """The numbers of the result by flat names, for TensorBoard, W&B and MLflow.

        Returns:
            The numbers of each row, NaN where undefined, as ``MODEL/COLUMN``,
            ``DATASET/COLUMN`` or ``DATASET/SPLIT/COLUMN``; an empty name is left out.
            The brackets of a loss are written as ``_``, which every logger takes.
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
    """A short value itself, the length of a list, or the name of a type."""
    if isinstance(value, (str, int, float)):
        text = str(value)
        return text if len(text) <= _BRIEF else f"{text[: _BRIEF - 1]}…"
    return f"{len(value):,}" if isinstance(value, Sized) else type(value).__name__


def row_object(record: Record) -> dict[str, Any]:
    """A record as an object whose keys are its columns, further ones included."""
    names = (*columns_of(type(record)), *further_columns([record]))
    return dict(zip(names, values(record, names), strict=True))


def scalars(record: Record) -> dict[str, float]:
    """The columns of a record that are numbers; NaN where one is undefined."""
    return {
        name: math.nan if value is None else float(value)
        for name, value in row_object(record).items()
        if value is None or isinstance(value, (int, float))
    }


def flat_scalars(rows: Iterable[Record], *above: str) -> dict[str, float]:
    """The numbers of rows, each named by its model or its dataset and split.

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
    """Columns that are shown: all but those that need not be.

    Example:
        >>> needed("path status changed", status=False)
        ('path', 'changed')
    """
    return tuple(name for name in names.split() if wanted.get(name, True))


def choose_columns(
    text: str | None, kind: type[Record], further: Sequence[str] = ()
) -> tuple[str, ...] | None:
    """Read ``--columns``; a further name with ``[`` at its end is the start of any."""
    if text is None:
        return None
    known = (*columns_of(kind), *(name for name in further if name[-1:] != "["))
    starts = tuple(name for name in further if name[-1:] == "[")
    # A comma within brackets belongs to the parameters of a loss.
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
    """The columns of like names, then all that there are unless they are many."""
    near = [name for name in known if unknown and unknown in name]
    near = near or difflib.get_close_matches(unknown, known, cutoff=0.5)
    like = f"did you mean {', '.join(near[:4])}? " if near else ""
    if len(known) <= _MOST_NAMED:
        return f"{like}there are {', '.join(known)}"
    return f"{like}--format csv without --columns prints all {len(known)}"
