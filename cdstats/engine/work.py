"""Runs a function over many items: here, in worker processes, or on a Dask cluster.

Results are identical on every engine; each comes with the index of its item.
"""

from __future__ import annotations

import gc
import os
import pickle
import sys
import time
from collections import deque
from contextlib import contextmanager
from contextvars import copy_context
from functools import partial
from typing import (
    TYPE_CHECKING,
    Any,
    BinaryIO,
    Final,
    Generic,
    NamedTuple,
    Protocol,
    TypeVar,
)

from cdstats.core.division import WATCH, Divided, NeedsAllMemoryError, Watch
from cdstats.core.errors import FileFailedError, UsageError, one_file

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
    from concurrent.futures import Future

Item = TypeVar("Item")
Result = TypeVar("Result")


class Failed(NamedTuple):
    """Placeholder for the result of a failed item, with the reason."""

    reason: str


class Postponed:
    """Placeholder for an item that needs more memory than a worker's share."""


def attempt(
    function: Callable[[Item], Result | Divided[Item, Result]],
    item: Item,
    watch: Watch,
) -> Result | Divided[Item, Result] | Failed | Postponed:
    """Call a function for an item and catch its failure."""
    before = WATCH.set(watch)
    try:
        with one_file():
            return function(item)
    except FileFailedError as error:
        return Failed(str(error))
    except NeedsAllMemoryError:
        return Postponed()
    finally:
        WATCH.reset(before)


class Ledger(Generic[Item, Result]):
    """Items to work on, by number.

    The number of an item is its index; parts of divided items get numbers after the
    last index. Parts are taken first, so that few partial results are kept.
    """

    def __init__(
        self, items: Sequence[Item], lost: Callable[[Item, str], Result]
    ) -> None:
        self._items = items
        self._lost = lost
        self._count = len(items)
        self._next = 0
        self._parts: dict[int, Item] = {}
        self._waiting: list[int] = []
        self._postponed: list[int] = []
        self._open: dict[int, tuple[int, Divided[Item, Result], dict[int, Result]]] = {}
        self._last = self._count

    @property
    def left(self) -> int:
        """Number of items and parts not taken yet."""
        return self._count - self._next + len(self._waiting)

    def take(self, most: int) -> list[int]:
        """Take the next items or parts; returns their numbers."""
        numbers = self._waiting[:most]
        del self._waiting[: len(numbers)]
        stop = min(self._next + most - len(numbers), self._count)
        numbers += range(self._next, stop)
        self._next = stop
        return numbers

    def ahead(self) -> Iterator[Item]:
        """The items not taken yet, read lazily."""
        return (self._items[number] for number in range(self._next, self._count))

    def item(self, number: int) -> Item:
        """The item or part with a number."""
        return self._items[number] if number < self._count else self._parts[number]

    def recall(self) -> bool:
        """Make postponed items available again; returns whether there are any."""
        self._waiting += self._postponed
        self._postponed.clear()
        return bool(self._waiting)

    def enter(
        self, number: int, result: Result | Divided[Item, Result] | Failed | Postponed
    ) -> list[tuple[int, Result]]:
        """Record a result; returns each completed item as index and result."""
        if isinstance(result, Postponed):
            self._postponed.append(number)
            return []
        if isinstance(result, Divided):
            if number >= self._count or not result.parts:
                raise ValueError("a part was divided again, or into no parts")
            division = number, result, dict[int, Result]()
            for part in result.parts:
                self._parts[self._last] = part
                self._open[self._last] = division
                self._waiting.append(self._last)
                self._last += 1
            return []
        if isinstance(result, Failed):
            result = self._lost(self.item(number), result.reason)
        if number < self._count:
            return [(number, result)]
        del self._parts[number]
        place, whole, results = self._open.pop(number)
        results[number] = result
        if len(results) < len(whole.parts):
            return []
        return [(place, whole.join([results[part] for part in sorted(results)]))]


def tell(function: Callable[[Item], Any], items: Iterable[Item]) -> None:
    """Pass upcoming items, in order, to the function's method ``expect``, if any."""
    expect = getattr(function, "expect", None)
    if expect is not None:
        expect(items)


PROBE_SECONDS: Final = 0.05
"""Work done in this process, without the first item, before workers are considered."""
START_UP_SECONDS: Final = 0.5
"""Upper limit for the time to load a decoder with the first item."""
WORTH_SECONDS: Final = 0.3
"""Remaining work from which workers pay off; they take about 0.1 s to start."""


