"""Reference lists: presets and published counts, in every format."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from rich.table import Table
from rich.text import Text

from cdstats.core.columns import columns_of
from cdstats.report import tables
from cdstats.report.formats import Format
from cdstats.report.terminal import print_records, results_console

if TYPE_CHECKING:
    from collections.abc import Sequence

    from cdstats.core.columns import Record
    from cdstats.core.presets import Preset


def print_list(
    rows: Sequence[Record],
    columns: Sequence[str],
    output: Format,
    notes: Sequence[str] = (),
) -> None:
    """Print a list: some columns as a table, all of them in the other formats."""
    if output is Format.TABLE:
        console = results_console()
        print_records(console, rows, columns)
        for note in notes:
            console.print()
            console.print(note, style="dim", markup=False)
        return
    every = tuple(columns_of(type(rows[0])))
    text = {
        Format.CSV: lambda: "".join(tables.printed_csv_lines(rows, every)),
        Format.JSON: lambda: tables.to_json({"rows": rows}),
        Format.JSONL: lambda: tables.to_jsonl(rows, every),
        Format.MARKDOWN: lambda: tables.to_markdown(rows, columns, notes),
        Format.LATEX: lambda: tables.to_latex(rows, columns, notes),
    }[output]()
    sys.stdout.write(text)


def print_preset(preset: Preset) -> None:
    """Print everything about one preset."""
    grid = Table.grid(padding=(0, 2))
    grid.add_column(no_wrap=True)
    grid.add_column(overflow="fold")
    for name, column in columns_of(type(preset)).items():
        value = getattr(preset, name)
        if value not in ("", None, (), False):
            shown = ", ".join(value) if isinstance(value, tuple) else str(value)
            grid.add_row(Text(column.title, style="bold"), Text(shown))
    results_console().print(grid)
