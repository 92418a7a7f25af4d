"""Reading of predictions with their labels, block by block, in row order."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Final, TypeAlias

from cdstats.core.errors import DataError, counted, one_file
from cdstats.core.score_records import Place
from cdstats.io.counting import Task, expect_tasks
from cdstats.io.predictions import open_predictions
from cdstats.score.scenes import Loaded, Scene

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from cdstats.io.blocks import OpenImage
    from cdstats.io.found import FoundFile
    from cdstats.io.pairing import FilePair
    from cdstats.score.choices import PredictionChoice
    from cdstats.score.grid import Ground
    from cdstats.score.targets import Seen, Target, Targets

RankedPair: TypeAlias = "tuple[int, FilePair]"
"""A pair with its rank, the position in the order of the rows."""
Reading: TypeAlias = "Callable[[PairReader, Sequence[RankedPair]], Iterator[Loaded]]"
"""`PairReader.read`, or a function that also processes its blocks."""
_HELD_BYTES: Final = 1 << 28
"""Bytes of labels of a mask file that are cached while several models are read."""


class PairReader:
    """Reads the pairs of a run, grouped by mask file, which is decoded once.

    ``seen`` has the counted masks with the rank of their pair, and ``masks`` the masks
    of the current file.
    """

    def __init__(
        self, targets: Targets, choice: PredictionChoice, ground: Ground
    ) -> None:
        self._targets, self.choice, self._ground = targets, choice, ground
        self._number = self._scene = -1
        self.seen: list[tuple[int, Seen]] = []
        self.masks: list[Target] = []

    def read(self, pairs: Sequence[RankedPair]) -> Iterator[Loaded]:
        """Every block of every pair; a failed pair is one item with its reason."""
        groups = [_scenes(group) for group in by_target(pairs)]
        counts = not self._targets.decisions
        expect_tasks(_tasks(groups, counts), self._targets.versions)
        for scenes in groups:
            rank, pair = scenes[0][0]
            if pair.prediction is None or pair.target is None:
                reason = (
                    "has no mask" if pair.prediction else "mask without a prediction"
                )
                yield self._lone(rank, pair, reason)
                # A mask without a prediction still counts for finding the rule.
                if pair.target is not None and counts:
                    self._count(rank, self._opened(rank, pair.target, 0)[0])
            else:
                yield from self._read_group(rank, pair.target, scenes)
        expect_tasks(())

    def mask_of(self, pair: FilePair, target: str) -> Target:
        """The mask of this name in the current file."""
        return next(
            one
            for one in self.masks
            if place_of(pair, "", one.image.member).target == target
        )

    def _read_group(
        self, first: int, file: FoundFile, scenes: Sequence[Sequence[RankedPair]]
    ) -> Iterator[Loaded]:
        many = len(scenes) > 1 or len(scenes[0]) > 1
        masks, reason = self._opened(first, file, _HELD_BYTES if many else 0)
        self.masks = masks
        if reason:
            for rank, pair in (ranked for scene in scenes for ranked in scene):
                yield self._lone(rank, pair, f"mask {file.name}: {reason}")
            return
        for scene in scenes:
            if scene[0][1].crop is None:
                yield from self._read_whole(*scene[0], masks)
            else:
                yield from self._read_crops(scene, masks)
        if not self._targets.decisions:
            self._count(first, masks)

    def _opened(
        self, rank: int, file: FoundFile, held: int
    ) -> tuple[list[Target], str]:
        """The masks of a file, or the reason why they cannot be opened."""
        try:
            with one_file():
                return self._targets.open(file, held), ""
        except DataError as error:
            self.seen.append((rank, self._targets.unopened(file, str(error))))
            return [], str(error)

    def _count(self, rank: int, targets: Sequence[Target]) -> None:
        """Count masks that are not counted yet, and record all of them."""
        for target in targets:
            target.count()
            if target.seen is not None:
                self.seen.append((rank, target.seen))

    def _read_whole(
        self, rank: int, pair: FilePair, masks: Sequence[Target]
    ) -> Iterator[Loaded]:
        """The blocks of the images of a file, each with its mask."""
        try:
            images = self._open(pair, masks)
        except DataError as error:
            yield self._lone(rank, pair, str(error))
            return
        for image, mask in zip(images, masks, strict=True):
            self._scene += 1
            row = self._row(rank, pair, image, mask)
            scene = Scene(mask, self._ground, self.choice.of(pair.model))
            yield from scene.add(row, image)
            yield from scene.finish()

    def _read_crops(
        self, pairs: Sequence[RankedPair], masks: Sequence[Target]
    ) -> Iterator[Loaded]:
        """The blocks of the crops of masks, with a row for each crop or each mask."""
        self._scene += 1
        crops = [pair.crop for _, pair in pairs if pair.crop is not None]
        choice = self.choice.of(pairs[0][1].model)
        scenes = [Scene(mask, self._ground, choice, crops) for mask in masks]
        if self._ground.merges:
            first = min(rank for rank, _ in pairs)
            for scene in scenes:
                row = self._row(first, pairs[0][1], None, scene.mask)
                whole = f"{crops[0].whole}{scene.mask.image.member}"
                scene.merged = replace(row, place=replace(row.place, pred=whole))
        for rank, pair in pairs:
            try:
                images = self._open(pair, masks)
            except DataError as error:
                row = self._row(rank, pair)
                for scene in scenes if self._ground.merges else scenes[:1]:
                    yield from scene.fail(row, str(error))
                for scene in scenes:
                    scene.is_complete = False
                continue
            for image, scene in zip(images, scenes, strict=True):
                row = self._row(rank, pair, image, scene.mask)
                yield from scene.add(row, image, pair.crop)
        for scene in scenes:
            yield from scene.finish()

    def _open(self, pair: FilePair, masks: Sequence[Target]) -> list[OpenImage]:
        """The predictions in a file, one for each mask."""
        one, two = pair.prediction, pair.target
        if one is None or two is None:
            raise ValueError("expected a pair")
        images = open_predictions(
            one.path,
            one.member,
            [None] if pair.crop else [mask.size for mask in masks],
            self.choice.of(pair.model).decoding,
            self._targets.max_pixels,
        )
        if len(images) != len(masks):
            raise DataError(
                f"holds {counted(len(images), 'image')} but its mask file {two.name} "
                f"holds {len(masks)}"
            )
        return images

    def _lone(self, rank: int, pair: FilePair, reason: str) -> Loaded:
        """A failed row, which is complete."""
        self._scene += 1
        return self._row(rank, pair).failed(reason)

    def _row(
        self,
        rank: int,
        pair: FilePair,
        image: OpenImage | None = None,
        mask: Target | None = None,
    ) -> Loaded:
        self._number += 1
        return Loaded(
            self._number,
            rank,
            place_of(
                pair, image.member if image else "", mask.image.member if mask else ""
            ),
            (image.width, image.height) if image else None,
            scene=self._scene,
            is_jpeg=image is not None and "JPEG" in image.format,
        )


def place_of(pair: FilePair, image: str = "", mask: str = "") -> Place:
    """The files and model of a row; images of a stack have their number appended."""
    names = []
    for file, member in ((pair.prediction, image), (pair.target, mask)):
        name = file.name if file else ""
        named = file is None or file.member.isdigit() or name.endswith(member)
        names.append(name if named else f"{name}{member}")
    split = pair.target.split if pair.target else ""
    return Place(names[0], names[1], pair.model, split, pair.words)


def by_target(pairs: Sequence[RankedPair]) -> list[list[RankedPair]]:
    """Pairs grouped by mask file, in the order of the first pair of each."""
    groups: dict[object, list[RankedPair]] = {}
    for rank, pair in pairs:
        target = pair.target if pair.prediction is not None else None
        key = rank if target is None else (target.path, target.member)
        groups.setdefault(key, []).append((rank, pair))
    return list(groups.values())


def _scenes(group: Sequence[RankedPair]) -> list[list[RankedPair]]:
    """The pairs of one mask file as scenes: each pair, or all crops of a model.

    Crops are sorted from top to bottom, then from left to right.
    """
    scenes: dict[object, list[RankedPair]] = {}
    for rank, pair in group:
        key = rank if pair.crop is None else pair.model
        scenes.setdefault(key, []).append((rank, pair))
    for scene in scenes.values():
        scene.sort(key=lambda one: (c.row, c.column) if (c := one[1].crop) else (0, 0))
    return list(scenes.values())


def _tasks(
    groups: Iterable[Sequence[Sequence[RankedPair]]], every: bool
) -> Iterator[Task]:
    """The files of pairs in the order in which they are opened.

    With ``every``, masks without a prediction are included.
    """
    for group in groups:
        pairs = [pair for scene in group for _, pair in scene]
        target = pairs[0].target
        if target is not None and (every or pairs[0].prediction is not None):
            yield Task(target.path, partner=target.partner)
        for pair in pairs:
            if pair.prediction is not None and target is not None:
                yield Task(pair.prediction.path)
