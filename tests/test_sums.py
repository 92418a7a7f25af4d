"""The additive states and the terms of one pixel."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.nn import functional

from cdstats.core.pixel_terms import Term, cross_entropy
from cdstats.core.sums import BINS, PLAIN, ImageSums, SumsTable, bins_of

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


def test_the_calibration_error_is_the_mean_distance_over_bins() -> None:
    misses = (2.0, -1.0, *[0.0] * 12, 3.0)
    rows = [ImageSums(valid=10, calibration=misses), ImageSums(valid=10)]
    assert SumsTable.of(rows).calibration_error.tolist() == [0.6, 0]
    opposite = ImageSums(valid=10, calibration=(-2.0, *[0.0] * 14))
    # Misses of one bin cancel over images: the error is that of the pooled pixels.
    total = SumsTable.of([*rows, opposite]).total
    assert total.calibration_error.tolist() == [pytest.approx(4 / 30)]


@pytest.mark.parametrize("scale", [15, 255, 65535])
def test_an_edge_belongs_to_the_bin_above_it(scale: int) -> None:
    edges = np.arange(16) * (scale // 15) / scale
    assert bins_of(edges).tolist() == [*range(15), 14]
    assert bins_of(edges.astype(np.float32)).tolist() == [*range(15), 14]
    assert bins_of(edges[1:] - 1e-6).tolist() == list(range(15))


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
    with pytest.raises(ValueError, match="were not computed"):
        table.term(Term("boundary"))


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
