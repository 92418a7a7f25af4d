"""Large rasters: counted in parts, by whoever has time, as if they were read whole."""

from __future__ import annotations

import os
from functools import partial
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import rasterio
from hypothesis import given, settings
from hypothesis import strategies as st
from work_items import count_and_mark, die_of, in_small_parts

from cdstats.core.counts import Counted
from cdstats.core.division import Divided
from cdstats.core.errors import DIED
from cdstats.engine import work
from cdstats.engine.work import run
from cdstats.io import counting
from cdstats.io.counting import Task, count_file, count_or_divide, join_parts

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

WIDTH, HEIGHT = 150, 203


def pixels(seed: int = 1, dtype: str = "uint8") -> NDArray[Any]:
    rng = np.random.default_rng(seed)
    return rng.choice([0, 0, 0, 1, 255], (HEIGHT, WIDTH)).astype(dtype)


def raster(path: Path, values: NDArray[Any], **options: Any) -> Path:
    height, width = values.shape
    profile = {"driver": "GTiff", "width": width, "height": height, "count": 1}
    with rasterio.open(path, "w", **profile, dtype=values.dtype, **options) as file:
        file.write(values, 1)
    return path


LAYOUTS = [
    pytest.param({"tiled": True, "blockxsize": 16, "blockysize": 32}, id="tiles"),
    pytest.param({"blockysize": 7, "compress": "lzw"}, id="strips"),
    pytest.param({"tiled": True, "blockxsize": 64, "blockysize": 64}, id="wide tiles"),
]

pytestmark = pytest.mark.filterwarnings(
    "ignore::rasterio.errors.NotGeoreferencedWarning"
)


@pytest.fixture
def small_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(counting, "DIVIDED_PIXELS", 5_000)
    monkeypatch.setattr(counting, "PART_PIXELS", 5_000)


def divided(path: Path, **options: Any) -> Divided[Task, list[Counted]]:
    found = count_or_divide(Task(str(path)), **options)
    assert isinstance(found, Divided)
    return found


@pytest.mark.parametrize("compress", ["deflate", "lzw", "zstd"])
def test_a_raster_of_one_packed_strip_is_not_divided(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, compress: str
) -> None:
    monkeypatch.setattr(counting, "DIVIDED_PIXELS", 5_000)
    monkeypatch.setattr(counting, "PART_PIXELS", 3_000)
    whole = {"blockysize": HEIGHT, "tiled": False}
    packed = raster(tmp_path / "a.tif", pixels(), **whole, compress=compress)
    assert isinstance(count_or_divide(Task(str(packed))), list)
    plain = raster(tmp_path / "b.tif", pixels(), **whole)
    assert len(divided(plain).parts) > 1


@pytest.mark.usefixtures("small_parts")
@pytest.mark.parametrize("layout", LAYOUTS)
def test_parts_of_a_raster_give_what_the_whole_gives(
    tmp_path: Path, layout: dict[str, Any]
) -> None:
    path = raster(tmp_path / "a.tif", pixels(), nodata=1, **layout)
    whole = count_file(Task(str(path)))
    tasks = [Task(str(path)), Task(str(path))]
    for jobs in (1, *([2] if "compress" in layout else [])):
        found = dict(run(in_small_parts, tasks, jobs=jobs, lost=lost))
        assert found == {0: whole, 1: whole}
    assert len(divided(path).parts) > 3


@settings(max_examples=20, deadline=None, derandomize=True)
@given(
    cuts=st.sets(st.integers(1, HEIGHT - 1), max_size=8),
    seed=st.integers(0, 5),
    values=st.sampled_from(["uint8", "int16", "float32"]),
)
def test_counts_of_any_windows_add_up_to_the_whole(
    tmp_path_factory: pytest.TempPathFactory, cuts: set[int], seed: int, values: str
) -> None:
    path = tmp_path_factory.mktemp("law") / "a.tif"
    raster(path, pixels(seed, values), blockysize=1, nodata=255)
    edges = [0, *sorted(cuts), HEIGHT]
    parts = [
        count_file(Task(str(path), rows=(start, stop)))
        for start, stop in pairwise(edges)
    ]
    assert join_parts(parts, None) == count_file(Task(str(path)))


