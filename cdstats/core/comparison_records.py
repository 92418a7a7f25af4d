"""The rows of `cdstats compare`; the order of their fields is the order of columns."""

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
"""What to do about a threshold that was chosen on the images that are scored."""
PARTS: Final = ("difference", "low", "high", "same_sign", "undefined")
SD: Final = "sd"
"""What a measure has beside its value, as columns ``NAME_PART``; SD only of runs."""
ALL_DRAWN: Final = 5
"""Images up to which all resamples are made, 3,125 of five, instead of some drawn."""


@dataclass(frozen=True, slots=True)
class Difference:
    """How far a measure of a model is from that of the first model."""

    difference: float | None
    low: float | None
    high: float | None
    same_sign: float | None
    undefined: int


@dataclass(frozen=True, slots=True)
class Compared:
    """One measure of one model.

    Of several runs it is their mean, ``sd`` their standard deviation (n - 1).
    """

    value: float | None
    to_first: Difference | None = None
    sd: float | None = None


@dataclass(frozen=True, slots=True)
class ComparedModel:
    """The measures of one model beside the first.

    ``compared`` holds each measure by name; its numbers stand after the other columns,
    as ``NAME``, ``NAME_difference``, ``NAME_low``, ``NAME_high``, ``NAME_same_sign``
    and ``NAME_undefined``, and with repeats ``NAME_sd``.

    Attributes:
        model: Its name.
        images: Images compared; the same for every model.
        images_without_valid: Those without a valid pixel; they are in no measure.
        left_out: Images that some model did not score.
        changed: Changed pixels.
        unchanged: Unchanged pixels.
        ignored: Ignored pixels.
        best_threshold_in_sample: The threshold of the highest F1 on these images; None
            where no number gives it, as between logits above 36.7.
        average_precision_within: How far average precision may be from that of the
            sorted pixels; 0 where it is exact.
        kind: What its predictions are.
        rule: The rule that labelled the masks.
        resamples: Resamples of the images.
        confidence: Share of resamples inside an interval.
        seed: Where the random numbers start.
        threshold: A pixel is predicted changed when p is at least this.
        grid: How the ground of predictions and masks was compared.
        version: The version of the program that scored.
        device: The device that computed.
        labels: The hash of the labels that have scores.
        signature: The line that says how its score was made.
        group: What images are drawn together by; empty where each is drawn alone.
        groups: Groups that are drawn; images with a valid pixel where there are none.
        repeats: Runs of the model, whose measures are means; None where no word that
            numbers runs was named.
        threshold_from: The images on which the threshold has the best F1, see `Stated`.
        compared: Its measures by name.
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
        """The column of a measure, or of its difference or interval."""
        for part in (*PARTS, SD):
            if name.endswith(f"_{part}"):
                own = _measure(name.removesuffix(f"_{part}"))
                title = f"{own.title} {part.replace('_', ' ')}"
                is_share = own.is_share and part in (*PARTS[:3], SD)
                return further_column(name, title, is_share=is_share)
        return _measure(name)

    @property
    def further(self) -> dict[str, Any]:
        """The columns that its measures make."""
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
    """How far models are apart on one image.

    Attributes:
        target: The mask.
        part: What tells the crops of a mask apart; empty for a whole one.
        split: Its split.
        measure: The measure of an image that is compared.
        spread: The largest value minus the smallest, over the models where it is
            defined; None where there are not two.
        lowest: The first model of the smallest value.
        highest: The first model of the largest value.
        values: The value of each model; each has a column of its own.
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
        """The column of the values of a model."""
        model = name.removeprefix("value[").removesuffix("]")
        return further_column(name, printable(model))

    @property
    def further(self) -> dict[str, Any]:
        """The columns of the models, ``value[MODEL]``."""
        return {f"value[{model}]": value for model, value in self.values.items()}


_TITLES: Final = {"average_precision": "AP", "best_f1_in_sample": "Best F1\nin-sample"}
"""Titles of the measures that are no columns of a model's score."""


def _measure(name: str) -> Column:
    """The column of a measure: of a model's score, or from its curve."""
    if name in _TITLES:
        return further_column(name, _TITLES[name], "higher", is_share=True)
    return column_of(DatasetScore, name)
