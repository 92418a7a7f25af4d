"""Every mask at hand, counted and scored again by a checker of its own.

The checker (`tests/oracle`) is Pillow, NumPy and plain Python. Real masks may not be
redistributed; they lie beside the checkout or are left out.
"""

from __future__ import annotations

import csv
import re
from collections import defaultdict
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from helpers import run
from oracle import masks as again
from oracle import scores
from oracle.masks import WHITE, Count, Rule

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

SAMPLES = Path(__file__).parents[1] / "sample_masks"
REAL = Path(__file__).parents[2] / "shared" / "real_masks"
CDNET = Rule({255}, {0, 50}, {85, 170})
XVIEW = Rule({2, 3, 4}, {0, 1})


@dataclass(frozen=True)
class Masks:
    """Masks of one encoding: what the command is given, and what the checker reads."""

    root: Path
    place: str
    files: str
    rule: Rule = WHITE
    options: str = ""
    band: int | None = None

    def __str__(self) -> str:
        return " ".join([self.root.name, self.place, *self.options.split()])

    @property
    def given(self) -> list[str]:
        return [str(self.root / self.place), *self.options.split()]

    @property
    def paths(self) -> list[Path]:
        found = sorted(self.root.glob(self.files))
        assert found, self.files
        return found


def sample(place: str, files: str, *others: Any) -> Masks:
    return Masks(SAMPLES, place, files, *others)


def real(place: str, files: str, *others: Any, **named: Any) -> Masks:
    return Masks(REAL, place, files, *others, **named)


SAMPLE_SETS = [
    sample("CDD", "CDD/*/OUT/*.jpg", Rule(range(128, 256), range(128))),
    sample("BCDD", "BCDD/*/*.tif", Rule({1}, {0})),
    sample(
        "awkward/one_two.tif",
        "awkward/one_two.tif",
        Rule({2}, {1}),
        "--preset oscd-tif",
    ),
    sample("awkward/palette.png", "awkward/palette.png", CDNET, "--preset cdnet2014"),
    sample("awkward/rgba.png", "awkward/rgba.png"),
    sample("awkward/nodata.tif", "awkward/nodata.tif", Rule({1}, {0})),
]
REAL_SETS = [
    real(
        "cdd_jpeg/CDD",
        "cdd_jpeg/CDD/*/out/*.jpg",
        Rule(range(1, 256), {0}),
        "--changed >0 --unchanged 0",
    ),
    real("cdnet2014", "cdnet2014/*/*/gt*.png", CDNET, "--preset cdnet2014"),
    real(
        "sbi2015",
        "sbi2015/*/*/gt*.png",
        Rule({255}, {0}, {170}),
        "--preset sbi2015",
    ),
    real("ucsd_bgs", "ucsd_bgs/*/*/*/gt*.png"),
    real("dsifn_256", "dsifn_256/label/*.png"),
    real("dsifn_256/predict_*", "dsifn_256/predict_*/*.png"),
    real("levir_crops_256", "levir_crops_256/label/*.png"),
    real("levir_crops_256/predict_*", "levir_crops_256/predict_*/*.png"),
    real("levir_crops_256/output_STANet", "levir_crops_256/output_STANet/*.png"),
    real("levir_full_1024", "levir_full_1024/label/*.png"),
    real("levir_full_1024/pred", "levir_full_1024/pred/*.png"),
    real(
        "levir_patch_errormap/paper/images",
        "levir_patch_errormap/paper/images/*_mask.png",
    ),
    real("oscd", "oscd/*/*/cm/*-cm.tif", Rule({2}, {1}), "--preset oscd-tif"),
    real("oscd", "oscd/*/*/cm/cm.png", WHITE, "--preset oscd-png"),
    real("paddlers_ssmt/binary_gt.bmp", "paddlers_ssmt/binary_gt.bmp"),
    real("sar_sanfrancisco/pic/{}_gt.bmp", "sar_sanfrancisco/pic/*_gt.bmp"),
    real("sztaki_airchange", "sztaki_airchange/*/*/gt.*"),
    real("s2_mine_geotiff/data", "s2_mine_geotiff/data/**/*.tif", Rule({1}, {0})),
    real(
        "xview2_damage/output/dmg",
        "xview2_damage/output/dmg/*.tif",
        XVIEW,
        "--preset xbd-post",
        band=1,
    ),
    real(
        "xview2_damage/output/loc",
        "xview2_damage/output/loc/*.tif",
        Rule({1}, {0}),
        "--band 1",
        band=1,
    ),
    real(
        "xview2_targets_synthetic",
        "xview2_targets_synthetic/**/*target.png",
        XVIEW,
        "--changed 2,3,4 --unchanged rest",
    ),
    real("landsat_partial/Taizhou/pred", "landsat_partial/Taizhou/pred/*.png"),
    real("landsat_partial/Taizhou/change.bmp", "landsat_partial/Taizhou/change.bmp"),
    real(
        "landsat_partial/Taizhou/unchanged.bmp",
        "landsat_partial/Taizhou/unchanged.bmp",
    ),
]
real_masks = pytest.mark.skipif(
    not REAL.is_dir(), reason=f"the real masks are not at {REAL}"
)
FEW = ("awkward", "BCDD", "CDD", "levir_crops_256", "Taizhou/pred", "output/loc")
"""What names the sets that each run checks; the others need --full."""


