"""Output of `cdstats audit`: findings first, then the tables behind them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from rich.table import Table as Grid
from rich.text import Text

from cdstats import __version__
from cdstats.core.audit_records import Finding
from cdstats.core.columns import UNDEFINED, printable
from cdstats.core.errors import Level, counted
from cdstats.core.records import ALL
from cdstats.render.table import Document, Table
from cdstats.render.terminal import (
    add_numbers,
    add_texts,
    pairs_grid,
    plain_grid,
    print_notes,
)

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from rich.console import Console

    from cdstats.core.audit_records import (
        BinarisationShare,
        HeatMap,
        RegionSizes,
        SplitAudit,
        SplitShift,
        ValueShare,
    )

_STYLES: Final = {Level.ERROR: "bold red", Level.WARNING: "yellow", Level.NOTE: "cyan"}
_WIDTH: Final = 100
_SHOWN_PATHS: Final = 2
_WHOLE: Final = ("binarisation", "encoding")
"""Checks whose findings concern all masks of a split."""
_SHOWN_VALUES: Final = 6
_SHADES: Final = " ░▒▓█"
_LEVELS: Final = " ▁▂▃▄▅▆▇█"
_COLUMNS: Final = ("severity", "check", "dataset", "split", "images", "text")


def audit_document(
    lists: Mapping[str, Sequence[Any]], not_checked: Sequence[str] = ()
) -> Document:
    """The output of an audit; JSON and the screen add the tables behind the findings.

    ``lists`` are the lists of `cdstats.AuditResult`.
    """
    found, notes = lists["findings"], [f"cdstats {__version__}"]

    def show(console: Console) -> None:
        for name in dict.fromkeys(row.dataset for row in lists["splits"]):
            own = {
                key: [row for row in rows if row.dataset == name]
                for key, rows in lists.items()
            }
            _print_findings(console, name, own["findings"])
            _print_splits(console, own["splits"], own["shifts"])
            _print_values(console, own["values"])
            _print_binarisations(console, own["binarisations"])
            _print_regions(console, own["regions"])
            _print_heat(console, own["heat_maps"])
        if not_checked:
            text = f"not checked, needs the files: {', '.join(not_checked)}"
            console.print(text, markup=False, width=min(console.width, _WIDTH))
        print_notes(console, notes)

    return Document(
        lambda: Table.of(Finding, found),
        lambda: Table.of(Finding, found, _COLUMNS, notes),
        lambda: {**lists, "not_checked": not_checked},
        show,
    )


def _print_part(
    console: Console, caption: str, shown: Grid, *lines: str, folds: bool = False
) -> None:
    """Print a caption, a table, some lines and a blank line."""
    width = min(console.width, _WIDTH)
    console.print(caption, style="dim", markup=False, width=width)
    console.print(shown, width=width if folds else None, crop=False)
    for line in lines:
        console.print(line, markup=False, width=width)
    console.print()


def _print_findings(console: Console, name: str, found: Sequence[Finding]) -> None:
    numbers = {level: sum(one.level is level for one in found) for level in _STYLES}
    counts = ", ".join(
        counted(number, level.value) for level, number in numbers.items()
    )
    title = Text(printable(name) or "masks", style="bold").append(f": {counts}", "")
    console.print(title)
    grid = pairs_grid()
    for one in found:
        place = "" if one.split == ALL else f"{one.split}: "
        text = Text(printable(f"{place}{one.text}"))
        # Masks are named only for errors and warnings that concern some of them.
        if one.level is not Level.NOTE and one.check not in _WHOLE and one.paths:
            shown = ", ".join(map(printable, one.paths[:_SHOWN_PATHS]))
            more = len(one.paths) - _SHOWN_PATHS
            left = f" and {more:,} more" if more > 0 else ""
            text.append(f" [{shown}{left}]", style="dim")
        grid.add_row(Text(f"{one.severity} {one.check}", _STYLES[one.level]), text)
    if found:
        console.print(grid, width=min(console.width, _WIDTH))
    console.print()


def _print_splits(
    console: Console, rows: Sequence[SplitAudit], shifts: Sequence[SplitShift]
) -> None:
    table = plain_grid(1)
    table.add_column("Split", no_wrap=True)
    add_numbers(table, "Images", "Change\nfraction")
    add_numbers(table, "none", "to 1 %", "to 5 %", "to 20 %", "more", "")
    for row in rows:
        # The height of each bar is rounded up, so that only 0 has no bar.
        most, top = max(row.bins, default=0) or 1, len(_LEVELS) - 1
        bars = "".join(_LEVELS[-(-count * top // most)] for count in row.bins)
        table.add_row(
            printable(row.split),
            f"{row.images:,}",
            _percent(row.change_fraction),
            *(f"{count:,}" for count in row.bins),
            Text(bars if any(row.bins) else "", style="cyan"),
        )
    told = (
        f"{one.split or ALL} from {one.reference or ALL}: distance "
        f"{one.ks_distance:.2f}, p = {one.p_value:.2g} (Kolmogorov-Smirnov over images)"
        for one in shifts
    )
    caption = "images by change fraction"
    _print_part(console, caption, table, *map(printable, told))


def _print_values(console: Console, rows: Sequence[ValueShare]) -> None:
    grid = pairs_grid()
    for split in dict.fromkeys(row.split for row in rows):
        own = [row for row in rows if row.split == split]
        own.sort(key=lambda row: -row.pixels)
        parts = [
            f"{row.value} {_percent(row.pixel_share)}"
            f"{f' {row.label}' if row.label else ''}"
            f"{' (outside the domain)' if row.is_stray else ''}"
            for row in own[:_SHOWN_VALUES]
        ]
        more = len(own) - _SHOWN_VALUES
        parts += [f"and {counted(more, 'more value')}"] if more > 0 else []
        grid.add_row(Text(printable(split)), Text(", ".join(parts)))
    if rows:
        _print_part(console, "values by share of pixels", grid, folds=True)


def _print_binarisations(console: Console, rows: Sequence[BinarisationShare]) -> None:
    if not rows:
        return
    splits = list(dict.fromkeys(row.split for row in rows))
    table = plain_grid(2)
    add_texts(table, "Rule")
    add_numbers(table, *map(printable, splits))
    add_texts(table, "Used by")
    lines: dict[tuple[str, str], dict[str, float | None]] = {}
    for row in rows:
        lines.setdefault((row.rule, row.loaders), {})[row.split] = row.change_fraction
    for (rule, loaders), shares in lines.items():
        cells = [_percent(shares[s]) if s in shares else "" for s in splits]
        table.add_row(rule, *cells, Text(loaders, style="dim"))
    _print_part(console, "change fraction by binarisation", table, folds=True)


def _print_regions(console: Console, rows: Sequence[RegionSizes]) -> None:
    if not any(row.regions for row in rows):
        return
    table = plain_grid(1)
    table.add_column("Split", no_wrap=True)
    add_numbers(table, "Regions", "min", "25 %", "median", "75 %", "max", "Specks")
    for row in rows:
        sizes = (row.size_min, row.size_q25, row.size_median, row.size_q75)
        table.add_row(
            printable(row.split),
            f"{row.regions:,}",
            *(UNDEFINED if n is None else f"{n:,}" for n in (*sizes, row.size_max)),
            f"{row.specks:,}",
        )
    first = rows[0]
    title = (
        f"changed regions by size in pixels ({first.connectivity} neighbours; specks: "
        f"below {first.speck_limit} pixels)"
    )
    _print_part(console, title, table)


def _print_heat(console: Console, maps: Sequence[HeatMap]) -> None:
    for one in maps:
        shares = [share for line in one.cells for share in line if share is not None]
        most = max(shares, default=0)
        if not most:
            continue
        title = (
            f"change fraction by position in images of {one.width} x {one.height}, "
            f"from {_percent(min(shares))} to {_percent(most)}"
        )
        grid = Grid.grid()
        for line in one.cells:
            grid.add_row("  " + "".join(_shade(s, most) for s in line))
        _print_part(console, title, grid)


def _shade(share: float | None, most: float) -> str:
    """Two characters for a cell: dots without valid pixels, darker with more change."""
    if share is None:
        return "··"
    top = len(_SHADES) - 1
    return 2 * _SHADES[min(top, int(share / most * (top + 1)))]


def _percent(fraction: float | None) -> str:
    return UNDEFINED if fraction is None else f"{100 * fraction:.3g} %"
