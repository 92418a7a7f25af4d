"""Files, names and paths made to harm: refused, read in bounds or shown harmlessly."""

from __future__ import annotations

import csv
import io
import json
import lzma
import os
import pickle
import socket
import struct
import sys
import tempfile
import tracemalloc
import warnings
import zipfile
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio
from helpers import run
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from rewrite_golden import on_terminal

from cdstats.core.columns import from_cell, to_cell
from cdstats.core.errors import DataError
from cdstats.io import limits
from cdstats.io.counting import Task, count_file
from cdstats.io.predictions import open_predictions

law = settings(derandomize=True)
MASK = np.zeros((8, 8), np.uint8)
MASK[:2] = 255
COUNTS = {0: 48, 255: 16}


def reason_of(path: Path, **options: Any) -> str:
    (one,) = count_file(Task(str(path)), **options)
    assert one.mask is None
    return one.reason


def values_of(path: Path) -> dict[Any, int]:
    (one,) = count_file(Task(str(path)))
    assert one.reason == ""
    assert one.mask is not None
    return dict(one.mask.counts.values)


def saved(path: Path, array: Any = MASK, **options: Any) -> Path:
    Image.fromarray(array).save(path, **options)
    return path


# Bombs


def png_of(path: Path, width: int, height: int, *, interlaced: bool = False) -> Path:
    """A PNG that declares a size and holds a few bytes."""
    header = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, interlaced)
    chunks = ((b"IHDR", header), (b"IDAT", zlib.compress(bytes(99))), (b"IEND", b""))
    path.write_bytes(
        b"\x89PNG\r\n\x1a\n"
        + b"".join(
            struct.pack(">I", len(data))
            + kind
            + data
            + struct.pack(">I", zlib.crc32(kind + data))
            for kind, data in chunks
        )
    )
    return path


def test_a_tiff_that_declares_ten_thousand_million_pixels_is_refused(
    tmp_path: Path,
) -> None:
    path = tmp_path / "a.tif"
    with rasterio.open(
        path, "w", driver="GTiff", width=100_000, height=100_000, count=1,
        dtype="uint8", tiled=True, blockxsize=4096, blockysize=4096, SPARSE_OK=True,
        transform=rasterio.Affine(2, 0, 9, 0, -2, 9),
    ):  # fmt: skip
        pass
    assert path.stat().st_size < 1 << 20
    assert "--max-pixels" in reason_of(path)


@pytest.mark.parametrize(
    "kind", ["BMP", "JPEG", "PNG", "TIFF", "npy", "npz", "fortran.npz"]
)
def test_the_limit_holds_for_every_format_and_can_be_raised(
    tmp_path: Path, kind: str
) -> None:
    path = tmp_path / f"a.{kind}"
    if kind == "npy":
        np.save(path, MASK)
    elif kind.endswith("npz"):
        np.savez(path, np.asfortranarray(MASK) if "fortran" in kind else MASK)
    else:
        saved(path, format=kind)
    done = run("ratio", path, "--max-pixels", 63, "--changed", ">=128",
               "--unchanged", "rest")  # fmt: skip
    assert done.code == 1
    assert "declares 8 x 8 pixels; the limit is 63" in done.err
    done = run("ratio", path, "--max-pixels", 64, "--changed", ">=128",
               "--unchanged", "rest")  # fmt: skip
    assert done.code == 0


