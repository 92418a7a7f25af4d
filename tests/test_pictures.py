"""Pictures of errors add up to the counts of their rows."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import cdstats
from cdstats.core.charts import worst_images
from cdstats.core.errors import Message
from cdstats.core.material import Picture
from cdstats.score.pictures import SIDE, error_pictures
from cdstats.score.results import LossRun

RANDOM = np.random.default_rng(5)


def save(folder: Path, mask: Any, scores: Any) -> tuple[Path, Path]:
    (folder / "masks").mkdir()
    (folder / "preds").mkdir()
    np.save(folder / "masks/a.npy", mask)
    np.save(folder / "preds/a.npy", scores)
    return folder / "preds", folder / "masks"


def draw_worst(
    run: LossRun, images: int
) -> tuple[tuple[Picture, ...], tuple[Message, ...]]:
    """What a report draws of a run."""
    assert run.curves is not None
    return error_pictures(worst_images("", run.images, images), run.curves)


def draw(pred: Path, target: Path, **options: Any) -> tuple[Picture, ...]:
    run = cdstats.loss(pred, target, histograms=True, **options)
    assert [row.status for row in run.images] == ["ok"]
    pictures, notes = draw_worst(run, 3)
    assert notes == ()
    return pictures


def uniform(dtype: str) -> Any:
    return RANDOM.random((20, 30)).astype(dtype)


@pytest.mark.parametrize(
    ("scores", "options"),
    [
        pytest.param(uniform("float32"), {"threshold": 0.3}, id="float32"),
        pytest.param(uniform("float64"), {}, id="float64"),
        *(
            pytest.param(
                (40 * uniform("float32")).astype(dtype),
                {"kind": "logit", "threshold": 1 - 1e-9},
                id=f"sure-logits-{dtype}",
            )
            for dtype in ("float16", "float32", "float64")
        ),
        pytest.param(uniform("float16"), {"threshold": 0.3}, id="float16"),
        pytest.param(
            RANDOM.integers(0, 256, (20, 30)).astype("uint8"), {}, id="scaled-bytes"
        ),
        pytest.param(
            RANDOM.integers(0, 65536, (20, 30)).astype("uint16"), {}, id="scaled-uint16"
        ),
        pytest.param(
            255 * RANDOM.integers(0, 2, (20, 30)).astype("uint8"), {}, id="labels-255"
        ),
        pytest.param(
            RANDOM.integers(0, 2, (20, 30)).astype("int64"), {}, id="labels-1"
        ),
        pytest.param(RANDOM.integers(0, 2, (20, 30)) > 0, {}, id="bool"),
        pytest.param(
            RANDOM.normal(size=(20, 30)).astype("float32"),
            {"kind": "logit", "threshold": 0.6},
            id="logits",
        ),
    ],
)
def test_a_small_picture_shows_every_pixel_as_it_was_counted(
    tmp_path: Path, scores: Any, options: Any
) -> None:
    mask = RANDOM.integers(0, 2, (20, 30)).astype(np.uint8)
    mask[0, :5] = 255
    rule: Any = {"changed": "1", "unchanged": "0", "ignore": "255"}
    pred, target = save(tmp_path, mask, scores)
    (picture,) = draw(pred, target, **options, **rule)
    assert picture.shares.shape == (20, 30, 5)
    assert (picture.shares.sum(axis=2) == 1).all()
    outcome = picture.shares.argmax(axis=2)
    assert ((outcome == 4) == (mask == 255)).all()
    assert (np.isin(outcome, (0, 2)) == (mask == 1)).all()
    image = picture.image
    counts = (image.tp, image.fp, image.fn, image.tn, image.ignored)
    assert tuple(np.bincount(outcome.reshape(-1), minlength=5)) == counts


def test_a_large_picture_holds_the_shares_of_its_cells(tmp_path: Path) -> None:
    mask = np.zeros((2 * SIDE + 1, 40), dtype=np.uint8)
    mask[:100] = 1
    scores = RANDOM.random(mask.shape).astype(np.float32)
    (picture,) = draw(*save(tmp_path, mask, scores))
    rows, columns = picture.shares.shape[:2]
    assert (rows, columns) == (129, 14)
    assert (picture.width, picture.height) == (40, 2 * SIDE + 1)
    cell = mask[:3, :3] == 1, scores[:3, :3] >= 0.5
    assert picture.shares[0, 0, 0] == (cell[0] & cell[1]).sum() / 9


def test_a_crop_shows_its_window_of_the_mask(tmp_path: Path) -> None:
    mask = np.zeros((8, 8), dtype=np.uint8)
    mask[4:, 4:] = 1
    _, target = save(tmp_path, mask, mask)
    for y, x in ((0, 0), (0, 4), (4, 0), (4, 4)):
        np.save(tmp_path / f"a_{y}_{x}.npy", np.zeros((4, 4), dtype=np.float32))
    names = f"{tmp_path}/{{}}_{{y}}_{{x}}.npy", f"{target}/{{}}.npy"
    pictures, _ = draw_worst(cdstats.loss(*names, histograms=True), 1)
    assert (pictures[0].shares[..., 2] == 1).all()


def test_a_prediction_that_changed_since_has_no_picture(tmp_path: Path) -> None:
    mask = RANDOM.integers(0, 2, (6, 6)).astype(np.uint8)
    pred, target = save(tmp_path, mask, uniform("float32")[:6, :6])
    run = cdstats.loss(pred, target, histograms=True)
    np.save(pred / "a.npy", 1 - mask.astype(np.float32))
    pictures, notes = draw_worst(run, 1)
    assert pictures == ()
    assert [note.text for note in notes] == [
        "a.npy: no error image: when read again, its pixels do not match its counts"
    ]
