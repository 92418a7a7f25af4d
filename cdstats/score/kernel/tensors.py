"""The pass of a device, and of a processor for comparison: torch."""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING, Final

import torch
from torch import Tensor
from torch.nn.functional import logsigmoid

from cdstats.core.sums import BINS
from cdstats.score.kernel.tile import (
    CHANGED,
    LOG_FLOOR,
    RUN,
    TILE,
    UNCHANGED,
    Options,
    TileSums,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from cdstats.score.kernel.tile import TermFunction

    Pass = Callable[[Tensor, Tensor, Options], TileSums]

_DEVICE_PIXELS: Final = TILE << 8
"""Pixels computed together."""
_FUSED_TYPES: Final = (torch.float32, torch.float16, torch.bfloat16)
"""Types of scores that a fused pass computes in float32."""


def tensor_sums(
    scores: Tensor,
    target: Tensor,
    *,
    threshold: float = 0.5,
    logits: bool = False,
    terms: Sequence[TermFunction] = (),
) -> TileSums:
    """Sum tiles of scores and labels, in one pass, as `array_sums`."""
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
    """The sums of anything: ignored pixels, soft targets, logits, bad values."""
    work = _working_type(scores.dtype, scores.device)
    positive, negative = _class_weights(target, work)
    valid = positive + negative > 0
    values = scores.to(work)
    finite = torch.isfinite(values)
    # where, not a product: NaN under an ignored pixel times 0 is still NaN.
    values = torch.where(valid & finite, values, 0)
    probs = values.sigmoid() if options.logits else values
    rest = (-values).sigmoid() if options.logits else 1 - values
    outside = ((probs < 0) | (probs > 1)) & valid
    logs = _logs(values, options.logits)
    hit = values >= options.cut(work)
    changed, unchanged = positive == 1, negative == 1
    if options.logits:
        floored = (logs[0] <= LOG_FLOOR) & changed | (logs[1] <= LOG_FLOOR) & unchanged
        wrong = floored.sum(1)
    else:
        wrong = _saturated_wrong(probs, positive, negative)
    known = _pair(values) if options.logits else (probs, None)
    tp, fp = (hit & changed).sum(1), (hit & unchanged).sum(1)
    counts = (
        *(valid.sum(1), tp, fp, changed.sum(1) - tp, unchanged.sum(1) - fp, wrong),
        *((valid & ~finite).sum(1), outside.sum(1)),
    )
    return TileSums(
        _sums((probs, rest), positive, negative, logs),
        torch.stack(counts, dim=1),
        _term_sums(known, positive, negative, options.terms),
    )


def _class_weights(target: Tensor, work: torch.dtype) -> tuple[Tensor, Tensor]:
    """How much each pixel counts as changed and as unchanged."""
    if target.dtype is torch.uint8:
        return (target == CHANGED).to(work), (target == UNCHANGED).to(work)
    soft = target.to(work)
    valid = soft >= 0
    return torch.where(valid, soft, 0), torch.where(valid, 1 - soft, 0)


def _logs(values: Tensor, logits: bool) -> tuple[Tensor, Tensor]:
    """The clamped logarithms of p and of 1 - p."""
    if logits:
        return (
            logsigmoid(values).clamp_(min=LOG_FLOOR),
            logsigmoid(-values).clamp_(min=LOG_FLOOR),
        )
    inside = values.clamp(0, 1)
    return (
        torch.log(inside).clamp_(min=LOG_FLOOR),
        torch.log1p(-inside).clamp_(min=LOG_FLOOR),
    )


def _sums(
    scores: tuple[Tensor, Tensor],
    positive: Tensor,
    negative: Tensor,
    logs: tuple[Tensor, Tensor],
) -> Tensor:
    probs, rest = scores
    missed, given, false = rest * positive, probs * positive, probs * negative
    columns = (
        *(-_total(logs[0] * positive), -_total(logs[1] * negative)),
        *(_total(missed), _total(rest * missed)),
        *(_total(given), _total(probs * given)),
        *(_total(false), _total(probs * false)),
        *(_total(positive * positive), _total(positive)),
    )
    gaps = _binned(probs, false - missed)
    return torch.cat([torch.stack(columns, dim=1), gaps], dim=1)


def _working_type(dtype: torch.dtype, device: torch.device) -> torch.dtype:
    """The type in which a tile is computed: float64 scores keep theirs."""
    wide = dtype is torch.float64 and device.type != "mps"
    return torch.float64 if wide else torch.float32


def _wide(values: Tensor) -> torch.dtype:
    """The type in which sums are carried on, where the device has it."""
    return torch.float32 if values.device.type == "mps" else torch.float64


def _total(values: Tensor) -> Tensor:
    """The sum of each tile, carried on in float64 where the device has it.

    Short runs are summed first, so that neither the number of threads nor the length
    of a row changes how a number is rounded.
    """
    return _short_runs(values).to(_wide(values)).sum(1)


def _short_runs(values: Tensor) -> Tensor:
    """The sums of short runs of each row; the last one may be shorter."""
    runs = values.shape[1] // RUN * RUN
    parts = values[:, :runs].reshape(len(values), runs // RUN, RUN).sum(2)
    if runs == values.shape[1]:
        return parts
    return torch.cat([parts, values[:, runs:].sum(1, keepdim=True)], dim=1)


def _bins_of(probs: Tensor) -> Tensor:
    """The bin of each probability; see `cdstats.core.sums.bins_of`."""
    return (probs * BINS).int().clamp_(0, BINS - 1)


def _binned(probs: Tensor, values: Tensor) -> Tensor:
    """The values of each row added up by the bin of their probability; ``(T, 15)``."""
    bins = _bins_of(probs)
    if probs.device.type != "cpu":
        # Added in any order, floating numbers would give another sum each time.
        each = [_total(torch.where(bins == b, values, 0)) for b in range(BINS)]
        return torch.stack(each, dim=1)
    rows = torch.arange(len(probs), dtype=torch.int32, device=probs.device)
    place = bins.add_(rows.unsqueeze(1), alpha=BINS).flatten()
    held = torch.bincount(place, values.double().flatten(), len(probs) * BINS)
    return held.view(-1, BINS)


def _pair(logits: Tensor) -> tuple[Tensor, Tensor]:
    """P and 1 - p; in float64, where there is one, 1 - p has digits where p is 1."""
    values = logits.to(_wide(logits))
    return values.sigmoid(), (-values).sigmoid()


def _term_sums(
    known: tuple[Tensor, Tensor | None],
    positive: Tensor,
    negative: Tensor,
    terms: Sequence[TermFunction],
) -> Tensor:
    """The sums of each term over changed and over unchanged pixels."""
    probs, rest = known
    if not terms:
        return probs.new_zeros((len(probs), 0, 2), dtype=_wide(probs))
    pairs = [
        torch.stack(
            [
                _total(_weighed(term(probs, True, rest), positive)),
                _total(_weighed(term(probs, False, rest), negative)),
            ]
        )
        for term in terms
    ]
    return torch.stack(pairs).permute(2, 0, 1)


def _weighed(values: Tensor, weights: Tensor) -> Tensor:
    """Values times weights; nothing where the weight is 0, whatever the value."""
    return torch.where(weights > 0, values * weights, 0)


def _saturated_wrong(probs: Tensor, changed: Tensor, unchanged: Tensor) -> Tensor:
    """Pixels whose probability is exactly 0 or 1, and wrong."""
    wrong = ((probs == 0) & (changed == 1)) | ((probs == 1) & (unchanged == 1))
    return wrong.sum(1)


def _fused_pass(scores: Tensor, target: Tensor, options: Options) -> Pass | None:
    """The pass that Triton compiles, where it can and the request is plain."""
    if scores.device.type != "cuda" or options.terms or not scores.numel():
        return None
    plain = not options.logits and target.dtype is torch.uint8
    if not plain or scores.dtype not in _FUSED_TYPES:
        return None
    return _compiled(scores.device)


@lru_cache
def _compiled(device: torch.device) -> Pass | None:
    """The fused pass of a device, once it has given the sums of one pixel; or None.

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
