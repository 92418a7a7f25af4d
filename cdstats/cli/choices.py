"""Which rows are printed, and in what order."""

from __future__ import annotations

from enum import StrEnum


class By(StrEnum):
    """Which rows to print."""

    IMAGE = "image"
    SPLIT = "split"
    DATASET = "dataset"


class ScoreBy(StrEnum):
    """Which rows of scores to print."""

    IMAGE = "image"
    DATASET = "dataset"


class Sort(StrEnum):
    """The order of image rows."""

    PATH = "path"
    CHANGE_RATIO = "change-ratio"
    CHANGED = "changed"
