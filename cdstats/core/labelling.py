"""From the counts of a dataset's masks to its image rows: rules found and applied."""

from __future__ import annotations

import shlex
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Final, NamedTuple

from cdstats.core.binarisation import LOADERS, Binarisation, binarisation
from cdstats.core.detection import (
    Findings,
    Verdict,
    follows_peaks,
    read_encoding,
    settle,
)
from cdstats.core.errors import DataError, Level, Message, counted
from cdstats.core.labels import Label, LabelRule, shares_text
from cdstats.core.records import ImageRecord, split_order
from cdstats.core.vocabulary import named_preset

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from cdstats.core.counts import Counted, CountedMask, MaskCounts
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


class Labelled(NamedTuple):
    """Image rows of a dataset, and what to tell about them."""

    images: list[ImageRecord]
    messages: list[Message]


class Decision(NamedTuple):
    """The rule of one mask, or the reason why it has none."""

    rule: LabelRule | None
    reason: str = ""


@dataclass
class _Split:
    """What the masks of a split hold, and whether their names fix its codes.

    Attributes:
        findings: What the masks hold, where no rule is given.
        preset: The preset of the dataset that masks are named like.
        others: Files that this dataset does not read.
        first: The place and path of the first of these.
    """

    findings: Findings
    preset: str = ""
    others: int = 0
    first: tuple[int, str] | None = None

    def see(self, place: int, path: str) -> None:
        """Note the name of a mask."""
        found = named_preset(path)
        if found and found[1]:
            self.preset = found[0]
        elif found:
            self.others += 1
            self.first = min(self.first or (place, path), (place, path))

    def checked(self, verdict: Verdict) -> Verdict:
        """A decision, or the refusal of one that the codes of a dataset contradict."""
        values = self.findings.values
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


