"""Metrics of a model if its masks were binarised by another rule."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from cdstats.core import metrics
from cdstats.core.binarisation import LOADERS
from cdstats.core.columns import CHANGED, UNCHANGED, column
from cdstats.core.metrics import Confusion, metric_values

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence


def by_rules(found: Sequence[int], left: Sequence[int]) -> tuple[Confusion, ...]:
    """Confusion counts under each rule of `LOADERS`.

    Args:
        found: Pixels of each `grey_class` that are predicted changed.
        left: Pixels of each `grey_class` that are predicted unchanged.
    """
    return tuple(
        Confusion(sum(found[k:]), sum(found[:k]), sum(left[k:]), sum(left[:k]))
        for k in range(1, len(LOADERS) + 1)
    )


@dataclass(frozen=True, slots=True)
class RuleSensitivity:
    """Metrics of a model if its masks were binarised by another rule.

    Ignored pixels stay ignored. ``f1_change`` and similar fields are differences from
    the metrics under the rule of the run, on the same images. ``loaders`` names public
    code with this rule.
    """

    model: str
    binarised: str = field(metadata=column("Changed\nif"))
    images: int
    changed: int = field(metadata=CHANGED)
    unchanged: int = field(metadata=UNCHANGED)
    tp: int
    fp: int
    fn: int
    tn: int
    precision_pooled: float | None = field(metadata=metrics.PRECISION.pooled)
    recall_pooled: float | None = field(metadata=metrics.RECALL.pooled)
    f1_pooled: float | None = field(metadata=metrics.F1.pooled)
    mf1_pooled: float | None = field(metadata=metrics.MEAN_F1.pooled)
    iou_pooled: float | None = field(metadata=metrics.IOU.pooled)
    oa: float | None = field(metadata=metrics.OVERALL_ACCURACY.pooled)
    kappa: float | None = field(metadata=metrics.KAPPA.pooled)
    mcc_pooled: float | None = field(metadata=metrics.MCC.pooled)
    specificity_pooled: float | None = field(metadata=metrics.SPECIFICITY.pooled)
    precision_change: float | None
    recall_change: float | None
    f1_change: float | None = field(metadata=column("F1\nchange"))
    mf1_change: float | None
    iou_change: float | None
    oa_change: float | None
    kappa_change: float | None
    mcc_change: float | None
    specificity_change: float | None
    loaders: str


def rule_sensitivity(
    model: str, images: Sequence[tuple[Confusion, Sequence[Confusion]]]
) -> Iterator[RuleSensitivity]:
    """A row for each common rule, from image counts under the rule of the run."""
    own = metric_values(RuleSensitivity, [one for one, _ in images])
    for number, (rule, loaders) in enumerate(LOADERS.items()):
        total = sum((by[number] for _, by in images), Confusion())
        values: dict[str, Any] = metric_values(RuleSensitivity, [total])
        changes = {
            f"{name.removesuffix('_pooled')}_change": None
            if value is None or own[name] is None
            else value - own[name]
            for name, value in values.items()
        }
        yield RuleSensitivity(
            model=model,
            binarised=rule,
            images=len(images),
            changed=total.tp + total.fn,
            unchanged=total.fp + total.tn,
            tp=total.tp,
            fp=total.fp,
            fn=total.fn,
            tn=total.tn,
            **values,
            **changes,
            loaders=loaders,
        )
