"""Base classes of all losses: parameters and their checks, inputs and reductions."""

from __future__ import annotations

import dataclasses
import inspect
import math
import re
import textwrap
import warnings
from collections.abc import Callable
from types import FunctionType
from typing import (
    Any,
    ClassVar,
    Concatenate,
    Literal,
    ParamSpec,
    TypeAlias,
    dataclass_transform,
)

import torch
from torch import Tensor, nn

from cdstats.losses.batch import Batch

PixelReduction: TypeAlias = Literal["none", "mean", "sum"]
"""``"none"``, a value per pixel; ``"mean"`` or ``"sum"`` over the valid pixels."""
ImageReduction: TypeAlias = Literal["none", "mean", "pooled"]
"""``"none"``, a value per image; their ``"mean"``; ``"pooled"``, the batch as one."""
Undefined: TypeAlias = Literal["zero", "nan"]
"""Loss of a batch without a defined value."""
Check: TypeAlias = Callable[[str, object], None]
"""Raises if the value is not valid for the named parameter."""

P = ParamSpec("P")

OPTIONS = """\
reduction: {reduction}
from_logits: Whether predictions are scores before the sigmoid. Prefer it for
    training: the gradients of logits stay bounded.
ignore_index: Target value of ignored pixels, or None. Masks of 0 and 255 need
    ``target == 255``; otherwise every changed pixel is ignored.
undefined: Loss of a batch without a defined value, such as a batch without a
    valid pixel: ``"zero"``, which keeps the mean of an epoch finite, or ``"nan"``.
    The gradient is 0 in both cases.
validate: Whether invalid values raise. None raises on the CPU; on other devices,
    where a check would wait for the device, the loss is NaN."""
CALL = """\
Call:
    prediction: {prediction};
        floating, ``(N, H, W)`` or ``(N, 1, H, W)``.
    target: 1 changed, 0 unchanged, {labels}; bool, integer or
        floating, of one of the two shapes. No gradient flows to it.

Returns:
{returns}

Raises:
    TypeError: If ``prediction`` is not floating or a parameter has a wrong type.
    ValueError: If a parameter is outside its range, the shapes differ, or a
        validated value is outside its range."""
RETURNS = (
    "The loss; dtype of ``prediction`` (float32 for half types). "
    "In the output of ``cdstats loss``, {}."
)
_NOISE = 4
"""Machine epsilons by which resampling may push probabilities outside [0, 1]."""
_OF_CHANNELS = {
    "logits": "Pass logits[:, 1] - logits[:, 0], the logit of the changed class.",
    "probs": "Pass probs[:, 1], the probability of the changed class.",
    "target": "Pass target[:, 1], the channel of the changed class.",
}
PREDICTION = "Probability of change in [0, 1], or logits with ``from_logits``"
PIXELS = """\
``"sum"`` over pixels and images, which grows with both; ``"mean"``
    over the valid pixels; or ``"none"``, a value per pixel in the shape of
    ``prediction``, 0 at ignored pixels."""
IMAGES = """\
``"mean"`` over the images where the loss is defined; ``"pooled"``, the
    loss of the batch as one image; or ``"none"``, a value per image, ``(N,)``, NaN
    where undefined. Mean and pooled differ strongly if some images have no change."""


def parameter(
    *,
    default: Any,  # noqa: ANN401
    check: Check,
    kw_only: bool = False,
    init: bool = True,
) -> Any:  # noqa: ANN401 - stands for the type of the parameter
    """A dataclass field of a loss, checked whenever it is set."""
    return dataclasses.field(
        default=default, kw_only=kw_only, init=init, metadata={"check": check}
    )


def number(
    low: float = 0.0,
    high: float = math.inf,
    *,
    above_low: bool = False,
    words: tuple[str | None, ...] = (),
) -> Check:
    """A check that accepts finite numbers from ``low`` to ``high`` and ``words``."""
    span = f"{low:g} to {high:g}"
    if high == math.inf:
        span = f"{'above' if above_low else 'at least'} {low:g}"
    expected = ", ".join([*map(repr, words), f"a number {span}" if words else span])

    def check(name: str, value: object) -> None:
        if value in words:
            return
        message = f"{name} is {value!r}; expected {expected}"
        if isinstance(value, str) and words:
            raise ValueError(message)
        if not isinstance(value, int | float):
            raise TypeError(message)
        inside = low < value if above_low else low <= value
        if not (inside and value <= high and math.isfinite(value)):
            raise ValueError(message)

    return check


def choice(*choices: object) -> Check:
    """A check that accepts only these values."""

    def check(name: str, value: object) -> None:
        # Tensors and arrays compare element by element, so `in` cannot test them.
        message = f"{name} is {value!r}; expected one of "
        message += ", ".join(map(repr, choices))
        if not isinstance(value, str | int | None):
            raise TypeError(message)
        if value not in choices:
            raise ValueError(message)

    return check


