"""Arrays in ``.npy`` format: their header, and numbers that are read block by block.

Files are never mapped into memory: the system ends a program that reads a mapped page
of a file that has become shorter.
"""

from __future__ import annotations

import math
import warnings
import weakref
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import IO, TYPE_CHECKING, Any, Final, Self

import numpy as np

from cdstats.core.errors import DataError
from cdstats.io.regular import open_regular

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from numpy.typing import DTypeLike, NDArray

_HEADER_BYTES: Final = 10_000
_SPAN_BYTES: Final = 1 << 22
"""Bytes that are read at once to take fewer, scattered ones out of them."""
Key = int | slice | None


class _Source:
    """A file that is open for as long as an array refers to it."""

    def __init__(self, path: Path) -> None:
        self.file, self.size = open_regular(path)
        weakref.finalize(self, self.file.close)

    def read(self, places: list[int], out: NDArray[np.uint8]) -> None:
        """Fill an array with as many bytes from each place."""
        each = out.size // len(places)
        seek, readinto = self.file.seek, self.file.readinto
        for number, place in enumerate(places):
            left = out.data[number * each : (number + 1) * each]
            seek(place)
            while (read := readinto(left)) != len(left):
                if not read:
                    raise DataError("NPY file was changed while it was read")
                left = left[read:]


@dataclass(frozen=True, slots=True, eq=False)
class StoredArray:
    """An array in a file. Indexing gives a part of it, ``np.asarray`` reads it.

    Attributes:
        shape: Its dimensions.
        dtype: The type of its numbers.
    """

    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    _strides: tuple[int, ...]
    _place: int
    _source: _Source

    def __getitem__(self, keys: Key | tuple[Key, ...]) -> Self:
        """A part: each key is a number, a slice of step 1 or None for a new axis."""
        shape: list[int] = []
        strides: list[int] = []
        place, axis = self._place, 0
        for key in keys if isinstance(keys, tuple) else (keys,):
            if key is None:
                shape.append(1)
                strides.append(0)
                continue
            if isinstance(key, int):
                start = range(self.shape[axis])[key]
            else:
                start, stop, _ = key.indices(self.shape[axis])
                shape.append(max(stop - start, 0))
                strides.append(self._strides[axis])
            place += start * self._strides[axis]
            axis += 1
        return replace(
            self,
            shape=(*shape, *self.shape[axis:]),
            _strides=(*strides, *self._strides[axis:]),
            _place=place,
        )

    def transpose(self, *axes: int) -> Self:
        """The same numbers with their axes in another order."""
        return replace(
            self,
            shape=tuple(self.shape[axis] for axis in axes),
            _strides=tuple(self._strides[axis] for axis in axes),
        )

    def reshape(self, *shape: int) -> Self:
        """The same numbers with axes of length 1 added or removed."""
        axes = [axis for axis, length in enumerate(self.shape) if length != 1]
        if [self.shape[axis] for axis in axes] != [n for n in shape if n != 1]:
            raise ValueError(f"{self.shape} cannot become {shape}")
        left = iter(self._strides[axis] for axis in axes)
        strides = tuple(0 if length == 1 else next(left) for length in shape)
        return replace(self, shape=shape, _strides=strides)

    def __array__(
        self, dtype: DTypeLike | None = None, copy: bool | None = None
    ) -> NDArray[Any]:
        """The numbers, read from the file into a new array."""
        if 0 in self.shape:
            return np.empty(self.shape, dtype or self.dtype)
        # As they lie in the file: the axis whose neighbours are farthest apart first.
        order = sorted(range(len(self.shape)), key=lambda axis: -self._strides[axis])
        shape = tuple(self.shape[axis] for axis in order)
        strides = tuple(self._strides[axis] for axis in order)
        found = self._read(shape, strides).transpose(np.argsort(order))
        return found if dtype is None else found.astype(dtype, copy=False)

    def _read(self, shape: tuple[int, ...], strides: tuple[int, ...]) -> NDArray[Any]:
        """Read in as few pieces as leave out most of what is not wanted."""
        size = self.dtype.itemsize
        split = 0
        while True:
            spans = zip(shape[split:], strides[split:], strict=True)
            span = sum((n - 1) * stride for n, stride in spans) + size
            wanted = math.prod(shape[split:]) * size
            if wanted == span or span <= _SPAN_BYTES or split >= len(shape) - 1:
                break
            split += 1
        places = np.array(self._place)
        for length, stride in zip(shape[:split], strides[:split], strict=True):
            places = np.add.outer(places, np.arange(length) * stride)
        inner = (shape[split:], strides[split:])
        if wanted == span or split == 0:
            data = np.empty(places.size * span, np.uint8)
            self._source.read(places.ravel().tolist(), data)
            steps = tuple(
                span * math.prod(shape[axis + 1 : split]) for axis in range(split)
            )
            return np.ndarray(shape, self.dtype, data, strides=steps + inner[1])
        found = np.empty(shape, self.dtype)
        piece = np.empty(span, np.uint8)
        taken = np.ndarray(inner[0], self.dtype, piece, strides=inner[1])
        for index in np.ndindex(shape[:split]):
            self._source.read([int(places[index])], piece)
            found[index] = taken
        return found


