"""TIFF files, decoded by GDAL, with checks for damage that GDAL ignores."""

from __future__ import annotations

import io
import struct
import zlib
from contextlib import suppress
from dataclasses import replace
from functools import partial
from itertools import pairwise
from typing import TYPE_CHECKING, BinaryIO, Final

import numpy as np

from cdstats.core.counts import NAN
from cdstats.core.errors import DataError
from cdstats.io.blocks import Block, ImageFile, OpenImage
from cdstats.io.limits import check_memory
from cdstats.io.raster import (
    Known,
    OpenRaster,
    Source,
    check_windows,
    georeference,
    no_warnings,
    open_raster,
    quiet,
    windows,
)
from cdstats.io.sidecars import declared_nodata
from cdstats.io.tiff_layout import check_layout
from cdstats.io.tiff_tables import DEFLATE, LZMA, LZW, PACKBITS, ZSTD, read_tables

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from cdstats.core.counts import Value
    from cdstats.io.tiff_tables import Page

    Opened = Callable[[], BinaryIO]
    Blocks = Callable[[], Iterator[Block]]

_UNSUMMED: Final = (LZW, PACKBITS, LZMA, ZSTD)
"""Compressions without a checksum, where GDAL ignores excess data."""
_REVERSED: Final = bytes(int(f"{byte:08b}"[::-1], 2) for byte in range(256))
_STRIP_PLACE: Final = 160
_MOST_DECODED: Final = 1 << 28
_MOST_DEFLATED: Final = 1 << 11
"""Upper limit for the deflate expansion of one byte."""
_MOST_PACKED: Final = 1 << 22
"""Largest block that is decoded for checks when a file is opened."""
_MOST_OPEN: Final = 32
"""Most pages kept open at a time; others are reopened."""


def open_images(file: ImageFile) -> list[OpenImage]:
    """Open every page of a TIFF file except overviews and masks."""
    path, data, band = file.path, file.data, file.band
    opened = partial(_opened, path, data)
    chain = _checked_pages(opened, file.max_pixels)
    images = [at for at, page in enumerate(chain) if page.is_image] or [0]
    if file.nodata is not None:
        _declare(chain, images, file.nodata)
    source = Source(str(path), "GTiff", data)
    found = []
    for number, (at, stop) in enumerate(pairwise([*images, len(chain)])):
        page, single = chain[at], images == [0]
        size = (page.width, page.length)
        masks = (one for one in chain[at + 1 : stop] if one.is_mask)
        mask = next((one for one in masks if (one.width, one.length) == size), None)
        member = "" if single else f"#{number}"
        own = source if single else replace(source, offset=page.place)
        if mask is None and band in (None, 1) and _is_stored(page):
            image = _open_stored(opened, page, member, own)
        else:
            image = open_raster(
                own,
                Known(band, nodata=page.nodata, colormap=page.colormap),
                member,
                partial(_check_sums, opened, (page, mask)),
                kept_open=number < _MOST_OPEN,
            )
        if single:
            # Reading part of a strip decodes it from its start.
            rows = max(page.rows_at_once, image.block_rows)
            return [image._replace(block_rows=rows)]
        blocks = image.blocks
        if mask is not None:
            # GDAL applies only the mask of the first page.
            blocks = partial(_hide, blocks, replace(source, offset=mask.place))
        found.append(image._replace(blocks=blocks, part=None))
    return found


def _declare(chain: list[Page], images: list[int], nodata: str) -> None:
    """Replace the nodata value of a file by that of a file beside it."""
    page, why = chain[images[0]], ""
    if len(images) > 1:
        why = "holds several images"
    elif not _is_stored(page) and not np.all(page.byte_counts):
        why = "omits blocks of pixels"
    if why:
        raise DataError(
            f"{why}, and an .aux.xml file beside it declares nodata {nodata}; save it "
            "with the nodata value inside"
        )
    chain[images[0]] = replace(page, nodata=nodata)


def _is_stored(page: Page) -> bool:
    """Whether the inflated bytes of a page are its pixels."""
    size = page.row_bytes * page.block_length
    deflated = page.compression in DEFLATE and size <= _MOST_DECODED
    return page.dtype is not None and (page.is_plain or deflated)


def _open_stored(opened: Opened, page: Page, member: str, source: Source) -> OpenImage:
    """Open an image that is read without GDAL, so that it is inflated once."""
    dtype = np.dtype(page.dtype)
    nodata = declared_nodata(page.nodata, dtype)
    size, block = (page.width, page.length), (page.rows_at_once, page.block_width)
    check_windows(size, block, dtype.itemsize, dtype.itemsize)
    return OpenImage(
        member,
        page.width,
        page.length,
        "TIFF",
        lambda: _stored(opened, page, nodata, 0, page.length),
        nodata=nodata,
        part=partial(_stored, opened, page, nodata),
        georeference=lambda: georeference(OpenRaster(source)),
    )


