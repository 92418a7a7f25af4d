"""The rows of `cdstats audit`; field order is column order."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from cdstats.core.columns import CHANGE_FRACTION, column, per_cent
from cdstats.core.counts import PixelCounts
from cdstats.core.errors import Level

if TYPE_CHECKING:
    from collections.abc import Iterable

    from cdstats.core.counts import Value
    from cdstats.core.records import ImageRecord

BIN_EDGES: Final = (0, 1, 5, 20)
"""Upper ends of the bins of the change fraction of images, in per cent."""
SEVERITIES: Final = (Level.ERROR, Level.WARNING, Level.NOTE)
"""Severities of findings, worst first."""


@dataclass(frozen=True, slots=True)
class Finding:
    """A property of masks that matters for training."""

    severity: str
    check: str
    dataset: str
    split: str
    images: int
    text: str
    paths: tuple[str, ...] = ()

    @property
    def level(self) -> Level:
        """The severity."""
        return Level(self.severity)


@dataclass(frozen=True, slots=True)
class SplitAudit:
    """Image counts of a split, or of a dataset (``split`` is ``"all"``), by change.

    The bins count images with valid pixels by change fraction: none, up to 1 %, up to
    5 %, up to 20 %, and more.
    """

    dataset: str
    split: str
    images: int
    failed: int
    without_change: int
    wholly_changed: int
    wholly_ignored: int
    change_fraction: float | None = field(metadata=CHANGE_FRACTION)
    mean_image_change_fraction: float | None = field(metadata=column(format=per_cent))
    bin_0: int
    bin_0_1: int
    bin_1_5: int
    bin_5_20: int
    bin_over_20: int

    @property
    def bins(self) -> tuple[int, ...]:
        """Images in each bin."""
        return (self.bin_0, self.bin_0_1, self.bin_1_5, self.bin_5_20, self.bin_over_20)


@dataclass(frozen=True, slots=True)
class ValueShare:
    """A stored value of a split; ``is_stray`` if it is outside the expected values."""

    dataset: str
    split: str
    value: Value
    label: str
    pixels: int
    pixel_share: float
    images: int
    is_stray: bool


@dataclass(frozen=True, slots=True)
class BinarisationShare:
    """The change fraction of a split under a common rule of data loaders."""

    dataset: str
    split: str
    rule: str
    changed: int
    change_fraction: float | None = field(metadata=CHANGE_FRACTION)
    loaders: str


@dataclass(frozen=True, slots=True)
class RegionSizes:
    """Sizes of the connected changed regions of a split, in pixels.

    The quantile q is the smallest size that a share q of the regions does not exceed.
    """

    dataset: str
    split: str
    images: int
    regions: int
    size_min: int | None
    size_q25: int | None
    size_median: int | None
    size_q75: int | None
    size_max: int | None
    specks: int
    speck_pixels: int
    speck_limit: int
    connectivity: int


@dataclass(frozen=True, slots=True)
class SplitShift:
    """Distance between two splits of a dataset, with images as the unit.

    Attributes:
        dataset: Name of the dataset.
        reference: The split compared with.
        split: The split.
        reference_images: Images with valid pixels in the reference split.
        images: Images with valid pixels in the split.
        ks_distance: Largest distance between the distributions of change fractions.
        p_value: Probability of at least this distance for random splits of independent
            images; crops of one scene are not independent.
    """

    dataset: str
    reference: str
    split: str
    reference_images: int
    images: int
    ks_distance: float
    p_value: float


@dataclass(frozen=True, slots=True)
class Duplicate:
    """Masks with identical labels."""

    dataset: str
    splits: tuple[str, ...]
    images: int
    changed: int
    is_byte_equal: bool
    paths: tuple[str, ...]

    @property
    def is_leak(self) -> bool:
        """Whether they are in more than one split."""
        return len(self.splits) > 1


@dataclass(frozen=True, slots=True)
class HeatMap:
    """Change fraction by position in the frame, for masks of one size.

    Attributes:
        dataset: Name of the dataset.
        width: Width of the masks.
        height: Height of the masks.
        images: Number of masks.
        cells: Change fraction of each cell of a grid over the frame, in row order; None
            for cells without valid pixels.
    """

    dataset: str
    width: int
    height: int
    images: int
    cells: tuple[tuple[float | None, ...], ...]


def split_audit(dataset: str, split: str, rows: Iterable[ImageRecord]) -> SplitAudit:
    """Count the images of a split by change.

    Example:
        >>> split_audit("CDD", "train", []).bins
        (0, 0, 0, 0, 0)
    """
    every = list(rows)
    ok = [row for row in every if row.status == "ok"]
    counts = [row.counts for row in ok]
    valid = [(one.changed, one.valid) for one in counts if one.valid]
    bins = [0] * (len(BIN_EDGES) + 1)
    for changed, pixels in valid:
        # Compare integers, so that edges are exact.
        bins[sum(100 * changed > edge * pixels for edge in BIN_EDGES)] += 1
    fractions = [row.change_fraction for row in ok if row.change_fraction is not None]
    return SplitAudit(
        dataset,
        split,
        len(ok),
        len(every) - len(ok),
        bins[0],
        sum(changed == pixels for changed, pixels in valid),
        len(ok) - len(valid),
        sum(counts, PixelCounts()).change_fraction,
        math.fsum(fractions) / len(fractions) if fractions else None,
        *bins,
    )
