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
    rows = _rows_at_once(scores)
    parts = [
        _dense(scores[at : at + rows], target[at : at + rows], threshold, logits, terms)
        for at in range(0, len(scores), rows)
    ]
    return TileSums(
        torch.cat([part.sums for part in parts]),
        torch.cat([part.counts for part in parts]),
        torch.cat([part.terms for part in parts]),
    )


def _rows_at_once(scores: Tensor) -> int:
    """Rows computed together: a tile on a processor, many on a device."""
    pixels = TILE if scores.device.type == "cpu" else TILE << 8
    return max(pixels // max(scores.shape[1], 1), 1)


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
