"""Worker processes: fed with batches, each replaced alone when it dies."""

from __future__ import annotations

import math
import os
import pickle
import queue
import signal
import subprocess
import sys
import threading
import time
from collections import deque
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, Generic, Self, TypeVar

from cdstats.core.division import Watch
from cdstats.core.errors import DIED, DataError
from cdstats.engine import memory
from cdstats.engine.work import Failed
from cdstats.engine.worker import LENGTH_BYTES, RAISED, START

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from types import TracebackType

    from cdstats.core.division import Divided
    from cdstats.engine.work import Ledger

_WAIT_SECONDS: Final = 5.0
_START_SECONDS: Final = 60.0
"""Time that a worker has to start and to load its function, beside the time limit."""
_SETTINGS: Final = {**memory.SETTINGS, "OPENBLAS_NUM_THREADS": "1"}
"""The environment of a worker. NumPy's threads for products of matrices would spin
while they wait, and starting them takes as long as loading NumPy."""


@dataclass(frozen=True, slots=True)
class Results:
    """Results of the next items of a batch, and the seconds that they took."""

    batch: Batch
    results: list[Any]
    seconds: float


@dataclass(frozen=True, slots=True)
class Finished:
    """All results of a batch have been told."""

    batch: Batch


@dataclass(frozen=True, slots=True)
class Died:
    """A worker died at an item of a batch whose result has not been told.

    Attributes:
        batch: What it worked on.
        slow: Whether it was ended because it took too long.
    """

    batch: Batch
    slow: bool


@dataclass(frozen=True, slots=True)
class Stillborn:
    """A worker died before it could begin with a batch, or could not be started.

    Attributes:
        batch: What it was to work on.
        status: Its exit status, or the system's error number.
    """

    batch: Batch
    status: int


@dataclass(frozen=True, slots=True)
class Raised:
    """An exception that the work raised."""

    error: BaseException


Event = Results | Finished | Died | Stillborn | Raised


class Crew:
    """Worker processes that apply a function to batches of items.

    Each is started for the first batch that it gets; leaving the context ends them.
    """

    def __init__(
        self, function: Callable[[Any], Any], jobs: int, timeout: float
    ) -> None:
        self.events: queue.SimpleQueue[Event] = queue.SimpleQueue()
        self._orders: queue.SimpleQueue[_Order | None] = queue.SimpleQueue()
        self._function = pickle.dumps((function, Watch(timeout, workers=jobs)))
        self._timeout = timeout
        self._lock = threading.Lock()
        self._workers: set[_Worker] = set()
        self._stopped = False
        self._leaders = [
            threading.Thread(target=self._lead, name="cdstats-worker", daemon=True)
            for _ in range(jobs)
        ]

    def __enter__(self) -> Self:
        for leader in self._leaders:
            leader.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        with self._lock:
            # What workers still hold after an exception is no longer wanted.
            self._stopped = kind is not None
            running = list(self._workers) if self._stopped else []
        for worker in running:
            worker.process.kill()
        for _ in self._leaders:
            self._orders.put(None)
        for leader in self._leaders:
            leader.join(_WAIT_SECONDS)

    def give(self, batch: Batch, items: Sequence[Any], *, careful: bool) -> None:
        """Hand a batch to the next free worker; events tell what becomes of it."""
        self._orders.put(_Order(batch, items, careful))

    def _lead(self) -> None:
        """Pass orders on to a worker, and start another when it has died."""
        if hasattr(signal, "pthread_sigmask"):
            # Workers inherit this: Ctrl-C is for the program, which ends them.
            signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
        worker = None
        while (order := self._orders.get()) is not None and not self._stopped:
            if order.careful and worker is not None:
                self._dismiss(worker)
                worker = None
            try:
                worker = worker or self._engage()
                event = self._work(worker, order)
            except _NoWorkerError as error:
                event = Stillborn(order.batch, error.status)
            except BaseException as error:  # noqa: BLE001 - raised by the program
                event = Raised(error)
            if not isinstance(event, Finished) and worker is not None:
                worker.process.kill()
                self._dismiss(worker)
                worker = None
            self.events.put(event)
        if worker is not None:
            self._dismiss(worker)

    def _work(self, worker: _Worker, order: _Order) -> Event:
        worker.since = time.monotonic() + _START_SECONDS
        try:
            worker.prepare(self._function)
        except _GoneError:
            return Stillborn(order.batch, worker.process.wait())
        try:
            worker.since = time.monotonic()
            worker.send(pickle.dumps((order.items, order.careful)))
            told = 0
            while told < len(order.items):
                seconds, results = worker.receive()
                worker.since = time.monotonic()
                told += len(results)
                if results:
                    self.events.put(Results(order.batch, results, seconds))
        except _GoneError:
            return Died(order.batch, worker.is_slow)
        worker.since = math.inf
        return Finished(order.batch)

    def end_slow(self) -> None:
        """End workers that have not answered for too long; their batches died."""
        if not self._timeout:
            return
        late = time.monotonic() - self._timeout
        with self._lock:
            slow = [worker for worker in self._workers if worker.since < late]
        for worker in slow:
            worker.is_slow = True
            worker.process.kill()

    def _engage(self) -> _Worker:
        with self._lock:
            if self._stopped:
                raise _NoWorkerError(0)
            try:
                worker = _Worker()
            except OSError as error:
                raise _NoWorkerError(error.errno or 1) from None
            self._workers.add(worker)
        return worker

    def _dismiss(self, worker: _Worker) -> None:
        worker.end()
        with self._lock:
            self._workers.discard(worker)


