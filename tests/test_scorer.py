"""From stored numbers to the sums of each prediction: counts, kinds, batches."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import cdstats
from cdstats.core.catalogue import choose, parse_loss
from cdstats.core.errors import DataError
from cdstats.core.options import LossOptions
from cdstats.core.pixel_terms import Term
from cdstats.core.score_records import Place
from cdstats.core.sums import PLAIN, ImageSums
from cdstats.score import device_batches
from cdstats.score.batching import Accumulated, TileBatches
from cdstats.score.choices import Needs, choose_predictions
from cdstats.score.device_batches import DeviceBatches
from cdstats.score.distances import position_sums
from cdstats.score.kernel import SUMS, TILE
from cdstats.score.kernel.tensors import tensor_sums
from cdstats.score.levels import count_stored, probs_of
from cdstats.score.scenes import Loaded
from cdstats.score.scorer import PredictionState, Scorer
from cdstats.score.verdict import Verdict

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from numpy.typing import NDArray
    from torch import Tensor

    from cdstats.core.histogram import LevelCounts
    from cdstats.score.kernel import TileSums
    from cdstats.score.results import LossRun

    Array = NDArray[Any]
    Case = dict[str, Any]

CPU = "cpu"
FOUND_OUT = choose_predictions(LossOptions())
MASK = np.array([[1, 0, 1, 0], [1, 0, 255, 255]], dtype=np.uint8)


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    """Threads that wait for each other are slow where other work takes the cores."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


# Counts of stored values


def plain_counts(values: Array, labels: Array) -> dict[float, tuple[int, int]]:
    """Changed and unchanged pixels of each value, counted one by one."""
    found: dict[float, tuple[int, int]] = {}
    for value, label in zip(values.ravel().tolist(), labels.ravel(), strict=True):
        if label == 255:
            continue
        changed, unchanged = found.get(value, (0, 0))
        found[value] = (changed + int(label == 1), unchanged + int(label == 0))
    return found


def as_dict(stored: LevelCounts) -> dict[float, tuple[int, int]]:
    columns = (stored.values, stored.changed, stored.unchanged)
    rows = zip(*(column.tolist() for column in columns), strict=True)
    return {value: (changed, unchanged) for value, changed, unchanged in rows}


STORED = {
    "uint8": (0, 256),
    "uint16": (0, 65536),
    "bool": (0, 2),
    "int64": (-5, 70_000),
    "int8": (-128, 128),
    "float16": (0, 65),
}


def random_stored(name: str, seed: int, size: tuple[int, int]) -> tuple[Array, Array]:
    random = np.random.default_rng(seed)
    values: Array = random.integers(*STORED[name], size)
    values = values / 64 if name == "float16" else values
    labels = random.choice([0, 1, 255], size, p=[0.6, 0.3, 0.1])
    return values.astype(name), labels.astype(np.uint8)


@settings(derandomize=True)
@given(
    name=st.sampled_from(sorted(STORED)),
    seed=st.integers(0, 20),
    cut=st.integers(0, 40),
    turned=st.booleans(),
)
def test_stored_values_are_counted_by_label_in_any_layout_and_in_parts(
    name: str, seed: int, cut: int, turned: bool
) -> None:
    values, labels = random_stored(name, seed, (40, 22))
    if turned:
        values, labels = values[::2].T, np.ascontiguousarray(labels[::2].T)
    whole = count_stored(values, labels)
    assert as_dict(whole) == plain_counts(values, labels)
    assert whole.values.tolist() == sorted(whole.values.tolist())
    assert (whole.changed + whole.unchanged > 0).all()
    upper = count_stored(values[:cut], labels[:cut])
    lower = count_stored(values[cut:], labels[cut:])
    for added in (upper + lower, lower + upper):
        assert as_dict(added) == as_dict(whole)
        assert added.values.dtype == whole.values.dtype


def test_bytes_are_counted_exactly_beyond_one_chunk() -> None:
    values, labels = random_stored("uint8", 9, (1 << 10, 1 << 10))
    found = count_stored(values, labels)
    for row, label in ((found.changed, 1), (found.unchanged, 0)):
        expected = np.bincount(values[labels == label], minlength=256)
        assert row.tolist() == expected.tolist()


