"""Output of results to standard output and to files.

Options are checked before any file is read. A file that cannot be written is reported,
and the other results are still printed.
"""

from __future__ import annotations

import re
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Final, Self

import typer

from cdstats.core.columns import printable
from cdstats.core.errors import DataError, UsageError
from cdstats.io.outputs import write_whole
from cdstats.render.paper import DECIMALS, Paper
from cdstats.render.table import Table
from cdstats.render.writers import Format, csv_lines

if TYPE_CHECKING:
    from collections.abc import Iterable

    from cdstats.cli.options import OutputOptions, PaperOptions
    from cdstats.core.columns import Record
    from cdstats.core.records import ImageRecord
    from cdstats.render.table import Document

MOST_IMAGES: Final = 20
"""Largest number of image rows that a table includes by default."""
_ENDINGS: Final = {one.ending: one for one in Format if one.ending}
_FOR_PAPERS: Final = frozenset({Format.MARKDOWN, Format.LATEX})
_NO_LABEL: Final = re.compile(r"[^\w:./+-]")
"""Characters that are not allowed in a label of LaTeX or HTML."""
_FLUSH_SECONDS: Final = 0.5
"""Longest time for which a printed row is buffered."""


@dataclass(frozen=True)
class Output:
    """The output format and files of a run."""

    format: Format
    csv: Path | None = None
    summary: Path | None = None
    paper: Paper = field(default_factory=Paper)

    @classmethod
    def of(cls, output: OutputOptions, paper: PaperOptions) -> Self:
        """The format and files from options."""
        made = cls(output.output_format, output.csv, output.summary, _paper(paper))
        ending = (output.summary or Path()).suffix.lower()
        written = {output.output_format, _ENDINGS.get(ending)}
        fit = written & ({Format.LATEX} if paper.narrow else _FOR_PAPERS)
        known = paper.declared.items()
        given = [name for name, one in known if getattr(paper, name) != one.default]
        if given and not fit:
            name, forms, files = given[0], "markdown or latex", ".md or .tex"
            if paper.narrow:
                name, forms, files = "narrow", "latex", ".tex"
            raise UsageError(
                f"--{name} needs --format {forms}, or --summary with a name that ends "
                f"in {files}"
            )
        return made

    def __post_init__(self) -> None:
        if self.summary and self.summary.suffix.lower() not in _ENDINGS:
            raise UsageError(
                f"--summary {self.summary}: expected a name that ends in "
                f"{', '.join(_ENDINGS)}"
            )

    def print(self, document: Document) -> None:
        """Print results to standard output.

        Control characters in CSV are escaped on a terminal, but not in files and pipes.
        """
        lines = self.format.write(document._replace(paper=self.paper))
        if self.format is Format.CSV and sys.stdout.isatty():
            lines = (printable(line.removesuffix("\n")) + "\n" for line in lines)
        sys.stdout.writelines(lines)

    def write(
        self, kind: type[Record], rows: Iterable[Record], totals: Document
    ) -> bool:
        """Write the requested files; False, with messages, if one cannot be written."""
        written = []
        if self.csv:
            written.append(_write(self.csv, csv_lines(Table.of(kind, rows))))
        if self.summary:
            one = _ENDINGS[self.summary.suffix.lower()]
            set_totals = totals._replace(paper=self.paper)
            written.append(_write(self.summary, one.write(set_totals)))
        return all(written)


def _paper(options: PaperOptions) -> Paper:
    caption = " ".join((options.caption or "").split())
    label = options.label or ""
    if label and not caption:
        raise UsageError(f"--label {label}: a label needs --caption")
    if wrong := _NO_LABEL.search(label):
        raise UsageError(
            f"--label {label}: holds {wrong[0]!r}; expected letters, digits and :._/+-"
        )
    decimals = DECIMALS if options.decimals is None else options.decimals
    how = (options.percent, decimals, options.narrow)
    return Paper(printable(caption), label, *how)


class RowPrinter:
    """Prints image rows as soon as they are counted.

    This is done only for CSV and JSON Lines without a terminal and without files: files
    must be written even if the reader of standard output stops early.
    """

    def __init__(
        self, output: Output, columns: tuple[str, ...] | None, *, by_image: bool
    ) -> None:
        self._format = output.format
        self._columns = columns
        self._flushed = time.monotonic()
        self.has_printed = False
        is_lines = output.format in (Format.CSV, Format.JSONL)
        alone = output.csv is None and output.summary is None
        self.is_wanted = is_lines and by_image and alone and not sys.stdout.isatty()

    def __call__(self, row: ImageRecord) -> None:
        """Print a row, after the column names if it is the first."""
        from cdstats.render.masks import counts_document

        document = counts_document((), [row], by_image=True, columns=self._columns)
        lines = list(self._format.write(document))
        sys.stdout.writelines(lines[-1:] if self.has_printed else lines)
        self.has_printed = True
        if time.monotonic() - self._flushed > _FLUSH_SECONDS:
            sys.stdout.flush()
            self._flushed = time.monotonic()


def _write(path: Path, text: Iterable[str]) -> bool:
    try:
        write_whole(path, text)
    except DataError as error:
        typer.echo(f"error: {error}", err=True)
        return False
    return True
