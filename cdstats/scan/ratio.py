"""`cdstats.ratio`: from paths to the records of images, splits and datasets."""

from __future__ import annotations

import os
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

from cdstats.core.errors import DataError
from cdstats.core.labelling import Counted, CountedMask, label_dataset
from cdstats.core.messages import Level, Message
from cdstats.core.records import ImageRecord, SummaryRecord, summaries
from cdstats.core.rules import RuleChoice, choose_rule
from cdstats.engine.choice import open_engine
from cdstats.io.counting import Task, count_or_divide
from cdstats.io.discovery import find_masks
from cdstats.io.limits import MAX_PIXELS

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from os import PathLike

    import pandas as pd

    from cdstats.io.found import FoundSet


@dataclass(frozen=True)
class RatioResult:
    """What `ratio` found.

    Attributes:
        datasets: A row for each dataset (``split`` is ``"all"``), each followed by the
            rows of its splits.
        images: A row for each mask, failed ones included.
        messages: Notes, warnings and errors, in the order of the datasets.
        unread: Inputs that could not be read at all, such as a missing path.
    """

    datasets: tuple[SummaryRecord, ...]
    images: tuple[ImageRecord, ...]
    messages: tuple[Message, ...] = ()
    unread: int = 0

    @property
    def failed(self) -> int:
        """Masks that could not be counted."""
        return sum(row.status == "failed" for row in self.images)

    def frame(self) -> pd.DataFrame:
        """The rows of datasets and splits as a data frame."""
        from cdstats.report.frames import frame

        return frame(self.datasets, SummaryRecord)

    def image_frame(self) -> pd.DataFrame:
        """The rows of images as a data frame."""
        from cdstats.report.frames import frame

        return frame(self.images, ImageRecord)


def ratio(
    paths: str | PathLike[str] | Sequence[str | PathLike[str]],
    *,
    changed: str | None = None,
    unchanged: str | None = None,
    ignore: str | None = None,
    preset: str | None = None,
    band: int | None = None,
    split: str | None = None,
    jobs: int | None = 1,
    engine: str = "local",
    scheduler: str | None = None,
    max_pixels: int = MAX_PIXELS,
    strict: bool = False,
    progress: Callable[[int, int, int], None] | None = None,
) -> RatioResult:
    """Count the changed and unchanged pixels of every mask.

    Every pixel is read once; which stored values mean changed is decided from the
    counts: by the rule given, or found for each split from all its masks.

    Args:
        paths: A file, folder, glob or pattern, or several, each may be ``NAME=PATH``.
        changed: Values that are changed, as a rule such as ``"2"`` or ``">=128"``.
        unchanged: Values that are unchanged; goes with ``changed``.
        ignore: Values that are in no ratio.
        preset: Name of a public dataset's encoding, instead of the three.
        band: Band of each mask, counted from 1; None where there is one choice.
        split: Keep this split alone.
        jobs: Worker processes; 1 counts in this process, None starts workers when
            enough work is left.
        engine: ``"local"``, or ``"dask"`` for the workers of a Dask cluster, which
            must see the files under the same absolute paths.
        scheduler: Address of the cluster's scheduler.
        max_pixels: Pixels that a mask may declare; a larger one is refused.
        strict: Raise at the first mask that cannot be counted.
        progress: Called with files done, files in all and pixels counted so far.

    Returns:
        Records of datasets, splits and images; a mask that cannot be counted is a
        record with ``status`` ``"failed"`` and its reason.

    Raises:
        UsageError: If a rule, preset or pattern is not understood, or a cluster does
            not answer.
        DataError: If ``strict`` and a mask cannot be counted.

    Example:
        >>> result = ratio("sample_masks/BCDD")
        >>> row = result.datasets[0]
        >>> row.dataset, row.changed, row.unchanged, round(row.change_ratio, 3)
        ('BCDD', 89720, 2007432, 0.045)
    """
    choice = choose_rule(changed, unchanged, ignore, preset)
    texts = [paths] if not isinstance(paths, (list, tuple)) else paths
    with open_engine(engine, scheduler, jobs) as run:
        found = find_masks(
            [str(text) for text in texts], split=split, preset=choice.preset
        )
        band = band or (choice.preset.band if choice.preset else None)
        name = str if engine == "local" else _anywhere
        tasks = [
            Task(name(file.path), file.member, name(file.partner))
            for dataset in found
            for file in dataset.files
        ]
        function = partial(
            count_or_divide, band=band, edges=choice.edges, max_pixels=max_pixels
        )
        outcomes = run(function, tasks, lost=_lost)
        counted = _count(found, outcomes, strict, progress)
    return _gather(found, counted, choice, strict)


def _count(
    found: Sequence[FoundSet],
    outcomes: Iterator[tuple[int, list[Counted]]],
    strict: bool,
    progress: Callable[[int, int, int], None] | None,
) -> list[list[list[Counted]]]:
    """What became of each file of each dataset."""
    files = [file for dataset in found for file in dataset.files]
    results: list[list[Counted]] = [[] for _ in files]
    pixels = 0
    for done, (place, counted) in enumerate(outcomes, start=1):
        results[place] = counted
        failed = next((one for one in counted if one.mask is None), None)
        if strict and failed:
            raise DataError(f"{files[place].path}{failed.member}: {failed.reason}")
        pixels += sum(c.mask.width * c.mask.height for c in counted if c.mask)
        if progress:
            progress(done, len(files), pixels)
    ordered = iter(results)
    return [[next(ordered) for _ in dataset.files] for dataset in found]


def _anywhere(path: str) -> str:
    """A path that means the same to a worker with another working folder."""
    return os.path.abspath(path) if path and "://" not in path else path  # noqa: PTH100


def _lost(_: Task) -> list[Counted]:
    return [Counted("", None, "the process that read it died (out of memory?)")]


def _gather(
    found: Sequence[FoundSet],
    counted: Sequence[Sequence[Sequence[Counted]]],
    choice: RuleChoice,
    strict: bool,
) -> RatioResult:
    images: list[ImageRecord] = []
    messages: list[Message] = []
    names: list[str] = []
    for dataset, results in zip(found, counted, strict=True):
        messages += [Message(Level.ERROR, text) for text in dataset.problems]
        messages += [
            Message(Level.NOTE, f"{dataset.name}: {text}") for text in dataset.notes
        ]
        if not dataset.files:
            continue
        masks = [
            CountedMask(
                dataset.name, file.split, _row_name(file.name, file.member, one), one
            )
            for file, ones in zip(dataset.files, results, strict=True)
            for one in ones
        ]
        labelled = label_dataset(masks, choice)
        images += labelled.images
        messages += labelled.messages
        names.append(dataset.name)
    first = next((row for row in images if row.status == "failed"), None)
    if strict and first:
        raise DataError(f"{first.path}: {first.reason}")
    unread = sum(len(dataset.problems) for dataset in found)
    return RatioResult(summaries(names, images), tuple(images), tuple(messages), unread)


def _row_name(name: str, member: str, counted: Counted) -> str:
    """The path of a row: an image of a stack carries its number."""
    return name if member.isdigit() else f"{name}{counted.member}"
