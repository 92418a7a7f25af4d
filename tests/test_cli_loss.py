"""`cdstats loss` and `cdstats explain` as a contract: numbers, columns, exit codes."""

from __future__ import annotations

import csv
import io
import json
import math
import os
import re
import subprocess
import sys
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import rasterio
import torch
import torch.nn.functional as F  # noqa: N812
from PIL import Image
from typer.testing import CliRunner

import cdstats
from cdstats.cli import app
from cdstats.core.catalogue import CATALOGUE, NOT_SCORES, all_losses

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import NDArray

    Array = NDArray[Any]
    Case = dict[str, Any]
    Row = dict[str, str]

ROOT = Path(__file__).parents[1]
GOLDEN = json.loads((Path(__file__).parent / "golden/losses.json").read_text())
CASES = [case for case in GOLDEN["cases"] if not case.get("stress")]
WITH_LOGITS = [case for case in CASES if "logits" in case]
IMAGE_COLUMNS = [
    *("pred", "target", "width", "height", "changed", "unchanged", "ignored"),
    *("ce_changed_sum", "ce_unchanged_sum", "prob_sum", "prob_changed_sum"),
    *("prob_sq_sum", "prob_sq_changed_sum", "saturated_wrong"),
    *("tp", "fp", "fn", "tn", "bce_sum", "bce_mean"),
    *("balanced_ce_sum", "balanced_ce_mean", "class_mean_bce"),
    *("precision", "recall", "f1", "iou", "status", "reason", "model", "split"),
    *("target_sq_sum", "missed_sum", "missed_sq_sum", "false_sum", "false_sq_sum"),
    *("rule", "threshold", "kind", "grid", "version", "device"),
    *("uncovered", "ece", "calibration_sums"),
]
DATASET_NAMES = [
    *("changed", "unchanged", "ignored", "ce_changed_sum", "ce_unchanged_sum"),
    *("prob_sum", "prob_changed_sum", "prob_sq_sum", "prob_sq_changed_sum"),
    *("target_sq_sum", "saturated_wrong", "tp", "fp", "fn", "tn"),
    *("bce_sum", "bce_mean", "balanced_ce_sum", "balanced_ce_mean", "class_mean_bce"),
    *("precision_pooled", "recall_pooled", "f1_pooled", "f1_image_mean"),
    *("f1_image_mean_nonempty", "mf1_pooled", "iou_pooled", "oa", "kappa"),
    *("images_one_class", "images_without_valid", "beta"),
    *("iou_image_mean", "mcc_pooled", "specificity_pooled"),
    *("rule", "threshold", "kind", "grid", "version", "device"),
    "ece",
]
RULE = ("--changed", "1", "--unchanged", "0", "--ignore", "255")
FORMATS = ["table", "csv", "json", "jsonl", "markdown", "latex"]
BASIC = ["bce", "balanced_ce", "class_mean_bce"]


@dataclass(frozen=True)
class Done:
    """What a command left: exit code and both streams."""

    code: int
    out: str
    err: str

    def rows(self) -> list[Row]:
        return list(csv.DictReader(io.StringIO(self.out)))

    def data(self) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(self.out)
        return found

    def entry(self, name: str, **params: object) -> dict[str, Any]:
        """The entry of ``losses`` with a name and, if given, these parameters."""
        entries: list[dict[str, Any]] = self.data()["losses"]
        (found,) = [
            entry
            for entry in entries
            if entry["loss"] == name and params.items() <= entry["params"].items()
        ]
        return found


def cdstats_command(*arguments: str | Path) -> Done:
    """Run a command; whatever happens, no traceback leaves it."""
    done = CliRunner().invoke(app, [str(argument) for argument in arguments])
    assert isinstance(done.exception, SystemExit | None), repr(done.exception)
    assert "Traceback" not in done.stderr
    return Done(done.exit_code, done.stdout, done.stderr)


def loss(*arguments: str | Path) -> Done:
    return cdstats_command("loss", *arguments)


def score(pred: str | Path, target: str | Path, *options: str | Path) -> Done:
    return loss("--pred", pred, "--target", target, *options)


def scored(pred: str | Path, target: str | Path, *options: str | Path) -> Done:
    return score(pred, target, "--format", "json", *options)


def image_rows(pred: str | Path, target: str | Path, *options: str | Path) -> Done:
    return score(pred, target, "--by", "image", "--format", "csv", *options)


def save(path: Path, array: Array) -> Path:
    """Write an array: as an image, as ``.npy`` or as a tensor, by the name."""
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.suffix == ".npy":
        np.save(path, array)
    elif path.suffix in (".pt", ".pth"):
        torch.save(torch.from_numpy(array), path)
    elif path.suffix == ".tif":
        write_tiff(path, array)
    else:
        Image.fromarray(array).save(path)
    return path


def write_tiff(path: Path, array: Array, **options: object) -> None:
    bands = array.reshape(-1, *array.shape[-2:])
    count, height, width = bands.shape
    shape = {"width": width, "height": height, "count": count, "dtype": array.dtype}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        with rasterio.open(path, "w", driver="GTiff", **shape, **options) as file:
            file.write(bands)


@dataclass(frozen=True)
class Folders:
    """Predictions and masks of a small dataset, on disk and in memory."""

    preds: Path
    masks: Path
    probs: list[Array]
    labels: list[Array]


def make(
    root: Path, probs: Sequence[Array], labels: Sequence[Array], suffix: str = ".npy"
) -> Folders:
    """Predictions and PNG masks of 0 and 255 by number."""
    for number, (p, y) in enumerate(zip(probs, labels, strict=True)):
        save(root / f"preds/{number}{suffix}", p)
        save(root / f"masks/{number}.png", (255 * y).astype(np.uint8))
    return Folders(root / "preds", root / "masks", list(probs), list(labels))


@pytest.fixture
def small(tmp_path: Path) -> Folders:
    """Three images of 12 x 10: one without change, and one with p of 0 and 1."""
    random = np.random.default_rng(0)
    probs = [random.random((12, 10)) for _ in range(3)]
    labels = [(random.random((12, 10)) < share).astype(int) for share in (0.3, 0, 0.6)]
    probs[2] = np.round(2 * probs[2]) / 2
    return make(tmp_path, probs, labels)


def plain_bce(p: Array, y: Array) -> float:
    target = torch.from_numpy(y).double()
    total = F.binary_cross_entropy(
        torch.from_numpy(p).double(), target, reduction="sum"
    )
    return total.item()


# The golden file through the command line


def arrays(case: Case) -> tuple[Array, Array]:
    if "generator" not in case:
        return np.array(case["p"], dtype=np.float64), np.array(case["y"])
    g = case["generator"]
    t = np.arange(math.prod(case["shape"])).reshape(case["shape"])
    p = (2 * ((g["a"] * t + g["b"]) % 128) + 1) / 256
    return p, ((g["c"] * t + g["d"]) % g["m"] < g["q"]).astype(np.int64)


def is_soft(case: Case) -> bool:
    return "Y2" in case["stats"]


def write_masks(root: Path, case: Case, suffix: str = ".png") -> list[str]:
    """Masks by number, and the options that they need."""
    for number, y in enumerate(arrays(case)[1]):
        if is_soft(case):
            save(root / f"masks/{number}.npy", y.astype(np.float64))
        else:
            save(root / f"masks/{number}{suffix}", y.astype(np.uint8))
    return [] if is_soft(case) else list(RULE)


def as_typed(entry: dict[str, Any]) -> str:
    """An expected entry as ``--loss`` takes it."""
    params = [
        f"{name}={'none' if value is None else value}"
        for name, value in entry["params"].items()
    ]
    return f"{entry['loss']}:{','.join(params)}" if params else str(entry["loss"])


def wanted(case: Case) -> list[dict[str, Any]]:
    return [entry for entry in case["expected"] if entry["loss"] != "lovasz_hinge"]


def options_for(entries: Sequence[dict[str, Any]]) -> list[str]:
    return [word for entry in entries for word in ("--loss", as_typed(entry))]


def assert_close(found: Any, expected: Any, rel: float, where: str) -> None:
    """Null where null, and numbers to a relative error, in lists too."""
    if isinstance(expected, list):
        assert len(found) == len(expected), where
        for one, other in zip(found, expected, strict=True):
            assert_close(one, other, rel, where)
    elif expected is None or isinstance(expected, str):
        assert found == expected, where
    else:
        assert found == pytest.approx(expected, rel=rel, abs=rel * 1e-3), where


def assert_losses(found: Sequence[Any], expected: Sequence[Any], rel: float) -> None:
    """The same losses with the same numbers to a relative error."""
    assert [entry["loss"] for entry in found] == [entry["loss"] for entry in expected]
    for one, other in zip(found, expected, strict=True):
        assert one["params"] == other["params"]
        for key in other.keys() - {"loss", "params"}:
            assert_close(one[key], other[key], rel, f"{other['loss']}: {key}")


def assert_golden(done: Done, entries: Sequence[dict[str, Any]], rel: float) -> None:
    assert done.code == 0, done.err
    found = {
        (entry["loss"], json.dumps(entry["params"])): entry
        for entry in done.data()["losses"]
    }
    for expected in entries:
        key = (expected["loss"], json.dumps(expected["params"]))
        assert key in found, f"{key} is not among {sorted(found)}"
        assert list(found[key]) == list(expected), key
        loose = 1e-9 if expected["loss"] == "focal" else rel
        for name in expected.keys() - {"loss", "params"}:
            where = f"{key}: {name}"
            assert_close(found[key][name], expected[name], max(rel, loose), where)


@pytest.mark.parametrize("case", CASES, ids=lambda case: case["id"])
def test_golden_losses(case: Case, tmp_path: Path) -> None:
    for number, p in enumerate(arrays(case)[0]):
        save(tmp_path / f"preds/{number}.npy", p)
    rule = write_masks(tmp_path, case)
    entries = wanted(case)
    options = [*rule, *options_for(entries)]
    done = scored(tmp_path / "preds", tmp_path / "masks", *options)
    assert_golden(done, entries, rel=1e-9 if "generator" in case else 1e-12)


