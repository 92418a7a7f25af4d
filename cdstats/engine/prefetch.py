"""Reading ahead: an iterator that works in a thread while its results are used."""

from __future__ import annotations

from collections import deque
from concurrent.futures import ThreadPoolExecutor
from contextvars import copy_context
from typing import TYPE_CHECKING, Final, TypeVar

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from concurrent.futures import Future

Item = TypeVar("Item")
_END: Final = object()


def prefetch(items: Iterable[Item], depth: int = 2) -> Iterator[Item]:
    """The items of an iterable, read ahead in a thread; at most `depth` of them wait.

    An exception of the iterable is raised where the item was due.
    """
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