def test_negative_zero_is_zero_and_nothing_under_ignored_pixels_is_counted() -> None:
    values = np.array([-0.0, 0.0, 0.5, np.nan, np.inf], dtype=np.float16)
    found = count_stored(values, np.array([1, 0, 1, 255, 255], dtype=np.uint8))
    assert as_dict(found) == {0.0: (1, 1), 0.5: (1, 0)}


# What predictions are: the whole of `--kind`


def run(
    folder: Path, *predictions: Array, mask: Array = MASK, **options: Any
) -> LossRun:
    """Score arrays, each against the same mask."""
    for number, prediction in enumerate(predictions):
        for side, array in (("preds", prediction), ("masks", mask)):
            (folder / side).mkdir(exist_ok=True)
            np.save(folder / side / f"{number}.npy", array)
    rule: dict[str, Any] = {"changed": "1", "unchanged": "0", "ignore": "255"}
    return cdstats.loss(folder / "preds", str(folder / "masks"), **rule, **options)


def kind_of(found: LossRun) -> str:
    (text,) = [
        message.text.removeprefix("predictions: ")
        for message in found.messages
        if message.text.startswith("predictions: ")
    ]
    return text


def spread(values: Sequence[float], dtype: str) -> Array:
    """A prediction of 2 x 4 pixels that repeats some values on valid pixels."""
    return np.resize(np.array(values, dtype=dtype), (2, 4))


def expected_sum(values: Sequence[float]) -> float:
    return math.fsum(np.resize(np.array(values), 8)[:6].tolist())


DECIDED = [
    pytest.param("bool", [0, 1], [0, 1], True, id="bool"),
    pytest.param("uint8", [0, 1], [0, 1], True, id="bytes 0 and 1"),
    pytest.param("uint8", [0, 255], [0, 1], True, id="bytes 0 and 255"),
    pytest.param("uint8", [0], [0], True, id="bytes 0 alone"),
    pytest.param("uint8", [1], [1], True, id="bytes 1 alone"),
    pytest.param("uint8", [255], [1], True, id="bytes 255 alone"),
    pytest.param("int64", [0, 1], [0, 1], True, id="argmax"),
    pytest.param("int64", [0], [0], True, id="argmax without change"),
    pytest.param("int32", [0, 255], [0, 1], True, id="int32 0 and 255"),
    pytest.param("uint16", [0, 1], [0, 1], True, id="uint16 0 and 1"),
    pytest.param("uint8", [0, 51, 255], [0, 0.2, 1], False, id="scaled bytes"),
    pytest.param("uint8", [51, 204], [0.2, 0.8], False, id="two scaled bytes"),
    pytest.param("uint8", [0, 129], [0, 129 / 255], False, id="above the half"),
    pytest.param("uint16", [0, 52428], [0, 0.8], False, id="scaled uint16"),
    pytest.param("float16", [0, 0.25], [0, 0.25], False, id="float16"),
    pytest.param("float32", [0, 0.25, 1], [0, 0.25, 1], False, id="float32"),
    pytest.param("float64", [0, 1], [0, 1], False, id="float64 0 and 1"),
]


@pytest.mark.parametrize(("dtype", "stored", "probs", "hard"), DECIDED)
def test_the_kind_follows_from_type_and_values(
    dtype: str, stored: list[float], probs: list[float], hard: bool, tmp_path: Path
) -> None:
    found = run(tmp_path, spread(stored, dtype))
    (row,) = found.images
    assert (row.status, row.reason) == ("ok", "")
    assert row.prob_sum == pytest.approx(expected_sum(probs), rel=1e-15)
    assert found.any_hard is (set(probs) <= {0, 1})
    assert ("hard" in kind_of(found)) is hard
    assert ("probabilities" in kind_of(found)) is not hard


REFUSED = [
    pytest.param("uint8", [0, 101], "only 0, 101;", id="below the half"),
    pytest.param("uint16", [0, 13107], "only 0, 13107;", id="low two of uint16"),
    pytest.param("uint16", [0, 7000], 'pred_changed="7000"', id="two of uint16"),
    pytest.param(
        "uint8",
        [0, 2],
        'pred_changed="2", pred_unchanged="0"',
        id="bytes 0 and 2",
    ),
    pytest.param("int64", [0, 128, 255], "0 and 255", id="bytes as int64"),
    pytest.param("float16", [0.5, 1.5], "1 of 1 .*scale=N", id="float16 above 1"),
]


