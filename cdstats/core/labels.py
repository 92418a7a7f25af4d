"""Label rules: the stored values that mean changed, unchanged and ignored.

A rule is a comma-separated list of numbers, ranges ``a-b``, ``<``, ``<=``, ``>``,
``>=`` with a number, ``#rrggbb``, ``nan`` and ``rest``.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass, field
from enum import Enum
from functools import cached_property
from itertools import combinations
from typing import TYPE_CHECKING, Any, Final, NamedTuple, Protocol

from cdstats.core.counts import NAN, MaskCounts, PixelCounts, Value, colour_value
from cdstats.core.errors import DataError, UsageError, counted

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from cdstats.core.presets import Preset

_NUMBER = r"[+-]?(?:\d+(?:\.\d*)?|\.\d+)(?:[eE][+-]?\d+)?"
_POINT: Final = re.compile(rf"({_NUMBER})$")
_RANGE: Final = re.compile(rf"({_NUMBER})\s*-\s*({_NUMBER})$")
_BOUND: Final = re.compile(rf"(<=|>=|<|>)\s*({_NUMBER})$")
_COLOUR: Final = re.compile(r"#[0-9a-f]{6}$")
REST: Final = "rest"


@dataclass(frozen=True, slots=True)
class Range:
    """A range of numbers; a single number if both ends are equal."""

    low: float
    high: float
    low_open: bool = False
    high_open: bool = False

    def __contains__(self, value: Value) -> bool:
        return not isinstance(value, str) and bool(self.holds(value))

    def holds(self, values: Any) -> Any:  # noqa: ANN401 - a number or an array
        """Whether numbers are in the range; elementwise for arrays."""
        above = values > self.low if self.low_open else values >= self.low
        below = values < self.high if self.high_open else values <= self.high
        return above & below

    @property
    def is_point(self) -> bool:
        """Whether it is a single number."""
        return self.low == self.high

    @property
    def is_bound(self) -> bool:
        """Whether it has only one end, as ``<128`` and ``>0``."""
        return len(self.ends) == 1 and not self.is_point

    @property
    def ends(self) -> set[float]:
        """Its finite ends."""
        return {self.low, self.high} - {math.inf, -math.inf}

    def overlaps(self, other: Range) -> bool:
        """Whether the ranges have a number in common."""
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
    """Parse a comma-separated list of terms.

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
        f"{part!r} in {text!r} is not a value; expected numbers, ranges such as 1-4 or "
        ">=128, colours such as #ff0000, nan, or rest"
    )


def _number(text: str) -> float:
    number = float(text)
    if not math.isfinite(number):
        raise UsageError(f"{text[:20]!r}... is not a value that a mask can have")
    if re.fullmatch(r"[+-]?\d+", text):
        return int(text)
    return int(number) if number.is_integer() else number


def complement(term: Term) -> tuple[Term, ...] | None:
    """The term for all numbers outside a bound; None for other terms."""
    if not isinstance(term, Range) or not term.is_bound:
        return None
    if math.isinf(term.high):
        return (Range(-math.inf, term.low, high_open=not term.low_open),)
    return (Range(term.high, math.inf, low_open=not term.high_open),)


def names(term: Term, value: Value) -> bool:
    """Whether a term includes a value, not counting ``rest``."""
    if isinstance(term, Range):
        return value in term
    return value == (colour_value(term) if term.startswith("#") else term)


def same_value(first: Term, second: Term) -> bool:
    """Whether two terms have a value in common."""
    if isinstance(first, Range) and isinstance(second, Range):
        return first.overlaps(second)
    if isinstance(second, Range):
        first, second = second, first
    if isinstance(first, Range) and isinstance(second, str):
        return second.startswith("#") and colour_value(second) in first
    return first == second


DETECTED: Final = "detected"
"""Origin of a rule that was detected from the masks."""
_ENDS: Final = ("#000000", "#ffffff")
"""Black and white, whose grey levels are unambiguous."""
_HALF: Final = 127
"""Thresholds from this value are for grey levels, not classes."""


class Label(Enum):
    """The label of a pixel."""

    CHANGED = "changed"
    UNCHANGED = "unchanged"
    IGNORED = "ignored"


class MaskFacts(Protocol):
    """Properties of a file that affect its values."""

    @property
    def nodata(self) -> Value | None:
        """The declared nodata value, if any."""

    @property
    def palette(self) -> Mapping[int, str] | None:
        """Colour of each index if the values are palette indices."""


