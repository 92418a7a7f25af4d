"""`ChangeMetric` against saved maps, torchmetrics, scikit-learn and itself in parts."""

from __future__ import annotations

import math
import multiprocessing
import pickle
import sys
from contextlib import nullcontext
from dataclasses import fields
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import torch
import torchmetrics
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from torch import Tensor, distributed, nn

import cdstats
from cdstats import ChangeMetric
from cdstats.core.score_records import DatasetScore
from cdstats.losses import balanced_cross_entropy_with_logits
from cdstats.score.kernel import TILE, TileSums
from cdstats.score.kernel.tensors import tensor_sums
from cdstats.score.metric import _paired

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

SIZE = 24
LOSSES = ("dice", "focal:gamma=3", "balanced_ce:beta=dataset", "class_balanced", "asl")
TEXTS = {
    *("model", "kind", "rule", "grid", "version", "device", "labels", "signature"),
    *("losses", "threshold_from"),
}
RULE = {"changed": "1", "unchanged": "0", "ignore": "255"}


def batches(
    seed: int, count: int = 3, *, ignored: float = 0.1
) -> Iterator[tuple[Tensor, Tensor, Tensor]]:
    """Two dates and their labels; the first image of a batch has no change."""
    random = torch.Generator().manual_seed(seed)
    for _ in range(count):
        target = (torch.rand(4, SIZE, SIZE, generator=random) < 0.2).to(torch.uint8)
        target[0] = 0
        before = torch.rand(4, 1, SIZE, SIZE, generator=random)
        after = before + 0.5 * target[:, None]
        target[torch.rand(target.shape, generator=random) < ignored] = 255
        yield before, after, target


def saved(folder: Path, scores: list[Tensor], targets: list[Tensor]) -> dict[str, Any]:
    """Maps and masks as files, one for each image, as arguments of `cdstats.loss`."""
    preds, masks = folder / "preds", folder / "masks"
    preds.mkdir(parents=True)
    masks.mkdir()
    pairs = zip(torch.cat(scores), torch.cat(targets), strict=True)
    for number, (score, target) in enumerate(pairs):
        np.save(preds / f"{number}.npy", score.numpy())
        Image.fromarray(target.numpy()).save(masks / f"{number}.png")
    return {"pred": str(preds), "target": str(masks), "device": "cpu", **RULE}


def columns_of(score: DatasetScore) -> dict[str, float]:
    """The numbers of a dataset row, as a table has them."""
    known = {f.name: getattr(score, f.name) for f in fields(DatasetScore)}
    named = {**known, **score.losses}
    return {
        name: math.nan if value is None else value
        for name, value in named.items()
        if name not in TEXTS
    }


@pytest.mark.parametrize("kind", ["prob", "half", "logit", "hard"])
def test_the_metric_of_a_loop_equals_the_command_on_its_saved_maps(
    kind: str, tmp_path: Path
) -> None:
    torch.manual_seed(0)
    network = nn.Conv2d(2, 1, 3, padding=1)
    optimiser = torch.optim.Adam(network.parameters(), lr=0.1)
    known = "prob" if kind == "half" else kind
    metric = ChangeMetric(known, threshold=0.4, losses=LOSSES)
    outputs: dict[str, Callable[[Tensor], Tensor]] = {
        "prob": torch.sigmoid,
        "half": lambda logits: logits.sigmoid().half(),
        "logit": lambda logits: logits,
        "hard": lambda logits: (logits > 0).to(torch.uint8),
    }
    values = []
    for epoch in range(2):
        for before, after, target in batches(epoch):
            logits = network(torch.cat([before, after], 1))[:, 0]
            loss = balanced_cross_entropy_with_logits(logits, target)
            optimiser.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            optimiser.step()
        scores, targets = [], []
        metric.reset()
        for before, after, target in batches(7):
            preds = outputs[kind](network(torch.cat([before, after], 1))).detach()
            metric.update(preds, target)
            scores.append(preds[:, 0])
            targets.append(target)
        found = metric.compute()
        values.append(found["bce_mean"])
        files = saved(tmp_path / str(epoch), scores, targets)
        run = cdstats.loss(kind=known, threshold=0.4, losses=LOSSES, **files)
        expected = columns_of(run.models[0].dataset)
        assert list(found) == list(expected)
        # The command counts the levels of stored labels, and computes with each once.
        rel = 1e-12 if kind in ("hard", "half") else 0
        assert found == pytest.approx(expected, rel=rel, abs=rel, nan_ok=True)
    assert values[0] != values[1]


