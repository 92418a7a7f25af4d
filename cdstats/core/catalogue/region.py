"""Losses of the overlap between predicted and true changed region.

Some of them add a cross-entropy.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Final

import numpy as np

from cdstats.core.catalogue.entry import Entry, Parameter, Reduction
from cdstats.core.catalogue.pixel import slopes
from cdstats.core.pixel_terms import LOG_FLOOR, Term
from cdstats.core.sums import quotient

if TYPE_CHECKING:
    from cdstats.core.sums import Column, Floats, Pair, SumsTable


def dice(s: SumsTable, *, smooth: float) -> Floats:
    """1 - (2I+s) / (P+n1+s), computed from the errors: small losses are exact."""
    errors = s.missed_sum + s.false_sum
    return quotient(errors, 2 * s.prob_changed_sum + errors + smooth)


def tversky(
    s: SumsTable, *, fp_weight: float, fn_weight: float, smooth: float
) -> Floats:
    """1 - (I+s) / (I + fp_weight FP + fn_weight FN + s), with soft FP and FN."""
    errors = fp_weight * s.false_sum + fn_weight * s.missed_sum
    return quotient(errors, s.prob_changed_sum + errors + smooth)


def _tversky_gradient(
    s: SumsTable, *, fp_weight: float, fn_weight: float, smooth: float, **_: float
) -> Pair:
    # With T = N/D, |dT/dp| D² is D - N(1-b) for changed and N a for unchanged pixels.
    overlap = s.prob_changed_sum + smooth
    errors = fp_weight * s.false_sum + fn_weight * s.missed_sum
    changed, unchanged = slopes(s)
    return changed * (errors + fn_weight * overlap), unchanged * fp_weight * overlap


def _dice_gradient(s: SumsTable, *, smooth: float = 0) -> Pair:
    return _tversky_gradient(s, fp_weight=0.5, fn_weight=0.5, smooth=smooth / 2)


def _f_beta(beta: float) -> dict[str, float]:
    return {"fp_weight": 1 / (1 + beta**2), "fn_weight": beta**2 / (1 + beta**2)}


def _log_cosh_dice(s: SumsTable, *, smooth: float) -> Floats:
    # ln cosh x = log1p(2 sinh²(x/2)) is exact near 0.
    half: Floats = np.sinh(dice(s, smooth=smooth) / 2)
    return np.log1p(2 * half * half)


def _generalised_dice(s: SumsTable) -> Floats:
    changed, unchanged = s.changed * 1.0, s.unchanged * 1.0
    # Both weights are multiplied by n1² n0². Undefined if a class is absent.
    w1, w0 = unchanged**2, changed**2
    errors = (w1 + w0) * (s.missed_sum + s.false_sum)
    sizes = w1 * (s.prob_sum + changed) + w0 * (2 * s.valid - s.prob_sum - changed)
    present = (changed > 0) & (unchanged > 0)
    return quotient(errors, np.where(present, sizes, 0.0))


def _soft_mcc(s: SumsTable, *, epsilon: float) -> Floats:
    tp, tn = s.prob_changed_sum + epsilon, s.rejected_prob + epsilon
    fp, fn = s.false_sum + epsilon, s.missed_sum + epsilon
    # Roots are taken first, because the product of four counts can overflow.
    size = np.sqrt(tp + fp) * np.sqrt(tp + fn) * np.sqrt(tn + fp) * np.sqrt(tn + fn)
    # Rounding could make the value negative.
    return np.maximum(1 - quotient(tp * tn - fp * fn, size), 0.0)


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
        # Near a perfect score, the loss is more precise than the score.
        logs = np.where(loss < 0.5, np.log1p(-loss), np.log(score))
    logs = np.clip(logs, LOG_FLOOR, 0.0)
    ce = quotient(changed + unchanged, s.valid)
    return np.asarray(dice_weight * np.abs(logs) ** exponent + ce_weight * ce)


def _rarity(count: Column, valid: Column) -> Floats:
    """(n/n_c)^0.5; for a class without pixels any weight gives the same loss."""
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


SMOOTH: Final = Parameter("smooth", 1, "added to numerator and denominator")
_FP_WEIGHT = Parameter("fp_weight", 0.3, "weight of false alarms")
_FN_WEIGHT = Parameter("fn_weight", 0.7, "weight of misses")
_EMPTY = (
    "Image mean and pooled value differ if some images have no change. The value of "
    "such an image depends on smooth: with 0 it is 1, or undefined if nothing is "
    "predicted; with 1 it is about 1 - 1/(P+1), which depends on the image size."
)

ENTRIES: Final = (
    Entry(
        name="dice",
        title="Dice loss",
        formula="1 - (2I+s)/(P+n1+s), s = smooth",
        source="Jadon 2020, arXiv 2006.14822; MONAI DiceLoss",
        pitfalls=_EMPTY
        + " segmentation_models_pytorch adds s to half of the numerator and "
        "denominator (here 2s), pools over the batch, and returns 0 for a batch "
        "without change. With soft targets, p=y does not give 0.",
        parameters=(SMOOTH,),
        soft_targets=True,
        values=dice,
        gradient=_dice_gradient,
    ),
    Entry(
        name="dice_squared",
        title="squared Dice loss",
        formula="1 - (2I+s)/(sum p^2 + sum y^2 + s), s = smooth",
        source="Milletari et al. 2016, V-Net, arXiv 1606.04797",
        pitfalls=_EMPTY,
        parameters=(SMOOTH,),
        soft_targets=True,
        values=lambda s, smooth: quotient(
            s.error_sq_sum, s.prob_sq_sum + s.target_sq_sum + smooth
        ),
    ),
    Entry(
        name="jaccard",
        title="Jaccard (IoU) loss",
        formula="1 - (I+s)/(P+n1-I+s), s = smooth",
        source="Azad et al. 2023, arXiv 2312.05391",
        pitfalls=_EMPTY + " MONAI (jaccard=True) computes (2I+s)/(2U+s), here s/2.",
        parameters=(SMOOTH,),
        soft_targets=True,
        values=partial(tversky, fp_weight=1, fn_weight=1),
        gradient=partial(_tversky_gradient, fp_weight=1, fn_weight=1),
    ),
    Entry(
        name="tversky",
        title="Tversky loss",
        formula="1 - (I+s)/(I + fp_weight (P-I) + fn_weight (n1-I) + s), s = smooth",
        source="Salehi et al. 2017, arXiv 1706.05721",
        pitfalls=_EMPTY
        + " Alpha and beta weigh FP and FN in the paper, MONAI, kornia and "
        "segmentation_models_pytorch, but FN and FP in the focal Tversky paper; the "
        "names fp_weight and fn_weight are unambiguous. 0.5/0.5 is Dice, 1/1 is "
        "Jaccard.",
        parameters=(_FP_WEIGHT, _FN_WEIGHT, SMOOTH),
        soft_targets=True,
        values=tversky,
        gradient=_tversky_gradient,
    ),
    Entry(
        name="focal_tversky",
        title="focal Tversky loss",
        formula="tversky ^ exponent",
        source="Abraham and Khan 2018, arXiv 1810.07842",
        pitfalls=_EMPTY
        + " The exponent is applied as given: 0.75 is 1/gamma for the gamma=4/3 of "
        "the paper. A survey uses gamma in [1, 3] as the exponent, which has the "
        "opposite effect. Below 1, the slope is infinite at a perfect score.",
        parameters=(
            _FP_WEIGHT,
            _FN_WEIGHT,
            Parameter("exponent", 0.75, "exponent of the Tversky loss", open_low=True),
            SMOOTH,
        ),
        soft_targets=True,
        values=lambda s, exponent, **weights: tversky(s, **weights) ** exponent,
        # The derivative by the Tversky loss is a common factor of all pixels.
        gradient=_tversky_gradient,
    ),
    Entry(
        name="asymmetric_similarity",
        title="asymmetric similarity (F-beta) loss",
        formula="tversky with fn_weight = beta^2/(1+beta^2), fp_weight = 1 - fn_weight",
        source="Hashemi et al. 2018, arXiv 1803.11078",
        pitfalls=_EMPTY,
        parameters=(Parameter("beta", 1.5, "weight of recall over precision"), SMOOTH),
        soft_targets=True,
        values=lambda s, beta, smooth: tversky(s, **_f_beta(beta), smooth=smooth),
        gradient=lambda s, beta, smooth: _tversky_gradient(
            s, **_f_beta(beta), smooth=smooth
        ),
    ),
    Entry(
        name="log_cosh_dice",
        title="log-cosh Dice loss",
        formula="ln cosh(dice)",
        source="Jadon 2020, arXiv 2006.14822",
        pitfalls=_EMPTY
        + " The range is 0 to 0.434. It ranks single images as Dice does, but not "
        "means over images.",
        parameters=(SMOOTH,),
        soft_targets=True,
        values=_log_cosh_dice,
        gradient=_dice_gradient,
    ),
    Entry(
        name="generalised_dice",
        title="generalised Dice loss",
        formula="1 - 2 (w1 TP + w0 TN) / (w1 (P+n1) + w0 (2n-P-n1)), w_c = 1/n_c^2, "
        "soft counts",
        source="Sudre et al. 2017, arXiv 1707.03237",
        pitfalls="Undefined if a class is absent (its weight is 1/0). Other "
        "implementations replace this weight by a finite number.",
        values=_generalised_dice,
    ),
    Entry(
        name="generalised_wasserstein_dice",
        title="generalised Wasserstein Dice loss",
        formula="1 - 2T/(2T+E), T = sum y p, E = sum |p-y|; two labels at distance 1",
        source="Fidon et al. 2017, arXiv 1707.00478",
        pitfalls="With two labels it is Dice with smooth=0. Undefined if P = n1 = 0.",
        values=partial(dice, smooth=0),
        gradient=_dice_gradient,
    ),
    Entry(
        name="sensitivity_specificity",
        title="sensitivity-specificity loss",
        reduction=Reduction.REGION,
        formula="r sum(y (1-p)^2) / n1 + (1-r) sum((1-y) p^2) / n0",
        source="Brosch et al. 2015; NiftyNet",
        pitfalls="Undefined if a class is absent. A survey defines a score with the "
        "same name, which is maximised. In NiftyNet, the variable named specificity "
        "contains the term of the changed pixels.",
        parameters=(Parameter("r", 0.05, "weight of the changed class", high=1),),
        parts=lambda s, r: (
            r * quotient(s.missed_sq_sum, s.changed),
            (1 - r) * quotient(s.false_sq_sum, s.unchanged),
        ),
    ),
    Entry(
        name="soft_mcc",
        title="soft Matthews correlation loss",
        formula="1 - (TP TN - FP FN)/sqrt((TP+FP)(TP+FN)(TN+FP)(TN+FN)), epsilon added "
        "to each of the soft counts",
        source="Abhishek and Hamarneh 2021, arXiv 2010.13454; "
        "segmentation_models_pytorch MCCLoss",
        pitfalls="The range is 0 to 2. For images with one class, epsilon determines "
        "the value (about 1); with epsilon=0 it is undefined. Other implementations "
        "add 1 to the denominator.",
        parameters=(Parameter("epsilon", 1e-5, "added to each of the four counts"),),
        values=_soft_mcc,
    ),
    Entry(
        name="combo",
        title="combo loss",
        formula=("alpha mean(-[beta y ln p + (1-beta)(1-y) ln(1-p)]) + (1-alpha) dice"),
        source="Taghanaki et al. 2018, arXiv 1805.02798",
        pitfalls="The paper and its code subtract the Dice score instead of adding "
        "the Dice loss: their value is smaller by 1-alpha and can be negative. In "
        "that code, the position of a bracket makes the weight of unchanged pixels "
        "beta(1-beta).",
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
        formula="dice_weight (-ln D)^g + ce_weight mean(w_c (-ln p_t)^g), g = "
        "exponent, D = (2I+s)/(P+n1+s), w_c = (n/n_c)^0.5, or 1 for class_weights=none",
        source="Wong et al. 2018, arXiv 1809.00076",
        pitfalls="With an exponent below 1, the slope is infinite at a perfect score. "
        "The class frequencies are those of the image (of all images for the pooled "
        "value).",
        parameters=(
            Parameter("dice_weight", 0.8, "weight of the Dice part"),
            Parameter("ce_weight", 0.2, "weight of the cross-entropy part"),
            Parameter("exponent", 0.3, "exponent of both logarithms", open_low=True),
            Parameter(
                "class_weights",
                "frequency",
                "weights of the classes",
                numbers=False,
                words=("frequency", None),
            ),
            SMOOTH,
        ),
        terms=lambda exponent, **_: (Term("ce_power", (exponent,)),),
        values=_exponential_logarithmic,
    ),
    Entry(
        name="unified_focal",
        title="unified focal loss, asymmetric",
        formula="lambda mean(-delta y ln p - (1-delta)(1-y) p^gamma ln(1-p)) + "
        "(1-lambda) [(1-TI_unchanged) + (1-TI_changed)^(1-gamma)], TI Tversky indices "
        "with delta on misses, 1-delta on false alarms",
        source="Yeung et al. 2021, arXiv 2102.04525",
        pitfalls="The authors' code differs from the paper and from this "
        "implementation: it averages the region terms of the two classes instead of "
        "adding them, and it swaps lambda and 1-lambda. Undefined if nothing is "
        "changed and nothing is predicted.",
        parameters=(
            Parameter("lambda", 0.5, "share of the cross-entropy", high=1),
            Parameter("delta", 0.6, "weight of the changed class, of misses", high=1),
            Parameter("gamma", 0.5, "focal exponent", high=1, open_high=True),
        ),
        terms=lambda gamma, **_: (Term("focal", (gamma,)),),
        values=_unified_focal,
    ),
)
