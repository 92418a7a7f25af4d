"""Compare ``cdstats ratio`` with the usual scripts and with the floor.

There are four sets of masks: palette PNG as in CDnet, PNG of 1024 x 1024, JPEG, and one
GeoTIFF of 499 Mpx. Each compared program is a whole command; all count the same pixels.
The programs run in turns after a warm-up, so that noise affects all of them equally. It
prints medians and their ratio to ``cdstats ratio``, and compares all counts. A
second, short run on five files shows the cost per file without start-up.
"""

from __future__ import annotations

import argparse
import csv
import json
import multiprocessing
import os
import platform
import shutil
import statistics
import subprocess
import sys
import zlib
from dataclasses import dataclass
from functools import partial
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from numpy.typing import NDArray

    Bytes = NDArray[np.uint8]

SEED = 2014
FEW = 5
# dasnet is imported where it is used: contenders must not pay for what it loads.


# Making masks.

CDNET_SIZES = [(240, 320)] * 5 + [(288, 432)] * 2 + [(440, 700)] + [(576, 720)] * 2
CDNET_GREYS = (0, 50, 85, 170, 255)


def shapes(
    rng: np.random.Generator, size: tuple[int, int], values: Iterable[int]
) -> Bytes:
    """A few ellipses, each in one of the values, on 0."""
    height, width = size
    mask = np.zeros(size, np.uint8)
    down, across = np.ogrid[:height, :width]
    for value in values:
        y, x = rng.uniform(0, height), rng.uniform(0, width)
        a, b = rng.uniform(0.02, 0.12, 2) * min(size)
        mask[((down - y) / a) ** 2 + ((across - x) / b) ** 2 < 1] = value
    return mask


def write_cdnet(folder: Path, files: int) -> None:
    from PIL import Image

    rng = np.random.default_rng(SEED)
    greys = bytes(level for level in range(256) for _ in range(3))
    for number in range(files):
        size = CDNET_SIZES[number % len(CDNET_SIZES)]
        image = Image.fromarray(shapes(rng, size, rng.choice(CDNET_GREYS[1:], 5)), "P")
        image.putpalette(greys)
        image.save(folder / f"{number:07}.png", bits=8)


def write_square(folder: Path, files: int, *, suffix: str) -> None:
    from PIL import Image

    rng = np.random.default_rng(SEED)
    for number in range(files):
        image = Image.fromarray(shapes(rng, (1024, 1024), [255] * 12))
        image.save(folder / f"{number:07}{suffix}")


def write_raster(folder: Path, _: int) -> None:
    from dasnet import write_bcdd

    write_bcdd(folder)


@dataclass(frozen=True)
class Masks:
    """A set of masks: how it is written, and from which value on it is changed."""

    title: str
    write: Callable[[Path, int], None]
    files: int
    least: int = 128


SETS = {
    "cdnet": Masks("palette PNG of CDnet's kind", write_cdnet, 10_000),
    "png": Masks("PNG, 1024 x 1024", partial(write_square, suffix=".png"), 500),
    "jpeg": Masks("JPEG, 1024 x 1024", partial(write_square, suffix=".jpg"), 500),
    "tiff": Masks("GeoTIFF of 499 Mpx", write_raster, 1, least=1),
}


# Contenders: each counts the changed pixels of a file.


def pillow_unique(path: str, least: int) -> int:
    from PIL import Image

    Image.MAX_IMAGE_PIXELS = None
    values, counts = np.unique(np.asarray(Image.open(path)), return_counts=True)
    return int(counts[values >= least].sum())


def pillow_compare(path: str, least: int) -> int:
    from PIL import Image

    Image.MAX_IMAGE_PIXELS = None
    return int((np.asarray(Image.open(path)) >= least).sum())


def opencv(path: str, least: int) -> int:
    import cv2

    mask = cv2.imread(path, cv2.IMREAD_GRAYSCALE)
    return int(np.count_nonzero(mask >= least))


