"""Scores of a dataset with several splits: rules, and the split that is chosen."""

from __future__ import annotations

import csv
import io
import json
import re
import shutil
from pathlib import Path

import helpers
import numpy as np
import pytest
from PIL import Image

import cdstats
from cdstats.core.errors import DataError

WHITE = "changed 255, unchanged 0 (detected)"
ONES = "changed 1, unchanged 0 (detected)"
BOTH = f"train: {WHITE}; val: {ONES}"
OWN_RULES = {"train": WHITE, "val": ONES, "test": ""}


def save(path: str, changed: int, value: int = 255) -> None:
    pixels = np.zeros((8, 8), np.uint8)
    pixels.flat[:changed] = value
    helpers.save(Path(path), pixels)


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Splits of two encodings and one that is refused; two models of all splits."""
    monkeypatch.chdir(tmp_path)
    values = {"train": (255, 255, 255), "val": (1, 1, 1), "test": (1, 128, 255)}
    for split, codes in values.items():
        for number, value in enumerate(codes):
            save(f"d/{split}/label/{number}.png", 10 + number, value)
            save(f"a/{split}/{number}.png", 12 + number)
            save(f"b/{split}/{number}.png", 11 + number)


def run(*arguments: str, code: int = 0) -> tuple[str, str]:
    done = helpers.run(*arguments)
    assert done.code == code, done.err
    return done.out, done.err


def rows(text: str) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(text)))


LOSS = ("loss", "--pred", "a", "--target", "d")
COMPARE = ("compare", "--pred", "a", "--pred", "b", "--target", "d", "--common")


@pytest.mark.parametrize("command", [LOSS, COMPARE])
def test_each_image_states_the_rule_of_its_own_split(command: tuple[str, ...]) -> None:
    text, _ = run(*command, "--by", "image", "--format", "csv", code=1)
    found = {(row["split"], row["rule"]) for row in rows(text)}
    assert {("train", WHITE), ("val", ONES)} <= found <= OWN_RULES.items()


def test_rows_that_are_read_back_keep_their_own_rule() -> None:
    run(*LOSS, "--csv", "rows.csv", code=1)
    text, _ = run("loss", "--from", "rows.csv", "--format", "json", code=1)
    data = json.loads(text)
    assert {row["split"]: row["rule"] for row in data["images"]} == OWN_RULES
    assert data["dataset"]["rule"] == BOTH


@pytest.mark.parametrize("command", [LOSS, COMPARE])
@pytest.mark.parametrize("form", ["table", "markdown"])
def test_footnotes_name_the_splits_of_each_rule(
    command: tuple[str, ...], form: str
) -> None:
    text, _ = run(*command, "--format", form, code=1)
    assert f"masks: {BOTH}\n" in text


def test_one_rule_needs_no_split() -> None:
    text, _ = run(*LOSS, "--changed", ">0", "--unchanged", "0", "--format", "json")
    data = json.loads(text)
    assert {row["rule"] for row in data["images"]} == {data["dataset"]["rule"]}
    assert "train" not in data["dataset"]["rule"]


def test_soft_targets_beside_labels_have_no_rule() -> None:
    Path("t").mkdir()
    np.save("t/0.npy", np.full((8, 8), 0.25))
    np.save("t/1.npy", np.eye(8, dtype=np.uint8))
    for name in "01":
        Path("p").mkdir(exist_ok=True)
        np.save(f"p/{name}.npy", np.full((8, 8), 0.5, np.float32))
    run_ = cdstats.loss("p", "t", errors="keep")
    assert [bool(row.rule) for row in run_.images] == [False, True]


@pytest.mark.usefixtures("blank_figures")
def test_a_report_names_the_splits_of_each_rule() -> None:
    masks = ("--masks", "d", "--pred", "a", "--target", "d", "-o", "r.html")
    run("report", *masks, code=1)
    text = Path("r.html").read_text()
    assert f"rule of d/train: {WHITE}" in text
    assert f"rule of d/val: {ONES}" in text
    assert f"masks of predictions: {BOTH}" in text
    assert "rule of d: mixed" not in text


# The chosen split


def save_pairs(layout: str, masks: str, preds: str, splits: str = "train test") -> None:
    """Masks and predictions by patterns of their split and number, as a layout."""
    for split in splits.split():
        for number in range(3):
            name = {"split": split, "n": number}
            save(f"{layout}/{masks.format(**name)}", 10 + number)
            save(f"{layout}/{preds.format(**name)}", 10 + number)


@pytest.mark.parametrize(
    ("masks", "preds", "target", "pred"),
    [
        pytest.param(
            "d/{split}/label/{n}.png", "p/{split}/{n}.png", "d", "p", id="folders"
        ),
        pytest.param(
            "d/{split}_label/{n}.png", "p/{split}_pred/{n}.png", "d", "p", id="words"
        ),
        pytest.param(
            "d/label/{split}_{n}.png", "p/{split}_{n}.png", "d", "p", id="lists"
        ),
        pytest.param(
            "d/label/{split}_{n}.png",
            "p/{split}/{split}_{n}.png",
            "d",
            "p/*/",
            id="glob",
        ),
        pytest.param(
            "d/{split}/label/{n}.png",
            "p/{split}/{n}.png",
            "d/{split}/label/{}.png",
            "p/{split}/{}.png",
            id="patterns",
        ),
        pytest.param(
            "d/{split}/label/{n}.png",
            "p/{split}_{n}.png",
            "d",
            "p/{split}_{}.png",
            id="one pattern",
        ),
        pytest.param(
            "d/{split}/label/{n}.png",
            "p/{split}ing/{n}.png",
            "d",
            "p",
            id="spellings",
        ),
        pytest.param(
            "d/{split}/label/{n}.png",
            "p/{split}/{n}.png",
            "d/test/label",
            "p",
            id="masks of one split",
        ),
    ],
)
def test_predictions_of_other_splits_are_skipped_with_a_note(
    masks: str, preds: str, target: str, pred: str
) -> None:
    save_pairs("x", masks, preds)
    if "{split}/" not in masks and "_label" not in masks:
        for split in ("train", "test"):
            names = "".join(f"{split}_{n}.png\n" for n in range(3))
            Path(f"x/d/{split}.txt").write_text(names)
    where = ("--target", f"x/{target}", "--split", "test", "--format", "csv")
    text, told = run("loss", "--pred", f"x/{pred}", *where, "--by", "image")
    assert [row["status"] for row in rows(text)] == ["ok"] * 3
    assert {row["split"] for row in rows(text)} == {"test"}
    assert all(row["changed"] == row["tp"] for row in rows(text))
    assert "note: 3 predictions outside split test skipped" in told


def test_a_prediction_of_no_mask_at_all_still_fails() -> None:
    save_pairs("x", "d/{split}/label/{split}{n}.png", "p/{split}/{split}{n}.png")
    save("x/p/test/odd.png", 3)
    where = ("--pred", "x/p", "--target", "x/d", "--split", "test")
    text, told = run("loss", *where, "--by", "image", "--format", "csv", code=1)
    failed = [row["pred"] for row in rows(text) if row["status"] == "failed"]
    assert failed == ["test/odd.png"]
    assert "3 predictions outside split test skipped" in told


def test_a_split_without_any_prediction_is_refused_in_words() -> None:
    save_pairs("x", "d/{split}/label/{n}.png", "p/{split}/{n}.png", "train")
    save("x/d/test/label/9.png", 9)
    where = ("--pred", "x/p", "--target", "x/d", "--split", "test")
    _, told = run("loss", *where, code=1)
    assert "no prediction pairs with a mask: 3 predictions outside split test" in told


def test_a_prediction_is_not_scored_against_another_split() -> None:
    for number in range(3):
        save(f"x/d/test_label/{number}.png", 10 + number)
        save(f"x/p/train_pred/{number}.png", 10 + number)
    _, told = run("loss", "--pred", "x/p", "--target", "x/d", code=1)
    assert "train_pred/0.png is in split train" in told
    text, told = run("loss", "--pred", "x/p/train_pred", "--target", "x/d")
    assert "1.000  1.000  1.000" in text


def test_typed_folders_of_two_splits_are_told() -> None:
    save_pairs("x", "d/{split}/label/{n}.png", "p/{split}/{n}.png")
    where = ("--pred", "x/p/train", "--target", "x/d/test/label")
    _, told = run("loss", *where)
    assert "from a folder of split train are scored against masks of split test" in told
    _, told = run(
        "loss", "--pred", "x/p/train", "--target", "x/d", "--split", "test", code=1
    )
    assert "Try" not in told


def test_a_hint_for_predictions_that_tell_no_split_names_every_split(
    tmp_path: Path,
) -> None:
    for split in ("train", "test"):
        folder = tmp_path / "set" / split / "label"
        folder.mkdir(parents=True)
        for number in range(3):
            level = 255 * (np.eye(4, k=number) if split == "train" else np.eye(4)[::-1])
            Image.fromarray(level.astype(np.uint8)).save(folder / f"{number}.png")
    shutil.copytree(tmp_path / "set/train/label", tmp_path / "flat")
    place = str(tmp_path)
    with pytest.raises(DataError) as caught:
        cdstats.loss(f"{place}/flat", f"{place}/set")
    told = r'pred="(\S+)", target="(\S+)" if they are of (\w+)'
    ways = re.findall(told, str(caught.value))
    assert [split for _, _, split in ways] == ["test", "train"]
    scores = {
        split: cdstats.loss(a, b).models[0].dataset.f1_pooled for a, b, split in ways
    }
    assert scores["train"] == 1
    assert scores["test"] != 1
