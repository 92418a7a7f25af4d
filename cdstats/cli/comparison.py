"""Comparison of results with published counts, an earlier run, or limits."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Final, NamedTuple

import typer

from cdstats.core.columns import printable
from cdstats.core.errors import UsageError, counted
from cdstats.render.writers import Format

if TYPE_CHECKING:
    from collections.abc import Sequence

    from cdstats.cli.options import GateOptions
    from cdstats.core.catalogue import Loss
    from cdstats.core.reference import Difference
    from cdstats.scan.ratio import RatioResult
    from cdstats.scan.saved import Saved
    from cdstats.score.results import LossRun

_MOST_DIFFERENCES: Final = 50
_COLUMNS: Final = (
    *("dataset", "split"),
    *("published_changed", "published_unchanged", "published_change_ratio"),
    "published_change_fraction",
    *("changed_difference", "unchanged_difference"),
)


class Earlier(NamedTuple):
    """The rows of an earlier run and their file."""

    path: Path
    rows: Saved


def known_reference(text: str | None) -> str | Earlier | None:
    """The published name given to ``--against``, or the rows of its file."""
    if text is None:
        return None
    path = Path(text)
    if path.exists() and not path.is_dir():
        from cdstats.scan.saved import read_saved

        return Earlier(path, read_saved(path))
    if path.suffix.lower() in (".csv", ".json"):
        raise UsageError(f"--against {text}: file not found")
    from cdstats.core.known_sets import published_of

    published_of(text)
    return text


def compare(result: RatioResult, reference: str | Earlier, output: Format) -> bool:
    """Print the comparison; True if a count differs from an earlier run."""
    if isinstance(reference, Earlier):
        return _compare_saved(result, reference, output)
    _print_published(result, reference, output)
    return False


def _print_published(result: RatioResult, name: str, output: Format) -> None:
    """Print published counts below a table, or to standard error in other formats."""
    from cdstats.core.known_sets import published_of
    from cdstats.core.reference import PublishedComparison, beside_published
    from cdstats.render.table import Table
    from cdstats.render.terminal import (
        messages_console,
        print_notes,
        print_table,
        results_console,
    )

    rows = beside_published(result.datasets, published_of(name))
    console = results_console() if output is Format.TABLE else messages_console()
    if not rows:
        text = f"no counts published under {name!r} match these rows"
        typer.echo(f"note: {text}", err=True)
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
    _print_differences(found, "count", path, output)
    if found and not any(difference.is_image for difference in found):
        typer.echo(
            f"  {path} has no image rows; compare with a --csv file to see them",
            err=output is not Format.TABLE,
        )
    return bool(found)


def _print_differences(
    found: Sequence[Difference], what: str, path: Path, output: Format
) -> None:
    to_stderr = output is not Format.TABLE
    if not found:
        typer.echo(f"no {what} differs from {path}", err=to_stderr)
        return
    typer.echo(f"{counted(len(found), what, 'differ')} from {path}:", err=to_stderr)
    for difference in found[:_MOST_DIFFERENCES]:
        typer.echo(f"  {printable(str(difference))}", err=to_stderr)
    if len(found) > _MOST_DIFFERENCES:
        typer.echo(f"  and {len(found) - _MOST_DIFFERENCES:,} more", err=to_stderr)


class ScoreGates:
    """The limits of `cdstats loss` and the earlier run to compare with.

    Both are read and checked before any prediction is read.
    """

    def __init__(self, options: GateOptions, losses: Sequence[Loss]) -> None:
        from cdstats.score.gates import TOLERANCE, check_tolerance, read_limits
        from cdstats.score.results import loss_of_rows

        if options.tolerance is not None and options.against is None:
            raise UsageError("--tolerance needs --against FILE")
        tolerance = TOLERANCE if options.tolerance is None else options.tolerance
        self._tolerance = check_tolerance(tolerance)
        further = [name for one in losses[3:] for name in one.dataset_columns]
        self._under = read_limits(options.fail_under, "--fail-under", further)
        self._over = read_limits(options.fail_over, "--fail-over", further)
        self._path = options.against
        self._earlier = self._path and loss_of_rows(self._path, losses)

    def fails(self, run: LossRun, output: Format) -> bool:
        """Print values beyond limits and differences; True if there are any."""
        beyond = run.beyond_limits(under=self._under, over=self._over)
        for text in beyond:
            typer.echo(f"error: {printable(text)}", err=True)
        if not self._earlier or not self._path:
            return bool(beyond)
        found = run.differences_from(self._earlier, self._tolerance)
        _print_differences(found, "number", self._path, output)
        return bool(beyond or found)
