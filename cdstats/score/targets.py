"""The masks of a run, each decoded once and labelled by the rule of its split.

The rule is decided from all masks of a split together. A mask is therefore first
labelled by the rule found from this mask alone, which is nearly always the rule of its
split; if they differ, the mask is read again.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any, Final, TypeAlias

from cdstats.core.counts import Counted, CountedMask
from cdstats.core.errors import DataError, one_file
from cdstats.core.labelling import NO_ORIGIN, Decision, Origin, decide
from cdstats.io.blocks import keeping
from cdstats.io.counting import count_image
from cdstats.io.limits import MAX_PIXELS
from cdstats.io.masks import open_masks
from cdstats.io.partial import count_opened, open_pair
from cdstats.io.targets import (
    is_soft,
    read_labels,
    read_labels_and_greys,
    read_pair_labels,
    read_soft,
)

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence

    import numpy as np
    import torch
    from numpy.typing import NDArray

    from cdstats.core.errors import Message
    from cdstats.core.labels import RuleChoice
    from cdstats.io.blocks import OpenImage
    from cdstats.io.found import FoundFile
    from cdstats.io.georeference import Where

Key: TypeAlias = "tuple[str, str, str]"
"""The file, member and image that identify a mask of the run."""
Read: TypeAlias = "tuple[Any, NDArray[np.uint8] | None]"
"""The labels of a mask and, if requested, the grey classes of its values."""
_KEPT_BYTES: Final = 1 << 28
"""Larger masks are decoded twice, for counting and for labelling."""


@dataclass(frozen=True, slots=True)
class Seen:
    """A mask that was read, and the decision by which it was labelled."""

    key: Key
    mask: CountedMask
    decision: Decision | None

    def is_labelled_by(self, decision: Decision) -> bool:
        """Whether a decision gives every value of the mask the same label."""
        if self.decision is None or self.decision == decision:
            return True
        mask, one, two = self.mask.counted.mask, self.decision.rule, decision.rule
        return (
            mask is not None
            and one is not None
            and two is not None
            and all(
                one.label_in(mask, value) is two.label_in(mask, value)
                for value in mask.counts.values
            )
        )


class Target:
    """One mask: an image of a file, and its labels.

    ``held`` caches labels of the masks of the file; apart from the labels in use it
    takes at most ``most`` bytes, and the oldest entries are removed first. ``partner``
    marks unchanged pixels of a mask in two files. ``seen`` is the mask after counting.
    """

    def __init__(
        self,
        targets: Targets,
        file: FoundFile,
        held: dict[tuple[str, ...], Read],
        most: int,
        image: OpenImage,
        partner: OpenImage | None = None,
    ) -> None:
        self.file, self.image, self._partner = file, image, partner
        self._targets, self._held, self._most = targets, held, most
        self.key: Key = file.path, file.member, image.member
        self.size = image.width, image.height
        self.shape = image.height, image.width
        self.seen: Seen | None = None

    @property
    def photographed(self) -> str:
        """The mask file, beside which images may lie; empty if it has several masks."""
        return "" if self.image.member else self.file.path

    @property
    def labels(self) -> NDArray[Any]:
        """The labels (uint8) or soft targets (float64); ``(height, width)``.

        Raises:
            DataError: If the mask cannot be read.
        """
        labels: NDArray[Any] = self.read_on(None)[0]
        return labels

    @property
    def greys(self) -> NDArray[np.uint8] | None:
        """The `grey_class` of every pixel; None if not requested or not defined."""
        return self.read_on(None)[1]

    def read_on(self, device: torch.device | None) -> Read:
        """Labels or soft targets, on a GPU or as an array, and grey classes."""
        held = self._held
        key = (*self.key, "" if device is None else str(device))
        if key not in held:
            try:
                with one_file():
                    read = self.read() if device is None else self._label_on(device)
                    held[key] = read
            except DataError as error:
                raise DataError(f"mask {self.file.name}: {error}") from None
            while len(held) > 1 and self._most < sum(
                labels.nbytes * (1 if greys is None else 2)
                for labels, greys in held.values()
            ):
                held.pop(next(iter(held)))
        return held[key]

    @cached_property
    def georeference(self) -> Where | None:
        """The georeference of the mask."""
        return self.image.georeference()

    def read(self) -> Read:
        """Read the labels (uint8), or soft targets (float64), and grey classes."""
        image = keeping(self.image, _KEPT_BYTES)
        partner = self._partner and keeping(self._partner, _KEPT_BYTES)
        decision = self._decided(image, partner)
        if decision is None:
            return read_soft(image, self._targets.choice.ignore), None
        if decision.rule is None:
            raise DataError(decision.reason)
        if partner is not None:
            return read_pair_labels(image, partner, self.file.partner), None
        if self._targets.greys:
            return read_labels_and_greys(image, decision.rule)
        return read_labels(image, decision.rule), None

    def _label_on(self, device: torch.device) -> Read:
        """Label the mask on a GPU, or read its labels and copy them there."""
        from cdstats.io.resident import labels_of, sent, soft_targets

        pixels, found = self.image.resident, None
        if pixels is not None:
            decision = self._decided(self.image, None)
            if decision is None and not self._targets.choice.ignore.ignored:
                found = soft_targets(pixels)
            elif decision and decision.rule:
                found = labels_of(self.image, pixels, decision.rule)
        labels = sent(self.read()[0], device) if found is None else found
        return labels.to(device), None

    def count(self) -> None:
        """Count the mask unless it was counted before."""
        if self.seen is None:
            self._decided(self.image, self._partner)

    def _decided(self, image: OpenImage, partner: OpenImage | None) -> Decision | None:
        """The rule of the mask or the reason for a refusal; None for soft targets."""
        choice, origin = self._targets.choice, self._targets.origin
        known = self._targets.decisions.get(self.key)
        if known is not None:
            return known
        if self.seen is None:
            one = self._counted(image, partner)
            mask = CountedMask("targets", self.file.split, self.file.name, one)
            is_soft = one.mask is None and not one.reason
            decision = None if is_soft else decide([mask], choice, origin)[0][0]
            self.seen = Seen(self.key, mask, decision)
        return self.seen.decision

    def _counted(self, image: OpenImage, partner: OpenImage | None) -> Counted:
        """The counts of the mask, or a reason; without both for soft targets."""
        rule = self._targets.choice.rule
        try:
            if partner is not None:
                counts = count_opened(image, partner, self.file.partner)
                return Counted("", counts, size=self.size)
            if rule is None and is_soft(image):
                return Counted(image.member, None)
        except DataError as error:
            return Counted(image.member, None, str(error), self.size)
        return count_image(image, self._targets.choice.edges)


@dataclass(frozen=True)
class Targets:
    """Options and decisions by which the masks of a run are labelled."""

    choice: RuleChoice
    band: int | None = None
    max_pixels: int = MAX_PIXELS
    decisions: Mapping[Key, Decision] = field(default_factory=dict)
    rules: Mapping[str, str] = field(default_factory=dict)
    messages: tuple[Message, ...] = ()
    versions: dict[str, str] = field(default_factory=dict)
    origin: Origin = NO_ORIGIN
    greys: bool = False

    def of(self, files: Collection[FoundFile]) -> Targets:
        """The options and decisions of some masks."""
        wanted = {(file.path, file.member) for file in files}
        decisions = {
            key: decision
            for key, decision in self.decisions.items()
            if key[:2] in wanted
        }
        paths = {path for file in files for path in (file.path, file.partner)}
        versions = {path: one for path, one in self.versions.items() if path in paths}
        return replace(self, decisions=decisions, messages=(), versions=versions)

    def decided(self, seen: Sequence[Seen]) -> Targets:
        """The options with decisions from all counted masks."""
        hard = [one for one in seen if one.decision is not None]
        masks = [one.mask for one in hard]
        decisions, messages = (
            decide(masks, self.choice, self.origin) if masks else ([], [])
        )
        decided = zip(masks, decisions, strict=True)
        rules = {one.split: str(found.rule) for one, found in decided if found.rule}
        keys = [one.key for one in hard]
        return replace(
            self,
            decisions=dict(zip(keys, decisions, strict=True)),
            rules=rules,
            messages=tuple(messages),
        )

    def open(self, file: FoundFile, most: int = 0) -> list[Target]:
        """Open the masks of a file; at most ``most`` bytes of labels are cached."""
        if file.partner:
            pair = open_pair(file.path, file.partner, self.band, self.max_pixels)
            return [Target(self, file, {}, most, *pair)]
        images = open_masks(file.path, file.member, self.band, self.max_pixels)
        held: dict[tuple[str, ...], Read] = {}
        return [Target(self, file, held, most, image) for image in images]

    def unopened(self, file: FoundFile, reason: str) -> Seen:
        """The entry for a mask file that could not be opened."""
        one = Counted("", None, reason)
        mask = CountedMask("targets", file.split, file.name, one)
        return Seen((file.path, file.member, ""), mask, Decision(None, reason))
