"""Curves of scored predictions, exact or within a small bound.

Scoring keeps coarse counts of floating scores for each image. If these leave average
precision or the best F1 uncertain, the images are read again and the uncertain levels
are divided, until no printed digit depends on the order of scores within a level.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np

from cdstats.core.curves import Curve, average_precision
from cdstats.core.errors import DataError
from cdstats.core.histogram import LevelCounts
from cdstats.score.choices import Kind
from cdstats.score.levels import (
    CODES,
    SPANS,
    LevelPool,
    codes_of,
    counts_from,
    probs_of,
    ranks_of,
    rounded,
    rounded_down,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from numpy.typing import NDArray

    from cdstats.core.pixel_terms import Array
    from cdstats.core.score_records import Place
    from cdstats.core.sums import Floats
    from cdstats.score.scoring import Scoring, Share

BINS: Final = 1024
"""Number of bins of a resampled curve."""
_LEVELS: Final = 1 << 22
"""Largest number of levels of a model; an image of 4.2 Mpx never has more."""
_WITHIN: Final = 5e-6
"""Accepted error of average precision and the best F1."""
_PASSES: Final = 6
"""Largest number of times that images are read again."""
_CHUNK: Final = 1 << 20
"""Pixels that are ranked at a time."""
_BINNED_WITHIN: Final = 1e-3
"""Error of average precision from bins above which new bins are chosen."""


@dataclass(frozen=True, slots=True)
class Ranked:
    """The counts of one prediction by rank."""

    pair: int
    counts: LevelCounts
    exact: bool
    apart: LevelCounts


@dataclass(frozen=True)
class Binned:
    """The pixels of each image in the bins of one model."""

    changed: Floats
    unchanged: Floats
    off: float


class Curves:
    """Curves of the models of a run."""

    def __init__(
        self, images: Mapping[Place, Ranked], share: Share, how: Scoring
    ) -> None:
        self._images, self.share, self.how = images, share, how
        self._found: dict[tuple[Place, ...], LevelCounts] = {}

    def of(self, places: Iterable[Place]) -> Curve | None:
        """The pooled curve of images of a model; None if they have no curve."""
        held = self._held(places)
        if not held:
            return None
        exact = all(one.exact for one in held.values())
        bits = np.zeros(CODES, dtype=np.uint64) if exact else SPANS
        counts = rounded(LevelCounts.joined(one.counts for one in held.values()), bits)
        if np.isin(codes_of(counts.values), (0, CODES - 1)).all():
            return None
        curve = _curve(counts, bits)
        for _ in range(_PASSES):
            finer = _finer(curve, counts, bits)
            if finer is None:
                break
            bits, pool = finer, LevelPool()
            self._read(held, bits, lambda _, some, to=pool: to.add(some))  # type: ignore[misc]
            counts = pool.total
            curve = _curve(counts, bits)
        self._found[tuple(held)] = counts
        return curve

    def binned(self, places: Iterable[Place], curve: Curve) -> Binned:
        """The images in bins, chosen for their model, for resampling."""
        held = self._held(places)
        edges = _edges(LevelCounts.joined(one.counts for one in held.values()))
        bins = np.stack(
            [counts_from(one.counts, edges) for one in held.values()], axis=1
        )
        found = _binned(bins, curve)
        if found.off > _BINNED_WITHIN:
            edges = _edges(self._found[tuple(held)])
            number = {place: at for at, place in enumerate(held)}
            bins = np.zeros((2, len(held), edges.size), dtype=np.int64)

            def take(place: Place, some: LevelCounts) -> None:
                bins[:, number[place]] += counts_from(some, edges)

            self._read(held, np.zeros(CODES, dtype=np.uint64), take)
            found = _binned(bins, curve)
        return found

    def _held(self, places: Iterable[Place]) -> dict[Place, Ranked]:
        found = {place: self._images.get(place) for place in places}
        known = {place: one for place, one in found.items() if one is not None}
        return known if len(known) == len(found) else {}

    def _read(
        self,
        held: Mapping[Place, Ranked],
        bits: NDArray[np.uint64],
        take: Callable[[Place, LevelCounts], None],
    ) -> None:
        """Pass the counts of all images by level to ``take``; read them if needed."""

        def collect(place: Place, scores: Array, labels: Array) -> None:
            if place not in held:
                return
            logits = self.how.choice.of(place.model).kind is Kind.LOGIT
            if not isinstance(scores, np.ndarray):
                from cdstats.score.device_batches import levels_on_device

                take(place, levels_on_device(scores, labels, bits, logits=logits))
                return
            flat, label = scores.reshape(-1), labels.reshape(-1)
            for at in range(0, flat.size, _CHUNK):
                part = slice(at, at + _CHUNK)
                ranks = rounded_down(ranks_of(flat[part], logits=logits), bits)
                one = label[part]
                take(place, LevelCounts.of(ranks[one == 1], ranks[one == 0]))

        for place, one in held.items():
            take(place, rounded(one.counts if one.exact else one.apart, bits))
        again = {one.pair for one in held.values() if not one.exact}
        if again:
            outcome = self.how.run(self.share.only(again), collect=collect)
            for state in outcome.states:
                if state.reason and state.place in held:
                    raise DataError(f"{state.place.pred}: {state.reason}")


def _curve(counts: LevelCounts, bits: NDArray[np.uint64]) -> Curve:
    tied = bits[codes_of(counts.values)] == 0
    return Curve(probs_of(counts.values), counts.changed, counts.unchanged, tied)


def _finer(
    curve: Curve, counts: LevelCounts, bits: NDArray[np.uint64]
) -> NDArray[np.uint64] | None:
    """Finer levels where the curve is uncertain, or None if nothing can be refined."""
    more, less = curve.spread
    best = curve.best
    if best is None:
        return None
    uncertain = curve.reach > best[0] + _WITHIN
    if max(more.sum(), less.sum()) > _WITHIN:
        uncertain |= more + less > 0
    if not uncertain.any():
        return None
    codes = codes_of(counts.values)
    wanted = np.zeros(CODES, dtype=np.bool_)
    wanted[codes[uncertain]] = True
    pixels = np.bincount(codes, curve.changed + curve.unchanged, CODES)
    levels = np.bincount(codes, minlength=CODES)
    for steps in range(int(SPANS.max()), 0, -1):
        finer = np.where(wanted, bits - np.minimum(bits, np.uint64(steps)), bits)
        # Levels are not empty, so their number is at most the number of pixels.
        most = np.minimum(pixels, levels * 2.0 ** (bits - finer).astype(np.float64))
        if most.sum() <= _LEVELS:
            return finer
    return None


def _edges(counts: LevelCounts) -> NDArray[np.uint64]:
    """First ranks of bins with similar shares of the pixels of each class."""
    shares = [
        column / max(int(column.sum()), 1)
        for column in (counts.changed, counts.unchanged)
    ]
    mass = (shares[0] + shares[1]) / 2
    number = np.floor((mass.cumsum() - mass) * (BINS - 1))
    return counts.values[np.unique(number, return_index=True)[1]]


def _binned(bins: NDArray[np.int64], curve: Curve) -> Binned:
    whole = float(average_precision(*bins.sum(1)))
    off = abs(whole - (curve.average_precision or 0.0)) if curve.changed.any() else 0.0
    changed, unchanged = bins.astype(np.float64)
    return Binned(changed, unchanged, off)
