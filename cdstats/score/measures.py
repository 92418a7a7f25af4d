"""The measures that models are compared by: exact, and again for every resample.

Each follows from columns that add over images, so that a resample needs no image again.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property, partial
from typing import TYPE_CHECKING, Any, Final, TypeAlias

import numpy as np

from cdstats.core.catalogue import Reads, evaluate
from cdstats.core.catalogue.evaluation import BY_PIXEL
from cdstats.core.curves import average_precision, best_f1
from cdstats.core.metrics import Confusion, Over, metric_values, metrics_of
from cdstats.core.score_records import DatasetScore
from cdstats.core.sums import BINS, PLAIN, SumsTable, defined_values, quotient

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from numpy.typing import NDArray

    from cdstats.core.catalogue import Loss, LossResult
    from cdstats.core.curves import Curve
    from cdstats.core.metrics import Metric
    from cdstats.core.score_records import ScoreRecord
    from cdstats.core.sums import Floats
    from cdstats.score.curves import Binned

    Totals: TypeAlias = Mapping[str, NDArray[Any]]

AP: Final = "average_precision"
BEST_F1: Final = "best_f1_in_sample"
ECE: Final = "ece"
_BINS: Final = tuple(f"calibration {number}" for number in range(BINS))
_CONFUSION: Final = ("tp", "fp", "fn", "tn")
_METRICS: Final = metrics_of(DatasetScore)
_EARLIER: Final = (
    *("precision_pooled", "recall_pooled", "f1_pooled", "mf1_pooled", "iou_pooled"),
    *("oa", "kappa", "f1_image_mean", "f1_image_mean_nonempty", "iou_image_mean"),
)
"""Metrics whose columns stand before those of losses; others stand at the end."""
_COUNTS: Final = ("valid", "changed", "ignored", "saturated_wrong", *_CONFUSION)
_CHANGED_BINS, _UNCHANGED_BINS = "changed bins", "unchanged bins"


@dataclass(frozen=True)
class Measure:
    """A number by which models are compared."""

    name: str
    of: Callable[[Totals], Floats]
    loss: Loss | None = None
    higher_is_better: bool = True


@dataclass(frozen=True, eq=False)
class Measured:
    """One model over the images that are compared.

    Attributes:
        model: Its name.
        values: Each measure over all images; None where undefined.
        columns: What adds over the images with a valid pixel, one number for each.
        bins: Pixels of each class of each image in bins of probability; empty where
            there are none.
        best_threshold: The threshold of the highest F1.
        precision_within: How far average precision may be from its exact value.
        offsets: What is added to average precision and best F1 of the bins, so that
            all images together give the values of the curve.
    """

    model: str
    values: Mapping[str, float | None]
    columns: Mapping[str, Floats]
    bins: Mapping[str, Floats]
    best_threshold: float | None
    precision_within: float | None
    offsets: Mapping[str, float]

    @property
    def images(self) -> int:
        """Images to draw from."""
        return len(self.columns["valid"])

    @property
    def names(self) -> tuple[str, ...]:
        """The names of the columns, in the order of `stacked`."""
        return tuple(self.columns)

    @cached_property
    def stacked(self) -> Floats:
        """The columns side by side; ``(images, columns)``."""
        return np.stack(list(self.columns.values()), axis=1)


def _metric(metric: Metric, t: Totals) -> Floats:
    """A metric of the added counts of each resample."""
    return np.asarray(metric.formula(Confusion(*(t[name] for name in _CONFUSION))))


def _mean(name: str, t: Totals) -> Floats:
    """A mean over what is defined: sums over how many there are."""
    return quotient(t[name], t[f"{name} weight"])


def _pooled(loss: Loss, soft: bool, t: Totals) -> Floats:
    """A loss of the sums of all images together, for each resample."""
    whole = {n: np.rint(t[n]).astype(np.int64) for n in _COUNTS}
    plain: dict[str, Any] = {name: whole.get(name, t[name]) for name in PLAIN}
    if soft:
        plain["changed"] = t["changed"]
    values = evaluate(loss, SumsTable(**plain)).per_image or []
    return np.array([math.nan if value is None else value for value in values])


def _ece(t: Totals) -> Floats:
    """The expected calibration error of the added sums of each resample."""
    return quotient(sum(np.abs(t[name]) for name in _BINS), t["valid"])


_CURVES: Final[dict[str, Callable[[Totals], Floats]]] = {
    AP: lambda t: average_precision(t[_CHANGED_BINS], t[_UNCHANGED_BINS]),
    BEST_F1: lambda t: best_f1(t[_CHANGED_BINS], t[_UNCHANGED_BINS])[0],
}


def choose_measures(
    losses: Mapping[str, Loss], *, soft: bool, curves: bool
) -> tuple[Measure, ...]:
    """The measures of a comparison, in the order of their columns."""
    last = [name for name in _METRICS if name not in _EARLIER]
    first, others = (
        [] if soft else [_of_metric(n) for n in p] for p in (_EARLIER, last)
    )
    drawn = [Measure(name, of) for name, of in _CURVES.items() if curves]
    found = [one for name, loss in losses.items() for one in _of_loss(name, loss, soft)]
    return (*first, *found, *drawn, *others, Measure(ECE, _ece, higher_is_better=False))


def _of_metric(name: str) -> Measure:
    metric = _METRICS[name]
    pooled = metric.over is Over.POOLED
    return Measure(name, partial(_metric, metric) if pooled else partial(_mean, name))


def _of_loss(name: str, loss: Loss, soft: bool) -> list[Measure]:
    """The measures that a loss has: pooled, and as mean over images."""
    means = [
        Measure(f"{name}_{field}", partial(_mean, f"{name}_{field}"), loss, False)
        for field in _means(loss)
    ]
    if not _is_pooled(loss):
        return means
    pooled = partial(_pooled, loss, soft)
    return [Measure(_pooled_name(name), pooled, loss, False), *means]


def _means(loss: Loss) -> tuple[str, ...]:
    """The means that a loss has: over pixels, and over images."""
    known = loss.entry.reduction.value
    means = tuple(field for field in ("mean", "image_mean") if field in known)
    return means or (() if _is_pooled(loss) else ("image_mean",))


def _is_pooled(loss: Loss) -> bool:
    """Whether its value of all images together follows from the sums."""
    return loss.entry.reduction not in BY_PIXEL and loss.reads is Reads.SUMS


def _pooled_name(name: str) -> str:
    return name if name == "class_mean_bce" else f"{name}_pooled"


def measure_model(
    model: str,
    rows: Sequence[ScoreRecord],
    results: Mapping[str, tuple[Loss, LossResult]],
    curve: Curve | None,
    binned: Binned | None,
    asked: float,
) -> Measured:
    """Measure one model."""
    table = SumsTable.of([row.sums for row in rows])
    columns: dict[str, Floats] = {
        name: getattr(table, name).astype(np.float64) for name in PLAIN
    }
    errors = table.calibration if table.calibration.size else np.full((1, BINS), np.nan)
    columns |= dict(
        zip(_BINS, np.broadcast_to(errors.T, (BINS, len(rows))), strict=True)
    )
    values: dict[str, float | None] = {
        ECE: defined_values(table.total.calibration_error)[0]
    }
    if not table.soft:
        counts = [row.confusion for row in rows]
        values |= metric_values(DatasetScore, counts)
        for name, metric in _METRICS.items():
            if metric.over is not Over.POOLED:
                columns |= _defined(name, metric.of_images(counts))
    for name, (loss, result) in results.items():
        columns |= _loss_columns(name, loss, result, table)
        values |= {f"{name}_{field}": getattr(result, field) for field in _means(loss)}
        if _is_pooled(loss):
            values[_pooled_name(name)] = result.pooled
    if curve is None or binned is None:
        return Measured(model, values, columns, {}, None, None, {})
    best = curve.best
    if best is not None and (values["f1_pooled"] or 0) > best[0]:
        # A level that is not divided may hold the threshold of the run.
        best = values["f1_pooled"] or 0, asked
    values |= {AP: curve.average_precision, BEST_F1: best[0] if best else None}
    bins = {_CHANGED_BINS: binned.changed, _UNCHANGED_BINS: binned.unchanged}
    if best is None:
        return Measured(model, values, columns, bins, None, None, {})
    whole = {name: counts.sum(0) for name, counts in bins.items()}
    offsets = {
        name: (values[name] or 0.0) - float(of(whole)) for name, of in _CURVES.items()
    }
    return Measured(model, values, columns, bins, best[1], curve.within, offsets)


def _loss_columns(
    name: str, loss: Loss, result: LossResult, table: SumsTable
) -> dict[str, Floats]:
    """What the means of a loss add up from."""
    values = result.image_values
    columns: dict[str, Floats] = {}
    for field in _means(loss):
        column = f"{name}_{field}"
        if field == "mean":
            columns |= _defined(column, values, table.valid.astype(np.float64))
        elif loss.entry.reduction in BY_PIXEL:
            pairs = zip(values, table.valid.tolist(), strict=True)
            columns |= _defined(column, [v if v is None else v / n for v, n in pairs])
        else:
            columns |= _defined(column, values)
    return columns


def _defined(
    name: str, values: Sequence[float | None], weight: Floats | None = None
) -> dict[str, Floats]:
    """Two columns: the values that are defined, and how much each of them weighs."""
    known = np.array([value is not None for value in values], dtype=np.float64)
    filled = np.array([value or 0.0 for value in values], dtype=np.float64)
    return {name: filled, f"{name} weight": known * (1.0 if weight is None else weight)}
