"""Damages that a decoder alone does not notice, one by one."""

from __future__ import annotations

import struct
import zlib
from collections import deque
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import rasterio
import rasterio.shutil
from fuzz.clean import clean_files
from PIL import Image
from PIL.TiffImagePlugin import ImageFileDirectory_v2

from cdstats.core.errors import DataError
from cdstats.io.counting import Task, count_file
from cdstats.io.raster import Known, Source, open_raster

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

FILES = {
    file.name: file
    for format_ in ("png", "jpeg", "bmp", "tiff", "tiff-lzw", "tiff-deflate",
                    "tiff-other", "tiff-short", "npy", "npz")
    for file in clean_files(format_)
}  # fmt: skip


def reason_of(path: Path, data: bytes | None = None) -> str:
    if data is not None:
        path.write_bytes(data)
    (one,) = count_file(Task(str(path)))
    assert one.mask is None, one.mask
    return one.reason


def tag_of(data: bytes | bytearray, tag: int) -> int:
    """Where the entry of a tag is in the first table of a little-endian TIFF."""
    (table,) = struct.unpack_from("<I", data, 4)
    (count,) = struct.unpack_from("<H", data, table)
    for at in range(table + 2, table + 2 + 12 * count, 12):
        if struct.unpack_from("<H", data, at) == (tag,):
            return at
    raise AssertionError(tag)


def with_tag(name: str, tag: int, value: int) -> bytes:
    """A whole TIFF but for the value of a tag."""
    data = bytearray(FILES[name].data)
    at = tag_of(data, tag)
    (kind,) = struct.unpack_from("<H", data, at + 2)
    struct.pack_into("<H" if kind == 3 else "<I", data, at + 8, value)
    return bytes(data)


WIDTH, LENGTH, BITS, SAMPLES, ROWS = 256, 257, 258, 277, 278


@pytest.mark.parametrize(
    ("name", "tag", "value", "words"),
    [
        ("strips.tif", WIDTH, 56, "wrong length"),
        ("zstd-strips.tif", WIDTH, 56, "more data than its pixels"),
        ("strips.tif", ROWS, 6, "has the offsets of 7 of 8 strips"),
        ("lzw-strips.tif", WIDTH, 56, "more data than its pixels"),
        ("packbits-one-strip.tif", LENGTH, 47, "more data than its pixels"),
        ("deflate-strips.tif", WIDTH, 56, "checksum in strip 0"),
        ("lzma.tif", WIDTH, 56, "more data than its pixels"),
        ("ccittfax3.tif", WIDTH, 61, "cannot be decoded: "),
        ("ccittrle.tif", SAMPLES, 43_521, "declares 43,521 bands"),
        ("jpeg-tiles.tif", 322, 32, "offsets of 12 of 6 tiles"),
    ],
)
def test_a_tiff_whose_table_does_not_fit_its_pixels_is_refused(
    tmp_path: Path, name: str, tag: int, value: int, words: str
) -> None:
    assert words in reason_of(tmp_path / "a.tif", with_tag(name, tag, value))


def offsets(data: bytearray, tag: int = 273) -> tuple[int, int]:
    """Where the table of strips is, and how many it holds."""
    at = tag_of(data, tag)
    count, place = struct.unpack_from("<II", data, at + 4)
    return place, count


def entry_of(data: bytearray, tag: int, number: int) -> slice:
    """Where the table of strips or tiles tells of one of them."""
    place, _ = offsets(data, tag)
    (kind,) = struct.unpack_from("<H", data, tag_of(data, tag) + 2)
    size = 2 if kind == 3 else 4
    return slice(place + number * size, place + (number + 1) * size)


def spoilt(name: str, spoil: Callable[[bytearray], object]) -> bytes:
    data = bytearray(FILES[name].data)
    spoil(data)
    return bytes(data)


def shift_strip(data: bytearray) -> None:
    place, _ = offsets(data)
    (first,) = struct.unpack_from("<I", data, place)
    struct.pack_into("<I", data, place, first + 60)


def share_strip(data: bytearray) -> None:
    place, _ = offsets(data)
    data[place + 4 : place + 8] = data[place : place + 4]


def leave_out_strip(data: bytearray) -> None:
    place, _ = offsets(data)
    lengths, _ = offsets(data, 279)
    kind = struct.unpack_from("<H", data, tag_of(data, 279) + 2)[0]
    size = 2 if kind == 3 else 4
    data[place : place + 4] = bytes(4)
    data[lengths : lengths + size] = bytes(size)


