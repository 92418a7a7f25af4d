"""BMP files: GDAL decodes them, and this checks that header, rows and file agree."""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np

from cdstats.core.errors import DataError
from cdstats.core.messages import counted
from cdstats.io.limits import check_memory, check_pixels
from cdstats.io.raster import Known, Source, open_raster

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

    from cdstats.io.blocks import ImageFile, OpenImage

_OLD_HEADER: Final = 12
_HEADERS: Final = (_OLD_HEADER, 40, 52, 56, 64, 108, 124)
_BITS: Final = (1, 4, 8, 16, 24, 32)
_USUAL_HEADER: Final = 40
_NEW_HEADERS: Final = (108, 124)
"""Headers that GDAL does not read: the fourth and the fifth version."""
_FIRST_BYTES: Final = 54
_MASK_BYTES: Final = 16
_HEAD_BYTES: Final = 14 + 124
_PROFILE: Final = (b"DEBM", b"KNIL")
"""What the fifth version says where a colour profile follows the pixels."""
_RUNS: Final = {1: 8, 2: 4}
"""Bits of a pixel in each compression by runs."""
_MASKS: Final = {3: 12, 6: 16}
"""Bytes that the masks of colours take after a header of 40 bytes."""
_UNCOMPRESSED: Final = (0, *_MASKS)
_BGRX: Final = (0xFF0000, 0xFF00, 0xFF)
"""Masks of red, green and blue in the order in which GDAL reads pixels of 32 bits."""
_BYTES: Final = {0xFF << 8 * place: place for place in range(4)}
_WAY_OUT: Final = "save it as PNG"
_MOST_PADDING: Final = 3
_END_OF_ROW, _END_OF_RUNS, _SKIP = 0, 1, 2


