"""Joint counts of label and level: compiled where Numba is installed, else NumPy.

Both give the same integers. Numba is an extra (``cdstats[fast]``); it is loaded when
pixels are first counted.
"""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor
from functools import lru_cache
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from cdstats.core.histogram import BINS

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    Loop = Callable[[NDArray[Any], NDArray[np.uint8], NDArray[np.uint32]], None]

_CHUNK: Final = 1 << 18
_PART: Final = 1 << 20
"""Pixels of a thread at least, and at most times 1024, for counts of 32 bits."""
_CLASSES: Final = 3


def joint_counts(
    values: NDArray[np.unsignedinteger[Any]], labels: NDArray[np.uint8], levels: int
) -> NDArray[np.int64]:
    """Pixels of each label at each level.

    Args:
        values: Levels below ``levels``; uint8 or uint16, ``(n,)``.
        labels: 1 changed, 0 unchanged, anything else ignored; ``(n,)``.
        levels: How many there are.

    Returns:
        Unchanged pixels and changed pixels; int64, ``(2, levels)``.

    Example:
        >>> values = np.array([0, 2, 2], dtype=np.uint8)
        >>> joint_counts(values, np.array([0, 1, 255], dtype=np.uint8), 3)
        array([[1, 0, 0],
               [0, 0, 1]])
    """
    if is_compiled():
        from cdstats.score.compiled import count_levels

        return _in_threads(count_levels, values, labels, levels)
    total = np.zeros(_CLASSES * levels, dtype=np.int64)
    narrow = np.dtype(np.uint16 if total.size <= 1 << 16 else np.uint32)
    for start in range(0, values.size, _CHUNK):
        part = slice(start, start + _CHUNK)
        place: NDArray[Any] = np.minimum(labels[part], 2).astype(narrow)
        place *= levels
        place += values[part]
        total += np.bincount(place, minlength=total.size)
    return total.reshape(_CLASSES, levels)[:2]


def binned_counts(
    probs: NDArray[np.floating[Any]], labels: NDArray[np.uint8]
) -> NDArray[np.int64]:
    """Pixels of each label whose probability lies in each of `BINS` equal bins.

    Args:
        probs: Probabilities of change, ``(n,)``; what is none is left out.
        labels: 1 changed, 0 unchanged, anything else ignored; ``(n,)``.

    Returns:
        Unchanged pixels and changed pixels; the last bin holds p = 1 alone; int64,
        ``(2, BINS + 1)``.
    """
    if is_compiled() and probs.dtype in (np.float32, np.float64):
        from cdstats.score.compiled import count_bins

        return _in_threads(count_bins, probs, labels, BINS + 1)
    total = np.zeros((2, BINS + 1), dtype=np.int64)
    for start in range(0, probs.size, _CHUNK):
        p, label = probs[start : start + _CHUNK], labels[start : start + _CHUNK]
        # Written so that a NaN is left out.
        kept = (label <= 1) & (p >= 0) & (p <= 1)
        # A power of two scales without rounding, in any type but float16.
        place = (p[kept].astype(np.float64) * BINS).astype(np.int64)
        place += label[kept].astype(np.int64) * (BINS + 1)
        total += np.bincount(place, minlength=total.size).reshape(total.shape)
    return total


@lru_cache(maxsize=1)
def is_compiled() -> bool:
    """Whether Numba is installed."""
    return find_spec("numba") is not None


@lru_cache(maxsize=1)
def _threads() -> ThreadPoolExecutor:
    return ThreadPoolExecutor(os.cpu_count() or 1, "cdstats-count")


def _in_threads(
    loop: Loop, values: NDArray[Any], labels: NDArray[np.uint8], levels: int
) -> NDArray[np.int64]:
    """Count parts in threads; integers add up to the same in any order."""
    size = min(max(_PART, -(-values.size // (os.cpu_count() or 1))), _PART << 10)

    def count(start: int) -> NDArray[np.int64]:
        table = np.zeros((_CLASSES, levels), dtype=np.uint32)
        part = slice(start, start + size)
        loop(values[part], labels[part], table)
        return table[:2].astype(np.int64)

    starts = range(0, values.size, size)
    if len(starts) == 1:
        return count(0)
    total = np.zeros((2, levels), dtype=np.int64)
    for found in _threads().map(count, starts):
        total += found
    return total
