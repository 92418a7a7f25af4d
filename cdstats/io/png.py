"""PNG files: the fast exact decoder where it fits, GDAL for the rest.

A decoder that has all rows stops, and looks at no sum. In ordinary files a chunk that
is lost, doubled or misplaced makes a broken stream. It does not where chunks begin at
blocks of the stream that refer to nothing before: those streams are inflated here, too.

The fast decoder reads 8 bits only. The rows of 1, 2 or 4 bits are those of a grey image
of 8 bits whose pixels are bytes, filters included. So it is given that image, made of
the same compressed rows, and its bytes are taken apart.
"""

from __future__ import annotations

import io
import struct
import zlib
from dataclasses import dataclass, replace
from functools import cache
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from cdstats.core.errors import DataError
from cdstats.io.blocks import WHOLE_PIXELS, Block, ImageFile, OpenImage, check_band
from cdstats.io.limits import check_memory
from cdstats.io.palettes import expand, names
from cdstats.io.sidecars import declared_nodata
from cdstats.io.signatures import file_format

if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import BinaryIO

    from numpy.typing import NDArray

GREY, RGB, PALETTE, GREY_ALPHA, RGBA = 0, 2, 3, 4, 6
_SIGNATURE: Final = b"\x89PNG\r\n\x1a\n"
_KEPT: Final = (b"IHDR", b"PLTE", b"tRNS")
"""Chunks that say how the pixels are read."""
_CHUNK_BYTES: Final = 1 << 26
"""Bytes of a chunk that holds no pixels, at most."""
_REST_BYTES: Final = 1 << 20
"""Bytes behind the end among which another image is looked for."""
_NO_END: Final = "PNG file is cut short: it ends before its closing chunk"
_CHANNELS: Final = {GREY: 1, RGB: 3, PALETTE: 1, GREY_ALPHA: 2, RGBA: 4}
_FLUSHED: Final = b"\0\0\xff\xff"
"""The last bytes of what a compressor was told to flush: an empty stored block."""
_STORED: Final = 0
_PIECE: Final = 1 << 20
_PASSES: Final = (
    (0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4),
    (0, 2, 2, 4), (1, 0, 2, 2), (0, 1, 1, 2),
)  # fmt: skip
"""First column and row, and steps between columns and rows, of interlaced passes."""
_METHODS: Final = slice(10, 13)
"""Compression, filters, interlacing in the header; 0 is the only or the plain one."""


def open_images(file: ImageFile) -> list[OpenImage]:
    """Open the image of a PNG file."""
    data, band = file.data, file.band
    if data is None:
        with file.path.open("rb") as stream:
            header = read_png_header(stream, verify=True)
        return [_png_by_gdal(file, header)]
    header = read_png_header(io.BytesIO(data), verify=False)
    whole = header.width * header.height <= WHOLE_PIXELS
    fits = header.depth == 8 and header.colour in (GREY, PALETTE, RGB)
    if not (fits and whole):
        read_png_header(io.BytesIO(data), verify=True)
        rows = _byte_rows(data, header) if whole and band in (None, 1) else None
        if rows is None:
            return [_png_by_gdal(file, header)]
        return [_png_of_bits(rows, header, file.nodata)]

    def blocks() -> Iterator[Block]:
        yield _png_block(_decode_png(data, header), header, band)

    return [_png_image(header, blocks, file.nodata)]


def _byte_rows(data: bytes, header: PngHeader) -> NDArray[np.uint8] | None:
    """The rows of a PNG of few bits as bytes; None where GDAL is to decide."""
    grey = as_bytes(data, header)
    if grey is None:
        return None
    file, width = grey
    try:
        return _decode_png(file, replace(header, width=width, colour=GREY))
    except DataError:
        return None


def _png_of_bits(
    rows: NDArray[np.uint8], header: PngHeader, nodata: str | None
) -> OpenImage:
    def blocks() -> Iterator[Block]:
        pixels = unpack(rows, header.width, header.depth)
        yield _png_block(pixels, header, None)

    return _png_image(header, blocks, nodata)


def _png_image(
    header: PngHeader,
    blocks: Any,  # noqa: ANN401
    nodata: str | None,
) -> OpenImage:
    palette = names(header.palette) if header.colour == PALETTE else None
    dtype = np.dtype(np.uint16 if header.depth > 8 else np.uint8)
    colours = header.palette if header.colour == PALETTE else b""
    declared = declared_nodata(nodata, dtype, colours)
    size = (header.width, header.height)
    return OpenImage("", *size, "PNG", blocks, declared, palette)


def _decode_png(data: bytes, header: PngHeader) -> NDArray[np.uint8]:
    from kornia_rs.io import decode_image_png_u8

    mode = "rgb" if header.colour == RGB else "mono"
    bands = 3 if header.colour == RGB else 1
    check_memory(2 * header.height * header.width * bands, "save it as a tiled TIFF")
    try:
        pixels: NDArray[np.uint8] = decode_image_png_u8(
            data, (header.height, header.width), mode
        )
    except Exception as error:  # noqa: BLE001 - the decoder raises Exception itself
        raise DataError(f"PNG file cannot be decoded: {error}") from None
    return pixels if header.colour == RGB else pixels[..., 0]