def run(
    function: Callable[[Item], Result | Divided[Item, Result]],
    items: Sequence[Item],
    *,
    jobs: int | None = 1,
    timeout: float = 0,
    lost: Callable[[Item, str], Result],
) -> Iterator[tuple[int, Result]]:
    """Apply a function to every item.

    Args:
        function: The work for one item; must be importable by a worker. It may divide
            an item into parts, which are processed like items. If it has a method
            ``expect``, the items that follow in its thread are passed to it.
        items: The items.
        jobs: Number of worker processes; 1 uses this process, None decides by the time
            of the first items.
        timeout: Time limit in seconds for one window of a file; 0 for none. A worker
            that exceeds it is killed.
        lost: Makes the result of an item that raised an unexpected exception or whose
            worker died, from the item and the reason.

    Yields:
        Index and result of each item, in any order.
    """
    ledger = Ledger(items, lost)
    seconds = None
    if jobs is None or jobs == 1 or len(items) < 2:
        seconds = yield from _run_here(function, ledger, jobs, Watch(timeout))
    if ledger.left:
        from cdstats.engine.processes import run_in_workers

        cores = os.cpu_count() or 1
        workers = min(jobs or cores, max(cores, len(items)))
        yield from run_in_workers(function, ledger, workers, seconds, timeout)


def _run_here(
    function: Callable[[Item], Result | Divided[Item, Result]],
    ledger: Ledger[Item, Result],
    jobs: int | None,
    watch: Watch,
) -> Generator[tuple[int, Result], None, float]:
    """Work in this process until nothing is left or workers pay off."""
    spent, start_up, done, each = 0.0, 0.0, 0, 0.0
    tell(function, ledger.ahead())
    try:
        while numbers := ledger.take(1):
            number = numbers[0]
            start = time.perf_counter()
            result = attempt(function, ledger.item(number), watch)
            spent += time.perf_counter() - start
            done += 1
            yield from ledger.enter(number, result)
            # The first item may include the time to load a decoder.
            start_up = start_up or min(spent, START_UP_SECONDS)
            each = (spent - start_up) / done
            if jobs == 1 or ledger.left < 2 or spent - start_up < PROBE_SECONDS:
                continue
            is_worth = each * ledger.left >= WORTH_SECONDS
            if is_worth and (jobs is not None or (os.cpu_count() or 1) > 1):
                break
    finally:
        tell(function, ())
    return each


class Engine(Protocol):
    """Applies a function to every item; see `cdstats.engine.work.run`."""

    def __call__(
        self,
        function: Callable[[Item], Result | Divided[Item, Result]],
        items: Sequence[Item],
        *,
        lost: Callable[[Item, str], Result],
    ) -> Iterator[tuple[int, Result]]:
        """Yield index and result of each item, in any order."""


@contextmanager
def open_engine(
    engine: str, scheduler: str | None, jobs: int | None, timeout: float = 0
) -> Iterator[Engine]:
    """Open the engine ``"local"`` or ``"dask"``, with its connection.

    Args:
        engine: Name of the engine.
        scheduler: Address of the Dask scheduler.
        jobs: Number of local worker processes; None to decide by the work.
        timeout: Time limit in seconds for one window of a file; 0 for none.
    """
    if engine not in ("local", "dask"):
        raise UsageError(f"engine {engine}: expected local or dask")
    if engine == "local":
        if scheduler is not None:
            raise UsageError(f"--scheduler {scheduler} needs --engine dask")
        yield partial(run, jobs=jobs, timeout=timeout)
        return
    if scheduler is None:
        raise UsageError(
            "--engine dask needs the cluster's address, such as "
            "--scheduler tcp://HOST:8786"
        )
    if jobs is not None and jobs != 1:
        raise UsageError("--jobs is for --engine local: a cluster has its own workers")
    from cdstats.engine.cluster import connected

    with connected(scheduler) as cluster:
        yield partial(cluster.run, timeout=timeout)


