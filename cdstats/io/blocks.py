"""Common types of all readers: file, image, and blocks of pixels."""

from __future__ import annotations

import io
import time
from functools import partial
from typing import TYPE_CHECKING, Any, Final, Generic, NamedTuple, Protocol, TypeVar

import numpy as np

from cdstats.core.division import WATCH
from cdstats.core.errors import DataError, counted, one_file

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from pathlib import Path
    from typing import BinaryIO

    from numpy.typing import NDArray
    from torch import Tensor

    from cdstats.core.counts import Value
    from cdstats.io.georeference import Where

BLOCK_PIXELS: Final = 1 << 22
"""Most pixels per block of a large image, unless the file has larger blocks."""
WHOLE_PIXELS: Final = 1 << 26
"""Larger images are decoded block by block."""


class ImageFile(NamedTuple):
    """A file to open.

    Attributes:
        data: Its bytes; None if it is too large to hold in memory.
        member: Name of the array or index of the image to read; empty for all.
        max_pixels: Most pixels that an image may declare. Nothing of a larger image
            is decoded.
        nodata: Nodata value as text from a file beside it, such as ``.aux.xml``; it
            takes precedence over the value in the file.
    """

    path: Path
    kind: str
    data: bytes | None
    member: str
    band: int | None
    max_pixels: int
    nodata: str | None = None

    def opened(self) -> BinaryIO:
        """Open the file, or its bytes in memory, for reading."""
        return self.path.open("rb") if self.data is None else io.BytesIO(self.data)


class Block(NamedTuple):
    """A rectangle of pixels.

    Attributes:
        values: Stored values ``(height, width)``, or uint8 colours
            ``(height, width, 3)``.
        hidden: True for pixels that the file masks out or that are fully transparent.
        half: True for partially transparent pixels.
    """

    row: int
    column: int
    values: NDArray[Any]
    hidden: NDArray[np.bool_] | None = None
    half: NDArray[np.bool_] | None = None

    @property
    def is_colour(self) -> bool:
        """Whether the values are colours."""
        return self.values.ndim == 3

    @property
    def nbytes(self) -> int:
        """Size of the values in bytes."""
        return self.values.nbytes


def _nowhere() -> None:
    """The georeference of an image without one."""


class OpenImage(NamedTuple):
    """An image whose pixels can be read in order.

    Attributes:
        member: Identifies the image in its file, such as ``"#3"``; may be empty.
        format: Name of the file format, such as ``"PNG"``.
        blocks: Reads the pixels from the file on each call; raises `DataError` if
            they cannot be decoded.
        nodata: The value that the file declares as nodata, if any.
        palette: Colour of each index if the values are palette indices.
        part: Reads rows ``start`` to ``stop`` (exclusive), both at block edges; None
            if only the whole image can be read.
        georeference: Finds the location of the pixels without reading them; returns
            None if the file has none.
        resident: The same pixels as a GPU tensor, ``(height, width)`` for a mask and
            ``(channels, height, width)`` for a prediction; None if they are not there.
    """

    member: str
    width: int
    height: int
    format: str
    blocks: Callable[[], Iterator[Block]]
    nodata: Value | None = None
    palette: Mapping[int, str] | None = None
    bands: int = 1
    part: Callable[[int, int], Iterator[Block]] | None = None
    block_rows: int = 1
    georeference: Callable[[], Where | None] = _nowhere
    resident: Tensor | None = None


def guarded(image: OpenImage) -> OpenImage:
    """The same image, with unexpected exceptions turned into `DataError`."""
    part = image.part
    return image._replace(
        blocks=partial(_guarded, image.blocks),
        part=None if part is None else partial(_guarded, part),
        georeference=partial(_guarded_georeference, image.georeference),
    )


def _guarded(read: Callable[..., Iterator[Block]], *rows: int) -> Iterator[Block]:
    watch = WATCH.get()
    with one_file():
        blocks = read(*rows)
    while True:
        start = time.monotonic()
        with one_file():
            block = next(blocks, None)
        if watch.seconds and time.monotonic() - start > watch.seconds:
            raise DataError(watch.reason)
        watch.alive()
        if block is None:
            return
        yield block


def _guarded_georeference(find: Callable[[], Where | None]) -> Where | None:
    with one_file():
        return find()


class Sized(Protocol):
    """An object that holds pixels."""

    @property
    def nbytes(self) -> int:
        """Size of the pixels in bytes."""


Item = TypeVar("Item", bound=Sized)


class Keeping(Generic[Item]):
    """Caches items up to a size limit, so that small images are decoded once."""

    def __init__(self, most: int) -> None:
        self._left = most
        self._source: Iterator[Item] | None = None
        self._kept: list[Item] = []

    def of(self, read: Callable[[], Iterator[Item]]) -> Iterator[Item]:
        """Yield the cached items, then read the others."""
        if self._left < 0:
            yield from read()
            return
        source = self._source = self._source or read()
        yield from self._kept
        try:
            for item in source:
                self._left -= item.nbytes
                if self._left >= 0:
                    self._kept.append(item)
                else:
                    self._kept.clear()
                yield item
        except DataError:
            self._left = -1
            raise


def keeping(image: OpenImage, most: int) -> OpenImage:
    """The same image, which is decoded once if its pixels take at most `most` bytes."""
    return image._replace(blocks=partial(Keeping[Block](most).of, image.blocks))


def check_band(band: int, bands: int) -> int:
    """The band, if the file has it."""
    if not 1 <= band <= bands:
        has = counted(bands, "band")
        raise DataError(f"has {has}; band {band} was asked for")
    return band


def is_number(member: str) -> bool:
    """Whether a member is the index of an image.

    Example:
        >>> is_number("12"), is_number("mask"), is_number("")
        (True, False, False)
    """
    return member.isascii() and member.isdecimal()


def select_image(images: list[OpenImage], member: str) -> list[OpenImage]:
    """The image with the given index, or all images if none is given."""
    if not member:
        return images
    count = "1 image" if len(images) == 1 else f"{len(images)} images"
    if not is_number(member) or int(member) >= len(images):
        raise DataError(f"holds {count}; #{member} was asked for")
    return [images[int(member)]]


_EVERY_GREY: Final = bytes(range(256))


def greys(palette: bytes) -> bytes | None:
    """The grey value of each index; None if the palette has colours.

    Example:
        >>> greys(bytes([7, 7, 7, 65, 65, 65])) == bytes([7, 65])
        True
    """
    red, green, blue = palette[::3], palette[1::3], palette[2::3]
    return red if red == green == blue else None


def expand(indices: NDArray[Any], palette: bytes) -> NDArray[Any]:
    """Grey values of a grey palette; the unchanged indices of a colour palette."""
    check_indices(indices, len(palette) // 3)
    grey = greys(palette)
    if grey is None or _EVERY_GREY.startswith(grey):
        return indices
    expanded: NDArray[Any] = np.frombuffer(grey, np.uint8)[indices]
    return expanded


def check_indices(indices: NDArray[Any], colours: int) -> None:
    """Refuse an index outside the palette."""
    if colours < 256 and indices.size and int(indices.max()) >= colours:
        index = int(indices.max())
        palette = f"the palette of {counted(colours, 'colour')}"
        raise DataError(f"pixel index {index} is outside {palette}")


def names(palette: bytes) -> Mapping[int, str] | None:
    """The ``"#rrggbb"`` of each index; None for a grey palette."""
    if greys(palette) is not None:
        return None
    colours = (palette[at : at + 3] for at in range(0, len(palette) - 2, 3))
    return {index: f"#{colour.hex()}" for index, colour in enumerate(colours)}
