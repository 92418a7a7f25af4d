"""The options of the Python functions and the commands, each defined once.

Functions take the fields of a group as keyword arguments, and commands offer them as
options. Inside the package, the whole group is passed on.

**To add an option, add one field to one group.** Python signatures, argument checks,
the texts of ``help()`` and ``--help``, and the refusal of options that do not fit
``--from`` follow from it. A field of `ScoreOptions` belongs to ``loss``, ``compare``,
``report`` and ``plot``; a field of `MaskOptions` also to ``ratio``, ``audit`` and
``weights``. Run ``python docs/generate_cli.py`` to update the documentation.

Example:
    >>> options = LossOptions(pred="predictions", target="masks", changed=255)
    >>> options.changed, options.threshold, options.device
    ('255', 0.5, 'auto')
"""

from __future__ import annotations

import os
from enum import StrEnum
from numbers import Integral
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from cdstats.core.arguments import (
    MASKS,
    PIXELS,
    PREDICTIONS,
    Options,
    Paths,
    RuleText,
    StrPath,
    are_lists,
    option,
)
from cdstats.core.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping, Sequence

    from cdstats.core.errors import Message
    from cdstats.core.labels import RuleChoice
    from cdstats.core.records import ImageRecord


class ImageMeasure(StrEnum):
    """Measures of one image, used to find the images where models differ."""

    F1 = "f1"
    IOU = "iou"
    BCE = "bce_mean"
    CLASS_MEAN = "class_mean_bce"
    BALANCED = "balanced_ce_mean"


BY_DEFAULT: Final = (ImageMeasure.F1, ImageMeasure.BCE)
"""The measures that order images by default."""


NO_PAIRS: Final = (
    "name predictions with --pred and their masks with --target, or both with --pred "
    "@pairs.csv"
)
MAX_PIXELS: Final = 1 << 32
"""Largest number of pixels that an image may declare: 65,536 x 65,536."""
RULE: Final = "Rule"
SELECTION: Final = "Selection"
SCORING: Final = "Scoring"
CODES: Final = "Values of predictions"
COMPARISON: Final = "Comparison"
GROUND: Final = "Georeference and crops"
RUN: Final = "Run"
_RULE: Final[dict[str, Any]] = {"panel": RULE, "metavar": "RULE"}
_CODES: Final[dict[str, Any]] = {"panel": CODES, "metavar": "[NAME=]RULE"}
_NUMBER: Final[dict[str, Any]] = {"least": 1, "metavar": "N"}
_ROWS: Final[dict[str, Any]] = {"panel": SCORING, "needs": frozenset()}
"""Settings of options that need only rows of sums."""


class MaskOptions(Options, needs=PIXELS):
    """How masks are selected and read."""

    changed: RuleText | None = option(
        None, "Values that mean changed: 255, 1-4, '>=128', '#ff0000', rest.", **_RULE
    )
    unchanged: RuleText | None = option(None, "Values that mean unchanged.", **_RULE)
    ignore: RuleText | None = option(
        None, "Values to ignore. Used alone, the other values are detected.", **_RULE
    )
    preset: str | None = option(
        None,
        "Encoding of a public dataset; `cdstats presets` lists them. Default: the "
        "preset of a recognised layout. Use none to detect the encoding.",
        metavar="NAME",
        panel=RULE,
    )
    band: int | None = option(
        None, "Band that contains the mask, counted from 1.", panel=SELECTION, **_NUMBER
    )
    split: str | None = option(
        None,
        "Read only this split; predictions of other splits are skipped.",
        metavar="NAME",
        panel=SELECTION,
    )
    max_pixels: int = option(
        MAX_PIXELS,
        "Refuse images that declare more pixels.",
        shown="4,294,967,296",
        panel=RUN,
        **_NUMBER,
    )
    timeout: float = option(
        600.0,
        "Time limit for one window of a file, after which the file fails; 0: no limit.",
        least=0,
        metavar="SECONDS",
        panel=RUN,
    )

    def rule_choice(self) -> RuleChoice:
        """The label rule of the options, or the way to detect it."""
        from cdstats.core.labels import choose_rule

        rules = (self.changed, self.unchanged, self.ignore)
        changed, unchanged, ignore = (None if r is None else str(r) for r in rules)
        return choose_rule(changed, unchanged, ignore, self.preset)

    def band_of(self, choice: RuleChoice) -> int | None:
        """The band to read, from the option or the preset."""
        return self.band or (choice.preset.band if choice.preset else None)


