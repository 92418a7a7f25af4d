"""The result of `cdstats.loss`, from predictions or from rows of an earlier run."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Final

from cdstats.core.catalogue import (
    BY_PIXEL,
    FILE_EPS,
    Loss,
    LossResult,
    Reads,
    Shares,
    all_losses,
    changed_shares,
    choose,
    constant_prediction,
    evaluate,
    parse_loss,
)
from cdstats.core.errors import (
    DataError,
    Level,
    Message,
    UsageError,
    counted,
    unread_of,
)
from cdstats.core.known_sets import recognised
from cdstats.core.material import ModelScore, Trivial
from cdstats.core.rule_sensitivity import rule_sensitivity
from cdstats.core.score_records import (
    DatasetScore,
    ScoreRecord,
    Stated,
    basic_losses,
    dataset_score,
    scored_records,
)
from cdstats.core.signature import Signature
from cdstats.core.sums import BINS, SumsTable
from cdstats.io.outputs import read_text
from cdstats.io.rows import csv_rows, parse_record, refuse_duplicates
from cdstats.render.table import Displayed, Table

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence

    import pandas as pd

    from cdstats.core.arguments import StrPath
    from cdstats.core.metrics import Confusion
    from cdstats.core.reference import Difference
    from cdstats.core.rule_sensitivity import RuleSensitivity
    from cdstats.core.score_records import Place, ScoredImage
    from cdstats.score.curves import Curves

_OF_PROBABILITIES: Final = (
    *("missed_sum", "missed_sq_sum", "prob_changed_sum", "prob_sq_changed_sum"),
    *("false_sum", "false_sq_sum", "target_sq_sum"),
)


@dataclass(frozen=True, repr=False)
class LossRun(Displayed):
    """The result of `cdstats.loss`.

    Attributes:
        device: The device that computed.
        images: A row for each prediction, including failed predictions.
        models: The scores of each model, in the order given.
        messages: Notes, warnings and errors.
        curves: The curves of the models; None unless requested.
        by_rules: The counts of each image with its mask binarised by each common rule;
            empty unless requested.
        rule_sensitivity: The metrics of each model under each of these rules.
    """

    device: str
    images: tuple[ScoreRecord, ...]
    models: tuple[ModelScore, ...]
    messages: tuple[Message, ...] = ()
    curves: Curves | None = None
    by_rules: Mapping[Place, Sequence[Confusion]] = field(default_factory=dict)
    rule_sensitivity: tuple[RuleSensitivity, ...] = ()

    def sensitivity(self, rows: Iterable[ScoreRecord]) -> Iterator[RuleSensitivity]:
        """The metrics under each common rule, on these images."""
        found: dict[str, list[tuple[Confusion, Sequence[Confusion]]]] = {}
        for row in rows:
            if row.place in self.by_rules:
                both = row.confusion, self.by_rules[row.place]
                found.setdefault(row.model, []).append(both)
        for model, images in found.items():
            yield from rule_sensitivity(model, images)

    @property
    def any_hard(self) -> bool:
        """Whether the predictions of any model are labels."""
        return any(model.hard for model in self.models)

    @property
    def failed(self) -> int:
        """Number of failed pairs, including those on which thresholds were chosen."""
        scored = sum(row.status == "failed" for row in self.images)
        return scored + sum(one.failed for one in self.messages)

    @property
    def unread(self) -> int:
        """Number of inputs that could not be read at all, such as folders."""
        return unread_of(self.messages)

    @property
    def has_valid(self) -> bool:
        """Whether any image has a valid pixel."""
        return any(row.changed or row.unchanged for row in self.images)

    def beyond_limits(
        self,
        *,
        under: Mapping[str, float] | None = None,
        over: Mapping[str, float] | None = None,
    ) -> list[str]:
        """A message for each value of a model that is beyond a limit or undefined.

        Args:
            under: The lowest allowed value by column of the models, such as
                ``{"f1_pooled": 0.9}``.
            over: The highest allowed value by column, such as ``{"bce_mean": 0.3}``.

        Returns:
            A line for each value beyond its limit; empty if all values are within.

        Raises:
            UsageError: If a name is not a numeric column.
        """
        from cdstats.score.gates import beyond_limits

        rows = [model.dataset for model in self.models]
        return beyond_limits(rows, under or {}, over or {})

    def differences(
        self, earlier: StrPath, *, tolerance: float = 1e-6
    ) -> list[Difference]:
        """The differences from the image rows of an earlier run, models first.

        Counts of masks are compared exactly, metrics and mean losses within the
        tolerance. If the scores of a model differ, its images that differ follow.

        Args:
            earlier: A file written by the option ``csv`` of the command.
            tolerance: The largest absolute difference of a score that is accepted.

        Returns:
            The earlier and the current values that differ; empty if all agree.

        Raises:
            DataError: If the file does not have such rows, or lacks a loss of this run.
        """
        results = self.models[0].losses if self.models else ()
        losses = [choose(one.loss, one.params) for one in results]
        was = loss_of_rows(Path(earlier), losses or basic_losses("image"))
        return self.differences_from(was, tolerance)

    def differences_from(self, was: LossRun, tolerance: float) -> list[Difference]:
        """The differences from a run with the same losses."""
        from cdstats.score.gates import differences

        losses = [choose(one.loss, one.params) for one in was.models[0].losses]
        before, after = (
            ([model.dataset for model in run.models], run.images) for run in (was, self)
        )
        return differences(before, after, losses, tolerance)

    def table(self) -> Table:
        """The rows of the models, as shown by the command."""
        from cdstats.render.scores import model_columns

        rows = [model.dataset for model in self.models]
        return Table.of(DatasetScore, rows, model_columns(rows))

    def frame(self) -> pd.DataFrame:
        """The rows of the models as a data frame, with columns for each loss."""
        from cdstats.render.writers import frame

        return frame([model.dataset for model in self.models], DatasetScore)

    def image_frame(self) -> pd.DataFrame:
        """The rows of the images as a data frame, with a column for each loss."""
        from cdstats.render.writers import frame

        return frame(self.images, ScoreRecord)


def choose_losses(
    texts: Sequence[str], beta: str | float, *, logits: bool = False
) -> tuple[Loss, ...]:
    """BCE, balanced and class-mean BCE, then the losses of ``--loss``, each once.

    Raises:
        UsageError: If a name, parameter or β is invalid.
    """
    every = [one for one in all_losses() if logits or one.reads is not Reads.LOGITS]
    further = [one for t in texts for one in (every if t == "all" else [parse_loss(t)])]
    return tuple(dict.fromkeys((*basic_losses(_beta(beta)), *further)))


def _beta(beta: str | float) -> str | float:
    if not isinstance(beta, str) or beta in ("image", "dataset"):
        return beta
    try:
        number = json.loads(beta)
    except ValueError:
        number = None
    if type(number) in (int, float) and 0 <= number <= 1:
        return float(number) if isinstance(number, float) else int(number)
    raise UsageError(f"--beta {beta}: expected image, dataset or a number from 0 to 1")


def inverted_notes(models: Iterable[ModelScore]) -> list[Message]:
    """Warnings for models that seem to swap the classes or predict only one class."""
    rows = [one.dataset for one in models]
    return [
        Message(Level.WARNING, f"{one.model}: {text}" if one.model else text)
        for one in rows
        for text in (one.inverted, one.one_sided)
        if text
    ]


def sensitivity_notes(
    images: Sequence[ScoreRecord], known: Collection[Place], *, asked: bool
) -> list[Message]:
    """A warning with the number of images that other rules cannot binarise."""
    lacking = sum(row.status == "ok" and row.place not in known for row in images)
    if not asked or not lacking:
        return []
    text = (
        f"--rule-sensitivity excludes {counted(lacking, 'image')}: soft targets and "
        "masks in two files cannot be binarised"
    )
    return [Message(Level.WARNING, text)]


def set_notes(models: Iterable[ModelScore]) -> list[Message]:
    """Notes that name the known dataset of the masks, if it is recognised."""
    lines = (one.dataset.signature for one in models if one.dataset.signature)
    try:
        texts = [recognised(Signature.parse(line).fields) for line in lines]
    except DataError as error:
        # A damaged file of known sets must not prevent scoring.
        return [Message(Level.WARNING, str(error))]
    return [Message(Level.NOTE, text) for text in dict.fromkeys(texts) if text]


def score_model(
    model: str,
    images: Sequence[ScoredImage | ScoreRecord],
    table: SumsTable,
    losses: Sequence[tuple[Loss, LossResult, Shares]],
    types: set[str] | None,
) -> tuple[list[ScoreRecord], ModelScore]:
    """The rows of a model in their order, and its scores.

    ``images`` has rows for failed images; ``table`` has the sums of the others.
    ``types`` of the stored numbers are None if unknown.
    """
    chosen, results, shares = zip(*losses, strict=True)
    further = chosen[3:]
    good = [one for one in images if not isinstance(one, ScoreRecord)]
    done = iter(scored_records(good, results, [one.column for one in further]))
    rows = [one if isinstance(one, ScoreRecord) else next(done) for one in images]
    one_class = (table.valid > 0) & ((table.changed == 0) | (table.unchanged == 0))
    pixels = int(table.valid[one_class].sum())
    total = (table.ce_changed_sum + table.ce_unchanged_sum)[one_class].sum()
    score = ModelScore(
        dataset_score(model, rows, results, table, further),
        results,
        shares,
        _trivial_scores(table, chosen[:3], types),
        float(total) / pixels if pixels else None,
        table.hard,
    )
    return rows, score


def _trivial_scores(
    table: SumsTable, basic: Sequence[Loss], types: set[str] | None
) -> tuple[Trivial, ...]:
    """The losses of constant predictors.

    "No change" is the smallest step of the stored types, or p = 0 for labels.
    """
    if table.soft or not table.valid.any():
        return ()
    guesses = {"p = prior everywhere": table.prior}
    if table.hard:
        guesses["no change, p = 0"] = 0.0
    elif types is not None:
        known = [name for name in sorted(types) if name in FILE_EPS]
        eps_of = min(known, key=lambda name: FILE_EPS[name], default="uint8")
        guesses[f"no change, p = eps of {eps_of}"] = FILE_EPS[eps_of]
    found = []
    for name, prob in guesses.items():
        constant = constant_prediction(table, prob)
        bce, balanced, class_mean = (evaluate(one, constant) for one in basic)
        found.append(Trivial(name, prob, bce.mean, balanced.mean, class_mean.pooled))
    return tuple(found)


# Rows of an earlier run.


def loss_from(
    path: Path, losses: Sequence[str] = (), beta: str | float = "image"
) -> LossRun:
    """The losses computed from rows written by ``cdstats loss --csv``.

    Raises:
        DataError: If the file does not have such rows, or not the data of a loss.
        UsageError: If a loss or β is invalid.
    """
    return loss_of_rows(path, choose_losses(losses, beta))


def loss_of_rows(path: Path, chosen: Sequence[Loss]) -> LossRun:
    """The chosen losses computed from the rows of an earlier run.

    Raises:
        DataError: If the file does not have such rows, or not the data of a loss.
    """
    rows = _read(path)
    beyond = [one for one in chosen if one.reads is not Reads.SUMS]
    wanting = [one.label for one in beyond if one.column not in rows[0].losses]
    if wanting:
        raise DataError(
            f"{path}: lacks the sums or sorted probabilities that "
            f"{', '.join(wanting)} needs. Score the predictions again with --loss"
        )
    images: list[ScoreRecord] = []
    scores: list[ModelScore] = []
    for model in dict.fromkeys(row.model for row in rows):
        own = [row for row in rows if row.model == model]
        ok = [row for row in own if row.status == "ok"]
        table = SumsTable.of([row.sums for row in ok])
        known = [
            (row.place, (row.width or 0, row.height or 0), row.sums, row.stated)
            if row.status == "ok"
            else row
            for row in own
        ]
        each = [
            (
                one,
                result_of_rows(one, table, ok),
                Shares(None, None) if one in beyond else changed_shares(one, table),
            )
            for one in chosen
        ]
        again, score = score_model(model, known, table, each, None)
        images += again
        scores.append(score)
    texts = [f"computed from the rows of {path}; no pixels were read"]
    pooled = [one.label for one in beyond if one.entry.reduction not in BY_PIXEL]
    if pooled:
        names = ", ".join(pooled)
        texts.append(f"{names}: only means over images; pooled values need pixels")
    told = (Message(Level.NOTE, text) for text in texts)
    notes = (*told, *inverted_notes(scores), *set_notes(scores))
    return LossRun(Stated.of(rows).device, tuple(images), tuple(scores), notes)


def result_of_rows(
    loss: Loss, table: SumsTable, rows: Sequence[ScoreRecord]
) -> LossResult:
    """A loss from the sums of images, or from the image values in its column."""
    if loss.reads is Reads.SUMS:
        return evaluate(loss, table)
    values = [row.losses[loss.column] for row in rows]
    return LossResult.of_images(loss, values, table.valid)


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
    plain = parse_record(ScoreRecord, row, leave_out=("losses",))
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
    """Raise if a row has missing or impossible values."""
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
    # Each pixel adds at most 1 to a sum, apart from rounding.
    most = sums.valid * (1 + 1e-6)
    for column in _OF_PROBABILITIES:
        if getattr(row, column) > most:
            raise ValueError(f"{name}: {column} is {getattr(row, column)}")
    bins = sums.calibration
    if len(bins) != BINS or not sum(map(abs, bins)) <= most:
        raise ValueError(f"{name}: calibration_sums is {row.calibration_sums!r}")
