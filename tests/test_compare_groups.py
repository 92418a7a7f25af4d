"""Scenes of `cdstats compare` that are drawn together, with their crops."""

from __future__ import annotations

import csv
import re
import shlex
import shutil
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from helpers import run, save

import cdstats
from cdstats.core.errors import UsageError
from cdstats.score.groups import crops_text

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from helpers import Done

    from cdstats.core.comparison_records import Difference
    from cdstats.score.comparison import Comparison

SCENES, CROPS, RESAMPLES = 12, ((0, 0), (0, 16), (16, 0)), 50


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Masks of crops of scenes, each scene as hard as its number, and two models.

    No test changes them.
    """
    folder = tmp_path_factory.mktemp("home")
    random = np.random.default_rng(3)
    for scene in range(SCENES):
        for y, x in CROPS[: 2 + scene % 2]:
            mask = random.random((16, 16)) < 0.05 + 0.03 * scene
            save(folder / f"masks/s{scene}_{y}_{x}.png", mask)
            for model, noise in (("a", 0.4), ("b", 0.7)):
                near = random.normal(0, noise * (1 + scene / 6), mask.shape)
                p = np.clip(0.2 + 0.6 * mask + near, 0, 1).astype(np.float32)
                save(folder / f"runs/{model}/s{scene}_{y}_{x}.npy", p)
    return folder


@pytest.fixture
def own(home: Path, tmp_path: Path) -> Path:
    """The same, to be changed."""
    shutil.copytree(home, tmp_path, dirs_exist_ok=True)
    return tmp_path


def compared(home: Path, **options: Any) -> Comparison:
    chosen: dict[str, Any] = {"target": f"{home}/masks/{{scene}}_{{y}}_{{x}}.png"}
    chosen |= {"curves": False, "resamples": RESAMPLES} | options
    pred = f"{home}/runs/{{model}}/{{scene}}_{{y}}_{{x}}.npy"
    return cdstats.compare(chosen.pop("pred", pred), **chosen)


def of(home: Path, *arguments: object) -> Done:
    models = ("--pred", f"a={home}/runs/a", "--pred", f"b={home}/runs/b")
    masks = ("--target", home / "masks")
    few = ("--no-curves", "--resamples", 20)
    return run("compare", *models, *masks, *few, *arguments)


def difference(run: Comparison, name: str) -> Difference:
    found = run.models[1].compared[name].to_first
    assert found is not None
    return found


@pytest.mark.parametrize("name", ["f1_pooled", "bce_mean", "iou_image_mean"])
def test_an_interval_is_that_of_a_plain_bootstrap_of_scene_sums(
    home: Path, name: str
) -> None:
    found = compared(home, group="scene")

    def measured(rows: Sequence[Any]) -> float:
        tp, fp, fn = (sum(getattr(r, n) for r in rows) for n in ("tp", "fp", "fn"))
        if name == "f1_pooled":
            return float(2 * tp / (2 * tp + fp + fn))
        if name == "bce_mean":
            pixels = sum(row.changed + row.unchanged for row in rows)
            return float(sum(row.bce_sum for row in rows) / pixels)
        return float(np.mean([row.iou for row in rows if row.iou is not None]))

    scenes: dict[str, dict[str, list[Any]]] = {"a": {}, "b": {}}
    for row in found.images:
        scene = row.target.split("/")[-1].split("_")[0]
        scenes[row.model].setdefault(scene, []).append(row)
    names = list(scenes["a"])
    assert len(names) == SCENES
    draws = np.random.default_rng(0).integers(0, SCENES, (RESAMPLES, SCENES))
    values = [
        measured([row for at in drawn for row in scenes["b"][names[at]]])
        - measured([row for at in drawn for row in scenes["a"][names[at]]])
        for drawn in draws
    ]
    own = difference(found, name)
    low, high = np.quantile(values, [0.025, 0.975])
    assert own.low == pytest.approx(low)
    assert own.high == pytest.approx(high)
    alone = difference(compared(home), name)
    assert (own.difference, own.low) != (alone.difference, alone.low)
    assert own.difference == alone.difference


@pytest.mark.parametrize("curves", [False, True])
def test_groups_of_one_image_give_the_interval_of_images(
    home: Path, curves: bool
) -> None:
    alone, each = (
        compared(home, group=group, curves=curves) for group in (None, "target")
    )
    for one, two in zip(alone.models, each.models, strict=True):
        assert one.compared == two.compared
    assert {one.groups for one in (*alone.models, *each.models)} == {30}


def test_rows_of_a_table_say_what_is_drawn(home: Path) -> None:
    done = of(home, "--group", "{}_{y}_{x}.png", "--format", "csv")
    assert done.code == 0, done.err
    assert done.column("group") == ["{}_{y}_{x}.png"] * 2
    assert done.column("groups") == [str(SCENES)] * 2
    assert "look like crops" not in done.err
    screen = of(home, "--group", "{}_{y}_{x}.png")
    assert "20 resamples of 12 groups, seed 0" in screen.out
    assert "groups: 30 images by {}_{y}_{x}.png" in screen.out


def test_saved_rows_keep_the_words_of_patterns(home: Path) -> None:
    rows, found = home / "rows.csv", compared(home, group="scene")
    pred = f"{home}/runs/{{model}}/{{scene}}_{{y}}_{{x}}.npy"
    target = f"{home}/masks/{{scene}}_{{y}}_{{x}}.png"
    assert run("loss", "--pred", pred, "--target", target, "--csv", rows).code == 0
    options = ("--from", rows, "--resamples", RESAMPLES, "--format", "csv")
    for group in ("scene", "{scene}", "{}_{y}_{x}.png"):
        again = run("compare", *options, "--group", group)
        low = repr(difference(found, "f1_pooled").low)
        assert again.column("f1_pooled_low")[1] == low


def test_a_sheet_names_the_groups(home: Path) -> None:
    sheet = home / "pairs.csv"
    with sheet.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(("pred", "target", "model", "group"))
        for mask in sorted((home / "masks").iterdir()):
            for model in "ab":
                pred = home / f"runs/{model}/{mask.stem}.npy"
                scene = mask.stem.split("_")[0]
                writer.writerow((pred, mask, model, f"{scene}; north & south"))
    own = compared(home, pred=f"@{sheet}", target=None, group="group")
    by_pattern = compared(home, group="scene")
    assert own.models[1].groups == SCENES
    low = difference(by_pattern, "f1_pooled").low
    assert difference(own, "f1_pooled").low == pytest.approx(low, abs=0.02)


@pytest.mark.parametrize(
    ("group", "told"),
    [
        pytest.param("scenes", "available: scene, target", id="other word"),
        pytest.param("{}_{row}_{col}.tif", "matches no mask name", id="pattern"),
        pytest.param("{modle}_{}.png", "did you mean {model}?", id="no part"),
    ],
)
def test_a_wrong_word_is_refused_before_a_pixel_is_read(
    own: Path, group: str, told: str
) -> None:
    for file in (own / "runs").rglob("*.npy"):
        file.write_bytes(b"no array")
    with pytest.raises(UsageError, match=re.escape(told)):
        compared(own, group=group)
    assert of(own, "--group", group).code == 2


def test_an_image_without_a_group_is_refused(own: Path) -> None:
    save(own / "masks/other.png", np.eye(16) > 0)
    for model in "ab":
        save(own / f"runs/{model}/other.npy", np.eye(16, dtype=np.float32))
    done = of(own, "--group", "{}_{y}_{x}.png")
    assert done.code == 2
    assert "other.png" in done.err


def test_an_image_in_two_groups_is_refused(home: Path) -> None:
    lines = ["pred,target,model,group"]
    for number, mask in enumerate(sorted((home / "masks").iterdir())):
        for model in "ab":
            pred = f"runs/{model}/{mask.stem}.npy"
            lines.append(f"{pred},masks/{mask.name},{model},{number % 5}{model}")
    (home / "pairs.csv").write_text("\n".join(lines))
    few = ("--no-curves", "--resamples", 20)
    done = run("compare", "--pred", f"@{home}/pairs.csv", *few, "--group", "group")
    assert done.code == 1
    assert "models assign it to the groups 0a and 0b of --group group" in done.err


def test_few_groups_are_told(own: Path) -> None:
    assert of(own, "--group", "{}1_{y}_{x}.*").code == 2
    by_scene = ("--group", "{}_{y}_{x}.png")
    for mask in (own / "masks").glob("s1[01]_*"):
        mask.unlink()
    assert "10 groups" not in of(own, *by_scene).err
    for mask in (own / "masks").glob("s9_*"):
        mask.unlink()
    told = "9 groups of {}_{y}_{x}.png: intervals from so few"
    assert told in of(own, *by_scene).err


def test_the_group_that_a_warning_names_works(home: Path) -> None:
    told = of(home).err
    assert "look like crops of 12 scenes" in told
    flag = shlex.split(told[told.index("--group") :])[:2]
    done = of(home, *flag, "--format", "json")
    assert done.data()["models"][0]["groups"] == SCENES
    assert "--group" not in done.err


def test_crops_of_a_mask_are_drawn_with_it(tmp_path: Path) -> None:
    random = np.random.default_rng(5)
    for scene in range(3):
        mask = random.random((8, 8)) < 0.4
        save(tmp_path / f"masks/s{scene}.png", mask)
        for model in "ab":
            for x in (0, 4):
                p = random.random((8, 4)).astype(np.float32)
                save(tmp_path / f"runs/{model}/s{scene}_0_{x}.npy", p)
    pred = f"{tmp_path}/runs/{{model}}/{{city}}_{{y}}_{{x}}.npy"
    target = f"{tmp_path}/masks/{{city}}.png"
    options: dict[str, Any] = {"target": target, "curves": False}
    told = cdstats.compare(pred, **options)
    assert any("6 images are crops of 3 masks" in m.text for m in told.messages)
    whole, city = (
        cdstats.compare(pred, group=group, **options) for group in ("target", "city")
    )
    assert whole.models[1].compared == city.models[1].compared
    assert whole.models[1].groups == 3


def names(*shapes: str, count: int = 3) -> list[str]:
    return [
        shape.format(scene=scene, y=256 * y, x=256 * x, row=y, col=x, n=4 * y + x + 1)
        for shape in shapes
        for scene in range(1, count + 1)
        for y in range(4)
        for x in range(4)
    ]


@pytest.mark.parametrize(
    ("targets", "told"),
    [
        (names("test_{scene}_{y}_{x}.png"), "3 scenes.*'{}_{y}_{x}.png'"),
        (
            names("a/s{scene}_{row}_{col}.tif", "b/s{scene}_{row}_{col}.png"),
            r"6 .*\.\*",
        ),
        (names("s{scene}-r{row:02}-c{col:02}.png"), "3 scenes.*'{}-r{y}-c{x}.png'"),
        (names("s{scene}/{y}_{x}.png"), "3 scenes.*'{y}_{x}.png'"),
        (names("train_{scene}_{n}.png"), "3 scenes.*'{}_{n}.png'"),
        (names("train_{scene}.png")[::16], ""),
        (names("{scene}.png")[::16], ""),
        (names("tile_2019_{n}.png", "tile_2020_{n}.png", count=1), ""),
        (["s1_0_0.png", "s2_0_0.png", "s3_0_0.png"], ""),
        (["a_1_2.png", "other.png", "a_1_3.png"], ""),
        (["a.png", "a.png"], "2 images are crops of 1 mask.*One scene gives no"),
        (["0_2.png", "1_1.png", "2_0.png"], "1 scene,.*One scene gives no interval"),
        (["a.png", "a.png", "b.png"], "3 images are crops of 2 masks.*--group target"),
        ([], ""),
    ],
)
def test_names_that_look_like_crops_are_told(targets: list[str], told: str) -> None:
    found = crops_text(targets)
    assert re.search(told, found) if told else not found
