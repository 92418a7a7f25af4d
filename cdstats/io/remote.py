"""Object stores and web servers: listing keys, and streaming what lies under one.

Everything here is a coroutine of one event loop, in a thread of its own: so requests
overlap, and Ctrl-C interrupts whoever waits for one.
"""

from __future__ import annotations

import asyncio
import atexit
import threading
from array import array
from dataclasses import dataclass, field
from functools import cache
from hashlib import blake2b
from time import time as now
from typing import TYPE_CHECKING, Any, Final, TypeVar

from cdstats.core.errors import DataError
from cdstats.io.stores import list_reason, reason, store

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Coroutine
    from concurrent.futures import Future

    from obstore import GetOptions, GetResult, ObjectMeta

    from cdstats.io.addresses import Address
    from cdstats.io.stores import Store

Result = TypeVar("Result")
Mark = tuple[int, int]
"""Bytes of an object, and a number that stands for its version."""

_CHUNK: Final = 1 << 20
_PAGE: Final = 1000
_SETTLED_SECONDS: Final = 60
"""Age after which an object without a tag is known by its time."""
_BRANCHES: Final = 64
"""Folders of one folder that are listed side by side; more are listed in one go."""


def start(work: Coroutine[Any, Any, Result]) -> Future[Result]:
    """Start a coroutine of this module."""
    return asyncio.run_coroutine_threadsafe(work, _loop())


@cache
def _loop() -> asyncio.AbstractEventLoop:
    """The loop of this process; it ends before the interpreter does."""
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, name="cdstats-io", daemon=True)
    thread.start()

    def stop() -> None:
        loop.call_soon_threadsafe(_cancel_all, loop)
        thread.join(timeout=5)

    atexit.register(stop)
    return loop


def _cancel_all(loop: asyncio.AbstractEventLoop) -> None:
    for task in asyncio.all_tasks(loop):
        task.cancel()
    loop.call_soon(loop.stop)


async def is_object(address: Address) -> bool | None:
    """Whether an object lies at an address; None where the store does not tell.

    A store may answer "denied" for what is not there.
    """
    place = store(address)
    import obstore
    from obstore.exceptions import PermissionDeniedError

    try:
        await obstore.head_async(place, address.key)
    except FileNotFoundError:
        return False
    except PermissionDeniedError:
        return None
    except Exception as error:  # noqa: BLE001 - the library's errors share no base
        raise DataError(reason(error)) from None
    return True


@dataclass(frozen=True)
class Listed:
    """The objects of a folder, in any order.

    Attributes:
        keys: Their keys.
        marks: The mark of each, two numbers; -1 where its tag is not listed.
    """

    keys: list[str] = field(default_factory=list)
    marks: array[int] = field(default_factory=lambda: array("q"))

    def add(self, meta: ObjectMeta) -> None:
        """Note an object."""
        # Without a tag the list may know less than the object itself tells.
        mark = _mark(meta) if meta["e_tag"] else None
        self.keys.append(meta["path"])
        self.marks.extend(mark or (-1, -1))


async def objects_below(address: Address) -> Listed:
    """Every object in a folder."""
    place, listed = store(address), Listed()
    try:
        await _list(place, address.key, 2, listed)
    except Exception as error:  # noqa: BLE001 - the library's errors share no base
        raise DataError(list_reason(error, address)) from None
    return listed


async def _list(place: Store, prefix: str, levels: int, listed: Listed) -> None:
    """Note what lies below a prefix: folders side by side on the upper levels."""
    import obstore

    if levels:
        found = await obstore.list_with_delimiter_async(place, prefix or None)
        if len(found["common_prefixes"]) <= _BRANCHES:
            for meta in found["objects"]:
                listed.add(meta)
            branches = (
                _list(place, str(folder), levels - 1, listed)
                for folder in found["common_prefixes"]
            )
            await asyncio.gather(*branches)
            return
    async for page in obstore.list(place, prefix or None, chunk_size=_PAGE):
        for meta in page:
            listed.add(meta)


class NotGivenError(DataError):
    """There is no such object, or not for those who ask; a store may not tell which."""


@dataclass(frozen=True)
class Answer:
    """An object that a store has begun to send.

    Attributes:
        size: Its bytes.
        version: What tells it from another object under the same key.
        mark: The same for good; None where the store says too little.
        result: The rest of the answer.
    """

    size: int
    version: str
    mark: Mark | None
    result: GetResult


async def get(address: Address) -> Answer:
    """Ask for an object."""
    place = store(address)
    import obstore
    from obstore.exceptions import PermissionDeniedError

    try:
        result = await obstore.get_async(place, address.key)
    except (FileNotFoundError, PermissionDeniedError) as error:
        raise NotGivenError(reason(error)) from None
    except Exception as error:  # noqa: BLE001 - the library's errors share no base
        raise DataError(reason(error)) from None
    meta = result.meta
    version = meta["e_tag"] or f"{meta['last_modified']} {meta['size']}"
    return Answer(meta["size"], version, _mark(meta), result)


async def mark_of(address: Address) -> Mark | None:
    """The mark of an object as it is now; None where the store does not tell."""
    try:
        place = store(address)
    except DataError:
        return None
    import obstore

    try:
        if not address.query:
            return _mark(await obstore.head_async(place, address.key))
        # A signature holds for one method, which is that of reading.
        first: GetOptions = {"range": (0, 1)}
        answer = await obstore.get_async(place, address.key, options=first)
        return _mark(answer.meta)
    except Exception:  # noqa: BLE001 - whoever reads it is told why it cannot be read
        return None


def _mark(meta: ObjectMeta) -> Mark | None:
    """The size of an object, and a number that stands for its version."""
    tag = meta["e_tag"]
    if not tag:
        # Times are of whole seconds: what is new may change within the same one.
        time = meta["last_modified"].timestamp()
        if time <= 0 or now() - time < _SETTLED_SECONDS:
            return None
        tag = repr(time)
    # A list may give a tag without its quotes.
    digest = blake2b(tag.strip('"').encode(), digest_size=8).digest()
    return meta["size"], int.from_bytes(digest) >> 1


async def parts(answer: Answer) -> AsyncIterator[memoryview]:
    """The bytes of an object, part by part, all of them.

    A connection that is cut is taken up where it ended, as long as the object is the
    same; the store's library sees to that.
    """
    done = 0
    try:
        async for part in answer.result.stream(min_chunk_size=_CHUNK):
            done += len(part)
            yield memoryview(part)
    except Exception as error:  # noqa: BLE001 - the library's errors share no base
        raise DataError(reason(error)) from None
    if done != answer.size:
        raise DataError(f"is cut short: {done:,} of {answer.size:,} bytes came")
