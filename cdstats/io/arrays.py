"""Masks in arrays and in NumPy files, ``.npy`` and ``.npz``; never unpickled."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import PurePosixPath
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Final, Protocol, TypeVar

import numpy as np

from cdstats.core.errors import DataError
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
from cdstats.io.naming import some
from cdstats.io.npy import (
    StoredArray,
    by_number,
    damage,
    npy_array,
    read_header,
    stored_array,
)
from cdstats.io.sidecars import declared_nodata

if TYPE_CHECKING:
    import zipfile
    from collections.abc import Iterator, Mapping
    from pathlib import Path
    from typing import IO

    from numpy.typing import NDArray

    from cdstats.core.counts import Value
    from cdstats.io.npy import Shape

_CHUNK: Final = 1 << 20
NOT_NUMBERS: Final = {"O": "references or texts", "S": "texts", "V": "records"}
"""Description of non-numeric arrays by the kind of their dtype."""
_LISTED: Final = 10
"""Most arrays named in a message."""
_MOST_CHANNELS: Final = 256
"""Larger stacks are never one-hot masks."""
_PACKED: Final = (0, 8)
"""Compression methods of NumPy: stored and deflated. Others inflate without limit."""
ReadRows = Callable[[int, int, int], "NDArray[Any]"]
"""Reads rows ``start`` to ``stop`` (exclusive) of an image, given its index."""


@dataclass(frozen=True)
class NamedArray:
    """An array, with the image index and nodata value that apply to it.

    Attributes:
        number: Index of the image in a stack; empty for all.
        nodata: The value that the file declares as nodata, if any.
    """

    values: NDArray[Any] | StoredArray
    number: str = ""
    nodata: Value | None = None


def open_images(file: ImageFile) -> list[OpenImage]:
    """Open the masks of the only array, or of the named one."""
    if file.kind == "NPY":
        return array_images(file, NamedArray(npy_array(file.path), file.member))
    _check_band(file)
    entry, number = _open_entry(file.path, file.member, file.max_pixels)
    shape = image_shape(entry.shape)
    if entry.fortran:
        # In Fortran order the rows of one image are spread over the file.
        rows = _slices(_unpacked(entry).reshape(*shape).__getitem__)
    else:
        rows = _streamed(entry, *shape[:0:-1])
    if not number:
        _refuse_channels(shape, rows)
    return select_image(_images(shape, "NPZ", rows), number)


def array_images(file: ImageFile, found: NamedArray) -> list[OpenImage]:
    """Open the mask or the stack of masks in an array."""
    _check_band(file)
    array = found.values
    if array.dtype.kind not in "biuf":
        raise DataError(f"holds {array.dtype} values; expected numbers")
    shape = image_shape(array.shape)
    check_pixels(shape[2], shape[1], file.max_pixels)
    stack = array.reshape(*shape)
    if not found.number:
        _refuse_channels(shape, _slices(stack.__getitem__))
    images = _images(shape, file.kind, _slices(by_number(stack)), found.nodata)
    if isinstance(stack, StoredArray) and (held := stack.resident) is not None:
        images = [one._replace(resident=held[n]) for n, one in enumerate(images)]
    return select_image(images, found.number)


def _check_band(file: ImageFile) -> None:
    if file.band not in (None, 1):
        raise DataError(f"is an array without bands; band {file.band} was asked for")


def npz_array(path: Path, member: str, max_pixels: int = MAX_PIXELS) -> NamedArray:
    """Load one array of a ``.npz`` file."""
    entry, number = _open_entry(path, member, max_pixels)
    return NamedArray(_unpacked(entry), number)


def _unpacked(entry: _Entry) -> NDArray[Any]:
    check_memory(entry.size, "save it as .npy, which is read in parts")
    with damage("NPZ"), entry.archive.open(entry.name) as file:
        return np.lib.format.read_array(file, allow_pickle=False)


def _slices(image: Callable[[int], NDArray[Any] | StoredArray]) -> ReadRows:
    def rows(number: int, start: int, stop: int) -> NDArray[Any]:
        return np.asarray(image(number)[start:stop])

    return rows


def _refuse_channels(shape: tuple[int, int, int], rows: ReadRows) -> None:
    """Refuse a stack that is the one-hot encoding of a single mask.

    One-hot channels have the same sum at every pixel. Most stacks of masks fail this
    test in their first row, so no further rows are read.
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
            f"looks like one mask with {count} class channels, not {count} masks: "
            f"the channels sum to {whole:.4g} at every pixel (one-hot). Save the arg "
            f"max over the channels, or read one channel: FILE#{count - 1} or "
            f"FOLDER#{count - 1} is the last"
        )


