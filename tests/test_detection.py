"""Which value sets are clear and which are refused: file first, then split."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from cdstats.core.counts import (
    NAN,
    Counted,
    CountedMask,
    MaskCounts,
    PixelCounts,
    Value,
    ValueCounts,
)
from cdstats.core.detection import Findings, Verdict
from cdstats.core.labelling import Labelled, label_dataset
from cdstats.core.labels import LabelRule, choose_rule

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

law = settings(derandomize=True)

ZERO_255 = "changed 255, unchanged 0 (detected)"
ZERO_ONE = "changed 1, unchanged 0 (detected)"
THRESHOLD = ">=128 (detected)"


def mask(
    values: Mapping[Value, int],
    *,
    nodata: Value | None = None,
    masked: int = 0,
    half: int = 0,
    jpeg: bool = False,
) -> MaskCounts:
    """The counts of a mask in one row."""
    counts = ValueCounts(dict(values), masked, half)
    kind = "JPEG" if jpeg else "PNG"
    return MaskCounts(counts.pixels, 1, counts, nodata, format=kind)


def levels(*peaks: tuple[int, int, int]) -> dict[Value, int]:
    """Grey levels from first to last, each with the same pixels."""
    return {
        level: pixels
        for first, last, pixels in peaks
        for level in range(first, last + 1)
    }


JPEG_MASK = levels((0, 0, 80_000), (1, 12, 200), (60, 190, 4), (240, 254, 150)) | {
    255: 12_000
}
"""Levels of a 0/255 mask after lossy compression: two peaks, little between."""
PHOTOGRAPH = levels((0, 255, 40))
DARK_PHOTOGRAPH = levels((0, 20, 4_000), (21, 31, 500), (32, 120, 10))
SCORE_MAP = levels((0, 31, 900), (32, 223, 30), (224, 255, 900))
LEVIR_CROP: dict[Value, int] = {0: 60_000, 156: 3, 254: 20, 255: 5_513}


@dataclass(frozen=True)
class Decided(Verdict):
    """What is decided for some masks, and why some of them contradict it, by place."""

    odd: Mapping[int, str] = field(default_factory=dict)


def detect(masks: Sequence[MaskCounts], ignore: LabelRule) -> Decided:
    findings = Findings(ignore)
    for one in masks:
        findings.add(one)
    verdict = findings.verdict()
    texts = enumerate(map(verdict.contradiction, masks))
    return Decided(**vars(verdict), odd={place: text for place, text in texts if text})


@dataclass(frozen=True)
class Row:
    """The masks of a split and what is said of them."""

    masks: Sequence[MaskCounts]
    said: Sequence[str]
    ignore: str = ""

    @property
    def verdict(self) -> Decided:
        """What the program decides."""
        return detect(self.masks, LabelRule.parse(ignored=self.ignore))


def one(
    values: Mapping[Value, int],
    *said: str,
    ignore: str = "",
    **facts: Any,
) -> Row:
    """A split of a single mask."""
    return Row([mask(values, **facts)], said, ignore)


ACCEPTED = [
    pytest.param(one({0: 9, 255: 1}, ZERO_255), id="0-255"),
    pytest.param(one({0: 1, 255: 9}, ZERO_255), id="0-255-mostly-changed"),
    pytest.param(one({0: 9, 255: 1}, ZERO_255, jpeg=True), id="0-255-jpeg"),
    pytest.param(one({0: 9, 1: 1}, ZERO_ONE), id="0-1"),
    pytest.param(
        Row([mask({0: 9})] * 3,
            ["unchanged 0 (detected)", "no changed pixel in 3 masks"]),
        id="0-alone",
    ),
    pytest.param(
        one({0: 9, 1: 2, 255: 4}, ZERO_ONE, nodata=255), id="0-1-255-nodata-255"
    ),
    pytest.param(
        one({0: 9, 1: 2, 255: 4}, "changed 1, unchanged 0, ignored 255", ignore="255"),
        id="0-1-255-ignore-255",
    ),
    pytest.param(
        one({0: 9, 1: 2, NAN: 4}, ZERO_ONE, nodata=NAN), id="0-1-nan-declared"
    ),
    pytest.param(
        one({-9999: 5, 0: 9, 1: 2}, ZERO_ONE, nodata=-9999), id="0-1-negative-declared"
    ),
    pytest.param(
        one(LEVIR_CROP, THRESHOLD, "156 (3 pixels)", "254 (20 pixels)"),
        id="0-few-greys-255",
    ),
    pytest.param(
        one({0: 90_000, 100: 99, 255: 9_901}, THRESHOLD), id="strays-just-under-0.1%"
    ),
    pytest.param(one(JPEG_MASK, THRESHOLD, jpeg=True), id="two-peaks-jpeg"),
    pytest.param(
        one({0: 900, 1: 30, 2: 9, 253: 9, 254: 30, 255: 90}, THRESHOLD, jpeg=True),
        id="two-peaks-jpeg-of-few-levels",
    ),
    pytest.param(
        one(levels((0, 31, 296), (32, 131, 5), (255, 255, 28)), THRESHOLD),
        id="two-peaks-with-95%-near",
    ),
]  # fmt: skip


@pytest.mark.parametrize("row", ACCEPTED)
def test_a_clear_set_of_values_is_accepted(row: Row) -> None:
    verdict = row.verdict
    assert (verdict.refusal, dict(verdict.odd)) == ("", {})
    told = " | ".join([str(verdict.rule), *verdict.notes])
    assert [text for text in row.said if text not in told] == []
    assert told.startswith(row.said[0])


COLOURS: dict[Value, int] = {f"#ff00{n:02x}": 50 - n for n in range(32)}

REFUSED = [
    pytest.param(
        one({0: 9, 255: 1}, "declares nodata 255, which removes all changed pixels",
            "state what 255 is", "--changed", "--ignore", nodata=255),
        id="0-255-nodata-255",
    ),
    pytest.param(
        one({0: 9, 255: 1}, "declares nodata 0, which removes all unchanged pixels",
            "state what 0 is", "--ignore", nodata=0),
        id="0-255-nodata-0",
    ),
    pytest.param(
        Row([mask({0: 9}), mask({0: 5, 255: 1}, nodata=255), mask({0: 2})],
            ["declares nodata 255, which removes all changed pixels"]),
        id="nodata-255-beside-empty-masks",
    ),
    *[
        pytest.param(
            Row([mask({value: 9})] * 2,
                [f"every pixel is {value}", "cannot be told apart",
                 "--changed", "--unchanged"]),
            id=f"{value}-alone",
        )
        for value in (255, 1, 2, 128)
    ],
    pytest.param(
        one({1: 90, 2: 10}, "1 (90 pixels, 90 %)", "2 (10 pixels, 10 %)",
            "--preset oscd-tif", "Hi-UCD", "--changed 2 --unchanged 1"),
        id="1-2",
    ),
    pytest.param(
        one({0: 70, 1: 20, 2: 10}, "0 (70 pixels, 70 %)", "1 (20 pixels, 20 %)",
            "2 (10 pixels, 10 %)", "Hi-UCD", "--preset sitscd"),
        id="0-1-2",
    ),
    pytest.param(
        one({0: 37_681, 1: 27_846, 2: 9}, "0 (37,681 pixels", "1 (27,846 pixels",
            "2 (9 pixels", "JPEG noise?", "--changed '>0' --unchanged 0", jpeg=True),
        id="0-1-2-jpeg",
    ),
    pytest.param(
        one({0: 90, 2: 10}, "0 (90 pixels, 90 %)", "2 (10 pixels, 10 %)",
            "0 is unchanged or unlabelled?", "--changed 2", "--unchanged 0",
            "--ignore 0"),
        id="0-2",
    ),
    pytest.param(
        one({0: 80, 1: 5, 255: 15}, "0 (80 pixels, 80 %)", "1 (5 pixels, 5 %)",
            "255 (15 pixels, 15 %)",
            "255 ignored: --preset bandon-train or --ignore 255",
            "255 changed: --changed 255 --unchanged 0,1"),
        id="0-1-255",
    ),
    pytest.param(
        one({0: 80, 170: 10, 255: 10}, "170 (10 pixels, 10 %)", "--preset sbi2015"),
        id="0-170-255",
    ),
    pytest.param(
        one({0: 50, 50: 10, 85: 10, 170: 10, 255: 20}, "50 (10 pixels, 10 %)",
            "85 (10 pixels", "--preset cdnet2014"),
        id="0-50-85-170-255",
    ),
    pytest.param(
        one({0: 90_000, 100: 100, 255: 9_900}, "100 (100 pixels, 0.1 %)",
            "--unchanged rest"),
        id="strays-of-0.1%",
    ),
    pytest.param(
        one({0: 900, 1: 30, 2: 9, 253: 9, 254: 30, 255: 90}, "0 (900 pixels",
            "--changed"),
        id="few-levels-without-loss",
    ),
    pytest.param(
        one(PHOTOGRAPH, "looks like an image, not a mask", "0.391 % are 0",
            "0.391 % are 255"),
        id="photograph",
    ),
    pytest.param(
        one(DARK_PHOTOGRAPH, "looks like an image", "0 % are 255", jpeg=True),
        id="dark-photograph",
    ),
    pytest.param(
        one(SCORE_MAP, "looks like an image", "are 255"), id="score-map-in-255"
    ),
    pytest.param(
        one(levels((0, 31, 296), (32, 131, 5), (132, 132, 1), (255, 255, 28)),
            "looks like an image"),
        id="two-peaks-with-less-than-95%-near",
    ),
    pytest.param(
        one({0: 60, 1: 10, 2: 10, 3: 10, 4: 10}, "4 (10 pixels, 10 %)", "lass codes",
            "Name the changed ones", "--unchanged rest", "preset"),
        id="class-codes-0-4",
    ),
    pytest.param(
        one({0: 60, 1: 20, 3: 20}, "3 (20 pixels, 20 %)", "--unchanged rest"),
        id="class-codes-with-a-gap",
    ),
    pytest.param(
        one({-1: 10, 0: 60, 1: 30}, "holds -1", "tag is -32768", "--ignore -1",
            "if it is nodata", nodata=-32768),
        id="negative-beside-a-tag",
    ),
    pytest.param(
        one({0: 60, 1: 30, NAN: 10}, "holds nan", "--ignore nan"), id="nan"
    ),
    pytest.param(
        one({0: 60, 0.25: 10, 0.5: 10, 1: 20}, "a score map, not a mask",
            "predictions go to `cdstats loss`"),
        id="fractions",
    ),
    pytest.param(
        one({0: 6, 1.5: 3}, "holds fractions", "not a mask"), id="fractions-above-1"
    ),
    pytest.param(
        one({0: 90, "#0000ff": 10}, "colour channels differ", "0 (90 pixels, 90 %)",
            "#0000ff (10 pixels, 10 %)", "--changed '#0000ff' --unchanged 0",
            "--preset s2looking-parts"),
        id="one-colour",
    ),
    pytest.param(
        one({255: 70, 128: 10, "#008000": 10, "#800000": 10}, "255 (70 pixels, 70 %)",
            "#008000 (10 pixels, 10 %)", "second-rgb"),
        id="colours-of-second",
    ),
    pytest.param(
        one({0: 9, **COLOURS, "#00ff00": 1}, "33 colours", "looks like an image"),
        id="33-colours",
    ),
    pytest.param(
        one({0: 9, 255: 1}, "half transparent in 1,500 pixels", "an overlay",
            "not a mask", half=1_500),
        id="half-transparent",
    ),
]  # fmt: skip


@pytest.mark.parametrize("row", REFUSED)
def test_an_unclear_set_of_values_is_refused_with_what_settles_it(row: Row) -> None:
    verdict = row.verdict
    assert verdict.rule is None
    assert [text for text in row.said if text not in verdict.refusal] == []


@pytest.mark.parametrize(
    ("row", "options"),
    [
        pytest.param(one({1: 9, 2: 1}), {"preset_name": "oscd-tif"}, id="1-2-oscd"),
        pytest.param(one({1: 9, 2: 1}), {"changed": "2", "unchanged": "1"}, id="1-2"),
        pytest.param(
            one({0: 7, 1: 2, 2: 1}, jpeg=True),
            {"changed": ">0", "unchanged": "0"},
            id="0-1-2-jpeg",
        ),
        pytest.param(one({0: 9, 2: 1}), {"changed": "2", "unchanged": "0"}, id="0-2"),
        pytest.param(
            one({0: 9, 2: 1}), {"changed": "2", "ignore": "0"}, id="0-2-ignore-0"
        ),
        pytest.param(
            one({0: 8, 1: 1, 255: 1}), {"preset_name": "bandon-train"}, id="bandon"
        ),
        pytest.param(
            one({0: 8, 1: 1, 255: 1}), {"changed": "255", "unchanged": "0,1"},
            id="0-1-255-changed",
        ),
        pytest.param(
            one({0: 6, 1: 2, 4: 2}), {"changed": "2,3,4", "unchanged": "rest"},
            id="codes",
        ),
        pytest.param(one({-1: 1, 0: 8, 1: 1}), {"ignore": "-1"}, id="negative"),
        pytest.param(one({0: 8, 1: 1, NAN: 1}), {"ignore": "nan"}, id="nan"),
        pytest.param(
            one({0: 9, 255: 1}, nodata=255), {"changed": "255", "unchanged": "0"},
            id="nodata-changed",
        ),
        pytest.param(
            one({255: 9}), {"changed": "255", "unchanged": "rest"}, id="255-changed"
        ),
        pytest.param(
            Row([mask({0: 9, 255: 1}), mask({0: 9, 1: 1})], []),
            {"changed": "1,255", "unchanged": "0"},
            id="tie",
        ),
    ],
)  # fmt: skip
def test_what_a_refusal_suggests_settles_it(row: Row, options: dict[str, str]) -> None:
    assert row.verdict.rule is None
    masks = [CountedMask("D", "", "a.png", Counted("", found)) for found in row.masks]
    labelled = label_dataset(masks, choose_rule(**options))
    assert [image.reason for image in labelled.images if image.status == "failed"] == []


def test_a_few_masks_of_another_pair_are_refused_one_by_one() -> None:
    masks = [mask({0: 9, 255: 1})] * 1_180 + [mask({0: 8, 1: 2})] * 20
    verdict = detect(masks, LabelRule())
    assert str(verdict.rule) == ZERO_255
    assert list(verdict.odd) == [*range(1_180, 1_200)]
    for reason in verdict.odd.values():
        assert "0 (8 pixels, 80 %), 1 (2 pixels, 20 %)" in reason
        assert "expected 255, 0 as in the other masks of its split" in reason


def test_one_mask_of_another_pair_does_not_pass_as_stray_greys() -> None:
    masks = [mask({0: 60_000, 255: 5_536})] * 1_180 + [mask({0: 65_000, 1: 536})]
    verdict = detect(masks, LabelRule())
    assert str(verdict.rule) == ZERO_255
    assert list(verdict.odd) == [1_180]


def test_as_many_masks_of_either_pair_are_refused_as_a_whole() -> None:
    verdict = detect([mask({0: 9, 255: 1}), mask({0: 9, 1: 1})], LabelRule())
    assert verdict.rule is None
    assert "0, 1" in verdict.refusal
    assert "0, 255" in verdict.refusal
    assert "--changed 1,255 --unchanged 0" in verdict.refusal


@pytest.mark.parametrize("ones", [40, 3], ids=["many-ones", "few-ones"])
def test_a_split_like_bandon_is_refused_as_a_whole(ones: int) -> None:
    masks = [
        *[mask({0: 6_000, 1: 400})] * 6,
        *[mask({0: 6_000, 255: 400})] * 9,
        *[mask({0: 6_000, 1: ones, 255: 400})] * 2,
        mask({0: 6_400}),
    ]
    verdict = detect(masks, LabelRule())
    assert verdict.rule is None
    assert "--preset bandon-train or --ignore 255" in verdict.refusal
    assert "--changed 255 --unchanged 0,1" in verdict.refusal


def test_masks_of_zero_and_255_do_not_hide_the_codes_of_their_dataset() -> None:
    masks = [mask({0: 9, 255: 1})] * 30 + [mask({0: 5, 50: 1, 85: 2, 170: 1, 255: 1})]
    verdict = detect(masks, LabelRule())
    assert verdict.rule is None
    assert "cdnet2014" in verdict.refusal


@pytest.mark.parametrize(
    ("others", "value", "rule", "odd"),
    [
        pytest.param({0: 9, 255: 1}, 0, ZERO_255, False, id="0-among-0-255"),
        pytest.param({0: 9, 255: 1}, 255, ZERO_255, False, id="255-among-0-255"),
        pytest.param({0: 9, 255: 1}, 1, ZERO_255, True, id="1-among-0-255"),
        pytest.param({0: 9, 1: 1}, 1, ZERO_ONE, False, id="1-among-0-1"),
        pytest.param({0: 9, 1: 1}, 255, ZERO_ONE, True, id="255-among-0-1"),
        pytest.param({0: 9, 1: 1}, 2, ZERO_ONE, True, id="2-among-0-1"),
        pytest.param(JPEG_MASK, 0, THRESHOLD, False, id="0-among-smeared"),
        pytest.param(JPEG_MASK, 255, THRESHOLD, False, id="255-among-smeared"),
        pytest.param(JPEG_MASK, 1, THRESHOLD, True, id="1-among-smeared"),
        pytest.param(JPEG_MASK, 128, THRESHOLD, True, id="128-among-smeared"),
    ],
)
def test_a_mask_of_one_value_follows_its_split(
    others: dict[Value, int], value: Value, rule: str, odd: bool
) -> None:
    verdict = detect([mask(others)] * 3 + [mask({value: 10})], LabelRule())
    assert str(verdict.rule) == rule
    assert list(verdict.odd) == ([3] if odd else [])


def test_masks_of_one_value_each_make_a_pair_together() -> None:
    masks = [mask({0: 10}), mask({255: 10}), mask({0: 10})]
    assert str(detect(masks, LabelRule()).rule) == ZERO_255


def test_masks_of_one_value_each_that_make_no_pair_are_refused() -> None:
    verdict = detect([mask({0: 9}), mask({1: 9}), mask({255: 9})], LabelRule())
    assert verdict.rule is None
    assert "0, 1, 255" in verdict.refusal
    assert "--changed" in verdict.refusal


def test_a_mask_coded_0_and_1_does_not_pass_among_smeared_ones() -> None:
    verdict = detect(
        [mask(JPEG_MASK, jpeg=True)] * 9 + [mask({0: 9, 1: 1})], LabelRule()
    )
    assert str(verdict.rule) == THRESHOLD
    assert list(verdict.odd) == [9]


def test_a_photograph_among_masks_is_refused_alone() -> None:
    verdict = detect([mask({0: 9, 255: 1}), mask(PHOTOGRAPH)], LabelRule())
    assert str(verdict.rule) == ZERO_255
    assert "looks like an image" in verdict.odd[1]


def test_nodata_that_takes_a_class_away_refuses_that_mask_alone() -> None:
    masks = [mask({0: 9, 255: 1})] * 3 + [mask({0: 9, 255: 1}, nodata=255)]
    verdict = detect(masks, LabelRule())
    assert str(verdict.rule) == ZERO_255
    assert list(verdict.odd) == [3]
    assert "declares nodata 255, which removes all changed pixels" in verdict.odd[3]


def test_nodata_255_in_a_split_of_0_and_1_takes_no_class_away() -> None:
    masks = [mask({0: 8, 1: 1, 255: 1}, nodata=255), mask({0: 9, 255: 1}, nodata=255)]
    verdict = detect(masks, LabelRule())
    assert (str(verdict.rule), dict(verdict.odd)) == (ZERO_ONE, {})
    assert verdict.rule is not None
    assert [verdict.rule.apply(mask) for mask in masks] == [
        PixelCounts(1, 8, 1),
        PixelCounts(0, 9, 1),
    ]


def test_a_split_without_a_valid_pixel_is_accepted_and_all_ignored() -> None:
    empty = [mask({}, masked=9), mask({7: 4}, nodata=7)]
    verdict = detect(empty, LabelRule())
    assert verdict.rule is not None
    assert [verdict.rule.apply(mask) for mask in empty] == [
        PixelCounts(0, 0, 9),
        PixelCounts(0, 0, 4),
    ]


def dataset(
    preset: str | None = None, **splits: Sequence[MaskCounts]
) -> tuple[Labelled, dict[str, list[str]]]:
    """The rows of a dataset, and the rule or reason of each by split."""
    masks = [
        CountedMask("D", split, f"{split}/{place}.png", Counted("", found))
        for split, several in splits.items()
        for place, found in enumerate(several)
    ]
    labelled = label_dataset(masks, choose_rule(preset_name=preset))
    rows: dict[str, list[str]] = {split: [] for split in splits}
    for row in labelled.images:
        rows[row.split].append(row.rule or row.reason)
    return labelled, rows


@pytest.mark.parametrize(
    ("train", "value", "rule"),
    [
        pytest.param({0: 9, 255: 1}, 255, ZERO_255, id="255-after-0-255"),
        pytest.param({0: 9, 1: 1}, 1, ZERO_ONE, id="1-after-0-1"),
        pytest.param({0: 9, 1: 1}, 0, ZERO_ONE, id="0-after-0-1"),
        pytest.param(JPEG_MASK, 255, THRESHOLD, id="255-after-smeared"),
        pytest.param(JPEG_MASK, 0, THRESHOLD, id="0-after-smeared"),
    ],
)
def test_another_split_settles_a_split_of_one_value(
    train: dict[Value, int], value: Value, rule: str
) -> None:
    _, rows = dataset(train=[mask(train)], test=[mask({value: 9})] * 2)
    assert rows == {"train": [rule], "test": [rule] * 2}


@pytest.mark.parametrize(
    ("train", "value"),
    [
        pytest.param({0: 9, 255: 1}, 1, id="1-after-0-255"),
        pytest.param({0: 9, 1: 1}, 255, id="255-after-0-1"),
        pytest.param({0: 9, 255: 1}, 2, id="2-after-0-255"),
        pytest.param({0: 9}, 255, id="255-after-0"),
        pytest.param(JPEG_MASK, 1, id="1-after-smeared"),
        pytest.param(JPEG_MASK, 2, id="2-after-smeared"),
        pytest.param(LEVIR_CROP, 1, id="1-after-strays"),
    ],
)
def test_another_split_that_does_not_know_the_value_settles_nothing(
    train: dict[Value, int], value: Value
) -> None:
    labelled, rows = dataset(train=[mask(train)], test=[mask({value: 9})])
    assert f"every pixel is {value}" in rows["test"][0]
    assert [row.status for row in labelled.images] == ["ok", "failed"]


def test_the_one_split_that_knows_the_value_settles_it() -> None:
    _, rows = dataset(
        train=[mask({0: 9, 1: 1})], val=[mask({0: 9, 255: 1})], test=[mask({255: 9})]
    )
    assert rows["test"] == [ZERO_255]


def test_the_preset_of_cdd_refuses_the_masks_coded_0_and_1() -> None:
    sample = mask({0: 37_681, 1: 27_846, 2: 9}, jpeg=True)
    labelled, rows = dataset(
        "cdd", train=[sample, mask(JPEG_MASK, jpeg=True), mask({0: 9})]
    )
    assert [row.status for row in labelled.images] == ["failed", "ok", "ok"]
    assert "0 (37,681 pixels" in rows["train"][0]
    assert "--changed" in rows["train"][0]
    assert rows["train"][1:] == [">=128 (preset cdd)"] * 2


@pytest.mark.parametrize(
    "values",
    [
        pytest.param({0: 9, 1: 1}, id="0-1"),
        pytest.param({1: 9}, id="1-alone"),
        pytest.param(PHOTOGRAPH, id="photograph"),
        pytest.param(DARK_PHOTOGRAPH, id="dark-photograph"),
        pytest.param({0: 5, 128: 5}, id="0-128"),
        pytest.param({0: 5, "#ff0000": 5}, id="colour"),
    ],
)
def test_the_preset_of_cdd_counts_two_peaks_alone(values: dict[Value, int]) -> None:
    labelled, _ = dataset("cdd", train=[mask(values, jpeg=True)])
    assert [row.status for row in labelled.images] == ["failed"]


KINDS = {
    **{f"only-{value}": mask({value: 10}) for value in (0, 1, 2, 255)},
    **{f"0-{value}": mask({0: 9, value: 1}) for value in (1, 2, 255)},
    "0-1-255": mask({0: 9, 1: 1, 255: 1}),
    "0-few-1-255": mask({0: 9_000, 1: 1, 255: 999}),
    "strays": mask(LEVIR_CROP),
    "jpeg": mask(JPEG_MASK, jpeg=True),
    "resampled": mask(JPEG_MASK),
    "0-1-2-jpeg": mask({0: 9, 1: 5, 2: 1}, jpeg=True),
    "1-2": mask({1: 9, 2: 1}),
    "0-85-255": mask({0: 9, 85: 1, 255: 1}),
    "photograph": mask(PHOTOGRAPH),
    "negative": mask({-1: 1, 0: 9, 1: 1}),
    "colour": mask({0: 9, "#ff0000": 1}),
    "overlay": mask({0: 9}, half=1),
    "fractions": mask({0: 9, 0.5: 1}),
    "nothing-valid": mask({}, masked=9),
    "0-255-nodata-255": mask({0: 9, 255: 1}, nodata=255),
    "0-1-nodata-1": mask({0: 9, 1: 1}, nodata=1),
    "0-1-nodata-0": mask({0: 9, 1: 1}, nodata=0),
    "0-1-255-nodata-255": mask({0: 9, 1: 1, 255: 2}, nodata=255),
}


@st.composite
def shuffled(draw: st.DrawFn) -> tuple[list[str], list[int]]:
    """The kinds of masks of a split, and another order of them."""
    kinds = draw(st.lists(st.sampled_from(sorted(KINDS)), min_size=1, max_size=9))
    return kinds, draw(st.permutations(range(len(kinds))))


def verdicts(case: tuple[list[str], list[int]]) -> tuple[Decided, Decided]:
    """What is decided in one order and in the other."""
    masks = [KINDS[kind] for kind in case[0]]
    again = [masks[place] for place in case[1]]
    return detect(masks, LabelRule()), detect(again, LabelRule())


@law
@given(case=shuffled())
@example(case=(["photograph", "negative"], [1, 0]))
@example(case=(["0-255-nodata-255", "0-1-nodata-1"], [1, 0]))
def test_the_order_of_masks_changes_no_word_of_the_verdict(
    case: tuple[list[str], list[int]],
) -> None:
    verdict, again = verdicts(case)
    assert again.refusal == verdict.refusal
    assert again.notes == verdict.notes
    assert {case[1][place]: text for place, text in again.odd.items()} == verdict.odd


@law
@given(case=shuffled())
def test_every_mask_is_labelled_or_odd_or_its_split_refused(
    case: tuple[list[str], list[int]],
) -> None:
    verdict, _ = verdicts(case)
    assert (verdict.rule is None) == bool(verdict.refusal)
    for place, kind in enumerate(case[0]):
        if verdict.rule is not None and place not in verdict.odd:
            assert verdict.rule.apply(KINDS[kind]).pixels == KINDS[kind].width
