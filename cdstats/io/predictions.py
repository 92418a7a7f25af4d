"""Saved predictions: images and arrays of change scores, opened but not interpreted.

What the stored numbers mean (probabilities, logits, labels) is decided for all
predictions together by the caller; here they stay as stored.
"""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Literal

import numpy as np

from cdstats.core.errors import DataError
from cdstats.io.addresses import is_address
from cdstats.io.arrays import has_array, npy_array, npz_array
from cdstats.io.blocks import BLOCK_PIXELS, Block, OpenImage
from cdstats.io.copies import open_copy
from cdstats.io.limits import MAX_PIXELS, check_images, check_row, check_stack
from cdstats.io.masks import access_text, is_number, open_masks, select_image
from cdstats.io.rasters import MOST_BANDS, BandsError
from cdstats.io.regular import open_regular
from cdstats.io.signatures import EXTENSIONS, file_format
from cdstats.io.tensors import tensor_array

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from numpy.typing import NDArray

PREDICTION_EXTENSIONS: Final = EXTENSIONS | {".pt", ".pth"}
"""File names that a folder of predictions is searched for, in lower case."""
_FULL: Final = {"uint8": 255, "uint16": 65535}
_WIDEST: Final = 8
"""Bytes of the widest number that is computed with."""
SUM_TOLERANCE: Final = 1e-2
"""How far the probabilities of two channels may be from adding up to 1."""

Channels = Literal["prob", "logit"]


def open_predictions(
    path: str,
    member: str,
    targets: int,
    channels: Channels,
    max_pixels: int = MAX_PIXELS,
) -> list[OpenImage]:
    """Open the predictions of a file.

    Args:
        path: An image, ``.npy``, ``.npz`` or ``.pt`` file, or its address.
        member: The array or key to read, or the number of an image of a stack; empty
            for all.
        targets: Number of masks that stand beside the file: with one, an array of two
            planes holds two channels.
        channels: How two channels become one: ``"prob"`` takes the second, which must
            add up to 1 with the first; ``"logit"`` takes their difference.
        max_pixels: Pixels that an image may declare.

    Returns:
        An image for each prediction; its blocks hold the stored numbers.

    Raises:
        DataError: If the file is damaged, holds no numbers or has an unknown shape.
    """
    if is_address(path):
        return open_copy(
            path,
            lambda copy: open_predictions(
                str(copy), member, targets, channels, max_pixels
            ),
        )
    try:
        opened = _array(Path(path), member, max_pixels)
    except OSError as error:
        raise DataError(access_text(error)) from None
    if opened is None:
        return _pictures(path, member, channels, max_pixels)
    array, number, kind = opened
    # A number picks from a stack, so two planes are two images and not two channels.
    beside = 0 if number else targets
    images = _images(array, beside, channels, kind)
    check_images(images, max_pixels)
    return select_image(images, number)


def _pictures(
    path: str, member: str, channels: Channels, max_pixels: int
) -> list[OpenImage]:
    """The predictions of an image file; two bands are two channels."""
    with _one_band(f"more than {MOST_BANDS}"):
        images = open_masks(path, member, None, max_pixels)
    if len(images) != 1 or images[0].bands != 2:
        return [
            replace(one, blocks=partial(_equal_bands, one)) if one.bands > 2 else one
            for one in images
        ]
    pair = [open_masks(path, member, band, max_pixels)[0] for band in (1, 2)]

    def blocks() -> Iterator[Block]:
        for one, two in zip(*(image.blocks() for image in pair), strict=True):
            values, off = _one_channel(np.stack([one.values, two.values]), channels)
            yield Block(one.row, one.column, values, one.hidden, off)

    return [replace(images[0], blocks=blocks, part=None)]


def _equal_bands(image: OpenImage) -> Iterator[Block]:
    """The blocks of an image of several bands, which must be the same."""
    with _one_band(f"{image.bands} different"):
        yield from image.blocks()


