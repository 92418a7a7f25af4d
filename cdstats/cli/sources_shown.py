"""What reports and figures are read from: the options, and whether they fit."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, TypedDict

from cdstats.core.errors import DataError, UsageError
from cdstats.core.rules import choose_rule
from cdstats.io.limits import MAX_PIXELS

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from os import PathLike

    StrPath = str | PathLike[str]


class SourceOptions(TypedDict, total=False):
    """What `cdstats.report` and `cdstats.plot` read, and how.

    Attributes:
        masks: Masks, each may be ``NAME=PATH``.
        pred: Predictions, each may be ``NAME=PATH``.
        target: The masks of the predictions.
        from_files: Image rows that ``cdstats ratio --csv`` or ``cdstats loss --csv``
            wrote, instead of masks or of predictions.
        losses: Further losses, as for `cdstats.loss`.
        kind: What the predictions are, as for `cdstats.loss`.
        threshold: A pixel is predicted changed when p is at least this; None for 0.5.
        device: Where predictions are scored; None for the best there is.
        changed: Values of masks that are changed; with the next three as for
            `cdstats.ratio`.
        unchanged: Values that are unchanged.
        ignore: Values that are in no number.
        preset: Name of a public dataset's encoding.
        band: Band of the masks, counted from 1.
        split: Keep this split alone.
        max_pixels: Pixels that a mask or prediction may declare; None for the usual
            limit.
        jobs: Worker processes that look at masks.
        command: The command to name as the source.
        quiet: Whether no progress is shown.
    """

    masks: Sequence[StrPath]
    pred: Sequence[StrPath]
    target: StrPath | None
    from_files: Sequence[StrPath]
    losses: Sequence[str]
    kind: str | None
    threshold: float | None
    device: str | None
    changed: str | None
    unchanged: str | None
    ignore: str | None
    preset: str | None
    band: int | None
    split: str | None
    max_pixels: int | None
    jobs: int | None
    command: str
    quiet: bool


class RuleOptions(TypedDict):
    """The options that decide how masks are read."""

    changed: str | None
    unchanged: str | None
    ignore: str | None
    preset: str | None
    band: int | None
    split: str | None
    max_pixels: int


def rule_options(options: SourceOptions) -> RuleOptions:
    """The options that decide how masks are read; the usual ones where not given."""
    return {
        "changed": options.get("changed"),
        "unchanged": options.get("unchanged"),
        "ignore": options.get("ignore"),
        "preset": options.get("preset"),
        "band": options.get("band"),
        "split": options.get("split"),
        "max_pixels": options.get("max_pixels") or MAX_PIXELS,
    }


def rows_of(path: StrPath) -> str:
    """What the rows of a file are about: ``masks`` or ``predictions``.

    Raises:
        DataError: If they are neither.
    """
    from cdstats.io.rows import read_text

    text = read_text(Path(path))
    head = set(text.partition("\n")[0].strip().split(","))
    if {"ce_changed_sum", "pred"} <= head:
        return "predictions"
    if {"change_ratio", "path"} <= head or text.lstrip().startswith("{"):
        return "masks"
    raise DataError(
        f"{path}: holds no image rows; expected a file of `cdstats ratio --csv` or of "
        "`cdstats loss --csv`"
    )


def check_sources(options: SourceOptions, saved: Mapping[str, StrPath]) -> None:
    """Refuse sources that are missing, too many, or not fit for the options.

    Args:
        options: The options.
        saved: The files of rows, by what they hold.

    Raises:
        UsageError: If something does not fit.
    """
    masks, pred = options.get("masks"), options.get("pred")
    target, files = options.get("target"), options.get("from_files", ())
    if not (masks or pred or target or files):
        raise UsageError(
            "nothing to show: name --masks, or --pred and --target, or --from FILE.csv"
        )
    if bool(pred) != bool(target):
        raise UsageError("name predictions with --pred and their masks with --target")
    if len(saved) < len(files):
        raise UsageError(
            "--from takes one file of masks and one of predictions; these are alike"
        )
    for kind, given, named in (
        ("masks", masks, "--masks"),
        ("predictions", pred, "--pred and --target"),
    ):
        if kind in saved and given:
            raise UsageError(f"{saved[kind]} holds {kind}; leave out {named}")
    if options.get("losses") and not (pred or "predictions" in saved):
        raise UsageError("--loss goes with predictions; name them with --pred")
    _refuse_unused(options)
    _refuse_unknown(options)


def _refuse_unknown(options: SourceOptions) -> None:
    """Refuse options that mean nothing, before a file is read."""
    rule = rule_options(options)
    choose_rule(rule["changed"], rule["unchanged"], rule["ignore"], rule["preset"])
    pred, kind = options.get("pred") or (), options.get("kind")
    target = options.get("target")
    if any(str(path).rpartition("=")[2] == "-" for path in (*pred, target or "")):
        raise UsageError(
            "predictions and their masks are read twice, so their names cannot come "
            "from standard input; name a list with @list.txt"
        )
    if not pred and not options.get("losses"):
        return
    from cdstats.score.devices import choose_device
    from cdstats.score.interpret import Kind
    from cdstats.score.results import choose_losses

    if kind is not None and kind not in {one.value for one in Kind}:
        raise UsageError(f"--kind {kind}: expected prob, logit or hard")
    choose_losses(options.get("losses", ()), "image", logits=kind == Kind.LOGIT.value)
    if pred:
        choose_device(options.get("device") or "auto")


def _refuse_unused(options: SourceOptions) -> None:
    """Refuse options that nothing here would follow."""
    masks, pred = options.get("masks"), options.get("pred")
    unused = {
        "--masks or --pred": ()
        if masks or pred
        else tuple(RuleOptions.__annotations__),
        "--masks": () if masks else ("jobs",),
        "--pred": () if pred else ("kind", "threshold", "device"),
    }
    for needed, names in unused.items():
        unfit = [name for name in names if options.get(name) is not None]
        given = [f"--{name.replace('_', '-')}" for name in unfit]
        if given:
            raise UsageError(
                f"nothing is read here that {', '.join(given)} is about: it goes with "
                f"{needed}; leave it out"
            )
