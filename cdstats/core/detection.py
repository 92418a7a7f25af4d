"""Detection of the encoding of masks without a rule, per file and then per split.

A split is decided as a whole, so that a mask with a single value follows the others.
Unclear splits are refused with the values, their shares and the options that decide.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, replace
from enum import Enum
from typing import TYPE_CHECKING, Final, NamedTuple

from cdstats.core.counts import NAN, MaskCounts, Value, colour_value, value_order
from cdstats.core.errors import counted
from cdstats.core.labels import (
    DETECTED,
    Label,
    LabelRule,
    Range,
    half_transparent_text,
    shares_text,
)
from cdstats.core.refusals import (
    BLACK,
    NAME_THEM,
    NO_REFUSAL,
    Refusal,
    codes_refusal,
    mostly_changed_text,
    no_masks_refusal,
    nodata_text,
    one_value_refusal,
    tie_refusal,
    white_is_zero_refusal,
    with_suggestions,
)

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence

FEW_BETWEEN: Final = 0.001
"""Share of pixels between 0 and 255 below which they count as strays."""
NEAR: Final = 32
"""Distance from 0 or 255 within which smeared masks have their pixels."""
NEAR_SHARE: Final = 0.95
GREY_CODES: Final = frozenset((0, 50, 85, 170, 255))
"""Codes of CDnet 2014 and SBI2015, even if few pixels have the intermediate ones."""
MANY_LEVELS: Final = 32
"""More distinct values than this are grey levels, not codes."""


class Kind(Enum):
    """Classification of the values of a mask."""

    EMPTY = "no valid pixel"
    ONE_VALUE = "one value"
    ZERO_ONE = "0 and 1"
    ZERO_255 = "0 and 255"
    ZERO_OTHER = "black and one colour of a palette, or 0 and 65535"
    SMEARED = "0 and 255, smeared"
    CODES = "codes"
    NO_MASK = "no mask"


class Reading(NamedTuple):
    """Possible meaning of a single mask.

    `values` excludes nodata and values ignored by a rule. ``declared`` is the declared
    nodata value if pixels have it; ``jpeg`` means lossy compression.
    """

    kind: Kind
    values: Mapping[Value, int]
    refusal: Refusal = NO_REFUSAL
    declared: Value | None = None
    jpeg: bool = False

    @property
    def pixels(self) -> int:
        """Number of pixels of these values."""
        return sum(self.values.values())

    @property
    def takes_a_class(self) -> bool:
        """Whether the nodata declaration removes one of two classes."""
        if self.kind is not Kind.ONE_VALUE or self.declared is None:
            return False
        return pair_of({*self.values, self.declared}) is not None


def pair_of(values: Collection[Value]) -> Value | None:
    """The other value of a pair with 0 or black; None for other values."""
    others = [value for value in values if value != 0]
    if len(values) != 2 or len(others) != 1:
        return None
    (other,) = others
    is_colour = isinstance(other, str) and other.startswith("#")
    return other if other in (1, 255, 65535) or is_colour else None


def read_encoding(mask: MaskCounts, ignore: LabelRule) -> Reading:
    """Classify the values of a mask on its own.

    The rule may only contain ignored values.
    """
    values = _counting(mask, ignore)
    nodata, jpeg = mask.nodata, mask.is_jpeg
    held = nodata in mask.counts.values and ignore.label(nodata or 0) is None
    declared = _in_colours(mask, nodata) if held and nodata is not None else None
    refusal = _no_mask(mask, values)
    kind = Kind.NO_MASK if refusal.text else _kind(values, jpeg)
    if kind is Kind.CODES and len(values) > MANY_LEVELS:
        total = sum(values.values())
        zero, full = (100 * values.get(end, 0) / total for end in (0, 255))
        text = f"looks like an image, not a mask: {len(values):,} values, {zero:.3g} % "
        kind = Kind.NO_MASK
        refusal = Refusal(f"{text}are 0 and {full:.3g} % are 255")
    return Reading(kind, values, refusal, declared, jpeg)


def _counting(mask: MaskCounts, ignore: LabelRule) -> Mapping[Value, int]:
    """Pixels by value, without nodata and values ignored by a rule.

    Palette indices are replaced by their colours, or grey levels if grey.
    """
    if mask.nodata is None and not ignore.ignored and not mask.palette:
        return mask.counts.values
    found: Counter[Value] = Counter()
    for value, pixels in mask.counts.values.items():
        if ignore.label_in(mask, value) is not Label.IGNORED:
            found[_in_colours(mask, value)] += pixels
    return found


def _in_colours(mask: MaskCounts, value: Value) -> Value:
    if not mask.palette or not isinstance(value, int) or value not in mask.palette:
        return value
    return colour_value(mask.palette[value])


def _kind(values: Mapping[Value, int], jpeg: bool) -> Kind:
    if not values:
        return Kind.EMPTY
    if len(values) == 1:
        return Kind.ONE_VALUE
    changed = pair_of(values)
    if changed is None or (changed == 1 and jpeg):
        return Kind.SMEARED if is_smeared(values, jpeg) else Kind.CODES
    known: dict[Value, Kind] = {1: Kind.ZERO_ONE, 255: Kind.ZERO_255}
    return known.get(changed, Kind.ZERO_OTHER)


def is_smeared(values: Mapping[Value, int], jpeg: bool) -> bool:
    """Whether values are 0 and 255 with strays, or two peaks of a lossy mask.

    Strays are less than 0.1 % of the pixels. Two peaks have 95 % of the pixels within
    32 levels of 0 or 255, each higher than the next 32 levels. Codes such as 0, 2, 255
    are not peaks, so a lossless mask must have more than 32 levels.
    """
    levels = {v: n for v, n in values.items() if isinstance(v, int)}
    if len(levels) < len(values) or min(levels) < 0 or max(levels) > 255:
        return False
    total = sum(levels.values())
    between = total - levels.get(0, 0) - levels.get(255, 0)
    if set(levels) == {0, 1, 255} or set(levels) <= GREY_CODES:
        return False
    if {0, 255} <= levels.keys() and between < FEW_BETWEEN * total:
        return True
    return (jpeg or len(levels) > MANY_LEVELS) and has_two_peaks(levels)


def has_two_peaks(levels: Mapping[int, int]) -> bool:
    """Whether grey levels form peaks near 0 and near 255."""
    low, above_low = _between(levels, 0, NEAR), _between(levels, NEAR, 2 * NEAR)
    high = _between(levels, 256 - NEAR, 256)
    below_high = _between(levels, 256 - 2 * NEAR, 256 - NEAR)
    near = low + high >= NEAR_SHARE * sum(levels.values())
    return near and low > above_low and high > below_high


def _between(levels: Mapping[int, int], start: int, stop: int) -> int:
    return sum(pixels for level, pixels in levels.items() if start <= level < stop)


def follows_peaks(reading: Reading) -> bool:
    """Whether a mask fits a split of smeared 0/255 masks.

    It may lack a peak, but its pixels must be near the ends and some in the upper half.
    Otherwise a 0/1 mask among 0/255 masks would pass as entirely unchanged.
    """
    levels = {v: n for v, n in reading.values.items() if isinstance(v, int)}
    if not levels or len(levels) < len(reading.values):
        return not reading.values
    if len(levels) == 1:
        return min(levels) in (0, 255)
    near = _between(levels, 0, NEAR) + _between(levels, 256 - NEAR, 256)
    ends = min(levels) >= 0 and max(levels) <= 255
    return ends and max(levels) >= 128 and near >= NEAR_SHARE * reading.pixels


def _no_mask(mask: MaskCounts, values: Mapping[Value, int]) -> Refusal:
    """The reason why values are not those of a mask; empty if they may be."""
    if mask.counts.half_transparent:
        return Refusal(half_transparent_text(mask))
    if mask.white_is_zero:
        return white_is_zero_refusal(values)
    colours = [value for value in values if str(value).startswith("#")]
    if colours and (not mask.palette or len(colours) > MANY_LEVELS):
        return _colour_refusal(values, len(colours))
    numbers = [value for value in values if not isinstance(value, str)]
    if NAN in values or (numbers and min(numbers) < 0):
        odd, tag = NAN if NAN in values else min(numbers), "no nodata is declared"
        if mask.nodata is not None:
            tag = f"the nodata tag is {mask.nodata}"
        return Refusal(
            f"holds {odd}; {tag}. Add --ignore {odd} if it is nodata. Its values: "
            f"{_shares(values)}"
        )
    if not any(isinstance(number, float) for number in numbers):
        return NO_REFUSAL
    if min(numbers) >= 0 and max(numbers) <= 1:
        return Refusal(
            f"holds fractions between 0 and 1, {_shares(values)}: a score map, not a "
            "mask; predictions go to `cdstats loss`"
        )
    return Refusal(f"holds fractions, {_shares(values)}: not a mask of codes")


def _colour_refusal(values: Mapping[Value, int], colours: int) -> Refusal:
    if colours > MANY_LEVELS:
        return Refusal(f"holds {colours:,} colours: looks like an image, not a mask")
    if colours == 1 and len(values) == 2 and 0 in values:
        (colour,) = values.keys() - {0}
        way = f"--changed '{colour}' --unchanged 0"
        text = f"its colour channels differ: {_shares(values)}. If black is unchanged: "
        return Refusal(f"{text}{way}", (way,))
    return Refusal(
        f"its colour channels differ: {_shares(values)}. Name the colours with "
        "--changed and --unchanged, or choose one with --band",
        (NAME_THEM,),
    )


def _shares(values: Mapping[Value, int]) -> str:
    most = dict(sorted(values.items(), key=lambda item: -item[1]))
    return shares_text(most, total=sum(values.values()))


_WHITE_16: Final = 65535
_MOST_SEEN: Final = 1 << 16
"""Most values of refused masks that are kept for suggestions."""


@dataclass(frozen=True)
class Verdict:
    """Decision on the masks of a split.

    Attributes:
        rule: The detected rule; None if the split is refused.
        refusal: Why the split is refused, and options that decide.
        undecided: Values of a split that another split may decide.
        notes: Notes on an accepted split.
        warnings: Notes on masks that may be misread.
        ways: Command-line options, each of which decides a refused split.
        ignore: Rule of ignored values if the rule was detected; None if it was given.
        smeared: Whether the masks have grey levels near 0 and 255.
    """

    rule: LabelRule | None = None
    refusal: str = ""
    undecided: frozenset[Value] = frozenset()
    notes: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()
    ways: tuple[str, ...] = ()
    ignore: LabelRule | None = None
    smeared: bool = False

    def contradiction(self, mask: MaskCounts) -> str:
        """Why a mask does not fit the detected rule; empty if it does."""
        rule, values = self.rule, mask.counts.values
        if rule is None or self.ignore is None:
            return ""
        odd = mask.counts.half_transparent or mask.palette or mask.is_jpeg
        odd = odd or mask.white_is_zero or mask.nodata in values or rule.has_thresholds
        if not odd and all(map(rule.label, values)):
            return ""
        reading = read_encoding(mask, self.ignore)
        if reading.kind is Kind.NO_MASK:
            return reading.refusal.text
        if self.smeared:
            fits = follows_peaks(reading)
        else:
            fits = all(map(rule.label, reading.values))
            if fits and reading.jpeg and reading.kind is Kind.CODES:
                return codes_refusal(reading.values, jpeg=True).text
        if not fits:
            return (
                f"holds {shares_text(reading.values, total=reading.pixels)}; expected "
                f"{'near 0 and 255' if self.smeared else rule.expected()} as in the "
                "other masks of its split"
            )
        declared = reading.declared
        torn = declared is not None and rule.label(declared) and reading.takes_a_class
        return nodata_text(declared) if torn else ""


class Findings:
    """Accumulated properties of the masks of a split, for detection.

    Masks may be added in any order and are not kept.
    """

    def __init__(self, ignore: LabelRule, looks: Sequence[str] = ()) -> None:
        self._ignore = ignore
        self._looks = looks
        self._seen: Counter[Value] = Counter()
        self._kinds: Counter[Kind] = Counter()
        self._codes: Counter[Value] = Counter()
        self._discrete: Counter[Value] = Counter()
        self._single: Counter[Value] = Counter()
        self._level: Counter[Value] = Counter()
        self._colours: Counter[Value] = Counter()
        self._torn: set[str] = set()
        self._no_masks: Counter[Refusal] = Counter()
        self._jpeg = False

    def add(self, mask: MaskCounts) -> None:
        """Add a mask."""
        reading = read_encoding(mask, self._ignore)
        kind = reading.kind
        self._kinds[kind] += 1
        self._jpeg |= reading.jpeg
        if reading.takes_a_class:
            self._torn.add(nodata_text(reading.declared))
        if len(self._seen) < _MOST_SEEN:
            self._seen.update(reading.values)
        if kind is Kind.NO_MASK:
            # Reported only if no mask has any value; there may be many.
            if not self._discrete and not self._level:
                self._no_masks[reading.refusal] += 1
            return
        if reading.values:
            self._no_masks.clear()
        if kind is Kind.CODES:
            self._codes.update(reading.values)
        elif kind is Kind.ONE_VALUE:
            self._single.update(reading.values)
        elif kind is Kind.ZERO_OTHER:
            self._colours.update({*reading.values} - {0})
        if kind is not Kind.SMEARED:
            self._discrete.update(reading.values)
        # These masks would be counted if the split turned out to be smeared.
        plainly_not = kind is Kind.ZERO_ONE or reading.takes_a_class
        if kind is Kind.ZERO_255 or (not plainly_not and follows_peaks(reading)):
            self._level.update(reading.values)

    @property
    def values(self) -> Mapping[Value, int]:
        """Pixels by value over files that may be masks of codes, in order."""
        return _in_order(self._discrete)

    @property
    def seen(self) -> Mapping[Value, int]:
        """Pixels by value over all files, for a limited number of values."""
        return self._seen

    @property
    def _pairs(self) -> dict[Value, int]:
        """Number of masks by changed value, for pairs with 0 or black."""
        return {
            1: self._kinds[Kind.ZERO_ONE],
            255: self._kinds[Kind.ZERO_255] + self._kinds[Kind.SMEARED],
            **self._colours,
        }

    def refused_with(self, further: int) -> bool:
        """Whether the split will be refused, for any content of `further` masks."""
        codes = self._kinds[Kind.CODES]
        if not codes:
            return False
        enough = codes >= max(self._pairs.values()) + further
        return enough or self._codes.keys() >= {0, 1, 255}

    def verdict(self) -> Verdict:
        """The decision for all masks added so far."""
        found = self._decided()
        if not found.refusal:
            return found
        refusal = with_suggestions(
            Refusal(found.refusal, found.ways), self._seen, self._looks
        )
        return replace(found, refusal=refusal.text, ways=refusal.ways)

    def _decided(self) -> Verdict:
        pairs = self._pairs
        most = max(pairs.values())
        codes = self._kinds[Kind.CODES]
        if codes and (codes >= most or self._unsettled()):
            values = _in_order(self._discrete)
            return _refused(codes_refusal(values, jpeg=self._jpeg))
        if most == 0:
            return self._without_pairs()
        frequent = [changed for changed in pairs if pairs[changed] == most]
        if len(frequent) > 1:
            return _refused(tie_refusal(frequent, most))
        (changed,) = frequent
        if isinstance(changed, str):
            return self._coloured(changed)
        smeared = self._kinds[Kind.SMEARED] > 0 and changed == 255
        notes = (_stray_note(_in_order(self._level)),) if smeared else ()
        if changed == _WHITE_16:
            notes = (f"{_WHITE_16:,} is white in 16 bits: read as changed",)
        rule = pair_rule(changed, smeared, self._ignore)
        return Verdict(rule, notes=notes, ignore=self._ignore, smeared=smeared)

    def _coloured(self, changed: str) -> Verdict:
        """The rule for palettes of black and one colour."""
        rule = pair_rule(changed, smeared=False, ignore=self._ignore)
        share = self._discrete[changed] / self._discrete.total()
        text = mostly_changed_text(share, changed, ("--changed", "--unchanged"))
        warnings = (text,) if share > 0.5 else ()
        return Verdict(rule, warnings=warnings, ignore=self._ignore)

    def _unsettled(self) -> bool:
        """Whether a few masks with codes make the meaning of all masks doubtful.

        Among 0/1/255 masks, a 0/255 mask may have only unchanged and ignored pixels.
        The codes 50, 85 and 170 are from datasets in which other masks have only 0 and
        255.
        """
        held = self._codes.keys()
        both = held >= {0, 1, 255}
        return both or (self._pairs[255] > 0 and held <= GREY_CODES)

    def _without_pairs(self) -> Verdict:
        """Decide a split in which no mask has both values of a pair."""
        values = _in_order(self._single)
        if self._torn and len(values) == 1:
            return _refused(Refusal(min(self._torn)))
        changed = pair_of(values)
        if isinstance(changed, str):
            return self._coloured(changed)
        if changed is not None:
            rule = pair_rule(changed, smeared=False, ignore=self._ignore)
            return Verdict(rule, ignore=self._ignore)
        if self._no_masks and not values:
            return _refused(no_masks_refusal(self._no_masks))
        rule = _joined(LabelRule(unchanged=(_point(0),)), self._ignore)
        found = Verdict(rule, ignore=self._ignore)
        if not values:
            return found
        undecided = frozenset(values)
        if undecided == {0}:
            note = f"no changed pixel in {counted(self._kinds[Kind.ONE_VALUE], 'mask')}"
            if self._jpeg:
                note += "; JPEG may have turned codes of 1 into 0"
            return replace(found, undecided=undecided, notes=(note,))
        refused = _refused(one_value_refusal(values))
        return replace(refused, undecided=undecided, ignore=self._ignore)


def pair_rule(changed: Value, smeared: bool, ignore: LabelRule) -> LabelRule:
    """The rule for 0 and another value; a threshold if the values are smeared."""
    if smeared:
        found = LabelRule.parse(changed=">=128", unchanged="<128")
    elif isinstance(changed, str):
        found = LabelRule((changed,), (BLACK,))
    else:
        found = LabelRule((_point(changed),), (_point(0),))
    return _joined(found, ignore)


def settle(verdict: Verdict, others: Sequence[LabelRule]) -> Verdict:
    """Decide a split of one value by the other splits of its dataset.

    It is decided if all rules of the other splits that know its values are equal.
    """
    if not verdict.undecided:
        return verdict
    fitting = {
        str(rule): rule
        for rule in others
        if all(rule.label(value) for value in verdict.undecided)
        and (not rule.has_thresholds or verdict.undecided <= {0, 255})
    }
    if len(fitting) == 1:
        (rule,) = fitting.values()
        return Verdict(rule, notes=verdict.notes, ignore=verdict.ignore)
    return verdict


def _refused(refusal: Refusal) -> Verdict:
    return Verdict(refusal=refusal.text, ways=refusal.ways)


def _stray_note(values: Mapping[Value, int]) -> str:
    """A note on pixels of smeared masks between 0 and 255."""
    strays = {v: n for v, n in values.items() if v not in (0, 255)}
    pixels, total = sum(strays.values()), sum(values.values())
    few = len(strays) <= 8
    text = shares_text(strays, total=None) if few else f"{len(strays)} values"
    share = 100 * pixels / total
    return (
        f"{counted(pixels, 'pixel')} ({share:.2g} %) between 0 and 255: {text}; "
        "read as >=128"
    )


def _in_order(values: Mapping[Value, int]) -> dict[Value, int]:
    return {value: values[value] for value in sorted(values, key=value_order)}


def _joined(rule: LabelRule, ignore: LabelRule) -> LabelRule:
    return LabelRule(rule.changed, rule.unchanged, ignore.ignored, DETECTED)


def _point(value: float) -> Range:
    return Range(value, value)
