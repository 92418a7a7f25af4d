"""Counts two synthetic datasets of the size and the totals of DASNet's table.

Writes a BCDD-like raster of 32,507 x 15,354 pixels and 16,000 CDD-like masks that
hold exactly the published numbers of changed pixels, runs ``cdstats ratio`` on them
as a user would, checks the rows, and prints time and memory. The published integers
are a second-hand transcription, not verified against the paper's PDF; here they only
say what to write. Runs on Linux and macOS.
"""

import argparse
import csv
import json
import os
import platform
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

import numpy as np
import rasterio
from numpy.typing import NDArray
from PIL import Image
from rasterio.transform import from_origin
from rasterio.windows import Window

Bytes = NDArray[np.uint8]

SEED = 2020


@dataclass(frozen=True)
class Row:
    """One row of the table: what is written, and what must be counted."""

    changed: int
    unchanged: int
    change_ratio: str

    def cells(self) -> list[str]:
        return [f"{self.changed:,}", f"{self.unchanged:,}", self.change_ratio]


TABLE = {
    "CDD": Row(134_068_750, 914_507_250, "0.147"),
    "BCDD": Row(21_352_815, 477_759_663, "0.045"),
}


# BCDD: one raster, written in strips of one row of tiles.

WIDTH, HEIGHT = 32_507, 15_354
TILE = 512
CELL = 64
LONGEST_SIDE = 48


