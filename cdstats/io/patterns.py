"""Path patterns: ``{}`` and named parts in braces, beside the usual wildcards."""

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
"""The parts that together say where a crop lies: its first row and column, the row and
column of its tile, or the number of its tile."""
DIGITS: Final = frozenset(name for place in PLACES for name in place)
"""Those parts, each of which is a number."""
_NAMES: Final = ("split", "model", *sorted(DIGITS))
_TOKEN: Final = re.compile(r"\{([^{}]*)\}|(\*\*/|\*\*|\*|\?)")
_GLOB_TOKEN: Final = re.compile(rf"{_TOKEN.pattern}|(\[!?\]?[^]/]*\])")
_WILD: Final = {"**/": "(?:.*/)?", "**": ".*", "*": "[^/]*", "?": "[^/]"}
_KEY: Final = "key"
UNKEPT: Final = (*_NAMES, _KEY)
"""Parts that are not kept with a file: it tells them itself."""
_TRIED: Final = 12
"""Names of each side from which patterns are made."""
_NEAR: Final = 0.8
"""How like a known part a word is taken for a misspelling of it."""

Step = re.Pattern[str] | str | None
"""What matches the name of a folder or file; None stands for any number of folders."""
State = frozenset[int]
"""The steps of a pattern that may match the names in a folder."""


def is_pattern(text: str) -> bool:
    """Whether a text has a part in braces."""
    return bool(re.search(r"\{[^{}]*\}", text))


@dataclass(frozen=True)
class Pattern:
    """A path with parts that vary.

    ``{}`` is the key that pairs files and ``{split}``, ``{model}``, ``{y}``, ``{x}``,
    ``{row}``, ``{col}`` and ``{n}`` are named parts; each stands for one folder or
    file name or a piece of it, and for the same text wherever it is repeated. Any other
    word, such as ``{scene}``, is a part whose text is kept with the file. Without
    braces it is a glob, which also has sets such as ``[ab]``.

    Attributes:
        text: The pattern as given.

    Example:
        >>> Pattern("runs/{model}/{}_{y}_{x}.png").match("runs/bit/test_2_0_512.png")
        {'model': 'bit', 'key': 'test_2', 'y': '0', 'x': '512'}
    """

    text: str

    def __post_init__(self) -> None:
        # On Windows either slash separates folders.
        object.__setattr__(self, "text", self.text.replace(os.sep, "/"))
        for name in re.findall(r"\{([^{}]*)\}", self.text):
            if not name or name in _NAMES:
                continue
            near = get_close_matches(name.lower(), _NAMES, 1, _NEAR)
            if near or not (name.isidentifier() and name.isascii()):
                known = ", ".join(f"{{{part}}}" for part in _NAMES)
                text = f"did you mean {{{near[0]}}}?" if near else "expected a word."
                raise UsageError(
                    f"{{{name}}} in {self.text!r} is no part of a pattern; {text} "
                    f"Beside {{}} and {known}, words such as {{scene}} name parts"
                )

    @property
    def words(self) -> frozenset[str]:
        """The parts that tell images apart: the key, and words of the user's own."""
        names = (name or _KEY for name in re.findall(r"\{([^{}]*)\}", self.text))
        return frozenset(names).difference(_NAMES)

    @property
    def place(self) -> tuple[str, ...]:
        """The parts that say where a crop lies; none where no part does."""
        named = DIGITS.intersection(re.findall(r"\{([^{}]*)\}", self.text))
        found = next((place for place in PLACES if named == set(place)), ())
        if named and not found:
            ways = " or ".join(
                " with ".join(f"{{{name}}}" for name in place) for place in PLACES
            )
            raise UsageError(f"{self.text}: the place of a crop is {ways}")
        return found

    def named(self, parts: Mapping[str, str | None]) -> str:
        """The pattern with the parts of a path put in, those of crops aside."""

        def text(token: re.Match[str]) -> str:
            name = token[1] or _KEY
            return token[0] if name in DIGITS else parts.get(name) or token[0]

        return re.sub(r"\{([^{}]*)\}", text, self._normal)

    @property
    def folder(self) -> str:
        """The folder above the first part that varies."""
        found = self._tokens.search(self._normal)
        fixed = self._normal[: found.start()] if found else self._normal
        return fixed.rpartition("/")[0] or ("/" if fixed.startswith("/") else ".")

    def match(self, path: str) -> dict[str, str] | None:
        """The parts of a path that fits, or None."""
        found = self._regex.fullmatch(path)
        return found.groupdict() if found else None

    @cached_property
    def descent(self) -> Descent:
        """Which folders below the folder may hold what fits.

        Those that fit a glob are read, so everything below them is of interest.
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
            # A wildcard matches no dot at the beginning of a name.
            dot = "" if part.startswith(".") else r"(?!\.)"
            steps.append(re.compile(dot + _translated(part, self._tokens)))
        return Descent((*steps, *(() if is_pattern(self.text) else (None,))))

    @cached_property
    def _normal(self) -> str:
        """The pattern without what a path may be spelled with: ``./`` and ``//``."""
        return posixpath.normpath(self.text)

    @cached_property
    def start(self) -> str:
        """What stands in a path before its name below the folder."""
        return "" if self.folder == "." else f"{self.folder.rstrip('/')}/"

    @cached_property
    def _tokens(self) -> re.Pattern[str]:
        return _TOKEN if is_pattern(self.text) else _GLOB_TOKEN

    @cached_property
    def _regex(self) -> re.Pattern[str]:
        return re.compile(_translated(self._normal, self._tokens), re.DOTALL)


