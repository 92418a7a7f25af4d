"""`cdstats.loss`: saved predictions scored against their masks."""

from __future__ import annotations

import math
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Final

import cdstats
from cdstats.core.arguments import takes, texts
from cdstats.core.catalogue import (
    LossResult,
    changed_shares,
    evaluate,
)
from cdstats.core.division import WATCH, Watch
from cdstats.core.errors import DataError
from cdstats.core.material import ModelScore
from cdstats.core.messages import Level, Message, counted
from cdstats.core.options import LossOptions
from cdstats.core.score_records import (
    ScoreRecord,
    Stated,
    dataset_score,
    failed_record,
    scored_records,
)
from cdstats.core.sums import SumsTable
from cdstats.engine.work import open_engine
from cdstats.io.blocks import Keeping
from cdstats.io.held import as_files
from cdstats.io.pairing import find_pairs
from cdstats.score.choices import choose_predictions
from cdstats.score.curves import Curves
from cdstats.score.devices import choose_device, compiling_pays
from cdstats.score.grid import Ground, Uncovered
from cdstats.score.needs import Needs
from cdstats.score.results import (
    LossRun,
    choose_losses,
    inverted_notes,
    one_class_bce,
    trivial_scores,
)
from cdstats.score.saved import loss_from
from cdstats.score.scoring import Scoring, Share, run_on, score_all
from cdstats.score.targets import Targets
from cdstats.score.verdict import Scored, Verdict

if TYPE_CHECKING:
    from collections.abc import Sequence

    from cdstats.core.catalogue import Loss
    from cdstats.score.states import Outcome, PredictionState

_KEPT_BYTES: Final = 1 << 28
"""Pixels of a run that are kept where a loss needs the prior before it is summed."""


@takes(LossOptions, as_files)
def loss(options: LossOptions) -> LossRun:
    """Score saved predictions with balanced cross-entropy beside plain BCE.

    ``pred`` and ``target`` may also be arrays, tensors, lists, generators or datasets
    in memory, as `cdstats.ratio` takes them; ``pred`` alone a dataset of
    ``{"pred": ..., "target": ...}``.

    Every pixel of a prediction is read once; all losses follow from the sums. Masks
    are read as by `cdstats.ratio`. The result does not depend on ``batch_size``. The
    workers of a Dask cluster must see the files under the same paths; start one worker
    for each GPU. With ``strict`` the first pair that cannot be scored raises.

    Returns:
        Records of images and models; a pair that cannot be scored is a record with
        ``status`` ``"failed"`` and its reason.

    Raises:
        UsageError: If an option is not understood or the device is not there.
        DataError: If nothing pairs, or what the predictions are is refused.

    References:
        Balanced cross-entropy: Xie and Tu, 2015, eq. 2
        (https://arxiv.org/abs/1504.06375), as a sum with logs clamped at -100.
    """
    return score_predictions(options)


def score_predictions(options: LossOptions) -> LossRun:
    """What `loss` gives, from its options."""
    before = WATCH.set(Watch(options.timeout))
    try:
        return _score(options)
    finally:
        WATCH.reset(before)


def _score(options: LossOptions) -> LossRun:
    if options.from_file is not None:
        return loss_from(Path(options.from_file), options.losses, options.beta)
    meaning = choose_predictions(options)
    threshold, scheduler, strict = options.threshold, options.scheduler, options.strict
    ground = Ground.of(options)
    ground.refuse_labels(meaning.kinds)
    logits = meaning.all_logits
    chosen = choose_losses(options.losses, options.beta, logits=logits)
    if scheduler is None:
        choose_device(options.device)
    Needs.of(chosen, 0.5).refuse_without_logits(all_logits=logits)
    choice, batch = options.rule_choice(), options.batch_tiles()
    with open_engine(options.engine, scheduler, None, options.timeout) as apply:
        pairs = find_pairs(
            texts(options.pred),
            str(options.target),
            split=options.split,
            preset=choice.preset,
        )
        meaning.check(pair.model for pair in pairs.pairs)
        if options.check:
            options.check(pairs.pairs)
        found = [pair.anywhere() for pair in pairs.pairs] if scheduler else pairs.pairs
        targets = Targets(choice, options.band_of(choice), options.max_pixels)
        whole = Share.of(found, targets)
        paths = (pair.prediction.path for pair in found if pair.prediction)
        score = partial(run_on, apply) if scheduler else Scoring.run
        needs = partial(Needs.of, bins=options.histograms)
        waits = any(one.needs_prior for one in chosen)
        if waits and not scheduler:
            whole = replace(whole, kept=Keeping(_KEPT_BYTES))
        how = Scoring(
            *(needs(() if waits else chosen, None), meaning, threshold, options.device),
            *(batch, compiling_pays(paths), ground),
        )
        outcome, whole = score_all(
            *(score, how, whole), strict=strict, progress=options.progress
        )
        prior = None
        if waits:
            prior = _prior(how, outcome)
            how = replace(how, needs=needs(chosen, prior))
            if how.needs.whole or any(one.tiles is not None for one in outcome.states):
                outcome = score(how, whole, strict=strict)
            whole = replace(whole, kept=None)
    targets = whole.targets
    if any(state.soft for state in outcome.states):
        chosen = _for_soft(chosen, "all" in options.losses)
    fill = ground.uncovered is Uncovered.UNCHANGED
    verdict = Verdict(outcome, how.needs, meaning, threshold, fill=fill)
    scored = verdict.results()
    notes = [
        *(Message(Level.ERROR, text) for text in pairs.problems),
        *(Message(Level.NOTE, text) for text in pairs.notes),
    ]
    device = ", ".join(dict.fromkeys(outcome.devices))
    run = _gather(scored, verdict, chosen, prior, targets, device)
    if strict and run.failed:
        first = next(row for row in run.images if row.status == "failed")
        raise DataError(f"{first.pred or first.target}: {first.reason}")
    said = [Message(Level.NOTE, text) for text in _kind_texts(run.models)]
    return LossRun(
        device,
        run.images,
        run.models,
        (
            *notes,
            *ground.notes(options.uncovered),
            *targets.messages,
            *said,
            *verdict.messages,
            *inverted_notes(run.models),
            *ground_messages(outcome.states, ground),
        ),
        _curves(scored, whole, how) if options.histograms else None,
    )


