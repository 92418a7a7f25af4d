"""`cdstats.ratio`: from paths to the records of images, splits and datasets."""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

from cdstats.core.messages import Level, Message
from cdstats.core.records import ALL, ImageRecord, SummaryRecord
from cdstats.core.rules import choose_rule
from cdstats.engine.choice import EngineName, open_engine
from cdstats.io.discovery import find_masks
from cdstats.io.limits import MAX_PIXELS
from cdstats.scan.cache import Cache
from cdstats.scan.rows import StoredImages
from cdstats.scan.stream import Stream

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
        images: A row for each mask, failed ones included. They lie on disk until the
            result is dropped.
        messages: Notes, warnings and errors, in the order of the datasets.
        unread: Inputs that could not be read at all, such as a missing path.
        counts: The counts themselves, where a split was refused and no cache has them.
    """

    datasets: tuple[SummaryRecord, ...]
    images: Sequence[ImageRecord]
    messages: tuple[Message, ...] = ()
    unread: int = 0
    counts: Cache | None = field(default=None, repr=False, compare=False)

    @property
    def failed(self) -> int:
        """Masks that could not be counted."""
        failed = {row.dataset: row.failed for row in self.datasets if row.split == ALL}
        return sum(failed.values())

    def failures(self, leave_out: str = "") -> Iterator[ImageRecord]:
        """The rows of masks that could not be counted.

        Args:
            leave_out: How the reason of a row begins that is left out.
        """
        if isinstance(self.images, StoredImages):
            return self.images.failed(leave_out)
        return (
            row
            for row in self.images
            if row.status == "failed"
            and not (leave_out and row.reason.startswith(leave_out))
        )

    def sorted_images(self, column: str) -> Iterator[ImageRecord]:
        """The rows of masks by a column, the highest first, those without it last.

        Args:
            column: ``"change_ratio"`` or ``"changed"``.
        """
        if isinstance(self.images, StoredImages):
            return self.images.by_most(column)
        there = [row for row in self.images if getattr(row, column) is not None]
        rest = [row for row in self.images if getattr(row, column) is None]
        return iter(sorted(there, key=lambda row: -getattr(row, column)) + rest)

    def frame(self) -> pd.DataFrame:
        """The rows of datasets and splits as a data frame."""
        from cdstats.render.writers import frame

        return frame(self.datasets, SummaryRecord)

    def image_frame(self) -> pd.DataFrame:
        """The rows of images as a data frame."""
        from cdstats.render.writers import frame

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
    cache: str | PathLike[str] | None = None,
    progress: Callable[[int, int, int], None] | None = None,
    announce: Callable[[Message], None] | None = None,
    each: Callable[[ImageRecord], None] | None = None,
) -> RatioResult:
    """Count the changed and unchanged pixels of every mask.

    Every pixel is read once; which stored values mean changed is decided from the
    counts: by the rule given, or found for each split from all its masks.

    Args:
        paths: A file, folder, glob, pattern or address, or several, each may be
            ``NAME=PATH``.
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
        strict: Raise at the first mask that cannot be counted, the same one whatever
            ``jobs`` are; a refused encoding is told in ``messages``, with its rows.
        cache: A file that keeps the counts of every file that is finished. A run that
            finds it reads only what is new or changed, by any rule; made when it is
            not there.
        progress: Called with files done, files in all and pixels counted so far.
        announce: Called with what can be told before all is counted: that a split is
            certain to be refused.
        each: Called with every image row in order: with a rule, as soon as it and all
            before it are counted, otherwise when the rule is found.

    Returns:
        Records of datasets, splits and images; a mask that cannot be counted is a
        record with ``status`` ``"failed"`` and its reason.

    Raises:
        UsageError: If a rule, preset or pattern is not understood, the cache is another
            file, or a cluster does not answer.
        DataError: If ``strict`` and a mask cannot be counted, or the cache cannot be
            used.

    Example:
        >>> result = ratio("sample_masks/BCDD")
        >>> row = result.datasets[0]
        >>> row.dataset, row.changed, row.unchanged, round(row.change_ratio, 3)
        ('BCDD', 89720, 2007432, 0.045)
    """
    choice = choose_rule(changed, unchanged, ignore, preset)
    texts = [paths] if not isinstance(paths, (list, tuple)) else paths
    band = band or (choice.preset.band if choice.preset else None)
    with open_engine(engine, scheduler, jobs) as run, ExitStack() as stack:
        counts = None
        if cache is not None or choice.rule is None:
            counts = Cache(Path(cache) if cache else None, band, choice.edges)
            stack.callback(counts.close)
        found = find_masks(
            [str(text) for text in texts], split=split, preset=choice.preset
        )
        stream = Stream(
            found, choice, counts, strict=strict, announce=announce, each=each
        )
        is_local = engine == EngineName.LOCAL.value
        stream.count(
            choice, band, run, progress, anywhere=not is_local, max_pixels=max_pixels
        )
        messages = tuple(_messages(found, stream))
        if counts and counts.is_temporary and any(one.ways for one in messages):
            stack.pop_all()
        else:
            counts = None
    names = [dataset.name for dataset in found if dataset.files]
    unread = sum(len(dataset.problems) for dataset in found)
    rows = stream.summaries.records(names)
    return RatioResult(rows, stream.images, messages, unread, counts)


def _messages(found: Sequence[FoundSet], stream: Stream) -> Iterator[Message]:
    """What to tell, dataset by dataset: how it was found, then how it was read."""
    for number, dataset in enumerate(found):
        for text in dataset.problems:
            yield Message(Level.ERROR, text)
        for text in dataset.notes:
            yield Message(Level.NOTE, f"{dataset.name}: {text}")
        for one in stream.messages(number):
            yield replace(one, sources=dataset.sources) if one.ways else one
