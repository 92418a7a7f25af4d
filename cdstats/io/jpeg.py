"""JPEG files: libjpeg-turbo decodes them, GDAL where they are large and grey.

A decoder skips what it does not understand up to the next marker, and decodes what is
left. Coded pixels carry no check sum; all the segments around them are checked here.
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
"""Frames coded by Huffman's codes: baseline, extended and progressive."""
_OTHER_SOF: Final = frozenset(range(0xC3, 0xD0)) - {0xC4, 0xC8, 0xCC}
_PROGRESSIVE, _RESTARTS, _SCAN, _END = 0xC2, 0xDD, 0xDA, 0xD9
_KNOWN: Final = frozenset((*range(0xE0, 0xF0), 0xFE, 0xC4, 0xDB))
"""Other segments: of programs, comments, and tables, which libjpeg checks."""
_MARK: Final = re.compile(rb"\xff\xff*[^\x00\xff]")
"""A marker; its first byte stands alone because that is what makes the search fast."""
_COEFFICIENTS: Final = 64
_MOST_UNITS: Final = 0xFFFF
"""Coded units between two restarts at most."""
_NO_RESTARTS: Final = bytes((0xFF, _RESTARTS, 0, 4)) + _MOST_UNITS.to_bytes(2)
_REST_BYTES: Final = 1 << 16
"""Bytes behind the end among which another image is looked for."""
MOST_COLOUR_PIXELS: Final = 1 << 28
"""Pixels of a JPEG in colour at most: decoding holds three bytes of each."""


def open_images(file: ImageFile) -> list[OpenImage]:
    """Open the image of a JPEG file: by GDAL, in windows, if it is large and grey.

    GDAL widens the colours of subsampled pixels otherwise than all other readers, so
    a large image in colour is decoded as a whole, or refused.
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
        # Pixels and a copy; of a progressive one, coefficients of two bytes too.
        copies = 4 if frame.progressive else 2
        check_memory(copies * width * height * channels, "save it as a tiled TIFF")
        strict = _strict(held, frame)
        if strict is None and width * height <= WHOLE_PIXELS:
            # GDAL warns of more damage than the other decoder. It holds all
            # coefficients of a progressive file, which it does up to a limit.
            deque(by_gdal(held, 1)(), maxlen=0)
        pixels = _decode_jpeg(strict or held, channels)
        if band is not None:
            pixels = pixels[..., check_band(band, channels) - 1]
        elif channels == 1:
            pixels = pixels[..., 0]
        yield Block(0, 0, pixels)

    return [OpenImage("", width, height, "JPEG", blocks, nodata)]


def _strict(data: bytes, frame: JpegFrame) -> bytes | None:
    """The file, of which libjpeg-turbo reports every sequence of bits that is no code.

    It reads them as pixels, unless a restart interval is declared: so one is added that
    ends behind the last unit. None where no interval is that long, and for progressive
    files, between whose scans it skips bytes.
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
    except Exception:  # noqa: BLE001 - the decoder raises Exception itself
        raise DataError("JPEG file is damaged or cut short") from None
    return pixels


@dataclass(frozen=True, slots=True)
class Component:
    """A channel of a frame: its number, sampling across and down, and its table."""

    number: int
    across: int
    down: int
    table: int


