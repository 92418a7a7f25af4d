"""Writing result files whole: under another name first, then renamed."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

from cdstats.core.errors import DataError


def write_whole(path: Path, data: str | bytes) -> None:
    """Write a file so that an interrupted run leaves the old one or the new one.

    Raises:
        DataError: If the folder does not take it.
    """
    if isinstance(data, str):
        data = data.encode("utf-8", "surrogateescape")
    try:
        handle, name = tempfile.mkstemp(
            prefix=f".{path.name[:50]}.", suffix=".part", dir=path.parent
        )
    except OSError as error:
        raise DataError(_text(path, error)) from None
    part = Path(name)
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        part.chmod(0o666 & ~_umask())
        part.replace(path)
    except OSError as error:
        raise DataError(_text(path, error)) from None
    finally:
        part.unlink(missing_ok=True)


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask


def _text(path: Path, error: OSError) -> str:
    return f"{path}: cannot be written: {(error.strerror or str(error)).lower()}"