def sets(names: tuple[str, ...]) -> pytest.MarkDecorator:
    """A parameter for each set; those without one of the names need --full."""
    found = []
    for one in (*SAMPLE_SETS, *REAL_SETS):
        marks = [real_masks] if one in REAL_SETS else []
        if not any(name in str(one) for name in names):
            marks.append(pytest.mark.full)
        found.append(pytest.param(one, marks=marks))
    return pytest.mark.parametrize("masks", found, ids=str)


every_set = sets(FEW)
drawn_sets = sets(("awkward/palette", "awkward/nodata", "output_STANet"))


def data(*arguments: object) -> Any:
    done = run(*arguments, "--quiet", "--format", "json")
    assert done.code == 0, done.err
    return done.data()


@cache
def label_of(path: Path, masks: Masks) -> NDArray[np.uint8]:
    return again.labels(*again.read(path, masks.band), masks.rule)


@cache
def counts_of(masks: Masks) -> dict[Path, Count]:
    return {path: again.count(label_of(path, masks)) for path in masks.paths}


def matching(masks: Masks, name: str) -> Path:
    """The one file that a path of a row means."""
    found = [path for path in masks.paths if path.as_posix().endswith(f"/{name}")]
    assert len(found) == 1, name
    return found[0]


def assert_same(found: dict[str, Any], expected: dict[str, Any], rel: float) -> None:
    for name, value in expected.items():
        if isinstance(value, float):
            assert found[name] == pytest.approx(value, rel=rel, abs=1e-300), name
        else:
            assert found[name] == value, name


def is_in(row: dict[str, Any], split: str) -> bool:
    """Whether an image row belongs to a split; to all where there are no splits."""
    return (row["split"] or "all") == split


def by_split(rows: Sequence[dict[str, Any]], masks: Masks) -> dict[str, list[Count]]:
    """The counts of the checker, by the split that a row stands in, and all."""
    splits = defaultdict(list)
    for row in rows:
        one = counts_of(masks)[matching(masks, row["path"])]
        splits[row["split"]].append(one)
        splits["all"].append(one)
    return splits


def test_the_checker_shares_no_code_with_the_program() -> None:
    for path in (Path(__file__).parent / "oracle").glob("*.py"):
        text = path.read_text(encoding="utf-8")
        imported = re.findall(r"^\s*(?:from|import) +([\w.]+)", text, re.MULTILINE)
        assert {name.split(".")[0] for name in imported} <= {
            *("", "__future__", "collections", "dataclasses", "fractions", "math"),
            *("numpy", "pathlib", "PIL", "typing"),
        }


