"""From the rows of several models to their measures, differences and intervals."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING, Final

from cdstats.core.comparison_records import Compared, ComparedModel, DifferingImage
from cdstats.core.errors import UsageError
from cdstats.core.messages import Level, Message
from cdstats.core.sums import SumsTable
from cdstats.score.bootstrap import FEW_IMAGES, Resampling, resampled
from cdstats.score.measures import AP, choose_measures, measure_model
from cdstats.score.same_images import shared_images
from cdstats.score.saved import result_of_rows

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import pandas as pd

    from cdstats.core.catalogue import Loss
    from cdstats.core.score_records import ScoreRecord
    from cdstats.score.measures import Measure, Measured
    from cdstats.score.results import LossRun
    from cdstats.score.same_images import ImageKey, SharedImages

_BASIC: Final = 3


class ImageMeasure(Enum):
    """Measures of one image, by which the images where models differ are found."""

    F1 = "f1"
    IOU = "iou"
    BCE = "bce_mean"
    CLASS_MEAN = "class_mean_bce"
    BALANCED = "balanced_ce_mean"


BY_DEFAULT: Final = (ImageMeasure.F1, ImageMeasure.BCE)


@dataclass(frozen=True)
class Comparison:
    """What `compare` found.

    Attributes:
        models: The measures of each model, the one that the others are compared with
            first.
        measures: The names of the measures.
        losses: Those of them that are losses, of which less is better.
        differing: For each measure of images every image compared, those on which
            models differ most first.
        images: The rows of `cdstats.loss`, failed ones included.
        resampling: How the intervals were made.
        device: The device that computed.
        messages: Notes, warnings and errors.
        failed: Images that no model scored.
    """

    models: tuple[ComparedModel, ...]
    measures: tuple[str, ...]
    losses: frozenset[str]
    differing: tuple[DifferingImage, ...]
    images: tuple[ScoreRecord, ...]
    resampling: Resampling
    device: str
    messages: tuple[Message, ...] = ()
    failed: int = 0

    @property
    def drawn_from(self) -> int:
        """Images that are resampled: those with a valid pixel."""
        return self.models[0].images - self.models[0].images_without_valid

    def frame(self) -> pd.DataFrame:
        """The rows of the models as a data frame, with columns for each measure."""
        from cdstats.report.frames import further_frame

        return further_frame(self.models, "compared")

    def differing_frame(self) -> pd.DataFrame:
        """The images by how far models differ, with a column for each model."""
        from cdstats.report.frames import further_frame

        return further_frame(self.differing, "values")

    def image_frame(self) -> pd.DataFrame:
        """The rows of the images of each model, as `cdstats.loss` gives them."""
        from cdstats.report.frames import score_frame

        return score_frame(self.images)


def compare_run(
    run: LossRun,
    losses: Sequence[Loss],
    how: Resampling,
    by: Sequence[ImageMeasure],
    baseline: str | None,
    common: bool,
) -> Comparison:
    """Compare the models of a run.

    Args:
        run: The scores of two or more models.
        losses: BCE, balanced and class-mean BCE, then the further losses of its rows.
        how: How intervals are made.
        by: The measures of an image by which images are ordered.
        baseline: The model that the others are compared with; None for the first.
        common: Whether images that a model lacks are left out, instead of refused.

    Raises:
        UsageError: If the baseline is no model, or there is one model alone.
        DataError: If models differ in the images or pixels that they score.
    """
    shared = shared_images(run.images, common=common)
    order = _order(list(shared.rows), baseline)
    named = _named(losses, run.images)
    models = [_measure(model, run, shared, named) for model in order]
    soft = any(isinstance(row.changed, float) for row in run.images)
    measures = choose_measures(named, soft=soft, curves=any(m.bins for m in models))
    messages = (*run.messages, *_messages(run, shared, models, soft))
    return Comparison(
        tuple(_records(run, shared, models, measures, how)),
        tuple(measure.name for measure in measures),
        frozenset(one.name for one in measures if not one.higher_is_better),
        tuple(one for measure in by for one in _differing(run, shared, order, measure)),
        run.images,
        how,
        run.device,
        messages,
        shared.failed,
    )


def _order(models: list[str], baseline: str | None) -> list[str]:
    """The models, the one that the others are compared with first."""
    if baseline is None:
        return models
    if baseline not in models:
        raise UsageError(
            f"--baseline {baseline}: is no model; there are {', '.join(models)}"
        )
    return [baseline, *(model for model in models if model != baseline)]


def _named(losses: Sequence[Loss], rows: Sequence[ScoreRecord]) -> dict[str, Loss]:
    """The losses that the rows hold, by the names that begin their columns."""
    basic = {one.name: one for one in losses[:_BASIC]}
    held = dict.fromkeys(name for row in rows for name in row.losses)
    further = {one.label: one for one in losses[_BASIC:] if one.column in held}
    return {**basic, **further}


def _measure(
    model: str, run: LossRun, shared: SharedImages, losses: Mapping[str, Loss]
) -> Measured:
    """Measure one model on the shared images that have a valid pixel."""
    places = [
        place
        for place in shared.rows[model]
        if run.images[place].changed or run.images[place].unchanged
    ]
    rows = [run.images[place] for place in places]
    table = SumsTable.of([row.sums for row in rows])
    results = {
        name: (one, result_of_rows(one, table, rows)) for name, one in losses.items()
    }
    levels = [run.histograms[place] for place in places] if run.histograms else []
    known = [one for one in levels if one is not None]
    return measure_model(
        model, rows, results, known if len(known) == len(rows) else None
    )


def _records(
    run: LossRun,
    shared: SharedImages,
    models: Sequence[Measured],
    measures: Sequence[Measure],
    how: Resampling,
) -> list[ComparedModel]:
    """The row of each model."""
    datasets = {one.dataset.model: one.dataset for one in run.models}
    drawn = resampled(models, measures, how)
    records = []
    for model, own in zip(models, drawn, strict=True):
        rows = [run.images[place] for place in shared.rows[model.model]]
        compared = {
            one.name: Compared(
                model.values.get(one.name),
                None
                if model is models[0]
                else how.difference(
                    model.values.get(one.name),
                    models[0].values.get(one.name),
                    own[one.name],
                    drawn[0][one.name],
                ),
            )
            for one in measures
        }
        records.append(
            ComparedModel(
                model=model.model,
                images=len(rows),
                images_without_valid=len(rows) - model.images,
                left_out=shared.left_out,
                changed=sum(row.changed or 0 for row in rows),
                unchanged=sum(row.unchanged or 0 for row in rows),
                ignored=sum(row.ignored or 0 for row in rows),
                best_threshold_in_sample=model.best_threshold,
                kind=datasets[model.model].kind,
                rule=datasets[model.model].rule,
                resamples=how.resamples,
                confidence=how.confidence,
                seed=how.seed,
                compared=compared,
            )
        )
    return records


def _differing(
    run: LossRun, shared: SharedImages, models: Sequence[str], measure: ImageMeasure
) -> list[DifferingImage]:
    """Every image, those on which models differ most first."""
    images = [
        _image(key, number, run, shared, models, measure.value)
        for number, key in enumerate(shared.keys)
    ]
    return sorted(
        images, key=lambda one: -1.0 if one.spread is None else one.spread, reverse=True
    )


def _image(
    key: ImageKey,
    number: int,
    run: LossRun,
    shared: SharedImages,
    models: Sequence[str],
    measure: str,
) -> DifferingImage:
    rows = {model: run.images[shared.rows[model][number]] for model in models}
    values: dict[str, float | None] = {
        model: getattr(row, measure) for model, row in rows.items()
    }
    known = {model: value for model, value in values.items() if value is not None}
    low = min(known, key=known.__getitem__, default="")
    high = max(known, key=known.__getitem__, default="")
    spread = known[high] - known[low] if len(known) > 1 else None
    split = rows[models[0]].split
    return DifferingImage(key[0], key[1], split, measure, spread, low, high, values)


def _messages(
    run: LossRun, shared: SharedImages, models: Sequence[Measured], soft: bool
) -> list[Message]:
    """What makes the numbers misleading."""
    images = models[0].images
    found = []
    if shared.left_out:
        text = f"{shared.left_out:,} images that some model lacks are left out"
        found.append(Message(Level.WARNING, text))
    if not images:
        text = "no image has a valid pixel: nothing is defined"
        found.append(Message(Level.ERROR, text))
    elif images < FEW_IMAGES:
        text = "intervals of so few images are unreliable, and too narrow"
        if images == 1:
            text = "one image has no interval"
        found.append(Message(Level.WARNING, f"{images:,} images compared: {text}"))
    lacking = _without_curves(run, models, soft)
    if images and lacking:
        found.append(Message(Level.NOTE, lacking))
    return found


def _without_curves(run: LossRun, models: Sequence[Measured], soft: bool) -> str:
    """Why average precision and best thresholds are not defined; empty if they are."""
    what = "average precision and best threshold"
    if soft:
        return f"soft targets: {what} need labels, as do all metrics"
    if not run.histograms:
        return f"{what} need probabilities: compare with --pred and --target"
    labels = ", ".join(one.model for one in models if AP not in one.values)
    if not labels:
        return ""
    return f"{labels}: labels have one threshold, so {what} are not defined"
