"""From scores and labels to sums: the one pass over the pixels, in torch alone.

Pixels come as tiles, rows of a matrix, each of one image, so that images of any size
share a batch. What pads a tile is ignored and enters no sum. A tile is summed in the
precision of its scores (at least float32), and everything beyond it in float64, so the
result does not depend on how tiles are put into batches.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

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
        ValueError: If the shapes differ or are no matrices.

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
    if scores.device.type == "cpu":
        rows = zip(scores.unsqueeze(1), target.unsqueeze(1), strict=True)
        parts = [_one_row(p, y, threshold, logits, terms) for p, y in rows]
    else:
        step = max(_DEVICE_PIXELS // max(scores.shape[1], 1), 1)
        starts = range(0, len(scores), step)
        cut = [(scores[at : at + step], target[at : at + step]) for at in starts]
        parts = [_dense(p, y, threshold, logits, terms) for p, y in cut]
    return TileSums(
        torch.cat([part.sums for part in parts]),
        torch.cat([part.counts for part in parts]),
        torch.cat([part.terms for part in parts]),
    )


def _one_row(
    scores: Tensor,
    target: Tensor,
    threshold: float,
    logits: bool,
    terms: Sequence[TermFunction],
) -> TileSums:
    """A tile on a processor: the short way if it holds nothing out of the ordinary."""
    ordinary = not (logits or terms) and target.dtype is torch.uint8
    if ordinary and scores.numel() and int(target.max()) <= CHANGED:
        probs = scores[0].to(working_type(scores.dtype, scores.device))
        low, high = torch.aminmax(probs)
        if low >= 0 and high <= 1:
            saturated = bool(low < _TINY or high == 1)
            return _ordinary(probs, target[0], threshold, saturated)
    return _dense(scores, target, threshold, logits, terms)


def _ordinary(
    probs: Tensor, target: Tensor, threshold: float, saturated: bool
) -> TileSums:
    """The sums of valid probabilities and labels, with one logarithm for a pixel.

    The logarithm is of p or of ``1 - p``. What rounding ``1 - p`` loses is summed and
    added back, so that very small probabilities keep their loss: ``ln(q + d)`` is
    ``ln q + d`` as far as a d of one rounding matters.
    """
    changed = target.to(probs.dtype)
    unchanged = 1 - changed
    inverse = 1 - probs
    # Products with 0 and 1 and a sum with 0 are exact, and faster than a choice.
    logs = (inverse * unchanged).addcmul_(probs, changed).log_()
    if saturated:
        logs.clamp_(min=LOG_FLOOR)
    lost = (1 - inverse).sub_(probs)
    changed_probs = probs * changed
    hits = torch.ge(probs, threshold, out=inverse)
    n1, tp, predicted = changed.sum(), torch.dot(hits, changed), hits.sum()
    sums = (
        -torch.dot(logs, changed),
        -torch.dot(logs, unchanged) - torch.dot(lost, unchanged),
        probs.sum(),
        changed_probs.sum(),
        torch.dot(probs, probs),
        torch.dot(changed_probs, probs),
        n1,
        n1,
    )
    wrong = _saturated_wrong(probs, changed) if saturated else torch.zeros_like(n1)
    zero = torch.zeros_like(n1)
    counts = (
        zero + probs.numel(), tp, predicted - tp, n1 - tp,
        probs.numel() - n1 - predicted + tp, wrong, zero, zero,
    )  # fmt: skip
    return TileSums(
        torch.stack(sums).double()[None],
        torch.stack(counts).long()[None],
        probs.new_zeros((1, 0, 2), dtype=torch.float64),
    )


def _saturated_wrong(probs: Tensor, changed: Tensor) -> Tensor:
    wrong = ((probs == 0) & (changed == 1)) | ((probs == 1) & (changed == 0))
    return wrong.sum().to(probs.dtype)


def working_type(dtype: torch.dtype, device: torch.device) -> torch.dtype:
    """The type in which a tile is computed: float64 scores keep theirs."""
    wide = dtype is torch.float64 and device.type != "mps"
    return torch.float64 if wide else torch.float32


def _dense(
    scores: Tensor,
    target: Tensor,
    threshold: float,
    logits: bool,
    terms: Sequence[TermFunction],
) -> TileSums:
    work = working_type(scores.dtype, scores.device)
    positive, negative = _class_weights(target, work)
    valid = positive + negative
    values = scores.to(work)
    finite = torch.isfinite(values)
    # where, not a product: NaN under an ignored pixel times 0 is still NaN.
    values = torch.where((valid > 0) & finite, values, 0)
    probs = values.sigmoid() if logits else values
    outside = ((probs < 0) | (probs > 1)) & (valid > 0)
    logs = _logs(values, logits)
    sums = _sums(probs, positive, negative, logs)
    counts = _counts(probs, positive, negative, threshold)
    bad = [((valid > 0) & ~finite).sum(1), outside.sum(1)]
    found = [
        torch.stack(
            [
                _total(term(probs, True) * positive),
                _total(term(probs, False) * negative),
            ]
        )
        for term in terms
    ]
    stacked = (
        torch.stack(found).permute(2, 0, 1)
        if found
        else sums.new_zeros(len(sums), 0, 2)
    )
    return TileSums(sums, torch.stack([*counts, *bad], dim=1), stacked)


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
    """The sum of each tile, carried on in float64 where the device has it."""
    total = values.sum(1)
    return total if total.device.type == "mps" else total.double()


def _counts(
    probs: Tensor, positive: Tensor, negative: Tensor, threshold: float
) -> list[Tensor]:
    """Valid pixels, confusion counts at the threshold, and saturated wrong pixels."""
    hit = probs >= threshold
    changed, unchanged = positive == 1, negative == 1
    tp, fp = (hit & changed).sum(1), (hit & unchanged).sum(1)
    wrong = ((probs == 0) & changed) | ((probs == 1) & unchanged)
    valid = (positive + negative > 0).sum(1)
    return [valid, tp, fp, changed.sum(1) - tp, unchanged.sum(1) - fp, wrong.sum(1)]
