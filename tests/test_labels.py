"""Rules: applied to counts they say what they say of every pixel."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from cdstats.core.counts import NAN, MaskCounts, PixelCounts, Value, ValueCounts
from cdstats.core.errors import DataError, UsageError
from cdstats.core.labels import (
    DETECTED,
    Label,
    LabelRule,
    names_text,
    parse_terms,
    shares_text,
)
from cdstats.core.values import count_cells, count_colours, count_values

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

law = settings(derandomize=True)

CHANGED, UNCHANGED, IGNORED, UNNAMED = 0, 1, 2, 3
"""Labels of the plain evaluation, the first three in the order of `Label`."""
Sign = Literal["point", "range", "<", "<=", ">", ">=", "nan", "rest"]


@dataclass(frozen=True)
class Piece:
    """A term as the test understands it, independent of the parser."""

    sign: Sign
    low: float
    high: float
    label: int

    @property
    def text(self) -> str:
        """The term in the grammar of rules."""
        if self.sign in ("nan", "rest"):
            return self.sign
        if self.sign == "range":
            return f"{self.low}-{self.high}"
        return f"{'' if self.sign == 'point' else self.sign}{self.low}"

    def holds(self, pixels: NDArray[Any]) -> NDArray[np.bool_]:
        """The pixels that the term names, by NumPy's own comparisons."""
        found: NDArray[np.bool_]
        match self.sign:
            case "point" | "range":
                found = (pixels >= self.low) & (pixels <= self.high)
            case "<":
                found = pixels < self.low
            case "<=":
                found = pixels <= self.low
            case ">":
                found = pixels > self.low
            case ">=":
                found = pixels >= self.low
            case "nan":
                found = np.isnan(pixels)
            case "rest":
                found = ~np.isnan(pixels)
        return found


EDGES = (-32768, -3, -1, 0, 0.5, 1, 2, 3, 127, 128, 254.5, 255, 70_000)
PIXELS = st.sampled_from(
    [*EDGES, -40_000, -2, -0.5, 0.25, 1.5, 64, 200, 256, 80_000, math.nan]
)


@st.composite
def rules(draw: st.DrawFn) -> list[Piece]:
    """Pieces over the number line that share no number, each with a label."""
    edges = sorted(draw(st.sets(st.sampled_from(EDGES), min_size=1, max_size=6)))
    labels = st.sampled_from([CHANGED, UNCHANGED, IGNORED])
    pieces: list[Piece] = []
    place = 0
    first = draw(st.sampled_from(["", "<", "<="]))
    if first:
        sign: Sign = "<" if first == "<" else "<="
        pieces.append(Piece(sign, edges[0], edges[0], draw(labels)))
        place = int(first == "<=")
    while place < len(edges):
        step = draw(st.sampled_from(["skip", "point", "range", ">", ">="]))
        last = draw(st.integers(place, len(edges) - 1)) if step == "range" else place
        if step in (">", ">="):
            edge = edges[place - 1] if step == ">" and place else edges[place]
            sign = ">" if step == ">" else ">="
            pieces.append(Piece(sign, edge, edge, draw(labels)))
            break
        if step != "skip":
            sign = "range" if step == "range" else "point"
            pieces.append(Piece(sign, edges[place], edges[last], draw(labels)))
        place = last + 1
    for name in ("nan", "rest"):
        if draw(st.booleans()):
            sign = "nan" if name == "nan" else "rest"
            pieces.append(Piece(sign, 0, 0, draw(labels)))
    return draw(st.permutations(pieces))


def rule_of(pieces: Sequence[Piece]) -> LabelRule:
    """The rule that the program reads from the pieces' texts."""
    changed, unchanged, ignored = (
        ",".join(piece.text for piece in pieces if piece.label == label)
        for label in (CHANGED, UNCHANGED, IGNORED)
    )
    return LabelRule.parse(changed=changed, unchanged=unchanged, ignored=ignored)


def plain_labels(
    pixels: NDArray[Any], pieces: Sequence[Piece], nodata: float | None = None
) -> NDArray[np.uint8]:
    """The label of each pixel, evaluated on the image itself."""
    numbers = pixels.astype(np.float64)
    labels = np.full(pixels.shape, UNNAMED, np.uint8)
    for piece in pieces:
        if piece.sign == "rest":
            labels[piece.holds(numbers)] = piece.label
    if nodata is not None:
        declared = np.isnan(numbers) if math.isnan(nodata) else numbers == nodata
        labels[declared] = IGNORED
    for piece in pieces:
        if piece.sign != "rest":
            labels[piece.holds(numbers)] = piece.label
    return labels


