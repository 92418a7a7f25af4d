"""What it costs that pixels of one bin of probability are tied."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from cdstats.core.curves import average_precision
from cdstats.core.sums import quotient

if TYPE_CHECKING:
    from cdstats.core.sums import Floats


def precision_within(changed: Floats, unchanged: Floats) -> float:
    """How far average precision may be from what it is when no level is tied.

    The pixels of a level give most when its changed ones come first and are tied, and
    least when they come last, one by one; a changed pixel adds the precision at its
    place.

    Args:
        changed: Changed pixels at each level, the lowest first; one of them at least.
        unchanged: Unchanged pixels at each level.

    Example:
        >>> precision_within(np.array([0.0, 1.0]), np.array([1.0, 1.0]))
        0.5
    """
    from scipy.special import digamma

    gained, below = changed[::-1], unchanged[::-1]
    tp, fp = gained.cumsum() - gained, below.cumsum() - below

    # The sum over i = 1..gained of (tp + i) / (tp + before + i).
    before = fp + below
    start = tp + before + 1
    missed = before * (digamma(start + gained) - digamma(start))
    least = float((gained - missed).sum() / changed.sum())
    steps = gained * quotient(tp + gained, tp + gained + fp)
    most = float(np.nansum(steps) / changed.sum())
    tied = float(average_precision(changed, unchanged))
    return max(most - tied, tied - least, 0.0)
