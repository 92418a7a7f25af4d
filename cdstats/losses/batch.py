"""A batch of predictions and targets: checked, masked and laid out in rows."""

from __future__ import annotations

import warnings
from typing import Any, NamedTuple

import torch
from torch import Tensor

from cdstats.losses.formulas import CrossEntropy, Maps, SoftCounts, evaluate

NOISE = 4
"""Probabilities may leave [0, 1] by this many machine epsilons: resampling does it."""
OF_CHANNELS = {
    "logits": "Pass logits[:, 1] - logits[:, 0], the logit of the changed class.",
    "probs": "Pass probs[:, 1], the probability of the changed class.",
    "target": "Pass target[:, 1], the channel of the changed class.",
}


class Batch(NamedTuple):
    """Predictions and labels of a batch; each row is a row of pixels of an image.

    Attributes:
        scores: Probabilities in [0, 1] or logits, finite at ignored pixels; float32 or
            float64, ``(N·H, W)``.
        changed: Share of change in [0, 1], 0 at ignored pixels and NaN where a value
            was refused; dtype and shape of ``scores``.
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

        A row is summed in its own type, pairwise, and rows in float64 where the device
        has it, so that counts stay exact and sums of many pixels precise.
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
        # Two tensors of ones: torch.compile refuses one that is passed twice.
        maps = Maps(*self[:3], self._weight(1.0), self._weight(1.0))
        rows = evaluate(SoftCounts(self.from_logits), maps)
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

        Args:
            changed_weight: Weight of the changed class: a number, ``(N,)`` or ``(1,)``.
            unchanged_weight: Weight of the unchanged class.
            gamma: Exponent of the focal loss.
            per_pixel: Whether to give a value per pixel, 0 at ignored ones.
        """
        weights = self._weight(changed_weight), self._weight(unchanged_weight)
        formula = CrossEntropy(self.from_logits, gamma, per_row=0 if per_pixel else 1)
        loss = evaluate(formula, Maps(*self[:3], *weights))
        return loss.reshape(self.shape) if per_pixel else loss[:, 0]

    def _weight(self, weight: Tensor | float) -> Tensor:
        """A weight of each row, ``(N·H, 1)``."""
        if not isinstance(weight, Tensor):
            weight = self.scores.new_full((1,), weight)
        rows = weight.to(self.scores.dtype).reshape(-1, 1, 1)
        return rows.expand(self.shape[0], self.shape[-2], 1).reshape(-1, 1)


def prepare(
    prediction: Tensor,
    target: Tensor,
    *,
    from_logits: bool,
    soft: bool,
    ignore_index: int | None,
    validate: bool | None,
) -> Batch:
    """The rows of a batch, with ignored pixels masked and bad values refused.

    A value outside its range raises where checking costs no wait for a device, and
    becomes NaN in the target elsewhere, so that the loss is NaN and never plausible.

    Args:
        prediction: Probabilities or logits; any floating dtype, ``(N, H, W)`` or
            ``(N, 1, H, W)``.
        target: 1 changed, 0 unchanged, or between them where ``soft``; any dtype, one
            of the two shapes, on the device of ``prediction``. No gradient flows to it.
        from_logits: Whether ``prediction`` holds logits.
        soft: Whether the loss is defined for targets between 0 and 1.
        ignore_index: Target value of the pixels to leave out, if any.
        validate: Whether to raise for bad values; None means on the CPU alone.

    Raises:
        TypeError: If ``prediction`` is not a floating tensor or ``target`` no tensor.
        ValueError: If shapes differ or are not those of a batch of images, or a value
            is outside its range.
    """
    name = "logits" if from_logits else "probs"
    for argument, given in (("prediction", prediction), ("target", target)):
        if not isinstance(given, Tensor):
            raise TypeError(
                f"{argument} is {type(given).__name__}; expected a torch.Tensor"
            )
    if not prediction.is_floating_point():
        raise TypeError(f"{name} are {prediction.dtype}; expected a floating type")
    scores = _images(name, prediction)
    labels = _images("target", target.detach())
    if scores.shape != labels.shape:
        raise ValueError(
            f"{name} are {tuple(prediction.shape)} but target is "
            f"{tuple(target.shape)}; expected the same images"
        )
    images, height, width = scores.shape
    noise = 0.0 if from_logits else NOISE * torch.finfo(scores.dtype).eps
    if scores.dtype not in (torch.float32, torch.float64):
        scores = _Widen.apply(scores)  # type: ignore[no-untyped-call]
    hard = labels.is_floating_point() and not soft
    if labels.dtype == torch.bool:
        labels = labels.view(torch.uint8)
    labels = labels.to(scores.dtype).contiguous().view(images * height, width)
    scores = scores.contiguous().view(images * height, width)
    compiling = torch.compiler.is_compiling()
    looks = scores.device.type == "cpu" and not compiling
    raises = (looks if validate is None else validate) and not compiling
    masked = None
    if looks and labels.numel():
        masked = _masked_if_clean(scores, labels, from_logits, hard, ignore_index)
    if masked is None:
        valid = torch.ones_like(labels, dtype=torch.bool)
        if ignore_index is not None:
            valid = labels != ignore_index
        good = _in_range(labels) if soft else (labels == 0) | (labels == 1)
        usable = valid if from_logits else _in_range(scores, noise)
        if raises:
            _check_target(labels, good | ~valid, ignore_index, soft)
            _check_probs(scores, usable | ~valid)
        # where, not a product: NaN times 0 is NaN, here and backwards.
        scores = scores if from_logits else scores.clamp(0, 1)
        scores = torch.where(valid & usable, scores, 0)
        labels = torch.where(valid, torch.where(good & usable, labels, torch.nan), 0)
        masked = scores, labels, valid.to(scores.dtype)
    batch = Batch(*masked, from_logits, prediction.shape)
    if raises and ignore_index == 255:
        _warn_if_changed_is_ignored(batch)
    return batch


