"""Losses again from the rows of an earlier run, without a pixel."""

from __future__ import annotations

import math
from dataclasses import asdict
from typing import TYPE_CHECKING, Final

from cdstats.core.catalogue import (
    BY_PIXEL,
    Loss,
    LossResult,
    Reads,
    Shares,
    changed_shares,
    evaluate,
)
from cdstats.core.errors import DataError
from cdstats.core.material import ModelScore
from cdstats.core.messages import Level, Message, counted
from cdstats.core.score_records import (
    NOT_RECORDED,
    Place,
    ScoreRecord,
    Stated,
    dataset_score,
    scored_records,
)
from cdstats.core.sums import BINS, SumsTable
from cdstats.io.outputs import read_text
from cdstats.io.rows import csv_rows, parse_record, refuse_duplicates
from cdstats.score.results import (
    LossRun,
    choose_losses,
    inverted_notes,
    one_class_bce,
    trivial_scores,
)

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

_UNSTATED: Final = {
    **{
        name: "" if value is None else value for name, value in asdict(Stated()).items()
    },
    **dict.fromkeys(("ece", "calibration_sums"), ""),
}
"""What rows of earlier versions lack."""
_OF_PROBABILITIES: Final = (
    *("missed_sum", "missed_sq_sum", "prob_changed_sum", "prob_sq_changed_sum"),
    *("false_sum", "false_sq_sum", "target_sq_sum"),
)
_SAVED = "read from {path}: no pixel was read"


def loss_from(
    path: Path, losses: Sequence[str] = (), beta: str | float = "image"
) -> LossRun:
    """The losses that follow from the sums of an earlier run.

    Args:
        path: A file that ``cdstats loss --csv`` wrote.
        losses: Further losses; those that need more than the sums must be columns of
            the file.
        beta: β of balanced cross-entropy.

    Raises:
        DataError: If the file is no such file, or does not hold what a loss needs.
        UsageError: If a loss or β is not understood.
    """
    chosen = choose_losses(losses, beta)
    rows = _read(path)
    wanting = [
        one.label
        for one in chosen
        if one.reads is not Reads.SUMS and one.column not in rows[0].losses
    ]
    if wanting:
        raise DataError(
            f"{path}: does not hold what {', '.join(wanting)} needs: sums or sorted "
            "probabilities of its own. Score the predictions again with --loss"
        )
    models = dict.fromkeys(row.model for row in rows)
    images: list[ScoreRecord] = []
    scores: list[ModelScore] = []
    for model in models:
        own = [row for row in rows if row.model == model]
        again, score = _model(model, own, chosen)
        images += again
        scores.append(score)
    texts = [_SAVED.format(path=path), *_not_kept(chosen), *_not_recorded(images)]
    notes = (*(Message(Level.NOTE, text) for text in texts), *inverted_notes(scores))
    return LossRun(Stated.of(rows).device, tuple(images), tuple(scores), notes)


def _not_kept(chosen: Sequence[Loss]) -> list[str]:
    """What does not follow from the rows of an earlier run, in words."""
    pooled = [
        one.label
        for one in chosen
        if one.reads is not Reads.SUMS and one.entry.reduction not in BY_PIXEL
    ]
    if not pooled:
        return []
    return [f"{', '.join(pooled)}: means over images alone; pooled values need pixels"]


def _not_recorded(images: Sequence[ScoreRecord]) -> list[str]:
    """Which number the rows of an earlier version do not give, in words."""
    number = sum(
        row.status == "ok" and row.sums.valid > 0 and not row.calibration_sums
        for row in images
    )
    if not number:
        return []
    return [f"ece: {NOT_RECORDED} in {counted(number, 'row')} of an earlier version"]


def _read(path: Path) -> list[ScoreRecord]:
    text = read_text(path)
    try:
        rows = [_record(row) for row in csv_rows(text)]
        places = (row.place for row in rows)
        refuse_duplicates((p.model, p.split, p.target, p.pred) for p in places)
        return rows
    except (ValueError, KeyError, TypeError) as error:
        raise DataError(
            f"{path}: is not a file of image rows of `cdstats loss` ({error})"
        ) from None


