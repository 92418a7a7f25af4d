"""`cdstats loss` and `cdstats explain` as a contract: numbers, columns, exit codes."""

from __future__ import annotations

import json
import math
import os
import re
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import numpy as np
import pytest
import torch
import torch.nn.functional as F  # noqa: N812
from helpers import Done, run, save
from PIL import Image

import cdstats
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
    *("uncovered", "ece", "calibration_sums", "labels", "words", "threshold_from"),
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
BASIC = ["bce", "balanced_ce", "class_mean_bce"]


def entry_of(done: Done, name: str) -> dict[str, Any]:
    """The entry of a loss among those of a run."""
    (found,) = [one for one in done.data()["losses"] if one["loss"] == name]
    return cast("dict[str, Any]", found)


def loss(*arguments: str | Path) -> Done:
    return run("loss", *arguments)


def score(pred: str | Path, target: str | Path, *options: str | Path) -> Done:
    return loss("--pred", pred, "--target", target, *options)


def scored(pred: str | Path, target: str | Path, *options: str | Path) -> Done:
    return score(pred, target, "--format", "json", *options)


def image_rows(pred: str | Path, target: str | Path, *options: str | Path) -> Done:
    return score(pred, target, "--by", "image", "--format", "csv", *options)


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


def test_further_losses_are_columns_at_the_end(small: Folders, tmp_path: Path) -> None:
    further = ["--loss", "dice:smooth=0", "--loss", "focal", "--loss", "brier"]
    expected = ["dice[smooth=0]", "focal[alpha=0.25,gamma=2]_sum", "brier_sum"]
    done = image_rows(small.preds, small.masks, *further)
    (row, *_) = done.rows()
    assert list(row) == [*IMAGE_COLUMNS, *expected]
    table = tmp_path / "rows.csv"
    data = scored(small.preds, small.masks, *further, "--csv", table)
    assert table.read_text() == done.out
    sums = [float(row[expected[1]]) for row in done.rows()]
    assert sums == entry_of(data, "focal")["per_image_sum"]
    assert [list(row) for row in data.data()["images"]] == [list(row)] * 3


def test_json_has_the_keys_of_the_contract(small: Folders) -> None:
    data = scored(small.preds, small.masks, "--loss", "brier").data()
    keys = ["schema_version", "device", "images", "dataset", "losses"]
    assert list(data) == keys
    assert set(DATASET_NAMES) <= data["dataset"].keys()
    assert [entry["loss"] for entry in data["losses"]] == [*BASIC, "brier"]
    assert list(data["losses"][2]) == ["loss", "params", "per_image", "pooled"]


# What the rows hold


@pytest.mark.parametrize("kind", ["table", "csv", "json"])
def test_undefined_is_never_a_number(kind: str, tmp_path: Path) -> None:
    nothing = np.zeros((4, 4))
    folders = make(tmp_path, [nothing], [nothing])
    rule = ["--changed", "255", "--unchanged", "0", "--loss", "dice:smooth=0"]
    for by in ([], ["--by", "image"]):
        done = score(folders.preds, folders.masks, *rule, "--format", kind, *by)
        assert done.code == 0
        assert not re.search(r"\b(nan|inf|None|NaN|Infinity)\b", done.out)
        assert not re.search(r"-0(\.0+)?\b", done.out)


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


@pytest.mark.parametrize("mode", ["1", "P", "LA", "RGB", "RGBA"])
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
@pytest.mark.parametrize("suffix", [".npy", ".pt", ".tif"])
def test_a_prediction_may_have_any_of_the_shapes(
    shape: Callable[[Array], Array], suffix: str, one: Folders, tmp_path: Path
) -> None:
    array = shape(one.probs[0]).copy()
    if suffix == ".tif" and (array.ndim > 3 or array.shape[-1] == 2):
        pytest.skip("bands come first")
    stored = save(tmp_path / f"p{suffix}", array)
    found = sums_of(scored(stored, one.masks / "0.png"))
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


