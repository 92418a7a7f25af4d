"""Thresholds chosen on images that are not scored, such as a validation split.

The best threshold of the scored images themselves would be optimistic.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Final

from cdstats.core.arguments import texts
from cdstats.core.errors import (
    CdstatsError,
    DataError,
    Level,
    Message,
    UsageError,
    counted,
)
from cdstats.io.discovery import UNASSIGNED
from cdstats.io.found import identity
from cdstats.io.lists import UNLISTED
from cdstats.io.naming import usual_split
from cdstats.score.choices import Kind

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from cdstats.core.material import ModelScore
    from cdstats.core.options import LossOptions
    from cdstats.io.pairing import FilePair, Pairs
    from cdstats.score.choices import PredictionChoice
    from cdstats.score.results import LossRun

_OTHER: Final = "other"
"""The name of an unknown split."""
_HASH: Final = 8
"""Number of characters of the hash of labels that are shown."""
_SOURCE_OPTIONS: Final = {
    "--pred": "--threshold-from",
    "--target": "--threshold-target",
}
_SOURCE: Final = re.compile(r"--(?:pred|target)(?![\w-])")
"""The options of predictions and masks in messages."""


@dataclass(frozen=True)
class ChosenThresholds:
    """The threshold of each model, and the images on which it was chosen.

    ``labels`` is the hash of the labels of these images by model.
    """

    thresholds: Mapping[str, tuple[float, str]] = field(default_factory=dict)
    labels: Mapping[str, str] = field(default_factory=dict)
    told: tuple[Message, ...] = ()

    def messages(self, models: Iterable[ModelScore]) -> list[Message]:
        """Notes on the choice of thresholds, and warnings about in-sample choices."""
        found = list(self.told)
        for row in (one.dataset for one in models):
            if row.labels and self.labels.get(row.model) == row.labels:
                text = (
                    f"{_named(row.model)}threshold {row.threshold!r} was chosen on "
                    "images with the same labels as those that are scored: it is "
                    "in-sample, and its F1 is optimistic"
                )
                found.append(Message(Level.WARNING, text))
        return found


def refuse_thresholds(options: LossOptions, choice: PredictionChoice) -> None:
    """Raise if options for choosing thresholds conflict, before files are listed."""
    by, split = options.chosen_by, options.threshold_split
    if by and choice.kinds == {Kind.HARD}:
        raise UsageError(f"{by}: labels have one threshold; omit this option")
    if split is None:
        return
    if options.split and usual_split(options.split) == usual_split(split):
        raise UsageError(
            f"--split {options.split} and --threshold-split {split}: the split for "
            "choosing the threshold is not scored; expected two different splits"
        )
    named = [*texts(options.pred), str(options.target)]
    if any(text.rpartition("=")[2] == "-" for text in named):
        raise UsageError(
            "predictions and masks are listed twice for --threshold-split, so their "
            "names cannot come from standard input; name a list with @list.txt"
        )


def without_split(pairs: Pairs, split: str | None) -> Pairs:
    """The pairs without those of the split on which the threshold is chosen."""
    if split is None:
        return pairs
    name = usual_split(split)
    kept = [one for one in pairs.pairs if not one.target or one.target.split != name]
    if not any(one.target for one in kept):
        raise DataError(f"--threshold-split {split}: no mask of another split to score")
    return replace(pairs, pairs=tuple(kept))


def choose_thresholds(
    options: LossOptions,
    pairs: Sequence[FilePair],
    score: Callable[[LossOptions], LossRun],
) -> ChosenThresholds:
    """The threshold with the best F1 of each model on other images.

    Raises:
        UsageError: If these images are also scored, or lack a model.
        DataError: If no threshold gives the best F1, as for labels.
    """
    if not options.chosen_by:
        return ChosenThresholds()
    by = options.chosen_by
    changes: dict[str, Any] = {
        "split": options.threshold_split,
        "threshold_split": None,
    }
    if options.threshold_from is not None:
        changes |= {
            "pred": options.threshold_from,
            "target": options.threshold_target,
            "threshold_from": None,
            "threshold_target": None,
        }

    def check(others: Sequence[FilePair]) -> None:
        _refuse_others(by, pairs, others)

    changes |= {
        "rule_sensitivity": False,
        "losses": (),
        "beta": "image",
        "histograms": True,
        "check": check,
    }
    try:
        run = score(options.replace(**changes))
    except CdstatsError as error:
        text = str(error).removeprefix(f"{by}: ")
        if options.threshold_from is not None:
            text = _SOURCE.sub(lambda one: _SOURCE_OPTIONS[one[0]], text)
        error.args = (f"{by}: {text}",)
        raise
    wanted = {pair.model for pair in pairs}
    thresholds, hashes = {}, {}
    found = [one for one in run.messages if one.level is not Level.NOTE]
    for row in (one.dataset for one in run.models if one.dataset.model in wanted):
        scored = [r for r in run.images if r.model == row.model and r.status == "ok"]
        name = _named(row.model)
        if row.failed:
            first = next(
                r for r in run.images if r.model == row.model and r.status != "ok"
            )
            text = (
                f"{name}threshold chosen without {counted(row.failed, 'image')} that "
                f"failed, first {first.pred or first.target}: {first.reason}"
            )
            found.append(Message(Level.ERROR, text, failed=row.failed))
        places = [r.place for r in scored if r.changed or r.unchanged]
        curve = run.curves.of(places) if run.curves else None
        if curve is None:
            text = f"{name}labels and soft targets have no threshold to choose"
            if len(wanted) == 1:
                raise DataError(f"{by}: {text}")
            found.append(Message(Level.WARNING, f"{text}: {row.threshold!r} is used"))
            continue
        best, threshold = curve.best or (math.nan, None)
        if threshold is None:
            why = "no pixel is changed"
            if curve.best:
                why = "no float64 lies between the probabilities of these logits"
            raise DataError(f"{by}: {name}no threshold gives the best F1: {why}")
        splits = dict.fromkeys(
            r.split for r in scored if r.split not in ("", UNASSIGNED, UNLISTED)
        )
        where = "+".join(splits) or _OTHER
        thresholds[row.model] = threshold, f"{where}:{row.labels[:_HASH]}"
        hashes[row.model] = row.labels
        text = (
            f"{name}threshold {threshold!r}: best F1, {best:.4f}, on "
            f"{counted(len(scored), 'image')} of {where}, which are not scored"
        )
        found.append(Message(Level.NOTE, text))
    return ChosenThresholds(thresholds, hashes, tuple(found))


def _named(model: str) -> str:
    return f"{model}: " if model else ""


def _refuse_others(
    by: str, pairs: Sequence[FilePair], others: Sequence[FilePair]
) -> None:
    """Raise if images are also scored, or if a model has no predictions of them."""
    scored = {identity(one.target) for one in pairs if one.target}
    masks = {identity(one.target): one.target for one in others if one.target}
    both = [file.name for key, file in masks.items() if key in scored]
    if both:
        raise UsageError(
            f"{by}: {counted(len(both), 'mask')} of {len(masks):,} are scored too, "
            f"first {both[0]}; choose the threshold on other images"
        )
    held = dict.fromkeys(one.model for one in others if one.prediction)
    wanted = dict.fromkeys(one.model for one in pairs)
    lacking = [model for model in wanted if model not in held]
    more = [model for model in held if model not in wanted]
    if lacking or (more and by == "--threshold-from"):
        ones = ", ".join(model or "a model without a name" for model in wanted)
        there = ", ".join(model or "one without a name" for model in held)
        raise UsageError(
            f"{by}: expected predictions of {ones}; found predictions of {there}. Use "
            "the same model names"
        )