def parts(kind: str, seed: int) -> tuple[Tensor, Tensor]:
    random = torch.Generator().manual_seed(seed)
    scores = torch.randn(6, SIZE, SIZE, generator=random)
    target = torch.randint(0, 2, scores.shape, generator=random)
    preds = {"prob": scores.sigmoid(), "logit": scores, "hard": (scores > 0).int()}
    return preds[kind], target


@settings(max_examples=20, deadline=None)
@given(
    kind=st.sampled_from(["prob", "logit", "hard"]),
    cuts=st.lists(st.integers(0, 6), max_size=3),
    seed=st.integers(0, 99),
)
def test_batches_and_merged_metrics_add_up_to_the_whole(
    kind: str, cuts: list[int], seed: int
) -> None:
    preds, target = parts(kind, seed)
    whole, first, second = (ChangeMetric(kind, losses=LOSSES) for _ in range(3))
    whole.update(preds, target)
    ends = [0, *sorted(cuts), 6]
    for number, (start, end) in enumerate(pairwise(ends)):
        one = first if number % 2 else second
        one.update(preds[start:end], target[start:end])
    first.merge(second)
    assert first.compute() == whole.compute()


@pytest.mark.parametrize("kind", ["prob", "logit", "hard"])
def test_every_shape_and_type_gives_the_same_numbers(kind: str) -> None:
    preds, target = parts(kind, 1)
    two = {
        "prob": torch.stack([1 - preds, preds], 1),
        "logit": torch.stack([torch.zeros_like(preds), preds], 1),
        "hard": torch.stack([1 - preds, preds], 1),
    }
    metric = ChangeMetric(kind)
    metric.update(preds, target)
    expected = metric.compute()
    for given_preds, given_target in (
        (preds[:, None], target[:, None]),
        (two[kind], target.bool()),
        (preds[:, None], target.to(torch.int8)),
        (preds, target.float()),
        (preds.clone().requires_grad_() if kind != "hard" else preds.bool(), target),
    ):
        metric.reset()
        metric.update(given_preds, given_target)
        assert metric.compute() == expected


RANDOM = np.random.default_rng(0)
CASES = [
    pytest.param(RANDOM.random((3, 9, 9)), RANDOM.integers(0, 2, (3, 9, 9)), id="any"),
    pytest.param(RANDOM.random((2, 5, 5)), np.zeros((2, 5, 5), int), id="no change"),
    pytest.param(RANDOM.random((2, 5, 5)), np.ones((2, 5, 5), int), id="all changed"),
    pytest.param(np.zeros((1, 4, 4)), np.eye(4, dtype=int)[None], id="none predicted"),
    pytest.param(np.ones((1, 4, 4)), np.eye(4, dtype=int)[None], id="all predicted"),
    pytest.param(np.eye(4)[None], np.eye(4, dtype=int)[None], id="right"),
]


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(("probs", "labels"), CASES)
def test_it_agrees_with_scikit_learn(
    probs: np.ndarray[Any, Any], labels: np.ndarray[Any, Any]
) -> None:
    from sklearn import metrics as sklearn_metrics

    metric = ChangeMetric(losses=["brier"])
    metric.update(torch.from_numpy(probs), torch.from_numpy(labels))
    found = metric.compute()
    truth, hits = labels.ravel(), (probs.ravel() >= 0.5).astype(int)
    nan = {"zero_division": np.nan}
    expected = {
        "precision_pooled": sklearn_metrics.precision_score(truth, hits, **nan),
        "recall_pooled": sklearn_metrics.recall_score(truth, hits, **nan),
        "f1_pooled": sklearn_metrics.f1_score(truth, hits, **nan),
        "oa": sklearn_metrics.accuracy_score(truth, hits),
        "brier_mean": sklearn_metrics.brier_score_loss(
            truth, probs.ravel(), pos_label=1
        ),
    }
    counts = sklearn_metrics.confusion_matrix(truth, hits, labels=[0, 1]).ravel()
    assert [found[name] for name in ("tn", "fp", "fn", "tp")] == counts.tolist()
    if len(set(truth)) == 2 and len(set(hits)) == 2:
        expected |= {
            "kappa": sklearn_metrics.cohen_kappa_score(truth, hits),
            "mcc_pooled": sklearn_metrics.matthews_corrcoef(truth, hits),
            "iou_pooled": sklearn_metrics.jaccard_score(truth, hits),
        }
    else:
        assert math.isnan(found["mcc_pooled"])
    for name, value in expected.items():
        assert found[name] == pytest.approx(value, rel=1e-12, nan_ok=True), name


