"""The tables of a TIFF file: where its pages say that their pixels are."""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import TYPE_CHECKING, BinaryIO, Final

import numpy as np

from cdstats.core.errors import DataError
from cdstats.io.strips import Strips

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from cdstats.io.gaps import Extents

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
_MOST_TAGS: Final = 256
"""Tags of a directory that is taken for one although nothing points to it."""

Tags = dict[int, "NDArray[np.unsignedinteger]"]


@dataclass
class Layout:
    """How a file stores its numbers, and how many bytes of tables it can still hold.

    Attributes:
        order: The order of bytes, as `struct` names it.
        big: Whether it is a BigTIFF.
        size: Bytes of the file.
        left: Of these, the bytes that tables which were read do not take up.
    """

    order: str
    big: bool
    size: int
    left: int

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


@dataclass(frozen=True)
class Page:
    """A directory, and what it says of pixels.

    Attributes:
        place: Its first byte.
        following: The first byte of the next one; 0 after the last.
        strips: How it stores its pixels.
    """

    place: int
    following: int
    strips: Strips


@dataclass(frozen=True)
class Tables:
    """What a file says of itself.

    Attributes:
        layout: How it stores its numbers.
        chain: The pages that follow one another.
        inner: The pages that pages point to.
        extents: What the header and the tables take up.
    """

    layout: Layout
    chain: list[Page]
    inner: list[Page]
    extents: Extents

    @property
    def pages(self) -> list[Strips]:
        """All pages, those of the chain first."""
        return [page.strips for page in (*self.chain, *self.inner)]


def read_tables(file: BinaryIO, size: int) -> Tables:
    """Read the tables of all pages of a file.

    Args:
        file: The file, or its bytes in memory.
        size: Its bytes.

    Raises:
        DataError: If a table is damaged, or tables are larger than the file.
    """
    file.seek(0)
    head = file.read(4)
    layout = Layout("<" if head[:2] == b"II" else ">", b"+" in head[2:], size, size)
    file.seek(8 if layout.big else 4)
    first = layout.number(file, 8 if layout.big else 4)
    tables = Tables(layout, [], [], [(0, 16 if layout.big else 8)])
    waiting, seen = [(first, True)], set[int]()
    while waiting:
        place, is_page = waiting.pop()
        if place in seen or len(seen) >= _MOST_PAGES:
            raise DataError("TIFF file is damaged: its pages form a circle")
        seen.add(place)
        file.seek(min(place, size))
        tags, following, extents = _directory(file, layout, is_page)
        tables.extents.extend(extents)
        # The next page is taken first: pages stand in their order.
        waiting += [(int(inner), False) for inner in _inner(tags)]
        if following:
            waiting.append((following, is_page))
        if is_page or _WIDTH in tags:
            pages = tables.chain if is_page else tables.inner
            pages.append(Page(place, following, _strips(tags)))
    return tables


def read_page(file: BinaryIO, layout: Layout, place: int) -> Page | None:
    """The directory at a place that nothing points to; None where there is none.

    Args:
        file: The file.
        layout: How it stores its numbers.
        place: Where a directory may begin.
    """
    file.seek(place)
    try:
        count = layout.number(file, 8 if layout.big else 2)
        if count > _MOST_TAGS:
            return None
        file.seek(place)
        tags, following, _ = _directory(file, layout, True)
        strips = _strips(tags)
    except DataError:
        return None
    return Page(place, following, strips)


def _inner(tags: Tags) -> list[int]:
    """Where the directories are that a page points to."""
    kinds = (_INNER, _EXIF, _GPS, _INTEROPERABILITY)
    return [int(place) for tag in kinds for place in tags.get(tag, ())]


def _directory(
    file: BinaryIO, layout: Layout, is_page: bool
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


def _outside(layout: Layout, kind: int, entry: bytes) -> Extents:
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
    file: BinaryIO, layout: Layout, kind: int, entry: bytes
) -> NDArray[np.unsignedinteger]:
    half = len(entry) // 2
    code = "Q" if layout.big else "I"
    (count,) = struct.unpack(f"{layout.order}{code}", entry[:half])
    dtype = np.dtype(f"{layout.order}{_TYPES[kind]}")
    data = entry[half:]
    if count * dtype.itemsize > half:
        (place,) = struct.unpack(f"{layout.order}{code}", data)
        file.seek(min(place, layout.size))
        layout.left -= count * dtype.itemsize
        if layout.left < 0:
            # Pages that share a large table would take memory for each of them.
            raise DataError("TIFF file is damaged: its tables lie over each other")
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
        first(_KIND, 0),
    )
