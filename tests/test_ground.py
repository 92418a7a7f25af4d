"""Which ground is scored: grids of predictions and masks, and crops of masks."""

from __future__ import annotations

import json
from html import escape
from typing import TYPE_CHECKING, Any, cast

import helpers
import numpy as np
import pytest
import rasterio
from affine import Affine
from helpers import Done
from PIL import Image
from rasterio.crs import CRS
from rasterio.warp import calculate_default_transform

import cdstats

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

    Array = NDArray[Any]

# Rasterio and affine warn of rasters without a place, and of their own operators.
pytestmark = [
    pytest.mark.filterwarnings("ignore:Dataset has no geotransform"),
    pytest.mark.filterwarnings("ignore:Use `@` matmul:PendingDeprecationWarning"),
]

EAST, NORTH = 500_000, 5_000_000
HERE = Affine(1, 0, EAST, 0, -1, NORTH)
COS, SIN = np.cos(np.radians(5)), np.sin(np.radians(5))
TURNED = Affine(COS, -SIN, EAST, -SIN, -COS, NORTH)
UTM = "EPSG:32633"
RNG = np.random.default_rng(7)
MASK = (RNG.random((24, 32)) < 0.3).astype(np.uint8)
GUESS = (RNG.random((24, 32)) < 0.3).astype(np.uint8)
CORNERS = [(0, 0), (0, 16), (12, 0), (12, 16)]


class Seen(Done):
    """What `cdstats loss` wrote, read as JSON."""

    @property
    def whole(self) -> dict[str, Any]:
        return cast("dict[str, Any]", self.data()["dataset"])

    @property
    def images(self) -> list[dict[str, Any]]:
        return cast("list[dict[str, Any]]", self.data()["images"])

    @property
    def counts(self) -> tuple[int, ...]:
        """True and false positives, false and true negatives."""
        return tuple(self.whole[name] for name in ("tp", "fp", "fn", "tn"))


def run(*arguments: object) -> Seen:
    return Seen(**vars(helpers.run(*arguments)))


def loss(pred: object, target: object, *options: object) -> Seen:
    json_rows = ("--format", "json", "--by", "image")
    return run("loss", "--pred", pred, "--target", target, *json_rows, *options)


def tif(
    path: Path,
    values: Array,
    where: Affine | None = HERE,
    crs: str | None = UTM,
    nodata: float | None = None,
) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    height, width = values.shape
    kind = {"count": 1, "height": height, "width": width, "nodata": nodata}
    place = {} if where is None else {"transform": where, "crs": crs}
    with rasterio.open(path, "w", "GTiff", dtype=values.dtype, **kind, **place) as file:
        file.write(values, 1)


def moved(east: float, south: float = 0) -> Affine:
    return Affine(1, 0, EAST + east, 0, -1, NORTH - south)


