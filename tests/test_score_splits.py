"""Scores of a dataset with several splits: rules, and the split that is chosen."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

import cdstats
from cdstats.cli import app

WHITE = "changed 255, unchanged 0 (detected)"
ONES = "changed 1, unchanged 0 (detected)"
BOTH = f"train: {WHITE}; val: {ONES}"
OWN_RULES = {"train": WHITE, "val": ONES, "test": ""}


def save(path: str, changed: int, value: int = 255) -> None:
    pixels = np.zeros((8, 8), np.uint8)
    pixels.flat[:changed] = value
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path)


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
    done = CliRunner().invoke(app, arguments)
    assert done.exit_code == code, done.output
    return done.stdout, done.stderr


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


def test_a_report_names_the_splits_of_each_rule() -> None:
    masks = ("--masks", "d", "--pred", "a", "--target", "d", "-o", "r.html")
    run("report", *masks, code=1)
    text = Path("r.html").read_text()
    assert f"rule of d/train: {WHITE}" in text
    assert f"rule of d/val: {ONES}" in text
    assert f"masks of predictions: {BOTH}" in text
    assert "rule of d: mixed" not in text
