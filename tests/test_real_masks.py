"""Real masks of public datasets, each counted exactly as known from outside.

The masks may not be redistributed, so they lie beside the checkout.
"""

import csv
from collections import defaultdict
from functools import cache

import pytest
from helpers import run, unheld
from test_oracle import REAL, REAL_SETS, matching

from cdstats.io import jpeg, masks, png, tiff
from cdstats.io.counting import Task, count_file
from cdstats.render.figures.charts import figures_of
from cdstats.report.gather import gather
from cdstats.report.options import ShownOptions

COUNTS = ("width", "height", "changed", "unchanged", "ignored")
EVERY_HALF = tuple(level + 0.5 for level in range(256))

pytestmark = pytest.mark.skipif(
    not REAL.is_dir(), reason=f"the real masks are not at {REAL}"
)


def count(*arguments: str) -> list[dict[str, str]]:
    """Image rows of a run without a failure."""
    done = run("ratio", *arguments, "--by", "image", "--format", "csv")
    assert done.code == 0, done.err
    return done.rows()


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
    for masks_ in REAL_SETS:
        rows = count(*masks_.given)
        found = {
            matching(masks_, row["path"]).relative_to(REAL).as_posix(): only(row)
            for row in rows
        }
        assert len(found) == len(rows) == len(masks_.paths), masks_
        assert found == {path: only(expected()[path]) for path in found}, masks_
        seen |= set(found)
    assert {path for path in expected() if " + " not in path} <= seen


def test_one_of_the_two_codings_of_oscd_is_read() -> None:
    done = run("ratio", str(REAL / "oscd"), "--format", "csv")
    given = run("ratio", str(REAL / "oscd"), "--preset", "oscd-png", "--format", "csv")
    assert (done.code, given.code) == (0, 0)
    assert done.column("changed") == given.column("changed")
    assert "read as OSCD: >=128 (--preset oscd-png)" in done.err
    none = run("ratio", str(REAL / "oscd"), "--preset", "none")
    assert (none.code, none.out) == (1, "")
    assert "--preset oscd-png or --preset oscd-tif" in none.err


def test_the_cdd_preset_refuses_the_sample_coded_0_and_1() -> None:
    done = run(
        "ratio", str(REAL / "cdd_jpeg/CDD"), "--preset", "cdd", "--by", "dataset"
    )
    assert done.code == 1
    assert "00000.jpg: holds 0 (37,681 pixels" in done.err


@pytest.mark.parametrize(
    ("place", "preset"), [("cdnet2014", "cdnet2014"), ("sbi2015", "sbi2015")]
)
def test_grey_codes_are_read_or_refused_with_the_preset_that_knows_them(
    place: str, preset: str
) -> None:
    done = run("ratio", str(REAL / place), "--format", "csv")
    given = run("ratio", str(REAL / place), "--preset", preset, "--format", "csv")
    assert (done.code, done.out) == (0, given.out)
    assert "read as" in done.err
    assert f"--preset {preset}" in done.err
    none = run("ratio", str(REAL / place), "--preset", "none", "--format", "csv")
    assert none.code == 1
    assert f"--preset {preset}" in none.err


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
    done = run("ratio", str(REAL / path), "--format", "csv")
    assert done.code == 1
    assert "looks like an image, not a mask" in done.err
    assert "Traceback" not in done.err


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
    monkeypatch.setattr(masks, "FORMATS", unheld())
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


def test_masks_of_many_sizes_have_every_figure_but_the_heat_map() -> None:
    options = ShownOptions(masks=REAL / "cdnet2014/baseline", preset="cdnet2014")
    found, missing = figures_of(gather(options).material)
    assert [one.figure for one in found] == ["distribution", "binarisation", "regions"]
    assert {one.figure for one in missing} == {"splits", "heat-map"}
    assert sum(row.images for row in found[0].rows) == 100  # type: ignore[attr-defined]
