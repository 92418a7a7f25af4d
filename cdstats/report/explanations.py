"""The catalogue of losses for people: a list, and one loss in full."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.table import Table
from rich.text import Text

from cdstats.render.terminal import results_console

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from cdstats.core.catalogue import Entry

_WIDTH = 100


def print_catalogue(entries: Sequence[Entry], excluded: Mapping[str, str]) -> None:
    """Print every loss with its formula, and the names that are no scores."""
    console = results_console()
    grid = _grid()
    for entry in entries:
        grid.add_row(Text(entry.name, style="bold"), Text(entry.title))
    console.print(grid)
    console.print()
    console.print("Not a score of saved predictions:", markup=False)
    rest = _grid()
    for name, reason in excluded.items():
        rest.add_row(Text(name), Text(reason, style="dim"))
    console.print(rest)


def print_entry(entry: Entry) -> None:
    """Print formula, parameters, source and pitfalls of a loss."""
    grid = _grid()
    grid.add_row(Text(entry.name, style="bold"), Text(entry.title))
    grid.add_row("formula", Text(entry.formula))
    for parameter in entry.parameters:
        default = "none" if parameter.default is None else parameter.default
        grid.add_row(
            Text(parameter.name),
            Text(f"{parameter.meaning}; {parameter.allowed}; default {default}"),
        )
    grid.add_row("numbers", Text(", ".join(entry.reduction.value)))
    grid.add_row("source", Text(entry.source))
    grid.add_row("pitfalls", Text(entry.pitfalls))
    results_console().print(grid, width=_WIDTH)


def _grid() -> Table:
    grid = Table.grid(padding=(0, 2))
    grid.add_column(no_wrap=True)
    grid.add_column(overflow="fold")
    return grid
