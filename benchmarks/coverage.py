"""How often intervals of `cdstats compare` hold the true difference: crops and scenes.

Two models are simulated on scenes of 16 crops. How much a model finds and how much it
invents depends on the scene, on the model in that scene ("own effect", in logits), and
on the crop. Without own effect crops of a scene are alike in their difficulty only. The
true difference of F1 is that of 20,000 scenes. Each simulated test set is resampled by
crops and by scenes, with the code of `cdstats compare`, and its nominal 95 % interval
holds the truth or not.
"""

from __future__ import annotations

import argparse
import platform
import time
from typing import TYPE_CHECKING, Final

import numpy as np

import cdstats
from cdstats.score.measures import Measured, Resampling, choose_measures, resampled

if TYPE_CHECKING:
    from cdstats.core.sums import Floats

CROPS: Final = 16
PIXELS: Final = 256 * 256
MANY: Final = 20_000
"""Scenes that give the true difference."""
F1: Final = "f1_pooled"
MEASURES: Final = [
    one for one in choose_measures({}, soft=False, curves=False) if one.name == F1
]


def simulated(random: np.random.Generator, scenes: int, own: float) -> list[Floats]:
    """Pixels tp, fp, fn and tn of each crop, ``(scenes, crops, 4)``, of two models.

    Args:
        random: Where the numbers come from.
        scenes: Scenes to simulate.
        own: How far a model in one scene is from itself in others, in logits.
    """

    def effect(size: float, *shape: int) -> Floats:
        return random.normal(0, size, (scenes, *shape, *(1,) * (2 - len(shape))))

    def share(logits: Floats) -> Floats:
        return np.asarray(1 / (1 + np.exp(-logits)))

    changed = np.rint(PIXELS * share(-3 + effect(0.7) + effect(0.7, CROPS))[..., 0])
    hard = effect(0.5) + effect(0.3, CROPS)
    found = []
    for better in (0.0, 0.1):
        recall = share(1.5 + better - hard + effect(own) + effect(0.3, CROPS))[..., 0]
        false = share(-5 - better + hard + effect(own) + effect(0.3, CROPS))[..., 0]
        tp, fp = np.rint(changed * recall), np.rint((PIXELS - changed) * false)
        found.append(np.stack([tp, fp, changed - tp, PIXELS - changed - fp], axis=-1))
    return found


def f1(counts: Floats) -> float:
    """F1 of all crops together."""
    tp, fp, fn, _ = counts.reshape(-1, 4).sum(axis=0)
    return float(2 * tp / (2 * tp + fp + fn))


def measured(name: str, counts: Floats) -> Measured:
    """A model as `cdstats compare` holds it, with a row for each crop."""
    columns = dict(zip(("tp", "fp", "fn", "tn"), counts.reshape(-1, 4).T, strict=True))
    columns["valid"] = np.full(len(columns["tp"]), float(PIXELS))
    return Measured(name, {F1: f1(counts)}, columns, {}, None, None, {})


def covered(
    models: list[Measured], groups: list[int], how: Resampling, truth: float
) -> tuple[bool, float]:
    """Whether the interval holds the truth, and its width."""
    first, second = resampled([one.grouped(groups) for one in models], MEASURES, how)
    values = [one.values[F1] for one in models]
    gap = how.difference(values[1], values[0], second[F1], first[F1])
    low, high = gap.low or 0.0, gap.high or 0.0
    return low <= truth <= high, high - low


def main() -> None:
    """Print the coverage of both intervals for some numbers of scenes."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--sets", type=int, default=300, help="test sets of each kind")
    parser.add_argument("--resamples", type=int, default=500)
    options = parser.parse_args()
    start = time.perf_counter()
    how = Resampling(options.resamples)
    print(f"{platform.platform()}, Python {platform.python_version()}")
    print(f"cdstats {cdstats.__version__}, numpy {np.__version__}")
    print(
        f"{options.sets} test sets of each row, {CROPS} crops of a scene, "
        f"{options.resamples} resamples, nominal 95 %\n"
    )
    print("own effect  scenes  crops drawn  scenes drawn   width, crops  width, scenes")
    for own in (0.0, 0.15, 0.3):
        random = np.random.default_rng(0)
        many = [f1(counts) for counts in simulated(random, MANY, own)]
        truth = many[1] - many[0]
        for scenes in (6, 10, 20, 40):
            crops, wholes = [], []
            for _ in range(options.sets):
                counts = simulated(random, scenes, own)
                models = [measured(str(n), one) for n, one in enumerate(counts)]
                every = list(range(scenes * CROPS))
                crops.append(covered(models, every, how, truth))
                by_scene = [at // CROPS for at in every]
                wholes.append(covered(models, by_scene, how, truth))
            shares = [
                f"{100 * np.mean([held for held, _ in one]):.1f} %"
                for one in (crops, wholes)
            ]
            widths = [
                f"{np.median([width for _, width in one]):.4f}"
                for one in (crops, wholes)
            ]
            print(
                f"{own:10.2f} {scenes:7} {shares[0]:>12} {shares[1]:>13} "
                f"{widths[0]:>14} {widths[1]:>14}"
            )
    error = 100 * np.sqrt(0.95 * 0.05 / options.sets)
    print(f"\nstandard error of a share of 95 %: {error:.1f} points")
    print(f"{time.perf_counter() - start:.0f} s")


if __name__ == "__main__":
    main()
