"""Lovász losses: a differentiable surrogate of IoU, computed from sorted errors."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, Literal, TypeAlias

import torch
from torch import Tensor

from cdstats.losses.modules import ImageLoss, choice, functional, parameter

if TYPE_CHECKING:
    from cdstats.losses.batch import Batch

__all__ = [
    "Classes",
    "LovaszHingeLoss",
    "LovaszSoftmaxLoss",
    "lovasz_hinge_loss",
    "lovasz_softmax_loss",
]

Classes: TypeAlias = Literal["foreground", "present", "all"]
"""The classes over which the loss is averaged."""


def lovasz(
    batch: Batch, errors: Tensor, classes: Classes, *, pooled: bool
) -> tuple[Tensor, Tensor]:
    """Lovász loss of errors, which must be 0 at ignored pixels, and where defined."""
    images = 1 if pooled else batch.shape[0]
    pixels = errors.numel() // max(1, images)
    errors, order = errors.reshape(images, pixels).sort(dim=1, descending=True)
    changed = batch.changed.reshape(images, pixels).gather(1, order)
    # Ignored pixels can count as unchanged, because their errors of 0 come last.
    count, valid = (n.unsqueeze(1) for n in batch.counts(pooled=pooled))
    loss = _extension(errors, changed, count)
    if classes != "foreground":
        of_unchanged = _extension(errors, 1 - changed, valid - count)
        present = torch.cat([count, valid - count], 1) > 0
        weights = (present | (classes == "all")).to(loss.dtype)
        total = weights[:, 0] * loss + weights[:, 1] * of_unchanged
        loss = total / weights.sum(1).clamp(min=1)
    return loss, valid[:, 0] > 0


def _extension(errors: Tensor, inside: Tensor, size: Tensor) -> Tensor:
    """Lovász extension of the Jaccard loss of one class, for each row of errors."""
    found = inside.cumsum(1, dtype=size.dtype)
    rank = torch.arange(1, errors.shape[1] + 1, dtype=size.dtype, device=size.device)
    # Of the first j pixels: 1 − (size − found)/(size + j − found).
    jaccard = rank / (size + rank - found).clamp(min=1)
    steps = jaccard.diff(dim=1, prepend=torch.zeros_like(size))
    return (errors * steps).sum(1)


class LovaszSoftmaxLoss(ImageLoss):
    """Lovász extension of 1 − IoU at the errors of the probabilities, in [0, 1].

    ``Σ e_j·(J_j − J_{j−1})`` over the errors ``|p − y|`` in descending order, where J_j
    is the Jaccard loss if the first j pixels were wrong. In the foreground form, the
    loss of an image without change is its largest p, so one pixel gets the whole
    gradient.

    Args:
        classes: ``"foreground"``, only the changed class; ``"all"``, the mean of both
            classes; ``"present"``, the mean of the classes present in the image.

    ``"pooled"`` sorts the batch as if it were one image.

    Example:
        >>> probs = torch.tensor([[[0.9, 0.2], [0.4, 0.1]]])
        >>> LovaszSoftmaxLoss()(probs, torch.tensor([[[1, 0], [1, 0]]]))
        tensor(0.3667)

    References:
        Berman et al., "The Lovász-Softmax loss", 2018
        (https://arxiv.org/abs/1705.08790).
    """

    classes: Classes = parameter(
        default="foreground", check=choice("foreground", "present", "all")
    )
    soft: ClassVar[bool] = False
    name: ClassVar[str] = "lovasz_softmax"

    def _values(self, batch: Batch) -> tuple[Tensor, Tensor]:
        probs = batch.scores.sigmoid() if batch.from_logits else batch.scores
        # The errors of the unchanged class are the same: |(1−p) − (1−y)|.
        errors = (probs - batch.changed).abs() * batch.valid
        return lovasz(batch, errors, self.classes, pooled=self.pooled)


class LovaszHingeLoss(ImageLoss):
    """Lovász extension of 1 − IoU at the hinge errors of logits.

    As `LovaszSoftmaxLoss` of the changed class, with the errors ``max(0, 1 − z·(2y −
    1))`` of the logits z. It is not defined for probabilities.

    ``"pooled"`` sorts the batch as if it were one image.

    Example:
        >>> logits = torch.tensor([[[2.0, -0.5], [-0.25, -1.5]]])
        >>> LovaszHingeLoss()(logits, torch.tensor([[[1, 0], [1, 0]]]))
        tensor(0.7083)

    References:
        Berman et al., "The Lovász-Softmax loss", 2018
        (https://arxiv.org/abs/1705.08790).
    """

    from_logits: bool = parameter(default=True, check=choice(True), init=False)
    soft: ClassVar[bool] = False
    name: ClassVar[str] = "lovasz_hinge"

    def _values(self, batch: Batch) -> tuple[Tensor, Tensor]:
        margins = batch.scores * (2 * batch.changed - 1)
        errors = (1 - margins).relu() * batch.valid
        return lovasz(batch, errors, "foreground", pooled=self.pooled)


lovasz_softmax_loss = functional(LovaszSoftmaxLoss, "lovasz_softmax_loss")
lovasz_hinge_loss = functional(LovaszHingeLoss, "lovasz_hinge_loss")
