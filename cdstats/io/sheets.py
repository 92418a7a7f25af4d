"""Sheets of pairs: CSV files that name predictions beside their masks."""

from __future__ import annotations

import csv
import os
from collections import Counter
from typing import TYPE_CHECKING, Final, NamedTuple

from cdstats.core.errors import DataError, counted
from cdstats.core.secrets import sealed, without_secrets
from cdstats.io.addresses import looks_like_address

if TYPE_CHECKING:
    from _csv import Reader
    from collections.abc import Iterable, Iterator, Sequence

HEADER: Final = "pred,target[,split,model,group]"
"""The header of a sheet, as messages show it."""
_DELIMITERS: Final = ",;\t"
_LONGEST: Final = 80
"""Characters of a header that a message shows."""


class SheetLine(NamedTuple):
    """A line of a sheet: paths as written, and what else it says of the pair.

    A cell of a column that the sheet lacks is empty. Its fields are the known columns.
    """

    pred: str = ""
    target: str = ""
    split: str = ""
    model: str = ""
    group: str = ""


class Sheet(NamedTuple):
    """The lines of a sheet in their order, and what to tell of it."""

    lines: tuple[SheetLine, ...]
    notes: tuple[str, ...]


def is_sheet(first: str) -> bool:
    """Whether the first line of a list is the header of a sheet.

    Example:
        >>> is_sheet("target;pred;city"), is_sheet("tiles/pred/1.png")
        (True, False)
    """
    names = _names(first)
    return len(names) > 1 and not {"pred", "target"}.isdisjoint(names)


def read_sheet(name: str, lines: Iterable[str]) -> Sheet:
    """The lines of a sheet, of which the first is its header.

    Raises:
        DataError: If cells are missing, or lines contradict each other.
    """
    rest = iter(lines)
    numbered = ((at, one) for at, one in enumerate(rest, start=1) if one.strip())
    start, header = next(numbered, (0, ""))
    names, delimiter = _names(header), _delimiter(header)
    if "target" not in names:
        raise DataError(header_text(name, header))
    doubled = [one for one, times in Counter(names).items() if times > 1]
    if doubled:
        raise DataError(f"{name}: its header names the column {doubled[0]!r} twice")
    found: dict[int, SheetLine] = {}
    reader = csv.reader(rest, delimiter=delimiter)
    for cells in _rows(name, start, reader):
        at = start + reader.line_num
        if len(cells) > len(names):
            raise DataError(
                f"{name}: line {at} holds {len(cells)} cells; expected {len(names)}. "
                f"Quote paths that hold a {delimiter!r}"
            )
        held = dict(zip(names, cells, strict=False))
        known = {one: held.get(one, "") for one in SheetLine._fields}
        found[at] = SheetLine(**known)
    if not found:
        raise DataError(f"{name}: holds a header and no pair")
    _refuse_empty(name, names, found)
    _refuse_doubled(name, found)
    further = [one or "without a name" for one in names if one not in SheetLine._fields]
    many = "column" if len(further) == 1 else "columns"
    notes = [f"{many} {', '.join(further)} ignored"] if further else []
    return Sheet(tuple(found.values()), tuple(notes))


def _rows(name: str, start: int, reader: Reader) -> Iterator[list[str]]:
    """The cells of each line that holds something, without blanks around them."""
    try:
        for cells in reader:
            stripped = [cell.strip() for cell in cells]
            if any(stripped):
                yield stripped
    except csv.Error as error:
        raise DataError(f"{name}: line {start + reader.line_num}: {error}") from None


def header_text(name: str, header: str) -> str:
    """What to say of a list whose first line is not the header of a sheet."""
    shown = _shown(header)[:_LONGEST]
    return f"{name}: the first line is {shown!r}; expected a header {HEADER}"


def _shown(text: str) -> str:
    """A cell as messages show it."""
    return str(sealed(text)) if looks_like_address(text) else without_secrets(text)


def _delimiter(header: str) -> str:
    """What stands between cells: the one of which the header holds most."""
    return max(_DELIMITERS, key=header.count)


def _names(header: str) -> list[str]:
    """The names of columns in lower case."""
    cells = next(csv.reader([header], delimiter=_delimiter(header)), [])
    return [cell.strip().lower() for cell in cells]


def _refuse_empty(name: str, names: Sequence[str], found: dict[int, SheetLine]) -> None:
    """Refuse a column that is filled in some lines alone; paths are in all."""
    for column in (one for one in SheetLine._fields if one in names):
        empty = [at for at, line in found.items() if not getattr(line, column)]
        if empty and (len(empty) < len(found) or column in ("pred", "target")):
            raise DataError(
                f"{name}: line {empty[0]} has no {column} "
                f"({counted(len(empty), 'such line')}); expected one in every line"
            )


def _refuse_doubled(name: str, found: dict[int, SheetLine]) -> None:
    """Refuse pairs given twice, and files whose pair or split is not clear."""
    seen: dict[tuple[str, ...], tuple[int, str]] = {}

    def check(at: int, key: tuple[str, ...], value: str, text: str) -> None:
        first, other = seen.setdefault(key, (at, value))
        if first != at and (other != value or key[0] == "pair"):
            raise DataError(f"{name}: lines {first} and {at} {text}")

    for at, line in found.items():
        pred, target = map(os.path.normpath, (line.pred, line.target))
        shown = [*map(_shown, (line.pred, line.target))]
        of = f" of model {line.model}" if line.model else ""
        check(at, ("split", target), line.split, f"give {shown[1]} two splits")
        if not line.pred:
            continue
        pair = ("pair", line.model, pred, target)
        check(at, pair, "", f"are the same pair{of}: {', '.join(shown)}")
        text = f"give the prediction {shown[0]}{of} two masks; expected one"
        check(at, ("pred", line.model, pred), target, text)
        text = f"give the mask {shown[1]} two predictions{of}; expected one"
        way = "" if line.model else ". Name the models in a column model"
        check(at, ("target", line.model, target), pred, f"{text}{way}")
