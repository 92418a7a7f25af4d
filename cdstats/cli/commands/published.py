"""List published pixel counts with their sources."""

from __future__ import annotations

from typing import Annotated

import typer

from cdstats.cli import options
from cdstats.cli.commands import command
from cdstats.render.writers import Format

_COLUMNS = (
    "dataset",
    "split",
    "images",
    "changed",
    "unchanged",
    "change_ratio",
    "change_fraction",
    "status",
)
_NOTE = (
    "change_ratio: changed / unchanged; change_fraction: changed / total. exact: the "
    "sum closes; rounded: float32-rounded by its source; sampled: from a sample; "
    "second-hand: quoted or not checkable."
)


@command
def published(
    name: Annotated[
        str | None,
        typer.Argument(help="A dataset, or DASNet; all by default.", metavar="NAME"),
    ] = None,
    output_format: options.OutputFormat = Format.TABLE,
) -> None:
    """List published pixel counts with their sources."""
    from cdstats.cli.output import Output
    from cdstats.core.reference import EVERY, UNVERIFIED, published_of
    from cdstats.render.masks import list_document

    rows = published_of(name or EVERY)
    notes = [_NOTE]
    if any(row.is_dasnet for row in rows):
        notes.append(f"DASNet rows (arXiv:2003.03608): {UNVERIFIED}.")
    if name is not None:
        notes += dict.fromkeys(f"{row.dataset}: {row.source}" for row in rows)
    Output(output_format).print(list_document(rows, _COLUMNS, notes))
