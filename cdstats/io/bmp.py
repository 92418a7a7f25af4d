"""BMP files: GDAL decodes them, and this checks that every row lies in the file."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from cdstats.core.errors import DataError
from cdstats.io.gdal import Source
from cdstats.io.rasters import open_raster

if TYPE_CHECKING:
    from pathlib import Path

    from cdstats.io.blocks import OpenImage

_UNCOMPRESSED: Final = (0, 3, 6)
_OLD_HEADER: Final = 12


def open_bmp(path: Path, data: bytes | None, band: int | None) -> OpenImage:
    """Open a BMP file.

    Raises:
        DataError: If the file is cut short or cannot be decoded.
    """
    size = path.stat().st_size if data is None else len(data)
    with path.open("rb") as file:
        head = data[:54] if data is not None else file.read(54)
    needed = _needed_bytes(head)
    if size < needed:
        raise DataError(f"BMP file is cut short: {size:,} of {needed:,} bytes")
    return open_raster(Source(str(path), "BMP", data), band)


def _needed_bytes(head: bytes) -> int:
    """Bytes up to the end of the pixels, or of the header when they are packed."""
    if len(head) < 26:
        return 26
    start = int.from_bytes(head[10:14], "little")
    header = int.from_bytes(head[14:18], "little")
    if header == _OLD_HEADER:
        width, height = (int.from_bytes(head[i : i + 2], "little") for i in (18, 20))
        bits, compression = int.from_bytes(head[24:26], "little"), 0
    else:
        width, height = (
            int.from_bytes(head[i : i + 4], "little", signed=True) for i in (18, 22)
        )
        bits = int.from_bytes(head[28:30], "little")
        compression = int.from_bytes(head[30:34], "little")
    if compression not in _UNCOMPRESSED:
        return start
    row = (abs(width) * bits + 31) // 32 * 4
    return start + row * abs(height)
