"""Files beside an image: nodata and georeference, as rasterio has them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import rasterio
from affine import Affine
from helpers import run, save
from PIL import Image

import cdstats
from cdstats.core.errors import DataError
from cdstats.io.masks import open_masks
from cdstats.io.sidecars import NOTHING, read_auxiliary

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

    Array = NDArray[Any]

pytestmark = [
    pytest.mark.filterwarnings("ignore:Dataset has no geotransform"),
    pytest.mark.filterwarnings("ignore:Use `@` matmul:PendingDeprecationWarning"),
]
RNG = np.random.default_rng(3)
MASK = RNG.choice(np.array([0, 1, 9], np.uint8), (20, 30), p=[0.6, 0.3, 0.1])
HERE = Affine(1, 0, 500_000, 0, -1, 5_000_000)


def declare(path: Path, body: str) -> None:
    (path.parent / f"{path.name}.aux.xml").write_text(
        f"<PAMDataset>{body}</PAMDataset>"
    )


def nodata(value: object, band: int = 1) -> str:
    return (
        f'<PAMRasterBand band="{band}"><Description>x</Description>'
        f"<NoDataValue>{value}</NoDataValue></PAMRasterBand>"
    )


def write(path: Path, values: Array) -> None:
    """Write labels 0, 1 and 9 in the format that a name asks for."""
    kind = path.stem
    path.parent.mkdir(exist_ok=True)
    if kind == "palette":
        image = Image.fromarray(values, mode="P")
        image.putpalette([0, 0, 0, 255, 255, 255, *[3, 4, 5] * 8])
        image.save(path)
    elif kind == "grey_palette":
        image = Image.fromarray(values, mode="P")
        image.putpalette([one for level in range(256) for one in [level] * 3])
        image.save(path)
    elif kind == "rgb":
        Image.fromarray(np.dstack([values] * 3)).save(path)
    elif kind == "deep":
        Image.fromarray(values.astype(np.uint16)).save(path)
    elif path.suffix == ".tif":
        packed = {"compress": "lzw"} if kind == "lzw" else {}
        save(path, values, **packed)
    else:
        Image.fromarray(values).save(path)


KINDS = [
    *("plain.png", "palette.png", "grey_palette.png", "rgb.png", "deep.png"),
    *("plain.bmp", "plain.tif", "lzw.tif"),
]


@pytest.mark.parametrize("name", KINDS)
def test_declared_nodata_of_a_mask_is_ignored(name: str, tmp_path: Path) -> None:
    path = tmp_path / name
    write(path, MASK)
    bands = 3 if name == "rgb.png" else 1
    declare(path, "".join(nodata(9, band + 1) for band in range(bands)))
    with rasterio.open(path) as file:
        hidden = int((file.read_masks(1) == 0).sum())
    assert hidden == (MASK == 9).sum()
    (row,) = cdstats.ratio(path, changed=1, unchanged="0").images
    assert (row.ignored, row.changed) == (hidden, (MASK == 1).sum())


@pytest.mark.parametrize("name", KINDS)
def test_declared_nodata_of_a_prediction_has_no_score(
    name: str, tmp_path: Path
) -> None:
    path = tmp_path / "p" / name
    write(path, MASK)
    declare(path, nodata(9))
    (tmp_path / "t").mkdir()
    truth = (MASK == 1).astype(np.uint8)
    save(tmp_path / "t" / f"{path.stem}.tif", truth)
    rule: dict[str, Any] = {"pred_changed": 1, "pred_unchanged": "0,9"}
    where = (tmp_path / "p", tmp_path / "t")
    (row,) = cdstats.loss(*where, **rule, errors="keep").images
    assert f"no score at {(MASK == 9).sum()} valid pixels" in row.reason
    (row,) = cdstats.loss(*where, **rule, pred_nodata="ignore").images
    assert (row.changed or 0) + (row.unchanged or 0) == (MASK != 9).sum()


@pytest.mark.parametrize(
    ("value", "dtype", "expected"),
    [
        ("9", "uint8", 9),
        ("-9999", "float32", -9999),
        ("nan", "float32", "nan"),
        ("-3.4028234663852886e+38", "float32", -(2**128 - 2**104)),
        ("300", "uint8", None),
        ("0.1", "float64", 0.1),
    ],
)
def test_nodata_is_read_as_numbers_of_the_type(
    value: str, dtype: str, expected: object, tmp_path: Path
) -> None:
    path = tmp_path / "a.tif"
    save(path, np.zeros((2, 3), dtype))
    declare(path, nodata(value))
    assert open_masks(str(path), "", None)[0].nodata == expected


def test_bytes_of_a_number_come_before_its_text(tmp_path: Path) -> None:
    exact = '<NoDataValue le_hex_equiv="0000000000002240">'
    body = nodata(7).replace("<NoDataValue>", exact)
    path = tmp_path / "a.png"
    write(path, MASK)
    declare(path, body)
    with rasterio.open(path) as file:
        assert file.nodata == 9
    assert open_masks(str(path), "", None)[0].nodata == 9


def test_nodata_of_another_band_is_not_that_of_the_band_read(tmp_path: Path) -> None:
    path = tmp_path / "a.tif"
    save(path, np.stack([MASK, MASK]))
    declare(path, nodata(1, band=2))
    assert open_masks(str(path), "", 1)[0].nodata is None
    assert open_masks(str(path), "", 2)[0].nodata == 1


def test_a_file_beside_comes_before_the_tag(tmp_path: Path) -> None:
    path = tmp_path / "a.tif"
    save(path, MASK, nodata=0)
    declare(path, nodata(9))
    (row,) = cdstats.ratio(path, changed=1, unchanged="rest").images
    assert row.ignored == (MASK == 9).sum()


def test_a_class_that_nodata_takes_away_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.png"
    Image.fromarray((MASK == 1).astype(np.uint8) * 255).save(path)
    declare(path, nodata(0))
    with pytest.raises(
        DataError, match="declares nodata 0, which removes all unchanged"
    ):
        cdstats.ratio(path)


def test_statistics_alone_change_nothing(tmp_path: Path) -> None:
    path = tmp_path / "a.png"
    write(path, MASK)
    declare(path, '<PAMRasterBand band="1"><Metadata/></PAMRasterBand>')
    assert open_masks(str(path), "", None)[0].nodata is None


@pytest.mark.parametrize(
    "text", ["<PAMDataset><PAMRasterBand", "<!DOCTYPE a><PAMDataset/>", "", "\0\1"]
)
def test_a_file_that_cannot_be_read_is_refused(text: str, tmp_path: Path) -> None:
    path = tmp_path / "a.png"
    write(path, MASK)
    (tmp_path / "a.png.aux.xml").write_text(text)
    with pytest.raises(
        DataError, match=r"a\.png\.aux\.xml beside it cannot be read, but may decl"
    ):
        open_masks(str(path), "", None)


def test_a_file_of_another_program_says_nothing(tmp_path: Path) -> None:
    (tmp_path / "a.png.aux.xml").write_text("<metadata/>")
    assert read_auxiliary(str(tmp_path / "a.png")) == NOTHING


@pytest.mark.parametrize("kind", ["pages", "sparse"])
def test_nodata_beside_what_it_does_not_fit_is_refused(
    kind: str, tmp_path: Path
) -> None:
    path = tmp_path / "a.tif"
    if kind == "pages":
        pages = [Image.fromarray(MASK)] * 2
        pages[0].save(path, save_all=True, append_images=pages[1:])
    else:
        size = {"count": 1, "width": 64, "height": 64, "dtype": "uint8"}
        how = {"compress": "lzw", "SPARSE_OK": True}
        with rasterio.open(path, "w", "GTiff", **size, **how):
            pass
    declare(path, nodata(7))
    with pytest.raises(DataError, match=r"\.aux\.xml file beside it declares nodata 7"):
        open_masks(str(path), "", None)


def test_blocks_that_are_left_out_are_nodata(tmp_path: Path) -> None:
    path = tmp_path / "a.tif"
    size = {"count": 1, "width": 64, "height": 64, "dtype": "uint8"}
    with rasterio.open(path, "w", "GTiff", SPARSE_OK=True, **size):
        pass
    declare(path, nodata(7))
    (row,) = cdstats.ratio(path, changed=1, unchanged=0).images
    assert row.ignored == 64 * 64


def test_a_pair_of_channels_has_no_score_where_nodata_is(tmp_path: Path) -> None:
    logits = RNG.normal(size=(2, 20, 30)).astype(np.float32)
    logits[:, 3] = -9999
    save(tmp_path / "p.tif", logits, nodata=-9999)
    save(tmp_path / "t.tif", (MASK == 1).astype(np.uint8))
    where = (tmp_path / "p.tif", tmp_path / "t.tif")
    (row,) = cdstats.loss(*where, kind="logit", errors="keep").images
    assert "no score at 30 valid pixels" in row.reason
    (row,) = cdstats.loss(*where, kind="logit", pred_nodata="ignore").images
    assert (row.changed or 0) + (row.unchanged or 0) == 19 * 30


def test_counts_that_are_kept_follow_the_files_beside(tmp_path: Path) -> None:
    path, cache = tmp_path / "m/a.png", tmp_path / "counts"
    write(path, MASK)
    line: dict[str, Any] = {"changed": 1, "unchanged": "rest", "cache": cache}
    assert cdstats.ratio(tmp_path / "m", **line).images[0].ignored == 0
    declare(path, nodata(9))
    ignored = int((MASK == 9).sum())
    assert cdstats.ratio(tmp_path / "m", **line).images[0].ignored == ignored
    declare(path, nodata(0))
    assert cdstats.ratio(tmp_path / "m", **line).images[0].ignored == (MASK == 0).sum()
    (tmp_path / "m/a.png.aux.xml").unlink()
    assert cdstats.ratio(tmp_path / "m", **line).images[0].ignored == 0


def place(where: Affine, system: str = "") -> str:
    numbers = ", ".join(map(str, where.to_gdal()))
    srs = f"<SRS>{system}</SRS>" if system else ""
    return f"{srs}<GeoTransform>{numbers}</GeoTransform>"


EAST = HERE @ Affine.translation(5, 0)


@pytest.mark.parametrize(
    ("inside", "beside", "words"),
    [
        (HERE, place(EAST), "lies 5 pixels east"),
        (EAST, place(HERE), ""),
        (HERE, "<SRS>EPSG:32634</SRS>", "is EPSG:32634, its mask EPSG:32633"),
        (HERE, place(Affine.identity()), ""),
    ],
)
def test_a_georeference_beside_comes_before_that_inside(
    inside: Affine | None, beside: str, words: str, tmp_path: Path
) -> None:
    known: dict[str, Any] = {"transform": inside, "crs": "EPSG:32633"} if inside else {}
    labels = (MASK == 1).astype(np.uint8)
    save(tmp_path / "p.tif", labels, **known)
    save(tmp_path / "t.tif", labels, transform=HERE, crs="EPSG:32633")
    declare(tmp_path / "p.tif", beside)
    where = (str(tmp_path / "p.tif"), "--target", str(tmp_path / "t.tif"))
    line = ("loss", "--pred", *where, "--format", "json", "--by", "image")
    (row,) = run(*line).data()["images"]
    assert row["status"] == ("failed" if words else "ok")
    assert words in (row["reason"] or "")
    assert row["grid"] == "check"


def test_a_world_file_may_have_commas_as_decimal_points(tmp_path: Path) -> None:
    labels = (MASK == 1).astype(np.uint8)
    path = tmp_path / "p.png"
    Image.fromarray(labels).save(path)
    (tmp_path / "p.pgw").write_text("1,0\n0\n0\n-1,0\n500003,5\n4999999,5\n")
    with rasterio.open(path) as file:
        assert file.transform == HERE @ Affine.translation(3, 0)
    save(tmp_path / "t.tif", labels, transform=HERE, crs="EPSG:32633")
    (row,) = cdstats.loss(path, tmp_path / "t.tif", errors="keep").images
    assert "lies 3 pixels east" in row.reason


def test_a_world_file_has_the_system_of_the_file_beside(tmp_path: Path) -> None:
    labels = (MASK == 1).astype(np.uint8)
    Image.fromarray(labels).save(tmp_path / "p.png")
    (tmp_path / "p.pgw").write_text("1\n0\n0\n-1\n500000.5\n4999999.5\n")
    declare(tmp_path / "p.png", "<SRS>EPSG:32634</SRS>")
    save(tmp_path / "t.tif", labels, transform=HERE, crs="EPSG:32633")
    (row,) = cdstats.loss(tmp_path / "p.png", tmp_path / "t.tif", errors="keep").images
    assert "is EPSG:32634, its mask EPSG:32633" in row.reason
