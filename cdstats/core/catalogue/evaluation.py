"""From the states of all images to the numbers of a loss."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from cdstats.core.catalogue.entry import Reduction, Value
from cdstats.core.sums import defined_values, quotient

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from cdstats.core.catalogue.lookup import Loss
    from cdstats.core.histogram import LevelCounts
    from cdstats.core.sums import Floats, Pair, SumsTable

Numbers = list[float | None]
BY_PIXEL = (Reduction.PIXEL, Reduction.BALANCED)


@dataclass(frozen=True, slots=True)
class LevelValues:
    """The values of a loss that needs `LevelCounts`, computed image by image.

    The levels of an image can be dropped once its value is known; only their total is
    kept for the pooled one.

    Attributes:
        per_image: The value of each image, in order; None where undefined.
        pooled: The value of the added levels of all images.
    """

    per_image: Sequence[float | None]
    pooled: float | None


@dataclass(frozen=True, slots=True)
class LossResult:
    """The numbers of a loss over a list of images; None where undefined.

    An image without a valid pixel is undefined and left out of every mean and sum.

    Attributes:
        loss: The name of the loss.
        params: Its parameters.
        reduction: Which of the following numbers it has.
        sum: Sum over all images of ``per_image_sum``.
        mean: ``sum`` / valid pixels.
        per_image_sum: Sum over the pixels of each image.
        image_mean: Mean over images of their mean over pixels, or of ``per_image``.
        beta_used: Weight of the changed class in each image.
        weight_sum: Sum of the weights of all pixels.
        weighted_mean: ``sum`` / ``weight_sum``.
        per_image: Value of each image.
        pooled: Value of the states of all images added.
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
        loss: str,
        params: dict[str, Value],
        reduction: Reduction,
        values: Sequence[float | None],
        valid: Sequence[int],
    ) -> LossResult:
        """The numbers that follow from the value of each image alone.

        Args:
            loss: The name of the loss.
            params: Its parameters.
            reduction: Which numbers it has.
            values: The sum over each image, or its value.
            valid: Valid pixels of each image.
        """
        array = np.array([math.nan if v is None else v for v in values], dtype=float)
        if reduction not in BY_PIXEL:
            return cls(
                loss, params, reduction, per_image=list(values), image_mean=_mean(array)
            )
        total = defined_sum(array)
        pixels = sum(n for v, n in zip(values, valid, strict=True) if v is not None)
        return cls(
            loss,
            params,
            reduction,
            sum=total,
            mean=_divide(total, pixels),
            per_image_sum=list(values),
            image_mean=_mean(quotient(array, np.array(valid))),
        )

    @property
    def image_values(self) -> Numbers:
        """The number of each image: its sum, or its value."""
        return self.per_image_sum or self.per_image or []

    @property
    def dataset_values(self) -> tuple[float | None, float | None]:
        """The numbers of all images together, as `Loss.dataset_columns` names them."""
        if self.reduction in BY_PIXEL:
            return self.sum, self.mean
        return self.pooled, self.image_mean

    @property
    def shown(self) -> tuple[float | None, str]:
        """The first number that is defined, and what it is if no mean over pixels."""
        known = (
            (self.mean, ""),
            (self.pooled, "pooled"),
            (self.image_mean, "image mean"),
        )
        return next((one for one in known if one[0] is not None), (None, ""))

    def as_record(self) -> dict[str, Any]:
        """The entry of the loss in a JSON report: the keys that it defines."""
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

    Args:
        loss: The loss.
        table: The sums of the images, with the terms that ``loss.terms()`` names.
        levels: The values by `level_value`, for a loss that reads levels.
        prior: Share of changed pixels of which the terms were computed; by default
            that of the table.

    Raises:
        UsageError: If the targets are soft and the loss is defined for labels only.
        ValueError: If ``levels`` is missing, or sums that the loss needs.

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
    if loss.entry.from_levels:
        if levels is None:
            raise ValueError(f"{loss.label} needs the levels of the images")
        return _from_levels(loss, levels)
    arguments = bound_arguments(loss, table, prior)
    if loss.entry.reduction in BY_PIXEL:
        return _by_pixel(loss, table, arguments)
    return _by_image(loss, table, arguments)


