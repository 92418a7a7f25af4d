"""Every format read exactly: files made from an array count as the array does."""

from __future__ import annotations

import io
import math
import os
import struct
import sys
import zipfile
import zlib
from collections import Counter
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import pytest
import rasterio
from affine import Affine
from fuzz.clean import FORMATS, clean_files
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from cdstats.core.counts import MaskCounts, PixelCounts, Value, ValueCounts
from cdstats.core.errors import DataError
from cdstats.core.labels import choose_rule
from cdstats.io import jpeg, signatures
from cdstats.io.blocks import BLOCK_PIXELS, WHOLE_PIXELS
from cdstats.io.counting import Task, count_file
from cdstats.io.masks import open_masks
from cdstats.io.raster import windows

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from numpy.typing import NDArray
    from rasterio.io import DatasetWriter

    from cdstats.core.counts import Counted

law = settings(derandomize=True)
SHAPE = (37, 45)
GREY, RGB, PALETTE, GREY_ALPHA, RGBA = 0, 2, 3, 4, 6
GREYS = [(0, 0, 0), (255, 255, 255), (85, 85, 85), (170, 170, 170)]
COLOURS = [(0, 0, 0), (255, 0, 0), (0, 255, 0), (0, 0, 255)]
NAMED = ["#000000", "#ff0000", "#00ff00", "#0000ff"]


def noise(stop: int, shape: tuple[int, ...] = SHAPE) -> NDArray[np.uint8]:
    """Whole numbers below ``stop``, the same on every run."""
    return np.random.default_rng(20).integers(0, stop, shape).astype(np.uint8)


def tally(pixels: NDArray[Any]) -> dict[Value, int]:
    """Pixels of each value, one by one; of each colour where channels differ."""
    if pixels.ndim == 2:
        return dict(Counter(pixels.ravel().tolist()))
    total: Counter[Value] = Counter()
    for red, green, blue in pixels.reshape(-1, 3).tolist():
        equal = red == green == blue
        total[red if equal else f"#{red:02x}{green:02x}{blue:02x}"] += 1
    return dict(total)


def counted(path: Path | str, member: str = "", **options: Any) -> list[Counted]:
    """What became of each mask of a file."""
    return count_file(Task(str(path), member), **options)


def mask_of(path: Path | str, member: str = "", **options: Any) -> MaskCounts:
    """The counts of the one mask of a file."""
    (one,) = counted(path, member, **options)
    assert one.reason == ""
    assert one.mask is not None
    return one.mask


def values_of(path: Path | str, member: str = "", **options: Any) -> dict[Value, int]:
    """The pixels of each value of a file that hides none."""
    counts = mask_of(path, member, **options).counts
    assert (counts.masked, counts.half_transparent) == (0, 0)
    return dict(counts.values)


def reason_of(path: Path | str, member: str = "", **options: Any) -> str:
    """Why the one mask of a file cannot be counted."""
    (one,) = counted(path, member, **options)
    assert one.mask is None
    assert one.reason
    assert "\n" not in one.reason
    return one.reason


def written(path: Path, data: bytes) -> Path:
    """The path, once the bytes are in it."""
    path.write_bytes(data)
    return path


# PNG


def packed(rows: NDArray[Any], depth: int) -> bytes:
    """Scan lines of samples, unfiltered."""
    if depth == 16:
        return b"".join(b"\0" + row.astype(">u2").tobytes() for row in rows)
    bits = np.unpackbits(rows.astype(np.uint8)[..., None], axis=-1)[..., 8 - depth :]
    return b"".join(b"\0" + np.packbits(row.ravel()).tobytes() for row in bits)


PASSES = [
    *[(0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4)],
    *[(0, 2, 2, 4), (1, 0, 2, 2), (0, 1, 1, 2)],
]
"""First column and row and steps of the seven passes of an interlaced PNG."""


def png(
    samples: NDArray[Any],
    depth: int,
    colour: int,
    *,
    palette: Sequence[tuple[int, int, int]] = (),
    transparency: bytes = b"",
    interlaced: bool = False,
) -> bytes:
    """A PNG file of any kind, written by hand from the specification."""
    height, width = samples.shape[:2]
    passes = PASSES if interlaced else [(0, 0, 1, 1)]
    parts = [samples[row::down, left::right] for left, row, right, down in passes]
    lines = b"".join(
        packed(part.reshape(len(part), -1), depth) for part in parts if part.size
    )
    chunks = [
        (
            b"IHDR",
            struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, interlaced),
        ),
        *[(b"PLTE", bytes(level for entry in palette for level in entry))][
            : len(palette)
        ],
        *[(b"tRNS", transparency)][: len(transparency)],
        (b"IDAT", zlib.compress(lines)),
        (b"IEND", b""),
    ]
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(data))
        + kind
        + data
        + struct.pack(">I", zlib.crc32(kind + data))
        for kind, data in chunks
    )


interlacing = pytest.mark.parametrize(
    "interlaced", [False, True], ids=["plain", "interlaced"]
)


@interlacing
@pytest.mark.parametrize("depth", [1, 2, 4, 8, 16])
def test_grey_png_counts_its_samples_without_its_transparent_one(
    tmp_path: Path, depth: int, interlaced: bool
) -> None:
    grey = noise(2 ** min(depth, 8)).astype(np.uint16)
    if depth == 16:
        grey *= 257
        grey[0, :3] = 1, 256, 65_535
    expected, key = tally(grey), int(grey.max())
    path = tmp_path / "a.png"
    for transparency in (b"", struct.pack(">H", key)):
        written(
            path,
            png(grey, depth, GREY, transparency=transparency, interlaced=interlaced),
        )
        masked = expected.pop(key) if transparency else 0
        assert mask_of(path).counts == ValueCounts(expected, masked=masked)
        assert mask_of(path).nodata is None


@interlacing
@pytest.mark.parametrize("depth", [1, 2, 4, 8])
def test_a_palette_counts_as_its_grey_values_or_as_indices_with_their_colours(
    tmp_path: Path, depth: int, interlaced: bool
) -> None:
    index, size = noise(2 ** min(depth, 2)), 2 ** min(depth, 2)
    for palette, pixels, named in (
        (GREYS, np.array(GREYS)[index, 0], None),
        (COLOURS, index, dict(enumerate(NAMED[:size]))),
    ):
        data = png(index, depth, PALETTE, palette=palette[:size], interlaced=interlaced)
        mask = mask_of(written(tmp_path / "a.png", data))
        assert (mask.counts, mask.palette) == (ValueCounts(tally(pixels)), named)


