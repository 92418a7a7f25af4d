"""Lists of splits that do not fit the folders, or whose names fit several masks."""

from __future__ import annotations

from pathlib import Path

import helpers
import numpy as np
import pytest

import cdstats
from cdstats.core.errors import DataError
from cdstats.io.discovery import find_masks


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def save(*names: str) -> None:
    """Masks that have 10, 11, ... changed pixels."""
    for number, name in enumerate(names):
        pixels = np.zeros((8, 8), np.uint8)
        pixels.flat[: 10 + number] = 255
        helpers.save(Path(name), pixels)


def write(**lists: str) -> None:
    for split, names in lists.items():
        Path(f"d/{split}.txt").write_text("\n".join(names.split()))


def splits() -> dict[str, str]:
    return {file.name: file.split for file in find_masks(["d"])[0].files}


@pytest.mark.parametrize(
    ("one", "two"),
    [
        pytest.param("A/label/1.png", "B/label/1.png", id="places named as images"),
        pytest.param("label/bern/1.png", "label/ulm/1.png", id="places below labels"),
        pytest.param("2012/gt/1.png", "2016/gt/1.png", id="years"),
    ],
)
def test_a_bare_name_of_two_masks_is_refused_and_a_path_settles_it(
    one: str, two: str
) -> None:
    save(f"d/{one}", f"d/{two}", "d/label/2.png")
    write(train="1.png", test="2.png")
    with pytest.raises(DataError, match=f"{one} and {two}") as refused:
        cdstats.ratio("d")
    written = str(refused.value).partition("in the list: ")[2].split()[0].rstrip(".;")
    assert written == one
    write(train=written, test=f"2.png {two}")
    assert splits() == {one: "train", two: "test", "label/2.png": "test"}
    rows = {row.split: row.changed for row in cdstats.ratio("d").datasets}
    assert rows == {"all": 33, "train": 10, "test": 23}


@pytest.mark.parametrize(
    "command",
    [
        ("ratio", "d"),
        ("audit", "d"),
        ("weights", "d"),
        ("loss", "--pred", "p", "--target", "d"),
        ("compare", "--pred", "p", "--pred", "q=p", "--target", "d"),
    ],
)
def test_every_command_refuses_it(command: tuple[str, ...]) -> None:
    save("d/A/label/1.png", "d/B/label/1.png", "p/A/1.png")
    write(train="1.png")
    done = helpers.run(*command)
    assert done.code == 1
    assert "A/label/1.png and B/label/1.png" in done.err


def test_two_labels_of_one_image_share_its_name() -> None:
    save("d/label1/1.png", "d/label2/1.png", "d/label1/2.png", "d/label2/2.png")
    write(train="1.png", test="2.png")
    found = find_masks(["d/label[12]/*.png"])[0]
    assert [file.split for file in found.files] == ["train", "test"] * 2


def test_a_folder_that_is_listed_holds_masks_of_any_name() -> None:
    save("d/rome/cm/cm.png", "d/pisa/cm/cm.png", "d/bari/cm/cm.png")
    write(train="rome pisa", test="bari")
    found = find_masks(["d"])[0]
    assert [file.split for file in found.files] == ["test", "train", "train"]


def test_another_dataset_is_read_beside_a_refused_one() -> None:
    save("d/A/label/1.png", "d/B/label/1.png", "e/label/1.png")
    write(train="1.png")
    found = cdstats.ratio(["d", "e"], errors="keep")
    assert [row.dataset for row in found.images] == ["e"]


# Lists beside folders of splits


def told() -> str:
    done = helpers.run("ratio", "d")
    assert done.code == 0, done.err
    return done.err


def save_folders() -> None:
    for split in ("train", "test"):
        save(*(f"d/{split}/label/{split}{number}.png" for number in range(3)))


@pytest.mark.parametrize(
    "train", ["train/label/train{}.png", "train/train{}", "train{}"]
)
def test_lists_that_agree_with_the_folders_need_no_note(train: str) -> None:
    save_folders()
    write(train=" ".join(map(train.format, range(3))), test="test0 test1 test2")
    assert told() == ""


def test_numbers_that_both_folders_hold_agree() -> None:
    for split in ("train", "test"):
        save(*(f"d/{split}/label/{number}.png" for number in range(4)))
    write(train="0 1 2 3", test="0 1 2")
    assert told() == ""


def test_lists_that_contradict_the_folders_are_told() -> None:
    save_folders()
    write(train="train0 train1 test0", test="train2 test1 test2")
    text = told()
    assert "splits from folders, not from train.txt, test.txt" in text
    assert "2 masks in another split, first test/label/test0.png in train.txt" in text
    assert set(splits().values()) == {"train", "test"}


def test_masks_that_lists_beside_folders_lack_are_told() -> None:
    save_folders()
    write(train="train0 train1", test="test0 test1 test2")
    text = told()
    assert "they lack 1 mask" in text
    assert "another split" not in text


def test_a_list_within_a_folder_of_a_split_is_told() -> None:
    save_folders()
    Path("d/train/val.txt").write_text("train2.png")
    text = told()
    assert "not from val.txt" in text
    assert "1 mask in another split, first train/label/train2.png in val.txt" in text


def test_lists_of_other_files_are_not_told() -> None:
    save_folders()
    write(train="x y", test="z")
    assert told() == ""


# Lists that are not used


@pytest.mark.parametrize(
    ("used", "unused"),
    [
        pytest.param([], ["splits/fold0_train.txt", "splits/fold0_val.txt"], id="fold"),
        pytest.param([], ["train.csv", "test.csv"], id="csv"),
        pytest.param([], ["splits/train.json", "splits.json"], id="json"),
        pytest.param(["list/test.txt"], ["list/test.json"], id="json beside text"),
        pytest.param(["ImageSets/Main/test.txt"], ["ImageSets/Main/trainval.txt"]),
        pytest.param(
            ["list/train.txt", "list/test.txt"], ["splits/train.txt"], id="second place"
        ),
        pytest.param(
            ["list/val.txt"], ["list/5_train_supervised.txt"], id="semi-supervised"
        ),
    ],
)
def test_lists_that_are_not_used_are_told(used: list[str], unused: list[str]) -> None:
    save("d/label/1.png", "d/label/2.png")
    for number, name in enumerate([*used, *unused]):
        Path("d", name).parent.mkdir(parents=True, exist_ok=True)
        Path("d", name).write_text(f"{1 + number % 2}.png\n")
    text = told()
    assert all(name in text for name in [*used, *unused])
    assert ("no splits from" in text) is not bool(used)
    assert "unlisted" in splits().values() or len(used) != 1


def test_other_texts_are_no_lists() -> None:
    save("d/label/1.png")
    for name in ("README.txt", "notes.csv", "classes.txt", "meta.json", "split.txt"):
        Path("d", name).write_text("1.png\n")
    assert told() == ""
