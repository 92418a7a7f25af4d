"""Tables and messages for a terminal, or for plain text output.

A table fits the width of the terminal: texts wrap, numbers do not.
"""

from __future__ import annotations

import io
import re
import sys
from typing import TYPE_CHECKING, Any, Final, NamedTuple, cast

from cdstats.core.columns import UNDEFINED, printable
from cdstats.core.errors import Level
from cdstats.core.records import ALL, SummaryRecord

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from typing import TextIO

    from rich.console import Console
    from rich.table import Table as Grid

    from cdstats.core.columns import Record
    from cdstats.core.errors import Message
    from cdstats.render.table import Table

_STYLES = {Level.NOTE: "cyan", Level.WARNING: "yellow", Level.ERROR: "bold red"}
_NO_TERMINAL_WIDTH = 10_000
_LEAST_TEXT: Final = 8
"""Least width of a column of texts, in characters."""
_PLACE: Final = ("dataset", "split")
_UNBROKEN: Final = ("name", "status")
"""Text columns that do not wrap."""
_BLANKS: Final = re.compile(r" +$", re.MULTILINE)


def results_console() -> Console:
    """A console for standard output, of unlimited width if it is not a terminal."""
    if sys.stdout.isatty():
        return _console(sys.stdout)
    return cast("Console", _PlainConsole(sys.stdout))


class _PlainConsole:
    """A stream that is not a terminal; Rich is loaded only where it is needed."""

    width = _NO_TERMINAL_WIDTH
    encoding = "utf-8"

    def __init__(self, file: TextIO) -> None:
        self._file = file

    def print(self, what: Any = "", **settings: Any) -> None:  # noqa: ANN401 - as Rich
        """Print a text or a Rich object, without trailing blanks."""
        text = f"{what}\n"
        is_plain = isinstance(what, str) and what.replace("\n", "").isprintable()
        if not is_plain or "width" in settings:
            console = _console(io.StringIO(), width=self.width)
            with console.capture() as captured:
                console.print(what, **settings)
            text = captured.get()
        self._file.write(_BLANKS.sub("", text))

    def print_table(self, table: Table) -> None:
        """Print a table at its full width."""
        columns = _shown(table)
        titles = [one.title.split("\n") for one in columns]
        most = max(map(len, titles))
        heads = [[""] * (most - len(title)) + title for title in titles]
        parts = [
            [one.padded(cell) for cell in (*head, "─" * one.width, *one.cells)]
            for one, head in zip(columns, heads, strict=True)
        ]
        for number, line in enumerate(zip(*parts, strict=True)):
            text = ("──" if number == most else "  ").join(line)
            self._file.write(f"{text.rstrip(' ')}\n")


def _console(file: TextIO, **settings: Any) -> Console:  # noqa: ANN401 - as Rich
    from rich.console import Console

    return Console(file=file, highlight=False, emoji=False, **settings)


def messages_console() -> Console:
    """A console for standard error."""
    if sys.stderr.isatty():
        return _console(sys.stderr, soft_wrap=True)
    return cast("Console", _PlainConsole(sys.stderr))


def print_table(console: Console, table: Table) -> None:
    """Print a table; the name of a dataset is shown once, above its splits."""
    if isinstance(console, _PlainConsole):
        console.print_table(table)
    else:
        console.print(screen_table(table, console.width), crop=False)


def print_notes(console: Console, notes: Iterable[str]) -> None:
    """Print footnotes."""
    for note in notes:
        console.print(note, style="dim", markup=False)


def print_message(console: Console, message: Message) -> None:
    """Print a message with its level, such as ``error: FILE: ...``."""
    level = f"{message.level.value}: "
    text = "\n".join(printable(line) for line in message.text.split("\n"))
    if isinstance(console, _PlainConsole):
        console.print(level + text, markup=False, soft_wrap=True)
        return
    from rich.text import Text

    styled = Text(level, style=_STYLES[message.level])
    console.print(styled.append(text, style="default"))


