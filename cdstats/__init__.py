"""Pixel statistics of change-detection masks, and losses of saved predictions.

`cdstats.ratio` counts changed and unchanged pixels, `cdstats.weights` derives class
weights from them, `cdstats.audit` looks for what is wrong with masks, `cdstats.loss`
scores saved predictions, `cdstats.errors` maps where they are wrong,
`cdstats.verify` checks the signature of a score, `cdstats.compare` sets several models
side by side,
`cdstats.report` and `cdstats.plot` show all of it, `cdstats.ChangeMetric` gives the
same numbers in a training loop, and `cdstats.losses` holds the losses for training.
Names are loaded when they are first used, so that importing the package costs nothing.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from cdstats.core.errors import CdstatsError, DataError, UsageError
    from cdstats.report.write import Written, plot, report, write_report
    from cdstats.scan.audit import audit
    from cdstats.scan.examination import AuditResult
    from cdstats.scan.ratio import RatioResult, ratio
    from cdstats.scan.weights import WeightsResult, weights
    from cdstats.score.comparison import Comparison, compare
    from cdstats.score.loss import loss
    from cdstats.score.maps import ErrorMaps, errors
    from cdstats.score.metric import ChangeMetric
    from cdstats.score.results import LossRun
    from cdstats.score.verification import Verification, verify

__version__ = "0.1.0"
__all__ = [
    "AuditResult",
    "CdstatsError",
    "ChangeMetric",
    "Comparison",
    "DataError",
    "ErrorMaps",
    "LossRun",
    "RatioResult",
    "UsageError",
    "Verification",
    "WeightsResult",
    "Written",
    "__version__",
    "audit",
    "compare",
    "errors",
    "loss",
    "plot",
    "ratio",
    "report",
    "verify",
    "weights",
    "write_report",
]
_HOMES = {
    "AuditResult": "cdstats.scan.examination",
    "CdstatsError": "cdstats.core.errors",
    "ChangeMetric": "cdstats.score.metric",
    "Comparison": "cdstats.score.comparison",
    "DataError": "cdstats.core.errors",
    "ErrorMaps": "cdstats.score.maps",
    "UsageError": "cdstats.core.errors",
    "LossRun": "cdstats.score.results",
    "RatioResult": "cdstats.scan.ratio",
    "WeightsResult": "cdstats.scan.weights",
    "Verification": "cdstats.score.verification",
    "Written": "cdstats.report.write",
    "audit": "cdstats.scan.audit",
    "compare": "cdstats.score.comparison",
    "errors": "cdstats.score.maps",
    "loss": "cdstats.score.loss",
    "plot": "cdstats.report.write",
    "ratio": "cdstats.scan.ratio",
    "verify": "cdstats.score.verification",
    "weights": "cdstats.scan.weights",
    "write_report": "cdstats.report.write",
}


def __getattr__(name: str) -> Any:  # noqa: ANN401 - what a module holds
    if name == "report":  # the package of reports, which is called as the command is
        return import_module("cdstats.report")
    if name not in _HOMES:
        raise AttributeError(f"module 'cdstats' has no attribute {name!r}")
    return getattr(import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return sorted(__all__)
