"""Check whether predictions and masks reproduce the signature of a score."""

from __future__ import annotations

import typer

from cdstats.cli import options as shared
from cdstats.cli.commands import command
from cdstats.cli.options import Quiet
from cdstats.core.signature import VerifyOptions
from cdstats.render.writers import Format


@command
def verify(
    *,
    options: VerifyOptions,
    output_format: shared.OutputFormat = Format.TABLE,
    quiet: Quiet = False,
) -> None:
    """Check whether predictions and masks reproduce the signature of a score.

    Scores them with the threshold, rule, kind and grid of the signature, and prints
    which fields agree. Exit code 0: all agree; 1: a field differs. The version is
    printed but not compared. Missing fields are not compared. Options override the
    signature.
    """
    from cdstats.cli.output import Output
    from cdstats.cli.screen import scoring_bar, show_scores
    from cdstats.render.masks import list_document
    from cdstats.render.scores import headline
    from cdstats.render.table import needed
    from cdstats.score.verification import verify_signature

    with scoring_bar(quiet) as progress:
        found = verify_signature(options.replace(progress=progress))
    show_scores(found.run, options.beta, quiet)
    models = [one.dataset for one in found.run.models]
    named = needed("model field stated found agrees", model=len(models) > 1)
    notes = [
        f"changed class{f' of {one.model}' if one.model else ''}, pooled: "
        f"{headline(one)}"
        for one in models
    ]
    Output(output_format).print(list_document(found.fields, named, notes))
    raise typer.Exit(int(not found.agrees or found.run.unread > 0))