class JobOptions(Options, panel=RUN, needs=MASKS):
    """The number of processes that count masks."""

    jobs: int | None = option(
        1,
        "Number of worker processes. Default: chosen by the amount of work.",
        command_default=None,
        none_is_value=True,
        **_NUMBER,
    )

    def taken(self, name: str, value: object) -> object:
        """The value of an option in the form that the package uses."""
        if name == "jobs" and isinstance(value, Integral) and value < 1:
            if value == -1:
                return os.cpu_count() or 1
            text = "expected at least 1, or -1 for all cores"
            raise UsageError(f"--jobs {value}: {text}")
        return super().taken(name, value)


class CountingOptions(JobOptions):
    """How masks are counted."""

    progress: Callable[[int, int, int], None] | None = option(
        None,
        "Called with the number of finished files, of all files and of counted pixels.",
    )


class CacheOptions(Options, panel=RUN, needs=MASKS):
    """The cache of a run."""

    cache: StrPath | None = option(
        None,
        "Keep the counts of all files in FILE; read only new and changed files.",
        metavar="FILE",
    )


class StrictOptions(Options, panel=RUN):
    """Whether a run stops at errors."""

    strict: bool = option(False, "Stop at the first failed file.")


class EngineOptions(Options, panel=RUN, needs=PIXELS):
    """The engine that runs the work."""

    engine: str = option(
        "local",
        "Run on this machine (local) or on a Dask cluster.",
        choices=("local", "dask"),
    )
    scheduler: str | None = option(
        None,
        "Address of the Dask scheduler, such as tcp://HOST:8786.",
        metavar="ADDRESS",
    )


class ScoreOptions(Options, needs=PREDICTIONS):
    """How predictions are read and scored."""

    kind: str | Sequence[str] | Mapping[str, str] | None = option(
        (),
        "Kind of predictions, detected except for logits. NAME= sets it for a model.",
        metavar="[NAME=]prob|logit|hard",
        panel=SCORING,
    )
    scale: RuleText | Sequence[RuleText] | Mapping[str, RuleText] | None = option(
        (),
        "Divide predictions by N: 100 for per cent. NAME= sets it for a model.",
        metavar="[NAME=]N",
        panel=CODES,
    )
    pred_changed: RuleText | Sequence[RuleText] | Mapping[str, RuleText] | None = (
        option(
            (),
            "Values of predictions that mean changed. NAME= sets them for a model.",
            **_CODES,
        )
    )
    pred_unchanged: RuleText | Sequence[RuleText] | Mapping[str, RuleText] | None = (
        option(
            (),
            "Values of predictions that mean unchanged. Default: all others.",
            **_CODES,
        )
    )
    pred_band: int | None = option(
        None,
        "Band or channel of the predictions, counted from 1.",
        panel=CODES,
        **_NUMBER,
    )
    pred_nodata: str = option(
        "refuse",
        "Valid pixels that are nodata or masked in a prediction: refuse the file, keep "
        "(score the stored value), or ignore.",
        choices=("refuse", "keep", "ignore"),
        panel=CODES,
    )
    beta: str | float = option(
        "image",
        "Beta of balanced cross-entropy: image, dataset or a number.",
        metavar="image|dataset|FLOAT",
        **_ROWS,
    )
    losses: Sequence[str] = option(
        (),
        "Further loss to compute, or all; `cdstats explain` lists them. Repeatable.",
        flags=("--loss",),
        metavar="NAME[:param=value,...]",
        **_ROWS,
    )
    threshold: float = option(
        0.5,
        "A pixel is predicted changed if its probability is at least P.",
        least=0,
        most=1,
        metavar="P",
        shown="0.5",
        panel=SCORING,
    )
    grid: str = option(
        "check",
        "If the georeference of prediction and mask differs: fail (check), score the "
        "common pixels (overlap), resample (warp), or ignore it.",
        choices=("check", "overlap", "warp", "ignore"),
        panel=GROUND,
    )
    uncovered: str | None = option(
        None,
        "Valid pixels without a prediction: fail, ignore, or count as predicted "
        "unchanged. Default: fail; ignore if the grid is overlap or warp.",
        choices=("fail", "ignore", "unchanged"),
        panel=GROUND,
    )
    overlap: str = option(
        "refuse",
        "Pixels in several crops: refuse, or use the mean, the first score, or the "
        "score of the crop with the nearest centre.",
        choices=("refuse", "mean", "first", "centre"),
        panel=GROUND,
    )
    edge: str = option(
        "refuse",
        "Numbered full-size tiles that extend beyond the mask: refuse, remove the "
        "padding (pad), or move the tiles back inside (shift).",
        choices=("refuse", "pad", "shift"),
        panel=GROUND,
    )
    device: str = option(
        "auto",
        "Device for computation: auto, cpu, cuda, cuda:N or mps.",
        metavar="NAME",
        panel=RUN,
        shown="auto",
    )
    batch_size: int | str | None = option(
        None,
        "Number of tiles (65,536 pixels each) to compute together on a device.",
        metavar="auto|N",
        panel=RUN,
        shown="auto",
    )

    def batch_tiles(self) -> int | None:
        """The number of tiles of a batch; None to choose it by memory."""
        text = str(self.batch_size)
        if text in ("None", "auto"):
            return None
        if not (text.isascii() and text.isdigit()) or int(text) == 0:
            raise UsageError(f"--batch-size {text}: expected auto or a number from 1")
        return int(text)


