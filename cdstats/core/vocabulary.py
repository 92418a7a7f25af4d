"""What names of folders and files say, as data: the words of ``data/layouts.toml``."""

from __future__ import annotations

import tomllib
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
