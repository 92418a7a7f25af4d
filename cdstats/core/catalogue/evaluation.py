"""Computes the numbers of a loss, and the share of changed pixels in it."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import numpy as np

from cdstats.core.catalogue.entry import Reduction, Value
from cdstats.core.pixel_terms import class_sums
from cdstats.core.sums import defined_values, quotient

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from cdstats.core.catalogue.lookup import Loss
    from cdstats.core.histogram import LevelCounts
    from cdstats.core.pixel_terms import Term
    from cdstats.core.sums import Floats, Pair, SumsTable

Numbers = list[float | None]
BY_PIXEL = (Reduction.PIXEL, Reduction.BALANCED)


class LevelValues(NamedTuple):
    """The values of a loss computed from `LevelCounts`: per image, and pooled.

    The levels of an image can be deleted when its value is known.
    """

    per_image: Sequence[float | None]
    pooled: float | None


@dataclass(frozen=True, slots=True)
class LossResult:
    """The numbers of a loss over a list of images; None if undefined.

    Images without valid pixels are excluded from every mean and sum.

    Attributes:
        loss: The name of the loss.
        params: Its parameters.
        reduction: Which of the following numbers the loss reports.
        sum: Sum over all images of ``per_image_sum``.
        mean: ``sum`` / valid pixels.
        per_image_sum: Sum over the pixels of each image.
        image_mean: Mean over images of their mean over pixels, or of ``per_image``.
        beta_used: Weight of the changed class in each image.
        weight_sum: Sum of the weights of all pixels.
        weighted_mean: ``sum`` / ``weight_sum``.
        per_image: Value of each image.
        pooled: Value from the added states of all images.
    """

    loss: str
    params: dict[str, Value]
    reduction: Reduction
    sum: float | None = None
    mean: float | None = None
    per_image_sum: Numbers | None = None
    image_mean: float | None = None
    beta_used: Numbers | None = None
    weight_sum: float | None = None
    weighted_mean: float | None = None
    per_image: Numbers | None = None
    pooled: float | None = None

    @classmethod
    def of_images(
        cls,
        loss: Loss,
        values: Iterable[float | None],
        valid: Iterable[int],
        pooled: float | None = None,
    ) -> LossResult:
        """The numbers that follow from ``values``, the sum or value of each image.

        Undefined values are None or NaN.
        """
        array, pixels = np.array([*values], dtype=float), np.array([*valid])
        result = cls(loss.name, loss.params, loss.entry.reduction, pooled=pooled)
        shown = defined_values(array)
        if result.reduction not in BY_PIXEL:
            return replace(result, per_image=shown, image_mean=_mean(array))
        total = defined_sum(array)
        return replace(
            result,
            sum=total,
            mean=_divide(total, int(pixels[~np.isnan(array)].sum())),
            per_image_sum=shown,
            image_mean=_mean(quotient(array, pixels)),
        )

    @property
    def image_values(self) -> Numbers:
        """The sum or the value of each image."""
        return self.per_image_sum or self.per_image or []

    @property
    def dataset_values(self) -> tuple[float | None, float | None]:
        """The numbers of all images together, as in `Loss.dataset_columns`."""
        if self.reduction in BY_PIXEL:
            return self.sum, self.mean
        return self.pooled, self.image_mean

    @property
    def shown(self) -> tuple[float | None, str]:
        """The first defined number, and its name unless it is a mean over pixels."""
        known = [(self.mean, ""), (self.pooled, "pooled")]
        known.append((self.image_mean, "image mean"))
        return next((one for one in known if one[0] is not None), (None, ""))

    def as_record(self) -> dict[str, Any]:
        """The loss as an object of JSON output, with the keys that it reports."""
        numbers = {key: getattr(self, key) for key in self.reduction.value}
        return {"loss": self.loss, "params": self.params, **numbers}


def evaluate(
    loss: Loss,
    table: SumsTable,
    *,
    levels: LevelValues | None = None,
    prior: float | None = None,
) -> LossResult:
    """Compute every number of a loss.

    The table holds the terms of ``loss.terms()``. A loss of levels also needs the
    values of `level_value`. The prior is the share of changed pixels with which the
    terms were computed; the default is the share in the table.

    Example:
        >>> from cdstats.core.catalogue.lookup import choose
        >>> from cdstats.core.sums import ImageSums, SumsTable
        >>> image = ImageSums(valid=4, changed=1, ce_changed_sum=2, ce_unchanged_sum=1)
        >>> table = SumsTable.of([image, ImageSums()])
        >>> evaluate(choose("balanced_ce"), table).as_record()
        {'loss': 'balanced_ce', 'params': {'beta': 'image'}, 'sum': 1.75,
         'mean': 0.4375, 'per_image_sum': [1.75, None], 'image_mean': 0.4375,
         'beta_used': [0.75, None], 'weight_sum': 1.5, 'weighted_mean': 1.166...}
    """
    loss.check_targets(soft=table.soft)
    entry = loss.entry
    if entry.from_levels:
        if levels is None:
            raise ValueError(f"{loss.label} needs the levels of the images")
        return LossResult.of_images(loss, levels.per_image, table.valid, levels.pooled)
    arguments, pooled = _bound_arguments(loss, table, prior), None
    if entry.reduction not in BY_PIXEL:
        pooled = defined_values(_values(loss, table.total, arguments))[0]
    values = _values(loss, table, arguments)
    result = LossResult.of_images(loss, values, table.valid, pooled)
    if entry.reduction is not Reduction.BALANCED or not entry.weights:
        return result
    weights = entry.weights(table, **arguments)
    beta = np.where(table.valid > 0, weights[0], np.nan)
    weight_sum = defined_sum(beta * table.changed + weights[1] * table.unchanged)
    return replace(
        result,
        beta_used=defined_values(beta),
        weight_sum=weight_sum,
        weighted_mean=_divide(result.sum, weight_sum),
    )


def level_value(loss: Loss, levels: LevelCounts) -> float | None:
    """The value of one image, or of the added levels of all; None without pixels."""
    if loss.entry.from_levels is None:
        raise ValueError(f"{loss.label} does not read levels")
    if loss.entry.needs_logits and not levels.logits:
        raise ValueError(f"{loss.label} needs levels of logits")
    if levels.valid == 0:
        return None
    return loss.entry.from_levels(levels, **loss.arguments())


class Shares(NamedTuple):
    """The shares that come from changed pixels, in [0, 1]; None if not known."""

    loss: float | None
    gradient: float | None


def changed_shares(
    loss: Loss, table: SumsTable, *, prior: float | None = None
) -> Shares:
    """The shares of the loss and of its gradient that come from changed pixels.

    The gradient is the sum of the absolute derivatives by the logit of each pixel.
    Both shares refer to the pooled value if the loss has one, otherwise to the sum over
    images. The share of the loss is known if the loss is a sum over pixels. The share
    of the gradient is known for cross-entropies weighted by class, for Poly-1 and for
    functions of a Tversky index. A share is None if it does not follow from the sums,
    if the total is 0, and for soft targets.
    """
    entry = loss.entry
    if table.soft or entry.from_levels:
        return Shares(None, None)
    arguments = _bound_arguments(loss, table, prior)
    state = table if entry.reduction in BY_PIXEL else table.total
    gradient: Pair | None = None
    if entry.weights:
        changed, unchanged = entry.weights(state, **arguments)
        gradient = changed * state.missed_sum, unchanged * state.false_sum
    elif entry.gradient:
        gradient = entry.gradient(state, **arguments)
    return Shares(_share(_class_parts(loss, state, arguments)), _share(gradient))


def _share(pair: Pair | None) -> float | None:
    if pair is None:
        return None
    changed, unchanged = map(defined_sum, pair)
    if changed is None or unchanged is None or min(changed, unchanged) < 0:
        return None
    return _divide(changed, changed + unchanged)


def _bound_arguments(
    loss: Loss, table: SumsTable, prior: float | None
) -> dict[str, object]:
    """The parameters of a loss, with the prior of the table if it needs one."""
    if loss.needs_prior and prior is None:
        prior = table.prior
    return loss.arguments(prior)


def _class_parts(
    loss: Loss, table: SumsTable, arguments: dict[str, object]
) -> Pair | None:
    """The contributions of changed and unchanged pixels to the value of each image."""
    entry = loss.entry
    if entry.weights:
        changed, unchanged = entry.weights(table, **arguments)
        return changed * table.ce_changed_sum, unchanged * table.ce_unchanged_sum
    if entry.parts:
        return entry.parts(table, **arguments)
    if entry.values or not entry.terms:
        return None
    undefined = np.full(table.valid.shape, np.nan)
    terms = entry.terms(**arguments)
    return table.term(terms[0]) if terms else (undefined, undefined)


def _values(loss: Loss, table: SumsTable, arguments: dict[str, object]) -> Floats:
    """The value of each image, NaN if undefined."""
    if loss.entry.values:
        values = loss.entry.values(table, **arguments)
    elif parts := _class_parts(loss, table, arguments):
        values = parts[0] + parts[1]
    return np.where(table.valid > 0, values, np.nan)


def defined_sum(values: Iterable[float]) -> float | None:
    """The sum of the defined values, rounded once; None if there are none."""
    defined = [value for value in values if not math.isnan(value)]
    return math.fsum(defined) if defined else None


def _mean(values: Iterable[float]) -> float | None:
    defined = [value for value in values if not math.isnan(value)]
    return math.fsum(defined) / len(defined) if defined else None


def _divide(total: float | None, weight: float | None) -> float | None:
    return total / weight if total is not None and weight else None


FILE_EPS: Final[Mapping[str, float]] = {
    "float64": 2.0**-52,
    "float32": 2.0**-23,
    "float16": 2.0**-10,
    "bfloat16": 2.0**-7,
    "uint16": 1 / 65535,
    "uint8": 1 / 255,
}
"""Smallest probability that a file type distinguishes from 0: the machine epsilon of a
floating type, or one step of a scaled integer type."""


def constant_prediction(
    table: SumsTable, prob: float, terms: Iterable[Term] = ()
) -> SumsTable:
    """The sums for the same masks if every pixel had this probability of change.

    A probability equal to the share of changed pixels, or to an `FILE_EPS`, gives a
    reference value for a loss. The confusion and saturation counts of the table are 0.
    """
    plain, pairs = class_sums(np.float64(prob), table.changed, table.unchanged, terms)
    none = np.zeros_like(table.tp)
    plain |= dict.fromkeys(("saturated_wrong", "tp", "fp", "fn", "tn"), none)
    return replace(table, **plain, terms=pairs)
