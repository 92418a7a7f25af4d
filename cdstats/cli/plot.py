"""``cdstats plot``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from cdstats.cli import options, score_options, source_options
from cdstats.cli.commands import command
from cdstats.cli.source_options import show_written
from cdstats.render.figures.names import FIGURES
from cdstats.render.figures.output import FigureFormat


@command
def plot(
    output: Annotated[
        Path,
        typer.Option(
            "--output", "-o", help="The folder to write to.", metavar="FOLDER"
        ),
    ] = Path("figures"),
    only: Annotated[
        list[str] | None,
        typer.Option(
            help=f"Write this figure alone: {', '.join(FIGURES)}. Repeatable.",
            metavar="NAME",
            rich_help_panel="Output",
        ),
    ] = None,
    formats: Annotated[
        list[FigureFormat] | None,
        typer.Option(
            "--format",
            help="Write this format alone. Repeatable.",
            rich_help_panel="Output",
        ),
    ] = None,
    masks: source_options.Masks = None,
    pred: source_options.Pred = None,
    target: source_options.Target = None,
    from_files: source_options.FromFiles = None,
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
    """Draw figures for papers: PDF, SVG and PNG, with the data of each as CSV.

    Figures are as wide as a journal's column (3.5 inches), with text as text.
    Those of saved epochs need models whose names differ in their last number.
    Needs the packages of the extra "report".
    """
    from cdstats.cli.reporting import ALL_FORMATS
    from cdstats.cli.reporting import plot as draw

    written = draw(
        output,
        only=only or (),
        formats=formats or ALL_FORMATS,
        masks=masks or (),
        pred=pred or (),
        target=target,
        from_files=from_files or (),
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
        max_pixels=max_pixels,
        quiet=quiet,
    )
    raise typer.Exit(show_written(written, max_failed, quiet))
