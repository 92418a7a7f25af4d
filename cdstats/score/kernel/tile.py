"""Shared parts of the passes: tiles, their sums, options, and threads."""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Final, NamedTuple, TypeVar

from cdstats.core.pixel_terms import least_changed
from cdstats.core.sums import BINS

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from types import ModuleType

    from cdstats.core.pixel_terms import Array

    TermFunction = Callable[..., Any]

TILE: Final = 1 << 16
"""Pixels of a tile, which fits the cache of a CPU."""
RUN: Final = 128
"""Pixels of a run, which is summed in the precision of the scores."""
CHANGED, UNCHANGED, IGNORED = 1, 0, 255
LOG_FLOOR: Final = -100.0
"""Lower bound of logarithms, as in ``torch.nn.BCELoss``."""

CALIBRATION: Final = tuple(f"calibration_{number}" for number in range(BINS))
"""Columns of `SUMS` with Σ (p - y) of the pixels in each bin of probability."""
SUMS: Final = (
    *("ce_changed_sum", "ce_unchanged_sum", "missed_sum", "missed_sq_sum"),
    *("prob_changed_sum", "prob_sq_changed_sum", "false_sum", "false_sq_sum"),
    *("target_sq_sum", "changed", *CALIBRATION),
)
"""The columns of `TileSums.sums`."""
COUNTS: Final = (
    *("valid", "tp", "fp", "fn", "tn", "saturated_wrong"),
    *("not_finite", "outside"),
)
"""The columns of `TileSums.counts`."""
OUTSIDE: Final = COUNTS.index("outside")


@dataclass(frozen=True)
class TileSums:
    """The sums of tiles, as NumPy arrays or tensors; they add up to sums of images.

    Attributes:
        sums: The columns named in `SUMS`; float64, ``(T, 25)``. ``changed`` is the sum
            of the targets, an integer for labels.
        counts: The columns named in `COUNTS`; int64, ``(T, 8)``. ``not_finite`` and
            ``outside`` count valid scores that are not finite or outside [0, 1]; if
            there are any, the sums are meaningless.
        terms: Sums over changed and over unchanged pixels of each term; float64,
            ``(T, K, 2)``.
    """

    sums: Any
    counts: Any
    terms: Any

    def part(self, rows: slice) -> TileSums:
        """A view of some of the tiles."""
        return TileSums(self.sums[rows], self.counts[rows], self.terms[rows])


@dataclass(frozen=True)
class Options:
    """The arguments of a pass."""

    threshold: float
    logits: bool
    terms: tuple[TermFunction, ...]

    def cut(self, dtype: Any) -> float:  # noqa: ANN401 - of NumPy or of torch
        """The lowest float32 or float64 score that is predicted changed."""
        name = str(dtype).removeprefix("torch.")
        return least_changed(self.threshold, name, logits=self.logits)


class Way(NamedTuple):
    """The functions of NumPy or torch that `any_sums` needs.

    ``total`` sums the values of each tile in float64, and ``binned`` sums them by bin
    of probability. ``scores`` returns p, 1 - p and their logarithms. ``precise``
    returns p and 1 - p of logits, with 1 - p precise where p rounds to 1.
    """

    xp: ModuleType
    total: Callable[[Array], Any]
    count: Callable[[Array], Any]
    scores: Callable[[Array, bool], Sequence[Array]]
    binned: Callable[[Array, Array], Any]
    precise: Callable[[Array], tuple[Array, Array]]


def any_sums(
    scores: Array,
    target: Array,
    options: Options,
    dtype: Any,  # noqa: ANN401 - of NumPy or of torch
    way: Way,
) -> tuple[list[Any], Any, list[Any], list[list[Any]]]:
    """The sums for any input: ignored pixels, soft targets, logits, invalid values.

    Returns:
        The sums without bins, the sums by bin, the counts, and a pair for each term.
    """
    xp, total, count = way.xp, way.total, way.count
    if "float" in str(target.dtype):
        soft = xp.asarray(target, dtype=dtype)
        positive = xp.where(soft >= 0, soft, 0)
        negative = xp.where(soft >= 0, 1 - soft, 0)
    else:
        positive = xp.asarray(target == CHANGED, dtype=dtype)
        negative = xp.asarray(target == UNCHANGED, dtype=dtype)
    valid = positive + negative > 0
    values = xp.asarray(scores, dtype=dtype)
    finite = xp.isfinite(values)
    # where instead of a product, because NaN at ignored pixels times 0 is NaN.
    values = xp.where(valid & finite, values, 0)
    changed, unchanged = positive == 1, negative == 1
    probs, rest, *logs = way.scores(values, options.logits)
    logs = [xp.clip(one, LOG_FLOOR, None) for one in logs]
    if options.logits:
        wrong = (logs[0] <= LOG_FLOOR) & changed | (logs[1] <= LOG_FLOOR) & unchanged
    else:
        wrong = (probs == 0) & changed | (probs == 1) & unchanged
    hit = values >= options.cut(dtype)
    tp, fp = count(hit & changed), count(hit & unchanged)
    counts = [
        *(count(valid), tp, fp, count(changed) - tp, count(unchanged) - fp),
        *(
            count(wrong),
            count(valid & ~finite),
            count(valid & ((probs < 0) | (probs > 1))),
        ),
    ]
    missed, given, false = rest * positive, probs * positive, probs * negative
    sums = [
        *(-logs[0] * positive, -logs[1] * negative, missed, rest * missed),
        *(given, probs * given, false, probs * false, positive * positive, positive),
    ]
    known = probs, None
    if options.logits and options.terms:
        known = way.precise(values)
    # 0 where the weight is 0, even if the value is NaN or infinite.
    pairs = [
        [
            total(xp.where(weight > 0, term(known[0], one, known[1]) * weight, 0))
            for one, weight in ((True, positive), (False, negative))
        ]
        for term in options.terms
    ]
    return (
        [total(one) for one in sums],
        way.binned(probs, false - missed),
        counts,
        pairs,
    )


Result = TypeVar("Result")


@lru_cache(maxsize=1)
def _threads() -> ThreadPoolExecutor:
    return ThreadPoolExecutor(os.cpu_count() or 1, "cdstats-loop")


def in_threads(
    call: Callable[[slice], Result],
    size: int,
    threads: int,
    *,
    least: int = 1,
    grain: int = 1,
) -> list[Result]:
    """The results of a function for parts of ``range(size)``, in their order."""
    step = -(-max(-(-size // threads), least) // grain) * grain
    parts = [slice(at, min(at + step, size)) for at in range(0, size, step)]
    if not parts:
        return []
    # The calling thread computes the last part, which saves waking a thread.
    others = [_threads().submit(call, part) for part in parts[:-1]]
    last = call(parts[-1])
    return [*(other.result() for other in others), last]
