"""Metrics from confusion counts."""

from __future__ import annotations

from dataclasses import asdict
from fractions import Fraction
from typing import TYPE_CHECKING

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cdstats.core.metrics import ChangeMetrics, Confusion

if TYPE_CHECKING:
    from random import Random

counts = st.integers(0, 10**12)
confusions = st.builds(Confusion, counts, counts, counts, counts)


@given(confusions)
def test_kappa_is_agreement_beyond_chance(c: Confusion) -> None:
    n = c.tp + c.fp + c.fn + c.tn
    if n == 0:
        assert c.kappa is None
        return
    chance = Fraction(
        (c.tp + c.fp) * (c.tp + c.fn) + (c.fn + c.tn) * (c.fp + c.tn), n * n
    )
    if chance == 1:
        assert c.kappa is None
    else:
        expected = (Fraction(c.tp + c.tn, n) - chance) / (1 - chance)
        assert c.kappa == float(expected)


@given(confusions)
def test_f1_is_the_harmonic_mean_of_precision_and_recall(c: Confusion) -> None:
    if c.precision and c.recall and c.f1:
        harmonic = 2 / (1 / c.precision + 1 / c.recall)
        assert c.f1 == pytest.approx(harmonic, rel=1e-12)
        assert c.iou == pytest.approx(c.f1 / (2 - c.f1), rel=1e-12)


@given(st.lists(confusions), st.randoms(use_true_random=False))
def test_the_order_of_images_is_irrelevant(
    images: list[Confusion], random: Random
) -> None:
    shuffled = images.copy()
    random.shuffle(shuffled)
    assert ChangeMetrics.of(images) == ChangeMetrics.of(shuffled)


def test_metrics_agree_with_counting_pixels() -> None:
    rng = np.random.default_rng(3)
    target, predicted = rng.random(1000) < 0.2, rng.random(1000) < 0.3
    c = Confusion(
        int((target & predicted).sum()),
        int((~target & predicted).sum()),
        int((target & ~predicted).sum()),
        int((~target & ~predicted).sum()),
    )
    assert c.precision == pytest.approx(target[predicted].mean())
    assert c.recall == pytest.approx(predicted[target].mean())
    assert c.oa == pytest.approx((target == predicted).mean())
    assert c.iou == (target & predicted).sum() / (target | predicted).sum()
    other = Confusion(c.tn, c.fn, c.fp, c.tp)
    assert c.f1 is not None
    assert other.f1 is not None
    assert c.mf1 == pytest.approx((c.f1 + other.f1) / 2)


@pytest.mark.parametrize(
    ("confusion", "undefined"),
    [
        pytest.param(
            Confusion(),
            {"precision", "recall", "f1", "iou", "oa", "kappa", "mf1"},
            id="no-pixel",
        ),
        pytest.param(
            Confusion(tn=9),
            {"precision", "recall", "f1", "iou", "kappa", "mf1"},
            id="no-change-none-predicted",
        ),
        pytest.param(Confusion(fp=2, tn=7), {"recall"}, id="no-change-but-predicted"),
        pytest.param(Confusion(fn=2, tn=7), {"precision"}, id="nothing-predicted"),
        pytest.param(Confusion(tp=9), {"kappa", "mf1"}, id="all-changed-and-found"),
    ],
)
def test_a_metric_without_denominator_is_none(
    confusion: Confusion, undefined: set[str]
) -> None:
    names = ("precision", "recall", "f1", "iou", "oa", "kappa", "mf1")
    assert {name for name in names if getattr(confusion, name) is None} == undefined


def test_the_means_of_images_say_which_images_they_hold() -> None:
    images = [Confusion(1, 0, 1, 2), Confusion(0, 1, 0, 3), Confusion(0, 0, 0, 4)]
    metrics = ChangeMetrics.of(images)
    assert metrics.f1_image_mean == pytest.approx((2 / 3 + 0) / 2)
    assert metrics.f1_image_mean_nonempty == pytest.approx(2 / 3)
    assert metrics.f1_pooled == 0.5


def test_no_image_gives_no_metric() -> None:
    assert set(asdict(ChangeMetrics.of([])).values()) == {None}
