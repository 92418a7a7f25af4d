"""Soft counts of hits, false alarms and misses, which all region losses are made of."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from cdstats.losses._pixels import (
    ImageReduction,
    Pixels,
    check_at_least_zero,
    image_sums,
    probabilities,
    ratio,
)


class Regions(NamedTuple):
    """A loss of each image, ``(N,)``, or of the pooled batch, ``(1,)``.

    Attributes:
        loss: The loss, finite where it is undefined; float64 where the device has it.
        defined: Where there is a valid pixel and the loss is not 0/0; bool.
    """

    loss: Tensor
    defined: Tensor

    def reduce(self, reduction: ImageReduction, dtype: torch.dtype) -> Tensor:
        """The losses or their mean, in ``dtype``; undefined ones are NaN or left out.

        As with `torch.nn.functional.cross_entropy` of ignored pixels alone, NaN comes
        with a gradient of 0: it can be seen, and does not destroy the weights.
        """
        if reduction == "none":
            return torch.where(self.defined, self.loss, torch.nan).to(dtype)
        total = torch.where(self.defined, self.loss, 0).sum()
        return (total / self.defined.sum()).to(dtype)


def tversky(
    pixels: Pixels, *, fp_weight: float, fn_weight: float, smooth: float, pooled: bool
) -> Regions:
    """Tversky loss, 1 − (TP + s)/(TP + a·FP + b·FN + s).

    Computed as (a·FP + b·FN)/(TP + a·FP + b·FN + s), which is exact near 0.

    Raises:
        ValueError: If a parameter is negative.
    """
    check_at_least_zero(fp_weight=fp_weight, fn_weight=fn_weight, smooth=smooth)
    probs, target = probabilities(pixels), pixels.target
    hits = image_sums(probs * target, pooled=pooled)
    false_alarms = image_sums(probs * (1 - target), pooled=pooled)
    misses = image_sums((1 - probs) * target, pooled=pooled)
    wrong = fp_weight * false_alarms + fn_weight * misses
    whole = hits + wrong + smooth
    any_valid = image_sums(pixels.valid, pooled=pooled) > 0
    return Regions(ratio(wrong, whole), any_valid & (whole != 0))


def dice(pixels: Pixels, *, smooth: float, pooled: bool) -> Regions:
    """Dice loss: Tversky with both weights, and the smoothing, halved."""
    return tversky(
        pixels, fp_weight=0.5, fn_weight=0.5, smooth=smooth / 2, pooled=pooled
    )
