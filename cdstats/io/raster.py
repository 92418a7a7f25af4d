"""Rasters read by GDAL, window by window: TIFF, PNG of unusual depth, grey JPEG.

GDAL is kept to the formats of masks and to the file itself: no sidecar file, no
network and no virtual raster is followed. It reads on after a broken line of a fax
strip or a JPEG that ends early, warns, and fills the rest: so its warnings while it
decodes, which it sends to the logger of rasterio, are errors here.
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
"""What the format of a TIFF says, by its compression as GDAL names it."""
_IN_MEMORY: Final = "cdstats-image"
"""What GDAL calls a file in memory, instead of a random name."""
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
    """What GDAL is to open.

    Attributes:
        data: The file's bytes, if they have been read.
        offset: Where the directory of a TIFF page is; 0 for the first page, which
            alone has its overviews and mask.
    """

    path: str
    driver: Literal["GTiff", "PNG", "JPEG"]
    data: bytes | None = None
    offset: int = 0


class OpenRaster:
    """A dataset that is opened when it is needed, until it is closed or dropped."""

    def __init__(self, source: Source) -> None:
        self.source = source
        self._stack = ExitStack()
        self._dataset: DatasetReader | None = None
        weakref.finalize(self, self._stack.close)

    @property
    def dataset(self) -> DatasetReader:
        """The dataset, opened again if it was closed."""
        if self._dataset is None:
            with ExitStack() as stack, quiet(self.source):
                self._dataset = self._open(stack)
                self._stack.push(stack.pop_all())
        return self._dataset

    def close(self) -> None:
        """Close the dataset until it is asked for again."""
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
            # GDAL takes names that are text alone: the file is given by its number.
            file = stack.enter_context(open_regular(name)[0])
            name = f"/dev/fd/{file.fileno()}"
        # As a path, a file's name is never taken for an address.
        at = f"GTIFF_DIR:off:{source.offset}:{name}" if source.offset else Path(name)
        return stack.enter_context(rasterio.open(at, driver=source.driver))


@contextmanager
def quiet(source: Source) -> Iterator[None]:
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


def _cause(error: BaseException, path: str) -> str:
    """What GDAL says of a file."""
    while error.__cause__ is not None:
        error = error.__cause__
    said = _decoded(error) if isinstance(error, UnicodeDecodeError) else str(error)
    return _said(said, path) or "damaged or cut short"


def _said(text: str, path: str) -> str:
    """A message of GDAL in one line, without its own names for a file."""
    text = " ".join(text.split())
    for name in (str(Path(path).absolute()), path):
        text = text.replace(name, "the file")
    return _OWN_NAMES.sub("the file", text)


def _decoded(error: UnicodeDecodeError) -> str:
    """What GDAL said, of which rasterio could not make text."""
    return error.object.decode("utf-8", "backslashreplace")


_LOGGER: Final = logging.getLogger("rasterio._err")


class _Ear(logging.Filter):
    """Keeps the messages of threads that listen; those of other threads pass.

    The level of the logger is lowered only while a thread listens, so that a program
    that imports this package keeps its own.
    """

    def __init__(self) -> None:
        super().__init__()
        self._threads = threading.local()
        self._lock = threading.Lock()
        self._listening = 0
        self._level = logging.NOTSET
        self._hook = sys.unraisablehook

    @contextmanager
    def listening(self) -> Iterator[list[str]]:
        """What is said in this thread."""
        said: list[str] = []
        self._threads.said = said
        with self._lock:
            self._listening += 1
            if self._listening == 1:
                self._level = _LOGGER.level
                # GDAL's errors that do not end a read are told at this level.
                _LOGGER.setLevel(logging.INFO)
                # Text that is not UTF-8 raises in rasterio's handler.
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
        """Whether the loggers above receive a message."""
        if self._keep(record.getMessage()):
            return False
        usual = logging.getLogger("rasterio").getEffectiveLevel()
        return record.levelno >= (self._level or usual if self._listening else 0)


_EAR: Final = _Ear()
_LOGGER.addFilter(_EAR)


@contextmanager
def no_warnings(path: str) -> Iterator[None]:
    """Refuse what GDAL decodes with a warning."""
    with _EAR.listening() as said:
        yield
    if said:
        raise DataError(f"cannot be decoded: {_said(said[0], path)}")


MOST_BANDS: Final = 64
"""Bands that are read together to see whether they are the same."""
_ONE_BIT: Final = bytes(3) + bytes([255] * 3)
"""The palette that GDAL adds to a TIFF of 1 bit: black and white."""


class BandsError(DataError):
    """The bands of an image need a choice; a mask takes it from ``--band``."""


@dataclass(frozen=True, slots=True)
class Known:
    """What a reader knows of an image beside what GDAL says.

    Attributes:
        alpha_band: The band that holds opacity, where the file does not say so itself.
        hidden_colour: The values of all bands that make a pixel transparent.
        nodata: The text of the nodata value: GDAL rounds those of 64-bit integers, and
            takes a text without a number for 0.
        colormap: The palette of a TIFF, of 16 bits, which GDAL cuts to 8.
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
    """Open a single image that GDAL reads."""
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
    """Where a dataset says that its pixels lie on the ground."""
    with quiet(raster.source):
        return georeference_of(raster.dataset)


class _Layout:
    """Which bands of a dataset hold values, which one opacity, and how to read them."""

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
    """The colours of a band; none for those that a reader adds to a TIFF of 1 bit."""
    if dataset.driver == "PNG":
        return b""
    try:
        table = dataset.colormap(band)
    except ValueError:
        return b""
    colours = b"".join(bytes(table[index][:3]) for index in sorted(table))
    return b"" if dataset.driver == "GTiff" and colours == _ONE_BIT else colours


def _check_colours(colours: bytes, colormap: NDArray[np.unsignedinteger]) -> None:
    """Refuse a palette of which colours are the same once they are cut to 8 bits."""
    whole = colormap[: colormap.size // 3 * 3].reshape(3, -1)
    of_16_bits = set(zip(*whole.tolist(), strict=True))
    of_8_bits = {colours[at : at + 3] for at in range(0, len(colours), 3)}
    if len(of_8_bits) < len(of_16_bits):
        raise DataError(
            f"{len(of_16_bits):,} colours of its palette are {len(of_8_bits):,} in 8 "
            "bits; save its indices without a palette"
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
    """First row and the row after the last; the same of columns."""

    rows: tuple[int, int]
    columns: tuple[int, int]


def windows(
    width: int, start: int, stop: int, block_height: int, block_width: int
) -> Iterator[Window]:
    """Windows that cover rows of an image, made of whole blocks of its file.

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
    """Check that a window can be read and counted in memory.

    Whole blocks are decoded, and copied into the window; the window is compared or
    counted in a copy.
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