def mask_of(
    counts: ValueCounts | Mapping[Value, int],
    nodata: Value | None = None,
    palette: Mapping[int, str] | None = None,
) -> MaskCounts:
    """Counts as those of a mask in one row."""
    found = counts if isinstance(counts, ValueCounts) else ValueCounts(counts)
    return MaskCounts(found.pixels, 1, found, nodata, palette)


def agrees(rule: LabelRule, mask: MaskCounts, labels: NDArray[np.uint8]) -> None:
    """Check that a rule gives a mask the labels that its pixels have."""
    if (labels == UNNAMED).any():
        with pytest.raises(DataError, match="Name every value"):
            rule.apply(mask)
        return
    expected = [int((labels == label).sum()) for label in (CHANGED, UNCHANGED, IGNORED)]
    expected[IGNORED] += mask.counts.masked
    assert rule.apply(mask) == PixelCounts(*expected)


IMAGES = st.one_of(
    hnp.arrays(np.float64, (5, 6), elements=PIXELS),
    hnp.arrays(np.float32, (5, 6), elements=PIXELS),
    hnp.arrays(np.int16, (5, 6), elements=st.sampled_from([-32768, -3, -1, 0, 1, 255])),
    hnp.arrays(np.uint8, (5, 6), elements=st.sampled_from([0, 1, 2, 127, 128, 255])),
    hnp.arrays(np.int8, (5, 6)),
    hnp.arrays(np.uint16, (5, 6)),
    hnp.arrays(np.bool_, (5, 6)),
)


@law
@given(pieces=rules(), image=IMAGES, masked=st.integers(0, 5))
def test_a_rule_applied_to_counts_is_the_rule_applied_to_pixels(
    pieces: list[Piece], image: NDArray[Any], masked: int
) -> None:
    counts = ValueCounts(count_values(image), masked=masked)
    agrees(rule_of(pieces), mask_of(counts), plain_labels(image, pieces))


@law
@given(pieces=rules(), image=IMAGES, nodata=PIXELS)
@example(
    pieces=[Piece("point", 1, 1, CHANGED), Piece("rest", 0, 0, UNCHANGED)],
    image=np.array([[1.0, 0.0, math.nan]]),
    nodata=math.nan,
)
@example(
    pieces=[Piece("point", 1, 1, CHANGED), Piece("rest", 0, 0, UNCHANGED)],
    image=np.array([[1, 0, 255]], np.uint8),
    nodata=255,
)
@example(
    pieces=[Piece(">", 0, 0, CHANGED), Piece("<=", 0, 0, UNCHANGED)],
    image=np.array([[1, 0, 255]], np.uint8),
    nodata=255,
)
def test_declared_nodata_is_ignored_unless_a_term_other_than_rest_names_it(
    pieces: list[Piece], image: NDArray[Any], nodata: float
) -> None:
    declared = NAN if math.isnan(nodata) else nodata
    mask = mask_of(count_values(image), declared)
    agrees(rule_of(pieces), mask, plain_labels(image, pieces, nodata))


@law
@given(pieces=rules(), image=IMAGES, nodata=PIXELS)
def test_a_rule_that_was_found_never_counts_declared_nodata(
    pieces: list[Piece], image: NDArray[Any], nodata: float
) -> None:
    declared = NAN if math.isnan(nodata) else nodata
    numbers = image.astype(np.float64)
    is_declared = np.isnan(numbers) if math.isnan(nodata) else numbers == nodata
    labels = plain_labels(image, pieces, nodata)
    labels[is_declared] = IGNORED
    mask = mask_of(count_values(image), declared)
    agrees(replace(rule_of(pieces), origin=DETECTED), mask, labels)


@law
@given(pieces=rules(), image=IMAGES)
def test_counts_between_edges_get_the_labels_of_the_values(
    pieces: list[Piece], image: NDArray[Any]
) -> None:
    rule = rule_of(pieces)
    edges = tuple(sorted({*rule.edges, 0, 128, 255}))
    agrees(rule, mask_of(count_cells(image, edges)), plain_labels(image, pieces))


@law
@given(pieces=rules())
def test_a_rule_reads_back_from_its_terms(pieces: list[Piece]) -> None:
    rule = rule_of(pieces)
    texts = [",".join(map(str, rule.terms(label))) for label in Label]
    again = LabelRule.parse(changed=texts[0], unchanged=texts[1], ignored=texts[2])
    assert again == rule
    assert str(again) == str(rule)


