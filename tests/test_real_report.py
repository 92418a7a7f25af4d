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
