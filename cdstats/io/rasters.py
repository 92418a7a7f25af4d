"""Rasters read by GDAL, window by window: TIFF, BMP, and PNG of unusual depth."""

from __future__ import annotations

import io
import math
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from cdstats.core.counts import MINISWHITE, NAN
from cdstats.core.errors import DataError
from cdstats.core.messages import counted
from cdstats.io.blocks import BLOCK_PIXELS, Block, OpenImage
from cdstats.io.gdal import OpenRaster, Source, quiet
from cdstats.io.georeference import georeference_of
from cdstats.io.hearing import no_warnings
from cdstats.io.palettes import expand, greys, names
from cdstats.io.tiff import check_rows

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray
    from rasterio.io import DatasetReader
    from rasterio.windows import Window

    from cdstats.core.counts import Value
    from cdstats.io.georeference import Georeference
    from cdstats.io.strips import Strips

MOST_BANDS: Final = 64
"""Bands that are read together to see whether they are the same."""
_ONE_BIT: Final = bytes(3) + bytes([255] * 3)
"""The palette that GDAL adds to a TIFF of 1 bit: black and white."""
_WHOLE_DATASET: Final = 2
"""The flag of a mask file whose first band is the mask of every band."""
_MOST_OPEN: Final = 32
"""Pages of a file that are kept open at a time; further ones are opened again."""


class BandsError(DataError):
    """The bands of an image need a choice; a mask takes it from ``--band``."""


def open_raster(
    source: Source,
    band: int | None,
    *,
    alpha_band: int | None = None,
    hidden_colour: tuple[int, ...] | None = None,
) -> OpenImage:
    """Open a single image that GDAL reads.

    Args:
        source: The file.
        band: The band to read, counted from 1; None for the only one.
        alpha_band: The band that holds opacity, where the file does not say so itself.
        hidden_colour: The values of all bands that make a pixel transparent.

    Raises:
        DataError: If the file cannot be opened or its bands need a choice.
    """
    choice = _Choice(band, alpha_band, hidden_colour)
    return _describe(OpenRaster(source), "", choice)


def open_tiff(
    path: Path, data: bytes | None, band: int | None, chain: list[Strips]
) -> list[OpenImage]:
    """Open every page of a TIFF file; overviews and masks are no pages.

    Args:
        path: The file.
        data: Its bytes, or None when it is too large to hold.
        band: The band to read, counted from 1; None where there is one choice.
        chain: What its tables say of the pages that follow one another.

    Raises:
        DataError: If the file cannot be opened, its bands need a choice, or GDAL finds
            other pages than its tables hold.
    """
    raster = OpenRaster(Source(str(path), "GTiff", data))
    with quiet(raster.source):
        pages = [int(name.split(":", 2)[1]) for name in raster.dataset.subdatasets]
    images = [number for number, page in enumerate(chain, 1) if page.is_image]
    if pages != (images if len(images) > 1 else []):
        raise DataError(
            f"TIFF file is damaged: {len(pages):,} of {counted(len(images), 'page')} "
            "can be read"
        )
    if len(pages) < 2:
        image = _describe(raster, "", _Choice(band))
        # A strip is unpacked from its start for every part of its rows.
        return [replace(image, block_rows=max(chain[0].rows_at_once, image.block_rows))]
    raster.close()
    return [
        _open_page(replace(raster.source, page=page), number, band)
        for number, page in enumerate(pages)
    ]


def _open_page(source: Source, number: int, band: int | None) -> OpenImage:
    page = OpenRaster(source)
    image = _describe(page, f"#{number}", _Choice(band))
    if number >= _MOST_OPEN:
        page.close()
    return replace(image, part=None)


@dataclass(frozen=True, slots=True)
class _Choice:
    """What the caller knows of the bands; see `open_raster`."""

    band: int | None
    alpha_band: int | None = None
    hidden_colour: tuple[int, ...] | None = None


def _describe(raster: OpenRaster, member: str, choice: _Choice) -> OpenImage:
    dataset = raster.dataset
    with quiet(raster.source):
        layout = _Layout(dataset, choice)
        nodata = _nodata(dataset, layout)
        block_rows = dataset.block_shapes[0][0]
    height = dataset.height
    return OpenImage(
        member,
        dataset.width,
        height,
        layout.format,
        lambda: _blocks(raster, layout, 0, height),
        nodata=nodata,
        palette=names(layout.colours) if layout.colours else None,
        bands=len(layout.bands),
        part=lambda start, stop: _blocks(raster, layout, start, stop),
        block_rows=block_rows,
        georeference=partial(_georeference, raster),
    )


