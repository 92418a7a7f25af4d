"""Thresholds that are chosen on other images than those that are scored."""

from __future__ import annotations

import re
import shlex
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from helpers import Done, run, save

import cdstats
from cdstats.core.errors import CdstatsError, DataError, UsageError

SPLITS = {"train": 1, "val": 2, "test": 2}
SHAPE = (24, 24)


def made(split: str, number: int, model: str) -> tuple[Any, Any]:
    """A mask, and probabilities whose best threshold differs between the splits."""
    seed = [*map(ord, split), number]
    truth = np.random.default_rng(seed).random(SHAPE) < 0.25
    noise = np.random.default_rng([*seed, *map(ord, model)]).normal(0, 1.2, SHAPE)
    shift = {"val": -1.5, "test": 0.0}.get(split, 2.0) - 0.5 * (model == "b")
    logits = np.where(truth, shift + 1.5, shift - 0.5) + noise
    return truth, (1 / (1 + np.exp(-logits))).astype(np.float32)


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("dataset")
    for split, images in SPLITS.items():
        for number in range(images):
            for model in "ab":
                truth, probs = made(split, number, model)
                save(folder / f"{model}/{split}/{number}.npy", probs)
                levels = np.round(probs * 255).astype(np.uint8)
                save(folder / f"bytes/{model}/{split}/{number}.png", levels)
                save(folder / f"hard/{split}/{number}.png", probs >= 0.5)
            save(folder / f"d/{split}/label/{number}.png", truth)
    return folder


