"""From the rows of several models to their measures, differences and intervals."""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import asdict, dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Final, TypeAlias

from cdstats.core.arguments import takes
from cdstats.core.comparison_records import Compared, ComparedModel, DifferingImage
from cdstats.core.errors import DataError, Level, Message, UsageError, counted
from cdstats.core.options import CompareOptions, ImageMeasure, LossOptions
from cdstats.core.score_records import ScoreRecord, Stated, labels_of, signature_of
from cdstats.core.sums import SumsTable
from cdstats.io.held import as_files
from cdstats.render.table import Displayed, Table
from cdstats.score.choices import choose_predictions
from cdstats.score.grid import Ground
from cdstats.score.groups import FEW_GROUPS, check_group, crops_text, groups_of
from cdstats.score.loss import score_predictions
from cdstats.score.measures import (
    AP,
    FEW_IMAGES,
    Resampling,
    choose_measures,
    measure_model,
    resampled,
)
from cdstats.score.reading import place_of
from cdstats.score.results import choose_losses, result_of_rows

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    import pandas as pd

    from cdstats.core.catalogue import Loss
    from cdstats.io.pairing import FilePair
    from cdstats.score.measures import Measure, Measured
    from cdstats.score.results import LossRun

ImageKey: TypeAlias = tuple[str, str]
"""A mask, and what tells its crops apart; the second is empty for a whole mask."""
_SHOWN: Final = 3
_PIXELS: Final = ("width", "height", "changed", "unchanged", "ignored")


@dataclass(frozen=True)
class SharedImages:
    """The images that are compared."""

    keys: tuple[ImageKey, ...]
    rows: Mapping[str, tuple[int, ...]]
    left_out: int


def check_pairs(
    pairs: Sequence[FilePair],
    *,
    baseline: str | None,
    common: bool,
    merged: bool = False,
    group: str | None = None,
) -> None:
    """Refuse what cannot be compared, as far as the names of files tell."""
    models: dict[str, dict[ImageKey, str]] = {pair.model: {} for pair in pairs}
    order_models(list(models), baseline)
    if group is not None:
        check_group([place_of(one) for one in pairs if one.target], group)
    for pair in pairs:
        if pair.prediction is not None and pair.target is not None:
            target, member = pair.target.name, pair.target.member
            place = target if member in target else f"{target}#{member}"
            at = str(pair.crop) if pair.crop and not merged else ""
            models[pair.model][place, at] = ""
    if not common:
        _refuse_lacking(models, {})


def order_models(models: Sequence[str], baseline: str | None) -> list[str]:
    """The models, the one that the others are compared with first."""
    if len(models) < 2:
        names = f": {_name(models[0])}" if models else ""
        raise UsageError(
            f"one model to compare{names}; expected two or more, each as --pred "
            "NAME=PATH, or one pattern with {model}"
        )
    if baseline is None:
        return list(models)
    if baseline not in models:
        raise UsageError(
            f"--baseline {baseline}: is no model; there are {', '.join(models)}"
        )
    return [baseline, *(model for model in models if model != baseline)]


def shared_images(rows: Sequence[ScoreRecord], *, common: bool) -> SharedImages:
    """Find the images that every model scored."""
    models = list(dict.fromkeys(row.model for row in rows))
    order_models(models, None)
    parts = _parts(rows, models)
    scored: dict[str, dict[ImageKey, int]] = {model: {} for model in models}
    reasons: dict[tuple[str, ImageKey], str] = {}
    for number, (row, part) in enumerate(zip(rows, parts, strict=True)):
        key = (row.target or row.pred, part)
        if row.status != "ok":
            reasons[row.model, key] = row.reason
        elif key in scored[row.model]:
            raise DataError(
                f"{_name(row.model)} has two predictions of {_image(key)}, "
                f"{rows[scored[row.model][key]].pred} and {row.pred}; expected one"
            )
        else:
            scored[row.model][key] = number
    if not common:
        _refuse_lacking(scored, reasons)
    every = list(dict.fromkeys(key for own in scored.values() for key in own))
    keys = tuple(key for key in every if all(key in own for own in scored.values()))
    if every and not keys:
        raise DataError(f"{', '.join(map(_name, models))}: share no image to compare")
    for key in keys:
        _refuse_other_pixels(key, [rows[own[key]] for own in scored.values()])
    return SharedImages(
        keys,
        {model: tuple(own[key] for key in keys) for model, own in scored.items()},
        len(every) - len(keys),
    )


def _parts(rows: Sequence[ScoreRecord], models: Sequence[str]) -> list[str]:
    """What tells the predictions of one mask apart: their names, where models agree.

    A pattern with ``{model}`` has the model in the name of every prediction, so names
    are compared without it where they differ otherwise.
    """
    count = Counter((row.model, row.target) for row in rows if row.target)
    several = {target for (_, target), number in count.items() if number > 1}
    plain = [row.pred if row.target in several else "" for row in rows]
    pairs = [(row.model, part) for row, part in zip(rows, plain, strict=True)]
    of_models = [{part for name, part in pairs if name == model} for model in models]
    if all(found == of_models[0] for found in of_models):
        return plain
    return [part.replace(name, "{model}") if name else part for name, part in pairs]


