"""Dice loss and its logarithm of the hyperbolic cosine."""

from __future__ import annotations

import torch
from torch import Tensor

from cdstats.losses._pixels import ImageReduction, LossModule, is_pooled, prepare
from cdstats.losses._regions import Regions, dice


def dice_loss(
    probs: Tensor,
    target: Tensor,
    *,
    smooth: float = 1.0,
    reduction: ImageReduction = "mean",
    ignore_index: int | None = 255,
    validate: bool | None = None,
) -> Tensor:
    """Soft Dice loss, 1 − F1 of the probabilities, in [0, 1].

    ``1 − (2·Σp·y + s)/(Σp + Σy + s)``. The smoothing decides images without change:
    with s = 0 their loss is 1 and their gradient 0 unless p is 0 everywhere, where it
    is undefined; with s = 1 it is ``1 − 1/(Σp + 1)``, which grows with image size.

    Args:
        probs: Probability of change in [0, 1]; floating, ``(N, H, W)`` or
            ``(N, 1, H, W)``.
        target: 1 changed, 0 unchanged, soft labels between; shape of ``probs``. With
            soft labels the minimum is not 0.
        smooth: s, pixels added above and below the fraction; at least 0.
        reduction: ``"mean"`` over images; ``"pooled"``, the loss of the sums of the
            batch; or ``"none"``, a value per image, ``(N,)``. Mean and pooled differ
            strongly where some images have no change.
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
            or negative, or, where validated, a value is outside its range.

    Example:
        >>> probs = torch.tensor([[[0.9, 0.2], [0.4, 0.1]]])
        >>> dice_loss(probs, torch.tensor([[[1, 0], [1, 0]]]), smooth=0)
        tensor(0.2778)

    References:
        Jadon, "A survey of loss functions for semantic segmentation", 2020,
        "Dice loss" (https://arxiv.org/abs/2006.14822). Not V-Net's squared form. The
        smoothing is MONAI's; segmentation_models_pytorch takes half for the same value.
    """
    pixels = prepare(
        probs,
        target,
        from_logits=False,
        ignore_index=ignore_index,
        validate=validate,
    )
    loss = dice(pixels, smooth=smooth, pooled=is_pooled(reduction))
    return loss.reduce(reduction, pixels.scores.dtype)


def dice_loss_with_logits(
    logits: Tensor,
    target: Tensor,
    *,
    smooth: float = 1.0,
    reduction: ImageReduction = "mean",
    ignore_index: int | None = 255,
    validate: bool | None = None,
) -> Tensor:
    """Soft Dice loss of change scores before the sigmoid.

    Definition, arguments, result and errors are those of `dice_loss`. Half types are
    widened before the sigmoid, and ignored pixels masked.

    Example:
        >>> logits = torch.tensor([[[2.0, -1.0, torch.nan]]])
        >>> dice_loss_with_logits(logits, torch.tensor([[[1, 0, 255]]]))
        tensor(0.1232)
    """
    pixels = prepare(
        logits,
        target,
        from_logits=True,
        ignore_index=ignore_index,
        validate=validate,
    )
    loss = dice(pixels, smooth=smooth, pooled=is_pooled(reduction))
    return loss.reduce(reduction, pixels.scores.dtype)


class DiceLoss(LossModule):
    """Soft Dice loss as a module; see `dice_loss`.

    Args:
        smooth: Pixels added above and below the fraction; at least 0.
        reduction: ``"mean"`` over images, ``"pooled"`` or ``"none"``.
        ignore_index: Target value of pixels to leave out, None for none.
        from_logits: Whether predictions are logits instead of probabilities.
        validate: Whether bad values raise; None means on the CPU alone.

    Example:
        >>> loss = DiceLoss(smooth=0, reduction="none")
        >>> loss(torch.tensor([[[0.5, 0.0]], [[0.0, 0.0]]]), torch.zeros(2, 1, 2))
        tensor([1., nan])
    """

    def __init__(
        self,
        smooth: float = 1.0,
        *,
        reduction: ImageReduction = "mean",
        ignore_index: int | None = 255,
        from_logits: bool = False,
        validate: bool | None = None,
    ) -> None:
        super().__init__(
            dice_loss_with_logits if from_logits else dice_loss,
            smooth=smooth,
            reduction=reduction,
            ignore_index=ignore_index,
            validate=validate,
        )