def test_an_archive_is_not_unpacked_further_than_its_header_says(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    header = io.BytesIO()
    shape = {"descr": "|u1", "fortran_order": False, "shape": (8, 8)}
    np.lib.format.write_array_header_1_0(header, shape)
    with zipfile.ZipFile(tmp_path / "a.npz", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("mask.npy", header.getvalue() + bytes(50_000_000))
    read: list[int] = []
    plain = zipfile.ZipExtFile.read

    def counting(self: zipfile.ZipExtFile, n: int = -1) -> bytes:
        data = plain(self, n)
        read.append(len(data))
        return data

    monkeypatch.setattr(zipfile.ZipExtFile, "read", counting)
    assert "length of an array differs from its header" in reason_of(tmp_path / "a.npz")
    assert sum(read) < 10_000


def test_a_header_of_an_array_is_not_unpacked_to_any_length(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "a.npz", "w", zipfile.ZIP_DEFLATED) as archive:
        length = (40_000_000).to_bytes(4, "little")
        archive.writestr("mask.npy", b"\x93NUMPY\2\0" + length + bytes(40_000_000))
    assert "header of an array is too long" in reason_of(tmp_path / "a.npz")


def test_what_is_unpacked_at_once_and_fills_the_memory_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    np.savez_compressed(tmp_path / "a.npz", np.zeros((100, 100)))
    np.savez_compressed(tmp_path / "f.npz", np.asfortranarray(np.zeros((100, 90))))
    with rasterio.open(
        tmp_path / "a.tif", "w", driver="GTiff", width=900, height=900, count=1,
        dtype="uint8", blockysize=450, compress="deflate",
        transform=rasterio.Affine(2, 0, 9, 0, -2, 9),
    ) as file:  # fmt: skip
        file.write(np.zeros((1, 900, 900), np.uint8))
    png_of(tmp_path / "a.png", 9000, 9000, interlaced=True)
    monkeypatch.setattr(limits, "_memory", lambda: 100_000)
    with pytest.raises(DataError, match=r"80,000 bytes at once.*save it as \.npy"):
        open_predictions(str(tmp_path / "a.npz"), "", [None])
    assert values_of(tmp_path / "a.npz") == {0: 10_000}
    assert "72,000 bytes at once" in reason_of(tmp_path / "f.npz")
    assert "save it in smaller tiles" in reason_of(tmp_path / "a.tif")
    assert "save it without interlacing" in reason_of(tmp_path / "a.png")


def tiff_of(pages: list[list[tuple[int, int, int]]], data: bytes = b"") -> bytes:
    """A TIFF of entries (tag, count, value), all of 32 bits, after some bytes."""
    out = bytearray(b"II*\0" + bytes(4) + data)
    link = 4
    for entries in pages:
        struct.pack_into("<I", out, link, len(out))
        out += struct.pack("<H", len(entries))
        out += b"".join(
            struct.pack("<HHII", tag, 4, count, value) for tag, count, value in entries
        )
        link = len(out)
        out += bytes(4)
    return bytes(out)


def page_of(
    width: int, height: int, packing: int, place: int, length: int
) -> list[tuple[int, int, int]]:
    """The entries of a page of one strip."""
    values = {256: width, 257: height, 258: 8, 259: packing, 262: 1, 273: place}
    values |= {277: 1, 278: height, 279: length}
    return [(tag, 1, value) for tag, value in values.items()]


@pytest.mark.parametrize("limit", [limits.MAX_PIXELS, 1000])
def test_an_lzma_strip_is_not_unpacked_beyond_its_pixels(
    tmp_path: Path, limit: int
) -> None:
    packed = lzma.compress(bytes(1 << 23))
    path = tmp_path / "a.tif"
    path.write_bytes(
        tiff_of([page_of(1 << 11, 1 << 11, 34925, 8, len(packed))], packed)
    )
    tracemalloc.start()
    reason = reason_of(path, max_pixels=limit)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert ("max-pixels" if limit == 1000 else "more data than its pixels") in reason
    assert peak < 1 << 22


def test_pages_that_share_a_large_table_are_refused(tmp_path: Path) -> None:
    rows = 100_000
    page = page_of(1, rows, 1, 8, 8)
    page = [(tag, rows, 8) if tag in (273, 279) else (tag, 1, value)
            for tag, _, value in page]  # fmt: skip
    path = tmp_path / "a.tif"
    path.write_bytes(tiff_of([page] * 50, bytes(4 * rows)))
    tracemalloc.start()
    assert "its tables overlap" in reason_of(path)
    assert tracemalloc.get_traced_memory()[1] < 1 << 23
    tracemalloc.stop()


def test_a_row_that_fills_the_memory_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "a.tif"
    path.write_bytes(tiff_of([page_of(30_000, 1, 1, 8, 30_000)], bytes(30_000)))
    assert values_of(path) == {0: 30_000}
    monkeypatch.setattr(limits, "_memory", lambda: 100_000)
    assert "save it in tiles, because its rows are too long" in reason_of(path)


# Tensors


def pred_reason(path: Path, **options: Any) -> str:
    with pytest.raises(DataError) as caught:
        open_predictions(str(path), "", [None], **options)
    return str(caught.value)


def rewritten(path: Path, change: Any, compression: int = zipfile.ZIP_STORED) -> Path:
    """An archive whose parts are written again, each as a function makes it."""
    with zipfile.ZipFile(path) as archive:
        parts = {one.filename: archive.read(one) for one in archive.infolist()}
    with zipfile.ZipFile(path, "w", compression) as archive:
        for name, data in parts.items():
            archive.writestr(name, change(name, data))
    return path


@pytest.fixture
def tensors(tmp_path: Path) -> Path:
    import torch

    torch.save(torch.arange(4096.0).reshape(64, 64) / 4096, tmp_path / "p.pt")
    return tmp_path / "p.pt"


def test_compressed_tensors_are_refused_before_they_unpack(tensors: Path) -> None:
    def bomb(name: str, data: bytes) -> bytes:
        return bytes(20_000_000) if name.endswith("data/0") else data

    rewritten(tensors, bomb, zipfile.ZIP_DEFLATED)
    assert tensors.stat().st_size < 100_000
    tracemalloc.start()
    try:
        assert "holds compressed tensors" in pred_reason(tensors)
        assert tracemalloc.get_traced_memory()[1] < 1_000_000
    finally:
        tracemalloc.stop()


def test_a_tensor_that_says_more_than_it_stores_is_refused(tensors: Path) -> None:
    def declare(name: str, data: bytes) -> bytes:
        if not name.endswith("data.pkl"):
            return data
        # The number of stored values, 4096 in two bytes, becomes 2**31 - 1.
        assert data.count(b"M\x00\x10") == 1
        return data.replace(b"M\x00\x10", b"J\xff\xff\xff\x7f")

    rewritten(tensors, declare)
    assert pred_reason(tensors).startswith("PT file is damaged")


def test_a_tensor_that_repeats_one_number_is_limited_by_its_shape(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import torch

    path = tmp_path / "p.pt"
    one = torch.zeros(1)
    torch.save(one.expand(100_000, 100_000), path)
    assert path.stat().st_size < 10_000
    assert "declares 100,000 x 100,000 pixels" in pred_reason(path)
    torch.save(one.expand(9, 10, 10), path)
    assert "the limit is 899" in pred_reason(path, max_pixels=899)
    assert len(open_predictions(str(path), "", [None] * 9, max_pixels=900)) == 9
    torch.save(one.bfloat16().expand(1000, 1000), path)
    monkeypatch.setattr(limits, "_memory", lambda: 1_000_000)
    assert "4,000,000 bytes at once" in pred_reason(path)


def test_the_limit_counts_the_pixels_of_an_image_and_not_its_channels(
    tmp_path: Path,
) -> None:
    import torch

    path = tmp_path / "p.pt"
    torch.save(torch.full((9, 2, 8, 8), 0.5), path)
    assert len(open_predictions(str(path), "", [None] * 9, max_pixels=64)) == 9
    assert "the limit is 63" in pred_reason(path, max_pixels=63)


@pytest.mark.parametrize("suffix", [".pt", ".npz", ".npy"])
def test_a_stack_of_endless_images_is_refused_before_they_are_listed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, suffix: str
) -> None:
    import torch

    path = tmp_path / f"p{suffix}"
    if suffix == ".pt":
        torch.save(torch.zeros(1).expand(3_000, 1, 1), path)
    elif suffix == ".npz":
        np.savez_compressed(path, np.zeros((3_000, 1, 1), np.uint8))
    else:
        np.save(path, np.zeros((3_000, 1, 1), np.uint8))
    monkeypatch.setattr(limits, "_memory", lambda: 1_000_000)
    assert "3000 channels for one mask" in pred_reason(path)
    if suffix != ".pt":
        assert "holds 3,000 images" in reason_of(path)


def test_an_archive_of_doubled_parts_is_refused(tensors: Path) -> None:
    with zipfile.ZipFile(tensors, "a") as archive, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        archive.writestr(archive.namelist()[0], b"another")
    assert "two parts of one name" in pred_reason(tensors)


@law
@given(data=st.data())
def test_a_flipped_bit_of_a_tensor_is_refused_or_harmless(data: Any) -> None:
    import torch

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "p.pt"
        torch.save({"p": torch.arange(256.0).reshape(16, 16) / 256}, path)
        whole = path.read_bytes()
        (image,) = open_predictions(str(path), "", [None])
        expected = np.concatenate([one.values for one in image.blocks()])
        place = data.draw(st.integers(0, len(whole) - 1))
        flipped = bytearray(whole)
        flipped[place] ^= 1 << data.draw(st.integers(0, 7))
        path.write_bytes(flipped)
        try:
            (image,) = open_predictions(str(path), "", [None])
        except DataError:
            return
        found = np.concatenate([one.values for one in image.blocks()])
        assert found.dtype == expected.dtype
        assert np.array_equal(found, expected)


# Code in files


class Trap:
    """Makes a folder when it is unpickled."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, (str(self.folder),)


@pytest.mark.parametrize(
    "suffix", [".pt", ".old.pt", ".pth", ".npy", ".npz", ".png", ".tif"]
)
def test_a_pickle_that_would_run_does_not(tmp_path: Path, suffix: str) -> None:
    import torch

    trap, pred = tmp_path / "sprung", tmp_path / f"p{suffix}"
    if suffix.endswith((".pt", ".pth")):
        new = suffix != ".old.pt"
        torch.save({"p": Trap(trap)}, pred, _use_new_zipfile_serialization=new)
    elif suffix == ".npz":
        np.savez(pred, p=np.array([[Trap(trap)]], dtype=object))
    elif suffix == ".npy":
        np.save(pred, np.array([[Trap(trap)]], dtype=object))
    else:
        pred.write_bytes(pickle.dumps(Trap(trap)))
    done = run("loss", "--pred", pred, "--target", saved(tmp_path / "mask.png"))
    assert done.code == 1
    if not suffix.endswith((".pt", ".pth")):
        assert run("ratio", pred).code == 1
    assert not trap.exists()


# What GDAL would follow


def test_a_virtual_raster_is_not_followed_under_any_name(tmp_path: Path) -> None:
    saved(tmp_path / "real.tif")
    text = (
        '<VRTDataset rasterXSize="8" rasterYSize="8"><VRTRasterBand dataType="Byte" '
        f'band="1"><SimpleSource><SourceFilename>{tmp_path}/real.tif</SourceFilename>'
        "<SourceBand>1</SourceBand></SimpleSource></VRTRasterBand></VRTDataset>"
    )
    for name in ("a.tif", "a.vrt", "a.png", "a.bmp"):
        (tmp_path / name).write_text(text)
        assert "is not an image" in reason_of(tmp_path / name)


def test_files_beside_a_raster_change_no_pixel(tmp_path: Path) -> None:
    path = saved(tmp_path / "a.tif")
    (tmp_path / "a.tif.aux.xml").write_text(
        '<PAMDataset><PAMRasterBand band="1"><NoDataValue>255</NoDataValue>'
        "<ColorTable><Entry c1='9' c2='0' c3='0' c4='255'/></ColorTable>"
        "</PAMRasterBand></PAMDataset>"
    )
    saved(tmp_path / "a.tif.ovr", np.zeros_like(MASK), format="TIFF")
    (tmp_path / "a.tfw").write_text("1\n0\n0\n1\n0\n0\n")
    assert values_of(path) == COUNTS
    (one,) = count_file(Task(str(path)))
    assert one.mask is not None
    assert one.mask.nodata == 255
    assert one.mask.palette is None
    assert one.mask.counts.masked == 0
    assert (tmp_path / "a.tif.aux.xml").read_text().startswith("<PAMDataset>")


def test_no_path_makes_a_connection(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        server.settimeout(0.2)
        address = f"/vsicurl/http://127.0.0.1:{port}/a.tif"
        listed = tmp_path / "list.txt"
        listed.write_text(f"{address}\n/vsizip/a.zip/b.tif\n/vsistdin/\n")
        for place in (address, f"@{listed}", f"GTIFF_DIR:1:{address}"):
            assert run("ratio", place).code == 1
        with pytest.raises(TimeoutError):
            server.accept()


# Names

NAMES = [
    *("=cmd|' C calc'!A0.png", "+1.png", "-1.png", "@SUM(A1).png", "\tx.png"),
    *("'=1.png", "''-.png", "'q.png", 'a,b"c.png', "a\nb.png", "c\rd.png"),
    *("<script>alert(1)<.png", "\\include{x}.png", "$x_1^2&%#~{}.png", "a|b`c`.png"),
    *(
        "[bold]x[.png",
        "\x1b[31mred\x1b]0;t\x07.png",
        "\u202egnp.png",
        "n" * 251 + ".png",
    ),
    *("変化.png", os.fsdecode(b"\xff\xfe.png")),
]
linux_names = pytest.mark.skipif(
    sys.platform != "linux", reason="names are bytes on Linux alone"
)


@linux_names
@pytest.mark.parametrize("option", ["--csv", "--summary"])
def test_any_name_comes_back_from_a_file_and_is_no_formula_in_it(
    tmp_path: Path, option: str
) -> None:
    folder = tmp_path / "=1+1"
    folder.mkdir()
    for name in NAMES:
        saved(folder / name, format="PNG")
    out = tmp_path / "out.csv"
    assert run("ratio", folder, option, out).code == 0
    text = out.read_text(encoding="utf-8", errors="surrogateescape")
    cells = [cell for row in csv.reader(io.StringIO(text, newline="")) for cell in row]
    assert len(cells) > len(NAMES)
    assert [cell for cell in cells if cell[:1] in tuple("=+-@\t\r")] == []
    if option == "--csv":
        again = run("ratio", "--from", out, "--format", "json")
        rows = json.loads(again.out)["images"]
        assert sorted(row["path"] for row in rows) == sorted(NAMES)
        assert {row["dataset"] for row in rows} == {"=1+1"}
    assert run("ratio", folder, "--against", out).code == 0


@law
@given(st.text(alphabet="'=+-@\t\rab", max_size=6))
def test_a_cell_is_no_formula_and_gives_its_text_back(text: str) -> None:
    cell = to_cell(text)
    assert cell[:1] not in tuple("=+-@\t\r") or cell == ""
    assert from_cell(cell) == text


@linux_names
@pytest.mark.parametrize(
    ("kind", "absent"),
    [
        ("table", ("\x1b", "\r", "\t", "\x07", "\u202e")),
        ("markdown", ("\x1b", "\r", "\t", " <script>", "\u202e")),
        ("latex", ("\x1b", "\r", "\t", "\\include{", "\u202e")),
        ("json", ("\x1b", "\r", "\t", "\u202e")),
        ("jsonl", ("\x1b", "\r", "\t", "\u202e")),
    ],
)
def test_any_name_is_shown_harmlessly(
    tmp_path: Path, kind: str, absent: tuple[str, ...]
) -> None:
    for name in NAMES:
        saved(tmp_path / name, format="PNG")
    done = run("ratio", tmp_path, "--by", "image", "--format", kind)
    assert done.code == 0
    assert [sign for sign in absent if sign in done.out] == []


STEERING = "\x1b]0;title\x07\x1b[2J\x9b31m\n"


def steering_folders(root: Path) -> list[str]:
    """Masks and predictions of a name that steers a terminal: ``loss`` arguments."""
    for part in ("masks", "preds/one", "preds/two"):
        (root / part).mkdir(parents=True)
        for start in "ab":
            saved(root / part / f"{start}{STEERING}.png", format="PNG")
    return ["--pred", f"{root}/preds/{{model}}/{{}}.png", "--target", f"{root}/masks"]


@linux_names
@pytest.mark.parametrize("command", ["ratio", "audit", "loss", "compare"])
def test_no_name_in_csv_steers_a_terminal_and_a_pipe_gets_it_as_it_is(
    tmp_path: Path, command: str
) -> None:
    scored = steering_folders(tmp_path)
    arguments = {
        "ratio": [f"{tmp_path}/masks", "--by", "image"],
        "audit": [f"{tmp_path}/masks", "--changed", "255", "--unchanged", "0"],
        "loss": [*scored, "--by", "image"],
        "compare": [*scored, "--by", "image", "--resamples", "20"],
    }[command]
    arguments = [command, *arguments, "--format", "csv", "--quiet"]
    piped = run(*arguments).out
    assert STEERING in piped
    shown = on_terminal(*arguments)
    assert [sign for sign in "\x1b\x07\x9b" if sign in shown] == []
    assert r"\x1b]0;title\x07\x1b[2J\x9b31m\n" in shown
    assert len(shown.splitlines()) == len(list(csv.reader(io.StringIO(piped))))


@linux_names
def test_a_name_cannot_forge_a_message_or_steer_a_terminal(tmp_path: Path) -> None:
    name = "a\nerror: forged\x1b[2J.png"
    (tmp_path / name).write_bytes(b"no image")
    (tmp_path / "b.png").write_bytes(b"no image")
    for options in ([], ["--strict"]):
        done = run("ratio", tmp_path, *options)
        assert done.code == 1
        assert "\x1b" not in done.err
        if not options:
            assert len(done.err.splitlines()) == 2


SCORED = "--pred one={0}/one --pred two={0}/two --target {0}/masks --kind prob"


LIMITED = [
    ("audit {0}/masks", "masks"),
    ("weights {0}/masks", "masks"),
    ("plot --masks {0}/masks --only distribution --format svg -o {0}/out", "masks"),
    ("report --masks {0}/masks -o {0}/out", "masks"),
    ("loss --pred {0}/one --target {0}/masks --kind prob", "masks"),
    ("loss --pred {0}/one --target {0}/masks --kind prob", "one"),
    (f"compare {SCORED} --resamples 20", "masks"),
    (f"compare {SCORED} --resamples 20", "two"),
    (f"plot {SCORED} --format svg -o {{0}}/out", "two"),
    (f"report {SCORED} -o {{0}}/out", "masks"),
]


@pytest.mark.usefixtures("blank_figures")
@pytest.mark.parametrize(("line", "large"), LIMITED)
def test_the_limit_holds_wherever_files_are_read(
    tmp_path: Path, line: str, large: str
) -> None:
    for folder in ("masks", "one", "two"):
        (tmp_path / folder).mkdir()
        saved(tmp_path / folder / "a.png")
        high = np.vstack([MASK] * (1 + (folder == large)))
        saved(tmp_path / folder / "b.png", high)
    words = line.format(tmp_path).split()
    done = run(*words, "--max-pixels", 127)
    assert done.code == 1
    words_told = "declares 8 x 16 pixels; the limit is 127"
    assert words_told in done.err + done.out
    done = run(*words, "--max-pixels", 128)
    assert "the limit is" not in done.err + done.out
