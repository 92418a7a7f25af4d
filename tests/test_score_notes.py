"""What is said beside numbers: pooled values, swapped classes, other binarisations."""

from __future__ import annotations

import csv
import io
from pathlib import Path
from typing import TYPE_CHECKING, Any

import helpers
import numpy as np
import pytest
from helpers import Done

if TYPE_CHECKING:
    from numpy.typing import NDArray

RNG = np.random.default_rng(11)
MASK = RNG.random((24, 24)) < 0.3


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def save(path: str, pixels: NDArray[Any]) -> None:
    grey = pixels.dtype == bool and not path.endswith(".npy")
    helpers.save(Path(path), pixels * np.uint8(255) if grey else pixels)


def run(*arguments: str) -> Done:
    done = helpers.run(*arguments)
    assert done.code == 0, done.err
    return done


def loss(*arguments: str) -> Done:
    return run("loss", "--pred", "p", "--target", "t", *arguments)


def line(text: str, start: str) -> str:
    return next(one for one in text.splitlines() if one.strip().startswith(start))


def test_no_change_beside_labels_costs_100_on_each_changed_pixel() -> None:
    save("t/0.png", MASK)
    save("p/0.png", ~MASK & (RNG.random(MASK.shape) < 0.5))
    expected = f"no change, p = 0: {100 * MASK.mean():.3f}"
    assert expected in loss("--csv", "rows.csv").out
    assert expected in run("loss", "--from", "rows.csv").out


def test_no_change_beside_probabilities_is_a_step_of_their_type() -> None:
    save("t/0.png", MASK)
    save("p/0.npy", RNG.random(MASK.shape).astype(np.float32))
    assert "no change, p = eps of float32" in loss().out


@pytest.mark.parametrize("name", ["dice", "jaccard", "lovasz_softmax"])
def test_a_value_of_all_pixels_as_one_image_is_called_pooled(name: str) -> None:
    save("t/0.png", MASK)
    save("p/0.npy", RNG.random(MASK.shape).astype(np.float32))
    done = loss("--loss", name, "--loss", "focal")
    assert "pooled" in line(done.out, name)
    assert "class means pooled over all images" in done.out
    assert "pooled" not in line(done.out, "focal")
    assert "pooled" not in line(done.out, "BCE")


def test_a_loss_that_rows_know_of_images_alone_is_shown_as_their_mean() -> None:
    for number, share in enumerate((0.5, 0.9)):
        save(f"t/{number}.png", np.roll(MASK, number))
        save(f"p/{number}.npy", (share * RNG.random(MASK.shape)).astype(np.float32))
    further = ("--loss", "lovasz_softmax")
    known = loss(*further, "--csv", "rows.csv", "--format", "csv", "--by", "dataset")
    (found,) = csv.DictReader(io.StringIO(known.out))
    name = next(n for n in found if n.startswith("lovasz") and "image_mean" in n)
    shown = f"{float(found[name]):.3f}"
    row = line(run("loss", "--from", "rows.csv", *further).out, "lovasz_softmax")
    assert shown in row
    assert "image mean" in row
    table = run("loss", "--from", "rows.csv", *further, "--format", "markdown").out
    assert shown in table


def test_swapped_classes_are_noted_with_the_numbers_of_the_complement() -> None:
    guess = MASK & (RNG.random(MASK.shape) < 0.8)
    save("t/0.png", MASK)
    save("p/0.png", ~guess)
    save("q/0.png", guess)
    good = run("loss", "--pred", "q", "--target", "t")
    assert "inverted" not in good.err
    kappa = good.out.splitlines()[3].split()[-1]
    assert f"The complement has kappa {kappa} and F1" in loss("--csv", "r.csv").err
    assert f"has kappa {kappa}" in run("loss", "--from", "r.csv").err
    both = run("compare", "--pred", "good=q", "--pred", "bad=p", "--target", "t")
    assert "bad: kappa is -" in both.err
    assert "good: kappa" not in both.err


@pytest.mark.parametrize(
    "guess",
    [
        pytest.param(RNG.random(MASK.shape) < 0.3, id="chance"),
        pytest.param(~MASK & (RNG.random(MASK.shape) < 0.2), id="few-and-wrong"),
        pytest.param(np.zeros_like(MASK), id="nothing"),
        pytest.param(MASK, id="perfect"),
    ],
)
def test_poor_predictions_are_not_called_inverted(guess: NDArray[Any]) -> None:
    save("t/0.png", MASK)
    save("p/0.png", guess)
    assert "inverted" not in loss().err


def test_other_binarisations_name_the_splits_that_they_speak_of() -> None:
    save("d/train/label/0.png", MASK.astype(np.uint8))
    save("d/val/label/0.png", MASK.astype(np.uint8))
    save("d/test/label/0.png", MASK)
    told = run("ratio", "d").err
    assert "d/train, d/val: other loaders would count as changed" in " ".join(
        told.split()
    )
    assert "d/test" not in told


def test_other_binarisations_of_all_splits_speak_of_the_dataset() -> None:
    for split in ("train", "test"):
        save(f"d/{split}/label/0.png", MASK.astype(np.uint8))
    assert "d: other loaders would count as changed" in " ".join(
        run("ratio", "d").err.split()
    )


def test_nothing_is_said_where_all_binarisations_agree() -> None:
    for split in ("train", "test"):
        save(f"d/{split}/label/0.png", MASK)
    assert "binarise" not in run("ratio", "d").err