@dataclass(frozen=True, slots=True)
class _Order:
    batch: Batch
    items: Sequence[Any]
    careful: bool


class _GoneError(Exception):
    """The worker at the other end of a pipe has died."""


class _NoWorkerError(Exception):
    """The system starts no process, or none is wanted any more."""

    def __init__(self, status: int) -> None:
        super().__init__(status)
        self.status = status


class _Worker:
    """A process and the pipes to it."""

    def __init__(self) -> None:
        # A fresh interpreter, never a fork: GDAL and threads do not survive one.
        self.process = subprocess.Popen(  # noqa: S603 - our own interpreter
            [sys.executable, "-c", START],
            env=_SETTINGS | os.environ,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )
        self._prepared = False
        self.since = math.inf
        self.is_slow = False

    def prepare(self, function: bytes) -> None:
        """Give a new worker its function, and wait until it has loaded it."""
        if not self._prepared:
            self.send(pickle.dumps(sys.path) + function)
            self.receive()
            self._prepared = True

    def send(self, data: bytes) -> None:
        pipe = self.process.stdin
        try:
            pipe.write(data)  # type: ignore[union-attr]
            pipe.flush()  # type: ignore[union-attr]
        except OSError:
            raise _GoneError from None

    def receive(self) -> tuple[float, Any]:
        """The next answer: seconds and results."""
        size = int.from_bytes(self._read(LENGTH_BYTES))
        kind, seconds, content = pickle.loads(self._read(size))  # noqa: S301
        if kind == RAISED:
            raise content
        return seconds, content

    def _read(self, size: int) -> bytes:
        data: bytes = self.process.stdout.read(size)  # type: ignore[union-attr]
        if len(data) < size:
            raise _GoneError
        return data

    def end(self) -> None:
        """Let the process end; one that is killed already is only seen off."""
        for pipe in (self.process.stdin, self.process.stdout):
            with suppress(BrokenPipeError):
                pipe.close()  # type: ignore[union-attr]
        self.process.wait()


Item = TypeVar("Item")
Result = TypeVar("Result")

BATCH_SECONDS: Final = 0.25
"""Work that a batch is meant to hold: long against the way of a message, short against
the wait for the last worker."""
MOST_ITEMS: Final = 1024
"""Items of a batch at most."""
_STARTS: Final = 3
"""Workers that may die one after another before they can do anything."""


