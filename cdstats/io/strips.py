"""Whether the strips or tiles of a TIFF page hold the pixels that it declares."""

from __future__ import annotations

import lzma
import math
import zlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, BinaryIO, Final

import numpy as np

from cdstats.core.errors import DataError
from cdstats.core.messages import counted
from cdstats.io.gdal import holds_more
from cdstats.io.limits import check_memory
from cdstats.io.unpacking import lzw_bytes, packbits_bytes

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

_PLAIN, _LZW, _PACKBITS, _LZMA, _ZSTD = 1, 5, 32773, 34925, 50000
_DEFLATE: Final = (8, 32946)
_YCBCR: Final = 6
_SMALLER, _VALID = 1, 4
"""Kinds of a page: a smaller copy of another, and which pixels of it are valid."""
_REVERSED: Final = bytes(int(f"{byte:08b}"[::-1], 2) for byte in range(256))
_CHUNK: Final = 1 << 20
_MOST_TRIED: Final = 1 << 28
"""Bytes of a strip up to which it is unpacked at once to see whether they fit."""
_COPIES: Final = 3
"""Of a row that is decoded at once: GDAL's own, what it gives, and what is counted."""
_MOST_SAMPLES: Final = 1 << 12
_MOST_BYTES: Final = 1 << 62
MOST_PACKED: Final = 1 << 22
"""Bytes of a strip up to which it is read to see whether its pixels fit."""


@dataclass(frozen=True)
class Strips:
    """How a page stores its pixels.

    Attributes:
        width: Pixels in a row.
        length: Rows.
        block_width: Columns of a strip or tile.
        block_length: Rows of a strip or tile.
        tiled: Whether it is stored in tiles, all of full size.
        samples: Numbers of a pixel.
        planar: Whether each sample has strips of its own.
        bits: Bits of each sample.
        packing: The compression, by its number.
        meaning: What a sample is, by its number.
        reversed: Whether the first bit of a byte is its lowest.
        places: First byte of each strip or tile; 0 where it is left out.
        lengths: Bytes of each.
        kind: What it is beside other pages, as bits: smaller, one of several, a mask.
    """

    width: int
    length: int
    block_width: int
    block_length: int
    tiled: bool
    samples: int
    planar: bool
    bits: tuple[int, ...]
    packing: int
    meaning: int
    reversed: bool
    places: NDArray[np.unsignedinteger]
    lengths: NDArray[np.unsignedinteger]
    kind: int

    @property
    def is_mask(self) -> bool:
        """Whether it tells which pixels of another page are valid."""
        return self.kind & _VALID == _VALID

    @property
    def is_image(self) -> bool:
        """Whether it is an image of its own, no overview and no mask."""
        return not self.kind & (_SMALLER | _VALID)

    @property
    def is_plain(self) -> bool:
        """Whether its bytes are its pixels."""
        # Colour differences may be stored for groups of pixels.
        return self.packing == _PLAIN and self.meaning != _YCBCR

    @property
    def rows_at_once(self) -> int:
        """Rows that are unpacked together: what is plain can be read by rows."""
        return 1 if self.is_plain and not self.tiled else self.block_length

    @property
    def left_out(self) -> NDArray[np.bool_]:
        """Which strips or tiles are left out."""
        left_out: NDArray[np.bool_] = (self.places == 0) & (self.lengths == 0)
        return left_out

    @property
    def row_bytes(self) -> int:
        """Bytes of a row of a strip or tile."""
        together = 1 if self.planar else self.samples
        bits = sum(self.bits) if len(self.bits) == together else self.bits[0] * together
        return (self.block_width * bits + 7) // 8

    @property
    def down(self) -> int:
        """Strips or tiles below each other."""
        return math.ceil(self.length / self.block_length)

    @property
    def needed(self) -> int:
        """Strips or tiles that a page of its size has."""
        planes = self.samples if self.planar else 1
        return planes * math.ceil(self.width / self.block_width) * self.down

    def unpacked(self) -> NDArray[np.int64]:
        """Bytes that each strip or tile unpacks to."""
        rows = np.full(self.needed, self.block_length, dtype=np.int64)
        if not self.tiled:
            last = self.length - (self.down - 1) * self.block_length
            rows[self.down - 1 :: self.down] = last
        return rows * self.row_bytes