def lose_place(data: bytearray) -> None:
    place, _ = offsets(data)
    data[place : place + 4] = bytes(4)


def repeat_tag(data: bytearray) -> None:
    at = tag_of(data, WIDTH)
    data[at + 12 : at + 14] = data[at : at + 2]


def swap_sizes(data: bytearray) -> None:
    at = tag_of(data, WIDTH)
    data[at : at + 8], data[at + 12 : at + 20] = (
        data[at + 12 : at + 20],
        data[at : at + 8],
    )


def turn_pages_in_a_circle(data: bytearray) -> None:
    (table,) = struct.unpack_from("<I", data, 4)
    (count,) = struct.unpack_from("<H", data, table)
    struct.pack_into("<I", data, table + 2 + 12 * count, table)


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (shift_strip, "overlap"),
        (share_strip, "1 shared, while 420 bytes belong to no page"),
        (leave_out_strip, "1 strip omitted"),
        (lose_place, "without offset or length"),
        (repeat_tag, "tag 256 is repeated"),
        (swap_sizes, "tag 256 is repeated or misplaced"),
        (turn_pages_in_a_circle, "form a circle"),
        (lambda data: data.extend(b"\0"), "1 byte after its pixels"),
        (lambda data: data.extend(FILES["strips.tif"].data), "bytes after its pixels"),
    ],
)
def test_a_tiff_whose_strips_are_not_where_they_can_be_is_refused(
    tmp_path: Path, spoil: Callable[[bytearray], object], words: str
) -> None:
    assert words in reason_of(tmp_path / "a.tif", spoilt("strips.tif", spoil))


def test_a_sparse_tiff_is_no_damage(tmp_path: Path) -> None:
    path = tmp_path / "a.tif"
    with rasterio.open(
        path, "w", driver="GTiff", width=640, height=640, count=1, dtype="uint8",
        tiled=True, blockxsize=128, blockysize=128, compress="deflate", SPARSE_OK=True,
        transform=rasterio.Affine(2, 0, 9, 0, -2, 9),
    ) as file:  # fmt: skip
        window = rasterio.windows.Window(128, 256, 128, 128)
        file.write(np.full((1, 128, 128), 255, np.uint8), window=window)
    (one,) = count_file(Task(str(path)))
    assert one.mask is not None, one.reason
    assert one.mask.counts.values == {0: 640 * 640 - 128 * 128, 255: 128 * 128}


def tables_of(data: bytes | bytearray) -> list[tuple[int, int]]:
    """Each directory of a little-endian TIFF, and where it says which is the next."""
    (place,) = struct.unpack_from("<I", data, 4)
    found = []
    while place:
        (count,) = struct.unpack_from("<H", data, place)
        found.append((place, place + 2 + 12 * count))
        (place,) = struct.unpack_from("<I", data, found[-1][1])
    return found


@pytest.mark.parametrize("name", ["deflate", "packed", "plain"])
@pytest.mark.parametrize("page", range(3))
def test_a_chain_of_pages_that_ends_early_is_noticed(
    tmp_path: Path, name: str, page: int
) -> None:
    data = bytearray(FILES[f"{name}-pages.tif"].data)
    struct.pack_into("<I", data, tables_of(data)[page][1], 0)
    assert "after its pixels and tables" in reason_of(tmp_path / "a.tif", bytes(data))


@pytest.mark.parametrize("name", ["packbits-rows.tif", "bits-rows.tif"])
@pytest.mark.parametrize("shared", [True, False])
def test_a_lost_strip_of_a_few_bytes_is_noticed(
    tmp_path: Path, name: str, shared: bool
) -> None:
    data = bytearray(FILES[name].data)
    for tag in (273,) if shared else (273, 279):
        one, other = entry_of(data, tag, 0), entry_of(data, tag, 1)
        data[other] = data[one] if shared else bytes(other.stop - other.start)
    words = "0 strips omitted and 1 shared" if shared else "1 strip omitted"
    assert words in reason_of(tmp_path / "a.tif", bytes(data))


@pytest.mark.parametrize("name", ["deflate", "lzw", "zstd"])
def test_a_lost_tile_of_an_ordered_file_is_noticed(tmp_path: Path, name: str) -> None:
    data = bytearray(FILES[f"{name}-ordered-tiles.tif"].data)
    for tag in (324, 325):
        tile = entry_of(data, tag, 2)
        data[tile] = bytes(tile.stop - tile.start)
    assert "1 tile omitted" in reason_of(tmp_path / "a.tif", bytes(data))


