"""Losses computed from the cross-entropy of pixels."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar, Literal, TypeAlias

import torch
from torch import Tensor

from cdstats.losses.modules import (
    ImageLoss,
    PixelLoss,
    PixelReduction,
    choice,
    functional,
    number,
    parameter,
)

if TYPE_CHECKING:
    from cdstats.losses.batch import Batch

__all__ = [
    "BalancedCrossEntropyLoss",
    "Beta",
    "ClassMeanBCELoss",
    "FocalLoss",
    "balanced_cross_entropy",
    "balanced_cross_entropy_with_logits",
    "class_mean_bce",
    "focal_loss",
]

Beta: TypeAlias = Literal["image", "batch"] | float
"""Weight of the changed class: from each image, from the batch, or a number."""
check_beta = number(high=1, words=("image", "batch"))


def class_weights(batch: Batch, beta: Beta) -> tuple[Tensor | float, Tensor | float]:
    """β and 1 − β: numbers, ``(N,)`` or ``(1,)``."""
    if not isinstance(beta, str):
        return beta, 1 - beta
    changed, valid = batch.counts(pooled=beta == "batch")
    # Without valid pixels beta is undefined, and NaN would reach the gradient.
    share = changed / valid.clamp(min=1)
    return 1 - share, share


class BalancedCrossEntropyLoss(PixelLoss):
    """Cross-entropy in which both classes of an image have the same total weight.

    ``−(β·y·ln p + (1−β)·(1−y)·ln(1−p))`` with β = unchanged / valid pixels. Logs of
    probabilities are clamped at −100; logits use the stable form, which needs no clamp.
    The classes are balanced inside an image, not between images: the weight of an image
    is π(1−π), with its change fraction π. **With** ``beta="image"`` **an image of one
    class adds exactly 0, whatever is predicted**, so false alarms in unchanged images
    cost nothing. With ``beta="batch"`` they count if another image of the batch on this
    device has change; with a number they always count. 0.5 gives half the plain
    cross-entropy.

    The defaults take probabilities and give the value of the widely copied
    ``Balanced_CE_loss``. Unlike that function, this loss has finite gradients at 0 and
    1, takes any layout and device, and refuses (H, W) input, which the function reads
    as one image per row.

    Args:
        beta: ``"image"``, ``"batch"`` or a number from 0 to 1.

    Example:
        >>> loss = BalancedCrossEntropyLoss()
        >>> probs = torch.tensor([[[0.9, 0.2], [0.4, 0.1]]])
        >>> loss(probs, torch.tensor([[[1, 0], [1, 0]]]))
        tensor(0.6751)

    References:
        Xie and Tu, "Holistically-Nested Edge Detection", 2015, eq. 2
        (https://arxiv.org/abs/1504.06375). The text of the paper swaps the two label
        sets; this loss follows the formula.
    """

    beta: Beta = parameter(default="image", check=check_beta)
    reduction: PixelReduction = parameter(
        default="sum", check=choice("mean", "sum", "none"), kw_only=True
    )
    name: ClassVar[str] = "balanced_ce"

    def _weights(self, batch: Batch) -> tuple[Tensor | float, Tensor | float, float]:
        return *class_weights(batch, self.beta), 0.0


class FocalLoss(PixelLoss):
    """Cross-entropy that gives less weight to pixels that are already classified well.

    ``−a·(1−q)^γ·ln q`` with the probability q of the true class and a = α for changed,
    1 − α for unchanged pixels, or 1 if α is None. **The paper's α = 0.25 gives the
    changed class a third of the weight of the unchanged class**; it was tuned for a
    detector. Use α above 0.5 to favour change, or None for equal weights. The paper
    divides by the number of positives, not of pixels.

    Args:
        alpha: Weight of the changed class from 0 to 1, or None for no weights.
        gamma: Exponent, at least 0; with 0 it is weighted cross-entropy.

    Example:
        >>> probs = torch.tensor([[[0.9, 0.2], [0.4, 0.1]]])
        >>> FocalLoss()(probs, torch.tensor([[[1, 0], [1, 0]]]))
        tensor(0.0226)

    References:
        Lin et al., "Focal Loss for Dense Object Detection", 2017, eq. 5
        (https://arxiv.org/abs/1708.02002).
    """

    alpha: float | None = parameter(default=0.25, check=number(high=1, words=(None,)))
    gamma: float = parameter(default=2.0, check=number())
    soft: ClassVar[bool] = False
    name: ClassVar[str] = "focal"

    def _weights(self, batch: Batch) -> tuple[float, float, float]:  # noqa: ARG002
        if self.alpha is None:
            return 1.0, 1.0, self.gamma
        return self.alpha, 1 - self.alpha, self.gamma


class ClassMeanBCELoss(ImageLoss):
    """Mean of the two class means of the cross-entropy.

    ``½·(mean of −ln p over changed + mean of −ln(1−p) over unchanged pixels)``: the
    balanced cross-entropy divided by the sum of its weights, on the scale of plain
    cross-entropy. **Undefined where a class is absent**: the mean excludes such images.
    If many images have no change, use ``"pooled"``, which includes their pixels.

    Example:
        >>> probs = torch.tensor([[[0.9, 0.2], [0.4, 0.1]]])
        >>> ClassMeanBCELoss()(probs, torch.tensor([[[1, 0], [1, 0]]]))
        tensor(0.3375)

    References:
        Xie and Tu, "Holistically-Nested Edge Detection", 2015, eq. 2
        (https://arxiv.org/abs/1504.06375), divided by the sum of its weights.
    """

    name: ClassVar[str] = "class_mean_bce"
    columns: ClassVar[str] = (
        '``"pooled"`` is ``{0}`` of the dataset and ``"none"`` that of each image'
    )

    def _values(self, batch: Batch) -> tuple[Tensor, Tensor]:
        changed, valid = batch.counts(pooled=self.pooled)
        unchanged = valid - changed
        weights = (0.5 / torch.where(n == 0, 1, n) for n in (changed, unchanged))
        loss = batch.sums(batch.cross_entropy(*weights), pooled=self.pooled)
        return loss, (changed != 0) & (unchanged != 0)


balanced_cross_entropy = functional(BalancedCrossEntropyLoss, "balanced_cross_entropy")
focal_loss = functional(FocalLoss, "focal_loss")
class_mean_bce = functional(ClassMeanBCELoss, "class_mean_bce")


def balanced_cross_entropy_with_logits(
    logits: Tensor,
    target: Tensor,
    **parameters: Any,  # noqa: ANN401 - those of the module
) -> Tensor:
    """Balanced cross-entropy of change scores before the sigmoid.

    The same as `balanced_cross_entropy` with ``from_logits=True``. A target of 255 that
    is not ignored raises; `torch.nn.BCEWithLogitsLoss` returns a meaningless number.

    Args:
        logits: Change scores before the sigmoid; floating, ``(N, H, W)`` or
            ``(N, 1, H, W)``.
        target: 1 changed, 0 unchanged, soft labels between; one of the two shapes.
        **parameters: Parameters of `BalancedCrossEntropyLoss`.

    Returns:
        The loss; dtype of ``logits`` (float32 for half types).

    Example:
        >>> logits = torch.tensor([[[2.0, -1.0, torch.nan]]])
        >>> target = torch.tensor([[[1, 0, 255]]])
        >>> balanced_cross_entropy_with_logits(logits, target)
        tensor(0.2201)
    """
    return balanced_cross_entropy(logits, target, from_logits=True, **parameters)
