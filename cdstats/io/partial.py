"""Ground truth in two files: one marks changed pixels, the other unchanged pixels."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np

from cdstats.core.counts import NAN, MaskCounts, ValueCounts
from cdstats.core.errors import DataError, counted
from cdstats.io.limits import MAX_PIXELS
from cdstats.io.masks import open_masks

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

    from cdstats.core.counts import Value
    from cdstats.io.blocks import Block, OpenImage

    Marks = NDArray[np.bool_]
    Pair = tuple[Marks, Marks]

CHANGED, UNCHANGED = 255, 0
"""Values of the combined mask."""
MARK: Final = 255


def count_opened(first: OpenImage, second: OpenImage, unchanged: str) -> MaskCounts:
    """Count the two files of a pair as one mask."""
    marked = np.array([0, 0, 0])
    for one, two in pair_blocks(first, second, unchanged):
        marked += [one.sum(), two.sum(), (~(one | two)).sum()]
    values: dict[Value, int] = {UNCHANGED: int(marked[1]), CHANGED: int(marked[0])}
    kept = {value: pixels for value, pixels in values.items() if pixels}
    counts = ValueCounts(kept, masked=int(marked[2]))
    return MaskCounts(first.width, first.height, counts, format=first.format)


def open_pair(
    changed: str, unchanged: str, band: int | None, max_pixels: int = MAX_PIXELS
) -> tuple[OpenImage, OpenImage]:
    """Open both files of a pair."""
    first = _open(changed, band, max_pixels)
    second = _open(unchanged, band, max_pixels)
    size, other = (first.width, first.height), (second.width, second.height)
    if size != other:
        raise DataError(f"is {size} but its partner {unchanged} is {other} pixels")
    return first, second


def pair_blocks(
    first: OpenImage, second: OpenImage, partner: str
) -> Iterator[tuple[Marks, Marks]]:
    """The marked pixels of both files, strip by strip."""
    for one, two in _aligned(_rows(first), _rows(second)):
        both = int((one & two).sum())
        if both:
            raise DataError(f"{counted(both, 'pixel')} marked here and in {partner}")
        yield one, two


def _open(path: str, band: int | None, max_pixels: int) -> OpenImage:
    images = open_masks(path, "", band, max_pixels)
    if len(images) != 1:
        raise DataError(
            f"holds {counted(len(images), 'image')}; a pair uses one image per file"
        )
    return images[0]


def _rows(image: OpenImage) -> Iterator[Marks]:
    """The marked pixels of a file, in strips of whole rows."""
    waiting: list[tuple[int, Marks]] = []
    filled = 0
    for block in image.blocks():
        waiting.append((block.column, _marks(block, image.nodata)))
        filled += block.values.shape[1]
        if filled == image.width:
            ordered = sorted(waiting, key=lambda one: one[0])
            yield np.concatenate([marks for _, marks in ordered], axis=1)
            waiting, filled = [], 0


def _aligned(first: Iterator[Marks], second: Iterator[Marks]) -> Iterator[Pair]:
    """Cut the strips of two files to equal heights."""
    one, two = next(first, None), next(second, None)
    while one is not None and two is not None:
        rows = min(len(one), len(two))
        yield one[:rows], two[:rows]
        one = one[rows:] if len(one) > rows else next(first, None)
        two = two[rows:] if len(two) > rows else next(second, None)


def _marks(block: Block, nodata: Value | None) -> Marks:
    """The marked pixels of a block, except nodata and masked pixels."""
    hidden = np.zeros(block.values.shape, np.bool_)
    if block.hidden is not None:
        hidden |= block.hidden
    marks: Marks = block.values == MARK
    if nodata == MARK and (marks & ~hidden).any():
        raise DataError(
            f"declares nodata {MARK}, which marks pixels in a partial mask; "
            "remove the declaration"
        )
    if nodata is not None:
        hidden |= (
            block.values != block.values if nodata == NAN else block.values == nodata
        )
    other = np.setdiff1d(block.values[~hidden], (0, MARK))
    if other.size:
        raise DataError(
            f"holds {other[0]}; expected only 0 and {MARK} in a partial mask"
        )
    return marks & ~hidden
