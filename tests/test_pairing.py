"""Which prediction belongs to which mask: paths, patterns, crops, stacks, members."""

from __future__ import annotations

import re
import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from helpers import Done, run, save
from PIL import Image

import cdstats
from cdstats.core.errors import DataError
from cdstats.io.pairing import Crop, find_pairs

if TYPE_CHECKING:
    from collections.abc import Iterable

    from numpy.typing import NDArray

    Array = NDArray[Any]

REAL = Path(__file__).parents[2] / "shared" / "real_masks"
needs_real_masks = pytest.mark.skipif(
    not REAL.is_dir(), reason=f"the real masks are not at {REAL}"
)


def reasons(done: Done) -> dict[str, str]:
    """Why rows failed, by prediction or else by mask."""
    failed = [row for row in done.rows() if row["status"] == "failed"]
    return {row["pred"] or row["target"]: row["reason"] for row in failed}


def score(*arguments: str | Path) -> Done:
    return run("loss", *arguments, "--by", "image", "--format", "csv")


def hinted(text: str) -> list[str]:
    """The options that a message suggests."""
    found = re.search(r"Try (--pred .*--target .*)", text)
    assert found is not None, text
    return shlex.split(found[1])


def score_pair(pred: str | Path, target: str | Path, *options: str) -> Done:
    return score("--pred", pred, "--target", target, *options)


def labels(seed: int, height: int = 8, width: int = 8) -> Array:
    """A mask of 0 and 255 that no other seed gives."""
    pixels = np.random.default_rng(seed).integers(0, 2, (height, width))
    return (255 * pixels).astype(np.uint8)


def save_all(folder: Path, names: Iterable[str]) -> Path:
    """A mask for each name, whose pixels depend on the digits of the name."""
    for name in names:
        digits = "".join(re.findall(r"\d", name))
        save(folder / name, labels(int(digits or 0)))
    return folder


def is_right(row: dict[str, str], pixels: int = 64) -> bool:
    """Whether every pixel of a prediction agrees with its mask."""
    return row["status"] == "ok" and int(row["tp"]) + int(row["tn"]) == pixels


# By path


PAIRED = [
    pytest.param(
        "north/10.npy north/9.npy south/9.npy 3.npy",
        "north/10.png north/9.png south/9.png 3.png",
        "p m",
        "3.npy=3.png north/9.npy=north/9.png north/10.npy=north/10.png"
        " south/9.npy=south/9.png",
        id="paths, in natural order",
    ),
    pytest.param(
        "1.png 2.png",
        "A/1.png A/2.png B/1.png B/2.png label/1.png label/2.png",
        "p m",
        "1.png=label/1.png 2.png=label/2.png",
        id="the folder of masks is no part of the key",
    ),
    pytest.param(
        "p1.npy", "t1.png", "p/p1.npy m/t1.png", "p1.npy=t1.png", id="two files"
    ),
    pytest.param(
        "1.png 2.png 3.png",
        "1.png 2.png",
        "p/[12].png m/*.png",
        "1.png=1.png 2.png=2.png",
        id="globs",
    ),
    pytest.param(
        "1_pred.png 2_pred.png 2_heat.png",
        "img-1.png img-2.png",
        "p/{}_pred.png m/img-{}.png",
        "1_pred.png=img-1.png 2_pred.png=img-2.png",
        id="patterns",
    ),
    pytest.param(
        "1_pred.png 2_pred.png",
        "1.png 2.png",
        "p/{}_pred.png m",
        "1_pred.png=1.png 2_pred.png=2.png",
        id="a pattern and paths",
    ),
    pytest.param(
        "1/change.png 2/change.png",
        "1.png 2.png",
        "p/{}/change.png m/{}.png",
        "1/change.png=1.png 2/change.png=2.png",
        id="the key above the file",
    ),
    pytest.param(
        "lr=x/1_p.png lr=x/2_p.png",
        "1.png 2.png",
        "p/lr=x/{}_p.png m",
        "1_p.png=1.png 2_p.png=2.png",
        id="an equals sign names no model",
    ),
]


