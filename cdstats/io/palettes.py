"""Palettes: grey ones are expanded to their grey values, others keep their indices.

A palette is the bytes of its colours, red, green and blue in turn: slices of bytes are
compared in no time, where a list of colours takes longer than decoding a small mask.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from cdstats.core.errors import DataError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

_INDICES = bytes(range(256))


def is_grey(colours: bytes) -> bool:
    """Whether every colour of a palette is a grey.

    Example:
        >>> is_grey(bytes([0, 0, 0, 255, 255, 255])), is_grey(bytes([255, 0, 0]))
        (True, False)
    """
    return colours[::3] == colours[1::3] == colours[2::3]


def expand(indices: NDArray[Any], colours: bytes) -> NDArray[Any]:
    """The grey value of each index of a grey palette, the index of any other.

    Raises:
        DataError: If an index has no colour.
    """
    greys = colours[::3]
    check_indices(indices, len(greys))
    if not is_grey(colours) or _INDICES.startswith(greys):
        return indices
    grey: NDArray[Any] = np.frombuffer(greys, dtype=np.uint8)[indices]
    return grey


def check_indices(indices: NDArray[Any], colours: int) -> None:
    """Refuse an index that the palette does not hold.

    Raises:
        DataError: If there is one.
    """
    if colours < 256 and indices.size and int(indices.max()) >= colours:
        index = int(indices.max())
        raise DataError(
            f"pixel index {index} has no colour: its palette holds {colours}"
        )


def names(colours: bytes) -> Mapping[int, str] | None:
    """The ``"#rrggbb"`` of each index, or None for a grey palette."""
    if is_grey(colours):
        return None
    return {
        index: f"#{colours[3 * index : 3 * index + 3].hex()}"
        for index in range(len(colours) // 3)
    }
