"""Sums that need distances: where a pixel lies, not only what it holds."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from scipy.ndimage import distance_transform_edt

from cdstats.core.pixel_terms import Term, cross_entropy

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]
    Mask = NDArray[np.bool_]


def position_sums(
    term: Term, probs: Floats, labels: NDArray[np.uint8]
) -> tuple[float, float]:
    """The sums of a term that needs positions over changed and unchanged pixels.

    An ignored pixel is in no sum, and counts as unchanged for the distances.

    Args:
        term: ``boundary``, ``hausdorff_dt`` or ``distance_map_penalised_ce``.
        probs: Probabilities of change; ``(height, width)``.
        labels: 1 changed, 0 unchanged, 255 ignored; of the same shape.

    Raises:
        ValueError: If the term is none of those.
    """
    changed, unchanged = labels == 1, labels == 0
    shown = np.where(labels == 255, 0.0, probs)
    if term.name == "boundary":
        values = _boundary(shown, changed)
    elif term.name == "hausdorff_dt":
        values = _hausdorff(shown, changed, *term.params)
    elif term.name == "distance_map_penalised_ce":
        values = _penalised(shown, changed)
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


def _hausdorff(probs: Floats, changed: Mask, alpha: float) -> Floats:
    predicted = other_class_distance(probs > 0.5) ** alpha
    error = (probs - changed) ** 2
    return error * (predicted + other_class_distance(changed) ** alpha)


def _penalised(probs: Floats, changed: Mask) -> Floats:
    distance = other_class_distance(changed)
    weights = np.zeros(probs.shape)
    for part in (changed, ~changed):
        most = distance[part].max(initial=0)
        if most:
            weights[part] = (most - distance[part]) / most
    loss = np.where(
        changed,
        cross_entropy(probs, changed=True),
        cross_entropy(probs, changed=False),
    )
    return weights * loss