def whole_number(name: str, value: object) -> None:
    """Check that a value is None or a whole number."""
    if value is not None and (isinstance(value, bool) or not isinstance(value, int)):
        raise TypeError(f"{name} is {value!r}; expected a whole number or None")


def _copied(function: Callable[..., Tensor], name: str) -> Any:  # noqa: ANN401
    """A copy of a function with its own code object.

    torch.compile limits the number of compiled versions per code object.
    """
    code = function.__code__.replace(co_name=name, co_qualname=name)
    found = FunctionType(code, function.__globals__, name, None, function.__closure__)
    found.__doc__, found.__annotations__ = function.__doc__, function.__annotations__
    return found


def _documented(loss: Any, text: str) -> str:  # noqa: ANN401 - a kind of Loss
    """A docstring with the arguments that all losses share, before its example."""
    own, example, rest = text.partition("\n\n    Example:")
    only_logits = not loss.__dataclass_fields__["from_logits"].init
    options = OPTIONS.format(reduction=loss.reductions)
    if only_logits:
        options = re.sub(r"from_logits:.*?\n(?=\w)", "", options, flags=re.DOTALL)
    call = CALL.format(
        prediction="Scores of change before the sigmoid" if only_logits else PREDICTION,
        labels="soft labels between" if loss.soft else "hard labels only",
        returns=textwrap.fill(
            RETURNS.format(loss.columns.format(loss.name)),
            80,
            initial_indent=" " * 4,
            subsequent_indent=" " * 4,
        ),
    )
    head = "\n" if "    Args:\n" in own else "\n\n    Args:\n"
    shared = head + textwrap.indent(options, " " * 8)
    return own + shared + "\n\n" + textwrap.indent(call, " " * 4) + example + rest


@dataclass_transform(eq_default=False, field_specifiers=(parameter,))
class Parameters(nn.Module):
    """A module whose parameters are dataclass fields, checked when they are set."""

    checks: ClassVar[dict[str, Check]] = {}

    def __init_subclass__(cls) -> None:
        """Make a dataclass of the subclass and complete its docstring."""
        super().__init_subclass__()
        dataclasses.dataclass(eq=False, repr=False)(cls)
        cls.checks = {f.name: f.metadata["check"] for f in dataclasses.fields(cls)}  # type: ignore[arg-type]
        cls.forward = _copied(cls.forward, f"{cls.__name__}.forward")
        if getattr(cls, "name", "") and cls.__doc__:
            cls.__doc__ = _documented(cls, cls.__doc__)

    def __post_init__(self) -> None:
        """Initialise the torch module; the dataclass has set the parameters."""
        super().__init__()

    def __setattr__(self, name: str, value: Any) -> None:  # noqa: ANN401
        if name in self.checks:
            self.checks[name](name, value)
        super().__setattr__(name, value)

    def extra_repr(self) -> str:
        """The parameters as shown by ``print(model)``."""
        return ", ".join(f"{name}={getattr(self, name)!r}" for name in self.checks)


class Loss(Parameters):
    """Base class of all losses."""

    from_logits: bool = parameter(
        default=False, check=choice(True, False), kw_only=True
    )
    ignore_index: int | None = parameter(default=255, check=whole_number, kw_only=True)
    undefined: Undefined = parameter(
        default="zero", check=choice("zero", "nan"), kw_only=True
    )
    validate: bool | None = parameter(
        default=None, check=choice(True, False, None), kw_only=True
    )

    name: ClassVar[str] = ""
    soft: ClassVar[bool] = True
    columns: ClassVar[str] = ""
    reductions: ClassVar[str] = ""

    def forward(self, prediction: Tensor, target: Tensor) -> Tensor:
        """The loss of a batch."""
        return self._reduced(self._prepared(prediction, target))

    def _reduced(self, batch: Batch) -> Tensor:
        raise NotImplementedError

    def _mean(self, total: Tensor, count: Tensor) -> Tensor:
        """Total divided by count, or the value of ``undefined`` if count is 0."""
        # The divisor is clamped because infinity times a gradient of 0 is NaN.
        mean = total / count.clamp(min=1)
        undefined = torch.nan if self.undefined == "nan" else 0.0
        return torch.where(count > 0, mean, undefined)

    def _prepared(self, prediction: Tensor, target: Tensor) -> Batch:
        """The rows of a batch, with ignored pixels masked and values checked.

        A value outside its range raises where a check does not wait for a device.
        Elsewhere it becomes NaN in the target, so that the loss is NaN.
        """
        from_logits, soft, ignore_index = self.from_logits, self.soft, self.ignore_index
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
        noise = 0.0 if from_logits else _NOISE * torch.finfo(scores.dtype).eps
        if scores.dtype not in (torch.float32, torch.float64):
            scores = _Widen.apply(scores)  # type: ignore[no-untyped-call]
        hard = labels.is_floating_point() and not soft
        if labels.dtype == torch.bool:
            labels = labels.view(torch.uint8)
        labels = labels.to(scores.dtype).contiguous().view(images * height, width)
        scores = scores.contiguous().view(images * height, width)
        compiling = torch.compiler.is_compiling()
        looks = scores.device.type == "cpu" and not compiling
        raises = (looks if self.validate is None else self.validate) and not compiling
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
            # where instead of a product: NaN times 0 is NaN, also in the gradient.
            scores = scores if from_logits else scores.clamp(0, 1)
            scores = torch.where(valid & usable, scores, 0)
            labels = torch.where(
                valid, torch.where(good & usable, labels, torch.nan), 0
            )
            masked = scores, labels, valid.to(scores.dtype)
        batch = Batch(*masked, from_logits, prediction.shape)
        if (
            (raises and ignore_index == 255)
            and batch.valid.shape == batch.changed.shape
            and not (batch.changed.sum() > 0 or bool(batch.valid.all()))
        ):
            warnings.warn(
                "target has no changed pixel, but pixels of 255, which are ignored. "
                "If 255 means changed, pass target == 255; if not, validate=False.",
                UserWarning,
                stacklevel=5,
            )
        return batch


