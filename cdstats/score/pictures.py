"""Small pictures of where predictions are right and wrong, read again for them."""

from __future__ import annotations

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

    Counts = NDArray[np.int64]

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
    drawn: dict[WorstImage, _Canvas] = {}
    scene = -1
    for loaded in blocks:
        if loaded.scene != scene:
            yield from ((image, one.picture(image)) for image, one in drawn.items())
            drawn, scene = {}, loaded.scene
        place = loaded.place
        image = wanted.get((place.model, place.pred, place.target))
        if image is None or loaded.size is None or loaded.scores is None:
            continue
        choice = meaning.of(place.model)
        if image not in drawn:
            scales = _scales(loaded.dtype, choice)
            drawn[image] = _Canvas(loaded.size, scales, fill=fill)
        drawn[image].add(loaded, choice.kind is Kind.LOGIT, threshold)
    yield from ((image, one.picture(image)) for image, one in drawn.items())


def _scales(dtype: str, choice: ModelChoice) -> tuple[float, ...]:
    """What stored numbers of a type may be divided by."""
    if choice.scale is not None:
        return (choice.scale,)
    whole = dtype.startswith(("int", "uint", PALETTE))
    return (1.0, 255.0, 65535.0) if whole else (1.0,)


def _changed(
    scores: NDArray[Any], scale: float, threshold: float, *, logits: bool
) -> NDArray[np.bool_]:
    """Which pixels scoring calls changed."""
    if scores.dtype.kind == "f":
        wide = divided(scores, scale).astype(np.float64)
    else:
        wide = scores.astype(np.float64) / scale
    found: NDArray[np.bool_] = wide >= least_changed(
        threshold, "float64", logits=logits
    )
    return found


class _Canvas:
    """The pixels of one image by outcome in each cell, once for each scale."""

    def __init__(
        self, size: tuple[int, int], scales: Sequence[float], *, fill: bool
    ) -> None:
        self._size, self._fill = size, fill
        self._step = max(1, -(-max(size) // SIDE))
        self._shape = (-(-size[1] // self._step), -(-size[0] // self._step), _KINDS)
        self._held: dict[float, Counts] = {
            scale: np.zeros(self._shape, dtype=np.int64) for scale in scales
        }

    def add(self, loaded: Loaded, logits: bool, threshold: float) -> None:
        """Add a block."""
        scores: NDArray[Any] | None = loaded.scores
        labels: NDArray[Any] | None = loaded.target
        if scores is None or labels is None:
            return
        rows = (loaded.corner[0] + np.arange(scores.shape[0])) // self._step
        columns = (loaded.corner[1] + np.arange(scores.shape[1])) // self._step
        cells = rows[:, None] * self._shape[1] + columns[None, :]
        for scale, held in self._held.items():
            plain = plain_numbers(scores, loaded.dtype)
            found = _changed(plain, scale, threshold, logits=logits)
            if loaded.covered is not None:
                found &= loaded.covered
            outcome = np.where(
                labels == 1,
                np.where(found, _TP, _FN),
                np.where(found, _FP, _TN),
            )
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
