"""TIFF files of many pages, as tifffile, GDAL and Pillow write them, count exactly."""

from __future__ import annotations

import io
import subprocess
import sys
from collections import Counter
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import rasterio
import tifffile

from cdstats.core.counts import PixelCounts
from cdstats.core.labels import choose_rule
from cdstats.io import tiff_tables
from cdstats.io.counting import Task, count_file
from cdstats.io.masks import open_masks

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray


def stack(pages: int, shape: tuple[int, int] = (40, 52)) -> NDArray[np.uint8]:
    """Different pages of 0 and 255."""
    rng = np.random.default_rng(pages)
    found = rng.random((pages, *shape)) < rng.random((pages, 1, 1))
    return found.astype(np.uint8) * np.uint8(255)


def counts(path: Path) -> list[dict[Any, int]]:
    found = count_file(Task(str(path)))
    assert [one.reason for one in found] == [""] * len(found)
    return [dict(one.mask.counts.values) for one in found if one.mask is not None]


def expected(pages: NDArray[Any]) -> list[dict[Any, int]]:
    return [dict(sorted(Counter(page.ravel().tolist()).items())) for page in pages]


KINDS: dict[str, dict[str, Any]] = {
    "contiguous": {},
    "without metadata": {"metadata": None},
    "strips": {"rowsperstrip": 7},
    "tiles": {"tile": (16, 16)},
    "deflate": {"compression": "zlib"},
    "deflated tiles": {"compression": "zlib", "tile": (16, 16)},
    "LZMA": {"compression": "lzma"},
    "predictor": {"compression": "zlib", "predictor": True},
    "BigTIFF": {"bigtiff": True},
    "big-endian": {"byteorder": ">"},
    "OME": {"ome": True},
    "dated": {"software": "x", "datetime": True, "description": "a mask " * 9},
    "tags": {"extratags": [(65000, "s", 0, "a text of its own " * 3, False)]},
    "profile": {"iccprofile": bytes(range(256)) * 300},
}


@pytest.mark.parametrize("kind", KINDS)
def test_stacks_of_tifffile_are_read(tmp_path: Path, kind: str) -> None:
    for pages in (1, 2, 3, 9, 10, 11, 110):
        path, masks = tmp_path / f"{pages}.tif", stack(pages, (13, 52))
        tifffile.imwrite(path, masks, photometric="minisblack", **KINDS[kind])
        assert counts(path) == expected(masks), pages


@pytest.mark.parametrize("metadata", [{}, {"spacing": 3.9, "unit": "um"}])
def test_hyperstacks_of_imagej_are_read(
    tmp_path: Path, metadata: dict[str, Any]
) -> None:
    for pages in (1, 2, 3, 12):
        path, masks = tmp_path / f"{pages}.tif", stack(pages)
        tifffile.imwrite(
            path, masks, imagej=True, resolution=(2.6, 2.6),
            metadata={"axes": "ZYX", **metadata},
        )  # fmt: skip
        assert counts(path) == expected(masks), pages


@pytest.mark.parametrize("align", [2, 4, 16, 64, 4096])
@pytest.mark.parametrize("contiguous", [False, True])
def test_pages_that_are_written_one_by_one_are_read(
    tmp_path: Path, contiguous: bool, align: int
) -> None:
    path, masks = tmp_path / "a.tif", stack(11, (39, 51))
    with tifffile.TiffWriter(path) as writer:
        for page in masks:
            writer.write(page, contiguous=contiguous, align=align)
    assert counts(path) == expected(masks)


@pytest.mark.parametrize("pages", [1, 2, 3, 12])
@pytest.mark.parametrize("compression", [None, "zlib"])
@pytest.mark.parametrize("ome", [False, True])
def test_the_levels_of_a_pyramid_are_no_masks(
    tmp_path: Path, ome: bool, compression: str | None, pages: int
) -> None:
    path, masks = tmp_path / "a.tif", stack(pages)
    with tifffile.TiffWriter(path, ome=ome) as writer:
        for level in range(3):
            writer.write(
                masks[:, :: 1 << level, :: 1 << level],
                photometric="minisblack",
                tile=(16, 16),
                compression=compression,
                subifds=0 if level else 2,
                subfiletype=1 if level else 0,
            )
    assert counts(path) == expected(masks)


@pytest.mark.parametrize("writer", ["tifffile", "GDAL"])
def test_each_directory_is_read_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, writer: str
) -> None:
    path, masks = tmp_path / "a.tif", stack(60, (8, 9))
    if writer == "GDAL":
        appended(path, masks, compress="lzw")
    else:
        tifffile.imwrite(path, masks, photometric="minisblack", compression="zlib")
    places, read = list[int](), tiff_tables._Reader.directory

    def noted(reader: tiff_tables._Reader, place: int, is_page: bool) -> Any:
        places.append(place)
        return read(reader, place, is_page)

    monkeypatch.setattr(tiff_tables._Reader, "directory", noted)
    assert counts(path) == expected(masks)
    assert len(places) == len(set(places)) == 60


