"""Options of reports and figures, and checks that they fit together."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cdstats.core.arguments import (
    MASKS,
    PREDICTIONS,
    Options,
    Paths,
    StrPath,
    are_lists,
    option,
    texts,
)
from cdstats.core.errors import DataError, UsageError
from cdstats.core.options import (
    NO_PAIRS,
    JobOptions,
    MaskOptions,
    ScoreOptions,
    SensitivityOptions,
    ThresholdOptions,
)
from cdstats.render.figures import FIGURES, FigureFormat

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

Bar = AbstractContextManager[Any]
"""A context of a progress bar."""


class _SourceOptions(Options, panel="Sources"):
    masks: Paths | None = option(
        None,
        "Masks to count, as in `cdstats ratio`. Repeatable.",
        metavar="[NAME=]PATH",
    )
    pred: Paths | None = option(
        None,
        "Predictions to score, as in `cdstats loss`; NAME= names a model. Repeatable.",
        metavar="[NAME=]PATH",
    )
    target: StrPath | None = option(
        None, "Masks of the predictions.", typed=PathLike, metavar="PATH"
    )
    from_files: Sequence[StrPath] = option(
        (),
        "Image rows that `cdstats ratio` or `cdstats loss` wrote as CSV, instead of "
        "files. Repeat for both.",
        flags=("--from",),
        metavar="FILE",
    )

    def reads(self) -> frozenset[str]:
        """The kinds of files to read: masks, predictions, or none for earlier rows."""
        masks = MASKS if self.masks else frozenset()
        return masks | (PREDICTIONS if self.pred else frozenset())

    def inputs(self) -> list[str]:
        """All paths that are named as sources."""
        named = [*texts(self.masks), *texts(self.pred), self.target, *self.from_files]
        return [str(one) for one in named if one is not None]


class _FileOptions(Options, kw_only=False):
    output: StrPath = option(
        Path("report.html"),
        "Output file.",
        flags=("--output", "-o"),
        metavar="FILE.html",
    )


class _FolderOptions(Options, kw_only=False):
    folder: StrPath = option(
        Path("figures"),
        "Output folder.",
        flags=("--output", "-o"),
        metavar="FOLDER",
    )


class _FigureOptions(_FolderOptions, panel="Output"):
    only: Sequence[str] = option(
        (),
        f"Write only this figure: {', '.join(FIGURES)}. Repeatable.",
        metavar="NAME",
    )
    formats: Sequence[FigureFormat | str] = option(
        tuple(FigureFormat),
        "Write only this format. Repeatable.",
        choices=tuple(one.value for one in FigureFormat),
        flags=("--format",),
    )


class ShownOptions(
    JobOptions,
    MaskOptions,
    SensitivityOptions,
    ThresholdOptions,
    ScoreOptions,
    _SourceOptions,
    hidden=("beta", "batch_size"),
):
    """The options that `cdstats.report` and `cdstats.plot` share."""

    command: str = option(
        "", "Command to name in the report as its source.", on_command_line=False
    )
    counting: Callable[[], Bar] = option(
        nullcontext,
        "Returns a context manager. Its value is called with the number of counted "
        "masks, of all masks and of pixels.",
    )
    scoring: Callable[[], Bar] = option(
        nullcontext,
        "Returns a context manager. Its value is called with the number of scored "
        "predictions and of pixels.",
    )


class ReportOptions(ShownOptions, _FileOptions):
    """The options of `cdstats.report`."""


class PlotOptions(ShownOptions, _FigureOptions, hidden=("losses", "rule_sensitivity")):
    """The options of `cdstats.plot`."""


def rows_of(path: StrPath) -> str:
    """The kind of the rows in a file: ``masks`` or ``predictions``."""
    from cdstats.io.outputs import read_text

    text = read_text(Path(path))
    head = set(text.partition("\n")[0].strip().split(","))
    if {"ce_changed_sum", "pred"} <= head:
        return "predictions"
    if {"change_ratio", "path"} <= head or text.lstrip().startswith("{"):
        return "masks"
    raise DataError(
        f"{path}: holds no image rows; the option csv of `cdstats ratio` and of "
        "`cdstats loss` writes them"
    )


def check_sources(options: ShownOptions, saved: Mapping[str, StrPath]) -> None:
    """Raise if sources are missing, conflict, or do not fit the options."""
    masks, pred, target = options.masks, options.pred, options.target
    if not options.inputs():
        raise UsageError(
            "nothing to show: name --masks, or --pred and --target, or --from FILE.csv"
        )
    if not pred if target else (pred and not are_lists(pred)):
        raise UsageError(NO_PAIRS)
    if len(saved) < len(options.from_files):
        raise UsageError(
            "--from takes one file of masks and one of predictions; found two files of "
            "the same kind"
        )
    for kind, given, named in (
        ("masks", masks, "--masks"),
        ("predictions", pred, "--pred and --target"),
    ):
        if kind in saved and given:
            raise UsageError(f"{saved[kind]} holds {kind}; omit {named}")
    if options.losses and not (pred or "predictions" in saved):
        raise UsageError("--loss needs predictions; name them with --pred")
    _refuse_unknown(options)


def _refuse_unknown(options: ShownOptions) -> None:
    """Raise for invalid options before any file is read."""
    options.rule_choice()
    pred = texts(options.pred)
    if any(path.rpartition("=")[2] == "-" for path in (*pred, str(options.target))):
        raise UsageError(
            "predictions and their masks are read twice, so their names cannot come "
            "from standard input; name a list with @list.txt"
        )
    if not pred and not options.losses:
        return
    from cdstats.score.choices import choose_predictions
    from cdstats.score.devices import choose_device
    from cdstats.score.results import choose_losses

    logits = choose_predictions(options).all_logits
    choose_losses(options.losses, options.beta, logits=logits)
    if pred:
        choose_device(options.device)
