"""Explain a loss: formula, parameters, source and pitfalls; or list all."""

from __future__ import annotations

from typing import Annotated

import typer

from cdstats.cli.commands import command


@command
def explain(
    name: Annotated[
        str | None, typer.Argument(help="A loss; all by default.", metavar="NAME")
    ] = None,
) -> None:
    """Explain a loss: formula, parameters, source and pitfalls; or list all."""
    from cdstats.core.catalogue import CATALOGUE, NOT_SCORES, choose
    from cdstats.render.scores import print_catalogue, print_entry

    if name is None:
        print_catalogue(tuple(CATALOGUE.values()), NOT_SCORES)
    else:
        print_entry(choose(name).entry)
