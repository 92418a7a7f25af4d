"""Truth in two files: one marks the changed pixels, the other the unchanged ones."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np

from cdstats.core.counts import MaskCounts, ValueCounts
from cdstats.core.errors import DataError
from cdstats.io.masks import open_masks

if TYPE_CHECKING:
    from collections.abc import Iterator

    from cdstats.io.blocks import Block, OpenImage

CHANGED, UNCHANGED = 255, 0
"""The values that stand for the labels of a pair read together."""
MARK: Final = 255


def count_pair(changed: str, unchanged: str, band: int | None) -> MaskCounts:
    """Count a pair of partial masks as one.

    Args:
        changed: The file whose 255 marks changed pixels.
        unchanged: The file whose 255 marks unchanged pixels.
        band: The band to read, counted from 1; None where there is one choice.

    Returns:
        Pixels marked changed as 255, marked unchanged as 0, and marked in neither as
        ignored.

    Raises:
        DataError: If the files differ in size, hold other values, or mark one pixel
            both changed and unchanged.
    """
    first, second = _open(changed, band), _open(unchanged, band)
    size, other = (first.width, first.height), (second.width, second.height)
    if size != other:
        raise DataError(f"is {size} but its partner {unchanged} is {other} pixels")
    marked = np.array([0, 0, 0])
    for one, two in zip(_marks(first), _marks(second), strict=True):
        if (one & two).any():
            raise DataError(
                f"{int((one & two).sum())} pixels are marked here and in {unchanged}"
            )
        marked += [one.sum(), two.sum(), (~(one | two)).sum()]
    values = {UNCHANGED: int(marked[1]), CHANGED: int(marked[0])}
    counts = ValueCounts({v: n for v, n in values.items() if n}, masked=int(marked[2]))
    return MaskCounts(*size, counts, format=first.format)


def _open(path: str, band: int | None) -> OpenImage:
    images = open_masks(path, "", band)
    if len(images) != 1:
        raise DataError(f"holds {len(images)} images; a pair takes one of each file")
    return images[0]


def _marks(image: OpenImage) -> Iterator[np.typing.NDArray[np.bool_]]:
    for block in image.blocks():
        _check(block)
        yield block.values == MARK


def _check(block: Block) -> None:
    other = np.setdiff1d(block.values, (0, MARK))
    if other.size:
        raise DataError(f"holds {other[0]}; a partial mask holds 0 and {MARK}")
