"""BMP files of every header: colours as their masks say, or a true reason."""

import struct
from pathlib import Path

import numpy as np
import pytest
import rasterio
from helpers import unheld
from numpy.typing import NDArray

from cdstats.core.counts import ValueCounts
from cdstats.io.counting import Task, count_file
from cdstats.io.masks import open_masks

RGB = (0xFF0000, 0xFF00, 0xFF, 0)
HEADERS = (40, 52, 56, 108, 124)
RED, BLUE = (255, 0, 0), (0, 0, 255)


def picture() -> NDArray[np.uint8]:
    """30 red and 70 blue pixels."""
    image = np.zeros((10, 10, 3), np.uint8)
    image[:3], image[3:] = RED, BLUE
    return image


def stored(image: NDArray[np.uint8], bits: int, masks: tuple[int, ...]) -> bytes:
    """Pixels as numbers whose masks tell the colours, the last row first."""
    numbers = np.zeros(image.shape[:2], np.uint32)
    for colour, mask in enumerate(masks):
        shift = (mask & -mask).bit_length() - 1
        level = 255 if colour == 3 else image[..., colour].astype(np.uint32)
        if mask:
            numbers |= np.uint32(level) >> np.uint32(8 - mask.bit_count()) << shift
    rows = numbers.astype(f"<u{bits // 8}")[::-1]
    return b"".join(row.tobytes() + bytes(-row.nbytes % 4) for row in rows)


def bmp(
    header: int,
    bits: int,
    masks: tuple[int, ...] = RGB,
    *,
    compression: int = 0,
    pixels: bytes = b"",
    profile: bytes = b"",
) -> bytes:
    """A BMP file of `picture`, or of other pixels."""
    pixels = pixels or stored(picture(), bits, masks)
    info = struct.pack(
        "<IiiHHIIiiII", header, 10, 10, 1, bits, compression, len(pixels), 0, 0, 0, 0
    )
    colours = struct.pack("<4I", *masks)
    extra = {3: colours[:12], 6: colours}.get(compression, b"") if header == 40 else b""
    if header > 40:
        info += colours
    if header == 124:
        kind = b"DEBM" if profile else b"BGRs"
        place = 124 + len(pixels)
        info = info.ljust(40 + 16, b"\0") + kind + bytes(48 + 4)
        info += struct.pack("<III", place, len(profile), 0)
    info = info[:header].ljust(header, b"\0")
    start = 14 + header + len(extra)
    size = start + len(pixels) + len(profile)
    head = struct.pack("<2sIII", b"BM", size, 0, start)
    return head + info + extra + pixels + profile


def counts_of(path: Path, data: bytes) -> ValueCounts:
    path.write_bytes(data)
    (one,) = count_file(Task(str(path)))
    assert one.mask is not None, one.reason
    return one.mask.counts


def reason_of(path: Path, data: bytes) -> str:
    path.write_bytes(data)
    (one,) = count_file(Task(str(path)))
    return one.reason


@pytest.mark.parametrize("header", HEADERS)
@pytest.mark.parametrize("compression", [0, 3])
def test_colours_of_32_bits_are_read(
    tmp_path: Path, header: int, compression: int
) -> None:
    data = bmp(header, 32, RGB, compression=compression)
    counts = counts_of(tmp_path / "a.bmp", data)
    assert counts.values == {"#ff0000": 30, "#0000ff": 70}


@pytest.mark.parametrize(
    ("bits", "compression", "masks"),
    [
        (32, 3, (0xFF, 0xFF00, 0xFF0000, 0)),
        (32, 3, (*RGB[:3], 0xFF000000)),
        (32, 6, (*RGB[:3], 0xFF000000)),
        (16, 0, (0x7C00, 0x3E0, 0x1F, 0)),
        (16, 3, (0xF800, 0x7E0, 0x1F, 0)),
        (8, 1, RGB),
        (4, 2, RGB),
    ],
)
def test_packed_pixels_and_unusual_colours_are_refused(
    tmp_path: Path, bits: int, compression: int, masks: tuple[int, ...]
) -> None:
    pixels = bytes(2000) if bits < 16 else b""
    data = bytearray(bmp(124, bits, masks, compression=compression, pixels=pixels))
    struct.pack_into("<I", data, 10, 14 + 124 + 1024)
    reason = reason_of(tmp_path / "a.bmp", bytes(data))
    assert "Save it as PNG" in reason
    assert f"{bits}-bit pixels with compression {compression}" in reason