def _refuse_lacking(
    models: Mapping[str, Mapping[ImageKey, object]],
    reasons: Mapping[tuple[str, ImageKey], str],
) -> None:
    """Refuse models that lack an image, naming the first of them."""
    every = list(dict.fromkeys(key for own in models.values() for key in own))
    texts = []

    def named(model: str, key: ImageKey) -> str:
        reason = reasons.get((model, key))
        return f"{_image(key)}: {reason}" if reason else _image(key)

    for model, own in models.items():
        lacking = [key for key in every if key not in own]
        if lacking:
            names = ", ".join(named(model, key) for key in lacking[:_SHOWN])
            more = len(lacking) - _SHOWN
            rest = f" and {more:,} more" if more > 0 else ""
            of = counted(len(every), "image")
            failed = (key for name, key in reasons if name == model)
            other = next((key for key in failed if key not in lacking), None)
            texts.append(
                f"{_name(model)} lacks {len(lacking):,} of {of} ({names}{rest})"
                + (f", as {named(model, other)}" if other else "")
            )
    if texts:
        more = len(texts) - _SHOWN
        rest = f"; and {more:,} more models lack some" if more > 0 else ""
        raise DataError(
            "models do not score the same images: "
            f"{'; '.join(texts[:_SHOWN])}{rest}. Give every model the same images, or "
            "compare what they share: --common"
        )


def _refuse_other_pixels(key: ImageKey, rows: Sequence[ScoreRecord]) -> None:
    """Refuse an image of which models score other pixels."""
    first = rows[0]
    for row in rows[1:]:
        for name in _PIXELS:
            one, other = getattr(first, name) or 0, getattr(row, name) or 0
            if not math.isclose(one, other, rel_tol=1e-9):
                raise DataError(
                    f"{_image(key)}: models do not score the same pixels: {name} is "
                    f"{one:,} for {_name(first.model)} and {other:,} for "
                    f"{_name(row.model)}"
                )


def _image(key: ImageKey) -> str:
    return f"{key[0]} at {key[1]}" if key[1] else key[0]


def _name(model: str) -> str:
    return model or "the model without a name"


_BASIC: Final = 3
_BINS_OFF: Final = 1e-4
"""How far average precision of bins is off when a note says so."""


