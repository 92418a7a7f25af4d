"""Saved predictions: images and arrays of change scores, opened but not interpreted.

The caller decides for all predictions together whether the numbers are probabilities,
logits or labels; here they stay as stored.
"""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from cdstats.core.counts import MINISWHITE, NAN
from cdstats.core.errors import DataError, counted, one_file
from cdstats.io.arrays import NamedArray, npz_array
from cdstats.io.blocks import (
    BLOCK_PIXELS,
    Block,
    OpenImage,
    guarded,
    is_number,
    select_image,
)
from cdstats.io.containers import inside
from cdstats.io.copies import copy_of, open_copy
from cdstats.io.limits import MAX_PIXELS, check_images, check_row, check_stack
from cdstats.io.masks import open_masks
from cdstats.io.npy import StoredArray, by_number, npy_array
from cdstats.io.raster import MOST_BANDS, BandsError
from cdstats.io.signatures import (
    EXTENSIONS,
    FORMATS,
    file_format,
    is_zarr,
    open_regular,
)
from cdstats.io.targets import prediction_labels

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from numpy.typing import NDArray

    from cdstats.core.counts import Value
    from cdstats.core.labels import LabelRule

    Numbers = NDArray[Any] | StoredArray
    Sizes = Sequence[tuple[int, int] | None]

PREDICTION_EXTENSIONS: Final = EXTENSIONS | {".pt", ".pth"}
"""Extensions of prediction files in folders, in lower case."""
_FULL: Final = {"uint8": 255, "uint16": 65535}
_WIDEST: Final = 8
"""Largest supported item size in bytes."""
SUM_TOLERANCE: Final = 1e-2
"""Tolerance for the sum of two probability channels."""

PALETTE: Final = "palette"
"""Format of images whose numbers are packed RGB colours."""


@dataclass(frozen=True, slots=True)
class Decoding:
    """Conversion of stored numbers to scores.

    Attributes:
        logits: Whether two channels are logits, whose difference is the score;
            otherwise the second channel is the score.
        scale: Stored value of probability 1; None if the dtype determines it.
        rule: Values for changed and unchanged; None if the numbers are scores.
        band: Band or channel to read, from 1; None for the only one.
        keeps_nodata: Whether nodata, masked and transparent pixels are scored.
    """

    logits: bool = False
    scale: float | None = None
    rule: LabelRule | None = None
    band: int | None = None
    keeps_nodata: bool = False


PLAIN: Final = Decoding()


def open_predictions(
    path: str,
    member: str,
    targets: Sizes,
    how: Decoding = PLAIN,
    max_pixels: int = MAX_PIXELS,
) -> list[OpenImage]:
    """Open the predictions of a file.

    Args:
        path: An image, ``.npy``, ``.npz`` or ``.pt`` file, or its address.
        member: The array, key or image index to read; empty for all.
        targets: Width and height of each mask, or None if the prediction covers part
            of a mask. With one mask, an array of several planes has channels.
        how: Conversion of stored numbers to scores.
        max_pixels: Most pixels that an image may declare.

    Returns:
        One image per prediction; blocks have stored scores, labels if a rule is given,
        or `PALETTE` colours.
    """
    with one_file():
        read = partial(
            _opened, member=member, targets=targets, how=how, most=max_pixels
        )
        copy = copy_of(path)
        return open_copy(copy, read) if copy else read(Path(path))


def _opened(
    path: Path,
    member: str,
    targets: Sizes,
    how: Decoding,
    most: int,
) -> list[OpenImage]:
    """The predictions of a local file or a copy."""
    opened = _array(path, member, most)
    if opened is None:
        images = _image_predictions(str(path), member, how, most)
    else:
        found, kind = opened
        # An index selects from a stack, so two planes are images, not channels.
        planes = () if found.number else targets
        images = [
            one._replace(nodata=found.nodata)
            for one in _images(found.values, planes, how, kind)
        ]
        check_images(images, most)
        images = select_image(images, found.number)
    return [guarded(_decoded(one, how)) for one in images]


