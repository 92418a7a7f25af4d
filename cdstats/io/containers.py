"""Archives (zip, tar, tar.gz) as folders of files that are named ``ARCHIVE!member``.

Nothing is unpacked to disk: a member is read into memory, and its archive stays open.
Members of a tar.gz are read in their order in the archive; those of the same kind that
are passed on the way are kept, as they will be asked for.
"""

from __future__ import annotations

import os
import re
import threading
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from cdstats.core.errors import DataError

if TYPE_CHECKING:
    from cdstats.io.archives import Archive

_ENDING: Final = re.compile(
    r"(?i)[^/](?:(?:\.zip|\.tar|\.tar\.gz|\.tgz)(?=!|\Z)|\.parquet(?=#))"
)
_MOST_OPEN: Final = 16


class Inside(NamedTuple):
    """A path in an archive, as typed or stored; empty for all of the archive."""

    archive: str
    member: str


def inside(path: str) -> Inside | None:
    """The archive and the member that a path names; None where it names a file.

    An existing path is a file whatever its name.
    """
    if "!" not in path and "#" not in path:
        return None
    for found in _ENDING.finditer(path):
        archive, member = path[: found.end()], path[found.end() :]
        if member and os.path.isfile(archive):  # noqa: PTH113 - a million files
            exists = os.path.lexists(path)
            return None if exists else Inside(archive, member.lstrip("!#/"))
    return None


def file_on_disk(path: str) -> str:
    """The file that holds what a path names: an archive, or the file itself."""
    found = inside(path)
    return found.archive if found else path


def read_member(path: str) -> bytes:
    """The bytes of a member, all of them checked.

    Raises:
        DataError: If there is no such member, or it cannot be read.
    """
    found = inside(path)
    if found is None:
        raise DataError("is no member of an archive")
    with _LOCK:
        last = _LAST.get(path)
        archive = open_archive(found.archive, found.member)
        if last is None or last[0] is not archive:
            last = archive, archive.read(found.member)
            # A prediction and its mask are often asked for again at once.
            while len(_LAST) > 1:
                del _LAST[next(iter(_LAST))]
            _LAST[path] = last
    return last[1]


_LOCK: Final = threading.RLock()
_OPEN: Final[dict[tuple[str, int, int, int], Archive[Any]]] = {}
_LAST: Final[dict[str, tuple[Archive[Any], bytes]]] = {}


def open_archive(path: str, wanted: str = "") -> Archive[Any]:
    """An archive of this machine, which stays open; it is opened to read a member.

    Raises:
        DataError: If it is damaged, or names members in a way that has two meanings.
    """
    with _LOCK:
        found = os.stat(path)  # noqa: PTH116 - for each member
        key = (os.path.abspath(path), found.st_size, found.st_mtime_ns, found.st_ino)  # noqa: PTH100
        archive = _OPEN.pop(key, None)
        if archive is None:
            archive = _opened(path, wanted)
            while len(_OPEN) >= _MOST_OPEN:
                _OPEN.pop(next(iter(_OPEN))).close()
        _OPEN[key] = archive
        return archive


def _opened(path: str, wanted: str) -> Archive[Any]:
    if path.lower().endswith(".parquet"):
        from cdstats.io.parquet import ParquetFile

        return ParquetFile(path)
    from cdstats.io.archives import TarArchive, ZipArchive

    is_zip = path.lower().endswith(".zip")
    return ZipArchive(path) if is_zip else TarArchive(path, wanted)