@interlacing
@pytest.mark.parametrize("depth", [2, 4, 8])
@pytest.mark.parametrize("palette", [GREYS, COLOURS], ids=["grey", "colour"])
def test_the_opacity_of_palette_entries_hides_their_pixels(
    tmp_path: Path, palette: list[tuple[int, int, int]], depth: int, interlaced: bool
) -> None:
    index = noise(4)
    data = png(
        index, depth, PALETTE, palette=palette, transparency=bytes([255, 0, 9]),
        interlaced=interlaced,
    )  # fmt: skip
    expected = tally(index)
    last = 170 if palette is GREYS else 3
    assert mask_of(written(tmp_path / "a.png", data)).counts == ValueCounts(
        {0: expected[0], last: expected[3]},
        masked=expected[1],
        half_transparent=expected[2],
    )


@pytest.mark.parametrize("depth", [1, 2, 4, 8])
def test_an_index_without_a_colour_is_refused(tmp_path: Path, depth: int) -> None:
    data = png(noise(2), depth, PALETTE, palette=[(0, 0, 0)])
    reason = reason_of(written(tmp_path / "a.png", data))
    assert reason == "pixel index 1 is outside the palette of 1 colour"


def test_rgb_png_counts_colours_and_equal_channels_as_grey(tmp_path: Path) -> None:
    colours = noise(3, (*SHAPE, 3)) * np.uint8(127)
    path = written(tmp_path / "a.png", png(colours, 8, RGB))
    assert values_of(path) == tally(colours)
    for band in (1, 2, 3):
        assert values_of(path, band=band) == tally(colours[..., band - 1])
    grey = np.dstack([noise(256)] * 3)
    assert values_of(written(path, png(grey, 8, RGB))) == tally(noise(256))


def test_rgb_png_of_16_bits_counts_equal_channels_or_the_band_asked_for(
    tmp_path: Path,
) -> None:
    colours = noise(3, (*SHAPE, 3)).astype(np.uint16) * 30_000
    path = written(tmp_path / "a.png", png(colours, 16, RGB))
    assert reason_of(path) == "3 bands with different content; choose one with --band"
    assert values_of(path, band=2) == tally(colours[..., 1])
    equal = np.dstack([colours[..., 0]] * 3)
    assert values_of(written(path, png(equal, 16, RGB))) == tally(equal[..., 0])


@pytest.mark.parametrize(
    ("depth", "equal", "band"),
    [
        *[
            (depth, equal, band)
            for depth in (8, 16)
            for equal in (0, 1)
            for band in (1, 3)
        ],
        *[(8, False, None), (8, True, None), (16, True, None)],
    ],
)
def test_the_transparent_colour_of_a_png_hides_that_colour_alone(
    tmp_path: Path, depth: int, band: int | None, equal: bool
) -> None:
    colours = noise(3, (*SHAPE, 3))
    if equal:
        colours = np.dstack([colours[..., 0]] * 3)
    for key in ((0, 0, 0), (0, 0, 2), (1, 1, 1)):
        data = png(colours, depth, RGB, transparency=struct.pack(">3H", *key))
        shown = ~(colours == np.array(key)).all(-1)
        left = (
            colours[shown][None] if band is None else colours[shown][None, :, band - 1]
        )
        found = mask_of(written(tmp_path / "a.png", data), band=band)
        assert found.counts == ValueCounts(tally(left), masked=int((~shown).sum())), key


