"""BMP files: rows of numbers, once their header and the length of the file agree."""

from __future__ import annotations

import io
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, BinaryIO, Final

import numpy as np

from cdstats.core.errors import DataError, counted
from cdstats.io.blocks import BLOCK_PIXELS, Block, OpenImage, check_band, expand, names
from cdstats.io.limits import check_memory, check_row
from cdstats.io.png import unpack
from cdstats.io.sidecars import declared_nodata

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

    from cdstats.io.blocks import ImageFile

_OLD_HEADER, _USUAL_HEADER, _LAST_HEADER = 12, 40, 124
_HEADERS: Final = (_OLD_HEADER, _USUAL_HEADER, 52, 56, 64, 108, _LAST_HEADER)
_BITS: Final = (1, 4, 8, 16, 24, 32)
_PROFILE: Final = (b"DEBM", b"KNIL")
"""What the fifth version says where a colour profile follows the pixels."""
_RUNS: Final = {1: 8, 2: 4}
"""Bits of a pixel in each compression by runs."""
_MASKS: Final = {3: 12, 6: 16}
"""Bytes that the masks of colours take after a header of 40 bytes."""
_USUAL_MASKS: Final = {16: (0x7C00, 0x3E0, 0x1F), 32: (0xFF0000, 0xFF00, 0xFF)}
_MOST_PADDING: Final = 3
_END_OF_ROW, _END_OF_RUNS, _SKIP = 0, 1, 2


@dataclass(frozen=True, slots=True)
class _Header:
    """What the header of a BMP file says.

    Attributes:
        masks: Bits of red, green and blue in a pixel of 16 or 32 bits.
        profile_end: Where a colour profile behind the pixels ends; 0 without one.
    """

    file_size: int
    start: int
    header: int
    width: int
    height: int
    planes: int
    bits: int
    compression: int = 0
    colours: int = 0
    masks: tuple[int, ...] = ()
    opacity: int = 0
    profile_end: int = 0

    @property
    def palette(self) -> slice:
        """Where the palette lies, behind the header and the masks of colours."""
        masks = _MASKS.get(self.compression, 0) * (self.header == _USUAL_HEADER)
        colours = (self.colours or 1 << self.bits) if self.bits <= 8 else 0
        start = 14 + self.header + masks
        return slice(start, start + colours * (3 if self.header == _OLD_HEADER else 4))

    @property
    def row_bytes(self) -> int:
        """Bytes of a row that is not packed."""
        return (self.width * self.bits + 31) // 32 * 4


