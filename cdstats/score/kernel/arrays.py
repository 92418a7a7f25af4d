"""The pass over pixels on the CPU, in NumPy or in loops compiled by Numba."""

from __future__ import annotations

import os
import threading
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from cdstats.core.pixel_terms import sigmoid_and_logs
from cdstats.core.sums import BINS, bins_of
from cdstats.score.kernel.tile import (
    CHANGED,
    COUNTS,
    LOG_FLOOR,
    OUTSIDE,
    RUN,
    SUMS,
    TILE,
    UNCHANGED,
    Options,
    TileSums,
    Way,
    any_sums,
    in_threads,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from cdstats.score.kernel.tile import TermFunction

    Floats = NDArray[np.floating[Any]]
    Sums = tuple[Sequence[float], Sequence[int], NDArray[np.float64]]

_TINY: Final = 1e-43
"""The logarithm of smaller numbers may be below the floor."""
_NEUTRAL: Final = 0.5
"""Probability of padding and ignored pixels; any value that is not saturated."""
_MIXED_RUNS: Final = 64
"""Number of runs with several bins that are processed at a time."""


def array_sums(
    scores: NDArray[Any],
    target: NDArray[Any],
    *,
    threshold: float = 0.5,
    logits: bool = False,
    terms: Sequence[TermFunction] = (),
    compiled: bool = False,
) -> TileSums:
    """Sum tiles of scores and labels, in one pass.

    Args:
        scores: Probabilities of change, or scores before the sigmoid; floating,
            ``(T, n)``.
        target: 1 changed, 0 unchanged, 255 ignored, uint8; or soft targets in [0, 1],
            floating, negative where ignored; ``(T, n)``.
        threshold: A pixel is predicted changed when its probability is at least this.
        logits: Whether ``scores`` are logits.
        terms: Functions whose values are summed over each class; their arguments are
            probabilities, the class (True for changed), and ``1 - p`` for logits or
            None for probabilities.
        compiled: Whether float32 probabilities with labels are summed in float64 in
            compiled loops. It needs Numba and is faster for many pixels.

    Returns:
        The sums of each tile.

    Raises:
        ValueError: If the shapes differ or are not matrices, or the target is neither
            uint8 nor floating.

    Example:
        >>> scores = np.array([[0.9, 0.2, 0.4, 0.1]])
        >>> found = array_sums(scores, np.array([[1, 0, 1, 255]], dtype=np.uint8))
        >>> [round(x, 6) for x in found.sums[0, :2].tolist()]
        [1.021651, 0.223144]

    References:
        Logarithms are clamped at -100 as in ``torch.nn.BCELoss``. The two sums, which
        are weighted later, are those of Xie and Tu, 2015, eq. 2
        (https://arxiv.org/abs/1504.06375).
    """
    if scores.shape != target.shape or scores.ndim != 2:
        raise ValueError(f"scores {scores.shape} and target {target.shape} differ")
    if target.dtype != np.uint8 and target.dtype.kind != "f":
        raise ValueError(f"target is {target.dtype}; expected uint8 or floating")
    options = Options(threshold, logits, tuple(terms))
    plain = scores.dtype == np.float32 and target.dtype == np.uint8
    fits_loops = compiled and plain and not logits and not terms
    found = TileSums(
        np.zeros((len(scores), len(SUMS))),
        np.zeros((len(scores), len(COUNTS)), dtype=np.int64),
        np.zeros((len(scores), len(terms), 2)),
    )

    def add(part: slice) -> None:
        rows = range(part.start, part.stop)
        if fits_loops:
            from cdstats.score.kernel.loops import loop_sums

            loop_sums(scores[part], target[part], options, found.part(part))
            # Rows with values outside [0, 1] are summed again in the general way.
            rows = (part.start + found.counts[part, OUTSIDE].nonzero()[0]).tolist()
        for row in rows:
            one = found.part(slice(row, row + 1))
            for array in (one.sums, one.counts, one.terms):
                array[:] = 0
            for at in range(0, scores.shape[1], TILE):
                span = slice(at, at + TILE)
                sums, counts, pairs = _tile(
                    scores[row, span], target[row, span], options
                )
                one.sums[0] += sums
                one.counts[0] += counts
                one.terms[0] += pairs

    in_threads(add, len(scores), os.cpu_count() or 1)
    return found


def _tile(scores: Floats, target: NDArray[Any], options: Options) -> Sums:
    """The sums of a tile, with a faster method for probabilities with labels."""
    dtype = np.dtype(np.float64 if scores.dtype == np.float64 else np.float32)
    with np.errstate(all="ignore"):
        if target.dtype == np.uint8 and not options.logits:
            found = _label_sums(scores, target, dtype, options)
            if found is not None:
                return found
        return _any_sums(scores, target, dtype, options)


_LOCAL: Final = threading.local()


def _buffers(dtype: np.dtype[Any]) -> list[Floats]:
    """Buffers of this thread, which are reused because fresh memory is slow."""
    held: dict[str, list[Floats]] = _LOCAL.__dict__
    if dtype.name not in held:
        held[dtype.name] = [np.zeros(TILE, dtype) for _ in range(5)]
    return held[dtype.name]


def _label_sums(
    scores: Floats, labels: NDArray[np.uint8], dtype: np.dtype[Any], options: Options
) -> Sums | None:
    """The sums of probabilities with labels, with one logarithm per pixel.

    The logarithm is of p or of ``1 - p``. The rounding error d of ``q = 1 - p`` is
    summed and added back, so that very small probabilities keep their loss:
    ``ln(q + d)`` is ``ln q + d`` for a d of one rounding. The result is None if a
    probability is outside [0, 1].
    """
    room, pixels = _buffers(dtype), labels.size
    padded = -(-pixels // RUN) * RUN
    p, changed, unchanged, one, two = (array[:padded] for array in room)
    is_changed, is_unchanged = labels == CHANGED, labels == UNCHANGED
    n1, n0 = int(np.count_nonzero(is_changed)), int(np.count_nonzero(is_unchanged))
    p[:pixels], changed[:pixels], unchanged[:pixels] = scores, is_changed, is_unchanged
    p[pixels:], changed[pixels:], unchanged[pixels:] = _NEUTRAL, 0, 0
    if n1 + n0 < pixels:
        # A product would keep NaN at ignored pixels, because NaN times 0 is NaN.
        np.copyto(p[:pixels], _NEUTRAL, where=labels > CHANGED)
    least, most = p.min(initial=1), p.max(initial=0)
    if not (least >= 0 and most <= 1):
        return None
    hits = p[:pixels] >= options.cut(dtype)
    tp, fp = (int(np.count_nonzero(hits & own)) for own in (is_changed, is_unchanged))
    right = np.abs(np.subtract(unchanged, p, out=one), out=one)
    logs = np.log(right, out=two)
    wrong = 0
    if least < _TINY or most == 1:
        np.maximum(logs, LOG_FLOOR, out=logs)
        wrong = int(np.count_nonzero((right == 0) & (changed != unchanged)))
    ce1, ce0 = -_total(changed, logs), -_total(unchanged, logs)
    lost = np.subtract(np.subtract(unchanged, right, out=one), p, out=one)
    ce0 -= _total(unchanged, lost)
    own = np.multiply(changed, p, out=one)
    given, given_sq = _total(changed, own), _total(own, own)
    misses = np.subtract(own, changed, out=one)
    missed, missed_sq = _dots(changed, misses), _total(misses, misses)
    other = np.multiply(unchanged, p, out=two)
    false, false_sq = _dots(unchanged, other), _total(other, other)
    np.add(misses, other, out=misses)
    bins = np.multiply(p, BINS, out=two).astype(np.uint8)
    gaps = _gaps(np.minimum(bins, BINS - 1, out=bins), misses, missed + false)
    probs = [p[:pixels][own] for own in (is_changed, is_unchanged) if options.terms]
    pairs = [
        [_sum(term(part, place == 0, None)) for place, part in enumerate(probs)]
        for term in options.terms
    ]
    sums = [
        *(ce1, ce0, -missed.sum(), missed_sq, given, given_sq, false.sum(), false_sq),
        *(n1, n1, *gaps),
    ]
    counts = [n1 + n0, tp, fp, n1 - tp, n0 - fp, wrong, 0, 0]
    return sums, counts, np.array(pairs).reshape(-1, 2)


def _dots(left: Floats, right: Floats) -> NDArray[np.float64]:
    """The sum of products of each run; the length must be a multiple of a run."""
    pairs: Floats = np.matmul(left.reshape(-1, 1, RUN), right.reshape(-1, RUN, 1))
    return pairs.ravel().astype(np.float64)


def _total(left: Floats, right: Floats) -> float:
    """The sum of products; runs are added in float64."""
    return float(_dots(left, right).sum())


def _sum(values: Floats) -> float:
    """The sum of values; runs are added in float64."""
    if not values.size:
        return 0.0
    parts = np.add.reduceat(values, np.arange(0, values.size, RUN))
    return float(parts.sum(dtype=np.float64))


def _gaps(
    bins: NDArray[np.uint8], misses: Floats, by_run: NDArray[np.float64]
) -> NDArray[np.float64]:
    """The sum of misses in each bin.

    Most runs are in a single bin; only the pixels of other runs are binned one by one.
    """
    runs = np.arange(0, bins.size, RUN)
    low, high = np.minimum.reduceat(bins, runs), np.maximum.reduceat(bins, runs)
    mixed = np.flatnonzero(low != high)
    by_run[mixed] = 0
    found: NDArray[np.float64] = np.bincount(low, by_run, BINS).astype(np.float64)
    for at in range(0, mixed.size, _MIXED_RUNS):
        part = mixed[at : at + _MIXED_RUNS]
        own, others = (one.reshape(-1, RUN)[part].ravel() for one in (bins, misses))
        found += np.bincount(own, others, BINS)
    return found


def _any_sums(
    scores: Floats, target: NDArray[Any], dtype: np.dtype[Any], options: Options
) -> Sums:
    """The sums for any scores and targets, by the general method."""
    sums, gaps, counts, pairs = any_sums(scores, target, options, dtype, _WAY)
    return [*sums, *gaps], counts, np.array(pairs).reshape(-1, 2)


def _scores(values: Floats, logits: bool) -> Sequence[Floats]:
    if logits:
        return sigmoid_and_logs(values)
    inside = np.clip(values, 0, 1)
    return values, 1 - values, np.log(inside), np.log1p(-inside)


def _binned(probs: Floats, values: Floats) -> NDArray[np.float64]:
    bins = np.clip(bins_of(probs), 0, BINS - 1)
    found: NDArray[np.float64] = np.bincount(bins, values, BINS).astype(np.float64)
    return found


_WAY: Final = Way(
    np,
    _sum,
    lambda pixels: int(np.count_nonzero(pixels)),
    _scores,
    _binned,
    lambda values: sigmoid_and_logs(values.astype(np.float64))[:2],
)