class _Shown(NamedTuple):
    title: str
    is_left: bool
    folds: bool
    cells: tuple[str, ...]

    @property
    def width(self) -> int:
        """Width of the widest line, in characters."""
        return max(map(_width, (*self.title.split("\n"), *self.cells)))

    def padded(self, cell: str) -> str:
        """A cell padded to the width of the column."""
        blanks = " " * (self.width - _width(cell))
        return cell + blanks if self.is_left else blanks + cell

    @property
    def least(self) -> int:
        """Least width of the column, in characters."""
        title = max(map(_width, self.title.split("\n")))
        return max(title, min(self.width, _LEAST_TEXT)) if self.folds else self.width


def _width(text: str) -> int:
    """Width of a text on the screen, in character cells."""
    if text.isascii():
        return len(text)
    from rich.cells import cell_len

    return cell_len(text)


def screen_table(table: Table, width: int) -> Grid:
    """A table as a Rich grid that fits a screen of this width."""
    from rich.text import Text

    records, columns, gap = list(table.rows), _shown(table), 2
    if sum(column.width + gap for column in columns) - gap > width:
        gap = 1
        if sum(column.least + gap for column in columns) - gap > width:
            columns = _narrow(table, columns)
    grid = plain_grid(gap - 1)
    for column in columns:
        justify: Any = "left" if column.is_left else "right"
        grid.add_column(
            Text(column.title, justify=justify),
            justify=justify,
            no_wrap=not column.folds,
            overflow="fold",
            min_width=column.least,
        )
    for number, record in enumerate(records):
        cells = (Text(column.cells[number]) for column in columns)
        grid.add_row(
            *cells, style="bold" if getattr(record, "split", "") == ALL else ""
        )
    return grid


def plain_grid(padding: int = 0) -> Grid:
    """An empty table with a line below its heading."""
    from rich import box
    from rich.table import Table as Grid

    return Grid(
        box=box.SIMPLE_HEAD,
        pad_edge=False,
        show_edge=False,
        padding=(0, padding),
        collapse_padding=True,
    )


def add_texts(grid: Grid, *titles: str, **options: Any) -> None:  # noqa: ANN401 - of Rich
    """Add columns of texts, which wrap."""
    for title in titles:
        grid.add_column(title, overflow="fold", **options)


def add_numbers(grid: Grid, *titles: str) -> None:
    """Add columns of numbers, which do not wrap."""
    from rich.text import Text

    for title in titles:
        grid.add_column(Text(title, justify="right"), justify="right", no_wrap=True)


def share(value: float | None) -> str:
    """A fraction in per cent, with one decimal."""
    return UNDEFINED if value is None else f"{100 * value:.1f} %"


def pairs_grid() -> Grid:
    """An empty grid for names and texts; the texts wrap."""
    from rich.table import Table as Grid

    grid = Grid.grid(padding=(0, 2))
    grid.add_column(no_wrap=True)
    grid.add_column(overflow="fold")
    return grid


def _shown(table: Table) -> list[_Shown]:
    """The columns; the name of a dataset is blank in the rows of its splits."""
    cells = [tuple(column) for column in zip(*table.cells, strict=True)]
    found = []
    for number, one in enumerate(table.columns):
        own = cells[number] if cells else ()
        if one.name == "dataset" and "images" in table.names:
            pairs = zip(own, table.rows, strict=True)
            own = tuple("" if _is_part(row) else cell for cell, row in pairs)
        left = one.align == "left"
        folds = left and one.name not in _UNBROKEN
        found.append(_Shown(one.title, left, folds, own))
    return found


def _narrow(table: Table, columns: Sequence[_Shown]) -> list[_Shown]:
    """The columns, with dataset and split joined in one column."""
    names = table.names
    if not set(_PLACE) <= set(names):
        return list(columns)
    at = [names.index(name) for name in _PLACE]
    pairs = ([cells[n] for n in at] for cells in table.cells)
    places = tuple(
        _place(*pair, is_part=_is_part(row))
        for pair, row in zip(pairs, table.rows, strict=True)
    )
    merged = columns[at[0]]._replace(cells=places)
    return [
        merged if name == "dataset" else column
        for name, column in zip(names, columns, strict=True)
        if name != "split"
    ]


def _place(dataset: str, split: str, *, is_part: bool) -> str:
    if split in (ALL, ""):
        return dataset
    return f"  {split}" if is_part else f"{dataset}/{split}"


def _is_part(record: Record) -> bool:
    """Whether the record is of a split, shown below the row of its dataset."""
    return isinstance(record, SummaryRecord) and record.split != ALL
