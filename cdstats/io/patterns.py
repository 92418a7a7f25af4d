"""Path patterns with ``{}`` and named fields, and the usual wildcards."""

from __future__ import annotations

import fnmatch
import os
import posixpath
import re
from dataclasses import dataclass
from difflib import get_close_matches
from functools import cached_property
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Final, NamedTuple

from cdstats.core.errors import UsageError
from cdstats.io.naming import split_named

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

PLACES: Final = (("y", "x"), ("row", "col"), ("n",))
"""Fields that give the position of a crop: first row and column, row and column of the
tile, or index of the tile."""
DIGITS: Final = frozenset(name for place in PLACES for name in place)
"""Numeric fields."""
_NAMES: Final = ("split", "model", *sorted(DIGITS))
_TOKEN: Final = re.compile(r"\{([^{}]*)\}|(\*\*/|\*\*|\*|\?)")
_GLOB_TOKEN: Final = re.compile(rf"{_TOKEN.pattern}|(\[!?\]?[^]/]*\])")
_WILD: Final = {"**/": "(?:.*/)?", "**": ".*", "*": "[^/]*", "?": "[^/]"}
_KEY: Final = "key"
UNKEPT: Final = (*_NAMES, _KEY)
"""Fields that are not stored, because they follow from the file."""
_TRIED: Final = 12
"""Number of names per side from which patterns are derived."""
_NEAR: Final = 0.8
"""Similarity to a known field above which a word counts as a misspelling."""

Step = re.Pattern[str] | str | None
"""Matcher for one path component; None matches any number of folders."""
State = frozenset[int]
"""Indices of the steps that may match the entries of a folder."""


def is_pattern(text: str) -> bool:
    """Whether a text has a field in braces."""
    return bool(re.search(r"\{[^{}]*\}", text))


@dataclass(frozen=True)
class Pattern:
    """A path with variable fields.

    ``{}`` is the key that pairs files. ``{split}``, ``{model}``, ``{y}``, ``{x}``,
    ``{row}``, ``{col}`` and ``{n}`` are named fields; any other word, such as
    ``{scene}``, is stored with the file. A field matches one path component or part of
    it, and the same text if repeated. A text without braces is a glob, which may also
    contain sets such as ``[ab]``.

    Attributes:
        text: The pattern as given.

    Example:
        >>> Pattern("runs/{model}/{}_{y}_{x}.png").match("runs/bit/test_2_0_512.png")
        {'model': 'bit', 'key': 'test_2', 'y': '0', 'x': '512'}
    """

    text: str

    def __post_init__(self) -> None:
        # On Windows, both slashes separate folders.
        object.__setattr__(self, "text", self.text.replace(os.sep, "/"))
        for name in re.findall(r"\{([^{}]*)\}", self.text):
            if not name or name in _NAMES:
                continue
            near = get_close_matches(name.lower(), _NAMES, 1, _NEAR)
            if near or not (name.isidentifier() and name.isascii()):
                known = ", ".join(f"{{{part}}}" for part in _NAMES)
                text = f"did you mean {{{near[0]}}}?" if near else "expected a word."
                raise UsageError(
                    f"{{{name}}} in {self.text!r} is not a pattern field; {text} "
                    f"Besides {{}} and {known}, words such as {{scene}} are fields"
                )

    @property
    def words(self) -> frozenset[str]:
        """Fields that identify an image: the key and user-defined words."""
        names = (name or _KEY for name in re.findall(r"\{([^{}]*)\}", self.text))
        return frozenset(names).difference(_NAMES)

    @property
    def place(self) -> tuple[str, ...]:
        """Fields that give the position of a crop; may be empty."""
        named = DIGITS.intersection(re.findall(r"\{([^{}]*)\}", self.text))
        found = next((place for place in PLACES if named == set(place)), ())
        if named and not found:
            ways = " or ".join(
                " with ".join(f"{{{name}}}" for name in place) for place in PLACES
            )
            raise UsageError(f"{self.text}: expected the position of a crop as {ways}")
        return found

    def named(self, parts: Mapping[str, str | None]) -> str:
        """The pattern with fields filled in, except those of crops."""

        def text(token: re.Match[str]) -> str:
            name = token[1] or _KEY
            return token[0] if name in DIGITS else parts.get(name) or token[0]

        return re.sub(r"\{([^{}]*)\}", text, self._normal)

    @property
    def folder(self) -> str:
        """The folder above the first variable component."""
        found = self._tokens.search(self._normal)
        fixed = self._normal[: found.start()] if found else self._normal
        return fixed.rpartition("/")[0] or ("/" if fixed.startswith("/") else ".")

    def match(self, path: str) -> dict[str, str] | None:
        """The fields of a matching path; None if it does not match."""
        found = self._regex.fullmatch(path)
        return found.groupdict() if found else None

    @cached_property
    def descent(self) -> Descent:
        """The folders that may contain matches.

        Folders that match a glob are read with everything below.
        """
        steps: list[Step] = []
        for part in self._normal.removeprefix(self.start).split("/"):
            if "**" in part:
                steps.append(None)
                if part != "**":
                    return Descent((*steps, None))
                continue
            if not self._tokens.search(part):
                steps.append(part)
                continue
            # A wildcard does not match a leading dot.
            dot = "" if part.startswith(".") else r"(?!\.)"
            steps.append(re.compile(dot + _translated(part, self._tokens)))
        return Descent((*steps, *(() if is_pattern(self.text) else (None,))))

    @cached_property
    def _normal(self) -> str:
        """The pattern without redundant ``./`` and ``//``."""
        return posixpath.normpath(self.text)

    @cached_property
    def start(self) -> str:
        """The fixed prefix of a path, up to the name relative to the folder."""
        return "" if self.folder == "." else f"{self.folder.rstrip('/')}/"

    @cached_property
    def _tokens(self) -> re.Pattern[str]:
        return _TOKEN if is_pattern(self.text) else _GLOB_TOKEN

    @cached_property
    def _regex(self) -> re.Pattern[str]:
        return re.compile(_translated(self._normal, self._tokens), re.DOTALL)


