"""The joint histogram of probability and label."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cdstats.core.curves import Curve
from cdstats.core.histogram import LevelCounts
from cdstats.core.pixel_terms import Term
from cdstats.core.sums import PLAIN

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    Array = NDArray[Any]

FOCAL = Term("focal", (2,))
probs = st.lists(st.integers(0, 255), max_size=40).map(lambda v: np.array(v) / 255)
levels = st.builds(LevelCounts.of, probs, probs)


def direct(changed: Array, unchanged: Array) -> dict[str, float]:
    """The sums, pixel by pixel, with the standard library."""

    def ce(p: float) -> float:
        return -max(math.log(p), -100) if p > 0 else 100.0

    def over(values: Array, function: Callable[[float], float]) -> float:
        return math.fsum(function(p) for p in values.tolist())

    both = np.concatenate([changed, unchanged])
    return {
        "valid": both.size,
        "changed": changed.size,
        "ce_changed_sum": over(changed, ce),
        "ce_unchanged_sum": over(unchanged, lambda p: ce(1 - p)),
        "missed_sum": over(changed, lambda p: 1 - p),
        "missed_sq_sum": over(changed, lambda p: (1 - p) ** 2),
        "false_sum": over(unchanged, lambda p: p),
        "false_sq_sum": over(unchanged, lambda p: p * p),
        "prob_sum": over(both, lambda p: p),
        "prob_changed_sum": over(changed, lambda p: p),
        "prob_sq_sum": over(both, lambda p: p * p),
        "prob_sq_changed_sum": over(changed, lambda p: p * p),
        "target_sq_sum": changed.size,
        "saturated_wrong": int((changed == 0).sum() + (unchanged == 1).sum()),
        "tp": int((changed >= 0.5).sum()),
        "fp": int((unchanged >= 0.5).sum()),
        "fn": int((changed < 0.5).sum()),
        "tn": int((unchanged < 0.5).sum()),
        "ignored": 3,
        "uncovered": 0,
    }


@given(probs, probs)
def test_sums_of_levels_equal_sums_over_pixels(
    changed: Array, unchanged: Array
) -> None:
    ours = LevelCounts.of(changed, unchanged).sums(ignored=3)
    expected = direct(changed, unchanged)
    for name in PLAIN:
        assert getattr(ours, name) == pytest.approx(expected[name], rel=1e-12), name


@given(probs, probs, probs, probs)
def test_levels_of_parts_add_up_to_the_whole(
    a: Array, b: Array, c: Array, d: Array
) -> None:
    whole = LevelCounts.of(np.concatenate([a, c]), np.concatenate([b, d]))
    parts = LevelCounts.of(a, b) + LevelCounts.of(c, d)
    for name in ("values", "changed", "unchanged"):
        assert np.array_equal(getattr(whole, name), getattr(parts, name))


def test_stored_integers_add_as_they_are() -> None:
    values = np.array([0, 1 << 63], dtype=np.uint64)
    one = LevelCounts(values, np.array([0, 1]), np.array([2, 0]))
    assert (one + one).values.dtype == np.uint64
    assert (one + one).values.tolist() == values.tolist()
    assert (one + one).pixels.tolist() == [4, 2]


@given(levels)
def test_a_curve_holds_the_confusion_of_every_threshold(counts: LevelCounts) -> None:
    curve = Curve.of(counts.values, counts.changed, counts.unchanged)
    for threshold, *found in zip(curve.thresholds, *curve.confusion, strict=True):
        sums = counts.sums(threshold=threshold)
        assert found == [sums.tp, sums.fp, sums.fn, sums.tn]


def test_terms_are_summed_by_class() -> None:
    sums = LevelCounts.of(np.array([0.3, 0.3]), np.array([0.3])).sums(terms=[FOCAL])
    assert sums.terms[FOCAL] == pytest.approx(
        (-2 * 0.49 * math.log(0.3), -0.09 * math.log(0.7)), rel=1e-14
    )


def test_minus_zero_is_zero() -> None:
    counts = LevelCounts.of(np.array([-0.0]), np.array([0.0]))
    assert counts.values.tolist() == [0.0]
    assert not np.signbit(counts.values).any()


def test_half_precision_values_are_levels_of_float64() -> None:
    counts = LevelCounts.of(np.array([0.1], dtype=np.float16), np.array([], np.float16))
    assert counts.values.dtype == np.float64
    assert counts.values[0] == float(np.float16(0.1))


@pytest.mark.parametrize(
    ("values", "changed"),
    [
        pytest.param([0.5, 0.1], [1, 1], id="falling"),
        pytest.param([0.5, 0.5], [1, 1], id="twice"),
        pytest.param([0.1, 0.5], [1], id="short"),
    ],
)
def test_levels_that_are_no_histogram_are_refused(
    values: list[float], changed: list[int]
) -> None:
    counts = np.array(changed)
    with pytest.raises(ValueError, match="level"):
        LevelCounts(np.array(values), counts, counts)
