"""Combo loss: cross-entropy plus Dice."""

from __future__ import annotations

import torch
from torch import Tensor

from cdstats.losses._pixels import (
    ImageReduction,
    LossModule,
    Pixels,
    check_share,
    image_sums,
    is_pooled,
    prepare,
    ratio,
)
from cdstats.losses._regions import Regions, dice
from cdstats.losses.cross_entropy import Beta, weighted_cross_entropy


def combo_loss(
    probs: Tensor,
    target: Tensor,
    *,
    alpha: float = 0.5,
    beta: Beta = 0.5,
    smooth: float = 1.0,
    reduction: ImageReduction = "mean",
    ignore_index: int | None = 255,
    validate: bool | None = None,
) -> Tensor:
    """Weighted sum of the mean balanced cross-entropy and the Dice loss.

    ``α·CE + (1−α)·Dice``, CE the `balanced_cross_entropy` per valid pixel and Dice the
    `dice_loss`. Note that β = 0.5 makes CE half the plain cross-entropy.

    Args:
        probs: Probability of change in [0, 1]; floating, ``(N, H, W)`` or
            ``(N, 1, H, W)``.
        target: 1 changed, 0 unchanged, soft labels between; shape of ``probs``.
        alpha: Share of the cross-entropy in [0, 1].
        beta: Weight of the changed class: a number in [0, 1], ``"image"`` or
            ``"batch"``.
        smooth: Pixels added above and below the fraction of Dice; at least 0.
        reduction: ``"mean"`` over images; ``"pooled"``, the loss of the sums of the
            batch; or ``"none"``, a value per image, ``(N,)``.
        ignore_index: Target value of pixels to leave out, None for none. Masks of 0
            and 255 need ``target == 255``.
        validate: Whether bad values raise; None means on the CPU alone, and a NaN loss
            elsewhere.

    Returns:
        The loss; dtype of ``probs`` (float32 for half types). Images where it is
        undefined (no valid pixel, 0/0) are left out of the mean; NaN, with gradient 0,
        if none is left.

    Raises:
        TypeError: If ``probs`` are not floating.
        ValueError: If shapes differ or are not those of images, an argument is unknown
            or outside its range, or, where validated, a value is.

    Example:
        >>> probs = torch.tensor([[[0.9, 0.2], [0.4, 0.1]]])
        >>> combo_loss(probs, torch.tensor([[[1, 0], [1, 0]]]))
        tensor(0.1931)

    References:
        Taghanaki et al., "Combo loss: handling input and output imbalance in
        multi-organ segmentation", 2018 (https://arxiv.org/abs/1805.02798). It
        subtracts the Dice score; adding the Dice loss differs by the constant 1 − α and
        is never negative.
    """
    pixels = prepare(
        probs,
        target,
        from_logits=False,
        ignore_index=ignore_index,
        validate=validate,
    )
    return _combo(pixels, alpha, beta, smooth, reduction)


def combo_loss_with_logits(
    logits: Tensor,
    target: Tensor,
    *,
    alpha: float = 0.5,
    beta: Beta = 0.5,
    smooth: float = 1.0,
    reduction: ImageReduction = "mean",
    ignore_index: int | None = 255,
    validate: bool | None = None,
) -> Tensor:
    """Combo loss of change scores before the sigmoid.

    Definition, arguments, result and errors are those of `combo_loss`.

    Example:
        >>> logits = torch.tensor([[[2.0, -1.0, torch.nan]]])
        >>> combo_loss_with_logits(logits, torch.tensor([[[1, 0, 255]]]))
        tensor(0.1166)
    """
    pixels = prepare(
        logits,
        target,
        from_logits=True,
        ignore_index=ignore_index,
        validate=validate,
    )
    return _combo(pixels, alpha, beta, smooth, reduction)


def _combo(
    pixels: Pixels,
    alpha: float,
    beta: Beta,
    smooth: float,
    reduction: ImageReduction,
) -> Tensor:
    check_share("alpha", alpha)
    pooled = is_pooled(reduction)
    pixel_loss = torch.where(pixels.valid, weighted_cross_entropy(pixels, beta), 0)
    count = image_sums(pixels.valid, pooled=pooled)
    mean = ratio(image_sums(pixel_loss, pooled=pooled), count)
    region = dice(pixels, smooth=smooth, pooled=pooled)
    loss = Regions(alpha * mean + (1 - alpha) * region.loss, region.defined)
    return loss.reduce(reduction, pixels.scores.dtype)


class ComboLoss(LossModule):
    """Combo loss as a module; see `combo_loss`.

    Args:
        alpha: Share of the cross-entropy in [0, 1].
        beta: Weight of the changed class: a number in [0, 1], ``"image"`` or
            ``"batch"``.
        smooth: Pixels added above and below the fraction of Dice; at least 0.
        reduction: ``"mean"`` over images, ``"pooled"`` or ``"none"``.
        ignore_index: Target value of pixels to leave out, None for none.
        from_logits: Whether predictions are logits instead of probabilities.
        validate: Whether bad values raise; None means on the CPU alone.

    Example:
        >>> loss = ComboLoss(from_logits=True)
        >>> loss(torch.zeros(2, 1, 4), torch.zeros(2, 1, 4))
        tensor(0.5066)
    """

    def __init__(
        self,
        alpha: float = 0.5,
        beta: Beta = 0.5,
        smooth: float = 1.0,
        *,
        reduction: ImageReduction = "mean",
        ignore_index: int | None = 255,
        from_logits: bool = False,
        validate: bool | None = None,
    ) -> None:
        super().__init__(
            combo_loss_with_logits if from_logits else combo_loss,
            alpha=alpha,
            beta=beta,
            smooth=smooth,
            reduction=reduction,
            ignore_index=ignore_index,
            validate=validate,
        )
