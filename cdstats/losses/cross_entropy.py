"""Balanced cross-entropy, and the mean of the class means."""

from __future__ import annotations

from typing import Literal, TypeAlias

import torch
from torch import Tensor

from cdstats.losses._pixels import (
    ImageReduction,
    LossModule,
    PixelReduction,
    Pixels,
    check_share,
    cross_entropies,
    image_sums,
    is_pooled,
    prepare,
    ratio,
    reduce_pixels,
)
from cdstats.losses._regions import Regions

Beta: TypeAlias = Literal["image", "batch"] | float
"""Weight of the changed class: from each image, from the batch, or a number."""


def balanced_cross_entropy(
    probs: Tensor,
    target: Tensor,
    *,
    beta: Beta = "image",
    reduction: PixelReduction = "sum",
    ignore_index: int | None = 255,
    validate: bool | None = None,
) -> Tensor:
    """Cross-entropy in which both classes of an image weigh the same in total.

    ``−(β·y·ln p + (1−β)·(1−y)·ln(1−p))`` with β = unchanged / valid pixels, logs
    clamped at −100. It balances classes inside an image, not between images: an image
    counts by π(1−π), π its change fraction. **With ``beta="image"`` an image of one
    class adds exactly 0, whatever is predicted**, so false alarms in unchanged images
    cost nothing. ``beta="batch"`` makes them count when another image of the batch (of
    this device) holds change, a number makes them count always; 0.5 is half the plain
    cross-entropy.

    Args:
        probs: Probability of change in [0, 1]; floating, ``(N, H, W)`` or
            ``(N, 1, H, W)``. Float noise of a few machine epsilons is clipped.
        target: 1 changed, 0 unchanged, soft labels between; bool, integer or floating,
            shape of ``probs``.
        beta: ``"image"``, ``"batch"`` or a number in [0, 1].
        reduction: ``"sum"`` over pixels and images, as the published code has it (it
            grows with image and batch size), ``"mean"`` over the valid pixels, or
            ``"none"``, a value per pixel, 0 at ignored ones.
        ignore_index: Target value of pixels to leave out, None for none. **Masks of 0
            and 255 need ``target == 255``**, else every changed pixel is left out.
        validate: Whether bad values raise. None raises on the CPU and elsewhere, where
            looking would wait for the device, makes the loss NaN.

    Returns:
        The loss; nats, dtype of ``probs`` (float32 for half types), summed in float64.
        The mean of a batch without valid pixels is NaN, its gradient 0.

    Raises:
        TypeError: If ``probs`` are not floating.
        ValueError: If shapes differ or are not those of images, an argument is unknown,
            or, where validated, a value is outside its range.

    Example:
        >>> probs = torch.tensor([[[0.9, 0.2], [0.4, 0.1]]])
        >>> target = torch.tensor([[[1, 0], [1, 0]]])
        >>> balanced_cross_entropy(probs, target)
        tensor(0.6751)

    References:
        Xie and Tu, "Holistically-Nested Edge Detection", 2015, eq. 2
        (https://arxiv.org/abs/1504.06375). Its text names the two label sets the other
        way round than its formula needs; this is the formula.
    """
    pixels = prepare(
        probs,
        target,
        from_logits=False,
        ignore_index=ignore_index,
        validate=validate,
    )
    loss = weighted_cross_entropy(pixels, beta)
    return reduce_pixels(loss, pixels.valid, reduction)


def balanced_cross_entropy_with_logits(
    logits: Tensor,
    target: Tensor,
    *,
    beta: Beta = "image",
    reduction: PixelReduction = "sum",
    ignore_index: int | None = 255,
    validate: bool | None = None,
) -> Tensor:
    """Balanced cross-entropy of change scores before the sigmoid.

    Definition, arguments, result and errors are those of `balanced_cross_entropy`.
    The logs come from torch's fused log-sigmoid: no clamp, and a gradient that is at
    most the pixel's weight. Prefer it for training. A target of 255 that is not ignored
    is refused, where `torch.nn.BCEWithLogitsLoss` returns a number without meaning.

    Example:
        >>> logits = torch.tensor([[[2.0, -1.0, torch.nan]]])
        >>> target = torch.tensor([[[1, 0, 255]]])
        >>> balanced_cross_entropy_with_logits(logits, target)
        tensor(0.2201)
    """
    pixels = prepare(
        logits,
        target,
        from_logits=True,
        ignore_index=ignore_index,
        validate=validate,
    )
    loss = weighted_cross_entropy(pixels, beta)
    return reduce_pixels(loss, pixels.valid, reduction)