def check_strips(page: Strips, size: int) -> None:
    """Check that every strip or tile of a page is there and lies inside the file.

    Args:
        page: What its tables say.
        size: Bytes of the file.

    Raises:
        DataError: If one is missing or lies outside, or a page is beyond all measure.
    """
    if 0 in (page.width, page.length, page.block_width, page.block_length):
        raise DataError("TIFF file is damaged: a page has no pixels")
    if not page.samples or page.bits[0] == 0:
        raise DataError("TIFF file is damaged: its pixels hold nothing")
    if page.samples > _MOST_SAMPLES:
        # GDAL takes seconds to open a file of as many bands as a number can tell.
        raise DataError(
            f"TIFF file is damaged: it declares {counted(page.samples, 'band')}"
        )
    if page.row_bytes * max(page.block_length, page.length) >= _MOST_BYTES:
        raise DataError(
            "TIFF file is damaged: it declares more bytes than there can be"
        )
    kind = "tiles" if page.tiled else "strips"
    if page.places.size != page.needed:
        raise DataError(
            f"TIFF file is damaged: it holds {page.places.size:,} of {page.needed:,} "
            f"{kind}"
        )
    if page.lengths.size != page.needed:
        raise DataError(
            f"TIFF file is damaged: it tells the length of {page.lengths.size:,} of "
            f"{page.needed:,} {kind}"
        )
    half = int(((page.places == 0) ^ (page.lengths == 0)).sum())
    if half:
        raise DataError(
            f"TIFF file is damaged: {half:,} {kind} have no place or length"
        )
    ends = page.places.astype(np.float64) + page.lengths
    if (ends > size).any():
        raise DataError("TIFF file is cut short: pixels lie beyond its end")
    # A single strip is read row by row.
    if page.needed > 1 or page.tiled:
        check_memory(page.row_bytes * page.block_length, "save it in smaller tiles")
    else:
        check_memory(
            page.row_bytes * _COPIES, "its rows are too long: save it in tiles"
        )


Strip = tuple[int, ...]
"""Place and bytes of a strip, and how it is packed."""


def check_lengths(
    file: BinaryIO, page: Strips, most: int, unpacked: set[Strip]
) -> None:
    """Check that the strips or tiles of a page hold its pixels, and no more.

    Args:
        file: The file; strips are read from it.
        page: What its tables say, checked before.
        most: Pixels above which nothing is unpacked.
        unpacked: Strips that were unpacked for other pages; this page adds its own.

    Raises:
        DataError: If one is of a wrong length.
    """
    kind = "tiles" if page.tiled else "strips"
    wrong = _wrong_lengths(file, page) & ~page.left_out
    if wrong.any():
        raise DataError(
            f"TIFF file is damaged: {int(wrong.sum()):,} {kind} are not as long as "
            "their pixels"
        )
    if page.width * page.length <= most:
        _check_unpacked(file, page, unpacked)


def _wrong_lengths(file: BinaryIO, page: Strips) -> NDArray[np.bool_]:
    """Which strips or tiles of a plain page are not as long as their pixels.

    GDAL fills a last strip that nobody wrote, or of zeros alone, as if it had all rows.
    """
    if not page.is_plain:
        return np.zeros(page.needed, dtype=np.bool_)
    wrong: NDArray[np.bool_] = page.lengths.astype(np.int64) != page.unpacked()
    if page.tiled:
        return wrong
    whole = page.row_bytes * page.block_length
    for last in range(page.down - 1, page.needed, page.down):
        if wrong[last] and page.lengths[last] == whole:
            wrong[last] = not _is_filled(file, page, int(page.places[last]), whole)
    return wrong


