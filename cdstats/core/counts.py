"""The additive states of counting: how often each stored value occurs, and each label.

A mask is counted before anything is decided: which values mean *changed* is a rule
(`cdstats.core.labels`) applied to the counts afterwards. Counts are Python integers
from end to end, so they cannot overflow or round.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from itertools import chain, pairwise
from typing import TYPE_CHECKING, Any, Final

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

Value = int | float | str
"""A stored value: a number, ``"nan"``, or ``"#rrggbb"`` when the channels differ."""

NAN: Final = "nan"
MAX_DISTINCT: Final = 65_536
"""More distinct values than this, and no rule given, means that it is no mask."""
_SAMPLE: Final = 4 * MAX_DISTINCT
_GLANCE: Final = 128
"""Pixels that tell whether an array seems to hold at most two values."""
_SHORT_RUN: Final = 16
"""Pixels of a run on average below which counting runs does not pay."""


class TooManyValuesError(ValueError):
    """An array holds more than `MAX_DISTINCT` values: it is no mask."""


@dataclass(frozen=True, slots=True)
class PixelCounts:
    """Pixels by label; adds over windows, images and splits.

    Example:
        >>> PixelCounts(2, 5, 1) + PixelCounts(1, 0, 3)
        PixelCounts(changed=3, unchanged=5, ignored=4)
    """

    changed: int = 0
    unchanged: int = 0
    ignored: int = 0

    @property
    def valid(self) -> int:
        """Changed and unchanged pixels: the denominator of every fraction."""
        return self.changed + self.unchanged

    @property
    def pixels(self) -> int:
        """All pixels, the ignored ones included."""
        return self.changed + self.unchanged + self.ignored

    def __add__(self, other: PixelCounts) -> PixelCounts:
        return PixelCounts(
            self.changed + other.changed,
            self.unchanged + other.unchanged,
            self.ignored + other.ignored,
        )


@dataclass(frozen=True, slots=True)
class ValueCounts:
    """How often each stored value occurs; adds over windows.

    Attributes:
        values: Pixels of each value, in the order of `value_order`.
        masked: Pixels that the file masks out or that are fully transparent.
        half_transparent: Pixels whose alpha is neither 0 nor opaque.
        folded: Whether values stand for all between two edges of a rule, so that the
            counts answer that rule alone.

    Example:
        >>> left = ValueCounts({0: 3, 255: 1})
        >>> (left + ValueCounts({255: 2}, masked=4)).values
        {0: 3, 255: 3}
    """

    values: Mapping[Value, int] = field(default_factory=dict)
    masked: int = 0
    half_transparent: int = 0
    folded: bool = False

    @property
    def pixels(self) -> int:
        """All pixels counted."""
        return sum(self.values.values()) + self.masked + self.half_transparent

    def __add__(self, other: ValueCounts) -> ValueCounts:
        return ValueCounts(
            add_values(self.values, other.values),
            self.masked + other.masked,
            self.half_transparent + other.half_transparent,
            self.folded or other.folded,
        )

    def __reduce__(self) -> tuple[Any, ...]:
        """What travels between processes: a tuple, where a dataclass is slow."""
        fields = (dict(self.values), self.masked, self.half_transparent, self.folded)
        return ValueCounts, fields


@dataclass(frozen=True, slots=True)
class MaskCounts:
    """The counts of one mask with the facts of its file that a rule may need.

    Attributes:
        width: Pixels in a row.
        height: Rows.
        counts: Pixels of each stored value.
        nodata: The value that the file declares as nodata, if any.
        palette: Colour of each index, when the values are indices of a colour palette.
        format: What the file is, such as ``"PNG"`` or ``"JPEG"``.

    Raises:
        ValueError: If the counts do not add up to width x height.
    """

    width: int
    height: int
    counts: ValueCounts
    nodata: Value | None = None
    palette: Mapping[int, str] | None = None
    format: str = ""

    def __post_init__(self) -> None:
        if self.counts.pixels != self.width * self.height:
            raise ValueError(
                f"counted {self.counts.pixels} pixels of {self.width} x {self.height}"
            )

    def __reduce__(self) -> tuple[Any, ...]:
        """What travels between processes: a tuple, where a dataclass is slow."""
        facts = (self.nodata, self.palette, self.format)
        return MaskCounts, (self.width, self.height, self.counts, *facts)


def value_order(value: Value) -> tuple[bool, float, str]:
    """Sort key of a value: numbers by size, then colours and ``"nan"`` by name."""
    if isinstance(value, str):
        return True, 0.0, value
    return False, value, ""


def add_values(
    left: Mapping[Value, int], right: Mapping[Value, int]
) -> dict[Value, int]:
    """Add two counts of values; the result is in the order of `value_order`."""
    total = dict(left)
    for value, pixels in right.items():
        total[value] = total.get(value, 0) + pixels
    if len(total) > len(left):
        total = {value: total[value] for value in sorted(total, key=value_order)}
    return total


def count_values(pixels: NDArray[Any]) -> dict[Value, int]:
    """Count how often each value occurs in an array.

    Two comparisons settle an array of two values, as most masks are. A mask of more is
    made of long runs of one value, so its runs are counted, and only what is neither is
    counted value by value.

    Args:
        pixels: Boolean, integer or floating values of any shape. Floating values that
            are whole come back as integers, every NaN as ``"nan"``.

    Returns:
        Pixels of each value, in the order of `value_order`.

    Raises:
        TypeError: If the array holds anything but real numbers.
        TooManyValuesError: If it holds more than `MAX_DISTINCT` values.

    Example:
        >>> count_values(np.array([[0, 255], [0, 0]], dtype=np.uint8))
        {0: 3, 255: 1}
        >>> count_values(np.array([1.0, np.nan, 0.5]))
        {0.5: 1, 1: 1, 'nan': 1}
    """
    if pixels.dtype.kind not in "biuf":
        raise TypeError(f"cannot count values of type {pixels.dtype}")
    flat = pixels.reshape(-1)
    if flat.size == 0:
        return {}
    found = None
    # An odd step, so that it does not go down one column.
    if len(set(flat[:: flat.size // _GLANCE | 1].tolist())) <= 2:
        found = _count_two(flat)
    found = found or _count_runs(flat) or _count_all(flat)
    named = {_plain(value): count for value, count in found.items()}
    return {value: named[value] for value in sorted(named, key=value_order)}


def count_cells(pixels: NDArray[Any], edges: tuple[float, ...]) -> dict[Value, int]:
    """Count pixels by their place among edges, for arrays of too many values.

    A rule asks only where a value lies among the numbers it names, so this count
    answers it exactly, whatever the number of distinct values.

    Args:
        pixels: Integer or floating values of any shape.
        edges: The numbers that a rule names, in rising order.

    Returns:
        Pixels equal to each edge, and pixels between two edges under a number that
        lies between them; NaN as ``"nan"``.

    Example:
        >>> count_cells(np.array([0.1, 0.2, 0.5, 0.9, np.nan]), (0, 0.5))
        {0.25: 2, 0.5: 1, 1.5: 1, 'nan': 1}
    """
    flat = pixels.reshape(-1)
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
    """Counts of values as `count_cells` would give them.

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
    """The place of each number: odd on an edge, even between two."""
    marks = np.asarray(edges)
    return np.searchsorted(marks, numbers) + np.searchsorted(marks, numbers, "right")


