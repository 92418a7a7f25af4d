"""Measures by which models are compared: exact values, and values of resamples.

Each measure is computed from columns that are summed over images. A resample is then
the product of the number of draws of each image and these columns.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from functools import cached_property, partial
from itertools import product
from typing import TYPE_CHECKING, Any, Final, TypeAlias

import numpy as np

from cdstats.core.catalogue import Reads, evaluate
from cdstats.core.catalogue.evaluation import BY_PIXEL
from cdstats.core.comparison_records import ALL_DRAWN, Difference
from cdstats.core.curves import average_precision, best_f1
from cdstats.core.errors import UsageError
from cdstats.core.metrics import Confusion, Over, metric_values, metrics_of
from cdstats.core.score_records import DatasetScore
from cdstats.core.sums import BINS, PLAIN, SumsTable, defined_values, quotient

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

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
"""Metrics whose columns come before the losses; other metrics come at the end."""
_COUNTS: Final = ("valid", "changed", "ignored", "saturated_wrong", *_CONFUSION)
_CHANGED_BINS, _UNCHANGED_BINS = "changed bins", "unchanged bins"


@dataclass(frozen=True)
class Measure:
    """A measure and its function of the summed columns of resamples."""

    name: str
    of: Callable[[Totals], Floats]
    loss: Loss | None = None
    higher_is_better: bool = True


@dataclass(frozen=True, eq=False)
class Measured:
    """One model on the compared images.

    ``columns`` holds additive values, one per image with a valid pixel, and ``bins``
    the pixels of each class in bins of probability. ``offsets`` correct measures from
    bins, so that all images together give the exact value of the curve.
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
        """Number of images to draw from."""
        return len(self.columns["valid"])

    @cached_property
    def stacked(self) -> Floats:
        """The columns side by side; ``(images, columns)``."""
        return np.stack(list(self.columns.values()), axis=1)

    def grouped(self, groups: Sequence[int]) -> Measured:
        """The same model with the images of each group added up.

        Args:
            groups: The number of the group of each image, from 0.
        """

        def added(sums: Floats) -> Floats:
            found = np.zeros((max(groups, default=-1) + 1, *sums.shape[1:]))
            np.add.at(found, np.asarray(groups, dtype=np.intp), sums)
            return found

        columns, bins = (
            {name: added(sums) for name, sums in held.items()}
            for held in (self.columns, self.bins)
        )
        return replace(self, columns=columns, bins=bins)


def _metric(metric: Metric, _: str, t: Totals) -> Floats:
    """A pooled metric of each resample, from its summed counts."""
    return np.asarray(metric.formula(Confusion(*(t[name] for name in _CONFUSION))))


def _mean(_: Metric | None, name: str, t: Totals) -> Floats:
    """The mean of the defined values of each resample."""
    return quotient(t[name], t[f"{name} weight"])


def _pooled(loss: Loss, soft: bool, t: Totals) -> Floats:
    whole = {n: np.rint(t[n]).astype(np.int64) for n in _COUNTS}
    plain: dict[str, Any] = {name: whole.get(name, t[name]) for name in PLAIN}
    if soft:
        plain["changed"] = t["changed"]
    values = evaluate(loss, SumsTable(**plain)).per_image or []
    return np.array([math.nan if value is None else value for value in values])


_CURVES: Final[dict[str, Callable[[Totals], Floats]]] = {
    AP: lambda t: average_precision(t[_CHANGED_BINS], t[_UNCHANGED_BINS]),
    BEST_F1: lambda t: best_f1(t[_CHANGED_BINS], t[_UNCHANGED_BINS])[0],
}


def choose_measures(
    losses: Mapping[str, Loss], *, soft: bool, curves: bool
) -> tuple[Measure, ...]:
    """The measures of a comparison, in the order of their columns."""
    metrics = {
        name: Measure(
            name,
            partial(_metric if one.over is Over.POOLED else _mean, one, name),
        )
        for name, one in _METRICS.items()
        if not soft
    }
    first = [metrics.pop(name) for name in _EARLIER if metrics]
    drawn = [Measure(name, of) for name, of in _CURVES.items() if curves]
    found = [
        Measure(
            column,
            partial(_pooled, loss, soft)
            if of == "pooled"
            else partial(_mean, None, column),
            loss,
            higher_is_better=False,
        )
        for name, loss in losses.items()
        for column, of in _columns(name, loss).items()
    ]
    ece = Measure(
        ECE,
        lambda t: quotient(sum(np.abs(t[name]) for name in _BINS), t["valid"]),
        higher_is_better=False,
    )
    return (*first, *found, *drawn, *metrics.values(), ece)


def _columns(name: str, loss: Loss) -> dict[str, str]:
    """The columns of a loss, each with the field of its result."""
    reduction = loss.entry.reduction
    is_pooled = reduction not in BY_PIXEL and loss.reads is Reads.SUMS
    fields = [one for one in ("mean", "image_mean") if one in reduction.value]
    if not fields and not is_pooled:
        fields = ["image_mean"]
    pooled = name if name == "class_mean_bce" else f"{name}_pooled"
    return {
        **({pooled: "pooled"} if is_pooled else {}),
        **{f"{name}_{field}": field for field in fields},
    }


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
    columns |= dict(zip(_BINS, table.calibration.T, strict=True))
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
        for column, field in _columns(name, loss).items():
            values[column] = getattr(result, field)
            each, weight = result.image_values, None
            if field == "pooled":
                continue
            if field == "mean":
                weight = table.valid.astype(np.float64)
            elif loss.entry.reduction in BY_PIXEL:
                pairs = zip(each, table.valid.tolist(), strict=True)
                each = [v if v is None else v / n for v, n in pairs]
            columns |= _defined(column, each, weight)
    if curve is None or binned is None:
        return Measured(model, values, columns, {}, None, None, {})
    best = curve.best
    if best is not None and (values["f1_pooled"] or 0) > best[0]:
        # The threshold of the run may lie inside a level of the curve.
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


