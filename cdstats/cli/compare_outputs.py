"""Where the results of ``cdstats compare`` go."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Final

from cdstats.cli.choices import ScoreBy
from cdstats.cli.files import write_all
from cdstats.cli.outputs import summary_format
from cdstats.cli.score_outputs import image_row_columns
from cdstats.core.columns import columns_of
from cdstats.core.comparison_names import PARTS
from cdstats.core.comparison_records import ComparedModel, DifferingImage
from cdstats.report import tables
from cdstats.report.columns import choose_columns
from cdstats.report.formats import Format

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from cdstats.core.columns import Record
    from cdstats.score.comparison import Comparison

_IMAGE_COLUMNS: Final = ("target", "part", "split", "measure", "spread")


@dataclass(frozen=True)
class CompareOutputs:
    """Formats, rows, columns and files of one comparison.

    Raises:
        UsageError: If the name of the summary names no format.
    """

    format: Format
    by: ScoreBy | None
    columns: str | None
    csv: Path | None
    summary: Path | None

    def __post_init__(self) -> None:
        if self.summary:
            summary_format(self.summary)

    def check_columns(self, measures: Sequence[str]) -> None:
        """Refuse columns of models that no measure has, before a file is read.

        Raises:
            UsageError: If there are any.
        """
        if self.by is not ScoreBy.IMAGE:
            choose_columns(self.columns, ComparedModel, _columns_of_measures(measures))

    def show_messages(self, run: Comparison, quiet: bool) -> None:
        """Print notes, warnings and the first failures to standard error."""
        from cdstats.cli.screen import show_failures

        models: dict[tuple[str, str], list[str]] = {}
        for row in run.images:
            if row.status == "failed" and (row.pred or run.failed):
                place = row.target or row.pred, row.reason
                models.setdefault(place, []).append(row.model)
        failures = [
            (f"{_names(found, len(run.models))}: {place}", reason)
            for (place, reason), found in models.items()
        ]
        show_failures(run.messages, failures, quiet)

    def write(self, run: Comparison) -> bool:
        """Write the files that were asked for; whether all are written."""
        texts: dict[Path, str] = {}
        if self.csv:
            texts[self.csv] = tables.to_csv(run.images, image_row_columns(run.images))
        if self.summary:
            kind = summary_format(self.summary)
            if kind is Format.JSON:
                models = [_model(model) for model in run.models]
                texts[self.summary] = tables.json_text({"models": models})
            else:
                texts[self.summary] = self._table_text(kind, run.models, None)
        return write_all(texts)

    def print(self, run: Comparison) -> None:
        """Print the results to standard output."""
        by_image = self.by is ScoreBy.IMAGE
        rows: Sequence[Record] = run.differing if by_image else run.models
        kind = DifferingImage if by_image else ComparedModel
        chosen = choose_columns(self.columns, kind, _further(rows))
        if self.format is Format.TABLE:
            self._print_screen(run, rows, chosen)
            return
        if self.format is Format.JSON:
            text = tables.json_text(_json(run))
        else:
            write_csv = tables.printed_csv_lines
            text = self._table_text(self.format, rows, chosen, write_csv)
        print(text, end="")  # noqa: T201 - the result itself

    def _table_text(
        self,
        kind: Format,
        rows: Sequence[Record],
        chosen: tuple[str, ...] | None,
        write_csv: tables.CsvWriter = tables.csv_lines,
    ) -> str:
        from cdstats.report.comparison import comparison_notes, paper_columns

        models = [row for row in rows if isinstance(row, ComparedModel)]
        plain = columns_of(ComparedModel if models else DifferingImage)
        every = (*plain, *_further(rows))
        if kind is Format.CSV:
            return "".join(write_csv(rows, chosen or every))
        if kind is Format.JSONL:
            return tables.to_jsonl(rows, chosen or every)
        shown = paper_columns(models) if models else _shown_of_images(rows)
        notes = comparison_notes(models) if models else []
        write = tables.to_markdown if kind is Format.MARKDOWN else tables.to_latex
        return write(rows, chosen or shown, notes)

    def _print_screen(
        self, run: Comparison, rows: Sequence[Record], chosen: tuple[str, ...] | None
    ) -> None:
        from cdstats.report.comparison import (
            comparison_notes,
            print_differing,
            print_models,
        )
        from cdstats.report.terminal import print_records, results_console

        console = results_console()
        if chosen:
            print_records(console, rows, chosen)
        elif self.by is ScoreBy.IMAGE:
            print_differing(console, run.differing, run.models, every=True)
        else:
            print_models(console, run.models, run.asked, run.losses)
        if self.by is None and not chosen:
            print_differing(console, run.differing, run.models)
        console.print()
        notes = comparison_notes(run.models)
        for note in (*notes, "nats, logs clamped at -100"):
            console.print(note, style="dim", markup=False)


def _names(models: Sequence[str], every: int) -> str:
    return "every model" if len(models) == every else ", ".join(models)


def _columns_of_measures(measures: Sequence[str]) -> tuple[str, ...]:
    return tuple(
        column
        for name in measures
        for column in (name, *(f"{name}_{part}" for part in PARTS))
    )


def _further(rows: Sequence[Record]) -> tuple[str, ...]:
    """The columns beside the fields of some rows."""
    return tuple(dict.fromkeys(n for row in rows for n in getattr(row, "further", ())))


def _shown_of_images(rows: Sequence[Record]) -> tuple[str, ...]:
    optional = {
        name: any(getattr(row, name) for row in rows) for name in ("part", "split")
    }
    kept = [name for name in _IMAGE_COLUMNS if optional.get(name, True)]
    return (*kept, *_further(rows))


def _model(model: ComparedModel) -> dict[str, Any]:
    """A model with its measures as an object each."""
    data = asdict(model)
    compared = data.pop("compared")
    measures = {
        name: {"value": one["value"], **(one["to_first"] or dict.fromkeys(PARTS))}
        for name, one in compared.items()
    }
    return {**data, "measures": measures}


def _json(run: Comparison) -> dict[str, Any]:
    images = []
    for row in run.images:
        record = asdict(row)
        images.append({**record, **record.pop("losses")})
    return {
        "device": run.device,
        "models": [_model(model) for model in run.models],
        "differing": [asdict(image) for image in run.differing],
        "images": images,
    }
