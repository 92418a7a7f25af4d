"""``cdstats loss``."""

from __future__ import annotations

from enum import Enum
from typing import TYPE_CHECKING, Annotated

import typer

from cdstats.cli import options
from cdstats.cli.files import refuse_inputs
from cdstats.cli.main import app
from cdstats.cli.outputs import ScoreBy
from cdstats.core.errors import UsageError
from cdstats.report.tables import Format

if TYPE_CHECKING:
    from cdstats.score.results import LossRun

_SCORE = "Scoring"


class KindName(Enum):
    """What stored numbers mean."""

    PROB = "prob"
    LOGIT = "logit"
    HARD = "hard"


@app.command()
def loss(
    pred: Annotated[
        list[str] | None,
        typer.Option(
            help="Predictions: a file, folder, glob or pattern; NAME= names a model.",
            metavar="[NAME=]PATH",
        ),
    ] = None,
    target: Annotated[
        str | None,
        typer.Option(
            help="Masks: a file, folder, glob or pattern, or .npy.", metavar="PATH"
        ),
    ] = None,
    kind: Annotated[
        KindName | None,
        typer.Option(
            help="What the predictions are; found out if not given, logits never.",
            rich_help_panel=_SCORE,
        ),
    ] = None,
    beta: Annotated[
        str,
        typer.Option(
            help="Beta of balanced cross-entropy: image, dataset or a number.",
            metavar="image|dataset|FLOAT",
            rich_help_panel=_SCORE,
        ),
    ] = "image",
    further: Annotated[
        list[str] | None,
        typer.Option(
            "--loss",
            help="A further loss, or all; `cdstats explain` lists them. Repeatable.",
            metavar="NAME[:param=value,...]",
            rich_help_panel=_SCORE,
        ),
    ] = None,
    threshold: Annotated[
        float | None,
        typer.Option(
            help="A pixel is predicted changed when p is at least this.",
            min=0,
            max=1,
            metavar="P",
            show_default="0.5",
            rich_help_panel=_SCORE,
        ),
    ] = None,
    device: Annotated[
        str | None,
        typer.Option(
            help="auto, cpu, cuda, cuda:N or mps.",
            metavar="NAME",
            show_default="auto",
            rich_help_panel="Run",
        ),
    ] = None,
    batch_size: Annotated[
        str | None,
        typer.Option(
            help="Tiles of 65,536 pixels computed together on a device.",
            metavar="auto|N",
            show_default="auto",
            rich_help_panel="Run",
        ),
    ] = None,
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

    logits = kind is KindName.LOGIT
    chosen = choose_losses(further or (), beta, logits=logits)
    outputs = ScoreOutputs(output_format, by, columns, csv, summary, chosen[3:])
    refuse_inputs([csv, summary], [*(pred or []), target, from_file])
    if from_file is not None:
        pixels = (pred, target, kind, threshold, device, batch_size, max_pixels)
        _refuse_with_from(*pixels, changed, unchanged, ignore, preset, band, split)
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
                batch_size=_batch(batch_size),
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
                strict=strict,
                progress=progress,
            )
    outputs.show_messages(run, beta, quiet)
    written = outputs.write(run)
    outputs.print(run)
    raise typer.Exit(int(not written or _has_failed(run, max_failed)))


def _refuse_with_from(*of_pixels: object) -> None:
    if any(option is not None for option in of_pixels):
        raise UsageError(
            "--from reads sums and counts that an earlier run made, at its threshold "
            "and by its rule; leave out --pred, --target, --kind, --threshold, "
            "--device, --batch-size, --max-pixels, --band, --split and rules"
        )


def _batch(text: str | None) -> int | None:
    if text is None or text == "auto":
        return None
    if not (text.isascii() and text.isdigit()) or int(text) == 0:
        raise UsageError(f"--batch-size {text}: expected auto or a number from 1")
    return int(text)


def _has_failed(run: LossRun, max_failed: int) -> bool:
    return run.failed > max_failed or not run.has_valid
