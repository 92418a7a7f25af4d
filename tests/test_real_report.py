"""Reports of real masks and saved predictions of public repositories.

The files may not be redistributed, so they lie beside the checkout.
"""

from __future__ import annotations

import csv
from pathlib import Path

import pytest

import cdstats
from cdstats.render.figures.charts import figures_of
from cdstats.report.gather import gather
from cdstats.report.options import ShownOptions

REAL = Path(__file__).parents[2] / "shared" / "real_masks"

pytestmark = pytest.mark.skipif(
    not REAL.is_dir(), reason=f"the real masks are not at {REAL}"
)


def pair_counts(prediction: str) -> tuple[int, ...]:
    """The counts of a prediction as counted outside."""
    with (REAL / "expected_pairs.csv").open(newline="", encoding="utf-8") as file:
        (row,) = [r for r in csv.DictReader(file) if r["prediction"] == prediction]
    return tuple(int(row[name]) for name in ("tp", "fp", "fn", "tn", "ignored"))


def test_pictures_of_saved_predictions_add_up_to_the_published_counts() -> None:
    folder = REAL / "dsifn_256"
    pred = f"{folder}/predict_{{model}}/{{}}.png"
    material = gather(
        ShownOptions(pred=pred, target=f"{folder}/label/{{}}.png")
    ).material
    assert material.scores
    pictures = material.scores.pictures
    assert len({one.image.model for one in pictures}) == 6
    for one in pictures:
        assert one.shares.shape == (128, 128, 5)
        # Every cell of a mask of 256 x 256 holds four pixels.
        counts = tuple(round(n) for n in (4 * one.shares).sum(axis=(0, 1)))
        assert counts == pair_counts(f"dsifn_256/{one.image.pred}")


def test_models_of_public_repositories_have_a_line_each_over_beta(
    tmp_path: Path,
) -> None:
    folder = REAL / "levir_crops_256"
    written = cdstats.plot(
        tmp_path,
        pred=[f"{folder}/predict_CD_{{model}}/{{}}.png"],
        target=f"{folder}/label/{{}}.png",
        only=["loss-beta"],
        formats=["svg"],
    )
    assert [path.name for path in written.files] == ["loss-beta.svg", "loss-beta.csv"]
    with (tmp_path / "loss-beta.csv").open(newline="") as file:
        rows = [row for row in csv.DictReader(file) if row["mark"] == "plain"]
    assert {row["model"] for row in rows} >= {"BIT", "ChangeFormerV6", "Unet"}
    (bit,) = [float(row["weighted_mean"]) for row in rows if row["model"] == "BIT"]
    assert round(bit, 3) == 2.716


def test_masks_of_many_sizes_have_every_figure_but_the_heat_map() -> None:
    options = ShownOptions(masks=REAL / "cdnet2014", preset="cdnet2014")
    found, missing = figures_of(gather(options).material)
    assert [one.figure for one in found] == ["distribution", "binarisation", "regions"]
    assert {one.figure for one in missing} == {"splits", "heat-map"}
    assert sum(row.images for row in found[0].rows) == 300  # type: ignore[attr-defined]