def _georeference(raster: OpenRaster) -> Georeference | None:
    with quiet(raster.source):
        return georeference_of(raster.dataset)


class _Layout:
    """Which bands of a dataset hold values, which one opacity, and how to read them."""

    def __init__(self, dataset: DatasetReader, choice: _Choice) -> None:
        from rasterio.enums import ColorInterp, MaskFlags

        band, alpha_band = choice.band, choice.alpha_band
        self.hidden_colour = choice.hidden_colour

        kinds = dataset.colorinterp
        marked = next(
            (i for i in dataset.indexes if kinds[i - 1] is ColorInterp.alpha), None
        )
        self.alpha = alpha_band or marked
        bands = [i for i in dataset.indexes if i != self.alpha]
        if band is not None:
            if band not in dataset.indexes:
                has = counted(dataset.count, "band")
                raise DataError(f"has {has}; band {band} was asked for")
            bands = [band]
        if len(bands) > MOST_BANDS:
            raise BandsError(f"{len(bands):,} bands; choose one with --band")
        self.bands = bands or [1]
        dtype = np.dtype(dataset.dtypes[self.bands[0] - 1])
        if dtype.kind not in "biuf":
            raise DataError(f"holds {dtype} numbers; expected real ones")
        rgb = (ColorInterp.red, ColorInterp.green, ColorInterp.blue)
        self.is_colour = (
            len(self.bands) == 3
            and dtype == np.uint8
            and (
                tuple(kinds[i - 1] for i in self.bands) == rgb or alpha_band is not None
            )
        )
        flags = dataset.mask_flag_enums[self.bands[0] - 1]
        self.masked = MaskFlags.per_dataset in flags and MaskFlags.alpha not in flags
        structure = dataset.tags(ns="IMAGE_STRUCTURE")
        white = structure.get("MINISWHITE") == "YES"
        self.colours = b"" if white else _palette(dataset, self.bands[0])
        self.format = "TIFF" if dataset.driver == "GTiff" else dataset.driver
        if structure.get("COMPRESSION") == "JPEG" and dataset.driver == "GTiff":
            self.format += " (JPEG)"
        if white:
            self.format += MINISWHITE


def _palette(dataset: DatasetReader, band: int) -> bytes:
    """The colours of a band; none for those that a reader adds to a TIFF of 1 bit."""
    if dataset.driver == "PNG":
        return b""
    try:
        table = dataset.colormap(band)
    except ValueError:
        return b""
    colours = b"".join(bytes(table[index][:3]) for index in sorted(table))
    return b"" if dataset.driver == "GTiff" and colours == _ONE_BIT else colours


def _nodata(dataset: DatasetReader, layout: _Layout) -> Value | None:
    """The declared nodata value; a PNG's is transparency and read as such."""
    nodata = dataset.nodatavals[layout.bands[0] - 1]
    if nodata is None or dataset.driver == "PNG":
        return None
    if math.isnan(nodata):
        return NAN
    value = int(nodata) if float(nodata).is_integer() else float(nodata)
    grey = greys(layout.colours)
    if grey is not None and value in range(len(grey)):
        # The values are expanded to greys, so this one is too.
        return grey[int(value)]
    return value


def _check_sums(source: Source, start: int, stop: int) -> None:
    """Check the sums that a TIFF file keeps of the pixels of some rows."""
    if source.driver != "GTiff":
        return
    held = None if source.data is None else io.BytesIO(source.data)
    with held or Path(source.path).open("rb") as file:
        size = file.seek(0, io.SEEK_END)
        check_rows(file, size, max(source.page - 1, 0), start, stop)


def _blocks(
    raster: OpenRaster, layout: _Layout, start: int, stop: int
) -> Iterator[Block]:
    dataset = raster.dataset
    try:
        _check_sums(raster.source, start, stop)
        for window in windows(dataset.width, start, stop, *dataset.block_shapes[0]):
            with quiet(raster.source), no_warnings():
                block = _read(dataset, layout, window)
            yield block
    finally:
        raster.close()


