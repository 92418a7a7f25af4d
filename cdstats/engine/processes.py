"""Worker processes that run batches; a dead worker is replaced."""

from __future__ import annotations

import math
import os
import pickle
import signal
import subprocess
import sys
import time
from collections import deque
from concurrent.futures import FIRST_COMPLETED, ThreadPoolExecutor, wait
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, Self, TypeVar

from cdstats.core.division import Watch
from cdstats.core.errors import DIED, DataError
from cdstats.engine.work import KEEPING_FREED, START, Failed

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from concurrent.futures import Future

    from cdstats.core.division import Divided
    from cdstats.engine.work import Ledger

Item = TypeVar("Item")
Result = TypeVar("Result")

BATCH_SECONDS: Final = 0.25
"""Target duration of a batch: long compared with sending it, but short enough that no
worker finishes much later than the others."""
MOST_ITEMS: Final = 1024
"""Most items per batch."""
_STARTS: Final = 3
"""Number of consecutive workers that may die at start."""
_START_SECONDS: Final = 60.0
"""Time for a worker to start and load its function, in addition to the time limit."""
_SETTINGS: Final = {**KEEPING_FREED, "OPENBLAS_NUM_THREADS": "1"}
"""Environment of a worker. BLAS threads would busy-wait, and starting them takes as
long as loading NumPy."""


def run_in_workers(
    function: Callable[[Item], Result | Divided[Item, Result]],
    ledger: Ledger[Item, Result],
    jobs: int,
    seconds: float | None = None,
    timeout: float = 0,
) -> Iterator[tuple[int, Result]]:
    """Run the remaining items of a ledger in worker processes; see `work.run`.

    If a worker dies, a new worker repeats its batch and reports after each item, so
    that only the item that kills it is lost. Items that need more memory than a
    worker's share run last, in a single worker.

    Args:
        function: The work for one item.
        ledger: The remaining items.
        jobs: Number of worker processes.
        seconds: Time per item if known.
        timeout: Time limit in seconds for one window of a file; 0 for none.

    Raises:
        DataError: If no worker starts.
    """
    for workers in (jobs, 1):
        with _Pool(function, workers, timeout) as pool:
            yield from _dispatch(pool, ledger, seconds)
        if not ledger.recall():
            break


@dataclass
class _Batch:
    """Items that are sent to a worker together.

    Attributes:
        numbers: Item numbers.
        careful: Whether to use a new worker and send each result immediately.
        blamed: The item at which the last careful worker died.
    """

    numbers: list[int]
    careful: bool = False
    blamed: int | None = None


def _dispatch(
    pool: _Pool, ledger: Ledger[Item, Result], seconds: float | None
) -> Iterator[tuple[int, Result]]:
    """Keep one batch running and one queued per worker, and yield results."""
    out: set[Future[tuple[_Batch, list[Any], float, str]]] = set()
    again: deque[_Batch] = deque()
    failed_starts = 0
    while True:
        while len(out) < 2 * pool.jobs and (again or ledger.left):
            if again:
                batch = again.popleft()
            else:
                by_time = int(BATCH_SECONDS / seconds) if seconds else 1
                share = ledger.left // (3 * pool.jobs)
                batch = _Batch(ledger.take(max(1, min(by_time, share, MOST_ITEMS))))
            out.add(pool.give(batch, [ledger.item(one) for one in batch.numbers]))
        if not out:
            return
        # The timeout lets Ctrl-C through on every system.
        done, out = wait(out, 1, FIRST_COMPLETED)
        pool.end_slow()
        for future in done:
            try:
                batch, results, spent, reason = future.result()
            except _WorkerStartError as error:
                failed_starts += 1
                if failed_starts >= _STARTS:
                    raise DataError(
                        f"worker processes fail to start (status {error.status}); "
                        "count in this process with --jobs 1"
                    ) from None
                again.append(error.batch)
                continue
            if results:
                failed_starts, each = 0, spent / len(results)
                seconds = each if seconds is None else (seconds + each) / 2
            for number, result in zip(batch.numbers, results, strict=False):
                yield from ledger.enter(number, result)
            if left := batch.numbers[len(results) :]:
                # The worker died: repeat until the item that kills it is known.
                first, known = left[0], batch.careful or len(left) == 1
                if known and (reason != DIED or batch.blamed == first):
                    yield from ledger.enter(first, Failed(reason))
                    if left[1:]:
                        again.append(_Batch(left[1:], careful=True))
                else:
                    again.append(_Batch(left, True, first if known else None))


class _WorkerStartError(Exception):
    """A worker could not be started, or died before its first batch."""

    def __init__(self, batch: _Batch, status: int) -> None:
        super().__init__(batch, status)
        self.batch, self.status = batch, status


class _WorkerDiedError(Exception):
    """The worker process has died."""


