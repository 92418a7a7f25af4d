"""From blocks of scores and labels to the sums of each prediction."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import torch

from cdstats.core.catalogue import LevelValues, level_value
from cdstats.core.errors import DataError
from cdstats.core.histogram import LevelCounts
from cdstats.core.sums import ImageSums
from cdstats.score.batching import TileBatches
from cdstats.score.distances import position_sums
from cdstats.score.kernel import COUNTS, SUMS
from cdstats.score.kinds import Kind, StoredKinds, is_stored, wrong_values_text
from cdstats.score.levels import SCALE, StoredCounts, count_stored

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from numpy.typing import NDArray
    from torch import Tensor

    from cdstats.core.catalogue import Loss
    from cdstats.core.pixel_terms import Term
    from cdstats.core.score_records import Place
    from cdstats.score.needs import Needs
    from cdstats.score.reading import Loaded


_LABELS: Final = 2
"""A map of more values than this holds no labels."""


@dataclass
class _Image:
    """One prediction while it is read."""

    place: Place
    size: tuple[int, int] | None
    reason: str = ""
    stored: StoredCounts | None = None
    ignored: int = 0
    held: list[Loaded] = field(default_factory=list)
    sums: ImageSums | None = None
    extra: dict[Term, tuple[float, float]] = field(default_factory=dict)
    values: dict[Loss, float | None] = field(default_factory=dict)
    soft: bool = False


@dataclass(frozen=True)
class Scored:
    """One prediction: its sums, or why it has none.

    Attributes:
        place: Where it comes from.
        size: Width and height, when they are known.
        sums: Its sums; None when it failed.
        values: The values of losses that need levels.
        reason: Why it failed.
    """

    place: Place
    size: tuple[int, int] | None
    sums: ImageSums | None
    values: dict[Loss, float | None]
    reason: str = ""


class Scorer:
    """Takes blocks in the order of the rows and gives the sums of each prediction.

    Floating scores are summed on the device; integers and float16 are counted by level
    and evaluated when it is known what they mean.

    Args:
        needs: What the losses of the run need.
        device: Where to compute.
        kind: What the user says that the predictions are; None to find out.
        threshold: A pixel is predicted changed when p is at least this.
        batch: Tiles of a batch on a device; None for what its memory takes.
    """

    def __init__(
        self,
        needs: Needs,
        device: torch.device,
        kind: Kind | None,
        threshold: float,
        batch: int | None,
    ) -> None:
        self._needs, self._kind, self._threshold = needs, kind, threshold
        functions = [partial(_term_of, term) for term in needs.terms]
        self._batches = TileBatches(
            device, batch, threshold, kind is Kind.LOGIT, functions
        )
        self._images: dict[int, _Image] = {}
        self._kinds: defaultdict[str, StoredKinds] = defaultdict(StoredKinds)
        self._floating_of: defaultdict[str, set[str]] = defaultdict(set)
        self._pooled: dict[tuple[str, Loss], LevelCounts] = {}

    def add(self, loaded: Loaded) -> None:
        """Take one block."""
        image = self._images.setdefault(
            loaded.number, _Image(loaded.place, loaded.size)
        )
        image.reason = image.reason or loaded.reason
        if image.reason or loaded.scores is None or loaded.target is None:
            return
        scores, target = loaded.scores, loaded.target
        image.soft = target.dtype != np.uint8
        if self._kind is Kind.LOGIT and scores.dtype.kind != "f":
            image.reason = f"holds {scores.dtype}; logits are floating numbers"
        elif is_stored(scores.dtype, self._kind) and not image.soft:
            image.ignored += int(np.count_nonzero(target == 255))
            if scores.dtype == np.float16:
                self._floating_of[image.place.model].add("float16")
            counted = count_stored(scores, target)
            image.stored = counted if image.stored is None else image.stored + counted
            self._hold(image, loaded)
        else:
            self._sum(image, loaded)

    def _sum(self, image: _Image, loaded: Loaded) -> None:
        """Sum floating scores, or any scores of soft targets, on the device."""
        scores, target = loaded.scores, loaded.target
        if scores is None or target is None:
            return
        if scores.dtype.kind != "f":
            scale = _soft_scale(scores)
            if scale is None:
                image.reason = f"holds {scores.dtype} beside soft targets"
                return
            scores = scores.astype(np.float64) / scale
        elif self._kind is Kind.HARD and not _is_hard(scores, target):
            image.reason = "holds other values than 0 and 1; hard predictions do not"
            return
        self._floating_of[image.place.model].add(loaded.dtype)
        if scores.dtype == np.float16:
            scores = scores.astype(np.float32)
        if image.soft:
            image.ignored += int(np.count_nonzero(target < 0))
            scores = scores.astype(np.float64)
        else:
            image.ignored += int(np.count_nonzero(target == 255))
            self._hold(image, loaded)
        self._batches.add(loaded.number, scores, target)

    def _hold(self, image: _Image, loaded: Loaded) -> None:
        if self._needs.whole:
            image.held.append(loaded)

    def finish(self, number: int) -> None:
        """Complete a prediction all of whose blocks were taken."""
        image = self._images[number]
        self._batches.end(number)
        if image.stored is not None and not image.reason:
            self._kinds[image.place.model].add(image.stored)
        if not self._needs.whole or not image.held or image.reason:
            image.held.clear()
            return
        if image.stored is None or image.stored.values.size > _LABELS or self._kind:
            self._complete(image, self._early_scale(image))

    def _early_scale(self, image: _Image) -> float:
        """What an image's values are divided by when it holds more than labels."""
        stored = image.stored
        if stored is None or stored.dtype == "float16":
            return 1.0
        if self._kind is not None:
            return self._scale(image, stored)
        return float(SCALE.get(stored.dtype, 1))

    def _scale(self, image: _Image, stored: StoredCounts) -> float:
        return self._kinds[image.place.model].scale(stored, self._kind)

    def _complete(self, image: _Image, scale: float) -> None:
        """Compute what needs the whole image, and let the image go."""
        scores, labels = _whole(image)
        image.held.clear()
        scores /= scale
        shown = scores[labels != 255]
        inside = (shown >= 0) & (shown <= 1)
        if not (np.isfinite(shown) if self._kind is Kind.LOGIT else inside).all():
            return
        probs = scores
        if self._kind is Kind.LOGIT:
            probs = torch.sigmoid(torch.from_numpy(scores)).numpy()
            self._order(image, scores, labels, self._needs.logit_levels)
        self._order(image, probs, labels, self._needs.levels)
        for term in self._needs.positions:
            image.extra[term] = position_sums(term, probs, labels)

    def _order(
        self,
        image: _Image,
        scores: NDArray[np.float64],
        labels: NDArray[np.uint8],
        losses: Sequence[Loss],
    ) -> None:
        if not losses:
            return
        levels = LevelCounts.of(scores[labels == 1], scores[labels == 0])
        for loss in losses:
            image.values[loss] = level_value(loss, levels)
            key = image.place.model, loss
            before = self._pooled.get(key)
            self._pooled[key] = levels if before is None else before + levels

    @property
    def types(self) -> set[str]:
        """The types of all stored numbers."""
        stored = (kinds.largest for kinds in self._kinds.values())
        return set().union(*self._floating_of.values(), *stored)

    @property
    def any_hard(self) -> bool:
        """Whether some predictions are labels."""
        hard = any(kinds.any_hard for kinds in self._kinds.values())
        return hard or self._kind is Kind.HARD

    def kind_text(self, model: str) -> str:
        """What the predictions of a model are, in words."""
        return self._kinds[model].text(self._kind, self._floating_of[model])

    def results(self) -> list[Scored]:
        """The sums of every prediction, in the order of the rows.

        Raises:
            DataError: If what the predictions are is refused.
            UsageError: If a loss needs logits and they are none.
        """
        self._needs.refuse_without_logits(self._kind)
        self._batches.flush()
        for kinds in self._kinds.values():
            kinds.check(self._kind)
        self._refuse_outside()
        return [self._result(number) for number in sorted(self._images)]

    def pooled_value(self, loss: Loss, model: str = "") -> float | None:
        """The value of a loss of levels over all predictions of a model together."""
        levels = self._pooled.get((model, loss))
        return None if levels is None else level_value(loss, levels)

    def level_values(self, loss: Loss, scored: Iterable[Scored]) -> LevelValues | None:
        """The values of a loss of levels for `evaluate`; None for other losses."""
        if loss.entry.from_levels is None:
            return None
        rows = list(scored)
        pooled = self.pooled_value(loss, rows[0].place.model) if rows else None
        return LevelValues([one.values.get(loss) for one in rows], pooled)

    def _refuse_outside(self) -> None:
        """Refuse a run whose floating predictions are no probabilities.

        Raises:
            DataError: If the user did not say what they are.
        """
        if self._kind is not None:
            return
        place = COUNTS.index("outside")
        floating = [bool(a.counts[place]) for a in self._batches.images.values()]
        halves = [
            image.stored.values
            for image in self._images.values()
            if image.stored is not None and image.stored.dtype == "float16"
        ]
        floating += [_exceeds(values) for values in halves]
        if any(floating):
            raise DataError(
                f"{sum(floating):,} of {len(floating):,} predictions exceed [0, 1]: "
                "--kind logit? Nothing was scored"
            )

    def _result(self, number: int) -> Scored:
        image = self._images[number]
        sums, reason = None, image.reason
        if not reason:
            try:
                sums = self._sums(number, image)
            except DataError as error:
                reason = str(error)
        return Scored(image.place, image.size, sums, image.values, reason)

    def _sums(self, number: int, image: _Image) -> ImageSums:
        if image.stored is not None:
            if image.held:
                self._complete(image, self._scale(image, image.stored))
            return self._stored_sums(image, image.stored)
        found = self._batches.images[number]
        counts = dict(zip(COUNTS, found.counts.tolist(), strict=True))
        if counts["not_finite"] or counts["outside"]:
            raise DataError(wrong_values_text(counts["not_finite"], counts["outside"]))
        sums = dict(zip(SUMS, found.sums.tolist(), strict=True))
        changed = sums.pop("changed")
        terms = (
            zip(self._needs.terms, found.terms.tolist(), strict=True)
            if (found.terms is not None)
            else ()
        )
        plain = {name: counts[name] for name in COUNTS[:6]}
        if image.soft:
            plain |= dict.fromkeys(("tp", "fp", "fn", "tn", "saturated_wrong"), 0)
        return ImageSums(
            changed=changed if image.soft else round(changed),
            ignored=image.ignored,
            terms={**{term: (a, b) for term, (a, b) in terms}, **image.extra},
            **plain,
            **sums,
        )

    def _stored_sums(self, image: _Image, stored: StoredCounts) -> ImageSums:
        scale = self._scale(image, stored)
        values = stored.values.astype(np.float64) / scale
        pixels = stored.changed + stored.unchanged
        wrong, outside = ~np.isfinite(values), (values < 0) | (values > 1)
        if wrong.any() or outside.any():
            bad = int(pixels[wrong].sum()), int(pixels[outside].sum())
            raise DataError(wrong_values_text(*bad))
        if self._kind is Kind.HARD and not np.isin(values, (0, 1)).all():
            raise DataError("holds other values than 0 and 1; hard predictions do not")
        levels = stored.levels(scale)
        sums = levels.sums(
            threshold=self._threshold, terms=self._needs.terms, ignored=image.ignored
        )
        if not image.extra:
            return sums
        return sums.with_terms(image.extra)


