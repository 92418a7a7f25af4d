"""What a reader takes and gives: a file, its images, their pixels block by block."""

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
"""Pixels that a block of a large image holds at most, unless its file forces more."""
WHOLE_PIXELS: Final = 1 << 26
"""Pixels up to which an image is decoded at once."""


class ImageFile(NamedTuple):
    """A file whose images are to be opened.

    Attributes:
        data: Its bytes; None where it is too large to hold.
        member: The array or the number of the image that is wanted; empty for all.
        max_pixels: Pixels that an image may declare; nothing of a larger one is
            decoded when it is opened.
        nodata: The text of the nodata value that a file beside it declares; it comes
            before what the file itself says.
    """

    path: Path
    kind: str
    data: bytes | None
    member: str
    band: int | None
    max_pixels: int
    nodata: str | None = None

    def opened(self) -> BinaryIO:
        """The file, open to be read; from memory where its bytes are held."""
        return self.path.open("rb") if self.data is None else io.BytesIO(self.data)


class Block(NamedTuple):
    """A rectangle of pixels.

    Attributes:
        values: Stored values ``(height, width)``, or uint8 colours
            ``(height, width, 3)``.
        hidden: Where the file masks a pixel out or it is fully transparent.
        half: Where alpha is neither 0 nor opaque.
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
        """Bytes of its values."""
        return self.values.nbytes


def _nowhere() -> None:
    """The georeference of an image that has none."""


class OpenImage(NamedTuple):
    """An image whose pixels can be read in order.

    Attributes:
        member: What tells it from the others in its file, such as ``"#3"``; may be
            empty.
        format: What the file is, such as ``"PNG"``.
        blocks: Reads the pixels, from the file each time; raises `DataError` when they
            cannot be decoded.
        nodata: The value that the file declares as nodata, if any.
        palette: Colour of each index, if the values are indices of a colour palette.
        part: Reads the rows from one to before another alone, both at edges of
            blocks; None when only the whole can be read.
        georeference: Finds where its pixels lie on the ground, before they are read;
            None where the file does not say.
        resident: The same pixels on a device, where they lie there: of a mask
            ``(height, width)``, of a prediction ``(channels, height, width)``.
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
    """The same image; an unexpected exception while it is read is a `DataError`."""
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
    """Something that holds pixels."""

    @property
    def nbytes(self) -> int:
        """Bytes of its pixels."""


Item = TypeVar("Item", bound=Sized)


class Keeping(Generic[Item]):
    """Keeps what was read while it is little, so that it is read once."""

    def __init__(self, most: int) -> None:
        self._left = most
        self._source: Iterator[Item] | None = None
        self._kept: list[Item] = []

    def of(self, read: Callable[[], Iterator[Item]]) -> Iterator[Item]:
        """All items: those kept, and the others as they come."""
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
    """The same image, whose pixels are decoded once however often they are read."""
    return image._replace(blocks=partial(Keeping[Block](most).of, image.blocks))


def check_band(band: int, bands: int) -> int:
    """The band, if the file holds it."""
    if not 1 <= band <= bands:
        has = counted(bands, "band")
        raise DataError(f"has {has}; band {band} was asked for")
    return band


def is_number(member: str) -> bool:
    """Whether a member is the number of an image.

    Example:
        >>> is_number("12"), is_number("mask"), is_number("")
        (True, False, False)
    """
    return member.isascii() and member.isdecimal()


def select_image(images: list[OpenImage], member: str) -> list[OpenImage]:
    """The image of a number, or all where none is named."""
    if not member:
        return images
    count = "1 image" if len(images) == 1 else f"{len(images)} images"
    if not is_number(member) or int(member) >= len(images):
        raise DataError(f"holds {count}; #{member} was asked for")
    return [images[int(member)]]


_EVERY_GREY: Final = bytes(range(256))


def greys(palette: bytes) -> bytes | None:
    """The grey of each index, or None where a colour is no grey.

    Example:
        >>> greys(bytes([7, 7, 7, 65, 65, 65])) == bytes([7, 65])
        True
    """
    red, green, blue = palette[::3], palette[1::3], palette[2::3]
    return red if red == green == blue else None


def expand(indices: NDArray[Any], palette: bytes) -> NDArray[Any]:
    """The grey value of each index of a grey palette, the index of any other."""
    check_indices(indices, len(palette) // 3)
    grey = greys(palette)
    if grey is None or _EVERY_GREY.startswith(grey):
        return indices
    expanded: NDArray[Any] = np.frombuffer(grey, np.uint8)[indices]
    return expanded


def check_indices(indices: NDArray[Any], colours: int) -> None:
    """Refuse an index that the palette does not hold."""
    if colours < 256 and indices.size and int(indices.max()) >= colours:
        index = int(indices.max())
        raise DataError(
            f"pixel index {index} has no colour: its palette holds {colours}"
        )


def names(palette: bytes) -> Mapping[int, str] | None:
    """The ``"#rrggbb"`` of each index, or None for a grey palette."""
    if greys(palette) is not None:
        return None
    colours = (palette[at : at + 3] for at in range(0, len(palette) - 2, 3))
    return {index: f"#{colour.hex()}" for index, colour in enumerate(colours)}