@pytest.mark.parametrize(("preds", "masks", "given", "pairs"), PAIRED)
def test_predictions_pair_with_masks_by_path_or_pattern(
    preds: str, masks: str, given: str, pairs: str, tmp_path: Path
) -> None:
    save_all(tmp_path / "p", preds.split())
    save_all(tmp_path / "m", masks.split())
    done = score_pair(*(f"{tmp_path}/{one}" for one in given.split()))
    assert done.code == 0, done.err
    assert [f"{row['pred']}={row['target']}" for row in done.rows()] == pairs.split()
    assert set(done.column("model")) == {""}
    assert all(map(is_right, done.rows()))


def test_a_file_pairs_with_the_only_mask_of_a_folder(tmp_path: Path) -> None:
    preds = save_all(tmp_path / "preds", ["scene_1.png"])
    masks = save_all(tmp_path / "data", ["change label/label.png"])
    (row,) = score_pair(preds / "scene_1.png", masks).rows()
    assert (row["target"], row["status"]) == ("change label/label.png", "ok")


def test_folders_of_one_file_each_pair_by_name_too(tmp_path: Path) -> None:
    preds = save_all(tmp_path / "preds", ["scene_1.png"])
    masks = save_all(tmp_path / "masks", ["scene_2.png"])
    done = score_pair(preds, masks)
    assert (done.code, done.rows()) == (1, [])
    assert "scene_1.png" in done.err
    assert "scene_2.png" in done.err


def test_a_list_pairs_as_its_folder(tmp_path: Path) -> None:
    preds = save_all(tmp_path / "preds", ["1.png", "2.png"])
    masks = save_all(tmp_path / "masks", ["1.png", "2.png"])
    (preds / "list.txt").write_text("2.png\n1.png\n")
    done, listed = score_pair(preds, masks), score_pair(f"@{preds}/list.txt", masks)
    assert (listed.code, listed.rows()) == (0, done.rows())


def test_a_split_keeps_its_masks(tmp_path: Path) -> None:
    masks = save_all(tmp_path / "masks", ["train/1.png", "test/2.png"])
    preds = save_all(tmp_path / "preds", ["test/2.png"])
    done = score_pair(preds, masks, "--split", "test")
    assert done.code == 0
    assert done.column("split") == ["test"]


# By pattern


def test_a_split_in_a_pattern_is_the_split_of_the_row(tmp_path: Path) -> None:
    masks = save_all(tmp_path / "masks", ["train/1.png", "validation/2.png"])
    preds = save_all(tmp_path / "preds", ["1.png", "2.png"])
    done = score_pair(f"{preds}/{{}}.png", f"{masks}/{{split}}/{{}}.png")
    assert done.code == 0
    assert done.column("split") == ["train", "val"]


# Models


def test_a_name_before_the_path_names_the_model(tmp_path: Path) -> None:
    masks = save_all(tmp_path / "masks", ["1.png", "2.png"])
    first = save_all(tmp_path / "first", ["1.png", "2.png"])
    second = save_all(tmp_path / "second", ["1.png", "2.png"])
    save(second / "1.png", 255 - labels(1))
    named = ["--pred", f"b10={first}", "--pred", f"b9={second}"]
    done = score(*named, "--target", masks)
    assert done.code == 0
    rights = {(row["model"], row["pred"]): is_right(row) for row in done.rows()}
    assert rights == {
        ("b10", "1.png"): True,
        ("b10", "2.png"): True,
        ("b9", "1.png"): False,
        ("b9", "2.png"): True,
    }


def test_a_pattern_may_name_models_of_which_one_lacks_a_mask(tmp_path: Path) -> None:
    masks = save_all(tmp_path / "masks", ["1.png", "2.png"])
    runs = save_all(tmp_path / "runs", ["bit/1.png", "bit/2.png", "unet/1.png"])
    done = score_pair(f"{runs}/{{model}}/{{}}.png", f"{masks}/{{}}.png")
    assert (done.code, done.column("model")) == (1, ["bit", "bit", "unet", "unet"])
    assert [is_right(row) for row in done.rows()] == [True, True, True, False]
    assert list(reasons(done)) == ["2.png"]