@pytest.mark.parametrize("case", WITH_LOGITS, ids=lambda case: case["id"])
def test_golden_losses_of_logits(case: Case, tmp_path: Path) -> None:
    for number, z in enumerate(np.array(case["logits"], dtype=np.float64)):
        save(tmp_path / f"preds/{number}.npy", z)
    rule = write_masks(tmp_path, case)
    entries = [e for e in case["expected"] if e["loss"] == "lovasz_hinge"]
    options = [*rule, *options_for(entries), "--kind", "logit"]
    done = scored(tmp_path / "preds", tmp_path / "masks", *options)
    assert_golden(done, entries, rel=1e-12)


def test_a_golden_stack_is_scored_from_one_file(tmp_path: Path) -> None:
    case = next(case for case in CASES if "generator" in case)
    p, y = arrays(case)
    preds = save(tmp_path / "p.npy", p[:, None])
    masks = save(tmp_path / "y.npy", y.astype(np.uint8))
    entries = wanted(case)
    done = scored(preds, masks, *RULE, *options_for(entries))
    assert_golden(done, entries, rel=1e-9)


# Columns and keys


def test_image_rows_have_the_columns_of_the_contract(small: Folders) -> None:
    done = image_rows(small.preds, small.masks)
    assert done.code == 0
    assert done.out.splitlines()[0] == ",".join(IMAGE_COLUMNS)


def test_further_losses_are_columns_at_the_end(small: Folders, tmp_path: Path) -> None:
    further = ["--loss", "dice:smooth=0", "--loss", "focal", "--loss", "brier"]
    expected = ["dice[smooth=0]", "focal[alpha=0.25,gamma=2]_sum", "brier_sum"]
    done = image_rows(small.preds, small.masks, *further)
    (row, *_) = done.rows()
    assert list(row) == [*IMAGE_COLUMNS, *expected]
    table = tmp_path / "rows.csv"
    score(small.preds, small.masks, *further, "--csv", table)
    assert table.read_text() == done.out
    entry = scored(small.preds, small.masks, *further).entry("focal")
    sums = [float(row[expected[1]]) for row in done.rows()]
    assert sums == entry["per_image_sum"]


def test_json_has_the_keys_of_the_contract(small: Folders) -> None:
    data = scored(small.preds, small.masks, "--loss", "brier").data()
    assert list(data) == ["device", "images", "dataset", "losses"]
    assert set(DATASET_NAMES) <= data["dataset"].keys()
    assert [entry["loss"] for entry in data["losses"]] == [*BASIC, "brier"]
    assert list(data["losses"][2]) == ["loss", "params", "per_image", "pooled"]


def test_json_images_have_the_columns_of_the_rows(small: Folders) -> None:
    data = scored(small.preds, small.masks, "--loss", "brier").data()
    expected = [*IMAGE_COLUMNS, "brier_sum"]
    assert [list(row) for row in data["images"]] == [expected] * 3


def test_columns_of_further_losses_can_be_asked_for(small: Folders) -> None:
    further = ["--loss", "focal", "--loss", "dice"]
    for name in ("dice[smooth=1]", "focal[alpha=0.25,gamma=2]_sum"):
        done = image_rows(
            small.preds, small.masks, *further, "--columns", f"pred,{name}"
        )
        assert done.code == 0, done.err
        assert next(csv.reader(io.StringIO(done.out))) == ["pred", name]


@pytest.mark.parametrize("name", ["nothing", "nothing_sum", "nothing[a=1]", "pred"])
def test_a_column_that_is_not_there_is_wrong_usage(name: str, small: Folders) -> None:
    done = score(small.preds, small.masks, "--columns", name)
    assert (done.code, done.out) == (2, "")
    assert name in done.err


# What the rows hold


def test_image_rows_hold_what_the_definitions_say(small: Folders) -> None:
    rows = scored(small.preds, small.masks).data()["images"]
    for row, p, y in zip(rows, small.probs, small.labels, strict=True):
        n, n1 = y.size, int(y.sum())
        loss1 = -np.maximum(np.log(np.maximum(p, 1e-300)), -100)[y == 1]
        loss0 = -np.maximum(np.log(np.maximum(1 - p, 1e-300)), -100)[y == 0]
        s1, s0, hit = loss1.sum(), loss0.sum(), p >= 0.5
        balanced = (n - n1) / n * s1 + n1 / n * s0
        tp, fp = int((hit & (y == 1)).sum()), int((hit & (y == 0)).sum())
        expected = {
            "width": 10,
            "height": 12,
            "changed": n1,
            "unchanged": n - n1,
            "ignored": 0,
            "ce_changed_sum": s1,
            "ce_unchanged_sum": s0,
            "prob_sum": p.sum(),
            "prob_changed_sum": p[y == 1].sum(),
            "prob_sq_sum": (p * p).sum(),
            "prob_sq_changed_sum": (p * p)[y == 1].sum(),
            "saturated_wrong": int(((p == 0) & (y == 1) | (p == 1) & (y == 0)).sum()),
            "tp": tp,
            "fp": fp,
            "fn": n1 - tp,
            "tn": n - n1 - fp,
            "bce_sum": plain_bce(p, y),
            "bce_mean": plain_bce(p, y) / n,
            "balanced_ce_sum": balanced,
            "balanced_ce_mean": balanced / n,
            "class_mean_bce": (s1 / n1 + s0 / (n - n1)) / 2 if n1 else None,
            "precision": tp / (tp + fp),
            "recall": tp / n1 if n1 else None,
            "f1": 2 * tp / (tp + fp + n1),
            "iou": tp / (fp + n1),
            "target_sq_sum": n1,
        }
        for name, value in expected.items():
            assert_close(row[name], value, 1e-12, name)
        assert (row["status"], row["reason"], row["model"]) == ("ok", "", "")


def test_the_dataset_holds_what_its_images_add_up_to(small: Folders) -> None:
    data = scored(small.preds, small.masks).data()
    dataset, rows = data["dataset"], data["images"]
    for name in [*DATASET_NAMES[:17], "balanced_ce_sum"]:
        if name != "bce_mean":
            total = math.fsum(row[name] for row in rows)
            assert dataset[name] == pytest.approx(total, rel=1e-14), name
    tp, fp, fn, tn = (dataset[name] for name in ("tp", "fp", "fn", "tn"))
    n, f1 = tp + fp + fn + tn, 2 * tp / (2 * tp + fp + fn)
    other = 2 * tn / (2 * tn + fp + fn)
    chance = ((tp + fp) * (tp + fn) + (fn + tn) * (fp + tn)) / n**2
    expected = {
        "bce_mean": dataset["bce_sum"] / n,
        "class_mean_bce": (
            dataset["ce_changed_sum"] / dataset["changed"]
            + dataset["ce_unchanged_sum"] / dataset["unchanged"]
        )
        / 2,
        "precision_pooled": tp / (tp + fp),
        "recall_pooled": tp / (tp + fn),
        "f1_pooled": f1,
        "f1_image_mean": sum(row["f1"] for row in rows) / 3,
        "f1_image_mean_nonempty": (rows[0]["f1"] + rows[2]["f1"]) / 2,
        "mf1_pooled": (f1 + other) / 2,
        "iou_pooled": tp / (tp + fp + fn),
        "oa": (tp + tn) / n,
        "kappa": ((tp + tn) / n - chance) / (1 - chance),
        "images_one_class": 1,
        "images_without_valid": 0,
        "beta": dataset["unchanged"] / n,
    }
    for name, value in expected.items():
        assert dataset[name] == pytest.approx(value, rel=1e-12), name


@pytest.mark.parametrize("kind", FORMATS)
def test_undefined_is_never_a_number(kind: str, tmp_path: Path) -> None:
    nothing = np.zeros((4, 4))
    folders = make(tmp_path, [nothing], [nothing])
    options = [*("--loss", "dice:smooth=0"), "--by", "image", "--format", kind]
    done = score(folders.preds, folders.masks, "--changed", "255", "--unchanged", "0")
    assert done.code == 0
    rows = score(
        *(folders.preds, folders.masks, "--changed", "255", "--unchanged", "0"),
        *options,
    )
    assert rows.code == 0
    for out in (done.out, rows.out):
        assert not re.search(r"\b(nan|inf|None|NaN|Infinity)\b", out)
        assert not re.search(r"-0(\.0+)?\b", out)


def test_a_perfect_prediction_costs_nothing(tmp_path: Path) -> None:
    y = np.array([[0, 1, 1], [0, 0, 1]])
    folders = make(tmp_path, [y.astype(np.float64)], [y])
    done = scored(folders.preds, folders.masks)
    dataset = done.data()["dataset"]
    for name in ("bce_sum", "balanced_ce_sum", "class_mean_bce", "saturated_wrong"):
        assert dataset[name] == 0
    assert dataset["f1_pooled"] == dataset["kappa"] == 1
    assert "-0" not in done.out


def test_soft_targets_leave_confusion_counts_undefined(tmp_path: Path) -> None:
    pred = save(tmp_path / "p.npy", np.full((3, 4), 0.75))
    target = save(tmp_path / "t.npy", np.linspace(0, 1, 12).reshape(3, 4))
    done = scored(pred, target)
    (row,) = done.data()["images"]
    assert done.code == 0
    for name in ("precision", "recall", "f1", "iou"):
        assert row[name] is None
    for name in ("tp", "fp", "fn", "tn"):
        assert row[name] is None
    assert row["bce_sum"] == pytest.approx(
        plain_bce(np.full(12, 0.75), np.linspace(0, 1, 12))
    )


# β