def _term_of(term: Term, probs: Tensor, changed: bool) -> Tensor:
    values: Tensor = term.per_pixel(probs, changed=changed, xp=torch)
    return values


def _soft_scale(scores: NDArray[Any]) -> float | None:
    """What integers beside soft targets are divided by; None if nothing says."""
    if scores.size == 0 or (scores.max() <= 1 and scores.min() >= 0):
        return 1.0
    if set(np.unique(scores)) <= {0, 255}:
        return 255.0
    scale = SCALE.get(scores.dtype.name)
    return None if scale is None else float(scale)


def _is_hard(scores: NDArray[Any], target: NDArray[Any]) -> bool:
    """Whether the scores of all valid pixels are 0 or 1."""
    plain = np.isfinite(scores) & (target != 255)
    return bool(((scores == 0) | (scores == 1) | ~plain).all())


def _exceeds(values: NDArray[Any]) -> bool:
    """Whether a number lies outside [0, 1]; what is no number is another matter."""
    return bool((np.isfinite(values) & ((values < 0) | (values > 1))).any())


def _whole(image: _Image) -> tuple[NDArray[np.float64], NDArray[np.uint8]]:
    """The scores and labels of an image, put together from its blocks."""
    width, height = image.size or (0, 0)
    scores = np.zeros((height, width))
    labels = np.full((height, width), 255, dtype=np.uint8)
    for block in image.held:
        if block.scores is not None and block.target is not None:
            row, column = block.corner
            down, across = block.scores.shape
            place = slice(row, row + down), slice(column, column + across)
            scores[place], labels[place] = block.scores, block.target
    return scores, labels