def test_one_name_given_twice_is_one_model(tmp_path: Path) -> None:
    masks = save_all(tmp_path / "masks", ["1.png", "2.png"])
    first = save_all(tmp_path / "first", ["1.png"])
    second = save_all(tmp_path / "second", ["2.png"])
    named = ["--pred", f"bit={first}/{{}}.png", "--pred", f"bit={second}/{{}}.png"]
    done = score(*named, "--target", f"{masks}/{{}}.png")
    assert reasons(done) == {}
    assert (done.code, done.column("model")) == (0, ["bit", "bit"])


def test_one_name_given_twice_may_not_score_a_mask_twice(tmp_path: Path) -> None:
    masks = save_all(tmp_path / "masks", ["1.png", "2.png"])
    folders = [save_all(tmp_path / name, ["1.png", "2.png"]) for name in ("x", "y")]
    named = [f"--pred=bit={folder}/{{}}.png" for folder in folders]
    done = score(*named, "--target", f"{masks}/{{}}.png")
    assert (done.code, done.rows()) == (1, [])
    assert "same key" in done.err


# Crops


FULL = labels(7, 16, 24)


def save_crops(folder: Path, *windows: tuple[int, int, int, int]) -> Path:
    """Crops of `FULL`: row, column, height, width."""
    for row, column, height, width in windows:
        crop = FULL[row : row + height, column : column + width]
        save(folder / f"scene_{row:04}_{column:04}.png", crop)
    return folder


@pytest.fixture
def full(tmp_path: Path) -> Path:
    save(tmp_path / "full/scene.png", FULL)
    return tmp_path / "full"


def test_crops_are_scored_against_their_window_of_the_mask(
    full: Path, tmp_path: Path
) -> None:
    windows = [(0, 0, 8, 8), (0, 8, 8, 16), (8, 0, 8, 24)]
    crops = save_crops(tmp_path / "crops", *windows)
    for target in (f"{full}/{{}}.png", full):
        done = score_pair(f"{crops}/{{}}_{{y}}_{{x}}.png", target)
        assert done.code == 0
        assert done.column("target") == ["scene.png"] * 3
        sizes = [(row["height"], row["width"]) for row in done.rows()]
        assert sizes == [("8", "8"), ("8", "16"), ("8", "24")]
        areas = [height * width for _, _, height, width in windows]
        assert all(map(is_right, done.rows(), areas))


def test_crops_of_several_scenes_keep_their_masks(full: Path, tmp_path: Path) -> None:
    other = labels(8, 8, 8)
    save(full / "scene2.png", other)
    save(full / "scene3.png", labels(9, 16, 24))
    crops = save_crops(tmp_path / "crops", (0, 0, 16, 16), (0, 16, 16, 8))
    save(crops / "scene2_0_0.png", other)
    save(crops / "scene3_0_0.png", labels(9, 16, 24))
    done = score_pair(f"{crops}/{{}}_{{y}}_{{x}}.png", f"{full}/{{}}.png")
    assert done.code == 0
    targets = ["scene.png", "scene.png", "scene2.png", "scene3.png"]
    assert done.column("target") == targets
    assert all(map(is_right, done.rows(), [16 * 16, 16 * 8, 64, 16 * 24]))


def test_the_order_of_rows_and_columns_matters(full: Path, tmp_path: Path) -> None:
    crops = save_crops(tmp_path / "crops", (0, 8, 8, 8))
    done = score_pair(f"{crops}/{{}}_{{x}}_{{y}}.png", f"{full}/{{}}.png")
    assert not is_right(done.rows()[0])


def test_a_crop_over_pixels_of_another_is_refused(full: Path, tmp_path: Path) -> None:
    crops = save_crops(tmp_path / "crops", (0, 0, 8, 8), (7, 7, 8, 8), (8, 16, 8, 8))
    done = score_pair(f"{crops}/{{}}_{{y}}_{{x}}.png", f"{full}/{{}}.png")
    assert done.code == 1
    assert list(reasons(done)) == ["scene_0007_0007.png"]
    assert "overlaps" in reasons(done)["scene_0007_0007.png"]


