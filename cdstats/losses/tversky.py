"""Tversky loss and its power, focal Tversky."""

from __future__ import annotations

import torch
from torch import Tensor

from cdstats.losses._pixels import ImageReduction, LossModule, is_pooled, prepare
from cdstats.losses._regions import Regions, tversky


def tversky_loss(
    probs: Tensor,
    target: Tensor,
    *,
    fp_weight: float = 0.3,
    fn_weight: float = 0.7,
    smooth: float = 1.0,
    reduction: ImageReduction = "mean",
    ignore_index: int | None = 255,
    validate: bool | None = None,
) -> Tensor:
    """Dice loss with separate weights for false alarms and misses, in [0, 1].

    ``1 − (TP + s)/(TP + a·FP + b·FN + s)`` of the soft counts ``TP = Σp·y``,
    ``FP = Σp·(1−y)``, ``FN = Σ(1−p)·y``. Weights 0.5 and 0.5 give Dice with twice the
    smoothing, 1 and 1 the Jaccard loss. The weights are named because publications
    disagree on which of α and β is which. Smoothing decides images without change, as
    in `dice_loss`.

    Args:
        probs: Probability of change in [0, 1]; floating, ``(N, H, W)`` or
            ``(N, 1, H, W)``.
        target: 1 changed, 0 unchanged, soft labels between; shape of ``probs``.
        fp_weight: Weight of false alarms; at least 0.
        fn_weight: Weight of misses; at least 0.
        smooth: Pixels added above and below the fraction; at least 0.
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
        >>> tversky_loss(probs, torch.tensor([[[1, 0], [1, 0]]]))
        tensor(0.2014)

    References:
        Salehi et al., "Tversky loss function for image segmentation using 3D fully
        convolutional deep networks", 2017 (https://arxiv.org/abs/1706.05721);
        its α is ``fp_weight``, its β ``fn_weight``.
    """
    pixels = prepare(
        probs,
        target,
        from_logits=False,
        ignore_index=ignore_index,
        validate=validate,
    )
    loss = tversky(
        pixels,
        fp_weight=fp_weight,
        fn_weight=fn_weight,
        smooth=smooth,
        pooled=is_pooled(reduction),
    )
    return loss.reduce(reduction, pixels.scores.dtype)


def tversky_loss_with_logits(
    logits: Tensor,
    target: Tensor,
    *,
    fp_weight: float = 0.3,
    fn_weight: float = 0.7,
    smooth: float = 1.0,
    reduction: ImageReduction = "mean",
    ignore_index: int | None = 255,
    validate: bool | None = None,
) -> Tensor:
    """Tversky loss of change scores before the sigmoid.

    Definition, arguments, result and errors are those of `tversky_loss`.

    Example:
        >>> logits = torch.tensor([[[2.0, -1.0, torch.nan]]])
        >>> tversky_loss_with_logits(logits, torch.tensor([[[1, 0, 255]]]))
        tensor(0.0803)
    """
    pixels = prepare(
        logits,
        target,
        from_logits=True,
        ignore_index=ignore_index,
        validate=validate,
    )
    loss = tversky(
        pixels,
        fp_weight=fp_weight,
        fn_weight=fn_weight,
        smooth=smooth,
        pooled=is_pooled(reduction),
    )
    return loss.reduce(reduction, pixels.scores.dtype)


class TverskyLoss(LossModule):
    """Tversky loss as a module; see `tversky_loss`.

    Args:
        fp_weight: Weight of false alarms; at least 0.
        fn_weight: Weight of misses; at least 0.
        smooth: Pixels added above and below the fraction; at least 0.
        reduction: ``"mean"`` over images, ``"pooled"`` or ``"none"``.
        ignore_index: Target value of pixels to leave out, None for none.
        from_logits: Whether predictions are logits instead of probabilities.
        validate: Whether bad values raise; None means on the CPU alone.

    Example:
        >>> loss = TverskyLoss(fp_weight=1, fn_weight=1)
        >>> loss(torch.zeros(2, 1, 4), torch.zeros(2, 1, 4))
        tensor(0.)
    """

    def __init__(
        self,
        fp_weight: float = 0.3,
        fn_weight: float = 0.7,
        smooth: float = 1.0,
        *,
        reduction: ImageReduction = "mean",
        ignore_index: int | None = 255,
        from_logits: bool = False,
        validate: bool | None = None,
    ) -> None:
        super().__init__(
            tversky_loss_with_logits if from_logits else tversky_loss,
            fp_weight=fp_weight,
            fn_weight=fn_weight,
            smooth=smooth,
            reduction=reduction,
            ignore_index=ignore_index,
            validate=validate,
        )


