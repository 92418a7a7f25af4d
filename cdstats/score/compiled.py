"""Joint counts in compiled loops: Numba, which the extra ``cdstats[fast]`` brings."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numba

if TYPE_CHECKING:
    from collections.abc import Callable

    import numpy as np
    from numpy.typing import NDArray


def _compiled(function: Callable[..., None]) -> Callable[..., None]:
    """Compile a function, kept on disk where a folder takes it."""
    try:
        found = numba.njit(nogil=True, cache=True)(function)
    except RuntimeError:  # no folder can be written
        found = numba.njit(nogil=True)(function)
    loop: Callable[..., None] = found
    return loop


def _count_levels(
    values: NDArray[Any], labels: NDArray[np.uint8], table: NDArray[np.uint32]
) -> None:
    for place in range(values.size):
        label = min(labels[place], 2)
        table[label, values[place]] += 1


def _count_bins(
    probs: NDArray[np.floating[Any]],
    labels: NDArray[np.uint8],
    table: NDArray[np.uint32],
) -> None:
    bins = table.shape[1] - 1
    for place in range(probs.size):
        label = min(labels[place], 2)
        prob = probs[place]
        if label < 2 and 0 <= prob <= 1:
            table[label, int(prob * bins)] += 1


count_levels = _compiled(_count_levels)
"""Add pixels to ``table[label, value]``; label 2 stands for what is ignored."""
count_bins = _compiled(_count_bins)
"""Add valid pixels to ``table[label, floor(p * bins)]``."""
