"""Folders of public datasets as downloaded: the right counts, or what helps."""

from __future__ import annotations

import re
import shlex
from typing import TYPE_CHECKING

import numpy as np
import pytest
from helpers import Done, run
from helpers import save as write

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

SIDE = 16


def ratio(*arguments: object) -> Done:
    return run("ratio", *arguments)


def square(number: int) -> np.ndarray:
    """A mask with one rectangle that depends on a number."""
    mask = np.zeros((SIDE, SIDE), bool)
    mask[number % 5 : number % 5 + 4, number % 3 : number % 3 + 5 + number % 4] = True
    return mask


def photograph(seed: int) -> np.ndarray:
    random = np.random.default_rng(seed)
    return (random.random((SIDE, SIDE, 3)) * 255).astype(np.uint8)


def totals(*arguments: object) -> dict[str, tuple[int, int]]:
    """Changed and unchanged pixels by split; empty where a run failed."""
    done = ratio(*arguments, "--format", "json")
    if done.code:
        return {}
    rows = done.data()["datasets"]
    return {row["split"]: (row["changed"], row["unchanged"]) for row in rows}


def area(*masks: np.ndarray) -> tuple[int, int]:
    changed = sum(int(mask.sum()) for mask in masks)
    return changed, sum(mask.size for mask in masks) - changed


def presets_in(text: str) -> list[str]:
    return list(dict.fromkeys(re.findall(r"--preset ([\w-]+)", text)))


SPLIT_FOLDERS = {
    "flat": ("{split}_A", "{split}_label"),
    "one word": ("{split}A", "{split}label"),
    "sizes": ("{split}_256/A", "{split}_256/label"),
    "mmseg": ("img_dir/{split}/A", "ann_dir/{split}"),
    "below": ("A/{split}", "label/{split}"),
    "change": ("change/{split}/A", "change/{split}/label"),
}


@pytest.mark.parametrize("layout", SPLIT_FOLDERS)
def test_splits_are_found_in_folders_of_many_kinds(tmp_path: Path, layout: str) -> None:
    images, masks = SPLIT_FOLDERS[layout]
    for split in ("train", "val", "test"):
        for number in range(2):
            name = f"{number}.png"
            write(tmp_path / "X" / images.format(split=split) / name, photograph(1))
            mask = square(number + len(split))
            write(tmp_path / "X" / masks.format(split=split) / name, mask)
    found = totals(tmp_path / "X")
    both = {s: area(square(len(s)), square(len(s) + 1)) for s in ("train", "val")}
    assert {split: found[split] for split in both} == both
    assert found.keys() == {"all", "train", "val", "test"}


@pytest.mark.parametrize("beside", ["udm", "gt_vis", "GT_MULTICLASS", "nodata_mask"])
def test_other_rasters_beside_masks_are_skipped(tmp_path: Path, beside: str) -> None:
    for number in range(2):
        write(tmp_path / f"X/gt/{number}.png", square(number))
        write(tmp_path / f"X/{beside}/{number}.png", square(number + 2))
    assert totals(tmp_path / "X")["all"] == area(square(0), square(1))


def test_masks_of_usable_data_are_no_masks_of_change(tmp_path: Path) -> None:
    for number in range(2):
        write(tmp_path / f"SpaceNet7/site/images/{number}.tif", photograph(number))
        write(tmp_path / f"SpaceNet7/site/UDM_masks/{number}_UDM.tif", square(number))
    done = ratio(tmp_path / "SpaceNet7")
    assert done.code == 1
    assert "looks like an image" in done.err
    assert "skipped 2 files" in done.err


def test_copies_in_colour_beside_masks_are_skipped(tmp_path: Path) -> None:
    for number in range(2):
        write(tmp_path / f"X/label/{number}.png", square(number))
        colour = square(number)[..., None] * np.array([255, 0, 0])
        write(tmp_path / f"X/label/{number}_color.png", colour.astype(np.uint8))
    assert totals(tmp_path / "X")["all"] == area(square(0), square(1))


