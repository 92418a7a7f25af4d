"""The additive states: counts of parts are counts of the whole, for every type."""

from __future__ import annotations

import math
from collections import Counter
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from cdstats.core.counts import (
    NAN,
    MaskCounts,
    Value,
    ValueCounts,
    add_values,
    value_order,
)
from cdstats.core.values import (
    MAX_DISTINCT,
    TooManyValuesError,
    count_cells,
    count_colours,
    count_values,
    fold_values,
)

if TYPE_CHECKING:
    from numpy.typing import NDArray

law = settings(derandomize=True)

DTYPES = (
    *("bool", "int8", "uint8", "int16", "uint16", "int32", "uint32", "int64", "uint64"),
    *("float16", "float32", "float64", ">u2", ">i4", ">f4"),
)
NUMBERS = st.sampled_from([-300, -1, 0, 0.5, 1, 2.25, 127, 128, 255, 70_000])
VALUES: st.SearchStrategy[Value] = st.one_of(
    NUMBERS, st.sampled_from([NAN, "#ff0000", "#00ff00"])
)
COUNTS = st.dictionaries(VALUES, st.integers(1, 2**70), max_size=6)


def tally(pixels: NDArray[Any]) -> dict[Value, int]:
    """Pixels of each value, one by one in plain Python."""
    counter: Counter[Value] = Counter()
    for number in pixels.ravel().tolist():
        if isinstance(number, float) and math.isnan(number):
            counter[NAN] += 1
        elif isinstance(number, float) and math.isfinite(number):
            counter[int(number) if number == int(number) else number] += 1
        else:
            counter[number + 0] += 1
    return dict(counter)


def some_arrays(
    dtypes: tuple[str, ...] = DTYPES, elements: st.SearchStrategy[Any] | None = None
) -> st.SearchStrategy[NDArray[Any]]:
    """Small images of any type, with every value that the type can hold."""
    shapes = hnp.array_shapes(min_dims=2, max_dims=2, max_side=9)
    return st.sampled_from(dtypes).flatmap(
        lambda dtype: hnp.arrays(np.dtype(dtype), shapes, elements=elements)
    )


@st.composite
def cut_images(draw: st.DrawFn) -> tuple[NDArray[Any], list[NDArray[Any]]]:
    """An image and the windows of some grid over it."""
    image = draw(some_arrays())
    height, width = image.shape
    rows, columns = (
        [
            0,
            *sorted(draw(st.sets(st.integers(1, size)) if size else st.just(set()))),
            size,
        ]
        for size in (height, width)
    )
    windows = [
        image[top:bottom, left:right]
        for top, bottom in pairwise(rows)
        for left, right in pairwise(columns)
    ]
    return image, draw(st.permutations(windows))


@law
@given(image=some_arrays())
def test_values_are_counted_as_plain_python_counts_them(image: NDArray[Any]) -> None:
    assert count_values(image) == tally(image)


@law
@given(cut=cut_images())
def test_counts_of_parts_add_up_to_the_whole(
    cut: tuple[NDArray[Any], list[NDArray[Any]]],
) -> None:
    image, windows = cut
    total = ValueCounts()
    for window in windows:
        total += ValueCounts(count_values(window))
    assert total == ValueCounts(count_values(image))
    assert list(total.values) == list(count_values(image))
    assert total.pixels == image.size


@law
@given(image=some_arrays())
def test_the_layout_in_memory_changes_no_count(image: NDArray[Any]) -> None:
    padded = np.zeros((image.shape[0] * 2, image.shape[1] * 3), image.dtype)
    padded[::2, ::3] = image
    for same in (np.asfortranarray(image), padded[::2, ::3], image.T, image[::-1]):
        assert count_values(same) == tally(image)


@law
@given(first=COUNTS, second=COUNTS, third=COUNTS)
def test_adding_counts_is_associative_and_commutative(
    first: dict[Value, int], second: dict[Value, int], third: dict[Value, int]
) -> None:
    a, b, c = (ValueCounts(values, 3, 2) for values in (first, second, third))
    assert (a + b) + c == a + (b + c)
    assert a + b == b + a
    assert (a + b).pixels == a.pixels + b.pixels


@law
@given(first=COUNTS, second=COUNTS)
def test_added_values_are_those_of_a_counter_in_order(
    first: dict[Value, int], second: dict[Value, int]
) -> None:
    ordered = {value: first[value] for value in sorted(first, key=value_order)}
    total = add_values(ordered, second)
    assert total == dict(Counter(first) + Counter(second))
    assert list(total) == sorted(total, key=value_order)


@pytest.mark.parametrize(
    ("pixels", "expected"),
    [
        pytest.param(np.zeros((0, 4), np.uint8), {}, id="no-pixel"),
        pytest.param(np.array([True, False, True]), {0: 1, 1: 2}, id="bool"),
        pytest.param(np.array([np.nan, np.nan]), {NAN: 2}, id="all-nan"),
        pytest.param(np.array([np.nan, 1.0]), {1: 1, NAN: 1}, id="nan-first"),
        pytest.param(np.array([1.0, np.nan]), {1: 1, NAN: 1}, id="nan-second"),
        pytest.param(
            np.array([0, np.nan, 1, np.nan]), {0: 1, 1: 1, NAN: 2}, id="nan-among-two"
        ),
        pytest.param(
            np.array([0x7FC00000, 0xFFC00001, 0], np.uint32).view(np.float32),
            {0: 1, NAN: 2},
            id="two-kinds-of-nan",
        ),
        pytest.param(np.array([-0.0, 0.0, 1.0]), {0: 2, 1: 1}, id="minus-zero"),
        pytest.param(
            np.array([np.inf, -np.inf, 0.0]),
            {-math.inf: 1, 0: 1, math.inf: 1},
            id="infinities",
        ),
        pytest.param(
            np.array([2**63, 2**64 - 1, 0], np.uint64),
            {0: 1, 2**63: 1, 2**64 - 1: 1},
            id="large-uint64",
        ),
        pytest.param(
            np.array([-(2**63), 2**63 - 1, 0], np.int64),
            {-(2**63): 1, 0: 1, 2**63 - 1: 1},
            id="ends-of-int64",
        ),
        pytest.param(
            np.array([0.25, 0.5], np.longdouble), {0.25: 1, 0.5: 1}, id="long-double"
        ),
    ],
)
def test_special_values_are_counted(
    pixels: NDArray[Any], expected: dict[Value, int]
) -> None:
    assert count_values(pixels) == expected


