"""Worker processes on the executor of the standard library.

A worker that dies breaks its pool. The batches that were out are then worked on again,
one item at a time in a single worker, so that only an item that kills its worker twice
is lost.
"""

from __future__ import annotations

import multiprocessing
import os
import pickle
import signal
import sys
import tempfile
import threading
import time
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager, suppress
from types import ModuleType
from typing import TYPE_CHECKING, Any, Final, Self, TypeVar

from cdstats.core.errors import DataError
from cdstats.engine.memory import keep_freed

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from cdstats.core.division import Divided
    from cdstats.engine.ledger import Ledger

Item = TypeVar("Item")
Result = TypeVar("Result")

BATCH_SECONDS: Final = 0.25
"""Work of a batch: long against the time of a message, short against the wait for the
last worker."""
MOST_ITEMS: Final = 1024
"""Items of a batch at most."""
_TRIES: Final = 2
"""How often an item may kill the worker that works on nothing else."""
_STARTS: Final = 3
"""How many workers may die one after another before they can do anything."""
_WAIT_SECONDS: Final = 1.0
_SOCKET_FOLDER_BYTES: Final = 64
"""A longer temporary folder leaves no room for the name of the fork server's socket."""


def run_in_workers(
    function: Callable[[Item], Result | Divided[Item, Result]],
    ledger: Ledger[Item, Result],
    jobs: int,
    lost: Callable[[Item], Result],
    seconds: float | None = None,
) -> Iterator[tuple[int, Result]]:
    """Work on what is left in a ledger, in worker processes.

    Args:
        function: What to do with an item; must be importable by a worker.
        ledger: Items that nobody has taken yet.
        jobs: Worker processes.
        lost: The result of an item whose worker died of it.
        seconds: What an item takes, as far as known.

    Yields:
        The place of an item and its result, in any order.

    Raises:
        DataError: If no worker can be started.
    """
    while ledger.left:
        suspects: list[int] = []
        with _Workers(function, jobs) as workers:
            out: dict[Future[_Answer], list[int]] = {}
            while not suspects:
                while ledger.left and len(out) < 2 * jobs:
                    numbers = ledger.take(_batch_size(ledger.left, jobs, seconds))
                    items = [ledger.item(number) for number in numbers]
                    out[workers.submit(items)] = numbers
                if not out:
                    break
                # With a limit, so that Ctrl-C is seen on every system.
                done, _ = wait(out, _WAIT_SECONDS, FIRST_COMPLETED)
                for future in done:
                    numbers = out.pop(future)
                    try:
                        spent, results = future.result()
                    except BrokenProcessPool:
                        suspects += numbers
                        continue
                    each = spent / len(results)
                    seconds = each if seconds is None else (seconds + each) / 2
                    for number, result in zip(numbers, results, strict=True):
                        yield from ledger.enter(number, result)
            suspects += [number for numbers in out.values() for number in numbers]
        yield from _one_by_one(function, ledger, sorted(suspects), lost)