def log_cosh_dice_loss(
    probs: Tensor,
    target: Tensor,
    *,
    smooth: float = 1.0,
    reduction: ImageReduction = "mean",
    ignore_index: int | None = 255,
    validate: bool | None = None,
) -> Tensor:
    """Logarithm of the hyperbolic cosine of the soft Dice loss.

    ``ln cosh(Dice)``, from 0 to 0.434; about Dice²/2 near 0, so that nearly perfect
    images pull less. For one image it ranks as Dice does; means over images differ.

    Args:
        probs: Probability of change in [0, 1]; floating, ``(N, H, W)`` or
            ``(N, 1, H, W)``.
        target: 1 changed, 0 unchanged, soft labels between; shape of ``probs``.
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
        >>> log_cosh_dice_loss(probs, torch.tensor([[[1, 0], [1, 0]]]))
        tensor(0.0234)

    References:
        Jadon, "A survey of loss functions for semantic segmentation", 2020,
        "Log-Cosh Dice loss" (https://arxiv.org/abs/2006.14822).
    """
    pixels = prepare(
        probs,
        target,
        from_logits=False,
        ignore_index=ignore_index,
        validate=validate,
    )
    loss = _log_cosh(dice(pixels, smooth=smooth, pooled=is_pooled(reduction)))
    return loss.reduce(reduction, pixels.scores.dtype)


def log_cosh_dice_loss_with_logits(
    logits: Tensor,
    target: Tensor,
    *,
    smooth: float = 1.0,
    reduction: ImageReduction = "mean",
    ignore_index: int | None = 255,
    validate: bool | None = None,
) -> Tensor:
    """Log-cosh Dice loss of change scores before the sigmoid.

    Definition, arguments, result and errors are those of `log_cosh_dice_loss`.

    Example:
        >>> logits = torch.tensor([[[2.0, -1.0, torch.nan]]])
        >>> log_cosh_dice_loss_with_logits(logits, torch.tensor([[[1, 0, 255]]]))
        tensor(0.0076)
    """
    pixels = prepare(
        logits,
        target,
        from_logits=True,
        ignore_index=ignore_index,
        validate=validate,
    )
    loss = _log_cosh(dice(pixels, smooth=smooth, pooled=is_pooled(reduction)))
    return loss.reduce(reduction, pixels.scores.dtype)


def _log_cosh(dice: Regions) -> Regions:
    """Logarithm of cosh x as log1p(2 sinh²(x/2)): cosh x rounds to 1 near 0."""
    return Regions(torch.log1p(2 * torch.sinh(dice.loss / 2) ** 2), dice.defined)


class LogCoshDiceLoss(LossModule):
    """Log-cosh Dice loss as a module; see `log_cosh_dice_loss`.

    Args:
        smooth: Pixels added above and below the fraction of Dice; at least 0.
        reduction: ``"mean"`` over images, ``"pooled"`` or ``"none"``.
        ignore_index: Target value of pixels to leave out, None for none.
        from_logits: Whether predictions are logits instead of probabilities.
        validate: Whether bad values raise; None means on the CPU alone.

    Example:
        >>> loss = LogCoshDiceLoss()
        >>> loss(torch.zeros(2, 1, 4), torch.zeros(2, 1, 4))
        tensor(0.)
    """

    def __init__(
        self,
        smooth: float = 1.0,
        *,
        reduction: ImageReduction = "mean",
        ignore_index: int | None = 255,
        from_logits: bool = False,
        validate: bool | None = None,
    ) -> None:
        super().__init__(
            log_cosh_dice_loss_with_logits if from_logits else log_cosh_dice_loss,
            smooth=smooth,
            reduction=reduction,
            ignore_index=ignore_index,
            validate=validate,
        )
