"""The masks of a run: how each is labelled, decided before a prediction is read."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from cdstats.core.counted import CountedMask
from cdstats.core.errors import CdstatsError, DataError
from cdstats.core.labelling import Decision, decide
from cdstats.io.addresses import shown
from cdstats.io.counting import Task, count_file, expect_tasks
from cdstats.io.limits import MAX_PIXELS
from cdstats.io.masks import open_masks
from cdstats.io.targets import is_soft, read_labels, read_pair_labels, read_soft

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Sequence

    from numpy.typing import NDArray

    from cdstats.core.labels import LabelRule
    from cdstats.core.messages import Message
    from cdstats.core.rules import RuleChoice
    from cdstats.io.blocks import OpenImage
    from cdstats.io.found import FoundFile
    from cdstats.io.georeference import Georeference


@dataclass(frozen=True, slots=True)
class Target:
    """One mask: an image of a file, and how its values become labels.

    Attributes:
        file: The file.
        image: The opened image; None for truth in two files.
        size: Width and height.
        decision: Its rule, or why it has none; None for soft targets.
        georeference: Finds where its pixels lie; None where the file does not say.
    """

    file: FoundFile
    image: OpenImage | None
    size: tuple[int, int]
    decision: Decision | None
    band: int | None = None
    ignore: LabelRule | None = None
    max_pixels: int = MAX_PIXELS
    georeference: Callable[[], Georeference | None] = lambda: None

    @property
    def key(self) -> tuple[str, str, str]:
        """What tells it from every other mask of the run."""
        member = self.image.member if self.image else ""
        return self.file.path, self.file.member, member

    def read(self) -> NDArray[Any]:
        """Read the labels (uint8), or soft targets (float64).

        Raises:
            DataError: If the mask has no rule or cannot be read with it.
        """
        if self.decision is None and self.image is not None:
            return read_soft(self.image, self.ignore)
        if self.decision is None or self.decision.rule is None:
            raise DataError(self.decision.reason if self.decision else "has no rule")
        if self.image is None:
            return read_pair_labels(
                self.file.path, self.file.partner, self.band, self.max_pixels
            )
        return read_labels(self.image, self.decision.rule)


@dataclass(frozen=True)
class Targets:
    """How the masks of a run are labelled.

    Attributes:
        decisions: The decision for each file and image of it; a file without one
            holds soft targets.
        rules: The rules in use.
        messages: What to tell about them.
        band: The band of each mask, counted from 1; None where there is one choice.
        soft: Whether a file holds soft targets.
        ignore: The values that are ignored in soft targets.
        max_pixels: Pixels that a mask may declare.
        versions: The version of each mask of a store that was counted.
    """

    decisions: dict[tuple[str, str, str], Decision]
    rules: tuple[str, ...]
    messages: tuple[Message, ...]
    band: int | None = None
    soft: bool = False
    ignore: LabelRule | None = None
    max_pixels: int = MAX_PIXELS
    versions: dict[str, str] = field(default_factory=dict)

    def of(self, files: Collection[FoundFile]) -> Targets:
        """How some masks are labelled, without what the others need."""
        wanted = {(file.path, file.member) for file in files}
        decisions = {
            key: decision
            for key, decision in self.decisions.items()
            if key[:2] in wanted
        }
        paths = {path for file in files for path in (file.path, file.partner)}
        versions = {path: one for path, one in self.versions.items() if path in paths}
        return replace(self, decisions=decisions, messages=(), versions=versions)

    def open(self, file: FoundFile) -> list[Target]:
        """Open the masks of a file.

        Raises:
            DataError: If the file cannot be opened.
        """
        if file.partner:
            decision = self.decisions[file.path, "", ""]
            image = open_masks(file.path, "", self.band, self.max_pixels)[0]
            size = (image.width, image.height)
            return [
                Target(
                    file,
                    None,
                    size,
                    decision,
                    self.band,
                    max_pixels=self.max_pixels,
                    georeference=image.georeference,
                )
            ]
        return [
            Target(
                file,
                image,
                (image.width, image.height),
                self.decisions.get((file.path, file.member, image.member)),
                ignore=self.ignore,
                georeference=image.georeference,
            )
            for image in open_masks(file.path, file.member, self.band, self.max_pixels)
        ]


def choose_targets(
    files: Sequence[FoundFile],
    choice: RuleChoice,
    band: int | None,
    max_pixels: int = MAX_PIXELS,
) -> Targets:
    """Decide how every mask is labelled; masks are counted where a rule is to be found.

    Args:
        files: The mask files.
        choice: The rule options.
        band: The band to read.
        max_pixels: Pixels that a mask may declare.
    """
    arrays = [file for file in files if choice.rule is None and _is_array(file)]
    expect_tasks(Task(file.path) for file in arrays)
    fractions = {file for file in arrays if _is_soft(file, max_pixels)}
    hard = [file for file in files if file not in fractions]
    masks: list[CountedMask] = []
    owners: list[FoundFile] = []
    tasks = [Task(file.path, file.member, file.partner) for file in hard]
    versions: dict[str, str] = {}
    expect_tasks(tasks, versions)
    for file, task in zip(hard, tasks, strict=True):
        for one in count_file(
            task, band=band, edges=choice.edges, max_pixels=max_pixels
        ):
            masks.append(CountedMask("targets", file.split, file.name, one))
            owners.append(file)
    expect_tasks(())
    decisions, messages = decide(masks, choice) if masks else ([], [])
    by_place = {
        (file.path, file.member, one.counted.member): decision
        for file, one, decision in zip(owners, masks, decisions, strict=True)
    }
    rules = dict.fromkeys(str(d.rule) for d in decisions if d.rule)
    soft = len(hard) < len(files)
    return Targets(
        by_place,
        tuple(rules),
        tuple(messages),
        band,
        soft,
        choice.ignore,
        max_pixels,
        versions,
    )


def _is_array(file: FoundFile) -> bool:
    return shown(file.path).lower().endswith((".npy", ".npz"))


def _is_soft(file: FoundFile, max_pixels: int) -> bool:
    try:
        return is_soft(file.path, file.member, max_pixels)
    except CdstatsError:
        return False