def _record(row: Mapping[str, str]) -> ScoreRecord:
    stated = {name: text for name, text in _UNSTATED.items() if name not in row}
    plain = parse_record(ScoreRecord, {**row, **stated}, leave_out=("losses",))
    known = set(ScoreRecord.__dataclass_fields__)
    further = {n: _finite(n, text) for n, text in row.items() if n not in known}
    _check(plain)
    return plain.with_losses(further)


def _finite(name: str, text: str) -> float | None:
    """The value of a further loss; None for an empty cell."""
    try:
        value = float(text) if text else None
    except ValueError:
        value = math.nan
    if value is not None and not math.isfinite(value):
        raise ValueError(f"{name} is {text!r}")
    return value


def _check(row: ScoreRecord) -> None:
    """Refuse a row that no run wrote.

    Raises:
        ValueError: If its status is none, or a sum is missing or cannot be true.
    """
    name = row.pred or row.target
    if row.status not in ("ok", "failed"):
        raise ValueError(f"{name}: the status is {row.status!r}")
    if row.status == "failed":
        return
    for column in row.kept_sums:
        value = getattr(row, column)
        if value is None:
            raise ValueError(f"{name}: has no {column}")
        if not (value >= 0 and math.isfinite(value)):
            raise ValueError(f"{name}: {column} is {value}")
    sums, uncovered = row.sums, row.uncovered or 0
    labelled = sums.valid + sums.ignored
    if uncovered < 0 or labelled > (row.width or 0) * (row.height or 0):
        raise ValueError(
            f"{name}: {labelled:,} pixels of {row.width} x {row.height}, {uncovered:,} "
            "of them uncovered"
        )
    counts = row.confusion
    total = counts.tp + counts.fp + counts.fn + counts.tn
    if not isinstance(row.changed, float) and total - sums.valid not in (0, uncovered):
        raise ValueError(f"{name}: tp, fp, fn and tn add up to {total:,}")
    calibration = sums.calibration
    # Each pixel adds at most 1 to a sum; rounding may add a little.
    most = sums.valid * (1 + 1e-6)
    for column in _OF_PROBABILITIES:
        if getattr(row, column) > most:
            raise ValueError(f"{name}: {column} is {getattr(row, column)}")
    if len(calibration) not in (0, BINS) or not sum(map(abs, calibration)) <= most:
        raise ValueError(f"{name}: calibration_sums is {row.calibration_sums!r}")


def _model(
    model: str, rows: Sequence[ScoreRecord], chosen: Sequence[Loss]
) -> tuple[list[ScoreRecord], ModelScore]:
    ok = [row for row in rows if row.status == "ok"]
    sums = [row.sums for row in ok]
    table = SumsTable.of(sums)
    results = [result_of_rows(one, table, ok) for one in chosen]
    done = iter(
        scored_records(
            [Place(row.pred, row.target, row.model, row.split) for row in ok],
            [(row.width or 0, row.height or 0) for row in ok],
            sums,
            results,
            [one.column for one in chosen[3:]],
            [row.stated for row in ok],
        )
    )
    again = [next(done) if row.status == "ok" else row for row in rows]
    shares = [
        changed_shares(one, table) if one.reads is Reads.SUMS else Shares(None, None)
        for one in chosen
    ]
    dataset = dataset_score(model, again, results, table, chosen[3:])
    return again, ModelScore(
        dataset,
        tuple(results),
        tuple(shares),
        trivial_scores(table, chosen[:3], None),
        one_class_bce(table),
        table.hard,
    )


def result_of_rows(
    loss: Loss, table: SumsTable, rows: Sequence[ScoreRecord]
) -> LossResult:
    """A loss from the sums, or what its column tells: the value of each image."""
    if loss.reads is Reads.SUMS:
        return evaluate(loss, table)
    values = [row.losses[loss.column] for row in rows]
    return LossResult.of_images(loss, values, table.valid)
