"""Sums that need distances: where a pixel lies, not only what it holds."""

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
    """The sums of a term that needs positions over changed and unchanged pixels.

    An ignored pixel is in no sum, and counts as unchanged for the distances.
    """
    changed, unchanged = labels == 1, labels == 0
    shown = np.where(labels == 255, -np.inf if logits else 0.0, scores)
    probs, rest = sigmoid_and_logs(shown)[:2] if logits else (shown, 1 - shown)
    if term.name == "boundary":
        values = _boundary(probs, changed)
    elif term.name == "hausdorff_dt":
        predicted = shown > (0.0 if logits else 0.5)
        errors = np.where(changed, rest, probs)
        values = _hausdorff(errors, predicted, changed, *term.params)
    elif term.name == "distance_map_penalised_ce":
        values = _distance_weights(changed)
        for one, mask in ((True, changed), (False, ~changed)):
            known = rest[mask] if logits else None
            values[mask] *= cross_entropy(probs[mask], changed=one, rest=known)
    else:
        raise ValueError(f"{term} needs no positions")
    return float(values[changed].sum()), float(values[unchanged].sum())


def other_class_distance(mask: Mask) -> Floats:
    """Distance of each pixel to the nearest of the other class; 0 for one class.

    Example:
        >>> other_class_distance(np.array([[True, False, False]]))
        array([[1., 1., 2.]])
    """
    if mask.all() or not mask.any():
        return np.zeros(mask.shape)
    inside: Floats = distance_transform_edt(mask)
    outside: Floats = distance_transform_edt(~mask)
    return inside + outside


def _boundary(probs: Floats, changed: Mask) -> Floats:
    distance = other_class_distance(changed)
    if not distance.any():
        return distance
    return probs * np.where(changed, 1 - distance, distance)


def _hausdorff(errors: Floats, predicted: Mask, changed: Mask, alpha: float) -> Floats:
    one, two = (other_class_distance(mask) ** alpha for mask in (predicted, changed))
    return errors**2 * (one + two)


def _distance_weights(changed: Mask) -> Floats:
    distance = other_class_distance(changed)
    weights = np.zeros(changed.shape)
    for part in (changed, ~changed):
        most = distance[part].max(initial=0)
        if most:
            weights[part] = (most - distance[part]) / most
    return weights