def test_crops_of_two_models_do_not_overlap(full: Path, tmp_path: Path) -> None:
    for model in ("bit", "unet"):
        save_crops(tmp_path / "crops" / model, (0, 0, 16, 24))
    pattern = f"{tmp_path}/crops/{{model}}/{{}}_{{y}}_{{x}}.png"
    done = score_pair(pattern, f"{full}/{{}}.png")
    assert (done.code, done.column("model")) == (0, ["bit", "unet"])


@pytest.mark.parametrize(
    ("name", "row", "column"),
    [
        pytest.param("scene_16_0.png", 16, 0, id="below"),
        pytest.param("scene_0_24.png", 0, 24, id="beside"),
        pytest.param("scene_99_99.png", 99, 99, id="far away"),
    ],
)
def test_a_crop_beyond_its_mask_is_refused(
    name: str, row: int, column: int, full: Path, tmp_path: Path
) -> None:
    save(tmp_path / "crops" / name, labels(1))
    crops = save_crops(tmp_path / "crops", (0, 0, 8, 8))
    done = score_pair(f"{crops}/{{}}_{{y}}_{{x}}.png", f"{full}/{{}}.png")
    assert done.code == 1
    assert list(reasons(done)) == [name]
    for text in (f"rows {row}-{row + 7}", f"{column}-{column + 7}", "(16, 24)"):
        assert text in reasons(done)[name]


def test_crops_on_both_sides_pair_by_key_row_and_column(tmp_path: Path) -> None:
    windows = [(0, 0, 8, 8), (0, 8, 8, 8)]
    crops = save_crops(tmp_path / "crops", *windows)
    masks = save_crops(tmp_path / "masks", *windows)
    pattern = "{}_{y}_{x}.png"
    done = score_pair(f"{crops}/{pattern}", f"{masks}/{pattern}")
    assert done.code == 0
    assert all(map(is_right, done.rows()))


def test_the_prior_of_crops_is_that_of_their_windows(
    full: Path, tmp_path: Path
) -> None:
    mask = FULL.copy()
    mask[:8] = 0
    save(full / "scene.png", mask)
    scores = np.random.default_rng(0).random(mask.shape)
    for row in (0, 8):
        save(tmp_path / f"crops/scene_{row}_0.npy", scores[row : row + 8])
        save(tmp_path / f"preds/scene{row}.npy", scores[row : row + 8])
        save(tmp_path / f"parts/scene{row}.png", mask[row : row + 8])
    further = ["--loss", "logit_adjusted_ce"]
    pattern = f"{tmp_path}/crops/{{}}_{{y}}_{{x}}.npy"
    crop = score_pair(pattern, f"{full}/{{}}.png", *further)
    whole = score_pair(tmp_path / "preds", tmp_path / "parts", *further)
    (column,) = [name for name in crop.rows()[0] if name.startswith("logit_adjusted")]
    assert crop.column(column) == whole.column(column)


@needs_real_masks
def test_a_real_crop_is_the_window_of_its_full_scene(tmp_path: Path) -> None:
    crop = REAL / "levir_crops_256/label/test_2_0000_0512.png"
    (tmp_path / crop.name).symlink_to(crop)
    run = cdstats.loss(
        f"{tmp_path}/{{}}_{{y}}_{{x}}.png",
        f"{REAL}/levir_full_1024/label/{{}}.png",
        uncovered="ignore",
    )
    row, lacking = run.images
    assert (row.pred, row.target) == ("test_2_{y}_{x}.png", "test_2.png")
    assert (row.tp, row.tn, row.fp, row.fn) == (12002, 53534, 0, 0)
    assert row.uncovered == 1024**2 - 256**2
    assert (lacking.target, lacking.reason) == (
        "test_1.png",
        "mask without a prediction",
    )


# What does not pair


@pytest.mark.parametrize("side", ["preds", "masks"])
def test_two_files_with_one_key_are_refused(side: str, tmp_path: Path) -> None:
    preds = save_all(tmp_path / "preds", ["1.png", "2.png"])
    masks = save_all(tmp_path / "masks", ["1.png", "2.png"])
    save(tmp_path / side / "2.npy", labels(2))
    done = score_pair(preds, masks)
    assert (done.code, done.rows()) == (1, [])
    same = "2.npy and 2.png have the same key '2'"
    told = "*.npy and *.png are of the same images"
    assert (told if side == "masks" else same) in done.err
    assert str(tmp_path / side) in done.err


