"""PNG files of 1, 2 or 4 bits, by the fast decoder, which reads 8 bits alone.

Their rows are those of a grey image of 8 bits whose pixels are bytes, filters included:
so the decoder is given one, made of the same compressed rows, and its bytes are taken
apart. Only regular files are read so; anything else is left to GDAL.
"""

from __future__ import annotations

import struct
import zlib
from functools import cache
from typing import TYPE_CHECKING, Final

import numpy as np

from cdstats.io import png

if TYPE_CHECKING:
    from numpy.typing import NDArray

_SIGNATURE: Final = b"\x89PNG\r\n\x1a\n"
_METHODS: Final = slice(10, 13)
"""Compression, filters, interlacing in the header; 0 is the only or the plain one."""


def as_bytes(data: bytes, header: png.PngHeader) -> tuple[bytes, int] | None:
    """The grey PNG of 8 bits whose pixels are the bytes of the rows of another PNG.

    Args:
        data: The other file, whose chunks have been checked.
        header: What they say.

    Returns:
        The file and its width; None where the other one is unusual in any way.
    """
    if header.depth not in (1, 2, 4) or header.colour not in (png.GREY, png.PALETTE):
        return None
    pixels = _pixel_chunks(data, header)
    if pixels is None:
        return None
    width = (header.width * header.depth + 7) // 8
    start = b"IHDR" + struct.pack(">IIBBBBB", width, header.height, 8, 0, 0, 0, 0)
    head = struct.pack(">I", len(start) - 4) + start
    return _SIGNATURE + head + struct.pack(">I", zlib.crc32(start)) + pixels, width


def unpack(rows: NDArray[np.uint8], width: int, depth: int) -> NDArray[np.uint8]:
    """The pixels of rows of bytes, ``(height, width)``; the first in the highest bits.

    Example:
        >>> unpack(np.array([[0b01100000]], dtype=np.uint8), 3, 1).tolist()
        [[0, 1, 1]]
        >>> unpack(np.array([[0x4F, 0xA0]], dtype=np.uint8), 3, 4).tolist()
        [[4, 15, 10]]
    """
    if depth == 1:
        return np.unpackbits(rows, axis=1, count=width)
    pixels = np.take(_pixels_of_bytes(depth), rows).view(np.uint8)
    return np.ascontiguousarray(pixels[:, :width])


@cache
def _pixels_of_bytes(depth: int) -> NDArray[np.unsignedinteger]:
    """The pixels of each byte, as one number."""
    shifts = np.arange(8 - depth, -1, -depth, dtype=np.uint8)
    every = np.arange(256, dtype=np.uint8)[:, None]
    pixels = every >> shifts & np.uint8((1 << depth) - 1)
    return pixels.view(f"u{8 // depth}").ravel()


def _pixel_chunks(data: bytes, header: png.PngHeader) -> bytes | None:
    """The chunks of pixels and the last one; None where chunks are unusual."""
    kinds: list[bytes] = []
    parts: list[bytes] = []
    at = len(_SIGNATURE)
    while not kinds or kinds[-1] != b"IEND":
        length, kind = int.from_bytes(data[at : at + 4]), data[at + 4 : at + 8]
        stop = at + 12 + length
        if kind == b"IHDR" and any(data[at + 8 : stop][_METHODS]):
            return None
        if kind == b"PLTE" and length != len(header.palette):
            return None
        if kind in (b"IDAT", b"IEND"):
            parts.append(data[at:stop])
        # Others may come in any number, anywhere, and say nothing of the pixels.
        if kind[:1].isupper() or kind == b"tRNS":
            kinds.append(kind)
        at = stop
    return b"".join(parts) if kinds == _usual(header, len(parts)) else None


def _usual(header: png.PngHeader, parts: int) -> list[bytes] | None:
    """The chunks that decide, in their order; None where their lengths do not fit."""
    colours, alphas = len(header.palette) // 3, len(header.transparency)
    palette = header.colour == png.PALETTE
    if not (0 < colours <= 1 << header.depth if palette else colours == 0):
        return None
    if palette and alphas > colours:
        return None
    before = [b"IHDR", *[b"PLTE"] * palette, *[b"tRNS"] * bool(alphas)]
    return [*before, *[b"IDAT"] * (parts - 1), b"IEND"]
