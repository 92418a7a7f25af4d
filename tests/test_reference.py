"""Published counts: as published, with their status, and set beside measured ones."""

from __future__ import annotations

import csv
from collections import Counter
from pathlib import Path

import pytest

import cdstats
from cdstats.core.counts import PixelCounts
from cdstats.core.errors import UsageError
from cdstats.core.known_sets import published_of
from cdstats.core.records import ImageRecord, SummaryRecord, summaries
from cdstats.core.reference import (
    UNVERIFIED,
    PublishedRecord,
    beside_published,
    differences,
    published,
)

ROWS = published()
COUNTED = [row for row in ROWS if row.changed is not None and row.unchanged is not None]


def name_of(row: PublishedRecord) -> str:
    """The name of a row among the tests."""
    return f"{row.dataset}/{row.split}/{row.status}".replace(" ", "-")


def sum_of(row: PublishedRecord) -> int:
    """Changed and unchanged pixels of a row that has both."""
    assert row.changed is not None
    assert row.unchanged is not None
    return row.changed + row.unchanged


def pixels_of(row: PublishedRecord) -> int | None:
    """Pixels of all masks of a row, if they are of one size."""
    if row.height is None or row.width is None:
        return None
    return row.images * row.height * row.width


def test_every_line_of_the_data_file_is_a_row_with_its_text() -> None:
    path = Path(cdstats.__file__).parent / "data" / "published.csv"
    with path.open(encoding="utf-8", newline="") as file:
        lines = list(csv.DictReader(file))
    assert len(lines) == len(ROWS)
    for line, row in zip(lines, ROWS, strict=True):
        for column, text in line.items():
            value = getattr(row, column)
            assert ("" if value is None else str(value)) == text


@pytest.mark.parametrize(
    "row", [row for row in ROWS if row.status == "exact"], ids=name_of
)
def test_a_row_called_exact_closes(row: PublishedRecord) -> None:
    assert sum_of(row) == pixels_of(row)


@pytest.mark.parametrize(
    "row", [row for row in ROWS if row.status == "rounded"], ids=name_of
)
def test_a_row_called_rounded_does_not_close_by_what_float32_loses(
    row: PublishedRecord,
) -> None:
    pixels = pixels_of(row)
    assert pixels is not None
    assert 0 < abs(sum_of(row) - pixels) < 1_000


@pytest.mark.parametrize(
    "row", [row for row in ROWS if row.status == "sampled"], ids=name_of
)
def test_a_sampled_row_has_a_fraction_and_no_counts(row: PublishedRecord) -> None:
    assert (row.changed, row.unchanged, row.change_ratio) == (None, None, None)
    assert row.change_fraction == row.change_fraction_as_published
    assert row.change_fraction.endswith(" %")


@pytest.mark.parametrize("row", COUNTED, ids=name_of)
def test_the_ratio_of_a_counted_row_is_changed_over_unchanged(
    row: PublishedRecord,
) -> None:
    assert row.changed is not None
    assert row.unchanged is not None
    assert row.change_ratio == f"{row.changed / row.unchanged:.3f}"
    assert row.change_ratio_as_published in ("", row.change_ratio)
    share = 100 * row.changed / (row.changed + row.unchanged)
    assert row.change_fraction == f"{share:.3f} %"


def test_every_status_is_known_and_every_row_has_a_source() -> None:
    assert set(Counter(row.status for row in ROWS)) == {
        *("exact", "rounded", "sampled", "second-hand")
    }
    assert all(row.source for row in ROWS)
    assert all(row.images > 0 for row in ROWS)


@pytest.mark.parametrize(
    ("dataset", "changed", "unchanged", "size", "ratio"),
    [
        ("CDD", 134_068_750, 914_507_250, (16_000, 256, 256), "0.147"),
        ("BCDD", 21_352_815, 477_759_663, (1, 15_354, 32_507), "0.045"),
    ],
)
def test_the_table_of_dasnet_is_kept_with_its_doubt(
    dataset: str,
    changed: int,
    unchanged: int,
    size: tuple[int, int, int],
    ratio: str,
) -> None:
    (row,) = (row for row in ROWS if row.is_dasnet and row.dataset == dataset)
    assert (row.changed, row.unchanged, row.split) == (changed, unchanged, "all")
    assert (row.images, row.height, row.width) == size
    assert (row.change_ratio, row.change_ratio_as_published) == (ratio, ratio)
    assert row.status == "second-hand"
    assert UNVERIFIED in row.source
    assert sum_of(row) == pixels_of(row)