def _png_by_gdal(file: ImageFile, header: PngHeader) -> OpenImage:
    """A PNG that only GDAL decodes: its palette and transparency are ours to apply."""
    from cdstats.io.raster import Known, Source, open_raster

    if header.interlaced:
        numbers = header.width * header.height * header.channels
        check_memory(numbers * max(header.depth // 8, 1), "save it without interlacing")
    alpha = header.channels in (2, 4)
    source = Source(str(file.path), "PNG", file.data)
    deep = header.colour == RGB
    known = Known(
        file.band,
        alpha_band=header.channels if alpha else None,
        hidden_colour=header.transparent_key if deep else None,
    )
    raster = open_raster(source, known)

    def blocks() -> Iterator[Block]:
        for block in raster.blocks():
            plain = block
            if block.hidden is None and not deep:
                plain = _png_block(block.values, header, None, block.row, block.column)
            yield plain

    return _png_image(header, blocks, file.nodata)


def _png_block(
    pixels: NDArray[Any],
    header: PngHeader,
    band: int | None,
    row: int = 0,
    column: int = 0,
) -> Block:
    """The values of decoded pixels, with the transparency of the ``tRNS`` chunk."""
    hidden, half = _transparency(pixels, header)
    if header.colour == PALETTE:
        pixels = expand(pixels, header.palette)
    if pixels.ndim == 3 and band is not None:
        pixels = pixels[..., check_band(band, 3) - 1]
    elif band is not None:
        check_band(band, 1)
    return Block(row, column, pixels, hidden, half)


def _transparency(
    pixels: NDArray[Any], header: PngHeader
) -> tuple[NDArray[np.bool_] | None, NDArray[np.bool_] | None]:
    key, alpha = header.transparent_key, header.alpha
    if alpha is not None:
        opacity = np.array(alpha, dtype=np.uint8)[pixels]
        return opacity == 0, (opacity != 0) & (opacity != 255)
    if key is None:
        return None, None
    wanted = np.array(key if pixels.ndim == 3 else key[0], dtype=pixels.dtype)
    equal = pixels == wanted
    return (equal.all(axis=-1) if pixels.ndim == 3 else equal), None


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
    """Read the chunks of a PNG file that describe its pixels."""
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
    """Go to the end of the file's last chunk; a decoder checks those on the way."""
    file.seek(first)
    kind = b"IDAT"
    ends: list[bool] = []
    while kind != b"IEND":
        # The last bytes of the chunk, its sum and the start of the next one.
        known = min(length, len(_FLUSHED))
        file.seek(length - known, io.SEEK_CUR)
        tail = file.read(known + 12)
        if len(tail) < known + 12:
            raise DataError(_NO_END)
        if kind == b"IDAT":
            ends.append(known < len(_FLUSHED) or tail.startswith(_FLUSHED))
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
    if rest and (_SIGNATURE in rest or file_format(rest.lstrip(b"\0")[:16])):
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


def begins_stored(start: bytes) -> bool:
    """Whether a stream begins with bytes that are stored as they are.

    Example:
        >>> begins_stored(zlib.compress(b"a", 0)), begins_stored(zlib.compress(b"a"))
        (True, False)
    """
    return len(start) < 3 or start[2] >> 1 & 3 == _STORED


def check_stream(file: BinaryIO, header: PngHeader) -> None:
    """Unpack the pixels of a PNG in pieces, and check their sum and length."""
    expected = _stream_bytes(header)
    stream = zlib.decompressobj()
    unpacked = 0
    try:
        for piece in _pieces(file):
            left = piece
            while left and unpacked <= expected and not stream.unused_data:
                unpacked += len(stream.decompress(left, _PIECE))
                left = stream.unconsumed_tail
        if unpacked <= expected:
            unpacked += len(stream.flush())
    except zlib.error as error:
        raise DataError(f"PNG file is damaged: its pixels: {error}") from None
    if not stream.eof or stream.unused_data or unpacked != expected:
        raise DataError(
            "PNG file is damaged: its pixels are more or fewer than its header says"
        )


def _pieces(file: BinaryIO) -> Iterator[bytes]:
    """What the chunks of pixels hold, in pieces."""
    while (start := file.read(8))[4:] not in (b"IEND", b""):
        left = int.from_bytes(start[:4])
        while start[4:] == b"IDAT" and left:
            piece = file.read(min(left, _PIECE))
            if not piece:
                return
            yield piece
            left -= len(piece)
        file.seek(left + 4, io.SEEK_CUR)
    file.seek(4, io.SEEK_CUR)


def _stream_bytes(header: PngHeader) -> int:
    """Bytes of the rows of an image, the filter of each included."""
    passes = _PASSES if header.interlaced else ((0, 0, 1, 1),)
    total = 0
    for column, row, right, down in passes:
        width = -((column - header.width) // right)
        height = -((row - header.height) // down)
        if width > 0 and height > 0:
            bits = width * header.channels * header.depth
            total += height * (1 + (bits + 7) // 8)
    return total


def as_bytes(data: bytes, header: PngHeader) -> tuple[bytes, int] | None:
    """A grey PNG of 8 bits, its pixels the bytes of rows of another, and its width."""
    if header.depth not in (1, 2, 4) or header.colour not in (GREY, PALETTE):
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


def _pixel_chunks(data: bytes, header: PngHeader) -> bytes | None:
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


def _usual(header: PngHeader, parts: int) -> list[bytes] | None:
    """The chunks that decide, in their order; None where their lengths do not fit."""
    colours, alphas = len(header.palette) // 3, len(header.transparency)
    palette = header.colour == PALETTE
    if not (0 < colours <= 1 << header.depth if palette else colours == 0):
        return None
    if palette and alphas > colours:
        return None
    before = [b"IHDR", *[b"PLTE"] * palette, *[b"tRNS"] * bool(alphas)]
    return [*before, *[b"IDAT"] * (parts - 1), b"IEND"]
