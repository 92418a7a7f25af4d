"""The additive states and the terms of one pixel."""

from __future__ import annotations

import math
import pickle
from typing import TYPE_CHECKING

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn import functional

from cdstats.core.pixel_terms import Term, cross_entropy
from cdstats.core.sums import BINS, PLAIN, ImageSums, SumsTable, bins_of, quotient

if TYPE_CHECKING:
    from random import Random

FOCAL = Term("focal", (2,))
counts = st.integers(0, 10_000)
sums = st.floats(0, 1e6)
images = st.builds(
    ImageSums,
    **dict.fromkeys(("valid", "changed", "ignored", "tp", "fp", "fn", "tn"), counts),
    ce_changed_sum=sums,
    ce_unchanged_sum=sums,
    false_sum=sums,
    calibration=st.tuples(*[st.floats(-1e6, 1e6)] * BINS),
    terms=st.fixed_dictionaries({FOCAL: st.tuples(sums, sums)}),
)
ALL_TERMS = [
    FOCAL,
    Term("focal", (0.5,)),
    Term("focal", (0,)),
    Term("opposite_ce"),
    Term("ce_power", (0.3,)),
    Term("asl", (1, 4, 0.05)),
    Term("asl", (0, 0, 0)),
    Term("logit_adjusted", (1, 0.02)),
    Term("logit_adjusted", (10, 1e-250)),
]
PROBS = np.array([0.0, 1e-300, 1e-10, 0.01, 0.05, 0.5, 0.9, 1 - 2.0**-53, 1.0])


@given(images, images, images)
def test_states_of_parts_add_up_in_any_grouping(
    a: ImageSums, b: ImageSums, c: ImageSums
) -> None:
    left, right = (a + b) + c, a + (b + c)
    for name in PLAIN:
        assert getattr(left, name) == pytest.approx(getattr(right, name), rel=1e-12)
    assert left.terms[FOCAL] == pytest.approx(right.terms[FOCAL], rel=1e-12)


@given(images)
def test_the_empty_state_adds_nothing(image: ImageSums) -> None:
    assert image + ImageSums() == ImageSums() + image == image


def test_the_calibration_error_is_the_mean_distance_over_bins() -> None:
    misses = (2.0, -1.0, *[0.0] * 12, 3.0)
    rows = [ImageSums(valid=10, calibration=misses), ImageSums(valid=10)]
    assert SumsTable.of(rows).calibration_error.tolist() == [0.6, 0]
    opposite = ImageSums(valid=10, calibration=(-2.0, *[0.0] * 14))
    # Misses of one bin cancel over images: the error is that of the pooled pixels.
    total = SumsTable.of([*rows, opposite]).total
    assert total.calibration_error.tolist() == [pytest.approx(4 / 30)]


def test_sums_of_an_earlier_run_lack_the_calibration_error() -> None:
    rows = [ImageSums(valid=1), ImageSums(valid=1, calibration=())]
    assert np.isnan(SumsTable.of(rows).calibration_error).all()
    assert np.isnan(SumsTable.of(rows).total.calibration_error).all()
    assert np.isnan(SumsTable.of([]).total.calibration_error).all()
    assert (rows[0] + rows[1]).calibration == ()