def test_a_dataset_names_its_rows_in_any_case() -> None:
    rows = published_of("levir-cd")
    assert [(row.dataset, row.split) for row in rows] == [
        ("LEVIR-CD", split) for split in ("train", "val", "test")
    ]
    assert rows == published_of("LEVIR-CD")


def test_an_unknown_name_is_a_usage_error_that_tells_the_nearest() -> None:
    with pytest.raises(UsageError, match="nothing published under 'LEVIR'") as error:
        published_of("LEVIR")
    assert "LEVIR-CD" in str(error.value)
    assert "cdstats published" in str(error.value)


def measured(
    dataset: str, changed: int, unchanged: int, split: str = ""
) -> tuple[SummaryRecord, ...]:
    """The rows of a dataset of one mask."""
    return summaries([dataset], [image(dataset, changed, unchanged, split)])


def image(
    dataset: str, changed: int, unchanged: int, split: str = "", path: str = "a.png"
) -> ImageRecord:
    """The row of one mask."""
    counts = PixelCounts(changed, unchanged)
    size = (counts.pixels, 1)
    return ImageRecord.counted((dataset, split, path), size, counts, "changed 1")


def test_measured_counts_stand_beside_those_of_their_dataset() -> None:
    rows = [*measured("cdd", 134_068_751, 914_507_249), *measured("other", 1, 1)]
    (beside,) = beside_published(rows, published_of("DASNet"))
    assert (beside.dataset, beside.published_dataset, beside.split) == (
        *("cdd", "CDD"),
        "all",
    )
    assert (beside.published_changed, beside.published_unchanged) == (
        134_068_750,
        914_507_250,
    )
    assert (beside.changed_difference, beside.unchanged_difference) == (1, -1)
    assert beside.published_change_ratio == "0.147"
    assert beside.status == f"second-hand; {UNVERIFIED}"


def test_a_named_dataset_stands_beside_any_measured_one() -> None:
    rows = measured("my copy", 21_412_334, 445_204_032, "train")
    (beside,) = beside_published(rows, published_of("LEVIR-CD"))
    assert (beside.dataset, beside.split, beside.status) == (
        "my copy",
        "train",
        "rounded",
    )
    assert (beside.changed_difference, beside.unchanged_difference) == (0, 0)


def test_a_sampled_row_has_no_difference() -> None:
    (beside,) = beside_published(measured("x", 1, 9, "val"), published_of("WHU-CD-256"))
    assert (beside.changed_difference, beside.unchanged_difference) == (None, None)
    assert beside.published_change_ratio is None
    assert beside.published_change_fraction == "4.5804 %"


def test_splits_that_were_not_published_stand_beside_nothing() -> None:
    rows = measured("CDD", 1, 9, "tier3")
    assert [row.split for row in beside_published(rows, published_of("DASNet"))] == [
        "all"
    ]


def test_every_integer_that_changed_is_a_difference() -> None:
    was, now = measured("D", 1, 1_999, "train"), measured("D", 2, 1_998, "train")
    found = differences(was, now, ["images", "changed", "unchanged"])
    assert [str(one) for one in found] == [
        "D/all: changed was 1, now 2",
        "D/all: unchanged was 1,999, now 1,998",
        "D/train: changed was 1, now 2",
        "D/train: unchanged was 1,999, now 1,998",
    ]
    assert not any(one.is_image for one in found)


def test_rows_that_came_or_went_are_differences() -> None:
    was = [image("D", 1, 1, "", "old.png"), image("D", 1, 1, "", "same.png")]
    now = [image("D", 1, 1, "", "same.png"), image("D", 1, 1, "", "new.png")]
    found = differences(was, now, ["changed"])
    assert [str(one) for one in found] == ["D/old.png: is gone", "D/new.png: is new"]
    assert all(one.is_image for one in found)


def test_a_mask_that_fails_now_is_a_difference() -> None:
    was = [image("D", 1, 1)]
    now = [ImageRecord.failed(("D", "", "a.png"), "not found")]
    (found,) = differences(was, now, ["changed"])
    assert str(found) == "D/a.png: changed was 1, now undefined"


def test_images_of_one_name_in_two_splits_are_kept_apart() -> None:
    was = [image("D", 1, 1, "train"), image("D", 2, 2, "test")]
    now = [image("D", 1, 1, "train"), image("D", 3, 1, "test")]
    (found,) = differences(was, now, ["changed"])
    assert (found.was, found.now) == (2, 3)
    assert "test" in str(found)