@dataclass(frozen=True, slots=True)
class _Header:
    """What the header of a BMP file says.

    Attributes:
        masks: Bits of red, green and blue in a pixel; none where they are the usual
            ones.
        opacity: Bits of opacity in a pixel.
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
    def tables(self) -> int:
        """Bytes before the pixels: headers, masks of colours and the palette."""
        colours = 0
        if self.bits <= 8:
            colours = self.colours or 1 << self.bits
        masks = 0
        if self.header == _USUAL_HEADER:
            masks = _MASKS.get(self.compression, 0)
        size = 3 if self.header == _OLD_HEADER else 4
        return 14 + self.header + masks + size * colours

    @property
    def rows(self) -> int:
        """Bytes of rows that are not packed."""
        return (self.width * self.bits + 31) // 32 * 4 * abs(self.height)


def open_images(file: ImageFile) -> list[OpenImage]:
    """Open the image of a BMP file."""
    path, data = file.path, file.data
    size = path.stat().st_size if data is None else len(data)
    with path.open("rb") as stream:
        head = data[:_HEAD_BYTES] if data is not None else stream.read(_HEAD_BYTES)
    header = _read_header(head)
    _check_header(header)
    if header.compression in _RUNS:
        check_pixels(header.width, abs(header.height), file.max_pixels)
        _check_runs(header, size, path, data)
    else:
        _check_length(header, size)
    if header.opacity or header.header in _NEW_HEADERS or _is_reordered(header):
        check_memory(2 * size, _WAY_OUT)
        data = _as_usual(header, path.read_bytes() if data is None else data)
    known = Known(file.band, nodata=file.nodata)
    return [open_raster(Source(str(path), "BMP", data), known)]


def _is_reordered(header: _Header) -> bool:
    """Whether GDAL, which ignores the masks of 32 bits, would mix colours up."""
    return header.bits == 32 and header.masks not in ((), _BGRX)


def _as_usual(header: _Header, data: bytes) -> bytes:
    """The same image with the header and the order of colours that GDAL reads."""
    pixels = data[header.start :]
    if header.opacity:
        _check_opacity(header, pixels)
    compression, masks = header.compression, b""
    if _is_reordered(header):
        pixels = _reordered(header, pixels)
    elif header.masks and header.bits == 16:
        masks = struct.pack("<3I", *header.masks)
    if header.compression in _MASKS:
        compression = 3 if masks else 0
    tables = data[14 + header.header : header.tables] if header.bits <= 8 else b""
    start = 14 + _USUAL_HEADER + len(masks) + len(tables)
    info = struct.pack(
        "<IiiHHIIiiII",
        *(_USUAL_HEADER, header.width, header.height, 1, header.bits, compression),
        *(len(pixels), 0, 0, header.colours, 0),
    )
    head = struct.pack("<2sIII", b"BM", start + len(pixels), 0, start)
    return b"".join((head, info, masks, tables, pixels))


def _stored(header: _Header, pixels: bytes) -> NDArray[np.unsignedinteger]:
    """Pixels of 16 or 32 bits as numbers."""
    kind = "<u2" if header.bits == 16 else "<u4"
    rows = np.frombuffer(pixels, np.uint8, header.rows)
    rows = rows.reshape(abs(header.height), -1)[:, : header.width * header.bits // 8]
    return np.ascontiguousarray(rows).view(kind)


def _check_opacity(header: _Header, pixels: bytes) -> None:
    """Refuse pixels of different opacity, which GDAL does not read."""
    opacity = _stored(header, pixels) & header.opacity
    if (opacity != opacity.flat[0]).any():
        raise DataError(
            "BMP file declares opacity, and its pixels differ in it; " + _WAY_OUT
        )


def _reordered(header: _Header, pixels: bytes) -> bytes:
    """Pixels of 32 bits in the order blue, green, red."""
    if not set(header.masks) <= _BYTES.keys():
        bits = ", ".join(f"{mask:#x}" for mask in header.masks)
        raise DataError(
            f"BMP file stores its colours in the bits {bits} of a pixel; {_WAY_OUT}"
        )
    order = [_BYTES[mask] for mask in reversed(header.masks)]
    stored = np.frombuffer(pixels, np.uint8, header.rows).reshape(-1, 4)
    usual = np.zeros_like(stored)
    usual[:, :3] = stored[:, order]
    return usual.tobytes()


def _read_header(head: bytes) -> _Header:
    if len(head) < 26:
        raise DataError("BMP file is cut short: it ends inside its header")

    def number(at: int, size: int, *, signed: bool = False) -> int:
        return int.from_bytes(head[at : at + size], "little", signed=signed)

    file_size, start, header = number(2, 4), number(10, 4), number(14, 4)
    if header == _OLD_HEADER:
        sizes = (number(18, 2), number(20, 2), number(22, 2), number(24, 2))
        return _Header(file_size, start, header, *sizes)
    if len(head) < _FIRST_BYTES:
        raise DataError("BMP file is cut short: it ends inside its header")
    sizes = (
        number(18, 4, signed=True),
        number(22, 4, signed=True),
        number(26, 2),
        number(28, 2),
    )
    compression = number(30, 4)
    masks: tuple[int, ...] = ()
    opacity = profile_end = 0
    if compression in _MASKS and len(head) >= _FIRST_BYTES + _MASK_BYTES:
        masks = (number(54, 4), number(58, 4), number(62, 4))
        if header >= 56 or (header == _USUAL_HEADER and compression == 6):
            opacity = number(66, 4)
    if header == _NEW_HEADERS[1] and head[70:74] in _PROFILE:
        profile_end = 14 + number(126, 4) + number(130, 4)
    return _Header(
        *(file_size, start, header, *sizes, compression, number(46, 4)),
        *(masks, opacity, profile_end),
    )


def _check_header(header: _Header) -> None:
    """Check what a header says by itself."""
    wrong = (
        header.header not in _HEADERS
        or header.width <= 0
        or header.height == 0
        or header.planes != 1
        or header.bits not in _BITS
        or header.compression not in (*_UNCOMPRESSED, *_RUNS)
        or _RUNS.get(header.compression, header.bits) != header.bits
        or (header.compression in _MASKS and header.bits < 16)
        or (header.bits <= 8 and header.colours > 1 << header.bits)
        or header.start < header.tables
    )
    if wrong:
        raise DataError("BMP file is damaged: its header contradicts itself")


def _check_length(header: _Header, size: int) -> None:
    """Check that the rows fill the file."""
    needed = max(header.start + header.rows, header.profile_end)
    if size < needed:
        raise DataError(f"BMP file is cut short: {size:,} of {needed:,} bytes")
    # Some programs fill up a file, and say so in its header.
    if size > needed + (_MOST_PADDING if header.file_size == size else 0):
        raise DataError(
            "BMP file is damaged: it has "
            f"{counted(size - needed, 'byte')} after its pixels"
        )


def _check_runs(header: _Header, size: int, path: Path, data: bytes | None) -> None:
    """Check that runs give every pixel of every row, and end where the file does."""
    height = abs(header.height)
    # Two bytes give a pixel at least, or end a row.
    longest = (2 * header.width + 2) * height + 2
    if size > header.start + longest + _MOST_PADDING:
        raise DataError("BMP file is damaged: bytes follow its pixels")
    if data is None:
        check_memory(size, "save it as PNG")
        data = path.read_bytes()
    used = run_bytes(
        memoryview(data)[header.start :], header.bits, header.width, height
    )
    if used is None:
        raise DataError("BMP file is damaged: its runs do not fill its rows")
    if not 0 <= len(data) - header.start - used <= _MOST_PADDING:
        raise DataError("BMP file is damaged: bytes follow its pixels")


def run_bytes(
    packed: bytes | memoryview, bits: int, width: int, height: int
) -> int | None:
    """Bytes that runs take to fill all rows; None where they do not exactly.

    Example:
        >>> run_bytes(bytes([3, 7, 0, 0, 0, 3, 1, 2, 3, 0, 0, 1]), 8, 3, 2)
        12
    """
    filled = rows = at = 0
    while at + 1 < len(packed) and filled <= width:
        count, code = packed[at], packed[at + 1]
        at += 2
        if count:
            filled += count
        elif code == _END_OF_ROW:
            if filled != width or rows == height:
                return None
            filled, rows = 0, rows + 1
        elif code == _END_OF_RUNS:
            # The last row may be ended by itself.
            last = filled == width and rows == height - 1
            return at if last or (not filled and rows == height) else None
        elif code == _SKIP:
            return None
        else:
            filled += code
            length = (code * bits + 7) // 8
            at += length + length % 2
    return None
