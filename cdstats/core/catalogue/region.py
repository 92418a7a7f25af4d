"""Losses of the overlap between the predicted and the true changed region."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np

from cdstats.core.catalogue.entry import Entry, Parameter, Reduction
from cdstats.core.catalogue.pixel import slopes
from cdstats.core.sums import quotient

if TYPE_CHECKING:
    from cdstats.core.sums import Floats, Pair, SumsTable


def _one_minus(index: Floats) -> Floats:
    """1 - index; rounding never makes it negative."""
    return np.maximum(1 - index, 0.0)


def dice(s: SumsTable, *, smooth: float) -> Floats:
    """1 - (2I+s) / (P+n1+s), from the errors, which keeps the digits of small ones."""
    errors = s.missed_sum + s.false_sum
    return quotient(errors, 2 * s.prob_changed_sum + errors + smooth)


def _dice_squared(s: SumsTable, *, smooth: float) -> Floats:
    return quotient(s.error_sq_sum, s.prob_sq_sum + s.target_sq_sum + smooth)


def _jaccard(s: SumsTable, *, smooth: float) -> Floats:
    return tversky(s, fp_weight=1, fn_weight=1, smooth=smooth)


def tversky(
    s: SumsTable, *, fp_weight: float, fn_weight: float, smooth: float
) -> Floats:
    """1 - (I+s) / (I + fp_weight FP + fn_weight FN + s), with soft FP and FN."""
    errors = fp_weight * s.false_sum + fn_weight * s.missed_sum
    return quotient(errors, s.prob_changed_sum + errors + smooth)


def _focal_tversky(s: SumsTable, *, exponent: float, **tversky_params: float) -> Floats:
    index_loss = tversky(s, **tversky_params)
    return np.asarray(index_loss**exponent, dtype=np.float64)


def _asymmetric_similarity(s: SumsTable, *, beta: float, smooth: float) -> Floats:
    return tversky(s, **_similarity_weights(beta), smooth=smooth)


def _similarity_weights(beta: float) -> dict[str, float]:
    return {"fp_weight": 1 / (1 + beta**2), "fn_weight": beta**2 / (1 + beta**2)}


def _log_cosh_dice(s: SumsTable, *, smooth: float) -> Floats:
    # ln cosh x = log1p(2 sinh²(x/2)) keeps its digits near 0.
    half: Floats = np.sinh(dice(s, smooth=smooth) / 2)
    return np.log1p(2 * half * half)


def _generalised_dice(s: SumsTable) -> Floats:
    changed, unchanged = s.changed * 1.0, s.unchanged * 1.0
    # Both weights times n1² n0²; undefined when a class is absent.
    w1, w0 = unchanged**2, changed**2
    errors = (w1 + w0) * (s.missed_sum + s.false_sum)
    sizes = w1 * (s.prob_sum + changed) + w0 * (2 * s.valid - s.prob_sum - changed)
    present = (changed > 0) & (unchanged > 0)
    return quotient(errors, np.where(present, sizes, 0.0))


def _generalised_wasserstein_dice(s: SumsTable) -> Floats:
    errors = s.missed_sum + s.false_sum
    return quotient(errors, 2 * s.prob_changed_sum + errors)


def _sensitivity_specificity(s: SumsTable, *, r: float) -> Pair:
    return (
        r * quotient(s.missed_sq_sum, s.changed),
        (1 - r) * quotient(s.false_sq_sum, s.unchanged),
    )


def _soft_mcc(s: SumsTable, *, epsilon: float) -> Floats:
    tp, tn = s.prob_changed_sum + epsilon, s.rejected_prob + epsilon
    fp, fn = s.false_sum + epsilon, s.missed_sum + epsilon
    # The roots first: the product of four counts may overflow.
    size = np.sqrt(tp + fp) * np.sqrt(tp + fn) * np.sqrt(tn + fp) * np.sqrt(tn + fn)
    return _one_minus(quotient(tp * tn - fp * fn, size))


def _tversky_gradient(
    s: SumsTable, *, fp_weight: float, fn_weight: float, smooth: float
) -> Pair:
    # With T = N/D: |dT/dp| D² is D - N(1-b) on changed, N a on unchanged pixels.
    overlap = s.prob_changed_sum + smooth
    errors = fp_weight * s.false_sum + fn_weight * s.missed_sum
    changed, unchanged = slopes(s)
    return changed * (errors + fn_weight * overlap), unchanged * fp_weight * overlap


def _dice_gradient(s: SumsTable, *, smooth: float = 0) -> Pair:
    return _tversky_gradient(s, fp_weight=0.5, fn_weight=0.5, smooth=smooth / 2)


def _jaccard_gradient(s: SumsTable, *, smooth: float) -> Pair:
    return _tversky_gradient(s, fp_weight=1, fn_weight=1, smooth=smooth)


def _similarity_gradient(s: SumsTable, *, beta: float, smooth: float) -> Pair:
    return _tversky_gradient(s, **_similarity_weights(beta), smooth=smooth)


def _focal_tversky_gradient(
    s: SumsTable, *, exponent: float, **tversky_params: float
) -> Pair:
    # A function of the Tversky loss: its slope is a common factor.
    del exponent
    return _tversky_gradient(s, **tversky_params)


SMOOTH: Final = Parameter("smooth", 1, "added to numerator and denominator")
_FP_WEIGHT = Parameter("fp_weight", 0.3, "weight of false alarms")
_FN_WEIGHT = Parameter("fn_weight", 0.7, "weight of misses")
_EMPTY = (
    "Per image and pooled values differ where images have no change. smooth decides "
    "those: with 0 they score 1, or are undefined if nothing is predicted; with 1 they "
    "score about 1 - 1/(P+1), which depends on the image size."
)

ENTRIES: Final = (
    Entry(
        name="dice",
        title="Dice loss",
        reduction=Reduction.REGION,
        formula="1 - (2I+s)/(P+n1+s), s = smooth",
        source="Jadon 2020, arXiv 2006.14822; MONAI DiceLoss",
        pitfalls=_EMPTY
        + " segmentation_models_pytorch adds s to half of numerator and denominator "
        "(here 2s), pools over the batch, and gives 0 for a batch without change. With "
        "soft targets p=y does not give 0.",
        parameters=(SMOOTH,),
        soft_targets=True,
        values=dice,
        gradient=_dice_gradient,
    ),
    Entry(
        name="dice_squared",
        title="squared Dice loss",
        reduction=Reduction.REGION,
        formula="1 - (2I+s)/(sum p^2 + sum y^2 + s), s = smooth",
        source="Milletari et al. 2016, V-Net, arXiv 1606.04797",
        pitfalls=_EMPTY,
        parameters=(SMOOTH,),
        soft_targets=True,
        values=_dice_squared,
    ),
    Entry(
        name="jaccard",
        title="Jaccard (IoU) loss",
        reduction=Reduction.REGION,
        formula="1 - (I+s)/(P+n1-I+s), s = smooth",
        source="Azad et al. 2023, arXiv 2312.05391",
        pitfalls=_EMPTY + " MONAI (jaccard=True) has (2I+s)/(2U+s), here s/2.",
        parameters=(SMOOTH,),
        soft_targets=True,
        values=_jaccard,
        gradient=_jaccard_gradient,
    ),
    Entry(
        name="tversky",
        title="Tversky loss",
        reduction=Reduction.REGION,
        formula="1 - (I+s)/(I + fp_weight (P-I) + fn_weight (n1-I) + s), s = smooth",
        source="Salehi et al. 2017, arXiv 1706.05721",
        pitfalls=_EMPTY
        + " Alpha and beta mean FP and FN in the paper, MONAI, kornia and "
        "segmentation_models_pytorch, the reverse in the focal Tversky paper: hence "
        "the names here. 0.5/0.5 is Dice, 1/1 is Jaccard.",
        parameters=(_FP_WEIGHT, _FN_WEIGHT, SMOOTH),
        soft_targets=True,
        values=tversky,
        gradient=_tversky_gradient,
    ),
    Entry(
        name="focal_tversky",
        title="focal Tversky loss",
        reduction=Reduction.REGION,
        formula="tversky ^ exponent",
        source="Abraham and Khan 2018, arXiv 1810.07842",
        pitfalls=_EMPTY
        + " The exponent is applied as written: 0.75 is 1/gamma of the paper's "
        "gamma=4/3, while a survey writes gamma in [1, 3], the opposite effect. Below "
        "1 the slope is infinite at a perfect score.",
        parameters=(
            _FP_WEIGHT,
            _FN_WEIGHT,
            Parameter("exponent", 0.75, "power of the Tversky loss", open_low=True),
            SMOOTH,
        ),
        soft_targets=True,
        values=_focal_tversky,
        gradient=_focal_tversky_gradient,
    ),
    Entry(
        name="asymmetric_similarity",
        title="asymmetric similarity (F-beta) loss",
        reduction=Reduction.REGION,
        formula="tversky with fn_weight = beta^2/(1+beta^2), fp_weight = 1 - fn_weight",
        source="Hashemi et al. 2018, arXiv 1803.11078",
        pitfalls=_EMPTY,
        parameters=(Parameter("beta", 1.5, "weight of recall over precision"), SMOOTH),
        soft_targets=True,
        values=_asymmetric_similarity,
        gradient=_similarity_gradient,
    ),
    Entry(
        name="log_cosh_dice",
        title="log-cosh Dice loss",
        reduction=Reduction.REGION,
        formula="ln cosh(dice)",
        source="Jadon 2020, arXiv 2006.14822",
        pitfalls=_EMPTY
        + " Runs from 0 to 0.434. It ranks single values as Dice does; means of images "
        "are not so ranked.",
        parameters=(SMOOTH,),
        soft_targets=True,
        values=_log_cosh_dice,
        gradient=_dice_gradient,
    ),
    Entry(
        name="generalised_dice",
        title="generalised Dice loss",
        reduction=Reduction.REGION,
        formula=(
            "1 - 2 (w1 TP + w0 TN) / (w1 (P+n1) + w0 (2n-P-n1)), w_c = 1/n_c^2, soft "
            "counts"
        ),
        source="Sudre et al. 2017, arXiv 1707.03237",
        pitfalls=(
            "Undefined where a class is absent (a weight is 1/0); other code replaces "
            "that weight by a number of its own."
        ),
        values=_generalised_dice,
    ),
    Entry(
        name="generalised_wasserstein_dice",
        title="generalised Wasserstein Dice loss",
        reduction=Reduction.REGION,
        formula="1 - 2T/(2T+E), T = sum y p, E = sum |p-y|; two labels at distance 1",
        source="Fidon et al. 2017, arXiv 1707.00478",
        pitfalls="With two labels it is Dice with smooth=0; undefined if P = n1 = 0.",
        values=_generalised_wasserstein_dice,
        gradient=_dice_gradient,
    ),
    Entry(
        name="sensitivity_specificity",
        title="sensitivity-specificity loss",
        reduction=Reduction.REGION,
        formula="r mean over changed of (1-p)^2 + (1-r) mean over unchanged of p^2",
        source="Brosch et al. 2015; NiftyNet",
        pitfalls=(
            "Undefined where a class is absent. A survey writes a score of the same "
            "name, which is to be maximised; in NiftyNet the variable called "
            "specificity holds the changed pixels' term."
        ),
        parameters=(Parameter("r", 0.05, "weight of the changed class", high=1),),
        parts=_sensitivity_specificity,
    ),
    Entry(
        name="soft_mcc",
        title="soft Matthews correlation loss",
        reduction=Reduction.REGION,
        formula=(
            "1 - (TP TN - FP FN)/sqrt((TP+FP)(TP+FN)(TN+FP)(TN+FN)), soft counts with "
            "epsilon added to each"
        ),
        source="Abhishek and Hamarneh 2021, arXiv 2010.13454; "
        "segmentation_models_pytorch MCCLoss",
        pitfalls=(
            "Runs from 0 to 2. epsilon decides images of one class (about 1); with "
            "epsilon=0 they are undefined. Other code adds 1 to the denominator."
        ),
        parameters=(Parameter("epsilon", 1e-5, "added to each of the four counts"),),
        values=_soft_mcc,
    ),
)
