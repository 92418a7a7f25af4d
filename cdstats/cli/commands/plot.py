"""Draw figures for papers as PDF, SVG and PNG, with their data as CSV."""

from __future__ import annotations

import typer

from cdstats.cli.commands import command
from cdstats.cli.options import ScreenOptions
from cdstats.report.options import PlotOptions


@command
def plot(*, options: PlotOptions, screen: ScreenOptions) -> None:
    """Draw figures for papers as PDF, SVG and PNG, with their data as CSV.

    Figures have the width of a journal column (3.5 inches), and text stays text.
    The figure of saved epochs needs models whose names differ only in their last
    number. Needs the extra "report".
    """
    from cdstats.cli.screen import show_written, with_bars
    from cdstats.report.write import plot_sources

    written = plot_sources(with_bars(options, screen.quiet))
    raise typer.Exit(show_written(written, screen.max_failed, screen.quiet))
