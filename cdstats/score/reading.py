"""Reading predictions with their labels, block by block, in the order of the rows."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, TypeAlias

import numpy as np

from cdstats.core.errors import DataError
from cdstats.core.score_records import Place
from cdstats.io.counting import Task, expect_tasks
from cdstats.io.predictions import open_predictions
from cdstats.score.targets import Target, window

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from numpy.typing import NDArray

    from cdstats.core.counts import Value
    from cdstats.io.blocks import Block, OpenImage
    from cdstats.io.found import FoundFile
    from cdstats.io.pairing import Crop, FilePair
    from cdstats.io.predictions import Channels
    from cdstats.score.targets import Targets

RankedPair: TypeAlias = "tuple[int, FilePair]"
"""A pair with its place in the order of the rows."""
_HELD_BYTES: Final = 1 << 28
"""Labels of one file of masks that are held while several models are read."""


@dataclass(frozen=True, slots=True)
class Loaded:
    """A block of a prediction with its labels, or the reason why there is none.

    Attributes:
        number: The number of the prediction, from 0, in the order of reading.
        rank: The place of its pair in the order of the rows.
        place: Where it comes from.
        size: Width and height, when they are known.
        scores: The stored numbers; ``(h, w)``.
        target: Labels (uint8) or soft targets (float64); ``(h, w)``.
        corner: The first row and column of the block.
        dtype: The type of the stored numbers.
        reason: Why the prediction fails.
    """

    number: int
    rank: int
    place: Place
    size: tuple[int, int] | None
    scores: NDArray[Any] | None = None
    target: NDArray[Any] | None = None
    corner: tuple[int, int] = (0, 0)
    dtype: str = ""
    reason: str = ""


class PairReader:
    """Reads the pairs of a run, those of one mask file together: it is decoded once.

    Args:
        targets: How masks are labelled.
        channels: How two channels of a prediction become one.
    """

    def __init__(self, targets: Targets, channels: Channels) -> None:
        self._targets = targets
        self._channels = channels
        self._number = -1
        self._rank = 0
        self._crops: dict[tuple[str, str], list[tuple[int, int, int, int]]] = {}
        self._labels = _HeldLabels(0)

    def read(self, pairs: Sequence[RankedPair]) -> Iterator[Loaded]:
        """Every block of every pair; a pair that fails is one item with its reason.

        Args:
            pairs: Pairs with their places in the order of the rows.
        """
        groups = by_target(pairs)
        expect_tasks(_tasks(groups), self._targets.versions)
        for group in groups:
            self._labels = _HeldLabels(_HELD_BYTES if len(group) > 1 else 0)
            for self._rank, pair in group:
                if pair.prediction is None or pair.target is None:
                    yield self._unpaired(pair)
                else:
                    yield from self._read_pair(pair)
        expect_tasks(())

    def _unpaired(self, pair: FilePair) -> Loaded:
        self._number += 1
        one, two = pair.prediction, pair.target
        place = Place(
            one.name if one else "",
            two.name if two else "",
            pair.model,
            two.split if two else "",
        )
        reason = "has no mask" if one else "mask without a prediction"
        return Loaded(self._number, self._rank, place, None, reason=reason)

    def _read_pair(self, pair: FilePair) -> Iterator[Loaded]:
        """The images of two files, one by one."""
        one, two = pair.prediction, pair.target
        if one is None or two is None:
            return
        place = Place(one.name, two.name, pair.model, two.split)
        try:
            targets = self._open_targets(two)
            beside = 1 if pair.crop else len(targets)
            images = open_predictions(
                one.path, one.member, beside, self._channels, self._targets.max_pixels
            )
            if len(images) != len(targets):
                raise DataError(
                    f"holds {len(images)} images but its mask file {two.name} holds "
                    f"{len(targets)}"
                )
        except DataError as error:
            self._number += 1
            yield Loaded(self._number, self._rank, place, None, reason=str(error))
            return
        for image, target in zip(images, targets, strict=True):
            self._number += 1
            member = target.image.member if target.image else ""
            where = Place(
                _name(one.name, one.member, image.member),
                _name(two.name, two.member, member),
                pair.model,
                two.split,
            )
            yield from self._read_image(image, target, where, pair.crop)

    def _open_targets(self, file: FoundFile) -> list[Target]:
        try:
            return self._targets.open(file)
        except DataError as error:
            raise DataError(f"mask {file.name}: {error}") from None

    def _read_image(
        self,
        image: OpenImage,
        target: Target,
        place: Place,
        crop: Crop | None,
    ) -> Iterator[Loaded]:
        size, number = (image.width, image.height), self._number
        try:
            labels = self._labels.of(target)
            if crop is not None:
                self._refuse_overlap(target, place, crop, size)
                labels = window(labels, crop.row, crop.column, size)
            if labels.shape != (image.height, image.width):
                shape = (image.height, image.width)
                raise DataError(
                    f"is {shape} but its mask {place.target} is {labels.shape}"
                )
            for block in image.blocks():
                rows = slice(block.row, block.row + block.values.shape[0])
                columns = slice(block.column, block.column + block.values.shape[1])
                part = np.ascontiguousarray(labels[rows, columns])
                _refuse_marked(block, part, image.nodata)
                values = np.ascontiguousarray(_one_channel(block))
                corner = (block.row, block.column)
                stored = image.format.startswith(("bfloat", "float8"))
                name = image.format if stored else values.dtype.name
                yield Loaded(
                    number, self._rank, place, size, values, part, corner, name
                )
        except DataError as error:
            yield Loaded(number, self._rank, place, size, reason=str(error))

    def _refuse_overlap(
        self, target: Target, place: Place, crop: Crop, size: tuple[int, int]
    ) -> None:
        """Refuse a crop over pixels of an earlier one: they would count twice."""
        width, height = size
        new = (crop.row, crop.row + height, crop.column, crop.column + width)
        earlier = self._crops.setdefault((place.model, "#".join(target.key)), [])
        for top, bottom, left, right in earlier:
            if new[0] < bottom and top < new[1] and new[2] < right and left < new[3]:
                raise DataError(
                    f"overlaps another crop of {place.target}, at row {top} and column "
                    f"{left}: its pixels would count twice"
                )
        earlier.append(new)


def _tasks(groups: Iterable[Sequence[RankedPair]]) -> Iterator[Task]:
    """The files of pairs in the order in which they are opened."""
    for group in groups:
        for _, pair in group:
            if pair.prediction is not None and pair.target is not None:
                yield Task(pair.target.path)
                yield Task(pair.prediction.path, partner=pair.target.partner)


class _HeldLabels:
    """The labels of one file of masks, held while its predictions are read.

    Args:
        most: Bytes to hold beside the labels in use; the oldest go first.
    """

    def __init__(self, most: int) -> None:
        self._most = most
        self._held: dict[tuple[str, str, str], NDArray[Any]] = {}

    def of(self, target: Target) -> NDArray[Any]:
        """The labels of a mask.

        Raises:
            DataError: If it cannot be read.
        """
        if target.key not in self._held:
            try:
                self._held[target.key] = target.read()
            except DataError as error:
                raise DataError(f"mask {target.file.name}: {error}") from None
            while len(self._held) > 1 and self._bytes > self._most:
                self._held.pop(next(iter(self._held)))
        return self._held[target.key]

    @property
    def _bytes(self) -> int:
        return sum(labels.nbytes for labels in self._held.values())


def by_target(pairs: Sequence[RankedPair]) -> list[list[RankedPair]]:
    """Pairs with their place, those of one mask file together, the first one first."""
    groups: dict[object, list[RankedPair]] = {}
    for rank, pair in pairs:
        target = pair.target if pair.prediction is not None else None
        key = rank if target is None else (target.path, target.member)
        groups.setdefault(key, []).append((rank, pair))
    return list(groups.values())


def _one_channel(block: Block) -> NDArray[Any]:
    """The scores of a block; a colour image must be grey.

    Raises:
        DataError: If its channels differ.
    """
    if not block.is_colour:
        return block.values
    first: NDArray[Any] = block.values[..., 0]
    if not (block.values == first[..., None]).all():
        raise DataError("its colour channels differ; expected one channel")
    return first


def _refuse_marked(block: Block, labels: NDArray[Any], nodata: Value | None) -> None:
    """Refuse pixels that count and have no score: transparent, nodata, or ambiguous.

    Raises:
        DataError: If there are any.
    """
    counts = labels != 255 if labels.dtype == np.uint8 else labels >= 0
    if block.hidden is not None and (block.hidden & counts).any():
        pixels = int((block.hidden & counts).sum())
        raise DataError(
            f"has no score at {pixels:,} valid pixels: they are transparent"
        )
    if isinstance(nodata, (int, float)) and not block.is_colour:
        empty = (block.values == nodata) & counts
        if empty.any():
            raise DataError(
                f"has no score at {int(empty.sum()):,} valid pixels: they are nodata "
                f"({nodata})"
            )
    if block.half is not None and (block.half & counts).any():
        raise DataError(
            f"has two channels that do not add up to 1, or half transparent pixels, at "
            f"{int((block.half & counts).sum()):,} valid pixels; scores before the "
            "softmax need --kind logit"
        )


def _name(name: str, member: str, image: str) -> str:
    """The name of an image of a file: a stack's carry their number."""
    return name if member.isdigit() or name.endswith(image) else f"{name}{image}"
