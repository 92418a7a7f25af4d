"""Masks as labels: 1 changed, 0 unchanged, 255 ignored."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import numpy as np

from cdstats.core.binarisation import grey_class
from cdstats.core.counts import NAN, Value, colour_value
from cdstats.core.errors import DataError, counted
from cdstats.core.labels import REST, Label, Range
from cdstats.io.partial import pair_blocks

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from numpy.typing import NDArray

    from cdstats.core.labels import LabelRule
    from cdstats.io.blocks import Block, OpenImage

CODES: Final = {Label.CHANGED: 1, Label.UNCHANGED: 0, Label.IGNORED: 255}
"""Numbers for labels in arrays."""
_UNNAMED: Final = 2
SOFT_IGNORED: Final = -1.0
"""Number for ignored pixels in arrays of soft targets."""


def read_labels(image: OpenImage, rule: LabelRule) -> NDArray[np.uint8]:
    """Read a mask as labels.

    Args:
        image: The opened mask.
        rule: Values for changed, unchanged and ignored.

    Returns:
        1 changed, 0 unchanged, 255 ignored; uint8, ``(height, width)``.
    """
    return _joined(label_strips(image, rule), image)


def read_labels_and_greys(
    image: OpenImage, rule: LabelRule
) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """Read the labels like `read_labels`, and the `grey_class` of every pixel."""
    labels, greys = np.empty((2, image.height, image.width), dtype=np.uint8)
    for block in image.blocks():
        part = label_block(image, block, rule)
        values, place = _distinct(block, has_palette=image.palette is not None)
        table = np.array([grey_class(value) for value in values], dtype=np.uint8)
        window = np.s_[
            block.row : block.row + part.shape[0],
            block.column : block.column + part.shape[1],
        ]
        labels[window], greys[window] = part, table[place]
    return labels, greys


def _joined(strips: Iterable[NDArray[np.uint8]], image: OpenImage) -> NDArray[np.uint8]:
    labels = np.empty((image.height, image.width), dtype=np.uint8)
    row = 0
    for strip in strips:
        labels[row : row + len(strip)] = strip
        row += len(strip)
    return labels


def label_strips(image: OpenImage, rule: LabelRule) -> Iterator[NDArray[np.uint8]]:
    """Read the labels like `read_labels`, as strips of whole rows."""
    strip = np.empty((0, image.width), dtype=np.uint8)
    for block in image.blocks():
        part = label_block(image, block, rule)
        height, width = part.shape
        if width == image.width:
            yield part
            continue
        if block.column == 0:
            strip = np.empty((height, image.width), dtype=np.uint8)
        strip[:, block.column : block.column + width] = part
        if block.column + width == image.width:
            yield strip


def label_block(image: OpenImage, block: Block, rule: LabelRule) -> NDArray[np.uint8]:
    """The labels of a block of a mask."""
    if block.half is not None and block.half.any():
        raise DataError(
            f"half transparent in {counted(int(block.half.sum()), 'pixel')}"
        )
    values, place = _distinct(block, has_palette=image.palette is not None)
    table = np.full(len(values), _UNNAMED, dtype=np.uint8)
    for number, value in enumerate(values):
        label = rule.label_in(image, value)
        if label is not None:
            table[number] = CODES[label]
    labels: NDArray[np.uint8] = table[place]
    if block.hidden is not None:
        labels[block.hidden] = CODES[Label.IGNORED]
    if (labels == _UNNAMED).any():
        number = int(place[labels == _UNNAMED][0])
        raise DataError(f"holds {values[number]}; expected {rule.expected()}")
    return labels


def prediction_labels(
    image: OpenImage, block: Block, rule: LabelRule
) -> NDArray[np.uint8]:
    """The labels of a block of a prediction; 0 for pixels without a score.

    If there are many distinct values, they are compared with the terms of the rule.
    """
    values = block.values
    if values.dtype.kind != "f" and (values.dtype.itemsize == 1 or block.is_colour):
        labels = label_block(image._replace(nodata=None), block, rule)
        labels[labels == CODES[Label.IGNORED]] = 0
        return labels
    rest = next((la for la in Label if REST in rule.terms(la)), None)
    code = _UNNAMED if rest is None else CODES[rest]
    labels = np.full(values.shape, code, dtype=np.uint8)
    if values.dtype.kind == "f":
        labels[np.isnan(values)] = _UNNAMED
    for label in Label:
        for term in rule.terms(label):
            if isinstance(term, Range):
                labels[term.holds(values)] = CODES[label]
    if block.hidden is not None:
        labels[block.hidden] = 0
    if (wrong := labels == _UNNAMED).any():
        raise DataError(f"holds {values[wrong][0]}; expected {rule.expected()}")
    return labels


def distinct(block: Block) -> list[Value]:
    """The distinct values of a colour block, with grey levels as numbers."""
    return _distinct(block, has_palette=False)[0]


def _distinct(block: Block, has_palette: bool) -> tuple[list[Value], NDArray[Any]]:
    """The distinct values of a block, and for each pixel the index of its value."""
    if block.is_colour:
        wide = block.values.astype(np.uint32)
        packed = wide[..., 0] << 16 | wide[..., 1] << 8 | wide[..., 2]
        found, place = np.unique(packed, return_inverse=True)
        names = [colour_value(f"#{int(code):06x}") for code in found]
        return names, place.reshape(packed.shape)
    if block.values.dtype == np.uint8 and not has_palette:
        return list(range(256)), block.values
    found, place = np.unique(block.values, return_inverse=True)
    return [_plain(value.item()) for value in found], place.reshape(block.values.shape)


def _plain(number: float) -> Value:
    if isinstance(number, float) and not number.is_integer():
        return NAN if np.isnan(number) else number
    return int(number)


def read_pair_labels(
    first: OpenImage, second: OpenImage, unchanged: str
) -> NDArray[np.uint8]:
    """Read a pair of partial masks as labels; unmarked pixels are ignored."""
    return _joined(pair_strips(first, second, unchanged), first)


def pair_strips(
    first: OpenImage, second: OpenImage, unchanged: str
) -> Iterator[NDArray[np.uint8]]:
    """Read the labels like `read_pair_labels`, as strips of whole rows."""
    for one, two in pair_blocks(first, second, unchanged):
        strip = np.full(one.shape, CODES[Label.IGNORED], dtype=np.uint8)
        strip[two], strip[one] = CODES[Label.UNCHANGED], CODES[Label.CHANGED]
        yield strip


def read_soft(image: OpenImage, ignore: LabelRule | None = None) -> NDArray[np.float64]:
    """Read soft targets.

    Args:
        image: The opened array.
        ignore: A rule for ignored values.

    Returns:
        Targets in [0, 1], `SOFT_IGNORED` where ignored; float64, ``(height, width)``.
    """
    parts = [np.asarray(block.values, dtype=np.float64) for block in image.blocks()]
    soft = np.concatenate(parts) if parts else np.empty((0, image.width))
    left_out = np.zeros(soft.shape, dtype=bool)
    if ignore is not None and ignore.ignored:
        for value in np.unique(soft):
            if ignore.label(_plain(float(value))) is Label.IGNORED:
                left_out |= (soft == value) | (np.isnan(value) & np.isnan(soft))
    wrong = ~((soft >= 0) & (soft <= 1)) & ~left_out
    if wrong.any():
        raise DataError(
            f"{counted(int(wrong.sum()), 'target')} outside [0, 1] or NaN; "
            "integers need a rule, fractions are soft targets"
        )
    soft[left_out] = SOFT_IGNORED
    return soft


def is_soft(image: OpenImage) -> bool:
    """Whether an image is a floating-point array of soft targets, without a rule."""
    if image.format not in ("NPY", "NPZ"):
        return False
    if image.resident is not None:
        return image.resident.is_floating_point()
    block = next(iter(image.blocks()), None)
    return block is not None and block.values.dtype.kind == "f"
