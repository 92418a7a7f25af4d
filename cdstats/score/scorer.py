"""From blocks of scores and labels to the state of each prediction.

States are computed before the meaning of the stored numbers is decided. They are small,
additive and can be sent between processes, so results do not depend on the order or the
process in which pixels are scored.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

import numpy as np

from cdstats.core.catalogue import level_value
from cdstats.core.errors import DataError, counted, one_file
from cdstats.core.histogram import LevelCounts
from cdstats.core.label_hash import total_hash
from cdstats.io.predictions import PALETTE
from cdstats.io.targets import SOFT_IGNORED
from cdstats.score.batching import TileBatches, term_functions
from cdstats.score.choices import Kind
from cdstats.score.kernel import IGNORED
from cdstats.score.levels import (
    IN_ARRAYS,
    SCALE,
    LevelPool,
    label_scale,
    plain_numbers,
)
from cdstats.score.scenes import valid_pixels

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from cdstats.core.catalogue import Loss
    from cdstats.core.metrics import Confusion
    from cdstats.core.pixel_terms import Array, Term
    from cdstats.core.score_records import Place
    from cdstats.core.sums import ImageSums
    from cdstats.score.batching import Accumulated
    from cdstats.score.curves import Ranked
    from cdstats.score.levels import Numbers
    from cdstats.score.targets import Seen

    PoolKey = tuple[str, str, bool]
    """A model, the type of its stored numbers, and whether they are labels."""
    Values = dict[Loss, float | None]
    Terms = dict[Term, tuple[float, float]]
    from collections.abc import Callable

    from cdstats.score.choices import ModelChoice, Needs, PredictionChoice
    from cdstats.score.scenes import Loaded

    Collect = Callable[[Place, Array, Array], None]

SIGMOID: Final = (0.5, 0.7311)
"""The range of the sigmoid of a probability."""


@dataclass(slots=True)
class PredictionState:
    """The state of one prediction after its pixels were read.

    Integers and float16 have counts of each stored value (``stored``). Other floating
    numbers have the sums of their tiles and, if requested, counts of each code of ranks
    (``bins``). ``whole`` holds losses of sorted scores and terms of positions, keyed by
    whether integers are taken as labels.

    Attributes:
        rank: Number of its pair in the order of the rows.
        labels: Hash of the labels that have scores.
        uncovered: Unchanged and changed pixels without a score.
        difference: Difference between its grid and the grid of its mask, if ignored.
        cut: Number of crops that were cut at an edge of the mask.
        low: Approximate lowest floating score of valid pixels; exact if a sample is
            outside [0, 1], or all of it in the range of a double sigmoid. ``high``
            likewise.
        greys: States with two classes of grey values as labels each; see `_PARTS`.
        sums: Sums after the meaning of the numbers is decided. Likewise ``values``,
            losses of sorted scores; ``ranked``, pixels by rank; and ``by_rules``,
            counts with the mask binarised by each common rule, if requested.
    """

    place: Place
    size: tuple[int, int] | None
    reason: str = ""
    dtype: str = ""
    soft: bool = False
    ignored: int = 0
    labels: int | None = 0
    stored: LevelCounts | None = None
    tiles: Accumulated | None = None
    whole: dict[bool, tuple[Values, Terms]] = field(default_factory=dict)
    bins: LevelCounts | None = None
    rank: int = 0
    uncovered: NDArray[np.int64] = field(
        default_factory=lambda: np.zeros(2, dtype=np.int64)
    )
    grid: str = "none"
    difference: str = ""
    cut: int = 0
    low: float = np.inf
    high: float = -np.inf
    is_jpeg: bool = False
    greys: dict[int, PredictionState] = field(default_factory=dict)
    sums: ImageSums | None = None
    values: Values = field(default_factory=dict)
    ranked: Ranked | None = None
    by_rules: tuple[Confusion, ...] = ()

    @property
    def number_type(self) -> str:
        """The type of the numbers; colours of a palette count as grey levels."""
        return "uint8" if self.dtype == PALETTE else self.dtype

    @property
    def numbers(self) -> LevelCounts:
        """Counts of each stored value; colours of a palette count as grey levels."""
        if self.stored is None:
            raise ValueError("expected a prediction that is counted by level")
        if self.dtype != PALETTE:
            return self.stored
        levels = plain_numbers(self.stored.values, PALETTE)
        return LevelCounts.grouped(levels, self.stored.changed, self.stored.unchanged)

    @property
    def exceeds(self) -> bool | None:
        """Whether a floating score is outside [0, 1]; None for integers."""
        if self.tiles is not None:
            return self.tiles.count("outside") > 0
        if self.stored is None or self.dtype != "float16":
            return None
        values = self.stored.values
        return bool((np.isfinite(values) & ((values < 0) | (values > 1))).any())

    @property
    def ends(self) -> tuple[float, float]:
        """The lowest and the highest floating score."""
        if self.stored is None:
            return self.low, self.high
        shown = self.stored.values[np.isfinite(self.stored.values)]
        return float(shown.min(initial=np.inf)), float(shown.max(initial=-np.inf))

    @property
    def is_zero(self) -> bool:
        """Whether all floating scores are 0; they must be in [0, 1]."""
        if self.tiles is not None:
            return not self.tiles.prob_sum
        return self.stored is not None and not self.stored.values.any()

    def bad_numbers(self, *, kind_is_prob: bool) -> str:
        """Why floating scores are invalid for every kind; empty if they are valid."""
        not_finite = outside = 0
        if self.tiles is not None:
            not_finite, outside = map(self.tiles.count, ("not_finite", "outside"))
        elif self.stored is not None and self.dtype == "float16":
            wrong = ~np.isfinite(self.stored.values)
            not_finite = int(self.stored.pixels[wrong].sum())
        if not_finite or (outside and kind_is_prob):
            return wrong_values_text(not_finite, outside)
        return ""


def wrong_values_text(not_finite: int, outside: int) -> str:
    """The reason why floating scores cannot be probabilities."""
    if not_finite:
        return f"is NaN or infinite on {counted(not_finite, 'valid pixel')}"
    return f"is outside [0, 1] on {counted(outside, 'valid pixel')}"


@dataclass
class Outcome:
    """The states of predictions in row order, and their pooled levels.

    ``seen`` are the counted masks with the rank of their pair; ``versions`` are the
    versions of files that were read from a store.
    """

    states: list[PredictionState] = field(default_factory=list)
    pools: dict[PoolKey, LevelPool] = field(default_factory=dict)
    devices: list[str] = field(default_factory=list)
    seen: list[tuple[int, Seen]] = field(default_factory=list)
    versions: dict[str, str] = field(default_factory=dict)

    def pool(self, key: PoolKey, levels: LevelCounts) -> None:
        """Add levels to a pool."""
        self.pools.setdefault(key, LevelPool()).add(levels)

    def extend(self, other: Outcome) -> None:
        """Add the predictions of another outcome."""
        self.states += other.states
        self.devices += other.devices
        self.seen += other.seen
        self.versions |= other.versions
        # The sort is stable, so the images of a pair keep their order.
        self.states.sort(key=lambda state: state.rank)
        for key, pool in other.pools.items():
            self.pool(key, pool.total)


_PARTS: Final = np.array(
    [[0, IGNORED, IGNORED, 1], [IGNORED, 0, 1, IGNORED]], dtype=np.uint8
)
"""Two labellings of the four grey classes, which together give counts of each class."""
_SAMPLE: Final = 64
"""Approximate number of rows and columns of a block that are sampled."""


class Scorer:
    """Computes the state of each prediction from blocks in row order.

    Floating scores are summed on the device. Integers and float16 are counted by level,
    and evaluated when their meaning is known. ``batch`` is the number of tiles of a
    batch on a device; None adapts it to the memory. With ``collect``, floating scores
    and labels of each block are only passed to this function.
    """

    def __init__(
        self,
        needs: Needs,
        device: str,
        choice: PredictionChoice,
        batch: int | None,
        *,
        compiled: bool = False,
        collect: Collect | None = None,
    ) -> None:
        self._needs, self._choice, self._compiled = needs, choice, compiled
        self._collect = collect
        self._device, self._batch = device, batch
        self._batches: dict[tuple[float, bool, bool], TileBatches] = {}
        self._states: dict[int, PredictionState] = {}
        self._greys: dict[int, PredictionState] = {}
        self._held: dict[int, list[tuple[tuple[int, int], Array, Array]]] = {}
        self._last = -1
        self._outcome = Outcome()

    def add(self, loaded: Loaded) -> None:
        """Add one block."""
        number = loaded.number
        state = self._states.setdefault(
            number, PredictionState(loaded.place, loaded.size, rank=loaded.rank)
        )
        state.reason = state.reason or loaded.reason
        state.size, state.grid = loaded.size, loaded.grid
        state.difference, state.cut = loaded.difference, loaded.cut
        if state.reason or loaded.scores is None or loaded.target is None:
            return
        state.labels = total_hash((state.labels, loaded.labels))
        if number != self._last:
            # Crops of a mask alternate, so the tile of the previous one is completed.
            self._end(self._last)
            self._last = number
        choice = self._choice.of(state.place.model)
        try:
            with one_file():
                summed = self._take(state, loaded, loaded.scores, loaded.target, choice)
        except DataError as error:
            state.reason = str(error)
            return
        # Outside `one_file`, because a batch contains tiles of several images.
        if summed is not None:
            self._batches_of(choice, summed[0]).add(number, *summed)
        if loaded.greys is not None and self._collect is None:
            self._take_greys(state, loaded, choice)

    def _take_greys(
        self, state: PredictionState, loaded: Loaded, choice: ModelChoice
    ) -> None:
        """Add the same block with each pair of grey classes as labels."""
        if loaded.greys is None or loaded.scores is None:
            return
        for part, table in enumerate(_PARTS):
            target = table[loaded.greys]
            target[loaded.target == IGNORED] = IGNORED
            if part and (target == IGNORED).all():
                continue
            key = -1 - len(_PARTS) * loaded.number - part
            own = self._greys.setdefault(
                key, PredictionState(loaded.place, loaded.size, rank=loaded.rank)
            )
            state.greys[part] = own
            summed = self._take(own, loaded, loaded.scores, target, choice, part=True)
            if summed is not None:
                self._batches_of(choice, summed[0]).add(key, *summed)

    def _batches_of(self, choice: ModelChoice, scores: Array) -> TileBatches:
        """The batches in which the floating scores of a model are summed."""
        how = choice.threshold, choice.kind is Kind.LOGIT
        lies_there = not isinstance(scores, np.ndarray)
        key = (*how, lies_there)
        if key not in self._batches:
            terms, device = self._needs.terms, self._device
            if device == "cpu" and not lies_there:
                made = term_functions(terms, np)
                found = TileBatches(*how, made, compiled=self._compiled)
            else:
                import torch

                from cdstats.score.device_batches import DeviceBatches, ResidentBatches

                made = term_functions(terms, torch)
                if lies_there:
                    found = ResidentBatches(*how, made)
                else:
                    found = DeviceBatches(device, self._batch, *how, made)
            self._batches[key] = found
        return self._batches[key]

    def _take(
        self,
        state: PredictionState,
        loaded: Loaded,
        scores: Array,
        target: Array,
        choice: ModelChoice,
        *,
        part: bool = False,
    ) -> tuple[Array, Array] | None:
        """Count the levels of a block, or return scores and labels to be summed.

        For a ``part`` of the labels, neither blocks nor ranges are recorded.
        """
        way = _numbers_of(scores)
        state.dtype, state.soft = loaded.dtype, way.dtype(target) != np.uint8
        state.is_jpeg |= loaded.is_jpeg
        raw, logits = way.native(scores), choice.kind is Kind.LOGIT
        if loaded.dtype == PALETTE and raw.dtype.kind == "f":
            raise DataError(
                "has a palette, whose colours cannot be averaged; use --overlap first"
            )
        scores = plain_numbers(raw, loaded.dtype)
        # The stored type, because means of integers have a floating type here.
        whole = loaded.dtype.startswith(("bool", "int", "uint"))
        stored = np.dtype(loaded.dtype) if whole else way.dtype(scores)
        if choice.scale is not None and (stored.kind == "f" or logits):
            scores = way.divided(scores, choice.scale)
            stored = stored if whole else way.dtype(scores)
        ignored = target < 0 if state.soft else target == IGNORED
        state.ignored += way.count(ignored)
        if loaded.covered is not None and not loaded.covered.all():
            state.uncovered += valid_pixels(target)
            state.uncovered -= valid_pixels(target, loaded.covered)
            fill = target.dtype.type(SOFT_IGNORED if state.soft else IGNORED)
            target = np.where(loaded.covered, target, fill)
        if logits and way.dtype(scores).kind != "f":
            held = way.dtype(scores)
            raise DataError(f"holds {held}; expected floating-point logits")
        by_level = stored.kind in "bui" or (stored == np.float16 and not logits)
        if by_level and not state.soft:
            if self._collect:
                return None
            found = way.stored(raw, target, self._compiled)
            state.stored = found if state.stored is None else state.stored + found
            if not part:
                self._keep(loaded, scores, target)
            return None
        if stored.kind != "f":
            scale = choice.scale or _soft_scale(scores, stored.name)
            if scale is None:
                raise DataError(
                    f"holds {stored}; with soft targets expected floating "
                    "probabilities, or their divisor as --scale"
                )
            scores = way.divided(way.cast(scores, "float64"), scale)
        elif choice.kind is Kind.HARD:
            plain = (abs(scores) < np.inf) & (target != IGNORED)
            if not ((scores == 0) | (scores == 1) | ~plain).all():
                raise DataError("expected only 0 and 1 for --kind hard")
        if self._collect:
            self._collect(state.place, scores, target)
            return None
        if state.soft:
            return way.cast(scores, "float64"), target
        if not part:
            self._keep(loaded, scores, target)
        if stored == np.float16:
            scores = way.cast(scores, "float32")
        if part:
            return scores, target
        self._bin(state, scores, target, logits=logits)
        _note_range(state, scores, target)
        return scores, target

    def _keep(self, loaded: Loaded, scores: Array, target: Array) -> None:
        """Keep a block if the whole image is needed."""
        if self._needs.whole:
            held = self._held.setdefault(loaded.number, [])
            one = _numbers_of(scores).on_host
            held.append((loaded.corner, one(scores), one(target)))

    def _bin(
        self, state: PredictionState, scores: Array, target: Array, *, logits: bool
    ) -> None:
        """Count the scores of a block by the code of their rank, if requested."""
        if not self._needs.bins or 0 in scores.shape:
            return
        way = _numbers_of(scores)
        found = way.stored(way.codes(scores, logits), target, self._compiled)
        state.bins = found if state.bins is None else state.bins + found

    def finish(self, number: int) -> None:
        """Complete a prediction after its last block."""
        state = self._states[number]
        self._end(number)
        held = self._held.pop(number, [])
        if not held or state.reason:
            return
        try:
            with one_file():
                width, height = state.size or (0, 0)
                scores = np.zeros((height, width))
                labels = np.full((height, width), IGNORED, dtype=np.uint8)
                for (row, column), part, own in held:
                    down, across = part.shape
                    place = np.s_[row : row + down, column : column + across]
                    scores[place], labels[place] = part, own
                choice = self._choice.of(state.place.model)
                for as_labels, scale in _scales_of(state, choice).items():
                    self._complete(state, scores / scale, labels, as_labels)
        except DataError as error:
            state.reason = str(error)

    def _end(self, number: int) -> None:
        """Compute the last, incomplete tile of a prediction."""
        for batches in self._batches.values():
            batches.end(number)
            for part in range(len(_PARTS) if number >= 0 and self._greys else 0):
                batches.end(-1 - len(_PARTS) * number - part)

    def _complete(
        self,
        state: PredictionState,
        scores: NDArray[np.float64],
        labels: NDArray[np.uint8],
        as_labels: bool,
    ) -> None:
        """Compute the losses and terms that need the whole image."""
        shown = scores[labels != IGNORED]
        inside = (shown >= 0) & (shown <= 1)
        logits = self._choice.of(state.place.model).kind is Kind.LOGIT
        if not (np.isfinite(shown) if logits else inside).all():
            return
        values, terms = state.whole.setdefault(as_labels, ({}, {}))
        if self._needs.positions:
            # This module imports SciPy.
            from cdstats.score.distances import position_sums
        for term in self._needs.positions:
            terms[term] = position_sums(term, scores, labels, logits=logits)
        ordered = [o for o in self._needs.levels if logits or not o.entry.needs_logits]
        if ordered:
            parts = (scores[labels == one] for one in (1, 0))
            levels = LevelCounts.of(*parts, logits=logits)
            values |= {one: level_value(one, levels) for one in ordered}
            # This comes last, because a failed prediction must not enter the pool.
            self._outcome.pool((state.place.model, state.dtype, as_labels), levels)

    def failure(self, number: int) -> str:
        """Why a finished prediction fails regardless of the others; empty if not."""
        state = self._states[number]
        choice, reason = self._choice.of(state.place.model), state.reason
        if not reason:
            for batches in self._batches.values():
                batches.flush()
                state.tiles = batches.images.get(number, state.tiles)
            reason = state.bad_numbers(kind_is_prob=choice.kind is Kind.PROB)
        name = state.place.pred or state.place.target
        return f"{name}: {reason}" if reason else ""

    def outcome(self) -> Outcome:
        """The states of all predictions, in the order of the rows."""
        for batches in self._batches.values():
            batches.flush()
            for number, sums in batches.images.items():
                (self._states if number >= 0 else self._greys)[number].tiles = sums
        states = sorted(self._states.values(), key=lambda state: state.rank)
        self._outcome.states = states
        return self._outcome


def _numbers_of(scores: Array) -> Numbers:
    """The operations for arrays or for GPU tensors."""
    if isinstance(scores, np.ndarray):
        return IN_ARRAYS
    from cdstats.score.device_batches import ON_DEVICE

    return ON_DEVICE


def _scales_of(state: PredictionState, choice: ModelChoice) -> dict[bool, float]:
    """Possible divisors of the stored numbers as labels (True) and as scores (False).

    Which of the two applies is known only after all predictions are read; impossible
    meanings are omitted.
    """
    if state.stored is None:
        return {False: 1.0}
    if choice.scale is not None and choice.kind is not Kind.LOGIT:
        return {False: choice.scale}
    if state.dtype == "float16":
        return {False: 1.0}
    if state.dtype == "bool":
        return {True: 1.0, False: 1.0}
    if choice.rule is not None:
        return {True: 1.0}
    scales = {True: label_scale(state.numbers), False: SCALE.get(state.number_type)}
    if choice.kind is not None:
        del scales[choice.kind is not Kind.HARD]
    return {labels: float(scale) for labels, scale in scales.items() if scale}


def _note_range(state: PredictionState, scores: Array, target: Array) -> None:
    """Record the lowest and highest score of a sample, or of all if it is unusual."""
    down, across = (max(1, side // _SAMPLE) for side in scores.shape)
    for part in (np.s_[::down, ::across], np.s_[:, :]):
        shown = scores[part][target[part] != IGNORED]
        shown = shown[abs(shown) < np.inf]
        low = float(shown.min()) if len(shown) else np.inf
        high = float(shown.max()) if len(shown) else -np.inf
        state.low, state.high = min(state.low, low), max(state.high, high)
        if 0 <= low <= high <= 1 and not SIGMOID[0] <= low <= high <= SIGMOID[1]:
            break


def _soft_scale(scores: Array, stored: str) -> float | None:
    """The divisor of integer scores with soft targets; None if it is unknown."""
    if 0 in scores.shape or (scores.max() <= 1 and scores.min() >= 0):
        return 1.0
    if ((scores == 0) | (scores == 255)).all():
        return 255.0
    return SCALE.get(stored)
