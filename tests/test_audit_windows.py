"""`audit` of large masks in windows finds what it finds in the whole mask."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest
import rasterio
from rasterio.transform import from_origin

import cdstats
from cdstats.io import raster
from cdstats.scan import inspection

if TYPE_CHECKING:
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
