"""Compute class weights for a loss."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from cdstats.cli.commands import command
from cdstats.cli.options import OUTPUT, ScreenOptions
from cdstats.core.errors import UsageError
from cdstats.core.options import WeightsOptions
from cdstats.render.weights import WeightsDocument, WeightsFormat


@command
def weights(
    *,
    options: WeightsOptions,
    scheme: Annotated[
        str | None,
        typer.Option(
            help="Scheme for torch and opencd. Default: the recommended weights.",
            metavar="NAME",
            rich_help_panel=OUTPUT,
        ),
    ] = None,
    output_format: Annotated[
        WeightsFormat,
        typer.Option(
            "--format",
            help="Format of the output; torch and opencd print lines to paste.",
            rich_help_panel=OUTPUT,
        ),
    ] = WeightsFormat.TABLE,
    explain: Annotated[
        bool,
        typer.Option(
            "--explain",
            help="Add the formula and source of each scheme to the table.",
            rich_help_panel=OUTPUT,
        ),
    ] = False,
    screen: ScreenOptions,
) -> None:
    """Compute class weights for a loss.

    The first line is a recommendation with its reason. The named schemes and their
    weights follow; --explain adds their formulas and sources. Pixels are counted in the
    split train if there is one.
    """
    from cdstats.cli.screen import counting_screen, show_messages
    from cdstats.core.weights import check_scheme
    from cdstats.scan.weights import weigh_masks

    if explain and output_format is not WeightsFormat.TABLE:
        raise UsageError(
            f"--explain needs --format table; found --format {output_format}"
        )
    if scheme is not None:
        check_scheme(scheme, pasted=output_format.is_pasted)
    with counting_screen(screen.quiet) as shown:
        result = weigh_masks(options.replace(progress=shown.progress))
    show_messages(result, result.messages, screen.quiet, csv=False)
    document = WeightsDocument(result.datasets, scheme, explain)
    sys.stdout.writelines(output_format.write(document))
    failed = result.unread > 0 or result.failed > screen.max_failed
    raise typer.Exit(int(failed))
