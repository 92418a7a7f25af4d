"""Which share of a loss, and of what it teaches, comes from the changed pixels."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from cdstats.core.catalogue.evaluation import (
    BY_PIXEL,
    bound_arguments,
    class_parts,
    defined_sum,
)

if TYPE_CHECKING:
    from cdstats.core.catalogue.lookup import Loss
    from cdstats.core.sums import Pair, SumsTable


class Shares(NamedTuple):
    """How much comes from changed pixels, in [0, 1]; None where it does not follow."""

    loss: float | None
    gradient: float | None


def changed_shares(
    loss: Loss, table: SumsTable, *, prior: float | None = None
) -> Shares:
    """Which share of the loss, and of its gradient, comes from changed pixels.

    The gradient is the sum of the absolute derivatives by the logit of each pixel.
    For a loss with a pooled value both are those of that value, otherwise those of
    the sum over images. The share of the loss is known where the loss is a sum over
    pixels; that of the gradient for the cross-entropies weighed by class, Poly-1 and
    the losses that are functions of a Tversky index. Others need sums of their own.

    Args:
        loss: The loss.
        table: The sums of the images.
        prior: As for `evaluate`.

    Returns:
        None where a share does not follow from the sums, where the total is 0, and
        for soft targets.

    Example:
        >>> from cdstats.core.catalogue.lookup import choose
        >>> from cdstats.core.sums import ImageSums, SumsTable
        >>> image = ImageSums(
        ...     valid=10, changed=2, ce_changed_sum=3, ce_unchanged_sum=1,
        ...     missed_sum=1.5, false_sum=2,
        ... )
        >>> changed_shares(choose("bce"), SumsTable.of([image]))
        Shares(loss=0.75, gradient=0.428...)
    """
    if table.soft or loss.entry.from_levels:
        return Shares(None, None)
    entry, arguments = loss.entry, bound_arguments(loss, table, prior)
    state = table if entry.reduction in BY_PIXEL else table.total
    gradient: Pair | None = None
    if entry.weights:
        weights = entry.weights(state, **arguments)
        gradient = weights[0] * state.missed_sum, weights[1] * state.false_sum
    elif entry.gradient:
        gradient = entry.gradient(state, **arguments)
    return Shares(_share(class_parts(loss, state, arguments)), _share(gradient))


def _share(pair: Pair | None) -> float | None:
    if pair is None:
        return None
    changed, unchanged = defined_sum(pair[0]), defined_sum(pair[1])
    if changed is None or unchanged is None or min(changed, unchanged) < 0:
        return None
    return changed / (changed + unchanged) if changed + unchanged else None
