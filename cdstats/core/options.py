"""The options of a run, once each: what the Python functions and the commands take.

Functions take the fields of a group as keyword arguments, commands offer them as
options, and inside the package the group is passed on whole.

**To add an option, add one field to one group.** Python signatures, checks of
arguments, the help of ``help()`` and of ``--help``, and the refusal of options that do
not fit ``--from`` follow from it. A field of `ScoreOptions` belongs to ``loss``,
``compare``, ``report`` and ``plot`` at once, one of `MaskOptions` also to ``ratio``,
``audit`` and ``weights``. The code that needs the value reads it from the group.
``python docs/generate_cli.py`` then brings the documentation up to date.

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
    """Measures of one image, by which the images where models differ are found."""

    F1 = "f1"
    IOU = "iou"
    BCE = "bce_mean"
    CLASS_MEAN = "class_mean_bce"
    BALANCED = "balanced_ce_mean"


BY_DEFAULT: Final = (ImageMeasure.F1, ImageMeasure.BCE)
"""What images are ordered by when nothing is said."""


NO_PAIRS: Final = (
    "name predictions with --pred and their masks with --target, or both with --pred "
    "@pairs.csv"
)
MAX_PIXELS: Final = 1 << 32
"""Pixels that an image may declare: 65,536 x 65,536."""
RULE: Final = "Rule"
SELECTION: Final = "Selection"
SCORING: Final = "Scoring"
CODES: Final = "Values of predictions"
COMPARISON: Final = "Comparison"
GROUND: Final = "Ground"
RUN: Final = "Run"
_RULE: Final[dict[str, Any]] = {"panel": RULE, "metavar": "RULE"}
_CODES: Final[dict[str, Any]] = {"panel": CODES, "metavar": "[NAME=]RULE"}
_NUMBER: Final[dict[str, Any]] = {"least": 1, "metavar": "N"}
_ROWS: Final[dict[str, Any]] = {"panel": SCORING, "needs": frozenset()}
"""Settings of what rows of sums are enough for."""


class MaskOptions(Options, needs=PIXELS):
    """How masks are chosen and read."""

    changed: RuleText | None = option(
        None, "Values that are changed: 255, 1-4, '>=128', '#ff0000', rest.", **_RULE
    )
    unchanged: RuleText | None = option(None, "Values that are unchanged.", **_RULE)
    ignore: RuleText | None = option(
        None, "Values to leave out. Alone, the other values are detected.", **_RULE
    )
    preset: str | None = option(
        None,
        "Encoding of a public dataset; `cdstats presets` lists them. By default that "
        "of a known layout; none to detect it.",
        metavar="NAME",
        panel=RULE,
    )
    band: int | None = option(
        None, "Band that holds the mask, counted from 1.", panel=SELECTION, **_NUMBER
    )
    split: str | None = option(
        None,
        "Read this split only; predictions of other splits are skipped.",
        metavar="NAME",
        panel=SELECTION,
    )
    max_pixels: int = option(
        MAX_PIXELS,
        "Refuse an image that declares more pixels.",
        shown="4,294,967,296",
        panel=RUN,
        **_NUMBER,
    )
    timeout: float = option(
        600.0,
        "Fail a file when one window of it takes longer; 0 for any time.",
        least=0,
        metavar="SECONDS",
        panel=RUN,
    )

    def rule_choice(self) -> RuleChoice:
        """The rule that the options give, or how one is to be found."""
        from cdstats.core.labels import choose_rule

        rules = (self.changed, self.unchanged, self.ignore)
        changed, unchanged, ignore = (None if r is None else str(r) for r in rules)
        return choose_rule(changed, unchanged, ignore, self.preset)

    def band_of(self, choice: RuleChoice) -> int | None:
        """The band to read: the one given, or that of the preset."""
        return self.band or (choice.preset.band if choice.preset else None)


class JobOptions(Options, panel=RUN, needs=MASKS):
    """How many processes count masks."""

    jobs: int | None = option(
        1,
        "Worker processes; by default as many as pay.",
        command_default=None,
        none_is_value=True,
        **_NUMBER,
    )

    def taken(self, name: str, value: object) -> object:
        """The value of an option as the package uses it."""
        if name == "jobs" and isinstance(value, Integral) and value < 1:
            if value == -1:
                return os.cpu_count() or 1
            text = "expected at least 1, or -1 for all cores"
            raise UsageError(f"--jobs {value}: {text}")
        return super().taken(name, value)


class CountingOptions(JobOptions):
    """How masks are counted."""

    progress: Callable[[int, int, int], None] | None = option(
        None, "Called with files done, files in all and pixels counted so far."
    )


class CacheOptions(Options, panel=RUN, needs=MASKS):
    """What a run keeps, and when it stops."""

    cache: StrPath | None = option(
        None,
        "Keep the counts of every file in this one; read what is new or changed.",
        metavar="FILE",
    )


class StrictOptions(Options, panel=RUN):
    """When a run stops."""

    strict: bool = option(False, "Stop at the first failed file.")


class EngineOptions(Options, panel=RUN, needs=PIXELS):
    """Where work runs."""

    engine: str = option(
        "local", "Run on this machine or on a Dask cluster.", choices=("local", "dask")
    )
    scheduler: str | None = option(
        None,
        "Scheduler of the Dask cluster, such as tcp://HOST:8786.",
        metavar="ADDRESS",
    )


class ScoreOptions(Options, needs=PREDICTIONS):
    """How predictions are read and scored."""

    kind: str | Sequence[str] | Mapping[str, str] | None = option(
        (),
        "What the predictions are; found out if not given, logits never. NAME= for one "
        "model.",
        metavar="[NAME=]prob|logit|hard",
        panel=SCORING,
    )
    scale: RuleText | Sequence[RuleText] | Mapping[str, RuleText] | None = option(
        (),
        "Divide predictions by what stands for 1: 100 for per cent; NAME= for a model.",
        metavar="[NAME=]N",
        panel=CODES,
    )
    pred_changed: RuleText | Sequence[RuleText] | Mapping[str, RuleText] | None = (
        option(
            (),
            "Values of predictions that are changed, where they are codes or classes; "
            "NAME= for a model.",
            **_CODES,
        )
    )
    pred_unchanged: RuleText | Sequence[RuleText] | Mapping[str, RuleText] | None = (
        option(
            (),
            "Values of predictions that are unchanged; by default the rest.",
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
        "Valid pixels that a prediction declares as nodata or masks out: refuse, score "
        "what is stored, or leave out.",
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
        "A further loss, or all; `cdstats explain` lists them. Repeatable.",
        flags=("--loss",),
        metavar="NAME[:param=value,...]",
        **_ROWS,
    )
    threshold: float = option(
        0.5,
        "A pixel is predicted changed when p is at least this.",
        least=0,
        most=1,
        metavar="P",
        shown="0.5",
        panel=SCORING,
    )
    grid: str = option(
        "check",
        "A georeference that differs from the mask's: fail, score the pixels in "
        "common, resample, or ignore it.",
        choices=("check", "overlap", "warp", "ignore"),
        panel=GROUND,
    )
    uncovered: str | None = option(
        None,
        "Valid pixels without a prediction: fail, leave out, or count as predicted "
        "unchanged; by default fail, or ignore for a grid of overlap or warp.",
        choices=("fail", "ignore", "unchanged"),
        panel=GROUND,
    )
    overlap: str = option(
        "refuse",
        "Pixels of several crops: refuse, or take the mean, the first or the nearest "
        "score.",
        choices=("refuse", "mean", "first", "centre"),
        panel=GROUND,
    )
    edge: str = option(
        "refuse",
        "Numbered tiles of full size that reach past the mask: refuse, cut off the "
        "padding, or shift them back inside.",
        choices=("refuse", "pad", "shift"),
        panel=GROUND,
    )
    device: str = option(
        "auto",
        "auto, cpu, cuda, cuda:N or mps.",
        metavar="NAME",
        panel=RUN,
        shown="auto",
    )
    batch_size: int | str | None = option(
        None,
        "Tiles of 65,536 pixels computed together on a device.",
        metavar="auto|N",
        panel=RUN,
        shown="auto",
    )

    def batch_tiles(self) -> int | None:
        """The tiles of a batch; None for what fits."""
        text = str(self.batch_size)
        if text in ("None", "auto"):
            return None
        if not (text.isascii() and text.isdigit()) or int(text) == 0:
            raise UsageError(f"--batch-size {text}: expected auto or a number from 1")
        return int(text)


class ThresholdOptions(Options, needs=PREDICTIONS, panel=SCORING):
    """Other images, on which the threshold is chosen."""

    threshold_from: Paths | None = option(
        None,
        "Predictions of other images, a path or pattern for each model: use the "
        "threshold of best F1 on them.",
        metavar="[NAME=]PATH",
    )
    threshold_target: Paths | None = option(
        None, "The masks of these other images.", many=False, metavar="PATH"
    )
    threshold_split: str | None = option(
        None,
        "Use the threshold of best F1 on this split, such as val, which is not scored.",
        metavar="NAME",
    )

    @property
    def chosen_by(self) -> str:
        """The option that tells where thresholds are chosen; empty for none."""
        if self.threshold_from is not None:
            return "--threshold-from"
        return "" if self.threshold_split is None else "--threshold-split"

    def refuse_unfit(self, given: Collection[str]) -> None:
        """Refuse a second way to the threshold, and masks that are not named."""
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
    """How scores depend on the way in which masks are read."""

    rule_sensitivity: bool = option(
        False,
        "Add the metrics that masks binarised by >0, >=128 and ==255 would give.",
    )


class FromOptions(Options):
    """Rows of an earlier run instead of files, and what errors do in Python."""

    from_file: StrPath | None = option(
        None,
        "Read image rows that an earlier run wrote as CSV, and no pixel.",
        flags=("--from",),
        panel=SELECTION,
        metavar="FILE",
    )
    errors: str = option(
        "raise",
        "Whether a missing path, a refused encoding or an empty set raises, or what "
        "there is is returned (keep); a bad file is a row with its reason.",
        choices=("raise", "keep"),
        on_command_line=False,
    )


class PathOptions(Options, kw_only=False, needs=MASKS):
    """Masks, as the argument of a command."""

    paths: Paths | None = option(
        None,
        "Masks: files, folders, archives, globs, patterns, @list.txt, addresses or -; "
        "NAME=PATH names the dataset.",
        argument=True,
        metavar="[NAME=]PATH",
    )

    def missing(self) -> str | None:
        """What to say of masks that are not named."""
        if self.paths is None and not getattr(self, "from_file", None):
            return "no masks named: name them with PATH, or use --from FILE.csv"
        return None


class PairOptions(Options, kw_only=False, needs=PREDICTIONS):
    """Predictions and their masks."""

    pred: Paths | None = option(
        None,
        "Predictions: a file, folder, archive, glob, pattern or address; NAME= names "
        "a model. "
        "@pairs.csv names their masks, too.",
        metavar="[NAME=]PATH",
    )
    target: Paths | None = option(
        None,
        "Masks: a file, folder, archive, glob, pattern or address, or .npy.",
        many=False,
        metavar="PATH",
    )

    def missing(self) -> str | None:
        """What to say of predictions or masks that are not named."""
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
    """What `cdstats.ratio` takes."""

    announce: Callable[[Message], None] | None = option(
        None,
        "Called with each message as soon as it is certain, such as a refused split.",
    )
    each: Callable[[ImageRecord], None] | None = option(
        None,
        "Called with every image row in order, as soon as it and all before it are "
        "counted, or when the rule is found.",
    )


class WeightsOptions(
    StrictOptions, CacheOptions, CountingOptions, FromOptions, MaskOptions, PathOptions
):
    """What `cdstats.weights` takes."""

    split: str | None = option(
        None,
        "Count this split; by default train, or all where there is none.",
        metavar="NAME",
        panel=SELECTION,
    )


class AuditOptions(
    CountingOptions, FromOptions, MaskOptions, PathOptions, panel="Regions", needs=MASKS
):
    """What `cdstats.audit` takes."""

    speck: int = option(
        9, "Changed regions below this many pixels are specks.", shown="9", **_NUMBER
    )
    connectivity: int | str = option(
        "8", "Neighbours of a pixel of a region.", choices=("4", "8"), shown="8"
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
    """What `cdstats.loss` takes."""

    histograms: bool = option(
        False,
        "Count the pixels of each prediction by probability, for curves; see "
        "`LossRun.curves`.",
        on_command_line=False,
    )
    check: Callable[[Sequence[Any]], None] | None = option(
        None,
        "Called with the pairs before a pixel is read; what it raises ends the run.",
    )
    progress: Callable[[int, int], None] | None = option(
        None, "Called with images done and pixels so far."
    )


class ErrorOptions(
    StrictOptions,
    MaskOptions,
    ScoreOptions,
    PairOptions,
    hidden=("beta", "losses", "batch_size"),
):
    """What `cdstats.errors` takes."""

    folder: StrPath = option(
        Path("errors"),
        "The folder to write to.",
        flags=("--output", "-o"),
        metavar="FOLDER",
    )
    progress: Callable[[int, int], None] | None = option(
        None, "Called with images done and pixels so far."
    )


class DrawOptions(Options, panel=COMPARISON):
    """What the resamples of intervals draw together."""

    group: str | None = option(
        None,
        "Draw scenes: a word of the patterns, a column of @pairs.csv, split, target, "
        "or names of masks such as '{}_{y}_{x}.png'.",
        metavar="WORD",
    )
    repeats: str | None = option(
        None,
        "Average runs of a model, and draw runs: their word or column, such as seed.",
        metavar="WORD",
    )


class ResampleOptions(DrawOptions, panel=COMPARISON):
    """How models are compared."""

    baseline: str | None = option(
        None,
        "The model that the others are compared with.",
        metavar="NAME",
        shown="the first",
    )
    common: bool = option(False, "Compare the images that all models have.")
    curves: bool = option(
        True,
        "Average precision and best threshold; floating predictions are read again.",
        flags=("--curves/--no-curves",),
    )
    resamples: int = option(2000, "How many times the images are drawn.", metavar="N")
    confidence: float = option(
        0.95, "Share of the resamples inside an interval.", metavar="SHARE"
    )
    seed: int = option(0, "Where the random numbers start.", metavar="N")
    differences: Sequence[str] = option(
        (),
        "Show differences of this metric or loss, such as iou_pooled. Repeatable.",
        flags=("--difference",),
        metavar="NAME",
    )
    measures: Sequence[ImageMeasure | str] = option(
        BY_DEFAULT,
        "Find the images where models differ most by this. Repeatable.",
        choices=tuple(one.value for one in ImageMeasure),
        flags=("--measure",),
        shown="f1 and bce_mean",
    )


class ModelOptions(PairOptions, kw_only=False, needs=PREDICTIONS):
    """Predictions of several models, and their masks."""

    pred: Paths | None = option(
        None,
        "Predictions of a model, once for each; or one pattern with {model}, or "
        "@pairs.csv with a column model.",
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
    """What `cdstats.compare` takes."""

    progress: Callable[[int, int], None] | None = option(
        None, "Called with images done and pixels so far."
    )
