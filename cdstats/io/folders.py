"""Walking folders: every mask file below a path, and what else lies there."""

from __future__ import annotations

import os
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from cdstats.core.messages import counted
from cdstats.core.vocabulary import vocabulary
from cdstats.io.naming import is_image_folder
from cdstats.io.signatures import wanted_texts

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping


@dataclass
class Walk:
    """What lies below a folder.

    Attributes:
        names: Mask files relative to the folder, with forward slashes.
        problems: Folders that could not be read.
        others: Files that are no mask files by their extension, in lower case; those
            in folders of images are not counted.
    """

    names: list[str] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)
    others: Counter[str] = field(default_factory=Counter)


def walk(folder: Path, extensions: frozenset[str]) -> Walk:
    """Find every file with one of some extensions below a folder.

    Hidden files and folders are left out. Symbolic links are followed, each folder
    once, so that links cannot run in a circle or count a file twice.
    """
    found = Walk()
    seen: set[tuple[int, int]] = set()
    waiting: list[tuple[Path, str]] = [(folder, "")]
    while waiting:
        place, prefix = waiting.pop()
        for entry in _entries(place, found, seen):
            name = f"{prefix}{entry.name}"
            if _is_folder(entry):
                waiting.append((Path(entry.path), f"{name}/"))
            elif _suffix(entry.name) in extensions:
                found.names.append(name)
            elif not is_image_folder(place.name):
                found.others[_suffix(entry.name)] += 1
        # Real folders first: a link to one of them is then the one left out.
        waiting.sort(key=lambda item: (not item[0].is_symlink(), item[1]))
    return found


def _suffix(name: str) -> str:
    return os.path.splitext(name)[1].lower()  # noqa: PTH122 - a million names


def _is_folder(entry: os.DirEntry[str]) -> bool:
    """Whether an entry is a folder; a link that leads nowhere is none."""
    try:
        return entry.is_dir()
    except OSError:
        return False


def _entries(
    place: Path, found: Walk, seen: set[tuple[int, int]]
) -> Iterator[os.DirEntry[str]]:
    """What a folder holds, one by one; nothing of one that was seen before."""
    try:
        status = place.stat()
        key = (status.st_dev, status.st_ino)
        if key in seen:
            return
        seen.add(key)
        with os.scandir(place) as entries:
            yield from (entry for entry in entries if not entry.name.startswith("."))
    except OSError as error:
        reason = (error.strerror or str(error)).lower()
        found.problems.append(f"{place}: the folder cannot be read: {reason}")


def unread_notes(others: Mapping[str, int]) -> list[str]:
    """How many files of data there are whose formats are not read."""
    known = vocabulary()["unread"]["extensions"]
    return [
        f"{counted(number, f'{ending} file')} skipped: the format is not read"
        for ending, number in sorted(others.items())
        if ending in known
    ]


def empty_text(
    path: Path, others: Mapping[str, int], extensions: frozenset[str]
) -> str:
    """What to tell of a folder without the files that are looked for.

    Args:
        path: The folder.
        others: The files that it holds by extension.
        extensions: Those that were looked for.
    """
    kind, expected = wanted_texts(extensions)
    text = f"{path}: holds no {kind}s; expected {expected}"
    vector = {".geojson", ".json", ".shp", ".gpkg"} & others.keys()
    arrays = {".h5", ".hdf5", ".mat"} & others.keys()
    if vector:
        return (
            f"{text}. {', '.join(sorted(vector))}: vector labels; rasterise them first"
        )
    if arrays:
        what = kind.removesuffix(" file")
        return f"{text}. {', '.join(sorted(arrays))}: export the {what}s first"
    return ". ".join([text, *unread_notes(others)])
