"""Exact counts of the values in an array."""

from __future__ import annotations

import math
from itertools import chain, pairwise
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from cdstats.core.counts import NAN, Value, colour_value, value_order

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

MAX_DISTINCT: Final = 65_536
"""An array with more distinct values is not a mask, unless a rule is given."""
_SAMPLE: Final = 4 * MAX_DISTINCT
_GLANCE: Final = 509
"""Every n-th pixel is sampled to see whether an array has at most two values. A prime
avoids sampling a single column."""
_WORD_BITS: Final = 3
_WORD_BYTES: Final = 1 << _WORD_BITS
_SHORT_RUN: Final = 16
"""Mean run length below which counting runs is not faster."""


class TooManyValuesError(ValueError):
    """An array has more than `MAX_DISTINCT` values, so it is not a mask."""


def count_values(pixels: NDArray[Any]) -> dict[Value, int]:
    """Count how often each value occurs in an array.

    Most masks have two values, which takes two comparisons. Arrays of long runs are
    counted by runs, all others by value.

    Values are in `value_order`. Whole floating-point values become integers, every NaN
    ``"nan"``.

    Raises:
        TooManyValuesError: If there are more than `MAX_DISTINCT` values.

    Example:
        >>> count_values(np.array([[0, 255], [0, 0]], dtype=np.uint8))
        {0: 3, 255: 1}
        >>> count_values(np.array([1.0, np.nan, 0.5]))
        {0.5: 1, 1: 1, 'nan': 1}
    """
    if pixels.dtype.kind not in "biuf":
        raise TypeError(f"cannot count values of type {pixels.dtype}")
    flat = pixels.ravel("K")
    if flat.size == 0:
        return {}
    found = None
    if len(set(flat[::_GLANCE].tolist())) <= 2:
        found = _count_two(flat)
    found = found or _count_runs(flat) or _count_all(flat)
    named = {_plain(value): count for value, count in found.items()}
    return {value: named[value] for value in sorted(named, key=value_order)}


def count_cells(pixels: NDArray[Any], edges: tuple[float, ...]) -> dict[Value, int]:
    """Count pixels by their position among edges, for arrays of many values.

    A rule depends only on the position of a value among the numbers in it, so this
    count is exact for the rule. Edges rise; pixels between two edges are counted under
    a number between them.

    Example:
        >>> count_cells(np.array([0.1, 0.2, 0.5, 0.9, np.nan]), (0, 0.5))
        {0.25: 2, 0.5: 1, 1.5: 1, 'nan': 1}
    """
    flat = pixels.ravel("K")
    missing = np.isnan(flat) if flat.dtype.kind == "f" else np.zeros(flat.shape, bool)
    cells = np.bincount(_cells(flat[~missing], edges), minlength=2 * len(edges) + 1)
    names = _cell_names(edges)
    counted: dict[Value, int] = {
        names[cell]: int(cells[cell]) for cell in np.flatnonzero(cells)
    }
    if missing.any():
        counted[NAN] = int(np.count_nonzero(missing))
    return counted


def fold_values(
    values: Mapping[Value, int], edges: tuple[float, ...]
) -> dict[Value, int]:
    """Counts of values in the form of `count_cells`.

    Example:
        >>> fold_values({0.1: 2, 0.2: 3, 0.5: 1}, (0, 0.5))
        {0.25: 5, 0.5: 1}
    """
    names = _cell_names(edges)
    folded: dict[Value, int] = {}
    for value, pixels in values.items():
        name = value
        if not isinstance(value, str):
            name = names[int(_cells(np.array([value]), edges)[0])]
        folded[name] = folded.get(name, 0) + pixels
    return {value: folded[value] for value in sorted(folded, key=value_order)}


def _cells(numbers: NDArray[Any], edges: tuple[float, ...]) -> NDArray[np.intp]:
    """Position of each number: odd on an edge, even between two edges."""
    marks = np.asarray(edges)
    return np.searchsorted(marks, numbers) + np.searchsorted(marks, numbers, "right")


def _cell_names(edges: tuple[float, ...]) -> list[float]:
    """A representative number for each position of `_cells`."""
    if not edges:
        return [0]
    between = [(low + high) / 2 for low, high in pairwise(edges)]
    last = edges[-1] + 1
    return [edges[0] - 1, *chain(*zip(edges, [*between, last], strict=True))]


def count_colours(channels: NDArray[np.uint8]) -> dict[Value, int]:
    """Count the colours of an image, ``(..., 3)``, as ``"#rrggbb"`` or grey value.

    Example:
        >>> count_colours(np.array([[255, 0, 0], [7, 7, 7]], dtype=np.uint8))
        {7: 1, '#ff0000': 1}
    """
    red, green, blue = channels[..., 0], channels[..., 1], channels[..., 2]
    if np.array_equal(red, green) and np.array_equal(red, blue):
        return count_values(red)
    packed = red.astype(np.uint32) << 16 | green.astype(np.uint32) << 8 | blue
    colours = {
        colour_value(f"#{int(code):06x}"): count
        for code, count in count_values(packed).items()
    }
    return {value: colours[value] for value in sorted(colours, key=value_order)}


