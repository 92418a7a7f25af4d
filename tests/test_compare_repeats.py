"""Runs of a model in `cdstats compare`: mean, standard deviation and intervals."""

from __future__ import annotations

import shutil
from statistics import fmean, stdev
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from helpers import run, save

import cdstats

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from helpers import Done

    from cdstats.score.comparison import Comparison

IMAGES, SEEDS, RESAMPLES = 8, (1, 2, 10), 50


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Masks, a model of three seeds and one of two, which no test changes."""
    folder = tmp_path_factory.mktemp("home")
    random = np.random.default_rng(2)
    for image in range(IMAGES):
        mask = random.random((8, 8)) < 0.1 + 0.06 * image
        save(folder / f"masks/{image:02}.png", mask)
        for model, seeds in (("a", SEEDS), ("b", SEEDS[:2])):
            for seed in seeds:
                noise = random.normal(0, 0.3 + 0.03 * seed, mask.shape)
                p = np.clip(0.3 + 0.5 * mask + noise, 0, 1).astype(np.float32)
                save(folder / f"runs/{model}_{seed}/{image:02}.npy", p)
    return folder


@pytest.fixture
def own(home: Path, tmp_path: Path) -> Path:
    """The same, to be changed."""
    shutil.copytree(home, tmp_path, dirs_exist_ok=True)
    return tmp_path


def compared(home: Path, **options: Any) -> Comparison:
    chosen: dict[str, Any] = {"curves": False, "resamples": RESAMPLES}
    chosen |= {"repeats": "seed"} | options
    chosen = {"target": f"{home}/masks/{{}}.png"} | chosen
    pred = chosen.pop("pred", f"{home}/runs/{{model}}_{{seed}}/{{}}.npy")
    return cdstats.compare(pred, **chosen)


def of(home: Path, *arguments: object) -> Done:
    pred = f"{home}/runs/{{model}}_{{seed}}/{{}}.npy"
    masks = ("--target", f"{home}/masks/{{}}.png", "--no-curves", "--resamples", 20)
    return run("compare", "--pred", pred, *masks, *arguments)


def f1(rows: Sequence[Any]) -> float:
    tp, fp, fn = (sum(getattr(row, n) for row in rows) for n in ("tp", "fp", "fn"))
    return float(2 * tp / (2 * tp + fp + fn))


def test_means_deviations_and_intervals_are_those_of_a_plain_bootstrap(
    home: Path,
) -> None:
    found = compared(home)
    runs: dict[str, list[Any]] = {}
    for row in found.images:
        runs.setdefault(row.model, []).append(row)
    names = {
        "a": ["a seed=1", "a seed=2", "a seed=10"],
        "b": ["b seed=1", "b seed=2"],
    }
    assert sorted(runs) == sorted([*names["a"], *names["b"]])
    for model in found.models:
        values = [f1(runs[name]) for name in names[model.model]]
        own = model.compared["f1_pooled"]
        assert own.value == pytest.approx(fmean(values))
        assert own.sd == pytest.approx(stdev(values))
        assert model.repeats == len(values)
    images = np.random.default_rng(0).integers(0, IMAGES, (RESAMPLES, IMAGES))
    means = {}
    for place, (model_name, own_names) in enumerate(names.items()):
        shape = (len(own_names), RESAMPLES)
        drawn = np.random.default_rng((0, place + 1)).integers(0, shape[0], shape)
        means[model_name] = [
            fmean(
                f1([runs[own_names[one]][at] for at in images[number]])
                for one in drawn[:, number]
            )
            for number in range(RESAMPLES)
        ]
    gaps = np.array(means["b"]) - np.array(means["a"])
    gap = found.models[1].compared["f1_pooled"].to_first
    assert gap is not None
    low, high = np.quantile(gaps, [0.025, 0.975])
    assert gap.low == pytest.approx(low)
    assert gap.high == pytest.approx(high)


def test_runs_that_are_equal_add_nothing_to_an_interval(own: Path) -> None:
    for model, seeds in (("a", (2, 10)), ("b", (2,))):
        for image in range(IMAGES):
            first = (own / f"runs/{model}_1/{image:02}.npy").read_bytes()
            for seed in seeds:
                (own / f"runs/{model}_{seed}/{image:02}.npy").write_bytes(first)
    single = [f"{model}_1={own}/runs/{model}_1" for model in "ab"]
    alone = compared(own, pred=single, target=f"{own}/masks", repeats=None)
    every = compared(own)
    one, two = (run.models[1].compared["iou_pooled"].to_first for run in (alone, every))
    assert one is not None
    assert two is not None
    assert two.low == pytest.approx(one.low, abs=1e-12)
    assert two.high == pytest.approx(one.high, abs=1e-12)
    assert every.models[0].compared["iou_pooled"].sd == pytest.approx(0)


def test_saved_rows_give_the_same(home: Path) -> None:
    rows = home / "rows.csv"
    files = of(home, "--repeats", "seed", "--csv", rows, "--format", "csv")
    assert files.code == 0, files.err
    saved = run(
        *("compare", "--from", rows, "--repeats", "{seed}", "--resamples", 20),
        *("--format", "csv"),
    )
    names = ("model", "f1_pooled", "f1_pooled_low", "f1_pooled_sd", "repeats")
    for name in names:
        assert saved.column(name) == files.column(name)
    assert files.column("repeats") == ["3", "2"]


def sheet_of(home: Path, **columns: str) -> Path:
    """A sheet of all runs with further columns, whose texts may hold {seed}."""
    lines = [",".join(["pred", "target", "model", *columns])]
    folders = (home / "runs").iterdir()
    for folder in sorted(folders, key=lambda one: (one.name[0], int(one.name[2:]))):
        model, _, seed = folder.name.partition("_")
        for image in range(IMAGES):
            paths = f"runs/{folder.name}/{image:02}.npy,masks/{image:02}.png"
            values = [
                text.format(seed=seed, image=image, line=len(lines))
                for text in columns.values()
            ]
            lines.append(",".join([paths, model, *values]))
    (home / "pairs.csv").write_text("\n".join(lines))
    return home / "pairs.csv"


def test_a_column_of_a_sheet_numbers_runs_as_a_word_does(home: Path) -> None:
    sheet = sheet_of(home, line="{line}", run="{seed}", scene="s{image}")
    words = {"repeats": "run", "group": "scene"}
    found = compared(home, pred=f"@{sheet}", target=None, **words)
    for one, two in zip(found.models, compared(home).models, strict=True):
        assert (one.model, one.repeats) == (two.model, two.repeats)
        for name, own in two.compared.items():
            other = one.compared[name]
            assert other.value == pytest.approx(own.value)
            assert other.sd == pytest.approx(own.sd)
            if own.to_first and other.to_first:
                assert other.to_first.low == pytest.approx(own.to_first.low)
    done = run("compare", "--pred", f"@{sheet}", "--repeats", "sed")
    assert "available: line, run, scene, target" in done.err


def test_a_column_that_numbers_lines_makes_no_runs(home: Path) -> None:
    done = run("compare", "--pred", f"@{sheet_of(home, line='{line}')}")
    assert (done.code, "two predictions of a" in done.err) == (1, True)
    done = run("compare", "--pred", f"@{sheet_of(home)}")
    assert done.code == 1
    assert "of model a; expected one. Number the runs in a column seed" in done.err


@pytest.mark.parametrize("repeats", [(), ("--repeats", "seed")])
def test_an_option_of_a_model_means_all_its_runs(
    home: Path, repeats: tuple[str, ...]
) -> None:
    options = (*repeats, "--format", "csv")
    one = of(home, "--kind", "a=logit", *options)
    named = [("--kind", f"a seed={seed}=logit") for seed in SEEDS]
    each = of(home, *(word for pair in named for word in pair), *options)
    assert one.code == 0, one.err
    assert one.out == each.out
    assert "logit" in one.column("kind")[0]
    own = of(home, "--kind", "a=logit", "--kind", "a seed=2=prob", "--format", "csv")
    assert ["logit" in kind for kind in own.column("kind")] == [1, 0, 1, 0, 0]
    wrong = of(home, "--kind", "aa=logit", *options)
    assert (wrong.code, "--kind aa=: no such model" in wrong.err) == (2, True)


def test_runs_and_scenes_are_drawn_together(home: Path) -> None:
    alone, scenes = compared(home), compared(home, group="target")
    for one, two in zip(alone.models, scenes.models, strict=True):
        assert one.compared == two.compared


def test_without_the_word_each_run_is_a_model(home: Path) -> None:
    done = of(home, "--format", "csv")
    assert done.column("model") == [
        *("a seed=1", "a seed=2", "a seed=10", "b seed=1", "b seed=2")
    ]
    assert "f1_pooled_sd" not in done.rows()[0]
    base = of(home, "--repeats", "seed", "--baseline", "b", "--format", "csv")
    assert base.column("model") == ["b", "a"]


def test_the_screen_shows_the_deviation_in_80_columns(home: Path) -> None:
    done = of(home, "--repeats", "seed")
    found = compared(home).models[0].compared["f1_pooled"]
    assert f"{found.value:.3f} ± {found.sd:.3f}" in done.out
    assert max(map(len, done.out.splitlines())) <= 80
    text = " ".join(done.out.split())
    assert "mean ± sd (n-1) over runs: a 3, b 2; each resample draws runs, too" in text
    paper = of(home, "--repeats", "seed", "--format", "latex")
    assert f"{found.sd:.3f}" in paper.out


def test_runs_with_thresholds_of_their_own_say_where_these_come_from(
    own: Path,
) -> None:
    for mask in sorted((own / "masks").iterdir())[:4]:
        for path in (mask, *own.glob(f"runs/*/{mask.stem}.npy")):
            other = own / "val" / path.relative_to(own)
            other.parent.mkdir(parents=True, exist_ok=True)
            path.rename(other)
    source = f"{own}/val/runs/{{model}}_{{seed}}/{{}}.npy"
    masks = f"{own}/val/masks/{{}}.png"
    chosen = ("--threshold-from", source, "--threshold-target", masks)
    done = of(own, "--repeats", "seed", *chosen)
    assert done.code == 0, done.err
    assert "threshold of each run: best F1 on other:" in done.out
    assert "not recorded" not in done.out


def test_images_are_found_by_the_means_of_runs(home: Path) -> None:
    done = of(home, "--repeats", "seed", "--by", "image", "--format", "csv")
    assert {"value[a]", "value[b]"} < set(done.rows()[0])
    row = next(one for one in done.rows() if one["measure"] == "bce_mean")
    own = [
        one.bce_mean
        for one in compared(home).images
        if one.target == row["target"] and one.model.startswith("a ")
    ]
    assert len(own) == len(SEEDS)
    assert float(row["value[a]"]) == pytest.approx(fmean(o for o in own if o))


@pytest.mark.parametrize(
    ("word", "told"),
    [
        pytest.param("fold", "available: seed, target", id="other word"),
        pytest.param("target", "is the same for all predictions", id="of masks"),
    ],
)
def test_a_word_that_numbers_no_runs_is_refused(
    own: Path, word: str, told: str
) -> None:
    for file in (own / "runs").rglob("*.npy"):
        file.write_bytes(b"no array")
    done = of(own, "--repeats", word)
    assert (done.code, done.out) == (2, "")
    assert told in done.err


def test_runs_of_one_model_are_no_comparison(home: Path) -> None:
    pred = f"a={home}/runs/a_{{seed}}/{{}}.npy"
    masks = ("--target", f"{home}/masks/{{}}.png")
    done = run("compare", "--pred", pred, *masks, "--repeats", "seed")
    assert done.code == 2
    assert "one model to compare: a;" in done.err
    scored = run("loss", "--pred", pred, *masks, "--format", "csv")
    assert len(scored.rows()) == len(SEEDS)


def test_masks_of_one_key_are_still_refused(tmp_path: Path) -> None:
    for season in ("summer", "winter"):
        save(tmp_path / f"masks/{season}/1.png", np.eye(4) > 0)
    save(tmp_path / "p/1.npy", np.eye(4, dtype=np.float32))
    masks = f"{tmp_path}/masks/{{season}}/{{}}.png"
    done = run("loss", "--pred", f"{tmp_path}/p/{{}}.npy", "--target", masks)
    assert done.code == 1
    assert "have the same key '1'" in done.err


# Differences that are asked for


def test_the_differences_that_are_asked_for_are_shown_alone(home: Path) -> None:
    asked = ("--difference", "iou", "--difference", "precision_pooled")
    done = of(home, "--repeats", "seed", *asked)
    titles = [line for line in done.out.splitlines() if line.endswith("is better)")]
    assert titles == [
        "iou_pooled (higher is better)",
        "precision_pooled (higher is better)",
    ]
    table = of(home, "--repeats", "seed", *asked, "--format", "markdown").out
    gap = compared(home).models[1].compared["precision_pooled"].to_first
    assert gap is not None
    assert gap.difference is not None
    assert f"{gap.difference:.3f}".lstrip("-") in table


def test_the_difference_of_a_loss_says_that_less_is_better(home: Path) -> None:
    done = of(home, "--loss", "dice", "--difference", "dice", "--baseline", "b seed=1")
    assert "dice[smooth=1]_pooled (lower is better)" in done.out
    assert "F1 of all images together" not in done.out
    run = compared(home, differences=["iou", "iou_pooled", "kappa"])
    assert run.differences == ("iou_pooled", "kappa")


@pytest.mark.parametrize(
    ("name", "told"),
    [("dice", "named with --loss"), ("f7", "f1_pooled"), ("", "empty")],
)
def test_a_difference_of_no_measure_is_refused(
    home: Path, name: str, told: str
) -> None:
    done = of(home, "--difference", name)
    assert (done.code, done.out) == (2, "")
    assert told in done.err


def test_a_difference_that_is_not_defined_is_told(home: Path) -> None:
    done = of(home, "--difference", "average_precision")
    assert done.code == 0
    assert "average_precision is undefined" in done.err
