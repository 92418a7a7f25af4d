"""What the passes share: tiles, their sums, and how rows are summed."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Final

import torch
from torch import Tensor

from cdstats.core.sums import BINS

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    TermFunction = Callable[[Tensor, bool], Tensor]

TILE: Final = 1 << 16
"""Pixels of a tile: few enough for a processor's cache."""
RUN: Final = 128
"""Pixels that are summed in the precision of the scores."""
FUSED_TYPES: Final = (torch.float32, torch.float16, torch.bfloat16)
"""Types of scores that a fused pass computes in float32."""
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


@dataclass(frozen=True)
class TileSums:
    """The sums of tiles; rows of one image add up to the image's.

    Attributes:
        sums: The columns named in `SUMS`; float64, ``(T, 25)``. ``changed`` is the sum
            of the targets: whole for labels.
        counts: The columns named in `COUNTS`; int64, ``(T, 8)``. ``not_finite`` and
            ``outside`` count valid scores that are no numbers or outside [0, 1];
            where there are any, the sums mean nothing.
        terms: Sums over changed and over unchanged pixels of each term; float64,
            ``(T, K, 2)``.
    """

    sums: Tensor
    counts: Tensor
    terms: Tensor


@dataclass(frozen=True)
class Options:
    """What `tile_sums` was asked for."""

    threshold: float
    logits: bool
    terms: tuple[TermFunction, ...]
    compiled: bool = False

    def cut(self, dtype: torch.dtype) -> float:
        """The least number of a type that is at least the threshold.

        A number compared with the rounded threshold would be called changed below it.
        """
        return _least(self.threshold, dtype)


@lru_cache(maxsize=64)
def _least(threshold: float, dtype: torch.dtype) -> float:
    exact = torch.tensor(threshold, dtype=torch.float64, device="cpu")
    rounded = exact.to(dtype)
    if rounded.double() < exact:
        rounded = torch.nextafter(rounded, torch.full_like(rounded, torch.inf))
    return float(rounded)


def together(parts: Sequence[TileSums]) -> TileSums:
    """Rows of several calls as rows of one."""
    return TileSums(
        torch.cat([part.sums for part in parts]),
        torch.cat([part.counts for part in parts]),
        torch.cat([part.terms for part in parts]),
    )


def working_type(dtype: torch.dtype, device: torch.device) -> torch.dtype:
    """The type in which a tile is computed: float64 scores keep theirs."""
    wide = dtype is torch.float64 and device.type != "mps"
    return torch.float64 if wide else torch.float32


def wide(values: Tensor) -> torch.dtype:
    """The type in which sums are carried on, where the device has it."""
    return torch.float32 if values.device.type == "mps" else torch.float64


def total(values: Tensor) -> Tensor:
    """The sum of each tile, carried on in float64 where the device has it.

    Short runs are summed first, so that neither the number of threads nor the length
    of a row changes how a number is rounded.
    """
    return _short_runs(values).to(wide(values)).sum(1)


def _short_runs(values: Tensor) -> Tensor:
    """The sums of short runs of each row; what is left over is a run of its own."""
    runs = values.shape[1] // RUN * RUN
    parts = values[:, :runs].reshape(len(values), runs // RUN, RUN).sum(2)
    if runs == values.shape[1]:
        return parts
    return torch.cat([parts, values[:, runs:].sum(1, keepdim=True)], dim=1)


def bins_of(probs: Tensor) -> Tensor:
    """The bin of each probability; see `cdstats.core.sums.bins_of`."""
    return (probs * BINS).int().clamp_(0, BINS - 1)


def binned(probs: Tensor, values: Tensor) -> Tensor:
    """The values of each row added up by the bin of their probability; ``(T, 15)``."""
    bins = bins_of(probs)
    if probs.device.type != "cpu":
        # Added in any order, floating numbers would give another sum each time.
        each = [total(torch.where(bins == b, values, 0)) for b in range(BINS)]
        return torch.stack(each, dim=1)
    rows = torch.arange(len(probs), dtype=torch.int32, device=probs.device)
    place = bins.add_(rows.unsqueeze(1), alpha=BINS).flatten()
    held = torch.bincount(place, values.double().flatten(), len(probs) * BINS)
    return held.view(-1, BINS)


def term_sums(
    probs: Tensor, positive: Tensor, negative: Tensor, terms: Sequence[TermFunction]
) -> Tensor:
    """The sums of each term over changed and over unchanged pixels."""
    if not terms:
        return probs.new_zeros((len(probs), 0, 2), dtype=wide(probs))
    pairs = [
        torch.stack(
            [
                total(_weighed(term(probs, True), positive)),
                total(_weighed(term(probs, False), negative)),
            ]
        )
        for term in terms
    ]
    return torch.stack(pairs).permute(2, 0, 1)


def _weighed(values: Tensor, weights: Tensor) -> Tensor:
    """Values times weights; nothing where the weight is 0, whatever the value."""
    return torch.where(weights > 0, values * weights, 0)


def saturated_wrong(probs: Tensor, changed: Tensor, unchanged: Tensor) -> Tensor:
    """Pixels whose probability is exactly 0 or 1, and wrong."""
    wrong = ((probs == 0) & (changed == 1)) | ((probs == 1) & (unchanged == 1))
    return wrong.sum(1)
