"""What the passes share: tiles, their sums, and what is asked for."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from cdstats.core.pixel_terms import least_changed
from cdstats.core.sums import BINS

if TYPE_CHECKING:
    from collections.abc import Callable

    TermFunction = Callable[..., Any]

TILE: Final = 1 << 16
"""Pixels of a tile: few enough for a processor's cache."""
RUN: Final = 128
"""Pixels that are summed in the precision of the scores."""
CHANGED, UNCHANGED, IGNORED = 1, 0, 255
LOG_FLOOR: Final = -100.0
"""The least value of a logarithm, as in ``torch.nn.BCELoss``."""

CALIBRATION: Final = tuple(f"calibration_{number}" for number in range(BINS))
"""The columns of `SUMS` that hold Σ (p - y) of the pixels of a bin of probability."""
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
    """The sums of tiles; rows of one image add up to the image's.

    They are arrays of NumPy, or tensors where a device computes.

    Attributes:
        sums: The columns named in `SUMS`; float64, ``(T, 25)``. ``changed`` is the sum
            of the targets: whole for labels.
        counts: The columns named in `COUNTS`; int64, ``(T, 8)``. ``not_finite`` and
            ``outside`` count valid scores that are no numbers or outside [0, 1];
            where there are any, the sums mean nothing.
        terms: Sums over changed and over unchanged pixels of each term; float64,
            ``(T, K, 2)``.
    """

    sums: Any
    counts: Any
    terms: Any

    def part(self, rows: slice) -> TileSums:
        """Some of the tiles, in the same memory."""
        return TileSums(self.sums[rows], self.counts[rows], self.terms[rows])


@dataclass(frozen=True)
class Options:
    """What was asked for: the arguments of a pass."""

    threshold: float
    logits: bool
    terms: tuple[TermFunction, ...]

    def cut(self, dtype: Any) -> float:  # noqa: ANN401 - of NumPy or of torch
        """The least float32 or float64 score that is predicted changed."""
        name = str(dtype).removeprefix("torch.")
        return least_changed(self.threshold, name, logits=self.logits)
