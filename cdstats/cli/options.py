"""Option groups as options of commands, and the groups that only commands have.

A command parameter whose type is a group (see `cdstats.core.options`) becomes one
command-line option for each field of the group; the command receives the group.
"""

from __future__ import annotations

from enum import Enum, StrEnum
from functools import wraps
from inspect import Parameter, signature
from os import PathLike
from typing import TYPE_CHECKING, Annotated, Any, Final, get_type_hints

import typer

from cdstats.core.arguments import Option, Options, option
from cdstats.core.errors import UsageError
from cdstats.core.options import RUN, SensitivityOptions
from cdstats.io.outputs import writing
from cdstats.render.writers import Format

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

OUTPUT: Final = "Output"
GATES: Final = "Gates"
PAPER: Final = "Markdown and LaTeX tables"
_LAST: Final = (
    *("jobs", "timeout", "engine", "scheduler", "cache"),
    *("max_failed", "max_pixels", "strict", "quiet"),
)
"""Options at the end of the help of every command, in this order."""
_CONTEXT: Final = "context"
_ENUM: Final[Any] = Enum


class OutputOptions(Options, panel=OUTPUT):
    """Formats and files of results."""

    columns: str | None = option(
        None, "Columns to print, separated by commas.", metavar="A,B"
    )
    output_format: Format = option(
        Format.TABLE, "Format of the output.", typed=Format, flags=("--format",)
    )
    csv: Path | None = option(
        None, "Write one row per image to this file.", metavar="FILE"
    )
    summary: Path | None = option(
        None,
        "Write the summary rows to this file: .csv, .json, .md or .tex.",
        metavar="FILE",
    )


class PaperOptions(Options, panel=PAPER):
    """Style of Markdown and LaTeX tables."""

    caption: str | None = option(
        None, "Caption of the table, as plain text.", metavar="TEXT"
    )
    label: str | None = option(
        None, "Label of the table; needs --caption.", metavar="NAME"
    )
    percent: bool = option(False, "Print metrics in per cent; losses do not change.")
    decimals: int | None = option(
        None,
        "Number of decimals of metrics, losses and ratios.",
        least=0,
        most=15,
        metavar="N",
        shown="3",
    )
    narrow: bool = option(
        False, "Fit a LaTeX table to one column of a two-column page."
    )


class GateOptions(Options, panel=GATES):
    """Conditions under which scores exit with 1."""

    fail_under: Sequence[str] = option(
        (),
        "Exit with 1 if this value of a model is smaller than NUMBER or undefined, "
        "such as f1_pooled=0.9. Repeatable.",
        metavar="NAME=NUMBER",
    )
    fail_over: Sequence[str] = option(
        (),
        "Exit with 1 if this value of a model is larger than NUMBER or undefined, "
        "such as bce_mean=0.3. Repeatable.",
        metavar="NAME=NUMBER",
    )
    against: Path | None = option(
        None,
        "Exit with 1 if mask counts, metrics or mean losses differ from FILE, the "
        "image rows that an earlier run wrote with --csv.",
        metavar="FILE",
    )
    tolerance: float | None = option(
        None,
        "Allowed absolute difference of metrics and mean losses with --against.",
        least=0,
        metavar="NUMBER",
        shown="1e-06",
    )


class ScreenOptions(Options, panel=RUN):
    """Messages on screen, and the number of failures that is tolerated."""

    max_failed: int = option(
        0,
        "Number of failed files up to which the exit code is 0.",
        least=0,
        metavar="N",
    )
    quiet: bool = option(
        False, "Hide progress, notes and warnings.", flags=("--quiet", "-q")
    )