def _count_runs(flat: NDArray[Any]) -> dict[Any, int] | None:
    """Counts of an array by runs; None if runs are too short."""
    if flat.itemsize == 1 and flat.size >= _WORD_BYTES:
        return _count_byte_runs(flat)
    ends = _run_ends(flat)
    if ends.size > flat.size // _SHORT_RUN:
        return None
    values, place = np.unique(flat[ends], return_inverse=True)
    # Lengths become floating weights, which is exact below 2^53 pixels.
    pixels = np.bincount(place, weights=_steps(ends + 1)).astype(np.int64)
    return dict(zip(values, pixels.tolist(), strict=True))


def _count_byte_runs(flat: NDArray[Any]) -> dict[Any, int] | None:
    """`_count_runs` for bytes, eight at a time, because most repeat their predecessor.

    A run of equal words adds its length to each byte of the word; runs of bytes are
    then searched only within these words.
    """
    flat = np.ascontiguousarray(flat)
    rest = flat.size % _WORD_BYTES
    words = flat[: flat.size - rest].view(np.uint64)
    ends = _run_ends(words)
    if ends.size > words.size // 2:
        return None
    lengths = _steps(ends + 1)
    held = words[ends].view(np.uint8)
    last = _run_ends(held)
    word, byte = last >> _WORD_BITS, last & (_WORD_BYTES - 1)
    # Pixels up to and including the last byte of each run of bytes.
    pixels = (ends - lengths + 1)[word] * _WORD_BYTES
    pixels += lengths[word] * (byte + 1)
    histogram = np.bincount(held[last], weights=_steps(pixels), minlength=256)
    histogram += np.bincount(flat[flat.size - rest :].view(np.uint8), minlength=256)
    levels = np.flatnonzero(histogram)
    values = levels.astype(np.uint8).view(flat.dtype)
    return dict(zip(values, histogram[levels].astype(np.int64).tolist(), strict=True))


def _run_ends(flat: NDArray[Any]) -> NDArray[np.int64]:
    """Index of the last number of each run."""
    (breaks,) = (flat[1:] != flat[:-1]).nonzero()
    ends = np.empty(breaks.size + 1, np.int64)
    ends[:-1], ends[-1] = breaks, flat.size - 1
    return ends


def _steps(sums: NDArray[np.int64]) -> NDArray[np.int64]:
    """Differences, the inverse of a cumulative sum."""
    steps = sums.copy()
    steps[1:] -= sums[:-1]
    return steps


def _count_two(flat: NDArray[Any]) -> dict[Any, int] | None:
    """Counts of an array with at most two values; None if it has more."""
    first = flat[0]
    equal = flat == first
    pixels = int(np.count_nonzero(equal))
    if pixels == flat.size:
        return {first: pixels}
    second = flat[int(np.argmin(equal))]
    others = int(np.count_nonzero(flat == second))
    if pixels + others == flat.size:
        return {first: pixels, second: others}
    return None


def _count_all(flat: NDArray[Any]) -> dict[Any, int]:
    if flat.dtype == np.uint8 and flat.size > _SAMPLE:
        return _count_pairs(flat)
    if flat.dtype in (np.uint8, np.uint16):
        histogram = np.bincount(flat)
        return {value: int(histogram[value]) for value in np.flatnonzero(histogram)}
    sample = flat[:: max(1, flat.size // _SAMPLE)]
    if np.unique(sample).size > MAX_DISTINCT:
        raise TooManyValuesError
    values, counts = np.unique(flat, return_counts=True)
    if values.size > MAX_DISTINCT:
        raise TooManyValuesError
    return {value: int(count) for value, count in zip(values, counts, strict=True)}


def _count_pairs(flat: NDArray[np.uint8]) -> dict[Any, int]:
    """Count bytes two at a time, because counting converts every number."""
    even = np.ascontiguousarray(flat[: flat.size // 2 * 2])
    pairs = np.bincount(even.view(np.uint16), minlength=1 << 16).reshape(256, 256)
    histogram = pairs.sum(0) + pairs.sum(1)
    if flat.size % 2:
        histogram[flat[-1]] += 1
    held = np.flatnonzero(histogram).astype(np.uint8)
    return dict(zip(held, histogram[held].tolist(), strict=True))


def _plain(value: np.generic) -> Value:
    number = float(value) if value.dtype.kind == "f" else value.item()
    if isinstance(number, float):
        if math.isnan(number):
            return NAN
        return int(number) if number.is_integer() else number
    return int(number)
