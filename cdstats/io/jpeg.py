"""JPEG files, decoded by libjpeg-turbo, or by GDAL if large and grey.

Decoders skip unknown bytes up to the next marker, and coded pixels have no checksum.
Therefore all segments are checked here.
"""

from __future__ import annotations

import math
import re
from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np

from cdstats.core.errors import DataError
from cdstats.io.blocks import WHOLE_PIXELS, Block, ImageFile, OpenImage, check_band
from cdstats.io.limits import check_memory
from cdstats.io.sidecars import declared_nodata
from cdstats.io.signatures import file_format

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from numpy.typing import NDArray

_SOF: Final = frozenset((0xC0, 0xC1, 0xC2))
"""Huffman-coded frames: baseline, extended and progressive."""
_OTHER_SOF: Final = frozenset(range(0xC3, 0xD0)) - {0xC4, 0xC8, 0xCC}
_PROGRESSIVE, _RESTARTS, _SCAN, _END = 0xC2, 0xDD, 0xDA, 0xD9
_KNOWN: Final = frozenset((*range(0xE0, 0xF0), 0xFE, 0xC4, 0xDB))
"""Other segments: application data, comments and tables, which libjpeg checks."""
_MARK: Final = re.compile(rb"\xff\xff*[^\x00\xff]")
"""A marker; spelling out its first byte makes the search fast."""
_COEFFICIENTS: Final = 64
_MOST_UNITS: Final = 0xFFFF
"""Largest restart interval, in coded units."""
_NO_RESTARTS: Final = bytes((0xFF, _RESTARTS, 0, 4)) + _MOST_UNITS.to_bytes(2)
_REST_BYTES: Final = 1 << 16
"""Bytes behind the end that are searched for another image."""
MOST_COLOUR_PIXELS: Final = 1 << 28
"""Largest colour JPEG, because it is decoded whole, with three bytes per pixel."""


def open_images(file: ImageFile) -> list[OpenImage]:
    """Open the image of a JPEG file, with GDAL in windows if it is large and grey.

    GDAL upsamples colours differently from other decoders, so a large colour image is
    decoded whole or refused.
    """
    path, data, band = file.path, file.data, file.band
    if data is None:
        check_memory(path.stat().st_size, "save it as a tiled TIFF")
    held = path.read_bytes() if data is None else data
    frame = read_jpeg(held)
    width, height, channels = frame.width, frame.height, len(frame.components)
    nodata = declared_nodata(file.nodata, np.dtype(np.uint8))
    if channels not in (1, 3):
        raise DataError(f"JPEG with {channels} colour components; expected grey or RGB")

    def by_gdal(data: bytes | None, band: int | None) -> Callable[[], Iterator[Block]]:
        from cdstats.io.raster import Known, Source, open_raster

        return open_raster(Source(str(path), "JPEG", data), Known(band)).blocks

    if channels == 1 and (data is None or width * height > WHOLE_PIXELS):
        return [OpenImage("", width, height, "JPEG", by_gdal(data, band), nodata)]
    if width * height > MOST_COLOUR_PIXELS:
        raise DataError(
            f"colour JPEG of {width:,} x {height:,} pixels; expected at most "
            f"{MOST_COLOUR_PIXELS:,}. Save it as PNG or TIFF"
        )

    def blocks() -> Iterator[Block]:
        # Pixels and one copy; progressive files also need two-byte coefficients.
        copies = 4 if frame.progressive else 2
        check_memory(copies * width * height * channels, "save it as a tiled TIFF")
        strict = _strict(held, frame)
        if strict is None and width * height <= WHOLE_PIXELS:
            # GDAL detects more kinds of damage. For progressive files it holds all
            # coefficients in memory, up to its own limit.
            deque(by_gdal(held, 1)(), maxlen=0)
        pixels = _decode_jpeg(strict or held, channels)
        if band is not None:
            pixels = pixels[..., check_band(band, channels) - 1]
        elif channels == 1:
            pixels = pixels[..., 0]
        yield Block(0, 0, pixels)

    return [OpenImage("", width, height, "JPEG", blocks, nodata)]


def _strict(data: bytes, frame: JpegFrame) -> bytes | None:
    """Change a file so that libjpeg-turbo reports invalid codes instead of pixels.

    It does so only if a restart interval is declared, so one beyond the last unit is
    added. None if the image has too many units, and for progressive files.
    """
    if frame.progressive or (frame.longest > _MOST_UNITS and not frame.restarts):
        return None
    at = frame.first_scan
    return data if frame.restarts else data[:at] + _NO_RESTARTS + data[at:]


def _decode_jpeg(data: bytes, channels: int) -> NDArray[np.uint8]:
    from kornia_rs.io import decode_image_jpegturbo

    try:
        pixels: NDArray[np.uint8] = decode_image_jpegturbo(
            data, "mono" if channels == 1 else "rgb"
        )
    except Exception:  # noqa: BLE001 - the decoder raises plain Exception
        raise DataError("JPEG file is damaged or cut short") from None
    return pixels


@dataclass(frozen=True, slots=True)
class Component:
    """A component of a frame: number, sampling factors and quantisation table."""

    number: int
    across: int
    down: int
    table: int


