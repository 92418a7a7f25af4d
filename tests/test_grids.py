"""Grids of predictions and masks that differ in unusual ways, and what is told."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import rasterio
from affine import Affine
from helpers import run
from rasterio.control import GroundControlPoint
from test_ground import HERE, UTM, confusion, tif

import cdstats

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

    Array = NDArray[Any]

pytestmark = [
    pytest.mark.filterwarnings("ignore:Dataset has no geotransform"),
    pytest.mark.filterwarnings("ignore:Use `@` matmul:PendingDeprecationWarning"),
]
RNG = np.random.default_rng(11)
MASK = (RNG.random((64, 64)) < 0.3).astype(np.uint8)
GUESS = (RNG.random((64, 64)) < 0.3).astype(np.uint8)
LOCAL = 'LOCAL_CS["site grid",UNIT["metre",1]]'


def loss(folder: Path, *options: str) -> tuple[int, dict[str, Any], str]:
    """Exit code, the row of the image, and what was told."""
    files = ["--pred", folder / "p/a.tif", "--target", folder / "t/a.tif"]
    done = run("loss", *files, "--format", "json", "--by", "image", *options)
    return done.code, done.data()["images"][0], done.err


def counts(row: dict[str, Any]) -> tuple[int, ...]:
    return tuple(row[name] for name in ("tp", "fp", "fn", "tn"))


@pytest.mark.parametrize("scale", [1.0003, 0.9997, 1.001, 1.1])
def test_another_pixel_size_is_told_as_that(scale: float, tmp_path: Path) -> None:
    tif(tmp_path / "t/a.tif", MASK, HERE)
    tif(tmp_path / "p/a.tif", GUESS, HERE @ Affine.scale(scale))
    code, row, _ = loss(tmp_path)
    assert code == 1
    sizes = f"pixels of {scale} x {scale}, its mask of 1 x 1"
    assert sizes in row["reason"]
    assert "lies" not in row["reason"]


def test_a_local_system_has_no_transformation(tmp_path: Path) -> None:
    tif(tmp_path / "t/a.tif", MASK, HERE)
    tif(tmp_path / "p/a.tif", GUESS, HERE, LOCAL)
    for way in ("check", "warp", "overlap"):
        code, row, err = loss(tmp_path, "--grid", way)
        assert code == 1
        assert "is site grid, its mask EPSG:32633; no transformation" in row["reason"]
        assert "--grid warp" not in row["reason"]
        assert "PROJ" not in row["reason"] + err


def test_one_local_system_is_resampled(tmp_path: Path) -> None:
    tif(tmp_path / "t/a.tif", MASK, HERE, LOCAL)
    tif(tmp_path / "p/a.tif", GUESS, HERE @ Affine.translation(3, 0), LOCAL)
    code, row, _ = loss(tmp_path, "--grid", "warp")
    assert (code, counts(row)) == (0, confusion(GUESS[:, :-3], MASK[:, 3:]))


@pytest.mark.parametrize("role", ["p", "t"])
@pytest.mark.parametrize("kind", ["points", "rpc"])
def test_a_place_that_cannot_be_compared_is_told(
    kind: str, role: str, tmp_path: Path
) -> None:
    tif(tmp_path / "t/a.tif", MASK, HERE)
    tif(tmp_path / "p/a.tif", GUESS, HERE)
    values = {"p": GUESS, "t": MASK}[role]
    how: dict[str, Any] = {"count": 1, "height": 64, "width": 64, "dtype": "uint8"}
    if kind == "points":
        bent = [(0, 0), (0, 64), (64, 0), (64, 64), (32, 40)]
        how["gcps"] = [
            GroundControlPoint(y, x, 500_000 + x + (x == 40) * 9, 5_000_000 - y)
            for y, x in bent
        ]
        how["crs"] = UTM
    with rasterio.open(tmp_path / role / "a.tif", "w", "GTiff", **how) as file:
        file.write(values, 1)
        if kind == "rpc":
            file.update_tags(ns="RPC", **RPC)
    code, row, err = loss(tmp_path)
    assert (code, row["grid"]) == (0, "none")
    words = "control points or RPCs instead of a transform"
    whose = "has " if role == "p" else "has a mask with "
    assert f"a.tif {whose}{words}" in err
    assert counts(row) == confusion(GUESS, MASK)


ONES = " ".join(["1"] * 20)
RPC = {
    **{f"{one}_OFF": "1" for one in ("LINE", "SAMP", "LAT", "LONG", "HEIGHT")},
    **{f"{one}_SCALE": "1" for one in ("LINE", "SAMP", "LAT", "LONG", "HEIGHT")},
    **{
        f"{one}_COEFF": ONES for one in ("LINE_NUM", "LINE_DEN", "SAMP_NUM", "SAMP_DEN")
    },
}


@pytest.mark.parametrize("way", ["overlap", "warp"])
def test_uncovered_pixels_fail_where_that_is_typed(way: str, tmp_path: Path) -> None:
    tif(tmp_path / "t/a.tif", MASK, HERE)
    tif(tmp_path / "p/a.tif", GUESS, HERE @ Affine.translation(4, 0))
    code, row, err = loss(tmp_path, "--grid", way, "--uncovered", "fail")
    assert (code, row["status"]) == (1, "failed")
    changed = MASK[:, :4].sum()
    assert f"256 valid pixels ({changed} of them changed)" in row["reason"]
    assert "implies" not in err
    code, row, err = loss(tmp_path, "--grid", way)
    assert (code, row["uncovered"]) == (0, 256)
    assert f"--grid {way} implies --uncovered ignore" in err
    found = cdstats.loss(
        tmp_path / "p/a.tif",
        tmp_path / "t/a.tif",
        grid=way,
        uncovered="fail",
        errors="keep",
    )
    assert found.images[0].status == "failed"
    typed = loss(tmp_path, "--grid", way, "--uncovered", "ignore")
    assert (typed[0], "implies" in typed[2]) == (0, False)


@pytest.mark.parametrize("way", ["overlap", "warp"])
def test_crops_that_cover_all_pass_where_fail_is_typed(
    way: str, tmp_path: Path
) -> None:
    tif(tmp_path / "t/a.tif", MASK, HERE)
    for x in (0, 32):
        where = HERE @ Affine.translation(x, 0)
        tif(tmp_path / f"p/a_0_{x}.tif", GUESS[:, x : x + 32], where)
    pattern, target = f"{tmp_path}/p/{{}}_{{y}}_{{x}}.tif", f"{tmp_path}/t/{{}}.tif"
    (row,) = cdstats.loss(pattern, target, grid=way, uncovered="fail").images
    assert (row.tp, row.uncovered) == (confusion(GUESS, MASK)[0], 0)


@pytest.mark.parametrize(
    ("dtype", "top", "options"),
    [
        ("uint8", 1, ()),
        ("uint8", 255, ()),
        ("int16", 1, ()),
        ("float32", 1, ()),
        ("float64", 1, ()),
        ("float32", 255, ("--scale", "255")),
        ("float32", 3, ("--pred-changed", "3", "--pred-unchanged", "0")),
        ("uint8", 3, ("--pred-changed", "3", "--pred-unchanged", "0")),
        ("float32", 1, ("--kind", "hard")),
    ],
)
def test_labels_of_any_type_are_resampled_by_the_nearest(
    dtype: str, top: int, options: tuple[str, ...], tmp_path: Path
) -> None:
    coarse = GUESS[:32, :32]
    stored = (coarse * np.float32(top)).astype(dtype)
    where = HERE @ Affine.scale(2)
    tif(tmp_path / "p/a.tif", stored, where)
    tif(tmp_path / "t/a.tif", MASK, HERE)
    code, row, _ = loss(tmp_path, "--grid", "warp", *options)
    fine = np.kron(coarse, np.ones((2, 2), np.uint8))
    assert (code, counts(row)) == (0, confusion(fine, MASK))
    assert row["prob_sum"] == fine.sum()