def _entries(path: Path) -> dict[str, _Entry]:
    import zipfile

    from cdstats.io.archives import check_parts

    with damage("NPZ"):
        archive = zipfile.ZipFile(path)
        check_parts(path, archive, "NPZ")
        names = archive.namelist()
        endings = {PurePosixPath(name).suffix.lower() for name in names} - {""}
        if endings and ".npy" not in endings:
            raise DataError(
                "is a zip archive of files, not of arrays; rename it so that it ends "
                "in .zip to read its files"
            )
        if any(part.compress_type not in _PACKED for part in archive.infolist()):
            raise DataError(
                "holds arrays with a compression that NumPy does not write; save them "
                "with np.savez_compressed"
            )
        return {name.removesuffix(".npy"): _read_entry(archive, name) for name in names}


def _open_entry(path: Path, member: str, max_pixels: int) -> tuple[_Entry, str]:
    """The requested array, and the index of the requested image in it."""
    entries = _entries(path)
    shapes = {name: entry.shape for name, entry in entries.items()}
    key, number = choose_array(shapes, member, "NPZ")
    entry = entries[key]
    if entry.dtype.kind not in "biuf":
        raise DataError(f"holds {entry.dtype} values; expected numbers")
    width = entry.shape[-1] if entry.shape else 1
    check_pixels(width, math.prod(entry.shape[:-1]), max_pixels)
    # Inflate the whole array once to verify its checksum.
    lengths = [entry.archive.getinfo(entry.name).file_size, 0]
    if lengths[0] == entry.start + entry.size:
        with damage("NPZ"), entry.archive.open(entry.name) as file:
            while part := file.read(_CHUNK):
                lengths[1] += len(part)
    if lengths != [entry.start + entry.size] * 2:
        raise DataError(
            "NPZ file is damaged: the length of an array differs from its header"
        )
    return entry, number


@dataclass(frozen=True)
class _Entry:
    """Header of an array in an archive."""

    archive: zipfile.ZipFile
    name: str
    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    fortran: bool
    start: int

    @property
    def size(self) -> int:
        """Size of the numbers in bytes."""
        return math.prod(self.shape) * self.dtype.itemsize


def _read_entry(archive: zipfile.ZipFile, name: str) -> _Entry:
    with archive.open(name) as file:
        return _Entry(archive, name, *read_header(file, "NPZ"), file.tell())


def choose_array(
    shapes: Mapping[str, tuple[int, ...]],
    member: str,
    kind: str,
    others: Mapping[str, str] = MappingProxyType({}),
) -> tuple[str, str]:
    """The name of the array to read from a file, and the index of an image in it.

    If no array is requested, the only array with rows and columns is chosen. `others`
    describes objects of the file that are not arrays.

    Example:
        >>> shapes = {"label": (9, 64, 64), "time": (9,)}
        >>> choose_array(shapes, "", "NPZ"), choose_array(shapes, "label#3", "NPZ")
        (('label', ''), ('label', '3'))
    """
    key, number = member, ""
    if member not in shapes:
        key, _, number = member.rpartition("#")
        if not is_number(number):
            key, number = member, ""
    if key in others:
        raise DataError(f"holds {key} as {others[key]}; expected an array of numbers")
    names = [name for name, shape in shapes.items() if _is_plane(shape)]
    names = [key] if key else names if len(names) == 1 else [*shapes]
    if len(names) == 1 and names[0] in shapes:
        return names[0], number
    told = [f"{name} {shape}" for name, shape in shapes.items()]
    told += [f"{name} ({what})" for name, what in others.items()]
    listed = some(told, _LISTED)
    if key:
        raise DataError(f"holds no array {key!r}; it holds {listed or 'nothing'}")
    if not shapes:
        raise DataError(f"{kind} file holds no array{listed and f', but {listed}'}")
    raise DataError(f"holds several arrays: {listed}; choose one with FILE#NAME")