def _images(name: str, values: Tensor) -> Tensor:
    """One channel of images, ``(N, H, W)``.

    Raises:
        ValueError: If the shape is another.
    """
    shape = tuple(values.shape)
    verb = "is" if name == "target" else "are"
    if len(shape) == 4 and shape[1] == 1:
        return values[:, 0]
    if len(shape) == 3:
        return values
    expected = "expected (N, H, W) or (N, 1, H, W)"
    if len(shape) == 4 and shape[3] == 1:
        expected += f". The channel is last: pass {name}[..., 0]."
    elif len(shape) == 4 and shape[1] == 2:
        expected += f", not 2 channels. {OF_CHANNELS[name]}"
    elif len(shape) == 4:
        expected += (
            f", not {shape[1]} channels. Pass one channel, of the changed class."
        )
    elif len(shape) == 2:
        expected += ". Give a single image as x[None]."
    raise ValueError(f"{name} {verb} {shape}; {expected}")


@torch.no_grad()
def _masked_if_clean(
    scores: Tensor,
    labels: Tensor,
    from_logits: bool,
    hard: bool,
    ignore_index: int | None,
) -> tuple[Tensor, Tensor, Tensor] | None:
    """The batch if a quick look finds nothing odd in it; None for a closer look.

    It avoids tensors of booleans, with which the processor is several times slower.
    """
    valid = scores.new_ones(1, 1).expand(len(scores), 1)
    low, high = labels.aminmax()
    if ignore_index is not None and low <= ignore_index <= high:
        valid = torch.ne(labels, ignore_index, out=torch.empty_like(labels))
        labels = labels * valid
        low, high = labels.aminmax()
        if from_logits and not scores.sum().isfinite():
            return None
    if not (low >= 0 and high <= 1) or (hard and labels.frac().amax() > 0):
        return None
    if not from_logits:
        low, high = scores.aminmax()
        if not (low >= 0 and high <= 1):
            return None
    return scores, labels, valid


class _Widen(torch.autograd.Function):
    """A half type as float32, in which logs and counts are precise.

    A gradient that the half type cannot hold becomes its largest value: infinity times
    the 0 of a saturated sigmoid would be NaN in every weight.
    """

    @staticmethod
    def forward(narrow: Tensor) -> Tensor:
        return narrow.float()

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Tensor], output: Tensor) -> None:  # noqa: ANN401, ARG004 - torch's class
        ctx.narrow = inputs[0].dtype

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:  # noqa: ANN401 - torch's class
        limit = torch.finfo(ctx.narrow).max
        return gradient.clamp(-limit, limit).to(ctx.narrow)


def _in_range(values: Tensor, tolerance: float = 0) -> Tensor:
    return (values >= -tolerance) & (values <= 1 + tolerance)


def _check_target(
    labels: Tensor, good: Tensor, ignore_index: int | None, soft: bool
) -> None:
    if bool(good.all()):
        return
    value = labels[~good][0].item()
    expected = "0 to 1" if soft else "0 or 1 (soft targets are not defined)"
    ignored = "" if ignore_index is None else f", or {ignore_index} for ignored"
    hint = "; pass target == 255 if 255 means changed" if value == 255 else ""
    raise ValueError(f"target holds {value:g}; expected {expected}{ignored}{hint}")


def _check_probs(probs: Tensor, good: Tensor) -> None:
    if not bool(good.all()):
        raise ValueError(
            f"probs hold {probs[~good][0].item():g} at a valid pixel; expected 0 to 1. "
            "If they are logits, pass from_logits=True."
        )


def _warn_if_changed_is_ignored(batch: Batch) -> None:
    masked = batch.valid.shape == batch.changed.shape
    if not masked or batch.changed.sum() > 0 or bool(batch.valid.all()):
        return
    warnings.warn(
        "target has no changed pixel, and pixels of 255, which are ignored. "
        "If 255 means changed, pass target == 255; if not, validate=False.",
        UserWarning,
        stacklevel=7,
    )
