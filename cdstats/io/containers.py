"""Archives (zip, tar, tar.gz) as folders whose files are named ``ARCHIVE!member``.

Nothing is unpacked to disk: members are read into memory, and the archive stays open.
A tar.gz is read forward; members similar to the wanted one are kept on the way, because
they are likely to be read next.
"""

from __future__ import annotations

import os
import posixpath
import re
import threading
import weakref
from glob import glob, has_magic
from pathlib import Path, PurePath, PurePosixPath
from typing import IO, TYPE_CHECKING, Any, Final, Generic, NamedTuple, TypeVar

from cdstats.core.errors import DataError, UsageError
from cdstats.io.naming import naturally
from cdstats.io.signatures import PART_ENDINGS

if TYPE_CHECKING:
    from collections.abc import Iterable

ENDING: Final = ".parquet"
_OF_PARTS: Final = re.compile(
    rf"(?i)(?:{'|'.join(map(re.escape, (ENDING, *PART_ENDINGS)))})#"
)
_ENDS: Final = (".zip", ".tar", ".tar.gz", ".tgz")
_MEMBER: Final = re.compile(r"(?i)[^/]\.(?:zip|tgz|tar(?:\.gz)?)!")
_PART: Final = re.compile(rf"{_MEMBER.pattern}|[^/]\.parquet#")
_RANGE: Final = re.compile(r"\{(\d+)\.\.(\d+)\}")
_VARIES: Final = re.compile(rf"[*?\[]|{_RANGE.pattern}")
_MOST_IN_RANGE: Final = 100_000
_MOST_OPEN: Final = 16
_LONGEST, _DEEPEST = 4096, 100
_OUT: Final = "names must not point outside the archive"
_TOO_LONG: Final = (
    f"names are limited to {_LONGEST:,} characters and {_DEEPEST} folders"
)


def is_parquet(path: str) -> bool:
    """Whether a path ends as a Parquet file does."""
    return path.lower().endswith(ENDING)


def member_in(text: str) -> tuple[str, str]:
    """Split a typed path into the file and the text after ``#``.

    Example:
        >>> member_in("a.npz#mask"), member_in("a.h5#label#3"), member_in("a.png")
        (('a.npz', 'mask'), ('a.h5', 'label#3'), ('a.png', ''))
    """
    if found := _OF_PARTS.search(text):
        return text[: found.end() - 1], text[found.end() :]
    file, hash_, member = text.rpartition("#")
    return (file, member) if hash_ else (text, "")


class Inside(NamedTuple):
    """A path in an archive; an empty member means the whole archive."""

    archive: str
    member: str


def inside(path: str) -> Inside | None:
    """Split a path into archive and member; None if it names a file.

    An existing path always counts as a file.
    """
    if "!" not in path and "#" not in path:
        return None
    for archive, member in _ways(path, _PART):
        if os.path.isfile(archive):  # noqa: PTH113 - a million files
            return None if os.path.lexists(path) else Inside(archive, member)
    return None


def _ways(text: str, mark: re.Pattern[str] = _MEMBER) -> list[Inside]:
    """All ways to split a text into archive and member."""
    ends = [found.end() for found in mark.finditer(text)]
    return [Inside(text[: end - 1], text[end:].strip("/")) for end in ends]


def typed_inside(text: str) -> Inside | None:
    """Split what a user types into archives and members; both may be patterns.

    Example:
        >>> typed_inside("shards/{00..12}.tar!{}.label.png")
        Inside(archive='shards/{00..12}.tar', member='{}.label.png')
        >>> typed_inside("label/*.png") is None
        True
    """
    is_whole = text.lower().endswith(_ENDS)
    if os.path.lexists(text):
        return Inside(text, "") if is_whole and os.path.isfile(text) else None  # noqa: PTH113
    ways = _ways(text)
    if is_whole and _VARIES.search(text):
        ways.append(Inside(text, ""))
    ways.sort(key=lambda way: not os.path.isfile(way.archive))  # noqa: PTH113
    return ways[0] if ways else None


def pattern_in(text: str) -> str:
    """The pattern part of a typed path; of a path in an archive, the member."""
    found = typed_inside(text)
    return found.member if found else text


def inner_name(name: str) -> str | None:
    """The path within the archive, given a member's name; None for other files.

    Example:
        >>> inner_name("LEVIR.zip!test/1.png"), inner_name("test/1.png")
        ('test/1.png', None)
    """
    return next((way.member for way in _ways(name)), None)


def shared_folder(names: Iterable[str]) -> str:
    """The common folder of all members within their archives, ending with a slash.

    It is dropped from names: ``LEVIR/`` in ``LEVIR.zip!LEVIR/test/1.png``.
    """
    inner = (inner_name(name) for name in names)
    above = {name.rpartition("/")[0] for name in inner if name is not None}
    shared = posixpath.commonpath(above) if above else ""
    return f"{shared}/" if shared else ""


