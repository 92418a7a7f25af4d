"""The losses of saved predictions as functions of sums, one `Entry` per loss."""

from cdstats.core.catalogue.entry import Entry as Entry
from cdstats.core.catalogue.entry import Reads as Reads
from cdstats.core.catalogue.entry import Value as Value
from cdstats.core.catalogue.evaluation import BY_PIXEL as BY_PIXEL
from cdstats.core.catalogue.evaluation import FILE_EPS as FILE_EPS
from cdstats.core.catalogue.evaluation import LevelValues as LevelValues
from cdstats.core.catalogue.evaluation import LossResult as LossResult
from cdstats.core.catalogue.evaluation import Shares as Shares
from cdstats.core.catalogue.evaluation import changed_shares as changed_shares
from cdstats.core.catalogue.evaluation import constant_prediction as constant_prediction
from cdstats.core.catalogue.evaluation import evaluate as evaluate
from cdstats.core.catalogue.evaluation import level_value as level_value
from cdstats.core.catalogue.lookup import CATALOGUE as CATALOGUE
from cdstats.core.catalogue.lookup import NOT_SCORES as NOT_SCORES
from cdstats.core.catalogue.lookup import Loss as Loss
from cdstats.core.catalogue.lookup import all_losses as all_losses
from cdstats.core.catalogue.lookup import choose as choose
from cdstats.core.catalogue.lookup import parse_loss as parse_loss
