"""Parser for the directories of a TIFF file."""

from __future__ import annotations

import struct
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, BinaryIO, Final

import numpy as np

from cdstats.core.errors import DataError
from cdstats.io.limits import check_stack

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Numbers = NDArray[np.unsignedinteger]
    Tags = dict[int, Numbers]

PLAIN, LZW, PACKBITS, LZMA, ZSTD = 1, 5, 32773, 34925, 50000
DEFLATE: Final = (8, 32946)
_MINISBLACK, _YCBCR = 1, 6
_REDUCED, _MASK = 1, 4
"""Bits of `NewSubfileType`."""
_SUBFILE, _WIDTH, _LENGTH, _BITS, _COMPRESSION = 254, 256, 257, 258, 259
_PHOTOMETRIC, _FILL_ORDER, _SAMPLES, _ROWS, _PLANAR = 262, 266, 277, 278, 284
_STRIPS, _STRIP_BYTES, _TILES, _TILE_BYTES = 273, 279, 324, 325
_DEPTH: Final = 32997
_TILE_WIDTH, _TILE_LENGTH, _COLORMAP, _SUBIFDS = 322, 323, 320, 330
_JPEG, _JPEG_BYTES, _EXIF, _GPS, _INTEROPERABILITY = 513, 514, 34665, 34853, 40965
_FORMAT, _PREDICTOR, _NODATA = 339, 317, 42113
_POINTERS: Final = (_SUBIFDS, _EXIF, _GPS, _INTEROPERABILITY)
_WANTED: Final = frozenset(
    (
        *(_SUBFILE, _WIDTH, _LENGTH, _BITS, _COMPRESSION, _PHOTOMETRIC, _FILL_ORDER),
        *(_SAMPLES, _ROWS, _PLANAR, _STRIPS, _STRIP_BYTES, _TILES, _TILE_BYTES),
        *(_DEPTH, _TILE_WIDTH, _TILE_LENGTH, _FORMAT, _PREDICTOR, _JPEG, _JPEG_BYTES),
        *_POINTERS,
    )
)
_TYPES: Final = {1: "u1", 3: "u2", 4: "u4", 16: "u8", 13: "u4", 18: "u8"}
_TYPE_BYTES: Final = dict(
    enumerate((0, 1, 1, 2, 4, 8, 1, 1, 2, 4, 8, 4, 8, 4, 0, 0, 8, 8, 8))
)
_TEXT: Final = 2
_MOST_TEXT: Final = 1 << 12