class ThresholdOptions(Options, needs=PREDICTIONS, panel=SCORING):
    """Other images on which the threshold is chosen."""

    threshold_from: Paths | None = option(
        None,
        "Predictions of other images, whose threshold with the best F1 is used.",
        metavar="[NAME=]PATH",
    )
    threshold_target: Paths | None = option(
        None, "Masks of these other images.", many=False, metavar="PATH"
    )
    threshold_split: str | None = option(
        None,
        "Use the threshold with the best F1 on this split, which is not scored: val.",
        metavar="NAME",
    )

    @property
    def chosen_by(self) -> str:
        """The option that names the images for the threshold; empty for none."""
        if self.threshold_from is not None:
            return "--threshold-from"
        return "" if self.threshold_split is None else "--threshold-split"

    def refuse_unfit(self, given: Collection[str]) -> None:
        """Refuse several options for the threshold, and missing masks."""
        super().refuse_unfit(given)
        ways = ("threshold", "threshold_from", "threshold_split")
        several = [
            self.declared[name].typed_name(name) for name in ways if name in given
        ]
        if len(several) > 1:
            raise UsageError(f"{' and '.join(several)}: expected one of them")
        pred, target = self.threshold_from, self.threshold_target
        if pred is None and target is not None:
            raise UsageError("--threshold-target needs --threshold-from")
        if pred is not None and target is None and not are_lists(pred):
            raise UsageError(
                "--threshold-from needs the masks of its predictions: name them with "
                "--threshold-target, or both with --threshold-from @pairs.csv"
            )


class SensitivityOptions(Options, needs=PREDICTIONS, panel=SCORING):
    """How scores depend on the rule that binarises the masks."""

    rule_sensitivity: bool = option(
        False,
        "Add the metrics for masks binarised by >0, >=128 and ==255.",
    )


class FromOptions(Options):
    """Rows of an earlier run instead of files, and error handling in Python."""

    from_file: StrPath | None = option(
        None,
        "Read the image rows that an earlier run wrote as CSV, instead of pixels.",
        flags=("--from",),
        panel=SELECTION,
        metavar="FILE",
    )
    errors: str = option(
        "raise",
        "Raise an exception for a missing path, a refused encoding or an empty set, or "
        "return the data that could be read (keep). A bad file is always a failed row.",
        choices=("raise", "keep"),
        on_command_line=False,
    )


class PathOptions(Options, kw_only=False, needs=MASKS):
    """The masks, as the argument of a command."""

    paths: Paths | None = option(
        None,
        "Masks: files, folders, archives, globs, patterns, @list.txt, addresses, or - "
        "for standard input. NAME=PATH names the dataset.",
        argument=True,
        metavar="[NAME=]PATH",
    )

    def missing(self) -> str | None:
        """The message if no masks are named."""
        if self.paths is None and not getattr(self, "from_file", None):
            return "no masks named: name them with PATH, or use --from FILE.csv"
        return None


class PairOptions(Options, kw_only=False, needs=PREDICTIONS):
    """Predictions and their masks."""

    pred: Paths | None = option(
        None,
        "Predictions: a file, folder, archive, glob, pattern or address. NAME= names "
        "the model. @pairs.csv also names the masks.",
        metavar="[NAME=]PATH",
    )
    target: Paths | None = option(
        None,
        "Masks: a file (also .npy), folder, archive, glob, pattern or address.",
        many=False,
        metavar="PATH",
    )

    def missing(self) -> str | None:
        """The message if predictions or masks are not named."""
        if getattr(self, "from_file", None):
            return None
        if self.pred is None or (self.target is None and not are_lists(self.pred)):
            return NO_PAIRS
        return None


