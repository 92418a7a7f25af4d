"""Records read back from CSV files of earlier runs."""

from __future__ import annotations

import csv
import io
from collections import Counter
from dataclasses import fields
from typing import TYPE_CHECKING, Any, TypeVar

from cdstats.core.columns import from_cell

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping

    from cdstats.core.columns import Record

Row = TypeVar("Row", bound="Record")


def csv_rows(text: str) -> list[dict[str, str]]:
    """Parse CSV text into one dictionary per row."""
    try:
        rows = list(csv.DictReader(io.StringIO(text, newline="")))
    except csv.Error as error:
        raise ValueError(str(error)) from None
    if not rows:
        raise ValueError("it has no rows")
    for number, row in enumerate(rows, start=1):
        if None in row or None in row.values():
            raise ValueError(f"row {number} has more or fewer cells than the header")
    return rows


def refuse_duplicates(places: Iterable[tuple[str, ...]]) -> None:
    """Refuse several rows of one image, which would count twice."""
    for place, times in Counter(places).most_common(1):
        if times > 1:
            raise ValueError(f"{times} rows of {[one for one in place if one][-1]}")


def parse_record(
    kind: type[Row], row: Mapping[str, str], leave_out: Collection[str] = ()
) -> Row:
    """Parse a record; empty cells become None, numbers follow the field types."""
    wanted = [field for field in fields(kind) if field.name not in leave_out]
    cells = {}
    for one in wanted:
        if one.name in row:
            try:
                cells[one.name] = _value(str(one.type), row[one.name])
            except ValueError:
                raise ValueError(f"{one.name} is {row[one.name]!r}") from None
    return checked_record(kind, cells, leave_out)


def checked_record(
    kind: type[Row], values: Mapping[str, Any], leave_out: Collection[str] = ()
) -> Row:
    """Build a record from typed values by column; unknown columns are ignored."""
    wanted = [field for field in fields(kind) if field.name not in leave_out]
    for field in wanted:
        if field.name not in values:
            raise ValueError(f"it has no column {field.name!r}")
        if not _fits(str(field.type), values[field.name]):
            raise ValueError(f"{field.name} is {values[field.name]!r}")
    return kind(**{field.name: values[field.name] for field in wanted})


def _fits(annotation: str, value: object) -> bool:
    if value is None:
        return annotation.endswith("None")
    if annotation.startswith("int"):
        return type(value) is int
    if annotation.startswith("float"):
        return type(value) in (int, float)
    return isinstance(value, str)


def _value(annotation: str, text: str | None) -> Any:  # noqa: ANN401 - as annotated
    if text is None:
        return None
    if annotation.startswith(("int", "float")) and text == "":
        return None
    if annotation.startswith("int"):
        return int(text)
    if annotation.startswith("float"):
        return int(text) if text.lstrip("-").isdigit() else float(text)
    return from_cell(text)
