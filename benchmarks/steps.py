"""What one small mask costs, step by step, in one process.

Writes palette PNG masks of CDnet's kind, or takes the PNG masks of a folder, and runs
each step of ``cdstats ratio`` over all of them in turn. Prints the median and the least
of several rounds. It calls inner functions, so it is read with the code beside it.
"""

from __future__ import annotations

import argparse
import json
import pickle
import statistics
import tempfile
import time
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ratio import environment, write_cdnet

from cdstats.core.counts import CountedMask
from cdstats.core.labelling import DatasetLabels
from cdstats.core.labels import choose_rule
from cdstats.core.records import Summaries
from cdstats.core.values import count_values
from cdstats.io.counting import count_image
from cdstats.io.discovery import find_masks
from cdstats.io.masks import open_masks
from cdstats.scan.places import Places, Tasks
from cdstats.scan.rows import StoredImages
from cdstats.scan.states import ReadState

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

FILES = 1_000


def steps(folder: Path) -> dict[str, tuple[Callable[[Any], object], Sequence[Any]]]:
    """Each step, and what it is done with: mask by mask, or all at once."""
    found = find_masks([str(folder)])
    places = Places(found)
    tasks = list(Tasks(places, range(len(places))))
    paths = [task.path for task in tasks]
    images = [open_masks(path, "", None)[0] for path in paths]
    pixels = [next(iter(image.blocks())).values for image in images]
    states: list[Any] = [ReadState()(task) for task in tasks]
    labels = DatasetLabels("masks", choose_rule(">=128", "rest", None, None))
    masks = [
        CountedMask("masks", "", path, state.counted[0])
        for path, state in zip(paths, states, strict=True)
    ]
    for mask in masks:
        labels.see(mask)
    rows = [labels.row(mask) for mask in masks]
    numbers = count()
    kept, sums = StoredImages(places), Summaries()
    return {
        "find": (find_masks, [[str(folder)]]),
        "make the task": (list, [Tasks(places, range(len(places)))]),
        "read the bytes": (lambda path: Path(path).read_bytes(), paths),
        "read and check": (lambda path: open_masks(path, "", None), paths),
        "decode": (lambda image: next(iter(image.blocks())), images),
        "count": (count_values, pixels),
        "decode and count": (lambda image: count_image(image, None), images),
        "all that a worker does": (ReadState(), tasks),
        "pack the counts": (pickle.dumps, [states]),
        "unpack the counts": (pickle.loads, [pickle.dumps(states)]),
        "apply the rule": (labels.row, masks),
        "keep the row": (
            lambda one: kept.put(0, next(numbers), *one),
            list(zip(masks, rows, strict=True)),
        ),
        "add it up": (sums.add, rows),
    }


def measure(folder: Path, rounds: int) -> dict[str, list[float]]:
    """Microseconds for each mask, of every round of each step."""
    masks = sum(len(dataset.files) for dataset in find_masks([str(folder)]))
    taken: dict[str, list[float]] = {}
    prepared = steps(folder)
    for _ in range(rounds):
        for name, (step, items) in prepared.items():
            start = time.perf_counter()
            for item in items:
                step(item)
            each = (time.perf_counter() - start) / masks * 1e6
            taken.setdefault(name, []).append(each)
    return taken


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--masks", type=Path, help="a folder of PNG masks")
    parser.add_argument("--files", type=int, default=FILES, help="masks to write")
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--json", type=Path, help="write every round to this file")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="cdstats-steps-") as made:
        folder = options.masks or Path(made)
        if options.masks is None:
            write_cdnet(folder, options.files)
        taken = measure(folder, options.rounds)
    print(environment())
    print(f"{'one mask, in one process':<26}{'median':>10}{'least':>10}   µs")
    for name, each in taken.items():
        print(f"{name:<26}{statistics.median(each):>10.1f}{min(each):>10.1f}")
    if options.json:
        options.json.write_text(json.dumps(taken, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
