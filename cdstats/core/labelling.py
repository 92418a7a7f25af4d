"""Image rows from the counts of a dataset's masks, with given or detected rules."""

from __future__ import annotations

import shlex
from collections import Counter
from dataclasses import dataclass, field, replace
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
from cdstats.core.vocabulary import known_layouts

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Sequence

    from cdstats.core.counts import Counted, CountedMask, MaskCounts
    from cdstats.core.labels import RuleChoice
    from cdstats.core.presets import Preset


REFUSED: Final = "split refused: "
"""Prefix of the reason for masks of a refused split."""
_BUILDINGS: Final = "_pre_disaster"
"""Part of the names of xBD targets that show buildings without change."""
_WHITE: Final = (
    "{masks} in MINISWHITE TIFF files, where 0 is white: values are used as stored"
)
_SUBSAMPLED: Final = (
    "{masks} in TIFF files of YCbCr JPEG: values are decoded by GDAL; other readers "
    "may decode different colours"
)


class Labelled(NamedTuple):
    """Image rows of a dataset, with messages."""

    images: list[ImageRecord]
    messages: list[Message]


class Decision(NamedTuple):
    """The rule of a mask, or the reason why it has none."""

    rule: LabelRule | None
    reason: str = ""


class Origin(NamedTuple):
    """Location of the masks of a dataset: the folder above their names.

    ``looks`` are presets of datasets with similar file names.
    """

    above: str = ""
    looks: tuple[str, ...] = ()


@dataclass
class _Split:
    """The values and layouts of the masks in a split.

    Attributes:
        findings: Values of the masks, if no rule is given.
        files: Masks seen so far.
        layouts: Number of masks that match the layout of each preset.
        others: Files that the xBD preset excludes.
        first: Index and path of the first such file.
    """

    findings: Findings
    files: int = 0
    layouts: Counter[str] = field(default_factory=Counter)
    others: int = 0
    first: tuple[int, str] | None = None

    def see(self, place: int, path: str, above: str | None) -> None:
        """Add a mask by its name; its layout is checked if `above` is given."""
        self.files += 1
        if above is not None:
            self.layouts.update(known_layouts(f"{above}/{path}"))
        if _BUILDINGS in path.lower():
            self.others += 1
            self.first = min(self.first or (place, path), (place, path))

    def preset(self, verdict: Verdict, further: Collection[str] = ()) -> Preset | None:
        """The only preset that fits the layout and values of all masks.

        If another split uses a preset, not all of its classes need to occur.
        """
        if not self.layouts:
            return None
        from cdstats.core.presets import fitting, preset

        names = [one for one, files in self.layouts.items() if files == self.files]
        values = self.findings.seen
        colours = any(str(value).startswith("#") for value in values)
        found = []
        for known in map(preset, names if values else []):
            named = known.name in further and all(map(known.rule.named, values))
            fits = bool(fitting(values, [known.name])) and not (known.band and colours)
            if fits or named or self.agrees(known, verdict):
                found.append(known)
        return found[0] if len(found) == 1 else None

    def agrees(self, known: Preset, verdict: Verdict) -> bool:
        """Whether the detected rule gives the same labels as a preset."""
        rule = verdict.rule
        labels = [
            (known.rule.label(v), rule and rule.label(v)) for v in self.findings.seen
        ]
        found = {one for one, _ in labels}
        same = all(one == other for one, other in labels)
        return same and found >= {Label.CHANGED, Label.UNCHANGED}

    def by_preset(self, known: Preset, verdict: Verdict) -> Verdict:
        """The decision by a layout's preset; a detected rule that agrees is kept."""
        rule = str(known.rule).partition(" (")[0]
        text = (
            f"read as {known.short}: {rule} (--preset {known.name}), because it looks "
            f"like {known.short} by names and values; to disable, use --preset none"
        )
        if self.agrees(known, verdict):
            return replace(verdict, notes=(*verdict.notes, text))
        return Verdict(known.rule, notes=(text,))

    def checked(self, verdict: Verdict) -> Verdict:
        """The decision, or a refusal if known codes contradict it."""
        values = self.findings.values
        if not values or not self.layouts or "--preset" in verdict.refusal:
            return verdict
        from cdstats.core.presets import preset

        for known in map(preset, self.layouts):
            codes = {value: known.rule.label(value) for value in values}
            found = {v: verdict.rule.label(v) if verdict.rule else None for v in values}
            agrees = codes == found and not self.others
            if known.rule.has_thresholds or None in codes.values() or agrees:
                continue
            way = f"--preset {known.name}"
            rule = str(known.rule).partition(" (")[0]
            text = (
                f"holds {shares_text(values, total=sum(values.values()))}. Looks like "
                f"{known.short}, where {rule}: {way}"
            )
            return Verdict(refusal=text, ways=(way,))
        return verdict


