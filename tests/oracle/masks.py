"""Masks read, labelled and counted again with Pillow, NumPy and plain Python."""

from __future__ import annotations

from dataclasses import dataclass, field
from fractions import Fraction
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    Pixels = NDArray[np.uint8]

GDAL_NODATA = 42113
"""The number of the TIFF tag that declares nodata."""
CHANGED, UNCHANGED, IGNORED = 1, 0, 255


@dataclass(frozen=True, eq=False)
class Rule:
    """What the values of a set of masks mean; any other value is an error."""

    changed: Collection[int]
    unchanged: Collection[int]
    ignored: Collection[int] = ()


WHITE = Rule({255}, {0})


def read(path: Path, band: int | None = None) -> tuple[Pixels, NDArray[np.bool_]]:
    """The grey values of a mask, and where they may be counted."""
    with Image.open(path) as image:
        nodata = getattr(image, "tag_v2", {}).get(GDAL_NODATA)
        values = np.asarray(image.convert("RGBA") if image.mode == "P" else image)
    seen = np.ones(values.shape[:2], np.bool_)
    if values.ndim == 3:
        if values.shape[2] in (2, 4):
            alpha, values = values[..., -1], values[..., :-1]
            assert set(np.unique(alpha)) <= {0, 255}, path
            seen = alpha > 0
        if band is None:
            assert (values == values[..., :1])[seen].all(), path
        values = values[..., (band or 1) - 1]
    if nodata is not None:
        seen = seen & (values != int(nodata))
    return values, seen


def labels(values: Pixels, seen: NDArray[np.bool_], rule: Rule) -> Pixels:
    """1 changed, 0 unchanged, 255 ignored."""
    table = np.full(256, 77, np.uint8)
    for label, meant in (
        (CHANGED, rule.changed),
        (UNCHANGED, rule.unchanged),
        (IGNORED, rule.ignored),
    ):
        table[list(meant)] = label
    found: Pixels = np.where(seen, table[values], np.uint8(IGNORED))
    assert not (found == 77).any(), f"{np.unique(values[found == 77])} mean nothing"
    return found


@dataclass(frozen=True)
class Count:
    """What is in a mask."""

    height: int
    width: int
    changed: int
    unchanged: int
    ignored: int

    @property
    def fraction(self) -> Fraction | None:
        valid = self.changed + self.unchanged
        return Fraction(self.changed, valid) if valid else None


def count(label: Pixels) -> Count:
    height, width = label.shape
    each = [int(np.count_nonzero(label == one)) for one in (1, 0, 255)]
    return Count(height, width, *each)


def over(part: float, whole: float) -> float | None:
    """A quotient, or None where there is nothing to divide by."""
    return part / whole if whole else None


def mean(numbers: Sequence[Fraction]) -> float | None:
    return float(sum(numbers, Fraction()) / len(numbers)) if numbers else None


def median(numbers: Sequence[Fraction]) -> float | None:
    ordered = sorted(numbers)
    half = len(ordered) // 2
    if not ordered:
        return None
    if len(ordered) % 2:
        return float(ordered[half])
    return float((ordered[half - 1] + ordered[half]) / 2)


def totals(counts: Sequence[Count]) -> dict[str, Any]:
    """The numbers of a row of a dataset or split."""
    changed = sum(one.changed for one in counts)
    unchanged = sum(one.unchanged for one in counts)
    fractions = [one.fraction for one in counts if one.fraction is not None]
    valid = changed + unchanged
    rarer, other = sorted((changed, unchanged))
    return {
        "images": len(counts),
        "failed": 0,
        "without_change": sum(1 for one in counts if not one.changed),
        "pixels": sum(one.height * one.width for one in counts),
        "changed": changed,
        "unchanged": unchanged,
        "ignored": sum(one.ignored for one in counts),
        "change_ratio": over(changed, unchanged),
        "change_fraction": over(changed, valid),
        "imbalance_ratio": over(other, rarer),
        "beta": over(unchanged, valid),
        "pos_weight": over(unchanged, changed),
        "mean_image_change_fraction": mean(fractions),
        "median_image_change_fraction": median(fractions),
    }


@dataclass
class Regions:
    """Regions of changed pixels, joined from the runs of rows."""

    above: list[int] = field(default_factory=list)
    sizes: list[int] = field(default_factory=list)

    def top(self, one: int) -> int:
        while self.above[one] != one:
            self.above[one] = self.above[self.above[one]]
            one = self.above[one]
        return one

    def join(self, one: int, other: int) -> None:
        one, other = self.top(one), self.top(other)
        if one != other:
            self.above[other] = one
            self.sizes[one] += self.sizes[other]

    def whole(self) -> list[int]:
        return [size for one, size in enumerate(self.sizes) if self.above[one] == one]


def region_sizes(changed: NDArray[np.bool_]) -> list[int]:
    """Pixels of every region, whose pixels touch by an edge or a corner."""
    regions = Regions()
    before: list[tuple[int, int, int]] = []
    for row in changed:
        edges = np.flatnonzero(np.diff(np.concatenate(([0], row.astype(np.int8), [0]))))
        here = []
        for start, stop in zip(edges[::2].tolist(), edges[1::2].tolist(), strict=True):
            number = len(regions.above)
            regions.above.append(number)
            regions.sizes.append(stop - start)
            here.append((start, stop, number))
            for left, right, other in before:
                if left <= stop and start <= right:
                    regions.join(other, number)
        before = here
    return sorted(regions.whole())
