"""``cdstats presets``."""

from __future__ import annotations

from typing import Annotated

import typer

from cdstats.cli import options
from cdstats.cli.commands import command
from cdstats.report.formats import Format


@command
def presets(
    name: Annotated[
        str | None, typer.Argument(help="Show one preset in full.", metavar="NAME")
    ] = None,
    output_format: options.OutputFormat = Format.TABLE,
) -> None:
    """List the encodings of public datasets that --preset knows."""
    from cdstats.core.presets import preset
    from cdstats.core.presets import presets as every
    from cdstats.report.lists import print_list, print_preset

    if name is not None and output_format is Format.TABLE:
        print_preset(preset(name))
        return
    rows = every() if name is None else (preset(name),)
    print_list(
        rows, ("name", "dataset", "changed", "unchanged", "ignore"), output_format
    )
