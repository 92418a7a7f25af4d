"""From the counts of a dataset's masks to its image rows: rules found and applied."""

from __future__ import annotations

import shlex
from collections import Counter
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Final

from cdstats.core.binarisation import LOADERS, Binarisation, binarisation
from cdstats.core.detection import Findings, Verdict, settle
from cdstats.core.encodings import follows_peaks, read_encoding
from cdstats.core.errors import DataError
from cdstats.core.labels import Label, LabelRule, shares_text
from cdstats.core.messages import Level, Message, counted
from cdstats.core.records import ImageRecord, split_order
from cdstats.core.vocabulary import named_preset

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from cdstats.core.counted import Counted, CountedMask
    from cdstats.core.counts import MaskCounts, Value
    from cdstats.core.labels import RuleChoice


REFUSED: Final = "split refused: "
"""How the reason of a mask begins whose whole split was refused."""
_WHITE: Final = (
    "{masks} in MINISWHITE TIFF files, where 0 is white: values are read as stored"
)
_SUBSAMPLED: Final = (
    "{masks} in TIFF files of YCbCr JPEG: values are those of GDAL; other readers may "
    "decode the colours otherwise"
)


@dataclass
class Labelled:
    """Image rows of a dataset, and what to tell about them."""

    images: list[ImageRecord] = field(default_factory=list)
    messages: list[Message] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Decision:
    """The rule of one mask, or the reason why it has none."""

    rule: LabelRule | None
    reason: str = ""


@dataclass
class _Named:
    """Masks whose names fix the codes of a dataset.

    Attributes:
        preset: The preset of that dataset.
        others: Files that it does not read.
        first: The place and path of the first of these.
    """

    preset: str = ""
    others: int = 0
    first: tuple[int, str] | None = None

    def see(self, place: int, path: str) -> None:
        """Note a mask that may be one."""
        found = named_preset(path)
        if found and found[1]:
            self.preset = found[0]
        elif found:
            self.others += 1
            self.first = min(self.first or (place, path), (place, path))

    def checked(self, verdict: Verdict, values: Mapping[Value, int]) -> Verdict:
        """A decision, or the refusal of one that the codes of the dataset contradict.

        Args:
            verdict: What the values alone tell.
            values: The values of the split.
        """
        if not self.preset or not values or "--preset" in verdict.refusal:
            return verdict
        from cdstats.core.presets import preset

        known = preset(self.preset)
        codes = {value: known.rule.label(value) for value in values}
        found = {v: verdict.rule.label(v) if verdict.rule else None for v in values}
        if None in codes.values() or (codes == found and not self.others):
            return verdict
        way = f"--preset {known.name}"
        rule = str(known.rule).partition(" (")[0]
        text = (
            f"holds {shares_text(values, total=sum(values.values()))}. Looks like "
            f"{known.short}, where {rule}: {way}"
        )
        return Verdict(refusal=text, ways=(way,))


@dataclass
class _CountedNodata:
    """Declared nodata that a given rule counts: it lies within a term of many values.

    Attributes:
        masks: Masks that hold such a value, by the value, the term and its label.
        pixels: Their pixels of it.
    """

    masks: Counter[tuple[str, str, str]] = field(default_factory=Counter)
    pixels: Counter[tuple[str, str, str]] = field(default_factory=Counter)

    def see(self, mask: MaskCounts, rule: LabelRule) -> None:
        """Note a mask that a rule is applied to."""
        if mask.nodata is None or mask.palette:
            return
        pixels = mask.counts.values.get(mask.nodata)
        covering = rule.covering(mask.nodata)
        if not pixels or covering is None or covering[1] is Label.IGNORED:
            return
        key = str(mask.nodata), str(covering[0]), covering[1].value
        self.masks[key] += 1
        self.pixels[key] += pixels

    def texts(self) -> list[str]:
        """What is counted though files declare it as nodata, and the way out."""
        return [
            f"{counted(self.pixels[key], 'pixel')} of {counted(masks, 'mask')} are "
            f"declared nodata ({key[0]}) and count as {key[2]}, for {key[1]} names it; "
            "write rest in its place to leave them out"
            for key, masks in sorted(self.masks.items())
        ]


