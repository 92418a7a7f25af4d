"""Rasters read by GDAL, window by window: TIFF, BMP, and PNG of unusual depth.

GDAL is kept to the formats of masks and to the file itself: no sidecar file, no
network and no virtual raster is followed.
"""

from __future__ import annotations

import logging
import math
import os
import warnings
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Literal

import numpy as np

from cdstats.core.counts import NAN
from cdstats.core.errors import DataError
from cdstats.io.blocks import BLOCK_PIXELS, Block, OpenImage
from cdstats.io.hearing import no_warnings
from cdstats.io.palettes import expand, greys, names
from cdstats.io.tiff import check_rows, check_tiff

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray
    from rasterio.io import DatasetReader
    from rasterio.windows import Window

    from cdstats.core.counts import Value

_OPTIONS: Final = {
    "GDAL_DISABLE_READDIR_ON_OPEN": "EMPTY_DIR",
    "GDAL_PAM_ENABLED": False,
    "GDAL_CACHEMAX": 64,
    "GTIFF_POINT_GEO_IGNORE": True,
    "GTIFF_REPORT_COMPD_CS": False,
}
_MOST_BANDS: Final = 64
"""Bands that are read together to see whether they are the same."""
# What GDAL warns of reaches the user as the reason of a row, or not at all.
logging.getLogger("rasterio").addHandler(logging.NullHandler())


@dataclass(frozen=True, slots=True)
class Source:
    """What GDAL is to open.

    Attributes:
        path: The file, or a page of it in GDAL's notation.
        driver: The one driver that may read it.
        data: The file's bytes, if they have been read.
        is_page: Whether the path is that of a page.
    """

    path: str
    driver: Literal["GTiff", "BMP", "PNG", "JPEG"]
    data: bytes | None = None
    is_page: bool = False

    @property
    def place(self) -> Path | str:
        """What GDAL is given: a file's name is never taken for an address."""
        return self.path if self.is_page else Path(self.path).absolute()


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
    with _opened(source) as dataset:
        choice = _Choice(band, alpha_band, hidden_colour)
        return _describe(dataset, "", source, choice)


def open_tiff(path: Path, band: int | None) -> list[OpenImage]:
    """Open every page of a TIFF file; overviews and masks are no pages.

    Raises:
        DataError: If the file cannot be opened or its bands need a choice.
    """
    check_tiff(path)
    source = Source(str(path), "GTiff")
    with _opened(source) as dataset:
        pages = list(dataset.subdatasets)
        if len(pages) < 2:
            return [_describe(dataset, "", source, _Choice(band))]
    return [_open_page(page, number, band) for number, page in enumerate(pages)]


def _open_page(page: str, number: int, band: int | None) -> OpenImage:
    source = Source(page, "GTiff", is_page=True)
    with _opened(source) as dataset:
        return _describe(dataset, f"#{number}", source, _Choice(band))


@dataclass(frozen=True, slots=True)
class _Choice:
    """What the caller knows of the bands; see `open_raster`."""

    band: int | None
    alpha_band: int | None = None
    hidden_colour: tuple[int, ...] | None = None


def _describe(
    dataset: DatasetReader, member: str, source: Source, choice: _Choice
) -> OpenImage:
    with _quiet(source):
        layout = _Layout(dataset, choice)
        nodata = _nodata(dataset, layout)
    return OpenImage(
        member,
        dataset.width,
        dataset.height,
        "TIFF" if source.driver == "GTiff" else source.driver,
        lambda: _blocks(source, choice),
        nodata=nodata,
        palette=names(layout.colours) if layout.colours else None,
        bands=len(layout.bands),
    )


@contextmanager
def _opened(source: Source) -> Iterator[DatasetReader]:
    """An open dataset; what GDAL refuses is a `DataError`."""
    import rasterio
    from rasterio.io import MemoryFile

    with ExitStack() as stack:
        with _quiet(source):
            if source.data is None:
                dataset = rasterio.open(source.place, driver=source.driver)
            else:
                memory = stack.enter_context(MemoryFile(source.data))
                dataset = memory.open(driver=source.driver)
        yield stack.enter_context(dataset)