@pytest.mark.parametrize("beta", ["image", "dataset", "0.5", "0.9"])
def test_beta_is_that_of_the_option(beta: str, tmp_path: Path) -> None:
    case = next(case for case in CASES if case["id"] == "dyadic-one-class-images")
    p, y = arrays(case)
    folders = make(tmp_path, list(p), list(y))
    done = scored(folders.preds, folders.masks, "--beta", beta)
    value: object = beta if beta.isalpha() else float(beta)
    (expected,) = [e for e in case["expected"] if e["params"] == {"beta": value}]
    assert_golden(done, [expected], rel=1e-12)
    data = done.data()
    assert [entry["loss"] for entry in data["losses"]] == BASIC
    sums = [row["balanced_ce_sum"] for row in data["images"]]
    assert sums == data["losses"][1]["per_image_sum"]
    assert data["dataset"]["balanced_ce_sum"] == data["losses"][1]["sum"]
    assert data["dataset"]["balanced_ce_mean"] == data["losses"][1]["mean"]


@pytest.mark.parametrize("beta", ["1.5", "-0.1", "nan", "half", "true", "", "[1]"])
def test_another_beta_is_wrong_usage(beta: str, small: Folders) -> None:
    done = score(small.preds, small.masks, f"--beta={beta}")
    assert (done.code, done.out) == (2, "")
    assert "--beta" in done.err


# Types, shapes and containers


def as_logits(p: Array) -> Array:
    return np.asarray(np.log(p / (1 - p)))


@pytest.fixture
def one(tmp_path: Path) -> Folders:
    """One image of 6 x 5 whose probabilities are multiples of 1/255, none 0 or 1."""
    random = np.random.default_rng(3)
    probs = random.integers(1, 255, (6, 5)) / 255
    return make(tmp_path, [probs], [random.integers(0, 2, (6, 5))])


def sums_of(done: Done) -> list[float]:
    assert done.code == 0, done.err
    (row,) = done.data()["images"]
    return [row[name] for name in IMAGE_COLUMNS[7:21]]


FILES: list[Any] = [
    pytest.param("p.npy", lambda p: p, 1e-12, id="float64 npy"),
    pytest.param("p.npy", lambda p: p.astype("f4"), 1e-6, id="float32 npy"),
    pytest.param("p.npy", lambda p: p.astype(">f8"), 1e-12, id="big-endian npy"),
    pytest.param("p.npy", np.asfortranarray, 1e-12, id="npy by columns"),
    pytest.param("p.npy", lambda p: np.uint8(p * 255 + 0.5), 1e-12, id="uint8 npy"),
    pytest.param("p.npy", lambda p: np.uint16(p * 65535 + 0.5), 1e-12, id="uint16 npy"),
    pytest.param(
        "p.npy",
        lambda p: np.uint16(p * 65535 + 0.5).astype(">u2"),
        1e-12,
        id="big-endian uint16 npy",
    ),
    pytest.param("p.png", lambda p: np.uint8(p * 255 + 0.5), 1e-12, id="png"),
    pytest.param("p.bmp", lambda p: np.uint8(p * 255 + 0.5), 1e-12, id="bmp"),
    pytest.param("p.png", lambda p: np.uint16(p * 65535 + 0.5), 1e-12, id="16-bit png"),
    pytest.param("p.tif", lambda p: np.uint8(p * 255 + 0.5), 1e-12, id="uint8 tif"),
    pytest.param("p.tif", lambda p: np.uint16(p * 65535 + 0.5), 1e-12, id="uint16 tif"),
    pytest.param("p.tif", lambda p: p.astype("f4"), 1e-6, id="float32 tif"),
    pytest.param("p.tif", lambda p: p, 1e-12, id="float64 tif"),
    pytest.param("p.pt", lambda p: p, 1e-12, id="float64 pt"),
    pytest.param("p.pth", lambda p: p.astype("f4"), 1e-6, id="float32 pth"),
    pytest.param("p.pt", lambda p: np.uint8(p * 255 + 0.5), 1e-12, id="uint8 pt"),
]


@pytest.mark.parametrize(("name", "store", "rel"), FILES)
def test_a_prediction_may_be_stored_in_any_file(
    name: str, store: Callable[[Array], Array], rel: float, one: Folders, tmp_path: Path
) -> None:
    stored = save(tmp_path / name, store(one.probs[0]))
    found = sums_of(scored(stored, one.masks / "0.png"))
    expected = sums_of(scored(one.preds / "0.npy", one.masks / "0.png"))
    assert found == pytest.approx(expected, rel=rel)


@pytest.mark.parametrize(
    "dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64], ids=str
)
def test_tensors_of_every_floating_type_are_scored(
    dtype: torch.dtype, one: Folders, tmp_path: Path
) -> None:
    tensor = torch.from_numpy(one.probs[0]).to(dtype)
    torch.save(tensor, tmp_path / "p.pt")
    exact = save(tmp_path / "exact.npy", tensor.double().numpy())
    found = scored(tmp_path / "p.pt", one.masks / "0.png")
    expected = sums_of(scored(exact, one.masks / "0.png"))
    assert sums_of(found) == pytest.approx(expected, rel=1e-6)
    assert f"predictions: probabilities ({dtype})".replace("torch.", "") in found.err


def test_a_jpeg_is_scored_as_it_is_decoded(one: Folders, tmp_path: Path) -> None:
    stored = np.uint8(one.probs[0] * 255)
    Image.fromarray(stored).save(tmp_path / "p.jpg", quality=95)
    pixels = np.asarray(Image.open(tmp_path / "p.jpg"))
    decoded = save(tmp_path / "decoded.npy", pixels)
    found = sums_of(scored(tmp_path / "p.jpg", one.masks / "0.png"))
    assert found == sums_of(scored(decoded, one.masks / "0.png"))


@pytest.mark.parametrize("mode", ["1", "L", "P", "LA", "RGB", "RGBA"])
def test_labels_are_scored_in_every_mode_of_an_image(
    mode: str, one: Folders, tmp_path: Path
) -> None:
    labels = Image.fromarray((255 * one.labels[0]).astype(np.uint8))
    labels.convert(mode).save(tmp_path / "p.png")
    dataset = scored(tmp_path / "p.png", one.masks / "0.png").data()["dataset"]
    assert (dataset["fp"], dataset["fn"], dataset["bce_sum"]) == (0, 0, 0)


@pytest.mark.parametrize("alpha", [0, 128])
def test_a_prediction_hides_no_valid_pixel(
    alpha: int, one: Folders, tmp_path: Path
) -> None:
    labels = (255 * one.labels[0]).astype(np.uint8)
    opacity = np.full_like(labels, 255)
    opacity[:2] = alpha
    Image.fromarray(np.dstack([labels, opacity])).save(tmp_path / "p.png")
    done = image_rows(tmp_path / "p.png", one.masks / "0.png")
    assert done.code == 1
    assert "10" in done.rows()[0]["reason"]


def test_two_bands_of_a_tiff_are_two_channels(one: Folders, tmp_path: Path) -> None:
    p = one.probs[0]
    shape = {"width": 5, "height": 6, "count": 2, "dtype": "float64"}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        with rasterio.open(tmp_path / "p.tif", "w", driver="GTiff", **shape) as file:
            file.write(two_channels(p))
    found = sums_of(scored(tmp_path / "p.tif", one.masks / "0.png"))
    expected = sums_of(scored(one.preds / "0.npy", one.masks / "0.png"))
    assert found == pytest.approx(expected, rel=1e-12)


def two_channels(p: Array) -> Array:
    return np.stack([1 - p, p])


SHAPES = [
    pytest.param(lambda p: p, id="(H, W)"),
    pytest.param(lambda p: p[None], id="(1, H, W)"),
    pytest.param(lambda p: p[None, None], id="(1, 1, H, W)"),
    pytest.param(lambda p: two_channels(p), id="(2, H, W)"),
    pytest.param(lambda p: two_channels(p)[None], id="(1, 2, H, W)"),
    pytest.param(lambda p: np.moveaxis(two_channels(p), 0, 2), id="(H, W, 2)"),
]


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("suffix", [".npy", ".pt"])
def test_a_prediction_may_have_any_of_the_shapes(
    shape: Callable[[Array], Array], suffix: str, one: Folders, tmp_path: Path
) -> None:
    stored = save(tmp_path / f"p{suffix}", shape(one.probs[0]).copy())
    found = sums_of(scored(stored, one.masks / "0.png"))
    expected = sums_of(scored(one.preds / "0.npy", one.masks / "0.png"))
    assert found == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize("shape", SHAPES[3:])
def test_two_logits_give_the_sigmoid_of_their_difference(
    shape: Callable[[Array], Array], one: Folders, tmp_path: Path
) -> None:
    p = one.probs[0]
    first = np.random.default_rng(9).normal(size=p.shape)
    both = np.stack([first, first + as_logits(p)])
    place = {3: both, 4: both[None]}[shape(p).ndim]
    layout = place if shape(p).shape[-1] != 2 else np.moveaxis(both, 0, 2)
    stored = save(tmp_path / "z.npy", layout)
    found = sums_of(scored(stored, one.masks / "0.png", "--kind", "logit"))
    expected = sums_of(scored(one.preds / "0.npy", one.masks / "0.png"))
    assert found == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize("kind", ["prob", "logit"])
@pytest.mark.parametrize("channels", [1, 2])
def test_stacks_may_have_one_channel_or_two(
    channels: int, kind: str, small: Folders, tmp_path: Path
) -> None:
    p = np.clip(np.stack(small.probs), 0.01, 0.99)
    stack = p[:, None]
    if channels == 2:
        stack = np.stack([1 - p, p], axis=1)
    if kind == "logit":
        z = as_logits(p)
        stack = z[:, None] if channels == 1 else np.stack([z * 0 + 1, z + 1], axis=1)
    masks = save(tmp_path / "masks.npy", np.stack(small.labels).astype(np.uint8))
    plain = save(tmp_path / "plain.npy", p)
    expected = scored(plain, masks).data()["losses"]
    stored = save(tmp_path / "p.npy", stack)
    found = scored(stored, masks, "--kind", kind).data()["losses"]
    assert_losses(found, expected, 1e-12)