class DatasetLabels:
    """The rules of one dataset: given, or found for each split while masks come.

    Every mask is shown once to `see`, in any order; then `row` gives the row of each.
    No mask is kept. With a rule given, the row of a mask can be had at once.

    Args:
        dataset: The dataset's name.
        choice: The rule options.
        looks: Presets of the datasets that the files are named like.
    """

    def __init__(
        self, dataset: str, choice: RuleChoice, looks: Sequence[str] = ()
    ) -> None:
        self._looks = looks
        self.dataset = dataset
        self._choice = choice
        self._given = Verdict(choice.rule) if choice.rule is not None else None
        self._findings: dict[str, Findings | None] = {}
        self._named: dict[str, _Named] = {}
        self._shown: dict[str, dict[str, Binarisation]] = {}
        self._nodata = _CountedNodata()
        self._white = self._subsampled = 0

    def see(self, mask: CountedMask, place: int = 0) -> None:
        """Take a mask into account.

        Args:
            mask: The mask.
            place: Its place among the rows, which tells the first of several.
        """
        split, counted = mask.split, mask.counted
        if split not in self._findings:
            is_open = self._choice.rule is None
            own = Findings(self._choice.ignore, self._looks)
            self._findings[split] = own if is_open else None
            self._named[split] = _Named()
        self._named[split].see(place, mask.path)
        findings = self._findings[split]
        if findings is not None and counted.mask is not None:
            findings.add(counted.mask)

    def refused_with(self, split: str, further: int) -> bool:
        """Whether a split will be refused, whatever so many further masks hold."""
        findings = self._findings.get(split)
        return findings is not None and findings.refused_with(further)

    @cached_property
    def _verdicts(self) -> dict[str, Verdict]:
        """The decision for each split; a split of one value follows the others."""
        splits = sorted(self._findings, key=split_order)
        if self._given is not None:
            return dict.fromkeys(splits, self._given)
        findings = {split: one for split in splits if (one := self._findings[split])}
        found = {
            split: self._checked(split, one.verdict())
            for split, one in findings.items()
        }
        return {
            split: self._checked(
                split,
                settle(
                    verdict,
                    [
                        other.rule
                        for name, other in found.items()
                        if name != split and other.rule and other.rule.changed
                    ],
                ),
            )
            for split, verdict in found.items()
        }

    def _checked(self, split: str, verdict: Verdict) -> Verdict:
        findings = self._findings[split]
        values = findings.values if findings else {}
        return self._named[split].checked(verdict, values)

    def decision(self, split: str, counted: Counted) -> Decision:
        """The rule of a mask that was seen before, or why it has none."""
        if counted.mask is None:
            return Decision(None, counted.reason)
        if self._choice.rule is not None:
            self._nodata.see(counted.mask, self._choice.rule)
            self._white += counted.mask.white_is_zero
        self._subsampled += counted.mask.is_subsampled
        verdict = self._given or self._verdicts[split]
        if verdict.refusal:
            return Decision(None, f"{REFUSED}{verdict.refusal}")
        preset = self._choice.preset
        peaks = preset is not None and preset.two_peaks
        reason = verdict.contradiction(counted.mask)
        reason = reason or (_peaks_reason(counted.mask) if peaks else "")
        return Decision(None, reason) if reason else Decision(verdict.rule)

    def row(self, mask: CountedMask) -> ImageRecord:
        """The row of a mask that was seen before."""
        decision = self.decision(mask.split, mask.counted)
        row = _label(mask, decision)
        if row.status == "ok" and mask.counted.mask and decision.rule:
            found = binarisation(mask.counted.mask, decision.rule)
            splits = self._shown.setdefault(row.rule, {})
            splits[row.split] = splits.get(row.split, Binarisation()) + found
        return row

    @property
    def messages(self) -> list[Message]:
        """What to tell about the splits, and about the rows that were given."""
        told = [one for split in self._verdicts for one in self._told(split)]
        notes = [
            *self._nodata.texts(),
            *_note(_WHITE, self._white),
            *_note(_SUBSAMPLED, self._subsampled),
        ]
        told += [Message(Level.NOTE, f"{self.dataset}: {text}") for text in notes]
        return told + [Message(Level.NOTE, text) for text in self._otherwise()]

    def _otherwise(self) -> list[str]:
        """What other loaders would make of the masks of each rule, where they differ.

        Splits that do not share their rule with all others are named.
        """
        texts = []
        for splits in self._shown.values():
            total = sum(splits.values(), Binarisation())
            named = splits if len(splits) < len(self._findings) else [""]
            where = ", ".join(
                split_label(self.dataset, split)
                for split in sorted(named, key=split_order)
            )
            if total.differs:
                texts.append(f"{where}: {_binarisation_text(total)}")
        return texts

    def _told(self, split: str) -> list[Message]:
        verdict, where = self._verdicts[split], split_label(self.dataset, split)
        found = [
            *(Message(Level.NOTE, f"{where}: {note}") for note in verdict.notes),
            *(Message(Level.WARNING, f"{where}: {one}") for one in verdict.warnings),
        ]
        if verdict.refusal:
            text = f"{where}: {verdict.refusal}"
            found.append(Message(Level.ERROR, text, self._ways(split)))
        named = self._named[split]
        if (
            named.first
            and "_pre_disaster" in named.first[1]
            and verdict.rule
            and not self._choice.preset
        ):
            what = (
                f"building presence, not change ({counted(named.others, 'such file')})"
            )
            found.append(Message(Level.WARNING, f"{named.first[1]}: {what}"))
        return found

    def _ways(self, split: str) -> tuple[str, ...]:
        """The options that settle a split, for it alone where others are clear."""
        clear = any(not verdict.refusal for verdict in self._verdicts.values())
        ways = self._verdicts[split].ways
        if not clear or not split:
            return ways
        return tuple(f"--split {shlex.quote(split)} {way}" for way in ways)


