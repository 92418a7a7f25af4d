"""MATLAB files, version 5 and 7.3 (HDF5); code in them is never run.

A version 5 variable is stored by columns. It is read block by block, or unpacked as a
whole if compressed, so that its checksum is verified.
"""

from __future__ import annotations

import math
import struct
import zlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import numpy as np

from cdstats.core.errors import DataError
from cdstats.io import hdf5
from cdstats.io.arrays import NamedArray, array_images, choose_array
from cdstats.io.limits import check_memory, check_pixels
from cdstats.io.npy import FileSource, damage, stored_array
from cdstats.io.signatures import open_regular

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from numpy.typing import NDArray

    from cdstats.io.blocks import ImageFile, OpenImage
    from cdstats.io.npy import StoredArray

_HDF5: Final = b"MATLAB 7.3"
_HEADER: Final = 128
_ORDERS: Final = {b"IM": "<", b"MI": ">"}
_MATRIX, _COMPRESSED = 14, 15
_FLAGS, _NAME, _SHAPE = 6, 1, 5
_TYPES: Final = (
    *("", "i1", "u1", "i2", "u2", "i4", "u4", "f4", "", "f8", "", ""),
    *("i8", "u8"),
)
"""Storage types of numbers, by code."""
_OTHERS: Final = {
    1: "cell",
    2: "struct",
    3: "object",
    4: "char",
    5: "a sparse matrix: save full(...) of it",
    16: "function handle",
    17: "object",
}
_COMPLEX: Final = 0x800
_HEAD_BYTES: Final = 1 << 12
"""Bytes at the start of a variable that contain its name, shape and data offset."""
_PIECE: Final = 1 << 14
"""Deflated bytes read at once; they unpack to 16 MiB at most."""


def open_images(file: ImageFile) -> list[OpenImage]:
    """Open the masks of the only variable, or of the named one."""
    found = named_array(file.path, file.member, file.max_pixels)
    shape = found.values.shape
    if len(shape) == 3 and shape[0] == shape[1] != shape[2] > 1:
        raise DataError(
            f"has the shape {shape}, with masks stacked along the last axis; "
            "expected (N, H, W): save permute(x, [3 1 2])"
        )
    return array_images(file, found)


def named_array(path: Path, member: str, max_pixels: int) -> NamedArray:
    """Find a variable of a file."""
    opened, _ = open_regular(path)
    with opened:
        if opened.read(len(_HDF5)) == _HDF5:
            return hdf5.named_array(path, member, max_pixels, matlab=True)
    source = FileSource(path, "MAT")
    with damage("MAT"):
        found = {one.name: one for one in _variables(source) if one.name}
        shapes = {name: one.shape for name, one in found.items() if not one.other}
        others = {name: one.other for name, one in found.items() if one.other}
        key, number = choose_array(shapes, member, "MAT", others)
        return NamedArray(found[key].array(source, max_pixels), number)


class _Tag(NamedTuple):
    """Type of an element, position and length of its data, and end."""

    kind: int
    start: int
    size: int
    end: int


@dataclass(frozen=True)
class _Variable:
    """A variable of a version 5 file.

    Attributes:
        element: The element with the variable.
        other: Description if it is not a numeric array; otherwise empty.
        dtype: Storage type.
        start: Offset of the numbers from the start of the matrix.
        matrix: Size of the matrix in bytes, with its tag.
    """

    name: str
    element: _Tag
    shape: tuple[int, ...] = ()
    other: str = ""
    dtype: str = "u1"
    start: int = 0
    matrix: int = 0

    def array(self, source: FileSource, max_pixels: int) -> StoredArray | NDArray[Any]:
        """The numbers, in the file or unpacked in memory."""
        check_pixels(self.shape[-1], math.prod(self.shape[:-1]), max_pixels)
        if self.element.kind == _MATRIX:
            place = self.element.start + self.start - 8
            return stored_array(
                self.shape, np.dtype(self.dtype), place, source, fortran=True
            )
        check_memory(self.matrix, "save it with -v7.3, which is read chunk by chunk")
        data = bytearray()
        unpacker = zlib.decompressobj()
        place, end = self.element.start, self.element.start + self.element.size
        while place < end and not unpacker.eof and len(data) <= self.matrix:
            size = min(_PIECE, end - place)
            data += unpacker.decompress(source.read(place, size))
            place += size
        is_whole = place == end and unpacker.eof and not unpacker.unused_data
        if len(data) != self.matrix or not is_whole:
            raise DataError(
                "MAT file is damaged: the length of a variable differs from its header"
            )
        return np.ndarray(self.shape, self.dtype, data, self.start, order="F")


def _variables(source: FileSource) -> Iterator[_Variable]:
    """The variables of a file, without reading their numbers."""
    header = source.read(0, min(_HEADER, source.size))
    order = _ORDERS.get(bytes(header[126:]))
    if order is None:
        raise DataError("MAT file is damaged or cut short: its header is incomplete")
    place = _HEADER
    while place < source.size:
        element = _tag(source.read(place, min(8, source.size - place)), 0, order)
        start, size = place + 8, element.size
        place = start + size
        if element.kind not in (_MATRIX, _COMPRESSED) or place > source.size:
            raise DataError("MAT file is damaged or cut short: an element is too long")
        element = _Tag(element.kind, start, size, place)
        if element.kind == _MATRIX:
            head = bytes(source.read(start - 8, min(_HEAD_BYTES, size + 8)))
        else:
            packed = source.read(start, min(_HEAD_BYTES, size))
            head = zlib.decompressobj().decompress(packed, _HEAD_BYTES)
        yield _variable(element, head, order)


def _variable(element: _Tag, head: bytes, order: str) -> _Variable:
    """Parse a variable from the first bytes of its matrix."""
    matrix = _tag(head, 0, order)
    flags = _tag(head, 8, order)
    if matrix.kind != _MATRIX or (flags.kind, flags.size) != (_FLAGS, 8):
        raise DataError("MAT file is damaged: a variable has no header")
    word = struct.unpack_from(f"{order}I", head, flags.start)[0]
    shape = _tag(head, flags.end, order)
    # An object of a class has its name where arrays have a shape.
    name = shape if shape.kind == _NAME else _tag(head, shape.end, order)
    text = head[name.start : name.start + name.size].decode("ascii")
    code = word & 0xFF
    other = _OTHERS.get(code, "complex numbers" if word & _COMPLEX else "")
    if other:
        return _Variable(text, element, other=other)
    lengths = struct.unpack_from(f"{order}{shape.size // 4}i", head, shape.start)
    numbers = _tag(head, name.end, order)
    dtype = order + _TYPES[numbers.kind]
    ends = numbers.start + math.prod(lengths) * int(dtype[-1])
    is_whole = (shape.kind, name.kind) == (_SHAPE, _NAME) and min(lengths) >= 0
    size = 8 + matrix.size
    if (
        not is_whole
        or numbers.size != ends - numbers.start
        or not (ends <= size < ends + 8)
    ):
        raise DataError(
            "MAT file is damaged: the length of a variable differs from its header"
        )
    return _Variable(text, element, lengths, "", dtype, numbers.start, size)


def _tag(data: bytes | bytearray, place: int, order: str) -> _Tag:
    """Parse the tag of an element; short elements hold their data in it."""
    word, size = struct.unpack_from(f"{order}2I", data, place)
    if word >> 16:
        return _Tag(word & 0xFFFF, place + 4, word >> 16, place + 8)
    return _Tag(word, place + 8, size, place + 8 + -(-size // 8) * 8)
