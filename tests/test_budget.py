"""One memory budget for a run: limits of the system, shares of workers, the rest."""

from __future__ import annotations

import csv
import struct
import subprocess
import sys
import zlib
from typing import TYPE_CHECKING

import numpy as np
import pytest
import rasterio
import tifffile
from PIL import Image
from work_items import needs

from cdstats.engine.work import run
from cdstats.io import limits
from cdstats.io.counting import Task, count_file
from cdstats.io.limits import check_memory

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture
def groups(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder in the place of ``/sys/fs/cgroup``; nothing else limits the memory."""
    monkeypatch.setattr(limits, "_GROUPS", tmp_path / "cgroup")
    monkeypatch.setattr(limits, "_GROUP_ROOT", tmp_path / "root")
    monkeypatch.setattr(limits, "_physical", lambda: 1 << 40)
    monkeypatch.setattr(limits, "_address_space", lambda: 0)
    limits._memory.cache_clear()
    yield tmp_path
    limits._memory.cache_clear()


def limit(folder: Path, text: str, name: str = "memory.max") -> None:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / name).write_text(text + "\n")


@pytest.mark.usefixtures("groups")
def test_without_groups_the_machine_limits() -> None:
    assert limits._memory() == 1 << 40


def test_the_group_of_a_process_and_its_parents_limit(groups: Path) -> None:
    (groups / "cgroup").write_text("0::/a/b\n")
    limit(groups / "root/a/b", "max")
    limit(groups / "root/a", "5000")
    limit(groups / "root", "7000")
    limit(groups, "1")  # above the root
    assert limits._memory() == 5000


def test_a_group_of_the_first_version_limits(groups: Path) -> None:
    (groups / "cgroup").write_text("9:cpu:/x\n4:memory,hugetlb:/x\n0::/\n")
    limit(groups / "root/x", "1")
    limit(groups / "root/memory/x", "9223372036854771712", "memory.limit_in_bytes")
    assert limits._memory() == 1 << 40
    limit(groups / "root/memory", "6000", "memory.limit_in_bytes")
    limits._memory.cache_clear()
    assert limits._memory() == 6000


@pytest.mark.usefixtures("groups")
def test_the_address_space_limits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "_address_space", lambda: 3000)
    assert limits._memory() == 3000


@pytest.mark.usefixtures("groups")
def test_a_system_that_does_not_say_sets_no_limit(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(limits, "_physical", lambda: 0)
    assert limits._memory() == 0
    check_memory(1 << 60, "")


def lost(item: int, reason: str) -> tuple[str, int, int]:
    return reason, item, -1


def test_items_above_a_share_are_worked_on_alone() -> None:
    sizes = [100, 400, *[250] * 20, 450, 600, 100]
    found = dict(run(needs, sizes, jobs=2, lost=lost))
    assert sorted(found) == list(range(len(sizes)))
    alone = {number for number, (_, _, workers) in found.items() if workers == 1}
    assert alone == {sizes.index(400), sizes.index(450)}
    assert len({found[number][1] for number in alone}) == 1
    text, *_ = found[sizes.index(600)]
    assert text == (
        "needs 600 bytes at once, more than half of the memory available to this "
        "process (1,000 bytes); split it"
    )
    assert {found[at][0] for at in found if at != sizes.index(600)} == {"done"}


@pytest.mark.parametrize("compress", ["deflate", "lzw"])
def test_whole_strips_and_all_their_bands_count(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, compress: str
) -> None:
    path = tmp_path / "a.tif"
    with rasterio.open(
        path, "w", driver="GTiff", width=300, height=400, count=2, dtype="uint16",
        blockysize=400, compress=compress, interleave="pixel",
        transform=rasterio.Affine(2, 0, 9, 0, -2, 9),
    ) as file:  # fmt: skip
        file.write(np.zeros((2, 400, 300), np.uint16))
    strip = 300 * 400 * 2 * 2
    (whole,) = count_file(Task(str(path)))
    assert whole.mask is not None
    monkeypatch.setattr(limits, "_memory", lambda: 2 * 4 * strip)
    assert count_file(Task(str(path))) == [whole]
    monkeypatch.setattr(limits, "_memory", lambda: 2 * 4 * strip - 2)
    (refused,) = count_file(Task(str(path)))
    assert "save it in smaller tiles" in refused.reason


def test_the_pages_of_a_tiff_count(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "a.tif"
    pages = np.zeros((50, 4, 4), np.uint8)
    tifffile.imwrite(path, pages, photometric="minisblack")
    monkeypatch.setattr(limits, "_memory", lambda: 2 * 50 * limits._IMAGE_BYTES)
    assert len(count_file(Task(str(path)))) == 50
    monkeypatch.setattr(limits, "_memory", lambda: 2 * 50 * limits._IMAGE_BYTES - 2)
    (refused,) = count_file(Task(str(path)))
    assert refused.reason.endswith("50 images: save them in several files")


def test_the_coefficients_of_a_progressive_jpeg_count(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "a.jpg"
    image = Image.fromarray(np.zeros((400, 300, 3), np.uint8))
    for progressive, copies in ((False, 2), (True, 4)):
        image.save(path, progressive=progressive)
        needed = copies * 400 * 300 * 3
        monkeypatch.setattr(limits, "_memory", lambda needed=needed: 2 * needed)
        assert count_file(Task(str(path)))[0].reason == ""
        monkeypatch.setattr(limits, "_memory", lambda needed=needed: 2 * needed - 2)
        assert f"needs {needed:,} bytes" in count_file(Task(str(path)))[0].reason


def strip_of(side: int) -> bytes:
    """A TIFF of zeros of 16 bits in one deflated strip."""
    deflater = zlib.compressobj(1)
    row = bytes(2 * side)
    data = b"".join(deflater.compress(row) for _ in range(side)) + deflater.flush()
    tags = (
        *((256, side), (257, side), (258, 16), (259, 8), (262, 1), (273, 8)),
        *((277, 1), (278, side), (279, len(data))),
    )
    table = b"".join(struct.pack("<HHII", tag, 4, 1, value) for tag, value in tags)
    data += bytes(len(data) % 2)
    head = struct.pack("<2sHI", b"II", 42, 8 + len(data))
    return head + data + struct.pack("<H", len(tags)) + table + bytes(4)


@pytest.mark.skipif(sys.platform != "linux", reason="needs ulimit -v")
def test_a_run_stays_below_a_real_limit(tmp_path: Path) -> None:
    masks = tmp_path / "masks"
    masks.mkdir()
    for number in range(4):
        Image.fromarray(np.eye(64, dtype=np.uint8) * 255).save(masks / f"{number}.png")
    (masks / "large.tif").write_bytes(strip_of(5500))
    (masks / "larger.tif").write_bytes(strip_of(9000))
    command = (
        f"ulimit -v 1200000; exec timeout -s KILL 100 {sys.executable} -m cdstats "
        f"ratio {masks} --jobs 3 --changed 255 --unchanged 0 --by image --format csv"
    )
    done = subprocess.run(
        ["/bin/sh", "-c", command], capture_output=True, text=True, check=False
    )
    assert done.returncode == 1, done.stderr
    found = {row["path"]: row for row in csv.DictReader(done.stdout.splitlines())}
    assert len(found) == 6
    failed = found["larger.tif"]
    assert "needs 648,000,000 bytes at once" in failed["reason"]
    assert [path for path, row in found.items() if row["status"] == "failed"] == [
        failed["path"]
    ]


@pytest.mark.skipif(sys.platform != "linux", reason="needs ulimit -v")
@pytest.mark.parametrize("limit", [150_000, 260_000])
def test_a_limit_that_is_too_low_is_one_line(limit: int) -> None:
    command = (
        f"ulimit -v {limit}; exec timeout -s KILL 60 {sys.executable} -m cdstats "
        "audit sample_masks/CDD --jobs 1"
    )
    done = subprocess.run(
        ["/bin/sh", "-c", command], capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == (
        f"error: the address space is limited to {limit * 1024:,} bytes (ulimit -v); "
        "expected at least 400,000,000\n"
    )