def archives_in(text: str) -> list[str]:
    """The archives that a path, a range or a glob matches, in natural order."""
    if os.path.isfile(text):  # noqa: PTH113 - as typed
        return [text]
    braces = [one for one in re.findall(r"\{[^{}]*\}", text) if not _RANGE.match(one)]
    if braces:
        raise UsageError(
            f"{text}: {braces[0]} does not vary the archive name; expected a "
            "range such as {0000..0009}, or *"
        )
    texts = [text]
    while _RANGE.search(texts[0]):
        texts = _expanded(texts)
    found = list[str]()
    for one in texts:
        found += naturally(glob(one, recursive=True)) if has_magic(one) else [one]  # noqa: PTH207 - as typed
    if not found:
        raise DataError(f"{text}: matches no archive")
    return found


def _expanded(texts: list[str]) -> list[str]:
    """Expand the first range of each text."""
    found = list[str]()
    for text in texts:
        before, first, last, after = _RANGE.split(text, 1)
        numbers = range(int(first), int(last) + 1)
        if not 0 < len(numbers) * len(texts) <= _MOST_IN_RANGE:
            raise UsageError(
                f"{text}: {{{first}..{last}}} is not a range of archives; expected the "
                f"lower number first, and at most {_MOST_IN_RANGE:,} archives"
            )
        found += [f"{before}{one:0{len(first)}}{after}" for one in numbers]
    return found


def is_archive(name: str) -> bool:
    """Whether a name is that of an archive or of a member of one."""
    return name.lower().endswith(_ENDS) or bool(_MEMBER.search(name))


def stem_of(path: str) -> str:
    """The name of an archive without its extension.

    Example:
        >>> stem_of("data/LEVIR.tar.gz")
        'LEVIR'
    """
    name = PurePosixPath(path).name
    return next(name[: -len(e)] for e in reversed(_ENDS) if name.lower().endswith(e))


def as_folder(path: str) -> PurePath:
    """The absolute path, with an archive treated as a folder."""
    found = inside(path)
    if found is None or not is_archive(found.archive):
        return PurePath(os.path.abspath(path))  # noqa: PTH100 - follows no link
    return PurePath(f"{os.path.abspath(found.archive)}!", found.member)  # noqa: PTH100


def file_on_disk(path: str) -> str:
    """The file on disk behind a path: the archive of a member, or the file itself."""
    found = inside(path)
    return found.archive if found else path


def are_same(path: str, other: str) -> bool:
    """Whether two paths name the same file or the same member."""
    one, two = inside(path), inside(other)
    if (one and one.member) != (two and two.member):
        return False
    try:
        return os.path.samefile(file_on_disk(path), file_on_disk(other))  # noqa: PTH121
    except OSError:
        return False


def read_member(path: str) -> bytes:
    """Read a member and verify its checksum.

    Raises:
        DataError: If the member does not exist or cannot be read.
    """
    found = inside(path)
    if found is None:
        raise DataError("is not a member of an archive")
    with _LOCK:
        last = _LAST.get(path)
        archive = open_archive(found.archive, found.member)
        if last is None or last[0] is not archive:
            last = archive, archive.read(found.member)
            # A prediction and its mask are often read twice in a row.
            while len(_LAST) > 1:
                del _LAST[next(iter(_LAST))]
            _LAST[path] = last
    return last[1]


Member = TypeVar("Member")


class Archive(Generic[Member]):
    """An archive, with its members (without folders) by name.

    Attributes:
        hostile: Names of members that are never read, by reason.
        close: Closes the file.
    """

    def __init__(self, path: str) -> None:
        self.path = Path(path)
        self.members: dict[str, Member] = {}
        self.hostile: dict[str, list[str]] = {}
        self._file: IO[bytes] = self.path.open("rb")
        self.close = weakref.finalize(self, self._file.close)

    def read(self, name: str) -> bytes:
        """The bytes of a member."""
        if name not in self.members:
            raise DataError(f"is not in the archive {self.path.name}")
        return self._read(name, self.members[name])

    def _read(self, name: str, member: Member) -> bytes:
        raise NotImplementedError

    def _add(self, typed: str, member: Member) -> str:
        """Register a member; returns its name, or an empty text if it is hostile."""
        parts = [part for part in typed.split("/") if part not in ("", ".")]
        leads_out = typed.startswith("/") or ".." in parts or "\0" in typed
        if not parts or leads_out or len(parts) > _DEEPEST or len(typed) > _LONGEST:
            self.hostile.setdefault(_OUT if leads_out else _TOO_LONG, []).append(typed)
            return ""
        name = "/".join(parts)
        if name in self.members:
            raise DataError(
                f"holds two members of the name {name!r}, and programs differ on which "
                "to read; pack it again"
            )
        self.members[name] = member
        return name


_LOCK: Final = threading.RLock()
_OPEN: Final[dict[tuple[str, int, int, int], Archive[Any]]] = {}
_LAST: Final[dict[str, tuple[Archive[Any], bytes]]] = {}


def open_archive(path: str, wanted: str = "") -> Archive[Any]:
    """Open an archive on this machine, which stays open for its members.

    Raises:
        DataError: If it is damaged or has duplicate member names.
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
