"""Path patterns: ``{}`` and named parts in braces, beside the usual wildcards."""

from __future__ import annotations

import posixpath
import re
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Final

from cdstats.core.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Mapping

PLACES: Final = (("y", "x"), ("row", "col"), ("n",))
"""The parts that together say where a crop lies: its first row and column, the row and
column of its tile, or the number of its tile."""
NAMES: Final = ("split", "model", *(name for place in PLACES for name in place))
_DIGITS: Final = frozenset(name for place in PLACES for name in place)
_TOKEN: Final = re.compile(r"\{([^{}]*)\}|(\*\*/|\*\*|\*|\?)")
_WILD: Final = {"**/": "(?:.*/)?", "**": ".*", "*": "[^/]*", "?": "[^/]"}
_KEY: Final = "key"


def is_pattern(text: str) -> bool:
    """Whether a text has a part in braces.

    Example:
        >>> is_pattern("preds/{}_pred.png"), is_pattern("preds/*.png")
        (True, False)
    """
    return bool(re.search(r"\{[^{}]*\}", text))


@dataclass(frozen=True)
class Pattern:
    """A path with parts that vary.

    ``{}`` is the key that pairs files and ``{split}``, ``{model}``, ``{y}``, ``{x}``,
    ``{row}``, ``{col}`` and ``{n}`` are named parts; each stands for one folder or
    file name or a piece of it, and for the same text wherever it is repeated.

    Attributes:
        text: The pattern as given.

    Raises:
        UsageError: If a name in braces is none of those.

    Example:
        >>> Pattern("runs/{model}/{}_{y}_{x}.png").match("runs/bit/test_2_0_512.png")
        {'model': 'bit', 'key': 'test_2', 'y': '0', 'x': '512'}
    """

    text: str

    def __post_init__(self) -> None:
        for name in re.findall(r"\{([^{}]*)\}", self.text):
            if name and name not in NAMES:
                known = ", ".join(f"{{{part}}}" for part in NAMES)
                raise UsageError(
                    f"{{{name}}} in {self.text!r} is no part of a pattern; expected "
                    f"{{}} or one of {known}"
                )

    @property
    def place(self) -> tuple[str, ...]:
        """The parts that say where a crop lies; none where no part does.

        Raises:
            UsageError: If it is placed in two ways, or in half of one.
        """
        named = _DIGITS.intersection(re.findall(r"\{([^{}]*)\}", self.text))
        found = next((place for place in PLACES if named == set(place)), ())
        if named and not found:
            ways = " or ".join(
                " with ".join(f"{{{name}}}" for name in place) for place in PLACES
            )
            raise UsageError(f"{self.text}: the place of a crop is {ways}")
        return found

    def named(self, parts: Mapping[str, str | None]) -> str:
        """The pattern with the parts of a path put in, those of crops aside.

        Example:
            >>> parts = {"key": "s_1", "model": "bit", "y": "0", "x": "512"}
            >>> Pattern("runs/{model}/{}_{y}_{x}.png").named(parts)
            'runs/bit/s_1_{y}_{x}.png'
        """

        def text(token: re.Match[str]) -> str:
            name = token[1] or _KEY
            return token[0] if name in _DIGITS else parts.get(name) or token[0]

        return re.sub(r"\{([^{}]*)\}", text, self._normal)

    @property
    def folder(self) -> str:
        """The folder above the first part that varies."""
        found = _TOKEN.search(self._normal)
        fixed = self._normal[: found.start()] if found else self._normal
        return fixed.rpartition("/")[0] or ("/" if fixed.startswith("/") else ".")

    def match(self, path: str) -> dict[str, str] | None:
        """The parts of a path that fits, or None."""
        found = self._regex.fullmatch(path)
        return found.groupdict() if found else None

    @cached_property
    def _normal(self) -> str:
        """The pattern without what a path may be spelled with: ``./`` and ``//``."""
        return posixpath.normpath(self.text)

    @cached_property
    def _regex(self) -> re.Pattern[str]:
        regex, end = "", 0
        seen: set[str] = set()
        for token in _TOKEN.finditer(self._normal):
            regex += re.escape(self._normal[end : token.start()])
            regex += _WILD[token[2]] if token[2] else _group(token[1] or _KEY, seen)
            end = token.end()
        return re.compile(regex + re.escape(self._normal[end:]))


def _group(name: str, seen: set[str]) -> str:
    if name in seen:
        return f"(?P={name})"
    seen.add(name)
    return rf"(?P<{name}>\d+)" if name in _DIGITS else f"(?P<{name}>[^/]+)"
