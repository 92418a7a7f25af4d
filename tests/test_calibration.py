"""The expected calibration error of every command, against its definition."""

from pathlib import Path

import numpy as np
import pytest
from helpers import run

import cdstats

RULE = ["--changed", "1", "--unchanged", "0", "--ignore", "255"]
DTYPES = ["uint8", "uint16", "float16", "float32", "float64", "bool"]


def expected(probs: list[np.ndarray], labels: list[np.ndarray]) -> float:
    p, y = (np.concatenate([one.ravel() for one in many]) for many in (probs, labels))
    p, y = p[y != 255].astype(np.float64), y[y != 255]
    bins = np.minimum((p * 15).astype(int), 14)
    return float(np.abs(np.bincount(bins, p - y)).sum() / p.size)


def write(folder: Path, dtype: str) -> float:
    random = np.random.default_rng(7)
    probs, labels = [], []
    for name in ("p", "t"):
        (folder / name).mkdir()
    for number in range(3):
        p: np.ndarray = random.random((40, 50 + number)) ** 3
        p[:10], p[10:20] = p[:10] / 20, random.integers(0, 16, p[10:20].shape) / 15
        y = (random.random(p.shape) < p**0.7).astype(np.uint8)
        y[-3:] = 255
        if dtype in ("uint8", "uint16"):
            stored = np.rint(p * np.iinfo(dtype).max).astype(dtype)
            p = stored / np.iinfo(dtype).max
        else:
            stored = (p > 0.5) if dtype == "bool" else p.astype(dtype)
            p = stored
        np.save(folder / f"p/{number}.npy", stored)
        np.save(folder / f"t/{number}.npy", y)
        probs.append(p)
        labels.append(y)
    return expected(probs, labels)


@pytest.mark.parametrize("dtype", DTYPES)
def test_the_error_of_a_set_is_that_of_its_pixels_together(
    dtype: str, tmp_path: Path
) -> None:
    right = write(tmp_path, dtype)
    run = cdstats.loss(
        tmp_path / "p", tmp_path / "t", changed=1, unchanged=0, ignore=255
    )
    assert run.models[0].dataset.ece == pytest.approx(right, rel=1e-6)
    ones = [row.ece or 0 for row in run.images]
    # Misses of a bin may cancel over images, so the mean over images is no less.
    assert np.average(ones, weights=[40, 40.8, 41.6]) >= right * (1 - 1e-6)


def test_rows_of_an_earlier_run_give_it_again(tmp_path: Path) -> None:
    import pandas as pd

    right = write(tmp_path, "float32")
    csv = tmp_path / "rows.csv"
    line = ["loss", "--pred", f"{tmp_path}/p", "--target", f"{tmp_path}/t"]
    done = run(*line, *RULE, "--csv", str(csv))
    assert done.code == 0, done.err
    again = run("loss", "--from", str(csv), "--format", "json")
    ece = again.data()["dataset"]["ece"]
    assert ece == pytest.approx(right, rel=1e-6)
    table = pd.read_csv(csv, dtype=str, keep_default_na=False)
    assert list(table)[-5:-3] == ["ece", "calibration_sums"]
    for damaged in ("1 x", "1 2", " ".join(["nan"] * 15), "1e9" + " 0" * 14):
        table.assign(calibration_sums=damaged).to_csv(csv, index=False)
        again = run("loss", "--from", str(csv))
        assert again.code == 1
        assert "is not a file of image rows" in again.err


def test_models_are_compared_by_it_and_less_is_better(tmp_path: Path) -> None:
    right = write(tmp_path, "float32")
    (tmp_path / "q").mkdir()
    for number in range(3):
        p = np.load(tmp_path / f"p/{number}.npy")
        np.save(tmp_path / f"q/{number}.npy", p * 0.5)
    models = [f"{name}={tmp_path / name}" for name in ("q", "p")]
    found = cdstats.compare(
        models, tmp_path / "t", changed=1, unchanged=0, ignore=255, resamples=99
    )
    q, p = (one.compared["ece"] for one in found.models)
    assert p.value == pytest.approx(right, rel=1e-6)
    assert q.value is not None
    assert p.value is not None
    assert q.value > p.value
    assert found.models[1].compared["ece"].to_first is not None
    line = [*("compare", "--pred", models[0], "--pred", models[1]), "--target"]
    done = run(*line, f"{tmp_path}/t", *RULE, "--format", "csv")
    assert "ece" in done.out.splitlines()[0].split(",")