@pytest.mark.parametrize("compress", ["none", "lzw", "deflate"])
@pytest.mark.parametrize("overviews", ["NONE", "AUTO"])
def test_a_sparse_ordered_file_is_no_damage(
    tmp_path: Path, compress: str, overviews: str
) -> None:
    path, mask = tmp_path / "a.tif", np.zeros((520, 700), np.uint8)
    mask[130:200, 300:] = 255
    with rasterio.open(
        tmp_path / "plain.tif", "w", driver="GTiff", width=700, height=520, count=1,
        dtype="uint8", transform=rasterio.Affine(2, 0, 9, 0, -2, 9),
    ) as file:  # fmt: skip
        file.write(mask, 1)
    rasterio.shutil.copy(
        tmp_path / "plain.tif", path, driver="COG", blocksize=128, compress=compress,
        overviews=overviews, SPARSE_OK=True,
    )  # fmt: skip
    (one,) = count_file(Task(str(path)))
    assert one.mask is not None, one.reason
    assert one.mask.counts.values == {0: 700 * 520 - 28_000, 255: 28_000}


@pytest.mark.parametrize("compress", ["none", "lzw", "deflate", "packbits", "zstd"])
@pytest.mark.parametrize("layout", [{}, {"tiled": True, "blockxsize": 64,
                                         "blockysize": 64}])  # fmt: skip
def test_a_tiff_that_was_changed_in_place_is_no_damage(
    tmp_path: Path, compress: str, layout: dict[str, Any]
) -> None:
    path, rng = tmp_path / "a.tif", np.random.default_rng(2)
    mask = (rng.random((100, 150)) < 0.2).astype(np.uint8)
    with rasterio.open(
        path, "w", driver="GTiff", width=150, height=100, count=1, dtype="uint8",
        compress=compress, transform=rasterio.Affine(2, 0, 9, 0, -2, 9), **layout,
    ) as file:  # fmt: skip
        file.write(1 - mask, 1)
    with rasterio.open(path, "r+") as file:
        file.write(mask, 1)
        file.nodata = 9
        file.update_tags(about="changed in place " * 9)
    with rasterio.open(path, "r+") as file:
        file.build_overviews([2, 4])
    (one,) = count_file(Task(str(path)))
    assert one.mask is not None, one.reason
    assert one.mask.counts.values == {0: 15_000 - mask.sum(), 1: mask.sum()}


@pytest.mark.parametrize("bands", [1, 2])
@pytest.mark.parametrize("dtype", ["uint8", "uint16"])
def test_a_last_strip_that_gdal_fills_to_all_its_rows_is_no_damage(
    tmp_path: Path, dtype: str, bands: int
) -> None:
    path = tmp_path / "a.tif"
    mask = np.zeros((500, 500), dtype)
    mask[:5, :50] = 255
    with rasterio.open(
        path, "w", driver="GTiff", width=500, height=500, count=bands, dtype=dtype,
        blockysize=16, interleave="band", transform=rasterio.Affine(2, 0, 9, 0, -2, 9),
    ) as file:  # fmt: skip
        file.write(np.stack([mask] * bands))
    data = bytearray(path.read_bytes())
    lengths, _ = offsets(data, 279)
    (last,) = struct.unpack_from("<H", data, lengths + 2 * 31)
    assert last == 16 * 500 * mask.itemsize, "GDAL does not fill strips any more"
    (one,) = count_file(Task(str(path)), band=1)
    assert one.mask is not None, one.reason
    assert one.mask.counts.values == {0: 249_750, 255: 250}
    (place,) = struct.unpack_from("<I", data, offsets(data)[0] + 4 * 31)
    data[place + 3] = 1
    assert "1 strip with wrong length" in reason_of(path, bytes(data))


def test_a_tiff_with_notes_of_a_camera_is_no_damage(tmp_path: Path) -> None:
    notes = ImageFileDirectory_v2()
    notes[0x8825] = {0: b"\2\3\0\0", 1: "N", 2: (1.0, 2.0, 3.0)}
    notes[0x8769] = {0x9003: "2020:01:01 00:00:00", 0x927C: b"made by nobody" * 9}
    pixels = Image.fromarray(np.zeros((9, 9), np.uint8))
    pixels.save(tmp_path / "a.tif", tiffinfo=notes)
    data = (tmp_path / "a.tif").read_bytes()
    assert tag_of(data, 0x8825)
    (one,) = count_file(Task(str(tmp_path / "a.tif")))
    assert one.reason == ""


