"""From a mask file to the counts of its masks: what a worker does."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from cdstats.core.counts import (
    MAX_DISTINCT,
    MaskCounts,
    TooManyValuesError,
    ValueCounts,
    count_cells,
    count_colours,
    count_values,
    fold_values,
)
from cdstats.core.errors import DataError
from cdstats.core.labelling import Counted
from cdstats.io.limits import MAX_PIXELS
from cdstats.io.masks import open_masks

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from cdstats.core.counts import Value
    from cdstats.io.blocks import Block, OpenImage

Edges = tuple[float, ...]
TOO_MANY: Final = (
    f"looks like an image, not a mask: it holds more than {MAX_DISTINCT:,} values"
)


@dataclass(frozen=True, slots=True)
class Task:
    """A file to count.

    Attributes:
        path: The file.
        member: The array or image of it to read; empty for all.
        partner: The file of the unchanged pixels, when two make one mask.
    """

    path: str
    member: str = ""
    partner: str = ""


def count_file(
    task: Task,
    *,
    band: int | None = None,
    edges: Edges | None = None,
    max_pixels: int = MAX_PIXELS,
) -> list[Counted]:
    """Count every mask of a file; what fails becomes a reason.

    Args:
        task: The file.
        band: The band to read, counted from 1; None where there is one choice.
        edges: The numbers of a given rule, so that any number of values can be
            counted; None when no rule was given.
        max_pixels: Pixels that an image may declare.
    """
    try:
        if task.partner:
            from cdstats.io.partial import count_pair

            pair = count_pair(task.path, task.partner, band, max_pixels)
            return [Counted("", pair)]
        images = open_masks(task.path, task.member, band, max_pixels)
    except DataError as error:
        return [Counted("", None, str(error))]
    return [_count_image(image, edges) for image in images]


def _count_image(image: OpenImage, edges: Edges | None) -> Counted:
    size = (image.width, image.height)
    if edges is not None and isinstance(image.nodata, (int, float)):
        edges = tuple(sorted({*edges, image.nodata}))
    try:
        counts = None
        for block in image.blocks():
            found = count_block(block, edges)
            counts = _bounded(found if counts is None else counts + found, edges)
    except DataError as error:
        return Counted(image.member, None, str(error), size)
    except MemoryError:
        return Counted(image.member, None, "does not fit into memory", size)
    counts = counts or ValueCounts()
    mask = MaskCounts(*size, counts, image.nodata, image.palette, image.format)
    return Counted(image.member, mask, size=size)


def _bounded(counts: ValueCounts, edges: Edges | None) -> ValueCounts:
    """Counts of few enough values: more are refused, or folded between edges."""
    if len(counts.values) <= MAX_DISTINCT:
        return counts
    if edges is None or any(str(value).startswith("#") for value in counts.values):
        raise DataError(TOO_MANY)
    folded = fold_values(counts.values, edges)
    return ValueCounts(folded, counts.masked, counts.half_transparent)


def count_block(block: Block, edges: Edges | None = None) -> ValueCounts:
    """Count the values of a block, its hidden pixels apart.

    Raises:
        DataError: If it holds more values than a mask can and no rule was given.
    """
    if block.hidden is None:
        return ValueCounts(_count(block.values, block.is_colour, edges))
    half = block.half if block.half is not None else np.zeros_like(block.hidden)
    values = block.values[~(block.hidden | half)]
    return ValueCounts(
        _count(values, block.is_colour, edges),
        int(np.count_nonzero(block.hidden)),
        int(np.count_nonzero(half)),
    )


def _count(
    values: NDArray[Any], is_colour: bool, edges: Edges | None
) -> dict[Value, int]:
    try:
        return count_colours(values) if is_colour else count_values(values)
    except TooManyValuesError:
        if edges is None or is_colour:
            raise DataError(TOO_MANY) from None
        return count_cells(values, edges)