def _cell_names(edges: tuple[float, ...]) -> list[float]:
    """A number in each place of `_cells`."""
    if not edges:
        return [0]
    between = [(low + high) / 2 for low, high in pairwise(edges)]
    last = edges[-1] + 1
    return [edges[0] - 1, *chain(*zip(edges, [*between, last], strict=True))]


def count_colours(channels: NDArray[np.uint8]) -> dict[Value, int]:
    """Count the colours of an image; a colour with equal channels is its grey value.

    Args:
        channels: Red, green and blue; uint8, ``(..., 3)``.

    Returns:
        Pixels of each grey value or ``"#rrggbb"``, in the order of `value_order`.

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


def colour_value(colour: str) -> Value:
    """The stored value of a colour: its grey level when the channels are equal.

    Example:
        >>> colour_value("#808080"), colour_value("#ff0000")
        (128, '#ff0000')
    """
    red, green, blue = colour[1:3], colour[3:5], colour[5:7]
    return int(red, 16) if red == green == blue else colour


def _count_runs(flat: NDArray[Any]) -> dict[Any, int] | None:
    """Counts of an array that is made of runs, or None where they are too short."""
    (breaks,) = (flat[1:] != flat[:-1]).nonzero()
    if breaks.size > flat.size // _SHORT_RUN:
        return None
    ends = np.empty(breaks.size + 1, np.int64)
    ends[:-1], ends[-1] = breaks, flat.size - 1
    lengths = ends.copy()
    lengths[1:] -= ends[:-1]
    lengths[0] += 1
    values = place = flat[ends]
    if flat.dtype != np.uint8:
        values, place = np.unique(values, return_inverse=True)
    # As weights, lengths are floats: exact, for an array holds fewer than 2^53 pixels.
    pixels = np.bincount(place, weights=lengths).astype(np.int64)
    if flat.dtype == np.uint8:
        values = np.flatnonzero(pixels).astype(np.uint8)
        pixels = pixels[values]
    return dict(zip(values, pixels.tolist(), strict=True))


def _count_two(flat: NDArray[Any]) -> dict[Any, int] | None:
    """Counts of an array of at most two values, or None if it holds more."""
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
    """Counts of bytes, two at a time: counting converts each number it counts."""
    even = np.ascontiguousarray(flat[: flat.size // 2 * 2])
    pairs = np.bincount(even.view(np.uint16), minlength=1 << 16).reshape(256, 256)
    histogram = pairs.sum(0) + pairs.sum(1)
    if flat.size % 2:
        histogram[flat[-1]] += 1
    held = np.flatnonzero(histogram).astype(np.uint8)
    return dict(zip(held, histogram[held].tolist(), strict=True))


def _plain(value: np.generic) -> Value:
    """A NumPy scalar as the Python number that it holds."""
    number = float(value) if value.dtype.kind == "f" else value.item()
    if isinstance(number, float):
        if math.isnan(number):
            return NAN
        return int(number) if number.is_integer() else number
    return int(number)
