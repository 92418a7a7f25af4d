"""`cdstats.report` and `cdstats.plot`: write reports and figures."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from cdstats.core.arguments import takes
from cdstats.core.errors import DataError, UsageError, counted
from cdstats.io.outputs import check_folder, protecting, write_whole, writing
from cdstats.render.figures import FIGURES, FigureFormat
from cdstats.render.figures.charts import figures_of
from cdstats.render.figures.files import figure_files, is_figure_name
from cdstats.render.figures.style import check_installed
from cdstats.report.gather import gather
from cdstats.report.options import PlotOptions, ReportOptions

if TYPE_CHECKING:
    from collections.abc import Sequence

    from cdstats.core.errors import Message
    from cdstats.render.figures.charts import Missing
    from cdstats.report.gather import Gathered


@dataclass(frozen=True)
class Written:
    """The result of `cdstats.report` or `cdstats.plot`.

    Attributes:
        files: The written files, in order.
        missing: Figures that could not be drawn from the sources, with reasons.
        messages: Notes, warnings and errors.
        failures: Names and reasons of masks and predictions that failed.
        unread: Number of inputs that could not be read at all.
    """

    files: tuple[Path, ...]
    missing: tuple[Missing, ...]
    messages: tuple[Message, ...]
    failures: tuple[tuple[str, str], ...]
    unread: int


@takes(ReportOptions)
def report(options: ReportOptions) -> Written:
    """Write an HTML report of masks, predictions, or both.

    The report is one file without scripts or external resources.

    Raises:
        UsageError: If options are invalid or conflict, or the extra ``report`` is not
            installed.
        DataError: If a source has no usable content.
    """
    return report_sources(options)


write_report = report
"""The same function under a name that is not also the name of a package."""


def report_sources(options: ReportOptions) -> Written:
    """The result of `report` for an options record."""
    check_installed("matplotlib", "jinja2")
    path = Path(options.output)
    if path.suffix.lower() not in ("", ".html", ".htm"):
        raise UsageError(
            f"--output {path}: a report is an HTML file; expected a name that ends in "
            ".html. `cdstats plot` writes figures as PDF"
        )
    from cdstats.report.html import report_html

    with writing(path):
        gathered = gather(options)
    write_whole(path, report_html(gathered.material))
    _, missing = figures_of(gathered.material)
    return _written((path,), missing, gathered)


@takes(PlotOptions)
def plot(options: PlotOptions) -> Written:
    """Write figures at the width of a journal column, each with its rows as CSV.

    Raises:
        UsageError: If options are invalid or conflict, or the extra ``report`` is not
            installed.
        DataError: If a source has no usable content, or no figure can be drawn.
    """
    return plot_sources(options)


def plot_sources(options: PlotOptions) -> Written:
    """The result of `plot` for an options record."""
    check_installed("matplotlib")
    only = options.only
    for name in only:
        if name not in FIGURES:
            raise UsageError(
                f"there is no figure {name!r}; available: {', '.join(FIGURES)}"
            )
    place = Path(options.folder)
    check_folder(place, options.inputs(), "figures would be taken for masks")
    kinds = [FigureFormat(one) for one in options.formats]
    with protecting(_replaced(place, kinds)):
        gathered = gather(options)
    found, missing = figures_of(gathered.material)
    chosen = [one for one in found if not only or one.figure in only]
    lacking = [one for one in missing if not only or one.figure in only]
    if not chosen:
        reasons = [f"{one.figure}: {one.reason}" for one in lacking] or ["no masks"]
        failures = gathered.material.failures
        for name, reason in failures[:1]:
            number = counted(len(failures), "file")
            reasons.insert(0, f"{number} failed, such as {name}: {reason}")
        raise DataError(f"no figure can be drawn: {'; '.join(reasons)}")
    place.mkdir(exist_ok=True)
    files = []
    for name, data in figure_files(chosen, kinds):
        write_whole(place / name, data)
        files.append(place / name)
    return _written(tuple(files), lacking, gathered)


def _replaced(folder: Path, formats: Sequence[FigureFormat]) -> list[Path]:
    """Files of a folder that have names of figures, which may be replaced."""
    endings = (".csv", *(f".{one.value}" for one in formats))
    try:
        found = list(folder.iterdir())
    except FileNotFoundError:
        return []
    return [one for one in found if is_figure_name(one.stem) and one.suffix in endings]


def _written(
    files: tuple[Path, ...], missing: Sequence[Missing], gathered: Gathered
) -> Written:
    return Written(
        files,
        tuple(missing),
        gathered.messages,
        tuple(gathered.material.failures),
        gathered.unread,
    )
