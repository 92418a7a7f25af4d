"""The class weights to start with, and why."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from cdstats.core import imbalance
from cdstats.core.messages import counted

if TYPE_CHECKING:
    from cdstats.core.weights import Tally

NEARLY_EVEN: Final = 2.0
"""Imbalance ratio up to which no weight is recommended."""
FEW_PIXELS: Final = 1000
FEW_IMAGES: Final = 10
"""Changed pixels, or images with change, below which a ratio says little."""


@dataclass(frozen=True, slots=True)
class Recommendation:
    """The weights to start with.

    Attributes:
        pos_weight: For one channel; None when no weight is defined.
        weight: For two channels, unchanged first.
        text: The recommendation and its reason in a sentence.
    """

    pos_weight: float | None
    weight: tuple[float, float] | None
    text: str


def recommend(counts: Tally) -> Recommendation:
    """The weights to start with: none for nearly even classes, else the square root.

    A weight w on changed pixels moves the point from which a pixel is called changed
    to a true probability of 1 / (1 + w). The full ratio n0 / n1 moves it to the share
    of changed pixels itself; its square root lies half way on the scale of log odds.

    Example:
        >>> from cdstats.core.weights import Tally
        >>> recommend(Tally(1, 0, changed=10, unchanged=90)).pos_weight
        3.0
    """
    ratio = imbalance.pos_weight(counts.changed, counts.unchanged)
    if not ratio:
        absent = "changed" if counts.unchanged else "unchanged"
        reason = f"no pixel is {absent}" if counts.valid else "no pixel is valid"
        return Recommendation(None, None, f"none: {reason}, so no weight is defined")
    share = 100 * counts.changed / counts.valid
    if 1 / NEARLY_EVEN <= ratio <= NEARLY_EVEN:
        text = f"no weights: {share:.3g} % of the valid pixels are changed, nearly even"
        return Recommendation(1.0, (1.0, 1.0), text)
    root = math.sqrt(ratio)
    text = (
        f"{_caution(counts)}pos_weight {root:.4g}, or weight=[1, {root:.4g}] for "
        f"two channels: the square root of unchanged / changed = {ratio:.4g}; the full "
        f"ratio would call a pixel changed from a probability of "
        f"{100 / (1 + ratio):.3g} % on, the root does from {100 / (1 + root):.3g} % on"
    )
    return Recommendation(root, (1.0, root), text)


def _caution(counts: Tally) -> str:
    """What makes a recommendation doubtful; empty for nothing."""
    if counts.changed > counts.unchanged:
        return "look at the masks first, most pixels are changed (inverted?): "
    images = counts.images - counts.without_change
    if min(counts.changed, counts.unchanged) < FEW_PIXELS and images < FEW_IMAGES:
        pixels = counted(counts.changed, "changed pixel")
        return f"only {pixels} in {counted(images, 'image')} to go by: "
    return ""
