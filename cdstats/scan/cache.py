"""The cache of counts: a file that later runs use again, or a temporary database.

Both are SQLite databases with the same schema. The key of an entry contains everything
that decides the counts of a file: path, size and version, member and partner, the band,
the version of the readers, and the thresholds of the rule if the counts were folded at
them. Finished entries are never changed, so runs may share a cache.
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
from typing import TYPE_CHECKING, Any, Final

from cdstats.core.counts import NAN, Counted, MaskCounts, ValueCounts
from cdstats.core.errors import CdstatsError, DataError, UsageError
from cdstats.io.addresses import is_address
from cdstats.io.outputs import SQLITE

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence
    from contextlib import AbstractContextManager
    from pathlib import Path

    from cdstats.io.counting import Edges, Task
    from cdstats.scan.states import Stamp, State

READERS: Final = 4
"""Version of the readers; increased when a reader counts a file differently, so that
older counts are not used."""
SCHEMA: Final = 3
"""Version of the table; caches of other versions are refused."""
_APPLICATION: Final = 0x63647374
"""Application id in the SQLite header: ``cdst``."""
_WAIT_SECONDS: Final = 60.0
"""Longest wait for another run that has locked the file."""
_PAUSE_SECONDS: Final = 0.02
"""Pause before trying again after another run has locked the file."""
_BATCH: Final = 64
"""States written in one transaction, at most."""
_BATCH_SECONDS: Final = 0.5
"""Longest time that a state waits for others before it is written."""
_TABLE: Final = """
CREATE TABLE states (
    key TEXT PRIMARY KEY,
    finished INTEGER NOT NULL,
    state TEXT NOT NULL,
    checksum INTEGER NOT NULL
) WITHOUT ROWID
"""
_FIND: Final = "SELECT state, checksum, finished FROM states WHERE key = ?"
_PUT: Final = """
INSERT INTO states VALUES (?, ?, ?, ?)
ON CONFLICT DO UPDATE SET
    finished = excluded.finished, state = excluded.state, checksum = excluded.checksum