NO_ORIGIN: Final = Origin()


class DatasetLabels:
    """The rules of a dataset, given or detected per split.

    Pass every mask once to `see`, in any order; then `row` gives the row of each. Masks
    are not kept. With a given rule, `row` may be called immediately.
    """

    def __init__(
        self, dataset: str, choice: RuleChoice, origin: Origin = NO_ORIGIN
    ) -> None:
        self._origin = origin
        self.dataset = dataset
        self._choice = choice
        self._splits: dict[str, _Split] = {}
        self._shown: dict[str, dict[str, Binarisation]] = {}
        # Masks and pixels of declared nodata that the rule counts as changed or
        # unchanged, by nodata value, term and label.
        self._nodata: dict[tuple[str, str, str], tuple[int, int]] = {}
        self._white = self._subsampled = 0

    def see(self, mask: CountedMask, place: int = 0) -> None:
        """Add a mask; `place` is its index among the rows."""
        if mask.split not in self._splits:
            findings = Findings(self._choice.ignore, self._origin.looks)
            self._splits[mask.split] = _Split(findings)
        split = self._splits[mask.split]
        finds = self._choice.rule is None
        split.see(place, mask.path, self._origin.above if finds else None)
        if finds and mask.counted.mask is not None:
            split.findings.add(mask.counted.mask)

    def refused_with(self, split: str, further: int) -> bool:
        """Whether a split will be refused, for any content of `further` masks."""
        known = self._splits.get(split)
        if known is None or (known.layouts and self._choice.takes_presets):
            return False
        return known.findings.refused_with(further)

    @cached_property
    def _verdicts(self) -> dict[str, Verdict]:
        """The decision for each split; splits of one value follow the others."""
        splits = {
            name: self._splits[name] for name in sorted(self._splits, key=split_order)
        }
        if self._choice.rule is not None:
            return dict.fromkeys(splits, Verdict(self._choice.rule))
        plain = {split: one.findings.verdict() for split, one in splits.items()}
        found = {split: self._checked(split, one) for split, one in plain.items()}
        if self._choice.takes_presets:
            own = {split: splits[split].preset(one) for split, one in plain.items()}
            taken = {one.name for one in own.values() if one}
            found |= {
                split: splits[split].by_preset(known, one)
                for split, one in plain.items()
                if (known := own[split] or splits[split].preset(one, taken))
            }
        rules = {
            split: verdict.rule
            for split, verdict in found.items()
            if verdict.rule and verdict.rule.changed
        }
        return {
            split: self._checked(
                split,
                settle(verdict, [rules[name] for name in rules if name != split]),
            )
            for split, verdict in found.items()
        }

    def _checked(self, split: str, verdict: Verdict) -> Verdict:
        """The decision, unless the names of a known dataset contradict it."""
        return self._splits[split].checked(verdict) if self._choice.known else verdict

    def decision(self, split: str, counted: Counted) -> Decision:
        """The rule of a mask added before, or the reason why it has none."""
        mask, rule, given = counted.mask, self._choice.rule, self._choice.preset
        if mask is None:
            return Decision(None, counted.reason)
        if rule is None:
            verdict = self._verdicts[split]
            if verdict.refusal:
                return Decision(None, f"{REFUSED}{verdict.refusal}")
            reason = verdict.contradiction(mask)
            return Decision(None if reason else verdict.rule, reason)
        self._note_nodata(mask, rule)
        self._white += mask.white_is_zero
        self._subsampled += mask.is_subsampled
        if given is None or not given.two_peaks:
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
        """The row of a mask added before."""
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
        """Messages on the splits and on the rows returned so far."""
        notes = [
            f"{counted(pixels, 'pixel')} of {counted(masks, 'mask')} are declared "
            f"nodata ({value}) but count as {label}, because {term} includes the "
            "value; use rest instead to exclude them"
            for (value, term, label), (masks, pixels) in sorted(self._nodata.items())
        ]
        notes += [
            text.format(masks=counted(masks, "mask"))
            for text, masks in ((_WHITE, self._white), (_SUBSAMPLED, self._subsampled))
            if masks
        ]
        return [
            *(one for split in self._verdicts for one in self._split_messages(split)),
            *(Message(Level.NOTE, f"{self.dataset}: {text}") for text in notes),
            *self._loader_notes(),
        ]

    def _loader_notes(self) -> Iterator[Message]:
        """Notes on masks that other loaders would binarise differently.

        Splits are named unless all share the rule.
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

    def _split_messages(self, split: str) -> Iterator[Message]:
        verdict, where = self._verdicts[split], split_label(self.dataset, split)
        for note in verdict.notes:
            told = [s for s, one in self._verdicts.items() if note in one.notes]
            if len(told) < len(self._verdicts):
                yield Message(Level.NOTE, f"{where}: {note}")
            elif split == told[0]:
                whole = where if len(told) == 1 else self.dataset
                yield Message(Level.NOTE, f"{whole}: {note}")
        for warning in verdict.warnings:
            yield Message(Level.WARNING, f"{where}: {warning}")
        if verdict.refusal:
            ways = verdict.ways
            if split and any(not one.refusal for one in self._verdicts.values()):
                # Only this split needs the options.
                ways = tuple(f"--split {shlex.quote(split)} {way}" for way in ways)
            yield Message(Level.ERROR, f"{where}: {verdict.refusal}", ways)
        one = self._splits[split]
        given = self._choice.preset or not verdict.rule
        if one.first and not given:
            files = counted(one.others, "such file")
            text = f"{one.first[1]}: building presence, not change ({files})"
            yield Message(Level.WARNING, text)


def split_label(dataset: str, split: str) -> str:
    """Name of a split with its dataset, for messages."""
    return f"{dataset}/{split}" if split else dataset


def label_dataset(
    masks: Sequence[CountedMask], choice: RuleChoice, origin: Origin = NO_ORIGIN
) -> Labelled:
    """Turn the masks of a dataset into rows, with one rule per split."""
    ordered = sorted(masks, key=lambda one: split_order(one.split))
    labels = _seen(ordered, choice, origin)
    return Labelled([labels.row(one) for one in ordered], labels.messages)


def decide(
    masks: Sequence[CountedMask], choice: RuleChoice, origin: Origin = NO_ORIGIN
) -> tuple[list[Decision], list[Message]]:
    """The rule of each mask, in the order of splits, with messages."""
    labels = _seen(masks, choice, origin)
    decisions = [labels.decision(one.split, one.counted) for one in masks]
    return decisions, labels.messages


def _seen(
    masks: Sequence[CountedMask], choice: RuleChoice, origin: Origin
) -> DatasetLabels:
    labels = DatasetLabels(masks[0].dataset, choice, origin)
    for place, one in enumerate(masks):
        labels.see(one, place)
    return labels


def _binarisation_text(shown: Binarisation) -> str:
    """Change fractions under common loader rules, one line per rule."""
    lines = ["other loaders would count as changed"]
    for rule, loaders in LOADERS.items():
        share = 100 * shown.counts[rule] / shown.valid
        lines.append(f"  {rule:<5} {share:>8.4g} %  {loaders}")
    if shown.from_128 == 0:
        lines.append(
            "  low values look black; loaders with the threshold 128 find no change"
        )
    return "\n".join(lines)
