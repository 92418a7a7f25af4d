"""What a sweep over thresholds tells: average precision, and the best F1.

Pixels come as counts at rising levels of probability, so that one call serves many
datasets, or many resamples of one.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from cdstats.core.sums import quotient

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from cdstats.core.sums import Floats


def average_precision(changed: NDArray[Any], unchanged: NDArray[Any]) -> Floats:
    """The area under the precision-recall curve, in steps: Σ (R_n - R_{n-1}) P_n.

    Pixels of one level are tied: they enter together. Of the `BINS` equal bins of
    `cdstats.core.histogram` this is exact for maps of at most 8 bits, whose levels lie
    in bins of their own; finer levels are tied within 1/1024.

    Args:
        changed: Changed pixels at each level, the lowest first; ``(..., L)``.
        unchanged: Unchanged pixels at each level.

    Returns:
        ``(...)``; NaN without a changed pixel.

    Example:
        >>> average_precision(np.array([1, 0, 1]), np.array([0, 1, 0]))
        array(0.83333333)

    References:
        ``sklearn.metrics.average_precision_score``, which does not interpolate either.
    """
    gained = changed[..., ::-1]
    tp, fp = gained.cumsum(-1), unchanged[..., ::-1].cumsum(-1)
    precision = quotient(tp, tp + fp)
    # Above the highest score nothing is gained, and precision is not defined.
    steps = np.where(gained > 0, gained * precision, 0.0)
    return quotient(steps.sum(-1), np.asarray(changed.sum(-1)))


def best_f1(changed: NDArray[Any], unchanged: NDArray[Any]) -> tuple[Floats, Any]:
    """The highest F1 of the changed class over all thresholds, and where it is.

    Chosen on the pixels that it is computed of, it is in-sample: too good for others.

    Args:
        changed: Changed pixels at each level, the lowest first; ``(..., L)``.
        unchanged: Unchanged pixels at each level.

    Returns:
        The F1, NaN without a changed pixel, and the place of the level that is its
        threshold: the highest of those that give it; ``(...)``.

    Example:
        >>> f1, place = best_f1(np.array([0, 1, 1]), np.array([5, 0, 1]))
        >>> float(f1), int(place)
        (0.8, 1)
    """
    tp, fp = changed[..., ::-1].cumsum(-1), unchanged[..., ::-1].cumsum(-1)
    total = changed.sum(-1)
    f1 = quotient(2 * tp, tp + fp + total[..., None])
    last = f1.shape[-1] - 1
    place = np.where(np.isnan(f1), -1.0, f1).argmax(-1)
    best = np.take_along_axis(f1, place[..., None], -1)[..., 0]
    return np.where(total > 0, best, np.nan), last - place