@pytest.mark.parametrize("scale", [15, 255, 65535])
def test_an_edge_belongs_to_the_bin_above_it(scale: int) -> None:
    edges = np.arange(16) * (scale // 15) / scale
    assert bins_of(edges).tolist() == [*range(15), 14]
    assert bins_of(edges.astype(np.float32)).tolist() == [*range(15), 14]
    assert bins_of(edges[1:] - 1e-6).tolist() == list(range(15))


def test_states_with_different_terms_do_not_add() -> None:
    with pytest.raises(ValueError, match="were not kept"):
        ImageSums(valid=1, terms={FOCAL: (1.0, 2.0)}) + ImageSums(valid=1)


@given(st.lists(images, max_size=8), st.randoms(use_true_random=False))
def test_the_total_does_not_depend_on_the_order(
    rows: list[ImageSums], random: Random
) -> None:
    shuffled = rows.copy()
    random.shuffle(shuffled)
    first, second = SumsTable.of(rows).total, SumsTable.of(shuffled).total
    for name in PLAIN:
        assert np.array_equal(getattr(first, name), getattr(second, name))
    assert all(
        np.array_equal(*pair)
        for pair in zip(
            first.terms.get(FOCAL, ()), second.terms.get(FOCAL, ()), strict=True
        )
    )


def test_counts_stay_integers_and_soft_targets_do_not() -> None:
    hard = SumsTable.of([ImageSums(valid=2**53 + 1, changed=1), ImageSums(valid=1)])
    assert hard.total.valid.tolist() == [2**53 + 2]
    assert not hard.soft
    assert SumsTable.of([ImageSums(valid=3, changed=1.5), ImageSums()]).soft


def test_an_image_without_valid_pixels_needs_no_terms() -> None:
    table = SumsTable.of(
        [ImageSums(ignored=4), ImageSums(valid=1, terms={FOCAL: (1, 2)})]
    )
    assert [column.tolist() for column in table.term(FOCAL)] == [[0, 1], [0, 2]]
    assert SumsTable.of([ImageSums()]).term(FOCAL)[0].tolist() == [0]
    with pytest.raises(ValueError, match="were not kept"):
        table.term(Term("boundary"))


def test_soft_confusion_counts_follow_from_the_sums() -> None:
    image = ImageSums(valid=10, changed=4, prob_changed_sum=3.5, false_sum=1.5)
    table = SumsTable.of([image])
    assert table.prob_changed_sum[0] == image.prob_changed_sum == 3.5
    assert table.prob_sum[0] == image.prob_sum == 5.0
    assert table.rejected_prob[0] == 4.5
    assert table.prior == 0.4
    assert math.isnan(SumsTable.of([]).prior)


def test_a_quotient_by_zero_is_nan_without_a_warning() -> None:
    assert np.isnan(quotient(np.array([1.0, 0.0]), np.array([0, 0]))).all()


@pytest.mark.parametrize("changed", [True, False])
def test_cross_entropy_agrees_with_torch(changed: bool) -> None:
    probs = torch.tensor(PROBS)
    target = torch.full_like(probs, float(changed))
    expected = functional.binary_cross_entropy(probs, target, reduction="none")
    ours = cross_entropy(PROBS, changed=changed)
    assert ours == pytest.approx(expected.numpy(), rel=1e-15, abs=0)
    assert not np.signbit(ours).any()


@pytest.mark.parametrize("changed", [True, False])
@pytest.mark.parametrize("term", ALL_TERMS, ids=str)
def test_terms_are_finite_and_equal_in_torch(term: Term, changed: bool) -> None:
    ours = term.per_pixel(PROBS, changed=changed)
    theirs = term.per_pixel(torch.tensor(PROBS), changed=changed, xp=torch)
    assert np.isfinite(ours).all()
    assert (ours >= 0).all()
    assert ours == pytest.approx(theirs.numpy(), rel=1e-12, abs=0)


def test_terms_have_the_values_of_their_formulas() -> None:
    p = np.array([0.3])
    expected = {
        (FOCAL, True): -(0.7**2) * math.log(0.3),
        (FOCAL, False): -(0.3**2) * math.log(0.7),
        (Term("opposite_ce"), True): -math.log(0.7),
        (Term("ce_power", (0.3,)), False): (-math.log(0.7)) ** 0.3,
        (Term("asl", (1, 4, 0.05)), True): -0.7 * math.log(0.3),
        (Term("asl", (1, 4, 0.05)), False): -(0.25**4) * math.log(0.75),
        (Term("asl", (1, 4, 0.5)), False): 0,
    }
    for (term, changed), value in expected.items():
        assert term.per_pixel(p, changed=changed) == pytest.approx(value, rel=1e-14)


@settings(max_examples=50)
@given(st.floats(1e-6, 1 - 1e-6), st.floats(0, 3), st.floats(0.001, 0.999))
def test_logit_adjustment_is_the_cross_entropy_of_the_adjusted_probability(
    p: float, tau: float, pi: float
) -> None:
    adjusted = p * pi**tau / (p * pi**tau + (1 - p) * (1 - pi) ** tau)
    term = Term("logit_adjusted", (tau, pi))
    for changed, right in ((True, adjusted), (False, 1 - adjusted)):
        value = term.per_pixel(np.array([p]), changed=changed)[0]
        assert math.exp(-value) == pytest.approx(right, rel=1e-9, abs=1e-12)


def test_a_term_is_a_key_that_travels_between_processes() -> None:
    assert {pickle.loads(pickle.dumps(FOCAL)): 1}[Term("focal", (2,))] == 1  # noqa: S301


def test_a_term_of_positions_has_no_value_of_one_pixel() -> None:
    term = Term("boundary")
    assert term.needs_positions
    assert not FOCAL.needs_positions
    with pytest.raises(ValueError, match="needs the positions"):
        term.per_pixel(PROBS, changed=True)
