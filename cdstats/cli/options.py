"""Options that several commands share."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from cdstats.engine.choice import EngineName
from cdstats.report.formats import Format


def _preset_names(incomplete: str) -> list[str]:
    from cdstats.core.presets import presets

    return [p.name for p in presets() if p.name.startswith(incomplete)]


_RULE = "Rule"
_SELECT = "Selection"
_OUTPUT = "Output"
_RUN = "Run"

Paths = Annotated[
    list[str] | None,
    typer.Argument(
        help="Masks: files, folders, globs, patterns, @list.txt or -; "
        "NAME=PATH names the dataset.",
        metavar="[NAME=]PATH",
        show_default=False,
    ),
]
Changed = Annotated[
    str | None,
    typer.Option(
        help="Values that are changed: 255, 1-4, '>=128', '#ff0000', rest.",
        metavar="RULE",
        rich_help_panel=_RULE,
    ),
]
Unchanged = Annotated[
    str | None,
    typer.Option(
        help="Values that are unchanged.", metavar="RULE", rich_help_panel=_RULE
    ),
]
Ignore = Annotated[
    str | None,
    typer.Option(
        help="Values to leave out. Alone, the other values are detected.",
        metavar="RULE",
        rich_help_panel=_RULE,
    ),
]
PresetName = Annotated[
    str | None,
    typer.Option(
        "--preset",
        help="Encoding of a public dataset; `cdstats presets` lists them.",
        metavar="NAME",
        autocompletion=_preset_names,
        rich_help_panel=_RULE,
    ),
]
Band = Annotated[
    int | None,
    typer.Option(
        help="Band that holds the mask, counted from 1.",
        metavar="N",
        min=1,
        rich_help_panel=_SELECT,
    ),
]
Split = Annotated[
    str | None,
    typer.Option(help="Read this split only.", metavar="NAME", rich_help_panel=_SELECT),
]
Columns = Annotated[
    str | None,
    typer.Option(
        help="Columns to print, as a comma list.",
        metavar="A,B",
        rich_help_panel=_OUTPUT,
    ),
]
OutputFormat = Annotated[
    Format,
    typer.Option(
        "--format", help="Format of standard output.", rich_help_panel=_OUTPUT
    ),
]
CsvFile = Annotated[
    Path | None,
    typer.Option(
        "--csv",
        help="Write the image rows to this file.",
        metavar="FILE",
        rich_help_panel=_OUTPUT,
    ),
]
SummaryFile = Annotated[
    Path | None,
    typer.Option(
        "--summary",
        help="Write the rows of totals to this file: .csv, .json, .md or .tex.",
        metavar="FILE",
        rich_help_panel=_OUTPUT,
    ),
]
FromFile = Annotated[
    Path | None,
    typer.Option(
        "--from",
        help="Read the image rows of an earlier --csv, and no pixel.",
        metavar="FILE",
        rich_help_panel=_SELECT,
    ),
]
CacheFile = Annotated[
    Path | None,
    typer.Option(
        "--cache",
        help="Keep the counts of every file in this one; read what is new or changed.",
        metavar="FILE",
        rich_help_panel=_RUN,
    ),
]
Jobs = Annotated[
    int | None,
    typer.Option(
        help="Worker processes; by default as many as pay.",
        metavar="N",
        min=1,
        rich_help_panel=_RUN,
    ),
]
Engine = Annotated[
    EngineName,
    typer.Option(
        help="Run on this machine or on a Dask cluster.", rich_help_panel=_RUN
    ),
]
Scheduler = Annotated[
    str | None,
    typer.Option(
        help="Scheduler of the Dask cluster, such as tcp://HOST:8786.",
        metavar="ADDRESS",
        rich_help_panel=_RUN,
    ),
]
MaxFailed = Annotated[
    int,
    typer.Option(
        help="Exit with 0 up to this many failed files.",
        metavar="N",
        min=0,
        rich_help_panel=_RUN,
    ),
]
MaxPixels = Annotated[
    int | None,
    typer.Option(
        help="Refuse an image that declares more pixels.",
        metavar="N",
        min=1,
        show_default="4,294,967,296",
        rich_help_panel=_RUN,
    ),
]
Strict = Annotated[
    bool,
    typer.Option(
        "--strict", help="Stop at the first failed file.", rich_help_panel=_RUN
    ),
]
Quiet = Annotated[
    bool,
    typer.Option(
        "--quiet", "-q", help="Print results and errors alone.", rich_help_panel=_RUN
    ),
]
