"""Real masks of public datasets, each counted exactly as known from outside.

The masks may not be redistributed, so they lie beside the checkout.
"""

import csv
import io
from collections import defaultdict
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import pytest
from typer.testing import CliRunner

from cdstats.cli import app
from cdstats.io import jpeg, masks, png, tiff
from cdstats.io.counting import Task, count_file

REAL = Path(__file__).parents[2] / "shared" / "real_masks"
COUNTS = ("width", "height", "changed", "unchanged", "ignored")
EVERY_HALF = tuple(level + 0.5 for level in range(256))

pytestmark = pytest.mark.skipif(
    not REAL.is_dir(), reason=f"the real masks are not at {REAL}"
)


@dataclass(frozen=True)
class Family:
    """Masks that a user would count in one run.

    Attributes:
        place: Path, glob or pattern below the folder of real masks.
        options: Rule options that their encoding needs; none where it is found.
        folder: What the paths of the rows are relative to.
        rows: Masks among them whose true counts are known for these options.
    """

    place: str
    rows: int
    options: str = ""
    folder: str = ""

    def path_of(self, row: dict[str, str]) -> str:
        return f"{self.folder or self.place}/{row['path']}"

    def __str__(self) -> str:
        return " ".join([self.place, *self.options.split()])


FAMILIES = [
    Family("cdd_jpeg/CDD", 1, "--changed >0 --unchanged 0"),
    Family("cdnet2014", 300, "--preset cdnet2014"),
    Family("sbi2015", 159, "--preset sbi2015"),
    Family("ucsd_bgs", 89),
    Family("dsifn_256", 5),
    Family("dsifn_256/predict_*", 30, folder="dsifn_256"),
    Family("levir_crops_256", 5),
    Family("levir_crops_256/predict_*", 18, folder="levir_crops_256"),
    Family("levir_crops_256/output_STANet", 2),
    Family("levir_full_1024", 2),
    Family("levir_full_1024/pred", 2),
    Family("levir_patch_errormap/paper/images", 4),
    Family("oscd", 7, "--preset oscd-tif"),
    Family("oscd", 7, "--preset oscd-png"),
    Family("paddlers_ssmt/binary_gt.bmp", 1, folder="paddlers_ssmt"),
    Family("sar_sanfrancisco/pic/{}_gt.bmp", 1, folder="sar_sanfrancisco/pic"),
    Family("sztaki_airchange", 6),
    Family("s2_mine_geotiff/data", 2),
    Family("xview2_damage/output/dmg", 2, "--preset xbd-post"),
    Family("xview2_damage/output/loc", 2, "--band 1"),
    Family("xview2_targets_synthetic", 2, "--preset xbd-post"),
    Family("xview2_targets_synthetic", 4, "--changed 2,3,4 --unchanged rest"),
    Family("landsat_partial/Taizhou", 1, "--preset partial-pair"),
    Family("landsat_partial/Taizhou/pred", 5),
    Family("landsat_partial/Taizhou/change.bmp", 1, folder="landsat_partial/Taizhou"),
    Family(
        "landsat_partial/Taizhou/unchanged.bmp", 1, folder="landsat_partial/Taizhou"
    ),
]


def count(*arguments: str) -> list[dict[str, str]]:
    """Image rows of a run without a failure."""
    options = ["--by", "image", "--format", "csv"]
    done = CliRunner().invoke(app, ["ratio", *arguments, *options])
    assert done.exit_code == 0, done.stderr
    return list(csv.DictReader(io.StringIO(done.stdout)))


@cache
def expected() -> dict[str, dict[str, str]]:
    with (REAL / "expected.csv").open(newline="", encoding="utf-8") as file:
        return {row["path"]: row for row in csv.DictReader(file)}


@cache
def value_counts() -> dict[str, dict[int, int]]:
    counts: dict[str, dict[int, int]] = defaultdict(dict)
    with (REAL / "value_counts.csv").open(newline="", encoding="utf-8") as file:
        for row in csv.DictReader(file):
            counts[row["path"]][int(row["value"])] = int(row["pixels"])
    return counts


