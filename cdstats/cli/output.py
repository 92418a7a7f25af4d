"""Where results go: checked before a file is read, written when all is counted."""

from __future__ import annotations

import sys
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import cdstats
from cdstats.cli.choices import By, Sort
from cdstats.cli.files import write_all
from cdstats.core.columns import columns_of
from cdstats.core.errors import UsageError
from cdstats.core.records import ALL, ImageRecord, SummaryRecord
from cdstats.report import tables
from cdstats.report.columns import choose_columns, image_columns, summary_columns
from cdstats.report.formats import Format

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence
    from pathlib import Path

    from cdstats.core.columns import Record
    from cdstats.scan.ratio import RatioResult

SUMMARY_FORMATS: Final = {
    ".csv": Format.CSV,
    ".json": Format.JSON,
    ".md": Format.MARKDOWN,
    ".tex": Format.LATEX,
}
MOST_IMAGES: Final = 20
"""Image rows that a table adds by itself."""
_FLUSH_SECONDS: Final = 0.5
"""How long a printed row waits for others."""


def summary_format(path: Path) -> Format:
    """The format that the name of a ``--summary`` file asks for.

    Raises:
        UsageError: If its ending names none.
    """
    kind = SUMMARY_FORMATS.get(path.suffix.lower())
    if kind is None:
        raise UsageError(
            f"--summary {path}: expected a name that ends in "
            f"{', '.join(SUMMARY_FORMATS)}"
        )
    return kind


@dataclass(frozen=True)
class Outputs:
    """Formats, rows, columns and files of one run.

    Raises:
        UsageError: If a file's ending names no format, or a column does not exist.
    """

    format: Format
    by: By | None
    sort: Sort
    columns: str | None
    csv: Path | None
    summary: Path | None

    def __post_init__(self) -> None:
        choose_columns(self.columns, self._kind)
        if self.summary:
            summary_format(self.summary)

    @property
    def _kind(self) -> type[Record]:
        return ImageRecord if self.by is By.IMAGE else SummaryRecord

    def images(self, result: RatioResult) -> Iterable[ImageRecord]:
        """Image rows in the order asked for: most change first, failed ones last."""
        if self.sort is Sort.PATH:
            return result.images
        return result.sorted_images(self.sort.value.replace("-", "_"))

    def datasets(self, result: RatioResult) -> list[SummaryRecord]:
        """Dataset rows, with their splits unless datasets alone were asked for."""
        rows = result.datasets
        return [row for row in rows if self.by is not By.DATASET or row.split == ALL]

    def write(self, result: RatioResult) -> bool:
        """Write the files that were asked for; whether all are written."""
        texts: dict[Path, str | Iterable[str]] = {}
        if self.csv:
            rows = self.images(result)
            texts[self.csv] = tables.csv_lines(rows, tuple(columns_of(ImageRecord)))
        if self.summary:
            kind = summary_format(self.summary)
            texts[self.summary] = _summary_text(result, kind)
        return write_all(texts)

    def print(self, result: RatioResult) -> None:
        """Print the results to standard output."""
        if self.format is Format.TABLE:
            self._print_tables(result)
            return
        rows: Iterable[Record] = self.datasets(result)
        if self.by is By.IMAGE:
            rows = self.images(result)
        sys.stdout.writelines(self._parts(rows, result))

    def lines(self, rows: Iterable[Record]) -> Iterator[str]:
        """Rows as the printed lines of CSV or JSON Lines."""
        chosen = choose_columns(self.columns, self._kind) or tuple(
            columns_of(self._kind)
        )
        if self.format is Format.CSV:
            return tables.printed_csv_lines(rows, chosen)
        return tables.jsonl_lines(rows, chosen)

    def _print_tables(self, result: RatioResult) -> None:
        from cdstats.render.terminal import print_records, results_console, rule_notes

        console = results_console()
        chosen = choose_columns(self.columns, self._kind)
        datasets = self.datasets(result)
        if self.by is not By.IMAGE and datasets:
            print_records(console, datasets, chosen or summary_columns(datasets))
            chosen = None
        few = self.by is None and len(result.images) <= MOST_IMAGES
        if (self.by is By.IMAGE or few) and len(result.images):
            images = list(self.images(result))
            if self.by is None:
                console.print()
            print_records(console, images, chosen or image_columns(images))
        if datasets:
            console.print()
            for note in rule_notes(datasets, cdstats.__version__):
                console.print(note, style="dim", markup=False)

    def _parts(self, rows: Iterable[Record], result: RatioResult) -> Iterable[str]:
        if self.format is Format.JSON:
            datasets, images = self.datasets(result), self.images(result)
            return tables.json_parts({"datasets": datasets, "images": images})
        if self.format in (Format.CSV, Format.JSONL):
            return self.lines(rows)
        chosen = choose_columns(self.columns, self._kind)
        return [_paper_text(self.format, list(rows), chosen, result)]


class RowPrinter:
    """Prints image rows as they come, for a reader that takes them one by one.

    Args:
        outputs: What was asked for.
    """

    def __init__(self, outputs: Outputs) -> None:
        self._outputs = outputs
        self._flushed = time.monotonic()
        self.has_printed = False

    @property
    def is_wanted(self) -> bool:
        """Whether rows alone are printed, in their own order and not to a person.

        A file that was asked for comes first: a reader that ends early must not take
        it away.
        """
        wanted = self._outputs
        is_lines = wanted.format in (Format.CSV, Format.JSONL)
        in_order = wanted.by is By.IMAGE and wanted.sort is Sort.PATH
        alone = wanted.csv is None and wanted.summary is None
        return is_lines and in_order and alone and not sys.stdout.isatty()

    def __call__(self, row: ImageRecord) -> None:
        """Print a row; the names of the columns before the first."""
        lines = list(self._outputs.lines([row]))
        sys.stdout.writelines(lines[-1:] if self.has_printed else lines)
        self.has_printed = True
        if time.monotonic() - self._flushed > _FLUSH_SECONDS:
            sys.stdout.flush()
            self._flushed = time.monotonic()


def _paper_text(
    kind: Format,
    rows: Sequence[Record],
    chosen: tuple[str, ...] | None,
    result: RatioResult,
) -> str:
    """Rows as Markdown or LaTeX, with the columns of the terminal and footnotes."""
    from cdstats.render.terminal import rule_notes

    images = [row for row in rows if isinstance(row, ImageRecord)]
    summaries = [row for row in rows if isinstance(row, SummaryRecord)]
    shown = chosen or (image_columns(images) if images else summary_columns(summaries))
    write = tables.to_markdown if kind is Format.MARKDOWN else tables.to_latex
    return write(rows, shown, rule_notes(result.datasets, cdstats.__version__))


def _summary_text(result: RatioResult, kind: Format) -> str:
    if kind is Format.JSON:
        return tables.to_json({"datasets": result.datasets})
    if kind is Format.CSV:
        return tables.to_csv(result.datasets, tuple(columns_of(SummaryRecord)))
    return _paper_text(kind, result.datasets, None, result)
