"""List the encodings of public datasets for --preset."""

from __future__ import annotations

from typing import Annotated

import typer

from cdstats.cli import options
from cdstats.cli.commands import command
from cdstats.render.writers import Format


@command
def presets(
    name: Annotated[
        str | None, typer.Argument(help="Show one preset in full.", metavar="NAME")
    ] = None,
    output_format: options.OutputFormat = Format.TABLE,
) -> None:
    """List the encodings of public datasets for --preset."""
    from cdstats.cli.output import Output
    from cdstats.core.presets import preset
    from cdstats.core.presets import presets as every
    from cdstats.render.masks import list_document

    names = ("name", "dataset", "changed", "unchanged", "ignore")
    rows = (preset(name),) if name is not None else every()
    document = list_document(rows, names, in_full=name is not None)
    Output(output_format).print(document)
