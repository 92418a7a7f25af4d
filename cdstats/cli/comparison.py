"""``--against``: published counts or an earlier run beside the measured counts."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

import typer

from cdstats.core.errors import UsageError, counted
from cdstats.render.writers import Format

if TYPE_CHECKING:
    from cdstats.core.reference import Difference
    from cdstats.scan.ratio import RatioResult
    from cdstats.scan.saved import Saved

_MOST_DIFFERENCES: Final = 50
_COLUMNS: Final = (
    *("dataset", "split"),
    *("published_changed", "published_unchanged", "published_change_ratio"),
    "published_change_fraction",
    *("changed_difference", "unchanged_difference"),
)


@dataclass(frozen=True)
class Earlier:
    """The rows of an earlier run, and the file that holds them."""

    path: Path
    rows: Saved


def known_reference(text: str | None) -> str | Earlier | None:
    """The published name that ``--against`` means, or the rows of its file."""
    if text is None:
        return None
    path = Path(text)
    if path.exists() and not path.is_dir():
        from cdstats.scan.saved import read_saved

        return Earlier(path, read_saved(path))
    if path.suffix.lower() in (".csv", ".json"):
        raise UsageError(f"--against {text}: no such file")
    from cdstats.core.reference import published_of

    published_of(text)
    return text


def compare(result: RatioResult, reference: str | Earlier, output: Format) -> bool:
    """Print the comparison; whether an integer differs from an earlier run."""
    if isinstance(reference, Earlier):
        return _compare_saved(result, reference, output)
    _print_published(result, reference, output)
    return False


def _print_published(result: RatioResult, name: str, output: Format) -> None:
    """Published counts: below the table, or on standard error beside other formats."""
    from cdstats.core.reference import PublishedComparison, beside_published
    from cdstats.render.table import Table
    from cdstats.render.terminal import (
        messages_console,
        print_notes,
        print_table,
        results_console,
    )

    rows = beside_published(result.datasets, name)
    console = results_console() if output is Format.TABLE else messages_console()
    if not rows:
        typer.echo(f"note: nothing published under {name!r} fits these rows", err=True)
        return
    console.print()
    print_table(console, Table.of(PublishedComparison, rows, _COLUMNS))
    for row in rows:
        if row.other_set:
            typer.echo(f"note: {row.other_set}", err=True)
    sources = (f"{r.published_dataset}, {r.status}: {r.source}" for r in rows)
    print_notes(console, dict.fromkeys(sources))


def _compare_saved(result: RatioResult, earlier: Earlier, output: Format) -> bool:
    from cdstats.scan.saved import against_saved

    path = earlier.path
    found = against_saved(result, earlier.rows)
    to_stderr = output is not Format.TABLE
    if not found:
        typer.echo(f"no count differs from {path}", err=to_stderr)
        return False
    typer.echo(f"{counted(len(found), 'count')} other than in {path}:", err=to_stderr)
    for difference in found[:_MOST_DIFFERENCES]:
        typer.echo(f"  {difference}", err=to_stderr)
    if len(found) > _MOST_DIFFERENCES:
        typer.echo(f"  and {len(found) - _MOST_DIFFERENCES:,} more", err=to_stderr)
    if not _names_images(found):
        typer.echo(
            f"  {path} holds no image rows: compare with a --csv file to see them",
            err=to_stderr,
        )
    return True


def _names_images(found: list[Difference]) -> bool:
    return any(difference.is_image for difference in found)
