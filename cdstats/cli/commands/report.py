"""Write one HTML file about masks, predictions, or both."""

from __future__ import annotations

import shlex

import typer

from cdstats.cli.commands import command
from cdstats.cli.options import ScreenOptions
from cdstats.report.options import ReportOptions


@command
def report(*, options: ReportOptions, screen: ScreenOptions) -> None:
    """Write one HTML file about masks, predictions, or both.

    The file contains tables, figures, the worst images and the sources of all data, and
    needs no network. From rows of earlier runs (--from), the report contains only the
    parts that follow from counts and sums, and lists the missing parts. Needs the extra
    "report".
    """
    from cdstats.cli.screen import show_written, with_bars
    from cdstats.report.write import report_sources

    told = options.replace(command=command_text(options))
    written = report_sources(with_bars(told, screen.quiet))
    raise typer.Exit(show_written(written, screen.max_failed, screen.quiet))


def command_text(options: ReportOptions) -> str:
    """The command line that gives this report, without defaults.

    It omits the number of workers, on which the report does not depend.

    Example:
        >>> command_text(ReportOptions(masks=["my masks"]))
        "cdstats report --masks 'my masks' --output report.html"
    """
    words = ["cdstats", "report"]
    known_last = sorted(options.declared.items(), key=lambda one: one[0] == "output")
    for name, known in known_last:
        value = getattr(options, name)
        if name == "jobs" or not known.on_command_line:
            continue
        if value is True:
            words.append(known.names(name)[0])
        elif value != known.default or name == "output":
            for one in value if known.many else [value]:
                words += [known.names(name)[0], str(one)]
    return shlex.join(words)