def test_a_tiff_that_declares_more_bytes_than_there_can_be_is_refused(
    tmp_path: Path,
) -> None:
    data = bytearray(FILES["big.tif"].data)
    (table,) = struct.unpack_from("<Q", data, 8)
    for tag, at in ((256, table + 8), (257, table + 28)):
        struct.pack_into("<HHQQ", data, at, tag, 16, 1, (1 << 63) + 7)
    assert "declared size is impossible" in reason_of(tmp_path / "a.tif", bytes(data))


def test_a_deflated_strip_of_any_length_is_summed_in_parts(tmp_path: Path) -> None:
    pixels = np.random.default_rng(1).integers(0, 99, (1500, 2000)).astype(np.uint8)
    path = tmp_path / "a.tif"
    with rasterio.open(
        path, "w", driver="GTiff", width=2000, height=1500, count=1, dtype="uint8",
        blockysize=1500, compress="deflate", zlevel=1,
        transform=rasterio.Affine(2, 0, 9, 0, -2, 9),
    ) as file:  # fmt: skip
        file.write(pixels, 1)
    (one,) = count_file(Task(str(path)))
    assert one.mask is not None, one.reason
    data = bytearray(path.read_bytes())
    assert len(data) > 1 << 20
    data[-2] ^= 1
    assert "checksum in strip 0" in reason_of(path, bytes(data))


# What follows an image


@pytest.mark.parametrize(
    "name",
    ["grey8.png", "grey1.png", "grey.jpg", "progressive.jpg", "packed-uint8.npz"],
)
@pytest.mark.parametrize("other", ["grey8.png", "grey.jpg", "stored-uint8.npz"])
def test_two_files_in_one_are_refused(tmp_path: Path, name: str, other: str) -> None:
    for between in (b"", bytes(100)):
        data = FILES[name].data + between + FILES[other].data
        if name.endswith("npz") and not other.endswith("npz"):
            assert reason_of(tmp_path / name, data)
        else:
            assert "another file" in reason_of(tmp_path / name, data)


