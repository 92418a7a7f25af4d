"""PNG files, decoded by a fast lossless decoder where possible, otherwise by GDAL.

Decoders stop after the last row and never check the Adler-32 checksum, so the CRC of
every chunk is verified here.

The fast decoder supports 8 bits only. Packed rows of 1, 2 or 4 bits are valid rows of
an 8-bit grey image, including filters. They are decoded as such and then unpacked.
"""

from __future__ import annotations

import struct
import zlib
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import cache
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from cdstats.core.errors import DataError
from cdstats.io.blocks import (
    WHOLE_PIXELS,
    Block,
    ImageFile,
    OpenImage,
    check_band,
    expand,
    names,
)
from cdstats.io.limits import check_memory
from cdstats.io.sidecars import declared_nodata
from cdstats.io.signatures import file_format

if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import BinaryIO

    from numpy.typing import NDArray

    Marks = NDArray[np.bool_]

GREY, RGB, PALETTE, GREY_ALPHA, RGBA = 0, 2, 3, 4, 6
_SIGNATURE: Final = b"\x89PNG\r\n\x1a\n"
_KEPT: Final = (b"IHDR", b"PLTE", b"tRNS")
"""Chunks needed for decoding."""
_REST_BYTES: Final = 1 << 20
"""Number of bytes behind the end that are searched for another image."""
_CHANNELS: Final = {GREY: 1, RGB: 3, PALETTE: 1, GREY_ALPHA: 2, RGBA: 4}
_PIECE: Final = 1 << 20


@dataclass(frozen=True, slots=True)
class PngHeader:
    """Header fields and chunks of a PNG file.

    Attributes:
        methods: Compression, filter and interlace methods; 0 is the default of each.
        palette: RGB bytes of all indices.
        transparency: The ``tRNS`` chunk: alpha of each index, or the transparent grey
            or colour as 16-bit numbers.
        kinds: Critical chunks and ``tRNS``, in file order.
        pixels: Offset and length of each pixel data chunk.
    """

    width: int
    height: int
    depth: int
    colour: int
    methods: bytes = bytes(3)
    palette: bytes = b""
    transparency: bytes = b""
    kinds: tuple[bytes, ...] = ()
    pixels: tuple[tuple[int, int], ...] = ()

    @property
    def channels(self) -> int:
        """Samples per pixel."""
        return _CHANNELS[self.colour]

    @property
    def transparent_key(self) -> tuple[int, ...] | None:
        """The transparent grey or colour of a grey or RGB image."""
        if not self.transparency or self.colour not in (GREY, RGB):
            return None
        numbers = struct.unpack(f">{self.channels}H", self.transparency)
        return tuple(number & ((1 << self.depth) - 1) for number in numbers)


def open_images(file: ImageFile) -> list[OpenImage]:
    """Open the image of a PNG file."""
    with file.opened() as stream:
        header = read_png_header(stream)
    is_palette = header.colour == PALETTE
    colours = header.palette if is_palette else b""
    dtype = np.dtype(np.uint16 if header.depth > 8 else np.uint8)
    return [
        OpenImage(
            "",
            header.width,
            header.height,
            "PNG",
            lambda: _blocks(file, header),
            declared_nodata(file.nodata, dtype, colours),
            names(header.palette) if is_palette else None,
        )
    ]


def _blocks(file: ImageFile, header: PngHeader) -> Iterator[Block]:
    data = file.data
    if data is not None and header.width * header.height <= WHOLE_PIXELS:
        if header.depth == 8 and header.colour in (GREY, PALETTE, RGB):
            yield _block(_decode(data, header), header, file.band)
            return
        grey = as_bytes(data, header) if file.band in (None, 1) else None
        if grey is not None:
            rows, width = None, (header.width * header.depth + 7) // 8
            with suppress(DataError):
                rows = _decode(grey, replace(header, width=width, colour=GREY))
            if rows is not None:
                yield _block(unpack(rows, header.width, header.depth), header, None)
                return
    yield from _blocks_by_gdal(file, header)


def _decode(data: bytes, header: PngHeader) -> NDArray[np.uint8]:
    from kornia_rs.io import decode_image_png_u8

    size, is_rgb = (header.height, header.width), header.colour == RGB
    check_memory(2 * size[0] * size[1] * header.channels, "save it as a tiled TIFF")
    try:
        pixels: NDArray[np.uint8] = decode_image_png_u8(
            data, size, "rgb" if is_rgb else "mono"
        )
    except Exception as error:  # noqa: BLE001 - the decoder raises plain Exception
        raise DataError(f"PNG file cannot be decoded: {error}") from None
    return pixels if is_rgb else pixels[..., 0]


