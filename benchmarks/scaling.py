"""Time and memory of ``cdstats ratio`` against the number of files and their size.

Writes small PNG masks in growing numbers and GeoTIFFs of growing size, or takes the
masks of a folder, runs the command on each as a user would, with one and with two
workers in turn, checks every count, and prints medians with their spread. Time for a
file should not grow with their number, and memory by at most 200 bytes for each.
``--json`` keeps every single run. Runs on Linux and macOS.
"""

import argparse
import json
import os
import platform
import shlex
import shutil
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from importlib.metadata import version
from io import BytesIO
from pathlib import Path

import numpy as np
import rasterio
from PIL import Image
from rasterio.windows import Window

SEED = 2020
FILES = (1_000, 10_000, 100_000)
SIDES = (2_048, 8_192, 24_576)
WORKERS = (1, 2)
SIDE = 256
KINDS = 64
TILE = 512
RULE = ("--changed", "255", "--unchanged", "0")


@dataclass(frozen=True)
class Data:
    """Masks on disk, and what must be counted in them; None where it is not known."""

    kind: str
    path: Path
    files: int
    pixels: int | None
    changed: int | None

    @property
    def name(self) -> str:
        if self.kind == "files":
            return f"{self.files:,} files"
        return f"{(self.pixels or 0) / 1e6:,.0f} Mpx raster"


@dataclass(frozen=True)
class Run:
    """One run of the command.

    ``peak`` is the largest resident set of any one of its processes, in bytes.
    """

    seconds: float
    peak: int


@dataclass(frozen=True)
class Result:
    """The runs of one command on one data set."""

    data: str
    kind: str
    files: int
    pixels: int
    rule: str
    workers: int
    runs: tuple[Run, ...]

    @property
    def seconds(self) -> float:
        return statistics.median(run.seconds for run in self.runs)

    @property
    def peak(self) -> int:
        return max(run.peak for run in self.runs)

    def line(self, start: float) -> str:
        """A line of the table; ``start`` is the time of a run over one small mask."""
        each, unit = self.files / 1e6, "µs per file"
        if self.kind == "raster":
            each, unit = self.pixels / 1e9, "ms per Mpx"
        seconds = [run.seconds for run in self.runs]
        spread = f"{min(seconds):.2f}-{max(seconds):.2f}"
        cost = max(self.seconds - start, 0) / each
        return (
            f"{self.data:<20}{self.rule:<10}{self.workers:>7}{self.seconds:>10.2f}"
            f"{spread:>16}{cost:>10.2f} {unit:<12}{self.peak / 2**20:>8.0f}"
        )


HEADING = (
    f"{'data':<20}{'rule':<10}{'workers':>7}{'seconds':>10}{'spread':>16}"
    f"{'cost':>10} {'':<12}{'MiB':>8}"
)


# Data.