def test_argmax_of_two_channels_is_hard(one: Folders, tmp_path: Path) -> None:
    argmax = (one.probs[0] > 0.5).astype(np.int64)
    done = scored(save(tmp_path / "p.npy", argmax), one.masks / "0.png")
    data = done.data()
    wrong = data["dataset"]["fp"] + data["dataset"]["fn"]
    assert data["dataset"]["bce_sum"] == 100 * wrong
    assert "hard labels" in done.err


@pytest.mark.parametrize(
    "store",
    [
        pytest.param(lambda p: np.stack([1 - p, p + 0.1]), id="floats"),
        pytest.param(lambda p: np.stack([as_logits(p), -as_logits(p)]), id="logits"),
        pytest.param(lambda p: np.uint8(np.stack([p, p]) * 255), id="bytes"),
        pytest.param(lambda p: np.stack([p < 0.5, p < 0.5]), id="booleans"),
        pytest.param(lambda p: np.stack([p, p]).astype("f2"), id="float16"),
    ],
)
def test_two_channels_that_do_not_add_up_are_refused(
    store: Callable[[Array], Array], one: Folders, tmp_path: Path
) -> None:
    stored = save(tmp_path / "p.npy", store(one.probs[0]))
    done = image_rows(stored, one.masks / "0.png")
    assert done.code == 1
    assert "p.npy: has two channels that do not add up" in done.err


@pytest.mark.parametrize("bad", [np.nan, np.inf, 0.0, 5.0], ids=str)
def test_two_channels_need_not_add_up_under_ignored_pixels(
    bad: float, one: Folders, tmp_path: Path
) -> None:
    both = two_channels(one.probs[0])
    both[:, :2] = bad
    labels = one.labels[0].astype(np.uint8)
    labels[:2] = 255
    pred = save(tmp_path / "p.npy", both)
    done = scored(pred, save(tmp_path / "t.npy", labels), *RULE)
    assert done.code == 0, done.err
    assert done.data()["images"][0]["ignored"] == 10


@pytest.mark.parametrize(
    "shape",
    [(30,), (3, 6, 5), (1, 3, 6, 5), (1, 1, 1, 6, 5), (0, 5), (6, 5, 3)],
    ids=str,
)
def test_other_shapes_are_refused(
    shape: tuple[int, ...], one: Folders, tmp_path: Path
) -> None:
    stored = save(tmp_path / "p.npy", np.full(shape, 0.5))
    done = image_rows(stored, one.masks / "0.png")
    assert done.code == 1
    assert [row["status"] for row in done.rows()] == ["failed"]


@pytest.mark.parametrize("dtype", ["complex64", "U3", "longdouble", "M8[s]", "uint64"])
def test_numbers_of_other_types_never_end_in_a_traceback(
    dtype: str, one: Folders, tmp_path: Path
) -> None:
    stored = save(tmp_path / "p.npy", (one.probs[0] > 0.5).astype(int).astype(dtype))
    done = image_rows(stored, one.masks / "0.png")
    assert done.code in (0, 1)
    assert done.code == 0 or "p.npy" in done.err


@pytest.mark.parametrize("dtype", [torch.float8_e4m3fn, torch.complex64], ids=str)
def test_tensors_of_other_types_never_end_in_a_traceback(
    dtype: torch.dtype, one: Folders, tmp_path: Path
) -> None:
    torch.save(torch.ones(6, 5).to(dtype), tmp_path / "p.pt")
    done = image_rows(tmp_path / "p.pt", one.masks / "0.png")
    assert done.code in (0, 1)
    assert done.code == 0 or "p.pt" in done.err


def test_tensors_in_the_older_file_format_are_read(
    one: Folders, tmp_path: Path
) -> None:
    path = tmp_path / "p.pt"
    tensor = torch.from_numpy(one.probs[0])
    torch.save(tensor, path, _use_new_zipfile_serialization=False)
    found = sums_of(scored(path, one.masks / "0.png"))
    assert found == sums_of(scored(one.preds / "0.npy", one.masks / "0.png"))


def test_a_key_picks_one_tensor_of_a_file(one: Folders, tmp_path: Path) -> None:
    both = {"probs": torch.from_numpy(one.probs[0]), "other": torch.zeros(3, 4)}
    torch.save(both, tmp_path / "p.pt")
    found = sums_of(scored(f"{tmp_path}/p.pt#probs", one.masks / "0.png"))
    assert found == sums_of(scored(one.preds / "0.npy", one.masks / "0.png"))
    several = image_rows(tmp_path / "p.pt", one.masks / "0.png")
    assert several.code == 1
    for words in ("probs (6, 5)", "other (3, 4)", "FILE#KEY"):
        assert words in several.err


def test_a_tiled_image_is_put_together_before_distances(tmp_path: Path) -> None:
    random = np.random.default_rng(1)
    p, y = random.random((40, 1500)), random.integers(0, 2, (40, 1500))
    mask = save(tmp_path / "t.png", (255 * y).astype(np.uint8))
    tiles = {"tiled": True, "blockxsize": 1024, "blockysize": 4096}
    write_tiff(tmp_path / "p.tif", p, **tiles, compress="deflate")
    plain = save(tmp_path / "p.npy", p)
    further = ["--loss", "boundary", "--loss", "lovasz_softmax"]
    found = scored(tmp_path / "p.tif", mask, *further)
    expected = scored(plain, mask, *further)
    assert found.code == 0
    for name in ("boundary", "lovasz_softmax", "bce"):
        for key, value in expected.entry(name).items():
            if key not in ("loss", "params"):
                assert_close(found.entry(name)[key], value, 1e-12, f"{name} {key}")


# Masks


@pytest.mark.parametrize(
    ("values", "options"),
    [
        pytest.param((0, 255), [], id="found"),
        pytest.param((0, 1), [], id="found 0 and 1"),
        pytest.param((1, 2), ["--preset", "oscd-tif"], id="preset"),
        pytest.param((7, 9), ["--changed", "9", "--unchanged", "rest"], id="rule"),
    ],
)
def test_masks_are_read_as_by_ratio(
    values: tuple[int, int], options: list[str], one: Folders, tmp_path: Path
) -> None:
    stored = np.where(one.labels[0] == 1, values[1], values[0]).astype(np.uint8)
    mask = save(tmp_path / "m/t-cm.tif", stored)
    found = sums_of(scored(one.preds / "0.npy", mask, *options))
    assert found == sums_of(scored(one.preds / "0.npy", one.masks / "0.png"))
    counted = cdstats_command("ratio", mask, *options, "--format", "json")
    (row,) = json.loads(counted.out)["images"]
    assert row["changed"] == one.labels[0].sum()
    assert (
        row["rule"]
        == scored(one.preds / "0.npy", mask, *options).data()["dataset"]["rule"]
    )


def test_nodata_of_a_mask_is_ignored(one: Folders, tmp_path: Path) -> None:
    labels = (255 * one.labels[0]).astype(np.uint8)
    labels[0] = 9
    write_tiff(tmp_path / "t.tif", labels, nodata=9)
    (row,) = scored(one.preds / "0.npy", tmp_path / "t.tif").data()["images"]
    assert (row["status"], row["ignored"]) == ("ok", 5)


@pytest.mark.parametrize("value", [-1.0, 2.0, 255.0])
def test_soft_targets_may_hold_values_to_ignore(value: float, tmp_path: Path) -> None:
    soft = np.linspace(0, 1, 12).reshape(3, 4)
    soft[0] = value
    pred = save(tmp_path / "p.npy", np.full((3, 4), 0.75))
    done = scored(pred, save(tmp_path / "t.npy", soft), f"--ignore={value:.0f}")
    assert done.code == 0, done.err
    assert done.data()["images"][0]["ignored"] == 4


@pytest.mark.parametrize("bad", [-0.5, 1.5, np.nan])
def test_soft_targets_outside_the_range_are_refused(bad: float, tmp_path: Path) -> None:
    soft = np.full((3, 4), 0.5)
    soft[0, :2] = bad
    pred = save(tmp_path / "p.npy", np.full((3, 4), 0.75))
    done = image_rows(pred, save(tmp_path / "t.npy", soft))
    assert done.code == 1
    assert "t.npy: 2 targets outside [0, 1]" in done.err


def test_floating_targets_with_a_rule_are_labels(one: Folders, tmp_path: Path) -> None:
    target = save(tmp_path / "t.npy", one.labels[0].astype(np.float32))
    found = scored(one.preds / "0.npy", target, *RULE)
    assert sums_of(found) == sums_of(scored(one.preds / "0.npy", one.masks / "0.png"))


def test_soft_targets_and_labels_may_stand_side_by_side(
    one: Folders, tmp_path: Path
) -> None:
    for number in (0, 1):
        save(tmp_path / f"p/{number}.npy", one.probs[0])
    save(tmp_path / "t/0.npy", one.labels[0].astype(np.uint8))
    save(tmp_path / "t/1.npy", one.labels[0] / 2)
    data = scored(tmp_path / "p", tmp_path / "t").data()
    alone = scored(one.preds, one.masks).data()["images"][0]
    for name in IMAGE_COLUMNS[4:27]:
        assert_close(data["images"][0][name], alone[name], 1e-12, name)
    assert data["images"][1]["changed"] == one.labels[0].sum() / 2


def test_losses_of_labels_are_refused_beside_soft_targets(tmp_path: Path) -> None:
    pred = save(tmp_path / "p.npy", np.full((3, 4), 0.75))
    target = save(tmp_path / "t.npy", np.full((3, 4), 0.5))
    done = score(pred, target, "--loss", "lovasz_softmax")
    assert (done.code, done.out) == (2, "")
    assert "lovasz_softmax" in done.err


def test_all_losses_beside_soft_targets_are_those_defined_for_them(
    tmp_path: Path,
) -> None:
    pred = save(tmp_path / "p.npy", np.full((3, 4), 0.75))
    target = save(tmp_path / "t.npy", np.linspace(0, 1, 12).reshape(3, 4))
    done = scored(pred, target, "--loss", "all")
    assert done.code == 0, done.err
    names = {entry["loss"] for entry in done.data()["losses"]}
    assert names == {one.name for one in all_losses() if one.entry.soft_targets}


