"""Files of a store as files of this machine, for as long as a reader needs them.

An object is copied as a whole into the folder of temporary files, so that every reader
works on it as on any file, in as little memory. The objects that are read next are
copied meanwhile; a large one is copied only when it is its turn.
"""

from __future__ import annotations

import atexit
import os
import threading
import weakref
from collections import deque
from contextlib import contextmanager
from dataclasses import replace
from functools import cache, partial
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Final, TypeVar

from cdstats.core.division import WATCH
from cdstats.core.errors import DataError
from cdstats.io.addresses import Address

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from concurrent.futures import Future

    from cdstats.io.blocks import Block, OpenImage
    from cdstats.io.remote import Answer, Mark

IN_FLIGHT: Final = 16
"""Objects that are copied ahead of their turn."""
AHEAD_BYTES: Final = 1 << 25
"""Larger objects are not copied ahead of their turn."""
_KEPT: Final = 2
"""Copies kept where an object may be opened again: a prediction and its mask."""
_FOLDER: Final = "CDSTATS_COPIES"
_ALIVE_SECONDS: Final = 0.5
"""How often work that waits for a copy reports that it has not stopped."""

Waited = TypeVar("Waited")


class Copy:
    """A copy of an object; its file goes with it.

    Attributes:
        path: Where it is.
        version: What tells the object from another under the same key.
        mark: The same for good; None where the store says too little.
    """

    def __init__(self, path: Path, version: str, mark: Mark | None) -> None:
        self.path = path
        self.version = version
        self.mark = mark
        self.remove = weakref.finalize(self, _remove, path)


def _remove(path: Path) -> None:
    path.unlink(missing_ok=True)


class _Ahead(threading.local):
    """What this thread reads next, and what it has just read."""

    def __init__(self) -> None:
        self.addresses: Iterator[str] = iter(())
        self.waiting: deque[tuple[str, Future[Copy | None]]] = deque()
        self.kept: deque[tuple[str, Copy]] = deque(maxlen=_KEPT)
        self.versions: dict[str, str] | None = None
        self.marks: dict[str, Mark | None] | None = None

    def take(self, address: str) -> Copy:
        """The copy of an object, which may have begun already."""
        if not self.waiting:
            self.fill()
        copy = self._kept(address) or self._due(address)
        if self.versions is not None:
            self.kept.append((address, copy))
        self.fill()
        return copy

    def _kept(self, address: str) -> Copy | None:
        found = next((item for item in self.kept if item[0] == address), None)
        if found is not None:
            self.kept.remove(found)
        return found[1] if found else None

    def _due(self, address: str) -> Copy:
        """The copy that has begun, else a new one; those passed over are given up."""
        if any(place == address for place, _ in self.waiting):
            while True:
                place, future = self.waiting.popleft()
                if place == address:
                    break
                future.cancel()
            self.fill()
            copy = _waited(future)
            if copy is not None:
                return copy
        return _waited(_start(address))

    def fill(self) -> None:
        """Begin the copies that come next."""
        while len(self.waiting) < IN_FLIGHT:
            address = next(self.addresses, None)
            if address is None:
                return
            self.waiting.append((address, _start_ahead(address)))

    def drop(self) -> None:
        """Give up what was begun."""
        for _, future in self.waiting:
            future.cancel()
        self.waiting.clear()
        self.kept.clear()


_ahead = _Ahead()


def expect(addresses: Iterable[str], versions: dict[str, str] | None = None) -> None:
    """Tell what this thread opens next, in order, so that it is copied meanwhile.

    Nothing that was copied before is used any more.
    """
    _ahead.drop()
    _ahead.versions = versions
    _ahead.addresses = iter(addresses if versions is None else _once(addresses))


def _once(addresses: Iterable[str]) -> Iterator[str]:
    """Addresses, leaving out those that a kept copy will serve."""
    last: deque[str] = deque(maxlen=_KEPT)
    for address in addresses:
        if address not in last:
            yield address
        else:
            last.remove(address)
        last.append(address)


def fetch(address: str) -> Copy:
    """The copy of an object."""
    copy = _ahead.take(address)
    if _ahead.marks is not None:
        _ahead.marks[address] = copy.mark
    versions = _ahead.versions
    known = copy.version
    if versions is not None:
        known = versions.setdefault(address, copy.version)
    if known != copy.version:
        raise DataError("has changed since it was first read")
    return copy


