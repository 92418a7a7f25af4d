"""Splits from list files: ``list/train.txt`` and its like beside a mask folder."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from pathlib import Path, PurePath
from typing import TYPE_CHECKING, Final

from cdstats.io.naming import is_mask_folder

if TYPE_CHECKING:
    from collections.abc import Sequence

    from cdstats.io.found import FoundFile

UNLISTED: Final = "unlisted"
_LISTS: Final = ("train", "val", "test")


@dataclass(frozen=True)
class _SplitList:
    """The names in one list file, each line as the stems of its columns."""

    split: str
    path: Path
    lines: tuple[frozenset[str], ...]


def split_by_lists(
    files: Sequence[FoundFile],
) -> tuple[list[FoundFile], list[str]]:
    """Give files without a split the one of the list that names them.

    A list may have several columns; a mask belongs to it when a column names the mask
    or an image of the same name.

    Args:
        files: Masks, none of which has a split.

    Returns:
        The masks with their splits, and notes: which lists were used, names without a
        mask, and masks in two lists.
    """
    folders = {_mask_folder(PurePath(file.path)) for file in files}
    lists = [entry for folder in sorted(folders) for entry in _read_lists(folder)]
    if not lists:
        return list(files), []
    homes: dict[tuple[str, str], list[str]] = {}
    for entry in lists:
        for stem in frozenset().union(*entry.lines):
            homes.setdefault((str(entry.path.parent), stem), []).append(entry.split)
    placed = [_place(file, homes) for file in files]
    return placed, [_used_text(lists), *_missing(lists, files), *_twice(files, homes)]


def _place(file: FoundFile, homes: dict[tuple[str, str], list[str]]) -> FoundFile:
    splits = _splits_of(file, homes)
    return replace(file, split=splits[0] if splits else UNLISTED)


def _splits_of(file: FoundFile, homes: dict[tuple[str, str], list[str]]) -> list[str]:
    path = PurePath(file.path)
    return homes.get((str(_mask_folder(path).parent / "list"), path.stem), [])


def _mask_folder(path: PurePath) -> PurePath:
    """The nearest folder of masks above a file, else its own folder."""
    named = (parent for parent in path.parents if is_mask_folder(parent.name))
    return next(named, path.parent)


def _read_lists(folder: PurePath) -> list[_SplitList]:
    found = []
    for split in _LISTS:
        path = Path(folder.parent, "list", f"{split}.txt")
        if path.is_file():
            text = path.read_text(encoding="utf-8", errors="replace")
            lines = (_stems(line) for line in text.splitlines() if line.strip())
            found.append(_SplitList(split, path, tuple(lines)))
    return found


def _stems(line: str) -> frozenset[str]:
    names = {line.strip(), *re.split(r"[ \t,]+", line.strip())}
    return frozenset(PurePath(name).stem for name in names)


def _used_text(lists: Sequence[_SplitList]) -> str:
    names = ", ".join(f"list/{entry.path.name}" for entry in lists)
    beside = {
        str(p.name) for e in lists for p in e.path.parent.parent.glob("list_*.txt")
    }
    other = f"; not used: {', '.join(sorted(beside))}" if beside else ""
    return f"splits from {names}{other}"


def _missing(lists: Sequence[_SplitList], files: Sequence[FoundFile]) -> list[str]:
    stems = {PurePath(file.path).stem for file in files}
    return [
        f"{count:,} names of list/{entry.path.name} have no mask"
        for entry in lists
        if (count := sum(not (line & stems) for line in entry.lines))
    ]


def _twice(
    files: Sequence[FoundFile], homes: dict[tuple[str, str], list[str]]
) -> list[str]:
    doubled = [file for file in files if len(set(_splits_of(file, homes))) > 1]
    if not doubled:
        return []
    splits = _splits_of(doubled[0], homes)
    return [
        f"{len(doubled):,} masks are in more than one list, first {doubled[0].name} in "
        f"{' and '.join(splits)}; each is counted in the first of its lists"
    ]