# The threshold


@pytest.mark.parametrize("threshold", [0, 0.25, 0.5, 0.75, 1])
@pytest.mark.parametrize("dtype", ["float16", "float32", "float64"])
def test_a_pixel_at_the_threshold_is_changed(
    threshold: float, dtype: str, tmp_path: Path
) -> None:
    p = np.array([[0, 0.25, 0.5, 0.75, 1]] * 2)
    pred = save(tmp_path / "p.npy", p.astype(dtype))
    mask = save(tmp_path / "t.npy", np.array([[1] * 5, [0] * 5], dtype=np.uint8))
    done = scored(pred, mask, "--threshold", str(threshold))
    above = int((p[0] >= threshold).sum())
    dataset = done.data()["dataset"]
    confusion = [dataset[name] for name in ("tp", "fp", "fn", "tn")]
    assert confusion == [above, above, 5 - above, 5 - above]


@pytest.mark.parametrize("threshold", ["-0.1", "1.1", "half"])
def test_a_threshold_is_a_probability(threshold: str, small: Folders) -> None:
    done = score(small.preds, small.masks, f"--threshold={threshold}")
    assert (done.code, done.out) == (2, "")


# Several models


def test_models_have_the_scores_that_they_have_alone(
    small: Folders, tmp_path: Path
) -> None:
    other = make(tmp_path / "b", [p**2 for p in small.probs], small.labels)
    further = ["--loss", "lovasz_softmax", "--loss", "top_k_ce", "--loss", "boundary"]
    named = ["--pred", f"a={small.preds}", "--pred", f"b={other.preds}"]
    data = loss(*named, "--target", small.masks, *further, "--format", "json").data()
    assert [model["model"] for model in data["models"]] == ["a", "b"]
    assert (data["dataset"], data["losses"]) == (
        data["models"][0]["dataset"],
        data["models"][0]["losses"],
    )
    for model, folder in zip(data["models"], (small.preds, other.preds), strict=True):
        alone = scored(folder, small.masks, *further).data()
        assert model["dataset"] | {"model": ""} == alone["dataset"]
        assert model["losses"] == alone["losses"]


def test_models_may_store_their_labels_differently(
    small: Folders, tmp_path: Path
) -> None:
    labels = [(p > 0.5).astype(np.uint8) for p in small.probs]
    ones = make(tmp_path / "ones", labels, small.labels)
    whites = make(tmp_path / "whites", [255 * y for y in labels], small.labels)
    named = ["--pred", f"a={ones.preds}", "--pred", f"b={whites.preds}"]
    done = loss(*named, "--target", small.masks, "--format", "csv")
    if done.code == 1:
        assert done.out == ""
        return
    first, second = done.rows()
    # The text names the two codings; every number is the same.
    assert first | {"model": "b", "kind": second["kind"]} == second


def test_each_model_has_its_row_and_its_part_of_the_screen(
    small: Folders, tmp_path: Path
) -> None:
    other = make(tmp_path / "b", small.probs[::-1], small.labels)
    named = ["--pred", f"a={small.preds}", "--pred", f"b={other.preds}"]
    rows = loss(*named, "--target", small.masks, "--format", "csv").rows()
    assert [row["model"] for row in rows] == ["a", "b"]
    before, between, _ = loss(*named, "--target", small.masks).out.split(", pooled:")
    assert re.search(r"^a\b", before, re.MULTILINE)
    assert re.search(r"^b\b", between, re.MULTILINE)


# Losses


def test_all_are_all(small: Folders) -> None:
    done = scored(small.preds, small.masks, "--loss", "all")
    names = [entry["loss"] for entry in done.data()["losses"]]
    assert set(names) == CATALOGUE.keys() - {"lovasz_hinge"}
    assert len(names) == len(set(names))
    logit = scored(small.preds, small.masks, "--loss", "all", "--kind", "logit")
    assert {e["loss"] for e in logit.data()["losses"]} == set(CATALOGUE)


@pytest.mark.parametrize("dtype", ["float32", "float64", "uint8"])
def test_further_losses_change_no_other_number(dtype: str, tmp_path: Path) -> None:
    random = np.random.default_rng(4)
    p = random.random((300, 300))
    stored = (255 * p).astype(np.uint8) if dtype == "uint8" else p.astype(dtype)
    folders = make(tmp_path, [stored], [random.integers(0, 2, p.shape)])
    plain = scored(folders.preds, folders.masks).data()["losses"]
    further = ["--loss", "focal", "--loss", "boundary"]
    more = scored(folders.preds, folders.masks, *further).data()["losses"]
    assert_losses(more[:3], plain, 1e-12)


def test_a_loss_named_twice_is_scored_once(small: Folders) -> None:
    twice = ["--loss", "bce", "--loss", "dice", "--loss", "dice:smooth=1"]
    losses = scored(small.preds, small.masks, *twice).data()["losses"]
    assert [entry["loss"] for entry in losses] == [*BASIC, "dice"]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        pytest.param("dise", "Did you mean dice", id="near"),
        pytest.param("focal:gama=2", "alpha, gamma", id="unknown parameter"),
        pytest.param("ldam", NOT_SCORES["ldam"], id="training loss"),
    ],
)
def test_a_loss_that_is_not_understood_is_wrong_usage(
    text: str, words: str, small: Folders
) -> None:
    done = score(small.preds, small.masks, "--loss", text)
    assert (done.code, done.out) == (2, "")
    assert words in done.err


# From an earlier run


@pytest.fixture
def saved(small: Folders, tmp_path: Path) -> Path:
    """The rows of a run with a column for focal loss."""
    table = tmp_path / "rows.csv"
    done = score(small.preds, small.masks, "--loss", "focal", "--csv", table)
    assert done.code == 0
    return table


def test_rows_of_a_saved_run_are_the_same_again(saved: Path, tmp_path: Path) -> None:
    again = tmp_path / "again.csv"
    done = loss("--from", saved, "--loss", "focal", "--csv", again)
    assert done.code == 0
    assert again.read_text() == saved.read_text()


SAVED = ["bce", "balanced_ce:beta=dataset", "dice:smooth=0", "tversky", "brier"]
SAVED += ["soft_mcc", "poly1_bce", "generalised_dice", "combo", "class_balanced"]


def test_losses_of_sums_are_recomputed_without_pixels(
    small: Folders, saved: Path
) -> None:
    further = [word for text in SAVED for word in ("--loss", text)]
    fresh = scored(small.preds, small.masks, *further).data()
    for folder in (small.preds, small.masks):
        for path in folder.iterdir():
            path.unlink()
    again = loss("--from", saved, *further, "--format", "json").data()
    assert_losses(again["losses"], fresh["losses"], 1e-12)
    for name in DATASET_NAMES:
        assert_close(again["dataset"][name], fresh["dataset"][name], 1e-12, name)


@pytest.mark.parametrize("beta", ["dataset", "0.3"])
def test_beta_of_a_saved_run_may_be_another(
    beta: str, small: Folders, saved: Path
) -> None:
    fresh = scored(small.preds, small.masks, "--beta", beta).data()
    again = loss("--from", saved, "--beta", beta, "--format", "json").data()
    assert_losses(again["losses"], fresh["losses"], 1e-12)
    balanced = [row["balanced_ce_sum"] for row in again["images"]]
    assert balanced == again["losses"][1]["per_image_sum"]


def test_a_loss_with_its_column_is_taken_from_it(small: Folders, saved: Path) -> None:
    fresh = scored(small.preds, small.masks, "--loss", "focal").entry("focal")
    again = loss("--from", saved, "--loss", "focal", "--format", "json")
    assert again.code == 0
    for key, value in again.entry("focal").items():
        if key not in ("loss", "params"):
            assert_close(value, fresh[key], 1e-14, key)


@pytest.mark.parametrize("name", ["focal:gamma=1", "asl", "lovasz_softmax", "boundary"])
def test_a_loss_without_its_column_does_not_follow(name: str, saved: Path) -> None:
    done = loss("--from", saved, "--loss", name)
    assert (done.code, done.out) == (1, "")
    assert name.partition(":")[0] in done.err
    assert str(saved) in done.err


def test_soft_rows_come_back_as_they_were(tmp_path: Path) -> None:
    random = np.random.default_rng(5)
    for number in range(30):
        save(tmp_path / f"preds/{number}.npy", random.random((7, 9)))
        save(tmp_path / f"masks/{number}.npy", random.random((7, 9)).round(2))
    table, again = tmp_path / "rows.csv", tmp_path / "again.csv"
    assert score(tmp_path / "preds", tmp_path / "masks", "--csv", table).code == 0
    assert loss("--from", table, "--csv", again).code == 0
    assert again.read_text() == table.read_text()


def test_failed_rows_stay_failed(small: Folders, tmp_path: Path) -> None:
    (small.masks / "1.png").unlink()
    table = tmp_path / "rows.csv"
    assert score(small.preds, small.masks, "--csv", table).code == 1
    done = loss("--from", table, "--format", "csv", "--by", "image")
    assert done.code == 1
    assert done.out == table.read_text()
    assert "1.npy: has no mask" in done.err


def test_models_of_a_saved_run_stay_apart(small: Folders, tmp_path: Path) -> None:
    table = tmp_path / "rows.csv"
    named = [f"--pred={name}={small.preds}" for name in ("b", "a")]
    fresh = loss(*named, "--target", small.masks, "--csv", table, "--format", "json")
    again = loss("--from", table, "--format", "json").data()
    first, second = fresh.data()["models"], again["models"]
    assert [model["losses"] for model in first] == [m["losses"] for m in second]
    assert [model["model"] for model in second] == ["b", "a"]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        pytest.param("", "rows.csv", id="empty"),
        pytest.param("a,b\n1,2\n", "'pred'", id="other columns"),
        pytest.param(",".join(IMAGE_COLUMNS) + "\n", "no row", id="no row"),
        pytest.param(
            f"{','.join(IMAGE_COLUMNS)}\n{','.join(['x'] * len(IMAGE_COLUMNS))}\n",
            "width is 'x'",
            id="no numbers",
        ),
    ],
)
def test_another_file_is_no_saved_run(text: str, words: str, tmp_path: Path) -> None:
    table = tmp_path / "rows.csv"
    table.write_text(text)
    done = loss("--from", table)
    assert (done.code, done.out) == (1, "")
    assert words in done.err
    assert "a file of image rows of `cdstats loss`" in done.err


