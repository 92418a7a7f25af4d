"""Which rows are printed, and in what order."""

from __future__ import annotations

from enum import Enum


class By(Enum):
    """Which rows to print."""

    IMAGE = "image"
    SPLIT = "split"
    DATASET = "dataset"


class ScoreBy(Enum):
    """Which rows of scores to print."""

    IMAGE = "image"
    DATASET = "dataset"


class Sort(Enum):
    """The order of image rows."""

    PATH = "path"
    CHANGE_RATIO = "change-ratio"
    CHANGED = "changed"
