"""`cdstats compare` as a contract: screens, formats, files, exit codes."""

from __future__ import annotations

import csv
import io
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rewrite_golden
from helpers import Done, run

import cdstats
from cdstats.core.comparison_records import (
    Compared,
    ComparedModel,
    Difference,
)
from cdstats.render.comparison import print_models

IMAGES, RESAMPLES = 8, "40"
REAL = Path(__file__).parents[2] / "shared" / "real_masks"


def compare(*arguments: str | Path) -> Done:
    return run("compare", *arguments)


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Masks and three models that are only read."""
    root = tmp_path_factory.mktemp("runs")
    rewrite_golden.write_models(root, IMAGES)
    return root


@pytest.fixture
def own(tmp_path: Path) -> Path:
    """Masks and three models that a test may change."""
    rewrite_golden.write_models(tmp_path, IMAGES)
    return tmp_path


def named(root: Path) -> list[str]:
    pattern = f"{root}/runs/{{model}}/{{}}.npy"
    return ["--pred", pattern, "--target", f"{root}/masks"]


def of(root: Path, *options: str | Path) -> Done:
    return compare(*named(root), "--resamples", RESAMPLES, *options)


# What is printed


def test_the_screen_fits_80_columns(runs: Path) -> None:
    done = of(runs, "--loss", "dice", "--loss", "focal:gamma=1")
    assert done.code == 0, done.err
    assert max(map(len, done.out.splitlines())) <= 80
    for words in (
        "dice[smooth=1]_pooled (lower is better)",
        "focal[alpha=0.25,gamma=1]_mean",
    ):
        assert words in done.out


def done_json(done: Done) -> dict[str, Any]:
    assert done.code == 0, done.err
    return done.data()


def test_rows_carry_differences_and_how_they_were_made(runs: Path) -> None:
    options = ["--format", "csv", "--seed", "4", "--confidence", "0.9"]
    rows = of(runs, *options).rows()
    assert [row["model"] for row in rows] == ["balanced", "longer", "plain"]
    run = cdstats.compare(
        f"{runs}/runs/{{model}}/{{}}.npy",
        f"{runs}/masks",
        resamples=int(RESAMPLES),
        seed=4,
        confidence=0.9,
    )
    for row, model in zip(rows, run.models, strict=True):
        how = (row["resamples"], row["confidence"], row["seed"])
        assert how == (RESAMPLES, "0.9", "4")
        for name, value in model.further.items():
            assert row[name] == ("" if value is None else str(value)), name


def test_json_holds_every_list(runs: Path) -> None:
    data = done_json(of(runs, "--format", "json", "--loss", "dice"))
    keys = ["schema_version", "device", "models", "differing", "images"]
    assert list(data) == keys
    assert len(data["images"]) == 3 * IMAGES
    assert len(data["differing"]) == 2 * IMAGES
    measure = data["models"][1]["measures"]["dice[smooth=1]_pooled"]
    assert list(measure) == [
        "value",
        "difference",
        "low",
        "high",
        "same_sign",
        "undefined",
        "sd",
    ]
    assert set(data["differing"][0]["values"]) == {"balanced", "longer", "plain"}
    assert "dice[smooth=1]" in data["images"][0]


def test_image_rows_say_how_far_models_differ(runs: Path) -> None:
    options = ["--by", "image", "--format", "csv", "--measure", "iou"]
    rows = of(runs, *options).rows()
    assert {row["measure"] for row in rows} == {"iou"}
    spreads = [float(row["spread"]) for row in rows if row["spread"]]
    assert spreads == sorted(spreads, reverse=True)
    values = [float(rows[0][f"value[{m}]"]) for m in ("plain", "balanced", "longer")]
    assert max(values) - min(values) == spreads[0]


def test_columns_are_chosen_and_checked_before_a_file_is_read(runs: Path) -> None:
    done = of(runs, "--columns", "model,kappa_low", "--format", "csv")
    assert done.out.splitlines()[0] == "model,kappa_low"
    done = compare("--pred=a", "--pred=b", "--target=c", "--columns", "kapa")
    assert done.code == 2
    assert "no column 'kapa'; did you mean kappa" in done.err


def test_saved_rows_are_those_of_loss_and_are_compared_again(own: Path) -> None:
    first = of(own, "--csv", own / "rows.csv", "--format", "csv")
    run("loss", *named(own), "--csv", str(own / "loss.csv"))
    assert (own / "rows.csv").read_text() == (own / "loss.csv").read_text()
    again = compare(
        "--from", own / "rows.csv", "--resamples", RESAMPLES, "--format", "csv"
    )
    assert again.code == 0
    assert "average precision and best threshold need the probabilities" in again.err
    for row, saved in zip(first.rows(), again.rows(), strict=True):
        shared = saved.keys() - {
            "kind",
            "rule",
            "best_threshold_in_sample",
            "average_precision_within",
        }
        assert {n: saved[n] for n in shared} == {n: row[n] for n in shared}
        assert row.keys() > saved.keys()


def test_without_curves_the_other_measures_are_the_same(runs: Path) -> None:
    with_curves = of(runs, "--format", "csv").rows()
    done = of(runs, "--no-curves", "--format", "csv")
    assert "need the probabilities" in done.err
    for row, other in zip(done.rows(), with_curves, strict=True):
        assert "average_precision" not in row
        assert row["best_threshold_in_sample"] == ""
        shared = row.keys() - {"best_threshold_in_sample", "average_precision_within"}
        assert {n: row[n] for n in shared} == {n: other[n] for n in shared}


# What is refused, and how a run ends


def test_a_missing_image_is_named_and_common_leaves_it_out(own: Path) -> None:
    (own / "runs/longer/3.npy").unlink()
    done = of(own)
    assert (done.code, done.out) == (1, "")
    assert "error: models do not score the same images: longer lacks 1 of 8" in done.err
    assert "(3.npy)" in done.err
    done = of(own, "--common")
    assert done.code == 0
    assert "images excluded, because a model lacks them: 1" in done.err
    assert "40 resamples of 7 images" in done.out


def test_a_broken_prediction_is_a_difference_and_fails_in_common(own: Path) -> None:
    (own / "runs/longer/3.npy").write_bytes(b"no array")
    done = of(own)
    assert (done.code, done.out) == (1, "")
    assert "longer lacks 1 of 8 images (3.npy: " in done.err
    done = of(own, "--common")
    assert done.code == 1
    assert "error: longer: 3.npy: " in done.err
    assert "40 resamples of 7 images" in done.out
    assert of(own, "--common", "--max-failed", "1").code == 0


def test_a_mask_that_no_model_has_is_told_once(own: Path) -> None:
    for model in ("plain", "balanced", "longer"):
        (own / f"runs/{model}/3.npy").unlink()
    done = of(own)
    assert done.code == 1
    assert done.err.count("mask without a prediction") == 1
    assert "error: every model: 3.npy: mask without a prediction" in done.err
    assert "40 resamples of 7 images" in done.out
    models = (f"--pred={name}={own / 'runs' / name}" for name in ("plain", "longer"))
    scored = run("loss", *models, "--target", own / "masks")
    assert scored.err.count("mask without a prediction") == 1
    assert "error: every model: 3.npy: mask without a prediction" in scored.err


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--resamples", "0"], "--resamples 0: expected 1 to 1,000,000"),
        (["--confidence", "95"], "--confidence 95.0: expected a number between"),
        (["--confidence", "nan"], "--confidence nan: expected a number between"),
        (["--baseline", "other"], "--baseline other: no such model; models: balanced"),
        (["--loss", "nothing"], "there is no loss 'nothing'"),
        (["--summary", "x.txt"], "--summary x.txt: expected a name that ends in"),
        (["--measure", "f2"], "'f2' is not one of"),
        (["--from", "rows.csv"], "omit --pred"),
    ],
)
def test_wrong_use_is_refused(runs: Path, options: list[str], message: str) -> None:
    done = compare(*named(runs), *options)
    assert (done.code, done.out) == (2, "")
    assert message in done.err


def test_one_model_alone_is_wrong_use(runs: Path) -> None:
    done = compare(f"--pred={runs}/runs/plain", "--target", runs / "masks")
    assert done.code == 2
    assert "error: one model to compare" in done.err
    assert "expected two or more" in done.err


def test_masks_without_a_valid_pixel_are_an_error(tmp_path: Path) -> None:
    for folder in ("masks", "a", "b"):
        (tmp_path / folder).mkdir()
        np.save(tmp_path / folder / "0.npy", np.full((4, 4), 9, dtype=np.uint8) // 9)
    options = ["--changed", "7", "--unchanged", "8", "--ignore", "1", "--kind", "hard"]
    models = [f"--pred={m}={tmp_path / m}" for m in ("a", "b")]
    done = compare(*models, "--target", tmp_path / "masks", *options)
    assert done.code == 1
    assert "error: no image has a valid pixel" in done.err


def test_few_images_are_warned_of(tmp_path: Path) -> None:
    rewrite_golden.write_models(tmp_path, 19)
    assert "warning: 19 images compared: intervals" in of(tmp_path).err


def test_labels_have_no_curve(own: Path) -> None:
    for path in (own / "runs").rglob("*.npy"):
        np.save(path, (np.load(path) >= 0.5).astype(np.uint8))
    done = of(own)
    assert done.code == 0
    assert "labels have one threshold" in done.err
    assert "AP" not in done.out
    assert "so BCE is 100 × the error rate" in done.err


# The drawing of an interval


def model(name: str, difference: Difference | None) -> ComparedModel:
    compared = {"f1_pooled": Compared(0.5, difference)}
    none = (None, None, "", "", 100, 0.95, 0)
    stated = (0.5, "none", "1.0", "cpu", "", "")
    return ComparedModel(
        name, 30, 0, 0, 1, 1, 0, *none, *stated, "", 30, None, "", compared
    )


def drawn(*differences: Difference) -> list[str]:
    from rich.console import Console

    models = [model("first", None), *(model("m", one) for one in differences)]
    console = Console(file=io.StringIO(), width=80)
    print_models(console, models, ("f1_pooled",), frozenset())
    lines = console.file.getvalue().splitlines()  # type: ignore[attr-defined]
    return [line for line in lines if line.startswith("m ") and "%" in line]


def test_an_interval_that_ends_beside_zero_is_drawn_without_it() -> None:
    wide = Difference(1.0, -1.0, 2.0, 0.9, 0)
    beside, across = (Difference(1.5, low, 1.8, 0.99, 0) for low in (0.001, -0.001))
    lines = drawn(wide, beside, across)
    assert ["┼" in line for line in lines] == [True, False, True]
    assert ["│" in line for line in lines] == [False, True, False]


# Real predictions


@pytest.mark.skipif(not REAL.is_dir(), reason=f"the real masks are not at {REAL}")
@pytest.mark.parametrize(
    ("family", "models", "images", "code"),
    [
        pytest.param("dsifn_256", "predict_{model}", 5, 0, id="dsifn"),
        pytest.param("levir_crops_256", "predict_CD_{model}", 3, 1, id="levir"),
    ],
)
def test_six_real_models_are_compared_by_their_true_counts(
    family: str, models: str, images: int, code: int
) -> None:
    folder = REAL / family
    options = ["--pred", f"{folder}/{models}/{{}}.png", f"--target={folder}/label"]
    done = compare(*options, "--format", "csv")
    assert done.code == code
    assert "intervals from so few images are unreliable" in done.err
    rows = done.rows()
    assert len(rows) == 6
    with (REAL / "expected_pairs.csv").open(newline="", encoding="utf-8") as file:
        known = list(csv.DictReader(file))
    prefix = models.partition("{")[0]
    for row in rows:
        assert int(row["images"]) == images
        place = f"{family}/{prefix}{row['model']}/"
        true = [one for one in known if one["prediction"].startswith(place)]
        tp, fp, fn = (
            sum(int(one[name]) for one in true) for name in ("tp", "fp", "fn")
        )
        assert float(row["f1_pooled"]) == 2 * tp / (2 * tp + fp + fn)


@pytest.mark.skipif(not REAL.is_dir(), reason=f"the real masks are not at {REAL}")
def test_a_real_model_that_lacks_an_image_is_refused() -> None:
    folder = REAL / "levir_crops_256"
    named_models = [
        f"--pred=BIT={folder}/predict_CD_BIT",
        f"--pred=STANet={folder}/output_STANet",
    ]
    done = compare(*named_models, "--target", folder / "label")
    assert (done.code, done.out) == (1, "")
    assert "STANet lacks 1 of 3 images (test_7_0256_0512.png)" in done.err


def test_rows_of_images_keep_to_the_screen_with_long_names(tmp_path: Path) -> None:
    rewrite_golden.write_models(tmp_path, IMAGES)
    for number, model in enumerate(("plain", "balanced", "longer")):
        long = tmp_path / "runs" / f"a_model_with_a_long_name_{number}"
        (tmp_path / "runs" / model).rename(long)
    done = of(tmp_path, "--by", "image")
    assert done.code == 0
    tables = done.out.partition("differences from")[0]
    assert max(map(len, tables.splitlines())) <= 80
    assert "1 a_model_with_a_long_name_0" in done.out


def test_resamples_without_change_are_told(tmp_path: Path) -> None:
    random = np.random.default_rng(1)
    for number in range(6):
        mask = np.zeros((8, 8), dtype=np.uint8)
        mask[:4] = number == 0
        for folder in ("masks", "a", "b"):
            (tmp_path / folder).mkdir(exist_ok=True)
            values = mask if folder == "masks" else random.random(mask.shape)
            np.save(tmp_path / folder / f"{number}.npy", values)
    paths = [f"{model}={tmp_path / model}" for model in "ab"]
    models = ("--pred", paths[0], "--pred", paths[1])
    done = compare(*models, "--target", tmp_path / "masks", "--resamples", RESAMPLES)
    assert "resamples a measure is not defined: no image with change" in done.out
