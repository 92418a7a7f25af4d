"""PNG and JPEG files: the fast exact decoder where it fits, GDAL for the rest."""

from __future__ import annotations

import io
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from cdstats.core.errors import DataError
from cdstats.core.messages import counted
from cdstats.io import png
from cdstats.io.blocks import WHOLE_PIXELS, Block, OpenImage
from cdstats.io.limits import check_memory
from cdstats.io.palettes import expand, names

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from numpy.typing import NDArray

    from cdstats.io.jpeg import JpegFrame

MOST_COLOUR_PIXELS: Final = 1 << 28
"""Pixels of a JPEG in colour at most: decoding holds three bytes of each."""


def open_png(path: Path, data: bytes | None, band: int | None) -> OpenImage:
    """Open a PNG file.

    Args:
        path: The file.
        data: Its bytes, or None when it is too large to hold.
        band: The channel to read, counted from 1; None for all.

    Raises:
        DataError: If the file is damaged.
    """
    if data is None:
        with path.open("rb") as file:
            header = png.read_png_header(file, verify=True)
        return _png_by_gdal(path, None, header, band)
    header = png.read_png_header(io.BytesIO(data), verify=False)
    whole = header.width * header.height <= WHOLE_PIXELS
    fits = header.depth == 8 and header.colour in (png.GREY, png.PALETTE, png.RGB)
    if not (fits and whole):
        png.read_png_header(io.BytesIO(data), verify=True)
        rows = _byte_rows(data, header) if whole and band in (None, 1) else None
        if rows is None:
            return _png_by_gdal(path, data, header, band)
        return _png_of_bits(rows, header)

    def blocks() -> Iterator[Block]:
        yield _png_block(_decode_png(data, header), header, band)

    return _png_image(header, blocks)


def _byte_rows(data: bytes, header: png.PngHeader) -> NDArray[np.uint8] | None:
    """The rows of a PNG of few bits as bytes; None where GDAL is to decide."""
    from cdstats.io.png_bits import as_bytes

    grey = as_bytes(data, header)
    if grey is None:
        return None
    file, width = grey
    try:
        return _decode_png(file, replace(header, width=width, colour=png.GREY))
    except DataError:
        return None


def _png_of_bits(rows: NDArray[np.uint8], header: png.PngHeader) -> OpenImage:
    from cdstats.io.png_bits import unpack

    def blocks() -> Iterator[Block]:
        pixels = unpack(rows, header.width, header.depth)
        yield _png_block(pixels, header, None)

    return _png_image(header, blocks)


def _png_image(header: png.PngHeader, blocks: Any) -> OpenImage:  # noqa: ANN401
    palette = names(header.palette) if header.colour == png.PALETTE else None
    return OpenImage("", header.width, header.height, "PNG", blocks, palette=palette)


def _decode_png(data: bytes, header: png.PngHeader) -> NDArray[np.uint8]:
    from kornia_rs.io import decode_image_png_u8

    mode = "rgb" if header.colour == png.RGB else "mono"
    try:
        pixels: NDArray[np.uint8] = decode_image_png_u8(
            data, (header.height, header.width), mode
        )
    except Exception as error:  # noqa: BLE001 - the decoder raises Exception itself
        raise DataError(f"PNG file cannot be decoded: {error}") from None
    return pixels if header.colour == png.RGB else pixels[..., 0]


