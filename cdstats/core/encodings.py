"""What the values of one mask can mean, looked at alone.

`cdstats.core.detection` decides for a whole split from these readings.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING, Final

from cdstats.core.counts import NAN, MaskCounts, Value, colour_value
from cdstats.core.labels import (
    Label,
    LabelRule,
    half_transparent_text,
    shares_text,
)
from cdstats.core.refusals import NAME_THEM, NO_REFUSAL, Refusal, white_is_zero_refusal

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

FEW_BETWEEN: Final = 0.001
"""Share of pixels between 0 and 255 up to which they are strays."""
NEAR: Final = 32
"""Levels from 0 or 255 within which a smeared mask keeps its pixels."""
NEAR_SHARE: Final = 0.95
GREY_CODES: Final = frozenset((0, 50, 85, 170, 255))
"""Codes of CDnet 2014 and SBI2015, however few pixels hold those between."""
MANY_LEVELS: Final = 32
"""More values than this are levels; up to it they can be codes."""


class Kind(Enum):
    """What the values of a mask look like."""

    EMPTY = "no valid pixel"
    ONE_VALUE = "one value"
    ZERO_ONE = "0 and 1"
    ZERO_255 = "0 and 255"
    ZERO_OTHER = "black and one colour of a palette, or 0 and 65535"
    SMEARED = "0 and 255, smeared"
    CODES = "codes"
    NO_MASK = "no mask"


@dataclass(frozen=True, slots=True)
class Reading:
    """What one mask can mean by itself.

    Values are those that count: neither nodata nor ignored by a rule. ``declared`` is
    the declared nodata value if the file holds it; ``jpeg``, whether loss changed them.
    """

    kind: Kind
    values: Mapping[Value, int]
    refusal: Refusal = NO_REFUSAL
    declared: Value | None = None
    jpeg: bool = False

    @property
    def pixels(self) -> int:
        """Pixels that count."""
        return sum(self.values.values())

    @property
    def takes_a_class(self) -> bool:
        """Whether nodata takes one value of a pair away."""
        if self.kind is not Kind.ONE_VALUE or self.declared is None:
            return False
        return pair_of({*self.values, self.declared}) is not None


def pair_of(values: Collection[Value]) -> Value | None:
    """The changed one of two values of which the other is 0 or black; else None."""
    others = [value for value in values if value != 0]
    if len(values) != 2 or len(others) != 1:
        return None
    (other,) = others
    is_colour = isinstance(other, str) and other.startswith("#")
    return other if other in (1, 255, 65535) or is_colour else None


def read_encoding(mask: MaskCounts, ignore: LabelRule) -> Reading:
    """Say what the values of a mask can mean when nothing else is known.

    The rule names ignored values alone, or nothing.
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
    """Pixels of each value that is neither nodata nor ignored by a rule.

    An index of a palette counts as its colour, which is a grey level where it is grey.
    """
    if mask.nodata is None and not ignore.ignored and not mask.palette:
        return mask.counts.values
    found: Counter[Value] = Counter()
    for value, pixels in mask.counts.values.items():
        if ignore.label_in(mask, value) is not Label.IGNORED:
            found[_in_colours(mask, value)] += pixels
    return found


def _in_colours(mask: MaskCounts, value: Value) -> Value:
    """A value, or the colour that a palette gives to it."""
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

    Strays are under 0.1 % of the pixels. Two peaks hold 95 % of the pixels within 32
    levels of 0 or 255, and each stands above the levels next to it. Discrete codes
    such as 0, 2, 255 are no peaks, so a lossless mask must hold more than 32 levels.
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
    """Whether grey levels gather near 0 and near 255, with a peak at each."""
    low, above_low = _between(levels, 0, NEAR), _between(levels, NEAR, 2 * NEAR)
    high = _between(levels, 256 - NEAR, 256)
    below_high = _between(levels, 256 - 2 * NEAR, 256 - NEAR)
    near = low + high >= NEAR_SHARE * sum(levels.values())
    return near and low > above_low and high > below_high


def _between(levels: Mapping[int, int], start: int, stop: int) -> int:
    return sum(pixels for level, pixels in levels.items() if start <= level < stop)


def follows_peaks(reading: Reading) -> bool:
    """Whether a mask agrees with a split of smeared 0/255 masks.

    It may have no peak of its own, but its pixels keep to the ends, and some lie in
    the upper half: a 0/1 mask among 0/255 ones must not pass as wholly unchanged.
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
    """Why the values are those of no mask, or an empty refusal."""
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
            tag = f"the nodata tag says {mask.nodata}"
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