def level_value(loss: Loss, levels: LevelCounts) -> float | None:
    """The value of one image, or of the added levels of all, for a loss of levels.

    Args:
        loss: A loss whose ``reads`` is ``LEVELS`` or ``LOGITS``.
        levels: Its levels: of probabilities, or of logits.

    Returns:
        None where there is no pixel.

    Raises:
        ValueError: If the loss does not read levels, or needs those of logits.

    Example:
        >>> from cdstats.core.catalogue.lookup import choose
        >>> from cdstats.core.histogram import LevelCounts
        >>> level_value(
        ...     choose("lovasz_softmax"),
        ...     LevelCounts.of(np.array([]), np.array([0.25, 0.75])),
        ... )
        0.75
    """
    if loss.entry.from_levels is None:
        raise ValueError(f"{loss.label} does not read levels")
    if loss.entry.needs_logits and not levels.logits:
        raise ValueError(f"{loss.label} needs levels of logits")
    if levels.valid == 0:
        return None
    return loss.entry.from_levels(levels, **loss.arguments())


def bound_arguments(
    loss: Loss, table: SumsTable, prior: float | None
) -> dict[str, object]:
    """The parameters of a loss, the prior of the table filled in where it asks."""
    if loss.needs_prior and prior is None:
        prior = table.prior
    return loss.arguments(prior)


def class_parts(
    loss: Loss, table: SumsTable, arguments: dict[str, object]
) -> Pair | None:
    """What changed and unchanged pixels add to the value of each image."""
    entry = loss.entry
    if entry.weights:
        weights = entry.weights(table, **arguments)
        return weights[0] * table.ce_changed_sum, weights[1] * table.ce_unchanged_sum
    return entry.parts(table, **arguments) if entry.parts else None


def _values(loss: Loss, table: SumsTable, arguments: dict[str, object]) -> Floats:
    """The value of each image, NaN where undefined."""
    parts = class_parts(loss, table, arguments)
    if parts:
        values = parts[0] + parts[1]
    elif loss.entry.values:
        values = loss.entry.values(table, **arguments)
    return np.where(table.valid > 0, values, np.nan)


def _by_pixel(loss: Loss, table: SumsTable, arguments: dict[str, object]) -> LossResult:
    values = _values(loss, table, arguments)
    total = defined_sum(values)
    pixels = int(table.valid[~np.isnan(values)].sum())
    result = LossResult(
        loss.name,
        loss.params,
        loss.entry.reduction,
        sum=total,
        mean=_divide(total, pixels),
        per_image_sum=defined_values(values),
        image_mean=_mean(quotient(values, table.valid)),
    )
    if loss.entry.reduction is Reduction.BALANCED and loss.entry.weights:
        return _weighed(result, table, loss.entry.weights(table, **arguments))
    return result


def _weighed(result: LossResult, table: SumsTable, weights: Pair) -> LossResult:
    beta = np.where(table.valid > 0, weights[0], np.nan)
    weight_sum = defined_sum(beta * table.changed + weights[1] * table.unchanged)
    return replace(
        result,
        beta_used=defined_values(beta),
        weight_sum=weight_sum,
        weighted_mean=_divide(result.sum, weight_sum),
    )


def _by_image(loss: Loss, table: SumsTable, arguments: dict[str, object]) -> LossResult:
    values = _values(loss, table, arguments)
    return LossResult(
        loss.name,
        loss.params,
        loss.entry.reduction,
        per_image=defined_values(values),
        image_mean=_mean(values),
        pooled=defined_values(_values(loss, table.total, arguments))[0],
    )


def _from_levels(loss: Loss, levels: LevelValues) -> LossResult:
    values = [math.nan if value is None else value for value in levels.per_image]
    return LossResult(
        loss.name,
        loss.params,
        loss.entry.reduction,
        per_image=defined_values(values),
        image_mean=_mean(values),
        pooled=levels.pooled,
    )


def defined_sum(values: Iterable[float]) -> float | None:
    """The sum of what is defined, rounded once; None if nothing is."""
    defined = [value for value in values if not math.isnan(value)]
    return math.fsum(defined) if defined else None


def _mean(values: Iterable[float]) -> float | None:
    defined = [value for value in values if not math.isnan(value)]
    return math.fsum(defined) / len(defined) if defined else None


def _divide(total: float | None, weight: float | None) -> float | None:
    return total / weight if total is not None and weight else None
