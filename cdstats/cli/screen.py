"""What goes to standard error: progress, messages and the list of failures."""

from __future__ import annotations

import sys
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final

from cdstats.core.labelling import REFUSED
from cdstats.core.messages import Level, Message

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from cdstats.core.records import ImageRecord

MOST_LINES: Final = 10
"""Failures of one kind that are shown; all of them are in the rows."""


@contextmanager
def progress_bar(quiet: bool) -> Iterator[Callable[[int, int, int], None] | None]:
    """A bar on a terminal's standard error: files, pixels per second, time left.

    Yields:
        What to call with files done, files in all and pixels so far; None without a
        terminal.
    """
    if quiet or not sys.stderr.isatty():
        yield None
        return
    from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

    from cdstats.report.terminal import messages_console

    bar = Progress(
        TextColumn("counting"),
        BarColumn(),
        TextColumn("{task.completed:,.0f}/{task.total:,.0f} files"),
        TextColumn("{task.fields[speed]:,.0f} Mpx/s"),
        TimeRemainingColumn(compact=True),
        console=messages_console(),
        transient=True,
    )
    with bar:
        task = bar.add_task("counting", total=None, speed=0.0)

        def show(done: int, total: int, pixels: int) -> None:
            elapsed = bar.tasks[0].elapsed or 1e-9
            speed = pixels / elapsed / 1e6
            bar.update(task, completed=done, total=total, speed=speed)

        yield show


def show_messages(
    messages: Sequence[Message], images: Sequence[ImageRecord], quiet: bool
) -> None:
    """Print messages, then the first failures and how many more there are."""
    from cdstats.report.terminal import messages_console, print_message

    console = messages_console()
    failures = [row for row in images if row.status == "failed"]
    alone = [row for row in failures if not row.reason.startswith(REFUSED)]
    shown = [m for m in messages if m.level is Level.ERROR or not quiet]
    several = len({row.dataset for row in images}) > 1
    for message in [*shown, *failure_messages(alone, several)]:
        print_message(console, message)


def failure_messages(rows: Sequence[ImageRecord], several: bool) -> list[Message]:
    """A line for each of the first failures, and one for the rest.

    Args:
        rows: Failed rows.
        several: Whether there are several datasets, so that each must be named.
    """
    found = [
        Message(
            Level.ERROR,
            f"{row.dataset}: {row.path}: {row.reason}"
            if several
            else f"{row.path}: {row.reason}",
        )
        for row in rows[:MOST_LINES]
    ]
    if len(rows) > MOST_LINES:
        more = len(rows) - MOST_LINES
        found.append(
            Message(Level.ERROR, f"{more:,} more failed files; --csv lists all of them")
        )
    return found
