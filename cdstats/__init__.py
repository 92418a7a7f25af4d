"""Pixel statistics of change-detection masks, and losses of saved predictions.

`cdstats.ratio` counts changed and unchanged pixels, `cdstats.weights` derives class
weights from them, and `cdstats.audit` checks masks for problems. `cdstats.loss` scores
saved predictions, `cdstats.errors` maps their errors, `cdstats.compare` compares
several models, and `cdstats.verify` checks the signature of a score. `cdstats.report`
and `cdstats.plot` write reports and figures. For training, `cdstats.ChangeMetric`
computes the same numbers in a loop, and `cdstats.losses` provides the losses. Names are
imported when they are first used, so importing the package is fast.
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
    if name == "report":  # this package can be called like the command
        return import_module("cdstats.report")
    if name not in _HOMES:
        raise AttributeError(f"module 'cdstats' has no attribute {name!r}")
    return getattr(import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return sorted(__all__)
