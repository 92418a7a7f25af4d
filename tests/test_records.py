"""Image rows and their sums: exact integers, undefined where nothing is defined."""

from __future__ import annotations

import statistics
from dataclasses import replace
from fractions import Fraction
from typing import TYPE_CHECKING

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cdstats.core.counts import PixelCounts
from cdstats.core.records import (
    ImageRecord,
    SummaryRecord,
    summaries,
    summarise,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

law = settings(derandomize=True)

RULE = "changed 255, unchanged 0 (detected)"


def counted(
    counts: PixelCounts,
    *,
    split: str = "",
    dataset: str = "D",
    rule: str = RULE,
    size: tuple[int, int] | None = None,
) -> ImageRecord:
    """The row of a mask in one row of pixels, unless its size is given."""
    place = (dataset, split, "a.png")
    return ImageRecord.counted(place, size or (counts.pixels, 1), counts, rule)


def failed(*, split: str = "", dataset: str = "D") -> ImageRecord:
    """The row of a mask that could not be counted."""
    return ImageRecord.failed((dataset, split, "b.png"), "not found")


def total(*counts: PixelCounts) -> SummaryRecord:
    """The row of masks with these counts."""
    return summarise("D", "all", [counted(one) for one in counts])


COUNTS = st.builds(
    PixelCounts, *[st.one_of(st.just(0), st.integers(0, 9), st.integers(0, 2**60))] * 3
)
MASKS = st.lists(st.one_of(COUNTS, st.none()), max_size=8)
"""Counts of masks; None for one that failed."""


def rows_of(masks: Sequence[PixelCounts | None]) -> list[ImageRecord]:
    """The rows of masks."""
    return [failed() if counts is None else counted(counts) for counts in masks]


def exact(numerator: int, denominator: int) -> float | None:
    """A quotient of integers, rounded once; None for no denominator."""
    return float(Fraction(numerator, denominator)) if denominator else None


@law
@given(masks=MASKS)
def test_sums_are_exact_integers(masks: list[PixelCounts | None]) -> None:
    row = summarise("D", "all", rows_of(masks))
    good = [counts for counts in masks if counts is not None]
    assert row.images == len(good)
    assert row.failed == len(masks) - len(good)
    assert row.changed == sum(counts.changed for counts in good)
    assert row.unchanged == sum(counts.unchanged for counts in good)
    assert row.ignored == sum(counts.ignored for counts in good)
    assert row.changed + row.unchanged + row.ignored == row.pixels


@law
@given(masks=MASKS)
def test_ratios_of_a_summary_are_ratios_of_its_sums(
    masks: list[PixelCounts | None],
) -> None:
    row = summarise("D", "all", rows_of(masks))
    changed, unchanged = row.changed, row.unchanged
    assert row.change_ratio == exact(changed, unchanged)
    assert row.change_fraction == exact(changed, changed + unchanged)
    assert row.beta == exact(unchanged, changed + unchanged)
    assert row.pos_weight == exact(unchanged, changed)
    assert row.imbalance_ratio == exact(
        max(changed, unchanged), min(changed, unchanged)
    )


@law
@given(masks=MASKS)
def test_means_and_medians_are_over_masks_with_a_valid_pixel(
    masks: list[PixelCounts | None],
) -> None:
    row = summarise("D", "all", rows_of(masks))
    fractions = [
        Fraction(counts.changed, counts.valid)
        for counts in masks
        if counts is not None and counts.valid
    ]
    assert row.without_change == sum(fraction == 0 for fraction in fractions)
    mean, median = row.mean_image_change_fraction, row.median_image_change_fraction
    if not fractions:
        assert mean is None
        assert median is None
        return
    assert mean == pytest.approx(float(sum(fractions) / len(fractions)), rel=1e-15)
    assert median == pytest.approx(float(statistics.median(fractions)), rel=1e-15)


@law
@given(masks=MASKS, data=st.data())
def test_the_order_of_images_changes_no_summary(
    masks: list[PixelCounts | None], data: st.DataObject
) -> None:
    rows = rows_of(masks)
    again = data.draw(st.permutations(rows))
    assert summarise("D", "all", again) == summarise("D", "all", rows)


@law
@given(masks=MASKS, cut=st.integers(0, 8))
def test_sums_of_splits_are_the_sums_of_the_dataset(
    masks: list[PixelCounts | None], cut: int
) -> None:
    rows = [
        failed(split=split) if counts is None else counted(counts, split=split)
        for place, counts in enumerate(masks)
        for split in ["train" if place < cut else "test"]
    ]
    rows = [replace(row, path=f"{place}.png") for place, row in enumerate(rows)]
    whole, *splits = summaries(["D"], rows)
    for name in ("images", "failed", "without_change", "pixels", "changed", "ignored"):
        assert getattr(whole, name) == sum(getattr(split, name) for split in splits)


def test_the_mean_does_not_drift_with_the_number_of_images() -> None:
    row = total(*[PixelCounts(1, 9)] * 10_000)
    assert row.mean_image_change_fraction == 0.1
    assert row.change_fraction == 0.1


UNDEFINED = {
    "change_ratio": None,
    "change_fraction": None,
    "imbalance_ratio": None,
    "beta": None,
    "pos_weight": None,
}


@pytest.mark.parametrize(
    ("counts", "expected"),
    [
        pytest.param(PixelCounts(0, 0, 0), UNDEFINED, id="no-pixel"),
        pytest.param(PixelCounts(0, 0, 4), UNDEFINED, id="all-ignored"),
        pytest.param(
            PixelCounts(0, 4, 1),
            UNDEFINED | {"change_ratio": 0.0, "change_fraction": 0.0, "beta": 1.0},
            id="no-change",
        ),
        pytest.param(
            PixelCounts(4, 0, 1),
            UNDEFINED | {"change_fraction": 1.0, "beta": 0.0, "pos_weight": 0.0},
            id="all-changed",
        ),
        pytest.param(
            PixelCounts(1, 4, 5),
            {
                "change_ratio": 0.25,
                "change_fraction": 0.2,
                "imbalance_ratio": 4.0,
                "beta": 0.8,
                "pos_weight": 4.0,
            },
            id="some-change",
        ),
        pytest.param(
            PixelCounts(4, 1),
            {
                "change_ratio": 4.0,
                "change_fraction": 0.8,
                "imbalance_ratio": 4.0,
                "beta": 0.2,
                "pos_weight": 0.25,
            },
            id="mostly-changed",
        ),
    ],
)
def test_what_has_no_denominator_is_undefined_and_not_zero(
    counts: PixelCounts, expected: dict[str, float | None]
) -> None:
    row = total(counts)
    assert {name: getattr(row, name) for name in expected} == expected
    image = counted(counts)
    assert image.change_ratio == expected["change_ratio"]
    assert image.change_fraction == expected["change_fraction"]


def test_a_dataset_without_an_image_is_all_zero_and_undefined() -> None:
    row = summarise("D", "all", [])
    counts = ("images", "failed", "pixels", "changed", "unchanged", "ignored")
    assert [getattr(row, name) for name in counts] == [0] * 6
    assert {name: getattr(row, name) for name in UNDEFINED} == UNDEFINED
    assert row.mean_image_change_fraction is None
    assert row.median_image_change_fraction is None
    assert (row.rule, row.width, row.height) == ("", None, None)


def test_an_image_row_that_its_counts_do_not_fill_is_a_mistake() -> None:
    with pytest.raises(ValueError, match=r"a\.png: .* does not fill 3 x 3"):
        counted(PixelCounts(1, 2, 3), size=(3, 3))


def test_a_failed_row_has_a_reason_and_no_count() -> None:
    row = ImageRecord.failed(("D", "val", "a.png"), "is cut short", (3, 2))
    assert (row.width, row.height, row.pixels) == (3, 2, 6)
    counts = (row.changed, row.unchanged, row.ignored, row.change_ratio)
    assert counts == (None,) * 4
    assert row.change_fraction is None
    assert (row.rule, row.status, row.reason) == ("", "failed", "is cut short")
    unknown = failed()
    assert (unknown.width, unknown.height, unknown.pixels) == (None, None, None)


def test_size_and_rule_that_differ_are_empty_and_mixed() -> None:
    rows = [
        counted(PixelCounts(1, 3), size=(2, 2)),
        counted(PixelCounts(3, 1), size=(4, 1), rule="changed 1, unchanged 0"),
        counted(PixelCounts(4, 4), size=(4, 2)),
    ]
    row = summarise("D", "all", rows)
    assert (row.rule, row.width, row.height) == ("mixed", None, None)
    row = summarise("D", "all", rows[1:])
    assert (row.width, row.height) == (4, None)


def test_each_dataset_comes_as_given_and_before_its_splits() -> None:
    rows = [
        counted(PixelCounts(1, 1), dataset="B", split="test"),
        counted(PixelCounts(1, 2), dataset="A", split=""),
        failed(dataset="B", split="val"),
        counted(PixelCounts(1, 3), dataset="B", split="train"),
        counted(PixelCounts(1, 4), dataset="B", split="extra"),
    ]
    rows = [replace(row, path=f"{place}.png") for place, row in enumerate(rows)]
    found = summaries(["B", "A", "C"], rows)
    assert [(row.dataset, row.split) for row in found] == [
        *[("B", "all"), ("B", "train"), ("B", "val"), ("B", "test"), ("B", "extra")],
        *[("A", "all"), ("C", "all")],
    ]
    assert [row.unchanged for row in found] == [8, 3, 0, 1, 4, 2, 0]
    assert [row.failed for row in found] == [1, 0, 1, 0, 0, 0, 0]
