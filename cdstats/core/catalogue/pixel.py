"""Losses that sum another function of each pixel than its cross-entropy."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np

from cdstats.core.catalogue.entry import Entry, Parameter, Reduction
from cdstats.core.pixel_terms import Term

if TYPE_CHECKING:
    from cdstats.core.sums import Pair, SumsTable


def _focal(s: SumsTable, *, alpha: float | None, gamma: float) -> Pair:
    changed, unchanged = s.term(Term("focal", (gamma,)))
    if alpha is None:
        return changed, unchanged
    return alpha * changed, (1 - alpha) * unchanged


def _poly1(s: SumsTable, *, epsilon: float) -> Pair:
    return (
        s.ce_changed_sum + epsilon * s.missed_sum,
        s.ce_unchanged_sum + epsilon * s.false_sum,
    )


def _poly1_gradient(s: SumsTable, *, epsilon: float) -> Pair:
    # d/dz of CE + epsilon (1-p_t) is (1-p_t)(1 + epsilon p_t) in size.
    changed, unchanged = slopes(s)
    return s.missed_sum + epsilon * changed, s.false_sum + epsilon * unchanged


def _brier(s: SumsTable) -> Pair:
    # With soft targets the first part may be negative; only rounding makes the sum so.
    return np.maximum(s.missed_error_sq_sum, -s.false_sq_sum), s.false_sq_sum


def slopes(s: SumsTable) -> Pair:
    """Sums of p(1-p), the slope of the sigmoid, over changed and unchanged pixels."""
    return (
        np.maximum(s.missed_sum - s.missed_sq_sum, 0.0),
        np.maximum(s.false_sum - s.false_sq_sum, 0.0),
    )


def _asl(s: SumsTable, *, gamma_plus: float, gamma_minus: float, margin: float) -> Pair:
    return s.term(Term("asl", (gamma_plus, gamma_minus, margin)))


ENTRIES: Final = (
    Entry(
        name="focal",
        title="focal loss",
        reduction=Reduction.PIXEL,
        formula=(
            "-a_t (1-p_t)^gamma ln p_t, a_t = alpha for changed and 1-alpha for "
            "unchanged pixels, 1 for alpha=none"
        ),
        source="Lin et al. 2017, arXiv 1708.02002",
        pitfalls=(
            "alpha=0.25 weighs the changed class down; use alpha above 0.5, or none, "
            "to favour it. The paper divides the sum by the number of positive "
            "anchors, segmentation code by the pixels."
        ),
        parameters=(
            Parameter(
                "alpha", 0.25, "weight of the changed class", high=1, optional=True
            ),
            Parameter("gamma", 2, "how strongly easy pixels are weighed down"),
        ),
        terms=lambda alpha, gamma: (Term("focal", (gamma,)),),  # noqa: ARG005
        parts=_focal,
    ),
    Entry(
        name="poly1_bce",
        title="Poly-1 cross-entropy",
        reduction=Reduction.PIXEL,
        formula="BCE + epsilon (1-p_t)",
        source="Leng et al. 2022, arXiv 2204.12511",
        pitfalls="epsilon=0 is BCE; negative values favour confident pixels less.",
        parameters=(Parameter("epsilon", 1, "weight of the linear term", low=-1),),
        parts=_poly1,
        gradient=_poly1_gradient,
    ),
    Entry(
        name="asl",
        title="asymmetric loss",
        reduction=Reduction.PIXEL,
        formula=(
            "-y (1-p)^gamma_plus ln p - (1-y) q^gamma_minus ln(1-q), "
            "q = max(p - margin, 0), logarithms at least ln 1e-8"
        ),
        source="Ridnik et al. 2021, arXiv 2009.14119",
        pitfalls=(
            "Unchanged pixels with p up to the margin cost nothing, so a prior close "
            "to 0 is free. The reference code prints the sum."
        ),
        parameters=(
            Parameter("gamma_plus", 1, "focal exponent of changed pixels"),
            Parameter("gamma_minus", 4, "focal exponent of unchanged pixels"),
            Parameter("margin", 0.05, "probability that is forgiven", high=1),
        ),
        terms=lambda **params: (Term("asl", tuple(params.values())),),
        parts=_asl,
    ),
    Entry(
        name="brier",
        title="Brier score",
        reduction=Reduction.PIXEL,
        formula="(p-y)^2",
        source="Brier 1950",
        pitfalls=(
            "Bounded by 1, so it hardly sees how wrong a confident pixel is; with rare "
            "change its mean is dominated by the unchanged class."
        ),
        soft_targets=True,
        parts=_brier,
    ),
)
