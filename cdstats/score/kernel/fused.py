"""The fast method on a CUDA device: all sums of a tile from one read, with Triton.

Triton is part of PyTorch's CUDA builds on Linux. Without it, the general method gives
the same counts, and the same sums within float32 rounding.
"""

from __future__ import annotations

import os
from typing import Final

import torch
import triton
import triton.language as tl
from torch import Tensor
from triton.language.extra import libdevice

from cdstats.core.sums import BINS
from cdstats.score.kernel.tile import COUNTS, SUMS, Options, TileSums

_SPAN: Final = 1 << 14
"""Pixels per program; a part of a tile, so that the whole GPU is used."""
_BLOCK: Final = 1 << 10
"""Pixels that a program computes at a time."""


if os.environ.get("TRITON_INTERPRET") == "1":

    @triton.jit
    def _log(values):
        """The logarithm for Triton's interpreter, which has no device library."""
        return tl.log(values)
else:

    @triton.jit
    def _log(values):
        """A logarithm that is precise near 1, unlike ``tl.log``."""
        return libdevice.log(values)


@triton.jit
def _sum_span(
    scores,
    target,
    sums,
    counts,
    width,
    threshold,
    SPAN,
    BLOCK: tl.constexpr,
    BINS: tl.constexpr,
):
    """Sum a span of a row into ten sums, sums by bin, and eight counts."""
    row, part = tl.program_id(0).to(tl.int64), tl.program_id(1)
    none = tl.zeros([BLOCK], tl.float32)
    nothing = tl.zeros([BLOCK], tl.int32)
    ce1, ce0, missed, missed_sq = none, none, none, none
    given, given_sq, false, false_sq = none, none, none, none
    n1, n0, tp, fp = nothing, nothing, nothing, nothing
    wrong, endless, outside = nothing, nothing, nothing
    bins = tl.arange(0, 16)
    calibration = tl.zeros([16], tl.float64)
    for at in range(part * SPAN, part * SPAN + SPAN, BLOCK):
        place = at + tl.arange(0, BLOCK)
        inside = place < width
        p = tl.load(scores + row * width + place, mask=inside, other=0.0)
        y = tl.load(target + row * width + place, mask=inside, other=255)
        p = p.to(tl.float32)
        changed, unchanged = y == 1, y == 0
        valid = changed | unchanged
        finite = (p - p) == 0.0
        endless += (valid & (finite == 0)).to(tl.int32)
        p = tl.where(valid & finite, p, 0.0)
        outside += ((p < 0.0) | (p > 1.0)).to(tl.int32)
        rest = 1.0 - p
        right = tl.where(changed, p, rest)
        log = tl.maximum(_log(tl.maximum(right, 1e-45)), -100.0)
        log = tl.where(right == 0.0, -100.0, log)
        # The rounding error d of q = 1 - p: ln(q + d) is ln q + d.
        lost = (1.0 - rest) - p
        ce1 -= tl.where(changed, log, 0.0)
        ce0 -= tl.where(unchanged, log + lost, 0.0)
        missed += tl.where(changed, rest, 0.0)
        missed_sq += tl.where(changed, rest * rest, 0.0)
        given += tl.where(changed, p, 0.0)
        given_sq += tl.where(changed, p * p, 0.0)
        false += tl.where(unchanged, p, 0.0)
        false_sq += tl.where(unchanged, p * p, 0.0)
        n1 += changed.to(tl.int32)
        n0 += unchanged.to(tl.int32)
        hit = p >= threshold
        tp += (hit & changed).to(tl.int32)
        fp += (hit & unchanged).to(tl.int32)
        wrong += (valid & (right == 0.0)).to(tl.int32)
        # Neighbouring scores are similar, so most blocks are in few bins.
        held = (p * BINS).to(tl.int32)
        held = tl.minimum(tl.maximum(held, 0), BINS - 1)
        miss = tl.where(changed, -rest, tl.where(unchanged, p, 0.0))
        for one in range(tl.min(held, 0), tl.max(held, 0) + 1):
            total = tl.sum(tl.where(held == one, miss, 0.0), 0).to(tl.float64)
            calibration += tl.where(bins == one, total, 0.0)
    # The lanes of a program, and later the programs, are added in float64.
    changes, others = tl.sum(n1, 0), tl.sum(n0, 0)
    hits, alarms = tl.sum(tp, 0), tl.sum(fp, 0)
    part = row * tl.num_programs(1) + part
    place = part * (10 + BINS)
    tl.store(sums + place, tl.sum(ce1.to(tl.float64), 0))
    tl.store(sums + place + 1, tl.sum(ce0.to(tl.float64), 0))
    tl.store(sums + place + 2, tl.sum(missed.to(tl.float64), 0))
    tl.store(sums + place + 3, tl.sum(missed_sq.to(tl.float64), 0))
    tl.store(sums + place + 4, tl.sum(given.to(tl.float64), 0))
    tl.store(sums + place + 5, tl.sum(given_sq.to(tl.float64), 0))
    tl.store(sums + place + 6, tl.sum(false.to(tl.float64), 0))
    tl.store(sums + place + 7, tl.sum(false_sq.to(tl.float64), 0))
    tl.store(sums + place + 8, changes.to(tl.float64))
    tl.store(sums + place + 9, changes.to(tl.float64))
    tl.store(sums + place + 10 + bins, calibration, mask=bins < BINS)
    place = part * 8
    tl.store(counts + place, (changes + others).to(tl.int64))
    tl.store(counts + place + 1, hits.to(tl.int64))
    tl.store(counts + place + 2, alarms.to(tl.int64))
    tl.store(counts + place + 3, (changes - hits).to(tl.int64))
    tl.store(counts + place + 4, (others - alarms).to(tl.int64))
    tl.store(counts + place + 5, tl.sum(wrong, 0).to(tl.int64))
    tl.store(counts + place + 6, tl.sum(endless, 0).to(tl.int64))
    tl.store(counts + place + 7, tl.sum(outside, 0).to(tl.int64))


def fused_sums(scores: Tensor, target: Tensor, options: Options) -> TileSums:
    """Sum rows of probabilities and labels in one pass over the device memory."""
    rows, width = scores.shape
    parts = max(triton.cdiv(width, _SPAN), 1)
    sums = scores.new_empty((rows, parts, len(SUMS)), dtype=torch.float64)
    counts = scores.new_empty((rows, parts, len(COUNTS)), dtype=torch.int64)
    with torch.cuda.device_of(scores):
        _sum_span[(rows, parts)](
            scores,
            target,
            sums,
            counts,
            width,
            options.cut(torch.float32),
            _SPAN,
            BLOCK=_BLOCK,
            BINS=BINS,
        )
    terms = scores.new_zeros((rows, 0, 2), dtype=torch.float64)
    return TileSums(sums.sum(1), counts.sum(1), terms)
