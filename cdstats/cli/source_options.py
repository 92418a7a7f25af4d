"""Options of the commands that show masks and predictions together."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from cdstats.io.addresses import shown_in

if TYPE_CHECKING:
    from collections.abc import Mapping

    from cdstats.cli.reporting import Written

_SOURCES = "Sources"

Masks = Annotated[
    list[str] | None,
    typer.Option(
        help="Masks to count, as for `cdstats ratio`. Repeatable.",
        metavar="[NAME=]PATH",
        rich_help_panel=_SOURCES,
    ),
]
Pred = Annotated[
    list[str] | None,
    typer.Option(
        help="Predictions to score, as for `cdstats loss`; NAME= names a model. "
        "Repeatable.",
        metavar="[NAME=]PATH",
        rich_help_panel=_SOURCES,
    ),
]
Target = Annotated[
    str | None,
    typer.Option(
        help="The masks of the predictions.", metavar="PATH", rich_help_panel=_SOURCES
    ),
]
FromFiles = Annotated[
    list[Path] | None,
    typer.Option(
        "--from",
        help="Rows that `cdstats ratio --csv` or `cdstats loss --csv` wrote, instead "
        "of files. Twice for both.",
        metavar="FILE",
        rich_help_panel=_SOURCES,
    ),
]


def given(
    masks: list[str] | None,
    pred: list[str] | None,
    target: str | None,
    from_files: list[Path] | None,
    losses: list[str] | None,
) -> dict[str, object]:
    """The sources of a command by their options."""
    return {
        "--masks": masks,
        "--pred": pred,
        "--target": target,
        "--from": from_files,
        "--loss": losses,
    }


def command_text(name: str, options: Mapping[str, object]) -> str:
    """A command as it may be typed again: its options that were given.

    Args:
        name: The command.
        options: The values of its options, those not given as None or empty.

    Example:
        >>> command_text("report", {"--masks": ["my masks"], "--kind": None})
        "cdstats report --masks 'my masks'"
    """
    words = ["cdstats", name]
    for option, value in options.items():
        for one in value if isinstance(value, (list, tuple)) else [value]:
            if one is not None:
                words += [option, str(one)]
    return shlex.join(shown_in(word) for word in words)


def show_written(written: Written, max_failed: int, quiet: bool) -> int:
    """Print the files that were written, and on standard error what to tell.

    Returns:
        The exit code.
    """
    from cdstats.cli.screen import show_failures
    from cdstats.core.messages import Level, Message

    left_out = [
        Message(Level.NOTE, f"no figure {one.figure}: {one.reason}")
        for one in written.missing
    ]
    failed = [
        Message(Level.ERROR, f"{name}: {reason}") for name, reason in written.failures
    ]
    show_failures([*written.messages, *left_out, *failed], (), quiet)
    for path in written.files:
        typer.echo(str(path))
    return int(written.unread > 0 or len(written.failures) > max_failed)
