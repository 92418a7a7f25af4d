"""What a reader hands over: an opened image and its pixels, block by block."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    import numpy as np
    from numpy.typing import NDArray

    from cdstats.core.counts import Value
    from cdstats.io.georeference import Georeference

BLOCK_PIXELS: Final = 1 << 22
"""Pixels that a block of a large image holds at most, unless its file forces more."""
WHOLE_PIXELS: Final = 1 << 26
"""Pixels up to which an image is decoded at once."""


@dataclass(frozen=True, slots=True)
class Block:
    """A rectangle of pixels.

    Attributes:
        row: First row in the image.
        column: First column in the image.
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


def _nowhere() -> None:
    """The georeference of an image that has none."""


@dataclass(frozen=True, slots=True)
class OpenImage:
    """An image whose pixels can be read, once and in order.

    Attributes:
        member: What tells it from the others in its file, such as ``"#3"``; may be
            empty.
        width: Pixels in a row.
        height: Rows.
        format: What the file is, such as ``"PNG"``.
        blocks: Reads the pixels; raises `DataError` when they cannot be decoded.
        nodata: The value that the file declares as nodata, if any.
        palette: Colour of each index, if the values are indices of a colour palette.
        bands: Bands that hold values, opacity aside.
        part: Reads the rows from one to before another alone, both at edges of
            blocks; None when only the whole can be read.
        block_rows: Rows of a block of the file.
        georeference: Finds where its pixels lie on the ground, before they are read;
            None where the file does not say.
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
    georeference: Callable[[], Georeference | None] = _nowhere
