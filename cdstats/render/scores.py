"""Output of `cdstats loss` and `cdstats errors`, and notes on misleading numbers."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final

from rich.text import Text

from cdstats.core.binarisation import LOADERS
from cdstats.core.columns import (
    UNDEFINED,
    columns_of,
    further_columns,
    printable,
)
from cdstats.core.errors import Level, Message, UsageError, counted
from cdstats.core.metrics import Over, metrics_of
from cdstats.core.rule_sensitivity import RuleSensitivity
from cdstats.core.score_records import DatasetScore, ScoreRecord, Stated
from cdstats.core.signature import signature_notes
from cdstats.render.table import Document, Table, needed, row_object
from cdstats.render.terminal import (
    add_numbers,
    add_texts,
    pairs_grid,
    plain_grid,
    print_notes,
    print_table,
    results_console,
    share,
)

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from rich.console import Console

    from cdstats.core.catalogue import Entry, LossResult
    from cdstats.core.charts import ErrorCounts, ErrorMap
    from cdstats.core.columns import Column
    from cdstats.core.material import ModelScore

_TITLES = {"bce": "BCE", "class_mean_bce": "balanced, class mean"}
_ENTRY: Final = 100
"""Largest width of the description of a loss, in characters."""
_SCREEN: Final = 80
"""Largest width of the table of losses, in characters."""
_NAME: Final = 29
"""Largest width of the name of a loss, in characters."""


SCALE: Final = "nats, logs clamped at -100"
PAPER_SCALE: Final = SCALE.replace("-", "−")
_THRESHOLDED: Final = (
    *metrics_of(DatasetScore),
    *metrics_of(ScoreRecord),
    *("tp", "fp", "fn", "tn", "threshold"),
)
"""Prefixes of the columns that depend on the threshold."""
_WIDE: Final = ("images", "balanced_ce_mean")
"""Columns that a narrow table omits."""
_POOLED: Final = "class means pooled over all images"


def loss_document(
    device: str,
    models: Sequence[ModelScore],
    images: Sequence[ScoreRecord],
    *,
    by_image: bool = False,
    adds_images: bool = False,
    columns: tuple[str, ...] | None = None,
) -> Document:
    """The output of `cdstats loss`: scores of each model and of each prediction.

    With ``by_image``, formats with a single table contain only the predictions; with
    ``adds_images``, the screen shows the predictions below the models.
    """
    rows = [model.dataset for model in models]

    def footnotes(*, threshold: bool = True, short: bool = False) -> tuple[str, ...]:
        """Footnotes with the rules, other decisions and signatures."""
        told = [row for row in images if row.status == "ok"] or images
        rule = Stated.of(told).rule
        masks, signed = [f"masks: {rule}"] if rule else [], [m.dataset for m in models]
        notes = Stated.notes(told, threshold=threshold)
        return (*masks, *notes, *signature_notes(signed, short=short))

    def every() -> Table:
        if by_image:
            return Table.of(ScoreRecord, images, columns)
        return Table.of(DatasetScore, rows, columns)

    def shown() -> Table:
        if by_image:
            names = columns or score_columns(images)
            table = Table.of(ScoreRecord, images, names)
        else:
            table = Table.of(DatasetScore, rows, columns or model_columns(rows))
        notes = footnotes(threshold=is_thresholded(table.columns))
        if any(one.better == "lower" for one in table.columns):
            notes = (*notes, PAPER_SCALE)
        wide = () if columns else _WIDE
        return replace(table, notes=notes, ranks=not by_image, wide=wide)

    def data() -> Mapping[str, Any]:
        if not models:
            raise UsageError("nothing was scored")
        each = loss_totals(models, images)["models"]
        first = {name: each[0][name] for name in ("dataset", "losses")}
        found = {"device": device, "images": map(row_object, images), **first}
        return {**found, "models": each} if len(models) > 1 else found

    def show(console: Console) -> None:
        if columns and not by_image:
            print_table(console, shown())
            console.print()
        elif models and not by_image:
            _print_metrics(console, rows)
            for model in models:
                _print_losses(console, model)
                console.print()
            _print_trivial(console, models)
        if (by_image or adds_images) and images:
            names = columns if by_image else None
            names = names or score_columns(images, losses=False)
            print_table(console, Table.of(ScoreRecord, images, names))
            console.print()
        print_notes(console, (*footnotes(short=True), f"{SCALE}; {_POOLED}"))

    return Document(every, shown, data, show)


OTHERWISE: Final = (
    *("model", "binarised", "changed", "precision_pooled", "recall_pooled"),
    *("f1_pooled", "iou_pooled", "oa", "kappa", "f1_change"),
)


def sensitivity_footnotes(rows: Sequence[RuleSensitivity]) -> list[str]:
    """Footnotes: the definition of F1 change, and the loaders that use each rule."""
    found = [f"{one.binarised} {one.loaders}" for one in rows[: len(LOADERS)]]
    return ["F1 change: difference from F1 under the rule of this run", *found]


def with_sensitivity(
    document: Document,
    rows: Sequence[RuleSensitivity],
    *,
    alone: bool = False,
    columns: tuple[str, ...] | None = None,
) -> Document:
    """A document with a separate list and table of the metrics under other rules.

    With ``alone``, only these metrics are printed.
    """
    if not rows:
        return document
    named = any(row.model for row in rows)
    names = columns if alone else None
    names = names or tuple(n for n in OTHERWISE if named or n != "model")
    notes = sensitivity_footnotes(rows)

    def every() -> Table:
        return Table.of(RuleSensitivity, rows, columns)

    def shown() -> Table:
        return Table.of(RuleSensitivity, rows, names, notes)

    def show(console: Console) -> None:
        if not alone:
            document.show(console)
            console.print()
        console.print(Text("with masks binarised by other rules", style="bold"))
        print_table(console, shown())
        console.print()
        print_notes(console, notes)

    def data() -> Mapping[str, Any]:
        return {**document.data(), "rule_sensitivity": rows}

    if alone:
        return document._replace(every=every, shown=shown, data=data, show=show)
    return document._replace(data=data, show=show)


def is_thresholded(columns: Sequence[Column]) -> bool:
    """Whether any of the columns depends on the threshold."""
    return any(one.name.startswith(_THRESHOLDED) for one in columns)


def errors_document(
    models: Sequence[ErrorCounts],
    images: Sequence[ErrorMap],
    folder: str,
    *,
    by_image: bool = False,
    columns: tuple[str, ...] | None = None,
) -> Document:
    """The output of `cdstats errors`: pixels by outcome, for each model or map."""
    from cdstats.core.charts import ErrorCounts, ErrorMap

    kind = ErrorMap if by_image else ErrorCounts
    rows: Sequence[ErrorCounts | ErrorMap] = images if by_image else models
    names = needed(
        "model target map maps failed tp fp fn tn ignored uncovered",
        model=any(one.model for one in models),
        failed=any(one.failed for one in models),
        uncovered=any(one.uncovered for one in models),
    )
    kept = columns or tuple(name for name in names if name in columns_of(kind))
    note = f"0 TN, 1 TP, 2 FP, 3 FN, 255 ignored; maps in {folder}"

    def shown() -> Table:
        return Table.of(kind, rows, kept, [note])

    def show(console: Console) -> None:
        print_table(console, shown())
        console.print()
        print_notes(console, [note])

    data = {"models": models, "images": images}
    return Document(lambda: Table.of(kind, rows, columns), shown, lambda: data, show)


def loss_totals(
    models: Sequence[ModelScore], images: Sequence[ScoreRecord]
) -> dict[str, list[dict[str, Any]]]:
    """The models as written to a JSON ``--summary`` file."""
    return {"models": [_model(model, images) for model in models]}


def model_columns(rows: Sequence[DatasetScore]) -> tuple[str, ...]:
    """The columns of the table of models for papers."""
    kept = needed(
        "model images failed precision_pooled recall_pooled f1_pooled iou_pooled "
        "bce_mean class_mean_bce balanced_ce_mean",
        model=any(row.model for row in rows),
        failed=any(row.failed for row in rows),
    )
    known = {n for row in rows for n, value in row.losses.items() if value is not None}
    return (*kept, *(n for n in further_columns(rows) if _heads(n, known)))


def _heads(name: str, known: set[str]) -> bool:
    """Whether a column is the main one of its loss: pooled rather than image mean."""
    pooled = f"{name.removesuffix('_image_mean')}_pooled"
    if name.endswith("_image_mean"):
        return name in known and pooled not in known
    mean = f"{name.removesuffix('_pooled')}_image_mean"
    return name.endswith(("_mean", "_pooled")) and (name in known or mean not in known)


def score_columns(
    rows: Sequence[ScoreRecord], *, losses: bool = True
) -> tuple[str, ...]:
    """The columns of the table of predictions, with further losses by default.

    The column ``target`` is shown if a mask has no prediction.
    """
    kept = needed(
        "model pred target status bce_mean class_mean_bce balanced_ce_mean f1 iou",
        model=len({row.model for row in rows}) > 1,
        target=any(not row.pred for row in rows),
        status=any(row.status != "ok" for row in rows),
    )
    return (*kept, *(further_columns(rows) if losses else ()))


def _print_metrics(console: Console, rows: Sequence[DatasetScore]) -> None:
    named = ("model",) if any(row.model for row in rows) else ()
    console.print(Text("changed class, pooled over all images", style="bold"))
    print_table(console, Table.of(DatasetScore, rows, (*named, *_headlines())))
    console.print()


def _headlines() -> list[str]:
    return [
        name
        for name, one in metrics_of(DatasetScore).items()
        if one.headline and one.over is Over.POOLED
    ]


def headline(row: DatasetScore) -> str:
    """The main metrics of a model as one line of text."""
    table = Table.of(DatasetScore, [row], _headlines())
    pairs = zip(table.columns, next(table.cells), strict=True)
    return ", ".join(f"{column.line} {cell}" for column, cell in pairs)


def _print_losses(console: Console, model: ModelScore) -> None:
    dataset = model.dataset
    if dataset.model:
        console.print(Text(printable(dataset.model), style="bold"))
    table = plain_grid()
    add_texts(table, "", max_width=_NAME)
    add_numbers(table, "Mean", "From\nchanged", "Gradient\nchanged")
    add_texts(table, "")
    for place in (0, 2, 1, *range(3, len(model.losses))):
        result, shares = model.losses[place], model.shares[place]
        table.add_row(
            Text(_title(result)),
            _number(result.shown[0]),
            share(shares.loss),
            share(shares.gradient),
            _remark(result, dataset),
        )
    console.print(table, width=min(console.width, _SCREEN), crop=False)


def _print_trivial(console: Console, models: Sequence[ModelScore]) -> None:
    texts = (
        f"  {one.name}: {_number(one.bce)}, {_number(one.class_mean)}"
        for model in models
        for one in model.trivial
    )
    lines = dict.fromkeys(texts)
    if lines:
        head = "for reference, mean BCE and class-mean BCE of"
        print_notes(console, (head, *lines, ""))


def _title(result: LossResult) -> str:
    beta = result.params.get("beta")
    if result.loss != "balanced_ce":
        return _TITLES.get(result.loss, result.loss)
    return f"balanced, beta{'/' if isinstance(beta, str) else ' '}{beta}"


def _remark(result: LossResult, dataset: DatasetScore) -> str:
    """The parts, the sum, or the basis and parameters of a loss."""
    if result.loss == "class_mean_bce" and dataset.changed and dataset.unchanged:
        changed = dataset.ce_changed_sum / dataset.changed
        unchanged = dataset.ce_unchanged_sum / dataset.unchanged
        return f"changed {changed:.3f}, unchanged {unchanged:.3f}"
    if result.loss == "balanced_ce" and result.sum is not None:
        is_large = abs(result.sum) >= 1000
        total = f"{result.sum:,.0f}" if is_large else f"{result.sum:.4g}"
        return f"sum {total}; not on BCE's scale"
    params = ", ".join(f"{name}={value}" for name, value in result.params.items())
    return "; ".join(text for text in (result.shown[1], params) if text)


def _number(value: float | None) -> str:
    if value is None:
        return UNDEFINED
    return f"{value:.3f}" if abs(value) >= 0.001 or value == 0 else f"{value:.3g}"


def score_notes(
    dataset: DatasetScore,
    hard: bool,
    one_class_bce: float | None,
    beta: str | float,
) -> list[Message]:
    """Notes on what makes the numbers of a model misleading."""
    where = f"{dataset.model}: " if dataset.model else ""
    texts = []
    if hard:
        texts.append(
            "predictions are labels, so BCE is 100 × the error rate; use F1 or IoU"
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
        texts.append(f"{count} without a valid pixel: undefined, excluded from means")
    return [Message(Level.NOTE, where + text) for text in texts]


def _model(model: ModelScore, images: Sequence[ScoreRecord]) -> dict[str, Any]:
    """A model as a JSON object; lists of image losses have None for failed images."""
    scored = [row.status == "ok" for row in images if row.model == model.dataset.model]
    losses = [one.as_record() for one in model.losses]
    for loss in losses:
        for name, values in loss.items():
            if isinstance(values, list):
                left = iter(values)
                loss[name] = [next(left) if good else None for good in scored]
    names = columns_of(DatasetScore)
    return {
        "model": model.dataset.model,
        "dataset": {name: getattr(model.dataset, name) for name in names},
        "losses": losses,
    }


def print_catalogue(entries: Sequence[Entry], excluded: Mapping[str, str]) -> None:
    """Print the name and title of every loss, and the names that cannot be scored."""
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