class DatasetLabels:
    """The rules of one dataset: given, or found for each split while masks come.

    Every mask is shown once to `see`, in any order; then `row` gives the row of each.
    No mask is kept. With a rule given, the row of a mask can be had at once. ``looks``
    are the presets of the datasets that the files are named like.
    """

    def __init__(
        self, dataset: str, choice: RuleChoice, looks: Sequence[str] = ()
    ) -> None:
        self._looks = looks
        self.dataset = dataset
        self._choice = choice
        self._splits: dict[str, _Split] = {}
        self._shown: dict[str, dict[str, Binarisation]] = {}
        # Masks and pixels of declared nodata that a given rule counts, for it lies in a
        # term of many values: by the value, the term and its label.
        self._nodata: dict[tuple[str, str, str], tuple[int, int]] = {}
        self._white = self._subsampled = 0

    def see(self, mask: CountedMask, place: int = 0) -> None:
        """Take a mask into account; its place among the rows tells the first one."""
        if mask.split not in self._splits:
            findings = Findings(self._choice.ignore, self._looks)
            self._splits[mask.split] = _Split(findings)
        split = self._splits[mask.split]
        split.see(place, mask.path)
        if self._choice.rule is None and mask.counted.mask is not None:
            split.findings.add(mask.counted.mask)

    def refused_with(self, split: str, further: int) -> bool:
        """Whether a split will be refused, whatever so many further masks hold."""
        known = self._splits.get(split)
        return known is not None and known.findings.refused_with(further)

    @cached_property
    def _verdicts(self) -> dict[str, Verdict]:
        """The decision for each split; a split of one value follows the others."""
        splits = {
            name: self._splits[name] for name in sorted(self._splits, key=split_order)
        }
        if self._choice.rule is not None:
            return dict.fromkeys(splits, Verdict(self._choice.rule))
        found = {s: one.checked(one.findings.verdict()) for s, one in splits.items()}
        rules = {
            split: verdict.rule
            for split, verdict in found.items()
            if verdict.rule and verdict.rule.changed
        }
        return {
            split: splits[split].checked(
                settle(verdict, [rules[name] for name in rules if name != split])
            )
            for split, verdict in found.items()
        }

    def decision(self, split: str, counted: Counted) -> Decision:
        """The rule of a mask that was seen before, or why it has none."""
        mask, rule, preset = counted.mask, self._choice.rule, self._choice.preset
        if mask is None:
            return Decision(None, counted.reason)
        self._subsampled += mask.is_subsampled
        if rule is None:
            verdict = self._verdicts[split]
            if verdict.refusal:
                return Decision(None, f"{REFUSED}{verdict.refusal}")
            reason = verdict.contradiction(mask)
            return Decision(None if reason else verdict.rule, reason)
        self._note_nodata(mask, rule)
        self._white += mask.white_is_zero
        if preset is None or not preset.two_peaks:
            return Decision(rule)
        reading = read_encoding(mask, LabelRule())
        if follows_peaks(reading):
            return Decision(rule)
        return Decision(
            None,
            f"holds {shares_text(reading.values, total=reading.pixels)}; expected grey "
            "levels near 0 and near 255. Name its values with --changed and "
            "--unchanged",
        )

    def _note_nodata(self, mask: MaskCounts, rule: LabelRule) -> None:
        if mask.nodata is None or mask.palette:
            return
        found = mask.counts.values.get(mask.nodata)
        covering = rule.covering(mask.nodata)
        if found and covering and covering[1] is not Label.IGNORED:
            key = str(mask.nodata), str(covering[0]), covering[1].value
            masks, pixels = self._nodata.get(key, (0, 0))
            self._nodata[key] = masks + 1, pixels + found

    def row(self, mask: CountedMask) -> ImageRecord:
        """The row of a mask that was seen before."""
        counts, (rule, reason) = (
            mask.counted.mask,
            self.decision(mask.split, mask.counted),
        )
        if counts is None or rule is None:
            return ImageRecord.failed(mask.place, reason, mask.counted.size)
        size = (counts.width, counts.height)
        try:
            pixels = rule.apply(counts)
        except DataError as error:
            return ImageRecord.failed(mask.place, str(error), size)
        row = ImageRecord.counted(mask.place, size, pixels, str(rule))
        splits = self._shown.setdefault(row.rule, {})
        held = splits.get(row.split, Binarisation())
        splits[row.split] = held + binarisation(counts, rule)
        return row

    @property
    def messages(self) -> list[Message]:
        """What to tell about the splits, and about the rows that were given."""
        notes = [
            f"{counted(pixels, 'pixel')} of {counted(masks, 'mask')} are declared "
            f"nodata ({value}) and count as {label}, for {term} names it; write rest "
            "in its place to leave them out"
            for (value, term, label), (masks, pixels) in sorted(self._nodata.items())
        ]
        notes += [
            text.format(masks=counted(masks, "mask"))
            for text, masks in ((_WHITE, self._white), (_SUBSAMPLED, self._subsampled))
            if masks
        ]
        return [
            *(one for split in self._verdicts for one in self._told(split)),
            *(Message(Level.NOTE, f"{self.dataset}: {text}") for text in notes),
            *self._otherwise(),
        ]

    def _otherwise(self) -> Iterator[Message]:
        """What other loaders would make of the masks of each rule, where they differ.

        Splits that do not share their rule with all others are named.
        """
        for splits in self._shown.values():
            total = sum(splits.values(), Binarisation())
            named = splits if len(splits) < len(self._splits) else [""]
            if total.differs:
                where = ", ".join(
                    split_label(self.dataset, split)
                    for split in sorted(named, key=split_order)
                )
                yield Message(Level.NOTE, f"{where}: {_binarisation_text(total)}")

    def _told(self, split: str) -> Iterator[Message]:
        verdict, where = self._verdicts[split], split_label(self.dataset, split)
        for note in verdict.notes:
            yield Message(Level.NOTE, f"{where}: {note}")
        for warning in verdict.warnings:
            yield Message(Level.WARNING, f"{where}: {warning}")
        if verdict.refusal:
            ways = verdict.ways
            if split and any(not one.refusal for one in self._verdicts.values()):
                # For this split alone, as others are clear.
                ways = tuple(f"--split {shlex.quote(split)} {way}" for way in ways)
            yield Message(Level.ERROR, f"{where}: {verdict.refusal}", ways)
        one = self._splits[split]
        given = self._choice.preset or not verdict.rule
        if one.first and "_pre_disaster" in one.first[1] and not given:
            files = counted(one.others, "such file")
            text = f"{one.first[1]}: building presence, not change ({files})"
            yield Message(Level.WARNING, text)


def split_label(dataset: str, split: str) -> str:
    """A split of a dataset in words, for messages."""
    return f"{dataset}/{split}" if split else dataset


def label_dataset(
    masks: Sequence[CountedMask], choice: RuleChoice, looks: Sequence[str] = ()
) -> Labelled:
    """Turn the masks of one dataset into rows, each split by its own rule."""
    ordered = sorted(masks, key=lambda one: split_order(one.split))
    labels = _seen(ordered, choice, looks)
    return Labelled([labels.row(one) for one in ordered], labels.messages)


def decide(
    masks: Sequence[CountedMask], choice: RuleChoice
) -> tuple[list[Decision], list[Message]]:
    """The rule of each mask of a dataset, in the order of splits, and what to tell."""
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