@pytest.mark.usefixtures("small_parts")
def test_parts_of_many_values_are_labelled_as_the_whole(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(counting, "MAX_DISTINCT", 900)
    values = np.linspace(0, 1, HEIGHT * WIDTH, dtype=np.float32)
    path = raster(tmp_path / "a.tif", values.reshape(HEIGHT, WIDTH), blockysize=3)
    division = divided(path, edges=(0.5,))
    parts = [count_file(part, edges=(0.5,)) for part in division.parts]
    (joined,) = division.join(parts)
    assert joined.mask is not None
    changed = sum(
        count
        for value, count in joined.mask.counts.values.items()
        if isinstance(value, (int, float)) and value >= 0.5
    )
    assert changed == int((values >= 0.5).sum())
    (refused,) = join_parts([count_file(part) for part in division.parts], None)
    assert "looks like an image" in refused.reason


@pytest.mark.usefixtures("small_parts")
def test_a_damaged_part_fails_the_whole_file(tmp_path: Path) -> None:
    path = raster(tmp_path / "a.tif", pixels(), blockysize=16, compress="deflate")
    data = bytearray(path.read_bytes())
    middle = len(data) // 2
    data[middle : middle + 900] = bytes(900)
    path.write_bytes(data)
    found = dict(run(in_small_parts, [Task(str(path))] * 2, jobs=2, lost=lost))
    for (one,) in found.values():
        assert one.mask is None
        assert "TIFF file is damaged" in one.reason
        assert one.size == (WIDTH, HEIGHT)


def test_parts_of_a_file_that_was_exchanged_are_not_joined(tmp_path: Path) -> None:
    path = raster(tmp_path / "a.tif", pixels(), blockysize=1)
    first = count_file(Task(str(path), rows=(0, 100)))
    raster(path, pixels()[:, :90], blockysize=1)
    second = count_file(Task(str(path), rows=(100, HEIGHT)))
    (joined,) = join_parts([first, second], None)
    assert (joined.mask, joined.reason) == (None, "was changed while it was read")
    (gone,) = count_file(Task(str(path), rows=(HEIGHT, HEIGHT + 1)))
    assert (gone.mask, gone.reason) == (None, "was changed while it was read")


@pytest.mark.usefixtures("small_parts")
def test_a_large_raster_alone_is_shared_among_workers(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(work, "PROBE_SECONDS", 0.0)
    monkeypatch.setattr(work, "WORTH_SECONDS", 0.0)
    path = raster(tmp_path / "a.tif", pixels(), blockysize=1)
    marked = partial(count_and_mark, tmp_path)
    ((place, found),) = run(marked, [Task(str(path))], jobs=2, lost=lost)
    assert (place, found) == (0, count_file(Task(str(path))))
    helpers = {name.name for name in tmp_path.glob("*.pid")} - {f"{os.getpid()}.pid"}
    assert 1 <= len(helpers) <= 2


@pytest.mark.usefixtures("small_parts")
def test_a_worker_that_dies_of_a_part_fails_the_whole_file(tmp_path: Path) -> None:
    path = raster(tmp_path / "a.tif", pixels(), blockysize=1)
    good = raster(tmp_path / "good.tif", pixels(), blockysize=1)
    tasks = [Task(str(path)), Task(str(good))]
    deadly = divided(path).parts[2]
    found = dict(run(partial(die_of, deadly), tasks, jobs=2, lost=lost))
    assert found == {0: lost(deadly, DIED), 1: count_file(Task(str(good)))}


def lost(_: Task, reason: str) -> list[Counted]:
    return [Counted("", None, reason)]
