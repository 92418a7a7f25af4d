"""From found files to rows on disk, in memory that does not grow with their number."""

from __future__ import annotations

from array import array
from collections import deque
from typing import TYPE_CHECKING, Final

from cdstats.core.counts import Counted, CountedMask, FirstFailure
from cdstats.core.errors import DataError, Level, Message, counted
from cdstats.core.labelling import REFUSED, DatasetLabels, split_label
from cdstats.core.records import Summaries
from cdstats.io.limits import MAX_PIXELS, check_pixels
from cdstats.scan.places import Places, Tasks
from cdstats.scan.rows import StoredImages, row_name
from cdstats.scan.states import ReadState, Stamp, ask_stamp, lost_state

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from cdstats.core.labels import RuleChoice
    from cdstats.core.records import ImageRecord
    from cdstats.engine.work import Engine
    from cdstats.io.found import FoundSet
    from cdstats.scan.cache import Cache
    from cdstats.scan.places import Placed

_STAMPS_AHEAD: Final = 64
"""Files whose stamps are requested in advance, because a store answers slowly."""
_LOST_COUNTS: Final = (
    "its counts are no longer in the cache, which is damaged or was changed by another "
    "program; remove the cache and run again"
)


class Stream:
    """One run over the masks of all datasets.

    With a rule given, the rows of a file are written as soon as it is counted.
    Otherwise its counts go to the cache, and all rows follow once the rule is found.
    """

    def __init__(
        self,
        found: Sequence[FoundSet],
        choice: RuleChoice,
        cache: Cache | None,
        *,
        strict: bool = False,
        announce: Callable[[Message], None] | None = None,
        each: Callable[[ImageRecord], None] | None = None,
    ) -> None:
        self._places = Places(found)
        self._cache = cache
        self._defers_rows = choice.rule is None
        self._first = FirstFailure(len(self._places)) if strict else None
        self._labels = [
            DatasetLabels(dataset.name, choice, dataset.origin) for dataset in found
        ]
        self._stamps = _Stamps(len(self._places) if self._defers_rows else 0)
        self._warner = _RefusalWarner(self._places, announce) if announce else None
        self._order = _InOrder(len(self._places), each) if each else None
        self.summaries = Summaries()
        self._max_pixels = MAX_PIXELS
        self.images = StoredImages(self._places)

    def count(
        self,
        choice: RuleChoice,
        band: int | None,
        run: Engine,
        progress: Callable[[int, int, int], None] | None,
        *,
        anywhere: bool = False,
        max_pixels: int = MAX_PIXELS,
    ) -> None:
        """Count every file that is not in the cache, and write all rows."""
        self._max_pixels = max_pixels
        function = ReadState(band, choice.edges, max_pixels)
        pixels = 0
        states = self._states(function, run, anywhere)
        for done, one in enumerate(states, start=1):
            self._take(*one)
            pixels += sum(c.mask.width * c.mask.height for c in one[2] if c.mask)
            if progress:
                progress(done, len(self._places), pixels)
        if self._defers_rows:
            for place in range(len(self._places)):
                placed, stamp = self._places[place], self._stamps.get(place)
                known = self._cache.get(placed.task, stamp) if self._cache else None
                if known is None:
                    raise DataError(f"{placed.file.path}: {_LOST_COUNTS}")
                known = _limited(known, self._max_pixels)
                self._add_rows(place, placed, _masks(placed, known))
        # A refused encoding is reported later, with the options that settle it.
        first = next(self.images.failed(REFUSED), None) if self._first else None
        if first:
            raise DataError(f"{first.path}: {first.reason}")

    def _states(
        self,
        function: ReadState,
        run: Engine,
        anywhere: bool,
    ) -> Iterator[tuple[int, Placed, list[Counted]]]:
        """The place and the masks of every file, starting with the cached files."""
        unknown: Sequence[int] = range(len(self._places))
        if self._cache is not None and not self._cache.is_temporary:
            unknown = array("I")
            for place, (placed, stamp) in enumerate(self._stamped()):
                known = self._cache.find(placed.task, stamp) if stamp.is_known else None
                if known is None:
                    unknown.append(place)
                    continue
                self._stamps.put(place, stamp)
                yield place, placed, _limited(known, self._max_pixels)
        tasks = Tasks(self._places, unknown, anywhere=anywhere)
        for number, state in run(function, tasks, lost=lost_state):
            place = unknown[number]
            placed = self._places[place]
            self._stamps.put(place, state.stamp)
            if self._cache is not None and (state.finished or self._defers_rows):
                self._cache.put(placed.task, state)
            yield place, placed, state.counted

    def _stamped(self) -> Iterator[tuple[Placed, Stamp]]:
        """Every file with its stamp; requests to a store run concurrently."""
        waiting: deque[tuple[Placed, Callable[[], Stamp]]] = deque()
        for place in range(len(self._places)):
            placed = self._places[place]
            waiting.append((placed, ask_stamp(placed.task, placed.file.mark)))
            if len(waiting) > _STAMPS_AHEAD:
                first, stamp = waiting.popleft()
                yield first, stamp()
        for last, stamp in waiting:
            yield last, stamp()

    def _take(self, place: int, placed: Placed, counted: Sequence[Counted]) -> None:
        labels, masks = self._labels[placed.number], _masks(placed, counted)
        for mask in masks:
            labels.see(mask, place)
        if self._warner:
            self._warner.see(placed.number, placed.file.split, len(masks), labels)
        rows = [] if self._defers_rows else self._add_rows(place, placed, masks)
        if self._first is not None:
            told = self._first.see(place, _failure(placed, counted, rows))
            if told is not None:
                raise DataError(told)

    def _add_rows(
        self, place: int, placed: Placed, masks: Sequence[CountedMask]
    ) -> list[ImageRecord]:
        labels = self._labels[placed.number]
        rows = [labels.row(mask) for mask in masks]
        for number, (mask, row) in enumerate(zip(masks, rows, strict=True)):
            self.images.put(place, number, mask, row)
            self.summaries.add(row, again=placed.file.again)
        if self._order:
            self._order.add(place, rows, self.images)
        return rows

    def messages(self, number: int) -> list[Message]:
        """Messages about the rules of a dataset."""
        return self._labels[number].messages


