"""Worker processes: fed with batches, each replaced alone when it dies."""

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
"""Work that a batch is meant to hold: long against the way of a message, short against
the wait for the last worker."""
MOST_ITEMS: Final = 1024
"""Items of a batch at most."""
_STARTS: Final = 3
"""Workers that may die one after another before they can do anything."""
_START_SECONDS: Final = 60.0
"""Time that a worker has to start and to load its function, beside the time limit."""
_SETTINGS: Final = {**KEEPING_FREED, "OPENBLAS_NUM_THREADS": "1"}
"""The environment of a worker. NumPy's threads for products of matrices would spin
while they wait, and starting them takes as long as loading NumPy."""


def run_in_workers(
    function: Callable[[Item], Result | Divided[Item, Result]],
    ledger: Ledger[Item, Result],
    jobs: int,
    seconds: float | None = None,
    timeout: float = 0,
) -> Iterator[tuple[int, Result]]:
    """Work on what is left in a ledger, in worker processes; see `work.run`.

    When a worker dies, a fresh worker tries its batch again and reports each item. So
    the item that kills it is known, and only that item is lost. Items that need more
    memory than the share of a worker come last, in a single worker.

    Args:
        function: What to do with an item.
        ledger: Items that nobody has taken yet.
        jobs: Worker processes.
        seconds: What an item takes, as far as known.
        timeout: Seconds that one window of a file may take; 0 for any time.

    Raises:
        DataError: If no worker can be started.
    """
    for workers in (jobs, 1):
        with _Crew(function, workers, timeout) as crew:
            yield from _dispatch(crew, ledger, seconds)
        if not ledger.recall():
            break


@dataclass
class _Batch:
    """Items that travel together.

    Attributes:
        numbers: Their numbers.
        careful: Whether each result is sent at once, in a fresh worker.
        blamed: The item that a careful worker died of last.
    """

    numbers: list[int]
    careful: bool = False
    blamed: int | None = None


def _dispatch(
    crew: _Crew, ledger: Ledger[Item, Result], seconds: float | None
) -> Iterator[tuple[int, Result]]:
    """Keep workers busy, one batch to each and one in wait; take in what they give."""
    out: set[Future[tuple[_Batch, list[Any], float, str]]] = set()
    again: deque[_Batch] = deque()
    stillborn = 0
    while True:
        while len(out) < 2 * crew.jobs and (again or ledger.left):
            if again:
                batch = again.popleft()
            else:
                by_time = int(BATCH_SECONDS / seconds) if seconds else 1
                share = ledger.left // (3 * crew.jobs)
                batch = _Batch(ledger.take(max(1, min(by_time, share, MOST_ITEMS))))
            out.add(crew.give(batch, [ledger.item(one) for one in batch.numbers]))
        if not out:
            return
        # With a limit, so that Ctrl-C is seen on every system.
        done, out = wait(out, 1, FIRST_COMPLETED)
        crew.end_slow()
        for future in done:
            try:
                batch, results, spent, reason = future.result()
            except _StillbornError as error:
                stillborn += 1
                if stillborn >= _STARTS:
                    raise DataError(
                        f"worker processes end as they start (status {error.status}); "
                        "count in this process with --jobs 1"
                    ) from None
                again.append(error.batch)
                continue
            if results:
                stillborn, each = 0, spent / len(results)
                seconds = each if seconds is None else (seconds + each) / 2
            for number, result in zip(batch.numbers, results, strict=False):
                yield from ledger.enter(number, result)
            if left := batch.numbers[len(results) :]:
                # The worker died: try again, until the item to blame is known.
                first, known = left[0], batch.careful or len(left) == 1
                if known and (reason != DIED or batch.blamed == first):
                    yield from ledger.enter(first, Failed(reason))
                    if left[1:]:
                        again.append(_Batch(left[1:], careful=True))
                else:
                    again.append(_Batch(left, True, first if known else None))


class _StillbornError(Exception):
    """A worker died before it could begin with a batch, or could not be started."""

    def __init__(self, batch: _Batch, status: int) -> None:
        super().__init__(batch, status)
        self.batch, self.status = batch, status


class _GoneError(Exception):
    """The worker at the other end of a pipe has died."""


