"""Rasters read by GDAL in windows: TIFF, PNG of unusual depth, grey JPEG.

GDAL is restricted to mask formats and to the file itself: sidecar files, network and
virtual rasters are disabled. After a damaged fax line or a truncated JPEG, GDAL warns
and fills the rest. Therefore warnings during decoding, which GDAL sends to rasterio's
logger, are errors here.
"""

from __future__ import annotations

import logging
import re
import sys
import threading
import warnings
import weakref
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Literal, NamedTuple

import numpy as np

from cdstats.core.counts import MINISWHITE, YCBCR
from cdstats.core.errors import DataError
from cdstats.io.blocks import BLOCK_PIXELS, Block, OpenImage, check_band, expand, names
from cdstats.io.georeference import georeference_of
from cdstats.io.limits import check_memory
from cdstats.io.sidecars import declared_nodata
from cdstats.io.signatures import open_regular

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from numpy.typing import NDArray
    from rasterio.io import DatasetReader

    from cdstats.io.georeference import Where

_JPEG: Final = {"JPEG": " (JPEG)", "YCbCr JPEG": YCBCR}
"""Suffix of the format name of a TIFF, by compression as named by GDAL."""
_IN_MEMORY: Final = "cdstats-image"
"""Fixed name of in-memory files, instead of a random one."""
_OWN_NAMES: Final = re.compile(
    rf"(GTIFF_DIR:off:\d+:)?(/vsimem/[\w./-]*|/dev/fd/\d+|{_IN_MEMORY})(\.\w+)?"
)
_OPTIONS: Final = {
    "GDAL_DISABLE_READDIR_ON_OPEN": "EMPTY_DIR",
    "GDAL_PAM_ENABLED": False,
    "GDAL_CACHEMAX": 64,
    "GTIFF_REPORT_COMPD_CS": False,
}


@dataclass(frozen=True, slots=True)
class Source:
    """A file for GDAL to open.

    Attributes:
        data: Content of the file if already read.
        offset: Offset of a TIFF directory; 0 for the first page, which is the only
            one with overviews and mask.
    """

    path: str
    driver: Literal["GTiff", "PNG", "JPEG"]
    data: bytes | None = None
    offset: int = 0


class OpenRaster:
    """A dataset that opens on demand and closes when dropped."""

    def __init__(self, source: Source) -> None:
        self.source = source
        self._stack = ExitStack()
        self._dataset: DatasetReader | None = None
        weakref.finalize(self, self._stack.close)

    @property
    def dataset(self) -> DatasetReader:
        """The open dataset."""
        if self._dataset is None:
            with ExitStack() as stack, quiet(self.source):
                self._dataset = self._open(stack)
                self._stack.push(stack.pop_all())
        return self._dataset

    def close(self) -> None:
        """Close the dataset until its next use."""
        self._dataset = None
        self._stack.close()

    def _open(self, stack: ExitStack) -> DatasetReader:
        import rasterio
        from rasterio.io import MemoryFile

        source = self.source
        name = str(Path(source.path).absolute())
        if source.data is not None:
            memory = MemoryFile(source.data, filename=_IN_MEMORY)
            name = stack.enter_context(memory).name
        elif name != name.encode(errors="replace").decode():
            # GDAL needs valid text as a name, so pass a file descriptor instead.
            file = stack.enter_context(open_regular(name)[0])
            name = f"/dev/fd/{file.fileno()}"
        # A Path is never interpreted as an address.
        at = f"GTIFF_DIR:off:{source.offset}:{name}" if source.offset else Path(name)
        return stack.enter_context(rasterio.open(at, driver=source.driver))


