"""Losses that add a cross-entropy to a region loss."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np

from cdstats.core.catalogue.entry import Entry, Parameter, Reduction
from cdstats.core.catalogue.region import SMOOTH, dice
from cdstats.core.pixel_terms import LOG_FLOOR, Term
from cdstats.core.sums import quotient

if TYPE_CHECKING:
    from cdstats.core.sums import Column, Floats, SumsTable


def _combo(s: SumsTable, *, alpha: float, beta: float, smooth: float) -> Floats:
    ce = beta * s.ce_changed_sum + (1 - beta) * s.ce_unchanged_sum
    return alpha * quotient(ce, s.valid) + (1 - alpha) * dice(s, smooth=smooth)


def _exponential_logarithmic(
    s: SumsTable,
    *,
    dice_weight: float,
    ce_weight: float,
    exponent: float,
    class_weights: str | None,
    smooth: float,
) -> Floats:
    changed, unchanged = s.term(Term("ce_power", (exponent,)))
    if class_weights == "frequency":
        changed = changed * _rarity(s.changed, s.valid)
        unchanged = unchanged * _rarity(s.unchanged, s.valid)
    loss = dice(s, smooth=smooth)
    overlap = 2 * s.prob_changed_sum + smooth
    score = quotient(overlap, s.prob_sum + s.changed + smooth)
    with np.errstate(divide="ignore"):
        # Near 1 the loss has the digits that the score has lost.
        logs = np.where(loss < 0.5, np.log1p(-loss), np.log(score))
    logs = np.clip(logs, LOG_FLOOR, 0.0)
    ce = quotient(changed + unchanged, s.valid)
    dice_part: Floats = np.abs(logs) ** exponent
    return dice_weight * dice_part + ce_weight * ce


def _rarity(count: Column, valid: Column) -> Floats:
    """(n/n_c)^0.5; a class without pixels adds nothing, whatever its weight."""
    return np.sqrt(quotient(valid, np.maximum(count, 1)))


def _unified_focal(
    s: SumsTable, *, delta: float, gamma: float, lambda_: float
) -> Floats:
    easy = s.term(Term("focal", (gamma,)))[1]
    ce = quotient(delta * s.ce_changed_sum + (1 - delta) * easy, s.valid)
    foreground = _missing(s.prob_changed_sum, s.missed_sum, s.false_sum, delta)
    background = _missing(s.rejected_prob, s.false_sum, s.missed_sum, delta)
    return lambda_ * ce + (1 - lambda_) * (background + foreground ** (1 - gamma))


def _missing(overlap: Floats, missed: Floats, false: Floats, delta: float) -> Floats:
    """1 minus the Tversky index of a class."""
    errors = delta * missed + (1 - delta) * false
    return quotient(errors, overlap + errors)


ENTRIES: Final = (
    Entry(
        name="combo",
        title="combo loss",
        reduction=Reduction.REGION,
        formula=("alpha mean(-[beta y ln p + (1-beta)(1-y) ln(1-p)]) + (1-alpha) dice"),
        source="Taghanaki et al. 2018, arXiv 1805.02798",
        pitfalls=(
            "The paper and its code subtract the Dice score instead of adding the Dice "
            "loss: their value is smaller by 1-alpha and may be negative. In that code "
            "a bracket makes the weight of unchanged pixels beta(1-beta)."
        ),
        parameters=(
            Parameter("alpha", 0.5, "share of the cross-entropy", high=1),
            Parameter("beta", 0.5, "weight of the changed class", high=1),
            SMOOTH,
        ),
        soft_targets=True,
        values=_combo,
    ),
    Entry(
        name="exponential_logarithmic",
        title="exponential-logarithmic loss",
        reduction=Reduction.REGION,
        formula=(
            "dice_weight (-ln D)^g + ce_weight mean(w_c (-ln p_t)^g), g = exponent, "
            "D = (2I+s)/(P+n1+s), w_c = (n/n_c)^0.5, or 1 for class_weights=none"
        ),
        source="Wong et al. 2018, arXiv 1809.00076",
        pitfalls=(
            "With an exponent below 1 the slope is infinite at a perfect score. The "
            "class frequencies are those of the image (of all images, pooled)."
        ),
        parameters=(
            Parameter("dice_weight", 0.8, "weight of the Dice part"),
            Parameter("ce_weight", 0.2, "weight of the cross-entropy part"),
            Parameter("exponent", 0.3, "power of both logarithms", open_low=True),
            Parameter(
                "class_weights",
                "frequency",
                "weights of the classes",
                numbers=False,
                words=("frequency",),
                optional=True,
            ),
            SMOOTH,
        ),
        terms=lambda exponent, **_: (Term("ce_power", (exponent,)),),
        values=_exponential_logarithmic,
    ),
    Entry(
        name="unified_focal",
        title="unified focal loss, asymmetric",
        reduction=Reduction.REGION,
        formula=(
            "lambda mean(-delta y ln p - (1-delta)(1-y) p^gamma ln(1-p)) + (1-lambda) "
            "[(1-TI_unchanged) + (1-TI_changed)^(1-gamma)], TI Tversky indices with "
            "delta on misses, 1-delta on false alarms"
        ),
        source="Yeung et al. 2021, arXiv 2102.04525",
        pitfalls=(
            "The authors' code averages the two classes of the region part, where the "
            "paper and this entry add them, and applies lambda to the region part and "
            "1-lambda to the cross-entropy; the paper and this entry do the reverse. "
            "Undefined where nothing is changed and nothing predicted."
        ),
        parameters=(
            Parameter("lambda", 0.5, "share of the cross-entropy", high=1),
            Parameter("delta", 0.6, "weight of the changed class, of misses", high=1),
            Parameter("gamma", 0.5, "focal exponent", high=1, open_high=True),
        ),
        terms=lambda gamma, **_: (Term("focal", (gamma,)),),
        values=_unified_focal,
    ),
)
