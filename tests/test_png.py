"""PNG of few bits as GDAL reads them, and what may follow a PNG."""

from __future__ import annotations

import io
import struct
import zlib
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from cdstats.io import png, raster
from cdstats.io.counting import Task, count_file
from cdstats.io.masks import open_masks
from cdstats.io.png import GREY, PALETTE, as_bytes

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from cdstats.core.counts import Counted

law = settings(derandomize=True)
SIGNATURE = b"\x89PNG\r\n\x1a\n"


def chunk(kind: bytes, content: bytes = b"") -> bytes:
    head = struct.pack(">I", len(content)) + kind + content
    return head + struct.pack(">I", zlib.crc32(kind + content))


def filtered(row: list[int], above: list[int], kind: int) -> bytes:
    """A row of bytes by a filter, after the specification."""
    found = [kind]
    for at, byte in enumerate(row):
        left, corner = (row[at - 1], above[at - 1]) if at else (0, 0)
        up = above[at]
        nearest = min((left, up, corner), key=lambda one: abs(left + up - corner - one))
        guess = (0, left, up, (left + up) // 2, nearest)[kind]
        found.append((byte - guess) % 256)
    return bytes(found)


def packed_rows(pixels: NDArray[np.uint8], depth: int) -> list[list[int]]:
    bits = np.unpackbits(pixels[..., None], axis=-1)[..., 8 - depth :]
    rows: list[list[int]] = np.packbits(bits.reshape(len(pixels), -1), axis=1).tolist()
    return rows


def compressed(pixels: NDArray[np.uint8], depth: int, filters: Sequence[int]) -> bytes:
    rows = packed_rows(pixels, depth)
    lines = zip(rows, [[0] * len(rows[0]), *rows], filters, strict=False)
    return zlib.compress(b"".join(filtered(*line) for line in lines))


def header_chunk(pixels: NDArray[np.uint8], depth: int, colour: int) -> bytes:
    height, width = pixels.shape
    content = struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, 0)
    return chunk(b"IHDR", content)


def written(path: Path, *chunks: bytes) -> Path:
    path.write_bytes(SIGNATURE + b"".join(chunks) + chunk(b"IEND"))
    return path


def pixels_of(path: Path) -> NDArray[Any]:
    (image,) = open_masks(str(path), "", None)
    (block,) = image.blocks()
    return block.values


def both_ways(path: Path) -> tuple[list[Counted], list[Counted]]:
    """What is counted of a file, by the fast decoder and by GDAL alone."""
    fast = count_file(Task(str(path)))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(png, "as_bytes", lambda *_: None)
        return fast, count_file(Task(str(path)))


@st.composite
def low_depth_files(draw: st.DrawFn) -> tuple[list[bytes], NDArray[np.uint8], int]:
    """The chunks of a file of few bits, its pixels and its colour type."""
    depth = draw(st.sampled_from([1, 2, 4]))
    height, width = draw(st.integers(1, 12)), draw(st.integers(1, 70))
    random = np.random.default_rng(draw(st.integers(0, 2**32)))
    pixels = random.integers(0, 1 << depth, (height, width)).astype(np.uint8)
    if draw(st.booleans()):
        pixels[pixels > 1] = 0
    filters = draw(st.lists(st.integers(0, 4), min_size=height, max_size=height))
    colour = draw(st.sampled_from([GREY, PALETTE]))
    chunks = [header_chunk(pixels, depth, colour), chunk(b"gAMA", bytes(3) + b"\1")]
    if colour == PALETTE:
        grey = random.integers(0, 256, (1 << depth, 1)).repeat(3, 1)
        table = (
            grey if draw(st.booleans()) else random.integers(0, 256, (1 << depth, 3))
        )
        chunks.append(chunk(b"PLTE", table.astype(np.uint8).tobytes()))
    if draw(st.booleans()):
        alpha = bytes(random.choice([0, 9, 255], draw(st.integers(1, 1 << depth))))
        key = struct.pack(">H", draw(st.integers(0, (1 << depth) - 1)))
        chunks.append(chunk(b"tRNS", alpha if colour == PALETTE else key))
    data = compressed(pixels, depth, filters)
    cut = draw(st.integers(0, len(data)))
    chunks += [chunk(b"IDAT", data[:cut]), chunk(b"IDAT", data[cut:])]
    return [*chunks, chunk(b"tEXt", b"Title\0a mask")], pixels, colour


@law
@given(low_depth_files())
def test_every_filter_width_and_palette_is_read_as_gdal_reads_it(
    tmp_path_factory: pytest.TempPathFactory,
    file: tuple[list[bytes], NDArray[np.uint8], int],
) -> None:
    chunks, pixels, colour = file
    path = written(tmp_path_factory.mktemp("bits") / "a.png", *chunks)
    fast, by_gdal = both_ways(path)
    assert fast == by_gdal
    assert fast[0].reason == ""
    if colour == GREY:
        assert np.array_equal(pixels_of(path), pixels)


