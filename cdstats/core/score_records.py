"""The rows of `cdstats loss`; field order is column order."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field, fields, replace
from typing import TYPE_CHECKING, Any, Final, Literal, Self, TypeAlias

from cdstats.core import metrics
from cdstats.core.catalogue import LossResult, choose
from cdstats.core.columns import (
    CHANGED,
    IGNORED,
    NOT_A_COLUMN,
    UNCHANGED,
    Column,
    column,
    columns_of,
    further_column,
)
from cdstats.core.label_hash import hash_of_text, hash_text, total_hash
from cdstats.core.metrics import Confusion, metric_values
from cdstats.core.records import split_order
from cdstats.core.signature import NOT_RECORDED, Signature
from cdstats.core.sums import ImageSums, SumsTable, defined_values

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from cdstats.core.catalogue import Loss

_FIELDS: Final = (
    *("ce_changed_sum", "ce_unchanged_sum", "saturated_wrong", "tp", "fp", "fn", "tn"),
    *("missed_sum", "missed_sq_sum", "prob_changed_sum", "prob_sq_changed_sum"),
    *("false_sum", "false_sq_sum", "target_sq_sum"),
)
"""Columns that are fields of `ImageSums`."""
_SAME: Final = (*_FIELDS, "prob_sum", "prob_sq_sum")
"""Columns that `ImageSums` has under the same name."""


_LABEL_COUNTS: Final = ("saturated_wrong", "tp", "fp", "fn", "tn")
"""Counts that are defined only for labels."""


THRESHOLD: Final = column(format=repr)
"""Metadata of a threshold, shown with all digits so that it can be reused."""
_BCE: Final = column("BCE", better="lower")
_BALANCED: Final = column("Balanced\nCE", better="lower")
_CLASS_MEAN: Final = column("Class-mean\nBCE", better="lower")
_ECE: Final = column("ECE", better="lower")
"""Metadata of the expected calibration error, in 15 bins of equal width."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Stated:
    """Decisions made before a number was computed; every output states them.

    Records that inherit from it have these columns at the end.

    Attributes:
        threshold: A pixel is predicted changed when p is at least this; None if it was
            not recorded.
        kind: Kind of the predictions.
        grid: How the grids of prediction and mask were compared; ``none`` if neither
            has a georeference.
        version: Version of the program that scored.
        device: Device of the computation.
        rule: Rule for the labels of the masks. If splits have different rules, each
            rule follows the names of its splits.
        threshold_from: Images on which the threshold has the best F1: their split and
            the beginning of the hash of their labels, such as ``val:9f3c12ab``; empty
            for a given threshold.
    """

    threshold: float | None = field(default=None, metadata=THRESHOLD)
    kind: str = NOT_RECORDED
    grid: str = NOT_RECORDED
    version: str = NOT_RECORDED
    device: str = NOT_RECORDED
    rule: str = NOT_RECORDED
    threshold_from: str = ""

    @classmethod
    def of(cls, rows: Iterable[Any]) -> Stated:
        """The common statement of several records; different texts are listed."""
        found = list(rows)
        thresholds = {one.threshold for one in found}
        texts = {
            name: ", ".join(
                dict.fromkeys(t for one in found if (t := getattr(one, name)))
            )
            for name in ("kind", "grid", "version", "device", "threshold_from")
        }
        threshold = thresholds.pop() if len(thresholds) == 1 else None
        return cls(threshold=threshold, **texts, rule=_rules_text(found))

    def with_stated(self, known: Stated) -> Self:
        """A copy with the known fields stated; own columns are kept."""
        own = type(self).__annotations__
        texts = {f.name: getattr(known, f.name) for f in fields(Stated)}
        return replace(self, **{n: v for n, v in texts.items() if n not in own})

    @classmethod
    def notes(cls, rows: Iterable[Any], *, threshold: bool = True) -> tuple[str, ...]:
        """Footnotes for several records, without the rule.

        The threshold may be omitted if no number depends on it.
        """
        found = list(rows)
        one = cls.of(found)
        kind = f"predictions: {one.kind or 'none scored'}"
        by = "version: " if one.version == NOT_RECORDED else "cdstats "
        ground = f"grid: {one.grid}; device: {one.device}; {by}{one.version}"
        if not threshold:
            return kind, ground
        cut = _threshold_text(found, named=bool(one.threshold_from))
        if not one.threshold_from:
            return f"{cut}; {kind}", ground
        if any(row.threshold is None for row in found):  # runs of one model differ
            cut = "threshold of each run"
        return f"{cut}: best F1 on {one.threshold_from}", kind, ground


