"""The pass over pixels in torch, on a GPU, or on the CPU for comparison."""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING, Final

import torch
from torch import Tensor
from torch.nn.functional import logsigmoid

from cdstats.core.sums import BINS
from cdstats.score.kernel.tile import (
    RUN,
    TILE,
    Options,
    TileSums,
    Way,
    any_sums,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from cdstats.score.kernel.tile import TermFunction

    Pass = Callable[[Tensor, Tensor, Options], TileSums]

_DEVICE_PIXELS: Final = TILE << 8
"""Pixels computed at a time."""
_FUSED_TYPES: Final = (torch.float32, torch.float16, torch.bfloat16)
"""Types of scores that the fused pass computes in float32."""


def tensor_sums(
    scores: Tensor,
    target: Tensor,
    *,
    threshold: float = 0.5,
    logits: bool = False,
    terms: Sequence[TermFunction] = (),
) -> TileSums:
    """Sum tiles of scores and labels in one pass; the arguments are as `array_sums`."""
    options = Options(threshold, logits, tuple(terms))
    with torch.autocast(scores.device.type, enabled=False):
        fused = _fused_pass(scores, target, options)
        if fused is not None:
            return fused(scores.contiguous(), target.contiguous(), options)
        step = max(_DEVICE_PIXELS // max(scores.shape[1], 1), 1)
        parts = [
            _any_sums(scores[at : at + step], target[at : at + step], options)
            for at in range(0, max(len(scores), 1), step)
        ]
    return TileSums(
        torch.cat([part.sums for part in parts]),
        torch.cat([part.counts for part in parts]),
        torch.cat([part.terms for part in parts]),
    )


def _any_sums(scores: Tensor, target: Tensor, options: Options) -> TileSums:
    """The sums for any scores and targets, by the general method."""
    wide = scores.dtype is torch.float64 and scores.device.type != "mps"
    dtype = torch.float64 if wide else torch.float32
    sums, gaps, counts, pairs = any_sums(scores, target, options, dtype, _WAY)
    terms = gaps.new_zeros((len(gaps), 0, 2))
    if pairs:
        terms = torch.stack([torch.stack(one) for one in pairs]).permute(2, 0, 1)
    return TileSums(
        torch.cat([torch.stack(sums, dim=1), gaps], dim=1),
        torch.stack(counts, dim=1),
        terms,
    )


def _scores(values: Tensor, logits: bool) -> Sequence[Tensor]:
    if logits:
        both = values, -values
        return *(x.sigmoid() for x in both), *(logsigmoid(x) for x in both)
    inside = values.clamp(0, 1)
    return values, 1 - values, torch.log(inside), torch.log1p(-inside)


def _wide(values: Tensor) -> torch.dtype:
    """The type in which sums are added: float64 if the device supports it."""
    return torch.float32 if values.device.type == "mps" else torch.float64


def _total(values: Tensor) -> Tensor:
    """The sum of each tile, in float64 if the device supports it.

    Short runs are summed first, so that rounding does not depend on the number of
    threads or the length of a row.
    """
    runs = values.shape[1] // RUN * RUN
    parts = values[:, :runs].reshape(len(values), runs // RUN, RUN).sum(2)
    if runs < values.shape[1]:
        parts = torch.cat([parts, values[:, runs:].sum(1, keepdim=True)], dim=1)
    return parts.to(_wide(values)).sum(1)


def _bins_of(probs: Tensor) -> Tensor:
    return (probs * BINS).int().clamp_(0, BINS - 1)


def _binned(probs: Tensor, values: Tensor) -> Tensor:
    """The values of each row added up by the bin of their probability; ``(T, 15)``."""
    bins = _bins_of(probs)
    if probs.device.type != "cpu":
        # bincount adds in any order on a device, so its results are not reproducible.
        each = [_total(torch.where(bins == b, values, 0)) for b in range(BINS)]
        return torch.stack(each, dim=1)
    rows = torch.arange(len(probs), dtype=torch.int32, device=probs.device)
    place = bins.add_(rows.unsqueeze(1), alpha=BINS).flatten()
    held = torch.bincount(place, values.double().flatten(), len(probs) * BINS)
    return held.view(-1, BINS)


def _pair(logits: Tensor) -> tuple[Tensor, Tensor]:
    """The probabilities p and 1 - p of logits; 1 - p is precise where p rounds to 1."""
    values = logits.to(_wide(logits))
    return values.sigmoid(), (-values).sigmoid()


_WAY: Final = Way(torch, _total, lambda pixels: pixels.sum(1), _scores, _binned, _pair)


def _fused_pass(scores: Tensor, target: Tensor, options: Options) -> Pass | None:
    """The fused pass if Triton is available and supports the request, or None."""
    if scores.device.type != "cuda" or options.terms or not scores.numel():
        return None
    plain = not options.logits and target.dtype is torch.uint8
    if not plain or scores.dtype not in _FUSED_TYPES:
        return None
    return _compiled(scores.device)


@lru_cache
def _compiled(device: torch.device) -> Pass | None:
    """The fused pass of a device if it works for one pixel, or None.

    Triton is not available on every platform, and needs a C compiler at first use.
    """
    try:
        from cdstats.score.kernel.fused import fused_sums

        pixel = torch.full((1, 1), 0.5, device=device)
        label = torch.ones((1, 1), dtype=torch.uint8, device=device)
        found = fused_sums(pixel, label, Options(0.5, logits=False, terms=()))
        works = bool(found.counts[0, 1] == 1)
    except Exception:  # noqa: BLE001 - a compiler fails with errors of any kind
        return None
    return fused_sums if works else None