@pytest.fixture(autouse=True)
def folder(dataset: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shutil.copytree(dataset, tmp_path, dirs_exist_ok=True)
    monkeypatch.chdir(tmp_path)


def pooled(split: str, model: str = "a") -> tuple[Any, Any]:
    """All labels and probabilities of a split."""
    pairs = [made(split, number, model) for number in range(SPLITS[split])]
    truth, probs = (
        np.concatenate([one.ravel() for one in s]) for s in zip(*pairs, strict=True)
    )
    return truth, probs


def f1_at(threshold: float, truth: Any, probs: Any) -> float:
    found = probs >= threshold
    tp, wrong = (found & truth).sum(), (found ^ truth).sum()
    return float(2 * tp / (2 * tp + wrong))


def best_f1(truth: Any, probs: Any) -> float:
    """The highest F1 over every threshold that there is."""
    return max(f1_at(one, truth, probs) for one in np.unique(probs))


LOSS = ("loss", "--pred", "a", "--target", "d")
FEW = ("--resamples", "20")
COMPARE = ("compare", *FEW, "--pred", "a", "--pred", "b", "--target", "d")
TEST = ("--split", "test")
VAL = ("--threshold-split", "val")


def rows(*arguments: str) -> list[dict[str, str]]:
    done = run(*arguments, "--format", "csv")
    assert done.code == 0, done.err
    return done.rows()


@pytest.mark.parametrize("command", [LOSS, COMPARE])
def test_the_threshold_of_best_f1_on_a_split_scores_another(
    command: tuple[str, ...],
) -> None:
    for row in rows(*command, *TEST, *VAL):
        model = row["model"] or "a"
        threshold, truth = float(row["threshold"]), pooled("val", model)
        assert f1_at(threshold, *truth) == best_f1(*truth)
        assert f1_at(threshold, *truth) > f1_at(0.5, *truth)
        here = f1_at(threshold, *pooled("test", model))
        assert float(row["f1_pooled"]) == pytest.approx(here)
        assert row["images"] == "2"
        assert re.fullmatch("val:[0-9a-f]{8}", row["threshold_from"])


def test_models_have_thresholds_of_their_own() -> None:
    one, two = rows(*COMPARE, *TEST, *VAL)
    assert one["threshold"] != two["threshold"]
    plain = [rows("loss", "--pred", m, "--target", "d", *TEST, *VAL) for m in "ab"]
    assert [row["threshold"] for (row,) in plain] == [
        one["threshold"],
        two["threshold"],
    ]


@pytest.mark.parametrize(
    ("pred", "others"),
    [
        pytest.param(["a=a/test"], ["a=a/val"], id="named"),
        pytest.param(["a/test"], ["a/val"], id="without a name"),
        pytest.param(["a/test/{}.npy"], ["a/val/{}.npy"], id="pattern"),
        pytest.param(
            ["bytes/{model}/test/{}.png"], ["bytes/{model}/val/{}.png"], id="{model}"
        ),
        pytest.param(
            ["a=a/test", "b=b/test"], ["b=b/val", "a=a/val"], id="in any order"
        ),
    ],
)
def test_the_threshold_comes_from_other_predictions(
    pred: list[str], others: list[str]
) -> None:
    found = cdstats.loss(
        pred,
        "d/test/label",
        threshold_from=others,
        threshold_target="d/val/label",
    )
    for model in found.models:
        row = model.dataset
        truth, probs = pooled("val", row.model or "a")
        if pred[0].startswith("bytes"):
            probs = np.round(probs * 255) / 255
        assert row.threshold is not None
        assert f1_at(row.threshold, truth, probs) == best_f1(truth, probs)
        assert re.fullmatch("val:[0-9a-f]{8}", row.threshold_from)


def test_arrays_in_memory_choose_a_threshold() -> None:
    val, test = ([made(s, n, "a") for n in range(2)] for s in ("val", "test"))
    found = cdstats.loss(
        [probs for _, probs in test],
        [truth for truth, _ in test],
        threshold_from=[probs for _, probs in val],
        threshold_target=[truth for truth, _ in val],
    )
    expected = cdstats.loss("a", "d", split="test", threshold_split="val")
    assert found.models[0].dataset.threshold == expected.models[0].dataset.threshold


def test_pairs_of_a_sheet_choose_a_threshold() -> None:
    lines = [f"a/val/{n}.npy,d/val/label/{n}.png" for n in range(2)]
    Path("val.csv").write_text("\n".join(["pred,target", *lines]))
    (row,) = rows("loss", "--pred", "a/test", "--target", "d/test/label",
                  "--threshold-from", "@val.csv")  # fmt: skip
    assert row["threshold"] == rows(*LOSS, *TEST, *VAL)[0]["threshold"]


def test_the_split_that_chooses_is_not_scored() -> None:
    done = run(*LOSS, *VAL, "--by", "image", "--format", "csv")
    assert set(done.column("split")) == {"train", "test"}
    assert "best F1, " in done.err
    assert "on 2 images of val, which are not scored" in done.err


def test_the_screen_and_the_signature_say_where_the_threshold_comes_from() -> None:
    done = run(*LOSS, *TEST, *VAL)
    row = run(*LOSS, *TEST, *VAL, "--format", "json").data()["dataset"]
    threshold, at = row["threshold"], row["threshold_from"]
    assert f"changed when p >= {threshold!r}: best F1 on {at}\n" in done.out
    assert f"|thr:{threshold!r}@{at}|" in done.out
    two = run(*COMPARE, *TEST, *VAL)
    cuts = r"thresholds differ: \S+ \(a\), \S+ \(b\): best F1 on val:"
    assert re.search(cuts, two.out)


def test_verify_applies_the_threshold_of_a_signature() -> None:
    line = rows(*LOSS, *TEST, *VAL)[0]["signature"]
    done = run("verify", line, *LOSS[1:], *TEST)
    assert done.code == 0, done.err
    other = re.sub(r"thr:[^@]+", "thr:0.99", line)
    found = cdstats.verify(line, "a", "d", split="test", threshold=0.98)
    assert not found.agrees
    assert cdstats.verify(other, "a", "d", split="test").run.models[
        0
    ].dataset.threshold == pytest.approx(0.99)


def test_rows_of_an_earlier_run_keep_where_the_threshold_comes_from() -> None:
    run(*LOSS, *TEST, *VAL, "--csv", "rows.csv")
    again = rows("loss", "--from", "rows.csv")
    assert again == rows(*LOSS, *TEST, *VAL)


def test_the_best_threshold_in_sample_is_told_with_the_way_to_choose_it() -> None:
    done = run(*COMPARE, *TEST)
    notes = done.out[done.out.index("in-sample: ") :]
    assert "--threshold-split or --threshold-from" in notes


REPORTED = ("report", "--pred", "a=a", "--pred", "b=b", "--target", "d")


@pytest.mark.usefixtures("blank_figures")
def test_a_report_uses_the_chosen_thresholds() -> None:
    done = run(*REPORTED, *TEST, *VAL, "-o", "r.html")
    assert done.code == 0, done.err
    page = Path("r.html").read_text(encoding="utf-8")
    assert "best F1 on val:" in page
    assert "To choose a threshold on validation data" in page


def test_labels_beside_scores_keep_the_threshold_that_was_given() -> None:
    one, two = rows("compare", *FEW, "--pred=a=a", "--pred=h=hard", "--target", "d",
                    *TEST, *VAL)  # fmt: skip
    assert one["threshold_from"]
    assert two["threshold"] == "0.5"
    assert two["threshold_from"] == ""


def test_images_that_failed_are_told_and_fail_the_run() -> None:
    Path("a/val/1.npy").write_bytes(b"none")
    done = run(*LOSS, *TEST, *VAL)
    assert done.code == 1
    assert "threshold chosen without 1 image that failed, first val/1.npy" in done.err


@pytest.mark.usefixtures("blank_figures")
@pytest.mark.parametrize("command", ["loss", "compare", "report"])
@pytest.mark.parametrize(("most", "code"), [("0", 1), ("1", 0)])
def test_images_that_failed_there_count_for_max_failed(
    command: str, most: str, code: int
) -> None:
    """One image of the split fails; the option allows as many as it says."""
    Path("a/val/1.npy").write_bytes(b"none")
    models = ("--pred", "a=a", "--pred", "b=b") if command == "compare" else LOSS[1:3]
    done = run(command, *models, "--target", "d", *TEST, *VAL,
               "--max-failed", most, "--quiet")  # fmt: skip
    assert done.code == code, done.err
    assert "threshold chosen without 1 image that failed" in done.err


def test_copies_of_the_scored_masks_are_told() -> None:
    for number in range(2):
        save(Path(f"copy/{number}.png"), made("test", number, "a")[0])
    done = run("loss", "--pred", "a/test", "--target", "d/test/label",
               "--threshold-from", "b/test", "--threshold-target", "copy")  # fmt: skip
    assert "images with the same labels as those that are scored" in done.err
    assert "in-sample" in done.err
    assert "|thr:" in done.out
    assert "@other:" in done.out


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        pytest.param("--threshold 0.5 --threshold-split val", "expected one of them",
                     id="two ways"),
        pytest.param("--threshold-from a/val --threshold-target d/val --threshold-split"
                     " val", "expected one of them", id="three ways"),
        pytest.param("--threshold-from a/val", "--threshold-target", id="no masks"),
        pytest.param("--threshold-target d/val", "needs --threshold-from",
                     id="no predictions"),
        pytest.param("--threshold-split val --kind hard", "labels have one threshold",
                     id="labels"),
        pytest.param("--threshold-split val --pred-changed 255",
                     "labels have one threshold", id="a rule"),
        pytest.param("--threshold-split val --split val", "is not scored",
                     id="the same split"),
        pytest.param("--threshold-split validation --split val", "is not scored",
                     id="the same split by another name"),
        pytest.param("--threshold-split nosuch --split test", "no split 'nosuch'",
                     id="no such split"),
        pytest.param("--threshold-from a/test --threshold-target d/test/label "
                     "--split test", "are scored too", id="the same files"),
        pytest.param("--threshold-from a/nosuch --threshold-target d/val",
                     "a/nosuch", id="no such file"),
        pytest.param("--threshold-from a=a/val --threshold-target d/val/label --split "
                     "test", "the same model names", id="another model"),
    ],
)  # fmt: skip
def test_wrong_use_is_told_before_a_pixel_is_read(
    arguments: str, told: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    from cdstats.score.reading import PairReader

    def never(*_: object) -> None:
        raise AssertionError("a prediction was read")

    monkeypatch.setattr(PairReader, "read", never)
    done = run(*LOSS, *shlex.split(arguments))
    assert done.code in (1, 2)
    assert told in done.err


@pytest.mark.parametrize(
    ("error", "options", "told"),
    [
        pytest.param(UsageError, {"threshold": 0.5}, "threshold and threshold_split",
                     id="two ways"),
        pytest.param(UsageError, {"kind": "hard"}, "threshold_split", id="labels"),
        pytest.param(UsageError, {"split": "val"}, 'threshold_split="val"', id="split"),
    ],
)  # fmt: skip
def test_python_names_arguments(
    error: type[CdstatsError], options: dict[str, Any], told: str
) -> None:
    with pytest.raises(error, match=re.escape(told)):
        cdstats.loss("a", "d", threshold_split="val", **options)


def test_labels_have_no_threshold_to_choose() -> None:
    done = run("loss", "--pred", "hard", "--target", "d", *TEST, *VAL)
    assert done.code == 1
    assert "have no threshold to choose" in done.err


def test_images_without_change_have_no_best_threshold() -> None:
    for number in range(2):
        save(Path(f"d/val/label/{number}.png"), np.zeros(SHAPE, dtype=bool))
    with pytest.raises(DataError, match="no pixel is changed"):
        cdstats.loss("a", "d", split="test", threshold_split="val", changed=255,
                     unchanged=0)  # fmt: skip


def test_a_split_alone_leaves_nothing_to_score() -> None:
    done = run("loss", "--pred", "a/val", "--target", "d/val", "--threshold-split",
               "val")  # fmt: skip
    assert done.code == 1
    assert "no split 'val'" in done.err or "no mask of another split" in done.err


def test_names_from_standard_input_are_refused_with_a_split() -> None:
    done = run("loss", "--pred", "-", "--target", "d", *VAL, stdin="a/val/0.npy\n")
    assert done.code == 2
    assert "@list.txt" in done.err


def test_what_pairs_nothing_suggests_its_own_options() -> None:
    Path("odd").mkdir()
    for number in range(2):
        save(Path(f"odd/p_{number}_x.npy"), made("val", number, "a")[1])
    done: Done = run("loss", "--pred", "a/test", "--target", "d/test/label",
                     "--threshold-from", "odd", "--threshold-target",
                     "d/val/label")  # fmt: skip
    assert done.code == 1
    assert "Try --threshold-from 'odd/p_{}_x.npy' --threshold-target" in done.err
