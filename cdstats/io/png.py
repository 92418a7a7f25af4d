"""The parts of a PNG file that decide how its pixels are read."""

from __future__ import annotations

import io
import zlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from cdstats.core.errors import DataError
from cdstats.io.signatures import file_format

if TYPE_CHECKING:
    from typing import BinaryIO

GREY, RGB, PALETTE, GREY_ALPHA, RGBA = 0, 2, 3, 4, 6
_CHANNELS: Final = {GREY: 1, RGB: 3, PALETTE: 1, GREY_ALPHA: 2, RGBA: 4}


@dataclass(frozen=True, slots=True)
class PngHeader:
    """The header, palette and transparency of a PNG file.

    Attributes:
        width: Pixels in a row.
        height: Rows.
        depth: Bits of a sample.
        colour: Colour type of the PNG specification.
        interlaced: Whether rows lie apart, so that only the whole can be decoded.
        palette: Red, green and blue of each index, one after the other.
        transparency: The ``tRNS`` chunk: alpha of each index, or the transparent grey
            or colour as 16-bit numbers.
    """

    width: int
    height: int
    depth: int
    colour: int
    interlaced: bool = False
    palette: bytes = b""
    transparency: bytes = b""

    @property
    def channels(self) -> int:
        """Samples of a pixel."""
        return _CHANNELS[self.colour]

    @property
    def transparent_key(self) -> tuple[int, ...] | None:
        """The grey or colour that is transparent, for grey and RGB images."""
        if not self.transparency or self.colour not in (GREY, RGB):
            return None
        data = self.transparency
        return tuple(
            int.from_bytes(data[at : at + 2]) & ((1 << self.depth) - 1)
            for at in range(0, len(data) - 1, 2)
        )

    @property
    def alpha(self) -> list[int] | None:
        """Alpha of each palette index, if any is not opaque."""
        if self.colour != PALETTE or not self.transparency:
            return None
        return [*self.transparency, *[255] * (256 - len(self.transparency))]


def read_png_header(file: BinaryIO, *, verify: bool) -> PngHeader:
    """Read the chunks of a PNG file that describe its pixels.

    Args:
        file: The file, at its start.
        verify: Whether to check every chunk to the end of the file, for a decoder that
            does not.

    Raises:
        DataError: If the file is cut short or a chunk is damaged.
    """
    file.seek(8)
    found: dict[bytes, bytes] = {}
    while True:
        length, kind = _chunk_start(file)
        if kind == b"IDAT" and not verify:
            _skip_pixels(file, length)
            break
        data = _chunk_data(file, length, kind)
        if kind in (b"IHDR", b"PLTE", b"tRNS"):
            found[kind] = data
        if kind == b"IEND":
            break
    _refuse_another(file)
    return _header(found)


def _skip_pixels(file: BinaryIO, length: int) -> None:
    """Go to the end of the file's last chunk; a decoder checks those on the way."""
    kind = b"IDAT"
    while kind != b"IEND":
        file.seek(length + 4, io.SEEK_CUR)
        length, kind = _chunk_start(file)
    file.seek(length + 4, io.SEEK_CUR)


def _refuse_another(file: BinaryIO) -> None:
    """Refuse an image behind the first; other bytes there are no pixels."""
    if file_format(file.read(1 << 16).lstrip(b"\0")[:16]):
        raise DataError("PNG file holds another file after its end; split them")


def _chunk_start(file: BinaryIO) -> tuple[int, bytes]:
    start = file.read(8)
    if len(start) < 8:
        raise DataError("PNG file is cut short: it ends before its closing chunk")
    return int.from_bytes(start[:4]), start[4:]


def _chunk_data(file: BinaryIO, length: int, kind: bytes) -> bytes:
    """The data of a chunk whose check sum holds; empty for pixel data."""
    check = zlib.crc32(kind)
    kept = b""
    left = length
    while left:
        part = file.read(min(left, 1 << 20))
        if not part:
            raise DataError("PNG file is cut short: it ends inside a chunk")
        check = zlib.crc32(part, check)
        kept = b"" if kind == b"IDAT" else kept + part
        left -= len(part)
    stored = file.read(4)
    if len(stored) < 4:
        raise DataError("PNG file is cut short: it ends inside a chunk")
    if int.from_bytes(stored) != check:
        name = kind.decode("latin-1")
        raise DataError(f"PNG file is damaged: the check sum of its {name!r} is wrong")
    return kept


def _header(found: dict[bytes, bytes]) -> PngHeader:
    data = found.get(b"IHDR", b"")
    if len(data) != 13 or data[9] not in _CHANNELS:
        raise DataError("PNG file is damaged: it has no valid header")
    table, transparency = found.get(b"PLTE", b""), found.get(b"tRNS", b"")
    key_bytes = {GREY: 2, RGB: 6}.get(data[9], 0)
    if transparency and key_bytes and len(transparency) != key_bytes:
        raise DataError(
            "PNG file is damaged: its transparent colour has a wrong length"
        )
    return PngHeader(
        width=int.from_bytes(data[:4]),
        height=int.from_bytes(data[4:8]),
        depth=data[8],
        colour=data[9],
        interlaced=data[12] != 0,
        palette=table[: len(table) // 3 * 3],
        transparency=transparency,
    )
