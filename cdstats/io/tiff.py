"""Whether the pixels that a TIFF file declares lie in it.

GDAL fills what is missing from the tables of a file with zeros, without a word. This
reads the tables alone: every strip or tile must have an entry and lie inside the file,
or be marked as left out.
"""

from __future__ import annotations

import math
import struct
from dataclasses import dataclass
from typing import TYPE_CHECKING, BinaryIO, Final

import numpy as np

from cdstats.core.errors import DataError

if TYPE_CHECKING:
    from numpy.typing import NDArray

_TYPES: Final = {1: "u1", 3: "u2", 4: "u4", 16: "u8", 13: "u4", 18: "u8"}
_WIDTH, _LENGTH, _SAMPLES, _ROWS, _PLANAR = 256, 257, 277, 278, 284
_STRIPS, _STRIP_BYTES = 273, 279
_TILE_WIDTH, _TILE_LENGTH, _TILES, _TILE_BYTES = 322, 323, 324, 325
_WANTED: Final = frozenset(
    (
        *(_WIDTH, _LENGTH, _SAMPLES, _ROWS, _PLANAR, _STRIPS, _STRIP_BYTES),
        *(_TILE_WIDTH, _TILE_LENGTH, _TILES, _TILE_BYTES),
    )
)
_MOST_PAGES: Final = 65_535

Tags = dict[int, "NDArray[np.unsignedinteger]"]


@dataclass(frozen=True)
class _Layout:
    """How a file stores its numbers: classic or BigTIFF, and the order of bytes."""

    order: str
    big: bool

    @property
    def entry(self) -> int:
        """Bytes of an entry of a directory."""
        return 20 if self.big else 12

    def number(self, file: BinaryIO, size: int) -> int:
        """Read an unsigned number.

        Raises:
            DataError: If the file ends.
        """
        data = file.read(size)
        if len(data) < size:
            raise DataError("TIFF file is cut short: a table lies beyond its end")
        return int.from_bytes(data, "little" if self.order == "<" else "big")


def check_tiff(file: BinaryIO, size: int) -> None:
    """Check the tables of every page of a TIFF file.

    Args:
        file: The file, or its bytes in memory.
        size: Its bytes.

    Raises:
        DataError: If a strip or tile is missing or lies outside the file.
    """
    file.seek(0)
    head = file.read(4)
    layout = _Layout("<" if head[:2] == b"II" else ">", b"+" in head[2:])
    file.seek(8 if layout.big else 4)
    width = 8 if layout.big else 4
    place, seen = layout.number(file, width), set[int]()
    while place and place not in seen and len(seen) < _MOST_PAGES:
        seen.add(place)
        file.seek(place)
        tags, place = _directory(file, layout)
        _check_page(tags, size)


def _directory(file: BinaryIO, layout: _Layout) -> tuple[Tags, int]:
    """The tags of a page that tell where its pixels are, and where the next page is."""
    count = layout.number(file, 8 if layout.big else 2)
    table = file.read(count * layout.entry)
    if len(table) < count * layout.entry:
        raise DataError("TIFF file is cut short: a table lies beyond its end")
    following = layout.number(file, 8 if layout.big else 4)
    tags: Tags = {}
    for start in range(0, len(table), layout.entry):
        tag, kind = struct.unpack_from(f"{layout.order}HH", table, start)
        if tag in _WANTED and kind in _TYPES:
            entry = table[start + 4 : start + layout.entry]
            tags[tag] = _values(file, layout, kind, entry)
    return tags, following


def _values(
    file: BinaryIO, layout: _Layout, kind: int, entry: bytes
) -> NDArray[np.unsignedinteger]:
    half = len(entry) // 2
    code = "Q" if layout.big else "I"
    (count,) = struct.unpack(f"{layout.order}{code}", entry[:half])
    dtype = np.dtype(f"{layout.order}{_TYPES[kind]}")
    data = entry[half:]
    if count * dtype.itemsize > half:
        (place,) = struct.unpack(f"{layout.order}{code}", data)
        file.seek(place)
        data = file.read(count * dtype.itemsize)
    if len(data) < count * dtype.itemsize:
        raise DataError("TIFF file is cut short: a table lies beyond its end")
    return np.frombuffer(data, dtype, count)


def _check_page(tags: Tags, size: int) -> None:
    if _WIDTH not in tags or _LENGTH not in tags:
        raise DataError("TIFF file is damaged: a page has no size")
    tiled = _TILES in tags
    places = tags.get(_TILES if tiled else _STRIPS)
    lengths = tags.get(_TILE_BYTES if tiled else _STRIP_BYTES)
    if places is None:
        raise DataError(
            "TIFF file is damaged: a page does not say where its pixels are"
        )
    needed = _blocks(tags, tiled)
    if places.size < needed:
        raise DataError(
            f"TIFF file is damaged: it holds {places.size:,} of {needed:,} "
            f"{'tiles' if tiled else 'strips'}"
        )
    if lengths is None or lengths.size < places.size:
        return
    ends = places.astype(np.float64) + lengths[: places.size]
    if (ends > size).any():
        raise DataError("TIFF file is cut short: pixels lie beyond its end")


def _blocks(tags: Tags, tiled: bool) -> int:
    """Strips or tiles that a page of its size has."""
    width, length = int(tags[_WIDTH][0]), int(tags[_LENGTH][0])
    planes = 1
    if int(tags.get(_PLANAR, np.ones(1, np.uint16))[0]) == 2:
        planes = int(tags.get(_SAMPLES, np.ones(1, np.uint16))[0])
    if tiled and _TILE_WIDTH in tags and _TILE_LENGTH in tags:
        across = math.ceil(width / max(int(tags[_TILE_WIDTH][0]), 1))
        return planes * across * math.ceil(length / max(int(tags[_TILE_LENGTH][0]), 1))
    rows = int(tags[_ROWS][0]) if _ROWS in tags else length
    return planes * math.ceil(length / max(min(rows, length), 1))
