"""Lovász losses: IoU made differentiable by sorting the errors."""

from __future__ import annotations

from typing import Literal, TypeAlias, get_args

import torch
from torch import Tensor

from cdstats.losses._pixels import (
    ImageReduction,
    LossModule,
    Pixels,
    accumulator,
    check_choice,
    image_rows,
    is_pooled,
    prepare,
    probabilities,
    ratio,
)
from cdstats.losses._regions import Regions

Classes: TypeAlias = Literal["foreground", "present", "all"]
"""Which classes the loss is the mean of."""


def lovasz_softmax_loss(
    probs: Tensor,
    target: Tensor,
    *,
    classes: Classes = "foreground",
    reduction: ImageReduction = "mean",
    ignore_index: int | None = 255,
    validate: bool | None = None,
) -> Tensor:
    """Lovász extension of 1 − IoU at the errors of the probabilities, in [0, 1].

    With the errors ``|p − y|`` sorted downwards, ``Σ e_j·(J_j − J_{j−1})``, J_j the
    Jaccard loss if the first j pixels were wrong. **An image without change costs its
    largest p** in the foreground form: one pixel gets the whole gradient.

    Args:
        probs: Probability of change in [0, 1]; floating, ``(N, H, W)`` or
            ``(N, 1, H, W)``.
        target: 1 changed, 0 unchanged; hard labels only, shape of ``probs``.
        classes: ``"foreground"``, the changed class alone; ``"all"``, the mean of both
            classes; ``"present"``, the mean of those that the image holds.
        reduction: ``"mean"`` over images; ``"pooled"``, the batch sorted as if it were
            one image; or ``"none"``, a value per image, ``(N,)``.
        ignore_index: Target value of pixels to leave out, None for none. Masks of 0
            and 255 need ``target == 255``.
        validate: Whether bad values raise; None means on the CPU alone, and a NaN loss
            elsewhere.

    Returns:
        The loss; dtype of ``probs`` (float32 for half types). Images
        without a valid pixel are left out of the mean; NaN, with gradient 0, if none is
        left.

    Raises:
        TypeError: If ``probs`` are not floating.
        ValueError: If shapes differ or are not those of images, an argument is unknown
            or outside its range, or, where validated, a value is.

    Example:
        >>> probs = torch.tensor([[[0.9, 0.2], [0.4, 0.1]]])
        >>> lovasz_softmax_loss(probs, torch.tensor([[[1, 0], [1, 0]]]))
        tensor(0.3667)

    References:
        Berman et al., "The Lovász-Softmax loss", 2018
        (https://arxiv.org/abs/1705.08790).
    """
    pixels = prepare(
        probs,
        target,
        from_logits=False,
        ignore_index=ignore_index,
        validate=validate,
        soft=False,
    )
    return _lovasz_softmax(pixels, classes, reduction)


def lovasz_softmax_loss_with_logits(
    logits: Tensor,
    target: Tensor,
    *,
    classes: Classes = "foreground",
    reduction: ImageReduction = "mean",
    ignore_index: int | None = 255,
    validate: bool | None = None,
) -> Tensor:
    """Lovász softmax loss of change scores before the sigmoid.

    Definition, arguments, result and errors are those of `lovasz_softmax_loss`.

    Example:
        >>> logits = torch.tensor([[[2.0, -1.0, torch.nan]]])
        >>> lovasz_softmax_loss_with_logits(logits, torch.tensor([[[1, 0, 255]]]))
        tensor(0.1941)
    """
    pixels = prepare(
        logits,
        target,
        from_logits=True,
        ignore_index=ignore_index,
        validate=validate,
        soft=False,
    )
    return _lovasz_softmax(pixels, classes, reduction)


def lovasz_hinge_loss(
    logits: Tensor,
    target: Tensor,
    *,
    reduction: ImageReduction = "mean",
    ignore_index: int | None = 255,
    validate: bool | None = None,
) -> Tensor:
    """Lovász extension of 1 − IoU at the hinge errors of logits.

    As `lovasz_softmax_loss` of the changed class, with the errors
    ``max(0, 1 − z·(2y − 1))`` of the logits z. It has no form for probabilities.

    Args:
        logits: Change scores before the sigmoid; floating, ``(N, H, W)`` or
            ``(N, 1, H, W)``.
        target: 1 changed, 0 unchanged; hard labels only, shape of ``logits``.
        reduction: ``"mean"`` over images; ``"pooled"``, the batch sorted as if it were
            one image; or ``"none"``, a value per image, ``(N,)``.
        ignore_index: Target value of pixels to leave out, None for none. Masks of 0
            and 255 need ``target == 255``.
        validate: Whether bad values raise; None means on the CPU alone, and a NaN loss
            elsewhere.

    Returns:
        The loss; dtype of ``logits`` (float32 for half types). Images
        without a valid pixel are left out of the mean; NaN, with gradient 0, if none is
        left.

    Raises:
        TypeError: If ``logits`` are not floating.
        ValueError: If shapes differ or are not those of images, an argument is unknown
            or outside its range, or, where validated, a value is.

    Example:
        >>> logits = torch.tensor([[[2.0, -0.5], [-0.25, -1.5]]])
        >>> lovasz_hinge_loss(logits, torch.tensor([[[1, 0], [1, 0]]]))
        tensor(0.7083)

    References:
        Berman et al., "The Lovász-Softmax loss", 2018
        (https://arxiv.org/abs/1705.08790).
    """
    pixels = prepare(
        logits,
        target,
        from_logits=True,
        ignore_index=ignore_index,
        validate=validate,
        soft=False,
    )
    sign = 2 * pixels.target - 1
    errors = torch.where(pixels.valid, (1 - pixels.scores * sign).relu(), 0)
    return _lovasz(pixels, errors, "foreground", reduction)