@interlacing
@pytest.mark.parametrize("depth", [8, 16])
@pytest.mark.parametrize("kind", [GREY_ALPHA, RGBA], ids=["grey-alpha", "rgba"])
def test_opacity_of_pixels_is_none_half_or_full(
    tmp_path: Path, kind: int, depth: int, interlaced: bool
) -> None:
    full = 2**depth - 1
    grey = noise(2).astype(np.uint16) * full
    alpha = np.full(SHAPE, full)
    alpha[:4], alpha[4, :5] = 0, np.array([1, 2, full // 2, full - 1, 128])
    channels = [grey] * (1 if kind == GREY_ALPHA else 3)
    data = png(np.dstack([*channels, alpha]), depth, kind, interlaced=interlaced)
    path = written(tmp_path / "a.png", data)
    assert mask_of(path).counts == ValueCounts(
        tally(grey[alpha == full][None]), masked=4 * SHAPE[1], half_transparent=5
    )
    assert values_of(path, band=len(channels) + 1) == tally(alpha)


@pytest.mark.parametrize("depth", [8, 16])
def test_rgba_counts_what_is_opaque_and_nothing_under_full_transparency(
    tmp_path: Path, depth: int
) -> None:
    colours = noise(2, (*SHAPE, 3)) * np.uint16(255)
    if depth == 16:
        colours[4:] = colours[4:, :, :1]
    alpha = np.full(SHAPE, 2**depth - 1)
    alpha[:4] = 0
    path = written(tmp_path / "a.png", png(np.dstack([colours, alpha]), depth, RGBA))
    assert mask_of(path).counts == ValueCounts(tally(colours[4:]), masked=4 * SHAPE[1])


@pytest.mark.parametrize(
    ("colour", "channels"), [(GREY, 1), (RGB, 3), (GREY_ALPHA, 2), (RGBA, 4)]
)
def test_a_band_that_a_png_does_not_hold_is_refused(
    tmp_path: Path, colour: int, channels: int
) -> None:
    path = written(tmp_path / "a.png", png(noise(256, (*SHAPE, channels)), 8, colour))
    assert f"band {channels + 1} was asked for" in reason_of(path, band=channels + 1)
    assert "band 0 was asked for" in reason_of(path, band=0)


# JPEG


@pytest.mark.parametrize(
    "options",
    [
        pytest.param({}, id="baseline"),
        pytest.param({"quality": 30}, id="low-quality"),
        pytest.param({"progressive": True}, id="progressive"),
        pytest.param({"restart_marker_rows": 1}, id="restart-markers"),
        pytest.param({"comment": b"a mask"}, id="comment"),
        pytest.param(
            {"exif": b"Exif\0\0MM\0*\0\0\0\x08\0\1\1\x12\0\3\0\0\0\1\0\6" + bytes(6)},
            id="turned-by-exif",
        ),
    ],
)
def test_grey_jpeg_counts_what_pillow_decodes(
    tmp_path: Path, options: dict[str, Any]
) -> None:
    path = tmp_path / "a.jpg"
    for shape in ((64, 48), (37, 45), (8, 8), (1, 1), (3, 17)):
        Image.fromarray(noise(2, shape) * np.uint8(255)).save(path, **options)
        mask = mask_of(path)
        assert mask.counts == ValueCounts(tally(np.asarray(Image.open(path))))
        assert (mask.height, mask.width, mask.format) == (*shape, "JPEG")


@pytest.mark.parametrize("subsampling", ["4:4:4", "4:2:2", "4:2:0", "rgb"])
def test_rgb_jpeg_counts_what_pillow_decodes(tmp_path: Path, subsampling: str) -> None:
    path = tmp_path / "a.jpg"
    options = (
        {"keep_rgb": True} if subsampling == "rgb" else {"subsampling": subsampling}
    )
    Image.fromarray(noise(3, (*SHAPE, 3)) * np.uint8(100)).save(path, **options)
    decoded = np.asarray(Image.open(path))
    assert values_of(path) == tally(decoded)
    assert values_of(path, band=3) == tally(decoded[..., 2])


def test_rgb_jpeg_with_equal_channels_is_grey(tmp_path: Path) -> None:
    path = tmp_path / "a.jpg"
    Image.fromarray(np.dstack([noise(2) * np.uint8(255)] * 3)).save(path)
    assert all(isinstance(value, int) for value in values_of(path))
    assert values_of(path) == tally(np.asarray(Image.open(path)))


def test_cmyk_jpeg_is_refused(tmp_path: Path) -> None:
    Image.fromarray(noise(256, (*SHAPE, 4)), "CMYK").save(tmp_path / "a.jpg")
    assert "4 colour components; expected grey or RGB" in reason_of(tmp_path / "a.jpg")


# BMP


def bmp(samples: NDArray[Any], bits: int, *, top_down: bool = False) -> bytes:
    """An uncompressed BMP file of red, green and blue, written by hand."""
    height, width = samples.shape[:2]
    body = b""
    for row in samples if top_down else samples[::-1]:
        line = row[:, [2, 1, 0, 3][: bits // 8]].astype(np.uint8).tobytes()
        body += line + bytes(-len(line) % 4)
    rows = -height if top_down else height
    return (
        b"BM"
        + struct.pack("<IHHI", 54 + len(body), 0, 0, 54)
        + struct.pack("<IiiHHIIiiII", 40, width, rows, 1, bits, 0, len(body), 0, 0,
                      0, 0)
        + body
    )  # fmt: skip


rows_order = pytest.mark.parametrize(
    "top_down", [False, True], ids=["bottom-up", "top-down"]
)


@rows_order
@pytest.mark.parametrize("bits", [24, 32])
def test_a_bmp_of_true_colour_counts_colours(
    tmp_path: Path, bits: int, top_down: bool
) -> None:
    samples = noise(3, (*SHAPE, bits // 8)) * np.uint8(100)
    path = written(tmp_path / "a.bmp", bmp(samples, bits, top_down=top_down))
    assert values_of(path) == tally(samples[..., :3])
    for band in (1, 2, 3):
        assert values_of(path, band=band) == tally(samples[..., band - 1])


# TIFF and GeoTIFF


def tiff(path: Path, bands: NDArray[Any], **profile: Any) -> Path:
    """Write bands as a GeoTIFF; a single band may be two-dimensional."""
    with creating(path, bands, **profile) as file:
        file.write(bands if bands.ndim == 3 else bands[None])
    return path


def creating(path: Path, bands: NDArray[Any], **profile: Any) -> DatasetWriter:
    """A GeoTIFF of the shape and type of an array, to be written."""
    count = len(bands) if bands.ndim == 3 else 1
    place = Affine(0.5, 0, 400_000, 0, -0.5, 5_000_000)
    height, width = bands.shape[-2:]
    file: DatasetWriter = rasterio.open(
        path, "w", driver="GTiff", height=height, width=width, count=count,
        dtype=bands.dtype, transform=place, crs="EPSG:32650", **profile,
    )  # fmt: skip
    return file


@pytest.mark.parametrize("predictor", [1, 2])
@pytest.mark.parametrize(
    "dtype",
    [
        *("int8", "uint8", "int16", "uint16", "int32", "uint32", "int64", "uint64"),
        *("float32", "float64"),
    ],
)
def test_a_tiff_of_any_type_counts_whole_numbers(
    tmp_path: Path, dtype: str, predictor: int
) -> None:
    pixels = noise(5).astype(dtype)
    if dtype[0] != "u":
        pixels -= np.ones((), dtype)
    kind = np.dtype(dtype)
    if kind.kind in "iu":
        limits = np.iinfo(kind)
        pixels[0, :2] = limits.min, limits.max
    elif predictor == 2:
        predictor = 3
    path = tiff(tmp_path / "a.tif", pixels, compress="deflate", predictor=predictor)
    assert values_of(path) == tally(pixels)


def test_large_integers_of_a_tiff_are_exact(tmp_path: Path) -> None:
    pixels = np.array([[2**53, 2**53 + 1, 2**53 + 1, -(2**53) - 1]])
    path = tiff(tmp_path / "a.tif", pixels)
    assert values_of(path) == {-(2**53) - 1: 1, 2**53: 1, 2**53 + 1: 2}


@pytest.mark.parametrize("bands", [1, 3])
def test_a_jpeg_compressed_tiff_counts_what_pillow_decodes(
    tmp_path: Path, bands: int
) -> None:
    pixels = noise(3, (bands, *SHAPE)) * np.uint8(100)
    kind = {"photometric": "rgb", "interleave": "pixel"} if bands == 3 else {}
    path = tiff(tmp_path / "a.tif", pixels, compress="jpeg", **kind)
    assert values_of(path) == tally(np.asarray(Image.open(path)))


@pytest.mark.parametrize("photometric", ["minisblack", "miniswhite"])
@pytest.mark.parametrize(
    "compress", ["none", "lzw", "packbits", "ccittfax3", "ccittfax4"]
)
def test_a_tiff_of_1_bit_counts_its_bits(
    tmp_path: Path, compress: str, photometric: str
) -> None:
    bits = noise(5) // 4
    path = tiff(
        tmp_path / "a.tif", bits, nbits=1, compress=compress, photometric=photometric
    )
    mask = mask_of(path)
    assert mask.counts == ValueCounts(tally(bits))
    assert mask.palette is None


@pytest.mark.parametrize(
    ("bits", "photometric"),
    [
        *((bits, "minisblack") for bits in (2, 4, 7, 12)),
        *((bits, "miniswhite") for bits in (2, 4, 8)),
    ],
)
def test_a_tiff_of_few_bits_counts_its_samples_even_if_0_is_white(
    tmp_path: Path, bits: int, photometric: str
) -> None:
    samples = noise(2 ** min(bits, 8)).astype(np.uint8 if bits < 9 else np.uint16)
    samples[0, 0] = 2**bits - 1
    path = tiff(tmp_path / "a.tif", samples, nbits=bits, photometric=photometric)
    assert values_of(path) == tally(samples)


def palette_tiff(
    path: Path,
    index: NDArray[np.uint8],
    colours: Sequence[tuple[int, ...]],
    **profile: Any,
) -> Path:
    """Write a TIFF of palette indices."""
    with creating(path, index, photometric="palette", **profile) as file:
        file.write(index, 1)
        file.write_colormap(1, {place: (*c, 255) for place, c in enumerate(colours)})
    return path


@pytest.mark.parametrize("bits", [2, 4, 8])
def test_a_palette_of_a_tiff_is_read_as_in_png(tmp_path: Path, bits: int) -> None:
    index = noise(4)
    grey = palette_tiff(tmp_path / "grey.tif", index, GREYS, nbits=bits)
    assert values_of(grey) == tally(np.array(GREYS)[index, 0])
    colour = palette_tiff(tmp_path / "colour.tif", index, COLOURS, nbits=bits)
    mask = mask_of(colour)
    assert mask.counts == ValueCounts(tally(index))
    assert mask.palette is not None
    assert [mask.palette[place] for place in (1, 2, 3)] == [
        "#ff0000",
        "#00ff00",
        "#0000ff",
    ]


@pytest.mark.parametrize("nodata", [0, 1, 2, 3])
def test_nodata_of_a_grey_palette_is_the_index_that_the_file_declares(
    tmp_path: Path, nodata: int
) -> None:
    index = noise(4)
    path = palette_tiff(tmp_path / "a.tif", index, GREYS, nodata=nodata)
    rule = choose_rule(changed="255", unchanged="rest").rule
    assert rule is not None
    changed = np.array(GREYS)[index, 0] == 255
    ignored = (index == nodata) & ~changed
    assert rule.apply(mask_of(path)) == PixelCounts(
        int(changed.sum()), int((~changed & ~ignored).sum()), int(ignored.sum())
    )


def test_bands_that_are_equal_down_to_nan_are_one(tmp_path: Path) -> None:
    for bands, dtype in ((2, "uint8"), (3, "uint16"), (5, "float32")):
        pixels = noise(9).astype(dtype)
        expected = tally(pixels)
        if dtype == "float32":
            pixels[0] = np.nan
            expected = tally(pixels[1:]) | {"nan": SHAPE[1]}
        assert values_of(tiff(tmp_path / "a.tif", np.stack([pixels] * bands))) == (
            expected
        )


@pytest.mark.parametrize("interleave", ["pixel", "band"])
@pytest.mark.parametrize(
    ("bands", "dtype"), [(2, "uint8"), (3, "uint8"), (3, "int16"), (6, "float32")]
)
def test_bands_that_differ_need_a_choice(
    tmp_path: Path, bands: int, dtype: str, interleave: str
) -> None:
    pixels = noise(3, (bands, *SHAPE)).astype(dtype)
    path = tiff(
        tmp_path / "a.tif", pixels, photometric="minisblack", interleave=interleave
    )
    assert (
        reason_of(path)
        == f"{bands} bands with different content; choose one with --band"
    )
    for band in range(1, bands + 1):
        assert values_of(path, band=band) == tally(pixels[band - 1])
    missing = reason_of(path, band=bands + 1)
    assert missing == f"has {bands} bands; band {bands + 1} was asked for"


@pytest.mark.parametrize("interleave", ["pixel", "band"])
def test_an_rgb_tiff_counts_colours_or_the_band_asked_for(
    tmp_path: Path, interleave: str
) -> None:
    pixels = noise(3, (3, *SHAPE)) * np.uint8(127)
    path = tiff(tmp_path / "a.tif", pixels, photometric="rgb", interleave=interleave)
    assert values_of(path) == tally(np.moveaxis(pixels, 0, -1))
    assert values_of(path, band=1) == tally(pixels[0])


@pytest.mark.parametrize("dtype", ["uint8", "uint16"])
@pytest.mark.parametrize("bands", [1, 3])
def test_the_alpha_band_of_a_tiff_hides_pixels_below_its_own_full(
    tmp_path: Path, bands: int, dtype: str
) -> None:
    full = np.iinfo(dtype).max
    grey, alpha = noise(3).astype(dtype), np.full(SHAPE, full, dtype)
    alpha[0], alpha[1, :3] = 0, np.array([1, 128, full - 1])
    kind = "rgb" if bands == 3 else "minisblack"
    stack = np.stack([grey] * bands + [alpha])
    path = tiff(tmp_path / "a.tif", stack, alpha="yes", photometric=kind)
    expected = ValueCounts(tally(grey[alpha == full][None]), SHAPE[1], 3)
    assert mask_of(path).counts == expected


@pytest.mark.parametrize("bands", [1, 3])
def test_the_internal_mask_of_a_tiff_hides_pixels(tmp_path: Path, bands: int) -> None:
    grey, shown = noise(3), np.full(SHAPE, 255, np.uint8)
    shown[:5] = 0
    with (
        rasterio.Env(GDAL_TIFF_INTERNAL_MASK=True),
        creating(tmp_path / "a.tif", np.stack([grey] * bands)) as file,
    ):
        file.write(np.stack([grey] * bands))
        file.write_mask(shown)
    mask = mask_of(tmp_path / "a.tif")
    assert mask.counts == ValueCounts(tally(grey[5:]), masked=5 * SHAPE[1])


def test_overviews_are_neither_pages_nor_pixels(tmp_path: Path) -> None:
    path = tiff(tmp_path / "a.tif", noise(256, (64, 64)))
    with rasterio.open(path, "r+") as file:
        file.build_overviews([2, 4])
    assert values_of(path) == tally(noise(256, (64, 64)))


def test_a_complex_tiff_is_refused(tmp_path: Path) -> None:
    path = tiff(tmp_path / "a.tif", noise(2).astype(np.complex64))
    assert reason_of(path) == "holds complex64 numbers; expected real ones"


@pytest.mark.parametrize(
    ("dtype", "nodata"),
    [
        *(("uint8", 255), ("uint8", 0), ("int8", -128), ("int16", -32_768)),
        *(("uint16", 65_535), ("int32", -9_999), ("int64", -(2**40))),
        *(("float32", -9_999.0), ("float32", -9_999.9), ("float64", -1e300)),
        *(("float32", -3.4028234663852886e38), ("float64", 0.1)),
    ],
)
def test_declared_nodata_is_counted_as_a_value_and_ignored_by_rest(
    tmp_path: Path, dtype: str, nodata: float
) -> None:
    pixels = (noise(2) + 1).astype(dtype)
    pixels[:3] = nodata
    mask = mask_of(tiff(tmp_path / "a.tif", pixels, nodata=nodata))
    rule = choose_rule(changed="2", unchanged="rest").rule
    assert rule is not None
    assert rule.apply(mask) == PixelCounts(
        int((pixels == 2).sum()), int((pixels == 1).sum()), 3 * SHAPE[1]
    )
    assert mask.counts.pixels == pixels.size
    assert mask.counts.masked == 0


def test_nan_is_counted_whether_it_is_declared_or_not(tmp_path: Path) -> None:
    pixels = noise(2).astype(np.float32)
    pixels[:3] = np.nan
    expected = tally(pixels[3:]) | {"nan": 3 * SHAPE[1]}
    plain = mask_of(tiff(tmp_path / "plain.tif", pixels))
    declared = mask_of(tiff(tmp_path / "declared.tif", pixels, nodata=math.nan))
    assert plain.counts == declared.counts == ValueCounts(expected)
    assert (plain.nodata, declared.nodata) == (None, "nan")


@pytest.mark.parametrize("text", ["-9999", "256", "nan", "0.5", "1e10", "inf"])
def test_nodata_that_no_pixel_can_hold_takes_nothing_away(
    tmp_path: Path, text: str
) -> None:
    grey = noise(2) * np.uint8(255)
    Image.fromarray(grey).save(tmp_path / "a.tif", tiffinfo={42113: text})
    rule = choose_rule(changed="255", unchanged="rest").rule
    assert rule is not None
    assert rule.apply(mask_of(tmp_path / "a.tif")) == PixelCounts(
        int((grey == 255).sum()), int((grey == 0).sum())
    )


def test_every_page_of_a_tiff_is_a_mask(tmp_path: Path) -> None:
    pages = [noise(2), noise(3), noise(4, (5, 70))]
    path = tmp_path / "pages of a.tif"
    first, *others = map(Image.fromarray, pages)
    first.save(path, save_all=True, append_images=others)
    found = counted(path)
    assert [one.member for one in found] == ["#0", "#1", "#2"]
    assert [one.mask and one.mask.counts.values for one in found] == list(
        map(tally, pages)
    )
    assert [one.size for one in found] == [(45, 37), (45, 37), (70, 5)]
    assert values_of(path, "1") == tally(pages[1])
    assert reason_of(path, "3") == "holds 3 images; #3 was asked for"


def test_a_reduced_page_between_two_pages_is_no_mask(tmp_path: Path) -> None:
    path = tmp_path / "a.tif"
    first = Image.fromarray(noise(2))
    reduced, second = Image.fromarray(noise(9, (8, 9))), Image.fromarray(noise(3))
    reduced.encoderinfo = {"tiffinfo": {254: 1}}
    first.save(path, save_all=True, append_images=[reduced, second])
    found = counted(path)
    assert [one.mask and one.mask.counts.values for one in found] == [
        tally(noise(2)),
        tally(noise(3)),
    ]


# NumPy files

DTYPES = [
    *("bool", "int8", "uint8", "int16", "uint16", "int32", "uint32", "int64", "uint64"),
    *("float16", "float32", "float64", "longdouble"),
    *(">i2", ">u2", ">i4", ">u4", ">i8", ">u8", ">f2", ">f4", ">f8"),
]


def numpy_file(path: Path, array: NDArray[Any]) -> Path:
    """Write an array as the suffix says: ``.npy``, ``.npz`` or packed ``.z.npz``."""
    if path.suffix == ".npy":
        np.save(path, array)
    else:
        (np.savez_compressed if path.stem.endswith(".z") else np.savez)(
            path, mask=array
        )
    return path


numpy_files = pytest.mark.parametrize("name", ["a.npy", "a.npz", "a.z.npz"])


@numpy_files
@pytest.mark.parametrize("order", ["C", "F"])
def test_an_array_of_any_type_counts_its_values(
    tmp_path: Path, name: str, order: Literal["C", "F"]
) -> None:
    for dtype in DTYPES:
        array = np.array(noise(4), dtype=dtype, order=order)
        if array.dtype.kind == "f":
            array /= 4
        path = numpy_file(tmp_path / name, array)
        assert values_of(path) == tally(array.astype(float)), dtype
        assert (mask_of(path).width, mask_of(path).height) == (SHAPE[1], SHAPE[0])


@numpy_files
@pytest.mark.parametrize("order", ["C", "F"])
@pytest.mark.parametrize("shape", [(3, *SHAPE), (3, 1, *SHAPE)], ids=["3d", "4d"])
def test_a_stack_is_as_many_masks(
    tmp_path: Path, name: str, order: str, shape: tuple[int, ...]
) -> None:
    stack = np.array(
        noise(5, shape), dtype=np.int32, order="C" if order == "C" else "F"
    )
    stack[1] += 10
    path = numpy_file(tmp_path / name, stack)
    expected = [tally(one.reshape(SHAPE)) for one in stack]
    found = counted(path)
    assert [one.member for one in found] == ["#0", "#1", "#2"]
    assert [one.mask and one.mask.counts.values for one in found] == expected
    assert [values_of(path, member) for member in "201"] == [
        expected[place] for place in (2, 0, 1)
    ]
    assert reason_of(path, "3") == "holds 3 images; #3 was asked for"
    alone = numpy_file(tmp_path / name, stack[:1])
    assert values_of(alone) == values_of(alone, "0") == expected[0]


@numpy_files
@pytest.mark.parametrize(
    "shape",
    [(), (7,), (0, 5), (5, 0), (2, 3, 4, 5), (64, 64, 3), (1, 1, 2, 3, 4)],
    ids=str,
)
def test_an_array_that_is_no_mask_by_its_shape_is_refused(
    tmp_path: Path, name: str, shape: tuple[int, ...]
) -> None:
    reason = reason_of(numpy_file(tmp_path / name, np.zeros(shape, np.uint8)))
    assert str(shape) in reason
    assert "expected (H, W)" in reason


@numpy_files
@pytest.mark.parametrize("dtype", ["complex64", "U5", "S3", "datetime64[s]", "V4"])
def test_an_array_that_holds_no_numbers_is_refused(
    tmp_path: Path, name: str, dtype: str
) -> None:
    reason = reason_of(numpy_file(tmp_path / name, np.zeros((3, 4), dtype)))
    assert reason.endswith("values; expected numbers")


@numpy_files
def test_an_array_has_one_band(tmp_path: Path, name: str) -> None:
    path = numpy_file(tmp_path / name, noise(2))
    assert values_of(path, band=1) == tally(noise(2))
    assert "band 2 was asked for" in reason_of(path, band=2)


def test_one_array_of_several_is_chosen_by_name(tmp_path: Path) -> None:
    path = tmp_path / "a.npz"
    np.savez(path, old=noise(2), new=noise(3), stack=noise(4, (2, *SHAPE)))
    assert values_of(path, "old") == tally(noise(2))
    assert values_of(path, "new") == tally(noise(3))
    assert [one.member for one in counted(path, "stack")] == ["#0", "#1"]
    reason = reason_of(path)
    assert all(
        name in reason for name in ("old (37, 45)", "new (37, 45)", "stack (2, ")
    )
    assert "choose one with FILE#NAME" in reason
    assert "holds no array 'older'" in reason_of(path, "older")


def test_an_array_whose_name_is_a_number_is_chosen_by_it(tmp_path: Path) -> None:
    years: dict[str, Any] = {"2019": noise(2), "2020": noise(3)}
    np.savez(tmp_path / "a.npz", **years)
    assert values_of(tmp_path / "a.npz", "2020") == tally(noise(3))


def test_an_archive_without_an_array_is_refused(tmp_path: Path) -> None:
    np.savez(tmp_path / "a.npz")
    assert reason_of(tmp_path / "a.npz") == "NPZ file holds no array"


def test_a_member_that_is_no_plain_number_is_refused(tmp_path: Path) -> None:
    path = numpy_file(tmp_path / "a.npy", noise(2, (3, *SHAPE)))
    for member in ("²", "-1", "1.0", "x"):
        with pytest.raises(DataError):
            open_masks(str(path), member, None)


class Trap:
    """Makes a folder when it is unpickled."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, (str(self.folder),)


def test_a_pickle_beside_an_array_never_runs(tmp_path: Path) -> None:
    trap = tmp_path / "sprung"
    objects = np.empty(1, object)
    objects[0] = Trap(trap)
    np.savez(tmp_path / "a.npz", mask=noise(2), meta=objects)
    assert values_of(tmp_path / "a.npz", "mask") == tally(noise(2))
    assert "expected numbers" in reason_of(tmp_path / "a.npz", "meta")
    assert values_of(tmp_path / "a.npz") == tally(noise(2))
    assert not trap.exists()


# Names

PLACES = [
    *("MASK.PNG", "Mask.Tif", "a b  c.png", " a.tif", "変化 مساحة é.tif", "変化.npy"),
    *("a#b.tif", "a?b.tif", "a%20b.tif", "a!b.tif", "a:b.tif", "a'\"b.tif", "a,b.tif"),
    *("a\nb.tif", "[a].tif", "~.tif", "no extension", "a.tar.gz", "-.tif", "$HOME.tif"),
    *("file:a.tif", "zip:a.tif", "GTIFF_DIR:1:a.tif"),
]


@pytest.mark.parametrize("name", PLACES)
def test_any_name_is_read(
    tmp_path: Path, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    stream = io.BytesIO()
    if name.endswith("npy"):
        np.save(stream, noise(2))
    else:
        kind = "PNG" if name.lower().endswith("png") else "TIFF"
        Image.fromarray(noise(2)).save(stream, kind)
    written(tmp_path / name, stream.getvalue())
    assert values_of(name) == tally(noise(2))
    assert values_of(tmp_path / name) == tally(noise(2))


@pytest.mark.parametrize("name", ["a b.tif", "変化.tif", "a:b.tif", "1:a.tif"])
def test_pages_are_read_under_any_name(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    first, second = Image.fromarray(noise(2)), Image.fromarray(noise(3))
    first.save(path, save_all=True, append_images=[second])
    assert values_of(path, "1") == tally(noise(3))


@pytest.mark.skipif(sys.platform != "linux", reason="names are bytes on Linux alone")
@pytest.mark.parametrize("suffix", ["png", "jpg", "bmp", "tif", "npy", "npz"])
def test_a_name_that_is_no_text_is_read_or_refused(tmp_path: Path, suffix: str) -> None:
    good = tmp_path / f"a.{suffix}"
    if suffix.startswith("np"):
        numpy_file(good, np.zeros(SHAPE, np.uint8))
    else:
        Image.fromarray(np.zeros(SHAPE, np.uint8)).save(good)
    path = os.fsdecode(os.fsencode(tmp_path) + b"/\xff\xfe." + suffix.encode())
    good.rename(path)
    (one,) = counted(path)
    assert one.reason or (one.mask and one.mask.counts.values == {0: 37 * 45})


def test_the_bytes_say_what_a_file_is_and_not_its_name(tmp_path: Path) -> None:
    for kind in ("PNG", "BMP", "TIFF"):
        for suffix in ("png", "jpg", "tif", "bmp", "npy", "txt"):
            path = tmp_path / f"{kind}.{suffix}"
            Image.fromarray(noise(2)).save(path, kind)
            mask = mask_of(path)
            assert (mask.counts.values, mask.format) == (tally(noise(2)), kind)


# Damaged files


CONTAINERS = ("zip", "tar", "tar.gz", "parquet", "zarr")
"""Formats that need the name of a member or column to be opened as a mask."""


@pytest.mark.parametrize("format_", [n for n in FORMATS if n not in CONTAINERS])
def test_blocks_cover_a_file_exactly_once_and_a_cut_one_is_refused(
    tmp_path: Path, format_: str
) -> None:
    for file in clean_files(format_):
        path = written(tmp_path / file.name, file.data)
        for image in open_masks(str(path), "", None):
            seen = np.zeros((image.height, image.width), int)
            for block in image.blocks():
                height, width = block.values.shape[:2]
                rows = slice(block.row, block.row + height)
                seen[rows, block.column : block.column + width] += 1
            assert (seen == 1).all(), file.name
        for length in (1, 26, len(file.data) // 2, len(file.data) * 9 // 10):
            assert reason_of(written(path, file.data[:length])), file.name


@pytest.mark.parametrize(
    ("data", "found"),
    [
        pytest.param(b"", "is empty (0 bytes)", id="empty"),
        pytest.param(b"no image, just words\n" * 9, "is not an image", id="text"),
        pytest.param(bytes(900), "is not an image", id="zeros"),
        pytest.param(b"<!DOCTYPE html>\n<html>", "is not an image", id="html"),
        pytest.param(b"version https://git-lfs.github.com/spec/v1\n", "", id="lfs"),
        pytest.param(b'{"type": "FeatureCollection"}', "vector labels?", id="geojson"),
        pytest.param(b"GIF89a" + bytes(90), "a GIF image", id="gif"),
        pytest.param(b"RIFF\0\0\0\0WEBPVP8 " + bytes(90), "a WebP image", id="webp"),
        pytest.param(b"CDF\1" + bytes(90), "a NetCDF 3 file", id="netcdf"),
        pytest.param(b"%PDF-1.7" + bytes(90), "a PDF document", id="pdf"),
        pytest.param(b"\x1f\x8b\x08" + bytes(90), "a gzip archive", id="gzip"),
        pytest.param(b"<VRTDataset rasterXSize='9'>", "is not an image", id="vrt"),
    ],
)
def test_other_content_is_refused_with_what_was_expected(
    tmp_path: Path, data: bytes, found: str
) -> None:
    expected = "vector" if "vector" in found else "expected PNG, JPEG, BMP, TIFF, .npy"
    for suffix in ("png", "jpg", "bmp", "tif", "npy", "npz"):
        reason = reason_of(written(tmp_path / f"a.{suffix}", data))
        assert found in reason
        assert expected in reason


def test_a_missing_file_a_folder_and_a_forbidden_file_are_refused(
    tmp_path: Path,
) -> None:
    assert reason_of(tmp_path / "none.png") == "not found"
    assert reason_of(tmp_path) == "is a folder; expected a file"
    path = written(tmp_path / "a.png", png(noise(2), 8, GREY))
    path.chmod(0)
    if os.access(path, os.R_OK):
        pytest.skip("this user may read everything")
    assert reason_of(path) == "cannot be read: permission denied"


def test_an_encrypted_archive_is_refused(tmp_path: Path) -> None:
    path = numpy_file(tmp_path / "a.npz", noise(2))
    data = bytearray(path.read_bytes())
    data[6] |= 1
    data[data.index(b"PK\1\2") + 8] |= 1
    assert reason_of(written(path, bytes(data)))


def test_an_archive_of_other_files_is_refused(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "a.npz", "w") as archive:
        archive.writestr("readme.txt", "no array")
    assert "archive of files, not of arrays" in reason_of(tmp_path / "a.npz")


def test_a_tiff_whose_strips_end_before_its_rows_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.tif"
    Image.fromarray(noise(2)).save(path)
    data = bytearray(path.read_bytes())
    (directory,) = struct.unpack_from("<I", data, 4)
    (entries,) = struct.unpack_from("<H", data, directory)
    for entry in range(directory + 2, directory + 2 + 12 * entries, 12):
        if struct.unpack_from("<H", data, entry) == (257,):
            struct.pack_into("<I", data, entry + 8, 2 * SHAPE[0])
    assert reason_of(written(path, bytes(data)))


# Large images and many values


@law
@given(
    width=st.integers(1, 60_000),
    height=st.integers(1, 60_000),
    block=st.one_of(
        st.tuples(st.integers(1, 5_000), st.integers(1, 5_000)),
        st.tuples(st.integers(1, 60_000), st.just(0)),
        st.sampled_from([(256, 256), (512, 512), (4096, 4096), (1, 70_000)]),
    ),
)
def test_windows_are_whole_blocks_of_bounded_size_that_cover_an_image_exactly_once(
    width: int, height: int, block: tuple[int, int]
) -> None:
    block_height, block_width = block[0], block[1] or width
    most = max(BLOCK_PIXELS, block_height * block_width)
    rows: dict[tuple[int, int], list[tuple[int, int]]] = {}
    for (top, below), (left, right) in windows(
        width, 0, height, block_height, block_width
    ):
        rows.setdefault((top, below), []).append((left, right))
        assert (below - top) * (right - left) <= most
        assert left % block_width == top % block_height == 0
    for ends, last in ((list(rows), height), *((row, width) for row in rows.values())):
        assert [0, *(after for _, after in ends)] == [
            *(start for start, _ in ends),
            last,
        ]


@pytest.fixture(scope="module")
def large() -> NDArray[np.uint8]:
    """An image of more pixels than a window holds, with every value in its place."""
    rows, columns = np.ogrid[:3_000, :5_000]
    image: NDArray[np.uint8] = ((rows * 7 + columns // 11) % 251).astype(np.uint8)
    assert image.size > 3 * BLOCK_PIXELS
    return image


@pytest.mark.parametrize(
    "profile",
    [
        pytest.param({"tiled": True, "blockxsize": 256, "blockysize": 512}, id="tiles"),
        pytest.param({"blockysize": 7}, id="strips"),
        pytest.param({"compress": "zstd", "blockysize": 3_000}, id="one-strip"),
    ],
)
def test_a_tiff_of_several_windows_counts_as_its_array(
    tmp_path: Path, large: NDArray[np.uint8], profile: dict[str, Any]
) -> None:
    path = tiff(tmp_path / "a.tif", large, **profile)
    assert values_of(path) == dict(enumerate(np.bincount(large.ravel()).tolist()))


@pytest.mark.parametrize("name", ["a.npy", "a.npz", "a.z.npz", "16.png", "trns.png"])
def test_other_files_of_several_blocks_count_as_their_array(
    tmp_path: Path, large: NDArray[np.uint8], name: str
) -> None:
    path = tmp_path / name
    expected: dict[Value, int] = dict(enumerate(np.bincount(large.ravel()).tolist()))
    masked = 0
    if name.startswith("a"):
        numpy_file(path, large)
    elif name == "16.png":
        Image.fromarray(large.astype(np.uint16)).save(path, compress_level=1)
    else:
        Image.fromarray(large).save(path, compress_level=1, transparency=3)
        masked = expected.pop(3)
    assert mask_of(path).counts == ValueCounts(expected, masked=masked)


@pytest.mark.parametrize("name", ["a.png", "a.jpg"])
def test_an_image_too_large_to_decode_at_once_counts_as_its_array(
    tmp_path: Path, name: str
) -> None:
    pixels = np.zeros((8_200, 8_200), np.uint8)
    pixels[800:1_600, :4_000] = 255
    assert pixels.size > WHOLE_PIXELS
    path = tmp_path / name
    Image.fromarray(pixels).save(path)
    assert values_of(path) == {0: pixels.size - 3_200_000, 255: 3_200_000}
    cut = written(tmp_path / f"cut {name}", path.read_bytes()[:-5_000])
    assert "cut short" in reason_of(cut) or "Premature end" in reason_of(cut)


def test_an_image_of_too_many_values_is_refused_without_a_rule(tmp_path: Path) -> None:
    path = numpy_file(tmp_path / "a.npy", np.arange(70_000).reshape(100, 700))
    assert "holds more than 65,536 values" in reason_of(path)
    assert "not a mask" in reason_of(path)


def test_a_rule_counts_an_image_of_too_many_values(tmp_path: Path) -> None:
    pixels = np.linspace(-1, 1, 90_000, dtype=np.float32).reshape(300, 300)
    choice = choose_rule(changed=">0.25", unchanged="rest", ignore="<-0.5")
    mask = mask_of(numpy_file(tmp_path / "a.npy", pixels), edges=choice.edges)
    assert choice.rule is not None
    assert choice.rule.apply(mask) == PixelCounts(
        int((pixels > 0.25).sum()),
        int(((pixels <= 0.25) & (pixels >= -0.5)).sum()),
        int((pixels < -0.5).sum()),
    )


@pytest.mark.parametrize("nodata", [-9_999, -1, 0, 64, 105, 256])
def test_nodata_is_ignored_among_too_many_values(tmp_path: Path, nodata: int) -> None:
    pixels = np.linspace(-50, 300, 90_000, dtype=np.float32).reshape(300, 300)
    pixels[:7] = nodata
    choice = choose_rule(changed="100-110", unchanged="rest")
    path = tiff(tmp_path / "a.tif", pixels, nodata=nodata)
    changed = (pixels >= 100) & (pixels <= 110)
    ignored = (pixels == nodata) & ~changed
    assert choice.rule is not None
    assert choice.rule.apply(mask_of(path, edges=choice.edges)) == PixelCounts(
        int(changed.sum()), int((~changed & ~ignored).sum()), int(ignored.sum())
    )


def test_values_that_are_too_many_in_all_windows_together(tmp_path: Path) -> None:
    rows, columns = np.ogrid[:1_400, :5_000]
    pixels = (rows * 50 + columns // 100).astype(np.int32)
    path = tiff(tmp_path / "a.tif", pixels)
    assert "holds more than 65,536 values" in reason_of(path)
    choice = choose_rule(changed=">=50000", unchanged="1-49999", ignore="0")
    assert choice.rule is not None
    assert choice.rule.apply(mask_of(path, edges=choice.edges)) == PixelCounts(
        int((pixels >= 50_000).sum()),
        int(((pixels >= 1) & (pixels < 50_000)).sum()),
        int((pixels == 0).sum()),
    )


def test_a_large_jpeg_in_colour_is_decoded_as_a_small_one_or_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pixels = np.zeros((64, 64, 3), np.uint8)
    pixels[10:31, 7:40] = (255, 0, 0)
    path = tmp_path / "a.jpg"
    Image.fromarray(pixels).save(path, subsampling="4:2:0")
    small = values_of(path)
    monkeypatch.setattr(jpeg, "WHOLE_PIXELS", 64)
    unheld = signatures.FORMATS["JPEG"]._replace(held=-1)
    monkeypatch.setitem(signatures.FORMATS, "JPEG", unheld)
    assert values_of(path) == small
    monkeypatch.setattr(jpeg, "MOST_COLOUR_PIXELS", 64)
    assert "colour JPEG of 64 x 64 pixels; expected at most 64" in reason_of(path)


def test_a_tiff_of_up_to_16_mib_is_opened_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "a.tif"
    pixels = np.tile(noise(256, (512, 512)), (4, 6))
    Image.fromarray(pixels).save(path)
    assert 1 << 22 < path.stat().st_size < 1 << 24
    expected = tally(noise(256, (512, 512)))

    def refuse(*_args: object, **_options: object) -> None:
        raise AssertionError("the file was opened by its name")

    monkeypatch.setattr(rasterio, "open", refuse)
    assert values_of(path) == {value: 24 * n for value, n in expected.items()}
