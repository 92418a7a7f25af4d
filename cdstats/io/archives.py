"""What an archive of arrays or tensors is made of: its parts, all of them, once."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING, Final

from cdstats.core.errors import DataError
from cdstats.io.signatures import file_format

if TYPE_CHECKING:
    import zipfile
    from pathlib import Path
    from typing import BinaryIO

_END_MARK: Final = b"PK\5\6"
_END_LENGTH: Final = 22
_END_BYTES: Final = 1 << 17
"""Last bytes of an archive among which its end is looked for."""
_PART_MARK: Final = b"PK\3\4"
_PART_LENGTH: Final = 30
_BETWEEN: Final = 32
"""Bytes behind a part in which another may begin: sum and lengths may lie between."""


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
        _refuse_another(file, archive, kind)
        starts = [part.header_offset for part in parts] + [archive.start_dir]
        ends = [0, *(_end(file, part) for part in parts)]
        for end, start in zip(ends, starts, strict=True):
            file.seek(end)
            if end > start or _PART_MARK in file.read(min(_BETWEEN, start - end)):
                raise DataError(
                    f"{kind} file is damaged: its parts overlap or are not all listed"
                )


def _end(file: BinaryIO, part: zipfile.ZipInfo) -> int:
    """Where the bytes of a part end, by its own header."""
    file.seek(part.header_offset)
    header = file.read(_PART_LENGTH)
    name, extra = (int.from_bytes(header[at : at + 2], "little") for at in (26, 28))
    return part.header_offset + _PART_LENGTH + name + extra + part.compress_size


def _refuse_another(file: BinaryIO, archive: zipfile.ZipFile, kind: str) -> None:
    """Refuse an archive with a file before or behind it; other bytes are no array."""
    first = min((part.header_offset for part in archive.infolist()), default=0)
    size = file.seek(0, io.SEEK_END)
    file.seek(max(size - _END_BYTES, 0))
    tail = file.read()
    if first < 0:
        raise DataError(f"{kind} file is damaged or cut short: it has no beginning")
    end = tail.rfind(_END_MARK) + _END_LENGTH + len(archive.comment)
    if first > 0 or file_format(tail[end:].lstrip(b"\0")[:16]):
        raise DataError(f"{kind} file holds another file beside its parts; split them")
