"""`cdstats.loss`: saved predictions scored against their masks."""

from __future__ import annotations

import math
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING

import cdstats
from cdstats.core.catalogue import (
    LossResult,
    changed_shares,
    evaluate,
)
from cdstats.core.errors import DataError, UsageError
from cdstats.core.messages import Level, Message, counted
from cdstats.core.rules import choose_rule
from cdstats.core.score_records import (
    ScoreRecord,
    Stated,
    dataset_score,
    failed_record,
    scored_records,
)
from cdstats.core.sums import SumsTable
from cdstats.engine.choice import open_engine
from cdstats.io.limits import MAX_PIXELS
from cdstats.io.pairing import find_pairs
from cdstats.score.devices import choose_device, compiling_pays
from cdstats.score.grid import Ground, Uncovered
from cdstats.score.kinds import Kind
from cdstats.score.needs import Needs
from cdstats.score.results import (
    LossRun,
    ModelScore,
    choose_losses,
    one_class_bce,
    trivial_scores,
)
from cdstats.score.scoring import Scoring, Share, run_on
from cdstats.score.targets import choose_targets
from cdstats.score.verdict import Scored, Verdict

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from os import PathLike

    from cdstats.core.catalogue import Loss
    from cdstats.io.pairing import FilePair
    from cdstats.score.states import Outcome, PredictionState
    from cdstats.score.targets import Targets

    StrPath = str | PathLike[str]


