"""The same bytes in any locale, and reasons without a name that is not the user's."""

import io
import os
import re
import struct
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import rasterio
import torch
from PIL import Image
from typer.testing import CliRunner

import cdstats
from cdstats.cli import app
from cdstats.io.counting import Task, count_file
from cdstats.io.naming import naturally

LOCALES = [
    {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"},
    {"LC_ALL": "POSIX", "PYTHONIOENCODING": "iso-8859-1"},
    {"LC_ALL": "C.UTF-8", "PYTHONIOENCODING": "iso-8859-1", "PYTHONUTF8": "0"},
]
NAMES = ["ä.png", "z.png", "Z.png", "٣.png", "１0.png", "9.png", "10.png", "日.png"]


@pytest.mark.skipif(sys.platform == "win32", reason="names are UTF-16 there")
def test_a_locale_and_workers_change_no_byte(tmp_path: Path) -> None:
    (tmp_path / "m").mkdir()
    for number, name in enumerate([*(n.encode() for n in NAMES), b"\xff.png"]):
        pixels = np.zeros((4, 4), np.uint8)
        pixels.flat[: number + 1] = 255
        data = io.BytesIO()
        Image.fromarray(pixels).save(data, "PNG")
        (tmp_path / "m" / os.fsdecode(name)).write_bytes(data.getvalue())
    found = set()
    for jobs, names in zip("121", LOCALES, strict=True):
        command = [sys.executable, "-m", "cdstats", "ratio", "-", "--by", "image"]
        command += ["--format", "csv", "--csv", "rows.csv", "--jobs", jobs]
        listed = b"\n".join(sorted(map(os.fsencode, (tmp_path / "m").iterdir())))
        done = subprocess.run(
            command,
            input=listed,
            cwd=tmp_path,
            env={**os.environ, **names},
            capture_output=True,
            check=True,
        )
        found.add((done.stdout, done.stderr, (tmp_path / "rows.csv").read_bytes()))
    ((_, _, rows),) = found
    order = [line.split(b",")[2] for line in rows.splitlines()[1:]]
    order = [path.rpartition(b"/")[2] for path in order]
    names_of = [one.encode() for one in naturally(NAMES)]
    assert [one for one in order if b"\xff" not in one] == names_of
    assert b"\xff.png" in order


def broken_tiff(compression: str) -> bytes:
    data = io.BytesIO()
    pixels = np.random.default_rng(0).integers(0, 2, (64, 64), np.uint8) * 255
    Image.fromarray(pixels).save(data, "TIFF", compression=compression)
    broken = bytearray(data.getvalue())
    for at in range(40, 200):
        broken[at] ^= 0x5A
    return bytes(broken)


@pytest.mark.parametrize("compression", ["tiff_lzw", "packbits", "jpeg", "group4"])
@pytest.mark.parametrize("as_bytes", [True, False])
def test_a_reason_is_the_same_each_time(
    compression: str, as_bytes: bool, tmp_path: Path
) -> None:
    if compression == "group4":
        data = io.BytesIO()
        Image.new("1", (64, 64)).save(data, "TIFF", compression=compression)
        content = data.getvalue()[:-3] + b"\0\0\0"
    else:
        content = broken_tiff(compression)
    if not as_bytes:
        content += bytes(1 << 24)
    reasons = set()
    for place in ("one", "two"):
        path = tmp_path / place / "a.tif"
        path.parent.mkdir()
        path.write_bytes(content)
        for _ in range(2):
            (one,) = count_file(Task(str(path)))
            reasons.add(one.reason)
    (reason,) = reasons
    assert not re.search(
        r"vsimem|/dev/fd|[0-9a-f]{8}-[0-9a-f]{4}|cdstats-image", reason
    )


@pytest.mark.filterwarnings("ignore:Dataset has no geotransform")
def test_a_band_of_subsampled_jpeg_is_counted_as_gdal_gives_it(tmp_path: Path) -> None:
    pixels = np.zeros((3, 64, 64), np.uint8)
    pixels[0, 10:30, 10:31] = 255
    path = tmp_path / "a.tif"
    options = {"compress": "jpeg", "photometric": "ycbcr", "count": 3}
    with rasterio.open(
        path, "w", driver="GTiff", width=64, height=64, dtype="uint8", **options
    ) as file:
        file.write(pixels)
    with rasterio.open(path) as file:
        expected = int((file.read(1) >= 128).sum())
    result = cdstats.ratio(path, band=1, changed=">=128", unchanged="rest")
    assert result.datasets[0].changed == expected
    assert any("other readers may decode" in one.text for one in result.messages)


# Files of tensors of the old kind.


def old_kind(*tensors: torch.Tensor) -> bytes:
    data = io.BytesIO()
    torch.save(
        tensors[0] if len(tensors) == 1 else dict(zip("ab", tensors, strict=False)),
        data,
        _use_new_zipfile_serialization=False,
    )
    return data.getvalue()


@pytest.mark.parametrize("damage", ["more", "twice", "zip", "cut", "longer", "shorter"])
def test_a_tensor_file_of_the_old_kind_ends_with_its_last_tensor(
    damage: str, tmp_path: Path
) -> None:
    mask = torch.zeros(8, 8)
    mask[0] = 1
    whole = old_kind(mask)
    length = struct.pack("<q", 64)
    assert whole.count(length) == 1
    zipped = io.BytesIO()
    torch.save(mask, zipped)
    data = {
        "more": whole + b"\0",
        "twice": whole + whole,
        "zip": whole + zipped.getvalue(),
        "cut": whole[:-4],
        "longer": whole.replace(length, struct.pack("<q", 65)) + bytes(4),
        "shorter": whole.replace(length, struct.pack("<q", 60)),
    }[damage]
    for folder in ("p", "t"):
        (tmp_path / folder).mkdir()
    np.save(tmp_path / "t/a.npy", mask.numpy().astype(np.uint8))
    (tmp_path / "p/a.pt").write_bytes(whole)
    (row,) = cdstats.loss(tmp_path / "p", tmp_path / "t").images
    assert row.status == "ok"
    (tmp_path / "p/a.pt").write_bytes(data)
    run = cdstats.loss(tmp_path / "p", tmp_path / "t", errors="keep")
    assert [row.status for row in run.images] == ["failed"]
    assert "PT file is damaged" in run.images[0].reason


def test_a_model_may_have_the_name_of_a_colour(tmp_path: Path) -> None:
    random = np.random.default_rng(0)
    names = ["#0072b2", "#d55e00"]
    for folder in ("one", "two", "t"):
        (tmp_path / folder).mkdir()
        np.save(tmp_path / folder / "a.npy", (random.random((8, 8)) < 0.5).astype("u1"))
    words = ["report", "--target", str(tmp_path / "t"), "-o", str(tmp_path / "r.html")]
    for name, folder in zip(names, ("one", "two"), strict=True):
        words += ["--pred", f"{name}={tmp_path / folder}"]
    done = CliRunner().invoke(app, words)
    assert done.exit_code == 0, done.stderr
    page = (tmp_path / "r.html").read_text(encoding="utf-8")
    assert ">var(--" not in page
    for name in names:
        assert re.search(f"<text[^>]*>{name}</text>", page)
    assert "var(--" in page
