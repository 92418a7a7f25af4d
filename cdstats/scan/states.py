"""The state of a file: its counts, and the version of the file that was counted."""

from __future__ import annotations

import os
import sys
import time
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Final, NamedTuple

from cdstats.core.counts import Counted
from cdstats.core.division import Divided
from cdstats.io.addresses import Address, is_address
from cdstats.io.containers import file_on_disk
from cdstats.io.copies import last_mark
from cdstats.io.counting import count_or_divide, expect_tasks
from cdstats.io.limits import MAX_PIXELS
from cdstats.io.sidecars import stats_beside

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from cdstats.io.counting import Edges, Task
    from cdstats.io.stores import Mark

_SECOND: Final = 10**9
_TICK: Final = _SECOND // 100
"""Coarsest resolution of file times, in ns, on file systems with fractions of a second.
Others store whole seconds or, as FAT does, every second one."""
_CHANGED: Final = "changed while it was read"


class Stamp(NamedTuple):
    """Size and version of a file, by which a changed file is recognised.

    A version is a hash of the modification time, the status change time (ctime) and the
    inode of a file, or of the metadata that a store reports for an object.

    Attributes:
        size: Bytes of the file; -1 if the file is missing or a store does not report
            its size.
        version: Version of the file; -1 in the same cases.
        partner_size: Total bytes of its partner file and of sidecar files that affect
            its counts; -1 if there are none.
        partner_version: Joint version of these files; -1 if there are none.
    """

    size: int = -1
    version: int = -1
    partner_size: int = -1
    partner_version: int = -1

    @property
    def is_known(self) -> bool:
        """Whether the size of the file is known."""
        return self.size >= 0


class State(NamedTuple):
    """The result of counting the masks of a file.

    Attributes:
        stamp: Size and version of the file that was read.
        counted: Its masks.
        finished: Whether the counts are valid until the file changes: every mask was
            counted, and the file did not change during the run.
    """

    stamp: Stamp
    counted: list[Counted]
    finished: bool

    @property
    def folded(self) -> bool:
        """Whether the counts are folded, so that they are valid for one rule only."""
        return any(one.mask.counts.folded for one in self.counted if one.mask)


def stamp_of(task: Task) -> Stamp:
    """The current stamp of a file."""
    if is_address(task.path):
        return ask_stamp(task)()
    return _stamp(_facts(task))


def _facts(task: Task) -> list[os.stat_result]:
    """`os.stat` of a file, its partner and its sidecars; empty if it is missing."""
    try:
        paths = [task.path, task.partner] if task.partner else [task.path]
        found = [os.stat(file_on_disk(path)) for path in paths]  # noqa: PTH116
        return [*found, *stats_beside(task.path)]
    except (OSError, ValueError):
        return []


def _stamp(facts: Sequence[os.stat_result]) -> Stamp:
    if not facts:
        return Stamp()
    own, *beside = facts
    if not beside:
        return Stamp(own.st_size, _version([own]))
    size = sum(one.st_size for one in beside)
    return Stamp(own.st_size, _version([own]), size, _version(beside))


def _version(facts: Sequence[os.stat_result]) -> int:
    numbers = [(one.st_mtime_ns, one.st_ctime_ns, one.st_ino) for one in facts]
    # Hashes of numbers are equal in all processes. The mask keeps the hash positive in
    # the 64-bit integers of SQLite.
    return hash(tuple(numbers)) & sys.maxsize


def _is_settled(facts: Sequence[os.stat_result], now: int) -> bool:
    """Whether every later change of the files will change their times.

    File times have a limited resolution, so a file written just now may be written
    again within the same tick.
    """
    # On Windows st_ctime is the creation time.
    is_changed = sys.platform != "win32"
    times = (one.st_ctime_ns if is_changed else one.st_mtime_ns for one in facts)
    return all(
        now - time > (_TICK if time % _SECOND else 2 * _SECOND) for time in times
    )


def ask_stamp(task: Task, mark: Mark | None = None) -> Callable[[], Stamp]:
    """Request the stamp of a file; requests to a store run concurrently."""
    if mark is not None and not task.partner:
        return lambda: Stamp(*mark)
    if not is_address(task.path):
        stamp = stamp_of(task)
        return lambda: stamp
    from cdstats.io.stores import mark_of, start

    paths = [path for path in (task.path, task.partner) if path]
    asked = [start(mark_of(Address.parse(path))) for path in paths]
    return lambda: _marked([answer.result() for answer in asked])


def _marked(marks: Sequence[Mark | None]) -> Stamp:
    """The stamp of an object and of its partner, if any."""
    known = [number for mark in marks if mark is not None for number in mark]
    return Stamp(*known) if len(known) == 2 * len(marks) else Stamp()


@dataclass(frozen=True, slots=True)
class ReadState:
    """Counts every mask of a file; the options are those of `count_or_divide`."""

    band: int | None = None
    edges: Edges | None = None
    max_pixels: int = MAX_PIXELS

    def expect(self, tasks: Iterable[Task]) -> None:
        """Announce the tasks that this thread counts next, in order."""
        expect_tasks(tasks)

    def __call__(self, task: Task) -> State | Divided[Task, State]:
        """Count every mask of a file."""
        count = partial(
            count_or_divide,
            task,
            band=self.band,
            edges=self.edges,
            max_pixels=self.max_pixels,
        )
        if is_address(task.path):
            counted = count()
            # The local copy is of one version of the object, even if that changes.
            paths = [path for path in (task.path, task.partner) if path]
            stamp = _marked([last_mark(path) for path in paths])
            same = stamp.is_known
        else:
            now, facts = time.time_ns(), _facts(task)
            stamp = _stamp(facts)
            counted = count()
            same = _is_settled(facts, now) and stamp_of(task) == stamp
        if isinstance(counted, Divided):
            return Divided(counted.parts, partial(_join_states, join=counted.join))
        whole = stamp.is_known and None not in [one.mask for one in counted]
        return State(stamp, counted, whole and same)


def _join_states(
    parts: Sequence[State], join: Callable[[Sequence[list[Counted]]], list[Counted]]
) -> State:
    """The state of a file from its parts, which must be of one version of the file."""
    stamp = parts[0].stamp
    counted = join([part.counted for part in parts])
    whole = all(one.mask is not None for one in counted)
    if whole and any(part.stamp != stamp for part in parts):
        return State(stamp, [Counted(counted[0].member, None, _CHANGED)], False)
    return State(stamp, counted, whole and all(part.finished for part in parts))


def lost_state(_: Task, reason: str) -> State:
    """The state of a file whose worker failed."""
    return State(Stamp(), [Counted("", None, reason)], finished=False)