def loss(
    pred: StrPath | Sequence[StrPath],
    target: StrPath,
    *,
    kind: str | None = None,
    device: str = "auto",
    batch_size: int | None = None,
    beta: str | float = "image",
    losses: Sequence[str] = (),
    threshold: float = 0.5,
    changed: str | None = None,
    unchanged: str | None = None,
    ignore: str | None = None,
    preset: str | None = None,
    band: int | None = None,
    split: str | None = None,
    max_pixels: int = MAX_PIXELS,
    grid: str = "check",
    uncovered: str = "fail",
    overlap: str = "refuse",
    strict: bool = False,
    histograms: bool = False,
    engine: str = "local",
    scheduler: str | None = None,
    check: Callable[[Sequence[FilePair]], None] | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> LossRun:
    """Score saved predictions with balanced cross-entropy beside plain BCE.

    Every pixel of a prediction is read once; all losses follow from the sums.

    Args:
        pred: A file, folder, glob, pattern or address of predictions, or several, each
            may be ``NAME=PATH``.
        target: The masks: a file, folder, glob, pattern or address.
        kind: ``prob``, ``logit`` or ``hard``; None to find out from all predictions.
        device: ``auto``, ``cpu``, ``cuda``, ``cuda:N`` or ``mps``.
        batch_size: Tiles of 65,536 pixels in a batch on a device; None for what its
            memory takes. The result does not depend on it.
        beta: β of balanced cross-entropy: of each image, of the dataset, or a number.
        losses: Further losses such as ``"focal:gamma=2"``, or ``"all"``.
        threshold: A pixel is predicted changed when p is at least this.
        changed: Values of the masks that are changed, as for `cdstats.ratio`.
        unchanged: Values that are unchanged.
        ignore: Values that are in no sum.
        preset: Name of a public dataset's encoding, instead of the three.
        band: Band of the masks, counted from 1.
        split: Keep this split alone.
        max_pixels: Pixels that a mask or prediction may declare.
        grid: ``check`` fails a prediction whose georeference differs from that of its
            mask; ``overlap`` scores the pixels in common, after a shift of whole
            pixels; ``warp`` resamples it onto the grid of the mask; ``ignore`` compares
            the arrays as they are.
        uncovered: Valid pixels without a prediction: ``fail``, ``ignore`` leaves them
            out, ``unchanged`` counts them as predicted unchanged in counts and metrics.
        overlap: Pixels of several crops: ``refuse``, or the ``mean``, ``first`` or
            nearest (``centre``) of their scores; crops are merged to a row per mask.
        strict: Raise at the first pair that cannot be scored.
        histograms: Keep the probabilities of each prediction in equal bins, for
            curves; see `LossRun.histograms`.
        engine: ``"local"``, or ``"dask"`` for the workers of a Dask cluster, which
            must see the files under the same paths; start one worker for each GPU.
        scheduler: Address of the cluster's scheduler.
        check: Called with the pairs that were found, before a pixel is read; what it
            raises ends the run.
        progress: Called with images done and pixels so far.

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
    meaning = _kind(kind)
    ground = Ground.of(grid, uncovered, overlap)
    ground.refuse_labels(meaning)
    chosen = choose_losses(losses, beta, logits=meaning is Kind.LOGIT)
    if scheduler is None:
        choose_device(device)
    Needs.of(chosen, 0.5).refuse_without_logits(meaning)
    choice = choose_rule(changed, unchanged, ignore, preset)
    texts = [pred] if not isinstance(pred, (list, tuple)) else pred
    with open_engine(engine, scheduler, None) as apply:
        pairs = find_pairs(
            [str(text) for text in texts],
            str(target),
            split=split,
            preset=choice.preset,
        )
        if check:
            check(pairs.pairs)
        band = band or (choice.preset.band if choice.preset else None)
        found = [pair.anywhere() for pair in pairs.pairs] if scheduler else pairs.pairs
        files = dict.fromkeys(p.target for p in found if p.target is not None)
        targets = choose_targets(list(files), choice, band, max_pixels)
        if targets.soft:
            chosen = _for_soft(chosen, "all" in losses)
        whole = Share.of(found, targets)
        paths = (pair.prediction.path for pair in found if pair.prediction)
        fast = compiling_pays(paths)
        how = Scoring(
            Needs.of((), None), meaning, threshold, device, batch_size, fast, ground
        )
        score = partial(run_on, apply) if scheduler else Scoring.run
        prior = None
        if any(one.needs_prior for one in chosen):
            prior = _prior(how, score(how, whole))
        how = replace(how, needs=Needs.of(chosen, prior, bins=histograms))
        outcome = score(how, whole, strict=strict, progress=progress)
    fill = ground.uncovered is Uncovered.UNCHANGED
    verdict = Verdict(outcome, how.needs, meaning, threshold, fill=fill)
    scored = verdict.results()
    notes = [Message(Level.NOTE, text) for text in pairs.notes]
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
            *ground.notes(uncovered),
            *targets.messages,
            *said,
            *ground_messages(outcome.states, ground),
        ),
        tuple(one.histogram for one in scored) if histograms else (),
    )


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


def _kind(kind: str | None) -> Kind | None:
    if kind is None:
        return None
    try:
        return Kind(kind)
    except ValueError:
        raise UsageError(f"--kind {kind}: expected prob, logit or hard") from None


def _for_soft(chosen: Sequence[Loss], every: bool) -> tuple[Loss, ...]:
    """The losses that soft targets have; those of ``all`` that they lack are left out.

    Raises:
        UsageError: If one was named that is defined for labels only.
    """
    if every:
        return tuple(one for one in chosen if one.entry.soft_targets)
    for one in chosen:
        one.check_targets(soft=True)
    return tuple(chosen)


def _prior(how: Scoring, outcome: Outcome) -> float | None:
    """The share of changed pixels of what could be scored, in a pass of its own."""
    verdict = Verdict(outcome, how.needs, how.kind, how.threshold)
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
    rule = ", ".join(targets.rules)
    images: list[ScoreRecord] = []
    models: list[ModelScore] = []
    for model in dict.fromkeys(one.place.model for one in scored):
        own = [one for one in scored if one.place.model == model]
        kind, version = verdict.kind_text(model), cdstats.__version__
        stated = Stated(verdict.threshold, kind, "none", version, device, rule)
        rows, results, table = _model(own, verdict, chosen, prior, stated)
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


def _model(
    own: Sequence[Scored],
    verdict: Verdict,
    chosen: Sequence[Loss],
    prior: float | None,
    stated: Stated,
) -> tuple[list[ScoreRecord], list[LossResult], SumsTable]:
    """The rows of one model in their order, its losses and its sums."""
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
            [replace(stated, grid=one.grid) for one in good],
        )
    )
    rows = [
        next(done)
        if one.sums is not None and one.size is not None
        else failed_record(
            one.place, one.reason, one.size, replace(stated, grid=one.grid)
        )
        for one in own
    ]
    return rows, results, table