def _threshold_text(rows: Sequence[Any], *, named: bool) -> str:
    """The threshold of some records; different ones may be listed by model."""
    cuts: dict[float | None, dict[str, None]] = {}
    for row in rows:
        cuts.setdefault(row.threshold, {})[getattr(row, "model", "")] = None
    texts = {
        (NOT_RECORDED if cut is None else repr(cut)): ", ".join(models)
        for cut, models in cuts.items()
    }
    if len(texts) < 2:
        text = next(iter(texts), NOT_RECORDED)
        told = "threshold: " if text == NOT_RECORDED else "changed when p >= "
        return f"{told}{text}"
    each = (f"{n} ({own})" if named and own else n for n, own in texts.items())
    return f"thresholds differ: {', '.join(each)}"


def _rules_text(rows: Sequence[Any]) -> str:
    """The rule of some records; different rules follow the names of their splits."""
    splits: dict[str, set[str]] = {}
    for row in rows:
        if row.rule:
            splits.setdefault(row.rule, set()).add(getattr(row, "split", ""))
    if len(splits) < 2:
        return "".join(splits)
    texts = {
        rule: ", ".join(sorted(filter(None, names), key=split_order))
        for rule, names in splits.items()
    }
    return "; ".join(f"{own}: {rule}" if own else rule for rule, own in texts.items())


def basic_losses(beta: str | float) -> tuple[Loss, Loss, Loss]:
    """The losses that are always computed: BCE, balanced and class-mean BCE.

    Args:
        beta: β of balanced cross-entropy: ``image``, ``dataset`` or a number.

    Raises:
        UsageError: If β has another value.
    """
    balanced = choose("balanced_ce", {"beta": beta})
    return choose("bce"), balanced, choose("class_mean_bce")


