"""Each loss of saved predictions as a function of the sums, one `Entry` each."""

from cdstats.core.catalogue.entry import Entry, Reads, Value
from cdstats.core.catalogue.evaluation import (
    BY_PIXEL,
    FILE_EPS,
    LevelValues,
    LossResult,
    Shares,
    changed_shares,
    constant_prediction,
    evaluate,
    level_value,
)
from cdstats.core.catalogue.lookup import (
    CATALOGUE,
    NOT_SCORES,
    Loss,
    all_losses,
    choose,
    parse_loss,
)

__all__ = [
    "BY_PIXEL",
    "CATALOGUE",
    "FILE_EPS",
    "NOT_SCORES",
    "Entry",
    "LevelValues",
    "Loss",
    "LossResult",
    "Reads",
    "Shares",
    "Value",
    "all_losses",
    "changed_shares",
    "choose",
    "constant_prediction",
    "evaluate",
    "level_value",
    "parse_loss",
]