@dataclass(frozen=True)
class Page:
    """A directory that describes an image.

    Attributes:
        place: Offset of the directory.
        following: Offset of the next directory; 0 for the last.
        planar: Whether samples are stored in separate blocks.
        compression: TIFF code of the compression.
        photometric: TIFF code of the interpretation of samples.
        reversed: Whether bits are stored lowest first.
        offsets: Offset of each strip or tile; 0 if omitted (sparse files).
        nodata: Text of ``GDAL_NODATA``; None if missing.
        colormap: 16-bit palette: all reds, all greens, all blues.
        dtype: Pixel type if pixels can be read directly, one number each; None if GDAL
            must interpret them.
    """

    place: int
    following: int
    width: int
    length: int
    block_width: int
    block_length: int
    tiled: bool
    samples: int
    planar: bool
    bits: tuple[int, ...]
    compression: int
    photometric: int
    reversed: bool
    offsets: Numbers
    byte_counts: Numbers
    subfile: int
    nodata: str | None
    colormap: Numbers | None
    dtype: np.dtype[Any] | None

    @property
    def is_mask(self) -> bool:
        """Whether it is a validity mask of another page."""
        return self.subfile & _MASK == _MASK

    @property
    def is_image(self) -> bool:
        """Whether it is an image, not an overview or mask."""
        return not self.subfile & (_REDUCED | _MASK)

    @property
    def is_plain(self) -> bool:
        """Whether the bytes are the pixels; YCbCr may be subsampled."""
        return self.compression == PLAIN and self.photometric != _YCBCR

    @property
    def kind(self) -> str:
        """Name of its blocks: strip or tile."""
        return "tile" if self.tiled else "strip"

    @property
    def rows_at_once(self) -> int:
        """Rows decoded together; uncompressed strips can be read row by row."""
        return 1 if self.is_plain and not self.tiled else self.block_length

    @property
    def left_out(self) -> NDArray[np.bool_]:
        """Mask of omitted blocks."""
        left_out: NDArray[np.bool_] = (self.offsets == 0) & (self.byte_counts == 0)
        return left_out

    @property
    def row_bytes(self) -> int:
        """Bytes per row of a block."""
        together = 1 if self.planar else self.samples
        bits = sum(self.bits) if len(self.bits) == together else self.bits[0] * together
        return (self.block_width * bits + 7) // 8

    @property
    def across(self) -> int:
        """Number of blocks per row of blocks."""
        return -(-self.width // self.block_width)

    @property
    def down(self) -> int:
        """Number of rows of blocks."""
        return -(-self.length // self.block_length)

    @property
    def needed(self) -> int:
        """Number of blocks that the page size requires."""
        return (self.samples if self.planar else 1) * self.across * self.down

    def decoded_bytes(self) -> NDArray[np.int64]:
        """Uncompressed size of each block in bytes."""
        rows = np.full(self.needed, self.block_length, dtype=np.int64)
        if not self.tiled:
            last = self.length - (self.down - 1) * self.block_length
            rows[self.down - 1 :: self.down] = last
        return rows * self.row_bytes


@dataclass
class Tables:
    """All directories of a TIFF file.

    Attributes:
        chain: The linked list of pages.
        inner: Pages that other pages refer to, such as pyramid levels.
        extents: Offset and length of the header, of each directory, and of values
            stored outside of it.
    """

    chain: list[Page] = field(default_factory=list)
    inner: list[Page] = field(default_factory=list)
    extents: list[tuple[int, int]] = field(default_factory=list)

    @property
    def pages(self) -> list[Page]:
        """All pages, first those of the chain."""
        return [*self.chain, *self.inner]


def read_tables(file: BinaryIO, size: int) -> Tables:
    """Read the directories of all pages, each once."""
    reader = _Reader(file, size)
    tables = Tables(extents=reader.extents)
    waiting, seen = [(reader.first, True)], set[int]()
    while waiting:
        place, in_chain = waiting.pop()
        # Pyramid levels may refer to each other as well.
        if place in seen and not in_chain:
            continue
        if place in seen:
            raise DataError("TIFF file is damaged: its pages form a circle")
        seen.add(place)
        check_stack(len(seen))
        tags, nodata, following = reader.directory(place, in_chain)
        waiting += [(int(at), False) for tag in _POINTERS for at in tags.get(tag, ())]
        if following:
            waiting.append((following, in_chain))
        if in_chain or _WIDTH in tags:
            pages = tables.chain if in_chain else tables.inner
            pages.append(_page(place, following, tags, nodata, reader.order))
    return tables


class _Reader:
    """Reads directories, limiting the total to the file size."""

    def __init__(self, file: BinaryIO, size: int) -> None:
        self._file, self._size, self._left = file, size, size
        self._palettes: dict[tuple[int, int], bytes] = {}
        head = self._read(0, 4)
        self.order = "<" if head[:2] == b"II" else ">"
        big = b"+" in head[2:]
        self._count, self._offset, self._half = ("Q", "Q", 8) if big else ("H", "I", 4)
        (self.first,) = self._unpack(self._offset, self._half)
        self._start = struct.calcsize(f"={self._count}")
        self.extents = [(0, 2 * self._half)]

    def directory(self, place: int, is_page: bool) -> tuple[Tags, str | None, int]:
        """Tags and nodata text of a directory, and the offset of the next one."""
        (count,) = self._unpack(self._count, place)
        entry = struct.Struct(f"{self.order}HH{self._offset}{self._half}s")
        start = place + self._start
        table = self._read(start, count * entry.size)
        (following,) = self._unpack(self._offset, start + len(table))
        self.extents.append((place, self._start + len(table) + self._half))
        tags: Tags = {}
        nodata, last = None, 0
        for tag, kind, number, value in entry.iter_unpack(table):
            # Tags that are not used may be unsorted or repeated.
            if tag in _WANTED and (tag in tags or tag < last <= _TILE_BYTES):
                raise DataError(
                    f"TIFF file is damaged: tag {tag} is repeated or misplaced"
                )
            # Tag 0 is valid only in GPS directories.
            if tag == 0 and is_page:
                raise DataError("TIFF file is damaged: a page has a tag 0")
            last = tag if tag in _WANTED else last
            at, size = None, number * _TYPE_BYTES.get(kind, 0)
            if size > self._half:
                at = int.from_bytes(value, "little" if self.order == "<" else "big")
                if at + size > self._size:
                    raise DataError("TIFF file is cut short: a table exceeds it")
                self.extents.append((at, size))
            if tag == _NODATA and kind == _TEXT and size <= _MOST_TEXT:
                data = self._values(tag, at, size, value)
                nodata = data.partition(b"\0")[0].decode("latin-1")
            elif (tag in _WANTED or tag == _COLORMAP) and kind in _TYPES:
                if number == 0:
                    raise DataError("TIFF file is damaged: one of its tags is empty")
                dtype = np.dtype(f"{self.order}{_TYPES[kind]}")
                data = self._values(tag, at, size, value)
                tags[tag] = np.frombuffer(data, dtype, number)
        if _JPEG in tags and _JPEG_BYTES in tags:
            where, size = int(tags[_JPEG][0]), int(tags[_JPEG_BYTES][0])
            self.extents.append((min(where, self._size), min(size, self._size)))
        return tags, nodata, following

    def _values(self, tag: int, at: int | None, size: int, value: bytes) -> bytes:
        """The values of a tag, in its entry or at the offset in it."""
        if at is None:
            return value
        known = self._palettes.get((at, size))
        if known is not None:
            return known
        self._left -= size
        if self._left < 0:
            # A large table shared by many pages would need memory for each.
            raise DataError("TIFF file is damaged: its tables overlap")
        data = self._read(at, size)
        if tag == _COLORMAP:
            self._palettes[at, size] = data
        return data

    def _unpack(self, code: str, place: int) -> tuple[int, ...]:
        code = self.order + code
        return struct.unpack(code, self._read(place, struct.calcsize(code)))

    def _read(self, place: int, size: int) -> bytes:
        # Checked first, because reading allocates the requested size.
        if place + size <= self._size:
            self._file.seek(place)
            data = self._file.read(size)
            if len(data) == size:
                return data
        raise DataError("TIFF file is cut short: a table exceeds it")


def _page(
    place: int, following: int, tags: Tags, nodata: str | None, order: str
) -> Page:
    """Interpret the tags of a directory as a page."""
    if _WIDTH not in tags or _LENGTH not in tags:
        raise DataError("TIFF file is damaged: a page has no size")
    depth = int(tags[_DEPTH][0]) if _DEPTH in tags else 1
    if depth > 1:
        raise DataError(
            f"TIFF file holds a volume of {depth:,} images; save them separately"
        )
    tiled = _TILES in tags
    if tiled and not (_TILE_WIDTH in tags and _TILE_LENGTH in tags):
        raise DataError("TIFF file is damaged: its tiles have no size")
    offsets = tags.get(_TILES if tiled else _STRIPS)
    byte_counts = tags.get(_TILE_BYTES if tiled else _STRIP_BYTES)
    if offsets is None or byte_counts is None:
        raise DataError(
            "TIFF file is damaged: a page lacks the positions of its pixels"
        )

    def first(tag: int, default: int) -> int:
        return int(tags[tag][0]) if tag in tags else default

    width, length = first(_WIDTH, 0), first(_LENGTH, 0)
    return Page(
        place,
        following,
        width,
        length,
        first(_TILE_WIDTH, 0) if tiled else width,
        first(_TILE_LENGTH, 0) if tiled else min(first(_ROWS, length), length),
        tiled,
        first(_SAMPLES, 1),
        first(_PLANAR, 1) == 2,
        tuple(int(bits) for bits in tags.get(_BITS, (1,))),
        first(_COMPRESSION, 1),
        first(_PHOTOMETRIC, 0),
        first(_FILL_ORDER, 1) == 2,
        offsets,
        byte_counts,
        first(_SUBFILE, 0),
        nodata,
        tags.get(_COLORMAP),
        _dtype(tags, order),
    )


def _dtype(tags: Tags, order: str) -> np.dtype[Any] | None:
    """The pixel type if pixels can be read directly; otherwise None."""
    bits, kind = int(tags[_BITS][0]) if _BITS in tags else 1, tags.get(_FORMAT, (1,))[0]
    expected = {_PHOTOMETRIC: _MINISBLACK, _FILL_ORDER: 1, _SAMPLES: 1, _PREDICTOR: 1}
    usual = all(
        tags[tag].tolist() == [value] for tag, value in expected.items() if tag in tags
    )
    known = {1: (8, 16, 32, 64), 2: (8, 16, 32, 64), 3: (32, 64)}.get(int(kind), ())
    if not usual or _PHOTOMETRIC not in tags or bits not in known or _COLORMAP in tags:
        return None
    return np.dtype(f"{order}{'_uif'[int(kind)]}{bits // 8}")
