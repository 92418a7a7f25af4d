"""Finding the encoding of masks when no rule is given: file first, then split.

A split is decided as a whole, so that a mask of one value follows the others. What is
not clear is refused with the values, their shares and the options that settle it.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

from cdstats.core.counts import value_order
from cdstats.core.encodings import (
    GREY_CODES,
    Kind,
    follows_peaks,
    pair_of,
    read_encoding,
)
from cdstats.core.errors import counted
from cdstats.core.labels import DETECTED, LabelRule, Range, shares_text
from cdstats.core.refusals import (
    BLACK,
    Refusal,
    codes_refusal,
    mostly_changed_text,
    no_masks_refusal,
    nodata_text,
    one_value_refusal,
    tie_refusal,
    with_suggestions,
)

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from cdstats.core.counts import MaskCounts, Value


_WHITE_16: Final = 65535
_MOST_SEEN: Final = 1 << 16
"""Values of refused masks that are kept for suggestions."""


@dataclass(frozen=True)
class Verdict:
    """What was decided for the masks of one split.

    Attributes:
        rule: The rule found, or None when the split is refused.
        refusal: Why the split is refused, and what settles it.
        undecided: The values of a split that another split may settle.
        notes: What to tell the user about an accepted split.
        warnings: The same, where the masks may be read wrongly.
        ways: Options of the command line, any of which settles a refused split.
        ignore: The ignored values, when the rule was found; None when it was given.
        smeared: Whether the masks hold grey levels near 0 and 255.
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
        """Why a mask does not follow the rule found, or an empty text."""
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
                f"holds {shares_text(reading.values, total=reading.pixels)}, the other "
                f"masks of its split "
                f"{'near 0 and 255' if self.smeared else rule.expected()}"
            )
        declared = reading.declared
        torn = declared is not None and rule.label(declared) and reading.takes_a_class
        return nodata_text(declared) if torn else ""


class Findings:
    """What the masks of one split hold: what detection needs of them, added up.

    Masks may be added in any order, and none is kept.
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
        """Take a mask into account."""
        reading = read_encoding(mask, self._ignore)
        kind = reading.kind
        self._kinds[kind] += 1
        self._jpeg |= reading.jpeg
        if reading.takes_a_class:
            self._torn.add(nodata_text(reading.declared))
        if len(self._seen) < _MOST_SEEN:
            self._seen.update(reading.values)
        if kind is Kind.NO_MASK:
            # They are told only where no mask holds a value; there may be many.
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
        # A mask that would be counted if its split turned out to be smeared.
        plainly_not = kind is Kind.ZERO_ONE or reading.takes_a_class
        if kind is Kind.ZERO_255 or (not plainly_not and follows_peaks(reading)):
            self._level.update(reading.values)

    @property
    def values(self) -> Mapping[Value, int]:
        """Pixels of each value, in order, of files that can be masks of codes."""
        return _in_order(self._discrete)

    @property
    def _pairs(self) -> dict[Value, int]:
        """Masks that hold 0, or black, and each changed value."""
        return {
            1: self._kinds[Kind.ZERO_ONE],
            255: self._kinds[Kind.ZERO_255] + self._kinds[Kind.SMEARED],
            **self._colours,
        }

    def refused_with(self, further: int) -> bool:
        """Whether the split will be refused, whatever so many further masks hold."""
        codes = self._kinds[Kind.CODES]
        if not codes:
            return False
        enough = codes >= max(self._pairs.values()) + further
        return enough or self._codes.keys() >= {0, 1, 255}

    def verdict(self) -> Verdict:
        """What is decided for the masks added so far."""
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
            notes = (f"{_WHITE_16:,} is white in 16 bit: read as changed",)
        rule = pair_rule(changed, smeared, self._ignore)
        return Verdict(rule, notes=notes, ignore=self._ignore, smeared=smeared)

    def _coloured(self, changed: str) -> Verdict:
        """The rule of palettes of black and one colour."""
        rule = pair_rule(changed, smeared=False, ignore=self._ignore)
        share = self._discrete[changed] / self._discrete.total()
        text = mostly_changed_text(share, changed, ("--changed", "--unchanged"))
        warnings = (text,) if share > 0.5 else ()
        return Verdict(rule, warnings=warnings, ignore=self._ignore)

    def _unsettled(self) -> bool:
        """Whether the codes of a few masks put the meaning of all in doubt.

        Among 0/1/255 masks a 0/255 one may hold only ignored and unchanged pixels;
        and 50, 85 and 170 are codes of data sets whose other masks hold 0 and 255
        alone.
        """
        held = self._codes.keys()
        both = held >= {0, 1, 255}
        return both or (self._pairs[255] > 0 and held <= GREY_CODES)

    def _without_pairs(self) -> Verdict:
        """Decide a split in which no mask holds both values of a pair."""
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
    """The rule of 0 and another value, as a threshold when they are smeared."""
    if smeared:
        found = LabelRule.parse(changed=">=128", unchanged="<128")
    elif isinstance(changed, str):
        found = LabelRule((changed,), (BLACK,))
    else:
        found = LabelRule((_point(changed),), (_point(0),))
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
        return Verdict(rule, notes=verdict.notes, ignore=verdict.ignore)
    return verdict


def _refused(refusal: Refusal) -> Verdict:
    return Verdict(refusal=refusal.text, ways=refusal.ways)


def _stray_note(values: Mapping[Value, int]) -> str:
    """How many pixels of smeared masks lie between 0 and 255."""
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
