"""BMP files; rows are read only if the header agrees with the file length."""

from __future__ import annotations

import io
import struct
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import numpy as np

from cdstats.core.errors import DataError, counted
from cdstats.io.blocks import BLOCK_PIXELS, Block, OpenImage, check_band, expand, names
from cdstats.io.limits import check_row
from cdstats.io.png import unpack
from cdstats.io.sidecars import declared_nodata

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

    from cdstats.io.blocks import ImageFile

_OLD_HEADER: Final = 12
_HEADERS: Final = (40, 52, 56, 64, 108, 124)
_MASKS: Final = (0xFF0000, 0xFF00, 0xFF)
"""Bit masks of red, green and blue in 32-bit pixels; the other bits must be 0."""
_HEAD_BYTES: Final = 70
_MOST_PADDING: Final = 3


class _Header(NamedTuple):
    """Fields of a BMP header; the height is negative if rows go from top to bottom."""

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

    @property
    def entry(self) -> int:
        """Bytes per colour of the palette."""
        return 3 if self.header == _OLD_HEADER else 4

    @property
    def palette(self) -> slice:
        """Position of the palette, behind the header and the colour masks."""
        masks = 12 if self.masks and self.header == 40 else 0
        colours = (self.colours or 1 << self.bits) if self.bits <= 8 else 0
        start = 14 + self.header + masks
        return slice(start, start + colours * self.entry)

    @property
    def row_bytes(self) -> int:
        """Bytes per row, with padding."""
        return (self.width * self.bits + 31) // 32 * 4


def open_images(file: ImageFile) -> list[OpenImage]:
    """Open the image of a BMP file."""
    band = file.band
    with file.opened() as stream:
        header = _read_header(stream.read(_HEAD_BYTES))
        _check_length(header, stream.seek(0, io.SEEK_END))
        stream.seek(header.palette.start)
        table = stream.read(header.palette.stop - header.palette.start)
    width, height = header.width, abs(header.height)
    check_row(width)
    stored = np.frombuffer(table, np.uint8).reshape(-1, header.entry)
    palette = stored[:, 2::-1].tobytes()
    if band is not None:
        check_band(band, 1 if palette else 3)

    def part(start: int, stop: int) -> Iterator[Block]:
        down = max(BLOCK_PIXELS // width, 1)
        for top in range(start, stop, down):
            values = _read(file, header, top, min(top + down, stop))
            if palette:
                values = expand(values, palette)
            elif band:
                values = values[..., band - 1]
            yield Block(top, 0, values)

    nodata = declared_nodata(file.nodata, np.dtype(np.uint8), palette)
    image = OpenImage("", width, height, "BMP", lambda: part(0, height), nodata)
    colours = names(palette) if palette else None
    return [image._replace(palette=colours, part=part)]


def _read(file: ImageFile, header: _Header, top: int, bottom: int) -> NDArray[Any]:
    """Read rows as indices or RGB values."""
    first = abs(header.height) - bottom if header.height > 0 else top
    with file.opened() as stream:
        stream.seek(header.start + first * header.row_bytes)
        data = stream.read((bottom - top) * header.row_bytes)
    if len(data) < (bottom - top) * header.row_bytes:
        raise DataError("BMP file was changed while it was read")
    rows = np.frombuffer(data, np.uint8).reshape(bottom - top, -1)
    if header.bits < 8:
        rows = unpack(rows, header.width, header.bits)
    else:
        rows = np.ascontiguousarray(rows[:, : header.width * header.bits // 8])
        if header.bits > 8:
            pixels = rows.reshape(bottom - top, header.width, -1)
            rows = pixels[..., 2::-1]
    return rows[::-1] if header.height > 0 else rows


def _read_header(head: bytes) -> _Header:
    """Parse a header and check its fields against each other."""
    header = int.from_bytes(head[14:18], "little")
    if len(head) < (26 if header == _OLD_HEADER else 54):
        raise DataError("BMP file is cut short: it ends inside its header")
    size, start = struct.unpack_from("<I4xI", head, 2)
    if header == _OLD_HEADER:
        found = _Header(size, start, header, *struct.unpack_from("<4H", head, 18))
    else:
        facts = struct.unpack_from("<2i2HI12xI", head, 18)
        found = _Header(size, start, header, *facts)
        if found.compression == 3 and len(head) == _HEAD_BYTES:
            masks = struct.unpack_from(f"<{4 if header >= 56 else 3}I", head, 54)
            found = found._replace(masks=masks)
    if (
        header not in (_OLD_HEADER, *_HEADERS)
        or found.width <= 0
        or found.height == 0
        or found.planes != 1
        or (found.bits <= 8 and found.colours > 1 << found.bits)
        or found.start < found.palette.stop
    ):
        raise DataError("BMP file is damaged: its header contradicts itself")
    is_plain = found.compression == 0 and found.bits in (1, 4, 8, 24, 32)
    is_masked = found.compression == 3 and found.bits == 32
    if not (is_plain or (is_masked and found.masks in (_MASKS, (*_MASKS, 0)))):
        raise DataError(
            f"BMP file has {found.bits}-bit pixels with compression "
            f"{found.compression}; expected uncompressed ones without opacity. Save "
            "it as PNG"
        )
    return found


def _check_length(header: _Header, size: int) -> None:
    """Check that the pixel rows end at the end of the file."""
    needed = header.start + header.row_bytes * abs(header.height)
    # Some programs pad the file and include the padding in the size of the header.
    more = _MOST_PADDING if header.file_size == size else 0
    if size < needed:
        raise DataError(f"BMP file is cut short: {size:,} of {needed:,} bytes")
    if size > needed + more:
        raise DataError(
            "BMP file is damaged: it has "
            f"{counted(size - needed, 'byte')} after its pixels"
        )
