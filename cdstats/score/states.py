"""What scoring keeps of each prediction, before it is decided what its numbers mean.

States are small, add up and travel between processes: which pixels were scored where
and in which order does not change a result.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from cdstats.core.sums import ImageSums
from cdstats.score.kernel import CALIBRATION, COUNTS, SUMS
from cdstats.score.levels import few_levels

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from numpy.typing import NDArray

    from cdstats.core.catalogue import Loss
    from cdstats.core.histogram import LevelCounts
    from cdstats.core.pixel_terms import Term
    from cdstats.core.score_records import Place
    from cdstats.score.levels import StoredCounts
    from cdstats.score.targets import Seen

_OUTSIDE: Final = COUNTS.index("outside")
_PROBS: Final = [SUMS.index("prob_changed_sum"), SUMS.index("false_sum")]


@dataclass
class Accumulated:
    """What the tiles of one image add up to, in float64 and exact integers."""

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

    def image_sums(
        self, terms: Sequence[Term], *, ignored: int, soft: bool = False
    ) -> ImageSums:
        """The sums by their names."""
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


@dataclass(slots=True)
class Whole:
    """What needed the whole image, its numbers taken in one way."""

    values: dict[Loss, float | None] = field(default_factory=dict)
    terms: dict[Term, tuple[float, float]] = field(default_factory=dict)


@dataclass(slots=True)
class PredictionState:
    """One prediction, its pixels read.

    Attributes:
        place: Where it comes from.
        size: Width and height, when they are known.
        reason: Why it failed; empty when it did not.
        dtype: The type of its stored numbers.
        soft: Whether its targets are soft.
        ignored: Pixels left out.
        stored: Counts of each stored value, for integers and float16.
        tiles: The sums of its tiles, for other floating numbers.
        whole: What needed the whole image, by whether integers are taken as labels.
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
        is_jpeg: Whether it was compressed with loss.
        levels: The floating scores of valid pixels as text, while they are at most two;
            None for more.
    """

    place: Place
    size: tuple[int, int] | None
    reason: str = ""
    dtype: str = ""
    soft: bool = False
    ignored: int = 0
    stored: StoredCounts | None = None
    tiles: Accumulated | None = None
    whole: dict[bool, Whole] = field(default_factory=dict)
    bins: StoredCounts | None = None
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
            return bool(self.tiles.counts[_OUTSIDE])
        if self.stored is None or self.stored.dtype != "float16":
            return None
        values = self.stored.values
        return bool((np.isfinite(values) & ((values < 0) | (values > 1))).any())

    @property
    def is_zero(self) -> bool:
        """Whether floating scores that lie in [0, 1] are all 0."""
        if self.tiles is not None:
            return not self.tiles.sums[_PROBS].any()
        return self.stored is not None and not self.stored.values.any()


@dataclass(frozen=True, slots=True)
class PoolKey:
    """Which scores are pooled."""

    model: str
    dtype: str
    as_labels: bool


class LevelPool:
    """The added levels of many images.

    Pools of like size are merged first, so that no level is sorted again for every
    image that follows.

    Example:
        >>> from cdstats.core.histogram import LevelCounts
        >>> pool = LevelPool()
        >>> pool.add(LevelCounts.of(np.array([0.5]), np.array([0.5, 0.25])))
        >>> pool.total.valid
        3
    """

    def __init__(self) -> None:
        self._parts: list[LevelCounts] = []

    def add(self, levels: LevelCounts) -> None:
        """Add the levels of one image, or of another pool."""
        self._parts.append(levels)
        while len(self._parts) > 1 and (
            self._parts[-2].values.size <= 2 * self._parts[-1].values.size
        ):
            self._merge_last()

    def _merge_last(self) -> None:
        last = self._parts.pop()
        self._parts[-1] = self._parts[-1] + last

    @property
    def is_empty(self) -> bool:
        """Whether nothing was added."""
        return not self._parts

    @property
    def total(self) -> LevelCounts:
        """The levels of all; there must be some."""
        while len(self._parts) > 1:
            self._merge_last()
        return self._parts[0]


@dataclass
class Outcome:
    """The states of some predictions in their order, and their pooled levels."""

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

    @property
    def sizes(self) -> list[tuple[int, int]]:
        """Width and height of each prediction whose size is known."""
        return [state.size for state in self.states if state.size is not None]

    def pooled(self, model: str) -> Iterator[tuple[PoolKey, LevelPool]]:
        """The pools of a model."""
        for key, pool in self.pools.items():
            if key.model == model:
                yield key, pool
