"""The store of states: a file that outlives the run, or a temporary one that does not.

Both are SQLite databases of one schema. A finished file is kept by everything that
decides its counts: its path, size and version, the member and the partner,
the band, the version of the readers, and the numbers of the rule where the counts were
folded between them. What is finished is never changed, so that runs may share a file.
"""

from __future__ import annotations

import json
import math
import os
import re
import sqlite3
import time
import weakref
import zlib
from contextlib import closing, contextmanager
from typing import TYPE_CHECKING, Any, Final, TypeVar

from cdstats.core.counted import Counted
from cdstats.core.counts import NAN, MaskCounts, ValueCounts
from cdstats.core.errors import CdstatsError, DataError, UsageError
from cdstats.io.addresses import is_address

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from contextlib import AbstractContextManager
    from pathlib import Path

    from cdstats.core.counts import Value
    from cdstats.io.counting import Edges, Task
    from cdstats.scan.states import Stamp, State

Kind = TypeVar("Kind")


def to_text(counted: Sequence[Counted]) -> str:
    """The masks of a file as text that `from_text` reads back, every number exact.

    Example:
        >>> mask = MaskCounts(2, 1, ValueCounts({0: 1, "nan": 1}), format="TIFF")
        >>> from_text(to_text([Counted("", mask, size=(2, 1))]))[0].mask == mask
        True
    """
    return json.dumps([_mask_list(one) for one in counted], separators=(",", ":"))


def _mask_list(one: Counted) -> list[Any]:
    if one.mask is None:
        return [one.member, one.reason, one.size]
    mask, counts = one.mask, one.mask.counts
    facts = [
        *(mask.width, mask.height, list(counts.values.items())),
        *(counts.masked, counts.half_transparent, int(counts.folded)),
        *(mask.nodata, list(mask.palette.items()) if mask.palette else None),
        mask.format,
    ]
    return [one.member, facts]


def from_text(text: str) -> list[Counted]:
    """The masks of a file from their text."""
    try:
        found = json.loads(text)
        masks = [_counted(*one) for one in found]
    except (TypeError, RecursionError) as error:
        raise ValueError(f"counts of the wrong form: {error}") from None
    if type(found) is not list or not masks:
        raise ValueError("counts of no mask")
    return masks


def _counted(
    member: object, facts: object, size: list[object] | None = None
) -> Counted:
    """A mask, every fact of it checked."""
    name = _is(str, member)
    if not isinstance(facts, list):
        width, height = map(_number, size or (0, 0))
        return Counted(name, None, _is(str, facts), (width, height) if size else None)
    *sides, values, masked, half, folded, nodata, palette, kind = facts
    width, height = map(_size, sides)
    pixels = {_value(value): _size(number) for value, number in values}
    counts = ValueCounts(pixels, _number(masked), _number(half), folded == 1)
    held = sum(pixels.values()) + counts.masked + counts.half_transparent
    if held != width * height or len(pixels) < len(values):
        raise ValueError(f"{held:,} pixels in {width:,} x {height:,}")
    if type(folded) is not int or folded not in (0, 1):
        raise ValueError(f"folded: {folded!r}")
    empty = None if nodata is None else _value(nodata)
    colours = palette and {_number(at): _colour(one) for at, one in palette}
    mask = MaskCounts(width, height, counts, empty, colours or None, _is(str, kind))
    return Counted(name, mask, size=(width, height))


def _is(kind: type[Kind], found: object) -> Kind:
    # JSON has true and false, which Python takes for numbers.
    if type(found) is not kind:
        raise ValueError(f"{found!r:.40} where {kind.__name__} is expected")
    return found


def _number(found: object) -> int:
    number = _is(int, found)
    if number < 0:
        raise ValueError(f"a negative number: {number}")
    return number


def _size(found: object) -> int:
    number = _number(found)
    if not number:
        raise ValueError("0 where a number of pixels is expected")
    return number


def _value(found: object) -> Value:
    if isinstance(found, str):
        return found if found == NAN else _colour(found)
    if isinstance(found, float) and not math.isnan(found):
        return found
    return _is(int, found)


def _colour(found: object) -> str:
    colour = _is(str, found)
    if not re.fullmatch("#[0-9a-f]{6}", colour):
        raise ValueError(f"{colour!r:.40} where a colour is expected")
    return colour


