"""Losses that are sums over pixels: cross-entropy, weighted by class or by error."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Final

import numpy as np

from cdstats.core.catalogue.entry import Entry, Parameter, Reduction, Weights
from cdstats.core.pixel_terms import Term
from cdstats.core.sums import quotient

if TYPE_CHECKING:
    from cdstats.core.sums import Column, Floats, Pair, SumsTable


def _balanced(s: SumsTable, *, beta: float | str) -> Weights:
    if not isinstance(beta, str):
        return beta, 1 - beta
    whole = s if beta == "image" else s.total
    # n1/n is more precise than 1 - n0/n for a rare class.
    return quotient(whole.unchanged, whole.valid), quotient(whole.changed, whole.valid)


def _class_balanced(s: SumsTable, *, b: float) -> Weights:
    changed, unchanged = s.total.changed, s.total.unchanged
    # w_c = 1 / E_c, scaled to add up to 2. Undefined if a class is absent.
    one = _effective_number(np.where(unchanged > 0, changed, 0), b)
    zero = _effective_number(np.where(changed > 0, unchanged, 0), b)
    return quotient(2 * zero, one + zero), quotient(2 * one, one + zero)


def _effective_number(count: Column, b: float) -> Floats:
    """(1 - b^n) / (1 - b), precise for b close to 1, where the value is about n."""
    if b == 0:
        return np.minimum(count, 1.0)
    return np.asarray(-np.expm1(count * math.log(b)) / (1 - b), dtype=np.float64)


def _smoothed(s: SumsTable, *, epsilon: float) -> Pair:
    kept, moved = 1 - epsilon / 2, epsilon / 2
    changed, unchanged = s.term(Term("opposite_ce"))
    return (
        kept * s.ce_changed_sum + moved * changed,
        kept * s.ce_unchanged_sum + moved * unchanged,
    )


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
    # The absolute value of d/dz [CE + epsilon (1-p_t)] is (1-p_t)(1 + epsilon p_t).
    changed, unchanged = slopes(s)
    return s.missed_sum + epsilon * changed, s.false_sum + epsilon * unchanged


def _brier(s: SumsTable) -> Pair:
    # With soft targets the first part can be negative. Their sum is only negative by
    # rounding.
    return np.maximum(s.missed_error_sq_sum, -s.false_sq_sum), s.false_sq_sum


def slopes(s: SumsTable) -> Pair:
    """Sums of p(1-p), the slope of the sigmoid, over changed and unchanged pixels."""
    return (
        np.maximum(s.missed_sum - s.missed_sq_sum, 0.0),
        np.maximum(s.false_sum - s.false_sq_sum, 0.0),
    )


ENTRIES: Final = (
    Entry(
        name="bce",
        title="binary cross-entropy",
        reduction=Reduction.PIXEL,
        formula="-[y ln p + (1-y) ln(1-p)], each logarithm at least -100",
        source="torch.nn.functional.binary_cross_entropy",
        pitfalls="A wrong pixel with p exactly 0 or 1 costs 100, so a few such pixels "
        "can dominate the mean. Tools with another limit (Keras 16.1, scikit-learn "
        "15.9 or 36.0) give other numbers. For hard predictions it is 100 times the "
        "error rate, not a likelihood. With soft targets, its minimum is the entropy "
        "of the target, not 0.",
        soft_targets=True,
        weights=lambda _: (1.0, 1.0),
    ),
    Entry(
        name="balanced_ce",
        title="balanced cross-entropy",
        reduction=Reduction.BALANCED,
        formula="-[beta y ln p + (1-beta)(1-y) ln(1-p)], beta = unchanged / valid",
        source="Xie and Tu 2015, Holistically-Nested Edge Detection, eq. 2, "
        "arXiv 1504.06375",
        pitfalls="It balances the classes within an image, not between images: an "
        "image counts in proportion to pi(1-pi), with pi its change fraction, and an "
        "image without changed (or without unchanged) pixels adds exactly 0 for every "
        "prediction. Beta per image, per dataset, per batch and a fixed beta give "
        "different numbers. The mean is not on the scale of BCE (weighted_mean and "
        "class_mean_bce are). Common code prints the sum, which grows with image "
        "size. With beta=0.5 it is half of BCE.",
        parameters=(
            Parameter(
                "beta",
                "image",
                "weight of the changed class: from each image, from the dataset, or "
                "fixed",
                high=1,
                words=("image", "dataset"),
            ),
        ),
        soft_targets=True,
        weights=_balanced,
    ),
    Entry(
        name="class_mean_bce",
        title="class-mean cross-entropy",
        reduction=Reduction.CLASS_MEAN,
        formula="(-S1/n1 - S0/n0) / 2: the mean of the two classes' mean cross-entropy",
        source="balanced cross-entropy divided by the sum of its weights",
        pitfalls="Undefined if a class is absent, so images without change have no "
        "value. The pooled value includes their pixels.",
        soft_targets=True,
        weights=lambda s: (quotient(0.5, s.changed), quotient(0.5, s.unchanged)),
    ),
    Entry(
        name="weighted_bce",
        title="weighted cross-entropy",
        reduction=Reduction.PIXEL,
        formula="-[w y ln p + (1-y) ln(1-p)], w = pos_weight",
        source="pos_weight of torch.nn.BCEWithLogitsLoss; Jadon 2020, arXiv 2006.14822",
        pitfalls="As in torch, the mean divides by the number of pixels, not by the "
        "sum of the weights, so it grows with the weight. Weights above 1 penalise "
        "misses, weights below 1 false alarms.",
        parameters=(Parameter("pos_weight", 1, "weight of the changed class"),),
        soft_targets=True,
        weights=lambda _, pos_weight: (pos_weight, 1.0),
    ),
    Entry(
        name="class_balanced",
        title="class-balanced cross-entropy",
        reduction=Reduction.PIXEL,
        formula="-[w1 y ln p + w0 (1-y) ln(1-p)], w_c proportional to (1-b)/(1-b^n_c) "
        "with the dataset's n_c, w0 + w1 = 2",
        source="Cui et al. 2019, arXiv 1901.05555",
        pitfalls="Above about 100,000 pixels per class both weights are equal: on "
        "dense maps it is BCE unless b is very close to 1. Undefined if a class is "
        "absent from the dataset.",
        parameters=(
            Parameter("b", 0.9999, "overlap of samples", high=1, open_high=True),
        ),
        weights=_class_balanced,
    ),
    Entry(
        name="label_smoothing",
        title="cross-entropy with label smoothing",
        reduction=Reduction.PIXEL,
        formula="BCE of the target (1-epsilon) y + epsilon/2",
        source="Szegedy et al. 2016, arXiv 1512.00567",
        pitfalls="Its minimum is the entropy of the smoothed target, not 0, and a "
        "correct pixel with p exactly 0 or 1 costs 50 epsilon. Other implementations "
        "move epsilon, not epsilon/2, to the other label.",
        parameters=(
            Parameter("epsilon", 0.1, "share of the label that is smoothed", high=1),
        ),
        soft_targets=True,
        terms=lambda **_: (Term("opposite_ce"),),
        parts=_smoothed,
    ),
    Entry(
        name="logit_adjusted_ce",
        title="logit-adjusted cross-entropy",
        reduction=Reduction.PIXEL,
        formula="BCE of p' = p prior^tau / (p prior^tau + (1-p)(1-prior)^tau), prior "
        "the share of changed pixels",
        source="Menon et al. 2021, arXiv 2007.07314",
        pitfalls="The prior must be known before predictions are read, so the masks "
        "are counted first. Undefined if the dataset has only one class. It scores "
        "the adjusted probability, not the saved one.",
        parameters=(
            Parameter("tau", 1, "strength of the adjustment"),
            Parameter(
                "prior",
                "dataset",
                "share of changed pixels: from the dataset, or a number",
                high=1,
                open_low=True,
                open_high=True,
                words=("dataset",),
            ),
        ),
        soft_targets=True,
        # Undefined if there is only one class, because of a logarithm of 0.
        terms=lambda tau, prior: (
            (Term("logit_adjusted", (tau, prior)),) if 0 < prior < 1 else ()
        ),
    ),
    Entry(
        name="focal",
        title="focal loss",
        reduction=Reduction.PIXEL,
        formula="-a_t (1-p_t)^gamma ln p_t, a_t = alpha for changed and 1-alpha for "
        "unchanged pixels, 1 for alpha=none",
        source="Lin et al. 2017, arXiv 1708.02002",
        pitfalls="alpha=0.25 gives changed pixels less weight than unchanged pixels; "
        "use alpha above 0.5 to give them more, or none for equal weights. The paper "
        "divides the sum by the number of positive anchors, segmentation code by the "
        "number of pixels.",
        parameters=(
            Parameter(
                "alpha", 0.25, "weight of the changed class", high=1, words=(None,)
            ),
            Parameter("gamma", 2, "strength of the down-weighting of easy pixels"),
        ),
        terms=lambda gamma, **_: (Term("focal", (gamma,)),),
        parts=_focal,
    ),
    Entry(
        name="poly1_bce",
        title="Poly-1 cross-entropy",
        reduction=Reduction.PIXEL,
        formula="BCE + epsilon (1-p_t)",
        source="Leng et al. 2022, arXiv 2204.12511",
        pitfalls="epsilon=0 is BCE. Negative values reduce the gradient of confident "
        "pixels.",
        parameters=(Parameter("epsilon", 1, "weight of the linear term", low=-1),),
        parts=_poly1,
        gradient=_poly1_gradient,
    ),
    Entry(
        name="asl",
        title="asymmetric loss",
        reduction=Reduction.PIXEL,
        formula="-y (1-p)^gamma_plus ln p - (1-y) q^gamma_minus ln(1-q), q = max(p - "
        "margin, 0), logarithms at least ln 1e-8",
        source="Ridnik et al. 2021, arXiv 2009.14119",
        pitfalls="Unchanged pixels with p up to the margin cost nothing, so a small "
        "constant probability is free. The reference code prints the sum.",
        parameters=(
            Parameter("gamma_plus", 1, "focal exponent of changed pixels"),
            Parameter("gamma_minus", 4, "focal exponent of unchanged pixels"),
            Parameter("margin", 0.05, "probability that costs nothing", high=1),
        ),
        terms=lambda **params: (Term("asl", tuple(params.values())),),
    ),
    Entry(
        name="brier",
        title="Brier score",
        reduction=Reduction.PIXEL,
        formula="(p-y)^2",
        source="Brier 1950",
        pitfalls="A pixel costs at most 1, so very confident errors cost hardly more "
        "than confident ones. If change is rare, the unchanged class dominates the "
        "mean.",
        soft_targets=True,
        parts=_brier,
    ),
)
