"""Masks, predictions and commands whose results are known."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image

if TYPE_CHECKING:
    from pathlib import Path

MASKS = 300


def write_masks(folder: Path, number: int = MASKS) -> None:
    """Masks of two splits: stacks, small images, and some that take longer."""
    random = np.random.default_rng(4)
    for place in range(number):
        split = folder / ("masks/train" if place % 3 else "masks/val")
        split.mkdir(parents=True, exist_ok=True)
        size = 700 if place % 10 == 0 else 20
        values = np.where(random.random((size, size)) < 0.1, 255, 0).astype(np.uint8)
        if place % 25 == 1:
            np.save(split / f"{place}.npy", values.reshape(2, size // 2, size))
        else:
            Image.fromarray(values).save(split / f"{place}.png")


def write_predictions(folder: Path, number: int) -> None:
    """Masks of one split, and a prediction for each."""
    random = np.random.default_rng(5)
    for name in ("few", "preds"):
        (folder / name).mkdir(parents=True, exist_ok=True)
    for place in range(number):
        values = np.where(random.random((200, 200)) < 0.1, 255, 0).astype(np.uint8)
        Image.fromarray(values).save(folder / f"few/{place}.png")
        probs = random.random((200, 200), np.float32)
        np.save(folder / f"preds/{place}.npy", probs)


@dataclass(frozen=True)
class Command:
    """A command, what it writes, and what keeps its counts.

    Attributes:
        arguments: Its arguments, inputs by names below the folder of the scene.
        outputs: Options of result files and the names of the files.
        has_cache: Whether it keeps counts in a cache.
    """

    arguments: tuple[str, ...]
    outputs: tuple[tuple[str, str], ...]
    has_cache: bool = False

    def line(self, place: Path) -> list[str]:
        """The program and all its arguments, with outputs in a folder."""
        files = [text for option, name in self.outputs for text in (option, name)]
        cache = ["--cache", str(place / "counts.sqlite")] if self.has_cache else []
        whole = [
            str(place / text) if text in dict(self.outputs).values() else text
            for text in files
        ]
        return [sys.executable, "-m", "cdstats", *self.arguments, *whole, *cache]

    def start(self, scene: Path, place: Path) -> subprocess.Popen[bytes]:
        return subprocess.Popen(
            self.line(place),
            cwd=scene,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            start_new_session=True,
        )


TABLES = (("--csv", "images.csv"), ("--summary", "summary.json"))
RULE = ("--changed", "255", "--unchanged", "0")
COMMANDS = {
    "ratio": Command(("ratio", "masks", "--jobs", "1"), TABLES, has_cache=True),
    "ratio, workers": Command(
        ("ratio", "masks", "--jobs", "2"), TABLES, has_cache=True
    ),
    "ratio, rule given": Command(
        ("ratio", "masks", "--jobs", "2", *RULE), TABLES, has_cache=True
    ),
    "loss": Command(("loss", "--pred", "preds", "--target", "few"), TABLES),
}
"""Commands that write files, by what they are called here."""
