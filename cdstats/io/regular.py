"""Opening files, and nothing that only looks like one: a pipe would never end."""

from __future__ import annotations

import os
import stat
from io import FileIO
from typing import TYPE_CHECKING, Final

from cdstats.core.errors import DataError

if TYPE_CHECKING:
    from pathlib import Path

# Without it, opening a pipe waits for its writer. It changes nothing for files.
_AT_ONCE: Final = getattr(os, "O_NONBLOCK", 0)


def open_regular(path: str | Path) -> tuple[FileIO, int]:
    """Open a file to read its bytes, without a buffer."""
    file = FileIO(path, "rb", opener=_open)
    found = os.fstat(file.fileno())
    if not stat.S_ISREG(found.st_mode):
        file.close()
        raise DataError("is no regular file but a pipe or a device")
    return file, found.st_size


def _open(path: str, flags: int) -> int:
    return os.open(path, flags | _AT_ONCE)