class _Crew:
    """Worker processes that apply a function to batches, each led by a thread.

    Each is started for the first batch that it gets; leaving the context ends them.
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
        # What workers still hold after an exception is no longer wanted.
        self._stopped = kind is not None
        for worker in list(self._workers) if self._stopped else ():
            worker.process.kill()
        self._threads.shutdown(cancel_futures=True)
        for worker in list(self._workers):
            worker.end()

    def give(
        self, batch: _Batch, items: Sequence[Any]
    ) -> Future[tuple[_Batch, list[Any], float, str]]:
        """Hand a batch to the next free worker.

        Returns:
            The batch, the results of its first items, the seconds that they took, and
            why the worker died before it had all.
        """
        return self._threads.submit(self._work, batch, items)

    def _work(
        self, batch: _Batch, items: Sequence[Any]
    ) -> tuple[_Batch, list[Any], float, str]:
        worker = self._idle.pop() if self._idle else None
        if batch.careful and worker is not None:
            self._dismiss(worker)
            worker = None
        worker = worker or self._engage(batch)
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
            self._dismiss(worker)
            if not isinstance(error, _GoneError):
                raise
            return batch, results, seconds, self._too_slow if worker.is_slow else DIED
        worker.since = math.inf
        self._idle.append(worker)
        return batch, results, seconds, ""

    def end_slow(self) -> None:
        """End workers that have not answered for too long; their batches died."""
        late = time.monotonic() - self._timeout
        for worker in list(self._workers) if self._timeout else ():
            if worker.since < late:
                worker.is_slow = True
                worker.process.kill()

    def _engage(self, batch: _Batch) -> _Worker:
        """A new worker that has loaded the function."""
        try:
            worker = _Worker()
        except OSError as error:
            raise _StillbornError(batch, error.errno or 1) from None
        self._workers.add(worker)
        if self._stopped:
            worker.process.kill()
        try:
            worker.since = time.monotonic() + _START_SECONDS
            worker.send(self._first)
            worker.receive()
        except BaseException as error:
            worker.process.kill()
            self._dismiss(worker)
            if not isinstance(error, _GoneError):
                raise
            raise _StillbornError(batch, worker.process.returncode) from None
        return worker

    def _dismiss(self, worker: _Worker) -> None:
        worker.end()
        self._workers.discard(worker)


def _ignore_interrupts() -> None:
    """Let workers inherit that Ctrl-C is for the program, which ends them."""
    if hasattr(signal, "pthread_sigmask"):
        signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})


class _Worker:
    """A process and the pipes to it.

    Attributes:
        since: When it was given work or answered last; infinite while it has none.
        is_slow: Whether it was ended because it took too long.
    """

    def __init__(self) -> None:
        # A fresh interpreter, never a fork: GDAL and threads do not survive one.
        self.process = subprocess.Popen(  # noqa: S603 - our own interpreter
            [sys.executable, "-c", START],
            env=_SETTINGS | os.environ,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            # Ctrl-C of a Windows console is for the program, as elsewhere.
            creationflags=getattr(subprocess, "CREATE_NEW_PROCESS_GROUP", 0),
        )
        self.since = math.inf
        self.is_slow = False

    def send(self, data: bytes) -> None:
        try:
            self.process.stdin.write(data)  # type: ignore[union-attr]
            self.process.stdin.flush()  # type: ignore[union-attr]
        except OSError:
            raise _GoneError from None

    def receive(self) -> tuple[float, list[Any]]:
        """The next answer: seconds and results; raises what the work raised."""
        try:
            answer = pickle.load(self.process.stdout)  # type: ignore[arg-type] # noqa: S301
        except (EOFError, pickle.UnpicklingError):
            raise _GoneError from None  # it died before the answer was complete
        self.since = time.monotonic()
        if isinstance(answer, BaseException):
            raise answer
        seconds, results = answer
        return seconds, results

    def end(self) -> None:
        """Let the process end; one that is killed already is only seen off."""
        for pipe in (self.process.stdin, self.process.stdout):
            with suppress(OSError):  # broken; Windows says so in another way
                pipe.close()  # type: ignore[union-attr]
        self.process.wait()