def by_number(
    stack: NDArray[Any] | StoredArray,
) -> Callable[[int], NDArray[Any] | StoredArray]:
    """A function from a number to that part of a stack.

    Small parts of a file are read many at a time, the others when they are wanted.
    """
    size = math.prod(stack.shape[1:]) * stack.dtype.itemsize
    together = _SPAN_BYTES // max(size, 1)
    if isinstance(stack, np.ndarray) or together < 2:
        return stack.__getitem__
    first, read = 0, np.empty((0, *stack.shape[1:]), stack.dtype)

    def part(number: int) -> NDArray[Any]:
        nonlocal first, read
        if not first <= number < first + len(read):
            first = number - number % together
            read = np.asarray(stack[first : first + together])
        found: NDArray[Any] = read[number - first]
        return found

    return part


def npy_array(path: Path) -> StoredArray:
    """The array of a ``.npy`` file, none of whose numbers has been read."""
    source = _Source(path)
    with damage("NPY"):
        shape, dtype, fortran = read_header(source.file, "NPY")
    if dtype.hasobject:
        raise DataError(
            "holds Python objects (a pickle), which are never loaded; expected numbers"
        )
    place = source.file.tell()
    ends = place + math.prod(shape) * dtype.itemsize
    if ends != source.size:
        raise DataError(
            f"NPY file is damaged: its header tells of {ends:,} bytes, the file holds "
            f"{source.size:,}"
        )
    lengths = shape if fortran else shape[::-1]
    strides = tuple(
        dtype.itemsize * math.prod(lengths[:axis]) for axis in range(len(lengths))
    )
    strides = strides if fortran else strides[::-1]
    return StoredArray(shape, dtype, strides, place, source)


def read_header(
    file: IO[bytes], kind: str
) -> tuple[tuple[int, ...], np.dtype[Any], bool]:
    """Shape and type of an array, and whether its columns come first."""
    with silence():
        is_first = np.lib.format.read_magic(file) == (1, 0)
        place = file.tell()
        # It would be unpacked to any length before NumPy refuses it.
        if int.from_bytes(file.read(2 if is_first else 4), "little") > _HEADER_BYTES:
            raise DataError(
                f"{kind} file is damaged: the header of an array is too long"
            )
        file.seek(place)
        read = np.lib.format.read_array_header_2_0
        if is_first:
            read = np.lib.format.read_array_header_1_0
        header = read(file)
    shape, fortran, dtype = header
    if min(shape, default=0) < 0:
        raise DataError(f"{kind} file is damaged: it has the shape {shape}")
    return shape, dtype, fortran


@contextmanager
def damage(kind: str) -> Iterator[None]:
    """Turns errors of NumPy and of archives into a `DataError`."""
    try:
        yield
    except DataError:
        raise
    except Exception as error:  # noqa: BLE001 - damage raises many kinds
        raise DataError(f"{kind} file is damaged or cut short: {error}") from None


@contextmanager
def silence() -> Iterator[None]:
    """Hides warnings of Python and NumPy about unusual headers."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield
