"""Merged crops: their rows, curves and pictures, and models cut in other ways."""

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from typer.testing import CliRunner

import cdstats
from cdstats.cli import app
from cdstats.core.errors import DataError
from cdstats.score import scoring

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
    from typer.testing import CliRunner

    from cdstats.cli import app

    pred, target = write(tmp_path, QUARTERS[1:])
    rows = str(tmp_path / "rows.csv")
    words = ["loss", "--pred", pred, "--target", target, "--uncovered", way]
    assert CliRunner().invoke(app, [*words, "--csv", rows]).exit_code == 0
    fresh = cdstats.loss(pred, target, uncovered=way).models[0].dataset
    again = cdstats.loss(from_file=rows).models[0].dataset
    for name in ("changed", "unchanged", "uncovered", "tp", "fn", "tn", "images"):
        assert getattr(again, name) == getattr(fresh, name), name
    for name in ("bce_mean", "balanced_ce_mean", "class_mean_bce", "beta"):
        assert getattr(again, name) == pytest.approx(getattr(fresh, name), rel=1e-9)


OVERLAPPING = [(0, 0, 30, 40), (0, 24, 30, 40), (18, 0, 30, 40), (18, 24, 30, 40)]


def merged(way: str, windows: list[tuple[int, int, int, int]], seen: Any) -> Any:
    """What crops make of each pixel, pixel by pixel."""
    found = np.full(MASK.shape, np.nan)
    for r in range(48):
        for c in range(64):
            own = [
                (
                    seen[n][r - y, c - x],
                    (2 * r + 1 - 2 * y - h) ** 2 + (2 * c + 1 - 2 * x - w) ** 2,
                )
                for n, (y, x, h, w) in enumerate(windows)
                if y <= r < y + h and x <= c < x + w
            ]
            values = [float(value) for value, _ in own]
            if way == "mean":
                found[r, c] = np.mean(values)
            elif way == "first":
                found[r, c] = values[0]
            else:
                found[r, c] = values[min(range(len(own)), key=lambda n: own[n][1])]
    return found


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


def test_shares_give_the_rows_of_one_pass(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from cdstats.core.options import LossOptions
    from cdstats.io.pairing import find_pairs
    from cdstats.score.targets import Targets

    pred, target = write(tmp_path, OVERLAPPING)
    pairs = find_pairs([pred], target).pairs
    choice = LossOptions(pred=pred, target=target).rule_choice()
    share = scoring.Share(tuple(enumerate(pairs)), Targets(choice))
    monkeypatch.setattr(scoring, "_MOST_PAIRS", 1)
    assert [len(part.pairs) for part in share.cut()] == [4]
    assert len(share.only([2]).pairs) == 4


def test_a_report_of_merged_crops_draws_their_masks(tmp_path: Path) -> None:
    pred, target = write(tmp_path, OVERLAPPING)
    page = tmp_path / "page.html"
    options = ["--pred", pred, "--target", target, "--overlap", "mean", "-o", str(page)]
    done = CliRunner().invoke(app, ["report", *options])
    assert done.exit_code == 0, done.stderr
    assert "no picture" not in done.stderr
    assert done.stderr.count("no prediction") == 0
    picture = re.search(
        r'alt="[^"]*TP ([\d,]+), FP ([\d,]+), FN ([\d,]+), TN ([\d,]+)',
        page.read_text(encoding="utf-8"),
    )
    assert picture is not None
    numbers = [int(text.replace(",", "")) for text in picture.groups()]
    # The crops are parts of one map, so that their mean is that map.
    assert tuple(numbers) == confusion(PROBS, MASK)
