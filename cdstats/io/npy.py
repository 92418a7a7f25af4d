"""Arrays in files, read block by block, and the header of the ``.npy`` format.

Files are not memory-mapped, because reading a mapped page of a truncated file kills the
process.
"""

from __future__ import annotations

import math
import warnings
import weakref
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import IO, TYPE_CHECKING, Any, Final, Protocol, Self

import numpy as np

from cdstats.core.errors import DataError
from cdstats.io.signatures import open_regular

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from pathlib import Path

    from numpy.typing import DTypeLike, NDArray
    from torch import Tensor

_HEADER_BYTES: Final = 10_000
_SPAN_BYTES: Final = 1 << 22
"""Most bytes read at once to extract scattered numbers."""
_WHOLE_BYTES: Final = 1 << 27
"""Arrays in Fortran order up to this size are read whole."""
_COLUMNS: Final = 512
Key = int | slice | None
Shape = tuple[int, ...]
RESIDENT: Final[dict[str, Tensor]] = {}
"""GPU tensors, by the path of the file that stands for each; see `cdstats.io.held`."""


class Source(Protocol):
    """A source of numbers for an array."""

    def numbers(
        self, shape: Shape, dtype: np.dtype[Any], strides: Shape, place: int
    ) -> NDArray[Any]:
        """Read numbers at the given strides from an offset into a new array."""


class FileSource:
    """A file that stays open as long as an array refers to it."""

    def __init__(self, path: Path, kind: str) -> None:
        self._kind = kind
        self.file, self.size = open_regular(path)
        weakref.finalize(self, self.file.close)

    def numbers(
        self, shape: Shape, dtype: np.dtype[Any], strides: Shape, place: int
    ) -> NDArray[Any]:
        """Read in few pieces, skipping large gaps."""
        size, steps = dtype.itemsize, zip(shape, strides, strict=True)
        span = sum((length - 1) * stride for length, stride in steps) + size
        wanted = math.prod(shape) * size
        if span in (wanted, size) or span <= _SPAN_BYTES or len(shape) < 2:
            data = self.read(place, span)
            return np.ndarray(shape, dtype, data, strides=strides)
        places = (place + number * strides[0] for number in range(shape[0]))
        return np.stack(
            [self.numbers(shape[1:], dtype, strides[1:], at) for at in places]
        )

    def read(self, place: int, size: int) -> bytearray:
        """Read bytes from an offset; a truncated file is an error."""
        data = bytearray(size)
        left = memoryview(data)
        self.file.seek(place)
        while (read := self.file.readinto(left)) != len(left):
            if not read:
                raise DataError(f"{self._kind} file was changed while it was read")
            left = left[read:]
        return data