@pytest.mark.parametrize(("dtype", "stored", "words"), REFUSED)
def test_what_may_be_no_probability_refuses_the_run(
    dtype: str, stored: list[float], words: str, tmp_path: Path
) -> None:
    with pytest.raises(DataError, match=words):
        run(tmp_path, spread(stored, dtype))


def test_files_outside_the_range_are_counted_among_all_types(tmp_path: Path) -> None:
    types = ["float16", "float32", "float64"]
    with pytest.raises(DataError, match=r"1 of 3 .*exceeds \[0, 1\]"):
        run(tmp_path, *[spread([0.25, 1.5 * (t == "float32")], t) for t in types])


@pytest.mark.parametrize("other", [[0], [255], [1], [1, 255], [90]])
def test_bytes_of_few_values_follow_the_other_files(
    other: list[int], tmp_path: Path
) -> None:
    found = run(tmp_path, spread(other, "uint8"), spread([0, 17, 204], "uint8"))
    expected = [
        expected_sum([v / 255 for v in values]) for values in (other, [0, 17, 204])
    ]
    assert [row.prob_sum for row in found.images] == pytest.approx(expected, rel=1e-15)
    assert not found.any_hard


@pytest.mark.parametrize("stored", [[0, 255], [0, 1]], ids=str)
def test_an_empty_prediction_is_hard_beside_hard_ones(
    stored: list[int], tmp_path: Path
) -> None:
    found = run(tmp_path, spread([0], "uint8"), spread(stored, "uint8"))
    assert [row.prob_sum for row in found.images] == [0, 3]
    assert kind_of(found).startswith("hard labels")
    assert "probabilities" not in kind_of(found)


def test_booleans_stay_labels_beside_scaled_bytes(tmp_path: Path) -> None:
    found = run(tmp_path, spread([0, 1], "bool"), spread([0, 51, 255], "uint8"))
    sums = [row.prob_sum for row in found.images]
    assert sums == pytest.approx([3, expected_sum([0, 0.2, 1])])


def test_integers_and_floats_may_stand_side_by_side(tmp_path: Path) -> None:
    found = run(tmp_path, spread([0, 255], "uint8"), spread([0, 0.5], "float32"))
    assert [row.prob_sum for row in found.images] == [3, 1.5]
    assert "probabilities" in kind_of(found)
    assert "hard labels" in kind_of(found)


def test_values_under_ignored_pixels_decide_nothing(tmp_path: Path) -> None:
    stored = spread([0, 255], "uint8")
    stored[1, 2:] = 17
    found = run(tmp_path, stored)
    assert found.images[0].prob_sum == 3
    wild = spread([0.25, 0.5], "float64")
    wild[1, 2:] = [np.nan, 7]
    assert run(tmp_path, wild).images[0].prob_sum == expected_sum([0.25, 0.5])


# What the user says


@pytest.mark.parametrize(
    ("dtype", "stored", "probs"),
    [
        pytest.param("uint8", [0, 37, 100], [0, 37 / 255, 100 / 255], id="low bytes"),
        pytest.param("uint8", [0, 1], [0, 1 / 255], id="bytes 0 and 1"),
        pytest.param("uint8", [0, 255], [0, 1], id="bytes 0 and 255"),
        pytest.param("uint16", [0, 65535], [0, 1], id="uint16"),
        pytest.param("float16", [0.25, 1], [0.25, 1], id="float16"),
        pytest.param("float64", [0.25, 1], [0.25, 1], id="float64"),
    ],
)
def test_probabilities_may_be_named(
    dtype: str, stored: list[float], probs: list[float], tmp_path: Path
) -> None:
    found = run(tmp_path, spread(stored, dtype), kind="prob")
    assert found.images[0].prob_sum == pytest.approx(expected_sum(probs), rel=1e-15)


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64"])
def test_a_named_probability_outside_the_range_fails_its_row(
    dtype: str, tmp_path: Path
) -> None:
    good, bad = spread([0.25, 0.75], dtype), spread([0.25, -3], dtype)
    found = run(tmp_path, good, bad, kind="prob")
    assert [row.status for row in found.images] == ["ok", "failed"]
    assert "outside [0, 1] on 3 valid pixels" in found.images[1].reason


