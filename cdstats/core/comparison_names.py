"""The names of what `cdstats compare` compares."""

from __future__ import annotations

from enum import StrEnum
from typing import Final

PARTS: Final = ("difference", "low", "high", "same_sign", "undefined")
"""What a measure has beside its value, as columns ``NAME_PART``."""


class ImageMeasure(StrEnum):
    """Measures of one image, by which the images where models differ are found."""

    F1 = "f1"
    IOU = "iou"
    BCE = "bce_mean"
    CLASS_MEAN = "class_mean_bce"
    BALANCED = "balanced_ce_mean"


BY_DEFAULT: Final = (ImageMeasure.F1, ImageMeasure.BCE)
"""What images are ordered by when nothing is said."""
