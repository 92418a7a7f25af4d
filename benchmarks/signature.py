"""What the hash of labels costs in `cdstats.loss`: runs with and without it, in turns.

Masks of 1024 x 1024 pixels with few, many and random regions of change, as PNG, beside
predictions that are counted (PNG) and summed (float32). The run without it gives every
block the hash 0. Prints the median of the turns and the least of each.
"""

from __future__ import annotations

import argparse
import json
import platform
import statistics
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING
from unittest import mock

import numpy as np
from PIL import Image

import cdstats
from cdstats.core.label_hash import label_hash
from cdstats.score import scenes

if TYPE_CHECKING:
    from numpy.typing import NDArray

SIDE = 1024
CELLS = {"few regions": 16, "many regions": 128, "noise": 1024}
"""Cells of a side that are changed or not, each at random."""


def write(folder: Path, cells: int, images: int) -> None:
    """Write masks and predictions of both kinds."""
    random = np.random.default_rng(0)
    for name in ("masks", "png", "npy"):
        (folder / name).mkdir(parents=True)
    for number in range(images):
        changed: NDArray[np.bool_] = random.random((cells, cells)) < 0.1
        mask = changed.repeat(SIDE // cells, 0).repeat(SIDE // cells, 1)
        probs = np.clip(mask * 0.6 + random.random(mask.shape) * 0.4, 0, 1)
        Image.fromarray(mask * np.uint8(255)).save(folder / f"masks/{number}.png")
        Image.fromarray((probs > 0.5) * np.uint8(255)).save(
            folder / f"png/{number}.png"
        )
        np.save(folder / f"npy/{number}.npy", probs.astype(np.float32))


def seconds(folder: Path, kind: str, *, hashed: bool) -> float:
    """The time of one run."""
    replaced = label_hash if hashed else lambda *_: 0
    with mock.patch.object(scenes, "label_hash", replaced):
        start = time.perf_counter()
        cdstats.loss(folder / kind, folder / "masks", device="cpu")
        return time.perf_counter() - start


def main() -> None:
    """Measure, and print a line of JSON for each kind of set."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--images", type=int, default=24)
    parser.add_argument("--turns", type=int, default=7)
    asked = parser.parse_args()
    print(json.dumps({"machine": platform.platform(), "numpy": np.__version__}))
    with tempfile.TemporaryDirectory() as made:
        for name, cells in CELLS.items():
            folder = Path(made) / name
            write(folder, cells, asked.images)
            for kind in ("png", "npy"):
                seconds(folder, kind, hashed=True)
                pairs = [
                    [seconds(folder, kind, hashed=one) for one in (True, False)]
                    for _ in range(asked.turns)
                ]
                each = [statistics.median(one) for one in zip(*pairs, strict=True)]
                least = [min(one) for one in zip(*pairs, strict=True)]
                told = {
                    "masks": name,
                    "predictions": kind,
                    "with_ms": round(1000 * each[0] / asked.images, 2),
                    "without_ms": round(1000 * each[1] / asked.images, 2),
                    "median_cost": round(each[0] / each[1] - 1, 3),
                    "least_cost": round(least[0] / least[1] - 1, 3),
                }
                print(json.dumps(told), flush=True)


if __name__ == "__main__":
    main()
