"""Rows of an earlier run: rows that no run wrote are refused, never added up."""

from __future__ import annotations

import csv
from typing import TYPE_CHECKING

import numpy as np
import pytest
from helpers import run
from PIL import Image

import cdstats

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

Rows = list[dict[str, str]]


@pytest.fixture(scope="module")
def text(tmp_path_factory: pytest.TempPathFactory) -> str:
    """Rows of two predictions, with a further loss."""
    folder = tmp_path_factory.mktemp("rows")
    generator = np.random.default_rng(0)
    for kind in ("masks", "preds"):
        (folder / kind).mkdir()
    for name in "ab":
        mask = (generator.random((8, 9)) < 0.3).astype(np.uint8) * 255
        Image.fromarray(mask).save(folder / "masks" / f"{name}.png")
        np.save(folder / "preds" / f"{name}.npy", generator.random((8, 9), np.float32))
    words = ["loss", "--pred", folder / "preds", "--target", folder / "masks"]
    words += ["--device", "cpu", "--loss", "lovasz_softmax", "--csv", folder / "a.csv"]
    assert run(*words).code == 0
    return (folder / "a.csv").read_text()


def changed(text: str, change: Callable[[Rows], Rows | None], path: Path) -> Path:
    """A file with other rows."""
    rows = list(csv.DictReader(text.splitlines()))
    rows = change(rows) or rows
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, rows[0])
        writer.writeheader()
        writer.writerows(rows)
    return path


@pytest.mark.parametrize(
    ("column", "value", "said"),
    [
        ("tp", "nan", "tp is 'nan'"),
        ("tp", "9999", "tp, fp, fn and tn add up to"),
        ("fn", "0", "tp, fp, fn and tn add up to"),
        ("changed", "99999", "pixels of 9 x 8"),
        ("width", "0", "72 pixels of 0 x 8"),
        ("width", "", "72 pixels of None x 8"),
        ("uncovered", "-5", "-5 of them uncovered"),
        ("ce_changed_sum", "inf", "ce_changed_sum is inf"),
        ("missed_sum", "72.5", "missed_sum is 72.5"),
        ("false_sum", "1e9", "false_sum is"),
        ("prob_changed_sum", "73", "prob_changed_sum is 73"),
        ("threshold", "half", "threshold is 'half'"),
        ("lovasz_softmax", "nan", "is 'nan'"),
        ("lovasz_softmax", "x", "is 'x'"),
    ],
)
def test_a_number_that_cannot_be_is_refused(
    text: str, column: str, value: str, said: str, tmp_path: Path
) -> None:
    def change(rows: Rows) -> None:
        name = next(name for name in rows[0] if name.startswith(column))
        rows[0][name] = value

    path = changed(text, change, tmp_path / "rows.csv")
    with pytest.raises(cdstats.DataError, match="is not a file of image rows") as found:
        cdstats.loss(from_file=path)
    assert said in str(found.value)


@pytest.mark.parametrize("function", [cdstats.loss, cdstats.compare])
def test_a_prediction_counts_once(
    text: str, function: Callable[..., object], tmp_path: Path
) -> None:
    path = changed(text, lambda rows: rows + rows[:1], tmp_path / "rows.csv")
    with pytest.raises(cdstats.DataError, match=r"2 rows of a\.npy"):
        function(from_file=path)


def test_rows_that_were_cut_or_have_more_cells_are_refused(
    text: str, tmp_path: Path
) -> None:
    mask = tmp_path / "a.png"
    Image.fromarray(np.array([[0, 255]], np.uint8)).save(mask)
    counts = tmp_path / "counts.csv"
    run("ratio", str(mask), "--csv", str(counts))
    assert cdstats.ratio(from_file=counts).datasets[0].changed == 1
    for own, function in ((text, cdstats.loss), (counts.read_text(), cdstats.ratio)):
        path = tmp_path / "rows.csv"
        for other in (own[: own.rindex(",")], own.rstrip("\n") + ",7\n"):
            path.write_text(other)
            with pytest.raises(cdstats.DataError, match="more or fewer cells than"):
                function(from_file=path)
        path.write_bytes(b"\xef\xbb\xbf" + own.encode())  # as spreadsheets save it
        assert function(from_file=path).images
