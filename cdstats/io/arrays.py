"""NumPy files, read block by block: ``.npy`` and ``.npz``; pickles never run."""

from __future__ import annotations

import math
import zipfile
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from cdstats.core.errors import DataError
from cdstats.io.archives import check_parts
from cdstats.io.blocks import (
    BLOCK_PIXELS,
    Block,
    ImageFile,
    OpenImage,
    is_number,
    select_image,
)
from cdstats.io.limits import (
    MAX_PIXELS,
    check_memory,
    check_pixels,
    check_row,
    check_stack,
)
from cdstats.io.npy import StoredArray, by_number, damage, npy_array, read_header

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path
    from typing import IO

    from numpy.typing import NDArray

_CHUNK: Final = 1 << 20
_MOST_CHANNELS: Final = 256
"""Images of a stack up to which it may be one mask by its classes."""
_PACKED: Final = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)
"""How NumPy packs an array. The others unpack to any length at once."""
ReadRows = Callable[[int, int, int], "NDArray[Any]"]
"""From an image's number, a first row and a last one to the rows between them."""


def open_images(file: ImageFile) -> list[OpenImage]:
    """Open the masks of an array: of the only one, or of the one that is named."""
    path, member = file.path, file.member
    if file.band not in (None, 1):
        raise DataError(f"is an array without bands; band {file.band} was asked for")
    if file.kind == "NPY":
        return select_image(_open_npy(path, member), member)
    if is_number(member) and not has_array(path, member):
        return select_image(_open_npz(path, "", file.max_pixels, member), member)
    return _open_npz(path, member, file.max_pixels)


def _open_npy(path: Path, member: str) -> list[OpenImage]:
    """Open the mask or stack of masks of a ``.npy`` file."""
    array = npy_array(path)
    if array.dtype.kind not in "biuf":
        raise DataError(f"holds {array.dtype} values; expected numbers")
    count, height, width = image_shape(array.shape)
    stack = array.reshape(count, height, width)
    if not member:
        _refuse_channels((count, height, width), _slices(stack.__getitem__))
    return _images((count, height, width), "NPY", _slices(by_number(stack)))


def npz_array(path: Path, key: str, max_pixels: int = MAX_PIXELS) -> NDArray[Any]:
    """One array of a ``.npz`` file, unpacked as a whole."""
    entry = _open_entry(path, key, max_pixels)
    check_memory(entry.size, "save it as .npy, which is read where it lies")
    with damage("NPZ"), entry.archive.open(entry.name) as file:
        return np.lib.format.read_array(file, allow_pickle=False)


def _slices(image: Callable[[int], NDArray[Any] | StoredArray]) -> ReadRows:
    def rows(number: int, start: int, stop: int) -> NDArray[Any]:
        return np.asarray(image(number)[start:stop])

    return rows


def _open_npz(
    path: Path, key: str, max_pixels: int, member: str = ""
) -> list[OpenImage]:
    """Open one array of a ``.npz`` file as a mask or a stack of masks."""
    entry = _open_entry(path, key, max_pixels)
    count, height, width = image_shape(entry.shape)
    if entry.fortran:
        # Stored column by column, so its rows are spread over the file.
        array = npz_array(path, key, max_pixels)
        rows = _slices(array.reshape(count, height, width).__getitem__)
    else:
        rows = _streamed(entry, width, height)
    if not member:
        _refuse_channels((count, height, width), rows)
    return _images((count, height, width), "NPZ", rows)


