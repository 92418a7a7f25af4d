"""Saved predictions of public repositories, each scored exactly as counted outside.

The files may not be redistributed, so they lie beside the checkout.
"""

from __future__ import annotations

import csv
from functools import cache
from pathlib import Path

import pytest
from helpers import run

REAL = Path(__file__).parents[2] / "shared" / "real_masks"
COUNTS = ("tp", "fp", "fn", "tn", "ignored")

pytestmark = pytest.mark.skipif(
    not REAL.is_dir(), reason=f"the real masks are not at {REAL}"
)

Row = dict[str, str]


@cache
def pairs() -> list[Row]:
    """The rows of the table of pairs; none where the masks are not there."""
    table = REAL / "expected_pairs.csv"
    if not table.is_file():
        return []
    with table.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def counted() -> list[Row]:
    return [row for row in pairs() if row["tp"]]


def rows_of(*arguments: str) -> tuple[int, list[Row], str]:
    done = run("loss", *arguments, "--by", "image", "--format", "csv")
    return done.code, done.rows(), done.err


def score(row: Row) -> tuple[int, list[Row], str]:
    """Score one prediction against its label, two files of partial truth included."""
    label, _, partner = row["label"].partition(" + ")
    preset = ["--preset", "partial-pair"] if partner else []
    target = str(REAL / label)
    return rows_of("--pred", str(REAL / row["prediction"]), "--target", target, *preset)


def only(row: Row) -> Row:
    return {name: row[name] for name in COUNTS}


@pytest.mark.parametrize("row", counted(), ids=lambda row: row["prediction"])
def test_a_real_prediction_has_its_true_confusion_counts(row: Row) -> None:
    code, found, err = score(row)
    assert (code, [one["status"] for one in found]) == (0, ["ok"]), err
    assert only(found[0]) == only(row)
    assert float(found[0]["bce_sum"]) == 100 * (int(row["fp"]) + int(row["fn"]))


def test_every_pair_is_scored_by_one_of_the_tests() -> None:
    without = [row for row in pairs() if not row["tp"]]
    assert (len(pairs()), len(counted()), len(without)) == (60, 60, 0)


def of_folder(label: str, prefix: str = "") -> dict[tuple[str, str], Row]:
    """The true counts of a folder of labels by model and file."""
    found = {}
    for row in pairs():
        if Path(row["label"]).parent.as_posix() == label:
            path = Path(row["prediction"])
            model = path.parent.name.removeprefix(prefix)
            found[model, path.name] = only(row)
    return found


def test_the_predictions_of_six_models_are_scored_in_one_run() -> None:
    code, rows, err = rows_of(
        "--pred",
        f"{REAL}/dsifn_256/predict_{{model}}/{{}}.png",
        "--target",
        f"{REAL}/dsifn_256/label",
    )
    assert code == 0, err
    found = {(row["model"], Path(row["pred"]).name): only(row) for row in rows}
    assert len(rows) == len(found) == 30
    assert found == of_folder("dsifn_256/label", "predict_")


def test_models_that_lack_a_mask_are_scored_on_the_others() -> None:
    folder = REAL / "levir_crops_256"
    models = [path.name for path in sorted(folder.glob("predict_CD_*"))]
    models.append("output_STANet")
    named = [f"--pred={model}={folder / model}" for model in models]
    code, rows, err = rows_of(*named, "--target", str(folder / "label"))
    ok = {
        (row["model"], row["pred"]): only(row) for row in rows if row["status"] == "ok"
    }
    assert ok == of_folder("levir_crops_256/label")
    lacking = [(row["model"], row["target"]) for row in rows if row["status"] != "ok"]
    labels = {path.name for path in (folder / "label").iterdir()}
    assert sorted(lacking) == sorted(
        (model, name) for model in models for name in labels if (model, name) not in ok
    )
    assert code == 1
    assert "mask without a prediction" in err


def test_names_that_differ_pair_by_pattern() -> None:
    folder = REAL / "levir_patch_errormap/paper/images"
    code, rows, err = rows_of(
        "--pred",
        f"{folder}/siamese_{{}}_mask.png",
        "--target",
        f"{folder}/sample_ground_truth_mask.png",
    )
    assert (code, rows) == (1, [])
    assert "siamese_predicted_mask.png" in err
    assert "sample_ground_truth_mask.png" in err


def test_full_scenes_pair_by_folder() -> None:
    folder = REAL / "levir_full_1024"
    code, rows, err = rows_of(
        "--pred", str(folder / "pred"), "--target", str(folder / "label")
    )
    assert code == 0, err
    found = {("pred", row["pred"]): only(row) for row in rows}
    assert found == of_folder("levir_full_1024/label")