def _blocks_by_gdal(file: ImageFile, header: PngHeader) -> Iterator[Block]:
    """Decode with GDAL, and apply palette and transparency here."""
    from cdstats.io.raster import Known, Source, open_raster

    if header.methods[2]:
        numbers = header.width * header.height * header.channels
        check_memory(numbers * max(header.depth // 8, 1), "save it without interlacing")
    alpha = header.channels if header.channels in (2, 4) else None
    is_rgb = header.colour == RGB
    known = Known(file.band, alpha, header.transparent_key if is_rgb else None)
    for block in open_raster(Source(str(file.path), "PNG", file.data), known).blocks():
        if block.hidden is None and not is_rgb:
            plain = _block(block.values, header, None)
            yield plain._replace(row=block.row, column=block.column)
        else:
            yield block


def _block(pixels: NDArray[Any], header: PngHeader, band: int | None) -> Block:
    """A block of decoded pixels with the transparency of the ``tRNS`` chunk."""
    hidden, half = _transparency(pixels, header)
    if header.colour == PALETTE:
        pixels = expand(pixels, header.palette)
    if band is not None:
        check_band(band, 3 if pixels.ndim == 3 else 1)
        pixels = pixels[..., band - 1] if pixels.ndim == 3 else pixels
    return Block(0, 0, pixels, hidden, half)


def _transparency(
    pixels: NDArray[Any], header: PngHeader
) -> tuple[Marks | None, Marks | None]:
    """Masks of hidden and of half transparent pixels."""
    if header.colour == PALETTE and header.transparency:
        alpha = np.frombuffer(header.transparency.ljust(256, b"\xff"), np.uint8)
        opacity = alpha[pixels]
        return opacity == 0, (opacity != 0) & (opacity != 255)
    if (key := header.transparent_key) is None:
        return None, None
    equal = pixels == np.array(key if pixels.ndim == 3 else key[0], pixels.dtype)
    return (equal.all(axis=-1) if pixels.ndim == 3 else equal), None


def read_png_header(file: BinaryIO) -> PngHeader:
    """Parse a PNG file and verify the CRC of every chunk."""
    file.seek(len(_SIGNATURE))
    found: dict[bytes, bytes] = {}
    kinds: list[bytes] = []
    pixels: list[tuple[int, int]] = []
    kind = b""
    while kind != b"IEND":
        head = file.read(8)
        if len(head) < 8:
            raise DataError("PNG file is cut short: it ends before its closing chunk")
        length, kind = int.from_bytes(head[:4]), head[4:]
        if kind == b"IDAT":
            pixels.append((file.tell(), length))
        data = _chunk(file, length, kind)
        if kind in _KEPT:
            found[kind] = data
        # Other chunks may be anywhere and do not affect pixels.
        if kind[:1].isupper() or kind == b"tRNS":
            kinds.append(kind)
    rest = file.read(_REST_BYTES)
    if rest and (_SIGNATURE in rest or file_format(rest.lstrip(b"\0")[:16])):
        raise DataError("PNG file has another file after its end; split them")
    return _header(found, tuple(kinds), tuple(pixels))


def _chunk(file: BinaryIO, length: int, kind: bytes) -> bytes:
    """The data of a chunk to keep, after verifying its CRC."""
    kept, check, left = b"", zlib.crc32(kind), length
    while part := file.read(min(left, _PIECE)):
        check = zlib.crc32(part, check)
        kept += part if kind in _KEPT else b""
        left -= len(part)
    stored = file.read(4)
    if left or len(stored) < 4:
        raise DataError("PNG file is cut short: it ends inside a chunk")
    if int.from_bytes(stored) != check:
        name = kind.decode("latin-1")
        raise DataError(f"PNG file is damaged: wrong checksum in chunk {name!r}")
    return kept


def _header(
    found: dict[bytes, bytes],
    kinds: tuple[bytes, ...],
    pixels: tuple[tuple[int, int], ...],
) -> PngHeader:
    data = found.get(b"IHDR", b"")
    if len(data) != 13 or data[9] not in _CHANNELS:
        raise DataError("PNG file is damaged: it has no valid header")
    table, transparency = found.get(b"PLTE", b""), found.get(b"tRNS", b"")
    key_bytes = {GREY: 2, RGB: 6}.get(data[9], 0)
    if transparency and key_bytes and len(transparency) != key_bytes:
        raise DataError(
            "PNG file is damaged: its transparent colour has a wrong length"
        )
    if len(table) % 3:
        raise DataError("PNG file is damaged: its palette has a wrong length")
    width, height, depth, colour, methods = struct.unpack(">IIBB3s", data)
    size = (width, height)
    return PngHeader(*size, depth, colour, methods, table, transparency, kinds, pixels)


def as_bytes(data: bytes, header: PngHeader) -> bytes | None:
    """An 8-bit grey PNG whose pixels are the packed bytes of another PNG.

    None if the depth is not 1, 2 or 4, or the file is unusual: a misplaced, duplicate
    or malformed palette, or unknown critical chunks.
    """
    colours, alphas = len(header.palette) // 3, len(header.transparency)
    palette = header.colour == PALETTE
    before = [b"IHDR", *[b"PLTE"] * palette, *[b"tRNS"] * bool(alphas)]
    usual = (
        header.depth in (1, 2, 4)
        and header.colour in (GREY, PALETTE)
        and not any(header.methods)
        and [*before, *[b"IDAT"] * len(header.pixels), b"IEND"] == [*header.kinds]
        and (0 < colours <= 1 << header.depth if palette else colours == 0)
        and not (palette and alphas > colours)
    )
    if not usual:
        return None
    width = (header.width * header.depth + 7) // 8
    start = b"IHDR" + struct.pack(">IIBBBBB", width, header.height, 8, 0, 0, 0, 0)
    sum_ = struct.pack(">I", zlib.crc32(start))
    chunks = (data[at - 8 : at + length + 4] for at, length in header.pixels)
    end = b"\0\0\0\0IEND\xaeB`\x82"
    return b"".join((_SIGNATURE, b"\0\0\0\x0d", start, sum_, *chunks, end))


def unpack(rows: NDArray[np.uint8], width: int, depth: int) -> NDArray[np.uint8]:
    """Unpack bytes to pixels, ``(height, width)``; the highest bits come first.

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
    """The pixels of each byte, packed as one integer."""
    shifts = np.arange(8 - depth, -1, -depth, dtype=np.uint8)
    every = np.arange(256, dtype=np.uint8)[:, None]
    pixels = every >> shifts & np.uint8((1 << depth) - 1)
    return pixels.view(f"u{8 // depth}").ravel()
