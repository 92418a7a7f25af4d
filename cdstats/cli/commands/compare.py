"""Compare models on the same masks, with confidence intervals."""

from __future__ import annotations

from functools import partial
from typing import Annotated, Any

import typer

from cdstats.cli.commands import command
from cdstats.cli.options import (
    OUTPUT,
    OutputOptions,
    PaperOptions,
    ScoreBy,
    ScreenOptions,
    sensitivity_rows,
)
from cdstats.core.options import CompareOptions


@command
def compare(
    *,
    options: CompareOptions,
    by: Annotated[
        ScoreBy | None,
        typer.Option(
            help="Rows to print: models (dataset), images where models differ most, or "
            "other rules.",
            rich_help_panel=OUTPUT,
        ),
    ] = None,
    output: OutputOptions,
    paper: PaperOptions,
    screen: ScreenOptions,
) -> None:
    """Compare models on the same masks, with confidence intervals.

    Scores every model like `cdstats loss` and prints losses and metrics side by side.
    The difference of each model from the baseline has a bootstrap interval: images are
    resampled, the same images for every model. Models that do not score the same images
    are refused.
    """
    from cdstats.cli.output import Output
    from cdstats.cli.screen import scoring_bar, show_comparison
    from cdstats.core.comparison_records import PARTS, SD, ComparedModel, DifferingImage
    from cdstats.core.errors import UsageError
    from cdstats.core.rule_sensitivity import RuleSensitivity
    from cdstats.core.score_records import ScoreRecord
    from cdstats.render.comparison import compare_document, compare_totals
    from cdstats.render.scores import with_sensitivity
    from cdstats.render.table import choose_columns
    from cdstats.score.comparison import compare_models, measure_names

    by_image = by is ScoreBy.IMAGE
    if by_image and paper.percent:
        raise UsageError(
            "--percent does not fit --by image, whose rows have different measures"
        )
    measures = measure_names(options.losses, options.beta)
    kinds = (*PARTS, SD) if options.repeats else PARTS
    parts = (f"{name}_{part}" for name in measures for part in kinds)
    # Models of a pattern, and so their columns, are known only after listing files.
    further = ("value[",) if by_image else (*measures, *parts)
    kind: Any = DifferingImage if by_image else ComparedModel
    by_rule = sensitivity_rows(by, options)
    if by_rule:
        kind, further = RuleSensitivity, ()
    columns = choose_columns(output.columns, kind, further)
    place = Output.of(output, paper)
    with scoring_bar(screen.quiet) as progress:
        run = compare_models(options.replace(progress=progress))
    show_comparison(run, screen.quiet)
    document = partial(
        compare_document,
        *(run.device, run.models, run.differing, run.images),
        *(run.asked, run.losses, run.differences),
    )
    totals = document()._replace(data=lambda: compare_totals(run.models))
    written = place.write(ScoreRecord, run.images, totals)
    own = None if by_rule else columns
    shown = document(by_image=by_image, adds_images=by is None, columns=own)
    rows = run.rule_sensitivity
    place.print(with_sensitivity(shown, rows, alone=by_rule, columns=columns))
    many = run.unread > 0 or run.failed > screen.max_failed
    failed = many or not run.drawn_from
    raise typer.Exit(int(not written or failed))
