"""Files beside an image with metadata: GDAL's ``.aux.xml`` and world files."""

from __future__ import annotations

import math
import os
import struct
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import numpy as np

from cdstats.core.counts import NAN
from cdstats.core.errors import DataError
from cdstats.io.blocks import greys

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from xml.etree.ElementTree import Element

    from cdstats.core.counts import Value

    Numbers = tuple[float, ...]

MASK_FILES: Final = (".msk", ".MSK")
"""Suffixes that GDAL appends to the name of an image to find its mask file."""
AUXILIARY: Final = ".aux.xml"
"""Suffix that GDAL appends to find nodata, georeference and statistics."""
_MOST_BYTES: Final = 1 << 24
_NUMBERS: Final = 6
"""Length of an affine transform."""
_IDENTITY: Final = (0.0, 1.0, 0.0, 0.0, 0.0, 1.0)


class Auxiliary(NamedTuple):
    """Content of an ``.aux.xml`` file; takes precedence over the image.

    Attributes:
        transform: Coefficients in GDAL's order; empty if missing or the identity.
        has_points: Whether it has ground control points.
    """

    nodata: Mapping[int, str] = MappingProxyType({})
    transform: Numbers = ()
    system: str = ""
    has_points: bool = False


NOTHING: Final = Auxiliary()


def mask_file(path: str) -> str | None:
    """The mask file beside an image; None if there is none."""
    named = (f"{path}{end}" for end in MASK_FILES)
    return next(filter(os.path.exists, named), None)


def stats_beside(path: str) -> Iterator[os.stat_result]:
    """Stat results of all files beside an image that affect its counts.

    For a Zarr store, these are all files in its folder.
    """
    for end in (*MASK_FILES, AUXILIARY):
        try:
            yield os.stat(f"{path}{end}")  # noqa: PTH116 - a million files
        except (OSError, ValueError):
            continue
    if os.path.isdir(path):  # noqa: PTH112 - a million files
        yield from (one.stat() for one in sorted(Path(path).rglob("*")))


def read_auxiliary(path: str) -> Auxiliary:
    """Parse the ``.aux.xml`` file of an image."""
    beside = f"{path}{AUXILIARY}"
    if not os.path.exists(beside):  # noqa: PTH110 - a million files
        return NOTHING
    from xml.etree.ElementTree import ParseError, fromstring

    name = Path(beside).name
    try:
        if (size := Path(beside).stat().st_size) > _MOST_BYTES:
            raise ValueError(f"it has {size:,} bytes")
        text = Path(beside).read_bytes()
        if b"<!DOCTYPE" in text:
            raise ValueError("it declares a document type")
        root = fromstring(text)  # noqa: S314 - short and without entity declarations
        return _auxiliary(root) if root.tag == "PAMDataset" else NOTHING
    except (OSError, ParseError, ValueError) as error:
        raise DataError(
            f"the file {name} beside it cannot be read, but may declare nodata or a "
            f"georeference: {error}. Repair or remove it"
        ) from None


def _auxiliary(root: Element) -> Auxiliary:
    nodata = {}
    for band in root.findall("PAMRasterBand"):
        declared = band.find("NoDataValue")
        if declared is not None:
            nodata[int(band.get("band") or 1)] = _number_text(declared)
    transform = transform_numbers((root.findtext("GeoTransform") or "").split(","))
    return Auxiliary(
        nodata,
        () if transform == _IDENTITY else transform,
        (root.findtext("SRS") or "").strip(),
        root.find("GCPList/GCP") is not None,
    )


def _number_text(declared: Element) -> str:
    """The text of a number; exact if its bytes are given too."""
    exact = declared.get("le_hex_equiv")
    if exact:
        return repr(struct.unpack("<d", bytes.fromhex(exact)[:8])[0])
    return (declared.text or "").strip()


def declared_nodata(
    text: str | None, dtype: np.dtype[Any], colours: bytes = b""
) -> Value | None:
    """The exact nodata value; None if no pixel can have it.

    Example:
        >>> declared_nodata("255", np.dtype(np.uint8))
        255
    """
    if not text or "_" in text:  # Python reads 1_000, GDAL does not
        return None
    try:
        number = float(text)
    except ValueError:
        return None
    if dtype.kind == "f":
        with np.errstate(over="ignore"):
            rounded = float(dtype.type(number))
        if math.isnan(rounded):
            return NAN
        if math.isinf(rounded) and not math.isinf(number):
            return None
        return int(rounded) if rounded.is_integer() else rounded
    try:
        whole = int(text)
    except ValueError:
        if not number.is_integer():
            return None
        whole = int(number)
    limits = np.iinfo(dtype)
    if not limits.min <= whole <= limits.max:
        return None
    grey = greys(colours)
    return grey[whole] if grey and 0 <= whole < len(grey) else whole


def transform_numbers(words: Sequence[str]) -> Numbers:
    """The six coefficients of a transform; empty if the words are not six numbers."""
    try:
        values = tuple(float(word) for word in words)
    except ValueError:
        return ()
    usable = len(values) == _NUMBERS and np.isfinite(values).all() and any(values)
    return values if usable else ()


def world_numbers(path: str) -> Numbers:
    """The coefficients of a world file beside an image; empty if there is none.

    As in GDAL, a comma is read as a decimal point.
    """
    file = Path(path)
    suffix = file.suffix
    endings = (f"{suffix[:2]}{suffix[-1]}w", f"{suffix}w", ".wld") if suffix else ()
    for ending in (*endings, *(one.upper() for one in endings)):
        text = _text(file.with_suffix(ending)).replace(",", ".")
        if values := transform_numbers(text.split()):
            return values
    return ()


def _text(path: Path) -> str:
    """The text of a small file; empty for large or missing files."""
    try:
        if path.is_file() and path.stat().st_size <= _MOST_BYTES:
            return path.read_text("utf-8", errors="replace")
    except OSError:
        pass
    return ""
