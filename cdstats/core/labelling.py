"""From the counts of a dataset's masks to its image rows: rules found and applied."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from cdstats.core.binarisation import LOADERS, Binarisation, binarisation
from cdstats.core.detection import Verdict, detect, settle
from cdstats.core.encodings import follows_peaks, read_encoding
from cdstats.core.errors import DataError
from cdstats.core.labels import LabelRule, shares_text
from cdstats.core.messages import Level, Message
from cdstats.core.records import ImageRecord, split_order

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from cdstats.core.counts import MaskCounts
    from cdstats.core.rules import RuleChoice


REFUSED: Final = "split refused: "
"""How the reason of a mask begins whose whole split was refused."""


@dataclass(frozen=True, slots=True)
class Counted:
    """What became of one mask of a file.

    Attributes:
        member: What tells it from the others of its file; empty for the only one.
        mask: Its counts, or None when it failed.
        reason: Why it failed.
        size: Width and height, when they are known.
    """

    member: str
    mask: MaskCounts | None
    reason: str = ""
    size: tuple[int, int] | None = None


@dataclass(frozen=True, slots=True)
class CountedMask:
    """A mask of a dataset and what became of it."""

    dataset: str
    split: str
    path: str
    counted: Counted

    @property
    def place(self) -> tuple[str, str, str]:
        """Dataset, split and path: the first columns of its row."""
        return self.dataset, self.split, self.path

    @property
    def label(self) -> str:
        """The split in words, for messages."""
        return f"{self.dataset}/{self.split}" if self.split else self.dataset


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


def label_dataset(masks: Sequence[CountedMask], choice: RuleChoice) -> Labelled:
    """Turn the masks of one dataset into rows, each split by its own rule."""
    ordered = sorted(masks, key=lambda one: split_order(one.split))
    decisions, messages = decide(ordered, choice)
    done = Labelled(messages=messages)
    shown: dict[str, Binarisation] = {}
    for one, decision in zip(ordered, decisions, strict=True):
        row = _label(one, decision)
        done.images.append(row)
        if row.status == "ok" and one.counted.mask and decision.rule:
            found = binarisation(one.counted.mask, decision.rule)
            shown[row.rule] = shown.get(row.rule, Binarisation()) + found
    done.messages += [
        Message(Level.NOTE, f"{masks[0].dataset}: {_binarisation_text(found)}")
        for found in shown.values()
        if found.differs
    ]
    return done


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
    splits: dict[str, list[CountedMask]] = {}
    for mask in masks:
        splits.setdefault(mask.split, []).append(mask)
    verdicts = _verdicts(splits, choice)
    decisions: dict[int, Decision] = {}
    messages: list[Message] = []
    for split, members in splits.items():
        verdict = verdicts[split]
        readable = [one for one in members if one.counted.mask is not None]
        place = {id(one): number for number, one in enumerate(readable)}
        for one in members:
            odd = verdict.odd.get(place.get(id(one), -1), "")
            decisions[id(one)] = _decide(one, verdict, odd, choice)
        messages += _split_messages(members, verdict, choice)
    return [decisions[id(one)] for one in masks], messages


def _decide(
    one: CountedMask, verdict: Verdict, odd: str, choice: RuleChoice
) -> Decision:
    if one.counted.mask is None:
        return Decision(None, one.counted.reason)
    if verdict.refusal:
        return Decision(None, f"{REFUSED}{verdict.refusal}")
    peaks = choice.preset is not None and choice.preset.two_peaks
    reason = odd or (_peaks_reason(one.counted.mask) if peaks else "")
    return Decision(None, reason) if reason else Decision(verdict.rule)


def _split_messages(
    masks: Sequence[CountedMask], verdict: Verdict, choice: RuleChoice
) -> list[Message]:
    where = masks[0].label
    found = [Message(Level.NOTE, f"{where}: {note}") for note in verdict.notes]
    if verdict.refusal:
        found.append(Message(Level.ERROR, f"{where}: {verdict.refusal}"))
    pre = [one for one in masks if "_pre_disaster" in one.path]
    if pre and not choice.preset:
        text = f"{pre[0].path}: building presence, not change ({len(pre):,} such files)"
        found.append(Message(Level.WARNING, text))
    return found


def _verdicts(
    splits: Mapping[str, Sequence[CountedMask]], choice: RuleChoice
) -> dict[str, Verdict]:
    """The decision for each split; a split of one value follows the others."""
    if choice.rule is not None:
        return dict.fromkeys(splits, Verdict(choice.rule))
    found = {
        split: detect(_readable(masks), choice.ignore)
        for split, masks in splits.items()
    }
    return {
        split: settle(
            verdict,
            [
                other.rule
                for name, other in found.items()
                if name != split and other.rule and other.rule.changed
            ],
        )
        for split, verdict in found.items()
    }


def _readable(masks: Sequence[CountedMask]) -> list[MaskCounts]:
    return [one.counted.mask for one in masks if one.counted.mask is not None]


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