class Descent(NamedTuple):
    """The folders below another in which a pattern may match something.

    A step matches the names at each level; a state is the steps that may match next.
    """

    steps: tuple[Step, ...] = (None,)

    def start(self) -> State:
        """The state of the uppermost folder."""
        return self._closed({0})

    def enter(self, state: State, name: str) -> State:
        """The state of a folder in another; empty where nothing in it can match."""
        found = {at + 1 for at in state if _fits(self.steps[at], name)}
        if not name.startswith("."):
            found |= {at for at in state if self.steps[at] is None}
        return self._closed(found)

    def fits(self, state: State, name: str) -> bool:
        """Whether a step, other than ``**``, matches a name in a folder."""
        return any(_fits(self.steps[at], name) for at in state)

    def only(self, state: State) -> str | None:
        """The only name that may match in a folder, if there is one."""
        steps = [self.steps[at] for at in state]
        return steps[0] if len(steps) == 1 and isinstance(steps[0], str) else None

    def is_deep(self, state: State) -> bool:
        """Whether folders at any depth below a folder may match."""
        return any(self.steps[at] is None for at in state)

    def _closed(self, found: set[int]) -> State:
        """Some steps, and those after each ``**``, which may stand for no folder."""
        for at, step in enumerate(self.steps):
            if step is None and at in found:
                found.add(at + 1)
        return frozenset(found - {len(self.steps)})


def _fits(step: Step, name: str) -> bool:
    if isinstance(step, re.Pattern):
        return bool(step.fullmatch(name))
    return step == name


def _translated(text: str, tokens: re.Pattern[str]) -> str:
    """The regular expression of a pattern or a part of one."""
    regex, end = "", 0
    seen: set[str] = set()
    for token in tokens.finditer(text):
        regex += re.escape(text[end : token.start()])
        if token[2]:
            regex += _WILD[token[2]]
        elif token[0].startswith("["):
            # The translation of a set alone is "(?s:[...])" and a sign for the end.
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
    """The patterns, made from a name of each side, that pair most files, if any do."""
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
    """How many names two patterns pair."""
    splits = [{*filter(None, map(split_named, one.split("/")))} for one in patterns]
    if splits[0] and splits[1] and splits[0].isdisjoint(splits[1]):
        return 0  # The numbers of two splits mean different images.
    keys = [
        {found["key"] for name in names if (found := Pattern(text).match(name))}
        for text, names in zip(patterns, (predictions, masks), strict=True)
    ]
    return len(keys[0] & keys[1])


def _longest_shared(first: str, second: str) -> str:
    """The longest run of whole words and numbers that is in both names."""
    return max(
        _runs(first) & _runs(second), key=lambda run: (len(run), run), default=""
    )


def _runs(name: str) -> set[str]:
    """All runs of words and numbers of a name, each within one folder."""
    stem = PurePosixPath(name).with_suffix("").as_posix()
    parts = re.findall(r"[^\W\d_]+|\d+|[\W_]", stem)
    places = [at for at, part in enumerate(parts) if part.isalnum()]
    runs = ("".join(parts[i : j + 1]) for i in places for j in places if i <= j)
    return {run for run in runs if "/" not in run}