@dataclass(frozen=True, repr=False)
class Comparison(Displayed):
    """What `compare` found.

    Attributes:
        models: The measures of each model, the one that the others are compared with
            first.
        measures: The names of the measures.
        losses: Those of them that are losses, of which less is better.
        asked: The first measure of each loss that was asked for.
        differing: For each measure of images every image compared, those on which
            models differ most first.
        images: The rows of `cdstats.loss`, failed ones included.
        resampling: How the intervals were made.
        device: The device that computed.
        messages: Notes, warnings and errors.
        failed: Predictions that failed, masks without one included; of images that are
            compared in common, those alone that have a prediction.
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

    @property
    def unread(self) -> int:
        """Inputs that could not be read at all, such as a folder."""
        return sum(one.level is Level.ERROR for one in self.messages)

    @property
    def drawn_from(self) -> int:
        """Images that are resampled: those with a valid pixel."""
        return self.models[0].images - self.models[0].images_without_valid

    def table(self) -> Table:
        """The models, with intervals of their differences."""
        from cdstats.render.comparison import paper_columns

        return Table.of(ComparedModel, self.models, paper_columns(self.models))

    def frame(self) -> pd.DataFrame:
        """The rows of the models as a data frame, with columns for each measure."""
        from cdstats.render.writers import frame

        return frame(self.models, ComparedModel)

    def differing_frame(self) -> pd.DataFrame:
        """The images by how far models differ, with a column for each model."""
        from cdstats.render.writers import frame

        return frame(self.differing, DifferingImage)

    def image_frame(self) -> pd.DataFrame:
        """The rows of the images of each model, as `cdstats.loss` gives them."""
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
    """Compare the models of a run, with images ordered by some of their measures."""
    shared = shared_images(run.images, common=common)
    order = order_models(list(shared.rows), baseline)
    soft = any(isinstance(row.changed, float) for row in run.images)
    # Soft targets do not have all losses.
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
        tuple(_records(run, shared, models, measures, how, groups)),
        tuple(measure.name for measure in measures),
        frozenset(one.name for one in measures if not one.higher_is_better),
        tuple(reversed(asked.values())),
        tuple(one for measure in by for one in _differing(shared, rows, measure.value)),
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
        ),
    )


def measure_names(losses: Sequence[str], beta: str | float) -> tuple[str, ...]:
    """The names of all measures that a comparison may have."""
    chosen = choose_losses(losses, beta, logits=True)
    measures = choose_measures(_names(chosen), soft=False, curves=True)
    return tuple(measure.name for measure in measures)


def _names(losses: Sequence[Loss]) -> dict[str, Loss]:
    """Losses by the names that begin their columns."""
    basic = {one.name: one for one in losses[:_BASIC]}
    return {**basic, **{one.label: one for one in losses[_BASIC:]}}


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
    curve = binned = None
    if run.curves is not None:
        images = [row.place for row in rows]
        curve = run.curves.of(images)
        binned = run.curves.binned(images, curve) if curve else None
    asked = run.curves.how.threshold if run.curves else math.nan
    return measure_model(model, rows, results, curve, binned, asked)


def _drawn_groups(run: LossRun, shared: SharedImages, by: str | None) -> list[int]:
    """The number of the group of each shared image that has a valid pixel."""
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
) -> list[ComparedModel]:
    """The row of each model."""
    drawn = resampled([model.grouped(groups) for model in models], measures, how)
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
        one = ComparedModel(
            model=model.model,
            images=len(rows),
            images_without_valid=len(rows) - model.images,
            left_out=shared.left_out,
            changed=sum(row.changed or 0 for row in rows),
            unchanged=sum(row.unchanged or 0 for row in rows),
            ignored=sum(row.ignored or 0 for row in rows),
            best_threshold_in_sample=model.best_threshold,
            average_precision_within=model.precision_within,
            **asdict(Stated.of(rows)),
            resamples=how.resamples,
            confidence=how.confidence,
            seed=how.seed,
            labels=labels_of(rows),
            signature="",
            group=how.group or "",
            groups=len(set(groups)),
            compared=compared,
        )
        records.append(replace(one, signature=signature_of(one, rows)))
    return records


def _differing(
    shared: SharedImages, images: Sequence[Mapping[str, ScoreRecord]], measure: str
) -> list[DifferingImage]:
    """Every image with its row of each model, those that differ most first."""
    found = []
    for (target, part), rows in zip(shared.keys, images, strict=True):
        values = {model: getattr(row, measure) for model, row in rows.items()}
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
    """What makes intervals misleading: few groups, or crops drawn as if alone."""
    number = len(set(groups))
    if by is None:
        if text := crops_text([target for target, _ in shared.keys]):
            yield Message(Level.WARNING, text)
    elif number == 1:
        yield Message(Level.WARNING, f"one group of {by} has no interval")
    elif 0 < number < FEW_GROUPS:
        text = "intervals of so few groups are unreliable, and too narrow"
        yield Message(Level.NOTE, f"{counted(number, 'group')} of {by}: {text}")


def _cautions(
    run: LossRun,
    left_out: int,
    models: Sequence[Measured],
    soft: bool,
    by: str | None = None,
) -> list[Message]:
    """What makes the numbers of a comparison misleading."""
    images, found = models[0].images, []

    def tell(level: Level, text: str) -> None:
        found.append(Message(level, text))

    if left_out:
        text = f"images left out, because a model lacks them: {left_out:,}"
        tell(Level.WARNING, text)
    failed = [row for row in run.images if row.status == "failed"]
    if not images and failed:
        number = counted(len(failed), "prediction")
        first = f"{failed[0].pred or failed[0].target}: {failed[0].reason}"
        tell(Level.ERROR, f"no image was scored, {number} failed, first {first}")
    elif not images:
        tell(Level.ERROR, "no image has a valid pixel, so no value is defined")
    elif images < FEW_IMAGES and by is None:
        text = "intervals of so few images are unreliable, and too narrow"
        if images == 1:
            text = "one image has no interval"
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
            f"valid pixels without a prediction: {pixels}. They are in no loss, so "
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

    The difference of each measure to the first model comes with an interval: images are
    drawn with replacement, the same ones for every model, and the interval holds the
    middle of the differences (percentile bootstrap). With ``group`` the images of a
    scene are drawn together, as crops of one must be. No correction is made for
    comparing many models. The beta of a dataset stays the same in every resample.

    Predictions are scored as by `cdstats.loss`; ``pred`` may be a mapping of names to
    predictions in memory. From the rows that an earlier run kept
    (``from_file``), average precision and best thresholds are not among the measures:
    they need probabilities.

    Returns:
        Records of models and images.

    Raises:
        UsageError: If an option is not understood, or there is one model alone.
        DataError: If nothing pairs, or models differ in the images or pixels that they
            score.
    """
    return compare_models(options)


def compare_models(options: CompareOptions) -> Comparison:
    """What `compare` gives, from its options."""
    baseline, common = options.baseline, options.common
    group = options.group
    how = Resampling(options.resamples, options.confidence, options.seed, group)
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
                group=group,
            ),
        )
    )
    measures = tuple(dict.fromkeys(ImageMeasure(name) for name in options.measures))
    logits = choose_predictions(options).all_logits
    further = choose_losses(options.losses, options.beta, logits=logits)
    return compare_run(run, further, how, measures, baseline, common)
