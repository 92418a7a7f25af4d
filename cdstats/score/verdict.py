"""From the states of all predictions to what they are and the sums of each."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

import numpy as np

from cdstats.core.catalogue import LevelValues, level_value
from cdstats.core.errors import DataError
from cdstats.core.messages import Level, Message
from cdstats.core.refusals import two_levels_text
from cdstats.score.choices import Kind
from cdstats.score.curves import Ranked
from cdstats.score.interpret import MANY_PIXELS, Numbers, wrong_values_text
from cdstats.score.kernel import COUNTS
from cdstats.score.levels import few_levels, plain_counts
from cdstats.score.ranks import RankCounts, ranks_of, ranks_of_codes
from cdstats.score.states import LevelPool, Whole

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from cdstats.core.catalogue import Loss
    from cdstats.core.histogram import LevelCounts
    from cdstats.core.pixel_terms import Term
    from cdstats.core.score_records import Place
    from cdstats.core.sums import ImageSums
    from cdstats.score.choices import PredictionChoice
    from cdstats.score.levels import StoredCounts
    from cdstats.score.needs import Needs
    from cdstats.score.states import Accumulated, Outcome, PredictionState

_BY_MODEL: Final = re.compile(r"--(?:kind|scale) (?=(?:logit|prob|hard|N|\d+)\b)")
"""Where a message says what predictions are, up to the value."""


@dataclass(frozen=True)
class Scored:
    """One prediction: its sums, or why it has none."""

    place: Place
    size: tuple[int, int] | None
    sums: ImageSums | None
    values: Mapping[Loss, float | None]
    reason: str = ""
    ranked: Ranked | None = None
    grid: str = "none"


class Verdict:
    """Decides what the predictions of a run are, and evaluates each."""

    def __init__(
        self,
        outcome: Outcome,
        needs: Needs,
        choice: PredictionChoice,
        threshold: float,
        *,
        fill: bool = False,
    ) -> None:
        self._outcome, self._needs, self._fill = outcome, needs, fill
        self._choice, self.threshold = choice, threshold
        self._numbers: dict[str, Numbers] = {}
        for state in outcome.states:
            model = state.place.model
            numbers = self._numbers.setdefault(model, Numbers(choice.of(model)))
            numbers.add(state)

    @property
    def types(self) -> set[str]:
        """The types of all stored numbers."""
        return {dtype for one in self._numbers.values() for dtype in one.types}

    def kind_text(self, model: str) -> str:
        """What the predictions of a model are, in words."""
        return self._numbers[model].text

    @property
    def messages(self) -> list[Message]:
        """What to tell about the predictions, beside what they are."""
        found = []
        for model, numbers in self._numbers.items():
            name = f"predictions of {model}" if model else "predictions"
            found += numbers.messages(name)
            if text := self._two_levels_text(model):
                found.append(Message(Level.WARNING, f"{name}: {text}"))
        return found

    def _two_levels_text(self, model: str) -> str:
        """What to tell of floating scores that look like labels; empty for others."""
        choice, states = self._choice.of(model), self._outcome.states
        own = [one for one in states if one.place.model == model]
        floats = [one for one in own if one.exceeds is not None]
        levels: frozenset[str] | None = frozenset()
        for one in floats:
            levels = few_levels(levels, one.score_levels)
        pixels = sum(math.prod(one.size) for one in floats if one.size)
        told = choice.kind is not None or choice.scale or choice.rule
        if told or levels is None or len(levels) < 2 or pixels < MANY_PIXELS:
            return ""
        low, high = sorted(levels, key=float)
        return "" if (low, high) == ("0", "1") else two_levels_text(low, high)

    def results(self) -> list[Scored]:
        """The sums of every prediction, in the order of the rows."""
        self._needs.refuse_without_logits(all_logits=self._choice.all_logits)
        for model, numbers in self._numbers.items():
            try:
                numbers.check()
            except DataError as error:
                if len(self._numbers) == 1:
                    raise
                # Said of one model, so that the others are read as before.
                named = _BY_MODEL.sub(rf"\g<0>{model}=", str(error))
                raise DataError(f"{model}: {named}") from None
        return [self._result(state) for state in self._outcome.states]

    def pooled_value(self, loss: Loss, model: str = "") -> float | None:
        """The value of a loss of levels over all predictions of a model together."""
        total = LevelPool()
        for key, pool in self._outcome.pooled(model):
            if key.as_labels is self._reads_labels(model, key.dtype):
                total.add(pool.total)
        return None if total.is_empty else level_value(loss, total.total)

    def _reads_labels(self, model: str, dtype: str) -> bool:
        return self._numbers[model].reads_labels(dtype)

    def level_values(self, loss: Loss, scored: Iterable[Scored]) -> LevelValues | None:
        """The values of a loss of levels for `evaluate`; None for other losses."""
        if loss.entry.from_levels is None:
            return None
        rows = list(scored)
        pooled = self.pooled_value(loss, rows[0].place.model) if rows else None
        return LevelValues([one.values.get(loss) for one in rows], pooled)

    def _result(self, state: PredictionState) -> Scored:
        as_labels = self._reads_labels(state.place.model, state.dtype)
        whole = state.whole.get(as_labels) or Whole()
        sums, ranked, reason = None, None, state.reason
        if not reason:
            try:
                sums, ranked = self._evaluate(state, whole.terms)
            except DataError as error:
                reason = str(error)
        if sums is not None:
            sums = self._with_uncovered(sums, state)
        return Scored(
            *(state.place, state.size, sums, whole.values, reason, ranked, state.grid)
        )

    def _with_uncovered(self, sums: ImageSums, state: PredictionState) -> ImageSums:
        """The sums with the pixels that have no score, in the counts if asked for."""
        unchanged, changed = state.uncovered.tolist()
        found = replace(sums, uncovered=unchanged + changed)
        if not self._fill or state.soft:
            return found
        return replace(found, fn=sums.fn + changed, tn=sums.tn + unchanged)

    def _evaluate(
        self, state: PredictionState, extra: Mapping[Term, tuple[float, float]]
    ) -> tuple[ImageSums, Ranked | None]:
        """The sums of a prediction, and its pixels by rank if that was asked for."""
        if state.stored is None:
            tiles = self._tile_sums(state, state.tiles, extra)
            if state.bins is None:
                return tiles, None
            codes = ranks_of_codes(state.bins.values)
            counts = RankCounts(codes, state.bins.changed, state.bins.unchanged)
            return tiles, self._ranked(state, counts, exact=False)
        levels = self._levels(state.stored, state.place.model)
        sums = levels.sums(
            threshold=self.threshold, terms=self._needs.terms, ignored=state.ignored
        )
        sums = sums.with_terms(extra) if extra else sums
        if not self._needs.bins:
            return sums, None
        ranks = ranks_of(levels.values, logits=False)
        counts = RankCounts(ranks, levels.changed, levels.unchanged)
        return sums, self._ranked(state, counts, exact=True)

    def _ranked(
        self, state: PredictionState, counts: RankCounts, *, exact: bool
    ) -> Ranked:
        """Pixels by rank, with those that have no score if they are counted."""
        some = int(self._fill and state.uncovered.any())
        unchanged, changed = np.repeat(state.uncovered[:, None], some, axis=1)
        apart = RankCounts(np.zeros(some, dtype=np.uint64), changed, unchanged)
        return Ranked(state.rank, RankCounts.joined([counts, apart]), exact, apart)

    def _tile_sums(
        self,
        state: PredictionState,
        tiles: Accumulated | None,
        extra: Mapping[Term, tuple[float, float]],
    ) -> ImageSums:
        if tiles is None:
            raise DataError("holds no pixels")
        counts = dict(zip(COUNTS, tiles.counts.tolist(), strict=True))
        if counts["not_finite"] or counts["outside"]:
            raise DataError(wrong_values_text(counts["not_finite"], counts["outside"]))
        found = tiles.image_sums(
            self._needs.terms, ignored=state.ignored, soft=state.soft
        )
        return found.with_terms(extra) if extra else found

    def _levels(self, stored: StoredCounts, model: str) -> LevelCounts:
        """The probabilities of stored values."""
        stored = plain_counts(stored)
        scale = self._numbers[model].scale(stored)
        values = stored.values.astype(np.float64) / scale
        wrong, outside = ~np.isfinite(values), (values < 0) | (values > 1)
        if wrong.any() or outside.any():
            bad = int(stored.pixels[wrong].sum()), int(stored.pixels[outside].sum())
            raise DataError(wrong_values_text(*bad))
        is_hard = self._choice.of(model).kind is Kind.HARD
        if is_hard and not np.isin(values, (0, 1)).all():
            raise DataError("expected only 0 and 1 for --kind hard")
        return stored.levels(scale)