class _Pool:
    """Worker processes for batches, with one thread per worker.

    A worker starts with its first batch; leaving the context ends all workers.
    """

    def __init__(
        self, function: Callable[[Any], Any], jobs: int, timeout: float
    ) -> None:
        watch = Watch(timeout, workers=jobs)
        self.jobs = jobs
        self._first = pickle.dumps(sys.path) + pickle.dumps((function, watch))
        self._timeout, self._too_slow = timeout, watch.reason
        self._workers: set[_Worker] = set()
        self._idle: list[_Worker] = []
        self._stopped = False
        self._threads = ThreadPoolExecutor(jobs, "cdstats-worker", _ignore_interrupts)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        # After an exception, running work is discarded.
        self._stopped = kind is not None
        for worker in list(self._workers) if self._stopped else ():
            worker.process.kill()
        self._threads.shutdown(cancel_futures=True)
        for worker in list(self._workers):
            worker.end()

    def give(
        self, batch: _Batch, items: Sequence[Any]
    ) -> Future[tuple[_Batch, list[Any], float, str]]:
        """Queue a batch for the next free worker.

        Returns:
            The batch, the results of its first items, the seconds they took, and the
            reason if the worker died before the end.
        """
        return self._threads.submit(self._work, batch, items)

    def _work(
        self, batch: _Batch, items: Sequence[Any]
    ) -> tuple[_Batch, list[Any], float, str]:
        worker = self._idle.pop() if self._idle else None
        if batch.careful and worker is not None:
            self._remove(worker)
            worker = None
        worker = worker or self._start_worker(batch)
        results, seconds = list[Any](), 0.0
        try:
            worker.since = time.monotonic()
            worker.send(pickle.dumps((items, batch.careful)))
            while len(results) < len(items):
                spent, some = worker.receive()
                results += some
                seconds += spent
        except BaseException as error:
            worker.process.kill()
            self._remove(worker)
            if not isinstance(error, _WorkerDiedError):
                raise
            return batch, results, seconds, self._too_slow if worker.is_slow else DIED
        worker.since = math.inf
        self._idle.append(worker)
        return batch, results, seconds, ""

    def end_slow(self) -> None:
        """Kill workers that have not answered within the time limit."""
        late = time.monotonic() - self._timeout
        for worker in list(self._workers) if self._timeout else ():
            if worker.since < late:
                worker.is_slow = True
                worker.process.kill()

    def _start_worker(self, batch: _Batch) -> _Worker:
        try:
            worker = _Worker()
        except OSError as error:
            raise _WorkerStartError(batch, error.errno or 1) from None
        self._workers.add(worker)
        if self._stopped:
            worker.process.kill()
        try:
            worker.since = time.monotonic() + _START_SECONDS
            worker.send(self._first)
            worker.receive()
        except BaseException as error:
            worker.process.kill()
            self._remove(worker)
            if not isinstance(error, _WorkerDiedError):
                raise
            raise _WorkerStartError(batch, worker.process.returncode) from None
        return worker

    def _remove(self, worker: _Worker) -> None:
        worker.end()
        self._workers.discard(worker)


def _ignore_interrupts() -> None:
    """Block Ctrl-C in workers; the main process ends them."""
    if hasattr(signal, "pthread_sigmask"):
        signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})


class _Worker:
    """A worker process with its pipes.

    Attributes:
        since: Time of its last answer or batch; infinite when idle.
        is_slow: Whether it was killed because of the time limit.
    """

    def __init__(self) -> None:
        # A new interpreter, because GDAL and threads do not survive a fork.
        self.process = subprocess.Popen(  # noqa: S603 - our own interpreter
            [sys.executable, "-c", START],
            env=_SETTINGS | os.environ,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            # Keep Ctrl-C of a Windows console away from workers.
            creationflags=getattr(subprocess, "CREATE_NEW_PROCESS_GROUP", 0),
        )
        self.since = math.inf
        self.is_slow = False

    def send(self, data: bytes) -> None:
        try:
            self.process.stdin.write(data)  # type: ignore[union-attr]
            self.process.stdin.flush()  # type: ignore[union-attr]
        except OSError:
            raise _WorkerDiedError from None

    def receive(self) -> tuple[float, list[Any]]:
        """The next seconds and results; exceptions of the work are raised."""
        try:
            answer = pickle.load(self.process.stdout)  # type: ignore[arg-type] # noqa: S301
        except (EOFError, pickle.UnpicklingError):
            raise _WorkerDiedError from None  # it died before the answer was complete
        self.since = time.monotonic()
        if isinstance(answer, BaseException):
            raise answer
        seconds, results = answer
        return seconds, results

    def end(self) -> None:
        """Close the pipes and wait for the process to exit."""
        for pipe in (self.process.stdin, self.process.stdout):
            with suppress(OSError):  # broken pipe, with another error on Windows
                pipe.close()  # type: ignore[union-attr]
        self.process.wait()
