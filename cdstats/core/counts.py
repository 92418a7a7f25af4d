"""Additive counts of stored values and of labels.

Masks are counted before any decision: the rule for *changed* (`cdstats.core.labels`) is
applied to the counts afterwards. Counts are Python integers throughout, so they neither
overflow nor round.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Mapping

Value = int | float | str
"""A stored value: a number, ``"nan"``, or ``"#rrggbb"`` if the channels differ."""

NAN: Final = "nan"
MINISWHITE: Final = " (MINISWHITE)"
"""Suffix of the format of a TIFF file that declares 0 as white."""
YCBCR: Final = " (YCbCr JPEG)"
"""Suffix of the format of a TIFF file with colour JPEG, usually subsampled."""


@dataclass(frozen=True, slots=True)
class PixelCounts:
    """Pixel counts by label; adds over windows, images and splits.

    Derived ratios, fractions and weights are None where undefined.

    Example:
        >>> PixelCounts(2, 5, 1) + PixelCounts(1, 0, 3)
        PixelCounts(changed=3, unchanged=5, ignored=4)
        >>> round(PixelCounts(134_068_750, 914_507_250).change_ratio, 3)
        0.147

    References:
        Chen et al., "DASNet", 2020 (https://arxiv.org/abs/2003.03608), dataset table:
        the change ratio.
        Xie and Tu, "Holistically-Nested Edge Detection", 2015, eq. 2
        (https://arxiv.org/abs/1504.06375): beta.
    """

    changed: int = 0
    unchanged: int = 0
    ignored: int = 0

    @property
    def valid(self) -> int:
        """Changed + unchanged pixels, the denominator of every fraction."""
        return self.changed + self.unchanged

    @property
    def pixels(self) -> int:
        """All pixels, including ignored ones."""
        return self.changed + self.unchanged + self.ignored

    @property
    def change_ratio(self) -> float | None:
        """Changed / unchanged, as in DASNet."""
        return self.changed / self.unchanged if self.unchanged else None

    @property
    def change_fraction(self) -> float | None:
        """Changed / (changed + unchanged), in [0, 1]."""
        return self.changed / self.valid if self.valid else None

    @property
    def imbalance_ratio(self) -> float | None:
        """Majority / minority class, at least 1."""
        few, many = sorted((self.changed, self.unchanged))
        return many / few if few else None

    @property
    def beta(self) -> float | None:
        """Weight of the changed class in balanced cross-entropy: unchanged / valid."""
        return self.unchanged / self.valid if self.valid else None

    @property
    def pos_weight(self) -> float | None:
        """Unchanged / changed, torch's ``pos_weight``."""
        return self.unchanged / self.changed if self.changed else None

    def __add__(self, other: PixelCounts) -> PixelCounts:
        return PixelCounts(
            self.changed + other.changed,
            self.unchanged + other.unchanged,
            self.ignored + other.ignored,
        )


@dataclass(frozen=True, slots=True)
class ValueCounts:
    """Pixel counts by stored value, in `value_order`; adds over windows.

    ``masked`` counts pixels that the file masks out and fully transparent ones. If
    ``folded``, each value stands for all values between two edges of a rule, and the
    counts are valid for that rule only.

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
        """Total number of pixels."""
        return sum(self.values.values()) + self.masked + self.half_transparent

    def __add__(self, other: ValueCounts) -> ValueCounts:
        return ValueCounts(
            add_values(self.values, other.values),
            self.masked + other.masked,
            self.half_transparent + other.half_transparent,
            self.folded or other.folded,
        )

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickle as a tuple, because dataclasses are slow."""
        fields = (dict(self.values), self.masked, self.half_transparent, self.folded)
        return ValueCounts, fields


@dataclass(frozen=True, slots=True)
class MaskCounts:
    """The counts of a mask, with properties of its file that rules need."""

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

    @property
    def is_jpeg(self) -> bool:
        """Whether it has lossy JPEG compression."""
        return "JPEG" in self.format

    @property
    def white_is_zero(self) -> bool:
        """Whether the file declares 0 as white, on which readers disagree."""
        return self.format.endswith(MINISWHITE)

    @property
    def is_subsampled(self) -> bool:
        """Whether it is a TIFF with JPEG whose colours readers decode differently."""
        return self.format.endswith(YCBCR)

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickle as a tuple, because dataclasses are slow."""
        facts = (self.nodata, self.palette, self.format)
        return MaskCounts, (self.width, self.height, self.counts, *facts)


def value_order(value: Value) -> tuple[bool, float, str]:
    """Sort key of a value: numbers by size, then colours and ``"nan"`` as text."""
    if isinstance(value, str):
        return True, 0.0, value
    return False, value, ""


def add_values(
    left: Mapping[Value, int], right: Mapping[Value, int]
) -> dict[Value, int]:
    """Add counts by value; the result is in `value_order`."""
    total = dict(left)
    for value, pixels in right.items():
        total[value] = total.get(value, 0) + pixels
    if len(total) > len(left):
        total = {value: total[value] for value in sorted(total, key=value_order)}
    return total


def colour_value(colour: str) -> Value:
    """The stored value of a colour: its grey level if the channels are equal.

    Example:
        >>> colour_value("#808080"), colour_value("#ff0000")
        (128, '#ff0000')
    """
    red, green, blue = colour[1:3], colour[3:5], colour[5:7]
    return int(red, 16) if red == green == blue else colour


class Counted(NamedTuple):
    """Result for one mask of a file: counts or failure."""

    member: str
    mask: MaskCounts | None
    reason: str = ""
    size: tuple[int, int] | None = None


class CountedMask(NamedTuple):
    """A mask of a dataset and its result."""

    dataset: str
    split: str
    path: str
    counted: Counted

    @property
    def place(self) -> tuple[str, str, str]:
        """Dataset, split and path: the key of its row."""
        return self.dataset, self.split, self.path


class FirstFailure:
    """Finds the first failure in order, once all earlier items are done.

    Thus a run that stops at a failure reports the same one with any number of workers.

    Example:
        >>> first = FirstFailure(4)
        >>> first.see(2, "c fails"), first.see(0), first.see(3, "d fails")
        (None, None, None)
        >>> first.see(1)
        'c fails'
    """

    def __init__(self, number: int) -> None:
        self._seen = bytearray(number)
        self._place = number
        self._failure: str | None = None

    def see(self, place: int, failure: str | None = None) -> str | None:
        """Record an item; returns the first failure once it is certain."""
        self._seen[place] = 1
        if failure is not None and place < self._place:
            self._place, self._failure = place, failure
        if self._failure is None or self._seen.find(0, 0, self._place) >= 0:
            return None
        return self._failure
