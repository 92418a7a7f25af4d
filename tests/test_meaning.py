"""Files whose numbers could be read in two ways: channels and nodata."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from helpers import run, save
from rasterio.transform import Affine, from_origin
from rasterio.warp import transform

import cdstats

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

    Array = NDArray[Any]

pytestmark = [
    pytest.mark.filterwarnings("ignore:Dataset has no geotransform"),
    pytest.mark.filterwarnings("ignore:Use `@` matmul:PendingDeprecationWarning"),
]

RNG = np.random.default_rng(11)
MASK = (RNG.random((24, 32)) < 0.3).astype(np.uint8)
OTHER = (RNG.random((24, 32)) < 0.3).astype(np.uint8)
CLASSES = np.stack([(MASK == 0) & (OTHER == 0), MASK == 1, (MASK == 0) & (OTHER == 1)])


def counts(*paths: str, **options: Any) -> tuple[int, int, int]:
    row = cdstats.ratio(*paths, **options).datasets[0]
    return row.changed, row.unchanged, row.ignored


def true_counts(mask: Array) -> tuple[int, int, int]:
    return int(mask.sum()), int((mask == 0).sum()), 0


@pytest.mark.parametrize(
    "channels",
    [
        pytest.param(np.stack([1 - MASK, MASK]), id="codes"),
        pytest.param(np.stack([1 - MASK, MASK]) * 255, id="white"),
        pytest.param(np.stack([1 - MASK, MASK]).astype(np.float32), id="floats"),
        pytest.param(np.stack([1 - MASK, MASK])[:, None], id="an-axis-of-one"),
        pytest.param(CLASSES, id="three-classes"),
        pytest.param(np.stack([np.ones_like(MASK), MASK * 0]), id="no-change"),
    ],
)
def test_a_mask_by_its_classes_is_not_a_stack_of_masks(
    tmp_path: Path, channels: Array
) -> None:
    file = save(tmp_path / "gt" / "a.npy", channels)
    done = run("ratio", str(file), "--quiet")
    assert done.code == 1
    assert f"looks like one mask with {len(channels)} class channels" in done.err


def test_one_channel_of_a_mask_by_its_classes_can_be_read(tmp_path: Path) -> None:
    file = save(tmp_path / "gt" / "a.npy", np.stack([1 - MASK, MASK]))
    assert counts(f"{file}#1") == true_counts(MASK)
    assert counts(f"{file.parent}#1") == true_counts(MASK)


def test_a_stack_of_masks_is_read_as_before(tmp_path: Path) -> None:
    whole = np.stack([MASK, OTHER, MASK])
    file = save(tmp_path / "gt.npy", whole)
    assert counts(str(file)) == true_counts(whole)


def test_a_last_axis_of_one_is_left_out(tmp_path: Path) -> None:
    single = save(tmp_path / "one" / "a.npy", MASK[..., None])
    assert counts(str(single)) == true_counts(MASK)
    stack = np.stack([MASK, OTHER])
    several = save(tmp_path / "two" / "a.npy", stack[..., None])
    assert counts(str(several)) == true_counts(stack)


def test_declared_nodata_of_a_pair_is_ignored(tmp_path: Path) -> None:
    changed, unchanged = MASK * 255, (1 - MASK) * 255
    changed[:5], unchanged[:5] = 7, 0
    save(tmp_path / "d" / "change.tif", changed, nodata=7)
    save(tmp_path / "d" / "unchanged.tif", unchanged)
    found = counts(str(tmp_path / "d"), preset="partial-pair")
    kept = MASK[5:]
    assert found == (kept.sum(), (kept == 0).sum(), MASK[:5].size)


def test_nodata_on_the_marks_of_a_pair_is_refused(tmp_path: Path) -> None:
    save(tmp_path / "d" / "change.tif", MASK * 255, nodata=255)
    save(tmp_path / "d" / "unchanged.tif", (1 - MASK) * 255)
    command = ["ratio", str(tmp_path / "d"), "--preset", "partial-pair", "--quiet"]
    done = run(*command)
    assert done.code == 1
    assert "declares nodata 255" in done.err


def test_a_projected_prediction_meets_a_mask_in_degrees(tmp_path: Path) -> None:
    degrees = 1e-4
    ((east,), (north,)) = transform("EPSG:4326", "EPSG:32630", [-3], [50])
    grid = from_origin(-3, 50, degrees, degrees)
    mask = np.zeros((40, 40), np.uint8)
    mask[10:30, 10:30] = 255
    save(tmp_path / "gt" / "a.tif", mask, transform=grid, crs="EPSG:4326")
    # Pixels of 1 m that cover the mask; changed where the mask is.
    ground = Affine.translation(east - 5, north + 5) * Affine.scale(1, -1)
    rows, columns = np.mgrid[:460, :300] + 0.5
    xs, ys = ground * (columns.ravel(), rows.ravel())
    longitudes, latitudes = transform("EPSG:32630", "EPSG:4326", xs, ys)
    across = (np.array(longitudes) + 3) / degrees
    down = (50 - np.array(latitudes)) / degrees
    inside = (across > 10) & (across < 30) & (down > 10) & (down < 30)
    guess = inside.reshape(rows.shape).astype(np.uint8)
    save(tmp_path / "pred" / "a.tif", guess, transform=ground, crs="EPSG:32630")
    paths = ["--pred", str(tmp_path / "pred"), "--target", str(tmp_path / "gt")]
    command = ["loss", *paths, "--grid", "warp", "--format", "json"]
    done = run(*command)
    assert done.code == 0, done.err
    row = done.data()["dataset"]
    assert row["tp"] + row["fn"] == 400
    assert row["f1_pooled"] > 0.97


def two_models(folder: Path, first: Array, second: Array) -> list[str]:
    save(folder / "gt" / "a.npy", MASK)
    save(folder / "A" / "a.npy", first)
    save(folder / "B" / "a.npy", second)
    models = [f"{name}={folder / name}" for name in "AB"]
    options = [word for one in models for word in ("--pred", one)]
    return ["compare", *options, "--target", str(folder / "gt"), "--format", "json"]


PROBS = np.clip(0.25 + MASK / 2 + RNG.normal(0, 0.2, MASK.shape), 0.01, 0.99)
LOGITS = np.log(PROBS / (1 - PROBS))


@pytest.mark.parametrize(
    ("first", "told"),
    [(PROBS, []), (LOGITS * 3, ["--kind", "A=logit"])],
    ids=["beside-probabilities", "beside-logits"],
)
@pytest.mark.parametrize(
    ("second", "way"),
    [(PROBS * 100, "--scale B=100"), (LOGITS, "--kind B=logit")],
    ids=["per-cent", "logits"],
)
def test_what_is_advised_for_one_model_leaves_the_others_alone(
    tmp_path: Path, first: Array, second: Array, way: str, told: list[str]
) -> None:
    command = [*two_models(tmp_path, first, second), *told]
    refused = run(*command)
    assert (refused.code, way in refused.err) == (1, True)
    done = run(*command, *way.split())
    assert done.code == 0, done.err
    rows = done.data()["models"]
    loss = -np.log(np.where(MASK == 1, PROBS, 1 - PROBS)).mean()
    own = np.logaddexp(0, np.where(MASK == 1, -1, 1) * LOGITS * 3).mean()
    expected = [own if told else loss, loss]
    found = [row["measures"]["bce_mean"]["value"] for row in rows]
    assert found == pytest.approx(expected, rel=1e-9)


def test_a_scale_for_all_models_never_divides_logits(tmp_path: Path) -> None:
    command = two_models(tmp_path, LOGITS, PROBS * 100)
    done = run(*command, "--kind", "A=logit", "--scale", "100")
    assert done.code == 2
    assert "--scale NAME=100" in done.err


@pytest.mark.parametrize("scale", [100, "100", "B=100", ["B=100"], {"B": 100}])
def test_a_scale_is_taken_in_python(tmp_path: Path, scale: Any) -> None:
    save(tmp_path / "gt" / "a.npy", MASK)
    save(tmp_path / "B" / "a.npy", PROBS * 100)
    target = tmp_path / "gt"
    found = cdstats.loss({"B": str(tmp_path / "B")}, target=target, scale=scale)
    guess = PROBS >= 0.5
    assert found.models[0].dataset.tp == int((guess & (MASK == 1)).sum())