@pytest.mark.parametrize("dtype", ["bool", "uint8", "int64", "float16", "float32"])
def test_hard_predictions_may_be_named(dtype: str, tmp_path: Path) -> None:
    found = run(tmp_path, spread([0, 1], dtype), kind="hard")
    assert found.images[0].prob_sum == 3
    assert found.any_hard
    assert (found.images[0].tp, found.images[0].tn) == (0, 0)


@pytest.mark.parametrize(
    ("dtype", "stored"),
    [
        pytest.param("uint8", [0, 128, 255], id="uint8"),
        pytest.param("uint16", [0, 65535], id="uint16"),
        pytest.param("int64", [0, 1, 2], id="int64"),
        pytest.param("float16", [0, 0.5, 1], id="float16"),
        pytest.param("float32", [0, 0.5, 1], id="float32"),
        pytest.param("float64", [0, 0.5, 1], id="float64"),
        pytest.param("float64", [1e-20, 1], id="float64 near 0"),
    ],
)
def test_hard_predictions_hold_two_values(
    dtype: str, stored: list[float], tmp_path: Path
) -> None:
    try:
        found = run(tmp_path, spread(stored, dtype), kind="hard")
    except DataError as error:
        assert "hard" in str(error)  # noqa: PT017 - either form of refusal will do
        return
    (row,) = found.images
    assert row.status == "failed"
    assert "hard" in row.reason


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64"])
def test_logits_go_through_the_sigmoid(dtype: str, tmp_path: Path) -> None:
    stored = [-3.0, 0.5, 4.0]
    found = run(tmp_path, spread(stored, dtype), kind="logit")
    probs = [1 / (1 + math.exp(-z)) for z in stored]
    rel = 1e-12 if dtype == "float64" else 1e-6
    assert found.images[0].prob_sum == pytest.approx(expected_sum(probs), rel=rel)
    assert f"logits ({dtype})" in kind_of(found)


@pytest.mark.parametrize("dtype", ["bool", "uint8", "int64"])
def test_integers_are_no_logits(dtype: str, tmp_path: Path) -> None:
    (row,) = run(tmp_path, spread([0, 1], dtype), kind="logit").images
    assert row.status == "failed"
    assert "expected floating-point logits" in row.reason


# Beside soft targets


@pytest.mark.parametrize(
    ("dtype", "stored", "probs"),
    [pytest.param(*one.values[:3], id=one.id) for one in DECIDED],
)
def test_the_kind_is_the_same_beside_soft_targets(
    dtype: str, stored: list[float], probs: list[float], tmp_path: Path
) -> None:
    np.save(tmp_path / "p.npy", spread(stored, dtype)[:, :3])
    np.save(tmp_path / "t.npy", np.full((2, 3), 0.25))
    found = cdstats.loss(tmp_path / "p.npy", str(tmp_path / "t.npy"))
    (row,) = found.images
    assert (row.status, row.reason) == ("ok", "")
    expected = spread(probs, "float64")[:, :3].sum()
    assert row.prob_sum == pytest.approx(expected, rel=1e-7)


# Bad pixels


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf], ids=str)
@pytest.mark.parametrize("kind", [None, "prob", "logit", "hard"])
@pytest.mark.parametrize("dtype", ["float16", "float32", "float64"])
def test_a_score_that_is_no_number_fails_its_row_alone(
    dtype: str, kind: str | None, bad: float, tmp_path: Path
) -> None:
    good, wrong = spread([0, 1], dtype), spread([0, 1], dtype)
    wrong[0, :2] = bad
    found = run(tmp_path, good, wrong, kind=kind)
    assert [row.status for row in found.images] == ["ok", "failed"]
    assert "NaN or infinite on 2 valid pixels" in found.images[1].reason


@pytest.mark.parametrize("dtype", ["uint8", "bool", "int64", "float16", "float64"])
def test_a_prediction_without_a_valid_pixel_is_undefined(
    dtype: str, tmp_path: Path
) -> None:
    nothing = np.full_like(MASK, 255)
    found = run(tmp_path, spread([0, 1], dtype), mask=nothing)
    (row,) = found.images
    assert (row.status, row.ignored, row.changed) == ("ok", 8, 0)
    assert (row.bce_sum, row.bce_mean, row.f1) == (None, None, None)
    assert not found.has_valid


# Whole images and levels


