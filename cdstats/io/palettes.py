"""Palettes: grey ones are expanded to their grey values, others keep their indices.

A palette is the bytes of its colours, red, green and blue in turn: slices of bytes are
compared in no time, where a list of colours takes longer than decoding a small mask.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import numpy as np

from cdstats.core.errors import DataError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

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
