"""Print formula, source and pitfalls of a loss, or list all losses."""

from __future__ import annotations

from typing import Annotated

import typer

from cdstats.cli.commands import command


@command
def explain(
    name: Annotated[
        str | None,
        typer.Argument(
            help="Name of a loss. Default: list all losses.", metavar="NAME"
        ),
    ] = None,
) -> None:
    """Print formula, source and pitfalls of a loss, or list all losses."""
    from cdstats.core.catalogue import CATALOGUE, NOT_SCORES, choose
    from cdstats.render.scores import print_catalogue, print_entry

    if name is None:
        print_catalogue(tuple(CATALOGUE.values()), NOT_SCORES)
    else:
        print_entry(choose(name).entry)
