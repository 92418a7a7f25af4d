"""What names of folders and files say, as data: the words of ``data/layouts.toml``."""

from __future__ import annotations

import re
import tomllib
from fnmatch import fnmatchcase
from functools import cache
from pathlib import Path
from typing import Final

DATA: Final = Path(__file__).parents[1] / "data"


@cache
def vocabulary() -> dict[str, dict[str, frozenset[str]]]:
    """The names, words and shapes of paths, by table and meaning."""
    text = (DATA / "layouts.toml").read_text(encoding="utf-8")
    return {
        table: {meaning: frozenset(words) for meaning, words in meanings.items()}
        for table, meanings in tomllib.loads(text).items()
    }


@cache
def _certain_shapes() -> tuple[tuple[str, str, str, bool], ...]:
    """A word of a shape, the shape, its preset, and whether that reads the files."""
    return tuple(
        (max(re.split(r"[*?]|\[.*?\]", shape), key=len), shape, preset, is_read)
        for table, is_read in (("named", True), ("beside", False))
        for preset, shapes in vocabulary()[table].items()
        for shape in sorted(shapes)
    )


def named_preset(path: str) -> tuple[str, bool] | None:
    """The preset whose codes the name of a file fixes, and whether it reads the file.

    Example:
        >>> named_preset("targets/storm_1_post_disaster_target.png")
        ('xbd-post', True)
        >>> named_preset("targets/storm_1_pre_disaster_target.png")
        ('xbd-post', False)
        >>> named_preset("label/1.png")
    """
    lower = path.lower()
    for word, shape, preset, is_read in _certain_shapes():
        if word in lower and fnmatchcase(lower, shape):
            return preset, is_read
    return None
