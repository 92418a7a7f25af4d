"""Palettes: grey ones are expanded to their grey values, others keep their indices."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from cdstats.core.errors import DataError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

Colour = tuple[int, int, int]


def is_grey(colours: Sequence[Colour]) -> bool:
    """Whether every colour of a palette is a grey.

    Example:
        >>> is_grey([(0, 0, 0), (255, 255, 255)]), is_grey([(255, 0, 0)])
        (True, False)
    """
    return all(red == green == blue for red, green, blue in colours)


def expand(indices: NDArray[Any], colours: Sequence[Colour]) -> NDArray[Any]:
    """The grey value of each index of a grey palette, the index of any other.

    Raises:
        DataError: If an index has no colour.
    """
    check_indices(indices, len(colours))
    if not is_grey(colours):
        return indices
    table = np.array([red for red, _, _ in colours], dtype=np.uint8)
    if np.array_equal(table, np.arange(len(table))):
        return indices
    grey: NDArray[Any] = table[indices]
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


def names(colours: Sequence[Colour]) -> Mapping[int, str] | None:
    """The ``"#rrggbb"`` of each index, or None for a grey palette."""
    if is_grey(colours):
        return None
    return {i: f"#{r:02x}{g:02x}{b:02x}" for i, (r, g, b) in enumerate(colours)}
