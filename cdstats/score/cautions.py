"""What makes the numbers of a comparison misleading."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from cdstats.core.errors import Level, Message, counted
from cdstats.score.bootstrap import FEW_IMAGES
from cdstats.score.measures import AP

if TYPE_CHECKING:
    from collections.abc import Sequence

    from cdstats.score.measures import Measured
    from cdstats.score.results import LossRun

_BINS_OFF: Final = 1e-4
"""How far average precision of bins is off when a note says so."""


def cautions(
    run: LossRun, left_out: int, models: Sequence[Measured], soft: bool
) -> list[Message]:
    """What to tell beside a comparison."""
    images = models[0].images
    found = []
    if left_out:
        text = f"images left out, because a model lacks them: {left_out:,}"
        found.append(Message(Level.WARNING, text))
    if not images:
        text = "no image has a valid pixel: nothing is defined"
        failed = [row for row in run.images if row.status == "failed"]
        if failed:
            number = counted(len(failed), "prediction")
            first = f"{failed[0].pred or failed[0].target}: {failed[0].reason}"
            text = f"no image was scored, {number} failed, first {first}"
        found.append(Message(Level.ERROR, text))
    elif images < FEW_IMAGES:
        text = "intervals of so few images are unreliable, and too narrow"
        if images == 1:
            text = "one image has no interval"
        found.append(
            Message(Level.WARNING, f"{counted(images, 'image')} compared: {text}")
        )
    found += _of_loss(run, images)
    without = {one.dataset.model: one.dataset.uncovered for one in run.models}
    if len(set(without.values())) > 1:
        pixels = ", ".join(f"{model} {number:,}" for model, number in without.items())
        text = (
            f"valid pixels without a prediction: {pixels}. They are in no loss, so "
            "compare these models by metrics"
        )
        found.append(Message(Level.WARNING, text))
    off = max((abs(v) for one in models for v in one.offsets.values()), default=0.0)
    if off > _BINS_OFF:
        text = (
            "intervals of AP and best F1 come from 1,024 bins of probability and are "
            f"corrected by up to {off:.1g}"
        )
        found.append(Message(Level.NOTE, text))
    lacking = _without_curves(run, models, soft)
    if images and lacking:
        found.append(Message(Level.NOTE, lacking))
    return found


def _of_loss(run: LossRun, images: int) -> list[Message]:
    """What makes BCE misleading."""
    found = []
    if run.any_hard and images:
        text = "hard labels: BCE is 100 x the error rate, not a likelihood; compare F1"
        found.append(Message(Level.NOTE, text))
    for one in (model.dataset for model in run.models):
        share = 100 * (one.saturated_wrong or 0) / one.bce_sum if one.bce_sum else 0.0
        if 0 < share < 1:
            text = (
                f"{one.model}: {one.saturated_wrong:,} pixels are exactly 0 or 1 and "
                f"wrong: 100 each, {100 * share:.1f} % of BCE"
            )
            found.append(Message(Level.NOTE, text))
    return found


def _without_curves(run: LossRun, models: Sequence[Measured], soft: bool) -> str:
    """Why average precision and best thresholds are not defined; empty if they are."""
    what = "average precision and best threshold"
    if soft:
        return f"soft targets: {what} need labels, as do all metrics"
    if run.curves is None:
        return (
            f"{what} need the probabilities of pixels: compare with --pred, --target "
            "and --curves"
        )
    labels = [one.model for one in models if AP not in one.values]
    if not labels:
        return ""
    names = "" if len(labels) == len(models) else f"{', '.join(labels)}: "
    return f"{names}labels have one threshold, so {what} are not defined"
