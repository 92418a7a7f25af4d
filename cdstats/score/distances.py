"""Sums of losses that need the distances of pixels to the other class."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from scipy.ndimage import distance_transform_edt

from cdstats.core.pixel_terms import Term, cross_entropy, sigmoid_and_logs

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]
    Mask = NDArray[np.bool_]


def position_sums(
    term: Term, scores: Floats, labels: NDArray[np.uint8], *, logits: bool = False
) -> tuple[float, float]:
    """The sums of a term that needs positions, over changed and unchanged pixels.

    Ignored pixels are excluded from the sums and count as unchanged in distances.
    """
    changed, unchanged = labels == 1, labels == 0
    shown = np.where(labels == 255, -np.inf if logits else 0.0, scores)
    probs, rest = sigmoid_and_logs(shown)[:2] if logits else (shown, 1 - shown)
    distance = other_class_distance(changed)
    if term.name == "boundary":
        values = probs * np.where(changed, 1 - distance, distance) * distance.any()
    elif term.name == "hausdorff_dt":
        predicted, (alpha,) = shown > (0.0 if logits else 0.5), term.params
        both = other_class_distance(predicted) ** alpha + distance**alpha
        values = np.where(changed, rest, probs) ** 2 * both
    elif term.name == "distance_map_penalised_ce":
        values = np.zeros(changed.shape)
        for one, mask in ((True, changed), (False, ~changed)):
            most = distance[mask].max(initial=0)
            weights = (most - distance[mask]) / most if most else 0.0
            known = rest[mask] if logits else None
            losses = cross_entropy(probs[mask], changed=one, rest=known)
            values[mask] = weights * losses
    else:
        raise ValueError(f"{term} does not need positions")
    return float(values[changed].sum()), float(values[unchanged].sum())


def other_class_distance(mask: Mask) -> Floats:
    """Distance of each pixel to the nearest pixel of the other class, in pixels.

    It is 0 if there is only one class.

    Example:
        >>> other_class_distance(np.array([[True, False, False]]))
        array([[1., 1., 2.]])
    """
    if mask.all() or not mask.any():
        return np.zeros(mask.shape)
    inside: Floats = distance_transform_edt(mask)
    outside: Floats = distance_transform_edt(~mask)
    return inside + outside