def _is_filled(file: BinaryIO, page: Strips, place: int, length: int) -> bool:
    """Whether bytes of a page are one pixel over and over, as GDAL fills strips."""
    if length > MOST_PACKED:
        return False
    file.seek(place)
    data = file.read(length)
    pixel = max(page.row_bytes // page.block_width, 1)
    return data == data[:pixel] * (length // pixel)


def _check_unpacked(file: BinaryIO, page: Strips, unpacked: set[Strip]) -> None:
    """Unpack the shortest strip: it must end where the size of the page says.

    A wrong width or depth shows in every strip. A decoder would stop when it has enough
    and never see that more follows.
    """
    left_out = page.left_out
    if left_out.all():
        return
    lengths = np.where(left_out, np.iinfo(np.int64).max, page.lengths)
    which = int(lengths.argmin())
    place, length, wanted = (
        int(numbers[which]) for numbers in (page.places, lengths, page.unpacked())
    )
    strip = (place, length, wanted, page.packing, page.reversed)
    if length > MOST_PACKED or strip in unpacked:
        return
    unpacked.add(strip)
    file.seek(place)
    packed = file.read(length)
    if page.reversed:
        packed = packed.translate(_REVERSED)
    found = _unpacked_bytes(page.packing, packed, wanted)
    if found is not None and found != wanted:
        raise DataError(
            f"TIFF file is damaged: a {'tile' if page.tiled else 'strip'} holds "
            f"{'more' if found > wanted else 'less'} than its pixels"
        )


def _unpacked_bytes(packing: int, packed: bytes, wanted: int) -> int | None:
    """Bytes that a strip unpacks to, counted to one more than wanted.

    Returns:
        None for a compression whose end is not known here.
    """
    if packing == _LZW:
        return lzw_bytes(packed, wanted + 1)
    if packing == _PACKBITS:
        return packbits_bytes(packed, wanted + 1)
    if packing == _ZSTD and wanted <= _MOST_TRIED:
        return wanted + holds_more(packing, packed, wanted)
    return _lzma_bytes(packed, wanted + 1) if packing == _LZMA else None


def _lzma_bytes(packed: bytes, most: int) -> int:
    """Bytes that LZMA data unpacks to, counted to ``most``, piece by piece."""
    unpacker, total = lzma.LZMADecompressor(), 0
    try:
        while total < most and not unpacker.eof:
            part = unpacker.decompress(packed, min(_CHUNK, most - total))
            if not part and unpacker.needs_input:
                break
            packed, total = b"", total + len(part)
    except lzma.LZMAError:
        return 0
    return total


def check_sums(file: BinaryIO, page: Strips, start: int, stop: int) -> None:
    """Unpack the strips or tiles of some rows if they carry a check sum.

    GDAL stops when it has as many pixels as it needs, before the sum that ends a strip.

    Args:
        file: The file.
        page: What its tables say, checked before.
        start: First row.
        stop: The row after the last one.

    Raises:
        DataError: If a sum is wrong or a strip is longer or shorter than its pixels.
    """
    if page.packing not in _DEFLATE:
        return
    if not page.places.size == page.lengths.size == page.needed:
        raise DataError("TIFF file has changed while it was read")
    across = math.ceil(page.width / page.block_width)
    top, bottom = start // page.block_length, math.ceil(stop / page.block_length)
    planes = np.arange(page.needed).reshape(-1, page.down, across)
    wanted = page.unpacked()
    for block in planes[:, top:bottom].ravel().tolist():
        if not page.lengths[block]:
            continue
        file.seek(int(page.places[block]))
        packed = _read_packed(file, int(page.lengths[block]), page.reversed)
        if not _sum_holds(packed, int(wanted[block])):
            kind = "tile" if page.tiled else "strip"
            raise DataError(
                f"TIFF file is damaged: the check sum of {kind} {block:,} does not hold"
            )


def _read_packed(file: BinaryIO, length: int, is_reversed: bool) -> Iterator[bytes]:
    """The bytes of a strip, part by part."""
    while part := file.read(min(length, _CHUNK)):
        length -= len(part)
        yield part.translate(_REVERSED) if is_reversed else part


def _sum_holds(packed: Iterator[bytes], wanted: int) -> bool:
    """Whether bytes unpack to as many as wanted, with the check sum that ends them."""
    unpacker, total, waiting = zlib.decompressobj(), 0, b""
    try:
        while not unpacker.eof and total <= wanted:
            waiting = waiting or next(packed, b"")
            part = unpacker.decompress(waiting, _CHUNK)
            if not (part or waiting):
                return False
            waiting, total = unpacker.unconsumed_tail, total + len(part)
    except zlib.error:
        return False
    return total == wanted