def _decoded(image: OpenImage, how: Decoding) -> OpenImage:
    """Convert blocks to scores, with pixels without a score hidden."""
    if image.format.endswith(MINISWHITE) and how.rule is None:
        raise DataError(
            "is a MINISWHITE TIFF file (0 is white), and readers differ on its "
            "meaning. Name its values as stored with --pred-changed and "
            "--pred-unchanged"
        )
    colours = None
    if image.palette and not how.rule:
        colours = np.zeros(max(image.palette) + 1, dtype=np.uint32)
        for index, colour in image.palette.items():
            colours[index] = int(colour[1:], 16)

    def blocks() -> Iterator[Block]:
        for block in image.blocks():
            hidden = None if how.keeps_nodata else _without_score(block, image.nodata)
            values = block.values
            if how.rule is not None:
                plain = block._replace(hidden=hidden, half=None)
                values = prediction_labels(image, plain, how.rule)
            elif colours is not None:
                values = colours[values]
            yield block._replace(values=values, hidden=hidden)

    kind = image.format if colours is None else PALETTE
    return image._replace(blocks=blocks, nodata=None, palette=None, format=kind)


def _without_score(block: Block, nodata: Value | None) -> NDArray[np.bool_] | None:
    if nodata is None:
        return block.hidden
    values = block.values if block.is_colour else block.values[..., None]
    same = np.isnan(values) if nodata == NAN else values == nodata
    empty: NDArray[np.bool_] = same.all(axis=-1)
    return empty if block.hidden is None else empty | block.hidden


def _image_predictions(
    path: str, member: str, how: Decoding, max_pixels: int
) -> list[OpenImage]:
    """The predictions of an image file; two bands are treated as channels."""
    if how.band is not None:
        return open_masks(path, member, how.band, max_pixels)
    with _one_band(f"more than {MOST_BANDS}"):
        images = open_masks(path, member, None, max_pixels)
    if len(images) != 1 or images[0].bands != 2:
        return [
            one._replace(blocks=partial(_equal_bands, one)) if one.bands > 2 else one
            for one in images
        ]
    pair = [open_masks(path, member, band, max_pixels)[0] for band in (1, 2)]

    def blocks() -> Iterator[Block]:
        for one, two in zip(*(image.blocks() for image in pair), strict=True):
            values, off = _one_channel(np.stack([one.values, two.values]), how)
            hidden = one.hidden
            if not how.keeps_nodata:
                both = zip((one, two), pair, strict=True)
                gaps = [_without_score(block, of.nodata) for block, of in both]
                found = [gap for gap in gaps if gap is not None]
                hidden = np.logical_or.reduce(found) if found else None
            yield Block(one.row, one.column, values, hidden, off)

    return [images[0]._replace(blocks=blocks, part=None, nodata=None)]


def _equal_bands(image: OpenImage) -> Iterator[Block]:
    """The blocks of a multi-band image whose bands must be equal."""
    with _one_band(f"{image.bands} different"):
        yield from image.blocks()


@contextmanager
def _one_band(bands: str) -> Iterator[None]:
    """Raise errors that name --pred-band, because ``--band`` applies to masks."""
    try:
        yield
    except BandsError:
        raise DataError(
            f"has {bands} bands; expected one, or two: unchanged and changed. Choose "
            "the band of change scores with --pred-band N; for a softmax of several "
            "classes, save the arg max and name the changed ones with --pred-changed"
        ) from None


def _array(path: Path, member: str, max_pixels: int) -> tuple[NamedArray, str] | None:
    """The array of an array file and its dtype; None for other files."""
    if inside(str(path)):
        return None  # arrays in archives are copied to files first
    kind: str | None = "ZARR"
    if not (path.is_dir() and is_zarr(path)):
        opened, _ = open_regular(path)
        with opened as file:
            kind = file_format(file.read(16))
    if path.suffix.lower() in (".pt", ".pth"):
        from cdstats.io.tensors import tensor_array

        number = member if is_number(member) else ""
        key = "" if number else member
        array, name = tensor_array(path, key, max_pixels)
        return NamedArray(array, number), name
    if kind == "NPY":
        found = NamedArray(npy_array(path), member)
    elif kind == "NPZ":
        found = npz_array(path, member, max_pixels)
    elif kind in ("HDF5", "MAT", "ZARR"):
        reader = import_module(f"cdstats.io.{FORMATS[kind].reader}")
        found = reader.named_array(path, member, max_pixels)
    else:
        return None
    return found, found.values.dtype.name