def open_images(file: ImageFile) -> list[OpenImage]:
    """Open the image of a BMP file."""
    band = file.band
    with file.opened() as stream:
        header = _read_header(stream.read(14 + _LAST_HEADER))
        _check_length(header, stream.seek(0, io.SEEK_END))
        stream.seek(header.palette.start)
        table = stream.read(header.palette.stop - header.palette.start)
    width, height = header.width, abs(header.height)
    check_row(width)
    # Runs are unpacked, and opacity is compared, over the whole image.
    is_whole = header.compression in _RUNS
    stored = np.frombuffer(table, np.uint8)
    stored = stored.reshape(-1, 3 if header.header == _OLD_HEADER else 4)
    palette = stored[:, 2::-1].tobytes()
    if band is not None:
        check_band(band, 1 if palette else 3)

    def part(start: int, stop: int) -> Iterator[Block]:
        down = height if is_whole else max(BLOCK_PIXELS // width, 1)
        seen = set[int]()
        with file.opened() as stream:
            for top in range(start, stop, down):
                rows = _read(stream, header, top, min(top + down, stop))
                if header.opacity:
                    seen.update(np.unique(rows & header.opacity).tolist())
                if len(seen) > 1:
                    raise DataError(
                        "BMP file declares opacity, and its pixels differ in it; save "
                        "it as PNG"
                    )
                values = expand(rows, palette) if palette else _colours(rows, header)
                if band and not palette:
                    values = values[..., band - 1]
                yield Block(top, 0, values)

    nodata = declared_nodata(file.nodata, np.dtype(np.uint8), palette)
    image = OpenImage("", width, height, "BMP", lambda: part(0, height), nodata)
    return [
        image._replace(
            palette=names(palette) if palette else None,
            part=None if is_whole or header.opacity else part,
        )
    ]


def _read(stream: BinaryIO, header: _Header, top: int, bottom: int) -> NDArray[Any]:
    """Some rows of pixels: indices, numbers of 16 or 32 bits, or colours."""
    width, height, bits = header.width, abs(header.height), header.bits
    rows: NDArray[Any]
    if header.compression in _RUNS:
        stream.seek(header.start)
        check_memory(3 * width * height, "save it as PNG")
        pixels = _unpacked(stream.read(), bits, width, height)
        rows = np.frombuffer(pixels, np.uint8).reshape(-1, width)
    else:
        first = height - bottom if header.height > 0 else top
        stream.seek(header.start + first * header.row_bytes)
        data = stream.read((bottom - top) * header.row_bytes)
        if len(data) < (bottom - top) * header.row_bytes:
            raise DataError("BMP file was changed while it was read")
        rows = np.frombuffer(data, np.uint8).reshape(bottom - top, -1)
        if bits < 8:
            rows = unpack(rows, width, bits)
        else:
            rows = np.ascontiguousarray(rows[:, : width * bits // 8])
            if bits == 24:
                rows = rows.reshape(bottom - top, -1, 3)[..., ::-1]
            elif bits > 8:
                rows = rows.view(f"<u{bits // 8}")
    return rows[::-1] if header.height > 0 else rows


def _colours(numbers: NDArray[Any], header: _Header) -> NDArray[np.uint8]:
    """Red, green and blue of 8 bits, as GDAL widens those of fewer bits."""
    if header.bits == 24:
        return numbers
    found = np.empty((*numbers.shape, 3), np.uint8)
    for channel, mask in enumerate(header.masks):
        most = mask // (mask & -mask)
        levels = np.rint(np.arange(most + 1) * 255 / most).astype(np.uint8)
        found[..., channel] = levels[(numbers & mask) // (mask & -mask)]
    return found


def _read_header(head: bytes) -> _Header:
    """What a header says, if it does not contradict itself."""

    def number(at: int, size: int = 4, *, signed: bool = False) -> int:
        return int.from_bytes(head[at : at + size], "little", signed=signed)

    header = number(14)
    is_old = header == _OLD_HEADER
    if len(head) < (26 if is_old else 54):
        raise DataError("BMP file is cut short: it ends inside its header")
    start = (number(2), number(10), header)
    if is_old:
        found = _Header(
            *start, number(18, 2), number(20, 2), number(22, 2), number(24, 2)
        )
    else:
        sizes = (number(18, signed=True), number(22, signed=True))
        bits, compression = number(28, 2), number(30)
        opacity = profile_end = 0
        masks = _USUAL_MASKS.get(bits, ())
        if compression in _MASKS and len(head) >= 70:
            masks = (number(54), number(58), number(62))
            if header >= 56 or (header == _USUAL_HEADER and compression == 6):
                opacity = number(66)
        if header == _LAST_HEADER and head[70:74] in _PROFILE:
            profile_end = 14 + number(126) + number(130)
        facts = (number(26, 2), bits, compression, number(46))
        found = _Header(*start, *sizes, *facts, masks, opacity, profile_end)
    wrong = (
        header not in _HEADERS
        or found.width <= 0
        or found.height == 0
        or found.planes != 1
        or found.bits not in _BITS
        or found.compression not in (0, *_MASKS, *_RUNS)
        or _RUNS.get(found.compression, found.bits) != found.bits
        or (found.compression in _MASKS and found.bits not in _USUAL_MASKS)
        or (found.bits <= 8 and found.colours > 1 << found.bits)
        or found.start < found.palette.stop
    )
    if wrong:
        raise DataError("BMP file is damaged: its header contradicts itself")
    if found.bits in _USUAL_MASKS and not all(map(_is_level, found.masks)):
        bits_of = ", ".join(f"{mask:#x}" for mask in found.masks)
        raise DataError(
            f"BMP file stores its colours in the bits {bits_of} of a pixel; save it as "
            "PNG"
        )
    return found


def _is_level(mask: int) -> bool:
    """Whether a mask has from 1 to 8 bits, all beside each other."""
    return mask > 0 and (mask // (mask & -mask)) in [(1 << n) - 1 for n in range(1, 9)]


def _check_length(header: _Header, size: int) -> None:
    """Check that the rows, or the most that runs may take, end with the file."""
    rows = abs(header.height)
    needed = max(header.start + header.row_bytes * rows, header.profile_end)
    # Some programs fill up a file, and say so in its header.
    more = _MOST_PADDING if header.file_size == size else 0
    if header.compression in _RUNS:
        # Two bytes give a pixel at least, or end a row.
        needed = header.start
        more = (2 * _padded(header.width) + 2) * rows + 2 + _MOST_PADDING
    if size < needed:
        raise DataError(f"BMP file is cut short: {size:,} of {needed:,} bytes")
    if size > needed + more:
        raise DataError(
            "BMP file is damaged: it has "
            f"{counted(size - needed, 'byte')} after its pixels"
        )


def _padded(width: int) -> int:
    return -(-width // 4) * 4


def _unpacked(packed: bytes, bits: int, width: int, height: int) -> bytearray:
    """The indices of runs, which fill all rows exactly and end where the file does.

    ImageMagick fills its rows with zeros up to a multiple of four.
    """
    wrong = DataError("BMP file is damaged: its runs do not fill its rows")
    most = width * height
    of_byte = [bytes((n >> 4, n & 15) if bits == 4 else (n,)) for n in range(256)]
    pixels, row = bytearray(), bytearray()
    full = {width, _padded(width)}
    at = 0
    while at + 1 < len(packed) and len(row) <= max(full) and len(pixels) <= most:
        count, code = packed[at], packed[at + 1]
        at += 2
        if count:
            row += (of_byte[code] * count)[:count]
        elif code in (_END_OF_ROW, _END_OF_RUNS):
            # The last row may be ended by itself.
            if row or code == _END_OF_ROW:
                full &= set() if any(row[width:]) else {len(row)}
                pixels += row[:width]
                row.clear()
            if not full or (code == _END_OF_RUNS and len(pixels) != most):
                raise wrong
            if code == _END_OF_RUNS:
                if len(packed) - at > _MOST_PADDING:
                    raise DataError("BMP file is damaged: bytes follow its pixels")
                return pixels
        elif code == _SKIP:
            raise wrong
        else:
            length = (code * bits + 7) // 8
            found = b"".join(map(of_byte.__getitem__, packed[at : at + length]))
            row += found[:code]
            at += length + length % 2
    raise wrong