def _png_by_gdal(
    path: Path, data: bytes | None, header: png.PngHeader, band: int | None
) -> OpenImage:
    """A PNG that only GDAL decodes: its palette and transparency are ours to apply."""
    from cdstats.io.raster import Known, Source, open_raster

    if header.interlaced:
        numbers = header.width * header.height * header.channels
        check_memory(numbers * max(header.depth // 8, 1), "save it without interlacing")
    alpha = header.channels in (2, 4)
    source = Source(str(path), "PNG", data)
    deep = header.colour == png.RGB
    known = Known(
        band,
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

    return _png_image(header, blocks)


def _png_block(
    pixels: NDArray[Any],
    header: png.PngHeader,
    band: int | None,
    row: int = 0,
    column: int = 0,
) -> Block:
    """The values of decoded pixels, with the transparency of the ``tRNS`` chunk."""
    hidden, half = _transparency(pixels, header)
    if header.colour == png.PALETTE:
        pixels = expand(pixels, header.palette)
    if pixels.ndim == 3 and band is not None:
        pixels = pixels[..., check_band(band, 3) - 1]
    elif band is not None:
        check_band(band, 1)
    return Block(row, column, pixels, hidden, half)


def _transparency(
    pixels: NDArray[Any], header: png.PngHeader
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


def open_jpeg(path: Path, data: bytes | None, band: int | None) -> OpenImage:
    """Open a JPEG file: by GDAL, window by window, if it is large and grey.

    GDAL widens the colours of subsampled pixels otherwise than all other readers, so
    a large image in colour is decoded as a whole, or refused.

    Raises:
        DataError: If the file is damaged, holds neither grey nor RGB, or is too large
            in colour.
    """
    frame = _read_frame(path, data)
    width, height, channels = frame.width, frame.height, len(frame.components)
    if channels not in (1, 3):
        raise DataError(f"JPEG with {channels} colour components; expected grey or RGB")
    if channels == 1 and (data is None or width * height > WHOLE_PIXELS):
        from cdstats.io.raster import Known, Source, open_raster

        raster = open_raster(Source(str(path), "JPEG", data), Known(band))
        return OpenImage("", width, height, "JPEG", raster.blocks)
    if width * height > MOST_COLOUR_PIXELS:
        raise DataError(
            f"colour JPEG of {width:,} x {height:,} pixels; expected at most "
            f"{MOST_COLOUR_PIXELS:,}. Save it as PNG or TIFF"
        )
    held = path.read_bytes() if data is None else data

    def blocks() -> Iterator[Block]:
        pixels = _decode_jpeg(held, channels)
        if band is not None:
            pixels = pixels[..., check_band(band, channels) - 1]
        elif channels == 1:
            pixels = pixels[..., 0]
        yield Block(0, 0, pixels)

    return OpenImage("", width, height, "JPEG", blocks)


def _decode_jpeg(data: bytes, channels: int) -> NDArray[np.uint8]:
    from kornia_rs.io import decode_image_jpegturbo

    try:
        pixels: NDArray[np.uint8] = decode_image_jpegturbo(
            data, "mono" if channels == 1 else "rgb"
        )
    except Exception:  # noqa: BLE001 - the decoder raises Exception itself
        raise DataError("JPEG file is damaged or cut short") from None
    return pixels


def _read_frame(path: Path, data: bytes | None) -> JpegFrame:
    from cdstats.io.jpeg import read_jpeg

    if data is not None:
        return read_jpeg(data)
    import mmap

    with (
        path.open("rb") as file,
        mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as mapped,
    ):
        return read_jpeg(mapped)


def jpeg_header(file: io.BufferedIOBase) -> tuple[int, int, int]:
    """Width, height and number of components of a JPEG file.

    Raises:
        DataError: If it has no frame header.
    """
    file.seek(2)
    while True:
        marker = file.read(2)
        while marker[1:] == b"\xff":
            marker = b"\xff" + file.read(1)
        if len(marker) < 2 or marker[0] != 0xFF or marker[1] in (0xD9, 0xDA):
            raise DataError("JPEG file is damaged: it has no frame header")
        if marker[1] == 0x01 or 0xD0 <= marker[1] <= 0xD7:
            continue
        length = int.from_bytes(file.read(2))
        if 0xC0 <= marker[1] <= 0xCF and marker[1] not in (0xC4, 0xC8, 0xCC):
            frame = file.read(6)
            if len(frame) < 6:
                raise DataError("JPEG file is cut short")
            return int.from_bytes(frame[3:5]), int.from_bytes(frame[1:3]), frame[5]
        file.seek(max(length - 2, 0), io.SEEK_CUR)


def check_band(band: int, bands: int) -> int:
    """The band, if the file holds it.

    Raises:
        DataError: If it does not.
    """
    if not 1 <= band <= bands:
        has = counted(bands, "band")
        raise DataError(f"has {has}; band {band} was asked for")
    return band
