"""Whether the pixels that a TIFF file declares lie in it.

GDAL fills what is missing from the tables of a file with zeros, and reads as many bytes
as fit, without a word. This reads the tables: every strip or tile must have an entry,
lie inside the file and hold as many bytes as its pixels need, or be marked as left out.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import TYPE_CHECKING, BinaryIO, Final

import numpy as np

from cdstats.core.errors import DataError
from cdstats.io.strips import Strips, check_extents, check_strips, check_sums

if TYPE_CHECKING:
    from numpy.typing import NDArray

_TYPES: Final = {1: "u1", 3: "u2", 4: "u4", 16: "u8", 13: "u4", 18: "u8"}
_BYTES: Final = dict(
    enumerate((0, 1, 1, 2, 4, 8, 1, 1, 2, 4, 8, 4, 8, 4, 0, 0, 8, 8, 8))
)
"""Bytes of a value of each type, those included that are not read here."""
_KIND, _WIDTH, _LENGTH, _BITS = 254, 256, 257, 258
_PACKING, _MEANING, _FILL = 259, 262, 266
_STRIPS, _SAMPLES, _ROWS, _STRIP_BYTES, _PLANAR = 273, 277, 278, 279, 284
_TILE_WIDTH, _TILE_LENGTH, _TILES, _TILE_BYTES = 322, 323, 324, 325
_INNER, _JPEG, _JPEG_BYTES, _EXIF, _GPS = 330, 513, 514, 34665, 34853
_INTEROPERABILITY = 40965
_WANTED: Final = frozenset(
    (
        *(_KIND, _WIDTH, _LENGTH, _BITS, _PACKING, _MEANING, _FILL),
        *(_STRIPS, _SAMPLES, _ROWS, _STRIP_BYTES, _PLANAR),
        *(_TILE_WIDTH, _TILE_LENGTH, _TILES, _TILE_BYTES),
        *(_INNER, _JPEG, _JPEG_BYTES, _EXIF, _GPS, _INTEROPERABILITY),
    )
)
_MOST_PAGES: Final = 65_535
_VALID: Final = 4
"""What a page is that tells which pixels of another are valid."""
_GHOST: Final = b"GDAL_STRUCTURAL_METADATA_SIZE="
_GHOST_TAIL: Final = 4
"""Bytes that GDAL repeats after each tile of a file that says so in its ghost area."""
_PADDING: Final = 16

Tags = dict[int, "NDArray[np.unsignedinteger]"]
Extents = list[tuple[int, int]]
"""First byte and number of bytes of stretches of a file."""


@dataclass(frozen=True)
class _Layout:
    """How a file stores its numbers: order of bytes, classic or BigTIFF; its size."""

    order: str
    big: bool
    size: int

    @property
    def entry(self) -> int:
        """Bytes of an entry of a directory."""
        return 20 if self.big else 12

    def number(self, file: BinaryIO, size: int) -> int:
        """Read an unsigned number.

        Raises:
            DataError: If the file ends.
        """
        return int.from_bytes(
            self.read(file, size), "little" if self.order == "<" else "big"
        )

    def read(self, file: BinaryIO, size: int) -> bytes:
        """Read bytes of a table.

        Raises:
            DataError: If the file ends before.
        """
        # Asked for more than there is, a file would make room for all of it.
        data = file.read(size) if size <= self.size else b""
        if len(data) < size:
            raise DataError("TIFF file is cut short: a table lies beyond its end")
        return data


def check_tiff(file: BinaryIO, size: int) -> None:
    """Check the tables of every page of a TIFF file.

    Args:
        file: The file, or its bytes in memory.
        size: Its bytes.

    Raises:
        DataError: If a strip or tile is missing, lies outside the file, overlaps
            another or does not hold its pixels, or bytes follow the last of them.
    """
    tables = _read_tables(file, size)
    for page in tables.pages:
        check_strips(file, page, size)
    # Pillow fills up a file of several pages.
    several = len(tables.pages) > 1 and size % _PADDING == 0
    rest = _GHOST_TAIL if tables.ghost else several * (_PADDING - 1)
    check_extents(tables.extents, tables.pages, size - rest, tables.ghost)


def check_rows(file: BinaryIO, size: int, page: int, start: int, stop: int) -> None:
    """Check the sums of the pixels of some rows of a page, and of its mask.

    Args:
        file: The file, whose tables have been checked.
        size: Its bytes.
        page: The number of the page, from 0.
        start: First row.
        stop: The row after the last one.

    Raises:
        DataError: If a sum does not hold.
    """
    pages = _read_tables(file, size).pages
    if page >= len(pages):
        raise DataError("TIFF file has changed while it was read")
    own = pages[page]
    masks = [
        other
        for other in pages[page + 1 :]
        if other.is_mask and (other.width, other.length) == (own.width, own.length)
    ]
    for one in [own, *masks]:
        check_sums(file, one, start, stop)


@dataclass(frozen=True)
class _Tables:
    """What a file says of itself.

    Attributes:
        pages: The pages one after the other, and then those that pages point to.
        extents: What the header and the tables take up.
        ghost: Whether GDAL describes in it how it is ordered.
    """

    pages: list[Strips]
    extents: Extents
    ghost: bool


def _read_tables(file: BinaryIO, size: int) -> _Tables:
    file.seek(0)
    head = file.read(4)
    layout = _Layout("<" if head[:2] == b"II" else ">", b"+" in head[2:], size)
    file.seek(8 if layout.big else 4)
    first = layout.number(file, 8 if layout.big else 4)
    ghost = file.read(len(_GHOST)) == _GHOST
    tables = _Tables([], [(0, 16 if layout.big else 8)], ghost)
    waiting, seen = [(first, True)], set[int]()
    while waiting:
        place, is_page = waiting.pop()
        if place in seen or len(seen) >= _MOST_PAGES:
            raise DataError("TIFF file is damaged: its pages form a circle")
        seen.add(place)
        file.seek(min(place, size))
        tags, following, lengths = _directory(file, layout, is_page)
        tables.extents.extend(lengths)
        # The next page is taken first: pages stand in their order.
        waiting += [(int(inner), False) for inner in _inner(tags)]
        if following:
            waiting.append((following, is_page))
        if is_page or _WIDTH in tags:
            tables.pages.append(_strips(tags))
    return tables


def _inner(tags: Tags) -> list[int]:
    """Where the directories are that a page points to."""
    kinds = (_INNER, _EXIF, _GPS, _INTEROPERABILITY)
    return [int(place) for tag in kinds for place in tags.get(tag, ())]


def _directory(
    file: BinaryIO, layout: _Layout, is_page: bool
) -> tuple[Tags, int, Extents]:
    """The tags of a page, the place of the next one, and what the tables take up."""
    start = file.tell()
    count = layout.number(file, 8 if layout.big else 2)
    table = layout.read(file, count * layout.entry)
    following = layout.number(file, 8 if layout.big else 4)
    extents: Extents = [(start, file.tell() - start)]
    tags: Tags = {}
    seen, last = set[int](), 0
    for at in range(0, len(table), layout.entry):
        tag, kind = struct.unpack_from(f"{layout.order}HH", table, at)
        # Some programs write tags of their own in disorder, but none writes one twice.
        if tag in seen or (tag in _WANTED and tag < last <= _TILE_BYTES):
            raise DataError(f"TIFF file is damaged: tag {tag} is repeated or misplaced")
        # Only positions of a place on the globe have a tag 0.
        if tag == 0 and is_page:
            raise DataError("TIFF file is damaged: a tag of a page has no number")
        seen.add(tag)
        last = tag if tag in _WANTED else last
        entry = table[at + 4 : at + layout.entry]
        extents += _outside(layout, kind, entry)
        if tag in _WANTED and kind in _TYPES:
            tags[tag] = _values(file, layout, kind, entry)
    if _JPEG in tags and _JPEG_BYTES in tags:
        place, length = int(tags[_JPEG][0]), int(tags[_JPEG_BYTES][0])
        extents.append((min(place, layout.size), min(length, layout.size)))
    return tags, following, extents


def _outside(layout: _Layout, kind: int, entry: bytes) -> Extents:
    """Where the values of a tag lie that do not fit into its entry."""
    half = len(entry) // 2
    code = "Q" if layout.big else "I"
    count, place = struct.unpack(f"{layout.order}2{code}", entry)
    size = count * _BYTES.get(kind, 0)
    if size <= half:
        return []
    if place + size > layout.size:
        raise DataError("TIFF file is cut short: a table lies beyond its end")
    return [(place, size)]


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
        file.seek(min(place, layout.size))
        data = layout.read(file, count * dtype.itemsize)
    if count == 0:
        raise DataError("TIFF file is damaged: a tag of its tables holds nothing")
    return np.frombuffer(data, dtype, count)


def _strips(tags: Tags) -> Strips:
    """What the tables of a page say of its pixels.

    Raises:
        DataError: If they do not say where the pixels are.
    """
    if _WIDTH not in tags or _LENGTH not in tags:
        raise DataError("TIFF file is damaged: a page has no size")
    tiled = _TILES in tags
    if tiled and not (_TILE_WIDTH in tags and _TILE_LENGTH in tags):
        raise DataError("TIFF file is damaged: its tiles have no size")
    places = tags.get(_TILES if tiled else _STRIPS)
    lengths = tags.get(_TILE_BYTES if tiled else _STRIP_BYTES)
    if places is None or lengths is None:
        raise DataError(
            "TIFF file is damaged: a page does not say where its pixels begin and end"
        )

    def first(tag: int, default: int) -> int:
        return int(tags[tag][0]) if tag in tags else default

    width, length = first(_WIDTH, 0), first(_LENGTH, 0)
    return Strips(
        width,
        length,
        first(_TILE_WIDTH, 0) if tiled else width,
        first(_TILE_LENGTH, 0) if tiled else min(first(_ROWS, length), length),
        tiled,
        first(_SAMPLES, 1),
        first(_PLANAR, 1) == 2,
        tuple(int(bits) for bits in tags.get(_BITS, (1,))),
        first(_PACKING, 1),
        first(_MEANING, 0),
        first(_FILL, 1) == 2,
        places,
        lengths,
        first(_KIND, 0) & _VALID == _VALID,
    )
