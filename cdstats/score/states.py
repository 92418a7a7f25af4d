"""What scoring keeps of each prediction, before it is decided what its numbers mean.

States are small, add up and travel between processes: which pixels were scored where
and in which order does not change a result.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

import numpy as np

from cdstats.core.errors import counted
from cdstats.io.predictions import PALETTE
from cdstats.score.levels import few_levels, plain_counts
from cdstats.score.ranks import LevelPool

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from cdstats.core.catalogue import Loss
    from cdstats.core.histogram import LevelCounts
    from cdstats.core.pixel_terms import Term
    from cdstats.core.score_records import Place
    from cdstats.score.batching import Accumulated
    from cdstats.score.targets import Seen

    PoolKey = tuple[str, str, bool]
    """A model, the type of its stored numbers, and whether they are labels."""
    Values = dict[Loss, float | None]
    Terms = dict[Term, tuple[float, float]]

SIGMOID: Final = (0.5, 0.7311)
"""Where a sigmoid puts probabilities."""


@dataclass(slots=True)
class PredictionState:
    """One prediction, its pixels read.

    Attributes:
        reason: Why it failed; empty when it did not.
        dtype: The type of its stored numbers.
        ignored: Pixels left out.
        stored: Counts of each stored value, for integers and float16.
        tiles: The sums of its tiles, for other floating numbers.
        whole: The losses of sorted scores and the terms of positions, by whether
            integers are taken as labels.
        bins: Counts of each code of ranks, for other floating numbers, when asked for;
            see `cdstats.score.ranks`.
        rank: The place of its pair in the order of the rows.
        uncovered: Unchanged and changed pixels that have no score.
        grid: What was done about georeferences.
        difference: How its grid differs from that of its mask, where that is ignored.
        cut: Crops that were cut at an edge of the mask.
        low: About the lowest floating score of a valid pixel; exact where a sample
            lies outside [0, 1], or where a sigmoid puts all.
        high: The highest one, likewise.
        levels: The floating scores of valid pixels as text, while they are at most two;
            None for more.
    """

    place: Place
    size: tuple[int, int] | None
    reason: str = ""
    dtype: str = ""
    soft: bool = False
    ignored: int = 0
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
    levels: frozenset[str] | None = frozenset()

    @property
    def number_type(self) -> str:
        """The type of its numbers, the colours of a palette as grey levels."""
        return "uint8" if self.dtype == PALETTE else self.dtype

    @property
    def numbers(self) -> LevelCounts:
        """Counts of each stored value, the colours of a palette as grey levels."""
        if self.stored is None:
            raise ValueError("expected a prediction that is counted by level")
        return plain_counts(self.stored, self.dtype)

    @property
    def score_levels(self) -> frozenset[str] | None:
        """Its floating scores as text, while they are at most two; None for more."""
        if self.stored is None:
            return self.levels
        held = self.stored.values[:3].tolist()
        return few_levels(frozenset(), frozenset(f"{one:g}" for one in held))

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
    def is_zero(self) -> bool:
        """Whether floating scores that lie in [0, 1] are all 0."""
        if self.tiles is not None:
            return not self.tiles.prob_sum
        return self.stored is not None and not self.stored.values.any()

    def bad_numbers(self, *, kind_is_prob: bool) -> str:
        """What is wrong with floating scores whatever they are; empty for nothing."""
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
    """Why floating scores cannot be probabilities."""
    if not_finite:
        return f"is NaN or infinite on {counted(not_finite, 'valid pixel')}"
    return f"is outside [0, 1] on {counted(outside, 'valid pixel')}"


@dataclass
class Outcome:
    """The states of some predictions in their order, and their pooled levels.

    Attributes:
        pools: The levels that losses of sorted scores need.
        devices: What computed.
        seen: The masks that were counted, with the place of their pair.
        versions: The version of each file of a store that was read.
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
        """Add the predictions that follow."""
        self.states += other.states
        self.devices += other.devices
        self.seen += other.seen
        self.versions |= other.versions
        # Stable: the images of one pair keep their order.
        self.states.sort(key=lambda state: state.rank)
        for key, pool in other.pools.items():
            self.pool(key, pool.total)