def test_two_files_with_one_key_of_a_pattern_are_refused(tmp_path: Path) -> None:
    preds = save_all(tmp_path / "preds", ["a_1.png", "b_1.png"])
    masks = save_all(tmp_path / "masks", ["1.png", "2.png"])
    done = score_pair(f"{preds}/?_{{}}.png", f"{masks}/{{}}.png")
    assert (done.code, done.rows()) == (1, [])
    assert "a_1.png and b_1.png have the same key '1'" in done.err


@pytest.mark.parametrize(
    ("pred", "mask"),
    [
        pytest.param("{}_pred.png", "{}.png", id="suffix"),
        pytest.param("pred_{}.png", "gt_{}.png", id="prefixes"),
        pytest.param("{}-pred.npy", "{}_label.png", id="suffixes"),
        pytest.param("{}/change.png", "{}.png", id="folder"),
        pytest.param("S{}_bit_prediction.png", "S{}_building_label.png", id="words"),
    ],
)
def test_when_nothing_pairs_a_pattern_that_would_is_shown(
    pred: str, mask: str, tmp_path: Path
) -> None:
    numbers = [f"0{number}" for number in range(1, 6)]
    preds = save_all(tmp_path / "preds", [pred.replace("{}", n) for n in numbers])
    masks = save_all(tmp_path / "masks", [mask.replace("{}", n) for n in numbers])
    done = score_pair(preds, masks)
    assert (done.code, done.rows()) == (1, [])
    for number in numbers:
        shown = number in ("01", "02", "03")
        assert (pred.replace("{}", number) in done.err) is shown
        assert (mask.replace("{}", number) in done.err) is shown
    again = score(*hinted(done.err))
    assert again.code == 0
    assert all(map(is_right, again.rows()))
    assert len(again.rows()) == 5


def test_a_pattern_is_shown_when_the_first_names_are_not_of_one_image(
    tmp_path: Path,
) -> None:
    preds = save_all(tmp_path / "preds", [f"img_{n}_p.png" for n in (3, 4, 5)])
    masks = save_all(tmp_path / "masks", [f"img_{n}.png" for n in (1, 2, 3, 4, 5)])
    done = score_pair(preds, masks)
    again = score(*hinted(done.err))
    assert sum(map(is_right, again.rows())) == 3


def test_what_has_no_partner_is_a_failed_row_and_the_rest_is_scored(
    tmp_path: Path,
) -> None:
    preds = save_all(tmp_path / "preds", ["1.png", "2.png", "4.png"])
    masks = save_all(tmp_path / "masks", ["1.png", "2.png", "3.png"])
    done = score_pair(preds, masks)
    assert done.code == 1
    assert [is_right(row) for row in done.rows()].count(True) == 2
    failed = {(row["pred"], row["target"]): row["reason"] for row in done.rows()}
    assert failed["4.png", ""] == "has no mask"
    assert failed["", "3.png"] == "mask without a prediction"
    assert "error: 4.png: has no mask" in done.err
    assert "error: 3.png: mask without a prediction" in done.err


def test_a_missing_partner_is_allowed_as_often_as_asked(tmp_path: Path) -> None:
    preds = save_all(tmp_path / "preds", ["1.png", "2.png", "4.png"])
    masks = save_all(tmp_path / "masks", ["1.png", "2.png", "3.png"])
    assert score_pair(preds, masks, "--max-failed", "2").code == 0
    assert score_pair(preds, masks, "--max-failed", "1").code == 1


# Stacks and members


def stack(*seeds: int) -> Array:
    return np.stack([labels(seed) for seed in seeds])


PARTS = [
    ("three.npy", "three.npy", "three.npy#0 three.npy#1 three.npy#2"),
    ("axis.npy", "three.npy", "axis.npy#0 axis.npy#1 axis.npy#2"),
    # Two images are no channels.
    ("two.npy", "two.npy", "two.npy#0 two.npy#1"),
    ("two.npy", "pages.tif", "two.npy#0 two.npy#1"),
    ("stacks", "stacks", "0.npy#0 0.npy#1 10.npy#0 10.npy#1"),
    ("two.npy#1", "2.png", "two.npy#1"),
    ("three.npy#0", "1.png", "three.npy#0"),
    ("three.npy#2", "3.png", "three.npy#2"),
    ("3.png", "three.npy#2", "3.png"),
    ("named.npz#one", "named.npz#one", "named.npz#one"),
    ("named.npz#one", "1.png", "named.npz#one"),
    (
        "named.npz#all",
        "three.npy",
        "named.npz#all#0 named.npz#all#1 named.npz#all#2",
    ),
    ("alone.npz", "alone.npz", "alone.npz"),
]


