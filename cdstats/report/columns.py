"""How columns are headed and their values shown to people."""

from __future__ import annotations

import difflib
import re
from typing import TYPE_CHECKING, Any, Final

from cdstats.core.comparison_names import PARTS
from cdstats.core.errors import UsageError
from cdstats.core.metrics import metrics_of
from cdstats.core.records import ALL, columns
from cdstats.core.score_records import DatasetScore, ScoreRecord

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from cdstats.core.records import ImageRecord, Record, SummaryRecord

UNDEFINED: Final = "–"
_HEADINGS: Final = {
    "changed": "Changed\npixels",
    "unchanged": "Unchanged\npixels",
    "ignored": "Ignored\npixels",
    "change_ratio": "Changed/\nunchanged",
    "change_fraction": "Change\nfraction",
    "beta": "Beta",
    "pos_weight": "pos_weight",
    "published_changed": "Published\nchanged",
    "published_unchanged": "Published\nunchanged",
    "published_change_ratio": "Published\nratio",
    "changed_difference": "Changed\ndifference",
    "unchanged_difference": "Unchanged\ndifference",
}
_SCORE_HEADINGS: Final = {
    **{
        name: one.title[:1].upper() + one.title[1:]
        for kind in (ScoreRecord, DatasetScore)
        for name, one in metrics_of(kind).items()
    },
    "bce_mean": "BCE",
    "class_mean_bce": "Class-mean\nBCE",
    "balanced_ce_mean": "Balanced\nCE",
    "average_precision": "AP",
    "best_f1_in_sample": "Best F1\nin-sample",
    "best_threshold_in_sample": "Threshold\nin-sample",
}
_EXACT: Final = ("best_threshold_in_sample",)
"""Columns that are typed again, so that no digit may be missing."""
_MOST_NAMED: Final = 60
"""Columns that a message lists."""
_MAPPINGS: Final = ("losses", "compared", "values")
"""Fields that are not columns but hold some."""
_FRACTIONS: Final = (
    "change_fraction",
    "mean_image_change_fraction",
    "median_image_change_fraction",
)
_LABELS: Final = ("changed", "unchanged", "ignore")
"""Columns that hold pixels, or a rule where their field is a text."""
_LEFT: Final = frozenset(
    (
        *("name", "dataset", "split", "path", "rule", "status", "reason", "source"),
        *("masks", "size", "quirks", "published_dataset"),
        *("pred", "target", "model", "kind", "loss", "remark"),
        *("part", "measure", "lowest", "highest"),
        *("severity", "check", "text"),
    )
)


def heading(column: str, kind: type[Record] | None = None) -> str:
    r"""The heading of a column, broken where a narrow table breaks it.

    Args:
        column: The name of the column.
        kind: The kind of rows, which tells counts from rules.

    Example:
        >>> heading("change_ratio"), heading("without_change")
        ('Changed/\nunchanged', 'Without change')
    """
    if _holds_rule(column, kind):
        return column.capitalize()
    if column.startswith("value["):
        return printable(column[len("value[") : -1])
    known = _HEADINGS.get(column) or _SCORE_HEADINGS.get(column)
    return known or _part_heading(column) or column.replace("_", " ").capitalize()


def _part_heading(column: str) -> str:
    """The heading of the difference or interval of a measure; empty for others."""
    for part in PARTS:
        measure = column.removesuffix(f"_{part}")
        if measure != column and measure in _SCORE_HEADINGS:
            return f"{_SCORE_HEADINGS[measure]} {part.replace('_', ' ')}"
    return ""


def is_text(column: str, kind: type[Record] | None = None) -> bool:
    """Whether a column is aligned to the left."""
    return column in _LEFT or _holds_rule(column, kind)


def _holds_rule(column: str, kind: type[Record] | None) -> bool:
    if kind is None or column not in _LABELS:
        return False
    return str(kind.__dataclass_fields__[column].type) == "str"


def cell(column: str, value: Any) -> str:  # noqa: ANN401 - any value of a record
    """A value as people read it: thousands apart, ratios with three decimals.

    Example:
        >>> cell("changed", 134068750), cell("change_ratio", 0.1466), cell("beta", None)
        ('134,068,750', '0.147', '–')
    """
    if value is None:
        return UNDEFINED
    if column in _EXACT:
        return repr(value)
    if isinstance(value, float):
        return f"{100 * value:.3f} %" if column in _FRACTIONS else f"{value:.3f}"
    if isinstance(value, int):
        return f"{value:,}"
    return printable(str(value))


