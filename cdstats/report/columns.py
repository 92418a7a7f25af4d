"""Which columns are shown."""

from __future__ import annotations

import difflib
import re
from typing import TYPE_CHECKING, Final

from cdstats.core.columns import columns_of
from cdstats.core.errors import UsageError
from cdstats.core.records import ALL

if TYPE_CHECKING:
    from collections.abc import Sequence

    from cdstats.core.columns import Record
    from cdstats.core.records import ImageRecord, SummaryRecord
    from cdstats.core.score_records import DatasetScore, ScoreRecord

_MOST_NAMED: Final = 60
"""Columns that a message lists."""


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
    known = (*columns_of(kind), *further)
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
    known = {n for row in rows for n, value in row.losses.items() if value is not None}
    further = dict.fromkeys(n for row in rows for n in row.losses if _heads(n, known))
    return (*(name for name in wanted if optional.get(name, True)), *further)


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
