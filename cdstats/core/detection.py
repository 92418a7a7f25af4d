"""Finding the encoding of masks when no rule is given: file first, then split.

A split is decided as a whole, so that a mask of one value follows the others. What is
not clear is refused with the values, their shares and the options that settle it.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from cdstats.core.counts import add_values
from cdstats.core.encodings import (
    GREY_CODES,
    Kind,
    Reading,
    follows_peaks,
    read_encoding,
)
from cdstats.core.labels import LabelRule, names_text, shares_text
from cdstats.core.terms import Range

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from cdstats.core.counts import MaskCounts, Value

DETECTED: Final = "detected"
_PAIRS: Final = {Kind.ZERO_ONE: (1, 0), Kind.ZERO_255: (255, 0), Kind.SMEARED: (255, 0)}


@dataclass(frozen=True)
class Verdict:
    """What was decided for the masks of one split.

    Attributes:
        rule: The rule found, or None when the split is refused.
        odd: Why a mask contradicts its split, by its place in the list.
        refusal: Why the split is refused, and what settles it.
        undecided: The values of a split that another split may settle.
        notes: What to tell the user about an accepted split.
    """

    rule: LabelRule | None = None
    odd: Mapping[int, str] = field(default_factory=dict)
    refusal: str = ""
    undecided: frozenset[Value] = frozenset()
    notes: tuple[str, ...] = ()


def detect(masks: Sequence[MaskCounts], ignore: LabelRule) -> Verdict:
    """Find the rule of the masks of one split.

    Args:
        masks: The counts of every readable mask of the split.
        ignore: A rule that names ignored values alone, or nothing.

    Example:
        >>> from cdstats.core.counts import MaskCounts, ValueCounts
        >>> empty = MaskCounts(2, 2, ValueCounts({0: 4}))
        >>> some = MaskCounts(2, 2, ValueCounts({0: 3, 1: 1}))
        >>> str(detect([empty, some], LabelRule()).rule)
        'changed 1, unchanged 0 (detected)'
    """
    readings = [read_encoding(mask, ignore) for mask in masks]
    kinds = Counter(reading.kind for reading in readings)
    codes = _pool(readings, lambda reading: reading.kind is Kind.CODES)
    pairs = {
        (1, 0): kinds[Kind.ZERO_ONE],
        (255, 0): kinds[Kind.ZERO_255] + kinds[Kind.SMEARED],
    }
    most = max(pairs.values())
    if codes and (kinds[Kind.CODES] >= most or _unsettles(codes, pairs)):
        return Verdict(refusal=codes_text(_pool(readings, _is_discrete), readings))
    if most == 0:
        return _without_pairs(readings, kinds, ignore)
    if len(set(pairs.values())) == 1:
        return Verdict(refusal=_tie_text(most))
    changed, unchanged = max(pairs, key=lambda pair: pairs[pair])
    smeared = kinds[Kind.SMEARED] > 0 and changed == 255
    return _accept(readings, pair_rule(changed, unchanged, smeared, ignore), smeared)


def pair_rule(
    changed: int, unchanged: int, smeared: bool, ignore: LabelRule
) -> LabelRule:
    """The rule of two values, as a threshold when they are smeared."""
    if smeared:
        found = LabelRule.parse(changed=">=128", unchanged="<128")
    else:
        found = LabelRule((_point(changed),), (_point(unchanged),))
    return _joined(found, ignore)


def settle(verdict: Verdict, others: Sequence[LabelRule]) -> Verdict:
    """Let the other splits of a dataset decide a split of one value.

    The split follows when the rules of the others agree on its values.
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
        return Verdict(rule, verdict.odd, notes=verdict.notes)
    return verdict


def _accept(readings: list[Reading], rule: LabelRule, smeared: bool) -> Verdict:
    odd = {
        place: text
        for place, reading in enumerate(readings)
        if (text := _contradiction(reading, rule, smeared))
    }
    notes = [_stray_note(readings, odd)] if smeared else []
    return Verdict(rule, odd, notes=tuple(notes))


def _contradiction(reading: Reading, rule: LabelRule, smeared: bool) -> str:
    """Why a mask does not follow the rule of its split, or an empty text."""
    if reading.kind is Kind.NO_MASK:
        return reading.reason
    if smeared:
        fits = follows_peaks(reading)
    else:
        fits = all(rule.label(value) for value in reading.values)
    if not fits:
        return (
            f"holds {shares_text(reading.values, total=reading.pixels)}, the other "
            f"masks of its split {'near 0 and 255' if smeared else rule.expected()}"
        )
    names_declared = reading.declared is not None and rule.label(reading.declared)
    return nodata_text(reading) if reading.takes_a_class and names_declared else ""


def _without_pairs(
    readings: list[Reading], kinds: Counter[Kind], ignore: LabelRule
) -> Verdict:
    """Decide a split in which no mask holds both values of a pair."""
    values = _pool(readings, lambda reading: reading.kind is Kind.ONE_VALUE)
    torn = {nodata_text(reading) for reading in readings if reading.takes_a_class}
    if torn and len(values) == 1:
        return Verdict(refusal=min(torn))
    if set(values) in ({0, 1}, {0, 255}):
        rule = pair_rule(int(max(values, key=float)), 0, smeared=False, ignore=ignore)
        return _accept(readings, rule, smeared=False)
    if kinds[Kind.NO_MASK] and not values:
        return _no_masks(readings, kinds[Kind.NO_MASK])
    rule = _joined(LabelRule(unchanged=(_point(0),)), ignore)
    if not values:
        return _accept(readings, rule, smeared=False)
    if set(values) == {0}:
        found = _accept(readings, rule, smeared=False)
        note = f"no changed pixel in {kinds[Kind.ONE_VALUE]:,} masks"
        return Verdict(rule, found.odd, "", frozenset(values), (note,))
    return Verdict(refusal=one_value_text(values), undecided=frozenset(values))


