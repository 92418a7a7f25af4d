"""Loops compiled by Numba, which comes with the extra ``cdstats[fast]``.

Sums: all sums of a tile come from one read, in float64 and vectorised. A span needs
only one logarithm: each number is a mantissa in [1, 2) times a power of two. Mantissas
are multiplied, exponents are added, and the logarithm of the product is taken.

Joint counts: masks are mostly runs of one label. Such a run is counted by words of 8
bytes or 4 numbers of 16 bits, in the row of that label. Both loops search for runs
themselves, because a separate function takes twice as long.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, Final

import numba
import numpy as np

from cdstats.core.sums import BINS
from cdstats.score.kernel.tile import (
    CHANGED,
    LOG_FLOOR,
    SUMS,
    UNCHANGED,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    from cdstats.score.kernel.tile import Options, TileSums

_ANY_ORDER: Final = {"reassoc", "contract", "nsz"}
"""Fast-math flags that allow vectorised sums and products but keep NaN."""


def compiled(*, any_order: bool = False) -> Callable[[Callable[..., Any]], Any]:
    """Compile a loop without the interpreter lock, cached on disk if possible."""
    how: dict[str, Any] = {"nogil": True, "fastmath": any_order and _ANY_ORDER}

    def apply(function: Callable[..., Any]) -> Any:  # noqa: ANN401 - as Numba has it
        try:
            return numba.njit(**how, cache=True)(function)
        except RuntimeError:  # there is no writable cache folder
            return numba.njit(**how)(function)

    return apply


_RUN: Final = 64
"""Length of a run in pixels, a multiple of the pixels of a word."""
_OTHER: Final = 2
"""Row of the table for ignored pixels."""
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
    """Add pixels to four tables ``[label, value]``, whose sum is the result.

    Neighbouring pixels are often equal, and a counter that was just written is slow to
    read, so neighbours are counted in different tables.
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


_SPAN: Final = 512
"""Pixels of a span; a product of more mantissas could overflow float64."""
_FLOORED: Final = math.exp(LOG_FLOOR)
"""The logarithm of smaller numbers is below the floor."""
_SMALL: Final = 2.0**-20
"""For smaller x, ``ln(1 - x)`` is ``-x - x²/2`` with a relative error below 1e-12."""
_BINS: Final = BINS
_LAST: Final = np.int32(BINS - 1)
_ONE_BITS: Final = np.uint32(0x3F800000)
"""The bits of 1 in float32."""
_PLAIN: Final = len(SUMS) - BINS
"""Number of columns of `SUMS` before the bins."""
_LN2: Final = math.log(2)
_BIAS: Final = 1023
_EXPONENT: Final = np.uint64(52)
_MANTISSA: Final = np.uint64((1 << 52) - 1)
_ONE: Final = np.uint64(_BIAS << 52)


@compiled()
def _bits(number: float) -> Any:  # noqa: ANN401 - an integer of 64 bits
    return np.float64(number).view(np.uint64)


@compiled()
def _mantissa(bits: Any) -> Any:  # noqa: ANN401 - a float of 64 bits
    return np.uint64((bits & _MANTISSA) | _ONE).view(np.float64)


@compiled()
def _complement(p: float) -> float:
    """1 - p as a separate function, so that fast-math cannot reorder it in a sum."""
    return 1.0 - p


@compiled()
def _bin(prob: np.float32) -> np.int32:
    """The bin of a probability; some valid bin for any other number."""
    return min(max(np.int32(prob * np.float32(_BINS)), np.int32(0)), _LAST)


@compiled()
def _add_to_bins(
    probs: NDArray[np.float32],
    changed: bool,
    miss_sum: float,
    sums: NDArray[np.float64],
) -> None:
    """Add the signed misses of a span to the sums of their bins."""
    # The bits of non-negative floats have the same order and compare faster.
    low, high = np.uint32(_ONE_BITS), np.uint32(0)
    for bits in probs.view(np.uint32):
        low, high = min(low, bits), max(high, bits)
    first = _bin(np.uint32(low).view(np.float32))
    if high <= _ONE_BITS and first == _bin(np.uint32(high).view(np.float32)):
        sums[_PLAIN + first] += -miss_sum if changed else miss_sum
        return
    bins = np.empty(probs.size, np.int32)
    for place in range(probs.size):
        bins[place] = _bin(probs[place])
    # Neighbours are added to different sums, so that no addition waits for another.
    held, label, whole = np.zeros((2, _BINS)), 1.0 if changed else 0.0, probs.size & -2
    for place in range(0, whole, 2):
        held[0, bins[place]] += probs[place] - label
        held[1, bins[place + 1]] += probs[place + 1] - label
    if whole < probs.size:
        held[0, bins[whole]] += probs[whole] - label
    for number in range(_BINS):
        sums[_PLAIN + number] += held[0, number] + held[1, number]


