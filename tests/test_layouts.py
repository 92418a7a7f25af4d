"""Which files are masks, by the names of folders and files of known datasets."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest
from helpers import save as write
from PIL import Image

import cdstats
from cdstats.core.errors import DataError
from cdstats.core.presets import fitting, presets
from cdstats.core.vocabulary import shapes_of
from cdstats.io.discovery import find_masks
from cdstats.io.layouts import choose_masks, looks_like
from cdstats.io.naming import Role, role_of, split_named


def chosen(*names: str, folder: str = "X") -> list[str]:
    """The masks among some names."""
    return choose_masks(Path(folder), names).names


def ways(error: pytest.ExceptionInfo[DataError]) -> list[str]:
    """The paths that a refusal suggests, below the folder."""
    return re.findall(r"'[^']*?\*\*/([^']*)'", str(error.value))


@pytest.mark.parametrize(
    ("name", "role"),
    [
        ("change_label", Role.CHANGE),
        ("labels_change", Role.CHANGE),
        ("GT_CD", Role.CHANGE),
        ("label", Role.TRUTH),
        ("GroundTruth", Role.TRUTH),
        ("BinaryLabel", Role.TRUTH),
        ("Train Labels", Role.TRUTH),
        ("label1", Role.OTHER),
        ("GT_A", Role.OTHER),
        ("ref_2018", Role.OTHER),
        ("before_label", Role.OTHER),
        ("label_roads", Role.LOOSE),
        ("Image2", Role.IMAGE),
        ("pre-change", Role.IMAGE),
        ("change_map", Role.PREDICTION),
        ("predict_CD_BIT", Role.PREDICTION),
        ("ROI", Role.ASIDE),
        ("LEVIR-CD", Role.NONE),
        ("paris", Role.NONE),
    ],
)
def test_a_name_says_what_its_files_are(name: str, role: Role) -> None:
    assert role_of(name) is role


@pytest.mark.parametrize(
    ("names", "masks"),
    [
        pytest.param(
            (
                "labels/change/D14/1.tif",
                "labels/2006/D14/1.tif",
                "images_2006/D14/1.tif",
            ),
            ["labels/change/D14/1.tif"],
            id="HRSCD",
        ),
        pytest.param(
            (
                "train/labels_unch0ch1ig255/bj/t1VSt2/1.png",
                "train/building_labels/bj/t1/1.png",
                "train/imgs/bj/t1/1.png",
            ),
            ["train/labels_unch0ch1ig255/bj/t1VSt2/1.png"],
            id="BANDON",
        ),
        pytest.param(
            (
                "change_label/train/change_label.tif",
                "2012/whole_image/train/label/2012_train.tif",
                "2016/splited_images/test/image/1.tif",
            ),
            ["change_label/train/change_label.tif"],
            id="WHU",
        ),
        pytest.param(
            ("label/1.png", "label1/1.png", "label2/1.png", "Image1/1.png"),
            ["label/1.png"],
            id="S2Looking",
        ),
        pytest.param(
            ("Askja/ref.png", "Askja/im1.png", "Big Sur/ref.png", "Big Sur/im2.png"),
            ["Askja/ref.png", "Big Sur/ref.png"],
            id="GVLM",
        ),
        pytest.param(
            ("s/20160101.png", "s/20170101.png", "s/mask.png"),
            ["s/mask.png"],
            id="dates",
        ),
        pytest.param(
            ("1_gt.png", "1_bit.png", "1_pred.png", "2_gt.png", "2_bit.png"),
            ["1_gt.png", "2_gt.png"],
            id="predictions-by-suffix",
        ),
        pytest.param(
            ("A_1.png", "B_1.png", "label_1.png"), ["label_1.png"], id="prefixes"
        ),
        pytest.param(("gt1.png", "gt2.png"), ["gt1.png", "gt2.png"], id="numbers"),
        pytest.param(
            ("road/groundtruth/gt1.png", "road/input/in1.jpg", "road/ROI.bmp"),
            ["road/groundtruth/gt1.png"],
            id="CDnet",
        ),
        pytest.param(
            ("gt1.png", "gt2.png", "ROI.bmp"), ["gt1.png", "gt2.png"], id="ROI"
        ),
        pytest.param(
            ("a/change_label/1.png", "b/label/1.png"),
            ["a/change_label/1.png", "b/label/1.png"],
            id="two-datasets",
        ),
    ],
)
def test_masks_are_chosen_by_what_names_say(
    names: tuple[str, ...], masks: list[str]
) -> None:
    assert chosen(*names) == masks


@pytest.mark.parametrize(
    ("names", "paths"),
    [
        (("label1/1.png", "label2/1.png"), ["label1", "label2"]),
        (("GT_A/1.png", "GT_B/1.png"), ["GT_A", "GT_B"]),
        (("label/t1/1.png", "label/t2/1.png"), ["label/t1", "label/t2"]),
        (("labels/2006/1.tif", "labels/2012/1.tif"), ["labels/2006", "labels/2012"]),
        (("label/1.png", "mask/1.png"), ["label", "mask"]),
        (("1.jpg", "1.png"), ["*.jpg", "*.png"]),
        (
            ("img0.jpg", "img0.png", "img1.jpg", "img1.png"),
            ["img*.jpg", "img*.png"],
        ),
        (("S1_mask_001.png", "S2_mask_001.png"), ["S1_mask_*.png", "S2_mask_*.png"]),
        (("1_change.png", "1_unchanged.png"), ["*_change.png"]),
    ],
)
def test_two_masks_of_the_same_images_are_refused_with_a_path_for_each(
    names: tuple[str, ...], paths: list[str]
) -> None:
    with pytest.raises(DataError) as error:
        chosen(*names)
    assert ways(error) == paths


def test_every_path_that_a_refusal_suggests_reads_one_kind(tmp_path: Path) -> None:
    for kind in ("label1", "label2"):
        for split in ("train", "test"):
            write(tmp_path / f"[x] y/{split}/{kind}/1.png", np.eye(4) * 255)
    (refused,) = find_masks([str(tmp_path / "[x] y")])
    paths = re.findall(r"'([^']*\*\*[^']*)'", refused.problems[0])
    assert len(paths) == 2
    for way in paths:
        (found,) = find_masks([way])
        assert [file.split for file in found.files] == ["test", "train"]


@pytest.mark.parametrize(
    ("folder", "split"),
    [
        ("Onera Satellite Change Detection dataset - Train Labels", "train"),
        ("LEVIR_val", "val"),
        ("test_images", "test"),
        ("VAL", "val"),
        ("latest", ""),
        ("test_area", ""),
    ],
)
def test_a_folder_ends_with_the_name_of_its_split(folder: str, split: str) -> None:
    assert split_named(folder) == split


def test_every_dataset_that_names_show_has_a_preset() -> None:
    for table in (shapes_of("looks"), shapes_of("layouts")):
        assert table.keys() <= {one.name for one in presets()}
        shapes = [shape for some in table.values() for shape in some]
        assert shapes == [shape.lower() for shape in shapes]


@pytest.mark.parametrize(
    ("dataset", "name", "preset"),
    [
        ("xBD", "train/targets/x_00_post_disaster_target.png", "xbd-post"),
        ("Hi-UCD", "train/mask/2017_2018/9/0.png", "hi-ucd"),
        ("Landsat-SCD", "label/0.png", "landsat-scd"),
        ("SECOND", "train/label1/1.png", "second-index"),
        ("data", "paris/cm/cm.png", "oscd-png"),
        ("BANDON", "val/labels/1.png", "bandon-val"),
    ],
)
def test_names_of_files_show_their_dataset(
    dataset: str, name: str, preset: str
) -> None:
    assert preset in looks_like(Path(dataset), [name])


@pytest.mark.parametrize(
    ("values", "names"),
    [
        ({0: 9, 1: 1, 2: 1, 3: 1}, ["xbd-post"]),
        ({0: 9, 1: 1}, []),
        ({0: 9, 9: 1}, []),
        ({"#090902": 5, "#080801": 5}, ["hi-ucd"]),
    ],
)
def test_a_preset_fits_where_it_names_all_values_and_both_classes_occur(
    values: dict[int | float | str, int], names: list[str]
) -> None:
    known = ["xbd-post", "hi-ucd", "levir-cd"]
    assert [one.name for one in fitting(values, known)] == names


def test_lists_in_the_folder_of_the_dataset_may_name_cities(tmp_path: Path) -> None:
    for city in ("paris", "rio", "bern"):
        write(tmp_path / f"X/{city}/cm/cm.png", np.eye(4) * 255)
    (tmp_path / "X/train.txt").write_text("paris,bern\r\n")
    (tmp_path / "X/test.txt").write_text("rio\r\n")
    rows = {row.split: row.images for row in cdstats.ratio(tmp_path / "X").datasets}
    assert rows == {"all": 3, "train": 2, "test": 1}


def test_numbers_beside_listed_names_are_no_names(tmp_path: Path) -> None:
    for number in range(3):
        write(tmp_path / f"X/label/{number}.png", np.eye(4) * 255)
    line = "A/{0}.png\tB/{0}.png\tlabel/{0}.png\t0\t1\n"
    (tmp_path / "X/train.txt").write_text(line.format(2))
    rows = {row.split: row.images for row in cdstats.ratio(tmp_path / "X").datasets}
    assert rows == {"all": 3, "train": 1, "unlisted": 2}


def test_a_partial_pair_is_read_whatever_its_blocks_are(tmp_path: Path) -> None:
    change, unchanged = np.zeros((2, 2200, 2200), np.uint16)
    change[5:500, 5:40] = unchanged[1100:] = 255
    write(tmp_path / "change.png", change)
    Image.fromarray(unchanged).save(tmp_path / "unchanged.png")
    found = cdstats.ratio(tmp_path, preset="partial-pair").datasets[0]
    assert (found.changed, found.unchanged) == (17_325, 2_420_000)