def mask_bytes(rng: np.random.Generator) -> tuple[bytes, int]:
    """A small mask with a few white rectangles as PNG, and its white pixels."""
    values = np.zeros((SIDE, SIDE), np.uint8)
    for _ in range(rng.integers(1, 6)):
        y, x, height, width = rng.integers(0, SIDE // 2, 4)
        values[y : y + height + 1, x : x + width + 1] = 255
    data = BytesIO()
    Image.fromarray(values).save(data, "PNG")
    return data.getvalue(), int(np.count_nonzero(values))


def write_files(folder: Path, number: int) -> Data:
    """So many masks, taken in turn from a few kinds."""
    rng = np.random.default_rng(SEED)
    kinds = [mask_bytes(rng) for _ in range(KINDS)]
    target = folder / f"files-{number}"
    changed = sum(kinds[place % KINDS][1] for place in range(number))
    if not target.exists():
        part = folder / f"files-{number}.part"
        shutil.rmtree(part, ignore_errors=True)
        part.mkdir(parents=True)
        for place in range(number):
            (part / f"{place:07}.png").write_bytes(kinds[place % KINDS][0])
        part.rename(target)
    return Data("files", target, number, number * SIDE * SIDE, changed)


def copy_files(masks: Sequence[Path], folder: Path, number: int) -> Data:
    """So many masks, copied in turn from those that were given."""
    target = folder / f"copies-{number}"
    if not target.exists():
        part = folder / f"copies-{number}.part"
        shutil.rmtree(part, ignore_errors=True)
        part.mkdir(parents=True)
        for place in range(number):
            mask = masks[place % len(masks)]
            shutil.copyfile(mask, part / f"{place:07}{mask.suffix}")
        part.rename(target)
    return Data("files", target, number, None, None)


def write_raster(folder: Path, side: int) -> Data:
    """A square GeoTIFF in tiles; every tile holds the same share of white pixels."""
    target = folder / f"raster-{side}" / "mask.tif"
    tile = np.zeros((TILE, TILE), np.uint8)
    tile[: TILE // 4, : TILE // 3] = 255
    changed = int(np.count_nonzero(tile)) * (side // TILE) ** 2
    if not target.exists():
        target.parent.mkdir(parents=True, exist_ok=True)
        part = target.with_name("part.tif")
        profile = {
            "driver": "GTiff",
            "width": side,
            "height": side,
            "count": 1,
            "dtype": "uint8",
            "tiled": True,
            "blockxsize": TILE,
            "blockysize": TILE,
            "compress": "deflate",
            "bigtiff": "IF_SAFER",
            "transform": rasterio.Affine(1, 0, 0, 0, -1, side),
        }
        row = np.tile(tile, (1, side // TILE))
        with rasterio.open(part, "w", **profile) as raster:
            for top in range(0, side, TILE):
                raster.write(row, 1, window=Window(0, top, side, TILE))
        part.rename(target)
    return Data("raster", target, 1, side * side, changed)


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


def launch(arguments: Sequence[str | Path]) -> tuple[str, Run]:
    """Run the command; what it printed, and what it took."""
    command = [sys.executable, "-m", "cdstats", *map(str, arguments)]
    launched = subprocess.run(
        [sys.executable, "-c", LAUNCHER, *command],
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )
    output, code, seconds, peak = json.loads(launched.stdout)
    if code:
        raise SystemExit(f"error: {' '.join(command)}: exit code {code}")
    unit = 1 if sys.platform == "darwin" else 1024
    return output, Run(seconds, peak * unit)


def count(data: Data, rule: Sequence[str], workers: int) -> tuple[int, Run]:
    """Count the masks once, and check what came out; pixels, and what it took."""
    options = ("--format", "csv", "--by", "dataset", "--jobs", str(workers))
    output, run = launch(["ratio", data.path, *rule, *options])
    names, row = (line.split(",") for line in output.splitlines()[:2])
    found = dict(zip(names, row, strict=False))
    for name, expected in (
        ("images", data.files),
        ("pixels", data.pixels),
        ("changed", data.changed),
    ):
        if expected is not None and int(found[name]) != expected:
            raise SystemExit(
                f"error: {data.name}: counted {found[name]} {name}, not {expected}"
            )
    return int(found["pixels"]), run


def measure(
    data: Sequence[Data], repeat: int, rules: Mapping[str, Sequence[str]]
) -> list[Result]:
    """Every command on every data set, all of them in turn so often."""
    commands = [
        (one, rule, workers) for one in data for rule in rules for workers in WORKERS
    ]
    runs: list[list[Run]] = [[] for _ in commands]
    pixels = [0] * len(commands)
    for turn in range(repeat):
        for place, (one, rule, workers) in enumerate(commands):
            print(f"{turn + 1}/{repeat} {one.name}, {workers}", file=sys.stderr)
            pixels[place], run = count(one, rules[rule], workers)
            runs[place].append(run)
    return [
        Result(one.name, one.kind, one.files, pixels[place], rule, workers, tuple(done))
        for place, ((one, rule, workers), done) in enumerate(
            zip(commands, runs, strict=True)
        )
    ]


def growth(results: Sequence[Result]) -> Iterator[str]:
    """Bytes that each further file takes, for every command."""
    files = [one for one in results if one.kind == "files"]
    for rule, workers in dict.fromkeys((one.rule, one.workers) for one in files):
        same = [one for one in files if (one.rule, one.workers) == (rule, workers)]
        first, last = same[0], same[-1]
        if last.files > first.files:
            grown = (last.peak - first.peak) / (last.files - first.files)
            yield (
                f"rule {rule}, {workers} workers: {grown:.0f} bytes for each file from "
                f"{first.files:,} to {last.files:,}"
            )


def environment() -> dict[str, str]:
    """Machine and versions. Asking for them warms the program up."""
    return {
        "machine": f"{platform.platform()}, {os.cpu_count()} logical cores",
        "python": platform.python_version(),
        **{name: version(name) for name in ("numpy", "rasterio", "kornia-rs")},
        "cdstats": launch(["--version"])[0].split()[-1],
    }


@contextmanager
def working_folder(given: Path | None) -> Iterator[Path]:
    """The folder given, which stays, or a temporary one that goes away."""
    folder = given or Path(tempfile.mkdtemp(prefix="cdstats-scaling-"))
    folder.mkdir(parents=True, exist_ok=True)
    try:
        yield folder
    finally:
        if not given:
            shutil.rmtree(folder)


def numbers(text: str) -> tuple[int, ...]:
    return tuple(int(part) for part in text.split(",") if part)


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--folder", type=Path, help="where to write (default: temp)")
    parser.add_argument("--masks", type=Path, help="copy the PNG masks of this folder")
    parser.add_argument(
        "--files", type=numbers, default=FILES, help="such as 1000,5000"
    )
    parser.add_argument("--sides", type=numbers, default=SIDES, help="sides of rasters")
    parser.add_argument(
        "--rule", type=shlex.split, default=[], help="rule options of --masks"
    )
    parser.add_argument("--repeat", type=int, default=3, help="runs of each command")
    parser.add_argument("--json", type=Path, help="write every run to this file")
    return parser.parse_args()


def main() -> int:
    options = arguments()
    machine = environment()
    masks = sorted(options.masks.rglob("*.png")) if options.masks else []
    if options.masks and not masks:
        raise SystemExit(f"error: {options.masks}: holds no PNG mask")
    with working_folder(options.folder) as folder:
        data = [
            copy_files(masks, folder, number) if masks else write_files(folder, number)
            for number in options.files
        ]
        data += [write_raster(folder, side // TILE * TILE) for side in options.sides]
        rules = {"given": options.rule} if options.rule else {"found": []}
        if not masks:
            rules = {"found": [], "given": list(RULE)}
        one = write_files(folder, 1)
        starts = [count(one, (), 1)[1].seconds for _ in range(options.repeat)]
        start = statistics.median(starts)
        results = measure(data, options.repeat, rules)
    print("\n".join(f"{name} {value}" for name, value in machine.items()))
    print(f"one small mask takes {start:.2f} s, left out of the cost\n\n{HEADING}")
    print("\n".join(result.line(start) for result in results))
    print("\n".join(["", *growth(results)]))
    if options.json:
        rows = [asdict(result) for result in results]
        text = json.dumps({**machine, "start": start, "results": rows}, indent=1)
        options.json.write_text(text + "\n", encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
