"""Writing result files whole: under another name first, then renamed."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from cdstats.core.errors import DataError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator


def write_whole(path: Path, data: str | bytes | Iterable[str]) -> None:
    """Write a file so that an interrupted run leaves the old one or the new one.

    A link stays, and the file that it points to is written.

    Args:
        path: The file.
        data: What to write; text whole or in parts.

    Raises:
        DataError: If the folder does not take it.
    """
    place = pointed_to(path)
    try:
        handle, name = tempfile.mkstemp(
            prefix=f".{place.name[:50]}.", suffix=".part", dir=place.parent
        )
    except OSError as error:
        raise DataError(_text(path, error)) from None
    part = Path(name)
    try:
        with os.fdopen(handle, "wb") as file:
            file.writelines(_encoded(data))
            file.flush()
            os.fsync(file.fileno())
        part.chmod(0o666 & ~_umask())
        part.replace(place)
    except OSError as error:
        raise DataError(_text(path, error)) from None
    finally:
        part.unlink(missing_ok=True)


def pointed_to(path: Path) -> Path:
    """The file that a path means: the end of its links, which need not be there."""
    # Path.resolve raises another error for a circle in each version of Python.
    return Path(os.path.realpath(path))


def _encoded(data: str | bytes | Iterable[str]) -> Iterator[bytes]:
    if isinstance(data, bytes):
        yield data
        return
    for text in [data] if isinstance(data, str) else data:
        yield text.encode("utf-8", "surrogateescape")


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask


def _text(path: Path, error: OSError) -> str:
    return f"{path}: cannot be written: {(error.strerror or str(error)).lower()}"
