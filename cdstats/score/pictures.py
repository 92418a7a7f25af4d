"""Small pictures of where predictions are right and wrong, read again for them."""

from __future__ import annotations

from itertools import groupby
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from cdstats.core.errors import Level, Message
from cdstats.core.material import Picture
from cdstats.core.pixel_terms import least_changed
from cdstats.io.predictions import PALETTE
from cdstats.score.choices import Kind
from cdstats.score.grid import Uncovered
from cdstats.score.levels import divided, plain_numbers
from cdstats.score.reading import PairReader

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from numpy.typing import NDArray

    from cdstats.core.charts import WorstImage
    from cdstats.io.pairing import FilePair
    from cdstats.score.choices import ModelChoice, PredictionChoice
    from cdstats.score.curves import Curves
    from cdstats.score.scenes import Loaded

SIDE: Final = 192
"""Most cells of a picture along one side."""
_TP, _FP, _FN, _TN, _IGNORED, _UNCOVERED = range(6)
_KINDS: Final = 6


def error_pictures(
    worst: Sequence[WorstImage], curves: Curves
) -> tuple[tuple[Picture, ...], tuple[Message, ...]]:
    """Pictures of some images that were scored, which are read again.

    A picture is kept only if its pixels add up to the counts of its row.
    """
    how, share = curves.how, curves.share
    wanted = {(one.model, one.pred, one.target): one for one in worst}
    pairs = [(n, pair) for n, pair in share.pairs if _holds(pair, worst)]
    blocks = PairReader(share.targets, how.choice, how.ground).read(pairs)
    fill = how.ground.uncovered is Uncovered.UNCHANGED
    drawn = dict(_pictures(blocks, wanted, how.choice, how.threshold, fill=fill))
    lost = [one for one in worst if drawn.get(one) is None]
    notes = [
        Message(
            Level.WARNING,
            f"{one.pred}: no picture: read again, its pixels differ from its counts",
        )
        for one in lost
    ]
    kept = (drawn.get(one) for one in worst)
    return tuple(one for one in kept if one is not None), tuple(notes)


def _holds(pair: FilePair, worst: Sequence[WorstImage]) -> bool:
    """Whether a pair of files holds one of the images, or another crop of its mask."""
    if pair.prediction is None or pair.target is None:
        return False
    names = pair.prediction.name, pair.target.name
    return any(
        one.model == pair.model
        and (pair.crop is not None or one.pred.startswith(names[0]))
        and one.target.startswith(names[1])
        for one in worst
    )


def _pictures(
    blocks: Iterator[Loaded],
    wanted: dict[tuple[str, str, str], WorstImage],
    meaning: PredictionChoice,
    threshold: float,
    *,
    fill: bool,
) -> Iterator[tuple[WorstImage, Picture | None]]:
    """The picture of each image that is wanted, when its last block has been read."""
    for _, scene in groupby(blocks, key=lambda loaded: loaded.scene):
        drawn: dict[WorstImage, _Canvas] = {}
        for loaded in scene:
            place, scores, labels = loaded.place, loaded.scores, loaded.target
            image = wanted.get((place.model, place.pred, place.target))
            if image is None or not loaded.size or scores is None or labels is None:
                continue
            choice = meaning.of(place.model)
            if image not in drawn:
                drawn[image] = _Canvas(loaded, loaded.size, choice, fill=fill)
            cut = least_changed(threshold, "float64", logits=choice.kind is Kind.LOGIT)
            drawn[image].add(loaded, scores, labels, cut)
        yield from ((image, one.picture(image)) for image, one in drawn.items())


class _Canvas:
    """The pixels of one image by outcome in each cell, once for each scale."""

    def __init__(
        self, loaded: Loaded, size: tuple[int, int], choice: ModelChoice, *, fill: bool
    ) -> None:
        self._size, self._choice, self._fill = size, choice, fill
        self._step = max(1, -(-max(size) // SIDE))
        self._shape = (-(-size[1] // self._step), -(-size[0] // self._step), _KINDS)
        whole = loaded.dtype.startswith(("int", "uint", PALETTE))
        scales = (1.0, 255.0, 65535.0) if whole else (1.0,)
        self._held: dict[float, NDArray[np.int64]] = {
            scale: np.zeros(self._shape, dtype=np.int64)
            for scale in ((choice.scale,) if choice.scale else scales)
        }

    def add(
        self, loaded: Loaded, scores: NDArray[Any], labels: NDArray[Any], cut: float
    ) -> None:
        """Add a block; scores from the cut on are called changed."""
        rows = (loaded.corner[0] + np.arange(scores.shape[0])) // self._step
        columns = (loaded.corner[1] + np.arange(scores.shape[1])) // self._step
        cells = rows[:, None] * self._shape[1] + columns[None, :]
        plain = plain_numbers(scores, loaded.dtype)
        for scale, held in self._held.items():
            if plain.dtype.kind == "f":
                found = divided(plain, scale).astype(np.float64) >= cut
            else:
                found = plain.astype(np.float64) / scale >= cut
            if loaded.covered is not None:
                found &= loaded.covered
            hits, others = np.where(found, _TP, _FN), np.where(found, _FP, _TN)
            outcome = np.where(labels == 1, hits, others)
            if loaded.covered is not None and not self._fill:
                outcome[~loaded.covered] = _UNCOVERED
            outcome[labels == 255] = _IGNORED
            place = (cells * _KINDS + outcome).reshape(-1)
            counts = np.bincount(place, minlength=held.size)
            held += counts.reshape(self._shape)

    def picture(self, image: WorstImage) -> Picture | None:
        """The picture whose pixels add up to the counts of the row, if one does."""
        counts = (image.tp, image.fp, image.fn, image.tn, image.ignored)
        for held in self._held.values():
            if tuple(held.sum(axis=(0, 1)).tolist()[:_UNCOVERED]) == counts:
                shown = held[..., :_UNCOVERED].copy()
                shown[..., _IGNORED] += held[..., _UNCOVERED]
                shares = shown / shown.sum(axis=2, keepdims=True)
                return Picture(image, self._size[0], self._size[1], shares)
        return None
