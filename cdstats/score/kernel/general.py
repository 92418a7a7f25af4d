"""The sums of anything: ignored pixels, soft targets, logits, bad values."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import logsigmoid

from cdstats.score.kernel.tile import (
    CHANGED,
    LOG_FLOOR,
    UNCHANGED,
    Options,
    TileSums,
    binned,
    saturated_wrong,
    term_sums,
    total,
    working_type,
)


def any_sums(scores: Tensor, target: Tensor, options: Options) -> TileSums:
    """The sums of anything: ignored pixels, soft targets, logits, bad values."""
    work = working_type(scores.dtype, scores.device)
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
    hit = probs >= options.cut(work)
    changed, unchanged = positive == 1, negative == 1
    if options.logits:
        floored = (logs[0] <= LOG_FLOOR) & changed | (logs[1] <= LOG_FLOOR) & unchanged
        wrong = floored.sum(1)
    else:
        wrong = saturated_wrong(probs, positive, negative)
    tp, fp = (hit & changed).sum(1), (hit & unchanged).sum(1)
    counts = (
        *(valid.sum(1), tp, fp, changed.sum(1) - tp, unchanged.sum(1) - fp, wrong),
        *((valid & ~finite).sum(1), outside.sum(1)),
    )
    return TileSums(
        _sums((probs, rest), positive, negative, logs),
        torch.stack(counts, dim=1),
        term_sums(probs, positive, negative, options.terms),
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
        *(-total(logs[0] * positive), -total(logs[1] * negative)),
        *(total(missed), total(rest * missed)),
        *(total(given), total(probs * given)),
        *(total(false), total(probs * false)),
        *(total(positive * positive), total(positive)),
    )
    gaps = binned(probs, false - missed)
    return torch.cat([torch.stack(columns, dim=1), gaps], dim=1)
