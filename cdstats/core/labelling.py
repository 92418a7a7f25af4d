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
    from collections.abc import Sequence

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


def label_dataset(masks: Sequence[CountedMask], choice: RuleChoice) -> Labelled:
    """Turn the masks of one dataset into rows, each split by its own rule."""
    splits: dict[str, list[CountedMask]] = {}
    for mask in masks:
        splits.setdefault(mask.split, []).append(mask)
    verdicts = _verdicts(splits, choice)
    done = Labelled()
    differing: dict[str, Binarisation] = {}
    for split in sorted(splits, key=split_order):
        shown = _label_split(splits[split], verdicts[split], choice, done)
        rule = str(verdicts[split].rule or "")
        differing[rule] = differing.get(rule, Binarisation()) + shown
    done.messages += [
        Message(Level.NOTE, f"{masks[0].dataset}: {_binarisation_text(shown)}")
        for shown in differing.values()
        if shown.differs
    ]
    return done


def _verdicts(
    splits: dict[str, list[CountedMask]], choice: RuleChoice
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


def _label_split(
    masks: Sequence[CountedMask], verdict: Verdict, choice: RuleChoice, done: Labelled
) -> Binarisation:
    """Add the rows and messages of one split; what other loaders would count."""
    total = Binarisation()
    readable = -1
    for one in masks:
        mask, reason = one.counted.mask, one.counted.reason
        if mask is not None:
            readable += 1
            odd = verdict.odd.get(readable, "")
            reason = f"{REFUSED}{verdict.refusal}" if verdict.refusal else odd
        if mask is None or reason or verdict.rule is None:
            done.images.append(ImageRecord.failed(one.place, reason, one.counted.size))
            continue
        row = _label(one, mask, verdict.rule, choice)
        done.images.append(row)
        if row.status == "ok":
            total += binarisation(mask, verdict.rule)
    where = masks[0].label
    done.messages += [Message(Level.NOTE, f"{where}: {note}") for note in verdict.notes]
    if verdict.refusal:
        done.messages.append(Message(Level.ERROR, f"{where}: {verdict.refusal}"))
    _warn_of_pre_disaster(masks, choice, done)
    return total


def _label(
    one: CountedMask, mask: MaskCounts, rule: LabelRule, choice: RuleChoice
) -> ImageRecord:
    size = (mask.width, mask.height)
    try:
        if choice.preset and choice.preset.two_peaks:
            _check_peaks(mask)
        return ImageRecord.counted(one.place, size, rule.apply(mask), str(rule))
    except DataError as error:
        return ImageRecord.failed(one.place, str(error), size)


def _check_peaks(mask: MaskCounts) -> None:
    reading = read_encoding(mask, LabelRule())
    if not follows_peaks(reading):
        raise DataError(
            f"holds {shares_text(reading.values, total=reading.pixels)}; expected grey "
            "levels near 0 and near 255. Name its values with --changed and --unchanged"
        )


def _warn_of_pre_disaster(
    masks: Sequence[CountedMask], choice: RuleChoice, done: Labelled
) -> None:
    pre = [one for one in masks if "_pre_disaster" in one.path]
    if pre and not choice.preset:
        text = f"{pre[0].path}: building presence, not change ({len(pre):,} such files)"
        done.messages.append(Message(Level.WARNING, text))


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
