"""Focal loss."""

from __future__ import annotations

import torch
from torch import Tensor

from cdstats.losses._pixels import (
    LossModule,
    PixelReduction,
    Pixels,
    check_at_least_zero,
    check_share,
    cross_entropies,
    prepare,
    reduce_pixels,
)


def focal_loss(
    probs: Tensor,
    target: Tensor,
    *,
    alpha: float | None = 0.25,
    gamma: float = 2.0,
    reduction: PixelReduction = "mean",
    ignore_index: int | None = 255,
    validate: bool | None = None,
) -> Tensor:
    """Cross-entropy that fades out pixels which are already right.

    ``−a·(1−q)^γ·ln q``, q the probability of the true class, a = α for changed and
    1 − α for unchanged pixels, 1 if α is None. **The paper's α = 0.25 weighs the
    changed class down**, three to one; it was tuned for a detector. Use α above 0.5, or
    None, to favour change. The paper divides by the number of positives, not by pixels.

    Args:
        probs: Probability of change in [0, 1]; floating, ``(N, H, W)`` or
            ``(N, 1, H, W)``.
        target: 1 changed, 0 unchanged; hard labels only, shape of ``probs``.
        alpha: Weight of the changed class in [0, 1], or None for no weights.
        gamma: Exponent, at least 0; with 0 it is weighted cross-entropy.
        reduction: ``"mean"`` over the valid pixels, ``"sum"``, or ``"none"``.
        ignore_index: Target value of pixels to leave out, None for none. Masks of 0
            and 255 need ``target == 255``.
        validate: Whether bad values raise; None means on the CPU alone, and a NaN loss
            elsewhere.

    Returns:
        The loss; nats, dtype of ``probs`` (float32 for half types).

    Raises:
        TypeError: If ``probs`` are not floating.
        ValueError: If shapes differ or are not those of images, an argument is outside
            its range, or, where validated, a value is.

    Example:
        >>> probs = torch.tensor([[[0.9, 0.2], [0.4, 0.1]]])
        >>> focal_loss(probs, torch.tensor([[[1, 0], [1, 0]]]))
        tensor(0.0226)

    References:
        Lin et al., "Focal Loss for Dense Object Detection", 2017, eq. 5
        (https://arxiv.org/abs/1708.02002).
    """
    pixels = prepare(
        probs,
        target,
        from_logits=False,
        ignore_index=ignore_index,
        validate=validate,
        soft=False,
    )
    return reduce_pixels(_focal(pixels, alpha, gamma), pixels.valid, reduction)


def focal_loss_with_logits(
    logits: Tensor,
    target: Tensor,
    *,
    alpha: float | None = 0.25,
    gamma: float = 2.0,
    reduction: PixelReduction = "mean",
    ignore_index: int | None = 255,
    validate: bool | None = None,
) -> Tensor:
    """Focal loss of change scores before the sigmoid.

    Definition, arguments, result and errors are those of `focal_loss`.

    Example:
        >>> logits = torch.tensor([[[2.0, -1.0, torch.nan]]])
        >>> focal_loss_with_logits(logits, torch.tensor([[[1, 0, 255]]]))
        tensor(0.0087)
    """
    pixels = prepare(
        logits,
        target,
        from_logits=True,
        ignore_index=ignore_index,
        validate=validate,
        soft=False,
    )
    return reduce_pixels(_focal(pixels, alpha, gamma), pixels.valid, reduction)


def _focal(pixels: Pixels, alpha: float | None, gamma: float) -> Tensor:
    check_at_least_zero(gamma=gamma)
    if alpha is not None:
        check_share("alpha", alpha)
    changed_weight, unchanged_weight = (1, 1) if alpha is None else (alpha, 1 - alpha)
    if_changed, if_unchanged = cross_entropies(pixels)
    # (1-p)^gamma as exp(gamma ln(1-p)): a power has an infinite slope at p = 1.
    changed = torch.exp(-gamma * if_unchanged) * if_changed
    unchanged = torch.exp(-gamma * if_changed) * if_unchanged
    target = pixels.target
    weighted = changed_weight * target * changed
    return weighted + unchanged_weight * (1 - target) * unchanged


class FocalLoss(LossModule):
    """Focal loss as a module; see `focal_loss`, also for what α = 0.25 does.

    Args:
        alpha: Weight of the changed class in [0, 1], or None for no weights.
        gamma: Exponent, at least 0.
        reduction: ``"mean"`` over the valid pixels, ``"sum"``, or ``"none"``.
        ignore_index: Target value of pixels to leave out, None for none.
        from_logits: Whether predictions are logits instead of probabilities.
        validate: Whether bad values raise; None means on the CPU alone.

    Example:
        >>> loss = FocalLoss(alpha=None, gamma=0)
        >>> loss(torch.full((1, 1, 2), 0.5), torch.tensor([[[0, 1]]]))
        tensor(0.6931)
    """

    def __init__(
        self,
        alpha: float | None = 0.25,
        gamma: float = 2.0,
        *,
        reduction: PixelReduction = "mean",
        ignore_index: int | None = 255,
        from_logits: bool = False,
        validate: bool | None = None,
    ) -> None:
        super().__init__(
            focal_loss_with_logits if from_logits else focal_loss,
            alpha=alpha,
            gamma=gamma,
            reduction=reduction,
            ignore_index=ignore_index,
            validate=validate,
        )
