"""`cdstats.loss`: saved predictions scored against their masks."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from cdstats.core.catalogue import (
    FILE_EPS,
    LossResult,
    changed_shares,
    constant_prediction,
    evaluate,
)
from cdstats.core.errors import DataError, UsageError
from cdstats.core.messages import Level, Message
from cdstats.core.rules import choose_rule
from cdstats.core.score_records import (
    ScoreRecord,
    dataset_score,
    failed_record,
    scored_records,
)
from cdstats.core.sums import SumsTable
from cdstats.engine.prefetch import prefetch
from cdstats.io.limits import MAX_PIXELS
from cdstats.io.pairing import find_pairs
from cdstats.score.devices import choose_device, device_text
from cdstats.score.kinds import Kind
from cdstats.score.needs import Needs
from cdstats.score.reading import PairReader
from cdstats.score.results import (
    LossRun,
    ModelScore,
    Trivial,
    choose_losses,
    one_class_bce,
)
from cdstats.score.scorer import Scorer
from cdstats.score.targets import choose_targets
from cdstats.score.verdict import Scored, Verdict

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from os import PathLike

    from cdstats.core.catalogue import Loss
    from cdstats.io.pairing import FilePair
    from cdstats.io.predictions import Channels
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
    strict: bool = False,
    histograms: bool = False,
    progress: Callable[[int, int], None] | None = None,
) -> LossRun:
    """Score saved predictions with balanced cross-entropy beside plain BCE.

    Every pixel of a prediction is read once; all losses follow from the sums.

    Args:
        pred: A file, folder, glob or pattern of predictions, or several, each may be
            ``NAME=PATH``.
        target: The masks: a file, folder, glob or pattern.
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
        strict: Raise at the first pair that cannot be scored.
        histograms: Keep the probabilities of each prediction in equal bins, for
            curves; see `LossRun.histograms`.
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
    chosen = choose_losses(losses, beta, logits=meaning is Kind.LOGIT)
    where = choose_device(device)
    Needs.of(chosen, 0.5).refuse_without_logits(meaning)
    choice = choose_rule(changed, unchanged, ignore, preset)
    texts = [pred] if not isinstance(pred, (list, tuple)) else pred
    pairs = find_pairs(
        [str(text) for text in texts], str(target), split=split, preset=choice.preset
    )
    band = band or (choice.preset.band if choice.preset else None)
    files = dict.fromkeys(p.target for p in pairs.pairs if p.target is not None)
    targets = choose_targets(list(files), choice, band, max_pixels)
    if targets.soft:
        chosen = _for_soft(chosen, "all" in losses)
    prior = None
    if any(one.needs_prior for one in chosen):
        prior = _prior(targets, pairs.pairs, meaning)
    needs = Needs.of(chosen, prior, bins=histograms)
    scorer = Scorer(needs, where, meaning, threshold, batch_size)
    reader = PairReader(targets, _channels(meaning))
    _read_all(reader, pairs.pairs, scorer, strict, progress)
    verdict = Verdict(scorer.outcome(), needs, meaning, threshold)
    scored = verdict.results()
    notes = [Message(Level.NOTE, text) for text in pairs.notes]
    run = _gather(scored, verdict, chosen, prior, targets)
    if strict and run.failed:
        first = next(row for row in run.images if row.status == "failed")
        raise DataError(f"{first.pred or first.target}: {first.reason}")
    kinds = dict.fromkeys(model.dataset.kind or "none" for model in run.models)
    said = [Message(Level.NOTE, f"predictions: {text}") for text in kinds]
    return LossRun(
        device_text(where),
        run.images,
        run.models,
        (*notes, *targets.messages, *said),
        verdict.any_hard,
        tuple(one.histogram for one in scored) if histograms else (),
    )


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


def _prior(
    targets: Targets, pairs: Sequence[FilePair], kind: Kind | None
) -> float | None:
    """The share of changed pixels where there are predictions, by a pass of its own."""
    changed, valid = 0.0, 0
    for loaded in PairReader(targets, _channels(kind)).read(pairs):
        if loaded.target is not None:
            soft = loaded.target.dtype != np.uint8
            counts = loaded.target >= 0 if soft else loaded.target != 255
            changed += float(loaded.target[counts].sum(dtype=np.float64))
            valid += int(np.count_nonzero(counts))
    return changed / valid if valid else None


def _channels(kind: Kind | None) -> Channels:
    return "logit" if kind is Kind.LOGIT else "prob"


def _read_all(
    reader: PairReader,
    pairs: Sequence[FilePair],
    scorer: Scorer,
    strict: bool,
    progress: Callable[[int, int], None] | None,
) -> None:
    """Feed every block to the scorer, read ahead in a thread."""
    current, pixels = -1, 0
    for loaded in prefetch(reader.read(pairs)):
        if strict and loaded.reason:
            place = loaded.place
            raise DataError(f"{place.pred or place.target}: {loaded.reason}")
        if loaded.number != current and current >= 0:
            scorer.finish(current)
        current = loaded.number
        scorer.add(loaded)
        pixels += loaded.scores.size if loaded.scores is not None else 0
        if progress:
            progress(current, pixels)
    if current >= 0:
        scorer.finish(current)


def _gather(
    scored: Sequence[Scored],
    verdict: Verdict,
    chosen: Sequence[Loss],
    prior: float | None,
    targets: Targets,
) -> LossRun:
    """Rows and scores, model by model."""
    rule = ", ".join(targets.rules)
    images: list[ScoreRecord] = []
    models: list[ModelScore] = []
    for model in dict.fromkeys(one.place.model for one in scored):
        own = [one for one in scored if one.place.model == model]
        rows, results, table = _model(own, verdict, chosen, prior)
        images += rows
        dataset = dataset_score(
            model, rows, results, table, verdict.kind_text(model), rule
        )
        models.append(
            ModelScore(
                dataset,
                tuple(results),
                tuple(changed_shares(one, table, prior=prior) for one in chosen),
                _trivial(table, chosen[:3], verdict.types),
                one_class_bce(table),
            )
        )
    return LossRun("", tuple(images), tuple(models))


def _model(
    own: Sequence[Scored], verdict: Verdict, chosen: Sequence[Loss], prior: float | None
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
        )
    )
    rows = [
        next(done)
        if one.sums is not None and one.size is not None
        else failed_record(one.place, one.reason, one.size)
        for one in own
    ]
    return rows, results, table


def _trivial(
    table: SumsTable, basic: Sequence[Loss], types: set[str]
) -> tuple[Trivial, ...]:
    """Two predictors that know nothing of the images: the prior, and no change."""
    if table.soft or not table.valid.any():
        return ()
    known = [name for name in sorted(types) if name in FILE_EPS]
    eps_of = min(known, key=lambda name: FILE_EPS[name], default="uint8")
    guesses = {
        "p = prior everywhere": table.prior,
        f"no change, p = eps of {eps_of}": FILE_EPS[eps_of],
    }
    found = []
    for name, prob in guesses.items():
        constant = constant_prediction(table, prob)
        bce, balanced, class_mean = (evaluate(one, constant) for one in basic)
        found.append(Trivial(name, prob, bce.mean, balanced.mean, class_mean.pooled))
    return tuple(found)