def test_counted_values_are_plain_python_numbers() -> None:
    for dtype in DTYPES:
        counted = count_values(np.array([0, 1, 1], dtype=dtype))
        assert counted == {0: 1, 1: 2}
        assert {type(value) for value in counted} == {int}
        assert {type(pixels) for pixels in counted.values()} == {int}


@pytest.mark.parametrize("dtype", ["int32", "int64", "uint32", "float32", "float64"])
def test_the_most_values_a_mask_may_hold_are_counted_and_one_more_is_refused(
    dtype: str,
) -> None:
    most = np.arange(MAX_DISTINCT).astype(dtype)
    assert count_values(np.repeat(most, 3)) == dict.fromkeys(range(MAX_DISTINCT), 3)
    with pytest.raises(TooManyValuesError):
        count_values(np.repeat(np.arange(MAX_DISTINCT + 1).astype(dtype), 3))


def test_a_rare_value_among_many_pixels_is_not_lost() -> None:
    pixels = np.zeros(3_000_001, np.int32)
    pixels[1_234_567], pixels[-1] = 5, 70_000
    assert count_values(pixels) == {0: 2_999_999, 5: 1, 70_000: 1}


@pytest.mark.parametrize("dtype", ["complex64", "U3", "object", "datetime64[s]"])
def test_what_is_no_number_is_refused(dtype: str) -> None:
    with pytest.raises(TypeError, match="cannot count values"):
        count_values(np.zeros(3, dtype=dtype))


NEAR_EDGES = st.one_of(
    some_arrays(("bool", "int8", "uint8", "int32", "int64", "float16", "float32")),
    some_arrays(("float32", "float64"), st.one_of(NUMBERS, st.just(math.nan))),
    some_arrays(("int64", "uint64"), st.sampled_from([0, 1, 2, 127, 128, 70_000])),
)


@law
@given(image=NEAR_EDGES, edges=st.sets(NUMBERS, min_size=1))
def test_cells_are_the_values_folded_between_the_edges(
    image: NDArray[Any], edges: set[float]
) -> None:
    rising = tuple(sorted(edges))
    cells = count_cells(image, rising)
    assert cells == fold_values(count_values(image), rising)
    assert sum(cells.values()) == image.size


def test_cells_of_a_rule_without_numbers_hold_every_pixel() -> None:
    assert sum(count_cells(np.arange(5), ()).values()) == 5


@law
@given(
    image=hnp.arrays(
        np.uint8, (7, 5, 3), elements=st.sampled_from([0, 1, 16, 128, 255])
    )
)
def test_colours_are_counted_as_pixels_with_equal_channels_grey(
    image: NDArray[np.uint8],
) -> None:
    expected: Counter[Value] = Counter()
    for red, green, blue in image.reshape(-1, 3).tolist():
        equal = red == green == blue
        expected[red if equal else f"#{red:02x}{green:02x}{blue:02x}"] += 1
    counted = count_colours(image)
    assert counted == dict(expected)
    assert list(counted) == sorted(counted, key=value_order)


def test_too_many_colours_are_refused() -> None:
    code = np.arange(MAX_DISTINCT + 300, dtype=np.uint32)
    colours = np.stack([code >> 16, code >> 8 & 255, code & 255], -1).astype(np.uint8)
    with pytest.raises(TooManyValuesError):
        count_colours(colours)


@pytest.mark.parametrize("pixels", [5, 7], ids=["too-few", "too-many"])
def test_counts_that_do_not_fill_the_image_are_a_mistake(pixels: int) -> None:
    with pytest.raises(ValueError, match=f"counted {pixels} pixels of 3 x 2"):
        MaskCounts(3, 2, ValueCounts({0: pixels}))


@pytest.mark.parametrize("size", [1 << 19, (1 << 19) + 1], ids=["even", "odd"])
def test_noise_of_many_bytes_is_counted_exactly(size: int) -> None:
    pixels = np.random.default_rng(3).integers(0, 256, size).astype(np.uint8)
    expected = np.bincount(pixels, minlength=256)
    assert count_values(pixels) == dict(enumerate(expected.tolist()))
    strided = count_values(np.repeat(pixels, 2)[::2])
    assert strided == dict(enumerate(expected.tolist()))


@law
@given(
    values=hnp.arrays(np.uint8, st.integers(1, 12)),
    runs=st.lists(st.integers(1, 90), min_size=12, max_size=12),
    wide=st.booleans(),
)
def test_long_runs_are_counted_as_plain_python_counts_them(
    values: NDArray[np.uint8], runs: list[int], wide: bool
) -> None:
    image = np.repeat(values, runs[: values.size])
    assert count_values(image.astype(np.uint16) if wide else image) == tally(image)


def test_what_a_glance_misses_is_counted() -> None:
    pixels = np.zeros((256, 256), np.uint8)
    pixels[3, 7], pixels[200, 11], pixels[255, 255] = 85, 170, 255
    assert count_values(pixels) == {0: 65_533, 85: 1, 170: 1, 255: 1}