def _no_masks(readings: list[Reading], count: int) -> Verdict:
    reasons = Counter(r.reason for r in readings if r.kind is Kind.NO_MASK)
    most = max(reasons, key=lambda reason: (reasons[reason], reason))
    others = f" (and {count - 1:,} more that are no masks)" if count > 1 else ""
    return Verdict(refusal=most + others)


def one_value_text(values: Mapping[Value, int]) -> str:
    """Why masks that hold no pair of values are refused."""
    if len(values) > 1:
        return (
            f"each mask holds one value, and together {names_text(values)}: nothing "
            "tells changed from unchanged. Name them with --changed and --unchanged"
        )
    (value,) = values
    return (
        f"every pixel is {value}; nothing tells changed from unchanged. Name it with "
        f"--changed {value} --unchanged rest, or --unchanged {value} --changed rest"
    )


def nodata_text(reading: Reading) -> str:
    """Why a declared nodata value that is one of two classes is refused."""
    lost = "changed" if reading.declared in (1, 255) else "unchanged"
    return (
        f"declares nodata {reading.declared}, which leaves no {lost} pixel; say what "
        f"{reading.declared} is with --changed, --unchanged or --ignore"
    )


def codes_text(values: Mapping[Value, int], readings: Sequence[Reading]) -> str:
    """Why a set of codes is refused: its values, their shares, what settles it."""
    total = sum(values.values())
    jpeg = any(reading.jpeg for reading in readings)
    return f"holds {shares_text(values, total=total)}. {_advice(set(values), jpeg)}"


def _advice(values: set[Value], jpeg: bool) -> str:
    known: list[tuple[set[Value], str]] = [
        (
            {1, 2},
            "In OSCD and Hi-UCD 2 is changed: --preset oscd-tif or hi-ucd, or "
            "--changed 2 --unchanged 1",
        ),
        (
            {0, 2},
            "0 is unchanged or unlabelled? --changed 2 with --unchanged 0 or "
            "--ignore 0",
        ),
        (
            {0, 1, 255},
            "255 ignored: --preset bandon-train or --ignore 255; 255 changed: "
            "--changed 255 --unchanged 0,1",
        ),
        ({0, 170, 255}, "Grey codes of SBI2015: --preset sbi2015"),
        ({0, 50, 85, 170, 255}, "Grey codes of CDnet 2014: --preset cdnet2014"),
    ]
    if jpeg and max(values, key=float) == 2:
        return "JPEG noise? --changed '>0' --unchanged 0"
    if values == {0, 1, 2}:
        return (
            "--preset hi-ucd (0 unlabelled, 1 unchanged, 2 changed), --preset sitscd "
            "(2 unusable), or name them with --changed and --unchanged"
        )
    for codes, advice in known:
        if values == codes or (50 in codes and {0, 255} < values <= codes):
            return advice
    return (
        f"Class codes {names_text(sorted(values, key=float))}? Name the changed ones: "
        "--changed VALUES --unchanged rest, or a preset (`cdstats presets`)"
    )


def _tie_text(count: int) -> str:
    return (
        f"{count:,} mask{'s' if count > 1 else ''} hold 0, 1 and as many hold 0, 255: "
        "count them apart, or name the values with --changed 1,255 --unchanged 0"
    )


def _unsettles(
    codes: Mapping[Value, int], pairs: Mapping[tuple[int, int], int]
) -> bool:
    """Whether the codes of a few masks put the meaning of all in doubt.

    Among 0/1/255 masks a 0/255 one may hold only ignored and unchanged pixels; and
    50, 85 and 170 are codes of data sets whose other masks hold 0 and 255 alone.
    """
    held = set(codes)
    both = {0, 1, 255} <= held
    return both or (pairs[255, 0] > 0 and held <= GREY_CODES)


def _stray_note(readings: list[Reading], odd: Mapping[int, str]) -> str:
    used = [r for place, r in enumerate(readings) if place not in odd]
    values = _pool(used, lambda _: True)
    strays = {v: n for v, n in values.items() if v not in (0, 255)}
    pixels, total = sum(strays.values()), sum(values.values())
    few = len(strays) <= 8
    text = shares_text(strays, total=None) if few else f"{len(strays)} values"
    share = 100 * pixels / total
    return (
        f"{pixels:,} pixels ({share:.2g} %) lie between 0 and 255: {text}; "
        "read as >=128"
    )


def _is_discrete(reading: Reading) -> bool:
    return reading.kind is not Kind.NO_MASK and reading.kind is not Kind.SMEARED


def _pool(
    readings: Sequence[Reading], choose: Callable[[Reading], bool]
) -> dict[Value, int]:
    total: dict[Value, int] = {}
    for reading in readings:
        if choose(reading):
            total = add_values(total, reading.values)
    return total


def _joined(rule: LabelRule, ignore: LabelRule) -> LabelRule:
    return LabelRule(rule.changed, rule.unchanged, ignore.ignored, DETECTED)


def _point(value: int) -> Range:
    return Range(value, value)