def test_it_is_one_of_a_collection_of_torchmetrics() -> None:
    their = torchmetrics.classification.BinaryF1Score()
    collection = torchmetrics.MetricCollection(
        {"change": ChangeMetric(), "their": their}
    )
    batch = parts("prob", 0)
    collection(*batch)
    collection.update(*batch)
    found = collection.compute()
    assert found["images"] == 12
    assert found["f1_pooled"] == pytest.approx(float(found["their"]), rel=1e-6)
    collection.reset()
    assert not len(collection["change"].sums[0])


def test_thresholds_that_agree_on_one_batch_stay_apart_in_a_collection() -> None:
    collection = torchmetrics.MetricCollection(
        {"low": ChangeMetric(threshold=0.3), "high": ChangeMetric(threshold=0.7)},
    )
    target = torch.ones(1, 2, 2, dtype=torch.uint8)
    collection.update(torch.full((1, 2, 2), 0.9), target)
    collection.update(torch.full((1, 2, 2), 0.5), target)
    assert collection["low"].compute()["recall_pooled"] == 1
    assert collection["high"].compute()["recall_pooled"] == 0.5


def test_forward_gives_the_values_of_the_batch_alone() -> None:
    metric = ChangeMetric()
    one, other = torch.full((1, 2, 2), 0.9), torch.full((1, 2, 2), 0.1)
    target = torch.ones(1, 2, 2)
    assert metric(one, target)["recall_pooled"] == 1
    assert metric(other, target)["recall_pooled"] == 0
    assert metric.compute()["recall_pooled"] == 0.5
    same = pickle.loads(pickle.dumps(metric))  # noqa: S301
    assert same.compute() == pytest.approx(metric.compute(), rel=0, nan_ok=True)


@pytest.mark.filterwarnings("ignore:The ``compute`` method:UserWarning")
def test_nothing_and_ignored_pixels_alone_are_undefined() -> None:
    metric = ChangeMetric()
    assert metric.compute()["images"] == 0
    metric.update(torch.full((2, 3, 3), math.nan), torch.full((2, 3, 3), 255))
    found = metric.compute()
    assert (found["images"], found["ignored"]) == (2, 18)
    assert math.isnan(found["bce_mean"])
    assert math.isnan(found["f1_pooled"])


HALF = torch.full((1, 2, 2), 0.5)
LABELS = torch.tensor([[[1, 0], [0, 255]]])


@pytest.mark.parametrize(
    ("kind", "preds", "target", "said"),
    [
        pytest.param("prob", HALF, LABELS * 2, "2 pixels of 1 image", id="labels of 2"),
        pytest.param("prob", HALF * 4, LABELS, "outside .* kind='logit'", id="logits"),
        pytest.param(
            "prob", HALF / 0 * 0, LABELS, "3 pixels of 1 image: .*NaN", id="NaN"
        ),
        pytest.param("logit", HALF / 0, LABELS, "infinite", id="infinite"),
        pytest.param("hard", HALF, LABELS, "kind='prob'", id="no labels"),
        pytest.param(
            "prob", torch.full((1, 2, 2, 2), 0.9), LABELS, "add up", id="two channels"
        ),
        pytest.param("prob", HALF, LABELS.clamp(max=200), "other values", id="200"),
        pytest.param("prob", HALF, HALF, "other values", id="soft"),
        pytest.param(
            "prob", HALF, torch.tensor([[[255, 0], [0, 0]]]), "target == 255", id="255"
        ),
    ],
)
def test_invalid_values_raise_at_the_end_and_reset_forgets_them(
    kind: str, preds: Tensor, target: Tensor, said: str
) -> None:
    metric = ChangeMetric(kind)
    metric.update(preds, target)
    with pytest.raises(ValueError, match=said):
        metric.compute()
    metric.reset()
    metric.update((HALF > 0).float(), LABELS)
    assert metric.compute()["images"] == 1