def confusion(guess: Array, mask: Array) -> tuple[int, ...]:
    p, t = guess.astype(bool), mask.astype(bool)
    return tuple(int(one.sum()) for one in (p & t, p & ~t, ~p & t, ~p & ~t))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with one mask."""
    tif(tmp_path / "t/a.tif", MASK)
    return tmp_path


@pytest.mark.parametrize(
    ("where", "crs", "words"),
    [
        (moved(20), UTM, ["20 pixels east"]),
        (moved(-3, 2), UTM, ["3 pixels west", "2 pixels south"]),
        (moved(0.5), UTM, ["0.5 pixels east"]),
        (Affine(1e-5, 0, 15, 0, -1e-5, 45), "EPSG:4326", ["EPSG:4326", UTM]),
        (Affine(2, 0, EAST, 0, -2, NORTH), UTM, ["pixels of 2 x 2", "1 x 1"]),
        (TURNED, UTM, ["is rotated"]),
        (Affine(1, 0, EAST, 0, 1, NORTH - 24), UTM, ["rotated, mirrored"]),
    ],
    ids=["whole", "two-ways", "part", "crs", "size", "rotation", "south-up"],
)
def test_another_grid_fails(
    folder: Path, where: Affine, crs: str, words: list[str]
) -> None:
    tif(folder / "p/a.tif", MASK, where, crs)
    seen = loss(folder / "p", folder / "t")
    assert seen.code == 1
    row = seen.images[0]
    assert row["status"] == "failed"
    assert [word for word in words if word not in row["reason"]] == []


@pytest.mark.parametrize(
    ("where", "crs", "grid"),
    [
        (moved(0.009), UTM, "check"),
        (HERE, "+proj=utm +zone=33 +datum=WGS84 +units=m", "check"),
        (None, None, "none"),
    ],
    ids=["hundredth", "two-names", "no-georeference"],
)
def test_the_same_ground_is_scored(
    folder: Path, where: Affine | None, crs: str | None, grid: str
) -> None:
    tif(folder / "p/a.tif", GUESS, where, crs)
    seen = loss(folder / "p", folder / "t")
    assert (seen.code, seen.counts) == (0, confusion(GUESS, MASK))
    assert seen.whole["grid"] == seen.images[0]["grid"] == grid


def test_overlap_scores_the_pixels_in_common(folder: Path) -> None:
    tif(folder / "p/a.tif", GUESS, moved(5, -3))
    seen = loss(folder / "p", folder / "t", "--grid", "overlap")
    assert (seen.code, seen.counts) == (0, confusion(GUESS[3:, :-5], MASK[:-3, 5:]))
    assert seen.whole["uncovered"] == MASK.size - 21 * 27
    assert "implies --uncovered ignore" in seen.err


def test_overlap_needs_a_shift_of_whole_pixels(folder: Path) -> None:
    tif(folder / "p/a.tif", GUESS, moved(2.5))
    seen = loss(folder / "p", folder / "t", "--grid", "overlap")
    assert seen.code == 1
    assert "--grid overlap" not in seen.images[0]["reason"]


def test_warp_takes_the_nearest_label(folder: Path) -> None:
    coarse = GUESS[:12, :16]
    tif(folder / "p/a.tif", coarse, Affine(2, 0, EAST, 0, -2, NORTH))
    seen = loss(folder / "p", folder / "t", "--grid", "warp")
    fine = np.kron(coarse, np.ones((2, 2), np.uint8))
    assert (seen.code, seen.counts) == (0, confusion(fine, MASK))


def test_warp_by_whole_pixels_equals_overlap(folder: Path) -> None:
    p = RNG.random(MASK.shape).astype(np.float32)
    tif(folder / "p/a.tif", p, moved(4, 2))
    for way in ("warp", "overlap"):
        seen = loss(folder / "p", folder / "t", "--grid", way)
        assert seen.counts == confusion(p[:-2, :-4] >= 0.5, MASK[2:, 4:]), way
        expected = p[:-2, :-4].sum(dtype=np.float64)
        assert seen.whole["prob_sum"] == pytest.approx(expected, rel=1e-6), way


def test_warp_is_bilinear_for_probabilities(folder: Path) -> None:
    p = RNG.random((24, 33)).astype(np.float32)
    tif(folder / "p/a.tif", p, moved(-0.5))
    seen = loss(folder / "p", folder / "t", "--grid", "warp")
    middle = (p[:, :-1].astype(np.float64) + p[:, 1:]) / 2
    assert seen.whole["prob_sum"] == pytest.approx(middle.sum(), rel=1e-5)


@pytest.mark.parametrize("nodata", [None, -9999.0])
def test_warp_leaves_out_what_lacks_a_score_only_if_told(
    nodata: float | None, folder: Path
) -> None:
    p = RNG.random((24, 33)).astype(np.float32)
    p[5:9] = np.nan if nodata is None else nodata
    tif(folder / "p/a.tif", p, moved(-0.5), nodata=nodata)
    seen = loss(folder / "p", folder / "t", "--grid", "warp")
    assert seen.code == 1
    assert "valid pixels" in seen.images[0]["reason"]
    line = (folder / "p", folder / "t", "--grid", "warp", "--pred-nodata", "ignore")
    seen = loss(*line)
    assert seen.code == (1 if nodata is None else 0)
    if nodata is not None:
        assert seen.whole["changed"] + seen.whole["unchanged"] <= MASK.size - 2 * 32


def test_ignore_compares_the_arrays_with_a_note(folder: Path) -> None:
    tif(folder / "p/a.tif", GUESS, moved(20))
    seen = loss(folder / "p", folder / "t", "--grid", "ignore")
    assert (seen.code, seen.counts) == (0, confusion(GUESS, MASK))
    assert "20 pixels east" in seen.err


@pytest.mark.parametrize("east", [0.009, 0.011])
@pytest.mark.parametrize("role", ["pred", "target"])
@pytest.mark.parametrize("kind", ["pgw", "bpw", "tfw", "TFW", "aux.xml"])
def test_every_kind_of_georeference_counts(
    tmp_path: Path, kind: str, role: str, east: float
) -> None:
    other = "target" if role == "pred" else "pred"
    arrays = {"pred": GUESS, "target": MASK}
    tif(tmp_path / other / "a.tif", arrays[other])
    placed(tmp_path / role, arrays[role], kind, east)
    seen = loss(tmp_path / "pred", tmp_path / "target")
    assert seen.images[0]["grid"] == "check"
    if east < 0.01:
        assert (seen.code, seen.counts) == (0, confusion(GUESS, MASK))
    else:
        way = "east" if role == "pred" else "west"
        assert seen.code == 1
        assert f"lies {east:g} pixels {way} of its mask" in seen.images[0]["reason"]


def placed(folder: Path, values: Array, kind: str, east: float) -> None:
    """Write an image that lies some pixels east, as its file or one beside it says."""
    where = moved(east)
    folder.mkdir(exist_ok=True)
    ending = {"pgw": "png", "bpw": "bmp", "aux.xml": "png"}.get(kind, "tif")
    if ending == "tif":
        tif(folder / "a.tif", values, None)
    else:
        Image.fromarray(values * 255).save(folder / f"a.{ending}")
    if kind == "aux.xml":
        numbers = ", ".join(map(str, where.to_gdal()))
        (folder / "a.png.aux.xml").write_text(
            f"<PAMDataset><SRS>{escape(CRS.from_epsg(32633).to_wkt())}</SRS>"
            f"<GeoTransform>{numbers}</GeoTransform></PAMDataset>"
        )
        return
    middle = where @ (0.5, 0.5)
    lines = (where.a, where.d, where.b, where.e, *middle)
    (folder / f"a.{kind}").write_text("\n".join(map(repr, map(float, lines))))


def test_a_prediction_without_a_place_is_compared_as_it_is(folder: Path) -> None:
    (folder / "p").mkdir()
    np.save(folder / "p/a.npy", GUESS)
    seen = loss(folder / "p", folder / "t")
    assert (seen.code, seen.counts) == (0, confusion(GUESS, MASK))
    assert seen.whole["grid"] == "none"


@pytest.mark.parametrize(
    "crs", [UTM, CRS.from_epsg(32633).to_wkt(), "EPSG:25833", None]
)
@pytest.mark.parametrize("way", ["check", "overlap", "warp"])
def test_systems_that_agree_are_one_ground(
    folder: Path, crs: str | None, way: str
) -> None:
    tif(folder / "p/a.tif", GUESS, HERE, crs)
    seen = loss(folder / "p", folder / "t", "--grid", way)
    assert (seen.code, seen.counts) == (0, confusion(GUESS, MASK))
    assert (seen.whole["grid"], seen.whole["uncovered"]) == (way, 0)


TURNS = {
    "south-up": (Affine(1, 0, EAST, 0, 1, NORTH - 24), GUESS[::-1]),
    "mirrored": (Affine(-1, 0, EAST + 32, 0, -1, NORTH), GUESS[:, ::-1]),
    "turned-180": (Affine(-1, 0, EAST + 32, 0, 1, NORTH - 24), GUESS[::-1, ::-1]),
    "turned-90": (Affine(0, 1, EAST, 1, 0, NORTH - 24), np.rot90(GUESS, -1)),
    "turned-270": (Affine(0, -1, EAST + 32, -1, 0, NORTH), np.rot90(GUESS)),
}


@pytest.mark.parametrize("turn", TURNS)
def test_warp_turns_back_what_is_turned(folder: Path, turn: str) -> None:
    where, values = TURNS[turn]
    tif(folder / "p/a.tif", np.ascontiguousarray(values), where)
    assert "failed" in [
        one["status"] for one in loss(folder / "p", folder / "t").images
    ]
    seen = loss(folder / "p", folder / "t", "--grid", "warp")
    assert (seen.code, seen.counts) == (0, confusion(GUESS, MASK))
    assert seen.whole["uncovered"] == 0


def test_degrees_are_brought_onto_metres(folder: Path) -> None:
    bounds = {"left": EAST, "bottom": NORTH - 24, "right": EAST + 32, "top": NORTH}
    where, width, height = calculate_default_transform(
        UTM, "EPSG:4326", 32, 24, **bounds
    )
    row = np.linspace(0, 1, width, dtype=np.float32)
    tif(folder / "p/a.tif", np.tile(row, (height, 1)), where, "EPSG:4326")
    seen = loss(folder / "p", folder / "t")
    assert "is EPSG:4326, its mask EPSG:32633" in seen.images[0]["reason"]
    seen = loss(folder / "p", folder / "t", "--grid", "warp")
    assert seen.code == 0
    assert seen.whole["uncovered"] < 100
    scored = MASK.size - seen.whole["uncovered"]
    assert seen.whole["prob_sum"] / scored == pytest.approx(0.5, abs=0.01)


@pytest.mark.parametrize("way", ["check", "overlap", "warp"])
def test_ground_that_is_not_shared_fails(folder: Path, way: str) -> None:
    tif(folder / "t/b.tif", MASK)
    tif(folder / "p/b.tif", GUESS)
    tif(folder / "p/a.tif", GUESS, moved(1000))
    seen = loss(folder / "p", folder / "t", "--grid", way)
    assert seen.code == 1
    row = seen.images[0]
    assert (row["status"], row["grid"]) == ("failed", way)
    assert "1,000 pixels east of its mask; the two share no pixel" in row["reason"]
    assert "--grid overlap" not in row["reason"]
    assert seen.images[1]["status"] == "ok"


@pytest.mark.parametrize("way", ["check", "overlap", "warp", "ignore"])
@pytest.mark.parametrize("east", [0, 2])
def test_crops_with_a_place_of_their_own(folder: Path, way: str, east: int) -> None:
    for y, x in CORNERS:
        part = GUESS[y : y + 12, x : x + 16]
        tif(folder / f"p/a_{y}_{x}.tif", part, moved(x + east, y))
    seen = loss(f"{folder}/p/{{}}_{{y}}_{{x}}.tif", folder / "t/{}.tif", "--grid", way)
    if east and way == "check":
        assert seen.code == 1
        reasons = [row["reason"] for row in seen.images]
        assert "lies 2 pixels east of row 12, column 16 of its mask" in reasons[3]
        return
    moves = bool(east) and way != "ignore"
    guess, mask = (GUESS[:, :-2], MASK[:, 2:]) if moves else (GUESS, MASK)
    assert (seen.code, seen.counts) == (0, confusion(guess, mask))
    assert seen.whole["uncovered"] == 48 * moves
    assert len(seen.images) == (1 if way in ("overlap", "warp") else 4)


def test_rows_and_columns_that_are_swapped_fail(folder: Path) -> None:
    for y, x in CORNERS:
        tif(folder / f"p/a_{x}_{y}.tif", GUESS[y : y + 12, x : x + 16], moved(x, y))
    seen = loss(f"{folder}/p/{{}}_{{y}}_{{x}}.tif", folder / "t/{}.tif")
    assert seen.code == 1
    assert "16 pixels east and 16 pixels north of row 16" in json.dumps(seen.images)


@pytest.mark.parametrize("way", ["check", "overlap", "warp", "ignore"])
def test_a_stack_has_no_place(tmp_path: Path, way: str) -> None:
    np.save(tmp_path / "t.npy", np.stack([MASK, MASK]))
    np.save(tmp_path / "p.npy", np.stack([GUESS, MASK]))
    seen = loss(tmp_path / "p.npy", tmp_path / "t.npy", "--grid", way)
    assert seen.code == 0
    both = np.hstack([GUESS, MASK]), np.hstack([MASK, MASK])
    assert seen.counts == confusion(*both)
    assert [row["grid"] for row in seen.images] == ["none", "none"]


@pytest.mark.parametrize("way", ["overlap", "warp"])
def test_splits_and_models_say_what_was_scored(tmp_path: Path, way: str) -> None:
    for split, east in (("train", 0), ("test", 4)):
        tif(tmp_path / f"t/{split}/label/a.tif", MASK)
        for model in "mn":
            tif(tmp_path / f"{model}/{split}/label/a.tif", GUESS, moved(east))
    models = ("--pred", f"m={tmp_path}/m", "--pred", f"n={tmp_path}/n")
    options = ("--target", tmp_path / "t", "--grid", way, "--format", "json")
    seen = run("loss", *models, *options)
    assert seen.code == 0
    rows = {(row["model"], row["split"]): row for row in seen.images}
    assert {key: row["uncovered"] for key, row in rows.items()} == {
        **{(model, "train"): 0 for model in "mn"},
        **{(model, "test"): 96 for model in "mn"},
    }
    one = run("loss", *models[:2], *options, "--split", "test")
    assert one.counts == confusion(GUESS[:, :-4], MASK[:, 4:])


COMMANDS = {
    "compare": ("--resamples", 10, "--format", "json"),
    "report": ("--output", "page.html"),
    "plot": ("--output", "figures", "--format", "svg", "--only", "errors"),
}


@pytest.mark.usefixtures("blank_figures")
@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_checks_grids(
    folder: Path, command: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(folder)
    p = RNG.random(MASK.shape).astype(np.float32)
    for model in "mn":
        tif(folder / f"{model}/a.tif", p, moved(4))
    models = ("--pred", "m=m", "--pred", "n=n", "--target", "t")
    seen = run(command, *models, *COMMANDS[command])
    assert seen.code == 1
    assert "4 pixels east of its mask" in seen.err
    seen = run(command, *models, *COMMANDS[command], "--grid", "warp")
    assert seen.code == 0, seen.err
    assert "no error image" not in seen.err
    tp, fp, fn, tn = confusion(p[:, :-4] >= 0.5, MASK[:, 4:])
    if command == "compare":
        model = json.loads(seen.out)["models"][0]
        assert (model["grid"], model["ignored"]) == ("warp", 0)
        f1 = model["measures"]["f1_pooled"]["value"]
        assert f1 == pytest.approx(2 * tp / (2 * tp + fp + fn))
    elif command == "report":
        page = (folder / "page.html").read_text()
        assert "grid: warp" in page
        assert f"TP {tp}, FP {fp}, FN {fn}, TN {tn}" in page
    else:
        text = (folder / "figures/errors-m.csv").read_text()
        assert f",{tp},{fp},{fn},{tn}," in text
        assert ",warp," in text


def test_python_checks_grids(folder: Path) -> None:
    tif(folder / "p/a.tif", GUESS, moved(4))
    row = cdstats.loss(folder / "p", folder / "t", errors="keep").images[0]
    assert '4 pixels east of its mask. grid="overlap" scores' in row.reason
    found = cdstats.loss(folder / "p", folder / "t", grid="overlap")
    assert found.images[0].uncovered == 96
    assert 'implies uncovered="ignore"' in found.messages[0].text


def test_audit_finds_masks_on_another_grid(tmp_path: Path) -> None:
    for name, east in (("good", 0), ("bad", 20)):
        tif(tmp_path / name / "label/0.tif", MASK)
        for beside in "AB":
            tif(tmp_path / name / beside / "0.tif", GUESS * 90, moved(east))
    seen = run("audit", tmp_path / "bad", tmp_path / "good", "--format", "json")
    found = [f for f in json.loads(seen.out)["findings"] if f["check"] == "grid"]
    assert [(f["dataset"], f["severity"]) for f in found] == [("bad", "warning")]


def crops(
    folder: Path,
    values: Array,
    corners: list[tuple[int, int]],
    size: tuple[int, int] = (12, 16),
    name: str = "p",
) -> str:
    """Write crops of an array; give their pattern."""
    for y, x in corners:
        part = values[y : y + size[0], x : x + size[1]]
        tif(folder / f"{name}/a_{y}_{x}.tif", part, None)
    return str(folder / name) + "/{}_{y}_{x}.tif"


def test_uncovered_pixels_fail(folder: Path) -> None:
    seen = loss(crops(folder, GUESS, CORNERS[:3]), folder / "t/{}.tif")
    assert seen.code == 1
    text = f"192 valid pixels ({MASK[12:, 16:].sum()} of them changed)"
    assert all(text in row["reason"] for row in seen.images)


@pytest.mark.parametrize("way", ["ignore", "unchanged"])
def test_uncovered_pixels_are_counted(folder: Path, way: str) -> None:
    p = RNG.random(MASK.shape).astype(np.float32)
    pattern = crops(folder, p, CORNERS[:3])
    seen = loss(pattern, folder / "t/{}.tif", "--uncovered", way)
    inside = np.ones(MASK.shape, bool)
    inside[12:, 16:] = False
    guess = (p >= 0.5) & inside
    scored = inside if way == "ignore" else np.ones_like(inside)
    assert (seen.code, seen.counts) == (0, confusion(guess[scored], MASK[scored]))
    assert seen.whole["uncovered"] == 192
    right = np.where(MASK, p, 1 - p)[inside].astype(np.float64)
    assert seen.whole["bce_mean"] == pytest.approx(-np.log(right).mean(), rel=1e-5)


def test_ignored_pixels_are_not_uncovered(tmp_path: Path) -> None:
    mask = MASK * 255
    mask[12:, 16:] = 128
    tif(tmp_path / "t/a.tif", mask, None)
    rule = ("--changed", 255, "--unchanged", 0, "--ignore", 128)
    seen = loss(crops(tmp_path, GUESS, CORNERS[:3]), tmp_path / "t/{}.tif", *rule)
    used = mask != 128
    assert (seen.code, seen.counts) == (0, confusion(GUESS[used], MASK[used]))


@pytest.mark.parametrize("way", ["refuse", "mean", "first", "centre"])
def test_overlapping_crops(folder: Path, way: str) -> None:
    left, right = RNG.random((2, 24, 20)).astype(np.float32)
    tif(folder / "p/a_0_0.tif", left, None)
    tif(folder / "p/a_0_12.tif", right, None)
    pattern = str(folder / "p") + "/{}_{y}_{x}.tif"
    seen = loss(pattern, folder / "t/{}.tif", "--overlap", way)
    if way == "refuse":
        assert seen.code == 1
        assert "overlaps another crop" in json.dumps(seen.images)
        return
    p = np.hstack([left, right[:, 8:]]).astype(np.float64)
    if way == "mean":
        p[:, 12:20] = (left[:, 12:].astype(np.float64) + right[:, :8]) / 2
    if way == "centre":
        p[:, 16:20] = right[:, 4:8]
    assert (seen.code, len(seen.images)) == (0, 1)
    assert seen.counts == confusion(p >= 0.5, MASK)
    assert seen.whole["prob_sum"] == pytest.approx(p.sum(), rel=1e-6)


def test_crops_are_cut_at_the_edge(folder: Path) -> None:
    padded = np.pad(GUESS, ((0, 6), (0, 8)), constant_values=1)
    corners = [(y, x) for y in (0, 15) for x in (0, 20)]
    seen = loss(crops(folder, padded, corners, (15, 20)), folder / "t/{}.tif")
    assert (seen.code, seen.counts) == (0, confusion(GUESS, MASK))
    assert "3 crops cut at the right or lower edge" in seen.err


@pytest.mark.parametrize("names", ["{row}_{col}", "{n}"])
@pytest.mark.parametrize("first", [0, 1])
@pytest.mark.parametrize("missing", [0, 1])
def test_numbers_of_tiles(folder: Path, names: str, first: int, missing: int) -> None:
    for number in range(4 - missing):
        row, col = divmod(number, 2)
        at = {"row": row + first, "col": col + first, "n": number + first}
        part = GUESS[row * 12 : row * 12 + 12, col * 16 : col * 16 + 16]
        tif(folder / f"p/a_{names.format(**at)}.tif", part, None)
    pattern = f"{folder}/p/{{}}_{names}.tif"
    seen = loss(pattern, folder / "t/{}.tif", "--uncovered", "ignore")
    if first and missing:
        assert seen.code == 1
        assert "start at 0 or 1" in json.dumps(seen.images)
        return
    used = np.ones(MASK.shape, bool)
    used[12:, 16:] = not missing
    assert (seen.code, seen.counts) == (0, confusion(GUESS[used], MASK[used]))


def test_masks_are_no_predictions(folder: Path) -> None:
    seen = loss(folder / "t", folder / "t")
    assert seen.code != 0
    assert "masks themselves" in seen.err


def test_a_model_that_is_the_masks_is_left_out(folder: Path) -> None:
    tif(folder / "a/a.tif", GUESS)
    seen = loss(f"{folder}/{{model}}/{{}}.tif", folder / "t/{}.tif")
    assert (seen.code, seen.counts) == (0, confusion(GUESS, MASK))
    assert "t: the model skipped" in seen.err