@pytest.mark.parametrize(("pred", "target", "rows"), PARTS)
def test_images_of_stacks_and_archives_pair_by_number_or_name(
    pred: str, target: str, rows: str, tmp_path: Path
) -> None:
    for place in (tmp_path / "p", tmp_path / "m"):
        for number in (1, 2, 3):
            save(place / f"{number}.png", labels(number))
        save(place / "two.npy", stack(1, 2))
        save(place / "three.npy", stack(1, 2, 3))
        save(place / "axis.npy", stack(1, 2, 3)[:, None])
        for first in (0, 10):
            save(place / f"stacks/{first}.npy", stack(first, first + 1))
        pages = [Image.fromarray(labels(seed)) for seed in (1, 2)]
        pages[0].save(place / "pages.tif", save_all=True, append_images=pages[1:])
        arrays: dict[str, Any] = {"two": labels(2), "one": labels(1)}
        np.savez(place / "named.npz", all=stack(1, 2, 3), **arrays)
        np.savez_compressed(place / "alone.npz", labels(1))
    done = score_pair(f"{tmp_path}/p/{pred}", f"{tmp_path}/m/{target}")
    assert done.code == 0, done.err
    assert done.column("pred") == rows.split()
    assert all(map(is_right, done.rows()))


def test_stacks_of_different_length_do_not_pair(tmp_path: Path) -> None:
    masks = save(tmp_path / "masks.npy", stack(1, 2, 3))
    preds = save(tmp_path / "p.npy", stack(1, 2, 3, 4))
    done = score_pair(preds, masks)
    assert done.code == 1
    assert "4 images" in reasons(done)["p.npy"]
    assert "holds 3" in reasons(done)["p.npy"]


def test_a_stack_pairs_with_files_by_the_sheet_that_the_message_shows(
    tmp_path: Path,
) -> None:
    for number in range(2):
        save(tmp_path / f"m/{number}.png", labels(number))
    save(tmp_path / "p.npy", stack(0, 1))
    done = score_pair(tmp_path / "p.npy", tmp_path / "m")
    assert done.code == 1
    assert done.err.rstrip().endswith(
        "header pred,target and lines such as p.npy#0,0.png"
    )
    sheet = tmp_path / "pairs.csv"
    sheet.write_text("pred,target\np.npy#0,m/0.png\np.npy#1,m/1.png\n")
    done = run("loss", "--pred", f"@{sheet}", "--format", "csv")
    assert done.code == 0, done.err


def test_a_number_beyond_the_stack_says_how_many_it_holds(tmp_path: Path) -> None:
    preds = save(tmp_path / "p.npy", stack(1, 2, 3))
    mask = save(tmp_path / "m.png", labels(1))
    done = score_pair(f"{preds}#3", mask)
    assert done.code == 1
    assert reasons(done) == {"p.npy#3": "holds 3 images; #3 was asked for"}


@pytest.mark.parametrize("member", ["", "#third"])
def test_several_arrays_are_listed_with_their_shapes(
    member: str, tmp_path: Path
) -> None:
    np.savez(tmp_path / "p.npz", first=labels(1), second=stack(1, 2, 3))
    mask = save(tmp_path / "m.png", labels(1))
    done = score_pair(f"{tmp_path}/p.npz{member}", mask)
    assert done.code == 1
    (reason,) = reasons(done).values()
    assert "first (8, 8)" in reason
    assert "second (3, 8, 8)" in reason
    assert "third" in reason or "#NAME" in reason