def test_labels_by_hand_and_by_threshold_are_two_labels(tmp_path: Path) -> None:
    for number in range(2):
        for folder in ("LabelHand", "S1OtsuLabelHand"):
            name = f"X/{folder}/Ghana_{number}_{folder}.tif"
            write(tmp_path / name, square(number + len(folder)))
    done = ratio(tmp_path / "X")
    assert done.code == 1
    (first, *_) = re.findall(r"'([^']*)'", done.err)
    assert totals(first)["all"] == area(square(9), square(10))


# Codes that the values alone do not tell.


@pytest.mark.parametrize(
    ("name", "codes", "preset"),
    [
        ("targets/storm_{}_post_disaster_target.png", (0, 1), "xbd-post"),
        ("targets/storm_{}_post_disaster_target.png", (0, 255), "xbd-post"),
        ("masks/storm_{}_post_disaster.png", (1,), "xbd-post"),
        ("target/blast_{}_building_damage.tif", (0, 1), "bright"),
        ("labels_unch0ch1ig255/bj/t1VSt2/{}.png", (0, 255), "bandon-train"),
        ("road/groundtruth/gt{}.png", (0, 85), "cdnet2014"),
        ("road/groundtruth/gt{}.png", (0, 50), "cdnet2014"),
        ("paris{}/cm/paris-cm.tif", (1,), "oscd-tif"),
    ],
)
def test_names_tell_codes_that_happen_to_look_binary(
    tmp_path: Path, name: str, codes: tuple[int, ...], preset: str
) -> None:
    for number in range(3):
        mask = np.where(square(number), codes[-1], codes[0]).astype(np.uint8)
        write(tmp_path / "X" / name.format(number), mask)
    done = ratio(tmp_path / "X")
    assert done.code == 1
    assert presets_in(done.err) == [preset]
    assert "looks like" in done.err.lower()
    changed, unchanged = totals(tmp_path / "X", "--preset", preset)["all"]
    assert changed == 0
    ignored = 3 * SIDE**2 - unchanged
    assert (ignored > 0) == (codes[-1] in (85, 255))
    given = ("--changed", codes[-1], "--unchanged", "rest")
    assert totals(tmp_path / "X", *given)["all"][0] > 0


def test_targets_before_and_after_a_disaster_are_not_added_up(tmp_path: Path) -> None:
    for date in ("pre", "post"):
        name = f"X/targets/storm_1_{date}_disaster_target.png"
        write(tmp_path / name, np.zeros((SIDE, SIDE), np.uint8))
    assert totals(tmp_path / "X")["all"] == (0, SIDE**2)
    assert "skipped 1 file (*_pre_disaster*)" in ratio(tmp_path / "X").err
    assert totals(tmp_path / "X", "--preset", "xbd-post")["all"] == (0, SIDE**2)
    assert totals(tmp_path / "X", "--preset", "none")["all"] == (0, 2 * SIDE**2)


def test_photographs_of_a_disaster_are_not_said_to_show_buildings(
    tmp_path: Path,
) -> None:
    write(tmp_path / "X/images/storm_1_pre_disaster.png", photograph(1))
    err = ratio(tmp_path / "X").err
    assert "looks like an image" in err
    assert "building presence" not in err


COLOURS = np.array([(255, 255, 255), (0, 128, 0), (128, 0, 0), (0, 0, 255)], np.uint8)


def write_second(folder: Path, *labels: str) -> None:
    for number in range(3):
        for shift, label in enumerate(labels):
            index = np.where(square(number), 1 + (number + shift) % 3, 0)
            write(folder / f"train/{label}/{number}.png", COLOURS[index])
        write(folder / f"train/im1/{number}.png", photograph(number))


