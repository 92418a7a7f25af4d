"""Labels of change named by short words, and two masks that no name tells apart."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from helpers import save as write
from test_dataset_folders import area, photograph, ratio, square, totals

if TYPE_CHECKING:
    from pathlib import Path

NUMBERS = range(3)


@pytest.mark.parametrize(
    ("images", "mask", "others"),
    [
        pytest.param(
            ("{}_A.png", "{}_B.png"), "{}_CD.png", ("{}_L1.png", "{}_L2.png"), id="end"
        ),
        pytest.param(
            ("im1_{}.png", "im2_{}.png"),
            "cd_{}.png",
            ("seg1_{}.png", "seg2_{}.png"),
            id="beginning",
        ),
        pytest.param(
            ("s{}_pre.png", "s{}_post.png"), "s{}_cd.png", ("s{}_lc.png",), id="cover"
        ),
        pytest.param(
            ("rome/IMG1/{}.png", "rome/IMG2/{}.png"),
            "rome/CD/{}.png",
            ("rome/LC1/{}.png", "rome/LC2/{}.png"),
            id="folders",
        ),
        pytest.param(
            ("im1/{}.png", "im2/{}.png"), "bcd/{}.png", ("scd/{}.png",), id="unknown"
        ),
        pytest.param(("A/{}.png",), "CD/{}.png", ("label/{}.png",), id="labels"),
    ],
)
def test_short_words_for_change_name_the_masks(
    tmp_path: Path, images: tuple[str, ...], mask: str, others: tuple[str, ...]
) -> None:
    for number in NUMBERS:
        for name in images:
            write(tmp_path / "X" / name.format(number), photograph(number))
        for name in others:
            write(tmp_path / "X" / name.format(number), square(number + 3))
        write(tmp_path / "X" / mask.format(number), square(number))
    assert totals(tmp_path / "X")["all"] == area(*map(square, NUMBERS))


def test_a_dataset_called_cd_is_read_by_its_labels(tmp_path: Path) -> None:
    for number in NUMBERS:
        write(tmp_path / "X/CD/train/A" / f"{number}.png", photograph(number))
        write(tmp_path / "X/CD/train/label" / f"{number}.png", square(number))
    right = area(*map(square, NUMBERS))
    assert totals(tmp_path / "X") == {"all": right, "train": right}


def test_two_unnamed_folders_beside_images_are_refused(tmp_path: Path) -> None:
    for number in NUMBERS:
        write(tmp_path / "X/train/A" / f"{number}.png", photograph(number))
        write(tmp_path / "X/train/gain" / f"{number}.png", square(number))
        write(tmp_path / "X/train/loss" / f"{number}.png", square(number + 3))
    done = ratio(tmp_path / "X")
    assert done.code == 1
    assert "gain and loss have files for the same images" in done.err
    choice = f"{tmp_path}/X/**/gain"
    assert f"'{choice}'" in done.err
    assert totals(choice)["all"] == area(*map(square, NUMBERS))


def test_places_beside_images_are_not_two_masks_of_one_image(tmp_path: Path) -> None:
    for place in ("paris", "rome"):
        for number in NUMBERS:
            write(tmp_path / "X" / place / "A" / f"{number}.png", photograph(number))
            write(tmp_path / "X" / place / "masked" / f"{number}.png", square(number))
    masks = [*map(square, NUMBERS)] * 2
    assert totals(tmp_path / "X")["all"] == area(*masks)


def test_two_folders_of_masks_read_together_are_told(tmp_path: Path) -> None:
    for number in NUMBERS:
        write(tmp_path / "X/label" / f"{number}.png", square(number))
        write(tmp_path / "X/label_crop" / f"{number}_0.png", square(number))
    done = ratio(tmp_path / "X")
    told = "read the masks in label, label_crop; to count separately, name each"
    assert done.code == 0
    assert told in done.err


def test_numbered_tiles_called_t_are_not_dates(tmp_path: Path) -> None:
    for number in range(1, 5):
        write(tmp_path / "X" / f"T{number}_pre.png", photograph(number))
        write(tmp_path / "X" / f"T{number}_cd.png", square(number))
        write(tmp_path / "X" / f"T{number}_lc.png", square(number + 5))
    assert totals(tmp_path / "X")["all"] == area(*map(square, range(1, 5)))