@law
@given(
    image=hnp.arrays(np.uint8, (4, 5, 3), elements=st.sampled_from([0, 128, 255])),
    named=st.lists(
        st.sampled_from(["#ff0000", "#00ff00", "#808080", "#000000", "#ffff80"]),
        unique=True,
    ),
)
def test_colours_in_a_rule_are_the_pixels_of_that_colour(
    image: NDArray[np.uint8], named: list[str]
) -> None:
    rule = LabelRule.parse(changed=",".join(named), unchanged="rest")
    changed = 0
    for colour in named:
        changed += int((image == np.array([*bytes.fromhex(colour[1:])])).all(-1).sum())
    counts = rule.apply(mask_of(count_colours(image)))
    assert counts == PixelCounts(changed, 20 - changed, 0)


PALETTE = {0: "#ff0000", 1: "#000000", 2: "#ffffff", 3: "#808080", 128: "#0000ff"}


@pytest.mark.parametrize(
    ("changed", "unchanged", "expected"),
    [
        pytest.param("1-3,128", "0", PixelCounts(22, 9), id="indices"),
        pytest.param("#ff0000", "rest", PixelCounts(9, 22), id="one-colour"),
        pytest.param("rest", "#ff0000", PixelCounts(22, 9), id="rest-and-a-colour"),
        pytest.param("#0000ff,#ff0000", "rest", PixelCounts(25, 6), id="two-colours"),
        pytest.param(
            "#ff0000,0", "rest", PixelCounts(9, 22), id="colour-and-its-index"
        ),
        pytest.param("rest", "#000000", PixelCounts(30, 1), id="black-is-not-index-0"),
        pytest.param("#808080", "rest", PixelCounts(3, 28), id="grey-is-not-index-128"),
        pytest.param("#ffffff", "rest", PixelCounts(2, 29), id="white"),
    ],
)
def test_a_palette_is_named_by_index_or_by_colour(
    changed: str, unchanged: str, expected: PixelCounts
) -> None:
    values: dict[Value, int] = {0: 9, 1: 1, 2: 2, 3: 3, 128: 16}
    rule = LabelRule.parse(changed=changed, unchanged=unchanged)
    assert rule.apply(mask_of(values, palette=PALETTE)) == expected


def test_a_palette_entry_with_two_labels_is_refused() -> None:
    rule = LabelRule.parse(changed="#ff0000", unchanged="0,1")
    with pytest.raises(DataError, match="palette index 0 has the colour #ff0000"):
        rule.apply(mask_of({0: 3, 1: 1}, palette=PALETTE))


def test_two_indices_of_one_colour_are_both_that_colour() -> None:
    rule = LabelRule.parse(changed="#ff0000", unchanged="rest")
    mask = mask_of(
        {0: 3, 1: 1, 2: 5}, palette={0: "#ff0000", 1: "#ff0000", 2: "#00ff00"}
    )
    assert rule.apply(mask) == PixelCounts(4, 5)


@pytest.mark.parametrize(
    ("changed", "unchanged", "ignored", "twice"),
    [
        pytest.param("1", "1", "", "1", id="in-two-lists"),
        pytest.param("255", "0", "255.0", "255", id="in-two-spellings"),
        pytest.param("1-4", "4-6", "", "1-4", id="ranges-that-touch"),
        pytest.param(">=128", "<=128", "", "128", id="bounds-that-touch"),
        pytest.param(">0", "0", "255", "255", id="number-in-a-bound"),
        pytest.param("rest", "rest", "", "rest", id="rest-twice"),
        pytest.param("#ff0000", "#FF0000", "", "#ff0000", id="colour-twice"),
        pytest.param("#ffffff", "255", "", "255", id="white-and-255"),
    ],
)
def test_a_value_named_twice_is_a_usage_error(
    changed: str, unchanged: str, ignored: str, twice: str
) -> None:
    with pytest.raises(UsageError, match="is named twice: ") as error:
        LabelRule.parse(changed=changed, unchanged=unchanged, ignored=ignored)
    assert twice in str(error.value)
    assert error.value.exit_code == 2