def _images(
    array: Numbers,
    targets: Sizes,
    how: Decoding,
    kind: str,
) -> list[OpenImage]:
    if array.dtype.kind not in "biuf":
        raise DataError(f"holds {array.dtype} values; expected numbers")
    planes = _planes(array, targets, how.band)
    count, _, height, width = planes.shape
    check_stack(count)
    check_row(width)
    images = by_number(planes)

    def blocks(number: int) -> Iterator[Block]:
        plane = images(number)
        down = max(BLOCK_PIXELS // width, 1)
        for start in range(0, height, down):
            part = np.asarray(plane[:, start : start + down])
            if part.dtype.itemsize > _WIDEST:
                part = part.astype(np.float64)
            values, off = _one_channel(part, how)
            yield Block(start, 0, values, half=off)

    held = planes.resident if isinstance(planes, StoredArray) else None
    if planes.shape[1] == 2 and planes.dtype.kind != "f":
        held = None  # two channels of labels or levels are joined on the host
    return [
        OpenImage(
            f"#{number}" if count > 1 else "",
            *(width, height, kind, partial(blocks, number)),
            resident=None if held is None else held[number],
        )
        for number in range(count)
    ]


def _planes(array: Numbers, targets: Sizes, band: int | None) -> Numbers:
    """Reshape to (images, channels, rows, columns) with one or two channels."""
    shape = array.shape
    planes = _channels_first(array, targets)
    if planes is None or 0 in planes.shape:
        raise DataError(
            f"has the shape {shape}; expected (H, W), (1, H, W), (N, H, W), "
            "(N, 1, H, W) or (N, 2, H, W), and (2, H, W) or (H, W, 2) beside one mask; "
            "channels may come last"
        )
    channels = planes.shape[1]
    if band is not None:
        if band > channels:
            raise DataError(
                f"has {counted(channels, 'channel')}; --pred-band {band} was asked for"
            )
        return planes[:, band - 1 : band]
    if channels > 2:
        raise DataError(
            f"has the shape {shape}, {channels} channels for one mask: a softmax of "
            f"{channels} classes? Choose the change channel with --pred-band N, or "
            "save the arg max and name the changed classes with --pred-changed"
        )
    return planes


def _channels_first(array: Numbers, targets: Sizes) -> Numbers | None:
    """Reshape to (images, channels, rows, columns), guided by the mask size.

    If the size is ambiguous, the smallest dimensions are channels.
    """
    shape = array.shape
    size = targets[0] if targets else None
    rows = None if size is None else (size[1], size[0])
    if len(shape) == 2:
        return array[None, None]
    if len(shape) == 3 and (len(targets) != 1 or shape[0] == 1):
        return array[:, None]
    if len(shape) == 3:
        is_last = shape[2] <= 2 < min(shape[:2]) or rows == shape[:2]
        is_last &= shape[1:] != rows
        return array.transpose(2, 0, 1)[None] if is_last else array[None]
    if len(shape) != 4:
        return None
    if rows is not None and rows in (shape[1:3], shape[2:]):
        is_last = shape[2:] != rows
    else:
        is_last = shape[3] in (1, 2) and shape[1] not in (1, 2)
    return array.transpose(0, 3, 1, 2) if is_last else array


def _one_channel(
    part: NDArray[Any], how: Decoding
) -> tuple[NDArray[Any], NDArray[np.bool_] | None]:
    """Change scores from one plane, or from planes unchanged and changed."""
    if len(part) == 1:
        return part[0], None
    if how.logits:
        both = part.astype(np.result_type(part.dtype, np.float32), copy=False)
        return both[1] - both[0], None
    if part.dtype.kind == "f":
        total = part[0].astype(np.float32) + part[1].astype(np.float32)
        full = how.scale or 1
        # Not ">", so that NaN sums count as wrong too.
        return part[1], ~(np.abs(total - full) <= SUM_TOLERANCE * full)
    whole = part.astype(np.int64).sum(axis=0)
    full = how.scale or _FULL.get(part.dtype.name, 1)
    one_hot = (whole == 1).all()
    off = np.zeros(whole.shape, bool) if one_hot else np.abs(whole - full) > (full > 1)
    return part[1], off
