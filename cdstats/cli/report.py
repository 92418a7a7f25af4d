"""``cdstats report``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from cdstats.cli import options, score_options, source_options
from cdstats.cli.commands import command
from cdstats.cli.source_options import command_text, show_written


@command
def report(
    output: Annotated[
        Path,
        typer.Option("--output", "-o", help="The file to write.", metavar="FILE.html"),
    ] = Path("report.html"),
    masks: source_options.Masks = None,
    pred: source_options.Pred = None,
    target: source_options.Target = None,
    from_files: source_options.FromFiles = None,
    losses: score_options.FurtherLosses = None,
    kind: score_options.KindOption = None,
    threshold: score_options.Threshold = None,
    device: score_options.Device = None,
    changed: options.Changed = None,
    unchanged: options.Unchanged = None,
    ignore: options.Ignore = None,
    preset: options.PresetName = None,
    band: options.Band = None,
    split: options.Split = None,
    jobs: options.Jobs = None,
    max_failed: options.MaxFailed = 0,
    max_pixels: options.MaxPixels = None,
    quiet: options.Quiet = False,
) -> None:
    """Write one HTML file about masks, predictions, or both.

    Tables, figures, the worst images and where all of it comes from, in a
    file that needs no network. Rows of earlier runs (--from) give what follows
    from counts and sums; the page says what is left out. Needs the packages
    of the extra "report".
    """
    from cdstats.cli.reporting import report as write

    typed = command_text(
        "report",
        {
            **source_options.given(masks, pred, target, from_files, losses),
            "--kind": kind.value if kind else None,
            "--threshold": threshold,
            "--device": device,
            "--changed": changed,
            "--unchanged": unchanged,
            "--ignore": ignore,
            "--preset": preset,
            "--band": band,
            "--split": split,
            "--max-pixels": max_pixels,
            "--output": output,
        },
    )
    written = write(
        output,
        masks=masks or (),
        pred=pred or (),
        target=target,
        from_files=from_files or (),
        losses=losses or (),
        kind=kind.value if kind else None,
        threshold=threshold,
        device=device,
        changed=changed,
        unchanged=unchanged,
        ignore=ignore,
        preset=preset,
        band=band,
        split=split,
        jobs=jobs,
        command=typed,
        max_pixels=max_pixels,
        quiet=quiet,
    )
    raise typer.Exit(show_written(written, max_failed, quiet))