@contextmanager
def quiet(source: Source) -> Iterator[None]:
    """Run one GDAL call with our options and errors, and without warnings.

    Never hold it across a yield: environments must close in reverse order, but two
    rasters may be read alternately.
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
            raise DataError("has a name that is not valid Unicode; rename it") from None
        except Exception as error:  # noqa: BLE001 - GDAL's errors share no public base
            raise DataError(
                f"cannot be decoded: {_cause(error, source.path)}"
            ) from None


def _cause(error: BaseException, path: str) -> str:
    """The message of the innermost error."""
    while error.__cause__ is not None:
        error = error.__cause__
    said = _decoded(error) if isinstance(error, UnicodeDecodeError) else str(error)
    return _said(said, path) or "damaged or cut short"


def _said(text: str, path: str) -> str:
    """A GDAL message on one line, with "the file" for internal names."""
    text = " ".join(text.split())
    for name in (str(Path(path).absolute()), path):
        text = text.replace(name, "the file")
    return _OWN_NAMES.sub("the file", text)


def _decoded(error: UnicodeDecodeError) -> str:
    """A GDAL message that rasterio could not decode."""
    return error.object.decode("utf-8", "backslashreplace")


_LOGGER: Final = logging.getLogger("rasterio._err")


class _MessageFilter(logging.Filter):
    """Captures the messages of listening threads and passes all others.

    The logger's level is lowered only while a thread listens, so that applications
    keep their level.
    """

    def __init__(self) -> None:
        super().__init__()
        self._threads = threading.local()
        self._lock = threading.Lock()
        self._listening = 0
        self._level = logging.NOTSET
        self._hook = sys.unraisablehook

    @contextmanager
    def capture(self) -> Iterator[list[str]]:
        """Capture the messages of this thread."""
        said: list[str] = []
        self._threads.said = said
        with self._lock:
            self._listening += 1
            if self._listening == 1:
                self._level = _LOGGER.level
                # GDAL reports nonfatal errors at this level.
                _LOGGER.setLevel(logging.INFO)
                # Messages that are not UTF-8 raise in rasterio's handler.
                self._hook, sys.unraisablehook = sys.unraisablehook, self._unraisable
        try:
            yield said
        finally:
            self._threads.said = None
            with self._lock:
                self._listening -= 1
                if not self._listening:
                    _LOGGER.setLevel(self._level)
                    sys.unraisablehook = self._hook

    def _keep(self, text: str) -> bool:
        said: list[str] | None = getattr(self._threads, "said", None)
        if said is not None:
            said.append(text)
        return said is not None

    def _unraisable(self, raised: sys.UnraisableHookArgs) -> None:
        error = raised.exc_value
        if not (isinstance(error, UnicodeDecodeError) and self._keep(_decoded(error))):
            self._hook(raised)

    def filter(self, record: logging.LogRecord) -> bool:
        """Whether a message is passed on to other loggers."""
        if self._keep(record.getMessage()):
            return False
        usual = logging.getLogger("rasterio").getEffectiveLevel()
        return record.levelno >= (self._level or usual if self._listening else 0)


_MESSAGES: Final = _MessageFilter()
_LOGGER.addFilter(_MESSAGES)


@contextmanager
def no_warnings(path: str) -> Iterator[None]:
    """Turn GDAL warnings during decoding into errors."""
    with _MESSAGES.capture() as said:
        yield
    if said:
        raise DataError(f"cannot be decoded: {_said(said[0], path)}")


MOST_BANDS: Final = 64
"""Most bands that are compared for equality."""
_ONE_BIT: Final = bytes(3) + bytes([255] * 3)
"""Black and white palette, which GDAL adds to 1-bit TIFF files."""


class BandsError(DataError):
    """An image needs a choice of band; for masks with ``--band``."""


@dataclass(frozen=True, slots=True)
class Known:
    """Facts that override or complete those from GDAL.

    Attributes:
        alpha_band: Opacity band, if the file does not declare it.
        hidden_colour: Values of all bands that mean transparent.
        nodata: Nodata as text, because GDAL rounds 64-bit integers and reads invalid
            text as 0.
        colormap: Palette of a TIFF with 16 bits, which GDAL reduces to 8.
    """

    band: int | None
    alpha_band: int | None = None
    hidden_colour: tuple[int, ...] | None = None
    nodata: str | None = None
    colormap: NDArray[np.unsignedinteger] | None = None


def open_raster(
    source: Source,
    known: Known,
    member: str = "",
    check: Callable[[int, int], object] | None = None,
    *,
    kept_open: bool = True,
) -> OpenImage:
    """Open a single image with GDAL."""
    from rasterio.enums import Interleaving

    raster = OpenRaster(source)
    dataset = raster.dataset
    with quiet(source):
        layout = _Layout(dataset, known)
        nodata = declared_nodata(known.nodata, layout.dtype, layout.colours)
        block_rows = dataset.block_shapes[0][0]
        together = dataset.interleaving is Interleaving.pixel
    check_windows(
        (dataset.width, dataset.height),
        dataset.block_shapes[0],
        layout.dtype.itemsize * (dataset.count if together else 1),
        layout.dtype.itemsize * len(layout.bands),
    )
    height = dataset.height

    def part(start: int, stop: int) -> Iterator[Block]:
        if check is not None:
            check(start, stop)
        return _blocks(raster, layout, start, stop)

    image = OpenImage(
        member,
        dataset.width,
        height,
        layout.format,
        lambda: part(0, height),
        nodata=nodata,
        palette=names(layout.colours) if layout.colours else None,
        bands=len(layout.bands),
        part=part,
        block_rows=block_rows,
        georeference=partial(georeference, raster),
    )
    if not kept_open:
        raster.close()
    return image


def georeference(raster: OpenRaster) -> Where | None:
    """The georeference of a dataset; None if it has none."""
    with quiet(raster.source):
        return georeference_of(raster.dataset)


class _Layout:
    """The bands of a dataset that have values or opacity, and how to read them."""

    def __init__(self, dataset: DatasetReader, known: Known) -> None:
        from rasterio.enums import ColorInterp, MaskFlags

        band, alpha_band = known.band, known.alpha_band
        self.hidden_colour = known.hidden_colour

        kinds = dataset.colorinterp
        marked = next(
            (i for i in dataset.indexes if kinds[i - 1] is ColorInterp.alpha), None
        )
        self.alpha = alpha_band or marked
        bands = [i for i in dataset.indexes if i != self.alpha]
        if band is not None:
            bands = [check_band(band, dataset.count)]
        if len(bands) > MOST_BANDS:
            raise BandsError(f"{len(bands):,} bands; choose one with --band")
        self.bands = bands or [1]
        dtype = np.dtype(dataset.dtypes[self.bands[0] - 1])
        self.dtype = dtype
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
        if dataset.driver == "GTiff":
            self.format += _JPEG.get(structure.get("COMPRESSION"), "")
        if white:
            self.format += MINISWHITE
        if self.colours and known.colormap is not None:
            _check_colours(self.colours, known.colormap)


def _palette(dataset: DatasetReader, band: int) -> bytes:
    """The palette of a band; empty for the default one of 1-bit TIFF files."""
    if dataset.driver == "PNG":
        return b""
    try:
        table = dataset.colormap(band)
    except ValueError:
        return b""
    colours = b"".join(bytes(table[index][:3]) for index in sorted(table))
    return b"" if dataset.driver == "GTiff" and colours == _ONE_BIT else colours


def _check_colours(colours: bytes, colormap: NDArray[np.unsignedinteger]) -> None:
    """Refuse a palette whose colours become equal in 8 bits."""
    whole = colormap[: colormap.size // 3 * 3].reshape(3, -1)
    of_16_bits = set(zip(*whole.tolist(), strict=True))
    of_8_bits = {colours[at : at + 3] for at in range(0, len(colours), 3)}
    if len(of_8_bits) < len(of_16_bits):
        raise DataError(
            f"{len(of_16_bits):,} colours of its palette become {len(of_8_bits):,} in "
            "8 bits; save its indices without a palette"
        )


def _blocks(
    raster: OpenRaster, layout: _Layout, start: int, stop: int
) -> Iterator[Block]:
    dataset = raster.dataset
    try:
        for window in windows(dataset.width, start, stop, *dataset.block_shapes[0]):
            with quiet(raster.source), no_warnings(raster.source.path):
                block = _read(dataset, layout, window)
            yield block
    finally:
        raster.close()


class Window(NamedTuple):
    """Rows and columns of a window, each from start to stop (exclusive)."""

    rows: tuple[int, int]
    columns: tuple[int, int]


def windows(
    width: int, start: int, stop: int, block_height: int, block_width: int
) -> Iterator[Window]:
    """Windows of whole file blocks that cover some rows of an image.

    Example:
        >>> list(windows(100, 0, 70, 32, 100))
        [Window(rows=(0, 70), columns=(0, 100))]
    """
    across = max(BLOCK_PIXELS // (block_height * block_width), 1) * block_width
    columns = min(across, width)
    down = max(BLOCK_PIXELS // (block_height * columns), 1) * block_height
    for row in range(start, stop, down):
        for column in range(0, width, columns):
            yield Window(
                (row, min(row + down, stop)), (column, min(column + columns, width))
            )


def check_windows(
    size: tuple[int, int], block: tuple[int, int], decoded: int, wanted: int
) -> None:
    """Check that a window fits in memory.

    Whole blocks are decoded and copied to the window, which is counted in a copy.
    """
    rows, columns = next(windows(size[0], 0, size[1], *block))
    pixels = (rows[1] - rows[0]) * (columns[1] - columns[0])
    tiles = "smaller tiles" if block[0] > 1 else "tiles, because its rows are too long"
    check_memory(
        2 * block[0] * block[1] * decoded + 2 * pixels * wanted, f"save it in {tiles}"
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
    return Block(window.rows[0], window.columns[0], shown, hidden, half)


def split_opacity(
    alpha: NDArray[Any],
) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """Masks of fully and of partially transparent pixels."""
    full = np.iinfo(alpha.dtype).max if alpha.dtype.kind in "iu" else 1
    return alpha == 0, (alpha != 0) & (alpha != full)


def _values(
    bands: NDArray[Any], layout: _Layout, hidden: NDArray[np.bool_] | None
) -> NDArray[Any]:
    """The values of a window: one band, colours, or bands that are all equal."""
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
