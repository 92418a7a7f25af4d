"""What outputs state of rows that differ, and of subsets of a dataset with lists."""

from __future__ import annotations

import csv
from typing import TYPE_CHECKING

import numpy as np
import pytest
from helpers import run
from PIL import Image

import cdstats

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for number in range(4):
        mask = np.zeros((8, 8), np.uint8)
        mask[: number + 1] = 255
        for name in ("X/label", "X/A"):
            (tmp_path / name).mkdir(parents=True, exist_ok=True)
            Image.fromarray(mask).save(tmp_path / name / f"{number}.png")
        (tmp_path / "p").mkdir(exist_ok=True)
        np.save(tmp_path / "p" / f"{number}.npy", (mask / 255).astype(np.float32))
    return tmp_path


def test_rows_of_two_thresholds_name_both(folder: Path) -> None:
    rows: list[list[str]] = []
    for model, threshold in (("a", 0.3), ("b", 0.6)):
        options = ["--threshold", threshold, "--csv", folder / "r.csv"]
        pred = f"{model}={folder / 'p'}"
        run("loss", "--pred", pred, "--target", folder / "X", *options)
        with (folder / "r.csv").open() as file:
            rows += [*csv.reader(file)][bool(rows) :]
    with (folder / "both.csv").open("w", newline="") as file:
        csv.writer(file).writerows(rows)
    for command in ("loss", "compare"):
        done = run(command, "--from", folder / "both.csv")
        assert "thresholds differ: 0.3, 0.6;" in done.out
        assert "not recorded" not in done.out


def test_compare_names_the_first_reason_where_all_fail(folder: Path) -> None:
    (folder / "small").mkdir()
    for number in range(4):
        np.save(folder / "small" / f"{number}.npy", np.zeros((4, 8), np.float32))
    models = {"a": folder / "small", "b": folder / "small"}
    with pytest.raises(cdstats.DataError, match=r"8 predictions failed, first .* mask"):
        cdstats.compare(models, folder / "X")


@pytest.mark.parametrize("named", ["X/label/0.png", "@X/train.txt", "X/label/[01].png"])
def test_masks_that_are_there_are_not_called_missing(folder: Path, named: str) -> None:
    (folder / "X/train.txt").write_text("label/0.png\nlabel/1.png\n")
    (folder / "X/test.txt").write_text("label/2.png\nlabel/3.png\nlabel/9.png\n")
    at = "@" if named.startswith("@") else ""
    done = run("ratio", f"{at}{folder / named.removeprefix('@')}")
    assert done.code == 0
    assert "train.txt has no mask" not in done.err
    assert "1 name of test.txt has no mask" in done.err


def test_an_ignored_value_that_is_detected_is_explained(folder: Path) -> None:
    done = run("ratio", folder / "X", "--ignore", 0)
    assert done.code != 0
    assert "0 is detected as unchanged but named as ignored; name" in done.err