@dataclass(frozen=True, slots=True)
class ScoreRecord:
    """The sums and losses of a prediction, or the reason for its failure.

    ``ece`` is the expected calibration error in 15 bins of equal width, and
    ``calibration_sums`` holds Σ (p - y) of each bin. ``labels`` is the hash of the
    labels that have scores. ``words`` holds the values of pattern fields, such as
    ``scene=a&city=b``. ``losses`` holds further losses by column, which come last. For
    ``rule`` and the following fields, see `Stated`.
    """

    pred: str
    target: str
    width: int | None
    height: int | None
    changed: float | None = field(metadata=CHANGED)
    unchanged: float | None = field(metadata=UNCHANGED)
    ignored: int | None = field(metadata=IGNORED)
    ce_changed_sum: float | None
    ce_unchanged_sum: float | None
    prob_sum: float | None
    prob_changed_sum: float | None
    prob_sq_sum: float | None
    prob_sq_changed_sum: float | None
    saturated_wrong: int | None
    tp: int | None
    fp: int | None
    fn: int | None
    tn: int | None
    bce_sum: float | None
    bce_mean: float | None = field(metadata=_BCE)
    balanced_ce_sum: float | None
    balanced_ce_mean: float | None = field(metadata=_BALANCED)
    class_mean_bce: float | None = field(metadata=_CLASS_MEAN)
    precision: float | None = field(metadata=metrics.PRECISION.pooled)
    recall: float | None = field(metadata=metrics.RECALL.pooled)
    f1: float | None = field(metadata=metrics.F1.pooled)
    iou: float | None = field(metadata=metrics.IOU.pooled)
    status: Literal["ok", "failed"]
    reason: str
    model: str
    split: str
    target_sq_sum: float | None
    missed_sum: float | None
    missed_sq_sum: float | None
    false_sum: float | None
    false_sq_sum: float | None
    rule: str
    threshold: float | None = field(metadata=THRESHOLD)
    kind: str
    grid: str
    version: str
    device: str
    uncovered: int | None
    ece: float | None = field(metadata=_ECE)
    calibration_sums: str
    labels: str
    words: str
    threshold_from: str
    losses: Mapping[str, float | None] = field(
        default_factory=dict, metadata=NOT_A_COLUMN
    )

    @property
    def further(self) -> Mapping[str, float | None]:
        """The columns of further losses."""
        return self.losses

    def with_losses(self, losses: Mapping[str, float | None]) -> ScoreRecord:
        """A copy with further losses."""
        return replace(self, losses=losses)

    @property
    def place(self) -> Place:
        """The columns that identify the row."""
        return Place(self.pred, self.target, self.model, self.split, self.words)

    @property
    def kept_sums(self) -> tuple[str, ...]:
        """The columns from which all others follow."""
        labels = () if isinstance(self.changed, float) else _LABEL_COUNTS
        sums = (name for name in _FIELDS if name not in _LABEL_COUNTS)
        return ("changed", "unchanged", "ignored", *sums, *labels)

    @property
    def sums(self) -> ImageSums:
        """The sums of the row, from which losses follow."""
        found = ((name, getattr(self, name)) for name in _FIELDS)
        same: dict[str, Any] = {n: 0 if value is None else value for n, value in found}
        valid, changed = self._scored
        return ImageSums(
            valid=valid,
            changed=changed,
            ignored=self.ignored or 0,
            uncovered=self.uncovered or 0,
            calibration=tuple(map(float, self.calibration_sums.split())),
            labels=hash_of_text(self.labels),
            **same,
        )

    @property
    def _scored(self) -> tuple[int, float]:
        """Number of valid and changed pixels with a prediction.

        Pixels without one are included in ``changed`` and ``unchanged`` if these add up
        to the image size with the ignored ones.
        """
        changed, uncovered = self.changed or 0, self.uncovered or 0
        valid = int(changed + (self.unchanged or 0))
        if valid + (self.ignored or 0) < (self.width or 0) * (self.height or 0):
            return valid, changed
        if uncovered and isinstance(changed, int):
            changed = round(self.target_sq_sum or 0)
        return valid - uncovered, changed

    @property
    def stated(self) -> Stated:
        """The decisions made before the row was computed."""
        return Stated(**{f.name: getattr(self, f.name) for f in fields(Stated)})

    @property
    def confusion(self) -> Confusion:
        """The confusion counts of the row."""
        return Confusion(self.tp or 0, self.fp or 0, self.fn or 0, self.tn or 0)


@dataclass(frozen=True, slots=True)
class Place:
    """The identity of a row: the columns that are not sums."""

    pred: str
    target: str
    model: str = ""
    split: str = ""
    words: str = ""


def failed_record(
    place: Place,
    reason: str,
    size: tuple[int, int] | None = None,
    stated: Stated = Stated(),
) -> ScoreRecord:
    """The row of a pair that could not be scored."""
    known: dict[str, Any] = dict.fromkeys(SCORE_COLUMNS)
    known |= {
        "calibration_sums": "",
        "labels": "",
        "status": "failed",
        "reason": reason,
    }
    known["width"], known["height"] = size or (None, None)
    return ScoreRecord(**known | asdict(place) | asdict(stated))


ScoredImage: TypeAlias = "tuple[Place, tuple[int, int], ImageSums, Stated]"
"""Identity, width and height, sums and decisions of an image."""


