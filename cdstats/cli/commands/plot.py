"""Draw figures for papers: PDF, SVG and PNG, with the data of each as CSV."""

from __future__ import annotations

from dataclasses import replace

import typer

from cdstats.cli.commands import command
from cdstats.cli.options import ScreenOptions
from cdstats.cli.sources_shown import PlotOptions


@command
def plot(*, options: PlotOptions, screen: ScreenOptions) -> None:
    """Draw figures for papers: PDF, SVG and PNG, with the data of each as CSV.

    Figures are as wide as a journal's column (3.5 inches), with text as text.
    Those of saved epochs need models whose names differ in their last number.
    Needs the packages of the extra "report".
    """
    from cdstats.cli.reporting import plot_sources
    from cdstats.cli.screen import show_written

    written = plot_sources(replace(options, quiet=screen.quiet))
    raise typer.Exit(show_written(written, screen.max_failed, screen.quiet))