def _failure(
    placed: Placed, counted: Sequence[Counted], rows: Sequence[ImageRecord]
) -> str | None:
    """The first failure of a file, in reading or applying the rule, or None."""
    for one in counted:
        if one.mask is None:
            return f"{placed.file.path}{one.member}: {one.reason}"
    failed = next((row for row in rows if row.status == "failed"), None)
    return f"{failed.path}: {failed.reason}" if failed else None


def _limited(counted: list[Counted], max_pixels: int) -> list[Counted]:
    """The cached masks of a file, or the refusal that reading it would give."""
    try:
        for one in counted:
            if one.mask is not None:
                check_pixels(one.mask.width, one.mask.height, max_pixels)
    except DataError as error:
        return [Counted("", None, str(error))]
    return counted


def _masks(placed: Placed, counted: Sequence[Counted]) -> list[CountedMask]:
    """The masks of a file, each with the path of its row."""
    _, dataset, file = placed
    return [
        CountedMask(
            dataset, file.split, row_name(file.name, file.member, one.member), one
        )
        for one in counted
    ]


class _Stamps:
    """The stamp of every file in 16 bytes, and of the partners in a dictionary."""

    def __init__(self, number: int) -> None:
        self._own = array("q", bytes(16 * number))
        self._partners: dict[int, tuple[int, int]] = {}

    def put(self, place: int, stamp: Stamp) -> None:
        """Store the stamp of a file, if this run stores stamps."""
        if not self._own:
            return
        self._own[2 * place] = stamp.size
        self._own[2 * place + 1] = stamp.version
        if stamp.partner_size >= 0:
            self._partners[place] = (stamp.partner_size, stamp.partner_version)

    def get(self, place: int) -> Stamp:
        """The stamp of a file."""
        size, time = self._own[2 * place : 2 * place + 2]
        return Stamp(size, time, *self._partners.get(place, (-1, -1)))


class _RefusalWarner:
    """Warns about a split as soon as it is certain to be refused."""

    def __init__(self, places: Places, announce: Callable[[Message], None]) -> None:
        self._announce = announce
        self._done: set[tuple[int, str]] = set()
        self._left = places.splits()

    def see(self, number: int, split: str, masks: int, labels: DatasetLabels) -> None:
        """Record a counted file of a split and its number of masks."""
        key = number, split
        self._left[key] -= 1
        left = self._left[key]
        if masks != 1:
            # The remaining files may be stacks with any number of masks.
            self._done.add(key)
        if key in self._done or not left or not labels.refused_with(split, left):
            return
        self._done.add(key)
        where = split_label(labels.dataset, split)
        text = (
            f"{where}: the encoding is ambiguous ({counted(left, 'file')} left to "
            "count). Counting continues; at the end the counts are saved, and the "
            "command that resumes from them is printed. An interrupted run keeps its "
            "counts only with --cache"
        )
        self._announce(Message(Level.WARNING, text))


class _InOrder:
    """Forwards rows in the order of their files; files may finish in any order."""

    def __init__(self, number: int, each: Callable[[ImageRecord], None]) -> None:
        self._each = each
        self._there = bytearray(number)
        self._next = 0

    def add(self, place: int, rows: Sequence[ImageRecord], all_: StoredImages) -> None:
        """Add the rows of a file; forward all rows whose earlier files are done."""
        self._there[place] = 1
        if place != self._next:
            return
        for row in rows:
            self._each(row)
        start = self._next + 1
        stop = self._there.find(0, start)
        self._next = len(self._there) if stop < 0 else stop
        for row in all_.of_files(range(start, self._next)):
            self._each(row)