@contextmanager
def _quiet(source: Source) -> Iterator[None]:
    """GDAL's options for one call, its warnings unseen, its errors ours.

    It is never held while a generator waits: environments close in the order opposite
    to their opening, and two rasters may be read in turn.
    """
    import rasterio
    from rasterio.errors import NotGeoreferencedWarning

    with rasterio.Env(**_OPTIONS), warnings.catch_warnings():
        warnings.simplefilter("ignore", NotGeoreferencedWarning)
        try:
            yield
        except (DataError, MemoryError):
            raise
        except UnicodeEncodeError:
            raise DataError("has a name that is no valid text; rename it") from None
        except Exception as error:  # noqa: BLE001 - GDAL's errors share no public base
            raise DataError(
                f"cannot be decoded: {_cause(error, source.path)}"
            ) from None


def _cause(error: Exception, path: str) -> str:
    """What GDAL says, in one line without its own names for the file."""
    deepest: BaseException = error
    while deepest.__cause__ is not None:
        deepest = deepest.__cause__
    text = " ".join(str(deepest).split()).replace(path, "the file")
    return text or "damaged or cut short"


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
                has = "1 band" if dataset.count == 1 else f"{dataset.count} bands"
                raise DataError(f"has {has}; band {band} was asked for")
            bands = [band]
        if len(bands) > _MOST_BANDS:
            raise DataError(f"{len(bands):,} bands; choose one with --band")
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
        self.colours = _palette(dataset, self.bands[0])


def _palette(dataset: DatasetReader, band: int) -> bytes:
    """The colours of a band; none for a 1-bit TIFF, whose palette a reader adds."""
    one_bit = dataset.tags(band, ns="IMAGE_STRUCTURE").get("NBITS") == "1"
    white = dataset.tags(ns="IMAGE_STRUCTURE").get("MINISWHITE") == "YES"
    if dataset.driver == "PNG" or (dataset.driver == "GTiff" and (one_bit or white)):
        return b""
    try:
        table = dataset.colormap(band)
    except ValueError:
        return b""
    return b"".join(bytes(table[index][:3]) for index in sorted(table))


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


def _check_sums(source: Source, height: int) -> None:
    """Check the sums that a TIFF file keeps of its pixels."""
    if source.driver != "GTiff":
        return
    place, page = source.path, 0
    if source.is_page:
        _, number, place = source.path.split(":", 2)
        page = int(number) - 1
    with Path(place).open("rb") as file:
        check_rows(file, os.fstat(file.fileno()).st_size, page, 0, height)


def _blocks(source: Source, choice: _Choice) -> Iterator[Block]:
    with _opened(source) as dataset:
        with _quiet(source):
            layout = _Layout(dataset, choice)
        _check_sums(source, dataset.height)
        for window in windows(dataset.width, dataset.height, *dataset.block_shapes[0]):
            with _quiet(source), no_warnings():
                block = _read(dataset, layout, window)
            yield block


def windows(
    width: int, height: int, block_height: int, block_width: int
) -> Iterator[Window]:
    """Windows that cover an image, made of whole blocks of its file.

    Example:
        >>> [(w.row_off, w.height) for w in windows(100, 70, 32, 100)]
        [(0, 70)]
    """
    from rasterio.windows import Window

    across = max(BLOCK_PIXELS // (block_height * block_width), 1) * block_width
    columns = min(across, width)
    down = max(BLOCK_PIXELS // (block_height * columns), 1) * block_height
    for row in range(0, height, down):
        for column in range(0, width, columns):
            yield Window(
                column, row, min(columns, width - column), min(down, height - row)
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
        raise DataError(
            f"{len(bands)} bands with different content; choose one with --band"
        )
    first: NDArray[Any] = bands[0]
    return first