TRIM_BYTES: Final = 1 << 27
"""Free memory that a process keeps."""
MAP_BYTES: Final = 1 << 25
"""Larger blocks of memory are returned to the system."""
_TRIM, _MAP = "MALLOC_TRIM_THRESHOLD_", "MALLOC_MMAP_THRESHOLD_"
KEEPING_FREED: Final = {_TRIM: str(TRIM_BYTES), _MAP: str(MAP_BYTES)}
"""Environment of a new process that makes glibc keep freed memory.

Otherwise the memory of each mask is returned to the system, which clears it for the
next mask; that takes as long as counting.
"""
_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3


def keep_freed() -> None:
    """Make glibc keep freed memory in this process.

    Settings in the environment take precedence.
    """
    if _TRIM in os.environ or _MAP in os.environ:
        return
    import ctypes

    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (AttributeError, OSError, TypeError):
        return  # not glibc
    mallopt(_M_TRIM_THRESHOLD, TRIM_BYTES)
    mallopt(_M_MMAP_THRESHOLD, MAP_BYTES)


START: Final = (
    "import gc, pickle, sys; gc.disable(); "
    "sys.path[:] = pickle.load(sys.stdin.buffer); "
    "from cdstats.engine.work import serve; serve()"
)
FLUSH_SECONDS: Final = 0.1
"""Longest interval between answers, so that few results are lost with a worker."""
ALIVE_SECONDS: Final = 0.2
"""Shortest interval of the empty answers that report progress of a long item."""


def serve() -> None:
    """Process batches until the input ends.

    An answer is seconds and results, or the exception that the work raised.
    """
    source, answers = sys.stdin.buffer, os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # prints of the work go to standard error
    sys.modules.setdefault("boto3", None)  # type: ignore[arg-type] # as in the program
    try:
        function, watch = pickle.load(source)  # noqa: S301 - from the program itself
        # Modules stay until exit; garbage collection in them would take 10 ms.
        gc.freeze()
        gc.enable()
        _answer(answers, (0.0, []))
        while True:
            try:
                items, careful = pickle.load(source)  # noqa: S301
            except EOFError:
                return
            _work(function, items, careful, watch, answers)
    except BrokenPipeError:
        os._exit(0)  # the main process is gone
    except BaseException as error:  # noqa: BLE001 - raised again by the program
        _answer(answers, _portable(error))


def _work(
    function: Callable[[Any], Any],
    items: Sequence[Any],
    careful: bool,
    watch: Watch,
    out: BinaryIO,
) -> None:
    """Run a batch; answers may be partial, and if careful come after each item."""
    found: list[Any] = []
    start = told = time.perf_counter()

    def alive() -> None:
        nonlocal told
        if time.perf_counter() - told > ALIVE_SECONDS:
            told = time.perf_counter()
            _answer(out, (0.0, []))

    watch = watch._replace(alive=alive)
    tell(function, items)
    for left, item in zip(reversed(range(len(items))), items, strict=True):
        found.append(attempt(function, item, watch))
        spent = time.perf_counter() - start
        if careful or spent > FLUSH_SECONDS or not left:
            _answer(out, (spent, found))
            found, start = [], time.perf_counter()


def _answer(out: BinaryIO, content: tuple[float, list[Any]] | BaseException) -> None:
    # Serialise completely before writing, so that a failure cannot corrupt the pipe.
    out.write(pickle.dumps(content, pickle.HIGHEST_PROTOCOL))
    out.flush()


def _portable(error: BaseException) -> BaseException:
    """The error with its traceback as a note; as text if it cannot be pickled."""
    import traceback

    error.add_note("".join(traceback.format_exception(error)))
    try:
        pickle.loads(pickle.dumps(error))  # noqa: S301
    except Exception:  # noqa: BLE001 - custom exceptions may raise anything
        return RuntimeError(f"{type(error).__name__}: {error}")
    return error


_END: Final = object()


def prefetch(items: Iterable[Item], depth: int = 2) -> Iterator[Item]:
    """Read an iterable ahead in a thread, by at most `depth` items.

    An exception of the iterable is raised in place of its item.
    """
    from concurrent.futures import ThreadPoolExecutor

    context, source = copy_context(), iter(items)
    pool = ThreadPoolExecutor(1, "cdstats-prefetch")

    def ahead() -> Future[object]:
        return pool.submit(context.run, lambda: next(source, _END))

    waiting = deque(ahead() for _ in range(depth))
    try:
        while (item := waiting.popleft().result()) is not _END:
            waiting.append(ahead())
            yield item  # type: ignore[misc]
    finally:
        pool.shutdown(cancel_futures=True)