class TensorSource:
    """A GPU tensor whose numbers are copied to CPU memory when they are read."""

    def __init__(self, tensor: Tensor) -> None:
        self._tensor = tensor

    def part(
        self, shape: Shape, dtype: np.dtype[Any], strides: Shape, place: int
    ) -> Tensor:
        """A view of the tensor with strides in bytes."""
        steps = [stride // dtype.itemsize for stride in strides]
        start = self._tensor.storage_offset() + place // dtype.itemsize
        return self._tensor.as_strided(shape, steps, start)

    def numbers(
        self, shape: Shape, dtype: np.dtype[Any], strides: Shape, place: int
    ) -> NDArray[Any]:
        """The same numbers in CPU memory."""
        found: NDArray[Any] = self.part(shape, dtype, strides, place).cpu().numpy()
        return found


@dataclass(frozen=True, slots=True, eq=False)
class StoredArray:
    """An array in a file; indexing gives a view, ``np.asarray`` reads it."""

    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    _strides: Shape
    _place: int
    _source: Source

    def __getitem__(self, keys: Key | tuple[Key, ...]) -> Self:
        """A view; each key is an index, a slice of step 1, or None for a new axis."""
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
        shape += self.shape[axis:]
        strides += self._strides[axis:]
        return self._part(shape, strides, place)

    def _part(self, shape: Iterable[int], strides: Iterable[int], place: int) -> Self:
        return replace(self, shape=tuple(shape), _strides=tuple(strides), _place=place)

    def transpose(self, *axes: int) -> Self:
        """A view with the axes reordered."""
        shape = [self.shape[axis] for axis in axes]
        strides = [self._strides[axis] for axis in axes]
        return self._part(shape, strides, self._place)

    def reshape(self, *shape: int) -> Self:
        """A view with axes of length 1 added or removed."""
        long = [
            one for one in zip(self.shape, self._strides, strict=True) if one[0] != 1
        ]
        if [length for length, _ in long] != [n for n in shape if n != 1]:
            raise ValueError(f"{self.shape} cannot be reshaped to {shape}")
        left = iter(stride for _, stride in long)
        strides = (0 if length == 1 else next(left) for length in shape)
        return self._part(shape, strides, self._place)

    def __array__(
        self, dtype: DTypeLike | None = None, copy: bool | None = None
    ) -> NDArray[Any]:
        """Read the numbers into a new array."""
        # Read in storage order, with the largest stride first.
        order = sorted(range(len(self.shape)), key=lambda axis: -self._strides[axis])
        found = self.transpose(*order).read().transpose(np.argsort(order))
        if not self.is_by_column:
            return found.astype(dtype or self.dtype, copy=False)
        # Transpose a few columns at a time, to fit the processor cache.
        rows = np.empty(self.shape, dtype or self.dtype)
        for at in range(0, self.shape[-1], _COLUMNS):
            rows[..., at : at + _COLUMNS] = found[..., at : at + _COLUMNS]
        return rows

    def read(self) -> NDArray[Any]:
        """Read the numbers in storage order."""
        if 0 in self.shape:
            return np.empty(self.shape, self.dtype)
        return self._source.numbers(self.shape, self.dtype, self._strides, self._place)

    @property
    def resident(self) -> Tensor | None:
        """The numbers as a GPU tensor; None if they are in a file."""
        if not isinstance(self._source, TensorSource):
            return None
        return self._source.part(self.shape, self.dtype, self._strides, self._place)

    @property
    def is_by_column(self) -> bool:
        """Whether the array is stored in Fortran order."""
        return len(self.shape) > 1 and self._strides[-1] > self._strides[-2]


def by_number(
    stack: NDArray[Any] | StoredArray,
) -> Callable[[int], NDArray[Any] | StoredArray]:
    """A function that returns one image of a stack by index.

    Small images are read many at a time, and an array in Fortran order as a whole;
    others on demand.
    """
    count, size = stack.shape[0], math.prod(stack.shape[1:]) * stack.dtype.itemsize
    if isinstance(stack, np.ndarray):
        return stack.__getitem__
    together = _SPAN_BYTES // max(size, 1)
    if stack.is_by_column and count * size <= _WHOLE_BYTES:
        together = count
    elif together < 2:
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
    """The array of a ``.npy`` file, without reading its numbers."""
    if (tensor := RESIDENT.get(str(path))) is not None:
        dtype = numpy_type(tensor)
        strides = (step * dtype.itemsize for step in tensor.stride())
        shape = tuple(tensor.shape)
        return StoredArray(shape, dtype, tuple(strides), 0, TensorSource(tensor))
    source = FileSource(path, "NPY")
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
            f"NPY file is damaged: its header gives {ends:,} bytes, but the file has "
            f"{source.size:,}"
        )
    return stored_array(shape, dtype, place, source, fortran=fortran)


def numpy_type(tensor: Tensor) -> np.dtype[Any]:
    """The NumPy type of a tensor."""
    return np.dtype(str(tensor.dtype).removeprefix("torch."))


def stored_array(
    shape: Shape,
    dtype: np.dtype[Any],
    place: int,
    source: Source,
    *,
    fortran: bool = False,
) -> StoredArray:
    """A contiguous array in a file, in C or Fortran order."""
    step, lengths = 1 if fortran else -1, shape[:: 1 if fortran else -1]
    strides = [dtype.itemsize * math.prod(lengths[:axis]) for axis in range(len(shape))]
    return StoredArray(shape, dtype, tuple(strides[::step]), place, source)


def read_header(
    file: IO[bytes], kind: str
) -> tuple[tuple[int, ...], np.dtype[Any], bool]:
    """Read shape, dtype and order of an array from its header."""
    is_first = np.lib.format.read_magic(file) == (1, 0)
    place = file.tell()
    # NumPy would unpack a header of any length before refusing it.
    if int.from_bytes(file.read(2 if is_first else 4), "little") > _HEADER_BYTES:
        raise DataError(f"{kind} file is damaged: the header of an array is too long")
    file.seek(place)
    if is_first:
        shape, fortran, dtype = np.lib.format.read_array_header_1_0(file)
    else:
        shape, fortran, dtype = np.lib.format.read_array_header_2_0(file)
    if min(shape, default=0) < 0:
        raise DataError(f"{kind} file is damaged: its shape is {shape}")
    return shape, dtype, fortran


@contextmanager
def damage(kind: str) -> Iterator[None]:
    """Turn any error into `DataError`, and hide warnings about unusual headers."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            yield
        except DataError:
            raise
        except Exception as error:  # noqa: BLE001 - damage raises many kinds
            raise DataError(f"{kind} file is damaged or cut short: {error}") from None
