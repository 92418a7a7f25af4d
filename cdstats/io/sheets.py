"""Sheets of pairs: CSV files that list predictions with their masks."""

from __future__ import annotations

import csv
import os
from collections import Counter
from types import MappingProxyType
from typing import TYPE_CHECKING, Final, NamedTuple, TypeAlias

from cdstats.core.errors import DataError, counted
from cdstats.core.secrets import sealed, without_secrets
from cdstats.io.addresses import looks_like_address

if TYPE_CHECKING:
    from _csv import Reader
    from collections.abc import Iterable, Iterator, Mapping, Sequence

HEADER: Final = "pred,target[,split,model,group,seed]"
"""Header of a sheet, as shown in messages."""
BY_SHEET: Final = (
    "If one side is a stack, its images have no names to pair with files: list the "
    "pairs in a CSV file, --pred @pairs.csv, with the header pred,target and lines "
    "such as"
)
_DELIMITERS: Final = ",;\t"
_LONGEST: Final = 80
"""Most characters of a header shown in a message."""
_KNOWN: Final = ("pred", "target", "split", "model")
"""Columns with a fixed meaning; others are words."""


class SheetLine(NamedTuple):
    """A line of a sheet, with paths as written.

    Cells of missing columns are empty. ``words`` holds the filled cells of all other
    columns, such as group or seed, by name.
    """

    pred: str = ""
    target: str = ""
    split: str = ""
    model: str = ""
    words: Mapping[str, str] = MappingProxyType({})


RunLine: TypeAlias = "tuple[str, tuple[str, str] | None, Mapping[str, str]]"
"""Model of a line, identity of its mask, and its words."""


class Sheet(NamedTuple):
    """The lines of a sheet in order, with notes."""

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
    """Parse a sheet; the first line is the header.

    Raises:
        DataError: If cells are missing or lines contradict each other.
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
    further = [one for one in names if one and one not in _KNOWN]
    reader = csv.reader(rest, delimiter=delimiter)
    for cells in _rows(name, start, reader):
        at = start + reader.line_num
        if len(cells) > len(names):
            raise DataError(
                f"{name}: line {at} has {len(cells)} cells; expected {len(names)}. "
                f"Quote paths that contain {delimiter!r}"
            )
        held = dict(zip(names, cells, strict=False))
        known = {one: held.get(one, "") for one in _KNOWN}
        words = {n: _shown(text) for n, text in held.items() if n in further and text}
        found[at] = SheetLine(**known, words=words)
    if not found:
        raise DataError(f"{name}: has a header but no pairs")
    _refuse_empty(name, names, found)
    _refuse_doubled(name, found)
    other = [one for one in further if one not in ("group", "seed")]
    many = "column" if len(other) == 1 else "columns"
    text = f"{many} {', '.join(other)}: used only by --group and --repeats"
    notes = [text] if other else []
    return Sheet(tuple(found.values()), tuple(notes))


def _rows(name: str, start: int, reader: Reader) -> Iterator[list[str]]:
    """The stripped cells of each non-empty line."""
    try:
        for cells in reader:
            stripped = [cell.strip() for cell in cells]
            if any(stripped):
                yield stripped
    except csv.Error as error:
        raise DataError(f"{name}: line {start + reader.line_num}: {error}") from None


def header_text(name: str, header: str) -> str:
    """The message on a list whose first line is not a sheet header."""
    shown = _shown(header)[:_LONGEST]
    return f"{name}: the first line is {shown!r}; expected a header {HEADER}"


def _shown(text: str) -> str:
    return str(sealed(text)) if looks_like_address(text) else without_secrets(text)


def _delimiter(header: str) -> str:
    """The most frequent delimiter in the header."""
    return max(_DELIMITERS, key=header.count)


def _names(header: str) -> list[str]:
    """Column names in lower case."""
    cells = next(csv.reader([header], delimiter=_delimiter(header)), [])
    return [cell.strip().lower() for cell in cells]


def _refuse_empty(name: str, names: Sequence[str], found: dict[int, SheetLine]) -> None:
    """Refuse a column that only some lines fill, and missing paths."""
    for column in (one for one in (*_KNOWN, "group") if one in names):
        empty = [
            at
            for at, line in found.items()
            if not (line.words.get(column) or getattr(line, column, ""))
        ]
        if empty and (len(empty) < len(found) or column in ("pred", "target")):
            raise DataError(
                f"{name}: line {empty[0]} has no {column} "
                f"({counted(len(empty), 'such line')}); expected one in every line"
            )


def _refuse_doubled(name: str, found: dict[int, SheetLine]) -> None:
    """Refuse duplicate pairs, and files with ambiguous pair or split."""
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
        way = ". Number the runs in a column seed"
        way = way if line.model else ". Name the models in a column model"
        own = "target", line.model, target, *map("=".join, line.words.items())
        check(at, own, pred, f"{text}{way}")


def names_of_runs(lines: Sequence[RunLine]) -> list[str]:
    """The model of each line, one per run if a column tells runs apart.

    Example:
        >>> words = {"seed": "1"}, {"seed": "2"}
        >>> names_of_runs([("a", ("m.png", ""), one) for one in words])
        ['a seed=1', 'a seed=2']
    """

    def alone(models: Sequence[str]) -> bool:
        pairs = zip(models, lines, strict=True)
        keys = [(model, mask) for model, (_, mask, _) in pairs if mask]
        return len(set(keys)) == len(keys)

    plain = [model for model, _, _ in lines]
    if alone(plain):
        return plain
    for word in dict.fromkeys(word for _, _, words in lines for word in words):
        names = [
            f"{model} {word}={words[word]}".strip() if word in words else model
            for model, _, words in lines
        ]
        # A column that numbers the lines would give each line its own model.
        several = len({mask for _, mask, _ in lines}) > 1
        if alone(names) and not (several and len(set(names)) == len(names)):
            return names
    return plain