def test_a_saved_run_needs_no_predictions(small: Folders, saved: Path) -> None:
    done = loss("--from", saved, "--pred", small.preds, "--target", small.masks)
    assert (done.code, done.out) == (2, "")
    assert loss("--from", "nowhere.csv").code == 1


@pytest.mark.parametrize(
    "option",
    [
        pytest.param(["--threshold", "0.5"], id="threshold"),
        pytest.param(["--kind", "prob"], id="kind"),
        pytest.param(["--device", "cpu"], id="device"),
        pytest.param(["--batch-size", "auto"], id="batch size"),
        pytest.param(["--changed", "1"], id="rule"),
        pytest.param(["--split", "val"], id="split"),
    ],
)
def test_what_an_earlier_run_decided_cannot_be_asked_for_again(
    saved: Path, option: list[str]
) -> None:
    done = loss("--from", saved, *option)
    assert done.code == 2
    assert "--from reads the rows of an earlier run" in done.err
    assert f"leave out {option[0]}\n" in done.err


# Exit codes


@pytest.mark.parametrize(
    "options",
    [
        pytest.param(["--device", "tpu"], id="unknown device"),
        pytest.param(["--device", "cuda:x"], id="no number"),
        pytest.param(["--device", "cpu:1"], id="numbered processor"),
        pytest.param(["--loss", "nothing"], id="loss"),
        pytest.param(["--loss", "lovasz_hinge"], id="loss of logits"),
        pytest.param(["--beta", "2"], id="beta"),
        pytest.param(["--preset", "nothing"], id="preset"),
        pytest.param(["--changed", "1"], id="half a rule"),
        pytest.param(["--changed", "x", "--unchanged", "0"], id="rule"),
        pytest.param(["--kind", "odds"], id="kind"),
        pytest.param(["--batch-size", "0"], id="batch size"),
        pytest.param(["--batch-size", "many"], id="no batch size"),
        pytest.param(["--summary", "x.txt"], id="summary"),
        pytest.param(["--csv", "nowhere/x.csv"], id="folder of the table"),
        pytest.param(["--format", "xml"], id="format"),
        pytest.param(["--nothing"], id="option"),
    ],
)
def test_wrong_usage_is_told_before_a_file_is_read(options: list[str]) -> None:
    done = score("nowhere.npy", "nowhere.png", *options)
    assert (done.code, done.out) == (2, "")
    assert "nowhere.npy" not in done.err


@pytest.mark.parametrize("name", ["cuda", "cuda:0", "cuda:99", "mps"])
def test_a_device_that_is_missing_is_told_before_a_file_is_read(name: str) -> None:
    there = torch.cuda.device_count() if name.startswith("cuda") else 0
    if torch.backends.mps.is_available() or name in ("cuda", "cuda:0")[: 2 * there]:
        pytest.skip(f"this machine has {name}")
    done = score("nowhere.npy", "nowhere.png", "--device", name)
    assert (done.code, done.out) == (2, "")
    assert f"--device {name} is not there" in done.err


@pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no CUDA device")
def test_the_device_gives_the_numbers_of_the_processor(small: Folders) -> None:
    here = scored(small.preds, small.masks, "--device", "cpu").data()
    there = scored(small.preds, small.masks, "--device", "cuda").data()
    assert there["device"].startswith("cuda")
    for name in DATASET_NAMES:
        assert_close(there["dataset"][name], here["dataset"][name], 1e-12, name)


@pytest.mark.parametrize("missing", ["--pred", "--target", "both"])
def test_both_sides_must_be_named(missing: str, small: Folders) -> None:
    given = {"--pred": small.preds, "--target": small.masks}
    words = [w for name, path in given.items() if name != missing for w in (name, path)]
    done = loss(*([] if missing == "both" else words))
    assert (done.code, done.out) == (2, "")
    assert "--pred" in done.err
    assert "--target" in done.err


def test_the_device_is_said(small: Folders) -> None:
    assert scored(small.preds, small.masks, "--device", "cpu").data()["device"] == "cpu"
    assert "device: cpu" in score(small.preds, small.masks, "--device", "cpu").out


# Bad input


def test_one_bad_pair_fails_and_the_rest_is_scored(small: Folders) -> None:
    save(small.preds / "1.npy", np.full((5, 5), 0.5))
    done = scored(small.preds, small.masks)
    data = done.data()
    assert done.code == 1
    assert [row["status"] for row in data["images"]] == ["ok", "failed", "ok"]
    assert (data["dataset"]["images"], data["dataset"]["failed"]) == (2, 1)
    reason = "is (5, 5) but its mask 1.png is (12, 10)"
    assert data["images"][1]["reason"] == reason
    assert f"error: 1.npy: {reason}" in done.err
    save(small.preds / "1.npy", small.probs[1])
    (small.preds / "1.npy").unlink()
    (small.masks / "1.png").unlink()
    rest = scored(small.preds, small.masks).data()
    for name in DATASET_NAMES:
        assert data["dataset"][name] == rest["dataset"][name], name


def test_lists_of_losses_have_one_entry_per_image(small: Folders) -> None:
    save(small.preds / "1.npy", np.full((5, 5), 0.5))
    further = ["--loss", "dice", "--loss", "lovasz_softmax", "--loss", "focal"]
    data = scored(small.preds, small.masks, *further).data()
    for entry in data["losses"]:
        for key in entry.keys() & {"per_image", "per_image_sum", "beta_used"}:
            assert len(entry[key]) == len(data["images"]) == 3, (entry["loss"], key)
            assert entry[key][1] is None
            assert entry[key][2] is not None


def test_a_prediction_of_three_bands_is_told_what_works(
    small: Folders, tmp_path: Path
) -> None:
    probs = small.probs[1].astype(np.float32)
    write_tiff(tmp_path / "p.tif", np.stack([probs, probs / 2, probs / 3]))
    done = score(tmp_path / "p.tif", small.masks / "1.png")
    assert done.code == 1
    assert "has 3 different bands; expected one, or two: unchanged" in done.err
    assert "--band" not in done.err
    write_tiff(tmp_path / "p.tif", np.stack([probs] * 3))
    assert score(tmp_path / "p.tif", small.masks / "1.png").code == 0


def test_strict_stops_at_the_first_failure(small: Folders) -> None:
    for number in (1, 2):
        save(small.preds / f"{number}.npy", np.full((5, 5), 0.5))
    done = score(small.preds, small.masks, "--strict")
    assert (done.code, done.out) == (1, "")
    assert "1.npy" in done.err
    assert "2.npy" not in done.err


def bad_pixel(value: float) -> Callable[[Folders], None]:
    def spoil(folders: Folders) -> None:
        p = folders.probs[1].copy()
        p[3, 4] = value
        save(folders.preds / "1.npy", p)

    return spoil


def cut_short(folders: Folders) -> None:
    path = folders.preds / "1.npy"
    path.write_bytes(path.read_bytes()[:-100])


def damaged_mask(folders: Folders) -> None:
    path = folders.masks / "1.png"
    path.write_bytes(path.read_bytes()[:-20])


def in_colour(folders: Folders) -> None:
    (folders.preds / "1.npy").unlink()
    random = np.random.default_rng(0)
    save(folders.preds / "1.png", random.integers(0, 256, (12, 10, 3), np.uint8))


def unnamed_value(folders: Folders) -> None:
    mask = (255 * folders.labels[1]).astype(np.uint8)
    mask[0, 0] = 7
    save(folders.masks / "1.png", mask)


BAD = [
    pytest.param(bad_pixel(np.nan), "is NaN or infinite on 1 valid pixel", id="NaN"),
    pytest.param(bad_pixel(1.5), "is outside [0, 1] on 1 valid pixel", id="above 1"),
    pytest.param(cut_short, "1.npy", id="cut short"),
    pytest.param(damaged_mask, "1.png", id="damaged mask"),
    pytest.param(in_colour, "colour", id="colours"),
    pytest.param(unnamed_value, "holds 7", id="unnamed value"),
]


@pytest.mark.parametrize(("spoil", "words"), BAD)
def test_a_bad_file_fails_alone(
    spoil: Callable[[Folders], None], words: str, small: Folders
) -> None:
    spoil(small)
    rule = ["--changed", "255", "--unchanged", "0", "--kind", "prob"]
    done = image_rows(small.preds, small.masks, *rule)
    assert done.code == 1
    assert [row["status"] for row in done.rows()] == ["ok", "failed", "ok"]
    (line,) = [line for line in done.err.splitlines() if line.startswith("error: ")]
    assert line.startswith(("error: 1.npy: ", "error: 1.npz: ", "error: 1.p"))
    assert words in line


def test_one_file_outside_the_range_refuses_the_run(small: Folders) -> None:
    bad_pixel(1.5)(small)
    done = score(small.preds, small.masks)
    assert (done.code, done.out) == (1, "")
    assert "1 of 3" in done.err
    assert "1.npy; the others do not, and all together hold 0 to 1.5" in done.err


def test_what_lies_under_ignored_pixels_may_be_anything(small: Folders) -> None:
    for number, bad in enumerate((np.nan, np.inf, 9.0)):
        p, mask = small.probs[number].copy(), 255 * small.labels[number]
        p[3, 4], mask[3, 4] = bad, 128
        save(small.preds / f"{number}.npy", p)
        save(small.masks / f"{number}.png", mask.astype(np.uint8))
    rule = ["--changed", "255", "--unchanged", "0", "--ignore", "128"]
    further = ["--loss", "lovasz_softmax", "--loss", "boundary", "--loss", "focal"]
    done = scored(small.preds, small.masks, *rule, *further)
    assert done.code == 0, done.err
    assert done.data()["dataset"]["ignored"] == 3


