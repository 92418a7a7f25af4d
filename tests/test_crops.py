"""Merged crops: their rows, curves and pictures, and models cut in other ways."""

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from helpers import run
from numpy.typing import NDArray

import cdstats
from cdstats.core.errors import DataError

RANDOM = np.random.default_rng(3)
MASK = (RANDOM.random((48, 64)) < 0.3).astype(np.uint8)
PROBS = np.clip(0.4 * MASK + 0.7 * RANDOM.random(MASK.shape), 0.02, 0.98).astype(
    np.float32
)
QUARTERS = [(y, x, 24, 32) for y in (0, 24) for x in (0, 32)]
NAMES = "{}_{y}_{x}.npy"


def save(path: Path, array: NDArray[Any]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    np.save(path, array)
    return path


def write(
    root: Path,
    windows: list[tuple[int, int, int, int]],
    scores: NDArray[Any] = PROBS,
    mask: NDArray[Any] = MASK,
    model: str = "p",
) -> tuple[str, str]:
    save(root / "t/s.npy", mask)
    for y, x, height, width in windows:
        part = scores[y : y + height, x : x + width]
        save(root / model / f"s_{y}_{x}.npy", part)
    return f"{root}/{model}/{NAMES}", f"{root}/t/{{}}.npy"


def confusion(p: NDArray[Any], mask: NDArray[Any]) -> tuple[int, ...]:
    found, pairs = p >= 0.5, ((1, 1), (1, 0), (0, 1), (0, 0))
    return tuple(int(((found == a) & (mask == b)).sum()) for a, b in pairs)


def counts(one: Any) -> tuple[int, ...]:
    return one.tp, one.fp, one.fn, one.tn


@pytest.mark.parametrize("way", ["ignore", "unchanged"])
def test_rows_of_a_run_with_uncovered_pixels_give_it_again(
    way: str, tmp_path: Path
) -> None:
    pred, target = write(tmp_path, QUARTERS[1:])
    rows = str(tmp_path / "rows.csv")
    words = ["loss", "--pred", pred, "--target", target, "--uncovered", way]
    assert run(*words, "--csv", rows).code == 0
    fresh = cdstats.loss(pred, target, uncovered=way).models[0].dataset
    again = cdstats.loss(from_file=rows).models[0].dataset
    for name in ("changed", "unchanged", "uncovered", "tp", "fn", "tn", "images"):
        assert getattr(again, name) == getattr(fresh, name), name
    for name in ("bce_mean", "balanced_ce_mean", "class_mean_bce", "beta"):
        assert getattr(again, name) == pytest.approx(getattr(fresh, name), rel=1e-9)


OVERLAPPING = [(0, 0, 30, 40), (0, 24, 30, 40), (18, 0, 30, 40), (18, 24, 30, 40)]


def test_a_crop_that_cannot_be_read_fails_the_merged_row(tmp_path: Path) -> None:
    pred, target = write(tmp_path, QUARTERS)
    (tmp_path / "p/s_24_0.npy").write_bytes(b"\x93NUMPY")
    (row,) = cdstats.loss(pred, target, uncovered="ignore").images
    assert row.reason.startswith("s_24_0.npy: ")


def test_models_with_other_crops_are_compared_when_merged(tmp_path: Path) -> None:
    target = write(tmp_path, QUARTERS, model="a")[1]
    write(tmp_path, [(0, 0, 24, 64), (24, 0, 24, 64)], model="b")
    preds = [f"{model}={tmp_path}/{model}/{NAMES}" for model in "ab"]
    with pytest.raises(DataError, match="same images"):
        cdstats.compare(preds, target, resamples=5)
    run = cdstats.compare(preds, target, resamples=5, overlap="first")
    values = [one.compared["f1_pooled"].value for one in run.models]
    assert values[0] == values[1]


@pytest.mark.usefixtures("blank_figures")
def test_a_report_of_merged_crops_draws_their_masks(tmp_path: Path) -> None:
    pred, target = write(tmp_path, OVERLAPPING)
    page = tmp_path / "page.html"
    options = ["--pred", pred, "--target", target, "--overlap", "mean", "-o", str(page)]
    done = run("report", *options)
    assert done.code == 0, done.err
    assert "no error image" not in done.err
    assert done.err.count("no prediction") == 0
    picture = re.search(
        r'alt="[^"]*TP ([\d,]+), FP ([\d,]+), FN ([\d,]+), TN ([\d,]+)',
        page.read_text(encoding="utf-8"),
    )
    assert picture is not None
    numbers = [int(text.replace(",", "")) for text in picture.groups()]
    # The crops are parts of one map, so that their mean is that map.
    assert tuple(numbers) == confusion(PROBS, MASK)
