"""Counts of scores by level and label, for stored values and for ranks.

Stored values of 8 or 16 bits are counted once. Their meaning is decided afterwards, and
each level is evaluated once in float64. Counting uses compiled loops or NumPy.

The rank of a probability is an integer that increases with it. Ranks have a high
resolution near 0 and 1, where the scores of confident networks lie: below 1/2 a rank
follows the bits of p, above 1/2 the bits of 1 - p. A logit has the rank of its sigmoid,
also where the sigmoid itself would round to 1.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import numpy as np

from cdstats.core.histogram import LevelCounts
from cdstats.io.predictions import PALETTE
from cdstats.score.batching import native
from cdstats.score.kernel.tile import in_threads

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    Loop = Callable[[NDArray[Any], NDArray[np.uint8], NDArray[np.uint32]], None]
    from cdstats.core.histogram import Counts
    from cdstats.core.sums import Floats

_CHUNK: Final = 1 << 18
"""Pixels that NumPy counts at a time, so that 64-bit copies fit the cache."""
_RARE: Final = 4
"""Pairs of bytes are counted if at most one pixel in this many is not unchanged."""
_PAIRED: Final = 1 << 17
"""Number of pixels from which a table of pairs of bytes is faster."""
_GRAIN: Final = 64
"""Parts of threads start at multiples of this, so that words are aligned."""
_PART: Final = 1 << 19
"""Least number of pixels per thread."""
_MOST: Final = 1 << 30
"""Largest number of pixels in a table of 32-bit counters."""
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
        levels: Number of levels; 256 for uint8.
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
        # NumPy releases the interpreter lock while it counts.
        parts = in_threads(
            lambda part: _level_counts(values[part], labels[part], levels),
            *(max(values.size, 1), os.cpu_count() or 1),
            least=_PART,
        )
        total: Counts = np.sum(parts, axis=0)
        return total
    from cdstats.score.kernel.loops import count_bytes, count_shorts

    if values.dtype == np.uint8:
        return _looped(count_bytes, values, labels, (4, _CLASSES, levels))
    return _looped(count_shorts, values, labels, (1, _CLASSES, levels))


def _level_counts(
    values: NDArray[Any], labels: NDArray[np.uint8], levels: int
) -> Counts:
    """Count in NumPy.

    NumPy copies values to 64 bits, which takes longer than counting them. If most
    pixels are unchanged, pairs of bytes are counted instead, and pixels of other labels
    are counted separately.
    """
    total = np.zeros((_CLASSES, levels), dtype=np.int64)
    paired = values.dtype == np.uint8 and values.size >= _PAIRED
    pairs = np.zeros(levels**2 if paired else 0, dtype=np.int64)
    for at in range(0, values.size, _CHUNK):
        value, label = values[at : at + _CHUNK], labels[at : at + _CHUNK]
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
    """Count pixels in a table of labels and levels; the third label is any other."""
    kind = np.uint16 if _CLASSES * levels <= 1 << 16 else np.uint32
    place: NDArray[Any] = np.minimum(labels, 2).astype(kind)
    place *= levels
    place += values
    counts = np.bincount(place, minlength=_CLASSES * levels)
    return counts.reshape(_CLASSES, levels)


def _looped(
    loop: Loop,
    values: NDArray[Any],
    labels: NDArray[np.uint8],
    shape: tuple[int, int, int],
) -> Counts:
    """Count parts in threads; sums of integers do not depend on their order."""
    # Arrays are contiguous, so that only one loop is compiled, and aligned to words.
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


SCALE: Final = {"uint8": 255, "uint16": 65535}
"""Divisor of integers that are scaled probabilities."""
_BYTES: Final = 1 << 8
_WHITE: Final = 255


def count_stored(
    values: NDArray[Any], labels: NDArray[np.uint8], *, compiled: bool = False
) -> LevelCounts:
    """Counts of stored values of any type by label; their meaning is not needed.

    Example:
        >>> found = count_stored(
        ...     np.array([0, 255, 255], dtype=np.uint8),
        ...     np.array([0, 1, 255], dtype=np.uint8),
        ... )
        >>> found.values, found.changed, found.unchanged
        (array([  0, 255], dtype=uint8), array([0, 1]), array([1, 0]))
    """
    flat, label = values.reshape(-1), labels.reshape(-1)
    if flat.dtype not in (np.bool_, np.uint8, np.uint16, np.float16):
        return LevelCounts.of(flat[label == 1], flat[label == 0])
    words = flat.view(f"u{flat.itemsize}")
    # 16-bit probabilities use a quarter of all patterns, which saves memory.
    levels = int(words.max(initial=0)) + 1 if words.itemsize > 1 else _BYTES
    unchanged, changed = joint_counts(words, label, levels, compiled=compiled)
    held = np.flatnonzero(changed + unchanged)
    changed, unchanged, known = changed[held], unchanged[held], held.astype(words.dtype)
    if flat.dtype != np.float16:
        return LevelCounts(known, changed, unchanged)
    return LevelCounts.grouped(known.view(np.float16), changed, unchanged)


def divided(scores: NDArray[Any], scale: float) -> NDArray[Any]:
    """Scores divided by a scale, in float64 if they have it, otherwise in float32."""
    exact = scores.dtype if scores.dtype == np.float64 else np.dtype(np.float32)
    found: NDArray[Any] = np.divide(scores.astype(exact), exact.type(scale))
    return found


def plain_numbers(values: NDArray[Any], dtype: str) -> NDArray[Any]:
    """The stored scores, with colours of palettes as grey levels.

    A grey becomes its level, any other colour 255, because it means changed.

    Example:
        >>> plain_numbers(np.array([0, 0x808080, 0xFF0000]), "palette")
        array([  0, 128, 255], dtype=uint8)
    """
    if dtype != PALETTE:
        return values
    level = values & _WHITE
    grey = (values >> 16 == level) & (values >> 8 & _WHITE == level)
    return np.where(grey, level, _WHITE).astype(np.uint8)


def label_scale(stored: LevelCounts) -> float | None:
    """The divisor of a prediction that has only labels, 1 or 255; otherwise None.

    A prediction of only zeros has no change in either coding.
    """
    held = {int(value) for value in stored.values[:3]}
    if held <= {0, 1}:
        return 1.0
    return 255.0 if held <= {0, 255} else None


HALF: Final = np.float64(0.5).view(np.uint64)
_ONE: Final = HALF + HALF
ROUNDINGS: Final = np.uint64(4)
BITS: Final = np.uint64(45)
"""Bits in which ranks of one code differ; a code keeps 7 bits below a power of two."""
LOW: Final = np.uint64((1023 - 127) << 7)
"""All ranks of p below 2^-127 have one code; the same holds for 1 - p."""
CODES: Final = int(2 * ((HALF >> BITS) - LOW)) + 1
"""Number of codes of ranks; the first contains p = 0 and the last p = 1."""
SPANS: Final = np.full(CODES, BITS, dtype=np.uint64)
"""Bits in which the ranks of each code differ."""
SPANS[0], SPANS[-1] = 60, 63
_WAITING: Final = 1 << 20
"""Least number of levels of a pool before they are joined."""


def ranks_of(scores: NDArray[Any], *, logits: bool) -> NDArray[np.uint64]:
    """Integers that increase with the scores.

    Example:
        >>> found = ranks_of(np.array([0, 0.25, 0.5, 1]), logits=False)
        >>> probs_of(found)
        array([0.  , 0.25, 0.5 , 1.  ])
    """
    wide = scores.astype(np.float64)
    if logits:
        upper = wide >= 0
        far = np.exp(-np.abs(wide))
        rest = far / (1 + far)
    else:
        upper = wide >= 0.5
        # The subtraction is exact from 1/2 to 1.
        rest = np.where(upper, 1 - wide, np.abs(wide))
    bits = rest.view(np.uint64)
    found: NDArray[np.uint64] = np.where(upper, _ONE - bits, bits)
    # A few roundings lower, so that a rank never exceeds the probability of the logit.
    return found - np.minimum(found, ROUNDINGS) if logits else found


def probs_of(ranks: NDArray[np.uint64]) -> Floats:
    """The probabilities of ranks, rounded down so that 1 - p is never too small."""
    upper = ranks >= HALF
    rest = np.where(upper, _ONE - ranks, ranks).view(np.float64)
    probs = np.where(upper, 1 - rest, rest)
    return np.where(upper & (1 - probs < rest), np.nextafter(probs, 0), probs)


def codes_of(ranks: NDArray[np.uint64]) -> NDArray[np.uint16]:
    """Ranks as codes of 16 bits: 128 codes per power of two of p and of 1 - p."""
    top = np.uint64(CODES - 1)
    codes: NDArray[np.uint64] = np.clip(ranks >> BITS, LOW, LOW + top) - LOW
    return codes.astype(np.uint16)


def codes_of_scores(scores: NDArray[Any], logits: bool) -> NDArray[np.uint16]:
    """The code of the rank of each score, computed in chunks."""
    flat = scores.reshape(-1)
    codes = [
        codes_of(ranks_of(flat[at : at + _CHUNK], logits=logits))
        for at in range(0, flat.size, _CHUNK)
    ]
    return np.concatenate(codes)


class Numbers(NamedTuple):
    """Operations on scores and labels, implemented in NumPy or PyTorch.

    ``stored`` counts stored numbers by label, ``codes`` computes the codes of ranks.
    """

    native: Callable[[Any], Any]
    dtype: Callable[[Any], np.dtype[Any]]
    cast: Callable[[Any, str], Any]
    count: Callable[[Any], int]
    divided: Callable[[Any, float], Any]
    stored: Callable[[Any, Any, bool], LevelCounts]
    codes: Callable[[Any, bool], Any]
    on_host: Callable[[Any], NDArray[Any]]


IN_ARRAYS: Final = Numbers(
    native,
    lambda array: array.dtype,
    lambda array, dtype: array.astype(dtype),
    lambda array: int(np.count_nonzero(array)),
    divided,
    lambda values, labels, compiled: count_stored(values, labels, compiled=compiled),
    codes_of_scores,
    lambda array: array,
)


def ranks_of_codes(codes: NDArray[Any]) -> NDArray[np.uint64]:
    """The lowest rank of each code."""
    ranks = (codes.astype(np.uint64) + LOW) << BITS
    return np.where(codes > 0, ranks, np.uint64(0))


def rounded_down(
    ranks: NDArray[np.uint64], bits: NDArray[np.uint64]
) -> NDArray[np.uint64]:
    """The first rank of the level of each rank."""
    codes = codes_of(ranks)
    shifts = bits[codes]
    first: NDArray[np.uint64] = (ranks >> shifts) << shifts
    return np.maximum(first, ranks_of_codes(codes))


def rounded(counts: LevelCounts, bits: NDArray[np.uint64]) -> LevelCounts:
    """Counts of coarser levels of ranks; see `rounded_down`."""
    ranks = rounded_down(counts.values, bits)
    return LevelCounts.grouped(ranks, counts.changed, counts.unchanged)


def counts_from(
    counts: LevelCounts, edges: NDArray[np.uint64]
) -> tuple[Counts, Counts]:
    """Changed and unchanged pixels between consecutive edges of ranks."""
    place = np.maximum(np.searchsorted(edges, counts.values, side="right") - 1, 0)
    found = np.zeros((2, edges.size), dtype=np.int64)
    np.add.at(found[0], place, counts.changed)
    np.add.at(found[1], place, counts.unchanged)
    return found[0], found[1]


class LevelPool:
    """Adds levels of many images; equal levels are joined when the number doubles."""

    def __init__(self) -> None:
        self._parts: list[LevelCounts] = []
        self._joined = self._waiting = 0

    def add(self, counts: LevelCounts) -> None:
        """Add the levels of one image, or of another pool."""
        self._parts.append(counts)
        self._waiting += counts.values.size
        if self._waiting > max(self._joined, _WAITING):
            self._parts = [self.total]
            self._joined, self._waiting = self._parts[0].values.size, 0

    @property
    def total(self) -> LevelCounts:
        """The joined levels; the pool must not be empty."""
        return LevelCounts.joined(self._parts)