class Dataset(Protocol):
    """An array in a hierarchical file (HDF5, Zarr), read in parts."""

    @property
    def shape(self) -> Shape:
        """Length of each axis."""

    @property
    def dtype(self) -> np.dtype[Any]:
        """Type of the numbers."""

    @property
    def attrs(self) -> Mapping[str, Any]:
        """Attributes of the array."""

    def __getitem__(self, keys: tuple[slice, ...]) -> NDArray[Any]:
        """Read a part; each slice has a start and a stop."""


Held = TypeVar("Held", bound=Dataset)


def array_in_groups(
    arrays: Mapping[str, Held],
    others: Mapping[str, str],
    member: str,
    kind: str,
    max_pixels: int,
    sound: Callable[[Held], Held],
    *,
    fortran: bool = False,
) -> NamedArray:
    """The requested array of a hierarchical file, without reading its numbers."""
    step = -1 if fortran else 1  # stored by columns
    shapes = {name: one.shape[::step] for name, one in arrays.items()}
    key, number = choose_array(shapes, member.lstrip("/"), kind, others)
    shape = shapes[key]
    width, height = (*shape[::-1], 1, 1)[:2]
    check_pixels(width, height, max_pixels)
    array = sound(arrays[key])
    values = stored_array(shape, array.dtype, 0, Parts(array, kind), fortran=fortran)
    return NamedArray(values, number, _nodata(array))


def _nodata(dataset: Dataset) -> Value | None:
    """The missing value declared as in NetCDF; scaled numbers are refused."""
    for name, plain in (("scale_factor", 1), ("add_offset", 0)):
        if (found := dataset.attrs.get(name, plain)) != plain:
            raise DataError(
                f"holds numbers with {name} {found}, which is not applied; save the "
                "unscaled numbers"
            )
    fill = dataset.attrs.get("_FillValue")
    if fill is None or dataset.dtype.kind not in "iuf":
        return None
    return declared_nodata(str(np.ravel(fill)[0].item()), dataset.dtype)


class Parts:
    """Reads a dataset through strides, which identify its axes."""

    def __init__(self, dataset: Dataset, kind: str) -> None:
        self._dataset, self._kind = dataset, kind
        # Keep the HDF5 file open as long as its array is in use.
        self._file = getattr(dataset, "file", None)

    def numbers(
        self, shape: Shape, dtype: np.dtype[Any], strides: Shape, place: int
    ) -> NDArray[Any]:
        """Read a part in one request."""
        held = self._dataset.shape
        start = np.unravel_index(place // dtype.itemsize, held)
        own = [
            dtype.itemsize * math.prod(held[axis + 1 :]) for axis in range(len(held))
        ]
        wanted = {
            stride: length
            for stride, length in zip(strides, shape, strict=True)
            if length > 1
        }
        keys = tuple(
            slice(int(at), int(at) + (wanted.get(stride, 1) if length > 1 else 1))
            for at, stride, length in zip(start, own, held, strict=True)
        )
        with damage(self._kind):
            part = self._dataset[keys]
        # Restore the axis order of the file, then that of the part.
        order = sorted(range(len(shape)), key=lambda axis: -strides[axis])
        found: NDArray[Any] = part.reshape([shape[axis] for axis in order])
        return found.transpose(np.argsort(order))


def _is_plane(shape: tuple[int, ...]) -> bool:
    """Whether an array has at least two axes longer than one."""
    return 0 not in shape and sum(length > 1 for length in shape) > 1


def _streamed(entry: _Entry, width: int, height: int) -> ReadRows:
    """Read rows in order while the archive is inflated."""
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


def _images(
    shape: tuple[int, int, int], kind: str, rows: ReadRows, nodata: Value | None = None
) -> list[OpenImage]:
    """One image per mask of a stack; without an index for a single mask."""
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
            nodata,
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
