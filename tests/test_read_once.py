"""`loss` decodes each prediction and mask once, and says the same as if it had not.

The rule of a mask is that of its split, which is known only once all masks of it were
counted: a mask that was labelled by another rule at first is read again.
"""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from helpers import save

import cdstats
from cdstats.score import loss as loss_module
from cdstats.score import reading, targets
from cdstats.score.targets import Target

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from numpy.typing import NDArray

    from cdstats.io.blocks import Block, OpenImage

pytestmark = pytest.mark.filterwarnings(
    "ignore::rasterio.errors.NotGeoreferencedWarning"
)
RULE: dict[str, Any] = {"changed": "255", "unchanged": "0"}
TILED: Any = {"tiled": True, "blockxsize": 16, "blockysize": 16}
EVERY_WAY = ["logit_adjusted_ce", "lovasz_softmax", "boundary", "focal"]


@pytest.fixture
def decoded(monkeypatch: pytest.MonkeyPatch) -> Counter[str]:
    """How often the pixels of each file are decoded."""
    counts: Counter[str] = Counter()

    def watched(path: str, image: OpenImage) -> OpenImage:
        def blocks() -> Iterator[Block]:
            counts["/".join(path.split("/")[-2:])] += 1
            yield from image.blocks()

        return image._replace(blocks=blocks)

    def watch(open_images: Callable[..., list[OpenImage]]) -> Any:
        def opened(path: str, *arguments: Any) -> list[OpenImage]:
            return [watched(path, one) for one in open_images(path, *arguments)]

        return opened

    for module, name in (
        (targets, "open_masks"),
        (reading, "open_predictions"),
    ):
        monkeypatch.setattr(module, name, watch(getattr(module, name)))
    return counts


def write(
    root: Path, masks: list[NDArray[Any]], kind: str = ".npy", mask_kind: str = ".png"
) -> tuple[str, str]:
    """Masks with random predictions: the arguments of `cdstats.loss`."""
    random = np.random.default_rng(3)
    for number, mask in enumerate(masks):
        probs = random.random(mask.shape[:2]).astype(np.float32)
        if kind == ".png":
            probs = (probs * 255).astype(np.uint8)
        save(root / f"masks/{number}{mask_kind}", mask, **TILED)
        save(root / f"preds/{number}{kind}", probs, **TILED)
    return str(root / "preds"), str(root / "masks")


def some_masks(images: int = 3) -> list[NDArray[np.uint8]]:
    """Masks of 0 and 255; the first one holds no change."""
    random = np.random.default_rng(0)
    shares = [0.0, *[0.3] * (images - 1)]
    return [(random.random((32, 48)) < s).astype(np.uint8) * 255 for s in shares]


@pytest.mark.parametrize("rule", [{}, RULE], ids=["found", "given"])
@pytest.mark.parametrize("kind", [".npy", ".png", ".tif"])
@pytest.mark.parametrize("mask_kind", [".npy", ".png", ".tif"])
def test_every_file_is_decoded_once(
    decoded: Counter[str],
    kind: str,
    mask_kind: str,
    rule: dict[str, Any],
    tmp_path: Path,
) -> None:
    pred, target = write(tmp_path, some_masks(), kind, mask_kind)
    assert cdstats.loss(pred, target, **rule).failed == 0
    assert set(decoded.values()) == {1}
    assert len(decoded) == 6


