"""The screen of `cdstats loss`: what a paper needs, and what makes it misleading."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from rich.text import Text

from cdstats.core.columns import (
    UNDEFINED,
    columns_of,
    further_columns,
    printable,
)
from cdstats.core.errors import Level, Message, UsageError, counted
from cdstats.core.metrics import Over, metrics_of
from cdstats.core.score_records import DatasetScore, ScoreRecord, Stated
from cdstats.render.table import Table, needed, row_object
from cdstats.render.terminal import (
    pairs_grid,
    plain_grid,
    print_notes,
    print_table,
    results_console,
)

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from rich.console import Console
    from rich.table import Table as Grid

    from cdstats.core.catalogue import Entry
    from cdstats.core.material import ModelScore

_TITLES = {"bce": "BCE", "class_mean_bce": "balanced, class mean"}
_ENTRY: Final = 100
"""The width that the description of a loss keeps to."""
_SCREEN: Final = 80
"""The width that the table of losses keeps to."""
_NAME: Final = 29
"""Signs of the longest name of a loss."""


@dataclass(frozen=True, slots=True)
class LossLine:
    """One line of the screen."""

    name: str
    label: str
    mean: float | None
    params: str = ""
    of_loss: float | None = None
    of_gradient: float | None = None
    beta: str | float | None = None
    total: float | None = None

    @property
    def title(self) -> str:
        """What the line is called."""
        if self.name == "balanced_ce" and isinstance(self.beta, str):
            return f"balanced, beta/{self.beta}"
        if self.name == "balanced_ce":
            return f"balanced, beta {self.beta}"
        return _TITLES.get(self.name, self.label)


@dataclass(frozen=True)
class LossDocument:
    """The scores of `cdstats loss`."""

    device: str
    models: Sequence[ModelScore]
    images: Sequence[ScoreRecord]
    by_image: bool = False
    adds_images: bool = False
    columns: tuple[str, ...] | None = None

    @property
    def _datasets(self) -> list[DatasetScore]:
        return [model.dataset for model in self.models]

    @property
    def _footnotes(self) -> tuple[str, ...]:
        """How the numbers came about: the rules, and what else was decided."""
        scored = [row for row in self.images if row.status == "ok"]
        rows = scored or self.images
        rule = Stated.of(rows).rule
        return (*([f"masks: {rule}"] if rule else []), *Stated.notes(rows))

    def every(self) -> Table:
        """All columns of predictions, or of models."""
        if self.by_image:
            return Table.of(ScoreRecord, self.images, self.columns)
        return Table.of(DatasetScore, self._datasets, self.columns)

    def shown(self) -> Table:
        """The columns of a paper, those of further losses at the end."""
        if self.by_image:
            names = self.columns or score_columns(self.images)
            return Table.of(ScoreRecord, self.images, names, self._footnotes)
        rows = self._datasets
        names = self.columns or model_columns(rows)
        return Table.of(DatasetScore, rows, names, self._footnotes)

    def data(self) -> Mapping[str, Any]:
        """Predictions, then the first model; several models as a list as well."""
        if not self.models:
            raise UsageError("nothing was scored")
        models = self._objects()
        first = {name: models[0][name] for name in ("dataset", "losses")}
        images = map(row_object, self.images)
        data = {"device": self.device, "images": images, **first}
        return {**data, "models": models} if len(models) > 1 else data

    def _objects(self) -> list[dict[str, Any]]:
        return [_model(model, self.images) for model in self.models]

    def show(self, console: Console) -> None:
        """Print each model, or a table where columns are chosen, and predictions."""
        if self.columns and not self.by_image:
            print_table(console, self.shown())
            console.print()
        for model in () if self.by_image or self.columns else self.models:
            print_scores(console, model.dataset, _lines(model), _trivial(model))
            console.print()
        if (self.by_image or self.adds_images) and self.images:
            narrow = score_columns(self.images, losses=False)
            names = self.columns if self.by_image else None
            print_table(console, Table.of(ScoreRecord, self.images, names or narrow))
            console.print()
        scale = "nats, logs clamped at -100; class means pooled over all images"
        print_notes(console, (*self._footnotes, scale))


@dataclass(frozen=True)
class LossSummary(LossDocument):
    """The models of a ``--summary`` file."""

    def data(self) -> Mapping[str, Any]:
        """The models alone."""
        return {"models": self._objects()}


def model_columns(rows: Sequence[DatasetScore]) -> tuple[str, ...]:
    """The columns of the table of models, for papers."""
    kept = needed(
        "model images failed precision_pooled recall_pooled f1_pooled iou_pooled "
        "bce_mean class_mean_bce balanced_ce_mean",
        model=any(row.model for row in rows),
        failed=any(row.failed for row in rows),
    )
    known = {n for row in rows for n, value in row.losses.items() if value is not None}
    return (*kept, *(n for n in further_columns(rows) if _heads(n, known)))


def _heads(name: str, known: set[str]) -> bool:
    """Whether a column is the first of its loss: a mean over images only if alone."""
    pooled = f"{name.removesuffix('_image_mean')}_pooled"
    if name.endswith("_image_mean"):
        return name in known and pooled not in known
    mean = f"{name.removesuffix('_pooled')}_image_mean"
    return name.endswith(("_mean", "_pooled")) and (name in known or mean not in known)


def score_columns(
    rows: Sequence[ScoreRecord], *, losses: bool = True
) -> tuple[str, ...]:
    """The columns of the table of predictions, with those of further losses or not.

    A row of a mask without a prediction is named by its mask.
    """
    kept = needed(
        "model pred target status bce_mean class_mean_bce balanced_ce_mean f1 iou",
        model=len({row.model for row in rows}) > 1,
        target=any(not row.pred for row in rows),
        status=any(row.status != "ok" for row in rows),
    )
    return (*kept, *(further_columns(rows) if losses else ()))


def print_scores(
    console: Console,
    dataset: DatasetScore,
    lines: Sequence[LossLine],
    trivial: Sequence[LossLine],
) -> None:
    """Print the metrics and losses of one model."""
    if dataset.model:
        console.print(Text(printable(dataset.model), style="bold"))
    console.print(Text(metrics_text(dataset), style="bold"))
    width = min(console.width, _SCREEN)
    table = _losses_table(dataset, lines)
    console.print(table, width=width, crop=False)
    if trivial:
        head = "for reference, mean BCE and class-mean BCE of"
        console.print(Text(head, style="dim"))
    for line in trivial:
        text = f"  {line.label}: {_number(line.mean)}, {_number(line.total)}"
        console.print(Text(text, style="dim"))


def _losses_table(dataset: DatasetScore, lines: Sequence[LossLine]) -> Grid:
    table = plain_grid()
    table.add_column("", overflow="fold", max_width=_NAME)
    for head in ("Mean", "From\nchanged", "Gradient\nchanged"):
        table.add_column(Text(head, justify="right"), justify="right", no_wrap=True)
    table.add_column("", overflow="fold")
    for line in lines:
        table.add_row(
            Text(line.title),
            _number(line.mean),
            _share(line.of_loss),
            _share(line.of_gradient),
            _remark(line, dataset),
        )
    return table


def metrics_text(dataset: DatasetScore) -> str:
    """The metrics of the changed class in one line."""
    parts = (
        f"{one.title} {_number_of(getattr(dataset, name))}"
        for name, one in metrics_of(DatasetScore).items()
        if one.headline and one.over is Over.POOLED
    )
    return f"changed, pooled: {'  '.join(parts)}"


def _number_of(value: float | None) -> str:
    return UNDEFINED if value is None else format(value, ".3f")


def _remark(line: LossLine, dataset: DatasetScore) -> str:
    if line.name == "class_mean_bce" and dataset.changed and dataset.unchanged:
        changed = dataset.ce_changed_sum / dataset.changed
        unchanged = dataset.ce_unchanged_sum / dataset.unchanged
        return f"changed {changed:.3f}, unchanged {unchanged:.3f}"
    if line.name == "balanced_ce" and line.total is not None:
        return f"sum {_total(line.total)}; not on BCE's scale"
    return line.params


def _total(value: float) -> str:
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.4g}"


def _number(value: float | None) -> str:
    if value is None:
        return UNDEFINED
    return f"{value:.3f}" if abs(value) >= 0.001 or value == 0 else f"{value:.3g}"


def _share(value: float | None) -> str:
    return UNDEFINED if value is None else f"{100 * value:.1f} %"


def score_notes(
    dataset: DatasetScore,
    hard: bool,
    one_class_bce: float | None,
    beta: str | float,
) -> list[Message]:
    """What makes the numbers of a model misleading."""
    where = f"{dataset.model}: " if dataset.model else ""
    texts = []
    if hard:
        texts.append(
            "every p is 0 or 1: BCE is 100 x the error rate, not a likelihood; "
            "compare F1"
        )
    if dataset.saturated_wrong and dataset.bce_sum:
        share = 100 * 100 * dataset.saturated_wrong / dataset.bce_sum
        texts.append(
            f"exactly 0 or 1 and wrong on {counted(dataset.saturated_wrong, 'pixel')}: "
            f"100 each, {share:.1f} % of BCE"
        )
    if dataset.images_one_class:
        text = f"{counted(dataset.images_one_class, 'image')} of one class"
        if beta == "image":
            text += ": nothing added to balanced CE with beta/image"
        if one_class_bce is not None:
            text += f"; their mean BCE is {_number(one_class_bce)}"
        texts.append(text)
    if dataset.images_without_valid:
        count = counted(dataset.images_without_valid, "image")
        texts.append(f"{count} without a valid pixel: undefined, left out of means")
    return [Message(Level.NOTE, where + text) for text in texts]


def _lines(model: ModelScore) -> list[LossLine]:
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


def _trivial(model: ModelScore) -> list[LossLine]:
    return [
        LossLine("", one.name, one.bce, total=one.class_mean) for one in model.trivial
    ]


def _model(model: ModelScore, images: Sequence[ScoreRecord]) -> dict[str, Any]:
    own = [row.status == "ok" for row in images if row.model == model.dataset.model]
    names = columns_of(DatasetScore)
    return {
        "model": model.dataset.model,
        "dataset": {name: getattr(model.dataset, name) for name in names},
        "losses": [_with_failed(one.as_record(), own) for one in model.losses],
    }


def _with_failed(record: dict[str, Any], scored: Sequence[bool]) -> dict[str, Any]:
    """A loss whose lists have an entry for each image: None for a failed one."""
    filled = dict(record)
    for name, values in record.items():
        if isinstance(values, list):
            left = iter(values)
            filled[name] = [next(left) if good else None for good in scored]
    return filled


def print_catalogue(entries: Sequence[Entry], excluded: Mapping[str, str]) -> None:
    """Print every loss with its formula, and the names that are no scores."""
    console = results_console()
    grid = pairs_grid()
    for entry in entries:
        grid.add_row(Text(entry.name, style="bold"), Text(entry.title))
    console.print(grid)
    console.print()
    console.print("Not a score of saved predictions:", markup=False)
    rest = pairs_grid()
    for name, reason in excluded.items():
        rest.add_row(Text(name), Text(reason, style="dim"))
    console.print(rest)


def print_entry(entry: Entry) -> None:
    """Print formula, parameters, source and pitfalls of a loss."""
    grid = pairs_grid()
    grid.add_row(Text(entry.name, style="bold"), Text(entry.title))
    grid.add_row("formula", Text(entry.formula))
    for parameter in entry.parameters:
        default = "none" if parameter.default is None else parameter.default
        grid.add_row(
            Text(parameter.name),
            Text(f"{parameter.meaning}; {parameter.allowed}; default {default}"),
        )
    grid.add_row("numbers", Text(", ".join(entry.reduction.value)))
    grid.add_row("source", Text(entry.source))
    grid.add_row("pitfalls", Text(entry.pitfalls))
    results_console().print(grid, width=_ENTRY)
