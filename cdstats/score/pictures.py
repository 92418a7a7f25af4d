"""Small images of correct and wrong pixels of predictions, which are read again."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import replace
from itertools import groupby
from typing import TYPE_CHECKING, Final

import numpy as np

from cdstats.core.errors import DataError, Level, Message
from cdstats.core.material import Picture
from cdstats.core.pixel_terms import least_changed
from cdstats.io.beside import images_beside
from cdstats.io.images import image_bytes, thumbnail
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
    from cdstats.score.choices import ModelChoice
    from cdstats.score.curves import Curves
    from cdstats.score.reading import RankedPair
    from cdstats.score.scenes import Loaded
    from cdstats.score.targets import Target

SIDE: Final = 192
"""Largest number of cells along a side of an error image."""
TP, FP, FN, TN, IGNORED = range(5)
"""The outcome of a pixel."""
NO_SCORE: Final = 5
"""Added to the outcome of a valid pixel that the prediction does not cover."""
_KINDS: Final = 9


def error_pictures(
    worst: Sequence[WorstImage], curves: Curves
) -> tuple[tuple[Picture, ...], tuple[Message, ...]]:
    """Error images of scored images, which are read again, and warnings.

    An error image is returned only if its pixels add up to the counts of its row.
    """
    how, share = curves.how, curves.share
    wanted = {(one.model, one.pred, one.target): one for one in worst}
    pairs = [(n, pair) for n, pair in share.pairs if _holds(pair, worst)]
    fill = how.ground.uncovered is Uncovered.UNCHANGED
    drawn: dict[WorstImage, Picture | None] = {}
    for image, canvas in _canvases(pairs, wanted, curves):
        picture = canvas.picture(image, fill)
        drawn[image] = picture and replace(picture, beside=canvas.beside())
    lost = [one for one in worst if drawn.get(one) is None]
    notes = [
        Message(
            Level.WARNING,
            f"{one.pred}: no error image: when read again, its pixels do not match its "
            "counts",
        )
        for one in lost
    ]
    kept = (drawn.get(one) for one in worst)
    return tuple(one for one in kept if one is not None), tuple(notes)


def _holds(pair: FilePair, worst: Sequence[WorstImage]) -> bool:
    """Whether a pair of files has one of the images, or another crop of its mask."""
    if pair.prediction is None or pair.target is None:
        return False
    names = pair.prediction.name, pair.target.name
    return any(
        one.model == pair.model
        and (pair.crop is not None or one.pred.startswith(names[0]))
        and one.target.startswith(names[1])
        for one in worst
    )


def _canvases(
    pairs: Sequence[RankedPair],
    wanted: dict[tuple[str, str, str], WorstImage],
    curves: Curves,
) -> Iterator[tuple[WorstImage, _Canvas]]:
    how, by_rank = curves.how, dict(pairs)
    reader = PairReader(curves.share.targets, how.choice, how.ground)
    for _, scene in groupby(reader.read(pairs), key=lambda loaded: loaded.scene):
        drawn: dict[WorstImage, _Canvas] = {}
        for loaded in scene:
            place, size = loaded.place, loaded.size
            image = wanted.get((place.model, place.pred, place.target))
            if image is None or not size or loaded.scores is None:
                continue
            choice = how.choice.of(place.model)
            if image not in drawn:
                mask = reader.mask_of(by_rank[loaded.rank], place.target)
                window = (*loaded.origin[::-1], *size)
                scales = scales_of(loaded, choice)
                drawn[image] = _Canvas(size, scales, mask, window)
            canvas = drawn[image]
            for scale in canvas.scales:
                found = outcomes(loaded, choice, scale)
                canvas.add(loaded, scale, found)
        yield from drawn.items()


def thumbnails(
    mask: str,
    size: tuple[int, int],
    most: int,
    window: tuple[int, int, int, int] | None = None,
) -> tuple[tuple[str, bytes], ...]:
    """Thumbnails of the images beside a mask file, with the names of their folders.

    Images of another size and unreadable images are skipped.
    """
    found = []
    for beside in images_beside(mask) if mask else ():
        if beside.path and beside.size == size:
            with suppress(DataError):
                pixels = thumbnail(beside.path, most, window)
                found.append((beside.folder, image_bytes(pixels)))
    return tuple(found)


def scales_of(loaded: Loaded, choice: ModelChoice) -> tuple[float, ...]:
    """The possible divisors of stored numbers; the counts of a row select one later."""
    if choice.scale:
        return (choice.scale,)
    whole = loaded.dtype.startswith(("int", "uint", PALETTE))
    return (1.0, 255.0, 65535.0) if whole else (1.0,)


def outcomes(loaded: Loaded, choice: ModelChoice, scale: float) -> NDArray[np.uint8]:
    """The outcome of each pixel of a block: TP, FP, FN, TN or IGNORED.

    Pixels without a score count as predicted unchanged, with `NO_SCORE` added.
    """
    scores, labels, covered = loaded.scores, loaded.target, loaded.covered
    if scores is None or labels is None:
        raise ValueError("expected a block with pixels")
    cut = least_changed(choice.threshold, "float64", logits=choice.kind is Kind.LOGIT)
    plain = plain_numbers(scores, loaded.dtype)
    if plain.dtype.kind == "f":
        found = divided(plain, scale).astype(np.float64) >= cut
    else:
        found = plain.astype(np.float64) / scale >= cut
    if covered is not None:
        found &= covered
    by_label = np.array([[TN, FP], [FN, TP]], dtype=np.uint8)
    outcome: NDArray[np.uint8] = by_label[
        (labels == 1).view(np.uint8), found.view(np.uint8)
    ]
    if covered is not None:
        outcome[~covered] += NO_SCORE
    outcome[labels == 255] = IGNORED
    return outcome


class _Canvas:
    """The number of pixels by outcome in each cell of an image, for each scale."""

    def __init__(
        self,
        size: tuple[int, int],
        scales: tuple[float, ...],
        mask: Target,
        window: tuple[int, int, int, int],
    ) -> None:
        self._size, self.scales = size, scales
        self._mask, self._window = (mask.photographed, mask.size), window
        self._step = max(1, -(-max(size) // SIDE))
        self._shape = (-(-size[1] // self._step), -(-size[0] // self._step), _KINDS)
        self._held = {scale: np.zeros(self._shape, dtype=np.int64) for scale in scales}

    def add(self, loaded: Loaded, scale: float, outcome: NDArray[np.uint8]) -> None:
        """Add the outcomes of a block under one scale."""
        rows = (loaded.corner[0] + np.arange(outcome.shape[0])) // self._step
        columns = (loaded.corner[1] + np.arange(outcome.shape[1])) // self._step
        cells = rows[:, None] * self._shape[1] + columns[None, :]
        held = self._held[scale]
        counts = np.bincount(
            (cells * _KINDS + outcome).reshape(-1), minlength=held.size
        )
        held += counts.reshape(self._shape)

    def beside(self) -> tuple[tuple[str, bytes], ...]:
        """Thumbnails of the images of the same area."""
        return thumbnails(*self._mask, SIDE, self._window)

    def picture(self, image: WorstImage, fill: bool) -> Picture | None:
        """The error image that matches the counts of the row, or None."""
        counts = (image.tp, image.fp, image.fn, image.tn, image.ignored)
        for held in self._held.values():
            shown = held[..., :NO_SCORE].copy()
            lacking = held[..., NO_SCORE:]
            if fill:
                shown[..., : NO_SCORE - 1] += lacking
            if tuple(shown.sum(axis=(0, 1)).tolist()) == counts:
                if not fill:
                    shown[..., IGNORED] += lacking.sum(axis=2)
                shares = shown / shown.sum(axis=2, keepdims=True)
                return Picture(image, self._size[0], self._size[1], shares)
        return None