@pytest.mark.parametrize("depth", [1, 2, 4])
@pytest.mark.parametrize("side", [1, 5, 512])
def test_gdal_is_not_asked_for_a_regular_file_of_few_bits(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, depth: int, side: int
) -> None:
    pixels = np.eye(side, dtype=np.uint8) * ((1 << depth) - 1)
    data = compressed(pixels, depth, [4, 2, 3, 1, 0] * side)
    path = written(
        tmp_path / "a.png", header_chunk(pixels, depth, GREY), chunk(b"IDAT", data)
    )
    monkeypatch.setattr(raster, "open_raster", None)
    assert np.array_equal(pixels_of(path), pixels)


MASK = np.eye(9, dtype=np.uint8)
DATA = compressed(MASK, 1, [0] * 9)
TWO = chunk(b"PLTE", bytes(6))


def unusual(colour: int, *chunks: bytes) -> bytes:
    start = header_chunk(MASK, 1, colour)
    return b"".join([SIGNATURE, start, *chunks, chunk(b"IEND")])


@pytest.mark.parametrize(
    "data",
    [
        pytest.param(unusual(GREY, TWO, chunk(b"IDAT", DATA)), id="palette-of-a-grey"),
        pytest.param(unusual(PALETTE, chunk(b"IDAT", DATA), TWO), id="palette-late"),
        pytest.param(
            unusual(PALETTE, TWO, TWO, chunk(b"IDAT", DATA)), id="two-palettes"
        ),
        pytest.param(unusual(PALETTE, chunk(b"IDAT", DATA)), id="no-palette"),
        pytest.param(
            unusual(PALETTE, chunk(b"PLTE", bytes(9)), chunk(b"IDAT", DATA)),
            id="palette-too-long",
        ),
        pytest.param(
            unusual(PALETTE, chunk(b"PLTE", bytes(5)), chunk(b"IDAT", DATA)),
            id="palette-uneven",
        ),
        pytest.param(
            unusual(GREY, chunk(b"NEWS"), chunk(b"IDAT", DATA)), id="critical-unknown"
        ),
        pytest.param(unusual(GREY), id="no-pixels"),
        pytest.param(unusual(GREY, chunk(b"IDAT", DATA[:-9])), id="pixels-cut-short"),
        pytest.param(
            unusual(GREY, chunk(b"IDAT", compressed(MASK[:4], 1, [0] * 4))),
            id="rows-missing",
        ),
        pytest.param(
            unusual(GREY, chunk(b"IDAT", zlib.compress(b"\5\0\0" * 9))), id="filter-5"
        ),
    ],
)
def test_an_unusual_file_of_few_bits_comes_out_as_gdal_decides(
    tmp_path: Path, data: bytes
) -> None:
    path = tmp_path / "a.png"
    path.write_bytes(data)
    fast, by_gdal = both_ways(path)
    assert fast == by_gdal


@pytest.mark.parametrize("key", [b"\0", b"\0\1\0"])
@pytest.mark.parametrize("depth", [1, 8])
def test_a_transparent_grey_of_a_wrong_length_is_damage(
    tmp_path: Path, depth: int, key: bytes
) -> None:
    data = compressed(MASK, depth, [0] * 9)
    path = written(
        tmp_path / "a.png", header_chunk(MASK, depth, GREY), chunk(b"tRNS", key),
        chunk(b"IDAT", data),
    )  # fmt: skip
    (one,) = count_file(Task(str(path)))
    assert (
        one.reason == "PNG file is damaged: its transparent colour has a wrong length"
    )


@pytest.mark.parametrize("at", [10, 11, 12])
def test_another_method_in_the_header_is_not_taken_for_the_usual_one(at: int) -> None:
    content = bytearray(struct.pack(">IIBBBBB", 9, 9, 1, 0, 0, 0, 0))
    for value, taken in ((0, True), (1, False)):
        content[at] = value
        start = SIGNATURE + chunk(b"IHDR", bytes(content))
        data = start + chunk(b"IDAT", DATA) + chunk(b"IEND")
        header = png.read_png_header(io.BytesIO(data))
        assert (as_bytes(data, header) is not None) is taken


def test_every_flipped_bit_of_a_file_of_few_bits_is_noticed(tmp_path: Path) -> None:
    path = written(
        tmp_path / "a.png", header_chunk(MASK, 1, GREY), chunk(b"IDAT", DATA)
    )
    whole = path.read_bytes()
    for at in range(len(SIGNATURE), len(whole)):
        data = bytearray(whole)
        data[at] ^= 1 << at % 8
        path.write_bytes(data)
        (one,) = count_file(Task(str(path)))
        assert one.mask is None, at


def counted(path: Path, data: bytes) -> Any:
    path.write_bytes(data)
    (one,) = count_file(Task(str(path)))
    return one


def test_a_second_image_anywhere_near_behind_the_first_is_refused(
    tmp_path: Path,
) -> None:
    stream = io.BytesIO()
    Image.fromarray(np.zeros((8, 8), np.uint8)).save(stream, "PNG")
    data = stream.getvalue()
    for between in (b"x", b"a note of the camera", bytes(70_000) + b"x"):
        one = counted(tmp_path / "a.png", data + between + data)
        assert "another file after its end" in one.reason
    assert counted(tmp_path / "a.png", data + b"x" + data[1:]).reason == ""
