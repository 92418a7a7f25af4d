"""Figures of records at the width of a journal column, each with its rows.

This module holds only their names and formats, so that it imports nothing heavy.
"""

from enum import StrEnum
from typing import Final

FIGURES: Final = {
    "distribution": "number of masks by change fraction",
    "splits": "change fractions compared between splits",
    "binarisation": "change fraction under the rules of common loaders",
    "regions": "sizes of connected changed regions",
    "heat-map": "change fraction by position in the image",
    "loss-beta": "balanced cross-entropy for every beta",
    "thresholds": "F1 by threshold, the in-sample optimum marked",
    "precision-recall": "precision-recall curve and average precision",
    "calibration": "observed share of change by predicted probability",
    "epochs": "loss and F1 by the number in the name of the model",
    "errors": "images with the most wrong pixels, in colours for TP, FP, FN and TN",
}
"""Names and descriptions of all figures, in order."""
NEEDS_MASKS: Final = ("binarisation", "regions", "heat-map")
NEEDS_PREDICTIONS: Final = ("thresholds", "precision-recall", "calibration", "errors")


class FigureFormat(StrEnum):
    """A format of figures."""

    PDF = "pdf"
    SVG = "svg"
    PNG = "png"
