"""Formulas of losses with their derivatives, evaluated on batches block by block.

A formula writes into the given buffers, or into new tensors where a buffer is None. On
a CPU the pixels are processed in blocks that fit its cache, because a chain of
operations on whole batches is limited by memory bandwidth. Other devices and compiled
code process the batch at once.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple, TypeAlias

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

if TYPE_CHECKING:
    from collections.abc import Callable

BLOCK = 2**16
"""Pixels that one thread handles before the next block; 256 KiB of float32."""
LOG_FLOOR = -100.0
"""Lower bound of the log of a probability, as in torch's binary cross-entropy."""
LEAST_VARIANCE = 1e-12
"""Lower bound of p(1 − p) as a divisor, as in torch's binary cross-entropy."""

Buffers: TypeAlias = "tuple[Tensor | None, Tensor | None, Tensor | None]"


class Maps(NamedTuple):
    """Tensors of a `Batch`, ``(R, W)``, and its class weights, ``(R, 1)``."""

    scores: Tensor
    changed: Tensor
    valid: Tensor
    changed_weight: Tensor
    unchanged_weight: Tensor


class CrossEntropy(NamedTuple):
    """Class-weighted cross-entropy of each pixel, times a power of its error.

    ``w1·y·(−ln p) + w0·(1−y)·(−ln(1−p))``, times ``|p − y|^gamma`` for focal loss,
    which takes only hard labels. Logs of probabilities are clamped at −100; logits use
    the stable form, which needs no clamp. ``per_row`` is 1 for the sum of each row and
    0 for a value per pixel.
    """

    from_logits: bool
    gamma: float = 0.0
    per_row: int = 1

    def value(self, maps: Maps, buffers: Buffers) -> Tensor:
        """The loss of each pixel or row."""
        loss = self._entropy(maps, buffers)
        if self.gamma:
            loss.mul_(self._error(maps, buffers[1]).pow_(self.gamma))
        return loss.sum(1, keepdim=True) if self.per_row else loss

    def slope(self, gradient: Tensor, maps: Maps, buffers: Buffers) -> Tensor:
        """The gradient with respect to the scores.

        It is computed for the logit and divided by dp/dz = p(1 − p) for probabilities.
        """
        slope = (self._focal_slope if self.gamma else self._plain_slope)(maps, buffers)
        if not self.from_logits:
            variance = torch.sub(1, maps.scores, out=buffers[2]).mul_(maps.scores)
            slope.div_(variance.clamp_(min=LEAST_VARIANCE))
        return slope.mul_(gradient)

    def _entropy(self, maps: Maps, buffers: Buffers) -> Tensor:
        scores, changed, valid, changed_weight, unchanged_weight = maps
        out, one, two = buffers
        if not self.from_logits:
            loss = torch.log(scores, out=out).clamp_(min=LOG_FLOOR)
            loss.mul_(torch.mul(changed, changed_weight, out=one))
            # log1p(-p) is used because log(1 - p) rounds to 0 for a small p.
            unlike = torch.neg(scores, out=one).log1p_().clamp_(min=LOG_FLOOR)
            unchanged = torch.sub(valid, changed, out=two).mul_(unchanged_weight)
            return loss.addcmul_(unlike, unchanged).neg_()
        # -ln(1 - p) is ln(1 + exp(-|z|)) + max(z, 0), and -ln p is the same minus z.
        # For a hard label both weights of z are equal, so z cancels exactly before the
        # logarithm is added.
        loss = torch.abs(scores, out=out).neg_().exp_().log1p_()
        of_changed = torch.mul(changed, changed_weight, out=two)
        weight = torch.sub(valid, changed, out=one).mul_(unchanged_weight)
        loss.mul_(weight.add_(of_changed))
        linear = weight.mul_(scores).clamp_(min=0).sub_(of_changed.mul_(scores))
        return loss.add_(linear)

    def _plain_slope(self, maps: Maps, buffers: Buffers) -> Tensor:
        scores, changed, valid, changed_weight, unchanged_weight = maps
        out, one, two = buffers
        probs = torch.sigmoid(scores, out=one) if self.from_logits else scores
        rest = torch.sub(1, probs, out=two)
        slope = torch.mul(changed, changed_weight, out=out).mul_(rest).neg_()
        unchanged = torch.sub(valid, changed, out=two).mul_(unchanged_weight)
        return slope.addcmul_(unchanged, probs)

    def _focal_slope(self, maps: Maps, buffers: Buffers) -> Tensor:
        """±m^γ·(γ·(1−m)·CE + w·m), with error m and weight w; + for unchanged."""
        _, changed, valid, changed_weight, unchanged_weight = maps
        _, one, two = buffers
        slope = self._entropy(maps, buffers)
        error = self._error(maps, one)
        slope.mul_(torch.sub(1, error, out=two)).mul_(self.gamma)
        weight = torch.sub(valid, changed, out=two).mul_(unchanged_weight)
        slope.add_(weight.addcmul_(changed, changed_weight).mul_(error))
        slope.mul_(error.pow_(self.gamma))
        return slope.mul_(torch.sub(valid, changed, out=two).sub_(changed))

    def _error(self, maps: Maps, out: Tensor | None) -> Tensor:
        """|p − y| of hard labels, from logits without cancellation."""
        if not self.from_logits:
            return torch.sub(maps.scores, maps.changed, out=out).abs_()
        sign = torch.sub(maps.valid, maps.changed, out=out).sub_(maps.changed)
        return sign.mul_(maps.scores).sigmoid_()