def rasterio_windows(path: str, least: int) -> int:
    import warnings

    import rasterio
    from rasterio.windows import Window

    warnings.simplefilter("ignore")
    with rasterio.open(path) as raster:
        rows = max((1 << 22) // raster.width // raster.block_shapes[0][0], 1)
        rows *= raster.block_shapes[0][0]
        return sum(
            int(
                np.count_nonzero(
                    raster.read(
                        1,
                        window=Window(
                            0, top, raster.width, min(rows, raster.height - top)
                        ),
                    )
                    >= least
                )
            )
            for top in range(0, raster.height, rows)
        )


def floor(path: str, least: int) -> int:
    """Read, inflate, one pass; no check and no filter, so the count may be wrong."""
    data = Path(path).read_bytes()
    at, packed = 8, []
    while at < len(data):
        length = int.from_bytes(data[at : at + 4])
        if data[at + 4 : at + 8] == b"IDAT":
            packed.append(data[at + 8 : at + 8 + length])
        at += length + 12
    pixels = np.frombuffer(inflate(b"".join(packed)), np.uint8)
    return int(np.count_nonzero(pixels >= least))


def inflate(data: bytes) -> bytes:
    if find_spec("zlib_ng"):
        from zlib_ng import zlib_ng

        return bytes(zlib_ng.decompress(data))
    return zlib.decompress(data)


class Counter(Protocol):
    """Counts the changed pixels of a file."""

    def __call__(self, path: str, least: int) -> int: ...


COUNTERS: dict[str, Counter] = {
    "pillow_unique": pillow_unique,
    "pillow_compare": pillow_compare,
    "opencv": opencv,
    "rasterio_windows": rasterio_windows,
    "floor": floor,
}


def files_of(folder: Path, most: int) -> Iterator[str]:
    found = sorted(p for p in folder.rglob("*.*") if p.suffix != ".xml")
    return (str(path) for path in found[:most])


def count(name: str, folder: Path, least: int, jobs: int, most: int) -> int:
    """What a contender's own process does."""
    function = partial(COUNTERS[name], least=least)
    files = list(files_of(folder, most))
    if jobs == 1:
        return sum(map(function, files))
    with multiprocessing.get_context("spawn").Pool(jobs) as pool:
        return sum(pool.imap_unordered(function, files, chunksize=64))


# Running them.


@dataclass(frozen=True)
class Run:
    """What one turn took, and what it counted (None where it does not say)."""

    seconds: float
    peak_mib: float
    changed: int | None


@dataclass(frozen=True)
class Contender:
    """A command, given a folder, and how its count is read from what it prints."""

    command: Callable[[Path, int], list[str]]
    changed: Callable[[str], int | None]
    exact: bool = True


def script(name: str, least: int, jobs: int = 1, *, exact: bool = True) -> Contender:
    def command(folder: Path, most: int) -> list[str]:
        numbers = [str(number) for number in (least, jobs, most)]
        return [sys.executable, __file__, "--count", name, str(folder), *numbers]

    return Contender(command, int, exact)


def cdstats(least: int, few: dict[Path, Path], jobs: int | None) -> Contender:
    def command(folder: Path, most: int) -> list[str]:
        place = few[folder] if most == FEW and folder in few else folder
        line = [sys.executable, "-m", "cdstats", "ratio", str(place), "--quiet"]
        line += ["--changed", f">={least}", "--unchanged", "rest", "--format", "csv"]
        return line + (["--jobs", str(jobs)] if jobs else [])

    def changed(output: str) -> int:
        rows = list(csv.DictReader(output.splitlines()))
        return next(int(row["changed"]) for row in rows if row["split"] == "all")

    return Contender(command, changed)


def gdalinfo() -> Contender:
    def command(folder: Path, most: int) -> list[str]:
        options = ["-stats", "--config", "GDAL_PAM_ENABLED", "NO"]
        return ["gdalinfo", *options, *files_of(folder, most)]

    return Contender(command, lambda _: None)


def contenders(kind: str, jobs: int, few: dict[Path, Path]) -> dict[str, Contender]:
    least = SETS[kind].least
    found = {
        "cdstats ratio": cdstats(least, few, None),
        "cdstats ratio --jobs 1": cdstats(least, few, 1),
        f"cdstats ratio --jobs {jobs}": cdstats(least, few, jobs),
        "rasterio, windows": script("rasterio_windows", least),
    }
    if kind == "tiff":
        if shutil.which("gdalinfo"):
            found["gdalinfo -stats"] = gdalinfo()
        return found
    found |= {
        f"rasterio, {jobs} processes": script("rasterio_windows", least, jobs),
        "Pillow, np.unique": script("pillow_unique", least),
        "Pillow, one comparison": script("pillow_compare", least),
    }
    if find_spec("cv2"):
        found["OpenCV"] = script("opencv", least)
    if kind != "jpeg":
        found["floor: read, inflate, one pass"] = script("floor", least, exact=False)
        name = f"floor, {jobs} processes"
        found[name] = script("floor", least, jobs, exact=False)
    return found


def launch(contender: Contender, folder: Path, most: int) -> Run:
    from dasnet import LAUNCHER

    command = contender.command(folder, most)
    done = subprocess.run(
        [sys.executable, "-c", LAUNCHER, *command],
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )
    output, code, seconds, peak = json.loads(done.stdout)
    if code:
        raise SystemExit(f"{' '.join(command)} ended with {code}")
    unit = 2**20 if sys.platform == "darwin" else 2**10
    return Run(seconds, peak / unit, contender.changed(output))


def take_turns(
    running: dict[str, Contender], folder: Path, most: int, turns: int
) -> dict[str, list[Run]]:
    """Every turn of every contender, after one that does not count."""
    runs: dict[str, list[Run]] = {name: [] for name in running}
    for turn in range(turns + 1):
        for name, contender in running.items():
            run = launch(contender, folder, most)
            if turn:
                runs[name].append(run)
    return runs


def show(
    title: str, files: int, whole: dict[str, list[Run]], few: dict[str, list[Run]]
) -> dict[str, dict[str, float]]:
    """Print a table; returns its numbers."""
    print(f"\n{title}: {files:,} files; times = against cdstats ratio")
    print(f"{'':<34}{'s':>8}{'spread':>14}{'µs/file':>10}{'times':>7}{'MiB':>6}")
    rows: dict[str, dict[str, float]] = {}
    first = statistics.median(run.seconds for run in next(iter(whole.values())))
    for name, runs in whole.items():
        seconds = [run.seconds for run in runs]
        median = statistics.median(seconds)
        peak = max(run.peak_mib for run in runs)
        row = {"seconds": median, "low": min(seconds), "high": max(seconds)}
        each = "–"
        if files > FEW:
            start = statistics.median(run.seconds for run in few[name])
            row["each"] = (median - start) / (files - FEW)
            each = f"{1e6 * row['each']:,.0f}"
        rows[name] = {**row, "peak_mib": peak}
        spread = f"{min(seconds):.2f}-{max(seconds):.2f}"
        print(
            f"{name:<34}{median:>8.2f}{spread:>14}{each:>10}"
            f"{median / first:>7.1f}{peak:>6.0f}"
        )
    return rows


def differences(
    running: dict[str, Contender], whole: dict[str, list[Run]]
) -> list[str]:
    """Contenders whose counts are not those of cdstats."""
    wanted = next(iter(whole.values()))[0].changed
    return [
        f"{name} counted {run.changed:,}, cdstats {wanted:,} changed pixels"
        for name, runs in whole.items()
        for run in runs
        if running[name].exact and run.changed not in (None, wanted)
    ]


def fill(folder: Path, masks: Masks, files: int) -> None:
    """Write a set of masks, unless an earlier run left it there."""
    if folder.exists():
        print(f"{masks.title}: taken from {folder}")
        return
    part = folder.with_suffix(".part")
    shutil.rmtree(part, ignore_errors=True)
    part.mkdir(parents=True)
    masks.write(part, files)
    part.rename(folder)


def first_files(folder: Path) -> Path:
    """A folder that holds the first files of another."""
    few = folder.with_suffix(".few")
    if not few.exists():
        few.mkdir()
        for path in map(Path, files_of(folder, FEW)):
            (few / path.name).hardlink_to(path)
    return few


def benchmark(kind: str, place: Path, options: argparse.Namespace) -> dict[str, object]:
    from dasnet import TABLE

    masks = SETS[kind]
    files = options.files or masks.files
    folder = place / (kind if masks.files == 1 else f"{kind}-{files}")
    fill(folder, masks, files)
    found = len(list(files_of(folder, 1 << 62)))
    few = {folder: first_files(folder)} if found > FEW else {}
    running = contenders(kind, options.jobs, few)
    whole = take_turns(running, folder, 1 << 62, options.turns)
    short = take_turns(running, folder, FEW, options.turns) if found > FEW else {}
    rows = show(masks.title, found, whole, short)
    problems = differences(running, whole)
    if kind == "tiff" and whole["cdstats ratio"][0].changed != TABLE["BCDD"].changed:
        problems.append("cdstats did not count the changed pixels that were written")
    for problem in problems:
        print(f"differs: {problem}")
    return {"files": found, "contenders": rows, "differs": problems}


def environment() -> str:
    names = ("cdstats", "numpy", "rasterio", "kornia-rs", "pillow")
    further = ("opencv-python-headless", "zlib-ng")
    versions = [f"{name} {version(name)}" for name in names]
    for name in further:
        try:
            versions.append(f"{name} {version(name)}")
        except PackageNotFoundError:
            versions.append(f"no {name}")
    machine = f"{platform.platform()}, {os.cpu_count()} logical cores"
    return f"{machine}\nPython {platform.python_version()}, {', '.join(versions)}"


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--folder", type=Path, help="where to write (default: temp)")
    parser.add_argument("--keep", action="store_true", help="keep a temporary folder")
    parser.add_argument(
        "--only", choices=list(SETS), nargs="+", help="run only these sets"
    )
    parser.add_argument("--files", type=int, help="files of each set of many")
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--turns", type=int, default=5)
    parser.add_argument("--json", type=Path, help="write the numbers to this file")
    parser.add_argument("--count", nargs=5, help=argparse.SUPPRESS)
    return parser.parse_args()


def main() -> int:
    options = arguments()
    if options.count:
        name, folder, least, jobs, most = options.count
        print(count(name, Path(folder), int(least), int(jobs), int(most)))
        return 0
    from dasnet import working_folder

    print(environment())
    with working_folder(options.folder, options.keep) as place:
        kinds = options.only or list(SETS)
        results = {kind: benchmark(kind, place, options) for kind in kinds}
    if options.json:
        data = {"environment": environment(), "jobs": options.jobs, "sets": results}
        options.json.write_text(json.dumps(data, indent=1))
    return int(any(result["differs"] for result in results.values()))


if __name__ == "__main__":
    sys.exit(main())
