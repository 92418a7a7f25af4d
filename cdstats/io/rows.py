"""Rows that an earlier run wrote as CSV, read back into records."""

from __future__ import annotations

import csv
import io
from dataclasses import fields
from typing import TYPE_CHECKING, Any, TypeVar

from cdstats.core.errors import DataError

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping
    from pathlib import Path

    from cdstats.core.records import Record

Row = TypeVar("Row", bound="Record")


def read_text(path: Path) -> str:
    """The text of a file of results.

    Raises:
        DataError: If it cannot be read.
    """
    try:
        return path.read_text(encoding="utf-8", errors="surrogateescape")
    except OSError as error:
        reason = (error.strerror or str(error)).lower()
        raise DataError(f"{path}: cannot be read: {reason}") from None


def csv_rows(text: str) -> list[dict[str, str]]:
    """The rows of a CSV text by column.

    Raises:
        ValueError: If there is none.
    """
    rows = list(csv.DictReader(io.StringIO(text, newline="")))
    if not rows:
        raise ValueError("it holds no row")
    return rows


def parse_record(
    kind: type[Row], row: Mapping[str, str], leave_out: Collection[str] = ()
) -> Row:
    """A record from a row: empty cells are undefined, numbers as the fields say.

    Args:
        kind: The class of the record.
        row: Its columns as text.
        leave_out: Fields that are no columns.

    Raises:
        ValueError: If a column is missing or holds no number.
    """
    wanted = [field for field in fields(kind) if field.name not in leave_out]
    missing = [field.name for field in wanted if field.name not in row]
    if missing:
        raise ValueError(f"it has no column {missing[0]!r}")
    return kind(**{f.name: _value(str(f.type), row[f.name]) for f in wanted})


def _value(annotation: str, text: str) -> Any:  # noqa: ANN401 - as annotated
    if annotation.startswith(("int", "float")) and text == "":
        return None
    if annotation.startswith("int"):
        return int(text)
    if annotation.startswith("float"):
        return int(text) if text.lstrip("-").isdigit() else float(text)
    return text
