"""Zip and tar archives, read by member; hidden or missing data is refused."""

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
"""Number of bytes at the end of a file that are searched for the end record."""
_PART_LENGTH: Final = 30
_BETWEEN: Final = 24
"""Most bytes after a part: the data descriptor with checksum and lengths."""
_WAY_OUT: Final = "unpack the archive and name its folder"
_HEADER_BYTES: Final = 1 << 20
"""Limit for the header of one tar member, including its name."""
_GZIP: Final = b"\x1f\x8b"
_PIECE: Final = 1 << 20
_ENTRY_BYTES: Final = 1 << 10
"""Approximate memory per listed member."""
_CHECKED: Final = 1 << 12
"""Members added between two checks of the memory for the list."""
_KEPT_SHARE: Final = 4
"""Members kept while reading forward may use 1/4 of a process's memory."""
_ENCRYPTED, _UTF8 = 1, 0x800
_PACKED: Final = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)
"""Supported compression methods; the others may inflate without limit."""


def check_parts(path: Path, archive: zipfile.ZipFile, kind: str) -> None:
    """Refuse an archive with duplicate names, or data that it does not list.

    Programs differ on which of two archives in one file, or which of two parts of one
    name, they read.
    """
    parts = sorted(archive.infolist(), key=lambda part: part.header_offset)
    # NumPy strips .npy from the names of parts.
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
                    f"{kind} file is damaged: its parts overlap, or it holds "
                    "another file or data that it does not list"
                )
            if part is not None:
                # The local header repeats the name; its length differs from the list's.
                file.seek(start + 26)
                lengths = struct.unpack("<2H", file.read(4))
                code = "utf-8" if part.flag_bits & _UTF8 else "cp437"
                if file.read(lengths[0]) != part.orig_filename.encode(code):
                    raise DataError(
                        f"{kind} file is damaged: the listed name of part "
                        f"{part.orig_filename!r} differs from that in its header"
                    )
                end = start + _PART_LENGTH + sum(lengths) + part.compress_size
        file.seek(max(file.seek(0, io.SEEK_END) - _END_BYTES, 0))
        tail = file.read()
    end = tail.rfind(_END_MARK) + _END_LENGTH + len(archive.comment)
    if file_format(tail[end:].lstrip(b"\0")[:16]):
        raise DataError(f"{kind} file is followed by another file; split them")


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
    """A zip archive; each member is inflated separately."""

    def __init__(self, path: str) -> None:
        super().__init__(path)
        with _damage("zip"):
            self._zip = zipfile.ZipFile(self._file)
            check_parts(self.path, self._zip, "zip")
        for info in self._zip.infolist():
            if not info.is_dir():
                # Some Windows programs write backslashes.
                self._add(info.filename.replace("\\", "/"), info)

    def _read(self, _: str, info: zipfile.ZipInfo) -> bytes:
        if info.flag_bits & _ENCRYPTED:
            raise DataError(f"is encrypted; {_WAY_OUT}")
        if stat.S_ISLNK(info.external_attr >> 16):
            raise DataError(f"is a link; {_WAY_OUT}")
        if info.compress_type not in _PACKED:
            raise DataError(f"uses a compression other than deflate; {_WAY_OUT}")
        check_memory(info.file_size + info.compress_size, _WAY_OUT)
        with _damage("zip"):
            data = self._zip.read(info)
        if len(data) != info.file_size:
            raise DataError(
                "zip archive is damaged: the size of a member differs from its header"
            )
        return data


class _Place(NamedTuple):
    """Position of a tar member, and the reason if it cannot be read."""

    start: int
    size: int
    refused: str


class _Header:
    """Reads the headers of a tar archive and limits their size."""

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
    """A tar or tar.gz archive; the latter is read forward only.

    Args:
        wanted: The member to read first.
    """

    def __init__(self, path: str, wanted: str) -> None:
        super().__init__(path)
        # The first bytes decide, because downloads often have the wrong name.
        self._packed = self._file.read(len(_GZIP)) == _GZIP
        self._file.seek(0)
        self._kind = "tar.gz" if self._packed else "tar"
        if self._packed:
            self._file = cast("IO[bytes]", gzip.GzipFile(fileobj=self._file))
        self._order: list[tuple[int, str]] = []
        self._kept: dict[str, bytes] = {}
        self._left = memory_share() // _KEPT_SHARE
        self._wanted_kinds = (
            {_kind_of_name(wanted)} if wanted and self._packed else set()
        )
        with _damage(self._kind):
            self._index()

    def _index(self) -> None:
        """List the members; of a tar.gz, also keep those like the wanted one."""
        header, end = _Header(self._file), -1
        with tarfile.open(fileobj=header, mode="r:") as held:  # type: ignore[call-overload]
            while (info := held.next()) is not None:
                held.members.clear()  # bounds memory: tarfile keeps every header
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
                if name and _kind_of_name(name) in self._wanted_kinds:
                    self._keep(name, place)
        if header.last != bytes(tarfile.BLOCKSIZE):
            raise DataError(
                f"{self._kind} archive is damaged or cut short: its end is missing"
            )
        # Read to the end, because gzip verifies its checksum there.
        zeros = 0
        while piece := self._file.read(_PIECE):
            zeros += len(piece)
            if piece.strip(b"\0"):
                raise DataError(
                    f"{self._kind} archive has more data behind its end; split it"
                )
        if not self._packed and zeros >= tarfile.RECORDSIZE + tarfile.BLOCKSIZE:
            raise DataError(
                f"tar archive is damaged or cut short: it ends with {zeros:,} zero "
                "bytes, like an interrupted download. If it is intact, pack it again"
            )

    def _keep(self, name: str, place: _Place, *, drop: bool = False) -> None:
        """Keep a member if memory allows; `drop` removes older ones first."""
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
            if self._packed and self._read_forward(name, place):
                return self._kept[name]
            return self._bytes(place)

    def _read_forward(self, name: str, wanted: _Place) -> bool:
        """Keep similar members up to the wanted one; the first call keeps all."""
        is_first = (like := _kind_of_name(name)) not in self._wanted_kinds
        self._wanted_kinds.add(like)
        at = self._file.tell()
        first = (
            0 if is_first or at > wanted.start else bisect_left(self._order, (at, ""))
        )
        last = None if is_first else bisect_left(self._order, (wanted.start, ""))
        likes = {like} if is_first else self._wanted_kinds
        for _, other in self._order[first:last]:
            if _kind_of_name(other) in likes:
                self._keep(other, self.members[other], drop=not is_first)
        return name in self._kept


def _kind_of_name(name: str) -> tuple[str, str]:
    """Folder and extension, which all masks of a dataset share."""
    folder, _, last = name.rpartition("/")
    return folder, last.partition(".")[2]


def _place(info: tarfile.TarInfo) -> _Place:
    is_file = info.isreg() and not info.issparse()
    why = "" if is_file else f"is a link, sparse file or device; {_WAY_OUT}"
    return _Place(info.offset_data, info.size, why)