def _lovasz_softmax(
    pixels: Pixels, classes: Classes, reduction: ImageReduction
) -> Tensor:
    check_choice("classes", classes, get_args(Classes))
    # The errors of the unchanged class are the same: |(1−p) − (1−y)|.
    errors = (probabilities(pixels) - pixels.target).abs()
    return _lovasz(pixels, errors, classes, reduction)


def _lovasz(
    pixels: Pixels, errors: Tensor, classes: Classes, reduction: ImageReduction
) -> Tensor:
    """The loss at errors that are 0 at ignored pixels: they sort last and add 0."""
    pooled = is_pooled(reduction)
    errors, order = image_rows(errors, pooled=pooled).sort(dim=1, descending=True)
    valid = image_rows(pixels.valid, pooled=pooled).gather(1, order)
    changed = (image_rows(pixels.target, pooled=pooled) == 1).gather(1, order)
    loss = _extension(errors, changed, valid & ~changed)
    if classes != "foreground":
        of_unchanged = _extension(errors, valid & ~changed, changed)
        counts = torch.stack([changed.any(1), (valid & ~changed).any(1)])
        weights = (counts | (classes == "all")).to(loss.dtype)
        total = weights[0] * loss + weights[1] * of_unchanged
        loss = ratio(total, weights.sum(0))
    return Regions(loss, valid.any(1)).reduce(reduction, pixels.scores.dtype)


def _extension(errors: Tensor, inside: Tensor, outside: Tensor) -> Tensor:
    """Lovász extension of the Jaccard loss of one class, for each row of errors."""
    size = inside.sum(1, keepdim=True)
    left = (size - inside.cumsum(1)).to(accumulator(errors.device))
    jaccard = 1 - left / (size + outside.cumsum(1)).clamp(min=1)
    steps = jaccard.diff(dim=1, prepend=torch.zeros_like(left[:, :1]))
    return (errors * steps).sum(1)


class LovaszSoftmaxLoss(LossModule):
    """Lovász softmax loss as a module; see `lovasz_softmax_loss`.

    Args:
        classes: ``"foreground"``, ``"present"`` or ``"all"``.
        reduction: ``"mean"`` over images, ``"pooled"`` or ``"none"``.
        ignore_index: Target value of pixels to leave out, None for none.
        from_logits: Whether predictions are logits instead of probabilities.
        validate: Whether bad values raise; None means on the CPU alone.

    Example:
        >>> loss = LovaszSoftmaxLoss()
        >>> loss(torch.tensor([[[0.1, 0.7, 0.2]]]), torch.zeros(1, 1, 3))
        tensor(0.7000)
    """

    def __init__(
        self,
        classes: Classes = "foreground",
        *,
        reduction: ImageReduction = "mean",
        ignore_index: int | None = 255,
        from_logits: bool = False,
        validate: bool | None = None,
    ) -> None:
        super().__init__(
            lovasz_softmax_loss_with_logits if from_logits else lovasz_softmax_loss,
            classes=classes,
            reduction=reduction,
            ignore_index=ignore_index,
            validate=validate,
        )


class LovaszHingeLoss(LossModule):
    """Lovász hinge loss as a module, of logits; see `lovasz_hinge_loss`.

    Args:
        reduction: ``"mean"`` over images, ``"pooled"`` or ``"none"``.
        ignore_index: Target value of pixels to leave out, None for none.
        validate: Whether bad values raise; None means on the CPU alone.

    Example:
        >>> LovaszHingeLoss()(torch.zeros(1, 1, 3), torch.tensor([[[0, 1, 0]]]))
        tensor(1.)
    """

    def __init__(
        self,
        *,
        reduction: ImageReduction = "mean",
        ignore_index: int | None = 255,
        validate: bool | None = None,
    ) -> None:
        super().__init__(
            lovasz_hinge_loss,
            reduction=reduction,
            ignore_index=ignore_index,
            validate=validate,
        )
