"""Compare the start-up of ``cdstats`` with the imports that it needs.

``cdstats --help`` is compared with importing Typer, and ``cdstats ratio`` on five small
masks with importing NumPy. Whole processes run in turns after a warm-up. The script
prints medians, spreads and ratios of wall-clock time and of processor time, which other
work on the machine affects less.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from importlib.metadata import version
from pathlib import Path
from typing import NamedTuple

import numpy as np
from PIL import Image

FILES = 5
TYPER, NUMPY = "python -c 'import typer'", "python -c 'import numpy'"
HELP, RATIO = "cdstats --help", f"cdstats ratio, {FILES} files"
RATIO_OF_2 = f"{RATIO}, --jobs 2"
PAIRS = {HELP: TYPER, RATIO: NUMPY, RATIO_OF_2: NUMPY}


def write_masks(folder: Path) -> None:
    random = np.random.default_rng(5)
    for number in range(FILES):
        mask = np.zeros((256, 256), np.uint8)
        row, column = random.integers(0, 200, 2)
        mask[row : row + 40, column : column + 50] = 255
        Image.fromarray(mask).save(folder / f"{number}.png")


def commands(folder: Path) -> dict[str, list[str]]:
    python = sys.executable
    ratio = [python, "-m", "cdstats", "ratio", str(folder), "--quiet"]
    return {
        "python -c pass": [python, "-c", "pass"],
        TYPER: [python, "-c", "import typer"],
        NUMPY: [python, "-c", "import numpy"],
        HELP: [python, "-m", "cdstats", "--help"],
        RATIO: ratio,
        RATIO_OF_2: [*ratio, "--jobs", "2"],
    }


class Spent(NamedTuple):
    """Seconds that a process took, on the clock and of the processors."""

    clock: float
    processor: float


def run(command: list[str]) -> Spent:
    before, start = processor_seconds(), time.perf_counter()
    subprocess.run(command, check=True, capture_output=True)
    return Spent(time.perf_counter() - start, processor_seconds() - before)


def processor_seconds() -> float:
    """Of all processes that have ended and those that they waited for."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def take_turns(running: dict[str, list[str]], turns: int) -> dict[str, list[Spent]]:
    times: dict[str, list[Spent]] = {name: [] for name in running}
    for turn in range(turns + 1):
        for name, command in running.items():
            spent = run(command)
            if turn:
                times[name].append(spent)
    return times


def median(spent: list[Spent]) -> Spent:
    clock, processor = zip(*spent, strict=True)
    return Spent(statistics.median(clock), statistics.median(processor))


def show(times: dict[str, list[Spent]]) -> dict[str, float]:
    medians = {name: median(spent) for name, spent in times.items()}
    print(f"{'':<34}{'ms':>6}{'spread':>12}{'CPU ms':>8}   times, and of CPU")
    for name, taken in medians.items():
        clock = [1e3 * one.clock for one in times[name]]
        spread = f"{min(clock):,.0f}-{max(clock):,.0f}"
        ratio = ""
        if against := PAIRS.get(name):
            base = medians[against]
            ratio = f"{taken.clock / base.clock:.2f} x, "
            ratio += f"{taken.processor / base.processor:.2f} x {against}"
        numbers = (
            f"{1e3 * taken.clock:>6,.0f}{spread:>12}{1e3 * taken.processor:>8,.0f}"
        )
        print(f"{name:<34}{numbers}   {ratio}".rstrip())
    return {name: taken.clock for name, taken in medians.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--turns", type=int, default=15)
    parser.add_argument("--json", type=Path, help="write the medians to this file")
    options = parser.parse_args()
    print(
        f"cdstats {version('cdstats')}, typer {version('typer')}, numpy "
        f"{np.__version__}, Python {platform.python_version()}, {platform.platform()}, "
        f"{os.cpu_count()} logical cores"
    )
    with tempfile.TemporaryDirectory(prefix="cdstats-startup-") as folder:
        write_masks(Path(folder))
        medians = show(take_turns(commands(Path(folder)), options.turns))
    if options.json:
        options.json.write_text(json.dumps(medians, indent=1))


if __name__ == "__main__":
    main()