@contextmanager
def _one_band(bands: str) -> Iterator[None]:
    """Tell what settles the bands of a prediction; ``--band`` is for masks."""
    try:
        yield
    except BandsError:
        raise DataError(
            f"has {bands} bands; expected one, or two: unchanged and changed. Save "
            "the band of the change scores alone, as gdal_translate -b N does"
        ) from None


def _array(
    path: Path, member: str, max_pixels: int
) -> tuple[NDArray[Any], str, str] | None:
    """The array of a file of arrays, the number of the image asked for, its type."""
    opened, _ = open_regular(path)
    with opened as file:
        kind = file_format(file.read(16))
    is_key = not is_number(member)
    if path.suffix.lower() in (".pt", ".pth"):
        array, name = tensor_array(path, member if is_key else "", max_pixels)
        return array, "" if is_key else member, name
    if kind == "NPY":
        array = npy_array(path)
        return array, member, array.dtype.name
    if kind != "NPZ":
        return None
    is_key = is_key or has_array(path, member)
    array = npz_array(path, member if is_key else "", max_pixels)
    return array, "" if is_key else member, array.dtype.name


def _images(
    array: NDArray[Any], targets: int, channels: Channels, kind: str
) -> list[OpenImage]:
    if array.dtype.kind not in "biuf":
        raise DataError(f"holds {array.dtype} values; expected numbers")
    planes = _planes(array, targets)
    count, height, width = planes.shape[0], *planes.shape[-2:]
    check_stack(count)
    check_row(width)

    def blocks(number: int) -> Iterator[Block]:
        down = max(BLOCK_PIXELS // width, 1)
        for start in range(0, height, down):
            part = np.asarray(planes[number, :, start : start + down])
            if part.dtype.itemsize > _WIDEST:
                part = part.astype(np.float64)
            values, off = _one_channel(part, channels)
            yield Block(start, 0, values, half=off)

    return [
        OpenImage(
            f"#{number}" if count > 1 else "",
            width,
            height,
            kind,
            _bind(blocks, number),
        )
        for number in range(count)
    ]


def _bind(
    blocks: Callable[[int], Iterator[Block]], number: int
) -> Callable[[], Iterator[Block]]:
    return lambda: blocks(number)


def _planes(array: NDArray[Any], targets: int) -> NDArray[Any]:
    """An array as images, channels, rows and columns.

    Raises:
        DataError: If its shape is none of those that predictions have.
    """
    shape = array.shape
    single = targets == 1
    if len(shape) == 2:
        planes = array[None, None]
    elif len(shape) == 3 and single and shape[0] == 2:
        planes = array[None]
    elif len(shape) == 3 and single and shape[2] == 2 and min(shape[:2]) > 2:
        planes = np.moveaxis(array, 2, 0)[None]
    elif len(shape) == 3:
        planes = array[:, None]
    elif len(shape) == 4 and shape[1] in (1, 2):
        planes = array
    else:
        planes = None
    if planes is None or 0 in planes.shape:
        raise DataError(
            f"has the shape {shape}; expected (H, W), (1, H, W), (N, H, W), "
            "(N, 1, H, W) or (N, 2, H, W), and (2, H, W) or (H, W, 2) beside one mask"
        )
    return planes


def _one_channel(
    part: NDArray[Any], channels: Channels
) -> tuple[NDArray[Any], NDArray[np.bool_] | None]:
    """The change scores of one plane, or of the planes unchanged and changed.

    Returns:
        The scores, and where two channels do not add up.
    """
    if len(part) == 1:
        return part[0], None
    if channels == "logit":
        both = part.astype(np.result_type(part.dtype, np.float32), copy=False)
        return both[1] - both[0], None
    if part.dtype.kind == "f":
        total = part[0].astype(np.float32) + part[1].astype(np.float32)
        # Not "greater": a sum that is no number does not add up either.
        return part[1], ~(np.abs(total - 1) <= SUM_TOLERANCE)
    whole = part.astype(np.int64).sum(axis=0)
    full = _FULL.get(part.dtype.name, 1)
    one_hot = (whole == 1).all()
    off = np.zeros(whole.shape, bool) if one_hot else np.abs(whole - full) > (full > 1)
    return part[1], off
