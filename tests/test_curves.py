"""Average precision and best F1 of a run against the sort of all its pixels."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from numpy.typing import NDArray

import cdstats
from cdstats.core.errors import DataError
from cdstats.score import curves
from cdstats.score.levels import (
    CODES,
)

if TYPE_CHECKING:
    from pathlib import Path

    from cdstats.core.curves import Curve

Array = NDArray[Any]
SIDE, IMAGES = 60, 3


def sigmoid(z: Array) -> Array:
    return np.asarray(1 / (1 + np.exp(-z)))


def scores_of(name: str, random: np.random.Generator, y: Array) -> Any:
    """Scores that rank changed pixels higher, of one shape of distribution."""
    z = 2.0 * y - 1 + random.normal(size=y.shape)
    if name == "narrow":
        return np.asarray(0.3 + 1e-4 * sigmoid(z), dtype=np.float32)
    if name == "sure":
        return sigmoid(14 + 2 * z).astype(np.float32)
    if name == "timid":
        return sigmoid(-40 + 9 * z).astype(np.float32)
    if name == "few levels":
        return np.float32(1 / 255) * np.rint(255 * sigmoid(z)).astype(np.float32)
    if name == "jittered levels":
        levels = np.rint(50 * sigmoid(z)).astype(np.float32) / 50
        steps = random.integers(0, 3, y.shape)
        return np.where(steps > 0, np.nextafter(levels, np.float32(0.5)), levels)
    if name == "float64":
        return sigmoid(30 + 3 * z)
    if name == "saturated":
        return np.clip(sigmoid(3 * z) * 1.2 - 0.1, 0, 1).astype(np.float32)
    return sigmoid(z).astype(name)


def write(folder: Path, name: str, seed: int = 0) -> tuple[Array, Array]:
    """Masks and one model on disk; all scores and labels."""
    random = np.random.default_rng(seed)
    (folder / "t").mkdir(exist_ok=True)
    (folder / "p").mkdir()
    scores, labels = [], []
    for number in range(IMAGES):
        y = (random.random((SIDE, SIDE)) < 0.2).astype(np.uint8)
        p = scores_of(name, random, y)
        np.save(folder / f"t/{number}.npy", y)
        np.save(folder / f"p/{number}.npy", p)
        scores.append(p.ravel())
        labels.append(y.ravel())
    return np.concatenate(scores), np.concatenate(labels)


def sorted_curve(p: Array, y: Array) -> tuple[float, float]:
    """Average precision and best F1 from all pixels, tied ones together."""
    order = np.argsort(-p, kind="stable")
    last = np.append(np.flatnonzero(np.diff(p[order])), p.size - 1)
    tp = y[order].cumsum(dtype=np.int64)[last]
    precision, recall = tp / (last + 1), tp / tp[-1]
    area = float(np.sum(np.diff(recall, prepend=0) * precision))
    return area, float((2 * tp / (last + 1 + tp[-1])).max())


def curve_of(folder: Path, **options: Any) -> Curve:
    run = cdstats.loss(folder / "p", folder / "t", histograms=True, **options)
    assert run.curves is not None
    found = run.curves.of(row.place for row in run.images)
    assert found is not None
    return found


SHAPES = (
    *("narrow", "sure", "timid", "few levels", "jittered levels", "saturated"),
    *("float16", "float32", "float64"),
)


@pytest.mark.parametrize("name", SHAPES)
def test_curves_are_those_of_sorted_pixels(name: str, tmp_path: Path) -> None:
    p, y = write(tmp_path, name)
    curve = curve_of(tmp_path)
    area, best = sorted_curve(p, y)
    assert curve.within == 0
    assert curve.within == 0
    assert curve.average_precision == pytest.approx(area, abs=1e-12)
    assert curve.best is not None
    assert curve.best[0] == best
    hit = p >= curve.best[1]
    assert 2 * (hit & (y == 1)).sum() / (hit.sum() + y.sum()) == best
    hit = p >= p.dtype.type(curve.best[1])
    assert 2 * (hit & (y == 1)).sum() / (hit.sum() + y.sum()) == best


@pytest.mark.parametrize("levels", [200, 2000])
@pytest.mark.parametrize("name", ["narrow", "sure", "jittered levels", "float32"])
def test_curves_of_few_levels_are_as_near_as_they_say(
    name: str, levels: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(curves, "_LEVELS", levels)
    p, y = write(tmp_path, name)
    curve = curve_of(tmp_path)
    area, best = sorted_curve(p, y)
    assert curve.average_precision is not None
    assert curve.best is not None
    assert abs(curve.average_precision - area) <= curve.within + 1e-12
    assert curve.best[0] <= best <= max(curve.best[0], curve.reach.max())
    hit = p.astype(float) >= curve.best[1]
    assert 2 * (hit & (y == 1)).sum() / (hit.sum() + y.sum()) == curve.best[0]
    assert len(curve.thresholds) <= max(levels, CODES)


def test_logits_are_ranked_where_their_sigmoid_is_1(tmp_path: Path) -> None:
    random = np.random.default_rng(3)
    for name in ("t", "p"):
        (tmp_path / name).mkdir()
    y = (random.random((SIDE, SIDE)) < 0.3).astype(np.uint8)
    z = (60 + 10 * y + 8 * random.normal(size=y.shape)).astype(np.float32)
    np.save(tmp_path / "t/0.npy", y)
    np.save(tmp_path / "p/0.npy", z)
    curve = curve_of(tmp_path, kind="logit")
    area, best = sorted_curve(z.ravel(), y.ravel())
    assert curve.average_precision == pytest.approx(area, abs=1e-12)
    # No number p lies between these logits.
    assert curve.best == (best, None)


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64"])
@pytest.mark.parametrize(
    ("low", "high"),
    [(-60, -30), (-6, 6), (-1e-3, 1e-3), (10, 20), (15, 30), (36.2, 36.7), (30, 60)],
)
def test_the_best_threshold_of_logits_gives_its_f1(
    low: float, high: float, dtype: str, tmp_path: Path
) -> None:
    random = np.random.default_rng(5)
    for name in ("t", "p"):
        (tmp_path / name).mkdir()
    y = (random.random((SIDE, SIDE)) < 0.3).astype(np.uint8)
    shares = np.clip(random.normal(0.4 + 0.2 * y, 0.15), 0, 1)
    z = (low + (high - low) * shares).astype(dtype)
    np.save(tmp_path / "t/0.npy", y)
    np.save(tmp_path / "p/0.npy", z)
    best = curve_of(tmp_path, kind="logit").best
    assert best is not None
    assert best[0] == sorted_curve(z.ravel(), y.ravel())[1]
    places = tmp_path / "p", tmp_path / "t"
    if best[1] is None:
        assert high > 36
    else:
        run = cdstats.loss(*places, kind="logit", threshold=best[1])
        found = run.models[0].dataset.f1_pooled
        assert found == pytest.approx(best[0], rel=1e-12)


def test_scores_of_0_and_1_have_no_curve(tmp_path: Path) -> None:
    _, y = write(tmp_path, "float32")
    for number, part in enumerate(y.reshape(IMAGES, SIDE, SIDE)):
        np.save(tmp_path / f"p/{number}.npy", part.astype(np.float32))
    run = cdstats.loss(tmp_path / "p", tmp_path / "t", histograms=True)
    assert run.curves is not None
    assert run.curves.of(row.place for row in run.images) is None


def test_images_of_bytes_and_of_floats_have_one_curve(tmp_path: Path) -> None:
    p, y = write(tmp_path, "float32")
    stored = np.rint(p[: SIDE * SIDE] * 255).astype(np.uint8)
    np.save(tmp_path / "p/0.npy", stored.reshape(SIDE, SIDE))
    p = p.astype(float)
    p[: SIDE * SIDE] = stored / 255
    curve = curve_of(tmp_path)
    assert curve.within == 0
    assert curve.average_precision == pytest.approx(sorted_curve(p, y)[0], abs=1e-12)


def test_the_best_f1_is_never_below_that_of_the_threshold_asked_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    p, _y = write(tmp_path, "sure")
    (tmp_path / "p").rename(tmp_path / "a")
    write(tmp_path, "sure")
    monkeypatch.setattr(curves, "_LEVELS", 1)
    order = np.sort(p)
    for threshold in (*order[:: order.size // 3].tolist(), 0.5):
        models = [f"a={tmp_path / 'a'}", f"b={tmp_path / 'p'}"]
        run = cdstats.compare(models, tmp_path / "t", threshold=threshold, resamples=2)
        found = run.models[0].compared
        asked, best = found["f1_pooled"].value, found["best_f1_in_sample"].value
        assert asked is not None
        assert best is not None
        assert best >= asked


def test_a_file_that_is_gone_when_its_curve_is_asked_for_is_told(
    tmp_path: Path,
) -> None:
    write(tmp_path, "narrow")
    run = cdstats.loss(tmp_path / "p", tmp_path / "t", histograms=True)
    (tmp_path / "p/1.npy").unlink()
    assert run.curves is not None
    with pytest.raises(DataError, match=r"1\.npy"):
        run.curves.of(row.place for row in run.images)


# Ranks


def test_pixels_without_a_prediction_rank_last_where_they_count_as_unchanged(
    tmp_path: Path,
) -> None:
    random = np.random.default_rng(4)
    for name in ("t", "p"):
        (tmp_path / name).mkdir()
    y = (random.random((SIDE, SIDE)) < 0.3).astype(np.uint8)
    p = scores_of("float32", random, y)
    np.save(tmp_path / "t/a.npy", y)
    np.save(tmp_path / "p/a_0_0.npy", p[:40])
    pattern = str(tmp_path / "p/{}_{y}_{x}.npy")
    run = cdstats.loss(
        pattern, str(tmp_path / "t/{}.npy"), uncovered="unchanged", histograms=True
    )
    assert run.curves is not None
    curve = run.curves.of(row.place for row in run.images)
    assert curve is not None
    filled = np.where(np.arange(SIDE)[:, None] < 40, p, 0)
    area, best = sorted_curve(filled.ravel(), y.ravel())
    assert curve.average_precision == pytest.approx(area, abs=1e-12)
    assert curve.best is not None
    assert curve.best[0] == best