@every_set
def test_every_mask_is_counted_as_the_checker_counts(masks: Masks) -> None:
    found = data("ratio", *masks.given)
    assert {matching(masks, row["path"]) for row in found["images"]} == set(masks.paths)
    for row in found["images"]:
        one = counts_of(masks)[matching(masks, row["path"])]
        expected = {
            "width": one.width,
            "height": one.height,
            "pixels": one.width * one.height,
            "changed": one.changed,
            "unchanged": one.unchanged,
            "ignored": one.ignored,
            "change_ratio": again.over(one.changed, one.unchanged),
            "change_fraction": again.over(one.changed, one.changed + one.unchanged),
            "status": "ok",
        }
        assert_same(row, expected, 1e-15)
    splits = by_split(found["images"], masks)
    assert found["datasets"][0]["split"] == "all"
    for row in found["datasets"]:
        assert_same(row, again.totals(splits[row["split"]]), 1e-15)


@real_masks
def test_truth_in_two_files_is_counted_as_the_checker_counts() -> None:
    folder = REAL / "landsat_partial/Taizhou"
    marked, other = (
        again.read(folder / f"{name}.bmp")[0] == 255 for name in ("change", "unchanged")
    )
    assert not (marked & other).any()
    (row,) = data("ratio", str(folder), "--preset", "partial-pair")["images"]
    expected = {
        "changed": int(np.count_nonzero(marked)),
        "unchanged": int(np.count_nonzero(other)),
        "ignored": int(np.count_nonzero(~(marked | other))),
    }
    assert_same(row, expected, 0)


@dataclass(frozen=True)
class Predicted:
    """Predictions made for masks, which lie beside as links without their folders."""

    folder: Path
    masks: Masks
    models: dict[str, list[NDArray[Any]]]

    def labels(self) -> list[NDArray[np.uint8]]:
        return [label_of(path, self.masks) for path in self.masks.paths]


def predict(masks: Masks, folder: Path, dtype: str, *models: str) -> Predicted:
    """Predictions of bytes or fractions that follow the masks a little."""
    random = np.random.default_rng(len(masks.paths))
    made: dict[str, list[NDArray[Any]]] = {model: [] for model in models}
    (folder / "masks").mkdir()
    for number, path in enumerate(masks.paths):
        (folder / f"masks/{number:04}{path.suffix}").symlink_to(path)
        label = label_of(path, masks)
        for place, model in enumerate(models):
            noise = random.integers(0, 256 - 64 - place, label.shape, np.uint8)
            probs: NDArray[Any] = noise + (label == 1) * np.uint8(64 + place)
            if dtype != "uint8":
                probs = (probs / 255).astype(dtype)
            (folder / model).mkdir(exist_ok=True)
            np.save(folder / f"{model}/{number:04}.npy", probs)
            made[model].append(probs)
    return Predicted(folder, masks, made)


def rows_of(predicted: Predicted, model: str) -> list[dict[str, Any]]:
    return [
        scores.image_row(scores.levels(_probs(probs), label), label)
        for probs, label in zip(
            predicted.models[model], predicted.labels(), strict=True
        )
    ]


def _probs(stored: NDArray[Any]) -> NDArray[Any]:
    return stored / 255 if stored.dtype == np.uint8 else stored.astype(np.float64)


def spend(predicted: Predicted) -> None:
    """Take the predictions away again: those of many masks are large."""
    for path in predicted.folder.rglob("*.npy"):
        path.unlink()


def assert_scored(masks: Masks, folder: Path, dtype: str, rel: float) -> None:
    predicted = predict(masks, folder, dtype, "a")
    options = ["--pred", str(folder / "a"), "--target", str(folder / "masks")]
    found = data("loss", *options, *masks.options.split(), "--kind", "prob")
    expected = rows_of(predicted, "a")
    spend(predicted)
    assert len(found["images"]) == len(expected)
    for row, one in zip(found["images"], expected, strict=True):
        assert_same(row, one | {"status": "ok"}, rel)
    assert_same(found["dataset"], scores.dataset_row(expected), rel)


@every_set
def test_every_mask_is_scored_as_the_checker_scores(
    masks: Masks, tmp_path: Path
) -> None:
    assert_scored(masks, tmp_path, "uint8", 1e-12)


