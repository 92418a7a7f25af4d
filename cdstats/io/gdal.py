"""Opening a file with GDAL, once, for as long as its pixels are read.

GDAL is kept to the formats of masks and to the file itself: no sidecar file, no
network and no virtual raster is followed.
"""

from __future__ import annotations

import re
import struct
import warnings
import weakref
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final, Literal

from cdstats.core.errors import DataError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from rasterio.io import DatasetReader

_OPTIONS: Final = {
    "GDAL_DISABLE_READDIR_ON_OPEN": "EMPTY_DIR",
    "GDAL_PAM_ENABLED": False,
    "GDAL_CACHEMAX": 64,
    "GTIFF_REPORT_COMPD_CS": False,
}
_STRIP_PLACE: Final = 128


@dataclass(frozen=True, slots=True)
class Source:
    """What GDAL is to open.

    Attributes:
        path: The file.
        driver: The one driver that may read it.
        data: The file's bytes, if they have been read.
        page: The directory of a TIFF file, counted from 1; 0 for the first image.
    """

    path: str
    driver: Literal["GTiff", "BMP", "PNG", "JPEG"]
    data: bytes | None = None
    page: int = 0

    def place(self, name: str) -> Path | str:
        """What GDAL is given: a file's name is never taken for an address."""
        return f"GTIFF_DIR:{self.page}:{name}" if self.page else Path(name)


class OpenRaster:
    """A dataset that stays open until its pixels are read, or nobody wants them.

    Args:
        source: The file.

    Raises:
        DataError: If GDAL does not open it.
    """

    def __init__(self, source: Source) -> None:
        self.source = source
        self._stack = ExitStack()
        self._dataset: DatasetReader | None = self._open()
        weakref.finalize(self, self._stack.close)

    @property
    def dataset(self) -> DatasetReader:
        """The dataset, opened again if it was closed."""
        if self._dataset is None:
            self._dataset = self._open()
        return self._dataset

    def close(self) -> None:
        """Close the dataset until it is asked for again."""
        self._dataset = None
        self._stack.close()

    def _open(self) -> DatasetReader:
        import rasterio
        from rasterio.io import MemoryFile

        source = self.source
        name = str(Path(source.path).absolute())
        with ExitStack() as stack, quiet(source):
            if source.data is None and not _is_text(name):
                # GDAL takes names that are text alone: the file is given by its number.
                file = stack.enter_context(Path(name).open("rb"))
                name = f"/dev/fd/{file.fileno()}"
            if source.data is not None:
                memory = stack.enter_context(MemoryFile(source.data))
                name = memory.name
            if source.data is None or source.page:
                dataset = rasterio.open(source.place(name), driver=source.driver)
            else:
                dataset = memory.open(driver=source.driver)
            stack.enter_context(dataset)
            self._stack.push(stack.pop_all())
        return dataset


def _is_text(name: str) -> bool:
    """Whether a name is valid text; others are kept byte by byte."""
    try:
        name.encode()
    except UnicodeEncodeError:
        return False
    return True


def holds_more(packing: int, packed: bytes, wanted: int) -> bool:
    """Whether a packed strip of a TIFF holds more bytes than wanted.

    It is tried: as the one row of a file that is longer by a byte.

    Args:
        packing: The compression, by its number in TIFF.
        packed: The strip.
        wanted: Bytes that it should unpack to.
    """
    tags = (
        *((256, wanted + 1), (257, 1), (258, 8), (259, packing), (262, 1)),
        *((273, _STRIP_PLACE), (277, 1), (278, 1), (279, len(packed))),
    )
    head = struct.pack("<2sHIH", b"II", 42, 8, len(tags))
    table = b"".join(struct.pack("<HHII", tag, 4, 1, value) for tag, value in tags)
    data = (head + table + bytes(4)).ljust(_STRIP_PLACE, b"\0") + packed
    raster = OpenRaster(Source("strip", "GTiff", data))
    try:
        with quiet(raster.source):
            raster.dataset.read(1)
    except DataError:
        return False
    finally:
        raster.close()
    return True


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


def _cause(error: Exception, path: str) -> str:
    """What GDAL says, in one line without its own names for the file."""
    deepest: BaseException = error
    while deepest.__cause__ is not None:
        deepest = deepest.__cause__
    text = " ".join(str(deepest).split()).replace(path, "the file")
    return re.sub(r"/vsimem/[\w./-]*\w", "the file", text) or "damaged or cut short"