def _stored(
    opened: Opened, page: Page, nodata: Value | None, start: int, stop: int
) -> Iterator[Block]:
    """Read rows; omitted blocks are nodata or 0."""
    dtype, wanted = np.dtype(page.dtype), page.decoded_bytes()
    fill = float(NAN) if nodata == NAN else nodata or 0
    height, width = page.block_length, page.block_width
    with opened() as file:
        for rows, columns in windows(page.width, start, stop, page.rows_at_once, width):
            shape = (rows[1] - rows[0], columns[1] - columns[0])
            values = np.empty(shape, dtype.newbyteorder("="))
            for down in range(rows[0] // height, -(-rows[1] // height)):
                top = max(down * height, rows[0])
                bottom = min((down + 1) * height, rows[1])
                inside = top - down * height, bottom - down * height
                for across in range(columns[0] // width, -(-columns[1] // width)):
                    block, left = down * page.across + across, across * width
                    part = values[top - rows[0] : bottom - rows[0]]
                    part = part[:, left - columns[0] :][:, :width]
                    if page.byte_counts[block]:
                        data = _decoded(file, page, block, int(wanted[block]), inside)
                        pixels = np.frombuffer(data, dtype).reshape(-1, width)
                        part[:] = pixels[:, : part.shape[1]]
                    else:
                        part[:] = fill
            yield Block(rows[0], columns[0], values)


def _decoded(
    file: BinaryIO, page: Page, block: int, wanted: int, rows: tuple[int, int]
) -> bytes:
    first, last = rows[0] * page.row_bytes, rows[1] * page.row_bytes
    if not page.is_plain:
        return _inflated(file, page, block, wanted)[first:last]
    file.seek(int(page.offsets[block]) + first)
    data = file.read(last - first)
    if len(data) < last - first:
        raise DataError("TIFF file was changed while it was read")
    return data


def _inflated(file: BinaryIO, page: Page, block: int, wanted: int) -> bytes:
    """The first bytes of a deflated block, after verifying its checksum."""
    size, data = int(page.byte_counts[block]), b""
    file.seek(int(page.offsets[block]))
    packed = file.read(size)
    with suppress(zlib.error):
        packed = packed.translate(_REVERSED) if page.reversed else packed
        if size * _MOST_DEFLATED <= _MOST_DECODED:
            data = zlib.decompress(packed, bufsize=wanted + 1)
        else:
            inflater = zlib.decompressobj()
            data = inflater.decompress(packed, wanted + 1)
            data = data if inflater.eof else b""
    if len(data) != wanted:
        raise DataError(
            f"TIFF file is damaged: wrong checksum in {page.kind} {block:,}"
        )
    return data


def _opened(path: Path, data: bytes | None) -> BinaryIO:
    return path.open("rb") if data is None else io.BytesIO(data)


def _checked_pages(opened: Opened, most: int) -> list[Page]:
    """The pages of a file, after checking all tables."""
    with opened() as file:
        size = file.seek(0, io.SEEK_END)
        tables = read_tables(file, size)
        # Check the layout before decoding, so that blocks cannot overlap.
        check_layout(file, size, tables)
        known = set[tuple[int, ...]]()
        for page in tables.pages:
            if page.width * page.length <= most:
                _check_end(file, page, known)
    return tables.chain


def _check_end(file: BinaryIO, page: Page, known: set[tuple[int, ...]]) -> None:
    """Check that the shortest block of a page has no excess data.

    A wrong width or depth affects every block. GDAL reports blocks that are too short,
    but stops reading at the end of the pixels.
    """
    if page.compression not in _UNSUMMED or page.left_out.all():
        return
    counts = np.where(page.left_out, np.iinfo(np.int64).max, page.byte_counts)
    which = int(counts.argmin())
    place, length = int(page.offsets[which]), int(page.byte_counts[which])
    wanted = int(page.decoded_bytes()[which])
    block = (place, length, wanted, page.compression, page.reversed)
    if length > _MOST_PACKED or wanted > _MOST_DECODED or block in known:
        return
    known.add(block)
    check_memory(2 * wanted, "save it in smaller tiles")
    file.seek(place)
    if _holds_more(page, file.read(length), wanted):
        raise DataError(
            f"TIFF file is damaged: a {page.kind} has more data than its pixels"
        )


def _holds_more(page: Page, packed: bytes, wanted: int) -> bool:
    """Whether a compressed block has more than `wanted` bytes.

    GDAL decodes it as the only row of a file that is one byte longer.
    """
    tags = (
        *((256, wanted + 1), (257, 1), (258, 8), (259, page.compression), (262, 1)),
        *((266, 1 + page.reversed), (273, _STRIP_PLACE), (277, 1), (278, 1)),
        (279, len(packed)),
    )
    head = struct.pack("<2sHIH", b"II", 42, 8, len(tags))
    table = b"".join(struct.pack("<HHII", tag, 4, 1, value) for tag, value in tags)
    data = (head + table + bytes(4)).ljust(_STRIP_PLACE, b"\0") + packed
    raster = OpenRaster(Source("strip", "GTiff", data))
    with suppress(DataError), quiet(raster.source):
        # Request a single pixel, so that the row is decoded but not copied.
        raster.dataset.read(1, window=((0, 1), (0, 1)))
        return True
    return False


def _check_sums(
    opened: Opened, pages: tuple[Page | None, ...], start: int, stop: int
) -> None:
    """Inflate the deflated blocks of some rows to verify their checksums.

    GDAL stops at the last pixel, before the checksum at the end of a block.
    """
    for page in pages:
        if page is None or page.compression not in DEFLATE:
            continue
        top, bottom = start // page.block_length, -(-stop // page.block_length)
        planes = np.arange(page.needed).reshape(-1, page.down, page.across)
        wanted = page.decoded_bytes()
        with opened() as file:
            for block in planes[:, top:bottom].ravel().tolist():
                if page.byte_counts[block]:
                    _inflated(file, page, block, int(wanted[block]))


def _hide(blocks: Blocks, mask: Source) -> Iterator[Block]:
    """Hide the pixels where a mask is 0."""
    raster = OpenRaster(mask)
    for block in blocks():
        height, width = block.values.shape[:2]
        rows = (block.row, block.row + height)
        window = (rows, (block.column, block.column + width))
        with quiet(mask), no_warnings(mask.path):
            hidden = raster.dataset.read(1, window=window) == 0
        half = None if block.half is None else block.half & ~hidden
        if block.hidden is not None:
            hidden |= block.hidden
        yield block._replace(hidden=hidden, half=half)
