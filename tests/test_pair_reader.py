"""Several models beside the same masks: each is decoded once, rows keep their order."""

from collections import Counter
from pathlib import Path

import numpy as np
import pytest

import cdstats
from cdstats.score import reading
from cdstats.score.targets import Target

MODELS = ("a", "b", "c")


def write(root: Path, images: int, stacked: bool = False) -> tuple[list[str], str]:
    """Predictions of three models and their masks: the arguments of `cdstats.loss`."""
    random = np.random.default_rng(0)
    masks = (random.random((images, 8, 8)) < 0.3).astype(np.uint8)
    for model in ("masks", *MODELS):
        values = masks if model == "masks" else random.random(masks.shape)
        (root / model).mkdir()
        if stacked:
            np.save(root / model / "all.npy", values)
        else:
            for number, one in enumerate(values):
                np.save(root / model / f"{number}.npy", one)
    return [f"{model}={root / model}" for model in MODELS], str(root / "masks")


@pytest.fixture
def decoded(monkeypatch: pytest.MonkeyPatch) -> Counter[tuple[str, str, str]]:
    """How often each mask is decoded."""
    counts: Counter[tuple[str, str, str]] = Counter()
    read = Target.read

    def counted(target: Target) -> object:
        counts[target.key] += 1
        return read(target)

    monkeypatch.setattr(Target, "read", counted)
    return counts


@pytest.mark.parametrize("stacked", [False, True], ids=["files", "a stack"])
def test_a_mask_is_decoded_once_for_all_models(
    decoded: Counter[tuple[str, str, str]], stacked: bool, tmp_path: Path
) -> None:
    run = cdstats.loss(*write(tmp_path, 4, stacked))
    assert len(run.images) == 12
    assert list(decoded.values()) == [1, 1, 1, 1]


def test_labels_beyond_the_bound_are_decoded_again_with_the_same_result(
    decoded: Counter[tuple[str, str, str]],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    arguments = write(tmp_path, 4, stacked=True)
    held = cdstats.loss(*arguments)
    decoded.clear()
    monkeypatch.setattr(reading, "_HELD_BYTES", 100)
    again = cdstats.loss(*arguments)
    assert list(decoded.values()) == [3, 3, 3, 3]
    assert again.images == held.images


def test_rows_stand_model_by_model_as_each_model_alone_gives_them(
    tmp_path: Path,
) -> None:
    models, masks = write(tmp_path, 3)
    (tmp_path / "b/1.npy").unlink()
    np.save(tmp_path / "b/0x.npy", np.zeros((8, 8)))
    together = cdstats.loss(models, masks, histograms=True)
    alone = [cdstats.loss([model], masks, histograms=True) for model in models]
    assert together.images == tuple(row for run in alone for row in run.images)
    for run in alone:
        places = [row.place for row in run.images if row.status == "ok"]
        assert together.curves is not None
        assert run.curves is not None
        found, expected = together.curves.of(places), run.curves.of(places)
        assert found is not None
        assert expected is not None
        assert found.changed.tolist() == expected.changed.tolist()
