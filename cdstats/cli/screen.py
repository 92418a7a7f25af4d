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
        TextColumn("{task.fields[files]} files"),
        TextColumn("{task.fields[speed]:,.0f} Mpx/s"),
        TimeRemainingColumn(compact=True),
        console=messages_console(),
        transient=True,
    )
    with bar:
        task = bar.add_task("counting", total=None, files="0", speed=0.0)

        def show(done: int, total: int, pixels: int) -> None:
            elapsed = bar.tasks[0].elapsed or 1e-9
            speed = pixels / elapsed / 1e6
            files = f"{done:,}/{total:,}"
            bar.update(task, completed=done, total=total, files=files, speed=speed)

        yield show


@contextmanager
def scoring_bar(quiet: bool) -> Iterator[Callable[[int, int], None] | None]:
    """A line on a terminal's standard error while predictions are scored.

    Yields:
        What to call with the number of the image and pixels so far; None without a
        terminal.
    """
    if quiet or not sys.stderr.isatty():
        yield None
        return
    from rich.progress import Progress, TextColumn, TimeElapsedColumn

    from cdstats.report.terminal import messages_console

    bar = Progress(
        TextColumn("scoring  {task.fields[images]:,} images"),
        TextColumn("{task.fields[speed]:,.0f} Mpx/s"),
        TimeElapsedColumn(),
        console=messages_console(),
        transient=True,
    )
    with bar:
        task = bar.add_task("scoring", total=None, images=0, speed=0.0)

        def show(number: int, pixels: int) -> None:
            elapsed = bar.tasks[0].elapsed or 1e-9
            bar.update(task, images=number + 1, speed=pixels / elapsed / 1e6)

        yield show


def show_messages(
    messages: Sequence[Message], images: Sequence[ImageRecord], quiet: bool
) -> None:
    """Print messages, then the first failures and how many more there are."""
    several = len({row.dataset for row in images}) > 1
    failures = [
        (f"{row.dataset}: {row.path}" if several else row.path, row.reason)
        for row in images
        if row.status == "failed" and not row.reason.startswith(REFUSED)
    ]
    show_failures(messages, failures, quiet)


def show_failures(
    messages: Sequence[Message], failures: Sequence[tuple[str, str]], quiet: bool
) -> None:
    """Print messages, then a line for each of the first failures and one for the rest.

    Args:
        messages: Notes, warnings and errors.
        failures: What failed, and why.
        quiet: Whether errors alone are printed.
    """
    from cdstats.report.columns import printable
    from cdstats.report.terminal import messages_console, print_message

    notes = [m for m in messages if m.level is not Level.ERROR and not quiet]
    errors = [m for m in messages if m.level is Level.ERROR]
    failed = [
        Message(Level.ERROR, f"{printable(name)}: {why}") for name, why in failures
    ]
    console = messages_console()
    for message in [
        *notes,
        *_first(errors, "more errors like these"),
        *_first(failed, "more failed files; --csv lists all of them"),
    ]:
        print_message(console, message)


def _first(messages: Sequence[Message], rest: str) -> list[Message]:
    """The first of like messages, and how many more there are."""
    more = len(messages) - MOST_LINES
    if more <= 0:
        return list(messages)
    return [*messages[:MOST_LINES], Message(Level.ERROR, f"{more:,} {rest}")]
