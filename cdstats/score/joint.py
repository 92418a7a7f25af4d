"""Joint counts of label and level: in compiled loops, or in NumPy.

Both give the same integers. The loops need Numba, an extra (``cdstats[fast]``), which
is loaded when pixels are first counted in them.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from cdstats.score.kernel.threads import in_threads

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from numpy.typing import NDArray

    Loop = Callable[[NDArray[Any], NDArray[np.uint8], NDArray[np.uint32]], None]
    Counts = NDArray[np.int64]

_CHUNK: Final = 1 << 18
"""Pixels that NumPy counts together: what it widens them to fits the cache."""
_RARE: Final = 4
"""Pixels that are not unchanged may be one in this many, to be counted apart."""
_PAIRED: Final = 1 << 17
"""Pixels from which a table of pairs of bytes pays."""
_GRAIN: Final = 64
"""What the part of a thread starts at a multiple of, so that words of it do too."""
_PART: Final = 1 << 19
"""Pixels of a thread at least."""
_MOST: Final = 1 << 30
"""Pixels that are counted in 32 bits."""
_CLASSES: Final = 3


def joint_counts(
    values: NDArray[np.unsignedinteger[Any]],
    labels: NDArray[np.uint8],
    levels: int,
    *,
    compiled: bool = False,
) -> Counts:
    """Pixels of each label at each level.

    Args:
        values: Levels; uint8 or uint16, ``(n,)``.
        labels: 1 changed, 0 unchanged, anything else ignored; ``(n,)``.
        levels: How many there are; 256 for uint8.
        compiled: Whether to count in compiled loops, which need Numba.

    Returns:
        Unchanged pixels and changed pixels; int64, ``(2, levels)``.

    Example:
        >>> values = np.array([0, 2, 2], dtype=np.uint8)
        >>> joint_counts(values, np.array([0, 1, 255], dtype=np.uint8), 256)[:, :3]
        array([[1, 0, 0],
               [0, 0, 1]])
    """
    if not compiled:
        return _in_numpy(
            lambda part: _level_counts(values[part], labels[part], levels), values.size
        )
    from cdstats.score.kernel.loops import count_bytes, count_shorts

    if values.dtype == np.uint8:
        return _looped(count_bytes, values, labels, (4, _CLASSES, levels))
    return _looped(count_shorts, values, labels, (1, _CLASSES, levels))


def _level_counts(
    values: NDArray[Any], labels: NDArray[np.uint8], levels: int
) -> Counts:
    """Count in NumPy, which widens whatever it counts to 64 bits.

    That takes longer than to count: so bytes go two by two where most pixels are
    unchanged, and those of the other labels are counted apart.
    """
    total = np.zeros((_CLASSES, levels), dtype=np.int64)
    paired = values.dtype == np.uint8 and values.size >= _PAIRED
    pairs = np.zeros(levels**2 if paired else 0, dtype=np.int64)
    for part in _chunks(values.size):
        value, label = values[part], labels[part]
        odd = not paired or label.size % 2
        if odd or np.count_nonzero(label) > label.size // _RARE:
            total += _place_counts(value, label, levels)
            continue
        pairs += np.bincount(
            np.ascontiguousarray(value).view(np.uint16), minlength=pairs.size
        )
        for row, other in ((1, label == 1), (2, label > 1)):
            counts = np.bincount(value[other], minlength=levels)
            total[row] += counts
            total[0] -= counts
    if paired:
        both = pairs.reshape(levels, levels)
        total[0] += both.sum(0) + both.sum(1)
    return total[:2]


def _place_counts(
    values: NDArray[Any], labels: NDArray[np.uint8], levels: int
) -> Counts:
    """Count places in a table of labels and levels; the third label is any other."""
    small = _CLASSES * levels <= 1 << 16
    place: NDArray[Any] = np.minimum(labels, 2).astype(
        np.uint16 if small else np.uint32
    )
    place *= levels
    place += values
    counts = np.bincount(place, minlength=_CLASSES * levels)
    return counts.reshape(_CLASSES, levels)


def _chunks(size: int) -> Iterator[slice]:
    """Parts that fit the cache of a processor."""
    for start in range(0, size, _CHUNK):
        yield slice(start, start + _CHUNK)


def _in_numpy(count: Callable[[slice], Counts], size: int) -> Counts:
    """Count parts in threads: NumPy lets go of the interpreter while it counts."""
    found = in_threads(count, max(size, 1), os.cpu_count() or 1, least=_PART)
    total: Counts = np.sum(found, axis=0)
    return total


def _looped(
    loop: Loop,
    values: NDArray[Any],
    labels: NDArray[np.uint8],
    shape: tuple[int, int, int],
) -> Counts:
    """Count parts in threads; integers add up to the same in any order."""
    # Arrays of one layout, so that one loop is compiled; a word starts where it may.
    flat, classes = np.ascontiguousarray(values), np.ascontiguousarray(labels)
    if flat.ctypes.data % 8:
        flat = flat.copy()
    total = np.zeros((2, shape[2]), dtype=np.int64)
    threads = max(os.cpu_count() or 1, -(-values.size // _MOST))

    def count(part: slice) -> NDArray[np.uint32]:
        tables = np.zeros(shape, dtype=np.uint32)
        loop(flat[part], classes[part], tables)
        return tables

    for tables in in_threads(count, values.size, threads, least=_PART, grain=_GRAIN):
        for table in tables:
            total += table[:2]
    return total
