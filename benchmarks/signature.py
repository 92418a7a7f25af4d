"""What the hash of labels costs in `cdstats.loss`: runs with and without it, in turns.

Masks of 1024 x 1024 pixels with few, many and random regions of change, as PNG, beside
predictions that are counted (PNG) and summed (float32); the same as tiles of 256 x 256.
The run without it gives every block the hash 0. Processor time is measured, because
other programs disturb it less than a clock. Prints the median ratio of the turns, and
that of the shortest runs.
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

KINDS = {
    "few regions": (1024, 16),
    "many regions": (1024, 128),
    "noise": (1024, 1024),
    "tiles of noise": (256, 256),
}
"""The side of a mask, and cells of a side that are changed or not, each at random."""


def write(folder: Path, side: int, cells: int, images: int) -> None:
    """Write masks and predictions of both kinds."""
    random = np.random.default_rng(0)
    for name in ("masks", "png", "npy"):
        (folder / name).mkdir(parents=True)
    for number in range(images):
        changed: NDArray[np.bool_] = random.random((cells, cells)) < 0.1
        mask = changed.repeat(side // cells, 0).repeat(side // cells, 1)
        probs = np.clip(mask * 0.6 + random.random(mask.shape) * 0.4, 0, 1)
        Image.fromarray(mask * np.uint8(255)).save(folder / f"masks/{number}.png")
        Image.fromarray((probs > 0.5) * np.uint8(255)).save(
            folder / f"png/{number}.png"
        )
        np.save(folder / f"npy/{number}.npy", probs.astype(np.float32))


def measured(predictions: Path, turn: int) -> tuple[float, float]:
    """The processor time of a run with the hash and of one without it, all threads."""
    found = {}
    for hashed in (True, False) if turn % 2 else (False, True):
        replaced = label_hash if hashed else lambda *_: 0
        with mock.patch.object(scenes, "label_hash", replaced):
            start = time.process_time()
            cdstats.loss(predictions, predictions.parent / "masks", device="cpu")
            found[hashed] = time.process_time() - start
    return found[True], found[False]


def main() -> None:
    """Measure, and print a line of JSON for each kind of set."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--images", type=int, default=24)
    parser.add_argument("--turns", type=int, default=15)
    asked = parser.parse_args()
    print(json.dumps({"machine": platform.platform(), "numpy": np.__version__}))
    with tempfile.TemporaryDirectory() as made:
        for name, (side, cells) in KINDS.items():
            folder = Path(made) / name
            images = asked.images * 1024 // side
            write(folder, side, cells, images)
            for kind in ("png", "npy"):
                measured(folder / kind, 0)
                turns = [measured(folder / kind, turn) for turn in range(asked.turns)]
                with_it, without = zip(*turns, strict=True)
                each = statistics.median(one / other for one, other in turns)
                told = {
                    "masks": name,
                    "predictions": kind,
                    "with_ms": round(1000 * statistics.median(with_it) / images, 2),
                    "without_ms": round(1000 * statistics.median(without) / images, 2),
                    "median_cost": round(each - 1, 3),
                    "least_cost": round(min(with_it) / min(without) - 1, 3),
                }
                print(json.dumps(told), flush=True)


if __name__ == "__main__":
    main()
