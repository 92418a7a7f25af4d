"""Class weights at a terminal: a recommendation, and the named schemes side by side."""

from __future__ import annotations

import math
import sys
from typing import TYPE_CHECKING, Final

from rich import box
from rich.table import Table
from rich.text import Text

from cdstats.core.columns import UNDEFINED, printable
from cdstats.report.formats import WeightsFormat
from cdstats.report.pasting import counts_text, weights_text
from cdstats.report.terminal import results_console

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rich.console import Console

    from cdstats.core.weight_records import DatasetWeights
    from cdstats.core.weights import Scheme

_BAR: Final = 12
_WIDTH: Final = 100
_LONG: Final = 1e7
"""A weight from here on is written as a power of ten."""


def print_weights(
    datasets: Sequence[DatasetWeights],
    output: WeightsFormat,
    scheme: str | None,
    version: str,
) -> None:
    """Print the weights of every dataset.

    Args:
        datasets: Their weights.
        output: How.
        scheme: The scheme whose weights are pasted; None for the recommended ones.
        version: The program's.
    """
    if output is WeightsFormat.TABLE:
        console = results_console()
        for place, one in enumerate(datasets):
            if place:
                console.print()
            _print_dataset(console, one, version)
        return
    sys.stdout.write(weights_text(datasets, output, scheme, version))


def _print_dataset(console: Console, one: DatasetWeights, version: str) -> None:
    first = Text(printable(one.dataset), style="bold")
    first.append(f": {one.recommendation.text}")
    width = min(console.width, _WIDTH)
    console.print(first, width=width)
    console.print(f"counts: {counts_text(one)}", style="dim", markup=False, width=width)
    if not one.images:
        return
    console.print()
    console.print(_table(one.schemes), crop=False)
    console.print()
    grid = Table.grid(padding=(0, 2))
    grid.add_column(no_wrap=True)
    grid.add_column(overflow="fold")
    for row in one.schemes:
        text = Text(row.formula)
        text.append(f" [{row.source}]", style="dim")
        if row.remark:
            text.append(f"; {row.remark}")
        grid.add_row(Text(row.scheme), text)
    console.print(grid, width=width)
    console.print()
    rule = f"rule: {printable(one.rule)}; " if one.rule else ""
    note = f"{rule}n1 changed, n0 unchanged, n both; cdstats {version}"
    console.print(note, style="dim", markup=False)


def _table(rows: Sequence[Scheme]) -> Table:
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, show_edge=False, padding=(0, 1))
    table.add_column("Scheme", no_wrap=True)
    for title in ("Unchanged", "Changed", "Changed/\nunchanged"):
        table.add_column(Text(title, justify="right"), justify="right", no_wrap=True)
    table.add_column("", no_wrap=True)
    most = max((row.weight_ratio or 1 for row in rows), default=1)
    for row in rows:
        numbers = (row.unchanged_weight, row.changed_weight, row.weight_ratio)
        bar = _bar(row.weight_ratio, most)
        table.add_row(row.scheme, *map(_number, numbers), Text(bar, style="cyan"))
    return table


def _number(value: float | None) -> str:
    if value is None:
        return UNDEFINED
    plain = abs(value) < _LONG and (value == 0 or abs(value) >= 1e-3)
    if not plain:
        return f"{value:.2e}"
    return f"{value:,.0f}" if abs(value) >= 1e4 else f"{value:.4g}"


def _bar(ratio: float | None, most: float) -> str:
    """The ratio on a scale of logarithms, the longest bar for the largest."""
    if ratio is None or ratio <= 1 or most <= 1:
        return ""
    return "█" * round(_BAR * math.log(ratio) / math.log(most))