@pytest.mark.parametrize("name", ["grey8.png", "grey1.png", "grey.jpg"])
def test_other_bytes_after_an_image_are_no_pixels(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_bytes(FILES[name].data)
    whole = count_file(Task(str(tmp_path / name)))
    (tmp_path / name).write_bytes(FILES[name].data + b"\0\nnotes of a camera")
    assert count_file(Task(str(tmp_path / name))) == whole


# JPEG


def segment(data: bytes, marker: int, number: int = 0) -> tuple[int, int]:
    """Where the segments of a marker start and end."""
    at = -1
    for _ in range(number + 1):
        at = data.index(bytes([0xFF, marker]), at + 1)
    return at, at + 2 + int.from_bytes(data[at + 2 : at + 4])


def test_a_progressive_jpeg_that_lacks_a_scan_or_repeats_one_is_refused(
    tmp_path: Path,
) -> None:
    data = FILES["progressive.jpg"].data
    last = data.rindex(b"\xff\xda")
    table = data.rindex(b"\xff\xc4", 0, last)
    assert "missing" in reason_of(tmp_path / "a.jpg", data[:table] + data[-2:])
    repeated = data[:-2] + data[table:]
    assert "out of order" in reason_of(tmp_path / "a.jpg", repeated)


def test_bytes_between_the_segments_of_a_jpeg_are_refused(tmp_path: Path) -> None:
    data = FILES["grey.jpg"].data
    start, _ = segment(data, 0xC0)
    spoilt_data = data[:start] + b"\0\0" + data[start:]
    assert "between its segments" in reason_of(tmp_path / "a.jpg", spoilt_data)


def test_a_jpeg_with_a_restart_mark_too_few_or_in_disorder_is_refused(
    tmp_path: Path,
) -> None:
    data = FILES["restarts.jpg"].data
    mark = data.index(b"\xff\xd2")
    assert "out of order" in reason_of(
        tmp_path / "a.jpg", data[:mark] + b"\xff\xd4" + data[mark + 2 :]
    )
    last = data.rindex(b"\xff\xd4")
    assert "of 5 restart markers" in reason_of(
        tmp_path / "a.jpg", data[:last] + data[-2:]
    )


def test_a_jpeg_of_another_size_than_its_restart_marks_is_refused(
    tmp_path: Path,
) -> None:
    data = bytearray(FILES["restarts.jpg"].data)
    start, _ = segment(bytes(data), 0xC0)
    data[start + 5 : start + 7] = (40).to_bytes(2)
    assert "restart markers" in reason_of(tmp_path / "a.jpg", bytes(data))


def hears_of_damage(path: Path) -> bool:
    """Whether GDAL, whose libjpeg decodes in small pieces, warns of a JPEG."""
    source = Source(str(path), "JPEG", path.read_bytes())
    try:
        deque(open_raster(source, Known(1)).blocks(), maxlen=0)
    except DataError:
        return True
    return False


@pytest.mark.parametrize(
    ("side", "flips", "share"),
    [
        pytest.param(256, 100, 0.1, id="small"),
        pytest.param(2056, 4, 0.5, id="many-units"),
    ],
)
@pytest.mark.parametrize("channels", [1, 3])
def test_a_jpeg_of_which_libjpeg_warns_is_refused(
    side: int, flips: int, share: float, channels: int, tmp_path: Path
) -> None:
    rng = np.random.default_rng(side)
    pixels = np.kron(rng.random((side // 8, side // 8)) < share, np.ones((8, 8)))
    grey = np.roll((pixels * 255).astype(np.uint8), 3)
    file = tmp_path / "a.jpg"
    whole = Image.fromarray(grey).convert("L" if channels == 1 else "RGB")
    whole.save(file, quality=95, subsampling=0)
    data = file.read_bytes()
    assert count_file(Task(str(file)))[0].reason == ""
    start, warned = data.index(b"\xff\xda") + 20, 0
    for at in rng.integers(start, len(data) - 2, flips):
        spoilt = bytearray(data)
        spoilt[at] ^= 1 << int(rng.integers(8))
        file.write_bytes(spoilt)
        if hears_of_damage(file):
            warned += 1
            assert count_file(Task(str(file)))[0].reason
    assert warned


@pytest.mark.parametrize("subsampling", ["grey", 0, 1, 2])
@pytest.mark.parametrize("progressive", [False, True])
@pytest.mark.parametrize("restarts", [0, 3])
def test_whole_jpegs_of_every_kind_are_read(
    tmp_path: Path, subsampling: int | str, progressive: bool, restarts: int
) -> None:
    rng = np.random.default_rng(3)
    shape = (37, 53) if subsampling == "grey" else (37, 53, 3)
    image = Image.fromarray(rng.integers(0, 256, shape).astype(np.uint8))
    options: dict[str, Any] = {"progressive": progressive}
    options |= {"restart_marker_blocks": restarts}
    if subsampling != "grey":
        options["subsampling"] = subsampling
    image.save(tmp_path / "a.jpg", **options)
    (one,) = count_file(Task(str(tmp_path / "a.jpg")))
    assert one.mask is not None, one.reason
    assert sum(one.mask.counts.values.values()) == 37 * 53


# BMP


@pytest.mark.parametrize(
    ("name", "place", "value"),
    [
        ("grey8.bmp", 14, 41),
        ("grey8.bmp", 28, 9),
        ("grey8.bmp", 30, 1),
        ("grey8.bmp", 46, 257),
        ("grey8.bmp", 22, 0),
        ("rgb.bmp", 22, 47),
    ],
)
def test_a_bmp_whose_header_does_not_fit_its_file_is_refused(
    tmp_path: Path, name: str, place: int, value: int
) -> None:
    data = bytearray(FILES[name].data)
    size = 2 if place in (26, 28) else 4
    data[place : place + size] = value.to_bytes(size, "little")
    assert "BMP file" in reason_of(tmp_path / "a.bmp", bytes(data))


def test_a_bmp_that_says_that_it_is_filled_up_is_read(tmp_path: Path) -> None:
    data = bytearray(FILES["rgb.bmp"].data + b"\0\0")
    assert "2 bytes after" in reason_of(tmp_path / "a.bmp", bytes(data))
    struct.pack_into("<I", data, 2, len(data))
    (tmp_path / "a.bmp").write_bytes(data)
    (one,) = count_file(Task(str(tmp_path / "a.bmp")))
    assert one.reason == ""


# PNG


def test_a_png_whose_header_lies_is_refused(tmp_path: Path) -> None:
    data = bytearray(FILES["grey8.png"].data)
    data[19] = 61
    data[29:33] = zlib.crc32(bytes(data[12:29])).to_bytes(4)
    assert "PNG file" in reason_of(tmp_path / "a.png", bytes(data))
