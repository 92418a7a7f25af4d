"""The short way on a processor with Numba: every sum of a tile from one read.

The logarithms of a span are one logarithm. A number is a mantissa in [1, 2) and a
power of two: mantissas are multiplied, exponents are added, and the logarithm of the
product completes them. All of it is in float64, in the lanes of a vector unit.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from cdstats.core.sums import BINS
from cdstats.score.kernel.compiling import compiled
from cdstats.score.kernel.tile import (
    CHANGED,
    LOG_FLOOR,
    SUMS,
    UNCHANGED,
)

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from cdstats.score.kernel.tile import Options, TileSums

_SPAN: Final = 512
"""Pixels of a span: a product of more mantissas might pass what float64 holds."""
_FLOORED: Final = math.exp(LOG_FLOOR)
"""Below this a logarithm is below the floor."""
_SMALL: Final = 2.0**-20
"""Below this ``ln(1 - x)`` is ``-x - x²/2`` within 1e-12 of it."""
_BINS: Final = BINS
_LAST: Final = np.int32(BINS - 1)
_ONE_BITS: Final = np.uint32(0x3F800000)
"""The bits of 1 in float32."""
_PLAIN: Final = len(SUMS) - BINS
"""The columns of `SUMS` before those of bins."""
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
def _rest(p: float) -> float:
    """1 - p on its own: taken apart in a sum it would lose its digits."""
    return 1.0 - p


@compiled()
def _bin(prob: np.float32) -> np.int32:
    """The bin of a probability; one of them for any other number."""
    return min(max(np.int32(prob * np.float32(_BINS)), np.int32(0)), _LAST)


@compiled()
def _add_to_bins(
    probs: NDArray[np.float32],
    changed: bool,
    miss_sum: float,
    sums: NDArray[np.float64],
) -> None:
    """Add the misses of a span, with a sign, to the sums of their bins."""
    # Numbers without a sign rise as their bits do, and integers are faster to compare.
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
    # Neighbours add to different numbers, so that none waits for the one before.
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
        # Written so that a NaN is bad.
        bad += not (prob >= np.float32(0) and prob <= np.float32(1))
        hits += prob >= cut
        p = np.float64(prob)
        miss, right = (_rest(p), p) if changed else (p, _rest(p))
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
    """Add each row to its sums and counts; mixed spans are parted by class first."""
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
                # Written always and kept sometimes: nothing to be guessed.
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
    """Sum rows of probabilities and labels in one pass over the memory.

    Args:
        scores: Probabilities of change; ``(T, n)``.
        target: Labels; ``(T, n)``.
        options: What was asked for; no logits and no terms.
        found: What the sums are added to; ``outside`` counts valid scores of any kind
            that are no probabilities, so a row that has some must be summed in
            another way.
    """
    # Arrays of one layout, so that one loop is compiled.
    probs, labels = np.ascontiguousarray(scores), np.ascontiguousarray(target)
    cut = np.float32(options.cut(np.dtype(np.float32)))
    _add_spans(probs, labels, cut, found.sums, found.counts)
    changed = found.counts[:, 1] + found.counts[:, 3]
    found.sums[:, 8:_PLAIN] = changed[:, None]
