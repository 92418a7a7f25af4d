"""The statistics of `cdstats.compare`, each beside an independent computation."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from hypothesis import strategies as st

import cdstats
from cdstats.core.errors import DataError, UsageError
from cdstats.core.score_records import ScoreRecord
from cdstats.core.sums import SumsTable
from cdstats.score.measures import Resampling, choose_measures, measure_model
from cdstats.score.results import choose_losses, result_of_rows

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from cdstats.score.comparison import Comparison

    Array = NDArray[Any]

FURTHER = ["dice", "focal:gamma=1", "lovasz_softmax", "tversky", "brier"]
SEED = 7


# Average precision and the best F1


def sorted_average_precision(p: Array, y: Array) -> float:
    """From pixels, one threshold after the other."""
    total, recall = 0.0, 0.0
    for threshold in sorted(set(p.tolist()), reverse=True):
        chosen = p >= threshold
        tp = int((chosen & (y == 1)).sum())
        now = tp / int((y == 1).sum())
        total += (now - recall) * tp / int(chosen.sum())
        recall = now
    return total


pixels = st.lists(
    st.tuples(st.integers(0, 255), st.booleans()), min_size=1, max_size=60
).filter(lambda found: any(changed for _, changed in found))


# Models on disk


def write(root: Path, images: int, models: Sequence[str] = ("a", "b")) -> None:
    """Masks of 0 and 1, one without change, and probabilities of each model."""
    random = np.random.default_rng(SEED)
    for folder in ("masks", *models):
        (root / folder).mkdir()
    for number in range(images):
        y = random.random((9, 7)) < (0 if number == 1 else random.random())
        np.save(root / f"masks/{number}.npy", y.astype(np.uint8))
        for place, model in enumerate(models):
            noise = random.normal(0, 0.25 + 0.1 * place, y.shape)
            p = np.clip(0.2 + 0.6 * y + noise, 0, 1).astype(np.float32)
            np.save(root / model / f"{number}.npy", p)


@pytest.fixture
def few(tmp_path: Path) -> Path:
    """Two models and six images; the pattern of models does not fit the masks."""
    (tmp_path / "runs").mkdir()
    write(tmp_path / "runs", 6)
    (tmp_path / "runs/masks").rename(tmp_path / "masks")
    return tmp_path


def of_few(few: Path, **options: Any) -> Comparison:
    pattern = f"{few}/runs/{{model}}/{{}}.npy"
    return cdstats.compare(pattern, f"{few}/masks", **options)


def plain_f1(rows: Sequence[ScoreRecord]) -> float:
    tp, fp, fn = (sum(getattr(r, n) for r in rows) for n in ("tp", "fp", "fn"))
    return float(2 * tp / (2 * tp + fp + fn)) if tp + fp + fn else math.nan


def plain_bce(rows: Sequence[ScoreRecord]) -> float:
    return sum(r.bce_sum or 0 for r in rows) / sum(
        (r.changed or 0) + (r.unchanged or 0) for r in rows
    )


def plain_image_mean(rows: Sequence[ScoreRecord]) -> float:
    defined = [r.f1 for r in rows if r.f1 is not None]
    return sum(defined) / len(defined) if defined else math.nan


@pytest.mark.parametrize("confidence", [0.95, 0.8])
@pytest.mark.parametrize(
    ("name", "statistic"),
    [
        ("f1_pooled", plain_f1),
        ("bce_mean", plain_bce),
        ("f1_image_mean", plain_image_mean),
    ],
)
def test_intervals_are_those_of_scipy_on_the_same_draws(
    few: Path, name: str, statistic: Any, confidence: float
) -> None:
    from scipy.stats import bootstrap

    run = of_few(few, resamples=400, confidence=confidence, seed=3)
    rows = {m: [row for row in run.images if row.model == m] for m in ("a", "b")}

    def difference(drawn: Array) -> float:
        one, two = ([rows[m][i] for i in drawn.astype(int)] for m in ("a", "b"))
        return float(statistic(two) - statistic(one))

    expected = bootstrap(
        (np.arange(6),),
        difference,
        paired=True,
        vectorized=False,
        n_resamples=400,
        method="percentile",
        confidence_level=confidence,
        rng=np.random.default_rng(3),
    )
    found = run.models[1].compared[name].to_first
    assert found is not None
    assert found.difference is not None
    assert found.undefined == 0
    ends = (expected.confidence_interval.low, expected.confidence_interval.high)
    assert (found.low, found.high) == pytest.approx(ends, rel=1e-9)
    every = expected.bootstrap_distribution
    same = np.mean(np.sign(every) == np.sign(found.difference))
    assert found.same_sign == pytest.approx(float(same))
    both = (plain_value(run, 1, name), plain_value(run, 0, name))
    assert found.difference == both[0] - both[1]


def plain_value(run: Comparison, place: int, name: str) -> float:
    value = run.models[place].compared[name].value
    assert value is not None
    return value


def test_a_model_measures_what_loss_says(few: Path) -> None:
    run = of_few(few, losses=FURTHER)
    alone = cdstats.loss(
        f"{few}/runs/b", f"{few}/masks", losses=FURTHER, histograms=True
    )
    score, model = alone.models[0].dataset, run.models[1]
    for name in ("precision_pooled", "f1_image_mean", "mf1_pooled", "oa", "kappa"):
        assert model.compared[name].value == getattr(score, name)
    for name in ("bce_mean", "balanced_ce_mean", "class_mean_bce"):
        assert model.compared[name].value == getattr(score, name)
    by_name = {one.loss: one for one in alone.models[0].losses}
    assert model.compared["dice[smooth=1]_pooled"].value == by_name["dice"].pooled
    found = model.compared["lovasz_softmax[classes=foreground]_image_mean"].value
    assert found == pytest.approx(by_name["lovasz_softmax"].image_mean, rel=1e-14)
    assert run.models[0].compared["bce_mean"].to_first is None


def test_a_resample_is_measured_as_its_images_would_be(few: Path) -> None:
    losses = choose_losses(FURTHER, "image")
    named = {one.label: one for one in losses}
    rows = list(cdstats.loss(f"{few}/runs/a", f"{few}/masks", losses=FURTHER).images)

    def measured(some: Sequence[ScoreRecord]) -> Any:
        table = SumsTable.of([row.sums for row in some])
        results = {n: (o, result_of_rows(o, table, some)) for n, o in named.items()}
        return measure_model("a", some, results, None, None, 0.5)

    model = measured(rows)
    for draws in Resampling(20, seed=1).draws(len(rows)):
        totals = dict(zip(model.columns, (draws @ model.stacked).T, strict=True))
        for number, draw in enumerate(draws.astype(int)):
            drawn = [
                row for row, times in zip(rows, draw, strict=True) for _ in range(times)
            ]
            expected = measured(drawn).values
            for measure in choose_measures(named, soft=False, curves=False):
                value = expected[measure.name]
                found = float(measure.of(totals)[number])
                wanted = math.nan if value is None else value
                assert found == pytest.approx(wanted, rel=1e-10, abs=1e-12, nan_ok=True)


def test_average_precision_and_its_resamples_are_those_of_the_pixels(
    few: Path,
) -> None:
    run = of_few(few, resamples=50, seed=2)
    masks = [np.load(few / f"masks/{n}.npy").ravel() for n in range(6)]
    probs: dict[str, list[Array]] = {
        m: [np.load(few / f"runs/{m}/{n}.npy").ravel() for n in range(6)]
        for m in ("a", "b")
    }

    def of_drawn(model: str, drawn: Sequence[int]) -> float:
        p = np.concatenate([probs[model][n] for n in drawn])
        return sorted_average_precision(p, np.concatenate([masks[n] for n in drawn]))

    for place, model in enumerate(("a", "b")):
        expected = of_drawn(model, range(6))
        assert plain_value(run, place, "average_precision") == pytest.approx(expected)
    random = np.random.default_rng(2)
    drawn = random.integers(0, 6, (50, 6))
    each = [of_drawn("b", one) - of_drawn("a", one) for one in drawn.tolist()]
    found = run.models[1].compared["average_precision"].to_first
    assert found is not None
    ends = np.quantile(each, [0.025, 0.975])
    assert (found.low, found.high) == pytest.approx(tuple(ends), abs=1e-3)


def test_the_best_threshold_gives_its_f1_when_it_is_used(few: Path) -> None:
    run = of_few(few)
    for model in run.models:
        threshold = model.best_threshold_in_sample
        assert threshold is not None
        again = cdstats.loss(
            f"{few}/runs/{model.model}", f"{few}/masks", threshold=threshold
        )
        best = model.compared["best_f1_in_sample"].value
        assert best == pytest.approx(again.models[0].dataset.f1_pooled, rel=1e-14)
        assert best is not None
        assert best >= plain_value(run, run.models.index(model), "f1_pooled")


def test_a_model_differs_from_its_copy_by_nothing(few: Path) -> None:
    named = [f"one={few}/runs/a", f"two={few}/runs/a"]
    run = cdstats.compare(named, f"{few}/masks", losses=FURTHER, resamples=100)
    for name, one in run.models[1].compared.items():
        assert one.to_first is not None, name
        assert (one.to_first.difference, one.to_first.low, one.to_first.high) == (
            0,
            0,
            0,
        )


def test_a_seed_makes_the_same_intervals_and_another_one_others(few: Path) -> None:
    first, again, other = (of_few(few, seed=seed, resamples=200) for seed in (1, 1, 2))
    assert first.models == again.models
    assert first.models[1].compared["bce_mean"] != other.models[1].compared["bce_mean"]


def test_the_draws_do_not_depend_on_how_many_are_held(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    whole = np.concatenate(list(Resampling(30, seed=4).draws(11)))
    monkeypatch.setattr("cdstats.score.measures._CHUNK", 40)
    parts = list(Resampling(30, seed=4).draws(11))
    assert len(parts) == 10
    np.testing.assert_array_equal(np.concatenate(parts), whole)
    assert (whole.sum(1) == 11).all()


def test_a_measure_that_most_resamples_lack_has_no_interval() -> None:
    drawn = np.where(np.arange(100) < 30, np.nan, 0.5)
    found = Resampling(100).difference(0.5, 0.25, drawn, np.full(100, 0.25))
    assert (found.difference, found.low, found.high, found.undefined) == (
        *(0.25, None, None),
        30,
    )
    few = np.where(np.arange(100) < 3, np.nan, 0.5)
    found = Resampling(100).difference(0.5, 0.25, few, np.full(100, 0.25))
    assert (found.low, found.high, found.same_sign, found.undefined) == (
        0.25,
        0.25,
        1,
        3,
    )


def test_one_image_has_no_interval(tmp_path: Path) -> None:
    write(tmp_path, 1)
    named = [f"{model}={tmp_path / model}" for model in ("a", "b")]
    run = cdstats.compare(named, f"{tmp_path}/masks")
    found = run.models[1].compared["bce_mean"].to_first
    assert found is not None
    assert (found.low, found.high, found.same_sign) == (None, None, None)
    assert any("a single image gives no interval" in m.text for m in run.messages)


def test_soft_targets_are_compared_by_losses_alone(tmp_path: Path) -> None:
    write(tmp_path, 4)
    for path in (tmp_path / "masks").iterdir():
        np.save(path, 0.1 + 0.8 * np.load(path).astype(np.float64))
    named = [f"{model}={tmp_path / model}" for model in ("a", "b")]
    run = cdstats.compare(named, f"{tmp_path}/masks", resamples=50)
    assert {name.partition("_")[0] for name in run.measures} == {
        "bce",
        "balanced",
        "class",
        "ece",
    }
    found = run.models[1].compared["class_mean_bce"].to_first
    assert found is not None
    assert found.low is not None
    assert any("soft targets" in message.text for message in run.messages)


def test_balanced_loss_of_the_dataset_keeps_its_beta_in_every_resample(
    few: Path,
) -> None:
    run = of_few(few, beta="dataset", resamples=30, seed=5)
    rows = {m: [r for r in run.images if r.model == m] for m in ("a", "b")}
    drawn = np.random.default_rng(5).integers(0, 6, (30, 6))

    def mean(model: str, some: Sequence[int]) -> float:
        total = sum(rows[model][i].balanced_ce_sum or 0 for i in some)
        return total / (63 * 6)

    each = [mean("b", one) - mean("a", one) for one in drawn.tolist()]
    found = run.models[1].compared["balanced_ce_mean"].to_first
    assert found is not None
    expected = tuple(np.quantile(each, [0.025, 0.975]))
    assert (found.low, found.high) == pytest.approx(expected)


# Which images are compared, and where models differ


def test_images_where_models_differ_most_come_first(few: Path) -> None:
    run = of_few(few, measures=["iou"])
    rows = {m: {r.target: r.iou for r in run.images if r.model == m} for m in "ab"}

    def spread(target: str) -> float:
        one, two = rows["a"][target], rows["b"][target]
        return -1 if one is None or two is None else abs(one - two)

    expected = sorted(rows["a"], key=spread, reverse=True)
    assert [one.target for one in run.differing] == expected
    first = run.differing[0]
    assert first.spread == spread(first.target)
    assert first.values == {m: rows[m][first.target] for m in "ab"}
    assert first.values[first.highest] > first.values[first.lowest]  # type: ignore[operator]


def test_a_stack_that_fails_is_told_with_its_reason(tmp_path: Path) -> None:
    random = np.random.default_rng(SEED)
    for name, images in (("masks", 4), ("a", 4), ("b", 3)):
        (tmp_path / name).mkdir()
        values = random.random((images, 5, 5))
        stack = (values < 0.3).astype(np.uint8) if name == "masks" else values
        np.save(tmp_path / f"{name}/all.npy", stack)
    named = [f"a={tmp_path}/a", f"b={tmp_path}/b"]
    with pytest.raises(DataError, match=r"b lacks 4 of 4.*holds 3 images but"):
        cdstats.compare(named, f"{tmp_path}/masks")


def test_models_that_share_no_image_are_not_compared(few: Path) -> None:
    for model, numbers in (("a", range(3)), ("b", range(3, 6))):
        for number in numbers:
            (few / f"runs/{model}/{number}.npy").unlink()
    with pytest.raises(DataError, match="a, b: share no image to compare"):
        of_few(few, common=True)


@pytest.mark.parametrize("kind", [None, "logit"])
def test_every_loss_of_the_catalogue_is_compared(few: Path, kind: str | None) -> None:
    run = of_few(few, losses=["all"], resamples=20, kind=kind)
    alone = cdstats.loss(f"{few}/runs/a", f"{few}/masks", losses=["all"], kind=kind)
    names = {one.loss for one in alone.models[0].losses}
    assert len(names) > 20
    labels = {name.partition("[")[0] for name in run.asked}
    basic = ("bce", "balanced_ce", "class_mean_bce")
    assert all(any(label.startswith(n) for label in labels) for n in names - {*basic})


def test_the_baseline_comes_first(few: Path) -> None:
    run = of_few(few, baseline="b", resamples=20)
    assert [model.model for model in run.models] == ["b", "a"]
    with pytest.raises(UsageError, match='baseline="c": no such model; models: a, b'):
        of_few(few, baseline="c")


def test_crops_of_one_mask_are_told_apart(tmp_path: Path) -> None:
    random = np.random.default_rng(SEED)
    (tmp_path / "masks").mkdir()
    np.save(tmp_path / "masks/s.npy", (random.random((8, 8)) < 0.4).astype(np.uint8))
    for model in ("a", "b"):
        (tmp_path / f"runs/{model}").mkdir(parents=True)
        for y, x in ((0, 0), (0, 4), (4, 0), (4, 4)):
            np.save(tmp_path / f"runs/{model}/s_{y}_{x}.npy", random.random((4, 4)))
    pattern = f"{tmp_path}/runs/{{model}}/{{}}_{{y}}_{{x}}.npy"
    run = cdstats.compare(pattern, f"{tmp_path}/masks/{{}}.npy", resamples=20)
    assert run.models[0].images == 4
    assert {one.part for one in run.differing} == {
        f"{{model}}/s_{y}_{x}.npy" for y in (0, 4) for x in (0, 4)
    }
    (tmp_path / "runs/a/s_0_0.npy").unlink()
    (tmp_path / "runs/b/s_4_4.npy").unlink()
    with pytest.raises(DataError, match=r"a lacks 1 of 4 images .*row 0, column 0"):
        cdstats.compare(pattern, f"{tmp_path}/masks/{{}}.npy")


# From the rows of an earlier run


def test_rows_of_other_pixels_are_refused(few: Path) -> None:
    from cdstats.core.score_records import SCORE_COLUMNS
    from cdstats.render.table import Table
    from cdstats.render.writers import csv_lines

    images = of_few(few, resamples=1).images
    rows = list(csv_lines(Table.of(ScoreRecord, images, SCORE_COLUMNS)))
    cells = rows[7].split(",")
    cells[4], cells[5] = str(int(cells[4]) + 1), str(int(cells[5]) - 1)
    (few / "rows.csv").write_text("\n".join([*rows[:7], ",".join(cells), *rows[8:]]))
    with pytest.raises(DataError, match=r"0\.npy: models do not score the same pixels"):
        cdstats.compare(from_file=few / "rows.csv")


def test_frames_have_a_column_for_each_measure(few: Path) -> None:
    run = of_few(few, resamples=20)
    table = run.frame()
    assert list(table["model"]) == ["a", "b"]
    assert table["f1_pooled_low"].isna().tolist() == [True, False]
    assert list(run.differing_frame().columns[-2:]) == ["value[a]", "value[b]"]
    assert len(run.image_frame()) == 12


@pytest.mark.parametrize("images", [2, 3, 5])
def test_every_resample_of_few_images_is_made_once(images: int) -> None:
    draws = np.concatenate(list(Resampling(resamples=7).draws(images)))
    assert draws.shape == (images**images, images)
    assert (draws.sum(1) == images).all()
    assert draws.mean(0) == pytest.approx([1.0] * images)
    never = math.factorial(images) / images**images
    assert (draws == 1).all(1).mean() == pytest.approx(never)