class PixelLoss(Loss):
    """Base class of losses that are a mean or a sum over pixels."""

    reduction: PixelReduction = parameter(
        default="mean", check=choice("mean", "sum", "none"), kw_only=True
    )
    reductions: ClassVar[str] = PIXELS
    columns: ClassVar[str] = '``"mean"`` is ``{0}_mean`` and ``"sum"`` is ``{0}_sum``'

    def _weights(self, batch: Batch) -> tuple[Tensor | float, Tensor | float, float]:
        """Weight of changed and of unchanged pixels, and gamma of the focal loss."""
        raise NotImplementedError

    def _reduced(self, batch: Batch) -> Tensor:
        *weights, gamma = self._weights(batch)
        if self.reduction == "none":
            return batch.cross_entropy(*weights, gamma=gamma, per_pixel=True)
        rows = batch.cross_entropy(*weights, gamma=gamma)
        loss = batch.sums(rows, pooled=True)[0]
        if self.reduction == "mean":
            loss = self._mean(loss, batch.valid_count(pooled=True)[0])
        return loss.to(batch.changed.dtype)


class ImageLoss(Loss):
    """Base class of losses that have one value per image."""

    reduction: ImageReduction = parameter(
        default="mean", check=choice("mean", "pooled", "none"), kw_only=True
    )
    reductions: ClassVar[str] = IMAGES
    columns: ClassVar[str] = (
        '``"mean"`` is ``{0}_image_mean``, ``"pooled"`` is ``{0}_pooled`` and '
        '``"none"`` is ``{0}`` of each image'
    )

    @property
    def pooled(self) -> bool:
        """Whether the sums of the batch are added before the loss is taken."""
        return self.reduction == "pooled"

    def _values(self, batch: Batch) -> tuple[Tensor, Tensor]:
        """Losses of images, finite also where undefined, and where they are defined."""
        raise NotImplementedError

    def _reduced(self, batch: Batch) -> Tensor:
        loss, defined = self._values(batch)
        if self.reduction == "none":
            loss = torch.where(defined, loss, torch.nan)
        else:
            loss = self._mean(torch.where(defined, loss, 0).sum(), defined.sum())
        return loss.to(batch.changed.dtype)


def functional(
    loss: Callable[P, Loss], name: str
) -> Callable[Concatenate[Tensor, Tensor, P], Tensor]:
    """A function that creates the module of a loss and calls it."""

    def function(
        prediction: Tensor, target: Tensor, *args: P.args, **kwargs: P.kwargs
    ) -> Tensor:
        value: Tensor = loss(*args, **kwargs)(prediction, target)
        return value

    found: Any = _copied(function, name)
    found.__doc__ = inspect.getdoc(loss)
    first = [*inspect.signature(function).parameters.values()][:2]
    own = inspect.signature(loss).parameters.values()
    found.__signature__ = inspect.Signature([*first, *own])
    return found  # type: ignore[no-any-return]


def _images(name: str, values: Tensor) -> Tensor:
    """Images as ``(N, H, W)``, without a channel axis."""
    shape = tuple(values.shape)
    verb = "is" if name == "target" else "are"
    if len(shape) == 4 and shape[1] == 1:
        return values.squeeze(1)  # [:, 0] would copy its gradient into zeros
    if len(shape) == 3:
        return values
    expected = "expected (N, H, W) or (N, 1, H, W)"
    if len(shape) == 4:
        one = "Pass one channel, of the changed class."
        advice = _OF_CHANNELS[name] if shape[1] == 2 else one
        expected += f", not {shape[1]} channels. {advice}"
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
    """Scores, labels and valid pixels if all values are in range, otherwise None.

    This fast path avoids boolean tensors, which are several times slower on the CPU.
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

    Gradients are clamped to the range of the half type, because infinity times the 0 of
    a saturated sigmoid would make every weight NaN.
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