def test_ambiguous_masks_are_refused_with_the_way_out(tmp_path: Path) -> None:
    pred = save(tmp_path / "p.npy", np.full((4, 6), 0.5))
    mask = save(tmp_path / "t.png", np.resize(np.arange(3, dtype=np.uint8), (4, 6)))
    done = score(pred, mask)
    assert done.code == 1
    assert "--changed" in done.err
    assert cdstats_command("ratio", mask).code == 1


@pytest.mark.parametrize("dtype", ["uint8", "float16", "float64"])
def test_an_image_without_a_valid_pixel_is_undefined_and_counted(
    dtype: str, tmp_path: Path
) -> None:
    p = np.resize(np.array([0, 1]), (2, 6)).astype(dtype)
    labels = [np.resize(np.array([0, 1, 1]), (2, 6)), np.full((2, 6), 255)]
    for number, y in enumerate(labels):
        save(tmp_path / f"preds/{number}.npy", p)
        save(tmp_path / f"masks/{number}.npy", y.astype(np.uint8))
    further = ["--loss", "dice", "--loss", "lovasz_softmax"]
    done = scored(tmp_path / "preds", tmp_path / "masks", *RULE, *further)
    data = done.data()
    empty = data["images"][1]
    assert (done.code, empty["status"], empty["reason"]) == (0, "ok", "")
    assert (empty["changed"], empty["unchanged"], empty["ignored"]) == (0, 0, 12)
    for name in ("bce_sum", "bce_mean", "balanced_ce_sum", "class_mean_bce", "f1"):
        assert empty[name] is None, name
    assert data["dataset"]["images_without_valid"] == 1
    for entry in data["losses"]:
        for key in entry.keys() & {"per_image", "per_image_sum", "beta_used"}:
            assert len(entry[key]) == 2
            assert entry[key][1] is None
    assert "without a valid pixel" in done.err


@pytest.mark.parametrize("quiet", [[], ["--quiet"]], ids=["", "quiet"])
def test_no_valid_pixel_at_all_is_a_failure_that_is_told(
    quiet: list[str], tmp_path: Path
) -> None:
    pred = save(tmp_path / "p.npy", np.ones((2, 6), dtype=np.uint8))
    mask = save(tmp_path / "t.npy", np.full((2, 6), 255, dtype=np.uint8))
    done = scored(pred, mask, *RULE, *quiet)
    assert done.code == 1
    assert "valid pixel" in done.err
    assert done.data()["dataset"]["bce_mean"] is None


# The screen


def test_the_screen_fits_80_columns_with_large_numbers(tmp_path: Path) -> None:
    random = np.random.default_rng(0)
    y = random.integers(0, 2, (1000, 1000))
    folders = make(tmp_path, [random.integers(0, 2, y.shape).astype(float)], [y])
    done = score(folders.preds, folders.masks)
    assert re.search(r"sum 2\d,\d{3},\d{3}; not on BCE's scale", done.out)
    assert max(len(line.rstrip()) for line in done.out.splitlines()) <= 80


def test_the_screen_fits_80_columns_with_every_loss(small: Folders) -> None:
    done = score(small.preds, small.masks, "--loss", "all")
    assert max(len(line.rstrip()) for line in done.out.splitlines()) <= 80


def numbers_of(line: str) -> list[float]:
    return [float(text.replace(",", "")) for text in re.findall(r"-?[\d,.]*\d", line)]


def line_of(out: str, start: str) -> str:
    (line,) = [line for line in out.splitlines() if line.strip().startswith(start)]
    return line


def test_the_screen_shows_the_numbers_of_the_files(small: Folders) -> None:
    out = score(small.preds, small.masks).out
    dataset = scored(small.preds, small.masks).data()["dataset"]
    (metrics,) = [line for line in out.splitlines() if ", pooled:" in line]
    names = [
        "precision_pooled",
        "recall_pooled",
        "f1_pooled",
        "iou_pooled",
        "oa",
        "kappa",
    ]
    values = [f"{dataset[name]:.3f}" for name in names]
    assert re.findall(r"-?\d\.\d{3}", metrics) == values
    share = 100 * dataset["ce_changed_sum"] / dataset["bce_sum"]
    assert line_of(out, "BCE").split()[1:3] == [
        f"{dataset['bce_mean']:.3f}",
        f"{share:.1f}",
    ]
    class_mean = line_of(out, "balanced, class mean")
    changed = dataset["ce_changed_sum"] / dataset["changed"]
    unchanged = dataset["ce_unchanged_sum"] / dataset["unchanged"]
    assert f" {dataset['class_mean_bce']:.3f} " in class_mean
    assert f"changed {changed:.3f}, unchanged {unchanged:.3f}" in class_mean
    balanced = line_of(out, "balanced, beta/image")
    assert f" {dataset['balanced_ce_mean']:.3f} " in balanced
    assert "not on BCE's scale" in balanced


def test_the_screen_shows_the_share_of_the_gradient(small: Folders) -> None:
    out = score(small.preds, small.masks).out
    error = [np.abs(p - y) for p, y in zip(small.probs, small.labels, strict=True)]
    parts = [
        (e[y == 1].sum(), e[y == 0].sum())
        for e, y in zip(error, small.labels, strict=True)
    ]
    changed, unchanged = (sum(part) for part in zip(*parts, strict=True))
    share = 100 * changed / (changed + unchanged)
    assert numbers_of(line_of(out, "BCE"))[2] == pytest.approx(share, abs=0.051)
    weights = [1 - y.mean() for y in small.labels]
    first = sum(w * part[0] for w, part in zip(weights, parts, strict=True))
    rest = sum((1 - w) * part[1] for w, part in zip(weights, parts, strict=True))
    balanced = line_of(out, "balanced, beta/image")
    assert numbers_of(balanced)[2] == pytest.approx(
        100 * first / (first + rest), abs=0.051
    )


def test_the_screen_shows_two_trivial_predictors(small: Folders) -> None:
    out = score(small.preds, small.masks).out
    y = np.concatenate([labels.ravel() for labels in small.labels])
    prior, eps = y.mean(), np.finfo(np.float64).eps
    for name, p in (("p = prior everywhere", prior), ("no change, p = eps of", eps)):
        loss1, loss0 = -math.log(p), -math.log1p(-p)
        plain = prior * loss1 + (1 - prior) * loss0
        found = re.findall(r"\d+\.\d{3}", line_of(out, name))
        assert found == [f"{plain:.3f}", f"{(loss1 + loss0) / 2:.3f}"]


@pytest.mark.parametrize("dtype", ["float16", "float32", "bfloat16", "uint8", "uint16"])
def test_no_change_is_predicted_at_the_eps_of_the_file_type(
    dtype: str, one: Folders, tmp_path: Path
) -> None:
    scale = {"uint8": 255, "uint16": 65535}.get(dtype, 1)
    tensor = torch.from_numpy(one.probs[0] * scale).to(getattr(torch, dtype))
    torch.save(tensor, tmp_path / "p.pt")
    line = line_of(score(tmp_path / "p.pt", one.masks / "0.png").out, "no change")
    assert f"eps of {dtype}:" in line
    eps = 1 / scale if scale > 1 else torch.finfo(tensor.dtype).eps
    share = one.labels[0].mean()
    bce = -share * math.log(eps) - (1 - share) * math.log1p(-eps)
    assert f"{bce:.3f}" in line


@pytest.mark.parametrize("beta", ["dataset", "0.9"])
def test_the_screen_names_beta(beta: str, small: Folders) -> None:
    out = score(small.preds, small.masks, "--beta", beta).out
    mean = scored(small.preds, small.masks, "--beta", beta).data()["dataset"]
    line = re.search(rf"^balanced, beta.{beta} .*", out, re.M)
    assert line is not None
    assert f"{mean['balanced_ce_mean']:.3f}" in line[0]


def test_the_screen_adds_image_rows_up_to_twenty(tmp_path: Path) -> None:
    for number in range(21):
        save(tmp_path / f"preds/{number}.npy", np.full((2, 3), 0.5))
        save(tmp_path / f"masks/{number}.npy", np.eye(2, 3, dtype=np.uint8))
    assert "7.npy" not in score(tmp_path / "preds", tmp_path / "masks").out
    (tmp_path / "preds/20.npy").unlink()
    (tmp_path / "masks/20.npy").unlink()
    out = score(tmp_path / "preds", tmp_path / "masks").out
    assert out.index(", pooled:") < out.index("7.npy")


def test_notes_say_what_makes_numbers_misleading(tmp_path: Path) -> None:
    y = np.array([[0, 0, 1, 1]])
    probs = [np.array([[0, 255, 0, 255]]), np.array([[0, 255, 0, 0]])]
    folders = make(tmp_path, [p.astype(np.uint8) for p in probs], [y, 0 * y])
    done = score(folders.preds, folders.masks)
    assert "predictions: hard labels" in done.err
    assert "BCE is 100 x the error rate, not a likelihood" in done.err
    assert "exactly 0 or 1 and wrong on 3 pixels: 100 each, 100.0 % of BCE" in done.err
    assert "of one class: nothing added to balanced CE with beta/image" in done.err
    assert "their mean BCE is 25.000" in done.err
    quiet = score(folders.preds, folders.masks, "--quiet")
    assert (quiet.err, quiet.out) == ("", done.out)


def test_saturated_pixels_are_never_more_than_all_of_bce(tmp_path: Path) -> None:
    y = np.array([[0, 0, 1, 1]])
    logits = np.array([[20.0, 30, -20, 40]], dtype=np.float32)
    folders = make(tmp_path, [logits], [y])
    done = score(folders.preds, folders.masks, "--kind", "logit")
    shares = [float(text) for text in re.findall(r"([\d.]+) % of BCE", done.err)]
    assert all(share <= 100 for share in shares), done.err
    fine = make(tmp_path / "fine", [logits.astype(np.float64)], [y])
    other = scored(fine.preds, fine.masks, "--kind", "logit").data()["dataset"]
    dataset = scored(folders.preds, folders.masks, "--kind", "logit").data()["dataset"]
    assert dataset["saturated_wrong"] == other["saturated_wrong"] == 0


