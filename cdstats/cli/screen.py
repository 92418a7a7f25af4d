"""Progress, messages and failures on standard error."""

from __future__ import annotations

import sys
from collections import Counter
from contextlib import contextmanager
from functools import partial
from typing import TYPE_CHECKING, Final, NamedTuple, TypeVar

import typer

from cdstats.core.errors import Level, Message, counted
from cdstats.core.labelling import REFUSED

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from cdstats.core.score_records import ScoreRecord
    from cdstats.report.options import ShownOptions
    from cdstats.report.write import Written
    from cdstats.scan.ratio import RatioResult
    from cdstats.scan.weights import WeightsResult
    from cdstats.score.comparison import Comparison
    from cdstats.score.results import LossRun

Shown = TypeVar("Shown", bound="ShownOptions")
MOST_LINES: Final = 10
"""Largest number of failures that are shown; all of them are in the rows."""
_LEAST_GROUPED: Final = 5
"""Number of files from which failures with the same reason are shown as one."""
_MOST_NAMES: Final = 3
"""Number of files that are named for a shared reason."""
_MOST_REASONS: Final = 1_000
"""Largest number of distinct reasons; files with further reasons are only counted."""


class Screen(NamedTuple):
    """Callbacks of a run while it counts."""

    progress: Callable[[int, int, int], None] | None
    announce: Callable[[Message], None]


@contextmanager
def counting_screen(quiet: bool) -> Iterator[Screen]:
    """Callbacks that show progress and messages while masks are counted.

    On a terminal, a bar shows files, pixels per second and time left.
    """
    if quiet or not sys.stderr.isatty():
        yield Screen(None, lambda message: _announce(message, quiet))
        return
    from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

    from cdstats.render.terminal import messages_console, print_message

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

        yield Screen(show, lambda message: print_message(bar.console, message))


def with_bars(options: Shown, quiet: bool) -> Shown:
    """The options of a report or of figures with progress bars."""

    @contextmanager
    def counting() -> Iterator[Callable[[int, int, int], None] | None]:
        with counting_screen(quiet) as screen:
            yield screen.progress

    scoring = partial(scoring_bar, quiet)
    return options.replace(counting=counting, scoring=scoring)


def _announce(message: Message, quiet: bool) -> None:
    if not quiet:
        from cdstats.render.terminal import messages_console, print_message

        print_message(messages_console(), message)


@contextmanager
def scoring_bar(quiet: bool) -> Iterator[Callable[[int, int], None] | None]:
    """A progress callback while predictions are scored; None without a terminal."""
    if quiet or not sys.stderr.isatty():
        yield None
        return
    from rich.progress import Progress, TextColumn, TimeElapsedColumn

    from cdstats.render.terminal import messages_console

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
    result: RatioResult | WeightsResult,
    messages: Sequence[Message],
    quiet: bool,
    *,
    csv: bool = True,
) -> None:
    """Print messages, then the first failures and how many more there are."""
    several = len({row.dataset for row in result.datasets}) > 1
    failures = (
        (f"{row.dataset}: {row.path}" if several else row.path, row.reason)
        for row in result.failures(leave_out=REFUSED)
    )
    show_failures(messages, failures, quiet, csv=csv)


def show_failures(
    messages: Sequence[Message],
    failures: Iterable[tuple[str, str]],
    quiet: bool,
    *,
    csv: bool = True,
) -> None:
    """Print messages, then the first failures and how many more there are."""
    notes = [m for m in messages if m.level is not Level.ERROR and not quiet]
    errors = [m for m in messages if m.level is Level.ERROR]
    more = len(errors) - MOST_LINES
    if more > 0:
        text = f"{counted(more, 'more error')} like these"
        errors[MOST_LINES:] = [Message(Level.ERROR, text)]
    # The message of a refused split already gives the reason of its masks.
    known = tuple(one.text for one in messages if one.level is Level.ERROR)
    rest = ((name, why) for name, why in failures if not _is_covered(why, known))
    told = [*notes, *errors, *_failed(rest, csv=csv)]
    if not told:
        return
    from cdstats.render.terminal import messages_console, print_message

    console = messages_console()
    for message in told:
        print_message(console, message)