def _batch_size(left: int, jobs: int, seconds: float | None) -> int:
    if not seconds:
        return 1
    return max(1, min(int(BATCH_SECONDS / seconds), left // (3 * jobs), MOST_ITEMS))


def _one_by_one(
    function: Callable[[Item], Any],
    ledger: Ledger[Item, Result],
    numbers: Sequence[int],
    lost: Callable[[Item], Result],
) -> Iterator[tuple[int, Result]]:
    """Work on items whose worker died, to find the one that it died of."""
    deaths = starts = at = 0
    while at < len(numbers):
        with _Workers(function, 1) as workers:
            try:
                workers.submit([]).result()
            except BrokenProcessPool:
                starts += 1
                if starts == _STARTS:
                    raise _no_workers("they die before they work") from None
                continue
            starts = 0
            with suppress(BrokenProcessPool):
                while at < len(numbers):
                    item = ledger.item(numbers[at])
                    if deaths < _TRIES:
                        deaths += 1
                        (result,) = workers.submit([item]).result()[1]
                    else:
                        result = lost(item)
                    yield from ledger.enter(numbers[at], result)
                    at, deaths = at + 1, 0


def _no_workers(reason: object) -> DataError:
    return DataError(
        f"worker processes end as they start ({reason}); "
        "count in this process with --jobs 1"
    )


_Answer = tuple[float, list[Any]]
"""Seconds and results of a batch."""


class _Workers:
    """A pool of worker processes; leaving the context kills what still works.

    Args:
        function: What to do with an item.
        jobs: Worker processes at most.
    """

    def __init__(self, function: Callable[[Any], Any], jobs: int) -> None:
        # Never a fork of this process: GDAL and threads do not survive one.
        known = multiprocessing.get_all_start_methods()
        short = len(os.fsencode(tempfile.gettempdir())) <= _SOCKET_FOLDER_BYTES
        method = "forkserver" if short and "forkserver" in known else "spawn"
        try:
            self._pool = ProcessPoolExecutor(
                jobs,
                multiprocessing.get_context(method),
                _begin,
                (function, dict(os.environ)),
            )
        except OSError as error:
            raise _no_workers(error) from None

    def submit(self, items: Sequence[Any]) -> Future[_Answer]:
        """Hand a batch to the next free worker; a broken pool breaks its future, too.

        Raises:
            DataError: If the system starts no process.
        """
        try:
            with _starting():
                return self._pool.submit(_work, items)
        except BrokenProcessPool as error:
            broken: Future[_Answer] = Future()
            broken.set_exception(error)
            return broken
        except (OSError, EOFError) as error:
            raise _no_workers(error) from None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        # `kill_workers` is public from Python 3.14 on.
        running = list((self._pool._processes or {}).values())  # noqa: SLF001
        if error[0] is not None:
            for process in running:
                process.kill()
        self._pool.shutdown(wait=error[0] is None, cancel_futures=True)


@contextmanager
def _starting() -> Iterator[None]:
    """What holds while a worker may be started, and is inherited by it.

    Ctrl-C is for the program, which ends its workers. The main module stays unknown to
    them: it may be a script without a guard, or load much. NumPy's threads for products
    of matrices would spin while they wait.
    """
    main = sys.modules["__main__"]
    threads = os.environ.get("OPENBLAS_NUM_THREADS")
    mask = None
    if hasattr(signal, "pthread_sigmask"):
        mask = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    sys.modules["__main__"] = ModuleType("__main__")
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    try:
        yield
    finally:
        sys.modules["__main__"] = main
        if threads is None:
            del os.environ["OPENBLAS_NUM_THREADS"]
        if mask is not None:
            signal.pthread_sigmask(signal.SIG_SETMASK, mask)


# What runs in a worker.

_function: Callable[[Any], Any]


def _begin(function: Callable[[Any], Any], environment: dict[str, str]) -> None:
    """Prepare a worker: its function, its output streams and its end.

    What the work prints goes to standard error, and no worker outlives the program.
    """
    global _function
    _function = function
    # A fork server keeps the environment of the program's first run.
    os.environ.update(environment)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    os.dup2(2, 1)
    keep_freed()
    threading.Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)


def _work(items: Sequence[Any]) -> _Answer:
    """Seconds and results of a batch."""
    from cdstats.engine.ledger import tell

    start = time.perf_counter()
    tell(_function, items)
    try:
        results = [_function(item) for item in items]
    except BaseException as error:  # noqa: BLE001 - raised again by the program
        raise _portable(error) from None
    return time.perf_counter() - start, results


def _portable(error: BaseException) -> BaseException:
    """The error itself where it can travel, else its text."""
    try:
        pickle.loads(pickle.dumps(error))  # noqa: S301
    except Exception:  # noqa: BLE001 - whatever an exception's own code raises
        return RuntimeError(f"{type(error).__name__}: {error}")
    return error
