"""Reading archives, zip and tar, member by member: all of each, and nothing twice."""

from __future__ import annotations

import gzip
import io
import stat
import struct
import tarfile
import zipfile
from bisect import bisect_left
from contextlib import contextmanager
from typing import IO, TYPE_CHECKING, Final, NamedTuple, cast

from cdstats.core.errors import DataError
from cdstats.io.containers import Archive
from cdstats.io.limits import check_memory, memory_share
from cdstats.io.signatures import file_format

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

_END_MARK: Final = b"PK\5\6"
_END_LENGTH: Final = 22
_END_BYTES: Final = 1 << 17
"""Last bytes of an archive among which its end is looked for."""
_PART_LENGTH: Final = 30
_BETWEEN: Final = 24
"""Bytes behind a part at most: its sum and lengths may lie there."""
_WAY_OUT: Final = "unpack the archive and name its folder"
_HEADER_BYTES: Final = 1 << 20
"""Bytes of the longest name and other facts of a member of a tar archive."""
_GZIP: Final = b"\x1f\x8b"
_PIECE: Final = 1 << 20
_ENTRY_BYTES: Final = 1 << 10
"""Memory that the facts of a member take, about."""
_CHECKED: Final = 1 << 12
"""Members after which the memory for their facts is checked again."""
_KEPT_SHARE: Final = 4
"""Members that are passed take one part in this of the memory of a process."""
_ENCRYPTED, _UTF8 = 1, 0x800
_PACKED: Final = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)
"""How members of a zip archive may be packed; the others unpack to any length."""


def check_parts(path: Path, archive: zipfile.ZipFile, kind: str) -> None:
    """Refuse an archive whose parts are not all that it is made of.

    Readers take the first archive of a file or the last one, the first part of a name
    or the last one, and no part that the archive does not list.
    """
    parts = sorted(archive.infolist(), key=lambda part: part.header_offset)
    # NumPy and its readers leave the extension out.
    names = {part.filename.removesuffix(".npy") for part in parts}
    if len(names) < len(parts):
        raise DataError(f"{kind} file is damaged: it holds two parts of one name")
    with path.open("rb") as file:
        end = 0
        for start, part in [
            *((one.header_offset, one) for one in parts),
            (archive.start_dir, None),
        ]:
            if not 0 <= start - end <= _BETWEEN:
                raise DataError(
                    f"{kind} file is damaged: its parts overlap or are not all listed, "
                    "or another file lies beside them"
                )
            if part is not None:
                # Its own header repeats its name, and has a length of its own.
                file.seek(start + 26)
                lengths = struct.unpack("<2H", file.read(4))
                code = "utf-8" if part.flag_bits & _UTF8 else "cp437"
                if file.read(lengths[0]) != part.orig_filename.encode(code):
                    raise DataError(
                        f"{kind} file is damaged: it lists a part by another name than "
                        f"its own, {part.orig_filename!r}"
                    )
                end = start + _PART_LENGTH + sum(lengths) + part.compress_size
        file.seek(max(file.seek(0, io.SEEK_END) - _END_BYTES, 0))
        tail = file.read()
    end = tail.rfind(_END_MARK) + _END_LENGTH + len(archive.comment)
    if file_format(tail[end:].lstrip(b"\0")[:16]):
        raise DataError(f"{kind} file holds another file beside its parts; split them")


@contextmanager
def _damage(kind: str) -> Iterator[None]:
    try:
        yield
    except (DataError, MemoryError):
        raise
    except Exception as error:  # noqa: BLE001 - damage raises many kinds
        text = str(error) or type(error).__name__
        raise DataError(f"{kind} archive is damaged or cut short: {text}") from None


class ZipArchive(Archive[zipfile.ZipInfo]):
    """A zip archive; each member is inflated by itself."""

    def __init__(self, path: str) -> None:
        super().__init__(path)
        with _damage("zip"):
            self._zip = zipfile.ZipFile(self._file)
            check_parts(self.path, self._zip, "zip")
        for info in self._zip.infolist():
            if not info.is_dir():
                # Some programs of Windows write the separator of its paths.
                self._add(info.filename.replace("\\", "/"), info)

    def _read(self, _: str, info: zipfile.ZipInfo) -> bytes:
        if info.flag_bits & _ENCRYPTED:
            raise DataError(f"is encrypted; {_WAY_OUT}")
        if stat.S_ISLNK(info.external_attr >> 16):
            raise DataError(f"is a link in its archive; {_WAY_OUT}")
        if info.compress_type not in _PACKED:
            raise DataError(f"is not packed by deflate; {_WAY_OUT}")
        check_memory(info.file_size + info.compress_size, _WAY_OUT)
        with _damage("zip"):
            data = self._zip.read(info)
        if len(data) != info.file_size:
            raise DataError(
                "zip archive is damaged: a member has another size than told"
            )
        return data


