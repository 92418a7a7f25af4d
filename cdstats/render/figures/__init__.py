"""Figures of records at the width of a journal's column, each with its rows.

Here are their names and formats alone: nothing heavy is loaded for them.
"""

from enum import StrEnum
from typing import Final

FIGURES: Final = {
    "distribution": "how many masks hold how much change",
    "splits": "change fractions of the splits, compared",
    "binarisation": "what the usual loaders would make of the masks",
    "regions": "sizes of connected changed regions",
    "heat-map": "where change sits in the frame",
    "loss-beta": "balanced cross-entropy for every beta",
    "thresholds": "F1 over the threshold, the best one marked as in-sample",
    "precision-recall": "precision over recall, with average precision",
    "calibration": "observed share of change over predicted probability",
    "epochs": "loss and F1 over the number in the name of the model",
    "errors": "the worst images in colours for tp, fp, fn and tn",
}
"""Every figure by its name, in order."""
NEEDS_MASKS: Final = ("binarisation", "regions", "heat-map")
NEEDS_PREDICTIONS: Final = ("thresholds", "precision-recall", "calibration", "errors")


class FigureFormat(StrEnum):
    """A format of figures."""

    PDF = "pdf"
    SVG = "svg"
    PNG = "png"