@pytest.mark.parametrize(
    "store",
    [
        pytest.param(lambda p: np.stack([1 - p, p + 0.1]), id="floats"),
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
    for other in (torch.float8_e4m3fn, torch.complex64):
        torch.save(torch.ones(6, 5).to(other), tmp_path / "p.pt")
        done = image_rows(tmp_path / "p.pt", one.masks / "0.png")
        assert done.code in (0, 1)
        assert done.code == 0 or "p.pt" in done.err


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
    save(tmp_path / "p.tif", p, **tiles, compress="deflate")
    plain = save(tmp_path / "p.npy", p)
    further = ["--loss", "boundary", "--loss", "lovasz_softmax"]
    found = scored(tmp_path / "p.tif", mask, *further)
    expected = scored(plain, mask, *further)
    assert found.code == 0
    for name in ("boundary", "lovasz_softmax", "bce"):
        for key, value in entry_of(expected, name).items():
            if key not in ("loss", "params"):
                assert_close(entry_of(found, name)[key], value, 1e-12, f"{name} {key}")


# Masks


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


# Several models


def test_models_have_the_scores_that_they_have_alone(
    small: Folders, tmp_path: Path
) -> None:
    other = make(tmp_path / "b", [p**2 for p in small.probs], small.labels)
    table = tmp_path / "rows.csv"
    further = ["--loss", "lovasz_softmax", "--loss", "top_k_ce", "--loss", "boundary"]
    named = ["--pred", f"b={small.preds}", "--pred", f"a={other.preds}"]
    named += ["--target", str(small.masks), "--csv", str(table), "--format", "json"]
    data = loss(*named, *further).data()
    assert [model["model"] for model in data["models"]] == ["b", "a"]
    assert (data["dataset"], data["losses"]) == (
        data["models"][0]["dataset"],
        data["models"][0]["losses"],
    )
    for model, folder in zip(data["models"], (small.preds, other.preds), strict=True):
        alone = scored(folder, small.masks, *further).data()
        assert model["dataset"] | {"model": ""} == alone["dataset"]
        assert model["losses"] == alone["losses"]
    saved = loss("--from", table, "--format", "json").data()["models"]
    for one, model in zip(saved, data["models"], strict=True):
        assert (one["model"], one["losses"]) == (model["model"], model["losses"][:3])


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
    assert "--from reads rows of an earlier run" in done.err
    assert f"omit {option[0]}\n" in done.err


# Exit codes


@pytest.mark.parametrize(
    "options",
    [
        pytest.param(["--device", "tpu"], id="unknown device"),
        pytest.param(["--device", "cuda:x"], id="no number"),
        pytest.param(["--device", "cpu:1"], id="numbered processor"),
        pytest.param(["--loss", "nothing"], id="loss"),
        pytest.param(["--loss", "lovasz_hinge"], id="loss of logits"),
        pytest.param(["--columns", "nothing_sum"], id="column"),
        pytest.param(["--beta", "2"], id="beta"),
        pytest.param(["--beta", "nan"], id="beta that is no number"),
        pytest.param(["--threshold", "1.1"], id="threshold"),
        pytest.param(["--preset", "nothing"], id="preset"),
        pytest.param(["--changed", "1"], id="half a rule"),
        pytest.param(["--kind", "odds"], id="kind"),
        pytest.param(["--batch-size", "0"], id="batch size"),
        pytest.param(["--batch-size", "many"], id="no batch size"),
        pytest.param(["--summary", "x.txt"], id="summary"),
        pytest.param(["--csv", "nowhere/x.csv"], id="folder of the table"),
        pytest.param(["--format", "xml"], id="format"),
    ],
)
def test_wrong_usage_is_told_before_a_file_is_read(options: list[str]) -> None:
    done = score("nowhere.npy", "nowhere.png", *options)
    assert (done.code, done.out) == (2, "")
    assert "nowhere.npy" not in done.err
    assert done.err


@pytest.mark.parametrize("name", ["cuda", "cuda:0", "cuda:99", "mps"])
def test_a_device_that_is_missing_is_told_before_a_file_is_read(name: str) -> None:
    there = torch.cuda.device_count() if name.startswith("cuda") else 0
    if torch.backends.mps.is_available() or name in ("cuda", "cuda:0")[: 2 * there]:
        pytest.skip(f"this machine has {name}")
    done = score("nowhere.npy", "nowhere.png", "--device", name)
    assert (done.code, done.out) == (2, "")
    assert f"--device {name}: device not found" in done.err


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


def test_the_screen_fits_80_columns_with_every_loss(small: Folders) -> None:
    done = score(small.preds, small.masks, "--loss", "all")
    assert max(len(line.rstrip()) for line in done.out.splitlines()) <= 80


def line_of(out: str, start: str) -> str:
    (line,) = [line for line in out.splitlines() if line.strip().startswith(start)]
    return line


def test_notes_say_what_makes_numbers_misleading(tmp_path: Path) -> None:
    y = np.array([[0, 0, 1, 1]])
    probs = [np.array([[0, 255, 0, 255]]), np.array([[0, 255, 0, 0]])]
    folders = make(tmp_path, [p.astype(np.uint8) for p in probs], [y, 0 * y])
    done = score(folders.preds, folders.masks)
    assert "predictions: hard labels" in done.err
    assert "so BCE is 100 × the error rate" in done.err
    assert "exactly 0 or 1 and wrong on 3 pixels: 100 each, 100.0 % of BCE" in done.err
    assert "of one class: nothing added to balanced CE with beta/image" in done.err
    assert "their mean BCE is 25.000" in done.err
    quiet = score(folders.preds, folders.masks, "--quiet")
    assert (quiet.err, quiet.out) == ("", done.out)


# Files


def test_tables_are_written_beside_the_screen(small: Folders, tmp_path: Path) -> None:
    table, summary = tmp_path / "rows.csv", tmp_path / "sum.csv"
    done = score(small.preds, small.masks, "--csv", table, "--summary", summary)
    assert done.out == score(small.preds, small.masks).out
    assert table.read_text() == image_rows(small.preds, small.masks).out
    assert summary.read_text() == score(small.preds, small.masks, "--format", "csv").out
    assert {path.name for path in tmp_path.iterdir()} >= {"rows.csv", "sum.csv"}
    assert not list(tmp_path.glob(".*"))


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
    done = run("explain", name)
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
    done = run("explain")
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
    done = run("explain", name)
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
    numbers = entry_of(data, "dice")["pooled"], entry_of(data, "focal")["mean"]
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
    assert notes[0].startswith("note: hard: predictions are labels")
    assert "note: predictions of soft: probabilities (float64)" in done.err


def test_a_pair_that_fails_is_not_in_the_prior_of_a_loss(
    small: Folders, tmp_path: Path
) -> None:
    further = ["--loss", "logit_adjusted_ce", "--kind", "prob"]
    good = entry_of(scored(small.preds, small.masks, *further), "logit_adjusted_ce")
    bad = np.full((12, 10), np.nan)
    both = make(tmp_path, [*small.probs, bad], [*small.labels, np.ones((12, 10))])
    found = entry_of(scored(both.preds, both.masks, *further), "logit_adjusted_ce")
    assert found["mean"] == good["mean"]
    assert found["per_image_sum"] == [*good["per_image_sum"], None]


def test_what_a_saved_run_lacks_is_said(small: Folders, tmp_path: Path) -> None:
    table = tmp_path / "rows.csv"
    score(small.preds, small.masks, "--loss", "lovasz_softmax", "--csv", table)
    done = loss("--from", table, "--loss", "lovasz_softmax")
    assert "only means over images; pooled values need pixels" in done.err
    assert "p = prior everywhere" in done.out


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


def test_when_every_pair_fails_that_is_the_first_error(tmp_path: Path) -> None:
    for number in range(2):
        save(tmp_path / f"m/{number}.png", np.eye(8, dtype=np.uint8) * 255)
        save(tmp_path / f"p/{number}.npy", np.full((7, 8), 0.5))
    done = run("loss", "--pred", tmp_path / "p", "--target", tmp_path / "m")
    assert done.code == 1
    errors = done.err.splitlines()
    assert errors[0] == "error: 2 of 2 images could not be scored; reasons below"
    assert len(errors) == 3
    assert "predictions: none scored" in done.out
