"""The state of a file: what was counted in it, and of which file."""

from __future__ import annotations

import os
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Final, NamedTuple

from cdstats.core.counted import Counted
from cdstats.core.division import Divided
from cdstats.io.addresses import Address, is_address
from cdstats.io.copies import noting
from cdstats.io.counting import count_or_divide, expect_tasks
from cdstats.io.limits import MAX_PIXELS
from cdstats.io.sidecars import stats_beside

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from cdstats.io.counting import Edges, Task
    from cdstats.io.remote import Mark

_CHANGED: Final = "changed while it was read"


class Stamp(NamedTuple):
    """What tells a file from what it was before.

    Of an object of a store the times are numbers that stand for its version; both
    fields are -1 where the store does not tell it.

    Attributes:
        size: Bytes of the file; -1 when it is not there.
        time: Its modification time; ns, -1 when it is not there.
        partner_size: Bytes of its partner and of files beside it that decide how its
            pixels count, added up; -1 without any.
        partner_time: Their modification times, added up; ns, -1 without any.
    """

    size: int = -1
    time: int = -1
    partner_size: int = -1
    partner_time: int = -1

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
    own, beside = _stat(task.path), stats_beside(task.path)
    found = [(one.st_size, one.st_mtime_ns) for one in beside]
    if task.partner:
        found.append(_stat(task.partner))
    if not found:
        return Stamp(*own)
    size, time = map(sum, zip(*found, strict=True))
    return Stamp(*own, size, time % (1 << 63))


def ask_stamp(task: Task, mark: Mark | None = None) -> Callable[[], Stamp]:
    """Ask for the stamp of a file; a store answers while others are asked.

    Args:
        task: The file.
        mark: What is known of an object, which then is not asked for.
    """
    if mark is not None and not task.partner:
        return lambda: Stamp(*mark)
    if not is_address(task.path):
        stamp = stamp_of(task)
        return lambda: stamp
    from cdstats.io.remote import mark_of, start

    paths = [path for path in (task.path, task.partner) if path]
    asked = [start(mark_of(Address.parse(path))) for path in paths]
    return lambda: _marked([answer.result() for answer in asked])


def _marked(marks: Sequence[Mark | None]) -> Stamp:
    """The stamp of an object, and of its partner where there is one."""
    known = [number for mark in marks if mark is not None for number in mark]
    return Stamp(*known) if len(known) == 2 * len(marks) else Stamp()


def _stat(path: str) -> tuple[int, int]:
    try:
        found = os.stat(path)  # noqa: PTH116 - a million files
    except (OSError, ValueError):
        return -1, -1
    # Some file systems hold times beyond the year 2262, which need more than 64 bits.
    return found.st_size, (found.st_mtime_ns + (1 << 63)) % (1 << 64) - (1 << 63)


def read_state(
    task: Task,
    *,
    band: int | None = None,
    edges: Edges | None = None,
    max_pixels: int = MAX_PIXELS,
) -> State | Divided[Task, State]:
    """Count every mask of a file; the arguments are those of `count_or_divide`."""
    count = partial(count_or_divide, band=band, edges=edges, max_pixels=max_pixels)
    if is_address(task.path):
        with noting() as marks:
            counted = count(task)
        # A copy is of one version of its object, whatever becomes of that meanwhile.
        paths = [path for path in (task.path, task.partner) if path]
        stamp = after = _marked([marks.get(path) for path in paths])
    else:
        stamp = stamp_of(task)
        counted = count(task)
        after = stamp_of(task)
    if isinstance(counted, Divided):
        return Divided(counted.parts, partial(_join_states, join=counted.join))
    whole = stamp.is_known and None not in [one.mask for one in counted]
    return State(stamp, counted, whole and after == stamp)


@dataclass(frozen=True, slots=True)
class ReadState:
    """`read_state` with its options, for many files one after the other.

    Attributes:
        band: The band to read, counted from 1; None where there is one choice.
        edges: The numbers of a given rule; None when no rule was given.
        max_pixels: Pixels that an image may declare.
    """

    band: int | None = None
    edges: Edges | None = None
    max_pixels: int = MAX_PIXELS

    def __call__(self, task: Task) -> State | Divided[Task, State]:
        """Count every mask of a file."""
        return read_state(
            task, band=self.band, edges=self.edges, max_pixels=self.max_pixels
        )

    def expect(self, tasks: Iterable[Task]) -> None:
        """Tell what is counted next in this thread, in order."""
        expect_tasks(tasks)


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
