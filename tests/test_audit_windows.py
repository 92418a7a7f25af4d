"""`audit` of large masks in windows finds what it finds in the whole mask."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import rasterio
from rasterio.transform import from_origin

import cdstats
from cdstats.io import raster, targets
from cdstats.scan import inspection

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.mark.filterwarnings("ignore::PendingDeprecationWarning")
@pytest.mark.parametrize("tiled", [True, False])
@pytest.mark.parametrize("value", [1, 255])
def test_windows_give_the_audit_of_the_whole_mask(
    tiled: bool, value: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    random = np.random.default_rng(value)
    mask = (random.random((75, 100)) < 0.4).astype(np.uint8) * value
    mask[20:40] = 0
    with rasterio.open(
        tmp_path / "0.tif",
        "w",
        driver="GTiff",
        dtype="uint8",
        width=100,
        height=75,
        count=1,
        transform=from_origin(0, 75, 1, 1),
        **({"tiled": True, "blockxsize": 16, "blockysize": 16} if tiled else {}),
    ) as file:
        file.write(mask[None])
    whole = cdstats.audit(tmp_path)
    monkeypatch.setattr(inspection, "_HELD_PIXELS", 0)
    monkeypatch.setattr(inspection, "STRIP_PIXELS", 700)
    monkeypatch.setattr(raster, "BLOCK_PIXELS", 16 * 48)
    parts = cdstats.audit(tmp_path)
    assert parts.regions == whole.regions
    assert parts.regions[0].regions > 50
    assert parts.images == whole.images
    assert parts.findings == whole.findings
    for one, two in zip(parts.heat_maps, whole.heat_maps, strict=True):
        assert repr(one) == repr(two)
    (tmp_path / "1.tif").write_bytes((tmp_path / "0.tif").read_bytes())
    assert len(cdstats.audit(tmp_path).duplicates) == 1


@pytest.mark.filterwarnings("ignore::PendingDeprecationWarning")
def test_pairs_of_partial_masks_are_never_held_whole(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    side = 2048
    marks = np.zeros((side, side), dtype=np.uint8)
    for name, square in (("change", (4, 40)), ("unchanged", (400, 2000))):
        marks[:] = 0
        marks[slice(*square), slice(*square)] = 255
        path = tmp_path / f"{name}.tif"
        how: dict[str, Any] = {"dtype": "uint8", "width": side, "height": side}
        how |= {"count": 1, "transform": from_origin(0, side, 1, 1)}
        with rasterio.open(path, "w", driver="GTiff", blockysize=8, **how) as file:
            file.write(marks[None])
    held = []
    check = targets.pair_strips

    def seen(*images: Any) -> Iterator[Any]:
        for strip in check(*images):
            held.append(strip.size)
            yield strip

    monkeypatch.setattr(inspection, "pair_strips", seen)
    monkeypatch.setattr(raster, "BLOCK_PIXELS", 1 << 16)
    found = cdstats.audit(tmp_path, preset="partial-pair")
    row = found.images[0]
    assert (row.changed, row.unchanged) == (36**2, 1600**2)
    assert (found.regions[0].regions, found.regions[0].size_max) == (1, 36**2)
    assert sum(held) == side**2
    assert max(held) < side**2 / 8
