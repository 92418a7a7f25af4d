"""Arrays, tensors, lists, generators and datasets give the numbers of files."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch.utils.data import Dataset

import cdstats

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

RANDOM = np.random.default_rng(0)
MASKS = (RANDOM.random((4, 8, 9)) < 0.3).astype(np.uint8)
PREDS = RANDOM.random((4, 8, 9)).astype(np.float32)
TWO = np.stack([1 - PREDS, PREDS], 1)


class Pairs(Dataset[dict[str, torch.Tensor]]):
    def __len__(self) -> int:
        return len(MASKS)

    def __getitem__(self, index: int) -> dict[str, torch.Tensor]:
        pred, target = torch.from_numpy(PREDS[index]), torch.from_numpy(MASKS[index])
        return {"pred": pred, "target": target}


@pytest.fixture(autouse=True)
def temporary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder of temporary files, which is empty afterwards."""
    folder = tmp_path / "temporary"
    folder.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(folder))
    yield folder
    assert not [one for one in folder.iterdir() if one.is_dir()]


@pytest.fixture
def files(tmp_path: Path) -> tuple[Path, Path]:
    """The same masks and predictions as files."""
    for name, arrays in (("masks", MASKS), ("preds", PREDS)):
        (tmp_path / name).mkdir()
        for number, array in enumerate(arrays):
            np.save(tmp_path / name / f"{number}.npy", array)
    return tmp_path / "preds", tmp_path / "masks"


SOURCES = [
    pytest.param(lambda a: a, id="array"),
    pytest.param(torch.from_numpy, id="tensor"),
    pytest.param(lambda a: a[:, None], id="one channel"),
    pytest.param(list, id="list"),
    pytest.param(lambda a: (one for one in a), id="generator"),
    pytest.param(lambda a: tuple(torch.from_numpy(one[None]) for one in a), id="tuple"),
    pytest.param(lambda a: {str(n): one for n, one in enumerate(a)}, id="mapping"),
]
Source = Callable[[Any], Any]


@pytest.mark.parametrize("source", SOURCES)
def test_masks_give_the_counts_of_their_files(
    source: Source, files: tuple[Path, Path]
) -> None:
    (row,) = cdstats.ratio(files[1]).datasets
    found = cdstats.ratio(source(MASKS))
    (own,) = found.datasets
    assert own.images == 4
    assert (own.changed, own.unchanged) == (row.changed, row.unchanged)
    assert own.rule == row.rule
    assert [one.path for one in found.images] == ["0", "1", "2", "3"]
    audit, weights = cdstats.audit(source(MASKS)), cdstats.weights(source(MASKS))
    assert audit.regions == cdstats.audit({"masks": files[1]}).regions
    assert weights.datasets[0].changed == row.changed


@pytest.mark.parametrize("source", SOURCES)
def test_predictions_give_the_losses_of_their_files(
    source: Source, files: tuple[Path, Path]
) -> None:
    expected = cdstats.loss(*files, losses=["dice", "boundary"]).to_dict()
    run = cdstats.loss(source(PREDS), source(MASKS), losses=["dice", "boundary"])
    assert run.to_dict() == expected
    assert [one.pred for one in run.images] == ["0", "1", "2", "3"]
    mixed = cdstats.loss(files[0], {f"{n}.x": m for n, m in enumerate(MASKS)})
    assert mixed.to_dict()["f1_pooled"] == expected["f1_pooled"]


def test_channels_pairs_and_models(files: tuple[Path, Path]) -> None:
    expected = cdstats.loss(*files).to_dict()
    assert cdstats.loss(TWO, MASKS).to_dict() == expected
    assert cdstats.loss(list(TWO), MASKS).to_dict() == expected
    assert cdstats.loss(Pairs()).to_dict() == expected
    assert cdstats.ratio(Pairs()).datasets[0].changed == MASKS.sum()
    models = {"one": PREDS, "two": (1 - one for one in PREDS), "three": files[0]}
    found = cdstats.compare(models, MASKS).to_dict()
    assert found["one/f1_pooled"] == found["three/f1_pooled"] == expected["f1_pooled"]
    assert found["two/f1_pooled"] != expected["f1_pooled"]
    named = cdstats.loss({"one": list(PREDS), "two": list(PREDS)}, MASKS)
    assert [one.dataset.model for one in named.models] == ["one", "two"]