def column_value(record: Record, name: str) -> Any:  # noqa: ANN401 - any column
    """The value of a column: what a record knows, or one of its further columns."""
    for further in ("losses", "further"):
        values: Mapping[str, Any] = getattr(record, further, {})
        if name in values:
            return values[name]
    return getattr(record, name, None)


def printable(text: str) -> str:
    r"""A text without control characters, so that a name cannot steer a terminal.

    Example:
        >>> printable("a\x1b[31m\n.png")
        'a\\x1b[31m\\n.png'
    """
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() else ascii(c)[1:-1] for c in text)


def choose_columns(
    text: str | None, kind: type[Record], further: Sequence[str] = ()
) -> tuple[str, ...] | None:
    """Read ``--columns``.

    Args:
        text: The option; None when it is not given.
        kind: The kind of rows.
        further: Columns beside the fields of the rows.

    Raises:
        UsageError: If a column does not exist.
    """
    if text is None:
        return None
    known = (*(n for n in columns(kind) if n not in _MAPPINGS), *further)
    # A comma within brackets belongs to the parameters of a loss.
    names = re.split(r",(?![^\[]*\])", text)
    chosen = tuple(name.strip() for name in names if name.strip())
    unknown = [name for name in chosen if name not in known]
    if unknown or not chosen:
        what = f"no column {unknown[0]!r}" if unknown else "--columns names none"
        raise UsageError(f"{what}; {_columns_text(unknown, known)}")
    return chosen


def _columns_text(unknown: Sequence[str], known: Sequence[str]) -> str:
    """The columns that there are; where they are many, those of a like name."""
    if len(known) <= _MOST_NAMED:
        return f"there are {', '.join(known)}"
    near = difflib.get_close_matches(unknown[0] if unknown else "", known, n=5)
    like = f"did you mean {' or '.join(near)}? " if near else ""
    return f"{like}--format csv without --columns prints all {len(known)}"


def summary_columns(rows: Sequence[SummaryRecord]) -> tuple[str, ...]:
    """The columns of the dataset table: DASNet's, and what the data calls for."""
    optional = {
        "split": any(row.split != ALL for row in rows),
        "failed": any(row.failed for row in rows),
        "ignored": any(row.ignored for row in rows),
    }
    wanted = ("dataset", "split", "images", "failed", "changed", "unchanged", "ignored")
    kept = tuple(name for name in wanted if optional.get(name, True))
    return (*kept, "change_ratio", "change_fraction")


def image_columns(rows: Sequence[ImageRecord]) -> tuple[str, ...]:
    """The columns of the image table."""
    optional = {
        "dataset": len({row.dataset for row in rows}) > 1,
        "ignored": any(row.ignored for row in rows),
        "status": any(row.status != "ok" for row in rows),
    }
    wanted = ("dataset", "path", "status", "changed", "unchanged", "ignored")
    kept = tuple(name for name in wanted if optional.get(name, True))
    return (*kept, "change_ratio", "change_fraction")


def model_columns(rows: Sequence[DatasetScore]) -> tuple[str, ...]:
    """The columns of the table of models, for papers."""
    wanted = (
        *("model", "images", "failed", "precision_pooled", "recall_pooled"),
        *("f1_pooled", "iou_pooled", "bce_mean", "class_mean_bce", "balanced_ce_mean"),
    )
    optional = {
        "model": any(row.model for row in rows),
        "failed": any(row.failed for row in rows),
    }
    further = dict.fromkeys(
        name
        for row in rows
        for name in row.losses
        if name.endswith(("_mean", "_pooled")) and not name.endswith("_image_mean")
    )
    return (*(name for name in wanted if optional.get(name, True)), *further)


def score_columns(
    rows: Sequence[ScoreRecord], *, losses: bool = True
) -> tuple[str, ...]:
    """The columns of the table of predictions, with those of further losses or not."""
    optional = {
        "model": len({row.model for row in rows}) > 1,
        "status": any(row.status != "ok" for row in rows),
    }
    wanted = (
        *("model", "pred", "status", "bce_mean", "class_mean_bce"),
        *("balanced_ce_mean", "f1", "iou"),
    )
    further = dict.fromkeys(name for row in rows for name in row.losses if losses)
    return (*(name for name in wanted if optional.get(name, True)), *further)