def corners(length: int) -> list[int]:
    """Where each cell starts, of cells that share a length and are at least CELL."""
    cells = length // CELL
    return [length * cell // cells for cell in range(cells)]


def strip(rng: np.random.Generator, rows: int, changed: int) -> Bytes:
    """Rectangles like buildings, at most one to a cell, with an exact pixel count."""
    values = np.zeros((rows, WIDTH), np.uint8)
    cells = [(y, x) for y in corners(rows) for x in corners(WIDTH)]
    for cell in rng.permutation(len(cells)):
        y, x = cells[cell] + rng.integers(0, CELL - LONGEST_SIDE + 1, 2)
        height, width = rng.integers(8, LONGEST_SIDE + 1, 2)
        building = values[y : y + height, x : x + width]
        taken = min(building.size, changed)
        building.flat[:taken] = 1
        changed -= taken
        if not changed:
            break
    return values


def strips(changed: int) -> Iterator[tuple[Window, Bytes]]:
    """Windows from top to bottom, each with its share of the changed pixels."""
    rng = np.random.default_rng(SEED)
    for top in range(0, HEIGHT, TILE):
        bottom = min(top + TILE, HEIGHT)
        share = changed * bottom // HEIGHT - changed * top // HEIGHT
        rows = bottom - top
        yield Window(0, top, WIDTH, rows), strip(rng, rows, share)


def write_bcdd(folder: Path) -> None:
    path = folder / "change label" / "change_label.tif"
    path.parent.mkdir(parents=True)
    profile = {
        "driver": "GTiff",
        "width": WIDTH,
        "height": HEIGHT,
        "count": 1,
        "dtype": "uint8",
        "crs": "EPSG:2193",
        "transform": from_origin(1_570_000, 5_180_000, 0.2, 0.2),
        "tiled": True,
        "blockxsize": TILE,
        "blockysize": TILE,
        "compress": "deflate",
        "bigtiff": "IF_SAFER",
    }
    cache = rasterio.Env(GDAL_CACHEMAX=64)  # MB; without it, 5 % of the memory
    with cache, rasterio.open(path, "w", **profile) as raster:
        for window, values in strips(TABLE["BCDD"].changed):
            raster.write(values, 1, window=window)


# CDD: many small masks.

SIDE = 256
SPLITS = {"train": 10_000, "val": 3_000, "test": 3_000}
WITHOUT_CHANGE = 0.05
WAVES = 12


def changed_per_mask(rng: np.random.Generator, masks: int, total: int) -> list[int]:
    """Uneven counts that add up to a total; about one mask in twenty has none."""
    weights = rng.random(masks) ** 2 * (rng.random(masks) > WITHOUT_CHANGE)
    shares = np.cumsum(weights) / np.sum(weights)
    shares[-1] = 1
    counts = np.diff((shares * total).astype(np.int64), prepend=0)
    return [int(count) for count in counts]


def landscape(rng: np.random.Generator) -> NDArray[np.float32]:
    """A sum of plane waves in random directions: smooth hills."""
    position = np.arange(SIDE, dtype=np.float32)
    pace = rng.normal(0, 0.05, (2, WAVES)).astype(np.float32)
    start = rng.uniform(0, 6.28, WAVES).astype(np.float32)
    down, across = np.outer(position, pace[0]) + start, np.outer(pace[1], position)
    return np.asarray(
        np.cos(down) @ np.cos(across) - np.sin(down) @ np.sin(across), np.float32
    )


def mask(rng: np.random.Generator, changed: int) -> Bytes:
    """The highest ground in white: blobs of exactly that many pixels together."""
    values = np.zeros(SIDE * SIDE, np.uint8)
    if changed:
        highest = np.argpartition(landscape(rng).ravel(), -changed)[-changed:]
        values[highest] = 255
    return values.reshape(SIDE, SIDE)


def write_cdd(folder: Path) -> None:
    rng = np.random.default_rng(SEED)
    masks = sum(SPLITS.values())
    counts = iter(changed_per_mask(rng, masks, TABLE["CDD"].changed))
    for split, files in SPLITS.items():
        out = folder / split / "OUT"
        out.mkdir(parents=True)
        for number in range(files):
            image = Image.fromarray(mask(rng, next(counts)))
            image.save(out / f"{number:05}.png", compress_level=1)


WRITERS: dict[str, Callable[[Path], None]] = {"CDD": write_cdd, "BCDD": write_bcdd}


def write(folder: Path, name: str) -> None:
    """Writes a dataset below a folder, unless an earlier run left it there."""
    target, part = folder / name, folder / f"{name}.part"
    if target.exists():
        print(f"{name}: taken from {target}")
        return
    started = time.perf_counter()
    shutil.rmtree(part, ignore_errors=True)
    WRITERS[name](part)
    part.rename(target)
    print(f"{name}: written in {time.perf_counter() - started:.1f} s")


# Running and checking.

# The peak of a process counts from the memory of the one that started it, and this
# one is large after writing: a small one between them starts the command.
LAUNCHER = """
import json, os, subprocess, sys, time
started = time.perf_counter()
child = subprocess.Popen(sys.argv[1:], stdout=subprocess.PIPE, encoding="utf-8")
output = child.stdout.read()
_, status, usage = os.wait4(child.pid, 0)
seconds = time.perf_counter() - started
code = os.waitstatus_to_exitcode(status)
print(json.dumps([output, code, seconds, usage.ru_maxrss]))
"""


@dataclass(frozen=True)
class Run:
    """What a command printed, how it ended, and what it took.

    ``peak`` is the largest resident set of any one of its processes, as the system
    counts it: KiB on Linux, bytes on macOS.
    """

    output: str
    exit_code: int
    seconds: float
    peak: int

    def peak_mib(self) -> float:
        return self.peak / (2**20 if sys.platform == "darwin" else 2**10)


def run(arguments: list[str]) -> Run:
    command = [sys.executable, "-m", "cdstats", *arguments]
    launched = subprocess.run(
        [sys.executable, "-c", LAUNCHER, *command],
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )
    return Run(*json.loads(launched.stdout))


def in_csv(output: str, name: str, row: Row) -> bool:
    """Whether ``--format csv`` gives one row for the dataset, with these numbers."""
    found = [
        (int(cells["changed"]), int(cells["unchanged"]), float(cells["change_ratio"]))
        for cells in csv.DictReader(output.splitlines())
        if cells["dataset"] == name and cells["split"] == "all"
    ]
    return [Row(c, u, f"{ratio:.3f}") for c, u, ratio in found] == [row]


def in_table(output: str, name: str, row: Row) -> bool:
    """Whether a line of the table holds the dataset's name and these numbers."""
    wanted = {name, *row.cells()}
    return any(wanted <= set(line.split()) for line in output.splitlines())


CHECKS = {"csv": in_csv, "table": in_table}


def problems(kind: str, result: Run, names: list[str]) -> list[str]:
    """What is wrong with a run, one sentence each."""
    if result.exit_code:
        return [f"{kind}: exit code {result.exit_code}"]
    return [
        f"{kind}: no row {name}, {', '.join(TABLE[name].cells())}"
        for name in names
        if not CHECKS[kind](result.output, name, TABLE[name])
    ]


def measure(kind: str, folder: Path, names: list[str], repeat: int) -> list[str]:
    """Runs one command several times and prints what it took; returns problems."""
    paths = [str(folder / name) for name in names]
    options = [] if kind == "table" else ["--format", kind]
    runs = [run(["ratio", *paths, *options]) for _ in range(repeat)]
    seconds = [result.seconds for result in runs]
    print(
        f"ratio {' '.join([*names, *options])}: "
        f"{statistics.median(seconds):.2f} s, median of {repeat} "
        f"({min(seconds):.2f} to {max(seconds):.2f}); "
        f"largest process {max(result.peak_mib() for result in runs):.0f} MiB"
    )
    print(runs[-1].output)
    return [problem for result in runs for problem in problems(kind, result, names)]


def environment() -> str:
    """Machine and versions, on two lines. Asking for them warms the program up."""
    versions = [f"{name} {version(name)}" for name in ("numpy", "rasterio")]
    machine = f"{platform.platform()}, {os.cpu_count()} logical cores"
    python = f"Python {platform.python_version()}"
    program = run(["--version"]).output.strip()
    return f"{machine}\n{', '.join([python, *versions, program])}"


@contextmanager
def working_folder(given: Path | None, keep: bool) -> Iterator[Path]:
    """The folder given, or a temporary one that goes away unless it is kept."""
    folder = given or Path(tempfile.mkdtemp(prefix="cdstats-dasnet-"))
    folder.mkdir(parents=True, exist_ok=True)
    try:
        yield folder
    finally:
        if keep or given:
            print(f"kept in {folder}")
        else:
            shutil.rmtree(folder)


def benchmark(folder: Path, names: list[str], repeat: int) -> list[str]:
    print(environment())
    for name in names:
        write(folder, name)
    found = [measure(kind, folder, names, repeat) for kind in CHECKS]
    return [problem for part in found for problem in part]


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--folder", type=Path, help="where to write (default: temp)")
    parser.add_argument("--only", choices=["cdd", "bcdd"], help="one dataset alone")
    parser.add_argument("--keep", action="store_true", help="keep a temporary folder")
    parser.add_argument("--repeat", type=int, default=3, help="runs of each command")
    return parser.parse_args()


def main() -> int:
    options = arguments()
    names = [options.only.upper()] if options.only else list(TABLE)
    with working_folder(options.folder, options.keep) as folder:
        found = benchmark(folder, names, options.repeat)
    for problem in found:
        print(f"error: {problem}", file=sys.stderr)
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
