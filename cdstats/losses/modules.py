"""What all losses share as modules: parameters, their checks, reductions, functions."""

from __future__ import annotations

import dataclasses
import inspect
import math
import re
import textwrap
from collections.abc import Callable
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

from cdstats.losses.batch import Batch, prepare

PixelReduction: TypeAlias = Literal["none", "mean", "sum"]
"""``"none"`` a value per pixel, ``"mean"`` over the valid pixels, ``"sum"``."""
ImageReduction: TypeAlias = Literal["none", "mean", "pooled"]
"""``"none"`` a value per image, their ``"mean"``, or one value of the added sums."""
Undefined: TypeAlias = Literal["zero", "nan"]
"""What a batch without a defined value gives."""
Check: TypeAlias = Callable[[str, object], None]
"""Raises for a value that a parameter cannot have."""

P = ParamSpec("P")

OPTIONS = """\
reduction: {reduction}
from_logits: Whether predictions are scores before the sigmoid. Prefer it for
    training: the gradients of logits stay bounded.
ignore_index: Target value of pixels to leave out, None for none. **Masks of 0 and
    255 need** ``target == 255``, else every changed pixel is left out.
undefined: What a batch without a defined value gives, such as one without a valid
    pixel: ``"zero"``, so that the mean of an epoch stays a number, or ``"nan"``.
    The gradient is 0 either way.
validate: Whether bad values raise. None raises on the CPU and elsewhere, where
    looking would wait for the device, makes the loss NaN."""
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
    ValueError: If a parameter is outside its range, shapes do not fit, or, where
        validated, a value is outside its range."""
RETURNS = (
    "The loss; dtype of ``prediction`` (float32 for half types). "
    "Of the values of ``cdstats loss``, {}."
)
PREDICTION = "Probability of change in [0, 1], or logits with ``from_logits``"
PIXELS = """\
``"sum"`` over pixels and images, which grows with both; ``"mean"``
    over the valid pixels; or ``"none"``, a value per pixel in the shape of
    ``prediction``, 0 at ignored ones."""
IMAGES = """\
``"mean"`` over the images where it is defined; ``"pooled"``, the loss
    of the sums of the batch; or ``"none"``, a value per image, ``(N,)``, NaN where
    it is undefined. Mean and pooled differ strongly where some images have no
    change."""


def parameter(
    *,
    default: Any,  # noqa: ANN401
    check: Check,
    kw_only: bool = False,
    init: bool = True,
) -> Any:  # noqa: ANN401 - stands for the type of the parameter
    """A parameter of a loss, checked whenever it is set."""
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
    """Accepts finite numbers from ``low`` to ``high``, and some words."""
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
    """Accepts one of some values."""

    def check(name: str, value: object) -> None:
        # A tensor or array compares by element, so it is never looked up.
        message = f"{name} is {value!r}; expected one of "
        message += ", ".join(map(repr, choices))
        if not isinstance(value, str | int | None):
            raise TypeError(message)
        if value not in choices:
            raise ValueError(message)

    return check


def whole_number(name: str, value: object) -> None:
    """Accepts None and whole numbers.

    Raises:
        TypeError: If the value is another.
    """
    if value is not None and (isinstance(value, bool) or not isinstance(value, int)):
        raise TypeError(f"{name} is {value!r}; expected a whole number or None")


def _documented(loss: type[Loss], text: str) -> str:
    """A docstring with what all losses share before its example."""
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
    """A module whose dataclass fields are its parameters, checked when they are set."""

    checks: ClassVar[dict[str, Check]] = {}

    def __init_subclass__(cls) -> None:
        """Make a dataclass of the subclass."""
        super().__init_subclass__()
        dataclasses.dataclass(eq=False, repr=False)(cls)
        cls.checks = {f.name: f.metadata["check"] for f in dataclasses.fields(cls)}  # type: ignore[arg-type]

    def __post_init__(self) -> None:
        """Let torch set up the module, whose parameters are set already."""
        super().__init__()

    def __setattr__(self, name: str, value: Any) -> None:  # noqa: ANN401
        if name in self.checks:
            self.checks[name](name, value)
        super().__setattr__(name, value)

    def extra_repr(self) -> str:
        """All parameters, for ``print(model)``."""
        return ", ".join(f"{name}={getattr(self, name)!r}" for name in self.checks)


class Loss(Parameters):
    """What all losses share.

    A subclass declares its parameters and defines ``forward``: one of its own, as
    torch.compile counts the versions that it makes of one function.
    """

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

    def __init_subclass__(cls) -> None:
        """Complete the docstring of the subclass."""
        super().__init_subclass__()
        if cls.name and cls.__doc__:
            cls.__doc__ = _documented(cls, cls.__doc__)

    def prepare(self, prediction: Tensor, target: Tensor) -> Batch:
        """The batch, checked and masked."""
        return prepare(
            prediction,
            target,
            from_logits=self.from_logits,
            soft=self.soft,
            ignore_index=self.ignore_index,
            validate=self.validate,
        )

    def mean(self, total: Tensor, count: Tensor) -> Tensor:
        """Total over count, and what ``undefined`` says where there is nothing."""
        # The divisor is never 0, so that no infinity meets the zeros of a gradient.
        mean = total / count.clamp(min=1)
        undefined = torch.nan if self.undefined == "nan" else 0.0
        return torch.where(count > 0, mean, undefined)


class PixelLoss(Loss):
    """A loss that is a mean or a sum over pixels."""

    reduction: PixelReduction = parameter(
        default="mean", check=choice("mean", "sum", "none"), kw_only=True
    )
    reductions: ClassVar[str] = PIXELS
    columns: ClassVar[str] = '``"mean"`` is ``{0}_mean`` and ``"sum"`` is ``{0}_sum``'

    def reduce(
        self,
        batch: Batch,
        changed_weight: Tensor | float,
        unchanged_weight: Tensor | float,
        gamma: float = 0.0,
    ) -> Tensor:
        """The weighted cross-entropy, or focal loss, of a batch."""
        weights = changed_weight, unchanged_weight
        if self.reduction == "none":
            return batch.cross_entropy(*weights, gamma=gamma, per_pixel=True)
        rows = batch.cross_entropy(*weights, gamma=gamma)
        loss = batch.sums(rows, pooled=True)[0]
        if self.reduction == "mean":
            loss = self.mean(loss, batch.valid_count(pooled=True)[0])
        return loss.to(batch.changed.dtype)


class ImageLoss(Loss):
    """A loss that an image has as a whole."""

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

    def reduce(self, batch: Batch, loss: Tensor, defined: Tensor) -> Tensor:
        """The losses of images, finite also where they are undefined, reduced."""
        if self.reduction == "none":
            loss = torch.where(defined, loss, torch.nan)
        else:
            loss = self.mean(torch.where(defined, loss, 0).sum(), defined.sum())
        return loss.to(batch.changed.dtype)


def functional(
    loss: Callable[P, Loss], name: str
) -> Callable[Concatenate[Tensor, Tensor, P], Tensor]:
    """The function of a loss: it makes the module and calls it."""

    def function(
        prediction: Tensor, target: Tensor, *args: P.args, **kwargs: P.kwargs
    ) -> Tensor:
        value: Tensor = loss(*args, **kwargs)(prediction, target)
        return value

    # A code object of its own: torch.compile counts the versions of each.
    function.__code__ = function.__code__.replace(co_name=name, co_qualname=name)
    function.__name__ = function.__qualname__ = name
    function.__doc__ = inspect.getdoc(loss)
    first = [*inspect.signature(function).parameters.values()][:2]
    own = inspect.signature(loss).parameters.values()
    function.__signature__ = inspect.Signature([*first, *own])  # type: ignore[attr-defined]
    return function  # type: ignore[return-value]