@pytest.mark.parametrize(
    ("rule", "text"),
    [
        pytest.param(("255", "0", ""), "changed 255, unchanged 0", id="pair"),
        pytest.param((">=128", "<128", ""), ">=128", id="threshold"),
        pytest.param(
            (">=128", "<128", "nan"), ">=128, ignored nan", id="threshold-and-ignored"
        ),
        pytest.param(
            (">=128", "<127", ""), "changed >=128, unchanged <127", id="with-a-gap"
        ),
        pytest.param(("2", "rest", ""), "changed 2, unchanged rest", id="rest"),
        pytest.param(
            ("#FF0000", "rest", "0"),
            "changed #ff0000, unchanged rest, ignored 0",
            id="colour",
        ),
        pytest.param(
            ("-3--1", "0-0", "1.50"),
            "changed -3--1, unchanged 0, ignored 1.5",
            id="spelling",
        ),
        pytest.param(("", "0", ""), "unchanged 0", id="nothing-changed"),
    ],
)
def test_a_rule_has_one_text(rule: tuple[str, str, str], text: str) -> None:
    read = LabelRule.parse(changed=rule[0], unchanged=rule[1], ignored=rule[2])
    assert str(read) == text
    assert str(replace(read, origin="detected")) == f"{text} (detected)"


@pytest.mark.parametrize("value", [0, -1, 0.5, 255, 10**30, math.inf, -math.inf])
def test_rest_names_every_number(value: float) -> None:
    assert (
        LabelRule.parse(changed="7", unchanged="rest").label(value) is Label.UNCHANGED
    )


@pytest.mark.parametrize("text", ["rest", "0,rest", "<0,>=0,rest"])
def test_rest_and_numbers_never_name_nan(text: str) -> None:
    rule = LabelRule.parse(unchanged=text)
    assert rule.label(NAN) is None
    with pytest.raises(DataError, match=r"holds nan \(3 pixels\)"):
        rule.apply(mask_of({0: 2, NAN: 3}))


def test_rest_names_every_colour() -> None:
    rule = LabelRule.parse(changed="rest", unchanged="#000000")
    assert rule.label("#ff0000") is Label.CHANGED
    assert rule.label(0) is Label.UNCHANGED


def test_unnamed_values_are_refused_with_their_pixels_and_the_way_out() -> None:
    rule = LabelRule.parse(changed="255", unchanged="0,50", ignored="85")
    with pytest.raises(DataError) as error:
        rule.apply(mask_of({0: 5, 7: 1, 170: 12_345, 255: 5}))
    assert str(error.value) == (
        "holds 7 (1 pixel), 170 (12,345 pixels); expected 255, 0, 50, 85. "
        "Name every value with --changed, --unchanged or --ignore"
    )


def test_half_transparent_pixels_are_refused_by_every_rule() -> None:
    mask = mask_of(ValueCounts({0: 2, 255: 2}, half_transparent=1_500))
    with pytest.raises(DataError, match="half transparent in 1,500 pixels"):
        LabelRule.parse(changed=">0", unchanged="<=0").apply(mask)


@pytest.mark.parametrize(
    ("changed", "unchanged"),
    [(">=128", "<128"), (">0", "rest"), ("1-4", "0"), ("<=9", ">9")],
)
def test_a_threshold_is_refused_where_colour_channels_differ(
    changed: str, unchanged: str
) -> None:
    rule = LabelRule.parse(changed=changed, unchanged=unchanged)
    with pytest.raises(DataError, match="colour channels differ") as error:
        rule.apply(mask_of({0: 5, "#0000ff": 5}))
    assert "--band" in str(error.value)
    assert "#rrggbb" in str(error.value)


@pytest.mark.parametrize(
    "text",
    [
        pytest.param("1" + "0" * 400, id="beyond-a-double"),
        pytest.param(">" + "9" * 400, id="bound-beyond-a-double"),
        pytest.param("1e999", id="exponent-beyond-a-double"),
        pytest.param("-1e999", id="negative-exponent-beyond-a-double"),
        pytest.param("7" * 5_000, id="more-digits-than-python-reads"),
    ],
)
def test_an_absurd_number_is_refused_or_harmless(text: str) -> None:
    try:
        rule = LabelRule.parse(changed=text, unchanged="0")
    except UsageError:
        return
    assert all(map(math.isfinite, rule.edges))
    assert parse_terms(",".join(map(str, rule.changed))) == list(rule.changed)
    assert rule.apply(mask_of({0: 3})) == PixelCounts(0, 3, 0)


def test_shares_are_shown_for_the_first_values_and_the_rest_is_counted() -> None:
    values: dict[Value, int] = {0: 999_999, 1: 1, "#ff0000": 0}
    assert shares_text(values, total=1_000_000, limit=2) == (
        "0 (999,999 pixels, 100 %), 1 (1 pixel, 0.0001 %) and 1 more value"
    )
    assert names_text([1, 2, 3], limit=2) == "1, 2, ... (3 values)"
