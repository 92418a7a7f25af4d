"""Pixel counts of the masks in a file; this code runs in the workers."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from cdstats.core.counts import Counted, MaskCounts, ValueCounts
from cdstats.core.division import Divided
from cdstats.core.errors import DataError, one_file
from cdstats.core.values import (
    MAX_DISTINCT,
    TooManyValuesError,
    count_cells,
    count_colours,
    count_values,
    fold_values,
)
from cdstats.io.addresses import is_address
from cdstats.io.copies import expect
from cdstats.io.limits import MAX_PIXELS
from cdstats.io.masks import open_masks

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from numpy.typing import NDArray

    from cdstats.core.counts import Value
    from cdstats.io.blocks import Block, OpenImage

Edges = tuple[float, ...]
TOO_MANY: Final = (
    f"looks like an image, not a mask: it holds more than {MAX_DISTINCT:,} values"
)
_CHANGED: Final = "was changed while it was read"
DIVIDED_PIXELS: Final = 1 << 27
"""Larger images are divided into parts that all workers share."""
PART_PIXELS: Final = 1 << 26
"""Approximate pixels per part, which take about 0.1 s; reopening the file for each
part is negligible against that."""


@dataclass(frozen=True, slots=True)
class Task:
    """A file to count.

    Attributes:
        member: The array or image to read; empty for all.
        partner: The file of the unchanged pixels, when two make one mask.
        rows: Rows of a part, from start to stop (exclusive); None for the whole image.
    """

    path: str
    member: str = ""
    partner: str = ""
    rows: tuple[int, int] | None = None


def expect_tasks(tasks: Iterable[Task], versions: dict[str, str] | None = None) -> None:
    """Start downloading remote files while earlier ones are counted."""
    places = (place for task in tasks for place in (task.path, task.partner))
    expect(filter(is_address, places), versions)


def count_file(
    task: Task,
    *,
    band: int | None = None,
    edges: Edges | None = None,
    max_pixels: int = MAX_PIXELS,
) -> list[Counted]:
    """Count every mask of a file; a failure becomes the reason in its record."""
    images = _open(task, band, max_pixels)
    if isinstance(images, Counted):
        return [images]
    return [count_image(image, edges, task.rows) for image in images]


def count_or_divide(
    task: Task,
    *,
    band: int | None = None,
    edges: Edges | None = None,
    max_pixels: int = MAX_PIXELS,
) -> list[Counted] | Divided[Task, list[Counted]]:
    """Count every mask of a file like `count_file`, or divide a large raster.

    The division depends only on the raster, so counts are identical on every engine.
    """
    images = _open(task, band, max_pixels)
    if isinstance(images, Counted):
        return [images]
    if task.rows is None and len(images) == 1:
        parts = [replace(task, rows=rows) for rows in part_rows(images[0])]
        if parts:
            return Divided(parts, partial(join_parts, edges=edges))
    return [count_image(image, edges, task.rows) for image in images]


def part_rows(image: OpenImage) -> list[tuple[int, int]]:
    """The rows of each part of a large image; empty if it is read as a whole.

    Parts end at block edges, so that no block is decoded twice.
    """
    if image.part is None or image.width * image.height <= DIVIDED_PIXELS:
        return []
    row_pixels = image.width * image.block_rows
    rows = image.block_rows * max(PART_PIXELS // row_pixels, 1)
    if rows >= image.height:
        return []
    starts = range(0, image.height, rows)
    return [(start, min(start + rows, image.height)) for start in starts]


def join_parts(parts: Sequence[list[Counted]], edges: Edges | None) -> list[Counted]:
    """Combine the results of an image's parts; one failed part fails the image."""
    ones = [one for (one,) in parts]
    failed = next((one for one in ones if one.mask is None), None)
    if failed is not None:
        return [failed]
    first, size = ones[0], ones[0].size
    masks = [one.mask for one in ones if one.mask is not None]
    rows = sum(mask.height for mask in masks)
    if {one.size for one in ones} != {(masks[0].width, rows)}:
        return [Counted(first.member, None, _CHANGED, size)]
    edges = _edges(edges, masks[0].nodata)
    try:
        counts = ValueCounts()
        for mask in masks:
            counts = _bounded(counts + mask.counts, edges)
    except DataError as error:
        return [Counted(first.member, None, str(error), size)]
    return [first._replace(mask=replace(masks[0], height=rows, counts=counts))]


def _open(task: Task, band: int | None, max_pixels: int) -> list[OpenImage] | Counted:
    """Open the images of a file; returns the result if it failed or is complete."""
    try:
        if not task.partner:
            return open_masks(task.path, task.member, band, max_pixels)
        from cdstats.io.partial import count_opened, open_pair

        with one_file():
            pair = open_pair(task.path, task.partner, band, max_pixels)
            return Counted("", count_opened(*pair, task.partner))
    except DataError as error:
        return Counted("", None, str(error))


def count_image(
    image: OpenImage, edges: Edges | None, rows: tuple[int, int] | None = None
) -> Counted:
    """Count an opened mask, or some of its rows; a failure becomes the reason."""
    size = (image.width, image.height)
    edges = _edges(edges, image.nodata)
    try:
        counts = None
        with one_file():
            if rows and (image.part is None or rows[1] > image.height):
                raise DataError(_CHANGED)
            blocks = image.part(*rows) if rows and image.part else image.blocks()
            if image.resident is not None:
                from cdstats.io.resident import value_counts

                counts = value_counts(image.resident, edges)
            for block in blocks if counts is None else ():
                found = count_block(block, edges)
                counts = _bounded(found if counts is None else counts + found, edges)
    except DataError as error:
        return Counted(image.member, None, str(error), size)
    counts = counts or ValueCounts()
    start, stop = rows or (0, image.height)
    facts = (image.nodata, image.palette, image.format)
    mask = MaskCounts(image.width, stop - start, counts, *facts)
    return Counted(image.member, mask, size=size)


def _edges(edges: Edges | None, nodata: Value | None) -> Edges | None:
    """The edges of a rule, with the nodata value, which is counted separately."""
    if edges is None or not isinstance(nodata, (int, float)):
        return edges
    return tuple(sorted({*edges, nodata}))


def _bounded(counts: ValueCounts, edges: Edges | None) -> ValueCounts:
    """Counts with few distinct values: more are folded between edges, or refused."""
    if len(counts.values) <= MAX_DISTINCT:
        return counts
    if edges is None or any(str(value).startswith("#") for value in counts.values):
        raise DataError(TOO_MANY)
    folded = fold_values(counts.values, edges)
    return ValueCounts(folded, counts.masked, counts.half_transparent, folded=True)


def count_block(block: Block, edges: Edges | None = None) -> ValueCounts:
    """Count the values of a block; hidden pixels are counted separately."""
    if block.hidden is None:
        return _count(block.values, block.is_colour, edges)
    half = block.half if block.half is not None else np.zeros_like(block.hidden)
    values = block.values[~(block.hidden | half)]
    hidden = int(np.count_nonzero(block.hidden))
    apart = ValueCounts({}, hidden, int(np.count_nonzero(half)))
    return apart + _count(values, block.is_colour, edges)


def _count(values: NDArray[Any], is_colour: bool, edges: Edges | None) -> ValueCounts:
    try:
        return ValueCounts(count_colours(values) if is_colour else count_values(values))
    except TooManyValuesError:
        if edges is None or is_colour:
            raise DataError(TOO_MANY) from None
        return ValueCounts(count_cells(values, edges), folded=True)
