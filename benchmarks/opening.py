"""What it costs to open a TIFF file once for the check of its tables and its pixels.

A large file is opened for the check and again by GDAL. Here are the ways to open it
once: the open file handed to GDAL, whose every read then calls Python; its bytes mapped
into memory; and all of its bytes read at once, as is done up to 16 MiB. Contenders take
turns.
"""

from __future__ import annotations

import argparse
import mmap
import platform
import statistics
import tempfile
import time
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, Final

import numpy as np
import rasterio
from rasterio.errors import NotGeoreferencedWarning
from rasterio.io import MemoryFile

from cdstats.io.raster import windows
from cdstats.io.tiff_layout import check_layout
from cdstats.io.tiff_tables import read_tables

if TYPE_CHECKING:
    from collections.abc import Callable

    from rasterio.io import DatasetReader

ROUNDS: Final = 15
KINDS: Final[dict[str, tuple[int, bool, dict[str, Any]]]] = {
    "5 MB, plain": (2300, False, {}),
    "16 MB, plain": (4000, False, {}),
    "32 MB, plain": (5700, False, {}),
    "64 MB, plain": (8000, False, {}),
    "144 MB, plain": (12000, False, {}),
    "8 MB, deflated tiles": (7000, True, {"compress": "deflate", "tiled": True}),
    "11 MB, LZW strips": (8000, True, {"compress": "lzw"}),
}
OPTIONS: Final = {
    "GDAL_DISABLE_READDIR_ON_OPEN": "EMPTY_DIR",
    "GDAL_PAM_ENABLED": False,
    "GDAL_CACHEMAX": 64,
}


def written(path: Path, side: int, noise: bool, how: dict[str, Any]) -> Path:
    """A square TIFF of patches of change, with the lowest bits at random or none."""
    rng = np.random.default_rng(7)
    mask = np.zeros((side, side), np.uint8)
    for row, column in rng.integers(0, side - 50, (200, 2)).tolist():
        mask[row : row + 50, column : column + 50] = 255
    if noise:
        mask ^= rng.integers(0, 2, mask.shape, dtype=np.uint8)
    shape = {"width": side, "height": side, "count": 1, "dtype": "uint8"}
    with rasterio.open(path, "w", driver="GTiff", **shape, **how) as file:
        file.write(mask, 1)
    return path


def read(dataset: DatasetReader) -> None:
    """Read every pixel as `cdstats ratio` does."""
    for window in windows(dataset.width, 0, dataset.height, *dataset.block_shapes[0]):
        dataset.read([1], window=window)


def check_tables(file: BinaryIO, size: int) -> None:
    """Check the layout of a TIFF as cdstats does."""
    check_layout(file, size, read_tables(file, size))


def opened_again(path: Path) -> None:
    """As cdstats does above 16 MiB."""
    with path.open("rb") as file:
        check_tables(file, path.stat().st_size)
    with rasterio.open(path, driver="GTiff") as dataset:
        read(dataset)


def handed_on(path: Path) -> None:
    """The open file, as a Python object."""
    with path.open("rb") as file:
        check_tables(file, path.stat().st_size)
        file.seek(0)
        with rasterio.open(file, driver="GTiff") as dataset:
            read(dataset)


def mapped(path: Path) -> None:
    """The bytes of the file, mapped into memory."""
    with (
        path.open("rb") as file,
        mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as bytes_,
        memoryview(bytes_) as view,
    ):
        check_tables(file, path.stat().st_size)
        with MemoryFile(view) as memory, memory.open(driver="GTiff") as dataset:
            read(dataset)


def held(path: Path) -> None:
    """All bytes of the file, read at once; as cdstats does up to 16 MiB."""
    with path.open("rb") as file:
        check_tables(file, path.stat().st_size)
        file.seek(0)
        data = file.read()
    with MemoryFile(data) as memory, memory.open(driver="GTiff") as dataset:
        read(dataset)


CONTENDERS: Final[dict[str, Callable[[Path], None]]] = {
    "opened again": opened_again,
    "handed on": handed_on,
    "mapped": mapped,
    "held": held,
}


def main() -> None:
    """Time all contenders on all kinds of files."""
    argparse.ArgumentParser(description=__doc__).parse_args()
    warnings.simplefilter("ignore", NotGeoreferencedWarning)
    print(f"{platform.platform()}, rasterio {rasterio.__version__}")
    print("ms, median of", ROUNDS, "(minimum)")
    print(f"{'':22}" + "".join(f"{name:>20}" for name in CONTENDERS))
    with tempfile.TemporaryDirectory() as folder, rasterio.Env(**OPTIONS):
        for number, (kind, (side, noise, how)) in enumerate(KINDS.items()):
            path = written(Path(folder) / f"{number}.tif", side, noise, how)
            times: dict[str, list[float]] = {name: [] for name in CONTENDERS}
            for _ in range(ROUNDS):
                for name, contender in CONTENDERS.items():
                    start = time.perf_counter()
                    contender(path)
                    times[name].append(1e3 * (time.perf_counter() - start))
            cells = (
                f"{statistics.median(one):10.2f} ({min(one):7.2f})"
                for one in times.values()
            )
            print(f"{kind:22}" + "".join(cells))


if __name__ == "__main__":
    main()