@pytest.mark.parametrize("labels", [("label1", "label2"), ("labelA", "labelB")])
@pytest.mark.parametrize("name", ["SECOND", "copy"])
@pytest.mark.parametrize("below", ["", "train"])
def test_copies_of_second_are_read_or_refused_with_their_preset(
    tmp_path: Path, labels: tuple[str, str], name: str, below: str
) -> None:
    write_second(tmp_path / name, *labels)
    known = (name, labels[0]) == ("SECOND", "label1")
    done = ratio(tmp_path / name / below)
    assert (done.code, "read as SECOND" in done.err) == (int(not known), known)
    assert presets_in(done.err) == ["second-rgb", *["none"] * known]
    assert "**" not in done.err
    found = totals(tmp_path / name / below, "--preset", "second-rgb")
    assert found["all"] == area(*map(square, range(3)))


def test_two_binary_labels_of_other_datasets_offer_their_folders(
    tmp_path: Path,
) -> None:
    for number in range(3):
        for label in ("label1", "label2"):
            write(tmp_path / f"X/{label}/{number}.png", square(number))
    err = ratio(tmp_path / "X").err
    assert not presets_in(err)
    for path in re.findall(r"('[^']*')", err):
        assert totals(*shlex.split(path))["all"] == area(*map(square, range(3)))


@pytest.mark.parametrize("below", ["", "train", "train/mask", "train/mask/2017_2018/9"])
def test_folders_above_tell_the_dataset_too(tmp_path: Path, below: str) -> None:
    change = np.where(square(1), 2, 1)
    change[0] = 0
    classes = np.arange(SIDE**2).reshape(SIDE, SIDE) % 7
    bands = np.dstack([classes, classes[::-1], change]).astype(np.uint8)
    write(tmp_path / "Hi-UCD mini/train/mask/2017_2018/9/1.png", bands)
    place = tmp_path / "Hi-UCD mini" / below
    done = ratio(place)
    assert presets_in(done.err) == ["hi-ucd"]
    changed = int((change == 2).sum())
    unchanged = int((change == 1).sum())
    found = totals(place, "--preset", "hi-ucd")
    assert found["all"] == (changed, unchanged)


# Lists of splits.


@pytest.mark.parametrize(
    "place",
    [
        *("{}.txt", "{}_list.txt", "list_{}.txt", "{}_ids.txt", "list/{}.txt"),
        *("splits/{}_list.txt", "ImageSets/{}.txt", "ImageSets/Main/{}.txt"),
    ],
)
def test_lists_of_splits_have_many_names(tmp_path: Path, place: str) -> None:
    for number in range(3):
        write(tmp_path / f"X/label/{number}.png", square(number))
        write(tmp_path / f"X/A/{number}.png", photograph(number))
    for split, lines in (("train", "0.png\n1.png\n"), ("test", "2.png\n")):
        path = tmp_path / "X" / place.format(split)
        path.parent.mkdir(exist_ok=True, parents=True)
        path.write_text(lines)
    found = totals(tmp_path / "X")
    assert found["train"] == area(square(0), square(1))
    assert found["test"] == area(square(2))


def test_the_shortest_name_of_a_list_is_used_and_others_are_named(
    tmp_path: Path,
) -> None:
    for number in range(2):
        write(tmp_path / f"X/label/{number}.png", square(number))
    (tmp_path / "X/train.txt").write_text("0.png\n")
    (tmp_path / "X/train_list.txt").write_text("0.png\n1.png\n")
    (tmp_path / "X/train_images.txt").write_text("0.png\n1.png\n")
    done = ratio(tmp_path / "X")
    assert "splits from train.txt; not used: train_images.txt, train_list" in done.err
    assert totals(tmp_path / "X")["train"] == area(square(0))


# What is told of files beside masks.


@pytest.mark.parametrize(
    ("images", "mask", "ways"),
    [
        (("x1/{}.png", "x2/{}.png"), "y/{}.png", ["**/y"]),
        (("2019_{}.png", "2020_{}.png"), "x_{}.png", ["**/x_*.png"]),
        (("{}/im1.bmp", "{}/im2.bmp"), "{}/im3.bmp", ["**/im3.bmp"]),
        (
            ("{}/image_1.png", "{}/image_2.png"),
            "{}/change_map.png",
            ["**/change_map.png"],
        ),
        (("x/{}.png", "x/y{}.png"), "x/{}0.png", []),
    ],
)
def test_images_among_masks_are_told_with_what_reads_the_masks(
    tmp_path: Path, images: tuple[str, ...], mask: str, ways: list[str]
) -> None:
    for number in range(1, 4):
        for name in images:
            write(tmp_path / "X" / name.format(number), photograph(number))
        write(tmp_path / "X" / mask.format(number), square(number))
    done = ratio(tmp_path / "X")
    assert done.code == 1
    found = re.findall(r"only the masks: '(.*)'", done.err)
    assert found == [f"{tmp_path}/X/{way}" for way in ways]
    for way in found:
        assert totals(way)["all"] == area(*map(square, range(1, 4)))


