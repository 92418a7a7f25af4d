"""Losses that need whole images: the ranking of the errors, or distances.

The ranking comes from a `LevelCounts`: a histogram of the probabilities, or the sorted
probabilities or logits. Equal errors form one level; this does not change the result.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Final

import numpy as np

from cdstats.core.catalogue.entry import Entry, Parameter, Reduction
from cdstats.core.pixel_terms import Term

if TYPE_CHECKING:
    from cdstats.core.histogram import Counts, LevelCounts
    from cdstats.core.sums import Floats, Pair, SumsTable

_PENALTY: Final = Term("distance_map_penalised_ce")


def _distance_map_penalised_ce(s: SumsTable) -> Pair:
    changed, unchanged = s.term(_PENALTY)
    return s.ce_changed_sum + changed, s.ce_unchanged_sum + unchanged


def _lovasz_softmax(levels: LevelCounts, *, classes: str) -> float:
    changed, unchanged = int(levels.changed.sum()), int(levels.unchanged.sum())
    # |p - y| is the error for both classes, with the roles of the pixels exchanged.
    misses, false_alarms = levels.right(changed=False), levels.right(changed=True)
    foreground = _lovasz(misses, levels.changed, false_alarms, levels.unchanged)
    if classes == "foreground":
        return foreground
    background = _lovasz(false_alarms, levels.unchanged, misses, levels.changed)
    if classes == "present" and not (changed and unchanged):
        return foreground if changed else background
    return (foreground + background) / 2


def _lovasz_hinge(levels: LevelCounts) -> float:
    return _lovasz(
        np.maximum(0.0, 1 - levels.values),
        levels.changed,
        np.maximum(0.0, 1 + levels.values),
        levels.unchanged,
    )


def _lovasz(
    own_errors: Floats, own: Counts, other_errors: Floats, others: Counts
) -> float:
    """Lovász extension of 1 - IoU of a class: Σ (e_k - e_k+1) J(errors >= e_k).

    The arguments are the errors and pixel counts of each level, for the class and for
    the other pixels.
    """
    errors, hits, alarms = _falling(own_errors, own, other_errors, others)
    union = hits.sum() + alarms.cumsum()
    steps = errors - np.append(errors[1:], 0.0)
    # J = 1 - (g - c1)/(g + c0) without cancellation.
    jaccard = (hits.cumsum() + alarms.cumsum()) / union
    return float(np.sum(steps * jaccard))


def _falling(
    first: Floats, first_pixels: Counts, second: Floats, second_pixels: Counts
) -> tuple[Floats, Counts, Counts]:
    """Two lists of errors merged, largest first, without levels that have no pixels."""
    errors = np.concatenate([first, second])
    pixels = np.zeros((2, errors.size), dtype=np.int64)
    pixels[0, : first.size] = first_pixels
    pixels[1, first.size :] = second_pixels
    used = np.flatnonzero(pixels.any(axis=0))
    order = used[np.argsort(-errors[used], kind="stable")]
    return errors[order], pixels[0, order], pixels[1, order]


def _top_k_ce(levels: LevelCounts, *, k: float) -> float:
    return _mean_of_worst(levels, max(1, math.floor(levels.valid * k / 100)))


def _ohem(levels: LevelCounts, *, threshold: float, min_kept: int) -> float:
    hard = levels.changed[levels.is_below(threshold, changed=True)].sum()
    hard += levels.unchanged[levels.is_below(threshold, changed=False)].sum()
    return _mean_of_worst(levels, min(levels.valid, max(int(hard), min_kept)))


def _mean_of_worst(levels: LevelCounts, pixels: int) -> float:
    """Mean cross-entropy of this number of pixels with the largest values."""
    errors, changed, unchanged = _falling(
        levels.cross_entropy(changed=True),
        levels.changed,
        levels.cross_entropy(changed=False),
        levels.unchanged,
    )
    counts = changed + unchanged
    before = counts.cumsum() - counts
    taken = np.clip(pixels - before, 0, counts)
    return float(np.sum(taken * errors) / pixels)


ENTRIES: Final = (
    Entry(
        name="lovasz_softmax",
        title="Lovász softmax loss",
        formula="Lovász extension of 1-IoU at the errors |p-y|; foreground: the "
        "changed class; present, all: mean over the classes present, over both",
        source="Berman et al. 2018, arXiv 1705.08790",
        pitfalls="For an image without change the value is max p (foreground), which "
        "one pixel determines. The reference code and kornia average all classes, "
        "segmentation_models_pytorch the classes that are present.",
        parameters=(
            Parameter(
                "classes",
                "foreground",
                "classes to average",
                numbers=False,
                words=("foreground", "present", "all"),
            ),
        ),
        from_levels=_lovasz_softmax,
    ),
    Entry(
        name="lovasz_hinge",
        title="Lovász hinge loss",
        formula="Lovász extension of 1-IoU at max(0, 1 - z(2y-1)) of the logits z",
        source="Berman et al. 2018, arXiv 1705.08790",
        pitfalls="Defined on logits; a probability of exactly 0 or 1 has no logit. "
        "Not bounded by 1. Use lovasz_softmax for probability maps.",
        from_levels=_lovasz_hinge,
        needs_logits=True,
    ),
    Entry(
        name="top_k_ce",
        title="top-k cross-entropy",
        formula="mean cross-entropy of the k % of pixels with the largest",
        source="Wu et al. 2016, arXiv 1605.06885",
        pitfalls="The number of pixels is rounded down and is at least 1. Pixels are "
        "chosen in each image, and among all pixels for the pooled value.",
        parameters=(
            Parameter("k", 10, "percentage of the pixels", high=100, open_low=True),
        ),
        from_levels=_top_k_ce,
    ),
    Entry(
        name="ohem",
        title="cross-entropy with online hard example mining",
        formula="mean cross-entropy of the pixels with p_t < threshold, of the "
        "min_kept worst if those are fewer",
        source="Shrivastava et al. 2016, arXiv 1604.03540",
        pitfalls="Training code keeps at least 100,000 pixels per batch, which is "
        "every pixel of a small image. The mean divides by the number of kept pixels, "
        "so two models are averaged over different pixels.",
        parameters=(
            Parameter("threshold", 0.7, "p_t from which a pixel is easy", high=1),
            Parameter("min_kept", 1, "minimum number of pixels", low=1, whole=True),
        ),
        from_levels=_ohem,
    ),
    Entry(
        name="boundary",
        title="boundary loss",
        reduction=Reduction.PIXEL,
        formula="phi p, phi the distance to the change mask: +d outside, -(d-1) "
        "inside, 0 if the image has one class",
        source="Kervadec et al. 2019, arXiv 1812.07032; MONAI",
        pitfalls="Negative for good predictions of objects thicker than two pixels. "
        "Grows with image size. Images with one class add 0. Intended as an addition "
        "to a region loss.",
        terms=lambda: (Term("boundary"),),
    ),
    Entry(
        name="hausdorff_dt",
        title="Hausdorff distance-transform loss",
        reduction=Reduction.PIXEL,
        formula="(p-y)^2 (d_p^alpha + d_y^alpha), d the distance to the boundary, on "
        "both sides, of p > 0.5 and of y; 0 if one class",
        source="Karimi and Salcudean 2019, arXiv 1904.10030",
        pitfalls="Other implementations measure distances only inside the masks, so a "
        "distant false alarm gets no weight from y. In an image without change, only "
        "the prediction gives weight.",
        parameters=(Parameter("alpha", 2, "exponent of the distances", open_low=True),),
        terms=lambda alpha: (Term("hausdorff_dt", (alpha,)),),
    ),
    Entry(
        name="distance_map_penalised_ce",
        title="distance-map penalised cross-entropy",
        reduction=Reduction.PIXEL,
        formula="(1+phi) CE, phi = (max d - d)/max d, d the distance to the other "
        "class and max d its maximum on the same side; 0 if the image has one class",
        source="Caliva et al. 2019, arXiv 1908.03679",
        pitfalls="Sources define phi differently; here it is 0 far from the boundary. "
        "A widely used implementation computes the weights but returns the unweighted "
        "mean.",
        terms=lambda: (_PENALTY,),
        parts=_distance_map_penalised_ce,
    ),
)
