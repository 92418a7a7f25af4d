"""Image rows of any number, stored on disk in the order of their files."""

from __future__ import annotations

import sqlite3
import weakref
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any, Final

from cdstats.core.counts import PixelCounts
from cdstats.core.errors import counted
from cdstats.core.records import ImageRecord
from cdstats.scan.cache import naming_file

if TYPE_CHECKING:
    from cdstats.core.counts import CountedMask
    from cdstats.scan.places import Places

_TABLE: Final = """
CREATE TABLE rows (
    file INTEGER NOT NULL,
    number INTEGER NOT NULL,
    member BLOB NOT NULL,
    width INTEGER,
    height INTEGER,
    changed INTEGER,
    unchanged INTEGER,
    ignored INTEGER,
    change_ratio REAL,
    rule INTEGER NOT NULL,
    reason BLOB NOT NULL,
    PRIMARY KEY (file, number)
) WITHOUT ROWID
"""
_PUT: Final = "INSERT INTO rows VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"
_ALL: Final = "SELECT * FROM rows "
_IN_ORDER: Final = " ORDER BY file, number "
_WHERE: Final = "the temporary file of rows"
_BATCH: Final = 256
"""Rows written in one transaction."""
_FAILED: Final = -1
"""Rule number of a failed row."""
_ENCODING: Final = ("utf-8", "surrogatepass")


def row_name(name: str, member: str, part: str) -> str:
    """The path of a row; an image of a stack has its number appended.

    Example:
        >>> row_name("stack.npy", "", "#3"), row_name("stack.npy#3", "3", "#3")
        ('stack.npy#3', 'stack.npy#3')
    """
    return name if member and name.endswith(part) else f"{name}{part}"


def failures(rows: Sequence[ImageRecord], leave_out: str) -> Iterator[ImageRecord]:
    """The failed rows, except rows whose reason starts with ``leave_out``."""
    if isinstance(rows, StoredImages):
        return rows.failed(leave_out)
    failed = (row for row in rows if row.status == "failed")
    return (r for r in failed if not (leave_out and r.reason.startswith(leave_out)))


class StoredImages(Sequence[ImageRecord]):
    """Image rows in a temporary database, each built on access.

    The database is deleted with this object.
    """

    def __init__(self, places: Places) -> None:
        self._places = places
        self.reword: Callable[[str], str] = str
        self._rules: dict[str, int] = {}
        self._names: list[str] = []
        self._number = 0
        self._is_plain = True
        self._waiting: list[tuple[Any, ...]] = []
        # No journal is needed, because the rows do not outlive the program.
        self._database = sqlite3.connect(
            "", isolation_level=None, check_same_thread=False
        )
        weakref.finalize(self, self._database.close)
        for line in ("journal_mode = OFF", "synchronous = OFF"):
            self._database.execute(f"PRAGMA {line}")
        self._database.execute(_TABLE)
        self._database.execute("BEGIN")

    def put(self, place: int, number: int, mask: CountedMask, row: ImageRecord) -> None:
        """Store the row of a mask."""
        rule = _FAILED
        if row.status == "ok":
            rule = self._rules.setdefault(row.rule, len(self._rules))
            self._names = self._names if rule < len(self._names) else [*self._rules]
        member, reason = (
            t.encode(*_ENCODING) for t in (mask.counted.member, row.reason)
        )
        counts = (row.width, row.height, row.changed, row.unchanged, row.ignored)
        values = (place, number, member, *counts, row.change_ratio, rule, reason)
        self._waiting.append(values)
        if len(self._waiting) >= _BATCH:
            self._write()
        self._number += 1
        self._is_plain &= number == 0

    def _write(self) -> None:
        waiting, self._waiting = self._waiting, []
        with naming_file(_WHERE):
            self._database.executemany(_PUT, waiting)

    def _record(self, values: tuple[Any, ...]) -> ImageRecord:
        place, _, member, width, height, *labels, _, rule, reason = values
        _, dataset, file = self._places[place]
        path = row_name(file.name, file.member, member.decode(*_ENCODING))
        name = (dataset, file.split, path)
        if rule == _FAILED:
            size = None if width is None else (width, height)
            text = self.reword(reason.decode(*_ENCODING))
            return ImageRecord.failed(name, text, size)
        counts = PixelCounts(*labels)
        return ImageRecord.counted(name, (width, height), counts, self._names[rule])

    def _records(self, rest: str, *values: object) -> Iterator[ImageRecord]:
        if self._waiting:
            self._write()
        with naming_file(_WHERE):
            for row in self._database.execute(_ALL + rest, values):
                yield self._record(row)

    def of_files(self, files: range) -> Iterator[ImageRecord]:
        """The rows of a range of files."""
        where = "WHERE file >= ? AND file < ?"
        return self._records(where + _IN_ORDER, files.start, files.stop)

    def failed(self, leave_out: str = "") -> Iterator[ImageRecord]:
        """The failed rows."""
        start = leave_out.encode(*_ENCODING)
        where = "WHERE rule = ? AND (? = x'' OR substr(reason, 1, ?) <> ?)"
        values = (_FAILED, start, len(start), start)
        return self._records(where + _IN_ORDER, *values)

    def by_most(self, column: str) -> Iterator[ImageRecord]:
        """The rows in descending order of a column; rows without a value come last."""
        if column not in ("change_ratio", "changed"):
            raise ValueError(f"rows cannot be sorted by {column!r}")
        return self._records(f"ORDER BY {column} IS NULL, {column} DESC, file, number")

    def __len__(self) -> int:
        return self._number

    def __iter__(self) -> Iterator[ImageRecord]:
        return self._records(_IN_ORDER)

    def __getitem__(self, place: Any) -> Any:  # noqa: ANN401 - as of any sequence
        if isinstance(place, slice):
            return tuple(self[number] for number in range(len(self))[place])
        number = range(len(self))[place]
        if self._is_plain and len(self) == len(self._places):
            return next(self.of_files(range(number, number + 1)))
        return next(self._records(f"{_IN_ORDER} LIMIT 1 OFFSET ?", number))

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Sequence) or len(self) != len(other):
            return False
        return all(one == another for one, another in zip(self, other, strict=True))

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        return f"<{counted(len(self), 'image row')}>"

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickle as a tuple of rows, because another process has no such database."""
        return tuple, (tuple(self),)