def windows(
    width: int, start: int, stop: int, block_height: int, block_width: int
) -> Iterator[Window]:
    """Windows that cover rows of an image, made of whole blocks of its file.

    Args:
        width: Pixels in a row.
        start: First row, at the edge of a block.
        stop: The row after the last one.
        block_height: Rows of a block.
        block_width: Columns of a block.

    Example:
        >>> [(w.row_off, w.height) for w in windows(100, 0, 70, 32, 100)]
        [(0, 70)]
    """
    from rasterio.windows import Window

    across = max(BLOCK_PIXELS // (block_height * block_width), 1) * block_width
    columns = min(across, width)
    down = max(BLOCK_PIXELS // (block_height * columns), 1) * block_height
    for row in range(start, stop, down):
        for column in range(0, width, columns):
            yield Window(
                column, row, min(columns, width - column), min(down, stop - row)
            )


def _read(dataset: DatasetReader, layout: _Layout, window: Window) -> Block:
    values = dataset.read(layout.bands, window=window)
    hidden = half = None
    if layout.alpha is not None and layout.alpha not in layout.bands:
        hidden, half = split_opacity(dataset.read(layout.alpha, window=window))
    elif layout.masked:
        hidden = dataset.read_masks(layout.bands[0], window=window) == 0
    elif layout.hidden_colour is not None:
        key = np.array(layout.hidden_colour).reshape(-1, 1, 1)
        hidden = (dataset.read(window=window) == key).all(axis=0)
    shown = _values(values, layout, hidden)
    return Block(window.row_off, window.col_off, shown, hidden, half)


class MaskFile:
    """The mask file beside an image, ``a.tif.msk``: its 0 hides a pixel.

    Args:
        path: The mask file, whose tables have been checked.
        band: The band of the image that is read, counted from 1.
        size: Width and height of the image.

    Raises:
        DataError: If it cannot be opened, or GDAL would not use it for the image.
    """

    def __init__(self, path: str, band: int, size: tuple[int, int]) -> None:
        self._raster = OpenRaster(Source(path, "GTiff"))
        with quiet(self._raster.source):
            dataset = self._raster.dataset
            found = (dataset.width, dataset.height)
            flags = dataset.tags().get(f"INTERNAL_MASK_FLAGS_{band}", "")
            self._band = 1 if flags.isdigit() and int(flags) & _WHOLE_DATASET else band
            fits = flags.isdigit() and self._band <= dataset.count
        if found != size:
            raise DataError(
                f"is {found[0]} x {found[1]}, the image {size[0]} x {size[1]}"
            )
        if not fits:
            raise DataError(f"does not say that it masks band {band}")

    def hide(self, blocks: Iterator[Block]) -> Iterator[Block]:
        """Blocks of the image, what the mask file hides hidden."""
        from rasterio.windows import Window

        for block in blocks:
            height, width = block.values.shape[:2]
            source = self._raster.source
            _check_sums(source, block.row, block.row + height)
            window = Window(block.column, block.row, width, height)
            with quiet(source), no_warnings():
                hidden = self._raster.dataset.read(self._band, window=window) == 0
            half = None if block.half is None else block.half & ~hidden
            if block.hidden is not None:
                hidden |= block.hidden
            yield replace(block, hidden=hidden, half=half)
        self._raster.close()


def split_opacity(
    alpha: NDArray[Any],
) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """Where opacity is none, and where it is neither none nor full."""
    full = np.iinfo(alpha.dtype).max if alpha.dtype.kind in "iu" else 1
    return alpha == 0, (alpha != 0) & (alpha != full)


def _values(
    bands: NDArray[Any], layout: _Layout, hidden: NDArray[np.bool_] | None
) -> NDArray[Any]:
    """The values of a window: one band, colours, or bands that are all the same."""
    if len(bands) == 1:
        return expand(bands[0], layout.colours) if layout.colours else bands[0]
    if layout.is_colour:
        return np.moveaxis(bands, 0, -1)
    same = bands == bands[0]
    if bands.dtype.kind == "f":
        same |= np.isnan(bands) & np.isnan(bands[0])
    if hidden is not None:
        same |= hidden
    if not same.all():
        raise BandsError(
            f"{len(bands)} bands with different content; choose one with --band"
        )
    first: NDArray[Any] = bands[0]
    return first
