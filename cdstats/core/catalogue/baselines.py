"""Trivial predictors: what a loss is when every pixel gets the same probability.

Two of them tell what a number means: the share of changed pixels everywhere, and the
least probability that a file type tells from 0, which predicts no change at all.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Final

import numpy as np

from cdstats.core.pixel_terms import cross_entropy

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from cdstats.core.pixel_terms import Term
    from cdstats.core.sums import SumsTable

FILE_EPS: Final[Mapping[str, float]] = {
    "float64": 2.0**-52,
    "float32": 2.0**-23,
    "float16": 2.0**-10,
    "bfloat16": 2.0**-7,
    "uint16": 1 / 65535,
    "uint8": 1 / 255,
}
"""Machine epsilon of a floating type; one step of a scaled integer type."""


def constant_prediction(
    table: SumsTable, prob: float, terms: Iterable[Term] = ()
) -> SumsTable:
    """The sums of the same masks if every pixel had one probability.

    Args:
        table: The sums of the masks with any prediction.
        prob: The probability of change, in [0, 1].
        terms: The further sums to give; none may need positions.

    Returns:
        A table for `evaluate`; its confusion and saturation counts are 0.

    Raises:
        ValueError: If a term needs positions.

    Example:
        >>> from cdstats.core.sums import ImageSums, SumsTable
        >>> table = SumsTable.of([ImageSums(valid=4, changed=1)])
        >>> constant_prediction(table, table.prior).prob_sum
        array([1.])
    """
    p, none = np.float64(prob), np.zeros_like(table.tp)
    changed, unchanged = table.changed, table.unchanged
    return replace(
        table,
        ce_changed_sum=changed * cross_entropy(p, changed=True),
        ce_unchanged_sum=unchanged * cross_entropy(p, changed=False),
        missed_sum=changed * (1 - p),
        missed_sq_sum=changed * (1 - p) ** 2,
        prob_changed_sum=changed * p,
        prob_sq_changed_sum=changed * p**2,
        false_sum=unchanged * p,
        false_sq_sum=unchanged * p**2,
        saturated_wrong=none,
        tp=none,
        fp=none,
        fn=none,
        tn=none,
        terms={
            term: (
                changed * term.per_pixel(p, changed=True),
                unchanged * term.per_pixel(p, changed=False),
            )
            for term in terms
        },
    )
