"""The paired bootstrap over images: the same resamples for every model.

What adds over images adds over a resample: its pooled metrics follow from one product
of how often each image was drawn with the sums of the images.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import product
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from cdstats.core.comparison_records import ALL_DRAWN, Difference
from cdstats.core.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from numpy.typing import NDArray

    from cdstats.core.sums import Floats
    from cdstats.score.measures import Measure, Measured

_CHUNK: Final = 1 << 22
"""Draws that are held at a time."""
FEW_IMAGES: Final = 20
"""Images below which intervals of a bootstrap are too narrow to rely on."""
_MOST_RESAMPLES: Final = 1_000_000


@dataclass(frozen=True, slots=True)
class Resampling:
    """How intervals are made: a percentile interval over resampled images.

    References:
        Efron and Tibshirani, "An Introduction to the Bootstrap", 1993, chapter 13.
    """

    resamples: int = 2000
    confidence: float = 0.95
    seed: int = 0

    def __post_init__(self) -> None:
        if not 1 <= self.resamples <= _MOST_RESAMPLES:
            raise UsageError(
                f"--resamples {self.resamples}: expected 1 to {_MOST_RESAMPLES:,}"
            )
        if not 0 < self.confidence < 1:
            raise UsageError(
                f"--confidence {self.confidence}: expected a number between 0 and 1, "
                "such as 0.95"
            )
        if self.seed < 0:
            raise UsageError(f"--seed {self.seed}: expected 0 or more")

    def draws(self, images: int) -> Iterator[Floats]:
        """How often each resample draws each image, some resamples at a time."""
        if images <= ALL_DRAWN:
            # Every resample there is, each once: no chance is left in the interval.
            every = np.array(list(product(range(images), repeat=images)))
            yield (every[:, :, None] == np.arange(images)).sum(1).astype(np.float64)
            return
        random = np.random.default_rng(self.seed)
        rows = max(1, _CHUNK // max(images, 1))
        for start in range(0, self.resamples, rows):
            some = min(rows, self.resamples - start)
            drawn = random.integers(0, images, (some, images))
            drawn += np.arange(some)[:, None] * images
            counts = np.bincount(drawn.reshape(-1), minlength=some * images)
            yield counts.reshape(some, images).astype(np.float64)

    def difference(
        self,
        value: float | None,
        first: float | None,
        drawn: Floats,
        drawn_first: Floats,
    ) -> Difference:
        """A difference to the first model with its interval."""
        if value is None or first is None:
            return Difference(None, None, None, None, drawn.size)
        found = drawn - drawn_first
        defined = found[~np.isnan(found)]
        undefined = found.size - defined.size
        estimate = value - first
        if not defined.size or undefined > (1 - self.confidence) * found.size:
            return Difference(estimate, None, None, None, undefined)
        tail = (1 - self.confidence) / 2
        low, high = np.quantile(defined, [tail, 1 - tail])
        same = float(np.mean(np.sign(defined) == np.sign(estimate)))
        return Difference(estimate, float(low), float(high), same, undefined)


def resampled(
    models: Sequence[Measured], measures: Sequence[Measure], how: Resampling
) -> list[dict[str, Floats]]:
    """Every measure of every model on every resample."""
    images = models[0].images
    if images < 2:
        return [{measure.name: np.empty(0) for measure in measures} for _ in models]
    found: list[dict[str, list[Floats]]] = [
        {measure.name: [] for measure in measures} for _ in models
    ]
    for draws in how.draws(images):
        for model, values in zip(models, found, strict=True):
            totals = _totals(draws, model)
            for measure in measures:
                known = measure.name in model.values
                some = measure.of(totals) if known else np.full(len(draws), np.nan)
                some = some + model.offsets.get(measure.name, 0.0)
                values[measure.name].append(some)
    return [
        {name: np.concatenate(parts) for name, parts in values.items()}
        for values in found
    ]


def _totals(draws: Floats, model: Measured) -> dict[str, NDArray[Any]]:
    """The sums of each resample, by the names of their columns."""
    stacked = draws @ model.stacked
    totals = {name: stacked[:, place] for place, name in enumerate(model.names)}
    return {**totals, **{name: draws @ bins for name, bins in model.bins.items()}}
