"""`cdstats.ratio`: from paths to the records of images, splits and datasets."""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Final

from cdstats.core.arguments import takes, texts
from cdstats.core.errors import Level, Message
from cdstats.core.labelling import REFUSED
from cdstats.core.options import RatioOptions
from cdstats.core.records import ALL, ImageRecord, SummaryRecord
from cdstats.engine.work import open_engine
from cdstats.io.discovery import find_masks, split_name
from cdstats.io.file_kinds import paths_of_masks
from cdstats.io.held import as_files
from cdstats.io.outputs import writing
from cdstats.render.table import Displayed, Table
from cdstats.scan.cache import Cache
from cdstats.scan.rows import StoredImages, failures
from cdstats.scan.stream import Stream

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    import pandas as pd

    from cdstats.io.found import FoundSet

_MOST_SORTED: Final = 100_000
"""Largest dataset, in files, for which a pattern of the masks is searched."""


@dataclass(frozen=True, repr=False)
class RatioResult(Displayed):
    """The result of `cdstats.ratio`.

    Attributes:
        datasets: A row for each dataset (``split`` is ``"all"``), each followed by the
            rows of its splits.
        images: A row for each mask, failed masks included; a lazy, disk-backed
            sequence, deleted with the result.
        messages: Notes, warnings and errors, in the order of the datasets.
        unread: Number of inputs that could not be read at all, such as missing paths.
        counts: A temporary cache of the counts if a split was refused and no cache was
            named, otherwise None.
    """

    datasets: tuple[SummaryRecord, ...]
    images: Sequence[ImageRecord]
    messages: tuple[Message, ...] = ()
    unread: int = 0
    counts: Cache | None = field(default=None, repr=False, compare=False)

    @property
    def failed(self) -> int:
        """Number of masks that could not be counted."""
        failed = {row.dataset: row.failed for row in self.datasets if row.split == ALL}
        return sum(failed.values())

    def failures(self, leave_out: str = "") -> Iterator[ImageRecord]:
        """The rows of masks that could not be counted.

        Args:
            leave_out: Skip rows whose reason starts with this text.
        """
        return failures(self.images, leave_out)

    def sorted_images(self, column: str) -> Iterator[ImageRecord]:
        """The rows of masks in descending order; masks without a value come last.

        Args:
            column: ``"change_ratio"`` or ``"changed"``.
        """
        if isinstance(self.images, StoredImages):
            return self.images.by_most(column)

        def most_first(row: ImageRecord) -> tuple[bool, float]:
            value = getattr(row, column)
            return (True, 0) if value is None else (False, -value)

        return iter(sorted(self.images, key=most_first))

    def table(self) -> Table:
        """The rows of datasets and splits, as shown by the command."""
        from cdstats.render.masks import summary_columns

        return Table.of(SummaryRecord, self.datasets, summary_columns(self.datasets))

    def frame(self) -> pd.DataFrame:
        """The rows of datasets and splits as a data frame."""
        from cdstats.render.writers import frame

        return frame(self.datasets, SummaryRecord)

    def image_frame(self) -> pd.DataFrame:
        """The rows of images as a data frame."""
        from cdstats.render.writers import frame

        return frame(self.images, ImageRecord)


@takes(RatioOptions, as_files)
def ratio(options: RatioOptions) -> RatioResult:
    """Count the changed and unchanged pixels of every mask.

    Every pixel is read once. The rule decides which stored values mean changed; if no
    rule is given, it is found for each split from the counts of all its masks.

    ``paths`` may also be masks in memory: an array or a tensor ``(H, W)``,
    ``(N, H, W)`` or ``(N, 1, H, W)``, one mask of colours ``(H, W, 3)``; a list, a
    generator or a dataset of masks, PIL images or ``{"target": mask}``; or a mapping of
    names to masks. They are written to a temporary folder while the function runs,
    tensors of a CUDA device are counted there.

    ``jobs=1`` counts in this process, None starts workers if enough work is left, and
    -1 uses all cores. The workers of a Dask cluster must see the files under the same
    absolute paths. With an existing ``cache``, only new or changed files are read, also
    if the rule differs. With ``strict``, the first mask in file order that cannot be
    counted raises.

    Returns:
        Records of datasets, splits and images; a mask that cannot be counted is a
        record with ``status`` ``"failed"`` and its reason.

    Raises:
        UsageError: If a rule, preset or pattern is invalid, ``cache`` is not a cdstats
            cache, or a cluster does not answer.
        DataError: If ``strict`` and a mask cannot be counted, or the cache cannot be
            used.

    Example:
        >>> result = ratio("sample_masks/BCDD")
        >>> row = result.datasets[0]
        >>> row.dataset, row.changed, row.unchanged, round(row.change_ratio, 3)
        ('BCDD', 89720, 2007432, 0.045)
    """
    return count_masks(options)


def count_masks(options: RatioOptions) -> RatioResult:
    """The result of `ratio` for an options record."""
    if options.from_file is not None:
        from cdstats.scan.saved import ratio_from

        return ratio_from(Path(options.from_file))
    choice = options.rule_choice()
    band = options.band_of(choice)
    engine = open_engine(
        options.engine, options.scheduler, options.jobs, options.timeout
    )
    with writing(cache=options.cache), engine as run, ExitStack() as stack:
        paths = texts(options.paths)
        found = find_masks(
            paths, split=options.split, preset=choice.preset, known=choice.takes_presets
        )
        counts = None
        if options.cache is not None or choice.rule is None:
            cache = Path(options.cache) if options.cache else None
            counts = Cache(cache, band, choice.edges)
            stack.callback(counts.close)
        stream = Stream(
            found,
            choice,
            counts,
            strict=options.strict,
            announce=options.announce,
            each=options.each,
        )
        stream.count(
            choice,
            band,
            run,
            options.progress,
            anywhere=options.engine != "local",
            max_pixels=options.max_pixels,
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
    """Messages of each dataset: about finding its files, then about reading them."""
    for number, dataset in enumerate(found):
        for text in dataset.problems:
            yield Message(Level.ERROR, text)
        for text in dataset.notes:
            yield Message(Level.NOTE, f"{dataset.name}: {text}")
        for one in stream.messages(number):
            yield replace(one, sources=dataset.sources) if one.ways else one
        hint = _masks_alone(dataset, stream)
        if hint:
            yield Message(Level.NOTE, f"{dataset.name}: {hint}")


def _masks_alone(dataset: FoundSet, stream: Stream) -> str:
    """Advice to read only the masks of a folder that also contains images."""
    if len(dataset.sources) != 1 or len(dataset.files) > _MOST_SORTED:
        return ""
    folder = Path(split_name(dataset.sources[0])[1])
    failed = {
        row.path
        for row in stream.images.failed(REFUSED)
        if row.dataset == dataset.name and "not a mask" in row.reason
    }
    if not failed or not folder.is_dir():
        return ""
    masks = [file.name for file in dataset.files if file.name not in failed]
    ways = paths_of_masks(folder, masks, sorted(failed))
    return f"images among the masks; to read only the masks: {ways}" if ways else ""
