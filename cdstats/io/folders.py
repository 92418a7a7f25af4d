"""Walking folders: every mask file below a path, and which folders hold masks."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Final

from cdstats.core.errors import DataError
from cdstats.io.naming import is_image_folder, is_mask_folder, naturally
from cdstats.io.signatures import wanted_texts

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

_SHOWN: Final = 3
"""Folders that a note names."""


@dataclass
class Walk:
    """What lies below a folder.

    Attributes:
        names: Mask files relative to the folder, with forward slashes.
        problems: Folders that could not be read.
        others: Extensions of files that are no mask files, in lower case.
    """

    names: list[str] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)
    others: set[str] = field(default_factory=set)


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
            else:
                found.others.add(_suffix(entry.name))
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


def mask_names(folder: Path, names: Iterable[str]) -> tuple[list[str], str]:
    """The files among those below a folder that are masks by their folders.

    Where folders such as ``label`` lie beside others, only those are read; otherwise
    folders of images such as ``A`` and ``B`` are left out.

    Returns:
        The masks' names in natural order, and a note when something was left out.

    Raises:
        DataError: If the folder holds two masks of every image.
    """
    ordered = naturally(names)
    inside = [name for name in ordered if any(map(is_mask_folder, _folders(name)))]
    far = ""
    if inside and not is_mask_folder(folder.name):
        beside, far = _beside(ordered, inside)
        kept, left = inside, _top_folders(beside, inside, lambda _: True)
    else:
        kept = [n for n in ordered if not any(map(is_image_folder, _folders(n)))]
        left = _top_folders(ordered, kept, is_image_folder)
    if not kept:
        kept, left = ordered, []
    _refuse_doubles(folder, kept)
    if not left and not far:
        return kept, ""
    read = {f for n in kept for f in _folders(n) if is_mask_folder(f)}
    what = ", ".join(naturally(read)) or "the other folders"
    gone = [f"left out {', '.join(left)}"] if left else []
    return kept, "; ".join(
        [f"read the masks in {what}", *gone, *([far] if far else [])]
    )


def _beside(names: list[str], inside: list[str]) -> tuple[list[str], str]:
    """Files in or beside folders of masks, and what to tell of those elsewhere.

    They are left out, and may well be the masks of another dataset.
    """
    parents = {_above_masks(_folders(name)) for name in inside}
    elsewhere = [
        name
        for name in names
        if not any(_folders(name)[: len(above)] == above for above in parents)
    ]
    if not elsewhere:
        return names, ""
    folders = [*dict.fromkeys(name.rpartition("/")[0] or "." for name in elsewhere)]
    more = f" and {len(folders) - _SHOWN:,} more" if len(folders) > _SHOWN else ""
    files = "1 file" if len(elsewhere) == 1 else f"{len(elsewhere):,} files"
    gone = set(elsewhere)
    return [name for name in names if name not in gone], (
        f"left out {files} beside no such folder, in {', '.join(folders[:_SHOWN])}"
        f"{more}: to read them, name their folder"
    )


def _above_masks(folders: tuple[str, ...]) -> tuple[str, ...]:
    """The folders above the first one of masks."""
    first = next(at for at, name in enumerate(folders) if is_mask_folder(name))
    return folders[:first]


def _folders(name: str) -> tuple[str, ...]:
    return _parts(name.rpartition("/")[0])


@lru_cache(maxsize=1024)
def _parts(folder: str) -> tuple[str, ...]:
    return PurePosixPath(folder).parts


def _top_folders(
    names: list[str], kept: list[str], choose: Callable[[str], bool]
) -> list[str]:
    """The folders of the names that were not kept, by their last part."""
    if len(kept) == len(names):
        return []
    held = set(kept)
    left = {n for n in names if n not in held}
    folders = {f for n in left for f in _folders(n)[-1:] if choose(f)}
    loose = ["files outside them"] if any(not _folders(n) for n in left) else []
    return naturally(folders) + loose


def _refuse_doubles(folder: Path, names: list[str]) -> None:
    """Refuse layouts that hold each mask twice.

    Raises:
        DataError: If `names` has both labels of SECOND, or both codings of OSCD.
    """
    folders = {part for name in names for part in _folders(name)}
    if {"label1", "label2"} <= folders:
        raise DataError(
            f"{folder}: label1 and label2 are two labels of the same images; read "
            f"one, for example '{folder}/{{split}}/label1/{{}}.png'"
        )
    if any(name.lower().endswith("cm/cm.png") for name in names) and any(
        name.lower().endswith("-cm.tif") for name in names
    ):
        raise DataError(
            f"{folder}: holds each mask twice, as cm.png (0/255) and as *-cm.tif "
            "(1/2); read one with --preset oscd-png or --preset oscd-tif"
        )


def empty_text(path: Path, others: set[str], extensions: frozenset[str]) -> str:
    """What to tell of a folder without the files that are looked for.

    Args:
        path: The folder.
        others: The extensions of the files that it holds.
        extensions: Those that were looked for.
    """
    kind, expected = wanted_texts(extensions)
    text = f"{path}: holds no {kind}s; expected {expected}"
    vector = {".geojson", ".json", ".shp", ".gpkg"} & others
    arrays = {".h5", ".hdf5", ".mat"} & others
    if vector:
        return (
            f"{text}. {', '.join(sorted(vector))}: vector labels; rasterise them first"
        )
    if arrays:
        what = kind.removesuffix(" file")
        return f"{text}. {', '.join(sorted(arrays))}: export the {what}s first"
    return text