def scored_records(
    images: Sequence[ScoredImage], results: Sequence[LossResult], columns: Sequence[str]
) -> list[ScoreRecord]:
    """The rows of scored predictions."""
    bce, balanced, class_mean = results[:3]
    rows = []
    table = SumsTable.of(sums for _, _, sums, _ in images)
    errors = defined_values(table.calibration_error)
    for number, (place, size, one, known) in enumerate(images):
        confusion = Confusion(one.tp, one.fp, one.fn, one.tn)
        rows.append(
            ScoreRecord(
                **asdict(place),
                width=size[0],
                height=size[1],
                changed=one.counted[0],
                unchanged=one.counted[1],
                ignored=one.ignored,
                uncovered=one.uncovered,
                ece=errors[number],
                calibration_sums=" ".join(_short(one.calibration)),
                labels=hash_text(one.labels),
                **_same_columns(one),
                bce_sum=bce.image_values[number],
                bce_mean=_per_pixel(bce.image_values[number], one.valid),
                balanced_ce_sum=balanced.image_values[number],
                balanced_ce_mean=_per_pixel(balanced.image_values[number], one.valid),
                class_mean_bce=class_mean.image_values[number],
                **metric_values(ScoreRecord, [confusion]),
                status="ok",
                reason="",
                **asdict(known),
                losses={
                    name: result.image_values[number]
                    for name, result in zip(columns, results[3:], strict=True)
                },
            )
        )
    return rows


def _same_columns(sums: ImageSums) -> dict[str, Any]:
    """The columns that are sums; soft targets have no label counts."""
    found = {name: getattr(sums, name) for name in _SAME}
    if isinstance(sums.changed, float):
        found |= dict.fromkeys(_LABEL_COUNTS)
    return found


def _short(numbers: Iterable[float]) -> list[str]:
    """Numbers in full, without the decimals of whole numbers."""
    return [repr(number).removesuffix(".0") for number in numbers]


def _per_pixel(total: float | None, pixels: int) -> float | None:
    return total / pixels if total is not None and pixels else None


@dataclass(frozen=True, slots=True)
class DatasetScore:
    """The sums, losses and metrics of a model over all its predictions.

    ``beta`` is the share of unchanged pixels of the dataset; the β used for balanced
    cross-entropy is a parameter of the loss. For ``bce_sum`` and similar fields, see
    `ScoreRecord`. ``losses`` holds two values per further loss, by column: sum and
    mean, or pooled value and image mean. ``labels`` is the hash of the labels that
    have scores, ``signature`` the line that states how the score was made. For
    ``threshold`` and similar fields, see `Stated`.
    """

    model: str
    images: int
    failed: int
    images_one_class: int
    images_without_valid: int
    changed: float = field(metadata=CHANGED)
    unchanged: float = field(metadata=UNCHANGED)
    ignored: int = field(metadata=IGNORED)
    ce_changed_sum: float
    ce_unchanged_sum: float
    prob_sum: float
    prob_changed_sum: float
    prob_sq_sum: float
    prob_sq_changed_sum: float
    target_sq_sum: float
    saturated_wrong: int | None
    tp: int | None
    fp: int | None
    fn: int | None
    tn: int | None
    bce_sum: float | None
    bce_mean: float | None = field(metadata=_BCE)
    balanced_ce_sum: float | None
    balanced_ce_mean: float | None = field(metadata=_BALANCED)
    class_mean_bce: float | None = field(metadata=_CLASS_MEAN)
    precision_pooled: float | None = field(metadata=metrics.PRECISION.pooled)
    recall_pooled: float | None = field(metadata=metrics.RECALL.pooled)
    f1_pooled: float | None = field(metadata=metrics.F1.pooled)
    f1_image_mean: float | None = field(metadata=metrics.F1.image_mean)
    f1_image_mean_nonempty: float | None = field(metadata=metrics.F1.nonempty_mean)
    mf1_pooled: float | None = field(metadata=metrics.MEAN_F1.pooled)
    iou_pooled: float | None = field(metadata=metrics.IOU.pooled)
    oa: float | None = field(metadata=metrics.OVERALL_ACCURACY.pooled)
    kappa: float | None = field(metadata=metrics.KAPPA.pooled)
    beta: float | None
    kind: str
    rule: str
    missed_sum: float
    missed_sq_sum: float
    false_sum: float
    false_sq_sum: float
    iou_image_mean: float | None = field(metadata=metrics.IOU.image_mean)
    mcc_pooled: float | None = field(metadata=metrics.MCC.pooled)
    specificity_pooled: float | None = field(metadata=metrics.SPECIFICITY.pooled)
    threshold: float | None = field(metadata=THRESHOLD)
    grid: str
    version: str
    device: str
    uncovered: int
    ece: float | None = field(metadata=_ECE)
    labels: str
    signature: str
    threshold_from: str
    losses: Mapping[str, float | None] = field(
        default_factory=dict, metadata=NOT_A_COLUMN
    )

    @property
    def further(self) -> Mapping[str, float | None]:
        """The columns of further losses."""
        return self.losses

    @staticmethod
    def further_column(name: str) -> Column:
        """The column of a further loss."""
        return further_column(name, better="lower")

    @property
    def inverted(self) -> str:
        """A message if predictions seem inverted; otherwise empty."""
        counts = Confusion(self.tp or 0, self.fp or 0, self.fn or 0, self.tn or 0)
        other = counts.of_complement
        kappa = metrics.KAPPA.of(other)
        if self.kappa is None or self.kappa >= 0 or not kappa or kappa <= _CLEAR:
            return ""
        return (
            f"kappa is {self.kappa:.3f}: are changed and unchanged inverted in the "
            f"predictions? The complement has kappa {kappa:.3f} and "
            f"F1 {metrics.F1.of(other) or 0:.3f}"
        )

    @property
    def one_sided(self) -> str:
        """A message if only one class is predicted; otherwise empty."""
        counts = self.tp, self.fp, self.fn, self.tn
        tp, fp, fn, tn = (one or 0 for one in counts)
        if None in counts or not tp + fn or not fp + tn:
            return ""
        if tp + fp and fn + tn:
            return ""
        what = "every" if tp + fp else "no"
        return (
            f"{what} valid pixel is predicted changed: are the predictions on a "
            "different scale? See --scale, --kind and --threshold"
        )


