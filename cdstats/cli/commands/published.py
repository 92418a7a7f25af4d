"""List published pixel counts with their sources."""

from __future__ import annotations

from typing import Annotated

import typer

from cdstats.cli import options as shared
from cdstats.cli.commands import command
from cdstats.core.errors import DataError, UsageError
from cdstats.core.options import MaskOptions
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
    "change_ratio: changed / unchanged; change_fraction: changed / total. exact: "
    "counts add up to the image area; rounded: float32-rounded by the source; sampled: "
    "from a sample; second-hand: quoted or not verifiable."
)


@command
def published(
    *,
    name: Annotated[
        str | None,
        typer.Argument(
            help="A dataset or DASNet; default: all. With --add: the masks.",
            metavar="[NAME|PATH]",
        ),
    ] = None,
    options: MaskOptions,
    add: Annotated[
        str | None,
        typer.Option(
            help="Add the masks of PATH to the known sets that scores mention by name.",
            metavar="NAME",
        ),
    ] = None,
    output_format: shared.OutputFormat = Format.TABLE,
) -> None:
    """List published pixel counts with their sources.

    With --add, counts the masks of a path and writes their counts and the hash of their
    labels to known_sets.toml in the configuration folder of the user. Scores of these
    masks then mention the name of the set, and `cdstats ratio --against NAME` compares
    with it. The rule and selection options apply to --add.
    """
    from cdstats.cli.output import Output
    from cdstats.core.known_sets import EVERY, published_of
    from cdstats.core.reference import UNVERIFIED
    from cdstats.render.masks import list_document

    if add is not None:
        if name is None:
            raise UsageError(f"--add {add}: name the masks: --add NAME PATH")
        _add(add, name, options)
        return
    known = options.declared.items()
    if given := [n for n, one in known if getattr(options, n) != one.default]:
        flags = ", ".join(options.declared[one].names(one)[0] for one in given)
        raise UsageError(f"{flags}: only with --add NAME PATH")
    rows = published_of(name or EVERY)
    notes = [_NOTE]
    if any(row.status == "own" for row in rows):
        notes.append("own: added by --add.")
    if any(row.is_dasnet for row in rows):
        notes.append(f"DASNet rows (arXiv:2003.03608): {UNVERIFIED}.")
    if name is not None:
        notes += dict.fromkeys(f"{row.dataset}: {row.source}" for row in rows)
    Output(output_format).print(list_document(rows, _COLUMNS, notes))


def _add(name: str, path: str, options: MaskOptions) -> None:
    from cdstats.core.known_sets import own_file, with_added
    from cdstats.io.outputs import write_whole
    from cdstats.score.verification import measured_sets

    if not name.strip() or not name.isprintable():
        raise UsageError(f"--add {name!r}: expected a name")
    sets, file = measured_sets(name, path, options), own_file()
    text = with_added(sets)
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise DataError(f"{file.parent}: cannot be created: {error.strerror}") from None
    write_whole(file, text)
    for one in sets:
        typer.echo(f"{one}: labels {one.labels}, {one.changed:,} changed pixels")
    typer.echo(f"written to {file}", err=True)
