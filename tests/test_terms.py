"""The grammar of rules: what a term names, and what is no term."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cdstats.core.counts import NAN, colour_value
from cdstats.core.errors import UsageError
from cdstats.core.labels import (
    Range,
    Term,
    complement,
    names,
    parse_terms,
    same_value,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

    from cdstats.core.counts import Value

law = settings(derandomize=True)

GRID = [quarter / 4 for quarter in range(-26, 27)]
"""Numbers that lie on, between and beyond the ends of `TERMS`."""
ENDS = st.integers(-10, 10).map(lambda half: half / 2)
POINTS = ENDS.map(lambda end: f"{end}")
RANGES = st.tuples(ENDS, ENDS).map(lambda ends: f"{min(ends)}-{max(ends)}")
BOUNDS = st.builds("{}{}".format, st.sampled_from(["<", "<=", ">", ">="]), ENDS)
NUMBERS = st.one_of(POINTS, RANGES, BOUNDS)
COLOURS = st.integers(0, 0xFFFFFF).map(lambda code: f"#{code:06x}")
TERMS = st.one_of(NUMBERS, COLOURS, st.just("rest"), st.just("nan"))


def term_of(text: str) -> Term:
    """The one term of a text."""
    (term,) = parse_terms(text)
    return term


def range_of(text: str) -> Range:
    """The one term of a text that names numbers."""
    term = term_of(text)
    assert isinstance(term, Range)
    return term


@pytest.mark.parametrize(
    ("text", "inside", "outside"),
    [
        pytest.param("0", [0, 0.0, -0.0], [1, -1, "nan", "#ff0000"], id="zero"),
        pytest.param("-1", [-1, -1.0], [1, 0, -2], id="negative"),
        pytest.param("+5", [5], [-5], id="plus-sign"),
        pytest.param("-0", [0], [1], id="minus-zero"),
        pytest.param("007", [7], [0], id="leading-zeros"),
        pytest.param("0.5", [0.5], [0, 1], id="fraction"),
        pytest.param(".5", [0.5], [5], id="no-digit-before-the-point"),
        pytest.param("5.", [5], [0.5], id="no-digit-after-the-point"),
        pytest.param("255.0", [255], [2550], id="whole-float"),
        pytest.param("1e2", [100], [1, 2], id="exponent"),
        pytest.param("1E-2", [0.01], [1, 2], id="negative-exponent"),
        pytest.param("-1.5e+1", [-15], [15, -1.5], id="everything-in-one-number"),
        pytest.param("1-4", [1, 2.5, 4], [0, 0.99, 4.01, -1, -4], id="range"),
        pytest.param("4-4", [4], [3, 5], id="range-of-one-number"),
        pytest.param(" 1 - 4 ", [1, 4], [0, 5], id="range-with-spaces"),
        pytest.param("-2-3", [-2, 0, 3], [-3, 4], id="range-from-a-negative"),
        pytest.param("-3--1", [-3, -2, -1], [-4, 0, 1, 3], id="negative-range"),
        pytest.param("-3 - -1", [-3, -1], [0], id="negative-range-with-spaces"),
        pytest.param("0.5-1.5", [0.5, 1, 1.5], [0, 2], id="range-of-fractions"),
        pytest.param("1e-2-1e-1", [0.01, 0.1], [0, 1], id="range-of-exponents"),
        pytest.param(">=128", [128, 255, math.inf], [127.9, -1, "nan"], id="at-least"),
        pytest.param("> 128", [128.1, 255], [128], id="above"),
        pytest.param("<= 0", [0, -9999], [0.1], id="at-most"),
        pytest.param(">-1", [0, -0.5], [-1], id="above-a-negative"),
        pytest.param(">=-32768", [-32768], [-32769], id="at-least-a-negative"),
        pytest.param("<-.5", [-1], [-0.5, 0], id="below-a-negative-fraction"),
        pytest.param("#ff0000", ["#ff0000"], ["#00ff00", 255, 76], id="colour"),
        pytest.param("#FF00Aa", ["#ff00aa"], ["#ff00ab"], id="colour-in-capitals"),
        pytest.param("#808080", [128], [127, 8421504], id="grey-colour"),
        pytest.param("#ffffff", [255], [0], id="white"),
        pytest.param("nan", ["nan"], [0, "#000000"], id="nan"),
        pytest.param("NaN", ["nan"], [0], id="nan-in-capitals"),
        pytest.param("rest", [], [0, "nan", "#ff0000"], id="rest-by-itself"),
        pytest.param("Rest", [], [0, "nan"], id="rest-in-capitals"),
    ],
)
def test_a_term_names_its_values_alone(
    text: str, inside: Sequence[Value], outside: Sequence[Value]
) -> None:
    term = term_of(text)
    assert [value for value in inside if not names(term, value)] == []
    assert [value for value in outside if names(term, value)] == []


@pytest.mark.parametrize(
    "text",
    [
        *(",", "1,", ",1", "1,,2", "1, ,2", "a", "changed", "--1", "+-1", "1-", "-"),
        *("1--", "1-2-3", "1-a", "a-1", ">", ">=", ">a", "> =5", "=>5", "==255", "=1"),
        *("!=0", "<>0", ">1-2", ">#ff0000", "#", "#fff", "#gggggg", "#ff0000ff"),
        *("ff0000", "0x10", "1_0", "1.2.3", "1..5", "1:5", "1;2", "1 2", "1e", "e5"),
        *("inf", "-inf", "rest-5", "nan-1", "restt", "≥5", "1–4", "'1'", "[1]", "*"),
    ],
)
def test_what_is_no_term_is_a_usage_error_that_quotes_it(text: str) -> None:
    with pytest.raises(UsageError, match="is not a value; expected numbers") as error:
        parse_terms(text)
    assert repr(text) in str(error.value)


@pytest.mark.parametrize(
    ("text", "turned"),
    [("5-1", "1-5"), ("-1--3", "-3--1"), ("1--1", "-1-1"), ("0.5-.25", "0.25-0.5")],
)
def test_a_range_that_runs_backwards_is_refused_with_its_turn(
    text: str, turned: str
) -> None:
    with pytest.raises(UsageError, match="runs backwards") as error:
        parse_terms(f"7,{text}")
    assert str(error.value).endswith(f"write {turned}")


@pytest.mark.parametrize("text", ["", " ", "\t\n"])
def test_a_blank_text_holds_no_term(text: str) -> None:
    assert parse_terms(text) == []


def test_terms_come_in_the_order_written() -> None:
    terms = parse_terms(" rest,\t-1 ,>=128,#FF0000, 2-4,nan")
    assert list(map(str, terms)) == ["rest", "-1", ">=128", "#ff0000", "2-4", "nan"]


@law
@given(texts=st.lists(TERMS, min_size=1, max_size=5))
def test_the_text_of_terms_reads_back_as_the_same_terms(texts: list[str]) -> None:
    terms = parse_terms(",".join(texts))
    assert parse_terms(",".join(map(str, terms))) == terms


@law
@given(
    low=st.one_of(st.integers(), st.floats(allow_nan=False, allow_infinity=False)),
    high=st.one_of(st.integers(), st.floats(allow_nan=False, allow_infinity=False)),
)
def test_any_two_numbers_make_a_range_that_reads_back(low: float, high: float) -> None:
    low, high = sorted((low, high))
    term = range_of(f"{low!r}-{high!r}")
    assert (term.low, term.high) == (low, high)
    assert term_of(str(term)) == term
    assert low in term
    assert high in term


@law
@given(first=NUMBERS, second=NUMBERS)
def test_two_terms_overlap_when_a_number_lies_in_both(first: str, second: str) -> None:
    one, two = range_of(first), range_of(second)
    shared = any(number in one and number in two for number in GRID)
    assert one.overlaps(two) == two.overlaps(one) == shared
    assert same_value(one, two) == same_value(two, one) == shared


@law
@given(text=BOUNDS)
def test_a_bound_and_its_complement_share_out_all_numbers(text: str) -> None:
    term = term_of(text)
    (other,) = complement(term) or ()
    assert isinstance(other, Range)
    assert all(names(term, number) != names(other, number) for number in GRID)
    assert complement(other) == (term,)


@pytest.mark.parametrize("text", ["1", "1-4", "#ff0000", "rest", "nan"])
def test_what_is_no_bound_has_no_complement(text: str) -> None:
    assert complement(term_of(text)) is None


@law
@given(colour=COLOURS, number=NUMBERS)
def test_a_colour_shares_a_value_with_numbers_only_as_their_grey(
    colour: str, number: str
) -> None:
    grey = colour_value(colour)
    shared = isinstance(grey, int) and grey in range_of(number)
    assert same_value(colour, term_of(number)) == shared
    assert same_value(term_of(number), colour) == shared


@pytest.mark.parametrize(
    ("first", "second", "shared"),
    [
        pytest.param("rest", "rest", True, id="rest-twice"),
        pytest.param("nan", "nan", True, id="nan-twice"),
        pytest.param("rest", "nan", False, id="rest-and-nan"),
        pytest.param("rest", ">0", False, id="rest-and-numbers"),
        pytest.param("nan", ">0", False, id="nan-and-numbers"),
        pytest.param("#ff0000", "#FF0000", True, id="same-colour"),
        pytest.param("#ff0000", "#ff0001", False, id="other-colour"),
        pytest.param("#808080", "128", True, id="grey-and-its-level"),
        pytest.param("#ff0000", ">=0", False, id="colour-and-all-levels"),
    ],
)
def test_terms_share_a_value(first: str, second: str, shared: bool) -> None:
    assert same_value(term_of(first), term_of(second)) is shared
    assert same_value(term_of(second), term_of(first)) is shared


@law
@given(text=NUMBERS)
def test_numbers_name_neither_nan_nor_a_colour(text: str) -> None:
    assert not names(term_of(text), NAN)
    assert not names(term_of(text), "#ff0000")