WHERE excluded.finished OR NOT states.finished
"""


def to_text(counted: Sequence[Counted]) -> str:
    """The masks of a file as text that `from_text` restores exactly.

    Example:
        >>> mask = MaskCounts(2, 1, ValueCounts({0: 1, "nan": 1}), format="TIFF")
        >>> from_text(to_text([Counted("", mask, size=(2, 1))]))[0].mask == mask
        True
    """
    return json.dumps([_mask_list(one) for one in counted], separators=(",", ":"))


def _mask_list(one: Counted) -> list[Any]:
    if one.mask is None:
        return [one.member, one.reason, one.size or []]
    mask, counts = one.mask, one.mask.counts
    values, palette = ([*(d or {}).items()] for d in (counts.values, mask.palette))
    sizes = (mask.width, mask.height), (counts.masked, counts.half_transparent)
    rest = (counts.folded, mask.nodata, palette, mask.format)
    return [one.member, [*sizes[0], values, *sizes[1], *rest]]


def from_text(text: str) -> list[Counted]:
    """The masks of a file from the text of `to_text`; `ValueError` for other text."""
    try:
        masks = [_counted(*one) for one in json.loads(text)]
    except (TypeError, RecursionError) as error:
        raise ValueError(f"counts are malformed: {error}") from None
    if not masks:
        raise ValueError("counts contain no mask")
    return masks


def _counted(member: Any, facts: Any, size: Any = ()) -> Counted:  # noqa: ANN401 - of JSON
    """A mask from its list; `ValueError` if an entry has a wrong type."""
    if isinstance(facts, str):
        if type(member) is not str or len(size) not in (0, 2) or not _are_sizes(size):
            raise ValueError("the entry of a failed mask is malformed")
        return Counted(member, None, facts, tuple(size) or None)
    width, height, pairs, masked, half, folded, nodata, indices, form = facts
    values, palette = dict(pairs), dict(indices)
    colours = list(palette.values())
    known = [*values, *colours, *([] if nodata is None else [nodata])]
    if not (
        (type(member), type(form), type(folded)) == (str, str, bool)
        and _are_sizes([width, height, masked, half, *values.values(), *palette])
        and all(map(_is_value, known))
        and all(isinstance(one, str) and one != NAN for one in colours)
        and len(values) == len(pairs)
    ):
        raise ValueError("counts are malformed")
    counts = ValueCounts(values, masked, half, folded)
    mask = MaskCounts(width, height, counts, nodata, palette or None, form)
    return Counted(member, mask, size=(width, height))


def _are_sizes(found: Iterable[object]) -> bool:
    # isinstance would accept true and false of JSON as integers.
    return all(type(one) is int and one >= 0 for one in found)


def _is_value(found: object) -> bool:
    if isinstance(found, str):
        return found == NAN or bool(re.fullmatch("#[0-9a-f]{6}", found))
    return type(found) is int or (isinstance(found, float) and not math.isnan(found))


class Cache:
    """Counts of files in a database; temporary if no path is given."""

    def __init__(
        self, path: Path | None, band: int | None = None, edges: Edges | None = None
    ) -> None:
        self._path = path
        self._here = os.getcwd()  # noqa: PTH109 - joined as text
        self._band = band or 0
        self._edges = " ".join(map(repr, edges)) if edges else ""
        self._waiting: list[tuple[str, bool, str]] = []
        self._written = time.monotonic()
        if path is not None:
            _create_or_check(path)
        with self._naming_file():
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
        """Create the table in a new file; check the version of an existing cache."""
        with self._transaction():
            application = self._number("application_id")
            if not application and not self._number("schema_version"):
                self._database.execute(_TABLE)
                self._database.execute(f"PRAGMA application_id = {_APPLICATION}")
                self._database.execute(f"PRAGMA user_version = {SCHEMA}")
            elif application != _APPLICATION:
                raise UsageError(_foreign_text(self._path))
            elif self._number("user_version") != SCHEMA:
                raise UsageError(
                    f"{self._path}: is a cache of another version of cdstats. It was "
                    "not changed; remove it, or name another file"
                )
        # With a write-ahead log, commits survive a crash of the program without a disk
        # write each, and other runs may read during a write.
        self._retry_if_locked("PRAGMA journal_mode = WAL")
        self._database.execute("PRAGMA synchronous = NORMAL")

    def _retry_if_locked(self, line: str) -> None:
        """Run a statement again while another run has locked the database.

        For such statements SQLite does not apply its own timeout.
        """
        end = time.monotonic() + _WAIT_SECONDS
        while True:
            try:
                self._database.execute(line)
            except sqlite3.OperationalError as error:
                # The lowest byte of an extended error code is the primary code.
                is_busy = error.sqlite_errorcode & 0xFF == sqlite3.SQLITE_BUSY
                if not is_busy or time.monotonic() > end:
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

    def _naming_file(self) -> AbstractContextManager[None]:
        return naming_file(self._path or "the temporary file of counts")

    @property
    def is_temporary(self) -> bool:
        """Whether the cache is deleted at the end of the run."""
        return self._path is None

    def find(self, task: Task, stamp: Stamp) -> list[Counted] | None:
        """The masks of a finished file, or None."""
        for edges in dict.fromkeys(("", self._edges)):
            found = self._look(task, stamp, edges)
            if found is not None:
                return found[0] if found[1] else None
        return None

    def get(self, task: Task, stamp: Stamp) -> list[Counted] | None:
        """The masks of a file that this run has stored, finished or not, or None."""
        self.flush()
        found = self._look(task, stamp, "")
        return found[0] if found else None

    def _look(
        self, task: Task, stamp: Stamp, edges: str
    ) -> tuple[list[Counted], bool] | None:
        key = self._key(task, stamp, edges)
        with self._naming_file():
            row = self._database.execute(_FIND, [key]).fetchone()
            if row is None:
                return None
            text, checksum, finished = row
            # SQLite stores booleans as 0 and 1.
            known = isinstance(text, str) and finished in (0, 1)
            if not known or _checksum(key, text, finished) != checksum:
                raise ValueError(f"wrong checksum of the counts of {task.path}")
            masks = from_text(text)
            if finished and any(one.mask is None for one in masks):
                raise ValueError("a failed mask is marked as finished")
            return masks, bool(finished)

    def put(self, task: Task, state: State) -> None:
        """Store the state of a file; states are written in batches."""
        key = self._key(task, state.stamp, self._edges if state.folded else "")
        self._waiting.append((key, state.finished, to_text(state.counted)))
        late = time.monotonic() - self._written > _BATCH_SECONDS
        if late or len(self._waiting) >= _BATCH:
            self.flush()

    def flush(self) -> None:
        """Write the states that are waiting."""
        self._written = time.monotonic()
        rows = [(*one, _checksum(one[0], one[2], one[1])) for one in self._waiting]
        if rows:
            with self._naming_file(), self._transaction():
                self._database.executemany(_PUT, rows)
            self._waiting.clear()

    def _key(self, task: Task, stamp: Stamp, edges: str) -> str:
        partner = self._place(task.partner) if task.partner else ""
        place = self._place(task.path), task.member, partner
        return repr((*place, self._band, edges, *stamp, READERS))

    def _place(self, path: str) -> str:
        """An absolute path with symbolic links kept, or a URL without its secrets."""
        if is_address(path):
            from cdstats.io.stores import kept_name

            return kept_name(path)
        return os.path.normpath(os.path.join(self._here, path))  # noqa: PTH118

    def copy_to(self, path: Path) -> None:
        """Copy the entries of finished files to a new or empty file."""
        self.flush()
        with self._naming_file():
            self._database.execute("DELETE FROM states WHERE NOT finished")
        try:
            self._database.execute("VACUUM INTO ?", (str(path),))
        except sqlite3.Error as error:
            raise DataError(f"{path}: cannot be written: {error}") from None

    def close(self) -> None:
        """Write the states that are waiting, and close the database."""
        if self._close.alive:
            try:
                self.flush()
            finally:
                self._close()


def states_in(path: Path) -> int:
    """Number of files in a cache."""
    with naming_file(path), closing(sqlite3.connect(path)) as database:
        (count,) = database.execute("SELECT COUNT(*) FROM states").fetchone()
        return int(count)


def _checksum(key: str, text: str, finished: bool) -> int:
    return zlib.crc32(f"{key}\n{bool(finished)}\n{text}".encode())


def _create_or_check(path: Path) -> None:
    """Create a new file, or refuse an existing file that is not an SQLite database."""
    try:
        # SQLite would create the file with permissions that ignore the umask.
        path.touch()
        with path.open("rb") as file:
            head = file.read(16)
    except OSError as error:
        reason = (error.strerror or str(error)).lower()
        raise DataError(f"{path}: cannot be used: {reason}") from None
    if head not in (b"", SQLITE):
        raise UsageError(_foreign_text(path))


def _foreign_text(path: Path | None) -> str:
    return f"{path}: is not a cdstats cache. It was not changed; name another file"


@contextmanager
def naming_file(where: object) -> Iterator[None]:
    """Name the file in errors of a database or of its contents."""
    try:
        yield
    except CdstatsError:
        raise
    except (sqlite3.DatabaseError, ValueError) as error:
        reason = "invalid text" if "decode" in str(error) else error
        if isinstance(error, sqlite3.OperationalError) and reason is error:
            raise DataError(f"{where}: cannot be used: {error}") from None
        raise DataError(
            f"{where}: is damaged ({reason}); remove it, or name another file"
        ) from None