# Files


def test_tables_are_written_beside_the_screen(small: Folders, tmp_path: Path) -> None:
    table, summary = tmp_path / "rows.csv", tmp_path / "sum.csv"
    done = score(small.preds, small.masks, "--csv", table, "--summary", summary)
    assert done.out == score(small.preds, small.masks).out
    assert table.read_text() == image_rows(small.preds, small.masks).out
    assert summary.read_text() == score(small.preds, small.masks, "--format", "csv").out
    assert {path.name for path in tmp_path.iterdir()} >= {"rows.csv", "sum.csv"}
    assert not list(tmp_path.glob(".*"))


def test_a_summary_as_json_holds_each_model(small: Folders, tmp_path: Path) -> None:
    summary = tmp_path / "sum.json"
    score(small.preds, small.masks, "--summary", summary)
    (model,) = json.loads(summary.read_text())["models"]
    data = scored(small.preds, small.masks).data()
    assert (model["dataset"], model["losses"]) == (data["dataset"], data["losses"])


def test_a_refused_run_leaves_the_old_file(small: Folders, tmp_path: Path) -> None:
    bad_pixel(1.5)(small)
    table = tmp_path / "rows.csv"
    table.write_text("old")
    assert score(small.preds, small.masks, "--csv", table).code == 1
    assert table.read_text() == "old"
    assert not list(tmp_path.glob(".*"))


def test_what_succeeded_is_written_though_some_failed(
    small: Folders, tmp_path: Path
) -> None:
    save(small.preds / "1.npy", np.full((5, 5), 0.5))
    table = tmp_path / "rows.csv"
    assert score(small.preds, small.masks, "--csv", table).code == 1
    with table.open(newline="") as file:
        assert [row["status"] for row in csv.DictReader(file)] == ["ok", "failed", "ok"]


@pytest.mark.parametrize("option", ["--csv", "--summary"])
def test_an_input_is_never_overwritten(
    option: str, small: Folders, tmp_path: Path
) -> None:
    listed = tmp_path / "list.csv"
    listed.write_text("preds/0.npy\npreds/1.npy\n")
    before = {path: path.read_bytes() for path in [listed, *small.masks.iterdir()]}
    for pred, output in (
        (f"@{listed}", listed),
        (f"m=@{listed}", listed),
        (small.preds, small.masks / "0.png"),
    ):
        done = score(pred, small.masks, option, output)
        assert done.code == 2, output
        assert (done.out, "Traceback" in done.err) == ("", False)
    assert {path: path.read_bytes() for path in before} == before


# The library


def test_the_library_gives_what_the_command_prints(small: Folders) -> None:
    found = cdstats.loss(small.preds, str(small.masks), losses=["dice"])
    rows = image_rows(small.preds, small.masks, "--loss", "dice").rows()
    frame = found.image_frame()
    assert list(frame.columns) == list(rows[0])
    assert [str(value) for value in frame["bce_sum"]] == [r["bce_sum"] for r in rows]
    assert found.frame()["images"].tolist() == [3]
    assert (found.failed, found.has_valid, found.device) == (0, True, "cpu")


# Explanations


def squeezed(text: str) -> str:
    return "".join(text.split())


@pytest.mark.parametrize("name", CATALOGUE)
def test_every_loss_is_explained(name: str) -> None:
    done = cdstats_command("explain", name)
    entry = CATALOGUE[name]
    assert (done.code, done.err) == (0, "")
    for text in (name, entry.title, entry.formula, entry.source, entry.pitfalls):
        assert text
        assert squeezed(text) in squeezed(
            re.sub(r"^.*?  +", "", done.out, flags=re.M)
        ) or (text == name)
    for parameter in entry.parameters:
        line = line_of(done.out, f"{parameter.name} ")
        assert parameter.meaning.split()[0] in line
    assert max(len(line.rstrip()) for line in done.out.splitlines()) <= 100


def test_the_list_of_losses_holds_all_and_what_is_none() -> None:
    done = cdstats_command("explain")
    assert (done.code, done.err) == (0, "")
    words = {line.split()[0] for line in done.out.splitlines() if line.strip()}
    assert words >= CATALOGUE.keys() | NOT_SCORES.keys()
    assert "Not a score of saved predictions:" in done.out


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("dise", "Did you mean dice"),
        ("cmssl", "cmssl is not a score of saved predictions"),
    ],
)
def test_what_cannot_be_explained_is_wrong_usage(name: str, words: str) -> None:
    done = cdstats_command("explain", name)
    assert (done.code, done.out) == (2, "")
    assert words in done.err


# What a second look found


@pytest.mark.parametrize("kind", ["csv", "jsonl", "markdown", "latex"])
def test_every_table_of_models_carries_the_losses_asked_for(
    kind: str, small: Folders
) -> None:
    further = ["--loss", "dice", "--loss", "focal:gamma=1,alpha=none"]
    data = scored(small.preds, small.masks, *further)
    done = score(small.preds, small.masks, *further, "--format", kind)
    assert done.code == 0
    numbers = data.entry("dice")["pooled"], data.entry("focal")["mean"]
    precise = kind in ("csv", "jsonl")
    for number in numbers:
        assert (repr(number) if precise else f"{number:.3f}") in done.out
    assert "losses" not in done.out


def test_columns_of_losses_are_chosen_by_name_and_checked_early(
    small: Folders,
) -> None:
    asked = ["--loss", "dice:smooth=0", "--format", "csv", "--columns"]
    done = score(
        small.preds, small.masks, *asked, "dice[smooth=0]_pooled,model", "--quiet"
    )
    assert done.out.splitlines()[0] == "dice[smooth=0]_pooled,model"
    wrong = score("nowhere", "nowhere", *asked, "dice[smooth=1]_pooled")
    assert (wrong.code, wrong.out) == (2, "")
    assert "no column 'dice[smooth=1]_pooled'" in wrong.err


def test_only_a_model_whose_predictions_are_labels_is_called_so(
    small: Folders, tmp_path: Path
) -> None:
    hard = make(tmp_path / "hard", [p >= 0.5 for p in small.probs], small.labels)
    models = ["--pred", f"soft={small.preds}", "--pred", f"hard={hard.preds}"]
    done = loss(*models, "--target", small.masks)
    notes = [line for line in done.err.splitlines() if "error rate" in line]
    assert len(notes) == 1
    assert notes[0].startswith("note: hard: every p is 0 or 1")
    assert "note: predictions of soft: probabilities (float64)" in done.err


def test_a_pair_that_fails_is_not_in_the_prior_of_a_loss(
    small: Folders, tmp_path: Path
) -> None:
    further = ["--loss", "logit_adjusted_ce", "--kind", "prob"]
    good = scored(small.preds, small.masks, *further).entry("logit_adjusted_ce")
    bad = np.full((12, 10), np.nan)
    both = make(tmp_path, [*small.probs, bad], [*small.labels, np.ones((12, 10))])
    found = scored(both.preds, both.masks, *further).entry("logit_adjusted_ce")
    assert found["mean"] == good["mean"]
    assert found["per_image_sum"] == [*good["per_image_sum"], None]


def test_nodata_of_a_prediction_is_no_score(tmp_path: Path) -> None:
    probs = np.full((4, 4), 0.5, dtype=np.float32)
    probs[0, :3] = -9999
    profile = {"driver": "GTiff", "width": 4, "height": 4, "count": 1}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        with rasterio.open(
            tmp_path / "p.tif", "w", dtype="float32", nodata=-9999, **profile
        ) as file:
            file.write(probs, 1)
    labels = np.zeros((4, 4), dtype=np.uint8)
    labels[2:] = 255
    mask = save(tmp_path / "t.png", labels)
    done = image_rows(tmp_path / "p.tif", mask)
    (row,) = done.rows()
    assert row["reason"].startswith("has no score at 3 valid pixels: ")
    assert "declared nodata. --pred-nodata ignore leaves them out" in row["reason"]


def test_what_a_saved_run_lacks_is_said(small: Folders, tmp_path: Path) -> None:
    table = tmp_path / "rows.csv"
    score(small.preds, small.masks, "--loss", "lovasz_softmax", "--csv", table)
    done = loss("--from", table, "--loss", "lovasz_softmax")
    assert "means over images alone; pooled values need pixels" in done.err
    assert "p = prior everywhere" in done.out


@pytest.mark.parametrize(
    ("column", "value", "words"),
    [
        ("status", "weird", "the status is 'weird'"),
        ("changed", "-5", "changed is -5"),
        ("ce_changed_sum", "", "has no ce_changed_sum"),
        ("false_sum", "nan", "false_sum is nan"),
    ],
)
def test_a_row_that_no_run_wrote_is_refused(
    column: str, value: str, words: str, saved: Path
) -> None:
    rows = list(csv.DictReader(io.StringIO(saved.read_text())))
    rows[0][column] = value
    text = io.StringIO()
    writer = csv.DictWriter(text, rows[0].keys(), lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    saved.write_text(text.getvalue())
    done = loss("--from", saved)
    assert (done.code, done.out) == (1, "")
    assert words in done.err


@pytest.mark.skipif(os.name != "posix", reason="closes a stream by the shell")
def test_a_closed_standard_error_costs_no_result(small: Folders) -> None:
    command = [sys.executable, "-m", "cdstats", "loss", "--format", "json"]
    command += ["--pred", str(small.preds), "--target", str(small.masks)]
    done = subprocess.run(
        ["sh", "-c", 'exec "$@" 2>&-', "sh", *command],
        capture_output=True,
        check=False,
        cwd=ROOT,
    )
    assert done.returncode == 0
    assert json.loads(done.stdout)["dataset"]["changed"] > 0