@contextmanager
def noting() -> Iterator[dict[str, Mark | None]]:
    """The marks of what this thread fetches meanwhile, by address."""
    marks: dict[str, Mark | None] = {}
    _ahead.marks = marks
    try:
        yield marks
    finally:
        _ahead.marks = None


def open_copy(
    address: str, open_file: Callable[[Path], list[OpenImage]]
) -> list[OpenImage]:
    """Open the images of an object; they keep its copy for as long as they live."""
    copy = fetch(address)
    # Without parts: each would cost another copy wherever it is counted.
    return [
        replace(image, blocks=_keeping(copy, image.blocks), part=None)
        for image in open_file(copy.path)
    ]


def _keeping(
    copy: Copy, read: Callable[[], Iterator[Block]]
) -> Callable[[], Iterator[Block]]:
    return partial(_read, read, copy)


def _read(read: Callable[[], Iterator[Block]], _: Copy) -> Iterator[Block]:
    yield from read()


def _waited(future: Future[Waited]) -> Waited:
    """What a copy gives; stores have their own time limits, so no time counts."""
    while True:
        try:
            return future.result(_ALIVE_SECONDS)
        except TimeoutError:
            if future.done():
                raise
            WATCH.get().alive()


def _start(address: str) -> Future[Copy]:
    from cdstats.io.remote import start

    return start(_copy(address))


def _start_ahead(address: str) -> Future[Copy | None]:
    from cdstats.io.remote import start

    return start(_copy_ahead(address))


async def _copy_ahead(text: str) -> Copy | None:
    """Copy an object that is not due yet; None for a large one."""
    from cdstats.io.remote import get

    answer = await get(Address.parse(text))
    return None if answer.size > AHEAD_BYTES else await _copied(text, answer)


async def _copy(text: str) -> Copy:
    """Copy an object to a temporary file."""
    from cdstats.io.remote import get

    return await _copied(text, await get(Address.parse(text)))


async def _copied(text: str, answer: Answer) -> Copy:
    """Write what a store sends to a temporary file."""
    import tempfile

    from cdstats.io.remote import parts

    try:
        number, name = tempfile.mkstemp(_suffix(text), dir=folder())
        copy = Copy(Path(name), answer.version, answer.mark)
        try:
            with open(number, "wb") as file:  # noqa: PTH123 - it is open already
                async for part in parts(answer):
                    file.write(part)
        except BaseException:
            # At once: the exception would keep it.
            copy.remove()
            raise
    except OSError as error:
        why = (error.strerror or str(error)).lower()
        raise DataError(
            f"cannot be copied to {folder()}: {why}; TMPDIR names another folder"
        ) from None
    return copy


def _suffix(text: str) -> str:
    """The ending of a copy's name: some readers go by it."""
    suffix = PurePosixPath(text).suffix.lower()
    return suffix if suffix in (".pt", ".pth") else ""


_PREFIX: Final = "cdstats-copies-"


@cache
def folder() -> Path:
    """The folder of the copies of this process and of the workers that it starts.

    A worker that is stopped cannot tidy up. So the process that starts workers must
    have asked for the folder before, and removes it.
    """
    given = os.environ.get(_FOLDER)
    if given and Path(given).is_dir():
        return Path(given)
    import shutil
    import tempfile

    _sweep(Path(tempfile.gettempdir()))
    made = tempfile.mkdtemp(prefix=f"{_PREFIX}{os.getpid()}-")
    atexit.register(shutil.rmtree, made, ignore_errors=True)
    os.environ[_FOLDER] = made
    return Path(made)


def _sweep(parent: Path) -> None:
    """Remove what processes left that were killed: their folders name them."""
    import shutil

    for left in parent.glob(f"{_PREFIX}*"):
        process = left.name.removeprefix(_PREFIX).partition("-")[0]
        if process.isdecimal() and not _runs(int(process)):
            shutil.rmtree(left, ignore_errors=True)


def _runs(process: int) -> bool:
    """Whether a process of this number runs; where it cannot be told, it does."""
    if os.name != "posix":
        return True
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except OSError:
        return True
    return True