class SoftCounts(NamedTuple):
    """Sums Σp·y, Σp and Σy of the valid pixels of each row."""

    from_logits: bool
    per_row: int = 3

    def value(self, maps: Maps, buffers: Buffers) -> Tensor:
        """The three sums of each row."""
        scores, changed, valid, *_ = maps
        probs = torch.sigmoid(scores, out=buffers[1]) if self.from_logits else scores
        hits = torch.mul(probs, changed, out=buffers[2]).sum(1)
        if valid.shape == probs.shape:
            probs = torch.mul(probs, valid, out=buffers[2])
        return torch.stack([hits, probs.sum(1), changed.sum(1)], 1)

    def slope(self, gradient: Tensor, maps: Maps, buffers: Buffers) -> Tensor:
        """The gradient, from the gradients of the first two sums."""
        scores, changed, valid, *_ = maps
        of_hit, of_prob, _ = gradient.unsqueeze(1).unbind(2)
        slope = torch.mul(changed, of_hit, out=buffers[0]).add_(valid * of_prob)
        if self.from_logits:
            probs = torch.sigmoid(scores, out=buffers[1])
            slope.mul_(torch.addcmul(probs, probs, probs, value=-1, out=buffers[2]))
        return slope


class _Evaluation(torch.autograd.Function):
    # The maps are separate parameters because torch.compile expects as many parameters
    # as there are arguments.
    @staticmethod
    def forward(
        formula: CrossEntropy | SoftCounts,
        scores: Tensor,
        changed: Tensor,
        valid: Tensor,
        changed_weight: Tensor,
        unchanged_weight: Tensor,
    ) -> Tensor:
        maps = Maps(scores, changed, valid, changed_weight, unchanged_weight)
        return _in_blocks(formula.value, formula.per_row or scores.shape[1], maps)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:  # noqa: ANN401, ARG004 - torch's class
        ctx.formula = inputs[0]
        ctx.save_for_backward(*inputs[1:])

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:  # noqa: ANN401 - torch's class
        maps = Maps(*ctx.saved_tensors)
        slope = _in_blocks(ctx.formula.slope, maps.scores.shape[1], maps, gradient)
        return None, slope, None, None, None, None


