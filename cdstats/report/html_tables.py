"""The tables of a page, as text: what a paper needs of datasets and models."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from cdstats.core.columns import UNDEFINED, Column, columns_of, plain
from cdstats.core.metrics import metrics_of
from cdstats.core.score_records import DatasetScore, Stated
from cdstats.render.figures.score_charts import curve_summaries
from cdstats.render.masks import summary_columns

if TYPE_CHECKING:
    from collections.abc import Sequence

    from cdstats.core.catalogue import LossResult, Shares
    from cdstats.core.columns import Record
    from cdstats.core.material import Material, ScoreMaterial
    from cdstats.core.records import SummaryRecord

MOST_FAILURES: Final = 20
"""Failures that a page names; it counts the others."""
_METRICS: Final = {
    "images": "Images",
    **{n: one.name for n, one in metrics_of(DatasetScore).items() if one.headline},
}


@dataclass(frozen=True)
class HtmlTable:
    """A table of a page.

    Attributes:
        caption: What it shows.
        heads: The heading of each column, and whether it holds text.
        rows: The cells; the first names the row.
        notes: What stands below.
    """

    caption: str
    heads: tuple[tuple[str, bool], ...]
    rows: tuple[tuple[str, ...], ...]
    notes: tuple[str, ...] = ()


def record_table(
    caption: str,
    rows: Sequence[Record],
    kind: type[Record],
    chosen: Sequence[str] = (),
    notes: Sequence[str] = (),
) -> HtmlTable:
    """Records as a table.

    Args:
        caption: What it shows.
        rows: Records of one kind.
        kind: Their class.
        chosen: The columns; by default those that the kind itself declares.
        notes: What stands below.
    """
    every = columns_of(kind)
    own = (name for name in every if name in kind.__annotations__)
    shown = [every[name] for name in chosen or own]
    heads = tuple((one.line, one.align == "left") for one in shown)
    cells = tuple(tuple(_cell(one, row) for one in shown) for row in rows)
    return HtmlTable(caption, heads, cells, tuple(notes))


def _cell(column: Column, row: Record) -> str:
    value = getattr(row, column.name)
    if isinstance(value, float) and 0 < abs(value) < _SMALL:
        return f"{value:.2g}"
    return column.cell(value)


def _number(value: float | None) -> str:
    return UNDEFINED if value is None else plain(value)


_SMALL: Final = 5e-4
"""A number below this would be shown as 0.000."""


def dataset_table(rows: Sequence[SummaryRecord]) -> HtmlTable:
    """The table of the DASNet paper for any data, with rule and definition below."""
    from cdstats.core.records import SummaryRecord

    rules = dict.fromkeys(
        f"rule of {row.dataset or 'masks'}: {row.rule}"
        for row in rows
        if row.split == "all"
    )
    ratio = "change ratio = changed / unchanged; change fraction = changed / valid"
    caption = "Changed and unchanged pixels of each dataset and split"
    shown = (*summary_columns(rows), "beta")
    return record_table(caption, rows, SummaryRecord, shown, [*rules, ratio])


def stated_notes(scores: ScoreMaterial) -> tuple[str, ...]:
    """What was decided before any score was computed: below every table of scores."""
    return Stated.of(one.dataset for one in scores.models).notes


def metrics_table(scores: ScoreMaterial) -> HtmlTable:
    """Metrics of the changed class, a row for each model."""
    rows = tuple(
        (_name(one.dataset), *(_number(getattr(one.dataset, n)) for n in _METRICS))
        for one in scores.models
    )
    heads = (("Model", True), *((text, False) for text in _METRICS.values()))
    notes = ["pooled over all pixels unless said; an undefined number is –"]
    notes += stated_notes(scores)
    return HtmlTable("Metrics of the changed class", heads, rows, tuple(notes))


def loss_table(scores: ScoreMaterial) -> HtmlTable:
    """Every loss of every model, and how much of it comes from changed pixels."""
    rows = tuple(
        _loss_row(one.dataset, result, share)
        for one in scores.models
        for result, share in zip(one.losses, one.shares, strict=True)
    )
    heads = (
        ("Model", True),
        ("Loss", True),
        ("Mean", False),
        ("From changed", False),
        ("Gradient changed", False),
        ("Sum", False),
    )
    notes = [
        "nats, logs clamped at -100; means over pixels unless said",
        "balanced_ce is not on the scale of BCE; class_mean_bce is",
    ]
    if any(one.is_hard for one in scores.models):
        notes.append(
            "predictions are labels: BCE is 100 times the error rate, not a likelihood"
        )
    notes += stated_notes(scores)
    return HtmlTable("Losses", heads, rows, tuple(notes))


def curve_table(scores: ScoreMaterial) -> HtmlTable | None:
    """What the curves come to; None where no model has them."""
    rows = curve_summaries(scores)
    if not rows:
        return None
    heads = (
        ("Model", True),
        ("Average precision", False),
        ("Best F1, in-sample", False),
        ("at threshold", False),
        ("ECE", False),
    )
    cells = tuple(
        (
            one.model or "predictions",
            _number(one.average_precision),
            _number(one.best_f1),
            _number(one.best_threshold),
            _number(one.ece),
        )
        for one in rows
    )
    notes = (
        "of pixels pooled over all images; the best F1 is too good for other data",
        "ECE: expected calibration error in 15 bins of equal width",
        *stated_notes(scores),
    )
    return HtmlTable("What the curves come to", heads, cells, notes)


def _loss_row(
    dataset: DatasetScore, result: LossResult, share: Shares
) -> tuple[str, ...]:
    typed = ", ".join(
        f"{name}={'none' if value is None else value}"
        for name, value in result.params.items()
    )
    mean, over = result.shown
    return (
        _name(dataset),
        f"{result.loss} ({typed})" if typed else result.loss,
        f"{_number(mean)} ({over})" if over else _number(mean),
        _per_cent(share.loss),
        _per_cent(share.gradient),
        _number(None if result.sum is None else round(result.sum)),
    )


def _per_cent(share: float | None) -> str:
    return UNDEFINED if share is None else f"{100 * share:.1f} %"


def _name(dataset: DatasetScore) -> str:
    return dataset.model or "predictions"


def failures(material: Material) -> list[str]:
    """What could not be counted or scored, and why; the first of it."""
    failed = [f"{name}: {reason}" for name, reason in material.failures]
    more = len(failed) - MOST_FAILURES
    return failed[:MOST_FAILURES] + ([f"and {more:,} more"] if more > 0 else [])