def spread(function: Callable[..., None]) -> Callable[..., None]:
    """The command with its option groups expanded into single options.

    Options that do not fit the sources are refused before the command is called.
    """
    hints = get_type_hints(function, include_extras=True)
    groups: dict[str, type[Options]] = {
        name: kind
        for name, kind in hints.items()
        if isinstance(kind, type) and issubclass(kind, Options)
    }
    parameters = [Parameter(_CONTEXT, Parameter.KEYWORD_ONLY, annotation=typer.Context)]
    for name, known in signature(function).parameters.items():
        if name in groups:
            parameters += _parameters(groups[name])
        elif name != _CONTEXT:
            parameters.append(
                known.replace(kind=Parameter.KEYWORD_ONLY, annotation=hints[name])
            )
    parameters.sort(key=lambda one: _LAST.index(one.name) if one.name in _LAST else -1)

    @wraps(function)
    def command(**values: Any) -> None:  # noqa: ANN401 - of any option
        context: typer.Context = values.pop(_CONTEXT)
        given = {name for name in values if _is_given(context, name)}
        for name, group in groups.items():
            known = _taken(group, values, given)
            options = group(**known)
            options.refuse_unfit(given)
            values[name] = options
        if _CONTEXT in hints:
            values[_CONTEXT] = context
        made = {n: v for name in groups for n, v in vars(values[name]).items()}
        with writing(made.get("csv"), made.get("summary"), cache=made.get("cache")):
            function(**values)

    command.__signature__ = signature(command).replace(parameters=parameters)  # type: ignore[attr-defined]
    command.__annotations__ = {one.name: one.annotation for one in parameters}
    return command


def _is_given(context: typer.Context, name: str) -> bool:
    source = context.get_parameter_source(name)
    return source is not None and source.name in ("COMMANDLINE", "ENVIRONMENT")


def _taken(
    group: type[Options], values: dict[str, Any], given: set[str]
) -> dict[str, Any]:
    """The values of a group, removed from the values of the command."""
    known = {}
    for name, one in _offered(group):
        value = values.pop(name)
        if name in given:
            known[name] = value
        elif one.has_command_default:
            known[name] = one.command_default
    return known


def _offered(group: type[Options]) -> Iterator[tuple[str, Option]]:
    return (pair for pair in group.declared.items() if pair[1].on_command_line)


def _parameters(group: type[Options]) -> Iterator[Parameter]:
    for name, one in _offered(group):
        kind, default = _typed(name, one)
        if one.argument:
            about = typer.Argument(
                help=one.help, metavar=one.metavar, show_default=False
            )
        else:
            about = _option(name, one)
        yield Parameter(
            name,
            Parameter.KEYWORD_ONLY,
            default=default,
            annotation=Annotated[kind, about],
        )


def _option(name: str, one: Option) -> Any:  # noqa: ANN401 - Typer's own type
    return typer.Option(
        *one.names(name),
        help=one.help,
        metavar=one.metavar,
        min=one.least,
        max=one.most,
        show_default=one.shown or True,
        autocompletion=_COMPLETIONS.get(name),
        rich_help_panel=one.panel,
    )


def _typed(name: str, one: Option) -> tuple[Any, Any]:
    """The type and default of an option on the command line."""
    typed: Any = str if one.typed is PathLike else one.typed
    if one.choices:
        typed = _ENUM(name, {text: text for text in one.choices})
    default = one.command_default if one.has_command_default else one.default
    if one.many:
        return list[typed] | None, None
    if default is None or one.shown:
        return typed | None, None
    return typed, typed(default) if one.choices else default


def _preset_names(incomplete: str) -> list[str]:
    from cdstats.core.presets import presets

    return [p.name for p in presets() if p.name.startswith(incomplete)]


_COMPLETIONS: Final = {"preset": _preset_names}
OutputFormat = Annotated[
    Format, _option("output_format", OutputOptions.declared["output_format"])
]
Quiet = Annotated[bool, _option("quiet", ScreenOptions.declared["quiet"])]


class By(StrEnum):
    """The rows to print."""

    IMAGE = "image"
    SPLIT = "split"
    DATASET = "dataset"


class ScoreBy(StrEnum):
    """The rows of scores to print."""

    IMAGE = "image"
    DATASET = "dataset"
    RULE = "rule"


def sensitivity_rows(by: ScoreBy | None, options: SensitivityOptions) -> bool:
    """Whether to print the rows of other rules.

    Raises:
        UsageError: If they were not computed.
    """
    if by is ScoreBy.RULE and not options.rule_sensitivity:
        raise UsageError("--by rule needs --rule-sensitivity")
    return by is ScoreBy.RULE


class Sort(StrEnum):
    """The order of image rows."""

    PATH = "path"
    CHANGE_RATIO = "change-ratio"
    CHANGED = "changed"
