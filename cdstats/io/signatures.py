"""File formats, recognised by the first bytes; and opening of regular files."""

from __future__ import annotations

import os
import stat
from io import FileIO
from typing import TYPE_CHECKING, Final, NamedTuple

from cdstats.core.errors import DataError

if TYPE_CHECKING:
    from pathlib import Path


class FileFormat(NamedTuple):
    """A format of mask files.

    Attributes:
        extensions: Extensions found in folders, in lower case.
        reader: Module in this folder with a function ``open_images``.
        held: Files up to this size are read at once. Larger ones go to a windowed
            reader, which suits TIFF; it reopens the file, which is faster than sharing
            the open one, see ``benchmarks/opening.py``.
        names_members: Whether the reader selects members itself.
    """

    name: str
    title: str
    magic: tuple[bytes, ...]
    extensions: tuple[str, ...]
    reader: str
    held: int = -1
    names_members: bool = False


_PICTURE, _RASTER = 1 << 27, 1 << 24
_HDF5, _HDF5_NAMES = b"\x89HDF\r\n\x1a\n", (".h5", ".hdf5", ".nc")
_MATLAB = (b"MATLAB 5.0 MAT", b"MATLAB 7.3 MAT")
FORMATS: Final = {
    one.name: one
    for one in (
        FileFormat("PNG", "PNG", (b"\x89PNG\r\n\x1a\n",), (".png",), "png", _PICTURE),
        FileFormat(
            "JPEG", "JPEG", (b"\xff\xd8\xff",), (".jpg", ".jpeg"), "jpeg", _PICTURE
        ),
        FileFormat("BMP", "BMP", (b"BM",), (".bmp",), "bmp", _PICTURE),
        FileFormat(
            *("TIFF", "TIFF", (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")),
            *((".tif", ".tiff"), "tiff", _RASTER),
        ),
        FileFormat("NPY", ".npy", (b"\x93NUMPY",), (".npy",), "arrays", -1, True),
        FileFormat(
            "NPZ", ".npz", (b"PK\3\4", b"PK\5\6"), (".npz",), "arrays", -1, True
        ),
        FileFormat("HDF5", "HDF5", (_HDF5,), _HDF5_NAMES, "hdf5", -1, True),
        FileFormat("MAT", ".mat", _MATLAB, (".mat",), "matlab", -1, True),
        FileFormat("ZARR", "Zarr", (), (".zarr",), "zarr", -1, True),
    )
}
"""Formats of mask files by name; add a format here and as a reader module."""
ZARR_FILES: Final = ("zarr.json", ".zarray", ".zgroup")
"""Files that identify a Zarr store: version 3, array, group."""
_READABLE: Final = {magic: one.name for one in FORMATS.values() for magic in one.magic}
_OTHERS: Final = {
    b"GIF8": "a GIF image",
    b"RIFF": "a WebP image",
    b"CDF": "a NetCDF 3 file: convert it with nccopy -k nc4",
    b"%PDF": "a PDF document",
    b"\x1f\x8b": "a gzip archive: unpack it first, or name it .tar.gz if it is one",
    b"BZh": "a bzip2 archive: unpack it first",
    b"\xfd7zXZ": "an xz archive: unpack it first",
    b"7z\xbc\xaf": "a 7z archive: unpack it first",
    b"Rar!": "a RAR archive: unpack it first",
    b"\0\0\0\x0cjP": "a JPEG 2000 image: convert it to TIFF",
    b"PAR1": "a Parquet file; its name must end in .parquet",
    b"\x80\x02": "a Python pickle",
    b"\x80\x04": "a Python pickle",
    b"\x80\x05": "a Python pickle",
}
EXTENSIONS: Final = frozenset(e for one in FORMATS.values() for e in one.extensions)
"""Extensions of mask files in folders, in lower case."""
PART_ENDINGS: Final = tuple(
    ending for one in FORMATS.values() if one.names_members for ending in one.extensions
)
"""Extensions of files with named or numbered arrays."""
_TITLES: Final = [one.title for one in FORMATS.values()]
EXPECTED: Final = f"{', '.join(_TITLES[:-1])} or {_TITLES[-1]}"


def wanted_texts(extensions: frozenset[str]) -> tuple[str, str]:
    """Names for the kind of file sought and its formats, for messages.

    Example:
        >>> wanted_texts(EXTENSIONS | {".pt", ".pth"})
        ('prediction file', 'PNG, JPEG, BMP, TIFF, .npy, .npz, HDF5, .mat, Zarr or .pt')
    """
    if ".pt" not in extensions:
        return "mask file", EXPECTED
    return "prediction file", f"{', '.join(_TITLES)} or .pt"


def file_format(head: bytes) -> str | None:
    """The supported format of a file, from its first bytes; None if unsupported.

    Example:
        >>> file_format(b"II*" + bytes(5)), file_format(b"GIF89a")
        ('TIFF', None)
    """
    return _match(head, _READABLE)


def is_zarr(folder: str | Path) -> bool:
    """Whether a folder is a Zarr group or array."""
    return any(os.path.isfile(os.path.join(folder, one)) for one in ZARR_FILES)  # noqa: PTH113, PTH118


def is_one(path: Path) -> bool:
    """Whether a path is a file or a Zarr store."""
    return path.is_file() or is_zarr(path)


def is_held(data: bytes) -> bool:
    """Whether the reader of a file works on bytes in memory."""
    kind = file_format(data[:16])
    return len(data) <= (FORMATS[kind].held if kind else -1)


def foreign_text(head: bytes) -> str:
    """The message on a file of an unsupported format.

    Example:
        >>> foreign_text(b"hello")
        'is not an image; expected PNG, JPEG, BMP, TIFF, .npy, .npz, HDF5, .mat or Zarr'
    """
    if not head:
        return f"is empty (0 bytes); expected {EXPECTED}"
    if head.lstrip()[:1] in (b"{", b"["):
        return "is JSON: vector labels? Rasterise them first"
    return f"is {_match(head, _OTHERS) or 'not an image'}; expected {EXPECTED}"


def _match(head: bytes, table: dict[bytes, str]) -> str | None:
    return next((name for magic, name in table.items() if head.startswith(magic)), None)


# Without O_NONBLOCK, opening a pipe waits for a writer; files are not affected.
_AT_ONCE: Final = getattr(os, "O_NONBLOCK", 0)


def open_regular(path: str | Path) -> tuple[FileIO, int]:
    """Open a file to read its bytes, without a buffer."""
    file = FileIO(path, "rb", opener=_open)
    found = os.fstat(file.fileno())
    if not stat.S_ISREG(found.st_mode):
        file.close()
        raise DataError("is a pipe or a device; expected a regular file")
    return file, found.st_size


def _open(path: str, flags: int) -> int:
    return os.open(path, flags | _AT_ONCE)
