"""Score saved predictions: losses and metrics."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from cdstats.cli.commands import command
from cdstats.cli.options import (
    OUTPUT,
    GateOptions,
    OutputOptions,
    PaperOptions,
    ScoreBy,
    ScreenOptions,
    sensitivity_rows,
)
from cdstats.core.options import LossOptions

if TYPE_CHECKING:
    from cdstats.score.results import LossRun


@command
def loss(
    *,
    options: LossOptions,
    by: Annotated[
        ScoreBy | None,
        typer.Option(
            help="Rows to print: models (dataset), predictions (image), or other "
            "rules.",
            rich_help_panel=OUTPUT,
        ),
    ] = None,
    output: OutputOptions,
    paper: PaperOptions,
    gates: GateOptions,
    screen: ScreenOptions,
) -> None:
    """Score saved predictions: losses and metrics.

    Reads every pixel once, on a CPU or GPU. Prints plain and balanced cross-entropy,
    the share of each that comes from changed pixels, and precision, recall, F1 and IoU
    of the changed class. Masks are read like in `cdstats ratio`, with the same rules.
    """
    from cdstats.cli.comparison import ScoreGates
    from cdstats.cli.output import MOST_IMAGES, Output
    from cdstats.cli.screen import scoring_bar, show_scores
    from cdstats.core.rule_sensitivity import RuleSensitivity
    from cdstats.core.score_records import DatasetScore, ScoreRecord
    from cdstats.render.scores import loss_document, loss_totals, with_sensitivity
    from cdstats.render.table import choose_columns
    from cdstats.score.choices import choose_predictions
    from cdstats.score.results import choose_losses

    logits = choose_predictions(options).all_logits
    chosen = choose_losses(options.losses, options.beta, logits=logits)
    by_image = by is ScoreBy.IMAGE
    further = [one.column for one in chosen[3:]]
    if not by_image:
        further = [name for one in chosen[3:] for name in one.dataset_columns]
    kind: Any = ScoreRecord if by_image else DatasetScore
    by_rule = sensitivity_rows(by, options)
    if by_rule:
        kind, further = RuleSensitivity, []
    columns = choose_columns(output.columns, kind, further)
    place = Output.of(output, paper)
    held = ScoreGates(gates, chosen)
    if options.from_file is not None:
        # Rows of earlier runs do not need torch, which is slow to import.
        from cdstats.score.results import loss_from

        run = loss_from(Path(options.from_file), options.losses, options.beta)
    else:
        from cdstats.score.loss import score_predictions

        with scoring_bar(screen.quiet) as progress:
            run = score_predictions(options.replace(progress=progress))
    show_scores(run, options.beta, screen.quiet)
    parts = (run.device, run.models, run.images)
    totals = loss_document(*parts)._replace(
        data=lambda: loss_totals(run.models, run.images)
    )
    written = place.write(ScoreRecord, run.images, totals)
    few = by is None and len(run.images) <= MOST_IMAGES
    own = None if by_rule else columns
    document = loss_document(*parts, by_image=by_image, adds_images=few, columns=own)
    rows = run.rule_sensitivity
    place.print(with_sensitivity(document, rows, alone=by_rule, columns=columns))
    fails = held.fails(run, output.output_format)
    raise typer.Exit(int(fails or not written or _has_failed(run, screen.max_failed)))


def _has_failed(run: LossRun, max_failed: int) -> bool:
    return run.unread > 0 or run.failed > max_failed or not run.has_valid