def _in_blocks(
    function: Callable[..., Tensor], width: int, maps: Maps, *gradient: Tensor
) -> Tensor:
    """Values of a formula, ``(R, width)``, computed one block of rows at a time."""
    scores = maps.scores
    rows = len(scores)
    if scores.device.type == "cpu" and not torch.compiler.is_compiling():
        rows = max(1, BLOCK * torch.get_num_threads() // max(1, scores.shape[1]))
    if len(scores) <= rows:
        return function(*gradient, maps, (None, None, None))
    result = scores.new_empty(len(scores), width)
    out, one, two = scores.new_empty(3, rows, scores.shape[1])
    for first in range(0, len(scores), rows):
        part = slice(first, first + rows)
        block = Maps(*(values[part] for values in maps))
        target, count = result[part], len(block.scores)
        first_buffer = target if width == scores.shape[1] else out[:count]
        buffers = first_buffer, one[:count], two[:count]
        value = function(*(each[part] for each in gradient), block, buffers)
        if value is not target:
            target.copy_(value)
    return result


def _evaluate(formula: CrossEntropy | SoftCounts, maps: Maps) -> Tensor:
    """Values of a formula, differentiable once and only with respect to the scores."""
    result: Tensor = _Evaluation.apply(formula, *maps)  # type: ignore[no-untyped-call]
    return result


class Batch(NamedTuple):
    """Predictions and labels of a batch, with one tensor row per row of pixels.

    Attributes:
        scores: Probabilities in [0, 1] or logits, finite at ignored pixels; float32 or
            float64, ``(N·H, W)``.
        changed: Target in [0, 1], 0 at ignored pixels and NaN where a value was
            invalid; dtype and shape of ``scores``.
        valid: 1 at valid and 0 at ignored pixels, or ``(N·H, 1)`` if all are 1.
        from_logits: Whether ``scores`` are logits.
        shape: Shape of the predictions, ``(N, H, W)`` or ``(N, 1, H, W)``.
    """

    scores: Tensor
    changed: Tensor
    valid: Tensor
    from_logits: bool
    shape: torch.Size

    def sums(self, rows: Tensor, *, pooled: bool) -> Tensor:
        """Sums of rows over each image, ``(N, ...)``, or all, ``(1, ...)``; float64.

        Rows are added in float64 where the device supports it, so that counts stay
        exact and sums of many pixels precise.
        """
        wide = rows if rows.device.type == "mps" else rows.double()
        images = wide.reshape(self.shape[0], self.shape[-2], *rows.shape[1:]).sum(1)
        return images.sum(0, keepdim=True) if pooled else images

    def valid_count(self, *, pooled: bool) -> Tensor:
        """Valid pixels of each image or of the batch; float64."""
        repeated = self.shape[-1] // max(1, self.valid.shape[1])
        return self.sums(self.valid.sum(1) * repeated, pooled=pooled)

    def counts(self, *, pooled: bool) -> tuple[Tensor, Tensor]:
        """Changed and valid pixels of each image or of the batch; float64."""
        changed = self.sums(self.changed.sum(1), pooled=pooled)
        return changed, self.valid_count(pooled=pooled)

    def soft_counts(self, *, pooled: bool) -> tuple[Tensor, Tensor, Tensor]:
        """Hits Σp·y, false alarms Σp·(1−y) and misses Σ(1−p)·y."""
        # Two separate tensors of ones: torch.compile rejects one tensor passed twice.
        maps = Maps(*self[:3], self._weight(1.0), self._weight(1.0))
        rows = _evaluate(SoftCounts(self.from_logits), maps)
        hits, probs, changed = self.sums(rows, pooled=pooled).unbind(1)
        return hits, probs - hits, changed - hits

    def cross_entropy(
        self,
        changed_weight: Tensor | float,
        unchanged_weight: Tensor | float,
        *,
        gamma: float = 0.0,
        per_pixel: bool = False,
    ) -> Tensor:
        """Weighted cross-entropy of each row, ``(N·H,)``, or pixel, ``shape``.

        A weight is a number, ``(N,)`` or ``(1,)``; gamma is the focal exponent.
        """
        weights = self._weight(changed_weight), self._weight(unchanged_weight)
        formula = CrossEntropy(self.from_logits, gamma, per_row=0 if per_pixel else 1)
        loss = _evaluate(formula, Maps(*self[:3], *weights))
        return loss.reshape(self.shape) if per_pixel else loss[:, 0]

    def _weight(self, weight: Tensor | float) -> Tensor:
        if not isinstance(weight, Tensor):
            weight = self.scores.new_full((1,), weight)
        rows = weight.to(self.scores.dtype).reshape(-1, 1, 1)
        return rows.expand(self.shape[0], self.shape[-2], 1).reshape(-1, 1)