def test_arrays_of_one_archive_keep_their_own_masks(tmp_path: Path) -> None:
    for side in ("preds", "masks"):
        (tmp_path / side).mkdir()
        np.savez(tmp_path / side / "all.npz", a=labels(1), b=labels(2))
        (tmp_path / side / "list.txt").write_text("all.npz#a\nall.npz#b\n")
    done = score_pair(f"@{tmp_path}/preds/list.txt", f"@{tmp_path}/masks/list.txt")
    assert done.code == 0
    assert done.column("pred") == ["all.npz#a", "all.npz#b"]
    assert [is_right(row) for row in done.rows()] == [True, True]


# What pairing itself gives


def test_pairs_carry_model_split_and_crop(tmp_path: Path) -> None:
    save_all(tmp_path / "full/test/label", ["s1.png"])
    save_all(tmp_path / "crops/bit", ["s1_0_4.png"])
    pattern = f"{tmp_path}/crops/{{model}}/{{}}_{{y}}_{{x}}.png"
    (pair,) = find_pairs([pattern], f"{tmp_path}/full/{{split}}/label/{{}}.png").pairs
    assert pair.prediction is not None
    assert pair.target is not None
    assert (pair.model, pair.crop) == ("bit", Crop(0, 4))
    assert (pair.prediction.name, pair.target.split) == ("bit/s1_0_4.png", "test")


def test_a_missing_path_is_said_before_anything_is_paired(tmp_path: Path) -> None:
    masks = save_all(tmp_path / "masks", ["1.png"])
    with pytest.raises(DataError, match="nowhere: no such file or folder"):
        find_pairs(["nowhere"], str(masks))
    with pytest.raises(DataError, match="nowhere: no such file or folder"):
        find_pairs([str(masks)], "nowhere")


