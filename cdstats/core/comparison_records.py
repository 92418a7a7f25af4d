"""The rows of `cdstats compare`; field order is column order."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any, Final

from cdstats.core.columns import (
    CHANGED,
    IGNORED,
    NOT_A_COLUMN,
    UNCHANGED,
    Column,
    column,
    column_of,
    further_column,
    printable,
)
from cdstats.core.score_records import THRESHOLD, DatasetScore, Stated

if TYPE_CHECKING:
    from collections.abc import Mapping


IN_SAMPLE_WAY: Final = (
    "choose a threshold on validation data: --threshold-split or --threshold-from"
)
"""Advice for a threshold chosen on the same images that are scored."""
PARTS: Final = ("difference", "low", "high", "same_sign", "undefined")
SD: Final = "sd"
"""Suffix of columns ``NAME_sd``: standard deviation over runs."""
ALL_DRAWN: Final = 5
"""Up to this number of images, all resamples are computed (3,125 for five)."""


@dataclass(frozen=True, slots=True)
class Difference:
    """Difference of a measure between a model and the first model."""

    difference: float | None
    low: float | None
    high: float | None
    same_sign: float | None
    undefined: int


@dataclass(frozen=True, slots=True)
class Compared:
    """One measure of one model.

    For several runs it is their mean, with ``sd`` their standard deviation (n - 1).
    """

    value: float | None
    to_first: Difference | None = None
    sd: float | None = None


@dataclass(frozen=True, slots=True)
class ComparedModel:
    """The measures of a model compared with those of the first model.

    ``compared`` holds each measure by name. Its columns come last: ``NAME``,
    ``NAME_difference``, ``NAME_low``, ``NAME_high``, ``NAME_same_sign`` and
    ``NAME_undefined``, and with repeats ``NAME_sd``.

    Attributes:
        model: Name of the model.
        images: Images compared; equal for all models.
        images_without_valid: Images without valid pixels, excluded from all measures.
        left_out: Images that some model did not score.
        changed: Changed pixels.
        unchanged: Unchanged pixels.
        ignored: Ignored pixels.
        best_threshold_in_sample: Threshold of the highest F1 on these images; None if
            no number gives it, as between logits above 36.7.
        average_precision_within: Bound on the error of average precision compared with
            sorted pixels; 0 if it is exact.
        kind: Kind of the predictions.
        rule: Rule for the labels of the masks.
        resamples: Number of resamples.
        confidence: Share of resamples inside an interval.
        seed: Seed of the random numbers.
        threshold: A pixel is predicted changed when p is at least this.
        grid: How the grids of predictions and masks were compared.
        version: Version of the program that scored.
        device: Device of the computation.
        labels: Hash of the labels that have scores.
        signature: Line that states how the score was made.
        group: What images are grouped by for resampling; empty if there are no groups.
        groups: Number of groups; without groups, images with valid pixels.
        repeats: Number of runs, over which measures are averaged; None without runs.
        threshold_from: Images on which the threshold has the best F1, see `Stated`.
        compared: Measures by name.
    """

    model: str
    images: int
    images_without_valid: int
    left_out: int
    changed: float = field(metadata=CHANGED)
    unchanged: float = field(metadata=UNCHANGED)
    ignored: int = field(metadata=IGNORED)
    best_threshold_in_sample: float | None = field(
        metadata=column("Threshold\nin-sample", format=repr)
    )
    average_precision_within: float | None
    kind: str
    rule: str
    resamples: int
    confidence: float
    seed: int
    threshold: float | None = field(metadata=THRESHOLD)
    grid: str
    version: str
    device: str
    labels: str
    signature: str
    group: str
    groups: int
    repeats: int | None
    threshold_from: str
    compared: Mapping[str, Compared] = field(
        default_factory=dict, metadata=NOT_A_COLUMN
    )

    @staticmethod
    def further_column(name: str) -> Column:
        """The column of a measure, its difference or its interval."""
        for part in (*PARTS, SD):
            if name.endswith(f"_{part}"):
                own = _measure(name.removesuffix(f"_{part}"))
                title = f"{own.title} {part.replace('_', ' ')}"
                is_share = own.is_share and part in (*PARTS[:3], SD)
                return further_column(name, title, is_share=is_share)
        return _measure(name)

    @property
    def further(self) -> dict[str, Any]:
        """The columns of all measures."""
        columns: dict[str, Any] = {}
        for name, one in self.compared.items():
            columns[name] = one.value
            if self.repeats is not None:
                columns[f"{name}_{SD}"] = one.sd
            found = one.to_first or Difference(None, None, None, None, 0)
            parts = asdict(found)
            columns |= {f"{name}_{part}": value for part, value in parts.items()}
        return columns


@dataclass(frozen=True, slots=True)
class DifferingImage(Stated):
    """Spread of models on one image.

    Attributes:
        target: Path of the mask.
        part: Identifies a crop of the mask; empty for the whole mask.
        split: Split of the mask.
        measure: Measure of the image that is compared.
        spread: Largest minus smallest value over the models where it is defined; None
            for fewer than two.
        lowest: First model with the smallest value.
        highest: First model with the largest value.
        values: Value of each model, with one column per model.
    """

    target: str
    part: str
    split: str
    measure: str
    spread: float | None
    lowest: str
    highest: str
    values: Mapping[str, float | None] = field(
        default_factory=dict, metadata=NOT_A_COLUMN
    )

    @staticmethod
    def further_column(name: str) -> Column:
        """The column for the values of a model."""
        model = name.removeprefix("value[").removesuffix("]")
        return further_column(name, printable(model))

    @property
    def further(self) -> dict[str, Any]:
        """The columns ``value[MODEL]``."""
        return {f"value[{model}]": value for model, value in self.values.items()}


_TITLES: Final = {"average_precision": "AP", "best_f1_in_sample": "Best F1\nin-sample"}
"""Titles of measures that are not columns of a model's score."""


def _measure(name: str) -> Column:
    """The column of a measure, from the score or the curve of a model."""
    if name in _TITLES:
        return further_column(name, _TITLES[name], "higher", is_share=True)
    return column_of(DatasetScore, name)