def _is_covered(reason: str, known: tuple[str, ...]) -> bool:
    """Whether a message already ends with this refusal."""
    refusal = reason.partition(REFUSED)[2]
    return bool(refusal) and any(text.endswith(refusal) for text in known)


def _failed(failures: Iterable[tuple[str, str]], *, csv: bool) -> list[Message]:
    """Messages of the first failures by reason, and of the number of others."""
    from cdstats.core.columns import printable

    numbers: Counter[str] = Counter()
    names: dict[str, list[str]] = {}
    more = 0
    for name, reason in failures:
        why = reason[max(reason.find(REFUSED), 0) :]
        if why not in names and len(names) >= _MOST_REASONS:
            more += 1
            continue
        numbers[why] += 1
        own = names.setdefault(why, [])
        if len(own) < _LEAST_GROUPED:
            own.append(printable(name))
    lines: list[tuple[int, str]] = []
    for why, own in names.items():
        least = 2 if why.startswith(REFUSED) else _LEAST_GROUPED
        if numbers[why] < least:
            lines += [(1, f"{name}: {why}") for name in own]
            continue
        shown, left = ", ".join(own[:_MOST_NAMES]), numbers[why] - _MOST_NAMES
        shown += f" and {left:,} more" if left > 0 else ""
        text = f"{counted(numbers[why], 'file')}: {why} ({shown})"
        lines.append((numbers[why], text))
    more += sum(number for number, _ in lines[MOST_LINES:])
    told = [Message(Level.ERROR, text) for _, text in lines[:MOST_LINES]]
    if more:
        text = counted(more, "more failed file")
        text += "; --csv lists all of them" if csv else ""
        told.append(Message(Level.ERROR, text))
    return told


def show_scores(run: LossRun, beta: str | float, quiet: bool) -> None:
    """Print the messages and failures of scored predictions."""
    from cdstats.render.scores import score_notes

    messages = list(run.messages)
    if run.images and not run.has_valid:
        text = "no image has a valid pixel, so no value is defined"
        if all(row.status == "failed" for row in run.images):
            number = len(run.images)
            told = counted(number, "image")
            text = f"{number:,} of {told} could not be scored; reasons below"
        messages.append(Message(Level.ERROR, text))
    for model in run.models:
        messages += score_notes(model.dataset, model.hard, model.one_class_bce, beta)
    failed = [row for row in run.images if row.status == "failed"]
    named = ((row, row.pred or row.target) for row in failed)
    show_failures(messages, _by_models(named, len(run.models)), quiet)


def show_comparison(run: Comparison, quiet: bool) -> None:
    """Print the messages and failures of compared models, duplicates once."""
    failed = [row for row in run.images if row.status == "failed"]
    named = ((row, row.target or row.pred) for row in failed if row.pred or run.failed)
    show_failures(run.messages, _by_models(named, len(run.models)), quiet)


def _by_models(
    rows: Iterable[tuple[ScoreRecord, str]], number: int
) -> list[tuple[str, str]]:
    """Names and reasons of failed rows, grouped over models."""
    models: dict[tuple[str, str], list[str]] = {}
    for row, name in rows:
        models.setdefault((name, row.reason), []).append(row.model)
    if number == 1:
        return list(models)
    found = []
    for (name, reason), own in models.items():
        who = "every model" if len(own) == number else ", ".join(own)
        found.append((f"{who}: {name}", reason))
    return found


def show_written(written: Written, max_failed: int, quiet: bool) -> int:
    """Print the written files, and messages to standard error; return the exit code."""
    missing = [
        Message(Level.NOTE, f"no figure {one.figure}: {one.reason}")
        for one in written.missing
    ]
    messages = [*written.messages, *missing]
    show_failures(messages, written.failures, quiet, csv=False)
    for path in written.files:
        typer.echo(str(path))
    failed = len(written.failures) + sum(one.failed for one in written.messages)
    return int(written.unread > 0 or failed > max_failed)
