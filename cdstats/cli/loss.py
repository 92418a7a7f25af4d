"""``cdstats loss``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from cdstats.cli import options, score_options
from cdstats.cli.choices import ScoreBy
from cdstats.cli.commands import command
from cdstats.cli.files import refuse_inputs
from cdstats.core.errors import UsageError
from cdstats.engine.choice import EngineName
from cdstats.report.formats import Format

if TYPE_CHECKING:
    from cdstats.score.results import LossRun


@command
def loss(
    pred: score_options.Pred = None,
    target: score_options.TargetPath = None,
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
        typer.Option(help="Rows to print.", rich_help_panel="Output"),
    ] = None,
    columns: options.Columns = None,
    output_format: options.OutputFormat = Format.TABLE,
    csv: options.CsvFile = None,
    summary: options.SummaryFile = None,
    engine: options.Engine = EngineName.LOCAL,
    scheduler: options.Scheduler = None,
    max_failed: options.MaxFailed = 0,
    max_pixels: options.MaxPixels = None,
    strict: options.Strict = False,
    quiet: options.Quiet = False,
) -> None:
    """Score saved predictions: balanced cross-entropy beside plain BCE.

    Reads every pixel once, on CPU or GPU, and prints the losses, how much of each
    comes from changed pixels, and precision, recall, F1 and IoU of the changed class.
    Masks are read as by `cdstats ratio`, with the same rules.
    """
    from cdstats.cli.score_outputs import ScoreOutputs
    from cdstats.score.results import choose_losses

    logits = kind is score_options.KindName.LOGIT
    chosen = choose_losses(further or (), beta, logits=logits)
    outputs = ScoreOutputs(output_format, by, columns, csv, summary, chosen[3:])
    refuse_inputs([csv, summary], [*(pred or []), target, from_file])
    if from_file is not None:
        pixels = (pred, target, kind, threshold, device, batch_size)
        elsewhere = None if engine is EngineName.LOCAL else engine
        score_options.refuse_with_from(
            *(*pixels, changed, unchanged, ignore, preset, band, split),
            *(elsewhere, scheduler, max_pixels),
        )
        from cdstats.score.saved import loss_from

        run = loss_from(from_file, further or (), beta)
    elif not pred or not target:
        raise UsageError("name predictions with --pred and their masks with --target")
    else:
        from cdstats.cli.screen import scoring_bar
        from cdstats.io.limits import MAX_PIXELS
        from cdstats.score.loss import loss as score

        with scoring_bar(quiet) as progress:
            run = score(
                pred,
                target,
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
                engine=engine.value,
                scheduler=scheduler,
                max_pixels=max_pixels or MAX_PIXELS,
                strict=strict,
                progress=progress,
            )
    outputs.show_messages(run, beta, quiet)
    written = outputs.write(run)
    outputs.print(run)
    raise typer.Exit(int(not written or _has_failed(run, max_failed)))


def _has_failed(run: LossRun, max_failed: int) -> bool:
    return run.failed > max_failed or not run.has_valid
