"""The state of a file: what was counted in it, and of which file."""

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
"""The tick in which times of files advance, at most; ns. Some file systems keep whole
seconds, of which every second one."""
_CHANGED: Final = "changed while it was read"


class Stamp(NamedTuple):
    """What tells a file from what it was before.

    A version is a number made of the modification time, the time of the last change of
    its facts (ctime) and the inode of a file, or of what a store tells of an object.

    Attributes:
        size: Bytes of the file; -1 when it is not there, or a store does not tell.
        version: Its version; -1 likewise.
        partner_size: Bytes of its partner and of files beside it that decide how its
            pixels count, added up; -1 without any.
        partner_version: The version of them all; -1 without any.
    """

    size: int = -1
    version: int = -1
    partner_size: int = -1
    partner_version: int = -1

    @property
    def is_known(self) -> bool:
        """Whether the file was there."""
        return self.size >= 0


class State(NamedTuple):
    """What became of the masks of a file.

    Attributes:
        stamp: The file that was read.
        counted: Its masks.
        finished: Whether it holds for as long as the file is the same: every mask was
            counted, and the file did not change meanwhile.
    """

    stamp: Stamp
    counted: list[Counted]
    finished: bool

    @property
    def folded(self) -> bool:
        """Whether it answers the rule of its run alone."""
        return any(one.mask.counts.folded for one in self.counted if one.mask)


def stamp_of(task: Task) -> Stamp:
    """The stamp of a file as it is now."""
    if is_address(task.path):
        return ask_stamp(task)()
    return _stamp(_facts(task))


def _facts(task: Task) -> list[os.stat_result]:
    """The facts of a file, then of its partner and those beside; none if it is gone."""
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
    # Of numbers, a hash is the same in each process; SQLite keeps 63 bits.
    return hash(tuple(numbers)) & sys.maxsize


def _is_settled(facts: Sequence[os.stat_result], now: int) -> bool:
    """Whether a change of a file from now on gives it another time.

    Times of files advance in ticks: what was written in this one may be written again
    without a trace.
    """
    # On Windows the other time is that of creation.
    is_changed = sys.platform != "win32"
    times = (one.st_ctime_ns if is_changed else one.st_mtime_ns for one in facts)
    return all(
        now - time > (_TICK if time % _SECOND else 2 * _SECOND) for time in times
    )


def ask_stamp(task: Task, mark: Mark | None = None) -> Callable[[], Stamp]:
    """Ask for the stamp of a file; a store answers while others are asked."""
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
    """The stamp of an object, and of its partner where there is one."""
    known = [number for mark in marks if mark is not None for number in mark]
    return Stamp(*known) if len(known) == 2 * len(marks) else Stamp()


@dataclass(frozen=True, slots=True)
class ReadState:
    """Counts every mask of a file; the options are those of `count_or_divide`."""

    band: int | None = None
    edges: Edges | None = None
    max_pixels: int = MAX_PIXELS

    def expect(self, tasks: Iterable[Task]) -> None:
        """Tell what is counted next in this thread, in order."""
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
            # A copy is of one version of its object, whatever becomes of that.
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
    """The state of a file, from those of its parts; all must be of one file."""
    stamp = parts[0].stamp
    counted = join([part.counted for part in parts])
    whole = all(one.mask is not None for one in counted)
    if whole and any(part.stamp != stamp for part in parts):
        return State(stamp, [Counted(counted[0].member, None, _CHANGED)], False)
    return State(stamp, counted, whole and all(part.finished for part in parts))


def lost_state(_: Task, reason: str) -> State:
    """The state of a file that could not be read to its end."""
    return State(Stamp(), [Counted("", None, reason)], finished=False)
