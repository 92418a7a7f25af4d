"""Time and memory of ``cdstats ratio`` on rows of Parquet files and on the same PNGs.

Writes small masks as PNG files, as a Parquet file in row groups of 100, as Hugging Face
datasets write them, and in one of a single row group; runs the command on each in turn,
with one and with two workers, checks that all give the same rows, and prints medians.
"""

from __future__ import annotations

import argparse
import csv
import io
import os
import platform
import subprocess
import sys
import tempfile
from importlib.metadata import version
from pathlib import Path
from statistics import median
from typing import Final, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from PIL import Image

KINDS: Final = ("PNG files", "row groups of 100", "one row group")
STRUCT: Final = pa.struct([("bytes", pa.binary()), ("path", pa.string())])


def masks(number: int, side: int) -> list[bytes]:
    """Masks of a few changed rectangles, as PNG files."""
    rng = np.random.default_rng(2020)
    found = []
    for _ in range(number):
        mask = np.zeros((side, side), np.uint8)
        for row, column in rng.integers(0, side - side // 8, (4, 2)).tolist():
            mask[row : row + side // 8, column : column + side // 8] = 255
        out = io.BytesIO()
        Image.fromarray(mask).save(out, "png")
        found.append(out.getvalue())
    return found


def written(folder: Path, images: list[bytes]) -> dict[str, Path]:
    """The same masks in each kind of file."""
    (folder / "png").mkdir()
    for number, data in enumerate(images):
        (folder / "png" / f"{number}.png").write_bytes(data)
    rows = [{"bytes": one, "path": f"{n}.png"} for n, one in enumerate(images)]
    table = pa.table({"label": pa.array(rows, STRUCT)})
    places = [folder / "png", folder / "groups.parquet", folder / "one.parquet"]
    pq.write_table(table, places[1], row_group_size=100)
    pq.write_table(table, places[2], row_group_size=len(rows))
    return dict(zip(KINDS, places, strict=True))


MEASURED: Final = """
import resource, subprocess, sys, time
start = time.perf_counter()
subprocess.run(sys.argv[1:], check=True, stdout=subprocess.DEVNULL)
used = resource.getrusage(resource.RUSAGE_CHILDREN)
print(time.perf_counter() - start, used.ru_utime + used.ru_stime, used.ru_maxrss / 1024)
"""


class Run(NamedTuple):
    """Seconds and processor seconds of a command, megabytes of its largest process."""

    seconds: float
    work: float
    memory: float


def run(path: Path, jobs: int, out: Path) -> Run:
    """Run the command; a small process measures it, as memory of the parent counts."""
    command = [sys.executable, "-m", "cdstats", "ratio", str(path)]
    command += ["--quiet", "--csv", str(out), "--jobs", str(jobs)]
    done = subprocess.run(
        [sys.executable, "-c", MEASURED, *command],
        check=True,
        capture_output=True,
        text=True,
    )
    return Run(*map(float, done.stdout.split()))


def rows(path: Path) -> list[list[str]]:
    """The rows of a table without the names of dataset and image."""
    with path.open(newline="", encoding="utf-8") as file:
        return [row[3:] for row in csv.reader(file)]


def main() -> None:
    """Run every kind in turn and print a table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--number", type=int, default=10_000)
    parser.add_argument("--side", type=int, default=64)
    parser.add_argument("--rounds", type=int, default=5)
    given = parser.parse_args()
    print(f"{platform.machine()}, {os.cpu_count()} cores, ", end="")
    print(f"Python {platform.python_version()}, pyarrow {version('pyarrow')}")
    print(
        f"{given.number:,} masks of {given.side} x {given.side}, {given.rounds} rounds"
    )
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        places = written(folder, masks(given.number, given.side))
        for jobs in (1, 2):
            found: dict[str, list[Run]] = {kind: [] for kind in KINDS}
            for _ in range(given.rounds):
                for kind, place in places.items():
                    found[kind].append(run(place, jobs, folder / f"{kind}.csv"))
            tables = [rows(folder / f"{kind}.csv") for kind in KINDS]
            if any(table != tables[0] for table in tables):
                raise SystemExit("the rows differ")
            for kind, runs in found.items():
                both = list(zip(runs, found[KINDS[0]], strict=True))
                times = median(own.seconds / png.seconds for own, png in both)
                works = median(own.work / png.work for own, png in both)
                print(
                    f"--jobs {jobs}  {kind:18} "
                    f"{median(own.seconds for own in runs):6.2f} s, "
                    f"{times:.2f} x PNG; "
                    f"{median(own.work for own in runs):6.2f} s of processors, "
                    f"{works:.2f} x PNG; "
                    f"{max(own.memory for own in runs):4.0f} MB"
                )


if __name__ == "__main__":
    main()
