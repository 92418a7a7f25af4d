"""``cdstats compare``."""

from __future__ import annotations

from dataclasses import replace
from typing import Annotated

import typer

from cdstats.cli.choices import ScoreBy
from cdstats.cli.commands import command
from cdstats.cli.files import refuse_inputs
from cdstats.cli.options import OUTPUT, OutputOptions, ScreenOptions
from cdstats.core.arguments import texts
from cdstats.core.options import CompareOptions


@command
def compare(
    *,
    options: CompareOptions,
    by: Annotated[
        ScoreBy | None,
        typer.Option(
            help="Rows to print: models, or images by how far models differ.",
            rich_help_panel=OUTPUT,
        ),
    ] = None,
    output: OutputOptions,
    screen: ScreenOptions,
) -> None:
    """Compare models on the same masks: differences with intervals, and where.

    Scores every model as `cdstats loss` does and sets losses and metrics side by side.
    The difference of each model to the first comes with an interval: images are drawn
    again and again, the same ones for every model. Models that do not score the same
    images are refused.
    """
    from cdstats.cli.compare_outputs import CompareOutputs
    from cdstats.cli.screen import scoring_bar
    from cdstats.score.compare import compare_models
    from cdstats.score.comparison import measure_names

    outputs = CompareOutputs(
        output.output_format, by, output.columns, output.csv, output.summary
    )
    outputs.check_columns(measure_names(options.losses, options.beta))
    refuse_inputs(
        [output.csv, output.summary],
        [*texts(options.pred), options.target, options.from_file],
    )
    with scoring_bar(screen.quiet) as progress:
        run = compare_models(replace(options, progress=progress))
    outputs.show_messages(run, screen.quiet)
    written = outputs.write(run)
    outputs.print(run)
    failed = run.failed > screen.max_failed or not run.drawn_from
    raise typer.Exit(int(not written or failed))
