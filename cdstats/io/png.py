"""The parts of a PNG file that decide how its pixels are read."""

from __future__ import annotations

import io
import zlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from cdstats.core.errors import DataError
from cdstats.io.png_stream import FLUSHED, begins_stored, check_stream
from cdstats.io.signatures import file_format

if TYPE_CHECKING:
    from typing import BinaryIO

GREY, RGB, PALETTE, GREY_ALPHA, RGBA = 0, 2, 3, 4, 6
_IMAGE: Final = b"\x89PNG\r\n\x1a\n"
_KEPT: Final = (b"IHDR", b"PLTE", b"tRNS")
"""Chunks that say how the pixels are read."""
_CHUNK_BYTES: Final = 1 << 26
"""Bytes of a chunk that holds no pixels, at most."""
_REST_BYTES: Final = 1 << 20
"""Bytes behind the end among which another image is looked for."""
_NO_END: Final = "PNG file is cut short: it ends before its closing chunk"
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
    pixels: tuple[int, int] | None = None
    while True:
        length, kind = _chunk_start(file)
        if kind == b"IDAT" and pixels is None:
            pixels = file.tell(), length
            if not verify:
                break
        data = _chunk_data(file, length, kind)
        if kind in _KEPT:
            found[kind] = data
        if kind == b"IEND":
            break
    loose = pixels is not None and _skip_pixels(file, *pixels)
    _refuse_another(file)
    header = _header(found)
    if pixels is not None and loose:
        file.seek(pixels[0] - 8)
        check_stream(file, header)
    return header


def _skip_pixels(file: BinaryIO, first: int, length: int) -> bool:
    """Go to the end of the file's last chunk; a decoder checks those on the way.

    Args:
        file: The file.
        first: Where the data of the first chunk of pixels is.
        length: Its bytes.

    Returns:
        Whether the chunks of pixels may be parts that a decoder takes in any order.
    """
    file.seek(first)
    kind = b"IDAT"
    ends: list[bool] = []
    while kind != b"IEND":
        # The last bytes of the chunk, its sum and the start of the next one.
        known = min(length, len(FLUSHED))
        file.seek(length - known, io.SEEK_CUR)
        tail = file.read(known + 12)
        if len(tail) < known + 12:
            raise DataError(_NO_END)
        if kind == b"IDAT":
            ends.append(known < len(FLUSHED) or tail.startswith(FLUSHED))
        length, kind = int.from_bytes(tail[-8:-4]), tail[-4:]
    file.seek(length + 4, io.SEEK_CUR)
    if len(ends) == 1 or any(ends[:-1]):
        return len(ends) > 1
    behind = file.tell()
    file.seek(first)
    stored = begins_stored(file.read(3))
    file.seek(behind)
    return stored


def _refuse_another(file: BinaryIO) -> None:
    """Refuse an image behind the first; other bytes there are no pixels."""
    rest = file.read(_REST_BYTES)
    if rest and (_IMAGE in rest or file_format(rest.lstrip(b"\0")[:16])):
        raise DataError("PNG file holds another file after its end; split them")


def _chunk_start(file: BinaryIO) -> tuple[int, bytes]:
    start = file.read(8)
    if len(start) < 8:
        raise DataError(_NO_END)
    return int.from_bytes(start[:4]), start[4:]


def _chunk_data(file: BinaryIO, length: int, kind: bytes) -> bytes:
    """The data of a chunk whose check sum holds; empty where it is of no use."""
    name = kind.decode("latin-1")
    if kind != b"IDAT" and length > _CHUNK_BYTES:
        raise DataError(
            f"PNG file holds {length:,} bytes in its {name!r}; expected at most "
            f"{_CHUNK_BYTES:,} beside its pixels"
        )
    check = zlib.crc32(kind)
    kept = []
    left = length
    while left:
        part = file.read(min(left, 1 << 20))
        if not part:
            raise DataError("PNG file is cut short: it ends inside a chunk")
        check = zlib.crc32(part, check)
        if kind in _KEPT:
            kept.append(part)
        left -= len(part)
    stored = file.read(4)
    if len(stored) < 4:
        raise DataError("PNG file is cut short: it ends inside a chunk")
    if int.from_bytes(stored) != check:
        raise DataError(f"PNG file is damaged: the check sum of its {name!r} is wrong")
    return b"".join(kept)


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
