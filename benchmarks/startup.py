"""What ``cdstats`` takes before it does anything, beside what it cannot do without.

``cdstats --help`` against importing Typer, and ``cdstats ratio`` on five small masks
against importing NumPy. Whole processes take turns, after a turn that does not count;
medians, spreads and ratios are printed.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from importlib.metadata import version
from pathlib import Path

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


def take_turns(running: dict[str, list[str]], turns: int) -> dict[str, list[float]]:
    times: dict[str, list[float]] = {name: [] for name in running}
    for turn in range(turns + 1):
        for name, command in running.items():
            start = time.perf_counter()
            subprocess.run(command, check=True, capture_output=True)
            if turn:
                times[name].append(time.perf_counter() - start)
    return times


def show(times: dict[str, list[float]]) -> dict[str, float]:
    medians = {name: statistics.median(spent) for name, spent in times.items()}
    print(f"{'':<36}{'ms':>7}{'spread':>14}   times")
    for name, seconds in medians.items():
        spread = f"{1e3 * min(times[name]):,.0f}-{1e3 * max(times[name]):,.0f}"
        against = PAIRS.get(name)
        ratio = f"{seconds / medians[against]:.2f} x {against}" if against else ""
        print(f"{name:<36}{1e3 * seconds:>7,.0f}{spread:>14}   {ratio}")
    return medians


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
