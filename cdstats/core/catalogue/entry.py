"""The description of a loss in the catalogue: an `Entry` with its `Parameter`s."""

from __future__ import annotations

import math
from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING, TypeAlias

from cdstats.core.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Callable

    from cdstats.core.pixel_terms import Term
    from cdstats.core.sums import Floats, Pair

Value: TypeAlias = float | str | None
"""The value of a parameter: a number, a word, or None for ``none``."""
Weights: TypeAlias = "tuple[Floats | float, Floats | float]"
"""The weights of changed and of unchanged pixels, of each image or of all."""


class Reduction(Enum):
    """The numbers that a loss reports, in the order of a result."""

    PIXEL = ("sum", "mean", "per_image_sum", "image_mean")
    """A sum over pixels. The mean divides by the valid pixels."""
    BALANCED = (*PIXEL, "beta_used", "weight_sum", "weighted_mean")
    """A sum over pixels with class weights that depend on the image."""
    REGION = ("per_image", "image_mean", "pooled")
    """One value per image, and one value from the added states of all images."""
    CLASS_MEAN = ("per_image", "pooled")
    """Like REGION, without a mean over images, because most of these lack a class."""


class Reads(Enum):
    """The data that a loss is computed from."""

    SUMS = "the sums that every run keeps"
    TERMS = "sums of its own, one pair for every setting of its parameters"
    POSITIONS = "whole images, for their distance maps"
    LEVELS = "the sorted probabilities of each image, or their histogram"
    LOGITS = "the sorted logits of each image, or their histogram"


@dataclass(frozen=True, slots=True)
class Parameter:
    """A parameter of a loss: a number from ``low`` to ``high``, or one of some words.

    An open end is excluded from the range. ``numbers`` says whether numbers are
    allowed, and ``whole`` whether they must be integers. Users type ``none`` for None.

    Example:
        >>> Parameter("alpha", 0.25, "weight", high=1, words=(None,)).allowed
        'a number from 0 to 1, or none'
    """

    name: str
    default: Value
    meaning: str
    low: float = 0
    high: float = math.inf
    open_low: bool = False
    open_high: bool = False
    whole: bool = False
    numbers: bool = True
    words: tuple[str | None, ...] = ()

    @property
    def allowed(self) -> str:
        """A description of the allowed values."""
        kind = "a whole number" if self.whole else "a number"
        low = f"{'above' if self.open_low else 'of at least'} {self.low}"
        if math.isinf(self.high):
            numbers = f"{kind} {low}"
        elif self.open_low or self.open_high:
            high = f"{'below' if self.open_high else 'up to'} {self.high}"
            numbers = f"{kind} {low} and {high}"
        else:
            numbers = f"{kind} from {self.low} to {self.high}"
        parts = [numbers] if self.numbers else []
        *first, last = [*parts, *(word or "none" for word in self.words)]
        return f"{', '.join(first)}, or {last}" if first else last

    def check(self, value: Value) -> None:
        """Raise a `UsageError` for a value that is not allowed."""
        fits = value in self.words
        if isinstance(value, int | float):
            above = value > self.low if self.open_low else value >= self.low
            below = value < self.high if self.open_high else value <= self.high
            whole = isinstance(value, int) or not self.whole
            fits = self.numbers and above and below and whole and math.isfinite(value)
        if not fits:
            raise UsageError(f"{self.name}={value!r}: expected {self.allowed}")


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Entry:
    """A loss: its names, its description, and how to compute it from states.

    At most one of ``weights``, ``parts``, ``values`` and ``from_levels`` is given.
    Without them, the loss is the sum of its only term. The functions take the state,
    and the parameters of the loss by name. They return one number per image, NaN if
    the loss is undefined.

    Attributes:
        name: The name that users type.
        title: The name that is printed.
        reduction: The numbers that it reports.
        formula: The definition for one pixel or one image, as text.
        source: The publication or software that defines it.
        pitfalls: Why its numbers can mislead or differ between libraries.
        parameters: The parameters in the order of printing.
        soft_targets: Whether it is defined for targets between 0 and 1.
        terms: Function from the parameters to the further sums that it needs.
        weights: Function to the weights of changed and unchanged pixels in a
            cross-entropy; one number can stand for all images.
        parts: Function to the contributions of changed and unchanged pixels.
        values: Function to the value.
        from_levels: Function from one `LevelCounts` to the value.
        needs_logits: Whether the levels are logits.
        gradient: Function to the sums over changed and over unchanged pixels of the
            absolute derivative by the logit, up to a common factor. Losses with
            ``weights`` do not need it.
    """

    name: str
    title: str
    reduction: Reduction = Reduction.REGION
    formula: str
    source: str
    pitfalls: str
    parameters: tuple[Parameter, ...] = ()
    soft_targets: bool = False
    terms: Callable[..., tuple[Term, ...]] | None = None
    weights: Callable[..., Weights] | None = None
    parts: Callable[..., Pair] | None = None
    values: Callable[..., Floats] | None = None
    from_levels: Callable[..., float] | None = None
    needs_logits: bool = False
    gradient: Callable[..., Pair] | None = None
