"""Draw figures for papers: PDF, SVG and PNG, with the data of each as CSV."""

from __future__ import annotations

import typer

from cdstats.cli.commands import command
from cdstats.cli.options import ScreenOptions
from cdstats.report.options import PlotOptions


@command
def plot(*, options: PlotOptions, screen: ScreenOptions) -> None:
    """Draw figures for papers: PDF, SVG and PNG, with the data of each as CSV.

    Figures are as wide as a journal's column (3.5 inches), with text as text.
    Those of saved epochs need models whose names differ in their last number.
    Needs the packages of the extra "report".
    """
    from cdstats.cli.screen import show_written, with_bars
    from cdstats.report.write import plot_sources

    written = plot_sources(with_bars(options, screen.quiet))
    raise typer.Exit(show_written(written, screen.max_failed, screen.quiet))