def _refuse_channels(shape: tuple[int, int, int], rows: ReadRows) -> None:
    """Refuse a stack that is one mask by its classes (one-hot), not several masks.

    The channels of such a mask add up to one number at each pixel. Most stacks of masks
    do not in their first row, and are read no further.
    """
    count, height, width = shape
    if not 1 < count <= _MOST_CHANNELS:
        return
    down = max(BLOCK_PIXELS // width, 1)
    parts = [(0, 1)]
    parts += [(start, min(start + down, height)) for start in range(1, height, down)]
    highest, whole = 0.0, 0.0
    for start, stop in parts:
        total = np.zeros((stop - start, width))
        for number in range(count):
            channel = rows(number, start, stop)
            total += channel
            highest = max(highest, float(channel.max()))
        whole = whole or float(total[0, 0])
        if not (whole > 0 and np.allclose(total, whole, rtol=1e-3)):
            return
    if math.isclose(highest, whole, rel_tol=1e-3):
        raise DataError(
            f"looks like one mask of {count} classes, not like {count} masks: its "
            f"channels add up to {whole:.4g} at every pixel (one-hot). Save the arg "
            f"max over the channels, or read one channel: FILE#{count - 1} or "
            f"FOLDER#{count - 1} is the last"
        )


def has_array(path: Path, key: str) -> bool:
    """Whether a ``.npz`` file holds an array of a name."""
    return key in _entries(path)


def _entries(path: Path) -> dict[str, _Entry]:
    with damage("NPZ"):
        archive = zipfile.ZipFile(path)
        check_parts(path, archive, "NPZ")
        names = archive.namelist()
        endings = Counter(PurePosixPath(name).suffix.lower() for name in names)
        if names and ".npy" not in endings and set(endings) - {""}:
            held = ", ".join(
                f"{number:,} {ending or 'other'}" for ending, number in endings.items()
            )
            raise DataError(
                f"is a zip archive of files ({held}), not of arrays; give it a name "
                "that ends in .zip, and its files are read"
            )
        if any(part.compress_type not in _PACKED for part in archive.infolist()):
            raise DataError(
                "holds arrays packed otherwise than NumPy does; save them with "
                "np.savez_compressed"
            )
        return {name.removesuffix(".npy"): _read_entry(archive, name) for name in names}


def _open_entry(path: Path, key: str, max_pixels: int) -> _Entry:
    entry = _choose(_entries(path), key)
    if entry.dtype.kind not in "biuf":
        raise DataError(f"holds {entry.dtype} values; expected numbers")
    width = entry.shape[-1] if entry.shape else 1
    check_pixels(width, math.prod(entry.shape[:-1]), max_pixels)
    # It is unpacked once to its end, so that its check sum is known to hold.
    lengths = [entry.archive.getinfo(entry.name).file_size, 0]
    if lengths[0] == entry.start + entry.size:
        with damage("NPZ"), entry.archive.open(entry.name) as file:
            while part := file.read(_CHUNK):
                lengths[1] += len(part)
    if lengths != [entry.start + entry.size] * 2:
        raise DataError(
            "NPZ file is damaged: an array is not as long as its header says"
        )
    return entry


@dataclass(frozen=True)
class _Entry:
    """An array of an archive, not read yet."""

    archive: zipfile.ZipFile
    name: str
    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    fortran: bool
    start: int

    @property
    def size(self) -> int:
        """Bytes of its numbers."""
        return math.prod(self.shape) * self.dtype.itemsize


def _read_entry(archive: zipfile.ZipFile, name: str) -> _Entry:
    with archive.open(name) as file:
        return _Entry(archive, name, *read_header(file, "NPZ"), file.tell())


def _choose(entries: dict[str, _Entry], key: str) -> _Entry:
    listed = ", ".join(f"{name} {entry.shape}" for name, entry in entries.items())
    if not entries:
        raise DataError("NPZ file holds no array")
    if key:
        if key not in entries:
            raise DataError(f"holds no array {key!r}; it holds {listed}")
        return entries[key]
    if len(entries) > 1:
        raise DataError(f"holds several arrays: {listed}; choose one with FILE#NAME")
    return next(iter(entries.values()))


def _streamed(entry: _Entry, width: int, height: int) -> ReadRows:
    """Read rows from an archive as it is unpacked; rows are asked for in order."""
    opened: list[IO[bytes]] = []

    def rows(number: int, start: int, stop: int) -> NDArray[Any]:
        if not opened:
            opened.append(entry.archive.open(entry.name))
        size = entry.dtype.itemsize * width
        with damage("NPZ"):
            opened[0].seek(entry.start + (number * height + start) * size)
            data = opened[0].read((stop - start) * size)
        if len(data) < (stop - start) * size:
            raise DataError(f"NPZ file is cut short: {entry.name} ends too early")
        return np.frombuffer(data, entry.dtype).reshape(stop - start, width)

    return rows


def _images(shape: tuple[int, int, int], kind: str, rows: ReadRows) -> list[OpenImage]:
    """One image for each of a stack; a stack of one needs no number."""
    count, height, width = shape
    check_stack(count)
    check_row(width)
    return [
        OpenImage(
            f"#{number}" if count > 1 else "",
            width,
            height,
            kind,
            lambda number=number: _blocks(rows, number, width, height),  # type: ignore[misc]
        )
        for number in range(count)
    ]


def _blocks(rows: ReadRows, number: int, width: int, height: int) -> Iterator[Block]:
    down = max(BLOCK_PIXELS // width, 1)
    for start in range(0, height, down):
        yield Block(start, 0, rows(number, start, min(start + down, height)))


def image_shape(shape: tuple[int, ...]) -> tuple[int, int, int]:
    """Number, height and width of the masks in an array.

    Example:
        >>> image_shape((256, 512)), image_shape((8, 1, 64, 64))
        ((1, 256, 512), (8, 64, 64))
        >>> image_shape((256, 512, 1)), image_shape((8, 64, 64, 1))
        ((1, 256, 512), (8, 64, 64))
    """
    found = shape
    if len(found) > 2 and found[-1] == 1 < min(found[-3:-1]):
        found = found[:-1]
    if len(found) == 4 and found[1] == 1:
        found = (found[0], *found[2:])
    if len(found) == 2:
        found = (1, *found)
    channels = len(found) == 3 and found[2] <= 4 < min(found[:2])
    if len(found) != 3 or 0 in found or channels:
        raise DataError(
            f"has the shape {shape}; expected (H, W) codes, or a stack (N, H, W), "
            "(N, 1, H, W) or (N, H, W, 1)"
        )
    return found[0], found[1], found[2]