@pytest.mark.parametrize("header", HEADERS)
def test_pixels_of_24_bits_need_no_masks(tmp_path: Path, header: int) -> None:
    rows = picture()[::-1, :, ::-1]
    pixels = b"".join(row.tobytes() + bytes(2) for row in rows)
    counts = counts_of(tmp_path / "a.bmp", bmp(header, 24, pixels=pixels))
    assert counts.values == {"#ff0000": 30, "#0000ff": 70}


@pytest.mark.parametrize("header", [108, 124])
def test_a_palette_stands_behind_a_long_header(tmp_path: Path, header: int) -> None:
    levels = (picture()[::-1, :, 0]).copy()
    pixels = b"".join(row.tobytes() + bytes(2) for row in levels)
    data = bytearray(bmp(header, 8, pixels=pixels))
    palette = b"".join(bytes((level, level, level, 0)) for level in range(256))
    start = 14 + header
    struct.pack_into("<I", data, 2, len(data) + 1024)
    struct.pack_into("<I", data, 10, start + 1024)
    data[start:start] = palette
    assert counts_of(tmp_path / "a.bmp", bytes(data)).values == {255: 30, 0: 70}


def rows_of(stored: list[bytes], *, down: bool) -> bytes:
    """Rows filled up to four bytes, the last first unless they go down."""
    filled = [row + bytes(-len(row) % 4) for row in stored]
    return b"".join(filled if down else filled[::-1])


def indexed(header: int, bits: int, levels: bytes, rows: bytes, height: int) -> bytes:
    """A BMP file of 13 columns and a palette of colours that are all different."""
    colours = [bytes((level, 7, 255 - level)) for level in levels]
    table = b"".join(one if header == 12 else one + b"\0" for one in colours)
    info = struct.pack("<IHHHH", 12, 13, abs(height), 1, bits)
    if header > 12:
        info = struct.pack("<IiiHH", header, 13, height, 1, bits)
        info = (info + bytes(16) + struct.pack("<II", len(colours), 0)).ljust(
            header, b"\0"
        )
    start = 14 + header + len(table)
    head = struct.pack("<2sIII", b"BM", start + len(rows), 0, start)
    return head + info + table + rows


@pytest.mark.parametrize("down", [False, True], ids=["up", "down"])
@pytest.mark.parametrize("bits", [1, 4, 8])
@pytest.mark.parametrize("header", [12, 40, 64, 124])
def test_indices_and_palettes_are_read_behind_every_header(
    tmp_path: Path, header: int, bits: int, down: bool
) -> None:
    if header == 12 and down:
        pytest.skip("its height has no sign")
    indices = np.random.default_rng(bits).integers(0, 1 << bits, (9, 13), np.uint8)
    digits = np.unpackbits(indices[..., None], axis=-1)[..., 8 - bits :]
    stored = [bytes(row) for row in np.packbits(digits.reshape(9, -1), axis=1)]
    levels = bytes(range(1 << bits))
    rows = rows_of(stored, down=down)
    path = tmp_path / "a.bmp"
    path.write_bytes(indexed(header, bits, levels, rows, -9 if down else 9))
    (image,) = open_masks(str(path), "", None)
    (block,) = image.blocks()
    assert np.array_equal(block.values, indices)
    assert image.palette is not None
    assert [image.palette[n] for n in range(1 << bits)] == [
        f"#{255 - level:02x}07{level:02x}" for level in levels
    ]


@pytest.mark.filterwarnings("ignore::rasterio.errors.NotGeoreferencedWarning")
@pytest.mark.parametrize("held", [True, False])
def test_colours_are_those_of_gdal_in_every_window(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, held: bool
) -> None:
    if not held:
        monkeypatch.setattr("cdstats.io.masks.FORMATS", unheld())
    monkeypatch.setattr("cdstats.io.bmp.BLOCK_PIXELS", 256 * 50)
    pixels = np.arange(3 << 16, dtype=np.uint8).tobytes()
    data = bytearray(bmp(40, 24, pixels=pixels))
    struct.pack_into("<ii", data, 18, 256, 256)
    path = tmp_path / "a.bmp"
    path.write_bytes(data)
    with rasterio.open(path) as file:
        expected = np.moveaxis(file.read(), 0, -1)
    (image,) = open_masks(str(path), "", None)
    blocks = list(image.blocks())
    assert len(blocks) == 6
    assert np.array_equal(np.concatenate([b.values for b in blocks]), expected)
    assert image.part is not None
    (one,) = image.part(100, 150)
    assert np.array_equal(one.values, expected[100:150])


def test_a_file_that_ends_inside_its_palette_is_cut_short(tmp_path: Path) -> None:
    data = indexed(40, 8, bytes(range(256)), b"", 9)[:500]
    assert "cut short" in reason_of(tmp_path / "a.bmp", data)