def test_masks_of_one_split_in_several_folders_are_told(tmp_path: Path) -> None:
    for folder in ("LEVIR", "WHU"):
        write(tmp_path / f"X/{folder}/train/label/1.png", square(1))
    done = ratio(tmp_path / "X")
    assert done.code == 0
    assert "split train is read from LEVIR/train, WHU/train" in done.err
    assert "is read from" not in ratio(tmp_path / "X/WHU").err


def test_labels_of_dates_elsewhere_are_not_added_to_labels_of_change(
    tmp_path: Path,
) -> None:
    for site in ("paris", "rome"):
        write(tmp_path / f"X/scenes/{site}/label_cd/1.png", square(1))
        write(tmp_path / f"X/labels/{site}/2019/1.png", square(2))
    done = ratio(tmp_path / "X")
    assert "X: read the masks in label_cd" in done.err
    assert "in labels: to read them, name their folder" in done.err
    assert totals(tmp_path / "X")["all"] == area(square(1), square(1))


@pytest.mark.parametrize("form", ["gt/{}/1.png", "{}/1.png", "{}/label/1.png"])
def test_letters_of_places_are_no_dates(tmp_path: Path, form: str) -> None:
    for number, letter in enumerate("abc"):
        write(tmp_path / "X" / form.format(letter), square(number))
    assert totals(tmp_path / "X")["all"] == area(*map(square, range(3)))


def test_a_file_called_input_among_masks_is_one_of_them(tmp_path: Path) -> None:
    for number in range(3):
        write(tmp_path / f"X/m_{number}.png", square(number))
    write(tmp_path / "X/input.png", square(3))
    assert totals(tmp_path / "X")["all"] == area(*map(square, range(4)))
    write(tmp_path / "Y/landslide.png", square(1))
    write(tmp_path / "Y/input.png", photograph(1))
    assert totals(tmp_path / "Y")["all"] == area(square(1))


def test_a_split_named_as_the_row_of_the_dataset_gets_another_name(
    tmp_path: Path,
) -> None:
    for number, split in enumerate(("all", "test")):
        write(tmp_path / f"X/{split}/label/{number}.png", square(number))
    found = totals(tmp_path / "X")
    assert list(found) == ["all", "test", "split-all"]
    assert found["split-all"] == area(square(0))
    done = ratio(tmp_path / "X", "--split", "split-all")
    assert (done.code, "split all is renamed split-all" in done.err) == (0, True)
    (tmp_path / "pairs.csv").write_text("target,split\nX/all/label/0.png,all\n")
    assert list(totals(f"@{tmp_path}/pairs.csv")) == ["all", "split-all"]


@pytest.mark.parametrize("names", ["äé", "甲乙", ("изм", "маска")])
def test_names_in_other_alphabets_are_names_of_different_images(
    tmp_path: Path, names: Sequence[str]
) -> None:
    first, second = names
    write(tmp_path / f"X/{first}.png", square(0))
    write(tmp_path / f"X/{second}.bmp", square(1))
    assert totals(tmp_path / "X")["all"] == area(square(0), square(1))


def test_two_formats_without_a_glob_of_their_own_name_a_way_out(tmp_path: Path) -> None:
    for name in ("a.bmp", "a.png", "im_pred.bmp", "cd_x.png"):
        write(tmp_path / "X" / name, square(2))
    done = ratio(tmp_path / "X")
    assert done.code == 1
    assert "read one: name its files in a list, @LIST" in done.err