def focal_tversky_loss(
    probs: Tensor,
    target: Tensor,
    *,
    fp_weight: float = 0.3,
    fn_weight: float = 0.7,
    exponent: float = 0.75,
    smooth: float = 1.0,
    reduction: ImageReduction = "mean",
    ignore_index: int | None = 255,
    validate: bool | None = None,
) -> Tensor:
    """A power of the Tversky loss, in [0, 1].

    ``Tversky^e``, Tversky as in `tversky_loss`. With e below 1 the slope is infinite at
    a perfect score; the gradient there is 0.

    Args:
        probs: Probability of change in [0, 1]; floating, ``(N, H, W)`` or
            ``(N, 1, H, W)``.
        target: 1 changed, 0 unchanged, soft labels between; shape of ``probs``.
        fp_weight: Weight of false alarms; at least 0.
        fn_weight: Weight of misses; at least 0.
        exponent: Power of the Tversky loss, above 0; below 1 it stresses images that
            are already good, above 1 the others.
        smooth: Pixels added above and below the fraction; at least 0.
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
        >>> focal_tversky_loss(probs, torch.tensor([[[1, 0], [1, 0]]]))
        tensor(0.3006)

    References:
        Abraham and Khan, "A Novel Focal Tversky loss function with improved Attention
        U-Net for lesion segmentation", 2018 (https://arxiv.org/abs/1810.07842);
        ``exponent`` is its 1/γ with γ = 4/3, as in its code.
    """
    pixels = prepare(
        probs,
        target,
        from_logits=False,
        ignore_index=ignore_index,
        validate=validate,
    )
    loss = tversky(
        pixels,
        fp_weight=fp_weight,
        fn_weight=fn_weight,
        smooth=smooth,
        pooled=is_pooled(reduction),
    )
    return _power(loss, exponent).reduce(reduction, pixels.scores.dtype)


def focal_tversky_loss_with_logits(
    logits: Tensor,
    target: Tensor,
    *,
    fp_weight: float = 0.3,
    fn_weight: float = 0.7,
    exponent: float = 0.75,
    smooth: float = 1.0,
    reduction: ImageReduction = "mean",
    ignore_index: int | None = 255,
    validate: bool | None = None,
) -> Tensor:
    """Focal Tversky loss of change scores before the sigmoid.

    Definition, arguments, result and errors are those of `focal_tversky_loss`.

    Example:
        >>> logits = torch.tensor([[[2.0, -1.0, torch.nan]]])
        >>> focal_tversky_loss_with_logits(logits, torch.tensor([[[1, 0, 255]]]))
        tensor(0.1508)
    """
    pixels = prepare(
        logits,
        target,
        from_logits=True,
        ignore_index=ignore_index,
        validate=validate,
    )
    loss = tversky(
        pixels,
        fp_weight=fp_weight,
        fn_weight=fn_weight,
        smooth=smooth,
        pooled=is_pooled(reduction),
    )
    return _power(loss, exponent).reduce(reduction, pixels.scores.dtype)


def _power(tversky: Regions, exponent: float) -> Regions:
    if not exponent > 0:
        raise ValueError(f"exponent is {exponent}; expected above 0")
    # At 0 the slope of a power below 1 is infinite; the clamp cuts its gradient.
    base = tversky.loss.clamp(min=torch.finfo(tversky.loss.dtype).tiny)
    return Regions(base**exponent, tversky.defined)


class FocalTverskyLoss(LossModule):
    """Focal Tversky loss as a module; see `focal_tversky_loss`.

    Args:
        fp_weight: Weight of false alarms; at least 0.
        fn_weight: Weight of misses; at least 0.
        exponent: Power of the Tversky loss, above 0.
        smooth: Pixels added above and below the fraction; at least 0.
        reduction: ``"mean"`` over images, ``"pooled"`` or ``"none"``.
        ignore_index: Target value of pixels to leave out, None for none.
        from_logits: Whether predictions are logits instead of probabilities.
        validate: Whether bad values raise; None means on the CPU alone.

    Example:
        >>> loss = FocalTverskyLoss()
        >>> loss(torch.zeros(2, 1, 4), torch.zeros(2, 1, 4))
        tensor(0.)
    """

    def __init__(
        self,
        fp_weight: float = 0.3,
        fn_weight: float = 0.7,
        exponent: float = 0.75,
        smooth: float = 1.0,
        *,
        reduction: ImageReduction = "mean",
        ignore_index: int | None = 255,
        from_logits: bool = False,
        validate: bool | None = None,
    ) -> None:
        super().__init__(
            focal_tversky_loss_with_logits if from_logits else focal_tversky_loss,
            fp_weight=fp_weight,
            fn_weight=fn_weight,
            exponent=exponent,
            smooth=smooth,
            reduction=reduction,
            ignore_index=ignore_index,
            validate=validate,
        )
