"""What every loss does first and last: check, mask, take logs, reduce."""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, TypeAlias, get_args

import torch
import torch.nn.functional as F  # noqa: N812 - the name that every torch project uses
from torch import Tensor, nn

if TYPE_CHECKING:
    from collections.abc import Callable

PixelReduction: TypeAlias = Literal["none", "mean", "sum"]
"""``"none"`` a value per pixel, ``"mean"`` over the valid pixels, ``"sum"``."""
ImageReduction: TypeAlias = Literal["none", "mean", "pooled"]
"""``"none"`` a value per image, their ``"mean"``, or one value of the added sums."""

IMAGE_DIMS = {3: "(N, H, W)", 4: "(N, 1, H, W)"}
NOISE = 4
"""Probabilities may leave [0, 1] by this many machine epsilons: resampling does it."""


class Pixels(NamedTuple):
    """Predictions and labels of a batch, checked and masked.

    Attributes:
        scores: Probabilities in [0, 1] or logits, 0 at ignored pixels; float32 or
            float64, ``(N, H, W)`` or ``(N, 1, H, W)``.
        target: Share of change in [0, 1], 0 at ignored pixels, NaN where a value was
            refused; dtype and shape of ``scores``.
        valid: True where the pixel is not ignored; bool, shape of ``scores``.
        from_logits: Whether ``scores`` are logits.
    """

    scores: Tensor
    target: Tensor
    valid: Tensor
    from_logits: bool


def prepare(
    scores: Tensor,
    target: Tensor,
    *,
    from_logits: bool,
    ignore_index: int | None,
    validate: bool | None,
    soft: bool = True,
) -> Pixels:
    """The pixels of a batch, with ignored ones masked and bad ones refused.

    A value outside its range raises where checking costs no wait for a device, and
    becomes NaN in the target elsewhere, so that the loss is NaN and never plausible.

    Args:
        scores: Probabilities or logits; any floating dtype, ``(N, H, W)`` or
            ``(N, 1, H, W)``.
        target: 1 changed, 0 unchanged, or between them where ``soft``; any dtype,
            shape and device of ``scores``. No gradient flows to it.
        from_logits: Whether ``scores`` are logits.
        ignore_index: Target value of the pixels to leave out, if any.
        validate: Whether to raise for bad values; None means on the CPU alone.
        soft: Whether the loss is defined for targets between 0 and 1.

    Raises:
        TypeError: If ``scores`` are not floating.
        ValueError: If shapes differ or are not those of a batch of images, or a value
            is outside its range.
    """
    name = "logits" if from_logits else "probs"
    _check_layout(name, scores, target)
    noise = NOISE * torch.finfo(scores.dtype).eps
    if scores.dtype not in (torch.float32, torch.float64):
        scores = _Widen.apply(scores)  # type: ignore[no-untyped-call]
    labels = target.detach().to(scores.dtype)
    # After the conversion: uint8 255 equals -1 for torch.
    valid = torch.ones_like(labels, dtype=torch.bool)
    if ignore_index is not None:
        valid = labels != ignore_index
    good = _in_range(labels) if soft else (labels == 0) | (labels == 1)
    usable = valid if from_logits else _in_range(scores, noise)
    if _raises(validate, scores.device):
        _check_target(labels, good | ~valid, ignore_index, soft)
        _check_probs(scores, usable | ~valid)
        _warn_if_changed_is_ignored(labels, valid, ignore_index)
    # where, not a product: a NaN under nodata times 0 is still NaN, here and backwards.
    scores = scores if from_logits else scores.clamp(0, 1)
    scores = torch.where(valid & usable, scores, 0)
    labels = torch.where(valid, torch.where(good & usable, labels, torch.nan), 0)
    return Pixels(scores, labels, valid, from_logits)


class _Widen(torch.autograd.Function):
    """A half type as float32, in which logs and counts are precise.

    A gradient that the half type cannot hold becomes its largest value: infinity times
    the 0 of a saturated sigmoid would be NaN in every weight.
    """

    @staticmethod
    def forward(ctx: Any, narrow: Tensor) -> Tensor:  # noqa: ANN401 - torch's class
        ctx.narrow = narrow.dtype
        return narrow.float()

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:  # noqa: ANN401 - torch's class
        limit = torch.finfo(ctx.narrow).max
        return gradient.clamp(-limit, limit).to(ctx.narrow)


def _check_layout(name: str, scores: Tensor, target: Tensor) -> None:
    if not scores.is_floating_point():
        raise TypeError(f"{name} are {scores.dtype}; expected a floating type")
    if scores.shape != target.shape:
        raise ValueError(
            f"{name} are {tuple(scores.shape)} but target is {tuple(target.shape)}; "
            "expected equal shapes"
        )
    shape = tuple(scores.shape)
    if scores.dim() not in IMAGE_DIMS:
        expected = " or ".join(IMAGE_DIMS.values())
        raise ValueError(
            f"{name} are {shape}; expected {expected}. Give a single image as x[None]."
        )
    if scores.dim() == 4 and scores.shape[1] != 1:
        raise ValueError(
            f"{name} are {shape}: {scores.shape[1]} channels; expected the changed "
            "class alone, (N, 1, H, W). Of two logits it is z[:, 1] - z[:, 0]."
        )


