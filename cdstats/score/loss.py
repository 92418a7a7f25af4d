"""`cdstats.loss`: scores of saved predictions."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Final

import cdstats
from cdstats.core.arguments import takes, texts
from cdstats.core.catalogue import changed_shares, evaluate
from cdstats.core.division import WATCH, Watch
from cdstats.core.errors import DataError, Level, Message, counted
from cdstats.core.options import LossOptions
from cdstats.core.score_records import Stated, failed_record
from cdstats.core.sums import SumsTable
from cdstats.engine.work import open_engine
from cdstats.io.blocks import Keeping
from cdstats.io.held import as_files
from cdstats.io.pairing import find_pairs
from cdstats.score.choices import Needs, choose_predictions
from cdstats.score.curves import Curves
from cdstats.score.devices import choose_device, compiling_pays
from cdstats.score.grid import Ground, Uncovered
from cdstats.score.reading import PairReader
from cdstats.score.results import (
    LossRun,
    choose_losses,
    inverted_notes,
    loss_from,
    score_model,
    sensitivity_notes,
    set_notes,
)
from cdstats.score.scoring import Scoring, Share, run_on, score_all
from cdstats.score.targets import Targets
from cdstats.score.thresholds import (
    choose_thresholds,
    refuse_thresholds,
    without_split,
)
from cdstats.score.verdict import Verdict

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from cdstats.core.catalogue import Loss
    from cdstats.core.material import ModelScore
    from cdstats.core.score_records import ScoredImage, ScoreRecord
    from cdstats.score.reading import Reading
    from cdstats.score.scorer import PredictionState

_KEPT_BYTES: Final = 1 << 28
"""Bytes of blocks that are kept if a loss needs the prior before it is summed."""


@takes(LossOptions, as_files)
def loss(options: LossOptions) -> LossRun:
    """Score saved predictions with balanced cross-entropy, plain BCE and metrics.

    ``pred`` and ``target`` may also be arrays, tensors, lists, generators or datasets
    in memory, as for `cdstats.ratio`; ``pred`` without ``target`` may be a dataset of
    ``{"pred": ..., "target": ...}``.

    Every pixel of a prediction is read once, and all losses are computed from sums.
    Masks are read as by `cdstats.ratio`. The result does not depend on ``batch_size``.
    The workers of a Dask cluster must see the files under the same paths; start one
    worker for each GPU. With ``strict`` the first pair that cannot be scored raises.

    Returns:
        Records of images and models; a pair that cannot be scored is a record with
        ``status`` ``"failed"`` and its reason.

    Raises:
        UsageError: If an option is invalid, or the device is not found.
        DataError: If nothing pairs, or the meaning of the predictions is unclear.

    References:
        Balanced cross-entropy: Xie and Tu, 2015, eq. 2
        (https://arxiv.org/abs/1504.06375), with logarithms clamped at -100.
    """
    return score_predictions(options)


def score_predictions(
    options: LossOptions, reading: Reading = PairReader.read
) -> LossRun:
    """The result of `loss` for an options record.

    Without a cluster, blocks are read by ``reading``, which may also process them.
    """
    before = WATCH.set(Watch(options.timeout))
    try:
        return _score(options, reading)
    finally:
        WATCH.reset(before)


def _score(options: LossOptions, reading: Reading) -> LossRun:
    if options.from_file is not None:
        return loss_from(Path(options.from_file), options.losses, options.beta)
    meaning = choose_predictions(options)
    scheduler, strict = options.scheduler, options.strict
    ground = Ground.of(options)
    ground.refuse_labels(meaning.kinds)
    logits = meaning.all_logits
    chosen = choose_losses(options.losses, options.beta, logits=logits)
    if scheduler is None:
        choose_device(options.device)
    Needs.of(chosen, 0.5).refuse_without_logits(all_logits=logits)
    choice, batch = options.rule_choice(), options.batch_tiles()
    refuse_thresholds(options, meaning)
    with open_engine(options.engine, scheduler, None, options.timeout) as apply:
        pairs = find_pairs(
            texts(options.pred),
            None if options.target is None else str(options.target),
            split=options.split,
            preset=choice.preset,
            known=choice.takes_presets,
        )
        pairs = without_split(pairs, options.threshold_split)
        meaning.check(pair.model for pair in pairs.pairs)
        if options.check:
            options.check(pairs.pairs)
        chosen_on = choose_thresholds(options, pairs.pairs, score_predictions)
        meaning = meaning.at(chosen_on.thresholds)
        found = [pair.anywhere() for pair in pairs.pairs] if scheduler else pairs.pairs
        targets = Targets(
            *(choice, options.band_of(choice), options.max_pixels),
            origin=pairs.origin,
            greys=options.rule_sensitivity,
        )
        whole = Share(tuple(enumerate(found)), targets)
        paths = (pair.prediction.path for pair in found if pair.prediction)
        local = partial(Scoring.run, reading=reading)
        score = partial(run_on, apply) if scheduler else local
        needs = partial(Needs.of, bins=options.histograms)
        waits = any(one.needs_prior for one in chosen)
        if waits and not scheduler:
            whole = replace(whole, kept=Keeping(_KEPT_BYTES))
        how = Scoring(
            *(needs(() if waits else chosen, None), meaning, options.device),
            *(batch, compiling_pays(paths), ground),
        )
        outcome, whole = score_all(
            *(score, how, whole), strict=strict, progress=options.progress
        )
        prior = None
        if waits:
            first = Verdict(outcome, how.needs, meaning).results()
            table = SumsTable.of([one.sums for one in first if one.sums is not None])
            # The prior is NaN without a valid pixel, which makes the loss undefined.
            prior = table.prior
            how = replace(how, needs=needs(chosen, prior))
            if how.needs.whole or any(one.tiles is not None for one in outcome.states):
                outcome = score(how, whole, strict=strict)
            whole = replace(whole, kept=None)
    if any(state.soft for state in outcome.states):
        chosen = _for_soft(chosen, "all" in options.losses)
    fill = ground.uncovered is Uncovered.UNCHANGED
    verdict = Verdict(outcome, how.needs, meaning, fill=fill)
    scored = verdict.results()
    device = ", ".join(dict.fromkeys(outcome.devices))
    images: list[ScoreRecord] = []
    models: list[ModelScore] = []
    for model in dict.fromkeys(one.place.model for one in scored):
        own = [one for one in scored if one.place.model == model]
        own_choice = meaning.of(model)
        stated = Stated(
            threshold=own_choice.threshold,
            threshold_from=own_choice.threshold_from,
            kind=verdict.kind_text(model),
            version=cdstats.__version__,
            device=device,
        )
        rows, one = _model(own, verdict, chosen, prior, stated, whole.targets.rules)
        images += rows
        models.append(one)
    failed = [row for row in images if row.status == "failed"]
    if strict and failed:
        raise DataError(f"{failed[0].pred or failed[0].target}: {failed[0].reason}")
    kinds = {o.dataset.model: o.dataset.kind for o in models if o.dataset.kind}
    if len(set(kinds.values())) == 1:
        said = [f"predictions: {next(iter(kinds.values()))}"]
    else:
        said = [f"predictions of {model}: {text}" for model, text in kinds.items()]
    curves = None
    if options.histograms:
        ranked = {one.place: one.ranked for one in scored if one.ranked is not None}
        curves = Curves(ranked, whole, replace(how, needs=Needs.of((), None)))
    by_rules = {one.place: one.by_rules for one in scored if one.by_rules}
    messages = (
        *(Message(Level.ERROR, text) for text in pairs.problems),
        *(Message(Level.NOTE, text) for text in pairs.notes),
        *ground.notes(options.uncovered),
        *whole.targets.messages,
        *(Message(Level.NOTE, text) for text in said),
        *verdict.messages,
        *chosen_on.messages(models),
        *sensitivity_notes(images, by_rules, asked=options.rule_sensitivity),
        *inverted_notes(models),
        *set_notes(models),
        *_ground_messages(outcome.states, ground),
    )
    run = LossRun(device, tuple(images), tuple(models), messages, curves, by_rules)
    return replace(run, rule_sensitivity=tuple(run.sensitivity(run.images)))


def _model(
    own: Sequence[PredictionState],
    verdict: Verdict,
    chosen: Sequence[Loss],
    prior: float | None,
    stated: Stated,
    rules: Mapping[str, str],
) -> tuple[list[ScoreRecord], ModelScore]:
    known: list[ScoredImage | ScoreRecord] = []
    good: list[PredictionState] = []
    for one in own:
        place, sums = one.place, one.sums
        soft = sums is not None and isinstance(sums.changed, float)
        rule = rules.get(place.split, "") if place.target and not soft else ""
        said = replace(stated, grid=one.grid, rule=rule)
        if sums is None or one.size is None:
            known.append(failed_record(place, one.reason, one.size, said))
        else:
            known.append((place, one.size, sums, said))
            good.append(one)
    table = SumsTable.of([one.sums for one in good if one.sums is not None])
    losses = [
        (
            one,
            evaluate(one, table, levels=verdict.level_values(one, good), prior=prior),
            changed_shares(one, table, prior=prior),
        )
        for one in chosen
    ]
    return score_model(own[0].place.model, known, table, losses, verdict.types)


def _for_soft(chosen: Sequence[Loss], every: bool) -> tuple[Loss, ...]:
    """The losses for soft targets; raises for other losses unless ``every`` is set."""
    if every:
        return tuple(one for one in chosen if one.entry.soft_targets)
    for one in chosen:
        one.check_targets(soft=True)
    return tuple(chosen)


def _ground_messages(
    states: Sequence[PredictionState], ground: Ground
) -> list[Message]:
    """Notes about georeferences, crops and pixels without a prediction."""
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
        how = "excluded"
        if ground.uncovered is Uncovered.UNCHANGED:
            how = "counted as predicted unchanged, but excluded from losses"
        texts.append(
            f"{counted(lacking, 'valid pixel')} without a prediction {how} "
            f"(--uncovered {ground.uncovered.value})"
        )
    return [Message(Level.NOTE, text) for text in texts]