def test_other_values_for_ignored_pixels() -> None:
    for ignore in (255, -1, 300):
        metric = ChangeMetric(ignore_index=ignore)
        metric.update(HALF, torch.where(LABELS == 255, ignore, LABELS))
        assert metric.compute()["ignored"] == 1
    metric = ChangeMetric(ignore_index=300)
    metric.update(HALF, torch.full((1, 2, 2), 44, dtype=torch.uint8))
    with pytest.raises(ValueError, match="other values than 0, 1"):
        metric.compute()
    none = ChangeMetric(ignore_index=None)
    none.update(HALF, LABELS)
    with pytest.raises(ValueError, match="1 pixel of 1 image"):
        none.compute()


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"losses": ["boundary"]}, "boundary cannot be computed .* distance maps"),
        ({"losses": ["lovasz_softmax"]}, "lovasz_softmax.* sorted probabilities"),
        ({"losses": "lovasz_hinge"}, "lovasz_hinge.* sorted logits"),
        ({"losses": ["logit_adjusted_ce"]}, "logit_adjusted_ce:prior=NUMBER"),
        ({"losses": ["nothing"]}, "there is no loss 'nothing'"),
        ({"kind": "probability"}, "expected prob, logit, hard"),
        ({"threshold": 50}, "from 0 to 1"),
        ({"ignore_index": 0}, "the two classes"),
    ],
)
def test_options_are_refused_by_name(options: dict[str, Any], said: str) -> None:
    with pytest.raises(cdstats.UsageError, match=said):
        ChangeMetric(**options)


def test_a_prior_that_is_given_is_taken_and_all_leaves_out_what_does_not_follow() -> (
    None
):
    given_prior = ChangeMetric(losses=["logit_adjusted_ce:prior=0.1"])
    given_prior.update(HALF, LABELS)
    column = "logit_adjusted_ce[tau=1,prior=0.1]_mean"
    assert given_prior.compute()[column] > 0
    names = {loss.name for loss in ChangeMetric(losses=["all"]).losses}
    assert {"dice", "focal", "soft_mcc"} < names
    assert names.isdisjoint({"boundary", "lovasz_softmax", "logit_adjusted_ce"})


@pytest.mark.parametrize(
    ("preds", "target", "error"),
    [
        (HALF[0], LABELS[0], ValueError),
        (HALF, LABELS[:, :1], ValueError),
        (HALF[:, None].expand(1, 3, 2, 2), LABELS, ValueError),
        (HALF, LABELS[:, None].expand(1, 2, 2, 2), ValueError),
        (HALF.to(torch.uint8), LABELS, TypeError),
        (HALF.numpy(), LABELS, TypeError),
        (HALF, LABELS.tolist(), TypeError),
        (HALF, LABELS.to("meta"), ValueError),
    ],
)
def test_shapes_and_types_that_do_not_fit_raise_at_once(
    preds: Tensor, target: Tensor, error: type[Exception]
) -> None:
    with pytest.raises(error, match=r"expected|target on meta"):
        ChangeMetric().update(preds, target)


def test_merging_metrics_of_different_options_is_refused() -> None:
    with pytest.raises(ValueError, match="options"):
        ChangeMetric().merge(ChangeMetric(threshold=0.4))