def weighted_cross_entropy(pixels: Pixels, beta: Beta) -> Tensor:
    """Cross-entropy of each pixel times the weight of its class; shape of the pixels.

    Raises:
        ValueError: If ``beta`` is an unknown word or outside [0, 1].
    """
    changed_weight, unchanged_weight = _class_weights(pixels, beta)
    if_changed, if_unchanged = cross_entropies(pixels)
    target = pixels.target
    changed = changed_weight * target * if_changed
    return changed + unchanged_weight * (1 - target) * if_unchanged


def _class_weights(
    pixels: Pixels, beta: Beta
) -> tuple[Tensor, Tensor] | tuple[float, float]:
    """β and 1 − β, broadcasting over the pixels."""
    if not isinstance(beta, str):
        check_share("beta", beta)
        return beta, 1 - beta
    if beta not in ("image", "batch"):
        raise ValueError(f"beta is {beta!r}; expected 'image', 'batch' or a number")
    target, valid = pixels.target, pixels.valid
    pooled = beta == "batch"
    # An image without valid pixels has no beta; NaN would reach its gradient.
    count = image_sums(valid, pooled=pooled).clamp(min=1)
    changed = image_sums(target, pooled=pooled) / count
    shape = (-1,) + (1,) * (target.dim() - 1)
    weights = (1 - changed).to(target.dtype), changed.to(target.dtype)
    return weights[0].reshape(shape), weights[1].reshape(shape)


class BalancedCrossEntropyLoss(LossModule):
    """Balanced cross-entropy as a module; see `balanced_cross_entropy`.

    With its defaults it takes probabilities and gives the value of the widely copied
    ``Balanced_CE_loss``: beta from each image, summed over pixels and images. Unlike
    it, the loss has finite gradients at 0 and 1, takes any layout and device, and
    refuses (H, W) input, which the snippet reads as one image per row.

    Args:
        beta: ``"image"``, ``"batch"`` or a number in [0, 1].
        reduction: ``"sum"``, ``"mean"`` over the valid pixels, or ``"none"``.
        ignore_index: Target value of pixels to leave out, None for none.
        from_logits: Whether predictions are logits instead of probabilities.
        validate: Whether bad values raise; None means on the CPU alone.

    Example:
        >>> loss = BalancedCrossEntropyLoss(beta="batch", reduction="mean")
        >>> loss(torch.full((2, 1, 8, 8), 0.5), torch.zeros(2, 1, 8, 8))
        tensor(0.)
    """

    def __init__(
        self,
        beta: Beta = "image",
        *,
        reduction: PixelReduction = "sum",
        ignore_index: int | None = 255,
        from_logits: bool = False,
        validate: bool | None = None,
    ) -> None:
        super().__init__(
            balanced_cross_entropy_with_logits
            if from_logits
            else balanced_cross_entropy,
            beta=beta,
            reduction=reduction,
            ignore_index=ignore_index,
            validate=validate,
        )