def test_datasets_splits_and_kinds_of_masks() -> None:
    found = cdstats.ratio({"D": list(MASKS), "E": MASKS[:2]})
    assert [(row.dataset, row.images) for row in found.datasets] == [("D", 4), ("E", 2)]
    split = cdstats.ratio({"train/a": MASKS[0], "test/b": MASKS[1]})
    assert {row.split for row in split.datasets} == {"all", "train", "test"}
    pictures = [Image.fromarray(mask * 255) for mask in MASKS]
    for source in (pictures, MASKS.astype(bool), torch.from_numpy(MASKS).bool()):
        assert cdstats.ratio(source).datasets[0].changed == MASKS.sum()
    colours = np.zeros((5, 7, 3), np.uint8)
    colours[1, :3] = (200, 10, 30)
    for held in (colours, [colours], colours[None], [Image.fromarray(colours)]):
        (row,) = cdstats.ratio(held, changed="#c80a1e", unchanged="rest").datasets
        assert (row.changed, row.unchanged, row.width) == (3, 32, 7)
    scores = torch.from_numpy(PREDS).bfloat16().requires_grad_()
    assert cdstats.loss(scores, MASKS).models[0].dataset.images == 4


@pytest.mark.parametrize("dtype", [np.uint8, np.int64, bool])
@pytest.mark.parametrize("channel", [False, True])
def test_items_may_be_batches(dtype: type, channel: bool) -> None:
    masks: NDArray[Any] = MASKS.astype(dtype)
    if channel:
        masks = masks[:, None]
    batches = [torch.from_numpy(masks[at : at + 2]) for at in (0, 2)]
    found = cdstats.ratio(iter(batches), changed=1, unchanged=0)
    assert [one.changed for one in found.images] == [int(m.sum()) for m in MASKS]
    items = [
        {"pred": torch.from_numpy(PREDS[at : at + 2, None]), "target": batch}
        for at, batch in zip((0, 2), batches, strict=True)
    ]
    scored = cdstats.loss(items).models[0].dataset
    assert scored.f1_pooled == cdstats.loss(PREDS, MASKS).models[0].dataset.f1_pooled


def test_paths_are_still_paths(files: tuple[Path, Path]) -> None:
    import pandas as pd

    single = sorted(files[1].iterdir())
    texts = [str(one) for one in single]
    for source in (
        single,
        tuple(texts),
        iter(texts),
        pd.Series(texts),
        np.array(texts),
    ):
        assert cdstats.ratio(source).datasets[0].images == 4
    assert cdstats.ratio({"mine": files[1]}).datasets[0].dataset == "mine"


@pytest.mark.parametrize(
    ("call", "said"),
    [
        (lambda: cdstats.ratio(np.zeros((5, 8, 3))), "may be one RGB mask, or 5 masks"),
        (lambda: cdstats.ratio(np.zeros((5, 1, 8, 3), np.uint8)), "pass a list"),
        (lambda: cdstats.loss(PREDS[:2], MASKS[:2]), r"preds\[:, None\]"),
        (lambda: cdstats.ratio([(MASKS[0], MASKS[1])]), "item 0 is tuple"),
        (lambda: cdstats.ratio(MASKS[None, None]), r"expected \(H, W\)"),
        (lambda: cdstats.ratio([np.zeros((4, 4, 4), np.uint8)]), r"\(H, W, 3\)"),
        (lambda: cdstats.ratio([MASKS[:3]]), r"3 masks or .* as \(3, 1, H, W\)"),
        (lambda: cdstats.ratio({"a": MASKS, "b": MASKS}), r"dataset .* list\(array\)"),
        (lambda: cdstats.ratio({"a": MASKS[0], "a/b": MASKS[1]}), "has this name"),
        (lambda: cdstats.ratio({"a/b": MASKS[0], "a": MASKS[1]}), "has this name"),
        (lambda: cdstats.ratio({1: MASKS[0], "1": MASKS[1]}), "has this name"),
        (lambda: cdstats.ratio({"a b": MASKS[0]}), "expected a name"),
        (lambda: cdstats.ratio({"../a": MASKS[0]}), "expected a name"),
        (lambda: cdstats.ratio([{"label": MASKS[0]}]), "no 'target'; it has label"),
        (lambda: cdstats.ratio(np.arange(4)), "paths is int64 .* expected a path"),
        (lambda: cdstats.ratio({"a": 5}), "paths maps 'a' to 5"),
        (lambda: cdstats.ratio([MASKS[0], "masks.png"]), "item 1 is str"),
    ],
)
def test_what_could_be_two_things_or_is_none_is_refused(
    call: Callable[[], object], said: str
) -> None:
    with pytest.raises(TypeError, match=said):
        call()


def test_predictions_without_masks_and_nothing_at_all_are_refused() -> None:
    with pytest.raises(cdstats.UsageError, match="masks with target"):
        cdstats.loss(PREDS)
    nothing: list[Any] = []
    for source in (nothing, iter(nothing)):
        with pytest.raises(cdstats.DataError, match="no files found"):
            cdstats.ratio(source)