def blocks(
    number: int, scores: Array, labels: Array, cut: int | None = None
) -> list[Loaded]:
    """The blocks of one prediction, cut after some rows."""
    height, width = scores.shape
    parts = [slice(0, cut), slice(cut, height)] if cut else [slice(0, height)]
    place, size = Place(f"{number}.npy", f"{number}.png"), (width, height)
    return [
        Loaded(
            number,
            number,
            place,
            size,
            scores[rows],
            labels[rows],
            (rows.start, 0),
            scores.dtype.name,
        )
        for rows in parts
    ]


def scored(
    pairs: Sequence[tuple[Array, Array]],
    *names: str,
    kind: str | None = None,
    cut: int | None = None,
) -> tuple[Verdict, list[PredictionState]]:
    needs = Needs.of(map(parse_loss, names), None)
    choice = choose_predictions(LossOptions(kind=kind))
    scorer = Scorer(needs, CPU, choice, None)
    for number, (scores, labels) in enumerate(pairs):
        for block in blocks(number, scores, labels, cut):
            scorer.add(block)
        scorer.finish(number)
    verdict = Verdict(scorer.outcome(), needs, choice)
    return verdict, verdict.results()


def random_pair(dtype: str, seed: int) -> tuple[Array, Array]:
    random = np.random.default_rng(seed)
    probs = random.random((60, 45))
    scales = {"uint8": 255, "uint16": 65535}
    stored = (probs * scales.get(dtype, 1)).astype(dtype)
    labels = random.choice([0, 1, 255], (60, 45), p=[0.6, 0.3, 0.1])
    return stored, labels.astype(np.uint8)


EVERY_WAY = ("lovasz_softmax", "focal", "boundary", "hausdorff_dt", "top_k_ce")


def sums_of(one: PredictionState) -> ImageSums:
    assert one.sums is not None, one.reason
    return one.sums


def assert_same(first: ImageSums, second: ImageSums, rel: float) -> None:
    for name in ("valid", "changed", "ignored", "tp", "fp", "fn", "tn"):
        assert getattr(first, name) == getattr(second, name), name
    assert first.saturated_wrong == second.saturated_wrong
    for name in PLAIN:
        pair = getattr(first, name), getattr(second, name)
        assert pair[0] == pytest.approx(pair[1], rel=rel), name
    # What bins hold above and below the labels nearly cancels.
    near = pytest.approx(second.calibration, rel=rel, abs=rel * (first.valid + 1))
    assert first.calibration == near
    assert first.terms.keys() == second.terms.keys()
    for term, sums in first.terms.items():
        assert sums == pytest.approx(second.terms[term], rel=rel), term


@pytest.mark.parametrize("dtype", ["uint8", "uint16", "float16", "float32", "float64"])
@pytest.mark.parametrize("cut", [1, 30, 59])
def test_the_result_does_not_depend_on_how_an_image_is_cut(
    dtype: str, cut: int
) -> None:
    pair = random_pair(dtype, 1)
    _, (whole,) = scored([pair], *EVERY_WAY)
    _, (parts,) = scored([pair], *EVERY_WAY, cut=cut)
    assert_same(sums_of(whole), sums_of(parts), rel=1e-12)
    assert whole.values == pytest.approx(parts.values, rel=1e-12)


@pytest.mark.parametrize("dtype", ["uint8", "uint16", "float16", "float32"])
def test_stored_levels_give_the_sums_of_the_same_float64_map(dtype: str) -> None:
    stored, labels = random_pair(dtype, 2)
    scale = {"uint8": 255, "uint16": 65535}.get(dtype, 1)
    plain = stored.astype(np.float64) / scale
    _, (found,) = scored([(stored, labels)], *EVERY_WAY)
    _, (expected,) = scored([(plain, labels)], *EVERY_WAY)
    rel = 1e-6 if dtype == "float32" else 1e-12
    assert_same(sums_of(found), sums_of(expected), rel)
    assert found.values == pytest.approx(expected.values, rel=rel)


@pytest.mark.parametrize("later", [[0, 1], [0, 255], [0, 17, 255]], ids=str)
def test_an_empty_byte_map_waits_for_what_the_others_are(later: list[int]) -> None:
    labels = np.array([[0, 1, 1]], dtype=np.uint8)
    empty = np.zeros((1, 3), dtype=np.uint8)
    pairs = [(empty, labels), (np.resize(np.array(later, np.uint8), (1, 3)), labels)]
    _, found = scored(pairs, "lovasz_softmax", "boundary")
    (value,) = found[0].values.values()
    assert value == 1
    assert sums_of(found[0]).term(Term("boundary")) == (0, 0)


