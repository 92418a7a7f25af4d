"""`cdstats.compare`: measures of several models, their differences and intervals."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass, replace
from functools import partial
from statistics import fmean, stdev
from typing import TYPE_CHECKING, Final

from cdstats.core.arguments import takes
from cdstats.core.comparison_records import Compared, ComparedModel, DifferingImage
from cdstats.core.errors import Level, Message, UsageError, counted, unread_of
from cdstats.core.options import CompareOptions, ImageMeasure, LossOptions
from cdstats.core.score_records import ScoreRecord, Stated, labels_of, signature_of
from cdstats.core.sums import SumsTable
from cdstats.io.held import as_files
from cdstats.render.table import Displayed, Table
from cdstats.score.choices import choose_predictions
from cdstats.score.grid import Ground
from cdstats.score.groups import (
    FEW_GROUPS,
    SharedImages,
    bases_of,
    check_pairs,
    crops_text,
    groups_of,
    order_models,
    shared_images,
)
from cdstats.score.loss import score_predictions
from cdstats.score.measures import (
    AP,
    FEW_IMAGES,
    Resampling,
    choose_measures,
    measure_model,
    resampled,
)
from cdstats.score.results import choose_losses, result_of_rows

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    import pandas as pd

    from cdstats.core.catalogue import Loss
    from cdstats.core.rule_sensitivity import RuleSensitivity
    from cdstats.core.sums import Floats
    from cdstats.score.measures import Measure, Measured
    from cdstats.score.results import LossRun

_BASIC: Final = 3
_BINS_OFF: Final = 1e-4
"""Error of average precision from bins above which a note says so."""


@dataclass(frozen=True, repr=False)
class Comparison(Displayed):
    """The result of `cdstats.compare`.

    Attributes:
        models: The measures of each model, starting with the baseline.
        measures: The names of the measures.
        losses: The measures that are losses, for which lower is better.
        asked: The first measure of each requested loss.
        differing: All compared images for each measure of images, in descending order
            of the differences between models.
        images: The rows of `cdstats.loss`, including failed predictions.
        resampling: The options of the intervals.
        device: The device that computed.
        messages: Notes, warnings and errors.
        failed: Number of failed predictions and of masks without a prediction; with
            ``common``, masks without a prediction are not counted.
        rule_sensitivity: The metrics of each model with masks binarised by each common
            rule; empty unless requested.
        differences: The measures whose differences are shown instead of the usual ones.
    """

    models: tuple[ComparedModel, ...]
    measures: tuple[str, ...]
    losses: frozenset[str]
    asked: tuple[str, ...]
    differing: tuple[DifferingImage, ...]
    images: tuple[ScoreRecord, ...]
    resampling: Resampling
    device: str
    messages: tuple[Message, ...] = ()
    failed: int = 0
    rule_sensitivity: tuple[RuleSensitivity, ...] = ()
    differences: tuple[str, ...] = ()

    @property
    def unread(self) -> int:
        """Number of inputs that could not be read at all, such as folders."""
        return unread_of(self.messages)

    @property
    def drawn_from(self) -> int:
        """Number of images that are resampled, which have a valid pixel."""
        return self.models[0].images - self.models[0].images_without_valid

    def table(self) -> Table:
        """The models, with intervals of their differences."""
        from cdstats.render.comparison import paper_columns

        return Table.of(
            ComparedModel, self.models, paper_columns(self.models, self.differences)
        )

    def frame(self) -> pd.DataFrame:
        """The rows of the models as a data frame, with columns for each measure."""
        from cdstats.render.writers import frame

        return frame(self.models, ComparedModel)

    def differing_frame(self) -> pd.DataFrame:
        """The images by descending difference as a data frame, a column per model."""
        from cdstats.render.writers import frame

        return frame(self.differing, DifferingImage)

    def image_frame(self) -> pd.DataFrame:
        """The rows of the images of all models, as a data frame."""
        from cdstats.render.writers import frame

        return frame(self.images, ScoreRecord)


def compare_run(
    run: LossRun,
    losses: Sequence[Loss],
    how: Resampling,
    by: Sequence[ImageMeasure],
    baseline: str | None,
    common: bool,
) -> Comparison:
    """Compare the models of a run, with images sorted by the measures ``by``."""
    shared = shared_images(run.images, common=common)
    bases = bases_of([row.place for row in run.images], how.repeats)
    first = order_models(list(dict.fromkeys(bases.values())), baseline)
    runs = {base: [run for run in shared.rows if bases[run] == base] for base in first}
    order = [run for base in first for run in runs[base]]
    soft = any(isinstance(row.changed, float) for row in run.images)
    # Some losses are not defined for soft targets.
    held = {name for row in run.images for name in row.losses}
    basic, further = losses[:_BASIC], losses[_BASIC:]
    named = _names([*basic, *(one for one in further if one.column in held)])
    models = [_measure(model, run, shared, named) for model in order]
    groups = _drawn_groups(run, shared, how.group)
    measures = choose_measures(named, soft=soft, curves=any(m.bins for m in models))
    asked = {one.loss: one.name for one in reversed(measures) if one.loss in further}
    rows = [
        {model: run.images[shared.rows[model][number]] for model in order}
        for number in range(len(shared.keys))
    ]
    return Comparison(
        tuple(_records(run, shared, models, measures, how, groups, runs)),
        tuple(measure.name for measure in measures),
        frozenset(one.name for one in measures if not one.higher_is_better),
        tuple(reversed(asked.values())),
        tuple(one for m in by for one in _differing(shared, rows, m.value, runs)),
        run.images,
        how,
        run.device,
        (
            *run.messages,
            *_cautions(run, shared.left_out, models, soft, how.group),
            *_group_cautions(shared, groups, how.group),
        ),
        sum(
            row.status == "failed" and not (common and not row.pred)
            for row in run.images
        )
        + sum(one.failed for one in run.messages),
        tuple(run.sensitivity(one[model] for model in order for one in rows)),
    )


def measure_names(losses: Sequence[str], beta: str | float) -> tuple[str, ...]:
    """The names of all possible measures of a comparison."""
    chosen = choose_losses(losses, beta, logits=True)
    measures = choose_measures(_names(chosen), soft=False, curves=True)
    return tuple(measure.name for measure in measures)


def choose_differences(
    texts: Sequence[str], losses: Sequence[str], beta: str | float
) -> tuple[str, ...]:
    """Measures by name or by prefix, such as ``iou`` for ``iou_pooled``.

    Raises:
        UsageError: If a name does not match any measure.
    """
    known, found = measure_names(losses, beta), []
    for text in texts:
        starts = (f"{text}[", f"{text}_")
        like = (one for one in known if one == text or one.startswith(starts))
        name = text if text in known else next(like, None)
        if name is None:
            raise UsageError(
                f"--difference {text}: expected one of {', '.join(known)}; further "
                "losses must also be named with --loss"
            )
        found.append(name)
    return tuple(dict.fromkeys(found))


def _names(losses: Sequence[Loss]) -> dict[str, Loss]:
    """Losses by the prefixes of their columns."""
    basic = {one.name: one for one in losses[:_BASIC]}
    return {**basic, **{one.label: one for one in losses[_BASIC:]}}


def _measure(
    model: str, run: LossRun, shared: SharedImages, losses: Mapping[str, Loss]
) -> Measured:
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
    curve = binned = None
    if run.curves is not None:
        images = [row.place for row in rows]
        curve = run.curves.of(images)
        binned = run.curves.binned(images, curve) if curve else None
    asked = run.curves.how.choice.of(model).threshold if run.curves else math.nan
    return measure_model(model, rows, results, curve, binned, asked)


def _drawn_groups(run: LossRun, shared: SharedImages, by: str | None) -> list[int]:
    """The group number of each shared image with a valid pixel."""
    images = list(zip(*shared.rows.values(), strict=True))
    places = [
        [run.images[at].place for at in own]
        for own in images
        if run.images[own[0]].changed or run.images[own[0]].unchanged
    ]
    names = groups_of(places, by)
    numbers = {name: number for number, name in enumerate(dict.fromkeys(names))}
    return [numbers[name] for name in names]


def _records(
    run: LossRun,
    shared: SharedImages,
    models: Sequence[Measured],
    measures: Sequence[Measure],
    how: Resampling,
    groups: Sequence[int],
    runs: Mapping[str, Sequence[str]],
) -> list[ComparedModel]:
    """The row of each model; measures are means over its runs."""
    every = resampled([model.grouped(groups) for model in models], measures, how)
    measured = {model.model: model for model in models}
    drawn = dict(zip(measured, every, strict=True))
    first: dict[str, tuple[float | None, Floats]] = {}
    records = []
    for place, (base, names) in enumerate(runs.items()):
        own = [measured[name] for name in names]
        compared = {}
        for measure in (one.name for one in measures):
            values = [model.values.get(measure) for model in own]
            known = [value for value in values if value is not None]
            value = fmean(known) if len(known) == len(values) else None
            again = how.of_runs([drawn[name][measure] for name in names], place)
            beside = first.setdefault(measure, (value, again))
            gap = how.difference(value, beside[0], again, beside[1]) if place else None
            sd = None if value is None or len(known) < 2 else stdev(known)
            compared[measure] = Compared(value, gap, sd)
        rows = [run.images[at] for at in shared.rows[names[0]]]
        every_row = [run.images[at] for name in names for at in shared.rows[name]]
        each = (one.precision_within for one in own)
        within = [one for one in each if one is not None]
        one = ComparedModel(
            model=base,
            images=len(rows),
            images_without_valid=len(rows) - own[0].images,
            left_out=shared.left_out,
            changed=sum(row.changed or 0 for row in rows),
            unchanged=sum(row.unchanged or 0 for row in rows),
            ignored=sum(row.ignored or 0 for row in rows),
            best_threshold_in_sample=own[0].best_threshold if len(own) == 1 else None,
            average_precision_within=max(within, default=None),
            **asdict(Stated.of(every_row)),
            resamples=how.resamples,
            confidence=how.confidence,
            seed=how.seed,
            labels=labels_of(rows),
            signature="",
            group=how.group or "",
            groups=len(set(groups)),
            repeats=len(own) if how.repeats else None,
            compared=compared,
        )
        records.append(replace(one, signature=signature_of(one, rows)))
    return records


def _differing(
    shared: SharedImages,
    images: Sequence[Mapping[str, ScoreRecord]],
    measure: str,
    runs: Mapping[str, Sequence[str]],
) -> list[DifferingImage]:
    """All images with the mean over runs of each model, by descending spread."""
    found = []
    for (target, part), rows in zip(shared.keys, images, strict=True):
        values: dict[str, float | None] = {}
        for base, names in runs.items():
            own = [getattr(rows[name], measure) for name in names]
            values[base] = None if None in own else fmean(own)
        known = {model: value for model, value in values.items() if value is not None}
        low = min(known, key=known.__getitem__, default="")
        high = max(known, key=known.__getitem__, default="")
        spread = known[high] - known[low] if len(known) > 1 else None
        split = next(iter(rows.values())).split
        one = DifferingImage(target, part, split, measure, spread, low, high, values)
        found.append(one.with_stated(Stated.of(rows.values())))
    return sorted(
        found, key=lambda one: -1.0 if one.spread is None else one.spread, reverse=True
    )


def _group_cautions(
    shared: SharedImages, groups: Sequence[int], by: str | None
) -> Iterator[Message]:
    """Warnings about few groups, or about crops that are resampled independently."""
    number = len(set(groups))
    if by is None:
        if text := crops_text([target for target, _ in shared.keys]):
            yield Message(Level.WARNING, text)
    elif number == 1:
        yield Message(Level.WARNING, f"a single group of {by} gives no interval")
    elif 0 < number < FEW_GROUPS:
        text = "intervals from so few groups are unreliable and too narrow"
        yield Message(Level.NOTE, f"{counted(number, 'group')} of {by}: {text}")


def _cautions(
    run: LossRun,
    left_out: int,
    models: Sequence[Measured],
    soft: bool,
    by: str | None = None,
) -> list[Message]:
    """Errors, warnings and notes on what makes a comparison misleading."""
    images, found = models[0].images, []

    def tell(level: Level, text: str) -> None:
        found.append(Message(level, text))

    if left_out:
        text = f"images excluded, because a model lacks them: {left_out:,}"
        tell(Level.WARNING, text)
    failed = [row for row in run.images if row.status == "failed"]
    if not images and failed:
        number = counted(len(failed), "prediction")
        first = f"{failed[0].pred or failed[0].target}: {failed[0].reason}"
        tell(Level.ERROR, f"no image could be scored: {number} failed, first {first}")
    elif not images:
        tell(Level.ERROR, "no image has a valid pixel, so no value is defined")
    elif images < FEW_IMAGES and by is None:
        text = "intervals from so few images are unreliable and too narrow"
        if images == 1:
            text = "a single image gives no interval"
        tell(Level.WARNING, f"{counted(images, 'image')} compared: {text}")
    if run.any_hard and images:
        text = "predictions are labels, so BCE is 100 × the error rate; use F1 or IoU"
        tell(Level.NOTE, text)
    for one in (model.dataset for model in run.models):
        share = 100 * (one.saturated_wrong or 0) / one.bce_sum if one.bce_sum else 0.0
        if 0 < share < 1:
            text = (
                f"{one.model}: {one.saturated_wrong:,} pixels are exactly 0 or 1 and "
                f"wrong: 100 each, {100 * share:.1f} % of BCE"
            )
            tell(Level.NOTE, text)
    without = {one.dataset.model: one.dataset.uncovered for one in run.models}
    if len(set(without.values())) > 1:
        pixels = ", ".join(f"{model} {number:,}" for model, number in without.items())
        text = (
            f"valid pixels without a prediction: {pixels}. Losses exclude them, so "
            "compare these models by metrics"
        )
        tell(Level.WARNING, text)
    off = max((abs(v) for one in models for v in one.offsets.values()), default=0.0)
    if off > _BINS_OFF:
        text = (
            "intervals of AP and best F1 come from 1,024 bins of probability and are "
            f"corrected by up to {off:.1g}"
        )
        tell(Level.NOTE, text)
    what = "average precision and best threshold"
    labels = [one.model for one in models if AP not in one.values]
    if images and soft:
        tell(Level.NOTE, f"soft targets: {what} need labels, as do all metrics")
    elif images and run.curves is None:
        text = "need the probabilities of pixels: compare with --pred, --target and"
        tell(Level.NOTE, f"{what} {text} --curves")
    elif images and labels:
        names = "" if len(labels) == len(models) else f"{', '.join(labels)}: "
        text = f"labels have one threshold, so {what} are not defined"
        tell(Level.NOTE, f"{names}{text}")
    return found


@takes(CompareOptions, partial(as_files, models=True))
def compare(options: CompareOptions) -> Comparison:
    """Compare the saved predictions of several models on the same masks.

    The difference of each measure from the first model has a percentile bootstrap
    interval: images are drawn with replacement, the same for all models. With
    ``group``, the images of a scene are drawn together, which is needed for crops. With
    ``repeats``, the word that numbers the runs of a model, measures are means over
    runs, and runs are drawn as well. Intervals are not corrected for comparing several
    models. The beta of a dataset is the same in all resamples.

    Predictions are scored as by `cdstats.loss`; ``pred`` may be a mapping of names to
    predictions in memory. With rows of an earlier run (``from_file``), average
    precision and best thresholds are missing, because they need probabilities.

    Returns:
        Records of models and images.

    Raises:
        UsageError: If an option is invalid, or there is only one model.
        DataError: If nothing pairs, or models score different images or pixels.
    """
    return compare_models(options)


def compare_models(options: CompareOptions) -> Comparison:
    """The result of `compare` for an options record."""
    baseline, common = options.baseline, options.common
    how = Resampling(
        *(options.resamples, options.confidence, options.seed),
        *(options.group, options.repeats),
    )
    shown = choose_differences(options.differences, options.losses, options.beta)
    merged = Ground.of(options).merges
    run = score_predictions(
        LossOptions.of(
            options,
            histograms=options.curves,
            check=partial(
                check_pairs,
                baseline=baseline,
                common=common,
                merged=merged,
                group=options.group,
                repeats=options.repeats,
            ),
        )
    )
    measures = tuple(dict.fromkeys(ImageMeasure(name) for name in options.measures))
    logits = choose_predictions(options).all_logits
    further = choose_losses(options.losses, options.beta, logits=logits)
    found = compare_run(run, further, how, measures, baseline, common)
    lacking = [
        Message(Level.WARNING, f"{name} is undefined, so its difference is not shown")
        for name in shown
        if all(n.compared.get(name, Compared(None)).value is None for n in found.models)
    ]
    told = (*found.messages, *lacking)
    return replace(found, differences=shown, messages=told)