def split_label(dataset: str, split: str) -> str:
    """A split of a dataset in words, for messages."""
    return f"{dataset}/{split}" if split else dataset


def label_dataset(
    masks: Sequence[CountedMask], choice: RuleChoice, looks: Sequence[str] = ()
) -> Labelled:
    """Turn the masks of one dataset into rows, each split by its own rule."""
    ordered = sorted(masks, key=lambda one: split_order(one.split))
    labels = _seen(ordered, choice, looks)
    images = [labels.row(one) for one in ordered]
    return Labelled(images, labels.messages)


def decide(
    masks: Sequence[CountedMask], choice: RuleChoice
) -> tuple[list[Decision], list[Message]]:
    """The rule of each mask of a dataset: given, or found for its split.

    Args:
        masks: The masks of one dataset, in the order of its splits.
        choice: The rule options.

    Returns:
        A decision for each mask, and what to tell about the splits.
    """
    labels = _seen(masks, choice)
    decisions = [labels.decision(one.split, one.counted) for one in masks]
    return decisions, labels.messages


def _seen(
    masks: Sequence[CountedMask], choice: RuleChoice, looks: Sequence[str] = ()
) -> DatasetLabels:
    labels = DatasetLabels(masks[0].dataset, choice, looks)
    for place, one in enumerate(masks):
        labels.see(one, place)
    return labels


def _label(one: CountedMask, decision: Decision) -> ImageRecord:
    mask, rule = one.counted.mask, decision.rule
    if mask is None or rule is None:
        return ImageRecord.failed(one.place, decision.reason, one.counted.size)
    size = (mask.width, mask.height)
    try:
        return ImageRecord.counted(one.place, size, rule.apply(mask), str(rule))
    except DataError as error:
        return ImageRecord.failed(one.place, str(error), size)


def _peaks_reason(mask: MaskCounts) -> str:
    """Why a mask has no two peaks, or an empty text."""
    reading = read_encoding(mask, LabelRule())
    if follows_peaks(reading):
        return ""
    return (
        f"holds {shares_text(reading.values, total=reading.pixels)}; expected grey "
        "levels near 0 and near 255. Name its values with --changed and --unchanged"
    )


def _note(text: str, masks: int) -> list[str]:
    """A note about some masks; none where there is no such mask."""
    return [text.format(masks=counted(masks, "mask"))] if masks else []


def _binarisation_text(shown: Binarisation) -> str:
    """What the usual loaders would make of the masks, a line for each rule."""
    lines = ["loaders that binarise otherwise would call changed"]
    for rule, loaders in LOADERS.items():
        share = 100 * shown.counts[rule] / shown.valid
        lines.append(f"  {rule:<5} {share:>8.4g} %  {loaders}")
    if shown.from_128 == 0:
        lines.append(
            "  low codes: looks black; a reader that thresholds at 128 finds no change"
        )
    return "\n".join(lines)
