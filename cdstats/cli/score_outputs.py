"""Where the results of ``cdstats loss`` go."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from cdstats.cli.choices import ScoreBy
from cdstats.cli.files import write_all
from cdstats.cli.outputs import MOST_IMAGES, summary_format
from cdstats.core.columns import columns_of
from cdstats.core.errors import UsageError
from cdstats.core.messages import Level, Message
from cdstats.core.score_records import (
    SCORE_COLUMNS,
    DatasetScore,
    ScoreRecord,
    Stated,
)
from cdstats.report import tables
from cdstats.report.columns import choose_columns, model_columns, score_columns
from cdstats.report.formats import Format

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from cdstats.core.catalogue import Loss
    from cdstats.core.columns import Record
    from cdstats.score.results import LossRun, ModelScore


@dataclass(frozen=True)
class ScoreOutputs:
    """Formats, rows, columns and files of one run, and its further losses.

    Raises:
        UsageError: If the name of the summary names no format, or a column does not
            exist.
    """

    format: Format
    by: ScoreBy | None
    columns: str | None
    csv: Path | None
    summary: Path | None
    losses: tuple[Loss, ...] = ()

    def __post_init__(self) -> None:
        if self.summary:
            summary_format(self.summary)
        choose_columns(self.columns, self._kind, self._further)

    @property
    def _kind(self) -> type[Record]:
        return ScoreRecord if self.by is ScoreBy.IMAGE else DatasetScore

    @property
    def _further(self) -> tuple[str, ...]:
        """The columns of further losses."""
        if self.by is ScoreBy.IMAGE:
            return tuple(loss.column for loss in self.losses)
        return tuple(name for loss in self.losses for name in loss.dataset_columns)

    def show_messages(self, run: LossRun, beta: str | float, quiet: bool) -> None:
        """Print notes, warnings and the first failures to standard error."""
        from cdstats.cli.screen import show_failures
        from cdstats.report.scores import score_notes

        messages = list(run.messages)
        if run.images and not run.has_valid:
            text = "no image has a valid pixel: nothing is defined"
            messages.append(Message(Level.ERROR, text))
        for model in run.models:
            messages += score_notes(
                model.dataset, model.hard, model.one_class_bce, beta
            )
        failures = [
            (row.pred or row.target, row.reason)
            for row in run.images
            if row.status == "failed"
        ]
        show_failures(messages, failures, quiet)

    def write(self, run: LossRun) -> bool:
        """Write the files that were asked for; whether all are written."""
        texts: dict[Path, str] = {}
        if self.csv:
            texts[self.csv] = tables.to_csv(run.images, image_row_columns(run.images))
        if self.summary:
            texts[self.summary] = self._summary_text(run, summary_format(self.summary))
        return write_all(texts)

    def _summary_text(self, run: LossRun, kind: Format) -> str:
        if kind is Format.JSON:
            return tables.json_text(
                {"models": [_model(m, run.images) for m in run.models]}
            )
        return self._table_text(kind, [m.dataset for m in run.models], None)

    def print(self, run: LossRun) -> None:
        """Print the results to standard output."""
        if self.format is Format.TABLE:
            self._print_screen(run)
            return
        if self.format is Format.JSON:
            text = tables.json_text(_json(run))
        else:
            datasets = [model.dataset for model in run.models]
            by_image = self.by is ScoreBy.IMAGE
            rows: Sequence[Record] = run.images if by_image else datasets
            write_csv = tables.printed_csv_lines
            text = self._table_text(self.format, rows, self._chosen, write_csv)
        print(text, end="")  # noqa: T201 - the result itself

    @property
    def _chosen(self) -> tuple[str, ...] | None:
        return choose_columns(self.columns, self._kind, self._further)

    def _table_text(
        self,
        kind: Format,
        rows: Sequence[Record],
        chosen: tuple[str, ...] | None,
        write_csv: tables.CsvWriter = tables.csv_lines,
    ) -> str:
        images = [row for row in rows if isinstance(row, ScoreRecord)]
        models = [row for row in rows if isinstance(row, DatasetScore)]
        every = image_row_columns(images) if images else _model_columns(models)
        if kind is Format.CSV:
            return "".join(write_csv(rows, chosen or every))
        if kind is Format.JSONL:
            return tables.to_jsonl(rows, chosen or every)
        shown = chosen or (score_columns(images) if images else model_columns(models))
        write = tables.to_markdown if kind is Format.MARKDOWN else tables.to_latex
        return write(rows, shown, _footnotes(models or images))

    def _print_screen(self, run: LossRun) -> None:
        from cdstats.report.scores import print_scores
        from cdstats.report.terminal import print_records, results_console

        console = results_console()
        chosen = self._chosen
        if self.by is not ScoreBy.IMAGE:
            for model in run.models:
                print_scores(console, model.dataset, _lines(model), _trivial(model))
                console.print()
        few = self.by is None and len(run.images) <= MOST_IMAGES
        if (self.by is ScoreBy.IMAGE or few) and run.images:
            shown = chosen if self.by is ScoreBy.IMAGE else None
            narrow = score_columns(run.images, losses=False)
            print_records(console, run.images, shown or narrow)
            console.print()
        notes = _footnotes([model.dataset for model in run.models])
        for note in (
            *notes,
            "nats, logs clamped at -100; class means pooled over all images",
        ):
            console.print(note, style="dim", markup=False)


def _footnotes(rows: Sequence[DatasetScore] | Sequence[ScoreRecord]) -> list[str]:
    """How the numbers came about: the rule of each, and what else was decided."""
    rules = dict.fromkeys(f"masks: {row.rule}" for row in rows if row.rule)
    return [*rules, *Stated.of(rows).notes]


def image_row_columns(rows: Sequence[ScoreRecord]) -> tuple[str, ...]:
    """The columns of image rows, those of further losses at the end."""
    further = dict.fromkeys(name for row in rows for name in row.losses)
    return (*SCORE_COLUMNS, *further)


def _model_columns(rows: Sequence[DatasetScore]) -> tuple[str, ...]:
    """The columns of the rows of models, those of further losses at the end."""
    further = dict.fromkeys(name for row in rows for name in row.losses)
    return (*columns_of(DatasetScore), *further)


def _lines(model: ModelScore) -> list[Any]:
    from cdstats.report.scores import LossLine

    order = [0, 2, 1, *range(3, len(model.losses))]
    lines = []
    for place in order:
        result, share = model.losses[place], model.shares[place]
        params = ", ".join(f"{name}={value}" for name, value in result.params.items())
        mean, over = result.shown
        lines.append(
            LossLine(
                result.loss,
                result.loss,
                mean,
                "; ".join(text for text in (over, params) if text),
                share.loss,
                share.gradient,
                _beta(result.params.get("beta")),
                result.sum,
            )
        )
    return lines


def _beta(value: object) -> str | float | None:
    return value if isinstance(value, (str, float, int)) else None


def _trivial(model: ModelScore) -> list[Any]:
    from cdstats.report.scores import LossLine

    return [
        LossLine("", one.name, one.bce, total=one.class_mean) for one in model.trivial
    ]


def _model(model: ModelScore, images: Sequence[ScoreRecord]) -> dict[str, Any]:
    own = [row.status == "ok" for row in images if row.model == model.dataset.model]
    return {
        "model": model.dataset.model,
        "dataset": _without_losses(model.dataset),
        "losses": [_with_failed(one.as_record(), own) for one in model.losses],
    }


def _without_losses(dataset: DatasetScore) -> dict[str, Any]:
    """The numbers of a model; its losses are a list of their own."""
    record = asdict(dataset)
    del record["losses"]
    return record


def _with_failed(record: dict[str, Any], scored: Sequence[bool]) -> dict[str, Any]:
    """A loss whose lists have an entry for each image: None for a failed one."""
    filled = dict(record)
    for name, values in record.items():
        if isinstance(values, list):
            left = iter(values)
            filled[name] = [next(left) if good else None for good in scored]
    return filled


def _json(run: LossRun) -> dict[str, Any]:
    """The contract's object; several models each stand under ``models`` as well."""
    if not run.models:
        raise UsageError("nothing was scored")
    models = [_model(model, run.images) for model in run.models]
    images = []
    for row in run.images:
        record = asdict(row)
        further = record.pop("losses")
        images.append({**record, **further})
    data = {
        "device": run.device,
        "images": images,
        "dataset": models[0]["dataset"],
        "losses": models[0]["losses"],
    }
    return {**data, "models": models} if len(models) > 1 else data