READERS: Final = 3
"""The version of the readers; a new one where a file is counted otherwise than before,
so that its older counts are not used."""
SCHEMA: Final = 2
"""The version of the tables; a file of another one is refused."""
_APPLICATION: Final = 0x63647374
"""What the header of the file says it is: ``cdst``."""
_WAIT_SECONDS: Final = 60.0
"""How long another run may hold the file."""
_PAUSE_SECONDS: Final = 0.02
"""How long to leave another run alone that holds the file."""
_BATCH: Final = 64
"""States that are written together, at most."""
_BATCH_SECONDS: Final = 0.5
"""How long a state waits for others."""
_TABLE: Final = """
CREATE TABLE states (
    path BLOB NOT NULL,
    member BLOB NOT NULL,
    partner BLOB NOT NULL,
    band INTEGER NOT NULL,
    edges TEXT NOT NULL,
    size INTEGER NOT NULL,
    version INTEGER NOT NULL,
    partner_size INTEGER NOT NULL,
    partner_version INTEGER NOT NULL,
    readers INTEGER NOT NULL,
    finished INTEGER NOT NULL,
    state TEXT NOT NULL,
    checksum INTEGER NOT NULL,
    PRIMARY KEY (
        path, member, partner, band, edges,
        size, version, partner_size, partner_version, readers
    )
) WITHOUT ROWID
"""
_FIND: Final = """
SELECT state, checksum, finished FROM states
WHERE path = ? AND member = ? AND partner = ? AND band = ? AND edges = ?
    AND size = ? AND version = ? AND partner_size = ? AND partner_version = ?
    AND readers = ?
"""
_PUT: Final = """
INSERT INTO states VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
ON CONFLICT DO UPDATE SET
    finished = excluded.finished, state = excluded.state, checksum = excluded.checksum
WHERE excluded.finished OR NOT states.finished
"""

_Key = tuple[bytes, bytes, bytes, int, str, int, int, int, int, int]


class Cache:
    """States of files by path, in a database."""

    def __init__(
        self, path: Path | None, band: int | None = None, edges: Edges | None = None
    ) -> None:
        self._path = path
        self._here = os.getcwd()  # noqa: PTH109 - joined as text
        self._band = band or 0
        self._edges = " ".join(map(repr, edges)) if edges else ""
        self._waiting: list[tuple[_Key, str, bool]] = []
        self._written = time.monotonic()
        if path is not None:
            _made_or_checked(path)
        with self._telling():
            self._database = sqlite3.connect(
                path.absolute() if path else "",
                timeout=_WAIT_SECONDS,
                isolation_level=None,
                check_same_thread=False,
            )
            self._close = weakref.finalize(self, self._database.close)
            try:
                self._prepare()
            except BaseException:
                self._close()
                raise

    def _prepare(self) -> None:
        """Make the table in a new file; look at the version of an old one."""
        with self._transaction():
            application = self._number("application_id")
            tables = self._number("schema_version")
            if not application and not tables:
                self._database.execute(_TABLE)
                self._database.execute(f"PRAGMA application_id = {_APPLICATION}")
                self._database.execute(f"PRAGMA user_version = {SCHEMA}")
            elif application != _APPLICATION:
                raise UsageError(_foreign_text(self._path))
            elif self._number("user_version") != SCHEMA:
                raise UsageError(
                    f"{self._path}: is a cache of another version of cdstats; it is "
                    "left as it is. Remove it, or name another file"
                )
        # What was committed survives the end of the program without a write to the
        # disk each time, and others may read meanwhile.
        self._patiently("PRAGMA journal_mode = WAL")
        self._database.execute("PRAGMA synchronous = NORMAL")

    def _patiently(self, line: str) -> None:
        """Do what SQLite gives up at once, not waiting, while another run is there."""
        end = time.monotonic() + _WAIT_SECONDS
        while True:
            try:
                self._database.execute(line)
            except sqlite3.OperationalError as error:
                if not _is_busy(error) or time.monotonic() > end:
                    raise
                time.sleep(_PAUSE_SECONDS)
            else:
                return

    def _number(self, name: str) -> int:
        (number,) = self._database.execute(f"PRAGMA {name}").fetchone()
        return int(number)

    @contextmanager
    def _transaction(self) -> Iterator[None]:
        self._database.execute("BEGIN IMMEDIATE")
        try:
            yield
        except BaseException:
            if self._database.in_transaction:
                self._database.execute("ROLLBACK")
            raise
        self._database.execute("COMMIT")

    def _telling(self) -> AbstractContextManager[None]:
        return telling(self._path or "the temporary file of counts")

    @property
    def is_temporary(self) -> bool:
        """Whether it goes away with the run."""
        return self._path is None

    def find(self, task: Task, stamp: Stamp) -> list[Counted] | None:
        """The masks of a file that is finished, or None."""
        found = self._look(self._key(task, stamp, ""))
        if found is None and self._edges:
            found = self._look(self._key(task, stamp, self._edges))
        return found[0] if found and found[1] else None

    def get(self, task: Task, stamp: Stamp) -> list[Counted] | None:
        """The masks of a file that this run put here, finished or not, or None."""
        self.flush()
        found = self._look(self._key(task, stamp, ""))
        return found[0] if found else None

    def _look(self, key: _Key) -> tuple[list[Counted], bool] | None:
        with self._telling():
            row = self._database.execute(_FIND, key).fetchone()
            if row is None:
                return None
            text, checksum, finished = row
            # True and false are stored as numbers.
            known = isinstance(text, str) and finished in (0, 1)
            if not known or _checksum(key, text, finished) != checksum:
                raise ValueError(f"the counts of {os.fsdecode(key[0])} do not add up")
            masks = from_text(text)
            if finished and any(one.mask is None for one in masks):
                raise ValueError("a failed mask is finished")
            return masks, bool(finished)

    def put(self, task: Task, state: State) -> None:
        """Keep the state of a file; written with those of others."""
        edges = self._edges if state.folded else ""
        key = self._key(task, state.stamp, edges)
        self._waiting.append((key, to_text(state.counted), state.finished))
        late = time.monotonic() - self._written > _BATCH_SECONDS
        if late or len(self._waiting) >= _BATCH:
            self.flush()

    def flush(self) -> None:
        """Write what was kept so far."""
        self._written = time.monotonic()
        if not self._waiting:
            return
        rows = [
            (*key, int(finished), text, _checksum(key, text, finished))
            for key, text, finished in self._waiting
        ]
        with self._telling(), self._transaction():
            self._database.executemany(_PUT, rows)
        self._waiting.clear()

    def _key(self, task: Task, stamp: Stamp, edges: str) -> _Key:
        partner = self._place(task.partner) if task.partner else b""
        member = task.member.encode("utf-8", "surrogatepass")
        place = self._place(task.path)
        return (place, member, partner, self._band, edges, *stamp, READERS)

    def _place(self, path: str) -> bytes:
        """An absolute path, links not followed; an address without its secrets."""
        if is_address(path):
            from cdstats.io.stores import kept_name

            return kept_name(path).encode("utf-8", "surrogatepass")
        return os.fsencode(os.path.normpath(os.path.join(self._here, path)))  # noqa: PTH118

    def copy_to(self, path: Path) -> None:
        """Write the finished files to a new or empty file."""
        self.flush()
        with self._telling():
            self._database.execute("DELETE FROM states WHERE NOT finished")
        try:
            self._database.execute("VACUUM INTO ?", (str(path),))
        except sqlite3.Error as error:
            raise DataError(f"{path}: cannot be written: {error}") from None

    def close(self) -> None:
        """Write what was kept so far, and close the file."""
        if not self._close.alive:
            return
        try:
            self.flush()
        finally:
            self._close()