class _Place(NamedTuple):
    """Where the bytes of a member of a tar archive are; why they cannot be read."""

    start: int
    size: int
    refused: str


class _Header:
    """A tar archive as its headers are read: none may fill the memory."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file
        self.last = b""
        self.seek, self.tell = file.seek, file.tell

    def read(self, size: int) -> bytes:
        if not 0 <= size <= _HEADER_BYTES:
            raise DataError(
                "tar archive is damaged: the header of a member is too long"
            )
        self.last = self._file.read(size)
        return self.last


class TarArchive(Archive[_Place]):
    """A tar archive, or one packed by gzip, which is read forward.

    Args:
        wanted: The member that will be read first.
    """

    def __init__(self, path: str, wanted: str) -> None:
        super().__init__(path)
        # By its first bytes: a download is often named otherwise.
        self._packed = self._file.read(len(_GZIP)) == _GZIP
        self._file.seek(0)
        self._kind = "tar.gz" if self._packed else "tar"
        if self._packed:
            self._file = cast("IO[bytes]", gzip.GzipFile(fileobj=self._file))
        self._order: list[tuple[int, str]] = []
        self._kept: dict[str, bytes] = {}
        self._left = memory_share() // _KEPT_SHARE
        self._likes = {_likeness(wanted)} if wanted and self._packed else set()
        with _damage(self._kind):
            self._index()

    def _index(self) -> None:
        """Note where the members are; of a packed archive, keep those wanted."""
        header, end = _Header(self._file), -1
        with tarfile.open(fileobj=header, mode="r:") as held:  # type: ignore[call-overload]
            while (info := held.next()) is not None:
                held.members.clear()  # it would keep them all
                if info.offset <= end or info.size < 0:
                    raise DataError("tar archive is damaged: its members overlap")
                end = info.offset
                if info.isdir():
                    continue
                place = _place(info)
                if name := self._add(info.name, place):
                    self._order.append((place.start, name))
                if len(self.members) % _CHECKED == 0:
                    check_memory(len(self.members) * _ENTRY_BYTES, _WAY_OUT)
                if name and _likeness(name) in self._likes:
                    self._keep(name, place)
        if header.last != bytes(tarfile.BLOCKSIZE):
            raise DataError(
                f"{self._kind} archive is damaged or cut short: it has no end"
            )
        # To its end, where gzip keeps its check sum.
        zeros = 0
        while piece := self._file.read(_PIECE):
            zeros += len(piece)
            if piece.strip(b"\0"):
                raise DataError(
                    f"{self._kind} archive holds more behind its end; split it"
                )
        if not self._packed and zeros >= tarfile.RECORDSIZE + tarfile.BLOCKSIZE:
            raise DataError(
                f"tar archive is damaged or cut short: it ends with {zeros:,} zeros, "
                "as a download that stopped does. Pack it again if it is right"
            )

    def _keep(self, name: str, place: _Place, *, drop: bool = False) -> None:
        """Keep a member that is passed, within the budget; earlier ones are dropped."""
        if place.refused or name in self._kept:
            return
        while drop and self._kept and place.size > self._left:
            self._left += len(self._kept.pop(next(iter(self._kept))))
        if place.size <= self._left:
            self._left -= place.size
            self._kept[name] = self._bytes(place)

    def _bytes(self, place: _Place) -> bytes:
        self._file.seek(place.start)
        data = self._file.read(place.size)
        if len(data) < place.size:
            raise DataError(f"{self._kind} archive was changed while it was read")
        return data

    def _read(self, name: str, place: _Place) -> bytes:
        if place.refused:
            raise DataError(place.refused)
        if name in self._kept:
            return self._kept[name]
        check_memory(place.size, _WAY_OUT)
        with _damage(self._kind):
            if self._packed and self._pass(name, place):
                return self._kept[name]
            return self._bytes(place)

    def _pass(self, name: str, wanted: _Place) -> bool:
        """Keep members like one on the way to it, or all of them for the first one."""
        is_first = (like := _likeness(name)) not in self._likes
        self._likes.add(like)
        at = self._file.tell()
        first = (
            0 if is_first or at > wanted.start else bisect_left(self._order, (at, ""))
        )
        last = None if is_first else bisect_left(self._order, (wanted.start, ""))
        likes = {like} if is_first else self._likes
        for _, other in self._order[first:last]:
            if _likeness(other) in likes:
                self._keep(other, self.members[other], drop=not is_first)
        return name in self._kept


def _likeness(name: str) -> tuple[str, str]:
    """The folder of a member and the end of its name: alike for all masks."""
    folder, _, last = name.rpartition("/")
    return folder, last.partition(".")[2]


def _place(info: tarfile.TarInfo) -> _Place:
    is_file = info.isreg() and not info.issparse()
    why = "" if is_file else f"is a link, sparse or a device in its archive; {_WAY_OUT}"
    return _Place(info.offset_data, info.size, why)
