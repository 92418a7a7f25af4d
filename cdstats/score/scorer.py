"""From blocks of scores and labels to the state of each prediction."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from cdstats.core.catalogue import level_value
from cdstats.core.errors import DataError, one_file
from cdstats.core.histogram import LevelCounts
from cdstats.io.predictions import PALETTE
from cdstats.io.targets import SOFT_IGNORED
from cdstats.score.batching import TileBatches, native, term_functions
from cdstats.score.choices import Kind
from cdstats.score.interpret import SIGMOID, is_stored, scales_of, wrong_values_text
from cdstats.score.kernel import COUNTS, IGNORED
from cdstats.score.levels import SCALE, count_stored, divided, few_levels, plain_numbers
from cdstats.score.ranks import codes_of, ranks_of
from cdstats.score.scenes import valid_pixels
from cdstats.score.states import Outcome, PoolKey, PredictionState, Whole

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import NDArray

    from cdstats.core.pixel_terms import Term
    from cdstats.core.score_records import Place
    from cdstats.score.choices import ModelChoice, PredictionChoice
    from cdstats.score.needs import Needs
    from cdstats.score.scenes import Loaded
    from cdstats.score.states import Accumulated

    Collect = Callable[[Place, NDArray[Any], NDArray[Any]], None]

_SAMPLE: Final = 64
"""Rows and columns of a block whose scores are looked at, about."""
_CHUNK: Final = 1 << 18
"""Scores that are ranked together: what they are widened to fits the cache."""


class Scorer:
    """Takes blocks in the order of the rows and gives the state of each prediction.

    Floating scores are summed on the device; integers and float16 are counted by level
    and evaluated when it is known what they mean.
    """

    def __init__(
        self,
        needs: Needs,
        device: str,
        choice: PredictionChoice,
        threshold: float,
        batch: int | None,
        *,
        compiled: bool = False,
        collect: Collect | None = None,
    ) -> None:
        self._needs, self._choice, self._compiled = needs, choice, compiled
        self._collect = collect
        self._batches = {
            logits: _batches(
                *(device, batch, threshold, logits, needs.terms), compiled=compiled
            )
            for logits in (False, True)
        }
        self._states: dict[int, PredictionState] = {}
        self._held: dict[int, list[Loaded]] = {}
        self._last = -1
        self._outcome = Outcome()

    def add(self, loaded: Loaded) -> None:
        """Take one block."""
        state = self._states.setdefault(
            loaded.number,
            PredictionState(loaded.place, loaded.size, rank=loaded.rank),
        )
        state.reason = state.reason or loaded.reason
        state.size, state.grid = loaded.size, loaded.grid
        state.difference, state.cut = loaded.difference, loaded.cut
        if state.reason or loaded.scores is None or loaded.target is None:
            return
        if loaded.number != self._last:
            # Compute the unfinished tile first, because crops of a mask take turns.
            self._end(self._last)
            self._last = loaded.number
        try:
            with one_file():
                summed = self._counted(state, loaded, loaded.scores, loaded.target)
        except DataError as error:
            state.reason = str(error)
            return
        # Not limited to this file: a batch holds tiles of several images.
        if summed is not None:
            logits = self._choice.of(state.place.model).kind is Kind.LOGIT
            self._batches[logits].add(loaded.number, *summed)

    def _counted(
        self,
        state: PredictionState,
        loaded: Loaded,
        scores: NDArray[Any],
        target: NDArray[Any],
    ) -> tuple[NDArray[Any], NDArray[Any]] | None:
        """Count the levels of a block; give scores and labels that are to be summed."""
        state.dtype, state.soft = loaded.dtype, target.dtype != np.uint8
        raw, choice = native(scores), self._choice.of(state.place.model)
        if loaded.dtype == PALETTE and raw.dtype.kind == "f":
            state.reason = "has a palette, and colours have no mean; --overlap first?"
            return None
        state.is_jpeg |= loaded.is_jpeg
        plain = plain_numbers(raw, loaded.dtype)
        scores = _scaled(plain, _stored_type(loaded, plain), choice)
        target = _scored(state, target, loaded.covered)
        loaded = replace(loaded, scores=scores, target=target)
        stored = _stored_type(loaded, scores)
        if choice.kind is Kind.LOGIT and scores.dtype.kind != "f":
            state.reason = f"holds {scores.dtype}; logits are floating numbers"
        elif is_stored(stored, choice.kind) and not state.soft:
            if self._collect:
                return None
            counted = count_stored(raw, target, compiled=self._compiled)
            name = PALETTE if loaded.dtype == PALETTE else stored.name
            counted = replace(counted, dtype=name)
            state.stored = counted if state.stored is None else state.stored + counted
            self._keep(loaded)
        else:
            return self._floating(state, loaded, scores, target)
        return None

    def _floating(
        self,
        state: PredictionState,
        loaded: Loaded,
        scores: NDArray[Any],
        target: NDArray[Any],
    ) -> tuple[NDArray[Any], NDArray[Any]] | None:
        """Floating scores, or any scores of soft targets, and their labels."""
        stored = _stored_type(loaded, scores)
        choice = self._choice.of(state.place.model)
        if stored.kind != "f":
            scale = choice.scale or _soft_scale(scores, stored.name)
            if scale is None:
                state.reason = f"holds {stored} beside soft targets"
                return None
            scores = scores.astype(np.float64) / scale
        elif choice.kind is Kind.HARD and not _is_hard(scores, target):
            state.reason = "expected only 0 and 1 for --kind hard"
            return None
        if self._collect:
            self._collect(state.place, scores, target)
            return None
        if state.soft:
            self._keep(loaded)
            scores = scores.astype(np.float64)
        else:
            if scores.dtype == np.float16:
                scores = scores.astype(np.float32)
            self._keep(loaded)
            self._bin(state, scores, target)
            _note_range(state, scores, target)
        return scores, target

    def _keep(self, loaded: Loaded) -> None:
        """Hold a block if the whole image is needed."""
        if self._needs.whole and not self._states[loaded.number].soft:
            self._held.setdefault(loaded.number, []).append(loaded)

    def _bin(
        self, state: PredictionState, scores: NDArray[Any], target: NDArray[Any]
    ) -> None:
        """Count the scores of a block by the code of their rank, if asked for."""
        if not self._needs.bins:
            return
        logits = self._choice.of(state.place.model).kind is Kind.LOGIT
        flat, labels = scores.reshape(-1), target.reshape(-1)
        codes = [
            codes_of(ranks_of(flat[at : at + _CHUNK], logits=logits))
            for at in range(0, flat.size, _CHUNK)
        ]
        if not codes:
            return
        found = count_stored(np.concatenate(codes), labels, compiled=self._compiled)
        state.bins = found if state.bins is None else state.bins + found

    def finish(self, number: int) -> None:
        """Complete a prediction all of whose blocks were taken."""
        state = self._states[number]
        self._end(number)
        held = self._held.pop(number, [])
        if held and not state.reason:
            try:
                with one_file():
                    self._whole(state, held)
            except DataError as error:
                state.reason = str(error)

    def _whole(self, state: PredictionState, held: Sequence[Loaded]) -> None:
        scores, labels = _whole(held, state.size or (0, 0))
        choice = self._choice.of(state.place.model)
        for as_labels, scale in scales_of(state.stored, choice).items():
            self._complete(state, scores / scale, labels, as_labels)

    def _end(self, number: int) -> None:
        """Compute what is left of the last tile of a prediction."""
        for batches in self._batches.values():
            batches.end(number)

    def _complete(
        self,
        state: PredictionState,
        scores: NDArray[np.float64],
        labels: NDArray[np.uint8],
        as_labels: bool,
    ) -> None:
        """Compute what needs the whole image."""
        shown = scores[labels != 255]
        inside = (shown >= 0) & (shown <= 1)
        logits = self._choice.of(state.place.model).kind is Kind.LOGIT
        if not (np.isfinite(shown) if logits else inside).all():
            return
        needs, whole = self._needs, state.whole.setdefault(as_labels, Whole())
        if needs.positions:
            # It loads SciPy.
            from cdstats.score.distances import position_sums
        for term in needs.positions:
            whole.terms[term] = position_sums(term, scores, labels, logits=logits)
        ordered = [one for one in needs.levels if logits or not one.entry.needs_logits]
        if ordered:
            parts = (scores[labels == one] for one in (1, 0))
            levels = LevelCounts.of(*parts, logits=logits)
            whole.values |= {one: level_value(one, levels) for one in ordered}
            # Last: the levels of a prediction that fails must not enter the pool.
            key = PoolKey(state.place.model, state.dtype, as_labels)
            self._outcome.pool(key, levels)

    def failure(self, number: int) -> str:
        """Why a finished prediction fails, whatever the others are; else empty."""
        state = self._states[number]
        reason = state.reason
        if not reason:
            batches = self._batches[
                self._choice.of(state.place.model).kind is Kind.LOGIT
            ]
            batches.flush()
            reason = self._bad_numbers(state, batches.images.get(number))
        name = state.place.pred or state.place.target
        return f"{name}: {reason}" if reason else ""

    def _bad_numbers(self, state: PredictionState, tiles: Accumulated | None) -> str:
        """What is wrong with floating scores whatever they are; empty for nothing."""
        not_finite = outside = 0
        if tiles is not None:
            counts = dict(zip(COUNTS, tiles.counts.tolist(), strict=True))
            not_finite, outside = counts["not_finite"], counts["outside"]
        elif state.stored is not None and state.stored.dtype == "float16":
            wrong = ~np.isfinite(state.stored.values)
            not_finite = int(state.stored.pixels[wrong].sum())
        kind = self._choice.of(state.place.model).kind
        if not_finite or (outside and kind is Kind.PROB):
            return wrong_values_text(not_finite, outside)
        return ""

    def outcome(self) -> Outcome:
        """The states of all predictions, in the order of the rows."""
        for batches in self._batches.values():
            batches.flush()
            for number, sums in batches.images.items():
                self._states[number].tiles = sums
        self._outcome.states = sorted(
            self._states.values(), key=lambda state: state.rank
        )
        return self._outcome


def _scored(
    state: PredictionState, target: NDArray[Any], covered: NDArray[np.bool_] | None
) -> NDArray[Any]:
    """The labels of a block without those of pixels that have no score; counts both."""
    ignored = target < 0 if state.soft else target == IGNORED
    state.ignored += int(np.count_nonzero(ignored))
    if covered is None or covered.all():
        return target
    state.uncovered += valid_pixels(target) - valid_pixels(target, covered)
    fill = SOFT_IGNORED if state.soft else IGNORED
    return np.where(covered, target, target.dtype.type(fill))


def _stored_type(loaded: Loaded, scores: NDArray[Any]) -> np.dtype[Any]:
    """The type of stored numbers; means of integers are held in another one."""
    whole = loaded.dtype.startswith(("bool", "int", "uint"))
    return np.dtype(loaded.dtype) if whole else scores.dtype


def _batches(
    device: str,
    rows: int | None,
    threshold: float,
    logits: bool,
    terms: Sequence[Term],
    *,
    compiled: bool,
) -> TileBatches:
    """What sums tiles: NumPy or Numba on a processor, torch on any other device."""
    if device == "cpu":
        functions = term_functions(terms, np)
        return TileBatches(threshold, logits, functions, compiled=compiled)
    import torch

    from cdstats.score.device_batches import DeviceBatches

    functions = term_functions(terms, torch)
    return DeviceBatches(device, rows, threshold, logits, functions)


def _scaled(
    scores: NDArray[Any], stored: np.dtype[Any], choice: ModelChoice
) -> NDArray[Any]:
    """Floating scores divided by what stands for 1; integers of levels stay."""
    levels = stored.kind != "f" and choice.kind is not Kind.LOGIT
    if choice.scale is None or levels:
        return scores
    return divided(scores, choice.scale)


def _note_range(
    state: PredictionState, scores: NDArray[Any], target: NDArray[Any]
) -> None:
    """Note the lowest and highest score: of a sample, or of all if it is unusual."""
    down, across = (max(1, side // _SAMPLE) for side in scores.shape)
    for part in (np.s_[::down, ::across], np.s_[:, :]):
        shown = scores[part][target[part] != IGNORED]
        shown = shown[np.isfinite(shown)]
        low = float(shown.min(initial=np.inf))
        high = float(shown.max(initial=-np.inf))
        state.low, state.high = min(state.low, low), max(state.high, high)
        state.levels = _joined(state.levels, shown)
        usual = 0 <= low <= high <= 1 and not SIGMOID[0] <= low <= high <= SIGMOID[1]
        if usual and state.levels is None:
            break


def _joined(
    levels: frozenset[str] | None, scores: NDArray[Any]
) -> frozenset[str] | None:
    """The levels seen with those of further scores, as text; None for more than two."""
    if levels is None or not scores.size:
        return levels
    ends = scores.min(), scores.max()
    if not ((scores == ends[0]) | (scores == ends[1])).all():
        return None
    found = frozenset(np.format_float_positional(one, trim="-") for one in ends)
    return few_levels(levels, found)


def _soft_scale(scores: NDArray[Any], stored: str) -> float | None:
    """What integers beside soft targets are divided by; None if nothing says."""
    if scores.size == 0 or (scores.max() <= 1 and scores.min() >= 0):
        return 1.0
    if set(np.unique(scores)) <= {0, 255}:
        return 255.0
    scale = SCALE.get(stored)
    return None if scale is None else float(scale)


def _is_hard(scores: NDArray[Any], target: NDArray[Any]) -> bool:
    """Whether the scores of all valid pixels are 0 or 1."""
    plain = np.isfinite(scores) & (target != 255)
    return bool(((scores == 0) | (scores == 1) | ~plain).all())


def _whole(
    blocks: Sequence[Loaded], size: tuple[int, int]
) -> tuple[NDArray[np.float64], NDArray[np.uint8]]:
    """The scores and labels of an image, put together from its blocks."""
    width, height = size
    scores = np.zeros((height, width))
    labels = np.full((height, width), 255, dtype=np.uint8)
    for block in blocks:
        if block.scores is not None and block.target is not None:
            row, column = block.corner
            down, across = block.scores.shape
            place = slice(row, row + down), slice(column, column + across)
            scores[place], labels[place] = block.scores, block.target
    return scores, labels