@pytest.mark.parametrize("kind", [".npy", ".png"])
def test_a_loss_that_needs_the_prior_reads_no_file_again(
    decoded: Counter[str],
    kind: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    arguments = write(tmp_path, some_masks(), kind)
    found = cdstats.loss(*arguments, losses=EVERY_WAY)
    assert set(decoded.values()) == {1}
    decoded.clear()
    monkeypatch.setattr(loss_module, "_KEPT_BYTES", 1 << 12)
    again = cdstats.loss(*arguments, losses=EVERY_WAY)
    assert set(decoded.values()) == {2}
    assert again.images == found.images
    assert again.models[0].losses == found.models[0].losses


def test_integers_need_no_second_pass_for_the_prior(
    decoded: Counter[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(loss_module, "_KEPT_BYTES", 0)
    arguments = write(tmp_path, some_masks(), ".png")
    cdstats.loss(*arguments, losses=["logit_adjusted_ce"])
    assert set(decoded.values()) == {1}


def test_soft_targets_and_both_files_of_a_pair_are_decoded_once(
    decoded: Counter[str], tmp_path: Path
) -> None:
    soft = [np.full((8, 8), 0.25), np.full((8, 8), 0.5)]
    found = cdstats.loss(*write(tmp_path, soft, mask_kind=".npy"))
    assert found.failed == 0
    assert set(decoded.values()) == {1}


def test_a_mask_that_its_split_labels_in_another_way_is_read_again(
    decoded: Counter[str], tmp_path: Path
) -> None:
    """A mask of 255 alone says nothing; a mask of 0 and 1 contradicts the others."""
    masks = [*some_masks(4), np.full((32, 48), 255, np.uint8)]
    masks.append(masks[1] // 255)
    arguments = write(tmp_path, masks)
    found = cdstats.loss(*arguments, losses=["focal"])
    assert decoded["masks/4.png"] == 2
    del decoded["masks/4.png"]
    assert set(decoded.values()) == {1}
    given = cdstats.loss(*arguments, losses=["focal"], **RULE)
    assert [row.tp for row in found.images] == [row.tp for row in given.images]
    assert [row.status for row in found.images] == ["ok"] * 5 + ["failed"]
    assert found.images[5].reason.startswith("mask 5.png: holds 0 (")
    whole = cdstats.loss(*arguments, losses=EVERY_WAY)
    expected = cdstats.loss(*arguments, losses=EVERY_WAY, **RULE)
    for one, two in zip(whole.models[0].losses, expected.models[0].losses, strict=True):
        assert one == two


@pytest.mark.parametrize("kind", [".npy", ".png", ".tif"])
def test_maps_of_errors_need_no_second_reading(
    decoded: Counter[str], kind: str, tmp_path: Path
) -> None:
    pred, target = write(tmp_path, some_masks(), kind)
    found = cdstats.errors({"a": pred, "b": pred}, target, folder=tmp_path / "maps")
    assert (found.failed, len(found.images)) == (0, 6)
    assert {name: n for name, n in decoded.items() if name.startswith("masks")} == {
        f"masks/{number}.png": 1 for number in range(3)
    }
    # Each model reads the same predictions.
    assert [decoded[f"preds/{number}{kind}"] for number in range(3)] == [2, 2, 2]


def test_a_mask_that_is_labelled_anew_has_its_map_drawn_anew(
    decoded: Counter[str], tmp_path: Path
) -> None:
    """A mask of 255 alone says nothing, until those of its split are known."""
    masks = [*some_masks(4), np.full((32, 48), 255, np.uint8)]
    pred, target = write(tmp_path, masks)
    found = cdstats.errors(pred, target, folder=tmp_path / "found")
    assert decoded.pop("masks/4.png") == 2
    assert set(decoded.values()) == {1}
    given = cdstats.errors(pred, target, folder=tmp_path / "given", **RULE)
    assert found.images == given.images
    assert given.failed == 0
    for number in range(5):
        one, two = (tmp_path / f"{of}/{number}.png" for of in ("found", "given"))
        assert one.read_bytes() == two.read_bytes()


def test_a_mask_without_a_prediction_takes_part_in_finding_the_rule(
    decoded: Counter[str], tmp_path: Path
) -> None:
    masks = [np.full((8, 8), 255, np.uint8), *some_masks(2)[1:]]
    pred, target = write(tmp_path, masks)
    (tmp_path / "preds/1.npy").unlink()
    found = cdstats.loss(pred, target)
    assert [row.status for row in found.images] == ["ok", "failed"]
    assert found.images[0].changed == 64
    assert decoded["masks/1.png"] == 1


def test_a_refused_split_scores_nothing_and_says_why(tmp_path: Path) -> None:
    """Each mask alone is clear; together they are not."""
    masks = some_masks(3)[1:]
    masks[1] = masks[1] // 255
    pred, target = write(tmp_path, masks)
    found = cdstats.loss(pred, target, errors="keep")
    assert found.failed == 2
    assert all("split refused" in row.reason for row in found.images)
    assert any("count them separately" in one.text for one in found.messages)


def test_a_mask_beyond_the_bound_is_decoded_twice_with_the_same_result(
    decoded: Counter[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    arguments = write(tmp_path, some_masks(), mask_kind=".tif")
    found = cdstats.loss(*arguments)
    decoded.clear()
    monkeypatch.setattr(targets, "_KEPT_BYTES", 100)
    assert cdstats.loss(*arguments).images == found.images
    assert [n for name, n in decoded.items() if "masks" in name] == [2, 2, 2]


# Several models beside the same masks

MODELS = ("a", "b", "c")


def write_models(
    root: Path, images: int, stacked: bool = False
) -> tuple[list[str], str]:
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
def read(monkeypatch: pytest.MonkeyPatch) -> Counter[tuple[str, str, str]]:
    """How often each mask is decoded."""
    counts: Counter[tuple[str, str, str]] = Counter()
    usual = Target.read

    def counted(target: Target) -> object:
        counts[target.key] += 1
        return usual(target)

    monkeypatch.setattr(Target, "read", counted)
    return counts


@pytest.mark.parametrize("stacked", [False, True], ids=["files", "a stack"])
def test_a_mask_is_decoded_once_for_all_models(
    read: Counter[tuple[str, str, str]], stacked: bool, tmp_path: Path
) -> None:
    run = cdstats.loss(*write_models(tmp_path, 4, stacked))
    assert len(run.images) == 12
    assert list(read.values()) == [1, 1, 1, 1]


def test_labels_beyond_the_bound_are_decoded_again_with_the_same_result(
    read: Counter[tuple[str, str, str]],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    arguments = write_models(tmp_path, 4, stacked=True)
    held = cdstats.loss(*arguments)
    read.clear()
    monkeypatch.setattr(reading, "_HELD_BYTES", 100)
    again = cdstats.loss(*arguments)
    assert list(read.values()) == [3, 3, 3, 3]
    assert again.images == held.images


def test_rows_stand_model_by_model_as_each_model_alone_gives_them(
    tmp_path: Path,
) -> None:
    models, masks = write_models(tmp_path, 3)
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