@pytest.mark.parametrize(
    ("dtype", "rel"), [("float16", 1e-12), ("float32", 1e-6), ("float64", 1e-12)]
)
@pytest.mark.parametrize("masks", SAMPLE_SETS, ids=str)
def test_fractions_of_any_type_are_scored_as_the_checker_scores(
    masks: Masks, dtype: str, rel: float, tmp_path: Path
) -> None:
    assert_scored(masks, tmp_path, dtype, rel)


def table(path: Path) -> list[dict[str, str]]:
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


@drawn_sets
def test_the_data_of_figures_are_those_of_the_checker(
    masks: Masks, tmp_path: Path
) -> None:
    # The regions of real masks are those of the audit.
    names = ["distribution", "binarisation", *["regions"] * (masks.root == SAMPLES)]
    figures = [word for name in names for word in ("--only", name)]
    line = ("plot", "--masks", *masks.given, "-o", str(tmp_path), "--format", "svg")
    run(*line, *figures)
    rows = data("ratio", *masks.given)["images"]
    splits = by_split(rows, masks)
    drawn = table(tmp_path / "distribution.csv")
    valid = [one for one in splits["all"] if one.fraction is not None]
    assert sum(int(row["images"]) for row in drawn) == len(valid)
    for row in drawn:
        low, high = float(row["above"]), float(row["up_to"])
        inside = [
            one
            for one in valid
            if low < float(one.fraction or 0) <= high or low == high == one.fraction
        ]
        assert int(row["images"]) == len(inside)
    rules = {">0": 1, ">=128": 128, "'==255": 255}
    drawn = [
        row for row in table(tmp_path / "binarisation.csv") if row["rule"] in rules
    ]
    assert drawn
    for row in drawn:
        assert int(row["changed"]) == sum(
            int(np.count_nonzero((values >= rules[row["rule"]]) & seen))
            for one in rows
            if is_in(one, row["split"])
            for path in [matching(masks, one["path"])]
            for values, seen in [
                (
                    again.read(path, masks.band)[0],
                    label_of(path, masks) != again.IGNORED,
                )
            ]
        )
    if (tmp_path / "regions.csv").exists():
        _check_regions(table(tmp_path / "regions.csv"), rows, masks)


def _check_regions(
    drawn: list[dict[str, str]], rows: Sequence[dict[str, Any]], masks: Masks
) -> None:
    for row in drawn:
        sizes = [
            size
            for one in rows
            if is_in(one, row["split"])
            for size in again.region_sizes(
                label_of(matching(masks, one["path"]), masks) == again.CHANGED
            )
        ]
        assert int(row["regions"]) == len(sizes)
        least, most = min(sizes, default=""), max(sizes, default="")
        assert (row["size_min"], row["size_max"]) == (str(least), str(most))


@real_masks
@pytest.mark.parametrize("dtype", ["uint8", "float32"])
def test_truth_in_two_files_is_scored_as_the_checker_does(
    dtype: str, tmp_path: Path
) -> None:
    """Most pixels are in neither file and take no part, whatever is predicted there."""
    folder = REAL / "landsat_partial/Taizhou"
    marked, other = (
        again.read(folder / f"{name}.bmp")[0] == 255 for name in ("change", "unchanged")
    )
    label = np.full(marked.shape, again.IGNORED, np.uint8)
    label[other], label[marked] = again.UNCHANGED, again.CHANGED
    stored: NDArray[Any] = np.random.default_rng(6).integers(0, 256, label.shape, "u1")
    if dtype != "uint8":
        stored = stored / np.float32(255)
        stored[label == again.IGNORED] = np.nan
    np.save(tmp_path / "change.npy", stored)
    given = ("--pred", f"{tmp_path}/change.npy", "--target", str(folder / "change.bmp"))
    found = data("loss", *given, "--preset", "partial-pair", "--kind", "prob")
    expected = scores.image_row(scores.levels(_probs(stored), label), label)
    rel = 1e-12 if dtype == "uint8" else 1e-6
    assert_same(found["images"][0], expected | {"status": "ok"}, rel)
    assert_same(found["dataset"], scores.dataset_row([expected]), rel)
