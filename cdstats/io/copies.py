"""Temporary local copies of objects in stores and members of archives.

Each object is copied whole to a temporary file, so that every reader works on it as on
a local file. Small objects are downloaded ahead of use; a large object only when it is
needed. A member of an archive is copied only if its reader needs a file.
"""

from __future__ import annotations

import atexit
import os
import threading
import weakref
from collections import deque
from functools import cache, partial
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Final

from cdstats.core.division import WATCH
from cdstats.core.errors import DataError
from cdstats.core.secrets import Sealed
from cdstats.io.addresses import Address, is_address
from cdstats.io.containers import ENDING, inside, is_parquet, member_in, read_member
from cdstats.io.signatures import is_held

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from concurrent.futures import Future

    from cdstats.io.blocks import Block, OpenImage
    from cdstats.io.stores import Mark

IN_FLIGHT: Final = 16
"""Most objects downloaded ahead of use."""
AHEAD_BYTES: Final = 1 << 25
"""Larger objects are not downloaded ahead of use."""
_KEPT: Final = 2
"""Copies kept for a second use, such as those of a prediction and its mask."""
_FOLDER: Final = "CDSTATS_COPIES"
_ALIVE_SECONDS: Final = 0.5
"""Interval of reports that a job waiting for a copy is alive."""


class Copy:
    """A copy of an object; the file is removed with this object."""

    def __init__(self, path: Path, version: str, mark: Mark | None) -> None:
        self.path = path
        self.version = version
        self.mark = mark
        self.remove = weakref.finalize(self, path.unlink, missing_ok=True)


class _Row(Copy):
    """A row of a copied table, which it keeps alive."""

    def __init__(self, table: Copy, member: str) -> None:
        self.path = Path(f"{table.path}#{member}")
        self.version, self.mark, self.remove = table.version, table.mark, table.remove
        self._table = table


class _Ahead(threading.local):
    """Downloads of this thread: running, and just used."""

    def __init__(self) -> None:
        self.addresses: Iterator[str] = iter(())
        self.waiting: deque[tuple[str, Future[Copy | None]]] = deque()
        self.kept: dict[str, Copy] = {}
        self.versions: dict[str, str] | None = None
        self.marks: deque[tuple[str, Mark | None]] = deque(maxlen=_KEPT)

    def take(self, address: str) -> Copy:
        """The copy of an object; starts the next downloads."""
        if not self.waiting:
            self.fill()
        copy = self.kept.pop(address, None) or self._due(address)
        if self.versions is not None:
            if len(self.kept) == _KEPT:
                del self.kept[next(iter(self.kept))]
            self.kept[address] = copy
        self.fill()
        return copy

    def _due(self, address: str) -> Copy:
        """The copy from a running download or a new one; skipped ones are cancelled."""
        if any(place == address for place, _ in self.waiting):
            while (due := self.waiting.popleft())[0] != address:
                due[1].cancel()
            self.fill()
            if (copy := _waited(due[1])) is not None:
                return copy
        copy = _waited(_start(address, None))
        assert copy is not None  # noqa: S101 - no size limit was given
        return copy

    def fill(self) -> None:
        while len(self.waiting) < IN_FLIGHT:
            address = next(self.addresses, None)
            if address is None:
                return
            self.waiting.append((address, _start(address, AHEAD_BYTES)))


_ahead = _Ahead()


def expect(addresses: Iterable[str], versions: dict[str, str] | None = None) -> None:
    """Start downloading the objects that this thread opens next, in order.

    Copies of earlier calls are dropped.

    Args:
        addresses: Read lazily, and not before the first object is opened.
        versions: Versions of objects already read; extended by those read now. An
            object with a changed version is an error. None if each object is opened
            once.
    """
    for _, future in _ahead.waiting:
        future.cancel()
    _ahead.waiting.clear()
    _ahead.kept.clear()
    _ahead.versions = versions
    addresses = (one for one in addresses if not _table_in(one)[0])
    _ahead.addresses = iter(addresses if versions is None else _once(addresses))


def _once(addresses: Iterable[str]) -> Iterator[str]:
    """The addresses without those that a kept copy serves."""
    last: deque[str] = deque(maxlen=_KEPT)
    for address in addresses:
        if address not in last:
            yield address
        else:
            last.remove(address)
        last.append(address)


def fetch(address: str) -> Copy:
    """The copy of an object.

    Raises:
        DataError: If it cannot be read completely, or has changed since it was first
            read.
    """
    copy = _ahead.take(address)
    _ahead.marks.append((address, copy.mark))
    versions = _ahead.versions
    if versions is not None and versions.setdefault(address, copy.version) != (
        copy.version
    ):
        raise DataError("has changed since it was first read")
    return copy