_CLEAR: Final = 0.4
"""Kappa values above this do not occur by chance."""


def labels_of(rows: Sequence[ScoreRecord]) -> str:
    """The hash of the labels of some rows; empty if any is missing."""
    return hash_text(total_hash(hash_of_text(r.labels) for r in rows) if rows else None)


def signature_of(row: Any, images: Iterable[ScoreRecord]) -> str:  # noqa: ANN401
    """The signature of a model's row, computed from these images."""
    masks = {(one.split, one.target) for one in images}
    return str(Signature.of(row, len(masks)))


def dataset_score(
    model: str,
    images: Sequence[ScoreRecord],
    results: Sequence[LossResult],
    table: SumsTable,
    further: Sequence[Loss] = (),
) -> DatasetScore:
    """The row of a model."""
    ok = [row for row in images if row.status == "ok"]
    bce, balanced, class_mean = results[:3]
    total = table.total
    valid, changed = total.valid[0].item(), total.changed[0].item()
    one_class = (table.valid > 0) & ((table.changed == 0) | (table.unchanged == 0))
    same = (*_SAME, "ignored", "uncovered")
    totals: dict[str, Any] = {name: getattr(total, name)[0].item() for name in same}
    if table.soft:
        totals |= dict.fromkeys(_LABEL_COUNTS)
    unchanged = valid - changed
    if totals["uncovered"] and not table.soft:
        changed = sum(row.changed or 0 for row in ok)
        unchanged = sum(row.unchanged or 0 for row in ok)
    found = DatasetScore(
        model=model,
        images=len(ok),
        failed=len(images) - len(ok),
        images_one_class=int(one_class.sum()),
        images_without_valid=int((table.valid == 0).sum()),
        changed=changed,
        unchanged=unchanged,
        bce_sum=bce.sum,
        bce_mean=bce.mean,
        balanced_ce_sum=balanced.sum,
        balanced_ce_mean=balanced.mean,
        class_mean_bce=class_mean.pooled,
        ece=defined_values(total.calibration_error)[0],
        beta=total.unchanged[0].item() / valid if valid else None,
        labels=labels_of(ok),
        signature="",
        **asdict(Stated.of(ok or images)),
        losses={
            name: value
            for loss, result in zip(further, results[3:], strict=True)
            for name, value in zip(
                loss.dataset_columns, result.dataset_values, strict=True
            )
        },
        **totals,
        **metric_values(DatasetScore, [row.confusion for row in ok]),
    )
    return replace(found, signature=signature_of(found, ok))


SCORE_COLUMNS: Final = tuple(columns_of(ScoreRecord))
"""The columns of an image row, without further losses."""