def run_in_workers(
    function: Callable[[Item], Result | Divided[Item, Result]],
    ledger: Ledger[Item, Result],
    jobs: int,
    seconds: float | None = None,
    timeout: float = 0,
) -> Iterator[tuple[int, Result]]:
    """Work on what is left in a ledger, in worker processes.

    When a worker dies, a fresh worker tries its batch again and reports each item. So
    the item that kills it is known, and only that item is lost. Items that need more
    memory than the share of a worker come last, in a single worker.
    """
    for workers in (jobs, 1):
        crew = Crew(function, workers, timeout)
        dispatch = _Dispatch(crew, ledger, workers, seconds, Watch(timeout).reason)
        with crew:
            yield from dispatch.run()
        if not ledger.recall():
            break


@dataclass(eq=False)
class Batch:
    """Items that travel together.

    Attributes:
        numbers: Their numbers, without those whose results are here already.
        careful: Whether each result is sent at once, in a fresh worker.
        blamed: The item that a careful worker died of last.
    """

    numbers: list[int]
    careful: bool = False
    blamed: int | None = None


class _Dispatch(Generic[Item, Result]):
    """Keeps workers busy and takes in what they give."""

    def __init__(
        self,
        crew: Crew,
        ledger: Ledger[Item, Result],
        jobs: int,
        seconds: float | None,
        too_slow: str,
    ) -> None:
        self._crew = crew
        self._ledger = ledger
        self._jobs = jobs
        self._seconds = seconds
        self._too_slow = too_slow
        self._looked = time.monotonic()
        self._again: deque[Batch] = deque()
        self._running = 0
        self._stillborn = 0

    def run(self) -> Iterator[tuple[int, Result]]:
        while self._fill():
            event = self._next_event()
            if isinstance(event, Results):
                yield from self._take_in(event)
            elif isinstance(event, Raised):
                raise event.error
            else:
                self._running -= 1
                if isinstance(event, Died):
                    yield from self._bury(event.batch, event.slow)
                elif isinstance(event, Stillborn):
                    self._start_again(event)

    def _fill(self) -> int:
        """Hand out batches, one to each worker and one in wait; returns those out."""
        while self._running < 2 * self._jobs:
            if self._again:
                batch = self._again.popleft()
            elif self._ledger.left:
                batch = Batch(self._ledger.take(self._size()))
            else:
                break
            items = [self._ledger.item(number) for number in batch.numbers]
            self._crew.give(batch, items, careful=batch.careful)
            self._running += 1
        return self._running

    def _size(self) -> int:
        if not self._seconds:
            return 1
        by_time = int(BATCH_SECONDS / self._seconds)
        share = self._ledger.left // (3 * self._jobs)
        return max(1, min(by_time, share, MOST_ITEMS))

    def _next_event(self) -> Any:  # noqa: ANN401 - one of the crew's
        while True:
            if time.monotonic() - self._looked > 1:
                self._looked = time.monotonic()
                self._crew.end_slow()
            try:
                # With a limit, so that Ctrl-C is seen on every system.
                return self._crew.events.get(timeout=1)
            except queue.Empty:
                continue

    def _take_in(self, event: Results) -> Iterator[tuple[int, Result]]:
        self._stillborn = 0
        numbers = event.batch.numbers
        done, event.batch.numbers = (
            numbers[: len(event.results)],
            numbers[len(event.results) :],
        )
        each = event.seconds / len(done)
        self._seconds = each if self._seconds is None else (self._seconds + each) / 2
        for number, result in zip(done, event.results, strict=True):
            yield from self._ledger.enter(number, result)

    def _bury(self, batch: Batch, slow: bool) -> Iterator[tuple[int, Result]]:
        """Try what a dead worker has left undone, until the item to blame is known."""
        if not batch.numbers:
            return
        first = batch.numbers[0]
        known = batch.careful or len(batch.numbers) == 1
        if known and (slow or batch.blamed == first):
            reason = self._too_slow if slow else DIED
            yield from self._ledger.enter(first, Failed(reason))
            if batch.numbers[1:]:
                self._again.append(Batch(batch.numbers[1:], careful=True))
            return
        self._again.append(Batch(batch.numbers, True, first if known else None))

    def _start_again(self, event: Stillborn) -> None:
        self._stillborn += 1
        if self._stillborn >= _STARTS:
            raise DataError(
                f"worker processes end as they start (status {event.status}); "
                "count in this process with --jobs 1"
            )
        self._again.append(event.batch)
