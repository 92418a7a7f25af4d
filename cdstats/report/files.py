"""Writing result files whole: under another name first, then renamed."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from cdstats.core.errors import DataError

if TYPE_CHECKING:
    from collections.abc import Iterable


def write_whole(path: Path, text: str | Iterable[str]) -> None:
    """Write a text file so that an interrupted run leaves the old one or the new one.

    Args:
        path: The file.
        text: What to write, whole or in parts.

    Raises:
        DataError: If the folder does not take it.
    """
    try:
        handle, name = tempfile.mkstemp(
            prefix=f".{path.name[:50]}.", suffix=".part", dir=path.parent
        )
    except OSError as error:
        raise DataError(_text(path, error)) from None
    part = Path(name)
    try:
        with os.fdopen(
            handle, "w", encoding="utf-8", errors="surrogateescape", newline=""
        ) as file:
            file.writelines([text] if isinstance(text, str) else text)
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
