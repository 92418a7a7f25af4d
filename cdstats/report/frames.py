"""Records as pandas data frames."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pandas as pd

from cdstats.core.columns import Record, columns_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from cdstats.core.score_records import DatasetScore, ScoreRecord


def frame(records: Sequence[Record], kind: type[Record]) -> pd.DataFrame:
    """A data frame with a row for each record and the columns of their kind.

    Counts are ``Int64`` and undefined values ``<NA>`` or ``NaN``, never 0.

    Args:
        records: Records of one kind.
        kind: Their class, which names the columns when there is no record.

    Example:
        >>> from cdstats.core.records import SummaryRecord
        >>> list(frame([], SummaryRecord).columns)[:3]
        ['dataset', 'split', 'images']
    """
    names = tuple(columns_of(kind))
    rows = [[getattr(record, name) for name in names] for record in records]
    table = pd.DataFrame(rows, columns=list(names))
    return table.astype(
        {
            name: pandas_type
            for name, pandas_type in _types(kind).items()
            if name in table.columns
        }
    )


def score_frame(
    rows: Sequence[ScoreRecord] | Sequence[DatasetScore],
    kind: type[ScoreRecord | DatasetScore],
) -> pd.DataFrame:
    """The rows of `cdstats.loss`, with a column for each number of a further loss."""
    table = frame(rows, kind)
    losses = pd.DataFrame([dict(row.losses) for row in rows], index=table.index)
    return pd.concat([table, losses.astype("float64")], axis=1)


def further_frame(rows: Sequence[Any]) -> pd.DataFrame:
    """Rows with a column for each of their further columns, at the end.

    Args:
        rows: Records of one kind that have a ``further``.
    """
    table = frame(rows, type(rows[0]))
    further = pd.DataFrame([row.further for row in rows], index=table.index)
    return pd.concat([table, further.astype("float64")], axis=1)


def _types(kind: type[Record]) -> dict[str, str]:
    annotations = {name: str(f.type) for name, f in kind.__dataclass_fields__.items()}
    names = {"int": "Int64", "int | None": "Int64", "float | None": "float64"}
    return {n: names[text] for n, text in annotations.items() if text in names}
