"""Joint counts in compiled loops: Numba, which the extra ``cdstats[fast]`` brings.

Masks are mostly runs of one label: such a run is counted word by word, each of 8
stored bytes or 4 stored numbers of 16 bits, in the row of that label. Both loops look
for runs themselves: in a function of its own, that takes twice as long.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import numpy as np

from cdstats.score.kernel.compiling import compiled

if TYPE_CHECKING:
    from numpy.typing import NDArray

_RUN: Final = 64
"""Pixels that are looked at together; a multiple of those of a word."""
_OTHER: Final = 2
"""The row of what is ignored."""
_BYTE, _SHORT = np.uint64(0xFF), np.uint64(0xFFFF)
_AT_8, _AT_16 = np.uint64(8), np.uint64(16)
_AT_32, _AT_48 = np.uint64(32), np.uint64(48)


@compiled()
def _count_each(
    values: NDArray[Any],
    labels: NDArray[np.uint8],
    table: NDArray[np.uint32],
    start: int,
    end: int,
) -> None:
    for place in range(start, end):
        table[min(labels[place], _OTHER), values[place]] += 1


@compiled()
def count_bytes(
    values: NDArray[np.uint8], labels: NDArray[np.uint8], tables: NDArray[np.uint32]
) -> None:
    """Add pixels to four tables ``[label, value]``, which belong together.

    Neighbours are often alike, and a counter that was just written is slow to read: so
    they count elsewhere.
    """
    whole = values.size // _RUN * _RUN
    words = values[:whole].view(np.uint64)
    a, b, c, d = tables[0], tables[1], tables[2], tables[3]
    for start in range(0, whole, _RUN):
        first, differ = labels[start], np.uint8(0)
        for place in range(_RUN):
            differ |= labels[start + place] ^ first
        if differ:
            _count_each(values, labels, a, start, start + _RUN)
            continue
        row = min(first, _OTHER)
        for place in range(start // 8, (start + _RUN) // 8):
            word = words[place]
            high = word >> _AT_8
            a[row, word & _BYTE] += 1
            b[row, high & _BYTE] += 1
            c[row, (word >> _AT_16) & _BYTE] += 1
            d[row, (high >> _AT_16) & _BYTE] += 1
            a[row, (word >> _AT_32) & _BYTE] += 1
            b[row, (high >> _AT_32) & _BYTE] += 1
            c[row, (word >> _AT_48) & _BYTE] += 1
            d[row, high >> _AT_48] += 1
    _count_each(values, labels, a, whole, values.size)


@compiled()
def count_shorts(
    values: NDArray[np.uint16], labels: NDArray[np.uint8], tables: NDArray[np.uint32]
) -> None:
    """Add pixels of 16 bits to the first table ``[label, value]``."""
    whole = values.size // _RUN * _RUN
    words = values[:whole].view(np.uint64)
    a = tables[0]
    for start in range(0, whole, _RUN):
        first, differ = labels[start], np.uint8(0)
        for place in range(_RUN):
            differ |= labels[start + place] ^ first
        if differ:
            _count_each(values, labels, a, start, start + _RUN)
            continue
        row = min(first, _OTHER)
        for place in range(start // 4, (start + _RUN) // 4):
            word = words[place]
            a[row, word & _SHORT] += 1
            a[row, (word >> _AT_16) & _SHORT] += 1
            a[row, (word >> _AT_32) & _SHORT] += 1
            a[row, word >> _AT_48] += 1
    _count_each(values, labels, a, whole, values.size)
