"""Reading ahead: an iterator that works in a thread while its results are used."""

from __future__ import annotations

import queue
import threading
from contextvars import copy_context
from typing import TYPE_CHECKING, Final, TypeVar

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

Item = TypeVar("Item")
_END: Final = object()


def prefetch(items: Iterable[Item], depth: int = 2) -> Iterator[Item]:
    """The items of an iterable, read ahead in a thread.

    Example:
        >>> list(prefetch(range(3)))
        [0, 1, 2]
    """
    waiting: queue.Queue[object] = queue.Queue(depth)
    stopped = threading.Event()

    def read() -> None:
        try:
            for item in items:
                if not _put(waiting, item, stopped):
                    return
            _put(waiting, _END, stopped)
        except BaseException as error:  # noqa: BLE001 - raised again by the reader
            _put(waiting, _Raised(error), stopped)

    context = copy_context()
    thread = threading.Thread(
        target=context.run, args=(read,), name="cdstats-prefetch", daemon=True
    )
    thread.start()
    try:
        while (item := waiting.get()) is not _END:
            if isinstance(item, _Raised):
                raise item.error
            yield item  # type: ignore[misc]
    finally:
        stopped.set()
        thread.join(timeout=5)


class _Raised:
    """An exception on its way to the thread that reads."""

    def __init__(self, error: BaseException) -> None:
        self.error = error


def _put(waiting: queue.Queue[object], item: object, stopped: threading.Event) -> bool:
    """Put an item, unless nobody reads any more."""
    while not stopped.is_set():
        try:
            waiting.put(item, timeout=0.1)
        except queue.Full:
            continue
        return True
    return False