@pytest.mark.parametrize("later", [0, 1], ids=["first", "second"])
def test_what_fails_late_adds_nothing_to_pooled_values(later: int) -> None:
    good, bad = random_pair("float64", 0), random_pair("float64", 1)
    bad[0][5, 5], bad[1][5, 5] = 1.5, 0
    pairs = [bad, good] if later else [good, bad]
    loss = choose("lovasz_softmax")
    verdict, found = scored(pairs, "lovasz_softmax", kind="prob")
    alone, _ = scored([good], "lovasz_softmax", kind="prob")
    assert [one.sums is None for one in found].count(True) == 1
    assert verdict.pooled_value(loss) == alone.pooled_value(loss)


# Distances


@pytest.mark.parametrize("bad", [np.nan, 7.0], ids=str)
@pytest.mark.parametrize(
    "name", ["boundary", "hausdorff_dt", "distance_map_penalised_ce"]
)
def test_scores_under_ignored_pixels_move_no_distance(name: str, bad: float) -> None:
    random = np.random.default_rng(4)
    p, y = random.random((9, 9)), random.integers(0, 2, (9, 9)).astype(np.uint8)
    y[2:4, 3:7] = 255
    term = Term(name, (2.0,) if name == "hausdorff_dt" else ())
    wild = np.where(y == 255, bad, p)
    assert position_sums(term, wild, y) == position_sums(term, p, y)


# Batches of tiles


def tile_values(probs: Tensor, changed: bool, *_: Any) -> Tensor:
    return (1 - probs if changed else probs) ** 3


def batches(rows: int | None, *, logits: bool = False) -> DeviceBatches:
    """Batches of torch, as for a device, but on the processor."""
    return DeviceBatches(CPU, rows, 0.5, logits, [tile_values])


def prob_sum(image: Accumulated) -> float:
    sums: dict[str, float] = dict(zip(SUMS, image.sums.tolist(), strict=True))
    return sums["prob_changed_sum"] + sums["false_sum"]


SIZES = [1, 100, TILE - 1, TILE, 2 * TILE + 17, 40]


def many(dtype: str, logits: bool = False) -> list[tuple[Array, Array]]:
    random = np.random.default_rng(8)
    pairs = []
    for size in SIZES:
        scores = random.normal(size=size) if logits else random.random(size)
        labels = random.choice([0, 1, 255], size, p=[0.6, 0.3, 0.1])
        pairs.append((scores.astype(dtype), labels.astype(np.uint8)))
    return pairs


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("logits", [False, True])
@pytest.mark.parametrize("rows", [1, 3, 64])
def test_batches_of_any_size_give_what_blocks_in_place_give(
    dtype: str, logits: bool, rows: int
) -> None:
    here = TileBatches(0.5, logits, [tile_values])
    there = batches(rows, logits=logits)
    for image, (scores, labels) in enumerate(many(dtype, logits)):
        here.add(image, scores, labels)
        there.add(image, scores, labels)
    here.flush()
    there.flush()
    rel = 1e-12 if dtype == "float64" else 1e-6
    for image, sums in here.images.items():
        assert there.images[image].counts.tolist() == sums.counts.tolist()
        # What bins hold above and below the labels nearly cancels.
        expected = pytest.approx(sums.sums, rel=rel, abs=rel)
        assert there.images[image].sums == expected
        assert there.images[image].terms == pytest.approx(sums.terms, rel=rel)


def test_types_that_differ_share_no_batch() -> None:
    one = batches(64)
    labels = np.array([1, 0], dtype=np.uint8)
    for image, dtype in enumerate(["float32", "float64", "float32"]):
        one.add(image, np.array([0.1, 0.7], dtype), labels)
    one.flush()
    sums = [prob_sum(one.images[image]) for image in range(3)]
    assert sums[0] == sums[2] == pytest.approx(0.8, rel=1e-7)
    assert sums[1] == pytest.approx(0.8, rel=1e-15)


