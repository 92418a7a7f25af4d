"""What workers do in tests; they import this module and nothing that tests need."""

from __future__ import annotations

import os
import signal
import sys
import time
from typing import TYPE_CHECKING, Any, ClassVar

from cdstats.core.division import WATCH, Divided
from cdstats.core.errors import DataError, UsageError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence
    from pathlib import Path

    from cdstats.io.counting import Task


def square(number: int) -> int:
    return number * number


def process_of(_: int) -> int:
    return os.getpid()


def die_at(deadly: Sequence[int], number: int) -> int:
    if number in deadly:
        os._exit(1)
    return number * number


def die_late(deadly: Sequence[int], number: int) -> int:
    if number in deadly:
        time.sleep(0.3)
        os._exit(1)
    return number * number


def fail_at(bad: int, number: int) -> int:
    if number == bad:
        raise KeyError(f"item {number}")
    return number


def refuse_at(bad: int, number: int) -> int:
    if number == bad:
        raise UsageError(f"item {number}")
    return number


def slowly(number: int) -> int:
    time.sleep(0.02)
    return number


class Told:
    """Says of each number whether it is the one that was told to come next."""

    ahead: ClassVar[Iterator[int]] = iter(())

    def expect(self, items: Iterable[int]) -> None:
        Told.ahead = iter(items)

    def __call__(self, number: int) -> int:
        return int(next(Told.ahead, None) == number)


def sleep_for(seconds: float) -> None:
    time.sleep(seconds)


def number_and_process(number: int) -> tuple[int, int]:
    time.sleep(0.01)
    return number, os.getpid()


def killed_once(folder: Path, number: int) -> tuple[int, int]:
    mark = folder / "died"
    if number == 20 and not mark.exists():
        mark.touch()
        os.kill(os.getpid(), signal.SIGKILL)
    return number_and_process(number)


def talk(number: int) -> int:
    print("a word on standard output")  # noqa: T201
    return number


def quit_at(bad: int, number: int) -> int:
    if number == bad:
        sys.exit("enough")
    return number


class UnportableError(BaseException):
    def __init__(self, first: int, second: int) -> None:
        super().__init__(f"{first} and {second}")


def exit_unportably(number: int) -> int:
    raise UnportableError(number, number)


def big(number: int) -> bytes:
    return bytes(3_000_000) + bytes([number])


def divide(whole: int) -> Any:
    return Divided([-whole, -2 * whole], sum) if whole > 0 else whole


def divide_on(whole: int) -> Any:
    return Divided([whole], sum)


def needs(size: int) -> tuple[str, int, int]:
    """What becomes of an item in a process of little memory, and where it is done."""
    from cdstats.io import limits

    limits._memory = lambda: 1000  # type: ignore[assignment]
    try:
        limits.check_memory(size, "split it")
    except DataError as error:
        return str(error), 0, 0
    return "done", os.getpid(), WATCH.get().workers


def in_small_parts(task: Task) -> Any:
    """Count as a worker whose parts are small; what a test sets does not reach it."""
    from cdstats.io import counting

    counting.DIVIDED_PIXELS = counting.PART_PIXELS = 5_000  # type: ignore[misc]
    return counting.count_or_divide(task)


def count_and_mark(folder: Path, task: Task) -> Any:
    (folder / f"{os.getpid()}.pid").touch()
    from cdstats.io.counting import count_or_divide

    return count_or_divide(task)


def die_of(deadly: Task, task: Task) -> Any:
    if task == deadly:
        os.kill(os.getpid(), signal.SIGKILL)
    return in_small_parts(task)
