"""Words in names of folders and files, from ``data/layouts.toml``."""

from __future__ import annotations

import re
import tomllib
from fnmatch import fnmatchcase
from functools import cache, lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Final, Literal, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Collection

DATA: Final = Path(__file__).parents[1] / "data"


@cache
def _tables() -> dict[str, dict[str, list[str]]]:
    return tomllib.loads((DATA / "layouts.toml").read_text(encoding="utf-8"))


@cache
def vocabulary() -> dict[str, dict[str, frozenset[str]]]:
    """Names and words by table and meaning."""
    return {
        table: {meaning: frozenset(words) for meaning, words in meanings.items()}
        for table, meanings in _tables().items()
    }


def shapes_of(table: Literal["looks", "layouts"]) -> dict[str, list[str]]:
    """Path patterns of datasets, by preset."""
    return _tables()[table]


def known_looks(paths: Collection[str]) -> tuple[str, ...]:
    """Presets of datasets with names like these lowercase paths."""
    every = "\n".join(paths)
    return tuple(
        preset
        for preset, shapes in shapes_of("looks").items()
        if any(
            all(part in every for part in re.split(r"\*|\[.*?\]", shape))
            and any(fnmatchcase(path, shape) for path in paths)
            for shape in shapes
        )
    )


def known_layouts(path: str) -> tuple[str, ...]:
    """Presets of datasets whose layout matches the end of a path.

    Example:
        >>> known_layouts("/data/LEVIR_CD/train/label/1.png")
        ('levir-cd',)
        >>> known_layouts("other/train/label/1.png")
        ()
    """
    folder, _, name = path.rpartition("/")
    lower = name.lower()
    found = [one for one in _in_folder(folder) if fnmatchcase(lower, one.name)]
    most = max((len(one.folders) for one in found), default=0)
    best = (one.preset for one in found if len(one.folders) == most)
    return tuple(dict.fromkeys(best))


class _Shape(NamedTuple):
    """A layout: folders, file name pattern, and preset.

    The layout with the most folders is the most certain.
    """

    folders: tuple[str, ...]
    name: str
    preset: str


@lru_cache(maxsize=4096)
def _in_folder(folder: str) -> tuple[_Shape, ...]:
    """The layouts that match a folder."""
    splits = frozenset().union(*vocabulary()["splits"].values())
    parts = [part for part in folder.lower().split("/") if part not in splits]
    plain = tuple(map(_plain, parts))
    return tuple(one for one in _shapes() if _ends(plain, one.folders))


@cache
def _shapes() -> tuple[_Shape, ...]:
    found = []
    for preset, shapes in shapes_of("layouts").items():
        for *folders, name in (shape.split("/") for shape in shapes):
            found.append(_Shape(tuple(map(_plain, folders)), name, preset))
    return tuple(found)


def _ends(parts: tuple[str, ...], folders: tuple[str, ...]) -> bool:
    """Whether the last folders match a layout; ``**`` matches any number."""
    if not folders:
        return True
    *above, last = folders
    if last == "**":
        return any(_ends(parts[:n], (*above,)) for n in range(len(parts) + 1))
    fits = bool(parts) and last in ("*", parts[-1])
    return fits and _ends(parts[:-1], (*above,))


def _plain(part: str) -> str:
    """A folder name without separators."""
    return re.sub(r"[-_ ]", "", part)