def states_in(path: Path) -> int:
    """How many finished files a cache holds."""
    with telling(path), closing(sqlite3.connect(path)) as database:
        (count,) = database.execute("SELECT COUNT(*) FROM states").fetchone()
        return int(count)


def _checksum(key: _Key, text: str, finished: bool) -> int:
    return zlib.crc32(text.encode(), zlib.crc32(repr((key, bool(finished))).encode()))


def _is_busy(error: sqlite3.OperationalError) -> bool:
    # The last byte is the kind of the error, those before it tell more.
    return error.sqlite_errorcode & 0xFF == sqlite3.SQLITE_BUSY


def _made_or_checked(path: Path) -> None:
    """Make a new file; refuse one that cannot be a cache, before SQLite opens it."""
    try:
        # SQLite would make it with permissions of its own, not those of the umask.
        path.touch()
        with path.open("rb") as file:
            head = file.read(16)
    except OSError as error:
        reason = (error.strerror or str(error)).lower()
        raise DataError(f"{path}: cannot be used: {reason}") from None
    if head not in (b"", b"SQLite format 3\0"):
        raise UsageError(_foreign_text(path))


def _foreign_text(path: Path | None) -> str:
    return f"{path}: is no cache of cdstats; it is left as it is. Name another file"


@contextmanager
def telling(where: object) -> Iterator[None]:
    """Say of which file it is that a database cannot go on."""
    try:
        yield
    except CdstatsError:
        raise
    except sqlite3.OperationalError as error:
        if "decode" in str(error):
            text = (
                f"{where}: is damaged (a text in it); remove it, or name another file"
            )
            raise DataError(text) from None
        raise DataError(f"{where}: cannot be used: {error}") from None
    except (sqlite3.DatabaseError, ValueError) as error:
        raise DataError(
            f"{where}: is damaged ({error}); remove it, or name another file"
        ) from None