def last_mark(address: str) -> Mark | None:
    """The mark of an object that this thread has fetched last."""
    return dict(_ahead.marks).get(address)


_TABLES: Final[dict[str, Copy]] = {}
_TABLES_LOCK: Final = threading.Lock()


def copied_table(address: str, *, anew: bool = False) -> Copy:
    """The copy of a Parquet file, kept while single rows are read from it."""
    with _TABLES_LOCK:
        kept = _TABLES.pop(address, None)
        copy = None if anew else kept
        if copy is None:
            copy = _waited(_start(address, None))
        assert copy is not None  # noqa: S101 - no size limit was given
        while len(_TABLES) >= _KEPT:
            del _TABLES[next(iter(_TABLES))]
        _TABLES[address] = copy
    return copy


def _table_in(path: str) -> tuple[str, str]:
    """The address of a table and the row that a path names; empty for other paths."""
    place, member = member_in(path)
    if not member or not is_parquet(place):
        return "", ""
    return (path.like(place) if isinstance(path, Sealed) else place), member


def copy_of(path: str) -> Copy | None:
    """A local copy of an object, or of a member whose reader needs a file."""
    if is_address(path):
        place, member = _table_in(path)
        if not place:
            return fetch(path)
        table = copied_table(place)
        _ahead.marks.append((path, table.mark))
        return _Row(table, member)
    if inside(path) is None or is_held(data := read_member(path)):
        return None
    copy, number = _new_copy(path, "", None)
    try:
        with open(number, "wb") as file:  # noqa: PTH123 - a file descriptor
            file.write(data)
    except OSError as error:
        raise _not_copied(error) from None
    return copy


def open_copy(
    copy: Copy, open_file: Callable[[Path], list[OpenImage]]
) -> list[OpenImage]:
    """Open the images of a copy; they keep the copy alive."""
    # Parts are not offered, because each worker would download its own copy.
    return [
        image._replace(blocks=partial(_read, image.blocks, copy), part=None)
        for image in open_file(copy.path)
    ]


def _read(read: Callable[[], Iterator[Block]], _: Copy) -> Iterator[Block]:
    yield from read()


def _waited(future: Future[Copy | None]) -> Copy | None:
    """Wait for a copy; stores enforce their own time limits."""
    while True:
        try:
            return future.result(_ALIVE_SECONDS)
        except TimeoutError:
            if future.done():
                raise
            WATCH.get().alive()


def _start(address: str, most: int | None) -> Future[Copy | None]:
    from cdstats.io.stores import start

    return start(_copy(address, most))


async def _copy(text: str, most: int | None) -> Copy | None:
    """Copy an object to a temporary file; None for one of more than `most` bytes.

    Raises:
        DataError: If the download is incomplete, or the file cannot be written.
    """
    from cdstats.io.stores import get, parts

    answer = await get(Address.parse(text))
    if most is not None and answer.size > most:
        return None
    try:
        copy, number = _new_copy(text, answer.version, answer.mark)
        try:
            with open(number, "wb") as file:  # noqa: PTH123 - a file descriptor
                async for part in parts(answer):
                    file.write(part)
        except BaseException:
            # Remove it now, because the exception keeps it alive.
            copy.remove()
            raise
    except OSError as error:
        raise _not_copied(error) from None
    return copy


def _new_copy(text: str, version: str, mark: Mark | None) -> tuple[Copy, int]:
    """An empty temporary file, and its open file descriptor."""
    import tempfile

    suffix = PurePosixPath(text).suffix.lower()  # some readers depend on it
    number, name = tempfile.mkstemp(
        suffix if suffix in (".pt", ".pth", ENDING) else "", dir=folder()
    )
    return Copy(Path(name), version, mark), number


def _not_copied(error: OSError) -> DataError:
    why = (error.strerror or str(error)).lower()
    return DataError(
        f"cannot be copied to {folder()}: {why}; set TMPDIR to another folder"
    )


_PREFIX: Final = "cdstats-copies-"


@cache
def folder() -> Path:
    """The folder for the copies of this process and its workers.

    A stopped worker cannot clean up. Therefore the main process calls this first, so
    that it owns the folder and removes it at exit.
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
    """Remove folders of killed processes; the folder name holds the process id."""
    import shutil

    for left in parent.glob(f"{_PREFIX}*") if os.name == "posix" else ():
        process = left.name.removeprefix(_PREFIX).partition("-")[0]
        if process.isdecimal():
            try:
                os.kill(int(process), 0)
            except ProcessLookupError:
                shutil.rmtree(left, ignore_errors=True)
            except OSError:
                continue  # may still run