def _curves(scored: Sequence[Scored], whole: Share, how: Scoring) -> Curves:
    ranked = {one.place: one.ranked for one in scored if one.ranked is not None}
    return Curves(ranked, whole, replace(how, needs=Needs.of((), None)))


def ground_messages(states: Sequence[PredictionState], ground: Ground) -> list[Message]:
    """What to tell of georeferences, crops and pixels without a prediction."""
    good = [state for state in states if not state.reason]
    texts = []
    moved = [state for state in states if state.difference]
    if moved:
        texts.append(
            f"{counted(len(moved), 'prediction')} compared without regard to "
            f"georeferences: {moved[0].place.pred} {moved[0].difference}"
        )
    if cut := sum(state.cut for state in good):
        texts.append(
            f"{counted(cut, 'crop')} cut at the right or lower edge of the mask"
        )
    if lacking := sum(int(state.uncovered.sum()) for state in good):
        how = "left out"
        if ground.uncovered is Uncovered.UNCHANGED:
            how = "counted as predicted unchanged, and in no loss"
        texts.append(
            f"{counted(lacking, 'valid pixel')} without a prediction {how} "
            f"(--uncovered {ground.uncovered.value})"
        )
    return [Message(Level.NOTE, text) for text in texts]


def _kind_texts(models: Sequence[ModelScore]) -> list[str]:
    """What the predictions are; of each model where they differ."""
    kinds = {one.dataset.model: one.dataset.kind for one in models if one.dataset.kind}
    if len(set(kinds.values())) == 1:
        return [f"predictions: {next(iter(kinds.values()))}"]
    return [f"predictions of {model}: {text}" for model, text in kinds.items()]


def _for_soft(chosen: Sequence[Loss], every: bool) -> tuple[Loss, ...]:
    """The losses that soft targets have; ``all`` leaves out those that they lack."""
    if every:
        return tuple(one for one in chosen if one.entry.soft_targets)
    for one in chosen:
        one.check_targets(soft=True)
    return tuple(chosen)


def _prior(how: Scoring, outcome: Outcome) -> float | None:
    """The share of changed pixels of what could be scored."""
    verdict = Verdict(outcome, how.needs, how.choice, how.threshold)
    good = [one.sums for one in verdict.results() if one.sums is not None]
    prior = SumsTable.of(good).prior
    return None if math.isnan(prior) else prior


def _gather(
    scored: Sequence[Scored],
    verdict: Verdict,
    chosen: Sequence[Loss],
    prior: float | None,
    targets: Targets,
    device: str,
) -> LossRun:
    """Rows and scores, model by model."""
    images: list[ScoreRecord] = []
    models: list[ModelScore] = []
    for model in dict.fromkeys(one.place.model for one in scored):
        own = [one for one in scored if one.place.model == model]
        stated = Stated(
            threshold=verdict.threshold,
            kind=verdict.kind_text(model),
            version=cdstats.__version__,
            device=device,
        )
        each = [replace(stated, grid=one.grid, rule=_rule(one, targets)) for one in own]
        rows, results, table = _model(own, verdict, chosen, prior, each)
        images += rows
        dataset = dataset_score(model, rows, results, table, chosen[3:])
        models.append(
            ModelScore(
                dataset,
                tuple(results),
                tuple(changed_shares(one, table, prior=prior) for one in chosen),
                trivial_scores(table, chosen[:3], verdict.types),
                one_class_bce(table),
                table.hard,
            )
        )
    return LossRun("", tuple(images), tuple(models))


def _rule(one: Scored, targets: Targets) -> str:
    """The rule that labelled the mask of a prediction; empty where there is none."""
    is_soft = one.sums is not None and isinstance(one.sums.changed, float)
    known = one.place.target and not is_soft
    return targets.rules.get(one.place.split, "") if known else ""


def _model(
    own: Sequence[Scored],
    verdict: Verdict,
    chosen: Sequence[Loss],
    prior: float | None,
    stated: Sequence[Stated],
) -> tuple[list[ScoreRecord], list[LossResult], SumsTable]:
    """The rows of one model in their order, its losses and its sums."""
    known = list(zip(own, stated, strict=True))
    good = [one for one in own if one.sums is not None and one.size is not None]
    sums = [one.sums for one in good if one.sums is not None]
    table = SumsTable.of(sums)
    results = [
        evaluate(one, table, levels=verdict.level_values(one, good), prior=prior)
        for one in chosen
    ]
    done = iter(
        scored_records(
            [one.place for one in good],
            [one.size for one in good if one.size],
            sums,
            results,
            [one.column for one in chosen[3:]],
            [text for one, text in known if one.sums is not None and one.size],
        )
    )
    rows = [
        next(done)
        if one.sums is not None and one.size is not None
        else failed_record(one.place, one.reason, one.size, text)
        for one, text in known
    ]
    return rows, results, table