def appended(path: Path, pages: NDArray[Any], **profile: Any) -> None:
    """Write a stack with GDAL."""
    for number, page in enumerate(pages):
        more = {"APPEND_SUBDATASET": True} if number else {}
        with rasterio.open(
            path, "w", driver="GTiff", width=page.shape[1], height=page.shape[0],
            count=1, dtype=page.dtype, transform=rasterio.Affine(2, 0, 9, 0, -2, 9),
            **profile, **more,
        ) as file:  # fmt: skip
            file.write(page, 1)


def test_the_mask_of_each_page_hides_its_pixels(tmp_path: Path) -> None:
    path, masks = tmp_path / "a.tif", stack(2)
    shown = np.full(masks.shape, 255, np.uint8)
    shown[0, :5] = shown[1, :, :9] = 0
    with rasterio.Env(GDAL_TIFF_INTERNAL_MASK=True):
        for number, page in enumerate(masks):
            more = {"APPEND_SUBDATASET": True} if number else {}
            with rasterio.open(
                path, "w", driver="GTiff", width=52, height=40, count=1, dtype="uint8",
                compress="deflate", transform=rasterio.Affine(2, 0, 9, 0, -2, 9),
                **more,
            ) as file:  # fmt: skip
                file.write(page, 1)
                file.write_mask(shown[number])
    assert counts(path) == expected(
        np.array([page[seen > 0] for page, seen in zip(masks, shown, strict=True)],
                 dtype=object)
    )  # fmt: skip
    found = [one.mask for one in count_file(Task(str(path)))]
    hidden = [int((page == 0).sum()) for page in shown]
    assert [mask.counts.masked for mask in found if mask is not None] == hidden


@pytest.mark.parametrize("kind", ["deflate", "contiguous", "profile"])
@pytest.mark.parametrize("shade", [0, 1])
def test_a_page_that_the_chain_skips_is_noticed(
    tmp_path: Path, kind: str, shade: int
) -> None:
    path = tmp_path / "a.tif"
    tifffile.imwrite(path, stack(5) * shade, photometric="minisblack", **KINDS[kind])
    data = bytearray(path.read_bytes())
    pages = tiff_tables.read_tables(io.BytesIO(data), len(data)).chain
    at = data.index(pages[2].place.to_bytes(4, "little"), pages[1].place)
    data[at : at + 4] = pages[3].place.to_bytes(4, "little")
    path.write_bytes(data)
    (one,) = count_file(Task(str(path)))
    assert "belong to no page" in one.reason


def test_a_volume_is_refused_for_what_it_is(tmp_path: Path) -> None:
    path, tile = tmp_path / "a.tif", (1, 16, 16)
    shade = "minisblack"
    tifffile.imwrite(path, stack(4), photometric=shade, volumetric=True, tile=tile)
    (one,) = count_file(Task(str(path)))
    assert one.reason == "TIFF file holds a volume of 4 images; save them separately"


def test_bytes_behind_a_stack_are_damage(tmp_path: Path) -> None:
    path = tmp_path / "a.tif"
    tifffile.imwrite(path, stack(4), photometric="minisblack")
    whole = path.read_bytes()
    for more in (b"\0", b"\1\0\0\0", whole[-16:], whole[-300:]):
        path.write_bytes(whole + more)
        (one,) = count_file(Task(str(path)))
        assert "after its pixels and tables" in one.reason


# Nodata and palettes


@pytest.mark.parametrize("dtype", ["int64", "uint64"])
def test_nodata_of_64_bits_is_exact(tmp_path: Path, dtype: str) -> None:
    nodata = (1 << 62) + 1
    pixels = np.array([[0] * 30 + [1] * 50 + [nodata] * 20], dtype=dtype)
    tag = (42113, "s", 0, str(nodata), True)
    tifffile.imwrite(tmp_path / "a.tif", pixels, extratags=[tag])
    assert ignoring_nodata(tmp_path / "a.tif") == PixelCounts(50, 30, 20)


@pytest.mark.parametrize(
    ("text", "ignored"),
    [
        *((text, 0) for text in ("none", "", "-", "0x0", "0_0", "0 0", "-1", "1e30")),
        *((text, 30) for text in ("0", " 0", "-0", "0.0", "0e5")),
    ],
)
@pytest.mark.parametrize("dtype", ["uint8", "int64", "float32"])
def test_a_nodata_text_ignores_what_it_equals_as_a_number(
    tmp_path: Path, text: str, ignored: int, dtype: str
) -> None:
    pixels = np.array([[0] * 30 + [1] * 70], dtype=dtype)
    tag = (42113, "s", 0, text, True)
    tifffile.imwrite(tmp_path / "a.tif", pixels, extratags=[tag])
    assert ignoring_nodata(tmp_path / "a.tif") == PixelCounts(70, 30 - ignored, ignored)


