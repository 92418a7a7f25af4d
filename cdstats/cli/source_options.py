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
_SCORE = "Scoring"

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
Losses = Annotated[
    list[str] | None,
    typer.Option(
        "--loss",
        help="A further loss, or all; `cdstats explain` lists them. Repeatable.",
        metavar="NAME[:param=value,...]",
        rich_help_panel=_SCORE,
    ),
]
Kind = Annotated[
    str | None,
    typer.Option(
        help="What the predictions are: prob, logit or hard; found out if not given, "
        "logits never.",
        metavar="prob|logit|hard",
        rich_help_panel=_SCORE,
    ),
]
Threshold = Annotated[
    float | None,
    typer.Option(
        help="A pixel is predicted changed when p is at least this; 0.5 if not given.",
        metavar="FLOAT",
        min=0,
        max=1,
        rich_help_panel=_SCORE,
    ),
]
Device = Annotated[
    str | None,
    typer.Option(
        help="auto, cpu, cuda, cuda:N or mps; auto if not given.",
        metavar="DEVICE",
        rich_help_panel=_SCORE,
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
