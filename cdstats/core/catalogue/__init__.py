"""Each loss of saved predictions as a function of the sums, one `Entry` each."""

from cdstats.core.catalogue.baselines import FILE_EPS, constant_prediction
from cdstats.core.catalogue.entry import Entry, Parameter, Reads, Reduction, Value
from cdstats.core.catalogue.evaluation import (
    BY_PIXEL,
    LevelValues,
    LossResult,
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
from cdstats.core.catalogue.shares import Shares, changed_shares

__all__ = [
    "BY_PIXEL",
    "CATALOGUE",
    "FILE_EPS",
    "NOT_SCORES",
    "Entry",
    "LevelValues",
    "Loss",
    "LossResult",
    "Parameter",
    "Reads",
    "Reduction",
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
