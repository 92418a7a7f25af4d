"""``cdstats loss``."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from cdstats.cli.choices import ScoreBy
from cdstats.cli.commands import command
from cdstats.cli.files import refuse_inputs
from cdstats.cli.options import OUTPUT, OutputOptions, ScreenOptions
from cdstats.core.arguments import texts
from cdstats.core.options import LossOptions

if TYPE_CHECKING:
    from cdstats.score.results import LossRun


@command
def loss(
    *,
    options: LossOptions,
    by: Annotated[
        ScoreBy | None,
        typer.Option(help="Rows to print.", rich_help_panel=OUTPUT),
    ] = None,
    output: OutputOptions,
    screen: ScreenOptions,
) -> None:
    """Score saved predictions: balanced cross-entropy beside plain BCE.

    Reads every pixel once, on CPU or GPU, and prints the losses, how much of each
    comes from changed pixels, and precision, recall, F1 and IoU of the changed class.
    Masks are read as by `cdstats ratio`, with the same rules.
    """
    from cdstats.cli.score_outputs import ScoreOutputs
    from cdstats.cli.screen import scoring_bar
    from cdstats.score.results import choose_losses

    logits = options.kind == "logit"
    chosen = choose_losses(options.losses, options.beta, logits=logits)
    outputs = ScoreOutputs(
        output.output_format, by, output.columns, output.csv, output.summary, chosen[3:]
    )
    refuse_inputs(
        [output.csv, output.summary],
        [*texts(options.pred), options.target, options.from_file],
    )
    if options.from_file is not None:
        # Rows of earlier runs need no torch, which takes longest to load.
        from cdstats.score.saved import loss_from

        run = loss_from(Path(options.from_file), options.losses, options.beta)
    else:
        from cdstats.score.loss import score_predictions

        with scoring_bar(screen.quiet) as progress:
            run = score_predictions(replace(options, progress=progress))
    outputs.show_messages(run, options.beta, screen.quiet)
    written = outputs.write(run)
    outputs.print(run)
    raise typer.Exit(int(not written or _has_failed(run, screen.max_failed)))


def _has_failed(run: LossRun, max_failed: int) -> bool:
    return run.failed > max_failed or not run.has_valid