def class_mean_bce(
    probs: Tensor,
    target: Tensor,
    *,
    reduction: ImageReduction = "mean",
    ignore_index: int | None = 255,
    validate: bool | None = None,
) -> Tensor:
    """Mean of the two class means of the cross-entropy.

    ``½·(mean of −ln p over changed + mean of −ln(1−p) over unchanged pixels)``. It is
    balanced cross-entropy divided by the sum of its weights, on the scale of plain
    cross-entropy. **Undefined where a class is absent**: such an image is left out of
    the mean; if no image is left the loss is NaN and its gradient 0. Where many images
    have no change, ``"pooled"`` uses their pixels.

    Args:
        probs: Probability of change in [0, 1]; floating, ``(N, H, W)`` or
            ``(N, 1, H, W)``.
        target: 1 changed, 0 unchanged, soft labels between; shape of ``probs``.
        reduction: ``"mean"`` over the images that hold both classes, ``"pooled"`` from
            the sums of the batch, or ``"none"``, a value per image, ``(N,)``.
        ignore_index: Target value of pixels to leave out, None for none. Masks of 0
            and 255 need ``target == 255``.
        validate: Whether bad values raise; None means on the CPU alone, and a NaN loss
            elsewhere.

    Returns:
        The loss; nats, dtype of ``probs`` (float32 for half types).

    Raises:
        TypeError: If ``probs`` are not floating.
        ValueError: If shapes differ or are not those of images, ``reduction`` is
            unknown, or, where validated, a value is outside its range.

    Example:
        >>> probs = torch.tensor([[[0.9, 0.2], [0.4, 0.1]]])
        >>> class_mean_bce(probs, torch.tensor([[[1, 0], [1, 0]]]))
        tensor(0.3375)

    References:
        Xie and Tu, "Holistically-Nested Edge Detection", 2015, eq. 2
        (https://arxiv.org/abs/1504.06375), divided by the sum of its weights.
    """
    pixels = prepare(
        probs,
        target,
        from_logits=False,
        ignore_index=ignore_index,
        validate=validate,
    )
    return _class_mean(pixels, reduction)


def class_mean_bce_with_logits(
    logits: Tensor,
    target: Tensor,
    *,
    reduction: ImageReduction = "mean",
    ignore_index: int | None = 255,
    validate: bool | None = None,
) -> Tensor:
    """Class-mean cross-entropy of change scores before the sigmoid.

    Definition, arguments, result and errors are those of `class_mean_bce`.

    Example:
        >>> logits = torch.tensor([[[2.0, -1.0, torch.nan]]])
        >>> class_mean_bce_with_logits(logits, torch.tensor([[[1, 0, 255]]]))
        tensor(0.2201)
    """
    pixels = prepare(
        logits,
        target,
        from_logits=True,
        ignore_index=ignore_index,
        validate=validate,
    )
    return _class_mean(pixels, reduction)


def _class_mean(pixels: Pixels, reduction: ImageReduction) -> Tensor:
    pooled = is_pooled(reduction)
    changed = pixels.target
    unchanged = torch.where(pixels.valid, 1 - changed, 0)
    if_changed, if_unchanged = cross_entropies(pixels)
    n1 = image_sums(changed, pooled=pooled)
    n0 = image_sums(unchanged, pooled=pooled)
    mean1 = ratio(image_sums(changed * if_changed, pooled=pooled), n1)
    mean0 = ratio(image_sums(unchanged * if_unchanged, pooled=pooled), n0)
    loss = Regions((mean1 + mean0) / 2, (n1 != 0) & (n0 != 0))
    return loss.reduce(reduction, changed.dtype)


class ClassMeanBCELoss(LossModule):
    """Class-mean cross-entropy as a module; see `class_mean_bce`.

    Args:
        reduction: ``"mean"`` over images, ``"pooled"`` or ``"none"``.
        ignore_index: Target value of pixels to leave out, None for none.
        from_logits: Whether predictions are logits instead of probabilities.
        validate: Whether bad values raise; None means on the CPU alone.

    Example:
        >>> loss = ClassMeanBCELoss(reduction="pooled", from_logits=True)
        >>> loss(torch.zeros(2, 1, 2), torch.tensor([[[0, 1]], [[0, 0]]]))
        tensor(0.6931)
    """

    def __init__(
        self,
        *,
        reduction: ImageReduction = "mean",
        ignore_index: int | None = 255,
        from_logits: bool = False,
        validate: bool | None = None,
    ) -> None:
        super().__init__(
            class_mean_bce_with_logits if from_logits else class_mean_bce,
            reduction=reduction,
            ignore_index=ignore_index,
            validate=validate,
        )
