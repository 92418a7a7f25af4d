"""PNG whose chunks of pixels could be cut and joined: they are one whole stream."""

from __future__ import annotations

import io
import struct
import zlib
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from cdstats.core.errors import DataError
from cdstats.io import png
from cdstats.io.counting import Task, count_file
from cdstats.io.png import check_stream

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

SIDE: Final = 64
SIGNATURE: Final = b"\x89PNG\r\n\x1a\n"
COLOURS: Final = {"grey": (8, 0), "rgb": (8, 2), "bits": (1, 0), "deep": (16, 0)}
FLUSHES: Final = {"full": (6, zlib.Z_FULL_FLUSH), "stored": (0, zlib.Z_BLOCK)}


def chunk(kind: bytes, content: bytes = b"") -> bytes:
    head = struct.pack(">I", len(content)) + kind + content
    return head + struct.pack(">I", zlib.crc32(kind + content))


def rows_of(kind: str) -> list[bytes]:
    """Rows of a mask whose second quarter is changed, each after its filter."""
    depth, colour = COLOURS[kind]
    width = SIDE * depth * (3 if colour == 2 else 1) // 8
    changed = range(SIDE // 4, SIDE // 2)
    return [b"\0" + (b"\xff" if y in changed else b"\0") * width for y in range(SIDE)]


def parts_of(kind: str, level: int, flush: int) -> list[bytes]:
    """A stream in eight parts that refer to nothing before them."""
    packer = zlib.compressobj(level)
    rows = rows_of(kind)
    step = SIDE // 8
    parts = [
        packer.compress(b"".join(rows[at : at + step])) + packer.flush(flush)
        for at in range(0, SIDE, step)
    ]
    return [*parts[:-1], parts[-1] + packer.flush()]


def file_of(kind: str, parts: list[bytes], height: int = SIDE) -> bytes:
    header = struct.pack(">IIBBBBB", SIDE, height, *COLOURS[kind], 0, 0, 0)
    chunks = b"".join(chunk(b"IDAT", part) for part in parts)
    return SIGNATURE + chunk(b"IHDR", header) + chunks + chunk(b"IEND")


def counted(path: Path, data: bytes) -> Any:
    path.write_bytes(data)
    (one,) = count_file(Task(str(path)))
    return one


@pytest.mark.parametrize("kind", COLOURS)
@pytest.mark.parametrize("flush", FLUSHES)
def test_a_stream_that_was_flushed_is_read(
    tmp_path: Path, kind: str, flush: str
) -> None:
    one = counted(tmp_path / "a.png", file_of(kind, parts_of(kind, *FLUSHES[flush])))
    assert one.reason == ""
    assert sorted(one.mask.counts.values.values()) == [SIDE**2 // 4, SIDE**2 * 3 // 4]


@pytest.mark.parametrize("kind", COLOURS)
@pytest.mark.parametrize("flush", FLUSHES)
@pytest.mark.parametrize(
    "change",
    [
        pytest.param(lambda p: [*p[:3], p[2], *p[3:]], id="doubled"),
        pytest.param(lambda p: [*p[:2], *p[3:]], id="lost"),
        pytest.param(lambda p: [*p[:2], p[1], *p[3:]], id="lost-and-repeated"),
        pytest.param(lambda p: [p[0], p[2], p[1], *p[3:]], id="swapped"),
        pytest.param(lambda p: [*p, b"more"], id="more-behind"),
        pytest.param(lambda p: [*p[:-1], p[-1][:-1]], id="sum-cut"),
    ],
)
def test_chunks_that_were_cut_and_joined_are_refused(
    tmp_path: Path,
    kind: str,
    flush: str,
    change: Callable[[list[bytes]], list[bytes]],
) -> None:
    parts = change(parts_of(kind, *FLUSHES[flush]))
    one = counted(tmp_path / "a.png", file_of(kind, parts))
    assert one.mask is None
    assert one.reason.startswith("PNG file")


@pytest.mark.parametrize("kind", COLOURS)
def test_a_header_of_fewer_rows_is_refused_where_the_stream_is_unpacked(
    tmp_path: Path, kind: str
) -> None:
    data = file_of(kind, parts_of(kind, *FLUSHES["full"]), height=SIDE // 2)
    assert "more or fewer" in counted(tmp_path / "a.png", data).reason


def test_an_ordinary_stream_in_many_chunks_is_not_unpacked_twice(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(png, "check_stream", None)
    noise = np.random.default_rng(0).integers(0, 2, (SIDE, SIDE * 4), np.uint8)
    packed = zlib.compress(b"".join(b"\0" + row.tobytes() for row in noise))
    parts = [packed[at : at + 99] for at in range(0, len(packed), 99)]
    header = struct.pack(">IIBBBBB", SIDE * 4, SIDE, 8, 0, 0, 0, 0)
    data = SIGNATURE + chunk(b"IHDR", header)
    data += b"".join(chunk(b"IDAT", part) for part in parts) + chunk(b"IEND")
    assert counted(tmp_path / "a.png", data).reason == ""


def check_packed(packed: bytes, header: png.PngHeader) -> None:
    """Check a stream that is cut in two."""
    places = ((0, len(packed) // 2), (len(packed) // 2, -(-len(packed) // 2)))
    check_stream(io.BytesIO(packed), replace(header, pixels=places))


@settings(max_examples=100, deadline=None, derandomize=True)
@given(
    st.integers(1, 40),
    st.integers(1, 40),
    st.sampled_from([(1, 0), (2, 0), (4, 3), (8, 0), (8, 2), (16, 4), (8, 6)]),
)
def test_the_length_of_interlaced_rows_is_that_of_their_passes(
    width: int, height: int, sample: tuple[int, int]
) -> None:
    depth, colour = sample
    header = png.PngHeader(width, height, depth, colour, b"\0\0\1")
    starts = ((0, 0), (4, 0), (0, 4), (2, 0), (0, 2), (1, 0), (0, 1))
    steps = ((8, 8), (8, 8), (4, 8), (4, 4), (2, 4), (2, 2), (1, 2))
    rows = b""
    for (column, row), (right, down) in zip(starts, steps, strict=True):
        across = len(range(column, width, right))
        bits = across * header.channels * depth
        rows += (
            bytes(1 + (bits + 7) // 8) * len(range(row, height, down)) * (across > 0)
        )
    check_packed(zlib.compress(rows), header)
    with pytest.raises(DataError):
        check_packed(zlib.compress(rows + b"\0"), header)


def test_the_streams_of_a_writer_in_parts_are_unpacked_in_pieces() -> None:
    """More than a piece of pixels from few bytes, and an end that is checked."""
    rows = bytes(1 + 4096) * 4096
    header = png.PngHeader(4096, 4096, 8, png.GREY)
    packed = zlib.compress(rows)
    check_packed(packed, header)
    with pytest.raises(DataError, match="incorrect data check"):
        check_packed(packed[:-1] + b"x", header)


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


def test_a_large_text_is_refused_before_it_is_read() -> None:
    start = SIGNATURE + chunk(b"IHDR", struct.pack(">IIBBBBB", 8, 8, 8, 0, 0, 0, 0))
    text = struct.pack(">I", (1 << 26) + 1) + b"tEXt"
    with pytest.raises(DataError, match="67,108,865 bytes in its 'tEXt'"):
        png.read_png_header(io.BytesIO(start + text))
