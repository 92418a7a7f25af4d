"""Rows behind the figures of predictions."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import cdstats
from cdstats.core.charts import (
    CLASS_MEAN,
    PLAIN,
    beta_losses,
    calibration_bins,
    epoch_scores,
    threshold_scores,
    worst_images,
)
from cdstats.core.curves import Curve
from cdstats.core.histogram import LevelCounts
from cdstats.core.metrics import F1, Confusion
from cdstats.core.score_records import (
    DatasetScore,
    Place,
    ScoreRecord,
    failed_record,
)
from cdstats.score.results import LossRun

PROBS = st.lists(st.floats(0, 1), max_size=40)


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> LossRun:
    """Two models on two masks."""
    folder = tmp_path_factory.mktemp("scores")
    generator = np.random.default_rng(0)
    for name in ("masks", "net1", "net2"):
        (folder / name).mkdir()
    for image in range(2):
        mask = generator.random((8, 9)) < 0.3
        np.save(folder / f"masks/{image}.npy", mask.astype(np.uint8))
        for model in ("net1", "net2"):
            probs = generator.random((8, 9)).astype(np.float32)
            np.save(folder / f"{model}/{image}.npy", probs)
    models = [str(folder / "net1"), str(folder / "net2")]
    return cdstats.loss(models, folder / "masks", histograms=True)


def curve_of(changed: Any, unchanged: Any) -> Curve:
    levels = LevelCounts.of(changed, unchanged)
    return Curve.of(levels.values, levels.changed, levels.unchanged)


def images(run: LossRun, model: str) -> list[ScoreRecord]:
    return [row for row in run.images if row.model == model]


def test_the_marks_of_beta_are_bce_and_the_class_mean(run: LossRun) -> None:
    for model in run.models:
        name = model.dataset.model
        marks = {row.mark: row for row in beta_losses(name, images(run, name))}
        plain = marks[PLAIN].weighted_mean
        assert plain == pytest.approx(model.dataset.bce_mean, rel=1e-12)
        mean = marks[CLASS_MEAN].weighted_mean
        assert mean == pytest.approx(model.dataset.class_mean_bce, rel=1e-12)


def test_the_ends_of_beta_are_the_means_of_the_classes(run: LossRun) -> None:
    rows = images(run, "net1")
    first, *_, last = beta_losses("net1", rows)
    sums = [row.sums for row in rows]
    changed = sum(s.ce_changed_sum for s in sums) / sum(s.changed for s in sums)
    unchanged = sum(s.ce_unchanged_sum for s in sums)
    unchanged /= sum(s.valid - s.changed for s in sums)
    assert (first.beta, last.beta) == (0, 1)
    assert first.weighted_mean == pytest.approx(unchanged, rel=1e-12)
    assert last.weighted_mean == pytest.approx(changed, rel=1e-12)


def test_a_model_of_one_class_has_no_line_over_beta(run: LossRun) -> None:
    one = replace(images(run, "net1")[0], changed=0)
    assert beta_losses("net1", [one]) == []


@given(PROBS, PROBS)
def test_scores_at_thresholds_are_those_of_the_probabilities(
    changed: list[float], unchanged: list[float]
) -> None:
    c, u = np.array(changed), np.array(unchanged)
    for row in threshold_scores("m", curve_of(c, u))[::97]:
        hits = (c >= row.threshold).sum(), (u >= row.threshold).sum()
        assert (row.tp, row.fp) == hits
        assert (row.fn, row.tn) == (c.size - hits[0], u.size - hits[1])
        assert row.f1 == F1.of(Confusion(row.tp, row.fp, row.fn, row.tn))


@given(PROBS, PROBS)
def test_bins_of_calibration_hold_every_pixel_once(
    changed: list[float], unchanged: list[float]
) -> None:
    c, u = np.array(changed), np.array(unchanged)
    rows = calibration_bins("m", curve_of(c, u))
    assert sum(row.changed for row in rows) == c.size
    assert sum(row.pixels for row in rows) == c.size + u.size
    for row in rows:
        last = row.high == 1
        inside = [
            p for p in (*c, *u) if row.low <= p and (p < row.high or (last and p == 1))
        ]
        assert row.pixels == len(inside)
        if inside:
            assert row.mean_probability == pytest.approx(np.mean(inside), abs=1e-9)


def test_the_best_threshold_gives_the_best_f1_of_all() -> None:
    generator = np.random.default_rng(1)
    levels = curve_of(generator.random(50) ** 0.5, generator.random(200))
    rows = threshold_scores("m", levels)
    assert levels.best is not None
    f1, threshold = levels.best
    assert threshold is not None
    assert f1 == max(row.f1 for row in rows if row.f1 is not None)
    chosen = next(row for row in rows if row.threshold >= threshold)
    assert chosen.f1 == f1


def test_curves_without_changed_pixels_are_undefined() -> None:
    levels = curve_of(np.array([]), np.array([0.5]))
    assert (levels.average_precision, levels.best) == (None, None)


def named(run: LossRun, *names: str) -> list[DatasetScore]:
    return [replace(run.models[0].dataset, model=name) for name in names]


def test_epochs_are_in_the_order_of_their_numbers(run: LossRun) -> None:
    rows = epoch_scores(named(run, "v2_epoch10", "v2_epoch9", "other", "v2_epoch100"))
    assert [row.number for row in rows] == [9, 10, 100]
    assert {row.series for row in rows} == {"v2_epoch#"}


def test_models_that_differ_elsewhere_are_series_of_their_own(run: LossRun) -> None:
    rows = epoch_scores(named(run, "a1", "b1", "a2", "b2", "c7"))
    assert [(row.series, row.number) for row in rows] == [
        ("a#", 1),
        ("a#", 2),
        ("b#", 1),
        ("b#", 2),
    ]


def test_a_number_that_occurs_twice_makes_no_series(run: LossRun) -> None:
    assert epoch_scores(named(run, "e01", "e1")) == []


def test_the_worst_images_have_the_largest_share_of_wrong_pixels(run: LossRun) -> None:
    rows = images(run, "net1")
    failed = failed_record(Place("x", "y", "net1"), "broken")
    worst = worst_images("net1", [failed, *rows], 1)
    shares = {r.pred: (r.confusion.fp + r.confusion.fn) / r.sums.valid for r in rows}
    assert [(one.rank, one.wrong_share) for one in worst] == [(1, max(shares.values()))]
    assert shares[worst[0].pred] == max(shares.values())


def test_an_image_without_a_wrong_pixel_is_not_among_the_worst(run: LossRun) -> None:
    row = replace(images(run, "net1")[0], fp=0, fn=0)
    assert worst_images("net1", [row], 5) == []
