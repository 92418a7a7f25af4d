"""Path patterns: ``{}`` and named parts in braces, beside the usual wildcards."""

from __future__ import annotations

import posixpath
import re
from dataclasses import dataclass
from functools import cached_property
from typing import Final

from cdstats.core.errors import UsageError

NAMES: Final = ("split", "model", "y", "x")
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

    ``{}`` is the key that pairs files and ``{split}``, ``{model}``, ``{y}``, ``{x}``
    are named parts; each stands for one folder or file name or a piece of it, and for
    the same text wherever it is repeated.

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
    return rf"(?P<{name}>\d+)" if name in "yx" else f"(?P<{name}>[^/]+)"
