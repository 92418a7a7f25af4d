"""The audit of masks at a terminal: findings first, then what they follow from."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from rich import box
from rich.table import Table as Grid
from rich.text import Text

from cdstats import __version__
from cdstats.core.audit_records import Finding
from cdstats.core.columns import UNDEFINED, printable
from cdstats.core.errors import Level, counted
from cdstats.core.records import ALL
from cdstats.render.table import Table
from cdstats.render.terminal import pairs_grid, plain_grid, print_notes

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
"""Checks whose findings are about every mask of a split."""
_SHOWN_VALUES: Final = 6
_SHADES: Final = " ░▒▓█"
_LEVELS: Final = " ▁▂▃▄▅▆▇█"
_COLUMNS: Final = ("severity", "check", "dataset", "split", "images", "text")


@dataclass(frozen=True)
class AuditDocument:
    """An audit: its findings, and in JSON and for a person what they follow from."""

    lists: Mapping[str, Sequence[Any]]
    not_checked: Sequence[str] = ()

    def every(self) -> Table:
        """All columns of the findings."""
        return Table.of(Finding, self.lists["findings"])

    def shown(self) -> Table:
        """The findings without the paths of their masks."""
        found, notes = self.lists["findings"], [f"cdstats {__version__}"]
        return Table.of(Finding, found, _COLUMNS, notes)

    def data(self) -> Mapping[str, Any]:
        """Every list."""
        return {**self.lists, "not_checked": self.not_checked}

    def show(self, console: Console) -> None:
        """Print the findings of each dataset first."""
        names = list(dict.fromkeys(row.dataset for row in self.lists["splits"]))
        for name in names:
            own = {
                key: [row for row in rows if row.dataset == name]
                for key, rows in self.lists.items()
            }
            _print_findings(console, name, own["findings"])
            _print_splits(console, own["splits"], own["shifts"])
            _print_values(console, own["values"])
            _print_binarisations(console, own["binarisations"])
            _print_regions(console, own["regions"])
            _print_heat(console, own["heat_maps"])
        if self.not_checked:
            text = f"not checked, needs the files: {', '.join(self.not_checked)}"
            console.print(text, markup=False, width=_width(console))
        print_notes(console, [f"cdstats {__version__}"])


def _width(console: Console) -> int:
    return min(console.width, _WIDTH)


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
        text.append(_paths_text(one), style="dim")
        grid.add_row(Text(f"{one.severity} {one.check}", _STYLES[one.level]), text)
    if found:
        console.print(grid, width=_width(console))
    console.print()


def _paths_text(one: Finding) -> str:
    """The first masks of a finding, unless it is a note or about a whole split."""
    if one.level is Level.NOTE or one.check in _WHOLE or not one.paths:
        return ""
    shown = ", ".join(map(printable, one.paths[:_SHOWN_PATHS]))
    more = len(one.paths) - _SHOWN_PATHS
    return f" [{shown}{f' and {more:,} more' if more > 0 else ''}]"


def _table(*titles: str, left: int = 1) -> Grid:
    """A table whose first columns are texts and the others numbers."""
    table = plain_grid(1)
    for number, title in enumerate(titles):
        justify: Any = "left" if number < left else "right"
        table.add_column(Text(title, justify=justify), justify=justify, no_wrap=True)
    return table


def _print_splits(
    console: Console, rows: Sequence[SplitAudit], shifts: Sequence[SplitShift]
) -> None:
    table = _table(
        *("Split", "Images", "Change\nfraction"),
        *("none", "to 1 %", "to 5 %", "to 20 %", "more", ""),
    )
    for row in rows:
        table.add_row(
            printable(row.split),
            f"{row.images:,}",
            _percent(row.change_fraction),
            *(f"{count:,}" for count in row.bins),
            Text(_bars(row.bins), style="cyan"),
        )
    console.print("images by their change fraction", style="dim", markup=False)
    console.print(table, crop=False)
    for one in shifts:
        text = (
            f"{one.split or ALL} from {one.reference or ALL}: distance "
            f"{one.ks_distance:.2f}, p = {one.p_value:.2g} (Kolmogorov-Smirnov over "
            "images)"
        )
        console.print(printable(text), markup=False, width=_width(console))
    console.print()


def _bars(counts: Sequence[int]) -> str:
    """A small bar for each count, none for 0."""
    most = max(counts, default=0)
    if not most:
        return ""
    top = len(_LEVELS) - 1
    return "".join(_LEVELS[-(-count * top // most)] for count in counts)


def _print_values(console: Console, rows: Sequence[ValueShare]) -> None:
    if not rows:
        return
    grid = pairs_grid()
    for split in dict.fromkeys(row.split for row in rows):
        own = sorted(
            (row for row in rows if row.split == split), key=lambda row: -row.pixels
        )
        parts = [
            f"{row.value} {_percent(row.pixel_share)}"
            f"{f' {row.label}' if row.label else ''}"
            f"{' (leaves the domain)' if row.is_stray else ''}"
            for row in own[:_SHOWN_VALUES]
        ]
        more = len(own) - _SHOWN_VALUES
        parts += [f"and {counted(more, 'more value')}"] if more > 0 else []
        grid.add_row(Text(printable(split)), Text(", ".join(parts)))
    console.print("values by their pixels", style="dim", markup=False)
    console.print(grid, width=_width(console))
    console.print()


def _print_binarisations(console: Console, rows: Sequence[BinarisationShare]) -> None:
    if not rows:
        return
    table = Grid(box=box.SIMPLE_HEAD, pad_edge=False, show_edge=False, padding=(0, 1))
    table.add_column("Rule", overflow="fold")
    splits = list(dict.fromkeys(row.split for row in rows))
    for split in splits:
        title = Text(printable(split), justify="right")
        table.add_column(title, justify="right", no_wrap=True)
    table.add_column("Used by", overflow="fold")
    lines: dict[tuple[str, str], dict[str, float | None]] = {}
    for row in rows:
        lines.setdefault((row.rule, row.loaders), {})[row.split] = row.change_fraction
    for (rule, loaders), shares in lines.items():
        cells = [_percent(shares[s]) if s in shares else "" for s in splits]
        table.add_row(rule, *cells, Text(loaders, style="dim"))
    console.print("change fraction by binarisation", style="dim", markup=False)
    console.print(table, width=_width(console))
    console.print()


def _print_regions(console: Console, rows: Sequence[RegionSizes]) -> None:
    if not any(row.regions for row in rows):
        return
    table = _table("Split", "Regions", "min", "25 %", "median", "75 %", "max", "Specks")
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
        f"changed regions by their pixels ({first.connectivity} neighbours; specks: "
        f"below {first.speck_limit} pixels)"
    )
    console.print(title, style="dim", markup=False, width=_width(console))
    console.print(table, crop=False)
    console.print()


def _print_heat(console: Console, maps: Sequence[HeatMap]) -> None:
    for one in maps:
        shares = [share for line in one.cells for share in line if share is not None]
        most = max(shares, default=0)
        if not most:
            continue
        title = (
            f"where change sits in the frame of {one.width} x {one.height}, from "
            f"{_percent(min(shares))} to {_percent(most)}"
        )
        console.print(title, style="dim", markup=False, width=_width(console))
        for line in one.cells:
            console.print("  " + "".join(_shade(s, most) for s in line), markup=False)
        console.print()


def _shade(share: float | None, most: float) -> str:
    """Two signs for a cell: a dot without a valid pixel, else darker with change."""
    if share is None:
        return "··"
    top = len(_SHADES) - 1
    return 2 * _SHADES[min(top, int(share / most * (top + 1)))]


def _percent(fraction: float | None) -> str:
    return UNDEFINED if fraction is None else f"{100 * fraction:.3g} %"
