"""From scores and labels to sums: the one pass over the pixels, in torch alone.

Pixels come as tiles, rows of a matrix, each of one image, so that images of any size
share a batch. What pads a tile is ignored and enters no sum. A tile is summed in the
precision of its scores (at least float32), and everything beyond it in float64, so the
result does not depend on how tiles are put into batches.
"""

from __future__ import annotations

import threading
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import torch
from torch import Tensor
from torch.nn.functional import logsigmoid

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    TermFunction = Callable[[Tensor, bool], Tensor]

TILE: Final = 1 << 16
"""Pixels of a tile: few enough for a processor's cache."""
_DEVICE_PIXELS: Final = TILE << 8
"""Pixels computed together on a device."""
_ROWS: Final = 8
"""Tiles computed together on a processor."""
_RUN: Final = 256
"""Pixels that are summed in the precision of the scores."""
_TINY: Final = 1e-43
"""Below this a logarithm may pass the floor."""
CHANGED, UNCHANGED, IGNORED = 1, 0, 255
LOG_FLOOR: Final = -100.0
"""The least value of a logarithm, as in ``torch.nn.BCELoss``."""

SUMS: Final = (
    *("ce_changed_sum", "ce_unchanged_sum", "prob_sum", "prob_changed_sum"),
    *("prob_sq_sum", "prob_sq_changed_sum", "target_sq_sum", "changed"),
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
        sums: The columns named in `SUMS`; float64, ``(T, 8)``. ``changed`` is the sum
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


def tile_sums(
    scores: Tensor,
    target: Tensor,
    *,
    threshold: float = 0.5,
    logits: bool = False,
    terms: Sequence[TermFunction] = (),
) -> TileSums:
    """Sum tiles of scores and labels, in one pass.

    Args:
        scores: Probabilities of change, or scores before the sigmoid; floating,
            ``(T, n)``.
        target: 1 changed, 0 unchanged, 255 ignored, uint8; or soft targets in [0, 1],
            floating, negative where ignored; ``(T, n)``, on the device of ``scores``.
        threshold: A pixel is predicted changed when its probability is at least this.
        logits: Whether ``scores`` are logits.
        terms: Functions of probabilities and class (True for changed) whose values
            are to be summed over each class.

    Returns:
        The sums of each tile, on the device of ``scores``.

    Raises:
        ValueError: If the shapes differ or are no matrices, or the target is neither
            uint8 nor floating.

    Example:
        >>> scores = torch.tensor([[0.9, 0.2, 0.4, 0.1]], dtype=torch.float64)
        >>> target = torch.tensor([[1, 0, 1, 255]], dtype=torch.uint8)
        >>> found = tile_sums(scores, target)
        >>> [round(x, 6) for x in found.sums[0, :2].tolist()]
        [1.021651, 0.223144]

    References:
        The clamp at -100: ``torch.nn.BCELoss``. Weights of any kind come later: see
        Xie and Tu, 2015, eq. 2 (https://arxiv.org/abs/1504.06375) for the two sums.
    """
    if scores.shape != target.shape or scores.ndim != 2:
        raise ValueError(f"scores {scores.shape} and target {target.shape} differ")
    if target.dtype is not torch.uint8 and not target.is_floating_point():
        raise ValueError(f"target is {target.dtype}; expected uint8 or floating")
    parts = [
        _columns(scores[:, at : at + TILE], target[:, at : at + TILE], options)
        for options in [_Options(threshold, logits, tuple(terms))]
        for at in range(0, max(scores.shape[1], 1), TILE)
    ]
    return TileSums(
        torch.stack([part.sums for part in parts]).sum(0),
        torch.stack([part.counts for part in parts]).sum(0),
        torch.stack([part.terms for part in parts]).sum(0),
    )


@dataclass(frozen=True)
class _Options:
    """What `tile_sums` was asked for."""

    threshold: float
    logits: bool
    terms: tuple[TermFunction, ...]


def _columns(scores: Tensor, target: Tensor, options: _Options) -> TileSums:
    """Sum rows of at most a tile: one by one on a processor, together on a device."""
    step = _ROWS
    if scores.device.type != "cpu":
        step = max(_DEVICE_PIXELS // max(scores.shape[1], 1), 1)
    parts = [
        _rows(scores[at : at + step], target[at : at + step], options)
        for at in range(0, max(len(scores), 1), step)
    ]
    return TileSums(
        torch.cat([part.sums for part in parts]),
        torch.cat([part.counts for part in parts]),
        torch.cat([part.terms for part in parts]),
    )


def _rows(scores: Tensor, target: Tensor, options: _Options) -> TileSums:
    """The short way for rows that hold nothing out of the ordinary."""
    hard = not options.logits and target.dtype is torch.uint8
    if scores.device.type != "cpu" or not scores.numel():
        return _dense(scores, target, options)
    # Rows of another width would meet the vector units of a processor elsewhere.
    aligned = len(scores) == 1 or scores.shape[1] == TILE
    if hard and aligned and int(target.max()) <= CHANGED:
        probs = scores.to(working_type(scores.dtype, scores.device))
        low, high = torch.aminmax(probs)
        if low >= 0 and high <= 1:
            return _ordinary(probs, target, options, bool(low < _TINY or high == 1))
    if len(scores) == 1:
        return _dense(scores, target, options)
    # One row that is out of the ordinary changes nothing for the others.
    rows = zip(scores.unsqueeze(1), target.unsqueeze(1), strict=True)
    parts = [_rows(p, y, options) for p, y in rows]
    return TileSums(
        torch.cat([part.sums for part in parts]),
        torch.cat([part.counts for part in parts]),
        torch.cat([part.terms for part in parts]),
    )


def _ordinary(
    probs: Tensor, target: Tensor, options: _Options, saturated: bool
) -> TileSums:
    """The sums of valid probabilities and labels, with one logarithm for a pixel.

    The logarithm is of p or of ``1 - p``. What rounding ``1 - p`` loses is summed and
    added back, so that very small probabilities keep their loss: ``ln(q + d)`` is
    ``ln q + d`` as far as a d of one rounding matters.
    """
    changed, unchanged, inverse, logs, product = _scratch(probs)
    changed.copy_(target)
    torch.neg(changed, out=unchanged).add_(1)
    torch.neg(probs, out=inverse).add_(1)
    totals = [_partial(changed), _partial(probs)]
    # Products with 0 and 1 and a sum with 0 are exact, and faster than a choice.
    torch.mul(inverse, unchanged, out=logs).addcmul_(probs, changed).log_()
    if saturated:
        logs.clamp_(min=LOG_FLOOR)
    totals.append(_partial(torch.mul(logs, changed, out=product)))
    totals.append(_partial(logs.mul_(unchanged)))
    torch.neg(inverse, out=product).add_(1).sub_(probs)
    totals.append(_partial(product.mul_(unchanged)))
    totals.append(_partial(torch.mul(probs, probs, out=product)))
    changed_probs = torch.mul(probs, changed, out=logs)
    totals.append(_partial(changed_probs))
    totals.append(_partial(torch.mul(changed_probs, probs, out=product)))
    hits = torch.ge(probs, options.threshold, out=inverse)
    totals.append(_partial(hits))
    totals.append(_partial(hits.mul_(changed)))
    summed = torch.stack(totals).double().sum(2)
    n1, p, ce1, ce0, lost, q, p1, q1, predicted, tp = summed.unbind()
    none, pixels = torch.zeros_like(n1), probs.shape[1]
    wrong = _saturated_wrong(probs, changed, unchanged) if saturated else none
    rest = (predicted - tp, n1 - tp, pixels - n1 - predicted + tp, wrong, none, none)
    return TileSums(
        torch.stack([-ce1, -ce0 - lost, p, p1, q, q1, n1, n1], dim=1),
        torch.stack([none + pixels, tp, *rest], dim=1).round().long(),
        _term_sums(probs, changed, unchanged, options.terms),
    )


_LOCAL: Final = threading.local()


def _scratch(probs: Tensor) -> list[Tensor]:
    """Five matrices to compute in, kept by each thread: fresh memory is slow."""
    held: dict[Any, list[Tensor]] = _LOCAL.__dict__
    key = (probs.dtype, tuple(probs.shape))
    if key not in held:
        held.clear()
        held[key] = [torch.empty_like(probs) for _ in range(5)]
    return held[key]


def _partial(values: Tensor) -> Tensor:
    """The sums of short runs of each row; what is left over is a run of its own."""
    runs = values.shape[1] // _RUN * _RUN
    parts = values[:, :runs].reshape(len(values), runs // _RUN, _RUN).sum(2)
    if runs == values.shape[1]:
        return parts
    return torch.cat([parts, values[:, runs:].sum(1, keepdim=True)], dim=1)


def _saturated_wrong(probs: Tensor, changed: Tensor, unchanged: Tensor) -> Tensor:
    """Pixels whose probability is exactly 0 or 1, and wrong."""
    wrong = ((probs == 0) & (changed == 1)) | ((probs == 1) & (unchanged == 1))
    return wrong.sum(1).double()


def working_type(dtype: torch.dtype, device: torch.device) -> torch.dtype:
    """The type in which a tile is computed: float64 scores keep theirs."""
    wide = dtype is torch.float64 and device.type != "mps"
    return torch.float64 if wide else torch.float32


def _dense(scores: Tensor, target: Tensor, options: _Options) -> TileSums:
    """The sums of anything: ignored pixels, soft targets, logits, bad values."""
    work = working_type(scores.dtype, scores.device)
    positive, negative = _class_weights(target, work)
    valid = positive + negative > 0
    values = scores.to(work)
    finite = torch.isfinite(values)
    # where, not a product: NaN under an ignored pixel times 0 is still NaN.
    values = torch.where(valid & finite, values, 0)
    probs = values.sigmoid() if options.logits else values
    outside = ((probs < 0) | (probs > 1)) & valid
    logs = _logs(values, options.logits)
    hit = probs >= options.threshold
    changed, unchanged = positive == 1, negative == 1
    if options.logits:
        floored = (logs[0] <= LOG_FLOOR) & changed | (logs[1] <= LOG_FLOOR) & unchanged
        wrong = floored.sum(1)
    else:
        wrong = _saturated_wrong(probs, positive, negative).long()
    tp, fp = (hit & changed).sum(1), (hit & unchanged).sum(1)
    counts = (
        *(valid.sum(1), tp, fp, changed.sum(1) - tp, unchanged.sum(1) - fp, wrong),
        *((valid & ~finite).sum(1), outside.sum(1)),
    )
    return TileSums(
        _sums(probs, positive, negative, logs),
        torch.stack(counts, dim=1),
        _term_sums(probs, positive, negative, options.terms),
    )


def _term_sums(
    probs: Tensor, positive: Tensor, negative: Tensor, terms: Sequence[TermFunction]
) -> Tensor:
    """The sums of each term over changed and over unchanged pixels."""
    if not terms:
        return probs.new_zeros((len(probs), 0, 2), dtype=_wide(probs))
    pairs = [
        torch.stack(
            [
                _total(_weighed(term(probs, True), positive)),
                _total(_weighed(term(probs, False), negative)),
            ]
        )
        for term in terms
    ]
    return torch.stack(pairs).permute(2, 0, 1)


def _weighed(values: Tensor, weights: Tensor) -> Tensor:
    """Values times weights; nothing where the weight is 0, whatever the value."""
    return torch.where(weights > 0, values * weights, 0)


def _wide(values: Tensor) -> torch.dtype:
    return torch.float32 if values.device.type == "mps" else torch.float64


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
    probs: Tensor, positive: Tensor, negative: Tensor, logs: tuple[Tensor, Tensor]
) -> Tensor:
    changed_probs = probs * positive
    columns = (
        -_total(logs[0] * positive),
        -_total(logs[1] * negative),
        _total(changed_probs) + _total(probs * negative),
        _total(changed_probs),
        _total(probs * changed_probs) + _total(probs * probs * negative),
        _total(probs * changed_probs),
        _total(positive * positive),
        _total(positive),
    )
    return torch.stack(columns, dim=1)


def _total(values: Tensor) -> Tensor:
    """The sum of each tile, carried on in float64 where the device has it.

    Short runs are summed first, so that neither the number of threads nor the length
    of a row changes how a number is rounded.
    """
    return _partial(values).to(_wide(values)).sum(1)
