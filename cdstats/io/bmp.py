"""BMP files: GDAL decodes them, and this checks that header, rows and file agree."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from cdstats.core.errors import DataError
from cdstats.core.messages import counted
from cdstats.io.limits import check_memory, check_pixels
from cdstats.io.raster import Known, Source, open_raster

if TYPE_CHECKING:
    from pathlib import Path

    from cdstats.io.blocks import ImageFile, OpenImage

_OLD_HEADER: Final = 12
_HEADERS: Final = (_OLD_HEADER, 40, 52, 56, 64, 108, 124)
_BITS: Final = (1, 4, 8, 16, 24, 32)
_HEAD_BYTES: Final = 54
_RUNS: Final = {1: 8, 2: 4}
"""Bits of a pixel in each compression by runs."""
_MASKS: Final = {3: 12, 6: 16}
"""Bytes that the masks of colours take after a header of 40 bytes."""
_UNCOMPRESSED: Final = (0, *_MASKS)
_MOST_PADDING: Final = 3
_END_OF_ROW, _END_OF_RUNS, _SKIP = 0, 1, 2


@dataclass(frozen=True, slots=True)
class _Header:
    """What the header of a BMP file says."""

    file_size: int
    start: int
    header: int
    width: int
    height: int
    planes: int
    bits: int
    compression: int = 0
    colours: int = 0

    @property
    def tables(self) -> int:
        """Bytes before the pixels: headers, masks of colours and the palette."""
        colours = 0
        if self.bits <= 8:
            colours = self.colours or 1 << self.bits
        masks = _MASKS.get(self.compression, 0) if self.header == 40 else 0
        size = 3 if self.header == _OLD_HEADER else 4
        return 14 + self.header + masks + size * colours

    @property
    def rows(self) -> int:
        """Bytes of rows that are not packed."""
        return (self.width * self.bits + 31) // 32 * 4 * abs(self.height)


def open_images(file: ImageFile) -> list[OpenImage]:
    """Open the image of a BMP file.

    Raises:
        DataError: If the file is damaged, cut short or cannot be decoded, or declares
            too many pixels.
    """
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
    known = Known(file.band, nodata=file.nodata)
    return [open_raster(Source(str(path), "BMP", data), known)]


def _read_header(head: bytes) -> _Header:
    if len(head) < 26:
        raise DataError("BMP file is cut short: it ends inside its header")

    def number(at: int, size: int, *, signed: bool = False) -> int:
        return int.from_bytes(head[at : at + size], "little", signed=signed)

    file_size, start, header = number(2, 4), number(10, 4), number(14, 4)
    if header == _OLD_HEADER:
        sizes = (number(18, 2), number(20, 2), number(22, 2), number(24, 2))
        return _Header(file_size, start, header, *sizes)
    if len(head) < _HEAD_BYTES:
        raise DataError("BMP file is cut short: it ends inside its header")
    sizes = (
        number(18, 4, signed=True),
        number(22, 4, signed=True),
        number(26, 2),
        number(28, 2),
    )
    return _Header(file_size, start, header, *sizes, number(30, 4), number(46, 4))


def _check_header(header: _Header) -> None:
    """Check what a header says by itself.

    Raises:
        DataError: If it contradicts itself.
    """
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
    """Check that the rows fill the file.

    Raises:
        DataError: If it is longer or shorter.
    """
    needed = header.start + header.rows
    if size < needed:
        raise DataError(f"BMP file is cut short: {size:,} of {needed:,} bytes")
    # Some programs fill up a file, and say so in its header.
    if size > needed + (_MOST_PADDING if header.file_size == size else 0):
        raise DataError(
            "BMP file is damaged: it has "
            f"{counted(size - needed, 'byte')} after its pixels"
        )


def _check_runs(header: _Header, size: int, path: Path, data: bytes | None) -> None:
    """Check that runs give every pixel of every row, and end where the file does.

    Raises:
        DataError: If they do not.
    """
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
    """Bytes that the runs of a BMP file take to fill its rows exactly.

    Args:
        packed: The runs, and what follows them.
        bits: Bits of a pixel, 4 or 8.
        width: Pixels of a row.
        height: Rows.

    Returns:
        None where a row gets more or fewer pixels, pixels are skipped, or the runs do
        not come to an end; nothing is read further than that.

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
