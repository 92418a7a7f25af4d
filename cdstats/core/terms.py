"""The grammar of label rules: terms that name stored values.

A rule is a comma list of numbers, ranges ``a-b``, ``<``, ``<=``, ``>``, ``>=`` with a
number, ``#rrggbb``, ``nan`` and ``rest``.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from cdstats.core.counts import NAN, Value, colour_value
from cdstats.core.errors import UsageError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

_NUMBER = r"[+-]?(?:\d+(?:\.\d*)?|\.\d+)(?:[eE][+-]?\d+)?"
_POINT: Final = re.compile(rf"({_NUMBER})$")
_RANGE: Final = re.compile(rf"({_NUMBER})\s*-\s*({_NUMBER})$")
_BOUND: Final = re.compile(rf"(<=|>=|<|>)\s*({_NUMBER})$")
_COLOUR: Final = re.compile(r"#[0-9a-f]{6}$")
REST: Final = "rest"


@dataclass(frozen=True, slots=True)
class Range:
    """The numbers between two ends; a single number when both ends are the same."""

    low: float
    high: float
    low_open: bool = False
    high_open: bool = False

    def __contains__(self, value: Value) -> bool:
        if isinstance(value, str):
            return False
        above = value > self.low if self.low_open else value >= self.low
        below = value < self.high if self.high_open else value <= self.high
        return above and below

    def holds(self, values: NDArray[Any]) -> NDArray[np.bool_]:
        """Where numbers are between the ends."""
        above = values > self.low if self.low_open else values >= self.low
        below = values < self.high if self.high_open else values <= self.high
        return above & below

    @property
    def is_point(self) -> bool:
        """Whether it names one number."""
        return self.low == self.high

    @property
    def is_bound(self) -> bool:
        """Whether it has one end, as ``<128`` and ``>0`` have."""
        return len(self.ends) == 1 and not self.is_point

    @property
    def ends(self) -> set[float]:
        """Its finite ends."""
        return {self.low, self.high} - {math.inf, -math.inf}

    def overlaps(self, other: Range) -> bool:
        """Whether a number lies in both."""
        first, second = sorted((self, other), key=lambda r: (r.low, r.low_open))
        if first.high != second.low:
            return first.high > second.low
        return not (first.high_open or second.low_open)

    def __str__(self) -> str:
        if self.is_point:
            return repr(self.low)
        if math.isinf(self.low):
            return f"{'<' if self.high_open else '<='}{self.high!r}"
        if math.isinf(self.high):
            return f"{'>' if self.low_open else '>='}{self.low!r}"
        return f"{self.low!r}-{self.high!r}"


Term = Range | str
"""A part of a rule: numbers, or one of ``"#rrggbb"``, ``"nan"``, ``"rest"``."""


def parse_terms(text: str) -> list[Term]:
    """Read a comma list of terms.

    Example:
        >>> [str(term) for term in parse_terms("-1, 2-4, >=128, #FF0000, rest")]
        ['-1', '2-4', '>=128', '#ff0000', 'rest']
    """
    if not text.strip():
        return []
    return [_parse_term(part.strip().lower(), text) for part in text.split(",")]


def _parse_term(part: str, text: str) -> Term:
    if part in (REST, NAN) or _COLOUR.match(part):
        return part
    if found := _POINT.match(part):
        number = _number(found[1])
        return Range(number, number)
    if found := _RANGE.match(part):
        low, high = _number(found[1]), _number(found[2])
        if low > high:
            raise UsageError(f"{part!r} in {text!r} runs backwards: write {high}-{low}")
        return Range(low, high)
    if found := _BOUND.match(part):
        sign, number = found[1], _number(found[2])
        if sign.startswith("<"):
            return Range(-math.inf, number, high_open=sign == "<")
        return Range(number, math.inf, low_open=sign == ">")
    raise UsageError(
        f"{part!r} in {text!r} is no value; expected numbers, ranges such as 1-4 or "
        ">=128, colours such as #ff0000, nan, or rest"
    )


def _number(text: str) -> float:
    number = float(text)
    if not math.isfinite(number):
        raise UsageError(f"{text[:20]!r}... is no value that a mask can hold")
    if re.fullmatch(r"[+-]?\d+", text):
        return int(text)
    return int(number) if number.is_integer() else number


def complement(term: Term) -> tuple[Term, ...] | None:
    """The one term that names every number which a bound leaves out."""
    if not isinstance(term, Range) or not term.is_bound:
        return None
    if math.isinf(term.high):
        return (Range(-math.inf, term.low, high_open=not term.low_open),)
    return (Range(term.high, math.inf, low_open=not term.high_open),)


def names(term: Term, value: Value) -> bool:
    """Whether a term names a value; ``rest`` names none by itself."""
    if isinstance(term, Range):
        return value in term
    return value == (colour_value(term) if term.startswith("#") else term)


def same_value(first: Term, second: Term) -> bool:
    """Whether two terms name a value in common."""
    if isinstance(first, Range) and isinstance(second, Range):
        return first.overlaps(second)
    if isinstance(second, Range):
        first, second = second, first
    if isinstance(first, Range) and isinstance(second, str):
        return second.startswith("#") and colour_value(second) in first
    return first == second
