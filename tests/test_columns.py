"""Columns of records: declared on their fields, the same in every format."""

from dataclasses import dataclass, field
from types import MappingProxyType

import pytest

from cdstats.core.audit_records import Finding, RegionSizes, SplitAudit
from cdstats.core.columns import (
    NOT_A_COLUMN,
    Record,
    column,
    column_of,
    columns_of,
    further_columns,
    per_cent,
    values,
)
from cdstats.core.comparison_records import ComparedModel, DifferingImage
from cdstats.core.presets import Preset
from cdstats.core.records import ImageRecord, SummaryRecord
from cdstats.core.reference import PublishedRecord, published
from cdstats.core.score_records import DatasetScore, ScoreRecord


@dataclass(frozen=True)
class Probe:
    """A record with a plain field, a declared one and further columns."""

    name: str
    images: int
    share: float | None = field(metadata=column("Share of\nall", format=per_cent))
    more: MappingProxyType[str, float] = field(
        default_factory=lambda: MappingProxyType({"x_mean": 0.25}),
        metadata=NOT_A_COLUMN,
    )

    @property
    def further(self) -> MappingProxyType[str, float]:
        return self.more


def test_a_field_is_a_column_and_a_mapping_is_none() -> None:
    assert list(columns_of(Probe)) == ["name", "images", "share"]
    assert further_columns([Probe("a", 1, 0.5)]) == ("x_mean",)


def test_a_column_is_shown_as_its_field_says() -> None:
    name, images, share = columns_of(Probe).values()
    assert (name.title, name.align, name.cell("a\x1b")) == ("Name", "left", "a\\x1b")
    assert (images.title, images.align, images.cell(1200)) == (
        *("Images", "right"),
        "1,200",
    )
    assert (share.line, share.cell(0.5), share.cell(None)) == (
        *("Share of all", "50.000 %"),
        "–",
    )


def test_values_are_those_of_fields_and_further_columns() -> None:
    row = Probe("a", 1, None)
    assert values(row, ["x_mean", "name", "of_another_row"]) == [0.25, "a", None]


@pytest.mark.parametrize(
    ("kind", "name", "title"),
    [
        (SummaryRecord, "changed", "Changed pixels"),
        (ImageRecord, "change_ratio", "Changed/unchanged"),
        (Preset, "changed", "Changed"),
        (ScoreRecord, "dice", "Dice"),
        (ComparedModel, "f1_pooled", "F1"),
        (ComparedModel, "f1_pooled_same_sign", "F1 same sign"),
        (ComparedModel, "dice_pooled_low", "Dice pooled low"),
        (ComparedModel, "average_precision", "AP"),
        (DifferingImage, "value[a b]", "a b"),
        (PublishedRecord, "change_fraction", "Change fraction"),
    ],
)
def test_the_title_of_a_column(kind: type[Record], name: str, title: str) -> None:
    assert column_of(kind, name).line == title


@pytest.mark.parametrize(
    "kind",
    [
        *(ImageRecord, SummaryRecord, ScoreRecord, DatasetScore, ComparedModel),
        *(DifferingImage, Finding, SplitAudit, RegionSizes, Preset, PublishedRecord),
    ],
)
def test_no_title_of_a_kind_stands_twice(kind: type[Record]) -> None:
    titles = [one.line for one in columns_of(kind).values()]
    assert len(titles) == len(set(titles))


def test_no_published_ratio_is_a_fraction() -> None:
    for row in published():
        assert "%" not in row.change_ratio_as_published
        assert "%" not in (row.change_ratio or "")
        assert (row.change_fraction or "%").endswith("%")
