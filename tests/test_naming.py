"""What folder names say: datasets, splits, mask folders, and natural order."""

import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cdstats.io.naming import (
    dataset_name,
    is_image_folder,
    is_mask_folder,
    natural_key,
    naturally,
    split_above,
    split_in,
    usual_split,
)

MASKS = (
    *("label", "labels", "Label", "OUT", "out", "gt", "GT", "mask", "MASK", "cm"),
    *("target", "targets", "Change_Label", "change label"),
)
IMAGES = (
    *("A", "B", "t1", "t2", "time1", "time2", "im1", "im2", "Image1", "Image2"),
    *("before", "after", "BEFORE", "AFTER", "images", "pre-event", "post-event"),
)


@pytest.mark.parametrize("name", MASKS)
def test_the_usual_mask_folders_are_known(name: str) -> None:
    assert is_mask_folder(name)
    assert not is_image_folder(name)


@pytest.mark.parametrize("name", IMAGES)
def test_the_usual_image_folders_are_known(name: str) -> None:
    assert is_image_folder(name)
    assert not is_mask_folder(name)


@pytest.mark.parametrize("name", ["label1", "labelled", "AB", "outer", "t3", ""])
def test_other_folders_are_neither_masks_nor_images(name: str) -> None:
    assert not is_mask_folder(name)
    assert not is_image_folder(name)


@pytest.mark.parametrize(
    ("name", "split"),
    [
        ("train", "train"),
        ("Training", "train"),
        ("VAL", "val"),
        ("valid", "val"),
        ("validation", "val"),
        ("Test", "test"),
        ("testing", "test"),
        ("tier3", "tier3"),
        ("hold", "hold"),
    ],
)
def test_splits_have_one_name_for_all_their_spellings(name: str, split: str) -> None:
    assert usual_split(name) == split


@pytest.mark.parametrize(
    ("folders", "split"),
    [
        pytest.param(("Real", "Train", "OUT"), "train", id="above the masks"),
        pytest.param(("OUT", "val"), "val", id="below the masks"),
        pytest.param(("train", "crops", "test"), "test", id="nearest to the file"),
        pytest.param(("label",), "", id="none"),
        pytest.param((), "", id="no folder"),
        pytest.param(("contest", "trained"), "", id="only part of a name"),
    ],
)
def test_the_split_is_a_folder_below_the_path(
    folders: tuple[str, ...], split: str
) -> None:
    assert split_in(folders) == split


@pytest.mark.parametrize(
    ("folders", "split"),
    [
        pytest.param(("LEVIR-CD", "train", "label"), "train", id="split and masks"),
        pytest.param(("BCDD", "change_label", "test"), "test", id="masks and split"),
        pytest.param(("test", "LEVIR-CD"), "", id="a test folder that holds data"),
        pytest.param(("home", "test", "me", "label"), "", id="far above"),
    ],
)
def test_the_end_of_a_path_may_tell_the_split(
    folders: tuple[str, ...], split: str
) -> None:
    assert split_above(folders) == split


@pytest.mark.parametrize(
    ("path", "name"),
    [
        pytest.param("data/LEVIR-CD", "LEVIR-CD", id="folder"),
        pytest.param("data/LEVIR-CD/train/label", "LEVIR-CD", id="split and masks"),
        pytest.param("BCDD/change label", "BCDD", id="masks with a space"),
        pytest.param("CDD/Real/subset/val/OUT", "subset", id="upper case"),
        pytest.param("train/label", "masks", id="nothing else"),
    ],
)
def test_a_dataset_is_named_after_its_folder(path: str, name: str) -> None:
    assert dataset_name(Path(path).parts) == name


@pytest.mark.parametrize(
    "names",
    [
        pytest.param(["2", "10"], id="by value"),
        pytest.param(["a_9.png", "a_10.png", "a_11.png"], id="inside a name"),
        pytest.param(["a9/b10", "a10/b9"], id="folder before file"),
        pytest.param(["ulm/9", "ulm2/1"], id="a folder before its longer names"),
        pytest.param(["1.png", "a.png"], id="numbers before letters"),
        pytest.param(["xy", "x²y"], id="a digit that is no number"),
        pytest.param(["", "0"], id="nothing first"),
    ],
)
def test_natural_order_reads_numbers_as_numbers(names: list[str]) -> None:
    assert naturally(reversed(names)) == names


NAMES = st.text(max_size=12) | st.text("ab0019_/.²٣\0\1\2\udc80", max_size=12)


def as_bytes(word: str) -> bytes:
    return word.encode("utf-8", "surrogateescape")


def spelled_out(path: str) -> list[list[tuple[bool, int, bytes]]]:
    """Natural order in words: folder by folder, a number by its value, then digits."""
    return [
        [
            (place % 2 == 0, int(word) if place % 2 else 0, as_bytes(word))
            for place, word in enumerate(re.split("([0-9]+)", part))
        ]
        for part in path.split("/")
    ]


@given(NAMES, NAMES)
def test_natural_order_is_that_of_its_words_and_numbers(one: str, other: str) -> None:
    expected = spelled_out(one) < spelled_out(other)
    assert (natural_key(one) < natural_key(other)) == expected


@given(st.text(max_size=12), st.text(max_size=12))
def test_two_names_are_never_equal_in_natural_order(one: str, other: str) -> None:
    assert (natural_key(one) == natural_key(other)) == (one == other)
