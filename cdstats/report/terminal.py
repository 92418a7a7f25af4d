"""Tables and messages for people at a terminal, or reading what it printed."""

from __future__ import annotations

import re
import sys
from typing import TYPE_CHECKING, Any, Final, cast

from rich.console import Console
from rich.text import Text

from cdstats.core.columns import printable
from cdstats.core.messages import Level
from cdstats.core.records import ALL, MIXED
from cdstats.report.layout import records_table

if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import TextIO

    from cdstats.core.columns import Record
    from cdstats.core.messages import Message
    from cdstats.core.records import SummaryRecord

_STYLES = {Level.NOTE: "cyan", Level.WARNING: "yellow", Level.ERROR: "bold red"}
_NO_TERMINAL_WIDTH = 10_000
_BLANKS: Final = re.compile(r" +$", re.MULTILINE)


def results_console() -> Console:
    """Standard output; as wide as the results need when it is no terminal."""
    if sys.stdout.isatty():
        return Console(file=sys.stdout, highlight=False, soft_wrap=False)
    file = cast("TextIO", _WithoutBlanks(sys.stdout))
    width = _NO_TERMINAL_WIDTH
    return Console(file=file, width=width, highlight=False, soft_wrap=False)


class _WithoutBlanks:
    """A stream whose lines end without blanks, which fill a table to its edge."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def write(self, text: str) -> int:
        """Write whole lines."""
        return self._stream.write(_BLANKS.sub("", text))

    def __getattr__(self, name: str) -> Any:  # noqa: ANN401 - the stream's own
        return getattr(self._stream, name)


def messages_console() -> Console:
    """Standard error."""
    return Console(file=sys.stderr, highlight=False, soft_wrap=True)


def print_records(
    console: Console, records: Sequence[Record], columns: Sequence[str]
) -> None:
    """Print records as a table; a dataset's name stands once above its splits."""
    console.print(records_table(records, columns, console.width), crop=False)


def print_message(console: Console, message: Message) -> None:
    """Print a message after its level: ``error: FILE: ...``."""
    text = Text(f"{message.level.value}: ", style=_STYLES[message.level])
    lines = (printable(line) for line in message.text.split("\n"))
    console.print(text.append("\n".join(lines), style="default"))


def rule_notes(rows: Sequence[SummaryRecord], version: str) -> list[str]:
    """Footnotes: the rules in use, and the program that applied them.

    Example:
        >>> from cdstats.core.records import summarise
        >>> rule_notes([summarise("CDD", "all", [])], "0.1.0")
        ['change ratio = changed / unchanged; cdstats 0.1.0']
    """
    single = [row for row in rows if row.rule not in ("", MIXED)]
    whole = {row.dataset for row in single if row.split == ALL}
    named = [r for r in single if r.split == ALL or r.dataset not in whole]
    notes = []
    if named and len({row.rule for row in named}) == 1:
        notes = [f"rule: {named[0].rule}"]
    elif named:
        places = (
            r.dataset if r.split == ALL else f"{r.dataset}/{r.split}" for r in named
        )
        notes = [
            f"rule of {place}: {row.rule}"
            for place, row in zip(places, named, strict=True)
        ]
    return [*notes, f"change ratio = changed / unchanged; cdstats {version}"]
