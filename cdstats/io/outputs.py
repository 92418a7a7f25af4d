"""Files that a run writes: never over an input, and whole or not at all."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Final

from cdstats.core.errors import DataError, UsageError
from cdstats.io.signatures import file_format

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from cdstats.core.arguments import StrPath

_SPLIT_LISTS: Final = ("train.txt", "val.txt", "test.txt")


def refuse_inputs(
    outputs: Sequence[StrPath | None], inputs: Sequence[StrPath | None]
) -> None:
    """Refuse outputs that would overwrite an input, or that cannot be written.

    Raises:
        UsageError: If an output is an input, a list of a split or a file in a format
            of masks, if its folder does not exist, or if two outputs are one file.
    """
    given = [path for text in inputs if text for path in _meant(str(text))]
    wanted = [Path(path) for path in outputs if path]
    for path in wanted:
        if not pointed_to(path).parent.is_dir():
            raise UsageError(f"{path}: cannot be written: there is no such folder")
        if path.exists() and not path.is_file():
            raise UsageError(f"{path}: cannot be written: is a folder or a device")
        if path.exists() and (_same(path, given) or _is_list(path) or _is_mask(path)):
            raise UsageError(f"{path}: would overwrite an input; choose another name")
    if len({pointed_to(path) for path in wanted}) < len(wanted):
        raise UsageError(f"{wanted[0]}: is named for two outputs; they need two files")


def _meant(text: str) -> tuple[Path, ...]:
    """The files that an argument may mean: ``NAME=@FILE`` or ``FILE#key`` too."""
    places = (text, text.partition("=")[2])
    files = (place.removeprefix("@") for place in places if place)
    return tuple(Path(name) for file in files for name in (file, file.split("#")[0]))


def _same(path: Path, others: Sequence[Path]) -> bool:
    return any(other.exists() and os.path.samefile(path, other) for other in others)  # noqa: PTH121


def _is_list(path: Path) -> bool:
    place = pointed_to(path)
    return place.parent.name == "list" and place.name in _SPLIT_LISTS


def _is_mask(path: Path) -> bool:
    with path.open("rb") as file:
        return file_format(file.read(16)) is not None


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
        raise DataError(_unwritten(path, error)) from None
    part = Path(name)
    try:
        with os.fdopen(handle, "wb") as file:
            file.writelines(_encoded(data))
            file.flush()
            os.fsync(file.fileno())
        part.chmod(0o666 & ~_umask())
        part.replace(place)
    except OSError as error:
        raise DataError(_unwritten(path, error)) from None
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


def _unwritten(path: Path, error: OSError) -> str:
    return f"{path}: cannot be written: {(error.strerror or str(error)).lower()}"
