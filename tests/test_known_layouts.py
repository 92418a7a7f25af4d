"""Small copies of public datasets, laid out as published: every row is right."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

import numpy as np
import pytest
from helpers import Done, run, save

import cdstats
from cdstats.core.presets import presets
from cdstats.core.vocabulary import known_layouts

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

SIDE: Final = 16
EVERY: Final = ("train", "val", "test")


def square(number: int) -> NDArray[np.bool_]:
    mask = np.zeros((SIDE, SIDE), bool)
    mask[number % 5 : number % 5 + 4, number % 3 : number % 3 + 5 + number % 4] = True
    return mask


def classes(number: int, *codes: int) -> NDArray[np.uint8]:
    """A square of some codes in turn, beside 0."""
    held = np.resize(np.array(codes, np.uint8), (SIDE, SIDE))
    return np.where(square(number), held, 0).astype(np.uint8)


def photograph(seed: int) -> NDArray[np.uint8]:
    random = np.random.default_rng(seed)
    return (random.random((SIDE, SIDE, 3)) * 255).astype(np.uint8)


class Dataset(NamedTuple):
    """A dataset: its name, masks and images as paths, and how a mask is stored.

    `{s}` is a split and `{n}` a number. ``beside`` are labels that are not read.
    """

    name: str
    masks: str
    images: tuple[str, ...] = ("{s}/A/{n}.png", "{s}/B/{n}.png")
    splits: tuple[str, ...] = EVERY
    changed: tuple[int, ...] = (255,)
    unchanged: tuple[int, ...] = (0,)
    ignored: tuple[int, ...] = ()
    beside: tuple[str, ...] = ()
    lists: str = ""
    preset: str = ""


SPLIT = "{s}/label/{n}.png"
FLAT = ("A/{n}.png", "B/{n}.png")
CM = "Onera/Train Labels/city{n}/cm/"
BANDON = ("imgs/bj/t1/{n}.png", "building_labels/bj/t1/{n}.png")
DATASETS: Final = (
    Dataset("LEVIR-CD", SPLIT, preset="levir-cd"),
    Dataset("LEVIR-CD256", "label/{n}.png", FLAT, lists="list", preset="levir-cd-256"),
    Dataset("LEVIR-CD+", SPLIT, splits=("train", "test"), preset="levir-cd-plus"),
    Dataset(
        "S2Looking",
        SPLIT,
        ("{s}/Image1/{n}.png", "{s}/Image2/{n}.png"),
        beside=("{s}/label1/{n}.png", "{s}/label2/{n}.png"),
        preset="s2looking",
    ),
    Dataset(
        "SYSU-CD",
        SPLIT,
        ("{s}/time1/{n}.png", "{s}/time2/{n}.png"),
        preset="sysu-cd",
    ),
    Dataset("CLCD", SPLIT, ("{s}/time1/{n}.png",), preset="clcd"),
    Dataset("WHU-CD-256", "label/{n}.png", FLAT, lists="list", preset="whu-cd-256"),
    Dataset("WHU-CD-256", "label/{n}.png", FLAT, lists="list", changed=(1,)),
    Dataset(
        "BCDD",
        "change label/change_label.tif",
        ("before/before.tif", "after/after.tif"),
        splits=("",),
        changed=(1,),
        preset="bcdd",
    ),
    Dataset(
        "DSIFN-CD",
        "{s}/mask/{n}.png",
        ("{s}/t1/{n}.jpg", "{s}/t2/{n}.jpg"),
        changed=(1,),
        preset="dsifn-cd",
    ),
    Dataset("DSIFN_256", "label/{n}.png", FLAT, lists="list"),
    Dataset("JL1-CD", SPLIT, splits=("train", "test"), preset="jl1-cd"),
    Dataset(
        "FOTBCD",
        "label/{n}.png",
        ("before/{n}.png", "after/{n}.png"),
        ("",),
        preset="fotbcd",
    ),
    Dataset(
        "OMBRIA",
        "{s}/MASK/S1_mask_000{n}.png",
        ("{s}/AFTER/S1_after_000{n}.png", "{s}/BEFORE/S1_before_000{n}.png"),
        ("train", "test"),
        beside=("{s}/MASK/S2_mask_000{n}.png",),
        preset="ombria",
    ),
    Dataset(
        "AirChange",
        "Szada/{n}/gt.bmp",
        ("Szada/{n}/im1.bmp", "Szada/{n}/im2.bmp"),
        splits=("",),
        preset="airchange",
    ),
    Dataset(
        "OSCD",
        CM + "cm.png",
        splits=("train",),
        images=("Onera/Images/city{n}/pair/img1.png",),
        beside=(CM + "city{n}-cm.tif",),
        preset="oscd-png",
    ),
    Dataset(
        "OSCD",
        CM + "city{n}-cm.tif",
        ("Onera/Images/city{n}/pair/img1.png",),
        splits=("train",),
        changed=(2,),
        unchanged=(1,),
        preset="oscd-tif",
    ),
    Dataset("MSRS-CD", SPLIT, ("{s}/t1/{n}.png",), preset="msrs-cd"),
    Dataset(
        "ChangeDetectionDataset/Real/subset",
        "{s}/OUT/{n}.png",
        preset="cdd",
    ),
    Dataset(
        "BANDON",
        "train/labels_unch0ch1ig255/bj/t1VSt2/{n}.png",
        tuple(f"train/{one}" for one in BANDON),
        splits=("train",),
        changed=(1,),
        ignored=(255,),
        preset="bandon-train",
    ),
    Dataset(
        "BANDON",
        "val/labels/bj/t1VSt2/{n}.png",
        ("val/imgs/bj/t1/{n}.png",),
        splits=("val",),
        preset="bandon-val",
    ),
    Dataset(
        "xBD",
        "{s}/targets/storm_0000{n}_post_disaster_target.png",
        (
            "{s}/images/storm_0000{n}_post_disaster.png",
            "{s}/images/storm_0000{n}_pre_disaster.png",
        ),
        ("train", "test"),
        changed=(2, 3, 4),
        unchanged=(0, 1),
        beside=("{s}/targets/storm_0000{n}_pre_disaster_target.png",),
        preset="xbd-post",
    ),
    Dataset(
        "BRIGHT",
        "target/blast_0000{n}_building_damage.tif",
        ("pre-event/blast_{n}_pre_disaster.tif",),
        ("",),
        changed=(2, 3),
        unchanged=(0, 1),
        preset="bright",
    ),
    Dataset(
        "CDnet2014",
        "baseline/road/groundtruth/gt00000{n}.png",
        ("baseline/road/input/in00000{n}.jpg", "baseline/road/ROI.bmp"),
        ("",),
        changed=(255,),
        unchanged=(0, 50),
        ignored=(85, 170),
        preset="cdnet2014",
    ),
    Dataset(
        "SBI2015",
        "Board/groundtruth/gt00000{n}.png",
        ("Board/input/in00000{n}.png",),
        ("",),
        ignored=(170,),
        preset="sbi2015",
    ),
    Dataset(
        "SECOND",
        "{s}/label1/{n}.png",
        ("{s}/im1/{n}.png", "{s}/im2/{n}.png"),
        ("train", "test"),
        changed=(1, 2, 3, 4, 5, 6),
        beside=("{s}/label2/{n}.png",),
        preset="second-index",
    ),
    Dataset(
        "Landsat-SCD",
        "label/{n}.png",
        FLAT,
        ("",),
        changed=(1, 2, 3, 4, 5, 6, 7, 8, 9),
        beside=("labelA_rgb/{n}.png",),
        preset="landsat-scd",
    ),
    Dataset("CNAM-CD", "Label/{n}.png", FLAT, ("",), (1, 2, 3, 4, 5), preset="cnam-cd"),
)


def build(folder: Path, one: Dataset) -> dict[str, tuple[int, ...]]:
    """Write a dataset; return the right counts by split."""
    right = {}
    listed: dict[str, list[str]] = {}
    for number, split in enumerate(one.splits):
        found = np.zeros(3, int)
        for image in (2 * number, 2 * number + 1):
            seen = square(image)
            held = np.resize(np.array(one.changed, np.uint8), seen.shape)
            other = np.resize(np.array(one.unchanged, np.uint8), seen.shape)
            mask = np.where(seen, held, other)
            left_out = np.zeros_like(seen)
            if one.ignored:
                left_out[-2:] = True
                mask[-2:] = np.resize(np.array(one.ignored, np.uint8), (2, SIDE))
            changed = int((seen & ~left_out).sum())
            ignored = int(left_out.sum())
            found += (changed, SIDE**2 - changed - ignored, ignored)
            names = {"s": split, "n": image}
            save(folder / one.masks.format(**names), mask)
            for path in one.images:
                save(folder / path.format(**names), photograph(image))
            for path in one.beside:
                save(folder / path.format(**names), square(image + 1))
            listed.setdefault(split, []).append(f"{image}.png")
            if "{n}" not in one.masks:
                break
        right[split] = tuple(map(int, found))
    for split, lines in listed.items() if one.lists else ():
        place = folder / one.lists / f"{split}.txt"
        place.parent.mkdir(exist_ok=True)
        place.write_text("\n".join(lines), encoding="utf-8")
    return right


def counts(done: Done) -> dict[str, tuple[int, ...]]:
    assert done.code == 0, done.err
    names = ("changed", "unchanged", "ignored")
    return {
        row["split"]: tuple(int(row[name]) for name in names) for row in done.rows()
    }


@pytest.mark.parametrize(
    "one", DATASETS, ids=lambda one: f"{one.preset or one.name}-{one.changed[0]}"
)
def test_every_layout_is_read_right(tmp_path: Path, one: Dataset) -> None:
    right = build(tmp_path / one.name, one)
    done = run("ratio", tmp_path / one.name, "--format", "csv")
    total = tuple(sum(column) for column in zip(*right.values(), strict=True))
    splits = right if len(right) > 1 or "" not in right else {}
    assert counts(done) == {"all": total, **splits}
    known = next((each for each in presets() if each.name == one.preset), None)
    if known is None:
        assert "read as" not in done.err
        return
    assert f"read as {known.short}: " in done.err
    assert "to disable, use --preset none" in done.err
    given = run("ratio", tmp_path / one.name, "--preset", one.preset, "--format", "csv")
    assert counts(given) == counts(done)


@pytest.mark.parametrize(
    "path",
    [
        "d/label/1.png",
        "data/train/label/1.png",
        "levir-cd-clouds/train/label/1.png",
        "my_second/label2/1.png",
        "landsat/label/1.png",
        "xbd/train/label/1.png",
        "bright/target/1.tif",
        "oscd/paris/cm/paris.png",
        "train/OUT/1.png",
        "subset/OUT/1.png",
        "LEVIR-CD/pred/1.png",
        "LEVIR-CD/label/colour/1.png",
        "road/groundtruth/1.png",
        "labels/bj/t1VSt2/1.png",
    ],
)
def test_other_folders_are_no_known_layout(path: str) -> None:
    assert known_layouts(path) == ()


@pytest.mark.parametrize(
    ("path", "preset"),
    [
        ("/x/levir_cd/train/label/1.png", "levir-cd"),
        ("LEVIR CD/label/train/1.png", "levir-cd"),
        ("LEVIRCD/label/1.png", "levir-cd"),
        ("bcdd/change_label/train/change_label.tif", "bcdd"),
        ("SECOND/label1/1.png", "second-rgb"),
        ("BANDON/val/labels/bj/t1VSt2/1.png", "bandon-val"),
        ("CDnet-2014/baseline/road/gt000001.png", "cdnet2014"),
        ("SBI2015/board/groundtruth/gt000001.png", "sbi2015"),
    ],
)
def test_names_may_be_written_in_several_ways(path: str, preset: str) -> None:
    assert known_layouts(path)[0] == preset


def colours(number: int) -> NDArray[np.uint8]:
    """A mask of SECOND as published: colours on white."""
    table = np.array([(255,) * 3, (0, 128, 0), (0, 0, 255)], np.uint8)
    return table[classes(number, 1, 2)]


def test_values_choose_among_presets_of_one_layout(tmp_path: Path) -> None:
    for number in range(2):
        save(tmp_path / f"SECOND/train/label1/{number}.png", colours(number))
        save(tmp_path / f"SECOND/train/label2/{number}.png", colours(number + 1))
    done = run("ratio", tmp_path / "SECOND", "--format", "csv")
    right = int(square(0).sum() + square(1).sum())
    assert counts(done)["all"][:2] == (right, 2 * SIDE**2 - right)
    assert done.rows()[0]["rule"].endswith("(preset second-rgb)")


def test_a_dataset_whose_splits_are_coded_apart_is_read_right(tmp_path: Path) -> None:
    right: dict[str, tuple[int, ...]] = {}
    for one in DATASETS:
        if one.name == "BANDON":
            right |= build(tmp_path / "BANDON", one)
    done = run("ratio", tmp_path / "BANDON", "--format", "csv")
    assert {k: v for k, v in counts(done).items() if k != "all"} == right
    assert right["train"][2] > 0 == right["val"][2]


def xbd(folder: Path, split: str, *codes: int) -> int:
    """Targets of xBD; how many pixels of some codes are damaged."""
    mask = classes(1, *codes)
    for date in ("pre", "post"):
        name = f"{split}/targets/storm_1_{date}_disaster_target.png"
        save(folder / name, (mask > 0).astype(np.uint8) if date == "pre" else mask)
    return int((mask > 1).sum())


def test_a_split_without_change_follows_the_preset_of_another(tmp_path: Path) -> None:
    damaged = xbd(tmp_path / "xBD", "train", 1, 2, 4)
    xbd(tmp_path / "xBD", "test", 1)
    found = counts(run("ratio", tmp_path / "xBD", "--format", "csv"))
    assert found["train"][0] == damaged
    assert found["test"] == (0, SIDE**2, 0)


def test_names_without_the_values_are_refused_with_the_preset(tmp_path: Path) -> None:
    xbd(tmp_path / "xBD", "test", 1)
    done = run("ratio", tmp_path / "xBD")
    assert (done.code, done.out.count("failed")) == (1, 1)
    assert "Looks like xBD" in done.err
    assert "read as" not in done.err
    xbd(tmp_path / "other", "test", 1, 2, 7)
    other = run("ratio", tmp_path / "other")
    assert (other.code, "read as" in other.err) == (1, False)


def test_none_switches_the_layouts_off(tmp_path: Path) -> None:
    xbd(tmp_path / "xBD", "test", 1, 2)
    off = run("ratio", tmp_path / "xBD", "--preset", "none")
    assert (off.code, "read as" in off.err) == (1, False)
    xbd(tmp_path / "plain", "test", 1)
    rows = counts(run("ratio", tmp_path / "plain", "--preset", "none", *CSV))
    assert rows["all"][0] == 2 * int(square(1).sum())
    with_rule = ("--preset", "none", "--changed", "1", "--unchanged", "0", *CSV)
    assert counts(run("ratio", tmp_path / "plain", *with_rule)) == rows


CSV: Final = ("--format", "csv")


def test_a_rule_that_is_given_is_used(tmp_path: Path) -> None:
    damaged = xbd(tmp_path / "xBD", "test", 2, 3)
    given = ("--changed", "3,2", "--unchanged", "0,1", *CSV)
    done = run("ratio", tmp_path / "xBD", *given)
    assert (counts(done)["all"][0], "read as" in done.err) == (damaged, False)
    ignoring = run("ratio", tmp_path / "xBD", "--ignore", "3")
    assert "read as" not in ignoring.err


def test_every_command_takes_the_preset_of_a_layout(tmp_path: Path) -> None:
    damaged = xbd(tmp_path / "xBD", "test", 1, 2, 3)
    guess = np.full((SIDE, SIDE), 0.75, np.float32)
    name = "storm_1_post_disaster_target.npy"
    save(tmp_path / f"p/{name}", guess)
    targets = tmp_path / "xBD/test/targets"
    scored = run("loss", "--pred", tmp_path / "p", "--target", targets, *CSV)
    assert scored.code == 0, scored.err
    assert int(scored.rows()[0]["changed"]) == damaged
    assert "read as xBD: " in scored.err
    weights = run("weights", tmp_path / "xBD", "--format", "json")
    assert (weights.code, "read as xBD" in weights.err) == (0, True)
    audit = run("audit", tmp_path / "xBD", "--format", "csv")
    assert "refused" not in audit.out + audit.err
    found = cdstats.ratio(str(tmp_path / "xBD"))
    assert found.datasets[0].changed == damaged
    assert any('to disable, use preset="none"' in one.text for one in found.messages)
