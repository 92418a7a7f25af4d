"""Splits from list files: ``list/train.txt`` and its like beside a mask folder."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from pathlib import Path, PurePath
from typing import TYPE_CHECKING, Final

from cdstats.io.addresses import is_address, two_slashes
from cdstats.io.found import FoundFiles
from cdstats.io.lists import text_if_there
from cdstats.io.naming import is_image_folder, is_mask_folder
from cdstats.io.signatures import EXTENSIONS

if TYPE_CHECKING:
    from collections.abc import Sequence

    from cdstats.io.found import FoundFile

UNLISTED: Final = "unlisted"
_LISTS: Final = ("train", "val", "test")
_MOST_ASKED: Final = 16
"""Mask folders of a store beside which lists are looked for: each costs requests."""
_KNOWN: Final = EXTENSIONS | {".gif", ".webp", ".jp2"}


@dataclass(frozen=True)
class _SplitList:
    """The names in one list file: for each line, those of its columns."""

    split: str
    path: Path
    lines: tuple[frozenset[str], ...]


@dataclass(frozen=True)
class _Listed:
    """The splits of the names in the lists beside one mask folder."""

    lists: tuple[_SplitList, ...]
    splits: dict[str, list[str]]

    def find(self, name: str) -> list[str]:
        """The splits of a mask: by its path in the folder, else by its name alone."""
        return self.splits.get(name) or self.splits.get(name.rpartition("/")[2], [])


def split_by_lists(
    files: FoundFiles,
) -> tuple[FoundFiles, list[str]]:
    """Give files without a split the one of the list that names them.

    A list may have several columns; a mask belongs to it when a column names the mask
    or an image of the same name.

    Args:
        files: Masks, none of which has a split.

    Returns:
        The masks with their splits, and notes: which lists were used, names without a
        mask, and masks in two lists.
    """
    folders = sorted(_mask_folders(files))
    if len(folders) > _MOST_ASKED and is_address(files[0].path):
        return files, []
    listed = {folder: _read_lists(folder) for folder in folders}
    if not any(one.lists for one in listed.values()):
        return files, []
    placed = FoundFiles()
    held: set[str] = set()
    doubled = _Doubled()
    for file in files:
        folder = _mask_folder(PurePath(file.path))
        splits = listed[folder].find(_name_in(folder, file))
        placed.append(replace(file, split=(splits or [UNLISTED])[0]))
        held.update(_names(folder, file))
        doubled.see(file, splits)
    lists = [entry for one in listed.values() for entry in one.lists]
    return placed, [_used_text(lists), *_missing(lists, held), *doubled.notes]


@dataclass
class _Doubled:
    """Masks that are in more than one list: how many, and the first of them."""

    count: int = 0
    first: str = ""

    def see(self, file: FoundFile, splits: Sequence[str]) -> None:
        """Note a mask that has several splits."""
        if len(set(splits)) > 1:
            self.count += 1
            self.first = self.first or f"{file.name} in {' and '.join(splits)}"

    @property
    def notes(self) -> list[str]:
        """What to tell about them."""
        if not self.count:
            return []
        return [
            f"{self.count:,} masks are in more than one list, first {self.first}; each "
            "is counted in the first of its lists"
        ]


def _mask_folders(files: FoundFiles) -> set[PurePath]:
    return {_mask_folder(PurePath(folder, "_")) for folder in files.folders()}


def _mask_folder(path: PurePath) -> PurePath:
    """The nearest folder of masks above a file, else its own folder."""
    named = (parent for parent in path.parents if is_mask_folder(parent.name))
    return next(named, path.parent)


def _name_in(folder: PurePath, file: FoundFile) -> str:
    """A mask's path below its folder, without its extension."""
    return _without_extension(PurePath(file.path).relative_to(folder).as_posix())


def _names(folder: PurePath, file: FoundFile) -> tuple[str, str]:
    name = _name_in(folder, file)
    return name, name.rpartition("/")[2]


def _without_extension(name: str) -> str:
    stem, dot, extension = name.rpartition(".")
    return stem if dot and f".{extension.lower()}" in _KNOWN else name


def _read_lists(folder: PurePath) -> _Listed:
    lists = []
    for split in _LISTS:
        path = Path(folder.parent, "list", f"{split}.txt")
        text = _text(path)
        if text is not None:
            lines = (_columns(line) for line in text.splitlines() if line.strip())
            lists.append(_SplitList(split, path, tuple(lines)))
    splits: dict[str, list[str]] = {}
    for entry in lists:
        for name in frozenset[str]().union(*entry.lines):
            splits.setdefault(name, []).append(entry.split)
    return _Listed(tuple(lists), splits)


def _text(path: Path) -> str | None:
    """The text of a list; None where there is none. Web servers are not asked."""
    place = two_slashes(path.as_posix())
    if is_address(place):
        return text_if_there(place) if place.startswith(("s3://", "gs://")) else None
    if not path.is_file():
        return None
    return path.read_text(encoding="utf-8-sig", errors="replace")


def _columns(line: str) -> frozenset[str]:
    """The names of a line: as a whole, or in columns; a folder of images dropped."""
    names = {line.strip(), *re.split(r"[ \t,]+", line.strip())}
    return frozenset(_listed_name(name) for name in names if name)


def _listed_name(name: str) -> str:
    parts = name.removeprefix("./").split("/")
    known = [
        part for part in parts[:-1] if is_mask_folder(part) or is_image_folder(part)
    ]
    if known:
        parts = parts[len(parts) - parts[::-1].index(known[-1]) :]
    return _without_extension("/".join(parts))


def _used_text(lists: Sequence[_SplitList]) -> str:
    names = ", ".join(dict.fromkeys(f"list/{entry.path.name}" for entry in lists))
    beside = {p.name for e in lists for p in e.path.parent.parent.glob("list_*.txt")}
    other = f"; not used: {', '.join(sorted(beside))}" if beside else ""
    return f"splits from {names}{other}"


def _missing(lists: Sequence[_SplitList], held: set[str]) -> list[str]:
    return [
        f"{count:,} names of list/{entry.path.name} have no mask"
        for entry in lists
        if (count := sum(not (line & held) for line in entry.lines))
    ]
