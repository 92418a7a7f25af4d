"""Crops that are named by the numbers of tiles: where the last ones lie."""

from __future__ import annotations

import json
import re
import shlex
from typing import TYPE_CHECKING, Any

import helpers
import numpy as np
import pytest
from affine import Affine
from typer.testing import CliRunner

import cdstats
from cdstats.cli import app
from cdstats.core.errors import DataError

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    Array = NDArray[Any]

pytestmark = [
    pytest.mark.filterwarnings("ignore:Dataset has no geotransform"),
    pytest.mark.filterwarnings("ignore:Use `@` matmul:PendingDeprecationWarning"),
]
RANDOM = np.random.default_rng(5)
MASK = (RANDOM.random((40, 56)) < 0.3).astype(np.uint8)
TILE = 16
NAMES = ("{row}_{col}", "{n}")


def corners(whole: int, way: str) -> list[int]:
    """Where tiles begin along one side."""
    if way == "spaced":
        count = -(-whole // TILE)
        return [n * (whole - TILE) // (count - 1) for n in range(count)]
    if way == "half":
        return list(range(0, whole - TILE + 1, TILE // 2))
    found = list(range(0, whole, TILE))
    return [min(at, whole - TILE) for at in found] if way == "shift" else found


def write(
    root: Path,
    way: str,
    names: str = "{row}_{col}",
    first: int = 0,
    mask: Array = MASK,
    skipped: Sequence[int] = (),
) -> tuple[str, str]:
    """Write a mask, and the mask itself as tiles."""
    (root / "t").mkdir(exist_ok=True)
    (root / "p").mkdir(exist_ok=True)
    np.save(root / "t/a.npy", mask)
    ends = [(0, 0)] * 2 if way == "cut" else [(0, TILE)] * 2
    padded = np.pad(mask, ends, constant_values=1)
    tops, lefts = (corners(side, way) for side in mask.shape)
    places = [(r, c) for r in range(len(tops)) for c in range(len(lefts))]
    for number, (r, c) in enumerate(places):
        if number not in skipped:
            at = {"row": r + first, "col": c + first, "n": number + first}
            part = padded[tops[r] :, lefts[c] :][:TILE, :TILE]
            np.save(root / f"p/a_{names.format(**at)}.npy", part)
    return f"{root}/p/{{}}_{names}.npy", f"{root}/t/{{}}.npy"


def reasons(pred: object, target: str, **options: Any) -> set[str]:
    run = cdstats.loss(pred, target, errors="keep", **options)  # type: ignore[arg-type]
    assert all(row.status == "failed" for row in run.images)
    return {row.reason for row in run.images}


def is_perfect(pred: object, target: str, mask: Array = MASK, **options: Any) -> bool:
    run = cdstats.loss(pred, target, **options)  # type: ignore[arg-type]
    one = run.models[0].dataset
    assert not run.failed
    changed = int(mask.sum())
    return (one.tp, one.fp, one.fn, one.tn) == (changed, 0, 0, mask.size - changed)


@pytest.mark.parametrize("names", NAMES)
@pytest.mark.parametrize("first", [0, 1])
@pytest.mark.parametrize("way", ["pad", "shift"])
def test_last_tiles_of_full_size_are_refused_and_each_way_works(
    way: str, names: str, first: int, tmp_path: Path
) -> None:
    pred, target = write(tmp_path, way, names, first)
    words = ["loss", "--pred", pred, "--target", target, "--format", "json"]
    refused = CliRunner().invoke(app, words)
    assert refused.exit_code == 1
    (reason,) = {row["reason"] for row in json.loads(refused.stdout)["images"]}
    ways = re.findall(r"(?:--overlap \w+ )?--edge \w+", reason)
    assert [one.split()[-1] for one in ways] == ["pad", "shift"]
    assert set(ways) <= set(re.findall("|".join(ways), refused.stderr))
    for one in ways:
        done = CliRunner().invoke(app, [*words, *shlex.split(one)])
        assert done.exit_code == 0, done.stderr
        counts = json.loads(done.stdout)["dataset"]
        perfect = counts["fp"] == counts["fn"] == 0
        assert perfect == (way in one), one
        assert counts["tp"] + counts["fn"] == MASK.sum()


@pytest.mark.parametrize("overlap", ["mean", "first", "centre"])
@pytest.mark.parametrize("uncovered", ["fail", "ignore", "unchanged"])
def test_shifted_tiles_are_merged_in_every_way(
    overlap: str, uncovered: str, tmp_path: Path
) -> None:
    pred, target = write(tmp_path, "shift")
    for path in (tmp_path / "p").iterdir():
        np.save(path, np.load(path).astype(np.float32))
    options: dict[str, Any] = {"overlap": overlap, "uncovered": uncovered}
    (reason,) = reasons(pred, target, **options)
    assert 'edge="pad"' in reason
    assert 'edge="shift" shifts' in reason
    assert is_perfect(pred, target, edge="shift", **options)


def test_the_first_and_the_nearest_score_of_a_shifted_tile(tmp_path: Path) -> None:
    scores = RANDOM.random((2, TILE, TILE)).astype(np.float32)
    mask = MASK[:TILE, :20]
    (tmp_path / "p").mkdir()
    np.save(tmp_path / "t.npy", mask)
    for number, tile in enumerate(scores):
        np.save(tmp_path / f"p/t_0_{number}.npy", tile)
    first = np.hstack([scores[0], scores[1][:, 12:]])
    centre = np.hstack([scores[0][:, :10], scores[1][:, 6:]])
    mean = first.copy()
    mean[:, 4:16] = (scores[0][:, 4:] + scores[1][:, :12]) / 2
    for overlap, right in (("first", first), ("centre", centre), ("mean", mean)):
        pred, target = f"{tmp_path}/p/{{}}_{{row}}_{{col}}.npy", f"{tmp_path}/{{}}.npy"
        run = cdstats.loss(pred, target, edge="shift", overlap=overlap)
        total = run.models[0].dataset.prob_sum
        assert total == pytest.approx(right.sum(dtype=np.float64), rel=1e-6)


def test_shifted_tiles_need_a_way_to_merge(tmp_path: Path) -> None:
    pred, target = write(tmp_path, "shift")
    run = cdstats.loss(pred, target, edge="shift", errors="keep")
    assert any("overlaps another crop" in row.reason for row in run.images)


@pytest.mark.parametrize("edge", ["refuse", "pad", "shift"])
@pytest.mark.parametrize("names", NAMES)
def test_smaller_last_tiles_say_that_they_are_cut(
    names: str, edge: str, tmp_path: Path
) -> None:
    assert is_perfect(*write(tmp_path, "cut", names), edge=edge)


@pytest.mark.parametrize("shape", [(32, 48), (10, 12)], ids=["fit", "one-tile"])
@pytest.mark.parametrize("edge", ["refuse", "pad", "shift"])
def test_tiles_that_lie_in_one_way_need_no_option(
    shape: tuple[int, int], edge: str, tmp_path: Path
) -> None:
    mask = MASK[: shape[0], : shape[1]]
    assert is_perfect(*write(tmp_path, "pad", mask=mask), mask, edge=edge)


@pytest.mark.parametrize("shape", [(40, 48), (32, 56)], ids=["rows", "columns"])
@pytest.mark.parametrize("way", ["pad", "shift"])
@pytest.mark.parametrize("names", NAMES)
def test_one_side_that_does_not_fit_is_enough(
    names: str, way: str, shape: tuple[int, int], tmp_path: Path
) -> None:
    mask = MASK[: shape[0], : shape[1]]
    pred, target = write(tmp_path, way, names, mask=mask)
    assert len(reasons(pred, target)) == 1
    assert is_perfect(pred, target, mask, edge=way, overlap="first")


@pytest.mark.parametrize("names", NAMES)
@pytest.mark.parametrize("first", [0, 1])
@pytest.mark.parametrize("shape", [(40, 56), (32, 48)], ids=["rest", "fit"])
def test_more_tiles_than_lie_side_by_side_are_refused(
    names: str, first: int, shape: tuple[int, int], tmp_path: Path
) -> None:
    mask = MASK[: shape[0], : shape[1]]
    pred, target = write(tmp_path, "half", names, first, mask)
    for options in ({}, {"edge": "shift"}, {"overlap": "first"}):
        (reason,) = reasons(pred, target, **options)
        assert "do not fit the mask" in reason
        assert "{y} and {x}" in reason


@pytest.mark.parametrize("names", NAMES)
def test_tiles_that_overlap_evenly_are_not_mistaken(names: str, tmp_path: Path) -> None:
    (reason,) = reasons(*write(tmp_path, "spaced", names))
    assert "If all tiles overlap, name them by {y} and {x}" in reason


@pytest.mark.parametrize("way", ["pad", "shift"])
def test_a_row_of_numbered_tiles_is_known_only_with_all(
    way: str, tmp_path: Path
) -> None:
    pred, target = write(tmp_path, way, "{n}", skipped=[5])
    options = {"edge": way, "overlap": "first", "uncovered": "ignore"}
    (reason,) = reasons(pred, target, **options)
    assert "11 tiles of 12 were found" in reason


def test_tiles_without_the_last_row_and_column_are_not_misplaced(
    tmp_path: Path,
) -> None:
    whole = MASK[:32, :48]
    pred, _ = write(tmp_path, "pad", "{n}", mask=whole)
    np.save(tmp_path / "t/a.npy", MASK)
    for options in ({}, {"edge": "pad"}, {"uncovered": "ignore", "edge": "pad"}):
        assert len(reasons(pred, f"{tmp_path}/t/{{}}.npy", **options)) == 1


@pytest.mark.parametrize("way", ["pad", "shift"])
def test_a_georeference_says_where_the_last_tiles_lie(way: str, tmp_path: Path) -> None:
    def save(path: Path, values: Array, y: int, x: int) -> None:
        at = Affine(2, 0, 1000 + 2 * x, 0, -2, 5000 - 2 * y)
        helpers.save(path, values, crs="EPSG:32633", transform=at)

    save(tmp_path / "t/a.tif", MASK, 0, 0)
    padded = np.pad(MASK, [(0, TILE)] * 2, constant_values=1)
    for r, y in enumerate(corners(40, way)):
        for c, x in enumerate(corners(56, way)):
            part = padded[y : y + TILE, x : x + TILE]
            save(tmp_path / f"p/a_{r}_{c}.tif", part, y, x)
    pred, target = f"{tmp_path}/p/{{}}_{{row}}_{{col}}.tif", f"{tmp_path}/t/{{}}.tif"
    assert is_perfect(pred, target, overlap="first")
    other = {"pad": "shift", "shift": "pad"}[way]
    (reason,) = reasons(pred, target, overlap="first", edge=other)
    assert "pixels" in reason


def test_offsets_need_no_option(tmp_path: Path) -> None:
    pred, target = write(tmp_path, "pad")
    for path in sorted((tmp_path / "p").iterdir()):
        row, col = (int(n) for n in path.stem.split("_")[1:])
        y, x = corners(40, "shift")[row], corners(56, "shift")[col]
        np.save(tmp_path / f"p/y_{y}_{x}.npy", MASK[y : y + TILE, x : x + TILE])
        path.unlink()
    np.save(tmp_path / "t/y.npy", MASK)
    (tmp_path / "t/a.npy").unlink()
    pred = pred.replace("{row}_{col}", "{y}_{x}")
    assert is_perfect(pred, target, overlap="first")


def test_models_are_compared_and_drawn_by_the_same_placement(tmp_path: Path) -> None:
    pred, target = write(tmp_path, "shift")
    options: dict[str, Any] = {"edge": "shift", "overlap": "first"}
    models = [f"{name}={pred}" for name in "ab"]
    run = cdstats.compare(models, target, resamples=5, **options)
    assert [one.compared["f1_pooled"].value for one in run.models] == [1.0, 1.0]
    with pytest.raises(DataError):
        cdstats.compare(models, target, resamples=5)