@dataclass
class JpegFrame:
    """What a JPEG file says of its pixels, and what its scans gave of them.

    Attributes:
        first_scan: Offset of the marker of the first scan.
        longest: Coded units of the longest scan.
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
        # Of each coefficient, the bits that are still to come; -1 for all.
        self.bits = {one.number: [-1] * _COEFFICIENTS for one in self.components}

    def take(self, numbers: list[int], first: int, last: int, bits: int) -> None:
        """Note that a scan gives coefficients of components.

        The bits to come before and after the scan are in one byte. What is given again,
        or lacks something before it, is an error.
        """
        before, after = bits >> 4 or -1, bits & 15
        known = numbers and {*numbers} <= self.bits.keys()
        if not known or not first <= last < _COEFFICIENTS:
            raise damaged("a scan of it gives what its frame does not hold")
        given = slice(first, last + 1)
        for number in numbers:
            if {*self.bits[number][given]} != {before}:
                raise damaged("its scans do not follow each other")
            self.bits[number][given] = [after] * (last + 1 - first)

    def units(self, numbers: list[int]) -> int:
        """Coded units of a scan of components."""
        most_across = max(one.across for one in self.components)
        most_down = max(one.down for one in self.components)
        across, down = 8 * most_across, 8 * most_down
        width, height = self.width, self.height
        if len(numbers) == 1:
            # Alone, a component is coded in its own blocks and not in groups.
            (one,) = (c for c in self.components if c.number == numbers[0])
            width = math.ceil(width * one.across / most_across)
            height = math.ceil(height * one.down / most_down)
            across = down = 8
        return math.ceil(width / across) * math.ceil(height / down)


def damaged(what: str) -> DataError:
    """The error for a damaged JPEG file."""
    return DataError(f"JPEG file is damaged: {what}")


def read_jpeg(data: bytes) -> JpegFrame:
    """Check the segments of a JPEG file, from its first to its last byte."""
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
                raise damaged("its restart interval is of a wrong length")
            interval = int.from_bytes(body)
        elif marker in _OTHER_SOF:
            raise DataError("JPEG is coded in a way that is not read; save it as PNG")
        elif marker not in _KNOWN:
            raise damaged(f"it holds an unknown segment, {marker:02x}")
    if frame is None:
        raise damaged("it has no frame header")
    if any(map(any, frame.bits.values())):
        raise damaged("a scan of it is missing")
    if file_format(data[at : at + _REST_BYTES].lstrip(b"\0")[:16]):
        raise DataError("JPEG file holds another file after its end; split them")
    return frame


def _marker(data: bytes, at: int) -> tuple[int, int]:
    """The marker at a place, and the place after it."""
    found = _MARK.match(data, at)
    if found is None:
        if at >= len(data):
            raise DataError("JPEG file is cut short: it has no end marker")
        raise damaged("bytes lie between its segments")
    return data[found.end() - 1], found.end()


def _body(data: bytes, at: int) -> bytes:
    length = int.from_bytes(data[at : at + 2])
    if length < 2 or at + length > len(data):
        raise DataError("JPEG file is cut short or damaged: a segment has no end")
    return data[at + 2 : at + length]


def _frame(marker: int, body: bytes) -> JpegFrame:
    count = body[5] if len(body) > 5 else 0
    if count == 0 or len(body) != 6 + 3 * count:
        raise damaged("its frame header is of a wrong length")
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
    """The components of a scan."""
    count = body[0] if body else 0
    if len(body) != 4 + 2 * count:
        raise damaged("a scan header is of a wrong length")
    numbers = list(body[1 : 1 + 2 * count : 2])
    # Some programs leave these out where they say nothing new, and decoders do not ask.
    first, last, bits = body[-3:] if frame.progressive else (0, _COEFFICIENTS - 1, 0)
    frame.take(numbers, first, last, bits)
    return numbers


def _coded(
    data: bytes, at: int, frame: JpegFrame, numbers: list[int], interval: int
) -> int:
    """The end of the coded pixels of a scan, whose restart marks are counted."""
    for marks, found in enumerate(_MARK.finditer(data, at)):
        marker = data[found.end() - 1]
        if not 0xD0 <= marker <= 0xD7:
            due = math.ceil(frame.units(numbers) / interval) - 1 if interval else 0
            if marks != due:
                raise damaged(f"it holds {marks:,} of {due:,} restart marks")
            return found.start()
        if marker - 0xD0 != marks % 8:
            raise damaged("its restart marks are in disorder")
    raise DataError("JPEG file is cut short: it has no end marker")