def test_a_batch_is_halved_where_memory_does_not_suffice(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    pairs = many("float64")
    plenty, little = batches(64), batches(64)
    sent: list[int] = []

    def narrow(scores: Tensor, target: Tensor, **options: Any) -> TileSums:
        sent.append(len(scores))
        if len(scores) > 2:
            raise torch.OutOfMemoryError("out of memory")
        return tensor_sums(scores, target, **options)

    for one, kernel in ((plenty, tensor_sums), (little, narrow)):
        monkeypatch.setattr(device_batches, "tensor_sums", kernel)
        for image, (scores, labels) in enumerate(pairs):
            one.add(image, scores, labels)
        one.flush()
    assert max(sent) > 2
    assert little._rows <= 2
    for image, sums in plenty.images.items():
        assert little.images[image].counts.tolist() == sums.counts.tolist()
        assert little.images[image].sums.tolist() == sums.sums.tolist()


def test_a_single_tile_that_does_not_fit_is_not_hidden(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def full(*_: object, **__: object) -> TileSums:
        raise torch.OutOfMemoryError("out of memory")

    monkeypatch.setattr(device_batches, "tensor_sums", full)
    one = batches(8)
    one.add(0, np.zeros(5), np.zeros(5, dtype=np.uint8))
    with pytest.raises(torch.OutOfMemoryError):
        one.flush()


@pytest.mark.parametrize("dtype", ["f2", "u2", "f4", "f8"])
def test_byte_order_and_layout_of_an_array_change_nothing(
    dtype: str, tmp_path: Path
) -> None:
    random, kind = np.random.default_rng(4), np.dtype(dtype)
    made = random.random((40, 50)) * (1 if kind.kind == "f" else 65535)
    np.save(tmp_path / "y.npy", random.integers(0, 2, (40, 50)).astype(np.uint8))
    sums = []
    for stored in (kind.newbyteorder("<"), kind.newbyteorder(">")):
        for layout in (np.ascontiguousarray, np.asfortranarray):
            np.save(tmp_path / "p.npy", layout(made.astype(stored)))
            found = cdstats.loss(tmp_path / "p.npy", tmp_path / "y.npy")
            sums.append(found.images[0].sums)
    assert sums == sums[:1] * 4


@pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no CUDA device")
@pytest.mark.parametrize("rows", [1, 3, None])
def test_the_device_gives_what_the_processor_gives(rows: int | None) -> None:
    here = TileBatches(0.5, False, [tile_values])
    there = DeviceBatches("cuda", rows, 0.5, False, [tile_values])
    for image, (scores, labels) in enumerate(many("float64")):
        here.add(image, scores, labels)
        there.add(image, scores, labels)
    here.flush()
    there.flush()
    for image, sums in here.images.items():
        assert there.images[image].counts.tolist() == sums.counts.tolist()
        assert there.images[image].sums == pytest.approx(sums.sums, rel=1e-12)


# Histograms


@pytest.mark.parametrize("dtype", ["uint8", "uint16", "float16", "float32", "float64"])
@pytest.mark.parametrize("threshold", [0.25, 0.5, 0.75])
def test_a_histogram_gives_the_confusion_counts_of_its_thresholds(
    dtype: str, threshold: float
) -> None:
    stored, labels = random_pair(dtype, 5)
    needs = Needs.of((), None, bins=True)
    choice = choose_predictions(LossOptions(threshold=threshold))
    scorer = Scorer(needs, CPU, choice, None)
    for block in blocks(0, stored, labels, 20):
        scorer.add(block)
    scorer.finish(0)
    (one,) = Verdict(scorer.outcome(), needs, choice).results()
    assert one.ranked is not None
    held = one.ranked.counts
    above = probs_of(held.values) >= threshold
    counts = sums_of(one)
    found = int(held.changed[above].sum()), int(held.unchanged[above].sum())
    assert found == (counts.tp, counts.fp)
    assert held.changed.sum() + held.unchanged.sum() == counts.valid


def test_the_thresholds_of_logits_are_their_probabilities(tmp_path: Path) -> None:
    prediction = spread([-1.0, 0.0, 3.0], "float64")
    found = run(tmp_path, prediction, kind="logit", histograms=True)
    assert found.curves is not None
    curve = found.curves.of(row.place for row in found.images)
    assert curve is not None
    assert curve.within == 0
    expected = 1 / (1 + np.exp(-np.array([-1.0, 0.0, 3.0])))
    used = curve.thresholds[curve.changed > 0]
    assert set(used) <= set(expected) or used == pytest.approx(expected, rel=1e-15)
