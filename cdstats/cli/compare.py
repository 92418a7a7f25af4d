"""``cdstats compare``."""

from __future__ import annotations

from typing import Annotated

import typer

from cdstats.cli import options, score_options
from cdstats.cli.choices import ScoreBy
from cdstats.cli.commands import command
from cdstats.cli.files import refuse_inputs
from cdstats.core.comparison_names import BY_DEFAULT, ImageMeasure
from cdstats.core.errors import UsageError
from cdstats.report.formats import Format

_COMPARE = "Comparison"


@command
def compare(
    pred: Annotated[
        list[str] | None,
        typer.Option(
            help="Predictions of a model, once for each; or one pattern with {model}.",
            metavar="NAME=PATH",
        ),
    ] = None,
    target: score_options.TargetPath = None,
    baseline: Annotated[
        str | None,
        typer.Option(
            help="The model that the others are compared with.",
            metavar="NAME",
            show_default="the first",
            rich_help_panel=_COMPARE,
        ),
    ] = None,
    common: Annotated[
        bool,
        typer.Option(
            "--common",
            help="Compare the images that all models have, instead of refusing.",
            rich_help_panel=_COMPARE,
        ),
    ] = False,
    curves: Annotated[
        bool,
        typer.Option(
            "--curves/--no-curves",
            help="Average precision and best threshold. Floating predictions are read "
            "a second time for them.",
            rich_help_panel=_COMPARE,
        ),
    ] = True,
    resamples: Annotated[
        int,
        typer.Option(
            help="How many times the images are drawn.",
            metavar="N",
            rich_help_panel=_COMPARE,
        ),
    ] = 2000,
    confidence: Annotated[
        float,
        typer.Option(
            help="Share of the resamples inside an interval.",
            metavar="SHARE",
            rich_help_panel=_COMPARE,
        ),
    ] = 0.95,
    seed: Annotated[
        int,
        typer.Option(
            help="Where the random numbers start.",
            metavar="N",
            rich_help_panel=_COMPARE,
        ),
    ] = 0,
    measure: Annotated[
        list[ImageMeasure] | None,
        typer.Option(
            help="Find the images where models differ most by this. Repeatable.",
            show_default="f1 and bce_mean",
            rich_help_panel=_COMPARE,
        ),
    ] = None,
    kind: score_options.KindOption = None,
    beta: score_options.Beta = "image",
    further: score_options.FurtherLosses = None,
    threshold: score_options.Threshold = None,
    device: score_options.Device = None,
    batch_size: score_options.BatchSize = None,
    changed: options.Changed = None,
    unchanged: options.Unchanged = None,
    ignore: options.Ignore = None,
    preset: options.PresetName = None,
    band: options.Band = None,
    split: options.Split = None,
    from_file: options.FromFile = None,
    by: Annotated[
        ScoreBy | None,
        typer.Option(
            help="Rows to print: models, or images by how far models differ.",
            rich_help_panel="Output",
        ),
    ] = None,
    columns: options.Columns = None,
    output_format: options.OutputFormat = Format.TABLE,
    csv: options.CsvFile = None,
    summary: options.SummaryFile = None,
    max_failed: options.MaxFailed = 0,
    max_pixels: options.MaxPixels = None,
    quiet: options.Quiet = False,
) -> None:
    """Compare models on the same masks: differences with intervals, and where.

    Scores every model as `cdstats loss` does and sets losses and metrics side by side.
    The difference of each model to the first comes with an interval: images are drawn
    again and again, the same ones for every model. Models that do not score the same
    images are refused.
    """
    from cdstats.cli.compare_outputs import CompareOutputs
    from cdstats.score.comparison import measure_names

    outputs = CompareOutputs(output_format, by, columns, csv, summary)
    outputs.check_columns(measure_names(further or (), beta))
    refuse_inputs([csv, summary], [*(pred or []), target, from_file])
    if from_file is not None:
        pixels = (pred, target, kind, threshold, device, batch_size)
        score_options.refuse_with_from(
            *(*pixels, changed, unchanged, ignore, preset, band, split),
            max_pixels,
        )
        from cdstats.score.compare import compare_from

        run = compare_from(
            from_file,
            baseline=baseline,
            common=common,
            measures=measure or BY_DEFAULT,
            resamples=resamples,
            confidence=confidence,
            seed=seed,
            beta=beta,
            losses=further or (),
        )
    elif not pred or not target:
        raise UsageError("name predictions with --pred and their masks with --target")
    else:
        from cdstats.cli.screen import scoring_bar
        from cdstats.io.limits import MAX_PIXELS
        from cdstats.score.compare import compare as compare_models

        with scoring_bar(quiet) as progress:
            run = compare_models(
                pred,
                target,
                baseline=baseline,
                common=common,
                curves=curves,
                measures=measure or BY_DEFAULT,
                resamples=resamples,
                confidence=confidence,
                seed=seed,
                kind=kind.value if kind else None,
                device=device or "auto",
                batch_size=score_options.batch_tiles(batch_size),
                beta=beta,
                losses=further or (),
                threshold=0.5 if threshold is None else threshold,
                changed=changed,
                unchanged=unchanged,
                ignore=ignore,
                preset=preset,
                band=band,
                split=split,
                max_pixels=max_pixels or MAX_PIXELS,
                progress=progress,
            )
    outputs.show_messages(run, quiet)
    written = outputs.write(run)
    outputs.print(run)
    failed = run.failed > max_failed or not run.drawn_from
    raise typer.Exit(int(not written or failed))
