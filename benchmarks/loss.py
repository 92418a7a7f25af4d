"""Compare the loss sums with the published snippet and torch, in memory and from disk.

The compared programs run in turns, so that noise affects all of them equally. It
prints medians and their ratio to ``F.binary_cross_entropy``. The nested loop of the
snippet is timed on a few pixels and scaled up.
"""

from __future__ import annotations

import argparse
import json
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch.nn import functional

import cdstats
from cdstats.score.batching import TileBatches
from cdstats.score.devices import choose_device, device_text
from cdstats.score.kernel import TILE
from cdstats.score.levels import count_stored

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from numpy.typing import NDArray

LOOP_PIXELS = 20_000
READ = "for name in ('p.npy', 't.npy'):\n with open(name, 'rb') as file: file.read()"
Times = dict[str, list[float]]


def snippet_loop(probs: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
    """The published snippet, version 1: a loop over images and pixels."""
    loss = torch.tensor(0.0)
    for image, label in zip(probs, target, strict=True):
        beta = 1 - label.sum() / label.numel()
        for p, y in zip(image.reshape(-1), label.reshape(-1), strict=True):
            inside = beta * y * p.log() + (1 - beta) * (1 - y) * (1 - p).log()
            loss = loss - inside
    return loss


def snippet_vectorised(probs: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
    """The published snippet, version 2: one expression for each image."""
    floor = torch.tensor([-100.0], device=probs.device)
    loss = torch.tensor(0.0, device=probs.device)
    for image, label in zip(probs, target, strict=True):
        flat, y = image.reshape(-1), label.reshape(-1)
        beta = 1 - y.sum() / y.numel()
        changed = beta * y * torch.max(flat.log(), floor)
        unchanged = (1 - beta) * (1 - y) * torch.max((1 - flat).log(), floor)
        loss = loss - (changed + unchanged).sum()
    return loss


def make_data(images: int, size: int) -> tuple[NDArray[np.float32], NDArray[np.uint8]]:
    """Probabilities of a fair predictor and masks with about 10 % of change."""
    random = np.random.default_rng(7)
    target = np.zeros((images, size, size), dtype=np.uint8)
    for mask in target:
        for _ in range(12):
            row, column = random.integers(0, size - size // 10, 2)
            height, width = random.integers(size // 40, size // 8, 2)
            mask[row : row + height, column : column + width] = 1
    scores = random.normal(-3, 2, target.shape).astype(np.float32) + 6 * target
    return (1 / (1 + np.exp(-scores))).astype(np.float32), target


def contenders(
    probs: NDArray[np.float32], target: NDArray[np.uint8], device: torch.device
) -> dict[str, Callable[[], object]]:
    """What is timed, with the arrays where it wants them."""
    p = torch.from_numpy(probs).to(device)
    y = torch.from_numpy(target).to(device).float()
    weights = torch.where(y == 1, 0.9, 0.1)
    byte_map = np.round(probs * 255).astype(np.uint8)
    half_map = probs.astype(np.float16)

    def plain(weight: torch.Tensor | None = None) -> float:
        return functional.binary_cross_entropy(p, y, weight, reduction="sum").item()

    return {
        "F.binary_cross_entropy, plain": plain,
        "F.binary_cross_entropy twice, plain and weighted": lambda: (
            plain(),
            plain(weights),
        ),
        "snippet, one expression per image": lambda: snippet_vectorised(p, y).item(),
        "cdstats, all sums, float32": lambda: ours(probs, target, device, False),
        "cdstats, all sums, uint8": lambda: counted(byte_map, target, False),
        "cdstats, all sums, float16": lambda: counted(half_map, target, False),
        "cdstats[fast], all sums, float32": lambda: ours(probs, target, device, True),
        "cdstats[fast], all sums, uint8": lambda: counted(byte_map, target, True),
        "cdstats[fast], all sums, float16": lambda: counted(half_map, target, True),
        "floor: log and sum alone": lambda: p.log().sum().item(),
        "floor: reading both arrays": lambda: (p.sum().item(), y.sum().item()),
        **(on_card(probs, target, device) if device.type == "cuda" else {}),
    }


def on_card(
    probs: NDArray[np.float32], target: NDArray[np.uint8], device: torch.device
) -> dict[str, Callable[[], object]]:
    """What is timed on a card alone: sums of resident arrays, and what bounds them."""
    from cdstats.score.kernel.tensors import tensor_sums

    p = torch.from_numpy(probs).to(device).view(-1, TILE)
    y = torch.from_numpy(target).to(device).view(-1, TILE)
    # A copy of half as many bytes as the sums read: it reads and writes each.
    source = torch.empty(5 * probs.size // 2, dtype=torch.uint8, device=device)
    there = torch.empty_like(source)
    pinned = torch.from_numpy(probs).pin_memory(), torch.from_numpy(target).pin_memory()
    return {
        "cdstats, all sums, float32, resident": lambda: tensor_sums(p, y),
        "floor: the card copies as many bytes": lambda: there.copy_(source),
        "floor: copying both arrays to the card": lambda: [
            one.to(device, non_blocking=True) for one in pinned
        ],
    }


def ours(
    probs: NDArray[np.float32],
    target: NDArray[np.uint8],
    device: torch.device,
    compiled: bool,
) -> object:
    """The sums of every image, as the command computes them, with or without Numba."""
    batches = TileBatches(0.5, False, (), compiled=compiled)
    if device.type != "cpu":
        from cdstats.score.device_batches import DeviceBatches

        batches = DeviceBatches(str(device), None, 0.5, False, ())
    for number, (image, mask) in enumerate(zip(probs, target, strict=True)):
        batches.add(number, image, mask)
    batches.flush()
    return [found.sums for found in batches.images.values()]


def counted(
    stored: NDArray[np.generic], target: NDArray[np.uint8], compiled: bool
) -> object:
    """The sums of maps of few levels, from joint counts, with or without Numba."""
    scale = 1.0 if stored.dtype == np.float16 else 255.0
    pairs = zip(stored, target, strict=True)
    found = (count_stored(*pair, compiled=compiled) for pair in pairs)
    return [replace(one, values=one.values / scale).sums() for one in found]


def take_turns(
    runs: Mapping[str, Callable[[], object]], turns: int, device: torch.device
) -> Times:
    """Seconds of every turn of every contender, after one that does not count."""
    times: Times = {name: [] for name in runs}
    for turn in range(turns + 1):
        for name, run in runs.items():
            _wait(device)
            start = time.perf_counter()
            run()
            _wait(device)
            if turn:
                times[name].append(time.perf_counter() - start)
    return times


def _wait(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def loop_seconds(probs: NDArray[np.float32], target: NDArray[np.uint8]) -> float:
    """Seconds that the nested loop would take, scaled up from a few pixels."""
    few = torch.from_numpy(probs.reshape(1, -1)[:, :LOOP_PIXELS])
    labels = torch.from_numpy(target.reshape(1, -1)[:, :LOOP_PIXELS]).float()
    start = time.perf_counter()
    snippet_loop(few, labels)
    return (time.perf_counter() - start) / LOOP_PIXELS * probs.size


def from_disk(
    probs: NDArray[np.float32], target: NDArray[np.uint8], device: str, turns: int
) -> Times:
    """Seconds of whole commands that read ``.npy`` files, start-up included."""
    script = (
        "import numpy as np, torch; from torch.nn import functional as F;"
        "p, y = (torch.from_numpy(np.load(name)) for name in ('p.npy', 't.npy'));"
        "print(F.binary_cross_entropy(p, y.float(), reduction='sum').item())"
    )
    command = [sys.executable, "-m", "cdstats", "loss", "-q", "--pred", "p.npy"]
    command += ["--target", "t.npy", "--device", device, "--format", "json"]
    programs = {
        "script: numpy.load and F.binary_cross_entropy": [sys.executable, "-c", script],
        "cdstats loss": command,
        "python -c 'import torch'": [sys.executable, "-c", "import torch"],
        "floor: reading both files": [sys.executable, "-c", READ],
    }
    times: Times = {name: [] for name in programs}
    with tempfile.TemporaryDirectory() as folder:
        np.save(Path(folder, "p.npy"), probs)
        np.save(Path(folder, "t.npy"), target)
        for turn in range(turns + 1):
            for name, program in programs.items():
                start = time.perf_counter()
                subprocess.run(program, cwd=folder, check=True, capture_output=True)
                if turn:
                    times[name].append(time.perf_counter() - start)
    return times


def show(title: str, times: Times, pixels: int) -> dict[str, float]:
    """Print a table of medians, spreads and ratios; returns the medians."""
    medians = {name: statistics.median(spent) for name, spent in times.items()}
    first = next(iter(medians.values()))
    print(f"\n{title}")
    print(f"{'':<52}{'ms':>9}{'spread':>16}{'Mpx/s':>9}{'times':>8}")
    for name, seconds in medians.items():
        spread = f"{1e3 * min(times[name]):,.0f}-{1e3 * max(times[name]):,.0f}"
        speed = pixels / seconds / 1e6
        print(
            f"{name:<52}{1e3 * seconds:>9,.1f}{spread:>16}{speed:>9,.0f}"
            f"{first / seconds:>8.1f}"
        )
    return medians


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--images", type=int, default=16)
    parser.add_argument("--size", type=int, default=1024)
    parser.add_argument("--turns", type=int, default=7)
    parser.add_argument("--device", default="auto")
    parser.add_argument("--json", type=Path, help="write the medians to this file")
    options = parser.parse_args()
    device = torch.device(choose_device(options.device))
    probs, target = make_data(options.images, options.size)
    versions = f"torch {torch.__version__}, numpy {np.__version__}"
    print(
        f"cdstats {cdstats.__version__}, {versions}, "
        f"Python {platform.python_version()}, {platform.machine()}, "
        f"{torch.get_num_threads()} threads, {device_text(str(device))}"
    )
    title = f"resident, {probs.size:,} pixels; times = against plain BCE"
    found = show(
        title,
        take_turns(contenders(probs, target, device), options.turns, device),
        probs.size,
    )
    loop = loop_seconds(probs, target)
    print(f"snippet, nested loop (scaled from {LOOP_PIXELS:,} pixels): {loop:,.0f} s")
    disk = show(
        "whole commands from .npy; times = against the script",
        from_disk(probs, target, options.device, max(options.turns // 2, 1)),
        probs.size,
    )
    if options.json:
        data = {"device": device_text(str(device)), "resident": found, "disk": disk}
        options.json.write_text(json.dumps({**data, "loop": loop}, indent=1))


if __name__ == "__main__":
    main()