@dataclass
class JpegFrame:
    """Header of a JPEG frame, and the coefficients that its scans have given.

    Attributes:
        first_scan: Offset of the marker of the first scan.
        longest: Number of coded units in the longest scan.
        restarts: Whether a restart interval is declared.
    """

    width: int
    height: int
    components: tuple[Component, ...]
    progressive: bool
    first_scan: int = 0
    longest: int = 0
    restarts: bool = False

    def __post_init__(self) -> None:
        # Bits still missing from each coefficient; -1 before the first scan.
        self.bits = {one.number: [-1] * _COEFFICIENTS for one in self.components}

    def take(self, numbers: list[int], first: int, last: int, bits: int) -> None:
        """Record the coefficients of a scan.

        `bits` holds the number of missing bits before and after the scan. Duplicate
        coefficients and gaps are errors.
        """
        before, after = bits >> 4 or -1, bits & 15
        known = numbers and {*numbers} <= self.bits.keys()
        if not known or not first <= last < _COEFFICIENTS:
            raise damaged("a scan has components or coefficients that its frame lacks")
        given = slice(first, last + 1)
        for number in numbers:
            if {*self.bits[number][given]} != {before}:
                raise damaged("its scans are incomplete or out of order")
            self.bits[number][given] = [after] * (last + 1 - first)

    def units(self, numbers: list[int]) -> int:
        """Number of coded units in a scan of some components."""
        most_across = max(one.across for one in self.components)
        most_down = max(one.down for one in self.components)
        across, down = 8 * most_across, 8 * most_down
        width, height = self.width, self.height
        if len(numbers) == 1:
            # A single component is coded block by block, without interleaving.
            (one,) = (c for c in self.components if c.number == numbers[0])
            width = math.ceil(width * one.across / most_across)
            height = math.ceil(height * one.down / most_down)
            across = down = 8
        return math.ceil(width / across) * math.ceil(height / down)


def damaged(what: str) -> DataError:
    """An error for a damaged JPEG file."""
    return DataError(f"JPEG file is damaged: {what}")


def read_jpeg(data: bytes) -> JpegFrame:
    """Parse a JPEG file and check all its segments."""
    frame: JpegFrame | None = None
    at, interval = 2, 0
    while True:
        marker, at = _marker(data, at)
        if marker == _END:
            break
        body = _body(data, at)
        at += 2 + len(body)
        if marker in _SOF:
            if frame is not None:
                raise damaged("it has two frames")
            frame = _frame(marker, body)
        elif marker == _SCAN:
            if frame is None:
                raise damaged("it has no frame header")
            numbers = _scan(frame, body)
            frame.first_scan = frame.first_scan or at - len(body) - 4
            frame.longest = max(frame.longest, frame.units(numbers))
            frame.restarts |= interval > 0
            at = _coded(data, at, frame, numbers, interval)
        elif marker == _RESTARTS:
            if len(body) != 2:
                raise damaged("its restart interval has a wrong length")
            interval = int.from_bytes(body)
        elif marker in _OTHER_SOF:
            raise DataError("JPEG has an unsupported coding; save it as PNG")
        elif marker not in _KNOWN:
            raise damaged(f"it has an unknown segment, {marker:02x}")
    if frame is None:
        raise damaged("it has no frame header")
    if any(map(any, frame.bits.values())):
        raise damaged("a scan is missing")
    if file_format(data[at : at + _REST_BYTES].lstrip(b"\0")[:16]):
        raise DataError("JPEG file has another file after its end; split them")
    return frame


def _marker(data: bytes, at: int) -> tuple[int, int]:
    """The marker at an offset, and the offset behind it."""
    found = _MARK.match(data, at)
    if found is None:
        if at >= len(data):
            raise DataError("JPEG file is cut short: it has no end marker")
        raise damaged("it has bytes between its segments")
    return data[found.end() - 1], found.end()


def _body(data: bytes, at: int) -> bytes:
    length = int.from_bytes(data[at : at + 2])
    if length < 2 or at + length > len(data):
        raise DataError("JPEG file is cut short or damaged: a segment has no end")
    return data[at + 2 : at + length]


def _frame(marker: int, body: bytes) -> JpegFrame:
    count = body[5] if len(body) > 5 else 0
    if count == 0 or len(body) != 6 + 3 * count:
        raise damaged("its frame header has a wrong length")
    if body[0] != 8:
        raise DataError(f"JPEG with {body[0]} bits per sample; expected 8")
    components = tuple(
        Component(body[at], body[at + 1] >> 4, body[at + 1] & 15, body[at + 2])
        for at in range(6, len(body), 3)
    )
    height, width = int.from_bytes(body[1:3]), int.from_bytes(body[3:5])
    for one in components:
        if not (1 <= one.across <= 4 and 1 <= one.down <= 4 and one.table < 4):
            raise damaged("its frame header contradicts itself")
    if len({one.number for one in components}) < count or not width or not height:
        raise damaged("its frame header contradicts itself")
    return JpegFrame(width, height, components, marker == _PROGRESSIVE)


def _scan(frame: JpegFrame, body: bytes) -> list[int]:
    count = body[0] if body else 0
    if len(body) != 4 + 2 * count:
        raise damaged("a scan header has a wrong length")
    numbers = list(body[1 : 1 + 2 * count : 2])
    # Some programs omit these values, and decoders ignore them in sequential frames.
    first, last, bits = body[-3:] if frame.progressive else (0, _COEFFICIENTS - 1, 0)
    frame.take(numbers, first, last, bits)
    return numbers


def _coded(
    data: bytes, at: int, frame: JpegFrame, numbers: list[int], interval: int
) -> int:
    """The end of a scan's coded pixels, with its restart markers counted."""
    for marks, found in enumerate(_MARK.finditer(data, at)):
        marker = data[found.end() - 1]
        if not 0xD0 <= marker <= 0xD7:
            due = math.ceil(frame.units(numbers) / interval) - 1 if interval else 0
            if marks != due:
                raise damaged(f"it has {marks:,} of {due:,} restart markers")
            return found.start()
        if marker - 0xD0 != marks % 8:
            raise damaged("its restart markers are out of order")
    raise DataError("JPEG file is cut short: it has no end marker")
