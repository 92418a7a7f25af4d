"""Losses computed from soft counts of hits, false alarms and misses."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

import torch
from torch import Tensor

from cdstats.losses.modules import ImageLoss, functional, number, parameter
from cdstats.losses.pixel import Beta, check_beta, class_weights

if TYPE_CHECKING:
    from cdstats.losses.batch import Batch

__all__ = [
    "ComboLoss",
    "DiceLoss",
    "FocalTverskyLoss",
    "LogCoshDiceLoss",
    "TverskyLoss",
    "combo_loss",
    "dice_loss",
    "focal_tversky_loss",
    "log_cosh_dice_loss",
    "tversky_loss",
]


def tversky(
    batch: Batch, fp_weight: float, fn_weight: float, smooth: float, *, pooled: bool
) -> tuple[Tensor, Tensor]:
    """1 − (TP + s)/(TP + a·FP + b·FN + s) and where it is defined; float64.

    It is computed as (a·FP + b·FN)/(TP + a·FP + b·FN + s). Where it is undefined,
    without a valid pixel or at 0/0, the value is finite.
    """
    hits, false_alarms, misses = batch.soft_counts(pooled=pooled)
    wrong = fp_weight * false_alarms + fn_weight * misses
    whole = hits + wrong + smooth
    valid = batch.valid_count(pooled=pooled)
    return wrong / torch.where(whole == 0, 1, whole), (valid > 0) & (whole != 0)


def dice(batch: Batch, smooth: float, *, pooled: bool) -> tuple[Tensor, Tensor]:
    """Dice loss: Tversky with weights 0.5 and half the smoothing."""
    return tversky(batch, 0.5, 0.5, smooth / 2, pooled=pooled)


class DiceLoss(ImageLoss):
    """Soft Dice loss, 1 − F1 of the probabilities, in [0, 1].

    ``1 − (2·Σp·y + s)/(Σp + Σy + s)``. The smoothing s decides the loss of images
    without change: with s = 0 it is 1 with gradient 0, and undefined if p is 0
    everywhere; with s = 1 it is ``1 − 1/(Σp + 1)``, which grows with image size. With
    soft labels the minimum is not 0.

    Args:
        smooth: s, pixels added to numerator and denominator; at least 0.

    Example:
        >>> probs = torch.tensor([[[0.9, 0.2], [0.4, 0.1]]])
        >>> DiceLoss(smooth=0)(probs, torch.tensor([[[1, 0], [1, 0]]]))
        tensor(0.2778)

    References:
        Jadon, "A survey of loss functions for semantic segmentation", 2020,
        "Dice loss" (https://arxiv.org/abs/2006.14822), without the squares of V-Net.
        The smoothing is defined as in MONAI; segmentation_models_pytorch needs half of
        it for the same value.
    """

    smooth: float = parameter(default=1.0, check=number())
    name: ClassVar[str] = "dice"

    def _values(self, batch: Batch) -> tuple[Tensor, Tensor]:
        return dice(batch, self.smooth, pooled=self.pooled)


class LogCoshDiceLoss(ImageLoss):
    """Logarithm of the hyperbolic cosine of the soft Dice loss.

    ``ln cosh(Dice)``, from 0 to 0.434. Near 0 it is about Dice²/2, so that nearly
    perfect images have smaller gradients. For one image it ranks predictions as Dice
    does; means over images can rank them differently.

    Args:
        smooth: Pixels added to numerator and denominator of Dice; at least 0.

    Example:
        >>> probs = torch.tensor([[[0.9, 0.2], [0.4, 0.1]]])
        >>> LogCoshDiceLoss()(probs, torch.tensor([[[1, 0], [1, 0]]]))
        tensor(0.0234)

    References:
        Jadon, "A survey of loss functions for semantic segmentation", 2020,
        "Log-Cosh Dice loss" (https://arxiv.org/abs/2006.14822).
    """

    smooth: float = parameter(default=1.0, check=number())
    name: ClassVar[str] = "log_cosh_dice"

    def _values(self, batch: Batch) -> tuple[Tensor, Tensor]:
        loss, defined = dice(batch, self.smooth, pooled=self.pooled)
        # ln cosh x is computed as log1p(2 sinh²(x/2)), because cosh x rounds to 1 near
        # 0.
        return torch.log1p(2 * torch.sinh(loss / 2) ** 2), defined


class TverskyLoss(ImageLoss):
    """Dice loss with separate weights for false alarms and misses, in [0, 1].

    ``1 − (TP + s)/(TP + a·FP + b·FN + s)`` of the soft counts ``TP = Σp·y``,
    ``FP = Σp·(1−y)``, ``FN = Σ(1−p)·y``. Weights 0.5 and 0.5 give Dice with twice the
    smoothing; 1 and 1 give the Jaccard loss. The weights are not called α and β because
    publications disagree on their order. Smoothing decides the loss of images without
    change, as in `DiceLoss`.

    Args:
        fp_weight: a, weight of false alarms; at least 0.
        fn_weight: b, weight of misses; at least 0.
        smooth: s, pixels added to numerator and denominator; at least 0.

    Example:
        >>> probs = torch.tensor([[[0.9, 0.2], [0.4, 0.1]]])
        >>> TverskyLoss()(probs, torch.tensor([[[1, 0], [1, 0]]]))
        tensor(0.2014)

    References:
        Salehi et al., "Tversky loss function for image segmentation using 3D fully
        convolutional deep networks", 2017 (https://arxiv.org/abs/1706.05721);
        its α is ``fp_weight``, its β ``fn_weight``.
    """

    fp_weight: float = parameter(default=0.3, check=number())
    fn_weight: float = parameter(default=0.7, check=number())
    smooth: float = parameter(default=1.0, check=number())
    name: ClassVar[str] = "tversky"

    def _values(self, batch: Batch) -> tuple[Tensor, Tensor]:
        weights = self.fp_weight, self.fn_weight, self.smooth
        return tversky(batch, *weights, pooled=self.pooled)


class FocalTverskyLoss(ImageLoss):
    """A power of the Tversky loss, in [0, 1].

    ``Tversky^e`` with Tversky as in `TverskyLoss`. With e below 1 the slope at a
    perfect prediction is infinite; the gradient is set to 0 there.

    Args:
        fp_weight: Weight of false alarms; at least 0.
        fn_weight: Weight of misses; at least 0.
        exponent: Power e of the Tversky loss, above 0. Below 1 it emphasises images
            with a low loss, above 1 images with a high loss.
        smooth: Pixels added to numerator and denominator; at least 0.

    Example:
        >>> probs = torch.tensor([[[0.9, 0.2], [0.4, 0.1]]])
        >>> FocalTverskyLoss()(probs, torch.tensor([[[1, 0], [1, 0]]]))
        tensor(0.3006)

    References:
        Abraham and Khan, "A Novel Focal Tversky loss function with improved Attention
        U-Net for lesion segmentation", 2018 (https://arxiv.org/abs/1810.07842);
        ``exponent`` is its 1/γ with γ = 4/3, as in its code.
    """

    fp_weight: float = parameter(default=0.3, check=number())
    fn_weight: float = parameter(default=0.7, check=number())
    exponent: float = parameter(default=0.75, check=number(above_low=True))
    smooth: float = parameter(default=1.0, check=number())
    name: ClassVar[str] = "focal_tversky"

    def _values(self, batch: Batch) -> tuple[Tensor, Tensor]:
        weights = self.fp_weight, self.fn_weight, self.smooth
        loss, defined = tversky(batch, *weights, pooled=self.pooled)
        # At 0 the slope of a power below 1 is infinite; the clamp makes it 0.
        base = loss.clamp(min=torch.finfo(loss.dtype).tiny)
        return base**self.exponent, defined


class ComboLoss(ImageLoss):
    """Weighted sum of the mean balanced cross-entropy and the Dice loss.

    ``α·CE + (1−α)·Dice`` with CE as in `BalancedCrossEntropyLoss`, per valid pixel, and
    Dice as in `DiceLoss`. β = 0.5 makes CE half the plain cross-entropy.

    Args:
        alpha: Share of the cross-entropy from 0 to 1.
        beta: Weight of the changed class: a number from 0 to 1, ``"image"`` or
            ``"batch"``.
        smooth: Pixels added to numerator and denominator of Dice; at least 0.

    Example:
        >>> probs = torch.tensor([[[0.9, 0.2], [0.4, 0.1]]])
        >>> ComboLoss()(probs, torch.tensor([[[1, 0], [1, 0]]]))
        tensor(0.1931)

    References:
        Taghanaki et al., "Combo loss: handling input and output imbalance in
        multi-organ segmentation", 2018 (https://arxiv.org/abs/1805.02798). It
        subtracts the Dice score; adding the Dice loss differs by the constant 1 − α and
        is never negative.
    """

    alpha: float = parameter(default=0.5, check=number(high=1))
    beta: Beta = parameter(default=0.5, check=check_beta)
    smooth: float = parameter(default=1.0, check=number())
    name: ClassVar[str] = "combo"

    def _values(self, batch: Batch) -> tuple[Tensor, Tensor]:
        pooled = self.pooled
        rows = batch.cross_entropy(*class_weights(batch, self.beta))
        valid = batch.valid_count(pooled=pooled)
        entropy = batch.sums(rows, pooled=pooled) / valid.clamp(min=1)
        region, defined = dice(batch, self.smooth, pooled=pooled)
        return self.alpha * entropy + (1 - self.alpha) * region, defined


dice_loss = functional(DiceLoss, "dice_loss")
log_cosh_dice_loss = functional(LogCoshDiceLoss, "log_cosh_dice_loss")
tversky_loss = functional(TverskyLoss, "tversky_loss")
focal_tversky_loss = functional(FocalTverskyLoss, "focal_tversky_loss")
combo_loss = functional(ComboLoss, "combo_loss")
