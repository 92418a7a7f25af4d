"""Metrics from confusion counts."""

from __future__ import annotations

from decimal import Decimal, localcontext
from fractions import Fraction
from typing import TYPE_CHECKING

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cdstats.core.metrics import (
    F1,
    IOU,
    KAPPA,
    MCC,
    MEAN_F1,
    OVERALL_ACCURACY,
    PRECISION,
    RECALL,
    SPECIFICITY,
    Confusion,
    metric_values,
    metrics_of,
)
from cdstats.core.score_records import DatasetScore
from cdstats.score.measures import choose_measures

if TYPE_CHECKING:
    from random import Random

counts = st.integers(0, 10**12)
confusions = st.builds(Confusion, counts, counts, counts, counts)


@given(confusions)
def test_kappa_is_agreement_beyond_chance(c: Confusion) -> None:
    n = c.tp + c.fp + c.fn + c.tn
    if n == 0:
        assert KAPPA.of(c) is None
        return
    chance = Fraction(
        (c.tp + c.fp) * (c.tp + c.fn) + (c.fn + c.tn) * (c.fp + c.tn), n * n
    )
    if chance == 1:
        assert KAPPA.of(c) is None
    else:
        expected = (Fraction(c.tp + c.tn, n) - chance) / (1 - chance)
        assert KAPPA.of(c) == float(expected)


@given(confusions)
def test_f1_is_the_harmonic_mean_of_precision_and_recall(c: Confusion) -> None:
    precision, recall, f1 = PRECISION.of(c), RECALL.of(c), F1.of(c)
    if precision and recall and f1:
        assert f1 == pytest.approx(2 / (1 / precision + 1 / recall), rel=1e-12)
        assert IOU.of(c) == pytest.approx(f1 / (2 - f1), rel=1e-12)


@given(confusions)
def test_mcc_is_exact_for_counts_of_any_size(c: Confusion) -> None:
    spread = (c.tp + c.fp) * (c.tp + c.fn) * (c.tn + c.fp) * (c.tn + c.fn)
    if not spread:
        assert MCC.of(c) is None
        return
    agreement = c.tp * c.tn - c.fp * c.fn
    with localcontext(prec=60):
        right = Decimal(agreement) / Decimal(spread).sqrt()
    assert MCC.of(c) == pytest.approx(float(right), rel=1e-15, abs=0)


@given(confusions)
def test_specificity_is_the_recall_of_the_unchanged_class(c: Confusion) -> None:
    assert SPECIFICITY.of(c) == RECALL.of(c.of_unchanged)


@given(st.lists(confusions, min_size=1))
def test_a_formula_gives_the_same_for_integers_and_for_arrays(
    images: list[Confusion],
) -> None:
    columns = ([getattr(c, n) for c in images] for n in ("tp", "fp", "fn", "tn"))
    arrays = Confusion(*(np.array(column, dtype=float) for column in columns))
    for metric in metrics_of(DatasetScore).values():
        alone = [np.nan if (v := metric.of(c)) is None else v for c in images]
        assert metric.formula(arrays) == pytest.approx(alone, abs=1e-9, nan_ok=True)


def test_the_counts_of_the_complement_are_those_of_the_other_prediction() -> None:
    rng = np.random.default_rng(5)
    target, predicted = rng.random(100) < 0.2, rng.random(100) < 0.3

    def counts(guess: np.ndarray) -> Confusion:
        pairs = ((guess, target), (guess, ~target), (~guess, target))
        return Confusion(*(int((a & b).sum()) for a, b in (*pairs, (~guess, ~target))))

    assert counts(predicted).of_complement == counts(~predicted)


def test_every_metric_of_a_dataset_is_compared() -> None:
    names = [one.name for one in choose_measures({}, soft=False, curves=False)]
    assert sorted(names) == sorted([*metrics_of(DatasetScore), "ece"])


@given(st.lists(confusions), st.randoms(use_true_random=False))
def test_the_order_of_images_is_irrelevant(
    images: list[Confusion], random: Random
) -> None:
    shuffled = images.copy()
    random.shuffle(shuffled)
    assert metric_values(DatasetScore, images) == metric_values(DatasetScore, shuffled)


@pytest.mark.parametrize(
    ("confusion", "undefined"),
    [
        pytest.param(
            Confusion(),
            {"precision", "recall", "f1", "iou", "oa", "kappa", "mf1", "mcc"}
            | {"specificity"},
            id="no-pixel",
        ),
        pytest.param(
            Confusion(tn=9),
            {"precision", "recall", "f1", "iou", "kappa", "mf1", "mcc"},
            id="no-change-none-predicted",
        ),
        pytest.param(
            Confusion(fp=2, tn=7), {"recall", "mcc"}, id="no-change-but-predicted"
        ),
        pytest.param(
            Confusion(fn=2, tn=7), {"precision", "mcc"}, id="nothing-predicted"
        ),
        pytest.param(
            Confusion(tp=9),
            {"kappa", "mf1", "mcc", "specificity"},
            id="all-changed-and-found",
        ),
    ],
)
def test_a_metric_without_denominator_is_none(
    confusion: Confusion, undefined: set[str]
) -> None:
    named = {
        "precision": PRECISION,
        "recall": RECALL,
        "f1": F1,
        "iou": IOU,
        "oa": OVERALL_ACCURACY,
        "kappa": KAPPA,
        "mf1": MEAN_F1,
        "mcc": MCC,
        "specificity": SPECIFICITY,
    }
    assert {n for n, one in named.items() if one.of(confusion) is None} == undefined


def test_the_means_of_images_say_which_images_they_hold() -> None:
    images = [Confusion(1, 0, 1, 2), Confusion(0, 1, 0, 3), Confusion(0, 0, 0, 4)]
    found = metric_values(DatasetScore, images)
    assert found["f1_image_mean"] == pytest.approx((2 / 3 + 0) / 2)
    assert found["f1_image_mean_nonempty"] == pytest.approx(2 / 3)
    assert found["f1_pooled"] == 0.5
    assert found["iou_image_mean"] == 0.25


def test_no_image_gives_no_metric() -> None:
    assert set(metric_values(DatasetScore, []).values()) == {None}