def _defined(
    name: str, values: Sequence[float | None], weight: Floats | None = None
) -> dict[str, Floats]:
    """Two columns: the values, 0 where undefined, and their weights."""
    known = np.array([value is not None for value in values], dtype=np.float64)
    filled = np.array([value or 0.0 for value in values], dtype=np.float64)
    return {name: filled, f"{name} weight": known * (1.0 if weight is None else weight)}


_CHUNK: Final = 1 << 22
"""Number of draws that are computed at a time."""
FEW_IMAGES: Final = 20
"""Images below which intervals of a bootstrap are too narrow to rely on."""
_MOST_RESAMPLES: Final = 1_000_000


@dataclass(frozen=True, slots=True)
class Resampling:
    """Options of the percentile intervals over resampled images.

    With ``group``, a word or a pattern of names, all images of a group are drawn
    together. With ``repeats``, the word that numbers the runs of a model, each resample
    also draws runs of every model.

    References:
        Efron and Tibshirani, "An Introduction to the Bootstrap", 1993, chapter 13.
    """

    resamples: int = 2000
    confidence: float = 0.95
    seed: int = 0
    group: str | None = None
    repeats: str | None = None

    def __post_init__(self) -> None:
        if not 1 <= self.resamples <= _MOST_RESAMPLES:
            raise UsageError(
                f"--resamples {self.resamples}: expected 1 to {_MOST_RESAMPLES:,}"
            )
        if not 0 < self.confidence < 1:
            raise UsageError(
                f"--confidence {self.confidence}: expected a number between 0 and 1, "
                "such as 0.95"
            )
        if self.seed < 0:
            raise UsageError(f"--seed {self.seed}: expected 0 or more")

    def draws(self, images: int) -> Iterator[Floats]:
        """The number of draws of each image, in chunks of resamples."""
        if images <= ALL_DRAWN and not self.repeats:
            # With few images all possible resamples are enumerated, without chance.
            every = np.array(list(product(range(images), repeat=images)))
            yield (every[:, :, None] == np.arange(images)).sum(1).astype(np.float64)
            return
        random = np.random.default_rng(self.seed)
        rows = max(1, _CHUNK // max(images, 1))
        for start in range(0, self.resamples, rows):
            some = min(rows, self.resamples - start)
            drawn = random.integers(0, images, (some, images))
            drawn += np.arange(some)[:, None] * images
            counts = np.bincount(drawn.reshape(-1), minlength=some * images)
            yield counts.reshape(some, images).astype(np.float64)

    def of_runs(self, runs: Sequence[Floats], place: int) -> Floats:
        """The mean over the runs of a model drawn by each resample.

        Args:
            runs: The resampled values of a measure for each run.
            place: Number of the model; each model draws its runs independently.
        """
        if len(runs) == 1:
            return runs[0]
        values = np.stack(runs)
        random = np.random.default_rng((self.seed, place + 1))
        drawn = random.integers(0, len(runs), values.shape)
        return np.asarray(np.take_along_axis(values, drawn, axis=0).mean(axis=0))

    def difference(
        self,
        value: float | None,
        first: float | None,
        drawn: Floats,
        drawn_first: Floats,
    ) -> Difference:
        """The difference from the first model with its interval."""
        if value is None or first is None:
            return Difference(None, None, None, None, drawn.size)
        found = drawn - drawn_first
        defined = found[~np.isnan(found)]
        undefined = found.size - defined.size
        estimate = value - first
        if not defined.size or undefined > (1 - self.confidence) * found.size:
            return Difference(estimate, None, None, None, undefined)
        tail = (1 - self.confidence) / 2
        low, high = np.quantile(defined, [tail, 1 - tail])
        same = float(np.mean(np.sign(defined) == np.sign(estimate)))
        return Difference(estimate, float(low), float(high), same, undefined)


def resampled(
    models: Sequence[Measured], measures: Sequence[Measure], how: Resampling
) -> list[dict[str, Floats]]:
    """The values of all measures of each model on all resamples."""
    images = models[0].images
    found: list[dict[str, list[Floats]]] = [
        {measure.name: [np.empty(0)] for measure in measures} for _ in models
    ]
    for draws in how.draws(images) if images > 1 else ():
        for model, values in zip(models, found, strict=True):
            totals: dict[str, Any] = dict(
                zip(model.columns, (draws @ model.stacked).T, strict=True)
            )
            totals |= {name: draws @ bins for name, bins in model.bins.items()}
            for measure in measures:
                known = measure.name in model.values
                some = measure.of(totals) if known else np.full(len(draws), np.nan)
                values[measure.name].append(some + model.offsets.get(measure.name, 0.0))
    return [
        {name: np.concatenate(parts) for name, parts in values.items()}
        for values in found
    ]