@pytest.mark.parametrize("kind", ["prob", "logit", "hard"])
def test_an_update_never_waits_for_a_device(
    kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Tensors of "meta" have no values: whatever waited for one would raise.
    monkeypatch.setattr(torch, "autocast", lambda *_, **__: nullcontext())
    metric = ChangeMetric(kind, losses=["all"])
    preds = torch.zeros((2, 2, 300, 300), device="meta")
    for _ in range(2):
        metric.update(preds, torch.zeros((2, 300, 300), device="meta"))
    assert [tuple(one.shape) for one in metric.sums] == [(2, 35), (2, 35)]
    with pytest.raises(NotImplementedError, match="no data"):
        metric.compute()


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
def test_a_cuda_device_gives_the_numbers_of_the_processor() -> None:
    preds, target = parts("prob", 2)
    own, other = ChangeMetric(), ChangeMetric()
    own.update(preds, target)
    other.update(preds.cuda(), target.cuda())
    torch.cuda.set_sync_debug_mode("error")
    try:
        other.update(preds[:0].cuda(), target[:0].cuda())
    finally:
        torch.cuda.set_sync_debug_mode("default")
    assert other.compute() == pytest.approx(own.compute(), rel=1e-6, nan_ok=True)


def test_pairs_of_float32_keep_what_a_sum_of_tiles_loses(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    random = torch.Generator().manual_seed(0)
    scores = torch.rand(2, 700_000, generator=random)
    labels = torch.randint(0, 2, scores.shape, generator=random).to(torch.uint8)
    options: dict[str, Any] = {"threshold": 0.5, "logits": False, "terms": []}

    def narrow_sums(*tile: Tensor, **how: Any) -> TileSums:
        found = tensor_sums(*tile, **how)
        return TileSums(found.sums.float(), found.counts, found.terms.float())

    monkeypatch.setattr("cdstats.score.metric.tensor_sums", narrow_sums)
    starts = range(0, scores.shape[1], TILE)
    parts = [slice(at, at + TILE) for at in starts]
    found = [narrow_sums(scores[:, p], labels[:, p], **options) for p in parts]
    exact = torch.stack([one.sums.double() for one in found]).sum(0)
    pairs, counts = _paired(scores, labels, options)
    assert counts[:, 0].tolist() == [700_000, 700_000]
    total, rest = pairs.double().chunk(2, 1)
    assert not torch.equal(total, exact)
    torch.testing.assert_close(total + rest, exact, rtol=1e-13, atol=0)


def one_of_two(rank: int, meeting: Path, base: str) -> None:
    """What each of two processes does, which share the images unevenly."""
    if base == "_Plain":
        sys.modules["torchmetrics"] = None  # type: ignore[assignment]
        del sys.modules["cdstats.score.metric"]
    from cdstats.score.metric import ChangeMetric

    assert getattr(ChangeMetric.__base__, "__name__", "") == base
    distributed.init_process_group(
        "gloo", init_method=f"file://{meeting}", rank=rank, world_size=2
    )
    random = torch.Generator().manual_seed(3)
    preds = torch.rand(5, 40, 40, generator=random)
    target = torch.randint(0, 2, preds.shape, generator=random)
    whole = ChangeMetric(losses=["dice", "focal"])
    whole.update(preds, target)
    for cut in (2, 5):
        metric = ChangeMetric(losses=["dice", "focal"])
        mine = slice(0, cut) if rank == 0 else slice(cut, None)
        if len(preds[mine]):
            metric.update(preds[mine], target[mine])
        found = metric.compute()
        assert metric.compute() == found
        assert len(metric.sums[-1]) == len(preds[mine])
    distributed.destroy_process_group()
    assert found == whole.compute()


@pytest.mark.filterwarnings("ignore")  # Python 3.12 warns of threads beside a fork
@pytest.mark.parametrize("base", ["Metric", "_Plain"])
def test_two_processes_give_the_numbers_of_one(base: str, tmp_path: Path) -> None:
    # Starting anew would load PyTorch twice more.
    context = multiprocessing.get_context("fork")
    places = [(rank, tmp_path / "meeting", base) for rank in range(2)]
    running = [context.Process(target=one_of_two, args=place) for place in places]
    for one in running:
        one.start()
    for one in running:
        one.join(120)
        one.kill()
    assert [one.exitcode for one in running] == [0, 0]


PAGE = (Path(__file__).parents[1] / "docs" / "loops.md").read_text(encoding="utf-8")


def loop(title: str) -> str:
    """The code of a section of the page."""
    section = PAGE.split(f"## {title}\n")[1].split("\n## ")[0]
    return section.split("```python\n")[1].split("```")[0]


def test_the_loops_of_the_page_run_and_agree(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    names: dict[str, Any] = {"__name__": "page"}
    for title in ("Plain PyTorch", "Saved files"):
        exec(loop(title), names)  # noqa: S102
    values, row = names["values"], names["row"]
    assert f"epoch 1: F1 {values['f1_pooled']:.3f}" in capsys.readouterr().out
    assert values["dice[smooth=1]_pooled"] == pytest.approx(
        row.losses["dice[smooth=1]_pooled"], rel=1e-6
    )
    assert values["f1_pooled"] == row.f1_pooled


@pytest.mark.filterwarnings("ignore")
def test_the_lightning_loop_of_the_page_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("lightning")
    monkeypatch.chdir(tmp_path)
    names: dict[str, Any] = {"__name__": "page"}
    exec(loop("Plain PyTorch"), names)  # noqa: S102
    exec(loop("Lightning"), names)  # noqa: S102
    assert float(names["trainer"].callback_metrics["f1_pooled"]) > 0