@compiled(any_order=True)
def _add_class(
    probs: NDArray[np.float32],
    changed: bool,
    cut: np.float32,
    sums: NDArray[np.float64],
    counts: NDArray[np.int64],
) -> None:
    """Add at most a span of pixels of one class."""
    bad, hits = np.int32(0), np.int32(0)
    floored, wrong = np.int32(0), np.int32(0)
    miss_sum, square_sum, small_sum = 0.0, 0.0, 0.0
    right_sum, right_square_sum = 0.0, 0.0
    exponents, product = np.uint64(0), 1.0
    for place in range(probs.size):
        prob = probs[place]
        # The condition is negated so that NaN counts as bad.
        bad += not (prob >= np.float32(0) and prob <= np.float32(1))
        hits += prob >= cut
        p = np.float64(prob)
        miss, right = (_complement(p), p) if changed else (p, _complement(p))
        square = miss * miss
        miss_sum += miss
        square_sum += square
        right_sum += right
        right_square_sum += right * right
        small = miss < _SMALL
        small_sum += miss + 0.5 * square if small else 0.0
        under = right < _FLOORED
        floored += under
        wrong += right == 0.0
        bits = _bits(1.0 if under | small else right)
        exponents += bits >> _EXPONENT
        product *= _mantissa(bits)
    power = np.int64(exponents) - _BIAS * probs.size
    log = math.log(product) + _LN2 * power + LOG_FLOOR * floored
    first = 0 if changed else 1
    sums[first] += small_sum - log
    if changed:
        sums[4] += right_sum
        sums[5] += right_square_sum
    sums[2 + 4 * first] += miss_sum
    sums[3 + 4 * first] += square_sum
    _add_to_bins(probs, changed, miss_sum, sums)
    counts[0] += probs.size
    counts[1 + first] += hits
    counts[3 + first] += probs.size - hits
    counts[5] += wrong
    counts[7] += bad


@compiled()
def _add_spans(
    scores: NDArray[np.float32],
    target: NDArray[np.uint8],
    cut: np.float32,
    sums: NDArray[np.float64],
    counts: NDArray[np.int64],
) -> None:
    """Add each row to its sums and counts; mixed spans are first split by class."""
    ones, zeros = np.empty(_SPAN, np.float32), np.empty(_SPAN, np.float32)
    for row in range(len(scores)):
        for start in range(0, scores.shape[1], _SPAN):
            probs = scores[row, start : start + _SPAN]
            labels = target[row, start : start + _SPAN]
            first, differ = labels[0], np.uint8(0)
            for label in labels:
                differ |= label ^ first
            if not differ:
                if first in (CHANGED, UNCHANGED):
                    _add_class(probs, first == CHANGED, cut, sums[row], counts[row])
                continue
            changed, unchanged = 0, 0
            for place in range(probs.size):
                # Every value is written and some are overwritten, without a branch.
                ones[changed] = zeros[unchanged] = probs[place]
                changed += labels[place] == CHANGED
                unchanged += labels[place] == UNCHANGED
            _add_class(ones[:changed], True, cut, sums[row], counts[row])
            _add_class(zeros[:unchanged], False, cut, sums[row], counts[row])


def loop_sums(
    scores: NDArray[np.float32],
    target: NDArray[np.uint8],
    options: Options,
    found: TileSums,
) -> None:
    """Sum rows of probabilities and labels in one pass over the memory."""
    # Arrays are contiguous, so that only one loop is compiled.
    probs, labels = np.ascontiguousarray(scores), np.ascontiguousarray(target)
    cut = np.float32(options.cut(np.dtype(np.float32)))
    _add_spans(probs, labels, cut, found.sums, found.counts)
    changed = found.counts[:, 1] + found.counts[:, 3]
    found.sums[:, 8:_PLAIN] = changed[:, None]