def only(row: dict[str, str]) -> dict[str, str]:
    return {name: row[name] for name in COUNTS}


def test_real_masks_have_their_true_counts() -> None:
    seen = set()
    for family in FAMILIES:
        rows = count(str(REAL / family.place), *family.options.split())
        found = {family.path_of(row): only(row) for row in rows}
        assert len(found) == len(rows) == family.rows, family
        assert found == {path: only(expected()[path]) for path in found}, family
        seen |= set(found)
    assert seen == set(expected())


def test_oscd_is_refused_until_one_of_its_two_codings_is_chosen() -> None:
    done = CliRunner().invoke(app, ["ratio", str(REAL / "oscd")])
    assert (done.exit_code, done.stdout) == (1, "")
    assert "--preset oscd-png or --preset oscd-tif" in done.stderr


def test_the_cdd_preset_refuses_the_sample_coded_0_and_1() -> None:
    done = CliRunner().invoke(
        app, ["ratio", str(REAL / "cdd_jpeg/CDD"), "--preset", "cdd", "--by", "dataset"]
    )
    assert done.exit_code == 1
    assert "00000.jpg: holds 0 (37,681 pixels" in done.stderr


@pytest.mark.parametrize(
    ("place", "preset"), [("cdnet2014", "cdnet2014"), ("sbi2015", "sbi2015")]
)
def test_grey_codes_are_refused_with_the_preset_that_knows_them(
    place: str, preset: str
) -> None:
    done = CliRunner().invoke(app, ["ratio", str(REAL / place), "--format", "csv"])
    assert done.exit_code == 1
    assert f"--preset {preset}" in done.stderr


@pytest.mark.parametrize(
    "path",
    [
        pytest.param("levir_full_1024/A/test_1.png", id="aerial image"),
        pytest.param("cdd_jpeg/CDD/train/A/00000.jpg", id="satellite image"),
        pytest.param(
            "levir_patch_errormap/sample/unet_probability_heatmap.png", id="heat map"
        ),
    ],
)
def test_a_photograph_is_refused_as_no_mask(path: str) -> None:
    done = CliRunner().invoke(app, ["ratio", str(REAL / path), "--format", "csv"])
    assert done.exit_code == 1
    assert "looks like an image, not a mask" in done.stderr
    assert "Traceback" not in done.stderr


def test_every_decoder_gives_the_same_counts_of_every_file(
    monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest
) -> None:
    """Of every twelfth file, unless the long tests are asked for."""
    step = 1 if request.config.getoption("--full") else 12
    suffixes = (".png", ".jpg", ".bmp", ".tif", ".tiff")
    files = [p for p in sorted(REAL.rglob("*")) if p.suffix.lower() in suffixes][::step]
    tasks = [Task(str(path)) for path in files]
    chosen = [count_file(task, edges=EVERY_HALF) for task in tasks]
    # No image is small enough for another decoder than GDAL, and no file for memory.
    monkeypatch.setattr(png, "WHOLE_PIXELS", -1)
    monkeypatch.setattr(jpeg, "WHOLE_PIXELS", -1)
    monkeypatch.setattr(tiff, "_is_stored", lambda _: False)
    monkeypatch.setattr(masks, "_HELD_BYTES", {})
    by_gdal = [count_file(task, edges=EVERY_HALF) for task in tasks]
    differing = [
        path.name
        for path, one, other in zip(files, chosen, by_gdal, strict=True)
        if one != other
    ]
    assert differing == []
    assert sum(one.mask is not None for ones in chosen for one in ones) > 650 // step


def test_every_stored_value_is_counted_exactly() -> None:
    for path, truth in value_counts().items():
        band = 1 if path.startswith("xview2_damage") else None
        (one,) = count_file(Task(str(REAL / path)), band=band)
        assert one.mask is not None
        assert dict(one.mask.counts.values) == truth, path