def ignoring_nodata(path: Path) -> PixelCounts:
    rule = choose_rule(changed="1", unchanged="rest").rule
    assert rule is not None
    (one,) = count_file(Task(str(path)))
    assert one.mask is not None, one.reason
    return rule.apply(one.mask)


def test_a_palette_whose_colours_merge_in_8_bits_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.tif"
    colours = np.zeros((3, 256), np.uint16)
    colours[:, 1], colours[:, 2] = 257 * 9, 257 * 9 + 1
    pixels = (np.arange(60, dtype=np.uint8) % 3).reshape(6, 10)
    tifffile.imwrite(path, pixels, photometric="palette", colormap=colours)
    (one,) = count_file(Task(str(path)))
    assert "3 colours of its palette become 2 in 8 bits" in one.reason
    colours[:, 2] = 257 * 10
    tifffile.imwrite(path, pixels, photometric="palette", colormap=colours)
    (one,) = count_file(Task(str(path)))
    assert one.mask is not None
    assert one.mask.counts.values == {0: 20, 9: 20, 10: 20}


# Pixels that are read without GDAL

LAYOUTS: dict[str, dict[str, Any]] = {
    "strips": {"blockysize": 7},
    "one strip": {"blockysize": 77},
    "tiles": {"tiled": True, "blockxsize": 32, "blockysize": 48},
    "sparse": {"tiled": True, "blockxsize": 16, "blockysize": 16, "SPARSE_OK": True},
}


TYPES = ("uint8", "int8", "uint16", "int32", "int64", "float32", "float64")


@pytest.mark.parametrize("endianness", ["LITTLE", "BIG"])
@pytest.mark.parametrize("compress", ["none", "deflate"])
@pytest.mark.parametrize("layout", LAYOUTS)
def test_pixels_are_those_that_gdal_gives(
    tmp_path: Path, layout: str, compress: str, endianness: str
) -> None:
    """Of every pair of a type with each of the others."""
    turn = (
        (endianness == "BIG") ^ (compress == "none") ^ (layout in ("tiles", "sparse"))
    )
    for dtype in TYPES[turn::2]:
        assert_pixels_of_gdal(
            tmp_path / f"{dtype}.tif", dtype, layout, compress, endianness
        )


def assert_pixels_of_gdal(
    path: Path, dtype: str, layout: str, compress: str, endianness: str
) -> None:
    pixels = np.random.default_rng(1).integers(0, 99, (77, 130)).astype(dtype)
    pixels[16:50, 16:90] = 0
    nodata = -5 if np.dtype(dtype).kind != "u" else 200
    with rasterio.open(
        path, "w", driver="GTiff", width=130, height=77, count=1, dtype=dtype,
        compress=compress, ENDIANNESS=endianness, nodata=nodata,
        transform=rasterio.Affine(2, 0, 9, 0, -2, 9), **LAYOUTS[layout],
    ) as file:  # fmt: skip
        if layout != "sparse":
            file.write(pixels, 1)
        window = rasterio.windows.Window(16, 32, 48, 16)
        file.write(pixels[32:48, 16:64], 1, window=window)
    with rasterio.open(path) as file:
        true = file.read(1)
    (image,) = open_masks(str(path), "", None)
    seen = np.zeros((77, 130), dtype)
    for block in image.blocks():
        height, width = block.values.shape
        rows = slice(block.row, block.row + height)
        seen[rows, block.column : block.column + width] = block.values
    assert (seen == true).all()
    assert image.nodata == nodata
    assert image.georeference() is not None


def test_simple_tiffs_do_not_load_rasterio(tmp_path: Path) -> None:
    path = tmp_path / "a.tif"
    tifffile.imwrite(path, stack(3), photometric="minisblack", compression="zlib")
    code = (
        "import sys; from cdstats.io.counting import Task, count_file\n"
        f"assert not count_file(Task({str(path)!r}))[2].reason\n"
        "assert 'rasterio' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


@pytest.mark.parametrize("page", range(1, 3))
@pytest.mark.parametrize("compression", [None, "zlib"])
def test_a_chain_that_ends_early_before_a_description_is_noticed(
    tmp_path: Path, compression: str | None, page: int
) -> None:
    path = tmp_path / "a.tif"
    tifffile.imwrite(
        path, stack(4), photometric="minisblack", ome=True, compression=compression
    )
    data = bytearray(path.read_bytes())
    pages = tiff_tables.read_tables(io.BytesIO(data), len(data)).chain
    at = data.index(pages[page].following.to_bytes(4, "little"), pages[page].place)
    data[at : at + 4] = bytes(4)
    path.write_bytes(data)
    (one,) = count_file(Task(str(path)))
    assert "belong to no page" in one.reason