@dataclass(frozen=True)
class LabelRule:
    """The stored values that are changed, unchanged and ignored.

    ``origin`` is its source, such as ``"detected"`` or ``"preset oscd-tif"``; empty if
    the user gave it. A duplicate value is a `UsageError`.

    Example:
        >>> rule = LabelRule.parse(changed="255", unchanged="0,50", ignored="85,170")
        >>> rule.label(50), rule.label(170), rule.label(7)
        (<Label.UNCHANGED: 'unchanged'>, <Label.IGNORED: 'ignored'>, None)
        >>> str(LabelRule.parse(changed=">=128", unchanged="<128"))
        '>=128'
    """

    changed: tuple[Term, ...] = ()
    unchanged: tuple[Term, ...] = ()
    ignored: tuple[Term, ...] = ()
    origin: str = ""
    _known: dict[Value, Label | None] = field(
        default_factory=dict, repr=False, compare=False
    )

    def __post_init__(self) -> None:
        for (first, one), (second, other) in combinations(self._pairs, 2):
            if same_value(first, second):
                same = str(first) == str(second)
                shared = str(first) if same else f"a value of {first}"
                both = f"{one.value} {first} and {other.value} {second}"
                text = f"{shared} is named twice: {both}"
                if self.origin == DETECTED:
                    text = (
                        f"{shared} is detected as {one.value} but named as "
                        f"{other.value}; name the changed and unchanged values, too"
                    )
                raise UsageError(text)

    @classmethod
    def parse(
        cls,
        *,
        changed: str = "",
        unchanged: str = "",
        ignored: str = "",
        origin: str = "",
    ) -> LabelRule:
        """Parse a rule from three texts in the syntax of the command line."""
        return cls(
            tuple(parse_terms(changed)),
            tuple(parse_terms(unchanged)),
            tuple(parse_terms(ignored)),
            origin,
        )

    def terms(self, label: Label) -> tuple[Term, ...]:
        """The terms of a label."""
        terms: tuple[Term, ...] = getattr(self, label.value)
        return terms

    @cached_property
    def _pairs(self) -> tuple[tuple[Term, Label], ...]:
        """Terms with their labels."""
        return tuple((term, label) for label in Label for term in self.terms(label))

    @cached_property
    def _ranges(self) -> tuple[tuple[Range, Label], ...]:
        return tuple((t, label) for t, label in self._pairs if isinstance(t, Range))

    @cached_property
    def edges(self) -> tuple[float, ...]:
        """The finite numbers in the rule, sorted."""
        return tuple(sorted({end for term, _ in self._ranges for end in term.ends}))

    @cached_property
    def has_thresholds(self) -> bool:
        """Whether any term includes several numbers."""
        return not all(term.is_point for term, _ in self._ranges)

    def label(self, value: Value) -> Label | None:
        """The label of a stored value; None if the rule does not include it."""
        return self.named(value) or self._rest(value)

    def named(self, value: Value) -> Label | None:
        """The label of a value by a term other than ``rest``."""
        if value not in self._known:
            self._known[value] = self._find(lambda term: names(term, value))
        return self._known[value]

    def _rest(self, value: Value) -> Label | None:
        """The label of ``rest``, which does not include ``"nan"``."""
        return None if value == NAN else self._label_of_rest

    @cached_property
    def _label_of_rest(self) -> Label | None:
        return self._find(lambda term: term == REST)

    def _find(self, names: Callable[[Term], bool]) -> Label | None:
        return next((label for term, label in self._pairs if names(term)), None)

    def apply(self, mask: MaskCounts) -> PixelCounts:
        """Count the changed, unchanged and ignored pixels of a mask.

        Declared nodata is ignored, unless the user gave a term other than ``rest`` that
        includes it (``<128`` includes every lower number). Masked and fully transparent
        pixels are ignored.
        """
        if mask.counts.half_transparent:
            raise DataError(half_transparent_text(mask))
        values = mask.counts.values
        names_colour = any(str(term).startswith("#") for term, _ in self._pairs)
        if self.has_thresholds and not names_colour:
            for value in values:
                if str(value).startswith("#"):
                    raise DataError(
                        f"its colour channels differ ({value}, ...) and {self} is a "
                        "rule for grey values. Name colours (#rrggbb) or choose one "
                        "with --band"
                    )
        pixels = dict.fromkeys(Label, 0)
        unnamed: dict[Value, int] = {}
        for value, count in values.items():
            if label := self.label_in(mask, value):
                pixels[label] += count
            else:
                unnamed[value] = count
        if unnamed:
            raise DataError(
                f"holds {shares_text(unnamed, total=None)}; expected {self.expected()}."
                " Name every value with --changed, --unchanged or --ignore"
            )
        changed, unchanged, ignored = pixels.values()
        return PixelCounts(changed, unchanged, ignored + mask.counts.masked)

    def label_in(self, mask: MaskFacts, value: Value) -> Label | None:
        """The label of a value in a mask, with its palette and nodata value.

        Detected rules name palette colours, never indices, and never include declared
        nodata.
        """
        if mask.palette and isinstance(value, int) and value in mask.palette:
            named = self._palette_label(mask.palette, value)
        elif mask.nodata is None:
            return self.label(value)
        else:
            named = self.named(value)
        if value == mask.nodata and (named is None or self.origin == DETECTED):
            return Label.IGNORED
        return named or self._rest(value)

    def covering(self, value: Value) -> tuple[Range, Label] | None:
        """The term of several numbers that includes a value, with its label."""
        found = (one for one in self._ranges if not one[0].is_point and value in one[0])
        return next(found, None)

    def _palette_label(self, palette: Mapping[int, str], index: int) -> Label | None:
        """The label of a palette entry, by colour or index.

        Numbers in a user's rule are indices. In presets and thresholds they are grey
        levels if the entry is black or white.
        """
        colour = palette[index]
        level = colour_value(colour)
        if self.origin == DETECTED:
            return self.named(level)
        by_colour = self._find(lambda term: term == colour)
        by_index = self._find(lambda term: isinstance(term, Range) and index in term)
        bounds = (term for term, _ in self._ranges if term.is_bound and index in term)
        bound = next(bounds, None) if by_colour is None else None
        if colour in _ENDS and not by_colour:
            if bound:
                return self.named(level)
            if self.origin or level not in palette:
                by_colour = self.named(level)
        if bound and max(map(abs, bound.ends)) >= _HALF:
            raise DataError(
                f"its palette has colours ({colour}, ...) and {self} is a rule for "
                "grey values. Name colours (#rrggbb)"
            )
        if by_colour and by_index and by_colour != by_index:
            raise DataError(
                f"palette index {index} has the colour {colour}: by index it is "
                f"{by_index.value}, by colour {by_colour.value}. Name colours, such "
                f"as '{colour}'"
            )
        return by_colour or by_index

    def expected(self) -> str:
        """The values in the rule, for messages."""
        return ", ".join(str(term) for term, _ in self._pairs) or "nothing"

    def __str__(self) -> str:
        return self._text

    @cached_property
    def _text(self) -> str:
        parts = []
        if len(self.changed) == 1 and complement(self.changed[0]) == self.unchanged:
            parts.append(str(self.changed[0]))
        else:
            parts += [
                f"{label.value} {','.join(map(str, self.terms(label)))}"
                for label in (Label.CHANGED, Label.UNCHANGED)
                if self.terms(label)
            ]
        if self.ignored:
            parts.append(f"ignored {','.join(map(str, self.ignored))}")
        return ", ".join(parts) + (f" ({self.origin})" if self.origin else "")


