"""A crew of worker processes, each led by a thread that tells what becomes of it."""

from __future__ import annotations

import os
import pickle
import queue
import signal
import subprocess
import sys
import threading
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, Generic, TypeVar

from cdstats.engine import memory
from cdstats.engine.worker import LENGTH_BYTES, RAISED, START

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from types import TracebackType

Batch = TypeVar("Batch")
_WAIT_SECONDS: Final = 5.0
_SETTINGS: Final = {**memory.SETTINGS, "OPENBLAS_NUM_THREADS": "1"}
"""The environment of a worker. NumPy's threads for products of matrices would spin
while they wait, and starting them takes as long as loading NumPy."""


@dataclass(frozen=True, slots=True)
class Results(Generic[Batch]):
    """Results of the next items of a batch, and the seconds that they took."""

    batch: Batch
    results: list[Any]
    seconds: float


@dataclass(frozen=True, slots=True)
class Finished(Generic[Batch]):
    """All results of a batch have been told."""

    batch: Batch


@dataclass(frozen=True, slots=True)
class Died(Generic[Batch]):
    """A worker died at an item of a batch whose result has not been told."""

    batch: Batch


@dataclass(frozen=True, slots=True)
class Stillborn(Generic[Batch]):
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


Event = Results[Batch] | Finished[Batch] | Died[Batch] | Stillborn[Batch] | Raised


class Crew(Generic[Batch]):
    """Worker processes that apply a function to batches of items.

    Each is started for the first batch that it gets; leaving the context ends them.

    Args:
        function: What to do with an item.
        jobs: Worker processes at most.
    """

    def __init__(self, function: Callable[[Any], Any], jobs: int) -> None:
        self.events: queue.SimpleQueue[Event[Batch]] = queue.SimpleQueue()
        self._orders: queue.SimpleQueue[_Order[Batch] | None] = queue.SimpleQueue()
        self._function = pickle.dumps(function)
        self._lock = threading.Lock()
        self._processes: set[subprocess.Popen[bytes]] = set()
        self._stopped = False
        self._leaders = [
            threading.Thread(target=self._lead, name="cdstats-worker", daemon=True)
            for _ in range(jobs)
        ]

    def __enter__(self) -> Crew[Batch]:
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
            running = list(self._processes) if self._stopped else []
        for process in running:
            process.kill()
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

    def _work(self, worker: _Worker, order: _Order[Batch]) -> Event[Batch]:
        try:
            worker.prepare(self._function)
        except _GoneError:
            return Stillborn(order.batch, worker.process.wait())
        try:
            worker.send(pickle.dumps((order.items, order.careful)))
            told = 0
            while told < len(order.items):
                seconds, results = worker.receive()
                told += len(results)
                self.events.put(Results(order.batch, results, seconds))
        except _GoneError:
            return Died(order.batch)
        return Finished(order.batch)

    def _engage(self) -> _Worker:
        with self._lock:
            if self._stopped:
                raise _NoWorkerError(0)
            try:
                worker = _Worker()
            except OSError as error:
                raise _NoWorkerError(error.errno or 1) from None
            self._processes.add(worker.process)
        return worker

    def _dismiss(self, worker: _Worker) -> None:
        worker.end()
        with self._lock:
            self._processes.discard(worker.process)


@dataclass(frozen=True, slots=True)
class _Order(Generic[Batch]):
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

    def prepare(self, function: bytes) -> None:
        """Give a new worker its function, and wait until it has loaded it.

        Raises:
            _GoneError: If it dies of it.
        """
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
        """The next answer: seconds and results.

        Raises:
            _GoneError: If the worker died before it was complete.
            BaseException: What the work raised.
        """
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
