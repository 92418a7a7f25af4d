"""What names of folders and files say, as data: the words of ``data/layouts.toml``."""

from __future__ import annotations

import tomllib
from functools import cache
from pathlib import Path
from typing import Final, Literal

DATA: Final = Path(__file__).parents[1] / "data"


@cache
def _tables() -> dict[str, dict[str, list[str]]]:
    return tomllib.loads((DATA / "layouts.toml").read_text(encoding="utf-8"))


@cache
def vocabulary() -> dict[str, dict[str, frozenset[str]]]:
    """The names and words of paths, by table and meaning."""
    return {
        table: {meaning: frozenset(words) for meaning, words in meanings.items()}
        for table, meanings in _tables().items()
    }


def shapes_of(table: Literal["looks", "layouts"]) -> dict[str, list[str]]:
    """The shapes of paths that show the dataset of a preset, by preset."""
    return _tables()[table]