@pytest.mark.parametrize("side", ["--pred", "--target"])
def test_an_empty_folder_is_refused(side: str, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    masks = save_all(tmp_path / "masks", ["1.png"])
    other = "--target" if side == "--pred" else "--pred"
    done = score(side, tmp_path / "empty", other, masks)
    assert (done.code, done.rows()) == (1, [])
    assert f"error: {tmp_path}/empty: holds no" in done.err


# Folders of predictions as tools write them.

FOLDERS = {
    "A, B, L, comp and pred": ("A/{}", "B/{}", "L/{}", "comp/{}", "pred/{}"),
    "samples with a network's name": ("A/{}", "B/{}", "label/{}", "predict_BIT/{}"),
    "pictures below": ("{}", "vis/{}"),
    "pred beside vis_data": ("vis_data/vis_image/{}", "pred/{}"),
    "results of a test": ("checkpoints/x.png", "test_results/{}"),
}


@pytest.mark.parametrize("layout", FOLDERS)
def test_predictions_are_found_beside_what_else_a_tool_writes(
    tmp_path: Path, layout: str
) -> None:
    names = [f"test_{number}.png" for number in range(3)]
    masks = save_all(tmp_path / "label", names)
    kinds = FOLDERS[layout]
    pred = next((kind for kind in kinds if "pred" in kind or "res" in kind), "{}")
    for kind in kinds:
        for name in names:
            place = tmp_path / "out" / kind.format(name)
            place.parent.mkdir(parents=True, exist_ok=True)
            if kind == pred:
                place.write_bytes((masks / name).read_bytes())
            else:
                Image.new("RGB", (8, 8), (200, 10, 30)).save(place)
    done = score_pair(tmp_path / "out", masks)
    assert done.code == 0, done.err
    assert [row["pred"] for row in done.rows()] == [pred.format(name) for name in names]
    assert "skipped" in done.err


def test_predictions_are_found_by_the_names_of_files(tmp_path: Path) -> None:
    names = [f"{n}_{kind}.png" for n in (1, 2) for kind in ("A", "gt", "pred")]
    folder = save_all(tmp_path / "out", names)
    masks = save_all(tmp_path / "label", ["1.png", "2.png"])
    again = score(*hinted(score_pair(folder, masks).err))
    assert again.code == 0
    assert [row["pred"] for row in again.rows()] == ["1_pred.png", "2_pred.png"]


def test_letters_of_sites_are_not_taken_for_images(tmp_path: Path) -> None:
    names = [f"site_{letter}_1.png" for letter in "ABCD"]
    preds = save_all(tmp_path / "preds", names)
    done = score_pair(preds, save_all(tmp_path / "label", names))
    assert (done.code, len(done.rows())) == (0, 4)


def test_a_dataset_is_no_folder_of_predictions(tmp_path: Path) -> None:
    for folder in ("A", "B", "L", "comp"):
        save_all(tmp_path / f"out/{folder}", ["1.png", "2.png"])
    masks = save_all(tmp_path / "label", ["1.png", "2.png"])
    done = score_pair(tmp_path / "out", masks)
    assert (done.code, done.rows()) == (1, [])
    assert "expected predictions" in done.err


def test_a_hint_never_pairs_the_numbers_of_two_splits(tmp_path: Path) -> None:
    names = {s: [f"{s}_{n}.png" for n in range(20)] for s in ("test", "train")}
    preds = save_all(tmp_path / "preds", names["test"])
    for split in ("test", "train"):
        save_all(tmp_path / f"data/{split}/label", names[split])
    done = score_pair(preds, tmp_path / "data")
    again = score(*hinted(done.err))
    assert again.code == 0
    assert [row["target"] for row in again.rows()] == names["test"]
    lone = score_pair(preds, tmp_path / "data/train")
    assert "Try" not in lone.err


def test_a_hint_names_the_part_of_the_model(tmp_path: Path) -> None:
    for model in ("BIT", "CF"):
        save_all(tmp_path / f"runs/{model}", ["1.png", "2.png"])
    masks = save_all(tmp_path / "label", ["1.png", "2.png"])
    options = hinted(score_pair(tmp_path / "runs", masks).err)
    assert "{model}" in options[1]
    assert len(score(*options).rows()) == 4


def test_train_and_test_folders_of_one_name_pair_by_split(tmp_path: Path) -> None:
    for split in ("train", "test"):
        save_all(tmp_path / f"preds/{split}_pred", ["1.png", "2.png"])
        save_all(tmp_path / f"data/{split}_label", ["1.png", "2.png"])
    done = score_pair(tmp_path / "preds", tmp_path / "data")
    assert (done.code, len(done.rows())) == (0, 4)
    assert all(
        row["pred"].split("_")[0] == row["target"].split("_")[0] for row in done.rows()
    )


@pytest.mark.parametrize(
    ("colours", "told"),
    [
        ([(0, 0, 0), (255, 0, 0)], "--pred-changed '#ff0000' --pred-unchanged 0"),
        ([(0, 0, 0), (255, 0, 0), (0, 255, 0)], "It holds 0, #00ff00, #ff0000."),
        ([(n, 2 * n, 7) for n in range(64)], "looks like an image, not a prediction"),
    ],
)
def test_a_prediction_in_colour_is_refused_with_its_colours(
    tmp_path: Path, colours: list[tuple[int, int, int]], told: str
) -> None:
    masks = save_all(tmp_path / "label", ["1.png"])
    pixels = np.resize(np.array(colours, np.uint8), (8, 8, 3))
    (tmp_path / "preds").mkdir()
    Image.fromarray(pixels).save(tmp_path / "preds/1.png")
    done = score_pair(tmp_path / "preds", masks)
    assert done.code == 1
    assert told in done.err
    if len(colours) == 2:
        rule = shlex.split(told)
        assert score_pair(tmp_path / "preds", masks, *rule).code == 0


def test_two_files_of_one_mask_pair_by_the_name_of_the_first(tmp_path: Path) -> None:
    folder = tmp_path / "site"
    folder.mkdir()
    changed = 255 * np.eye(8, dtype=np.uint8)
    Image.fromarray(changed).save(folder / "change.bmp")
    Image.fromarray(255 - changed).save(folder / "unchanged.bmp")
    preds = save_all(tmp_path / "preds", ["pred_change.png", "pred_other.png"])
    preset = ("--preset", "partial-pair")
    done = score_pair(f"{preds}/pred_{{}}.png", f"{folder}/{{}}.bmp", *preset)
    assert {row["target"]: row["status"] for row in done.rows() if row["target"]} == {
        "change.bmp + unchanged.bmp": "ok"
    }
    hint = score_pair(preds, folder, *preset).err
    assert " + unchanged" not in hint