def half_transparent_text(mask: MaskCounts) -> str:
    """The message on a mask with half transparent pixels."""
    pixels = counted(mask.counts.half_transparent, "pixel")
    return (
        f"half transparent in {pixels}: an overlay or a rendered figure, not a mask. "
        "Use the original mask"
    )


def shares_text(
    values: Mapping[Value, int], *, total: int | None, limit: int = 8
) -> str:
    """Values with pixel counts, and with shares if ``total`` is given."""
    shown = [
        f"{value} ({counted(count, 'pixel')}"
        + (f", {100 * count / total:.4g} %)" if total else ")")
        for value, count in list(values.items())[:limit]
    ]
    more = len(values) - limit
    return ", ".join(shown) + (
        f" and {counted(more, 'more value')}" if more > 0 else ""
    )


def names_text(values: Iterable[Value], limit: int = 8) -> str:
    """The first few values, as text."""
    names = [str(value) for value in values]
    if len(names) <= limit:
        return ", ".join(names)
    return f"{', '.join(names[:limit])}, ... ({len(names)} values)"


class RuleChoice(NamedTuple):
    """The choice of labels: a rule, or detection with some ignored values.

    ``known`` enables the layouts of known datasets.
    """

    rule: LabelRule | None
    ignore: LabelRule
    preset: Preset | None = None
    known: bool = True

    @property
    def takes_presets(self) -> bool:
        """Whether presets of known layouts may be applied."""
        return self.known and self.rule is None and not self.ignore.ignored

    @property
    def edges(self) -> tuple[float, ...] | None:
        """Every number that counting with edges must distinguish."""
        return tuple(sorted({*self.rule.edges, 0, 128, 255})) if self.rule else None


NO_PRESET: Final = "none"
"""Value of ``--preset`` that disables layouts of known datasets."""


def choose_rule(
    changed: str | None = None,
    unchanged: str | None = None,
    ignore: str | None = None,
    preset_name: str | None = None,
) -> RuleChoice:
    """Parse the rule options."""
    known = preset_name != NO_PRESET
    if preset_name is not None and known:
        if (changed, unchanged, ignore) != (None, None, None):
            raise UsageError(
                f"--preset {preset_name} names all values; omit --changed, "
                "--unchanged and --ignore, or the preset"
            )
        from cdstats.core.presets import preset

        found = preset(preset_name)
        return RuleChoice(found.rule, LabelRule(), found)
    if (changed is None) != (unchanged is None) and ignore is None:
        both = ("--changed", "--unchanged")
        missing, given = both if changed is None else both[::-1]
        raise UsageError(
            f"{given} alone leaves other values undefined: add {missing}, "
            f"for example {missing} rest"
        )
    terms = []
    texts = {"--changed": changed, "--unchanged": unchanged, "--ignore": ignore}
    for option, text in texts.items():
        try:
            terms.append(tuple(parse_terms(text or "")))
        except UsageError as error:
            raise UsageError(f"{option}: {error}") from None
    rule = LabelRule(terms[0], terms[1], terms[2])
    if changed is None and unchanged is None:
        return RuleChoice(None, rule, known=known)
    for (option, text), named in zip(texts.items(), terms[:2], strict=False):
        if text is not None and not named:
            raise UsageError(f"{option} {text!r} needs at least one value")
    return RuleChoice(rule, LabelRule())
