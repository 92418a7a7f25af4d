"""Rows behind the figures of masks."""

from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cdstats.core.charts import EDGES, fraction_bins, fraction_shares
from cdstats.core.counts import PixelCounts
from cdstats.core.records import ImageRecord

COUNTS = st.tuples(
    st.integers(0, 300), st.integers(0, 30_000), st.sampled_from(["train", "val", ""])
)


def row(number: int, changed: int, unchanged: int, split: str = "") -> ImageRecord:
    counts = PixelCounts(changed, unchanged, 1)
    size = (1, changed + unchanged + 1)
    return ImageRecord.counted(("D", split, f"{number}.png"), size, counts, ">0")


def rows_of(counts: list[tuple[int, int, str]]) -> list[ImageRecord]:
    return [row(n, *one) for n, one in enumerate(counts)]


@given(st.lists(COUNTS))
def test_every_mask_with_a_valid_pixel_is_in_one_bin(
    counts: list[tuple[int, int, str]],
) -> None:
    bins = fraction_bins("D", rows_of(counts))
    valid = [(c, u) for c, u, _ in counts if c + u]
    assert sum(one.images for one in bins) == len(valid)
    for one in bins:
        low, high = Fraction(str(one.above)), Fraction(str(one.up_to))
        inside = [c for c, u in valid if low < Fraction(c, c + u) <= high]
        expected = len(inside) if high else sum(c == 0 for c, _ in valid)
        assert one.images == expected


@pytest.mark.parametrize("edge", EDGES, ids=str)
def test_a_mask_on_an_edge_is_in_the_bin_below_it(edge: Fraction) -> None:
    changed, valid = edge.numerator * 3, edge.denominator * 3
    bins = fraction_bins("D", [row(0, changed, valid - changed)])
    assert [one.up_to for one in bins if one.images] == [float(edge)]


def test_failed_masks_are_in_no_bin() -> None:
    failed = ImageRecord.failed(("D", "", "a.png"), "broken")
    assert sum(one.images for one in fraction_bins("D", [failed])) == 0
    assert fraction_shares("D", [failed]) == []


@given(st.lists(COUNTS, max_size=30))
def test_shares_of_masks_are_the_empirical_distribution(
    counts: list[tuple[int, int, str]],
) -> None:
    rows = rows_of(counts)
    for one in fraction_shares("D", rows):
        own = [r.change_fraction for r in rows if r.split == one.split]
        known = np.array([f for f in own if f is not None])
        assert one.share_of_images == np.mean(known <= one.change_fraction)


def test_shares_of_each_split_end_at_all_of_it() -> None:
    rows = rows_of([(1, 9, "val"), (2, 8, "train"), (2, 8, "train"), (0, 5, "val")])
    shares = fraction_shares("D", rows)
    ends = {one.split: one.share_of_images for one in shares}
    assert ends == {"train": 1.0, "val": 1.0}
    assert [one.split for one in shares] == ["train", "val", "val"]