class Descent(NamedTuple):
    """The folders in which a pattern may match.

    Each step matches one level; a state holds the steps that may match next.
    """

    steps: tuple[Step, ...] = (None,)

    def start(self) -> State:
        """State of the topmost folder."""
        return self._closed({0})

    def enter(self, state: State, name: str) -> State:
        """State of a subfolder; empty if nothing below can match."""
        found = {at + 1 for at in state if _fits(self.steps[at], name)}
        if not name.startswith("."):
            found |= {at for at in state if self.steps[at] is None}
        return self._closed(found)

    def fits(self, state: State, name: str) -> bool:
        """Whether a step other than ``**`` matches a name."""
        return any(_fits(self.steps[at], name) for at in state)

    def only(self, state: State) -> str | None:
        """The only name that can match in a folder; None if there may be several."""
        steps = [self.steps[at] for at in state]
        return steps[0] if len(steps) == 1 and isinstance(steps[0], str) else None

    def is_deep(self, state: State) -> bool:
        """Whether matches may be at any depth."""
        return any(self.steps[at] is None for at in state)

    def _closed(self, found: set[int]) -> State:
        """The steps, with those after each ``**``, which also matches no folder."""
        for at, step in enumerate(self.steps):
            if step is None and at in found:
                found.add(at + 1)
        return frozenset(found - {len(self.steps)})


def _fits(step: Step, name: str) -> bool:
    if isinstance(step, re.Pattern):
        return bool(step.fullmatch(name))
    return step == name


def _translated(text: str, tokens: re.Pattern[str]) -> str:
    regex, end = "", 0
    seen: set[str] = set()
    for token in tokens.finditer(text):
        regex += re.escape(text[end : token.start()])
        if token[2]:
            regex += _WILD[token[2]]
        elif token[0].startswith("["):
            # fnmatch gives "(?s:[...])" and an end anchor; keep only the set.
            regex += "(?!/)" + fnmatch.translate(token[0])[4:].rpartition(")")[0]
        else:
            name = token[1] or _KEY
            kind = r"\d+" if name in DIGITS else "[^/]+"
            regex += f"(?P={name})" if name in seen else f"(?P<{name}>{kind})"
            seen.add(name)
        end = token.end()
    return regex + re.escape(text[end:])


def suggest_patterns(
    predictions: Sequence[str], masks: Sequence[str]
) -> tuple[str, str] | None:
    """Derive the pair of patterns that pairs most files; None if none does."""
    same = {PurePosixPath(name).stem: name for name in reversed(masks)}
    tried = {
        (one.replace(shared, "{}", 1), two.replace(shared, "{}", 1))
        for one in predictions[:_TRIED]
        for two in {*masks[:_TRIED], same.get(PurePosixPath(one).stem, masks[0])}
        if (shared := _longest_shared(one, two))
    }
    fit = {both: _paired(both, predictions, masks) for both in sorted(tried)}
    best = max(fit, key=lambda both: (fit[both], -sum(map(len, both))), default=None)
    fewer = min(len(predictions), len(masks))
    if best is None or 2 * fit[best] <= fewer:
        return None
    models = re.sub(r"^[^/{}]+/", "{model}/", best[0])
    held = [
        sum(map(bool, map(Pattern(one).match, predictions)))
        for one in (best[0], models)
    ]
    return (models, best[1]) if held[1] > held[0] else best


def _paired(
    patterns: tuple[str, str], predictions: Sequence[str], masks: Sequence[str]
) -> int:
    splits = [{*filter(None, map(split_named, one.split("/")))} for one in patterns]
    if splits[0] and splits[1] and splits[0].isdisjoint(splits[1]):
        return 0  # equal numbers in two splits are different images
    keys = [
        {found["key"] for name in names if (found := Pattern(text).match(name))}
        for text, names in zip(patterns, (predictions, masks), strict=True)
    ]
    return len(keys[0] & keys[1])


def _longest_shared(first: str, second: str) -> str:
    """The longest sequence of whole words and numbers common to both names."""
    return max(
        _runs(first) & _runs(second), key=lambda run: (len(run), run), default=""
    )


def _runs(name: str) -> set[str]:
    """All sequences of words and numbers within one path component."""
    stem = PurePosixPath(name).with_suffix("").as_posix()
    parts = re.findall(r"[^\W\d_]+|\d+|[\W_]", stem)
    places = [at for at, part in enumerate(parts) if part.isalnum()]
    runs = ("".join(parts[i : j + 1]) for i in places for j in places if i <= j)
    return {run for run in runs if "/" not in run}