class RatioOptions(
    StrictOptions,
    CacheOptions,
    EngineOptions,
    CountingOptions,
    FromOptions,
    MaskOptions,
    PathOptions,
):
    """The options of `cdstats.ratio`."""

    announce: Callable[[Message], None] | None = option(
        None, "Called with each message as soon as it is final."
    )
    each: Callable[[ImageRecord], None] | None = option(
        None,
        "Called with each image row in order, once it is counted and its rule known.",
    )


class WeightsOptions(
    StrictOptions, CacheOptions, CountingOptions, FromOptions, MaskOptions, PathOptions
):
    """The options of `cdstats.weights`."""

    split: str | None = option(
        None,
        "Count this split. Default: train; all splits if there is no train.",
        metavar="NAME",
        panel=SELECTION,
    )


class AuditOptions(
    CountingOptions, FromOptions, MaskOptions, PathOptions, panel="Regions", needs=MASKS
):
    """The options of `cdstats.audit`."""

    speck: int = option(
        9, "Changed regions with fewer pixels are specks.", shown="9", **_NUMBER
    )
    connectivity: int | str = option(
        "8",
        "Number of neighbours that connect pixels to a region.",
        choices=("4", "8"),
        shown="8",
    )


class LossOptions(
    StrictOptions,
    EngineOptions,
    FromOptions,
    MaskOptions,
    SensitivityOptions,
    ThresholdOptions,
    ScoreOptions,
    PairOptions,
):
    """The options of `cdstats.loss`."""

    histograms: bool = option(
        False,
        "Count the pixels of each prediction by probability, for curves; see "
        "`LossRun.curves`.",
        on_command_line=False,
    )
    check: Callable[[Sequence[Any]], None] | None = option(
        None,
        "Called with the pairs before pixels are read; an exception ends the run.",
    )
    progress: Callable[[int, int], None] | None = option(
        None, "Called with the number of finished images and of pixels so far."
    )


class ErrorOptions(
    StrictOptions,
    MaskOptions,
    ScoreOptions,
    PairOptions,
    hidden=("beta", "losses", "batch_size"),
):
    """The options of `cdstats.errors`."""

    folder: StrPath = option(
        Path("errors"),
        "Folder for the maps.",
        flags=("--output", "-o"),
        metavar="FOLDER",
    )
    progress: Callable[[int, int], None] | None = option(
        None, "Called with the number of finished images and of pixels so far."
    )


class DrawOptions(Options, panel=COMPARISON):
    """How intervals resample images and runs."""

    group: str | None = option(
        None,
        "Resample scenes: a word of the patterns, a column of @pairs.csv, split, "
        "target, or a pattern of mask names such as '{}_{y}_{x}.png'.",
        metavar="WORD",
    )
    repeats: str | None = option(
        None,
        "Average the training runs of a model and also resample runs: the word or "
        "column that numbers the runs, such as seed.",
        metavar="WORD",
    )


class ResampleOptions(DrawOptions, panel=COMPARISON):
    """How models are compared."""

    baseline: str | None = option(
        None,
        "Model that the others are compared with.",
        metavar="NAME",
        shown="the first",
    )
    common: bool = option(False, "Compare only the images that all models have.")
    curves: bool = option(
        True,
        "Average precision and best threshold; reads floating-point predictions twice.",
        flags=("--curves/--no-curves",),
    )
    resamples: int = option(2000, "Number of resamples.", metavar="N")
    confidence: float = option(
        0.95, "Confidence level of the intervals.", metavar="SHARE"
    )
    seed: int = option(0, "Seed of the random numbers.", metavar="N")
    differences: Sequence[str] = option(
        (),
        "Show the differences of this metric or loss, such as iou_pooled. Repeatable.",
        flags=("--difference",),
        metavar="NAME",
    )
    measures: Sequence[ImageMeasure | str] = option(
        BY_DEFAULT,
        "Measure to find the images where models differ most. Repeatable.",
        choices=tuple(one.value for one in ImageMeasure),
        flags=("--measure",),
        shown="f1 and bce_mean",
    )


class ModelOptions(PairOptions, kw_only=False, needs=PREDICTIONS):
    """Predictions of several models, and their masks."""

    pred: Paths | None = option(
        None,
        "Predictions of a model; repeat for each model. Or one pattern with {model}, "
        "or @pairs.csv with a column model.",
        metavar="NAME=PATH",
    )


class CompareOptions(
    FromOptions,
    MaskOptions,
    SensitivityOptions,
    ThresholdOptions,
    ScoreOptions,
    ResampleOptions,
    ModelOptions,
):
    """The options of `cdstats.compare`."""

    progress: Callable[[int, int], None] | None = option(
        None, "Called with the number of finished images and of pixels so far."
    )
