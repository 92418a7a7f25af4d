"""Pixels of images cut into tiles, whose sums are added per image."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from cdstats.core.sums import ImageSums
from cdstats.score.kernel import CALIBRATION, COUNTS, SUMS, TILE, array_sums

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from types import ModuleType

    from numpy.typing import NDArray

    from cdstats.core.pixel_terms import Array, Term
    from cdstats.score.kernel import TileSums
    from cdstats.score.kernel.tile import TermFunction


@dataclass
class Accumulated:
    """The total of the tiles of one image, in float64 and exact integers."""

    sums: NDArray[np.float64] = field(default_factory=lambda: np.zeros(len(SUMS)))
    counts: NDArray[np.int64] = field(
        default_factory=lambda: np.zeros(len(COUNTS), dtype=np.int64)
    )
    terms: NDArray[np.float64] | None = None

    def add(self, sums: Any, counts: Any, terms: Any) -> None:  # noqa: ANN401
        """Add one tile."""
        self.sums += sums
        self.counts += counts
        self.terms = terms if self.terms is None else self.terms + terms

    def count(self, name: str) -> int:
        """One of `COUNTS`."""
        return int(self.counts[COUNTS.index(name)])

    @property
    def prob_sum(self) -> float:
        """The sum of the probabilities."""
        places = [SUMS.index("prob_changed_sum"), SUMS.index("false_sum")]
        return float(self.sums[places].sum())

    def image_sums(
        self, terms: Sequence[Term], *, ignored: int, soft: bool = False
    ) -> ImageSums:
        """The sums by name; soft targets have no counts by label."""
        sums = dict(zip(SUMS, self.sums.tolist(), strict=True))
        changed = sums.pop("changed")
        calibration = tuple(sums.pop(name) for name in CALIBRATION)
        found = [] if self.terms is None else self.terms.tolist()
        plain = dict(zip(COUNTS, self.counts.tolist(), strict=True))
        del plain["not_finite"], plain["outside"]
        if soft:
            plain |= dict.fromkeys(set(plain) - {"valid"}, 0)
        return ImageSums(
            changed=changed if soft else round(changed),
            ignored=ignored,
            calibration=calibration,
            terms=dict(zip(terms, map(tuple, found), strict=bool(found))),
            **plain,
            **sums,
        )


class TileBatches:
    """Cuts the pixels of each image into tiles, and sums them on the CPU.

    Blocks are summed without a copy, and a tile has pixels of one image only. The
    arguments are those of `array_sums`.
    """

    def __init__(
        self,
        threshold: float,
        logits: bool,
        terms: Sequence[TermFunction],
        *,
        compiled: bool = False,
    ) -> None:
        self._options: dict[str, Any] = {
            "threshold": threshold,
            "logits": logits,
            "terms": terms,
        }
        self._compiled = compiled
        self._partial: dict[int, tuple[NDArray[Any], NDArray[Any]]] = {}
        self.images: dict[int, Accumulated] = {}

    def add(self, image: int, scores: NDArray[Any], target: NDArray[Any]) -> None:
        """Add pixels of an image: scores and targets of the same length."""
        flat, labels = scores.reshape(-1), target.reshape(-1)
        self.images.setdefault(image, Accumulated())
        if image in self._partial:
            before = self._partial.pop(image)
            flat = np.concatenate([before[0], flat])
            labels = np.concatenate([before[1], labels])
        whole = flat.size // TILE * TILE
        if whole < flat.size:
            self._partial[image] = flat[whole:], labels[whole:]
        if whole:
            self._compute(image, flat[:whole], labels[:whole])

    def end(self, image: int) -> None:
        """Compute the last tile of an image, which may be incomplete."""
        if image in self._partial:
            self._compute(image, *self._partial.pop(image))

    def flush(self) -> None:
        """Compute all waiting tiles; every image must be complete."""
        for image in list(self._partial):
            self.end(image)

    def _compute(self, image: int, flat: NDArray[Any], labels: NDArray[Any]) -> None:
        shape = (-1, min(TILE, flat.size))
        scores, target = flat.reshape(shape), labels.reshape(shape)
        found = array_sums(scores, target, compiled=self._compiled, **self._options)
        self._take([image] * len(scores), found)

    def _take(self, images: Iterable[int], found: TileSums) -> None:
        """Add tiles to their images in order, so that results are reproducible."""
        rows = zip(images, found.sums, found.counts, found.terms, strict=True)
        for image, sums, counts, terms in rows:
            self.images[image].add(sums, counts, terms)


def native(array: NDArray[Any]) -> NDArray[Any]:
    """The array in native byte order, without a copy if possible."""
    return array.astype(array.dtype.newbyteorder("="), copy=False)


def term_functions(terms: Iterable[Term], xp: ModuleType) -> list[TermFunction]:
    """The terms as functions of pixels for the kernels, in NumPy or torch."""
    return [partial(_term_of, term, xp) for term in terms]


def _term_of(
    term: Term, xp: ModuleType, probs: Array, changed: bool, rest: Array = None
) -> Array:
    return term.per_pixel(probs, changed=changed, xp=xp, rest=rest)
