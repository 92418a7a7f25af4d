"""Images written by a run: class maps, and thumbnails of photographs."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from cdstats.core.errors import DataError, UsageError
from cdstats.io.outputs import write_whole
from cdstats.io.raster import Source, quiet
from cdstats.io.signatures import file_format, open_regular

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    from cdstats.io.georeference import Georeference

_WRITER: Final = "cdstats errors"
"""Name of the program, stored in the files."""
_READ: Final = {"PNG": "PNG", "JPEG": "JPEG", "TIFF": "GTiff", "BMP": "BMP"}
"""GDAL driver for a photograph, by format."""
_OUTER: Final = (2, 98)
"""Percentiles shown as black and white in photographs without 8 bits."""

_HEAD_BYTES: Final = 1 << 23
"""Bytes searched for the name of the program; tables of strips may come first."""


def refuse_others(path: Path) -> None:
    """Refuse to overwrite a file that cdstats did not write.

    Raises:
        UsageError: If the file exists and is not a map of cdstats.
    """
    try:
        with path.open("rb") as file:
            is_own = _WRITER.encode() in file.read(_HEAD_BYTES)
    except FileNotFoundError:
        return
    except OSError:
        is_own = False
    if not is_own:
        raise UsageError(
            f"{path}: is not a cdstats map; maps are written to a folder without "
            "other images. Choose another folder"
        )


def write_image(path: Path, data: bytes) -> None:
    """Write an image to a file.

    Raises:
        UsageError: If the file exists and cdstats did not write it.
        DataError: If it cannot be written.
    """
    refuse_others(path)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        reason = (error.strerror or str(error)).lower()
        raise DataError(f"{path.parent}: cannot be created: {reason}") from None
    write_whole(path, data)


def image_bytes(
    pixels: NDArray[np.uint8],
    colours: Mapping[int, str] | None = None,
    where: Georeference | None = None,
) -> bytes:
    """Encode classes as PNG, or as GeoTIFF if georeferenced; photographs as JPEG.

    Classes are ``(height, width)`` with colours ``#rrggbb``; photographs are grey or
    RGB, ``(height, width, 1 or 3)``.
    """
    from rasterio.io import MemoryFile

    bands = np.moveaxis(pixels, -1, 0) if pixels.ndim == 3 else pixels[None]
    options: dict[str, Any] = {"driver": "PNG", "WRITE_METADATA_AS_TEXT": "YES"}
    if pixels.ndim == 3:
        options = {"driver": "JPEG", "QUALITY": 85, "COMMENT": _WRITER}
    elif where is not None:
        options = {"driver": "GTiff", "compress": "deflate", "BIGTIFF": "IF_SAFER"}
        options |= {"crs": where.crs, "transform": where.transform, "tiled": False}
    count, height, width = bands.shape
    shape = {"count": count, "height": height, "width": width, "dtype": "uint8"}
    with warnings.catch_warnings(), MemoryFile() as memory:
        warnings.simplefilter("ignore")  # rasterio warns of missing georeferences
        with memory.open(**options, **shape) as file:
            file.update_tags(Software=_WRITER, TIFFTAG_SOFTWARE=_WRITER)
            if colours is not None:
                named = {n: bytes.fromhex(text[1:]) for n, text in colours.items()}
                black = bytes(3)
                table = {n: (*named.get(n, black), 255) for n in range(256)}
                file.write_colormap(1, table)
            file.write(bands)
        return bytes(memory.getbuffer())


def thumbnail(
    path: str, most: int, window: tuple[int, int, int, int] | None = None
) -> NDArray[np.uint8]:
    """A downsampled photograph, grey or RGB, ``(height, width, 1 or 3)``.

    Its longer side has at most ``most`` pixels. The window is first column, first row,
    width and height.

    Raises:
        DataError: If it cannot be read.
    """
    import rasterio
    from rasterio.enums import Resampling
    from rasterio.windows import Window

    opened, _ = open_regular(path)
    with opened as file:
        driver = _READ.get(file_format(file.read(16)) or "")
    if driver is None:
        raise DataError(f"{path}: is not a PNG, JPEG, BMP or TIFF image")
    with quiet(Source(path, "GTiff")), rasterio.open(Path(path), driver=driver) as one:
        part = window or (0, 0, one.width, one.height)
        longest = max(part[2:])
        size = [max(1, round(n * min(1, most / longest))) for n in part[2:]]
        bands = [1, 2, 3] if one.count > 2 else [1]
        found = one.read(
            bands,
            window=Window(*part),
            out_shape=(len(bands), size[1], size[0]),
            resampling=Resampling.average,
        )
    return _eight_bits(np.moveaxis(found, 0, -1))


def _eight_bits(values: NDArray[Any]) -> NDArray[np.uint8]:
    """Convert to 0 to 255; types other than uint8 are stretched between percentiles."""
    if values.dtype == np.uint8:
        return values
    known = values[np.isfinite(values)]
    low, high = np.percentile(known, _OUTER) if known.size else (0, 1)
    scaled = np.nan_to_num((values - low) * (255 / max(high - low, 1e-12)))
    return np.clip(scaled, 0, 255).astype(np.uint8)
