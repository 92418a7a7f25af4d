"""`cdstats.report` and `cdstats.plot`: records gathered, drawn, and written."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

from cdstats.cli.files import refuse_inputs
from cdstats.cli.gathering import gather
from cdstats.core.errors import DataError, UsageError
from cdstats.render.figures.charts import charts
from cdstats.render.figures.files import figure_files
from cdstats.render.figures.names import FIGURES
from cdstats.render.figures.output import FigureFormat
from cdstats.render.figures.style import check_installed
from cdstats.report.files import write_whole

if TYPE_CHECKING:
    from collections.abc import Sequence
    from os import PathLike
    from typing import Unpack

    from cdstats.cli.gathering import Gathered
    from cdstats.cli.sources_shown import SourceOptions
    from cdstats.core.messages import Message
    from cdstats.render.figures.chart import Missing

ALL_FORMATS: Final = tuple(FigureFormat)


@dataclass(frozen=True)
class Written:
    """What `report` or `plot` wrote, and what to tell of it.

    Attributes:
        files: The files, in order.
        missing: Figures that the records do not give, and why.
        messages: Notes, warnings and errors.
        failures: Masks and predictions that failed, and why.
        unread: Inputs that could not be read at all.
    """

    files: tuple[Path, ...]
    missing: tuple[Missing, ...]
    messages: tuple[Message, ...]
    failures: tuple[tuple[str, str], ...]
    unread: int


def report(output: str | PathLike[str], **options: Unpack[SourceOptions]) -> Written:
    """Write one HTML file of masks, of predictions, or of both.

    Args:
        output: The file; it needs no network, no script and no other file.
        **options: What to read, and how; see `SourceOptions`.

    Raises:
        UsageError: If options do not fit, or the extra ``report`` is not installed.
        DataError: If a source holds nothing that can be used.
    """
    check_installed("matplotlib", "jinja2")
    path = Path(output)
    refuse_inputs([path], _inputs(options))
    from cdstats.report.html import report_html

    gathered = gather(options)
    write_whole(path, report_html(gathered.material))
    _, missing = charts(gathered.material)
    return _written((path,), missing, gathered)


write_report = report
"""The same by a name that no package has."""


def plot(
    folder: str | PathLike[str],
    *,
    only: Sequence[str] = (),
    formats: Sequence[FigureFormat | str] = ALL_FORMATS,
    **options: Unpack[SourceOptions],
) -> Written:
    """Write figures at the width of a journal's column, each with its data as CSV.

    Args:
        folder: Where to write; made if it is not there.
        only: The figures to write, by name; all that there are by default.
        formats: ``pdf``, ``svg``, ``png``.
        **options: What to read, and how; see `SourceOptions`.

    Raises:
        UsageError: If options do not fit, or the extra ``report`` is not installed.
        DataError: If a source holds nothing that can be used, or no figure is left.
    """
    check_installed("matplotlib")
    kinds = [_format(one) for one in formats]
    for name in only:
        if name not in FIGURES:
            raise UsageError(
                f"there is no figure {name!r}; there are {', '.join(FIGURES)}"
            )
    place = Path(folder)
    _check_folder(place, _inputs(options))
    gathered = gather(options)
    found, missing = charts(gathered.material)
    chosen = [one for one in found if not only or one.figure in only]
    lacking = [one for one in missing if not only or one.figure in only]
    if not chosen:
        reasons = "; ".join(f"{one.figure}: {one.reason}" for one in lacking)
        raise DataError(f"nothing to draw from these sources: {reasons or 'no masks'}")
    place.mkdir(exist_ok=True)
    files = []
    for name, data in figure_files(chosen, kinds):
        write_whole(place / name, data)
        files.append(place / name)
    return _written(tuple(files), lacking, gathered)


def _format(text: FigureFormat | str) -> FigureFormat:
    if isinstance(text, FigureFormat):
        return text
    try:
        return FigureFormat(text)
    except ValueError:
        raise UsageError(f"{text!r} is no format: expected pdf, svg or png") from None


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


def _inputs(options: SourceOptions) -> list[str]:
    target = options.get("target")
    named = (
        *options.get("masks", ()),
        *options.get("pred", ()),
        *([target] if target else []),
        *options.get("from_files", ()),
    )
    return [str(path) for path in named]


def _check_folder(place: Path, inputs: Sequence[str]) -> None:
    """Refuse a folder of figures that is read: its figures would be masks next time.

    Raises:
        UsageError: If it is read, or cannot be made.
    """
    if place.exists() and not place.is_dir():
        raise UsageError(f"{place}: cannot be written: is a file, not a folder")
    if not place.exists() and not place.absolute().parent.is_dir():
        raise UsageError(f"{place}: cannot be made: there is no such folder above it")
    for text in inputs:
        for name in (text, text.partition("=")[2]):
            # The folder of a glob or pattern is what stands before its first sign.
            fixed = re.split(r"[*?\[{]", name)[0]
            read = Path(fixed if fixed == name else fixed.rpartition("/")[0] or ".")
            if (
                name
                and read.is_dir()
                and place.resolve().is_relative_to(read.resolve())
            ):
                raise UsageError(
                    f"{place}: lies in {read}, which is read; its figures would be "
                    "taken for masks. Choose another folder"
                )