def _raises(validate: bool | None, device: torch.device) -> bool:
    if torch.compiler.is_compiling():
        return False
    return device.type == "cpu" if validate is None else validate


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
            "Logits have their own form of each loss (from_logits, _with_logits)."
        )


def _warn_if_changed_is_ignored(
    labels: Tensor, valid: Tensor, ignore_index: int | None
) -> None:
    if ignore_index != 255 or bool(valid.all()) or bool((valid & (labels > 0)).any()):
        return
    warnings.warn(
        "target has no changed pixel, and pixels of 255, which are ignored. "
        "If 255 means changed, pass target == 255; if not, validate=False.",
        UserWarning,
        stacklevel=4,
    )


def probabilities(pixels: Pixels) -> Tensor:
    """Probability of change, 0 at ignored pixels; dtype and shape of the scores."""
    if not pixels.from_logits:
        return pixels.scores
    return torch.where(pixels.valid, pixels.scores.sigmoid(), 0)


def cross_entropies(pixels: Pixels) -> tuple[Tensor, Tensor]:
    """What each pixel costs if it is changed, and if it is unchanged; nats.

    −ln p and −ln(1 − p): from probabilities clamped at 100, with the gradient's
    denominator clamped at 1e-12 as in torch; from logits in the stable form, unclamped.
    """
    scores = pixels.scores
    if pixels.from_logits:
        return -F.logsigmoid(scores), -F.logsigmoid(-scores)
    # On CUDA torch refuses this function under autocast; float32 is what it asks for.
    with torch.autocast(scores.device.type, enabled=False):
        return (
            F.binary_cross_entropy(scores, torch.ones_like(scores), reduction="none"),
            F.binary_cross_entropy(scores, torch.zeros_like(scores), reduction="none"),
        )


def accumulator(device: torch.device) -> torch.dtype:
    """The type of sums: float64 where the device has it. Counts in it are exact."""
    return torch.float32 if device.type == "mps" else torch.float64


def image_rows(values: Tensor, *, pooled: bool) -> Tensor:
    """The pixels of each image in a row, ``(N, H·W)``, or of the batch in one row."""
    return values.reshape(1, -1) if pooled else values.flatten(1)


def image_sums(values: Tensor, *, pooled: bool) -> Tensor:
    """Sum of each image, ``(N,)``, or of the whole batch, ``(1,)``; wide as counts."""
    return image_rows(values, pooled=pooled).sum(1, dtype=accumulator(values.device))


def ratio(numerator: Tensor, denominator: Tensor) -> Tensor:
    """The quotient, finite where the denominator is 0; the caller says undefined."""
    return numerator / torch.where(denominator == 0, 1, denominator)


def reduce_pixels(loss: Tensor, valid: Tensor, reduction: PixelReduction) -> Tensor:
    """The loss of the valid pixels, reduced; dtype of ``loss``.

    Raises:
        ValueError: If ``reduction`` is unknown.
    """
    check_choice("reduction", reduction, get_args(PixelReduction))
    loss = torch.where(valid, loss, 0)
    if reduction == "none":
        return loss
    total = loss.sum(dtype=accumulator(loss.device))
    mean = total / valid.sum() if reduction == "mean" else total
    return mean.to(loss.dtype)


def is_pooled(reduction: ImageReduction) -> bool:
    """Whether the sums of the batch are added before the loss is taken.

    Raises:
        ValueError: If ``reduction`` is unknown.
    """
    check_choice("reduction", reduction, get_args(ImageReduction))
    return reduction == "pooled"


def check_choice(name: str, value: str, choices: tuple[str, ...]) -> None:
    """Refuse a word that is not among the choices.

    Raises:
        ValueError: If it is not.
    """
    if value not in choices:
        raise ValueError(f"{name} is {value!r}; expected one of {', '.join(choices)}")


def check_at_least_zero(**values: float) -> None:
    """Refuse negative and undefined parameters.

    Raises:
        ValueError: If one is; it names the parameter.
    """
    for name, value in values.items():
        if not value >= 0:
            raise ValueError(f"{name} is {value}; expected at least 0")


def check_share(name: str, value: float) -> None:
    """Refuse a weight outside [0, 1].

    Raises:
        ValueError: If it is.
    """
    if not 0 <= value <= 1:
        raise ValueError(f"{name} is {value}; expected 0 to 1")


class LossModule(nn.Module):
    """A loss function with its parameters."""

    def __init__(
        self, function: Callable[..., Tensor], **options: float | str | None
    ) -> None:
        super().__init__()
        self._function = function
        self._options = options

    def forward(self, prediction: Tensor, target: Tensor) -> Tensor:
        """The loss of a batch; see the function of the same name."""
        return self._function(prediction, target, **self._options)

    def extra_repr(self) -> str:
        """The parameters, for ``print(model)``."""
        options = self._options.items()
        return ", ".join(f"{name}={value!r}" for name, value in options)
