"""Files that a run writes: atomically, and never over an input."""

from __future__ import annotations

import io
import os
import re
import stat
import sys
from contextlib import contextmanager
from contextvars import ContextVar
from pathlib import Path
from typing import TYPE_CHECKING, Final, NamedTuple, TextIO

from cdstats.core.errors import DataError, UsageError
from cdstats.io.containers import is_archive
from cdstats.io.signatures import EXTENSIONS, file_format

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from cdstats.core.arguments import StrPath

_SPLIT_LISTS: Final = ("train.txt", "val.txt", "test.txt")
_BESIDE: Final = (".msk", ".ovr", ".aux.xml", ".tfw", ".wld", ".pgw", ".jgw", ".bpw")
"""Extensions of files that GDAL reads beside an image."""
_ADDRESS: Final = re.compile(r"(?i)[a-z][a-z0-9+.-]+:/")
SQLITE: Final = b"SQLite format 3\0"
"""First bytes of an SQLite database, such as a cache."""
_DATABASE: Final = ("-wal", "-shm", "-journal")
"""Suffixes of files that SQLite writes beside a database."""
_MOST_STREAMED: Final = 1 << 28
"""Most characters of a text from a pipe, which is kept in memory."""
_Identity = tuple[int, int]


class _Run(NamedTuple):
    """Files of a run by device and inode.

    `outputs` exist and will be replaced; `streams` holds texts read from pipes, which
    can be read only once.
    """

    outputs: dict[_Identity, Path]
    streams: dict[_Identity, str]


_RUN: ContextVar[_Run] = ContextVar("cdstats_run")


@contextmanager
def protecting(outputs: Iterable[Path]) -> Iterator[None]:
    """Refuse inputs that are outputs of this run while the context is open.

    Outputs are compared by device and inode, so that links are detected. Outputs that
    do not exist yet need no comparison.
    """
    outer = _RUN.get(None) or _Run({}, {})
    existing = {found: path for path in outputs if (found := _identity(path))}
    token = _RUN.set(_Run(outer.outputs | existing, outer.streams))
    try:
        yield
    finally:
        _RUN.reset(token)


@contextmanager
def writing(*outputs: StrPath | None, cache: StrPath | None = None) -> Iterator[None]:
    """Check the output paths of a run, and protect its inputs."""
    wanted = [Path(path) for path in outputs if path]
    for path in wanted:
        _check_place(path)
        if path.exists() and (what := _kept(path)):
            raise UsageError(f"{path}: would overwrite {what}; choose another name")
        _check_name(path)
    if cache:
        wanted.append(Path(cache))
        _check_place(wanted[-1])
        _check_name(wanted[-1])
        wanted += [Path(f"{cache}{ending}") for ending in _DATABASE]
    if len({pointed_to(path) for path in wanted}) < len(wanted):
        raise UsageError(f"{wanted[0]}: is given for two outputs; use two files")
    with protecting(wanted):
        yield


def _check_place(path: Path) -> None:
    if not pointed_to(path).parent.is_dir():
        raise no_folder(path, "cannot be written: the folder does not exist")
    if path.exists() and not path.is_file():
        raise UsageError(f"{path}: cannot be written: is a folder or a device")


def _check_name(path: Path) -> None:
    """Refuse an output name that the next run would read as a mask."""
    if path.name.lower().endswith((*EXTENSIONS, *_BESIDE)):
        raise UsageError(
            f"{path}: has the extension of a mask or of a file beside one; choose "
            "another extension"
        )


def no_folder(path: Path, reason: str) -> UsageError:
    """The error for an output without a folder, or for an address."""
    address = _ADDRESS.match(str(path))
    if address is None:
        return UsageError(f"{path}: {reason}")
    place = f"{address[0]}/{str(path)[address.end() :]}"
    return UsageError(f"{place}: outputs must be local files; upload it afterwards")


def check_folder(place: Path, inputs: Iterable[str], why: str) -> None:
    """Refuse an output folder that is a file, or lies in an input folder.

    `why` states the consequence, such as "figures would be taken for masks".
    """
    if place.exists() and not place.is_dir():
        raise UsageError(f"{place}: cannot be written: is a file, not a folder")
    if not place.exists() and not place.absolute().parent.is_dir():
        raise no_folder(place, "cannot be created: its parent folder does not exist")
    for text in inputs:
        for name in (text, text.partition("=")[2]):
            # The folder of a glob or pattern ends before the first wildcard.
            fixed = re.split(r"[*?\[{]", name)[0]
            read = Path(fixed if fixed == name else fixed.rpartition("/")[0] or ".")
            if (
                name
                and read.is_dir()
                and place.resolve().is_relative_to(read.resolve())
            ):
                raise UsageError(
                    f"{place}: is inside {read}, which is an input: {why}. Choose "
                    "another folder"
                )


def _kept(path: Path) -> str:
    """Description of a file that must not be overwritten; empty for others."""
    place = pointed_to(path)
    if place.parent.name == "list" and place.name in _SPLIT_LISTS:
        return "an input"
    if place.name.lower().endswith((*EXTENSIONS, *_BESIDE)) or is_archive(place.name):
        return "an input"
    try:
        with path.open("rb") as file:
            head = file.read(16)
    except OSError as error:
        raise DataError(_unwritten(path, error)) from None
    if head == SQLITE:
        return "a database, such as a cdstats cache"
    return "" if file_format(head) is None else "an input"


def refuse_overwriting(inputs: Iterable[StrPath]) -> None:
    """Refuse inputs that the run would overwrite.

    Without existing outputs, inputs are not accessed.
    """
    run = _RUN.get(None)
    if run is None or not run.outputs:
        return
    for path in inputs:
        found = _identity(path)
        if found in run.outputs:
            output = run.outputs[found]
            same = "" if str(output) == str(path) else f" ({path})"
            raise UsageError(
                f"{output}: would overwrite an input{same}; choose another name"
            )


def _identity(path: StrPath) -> _Identity | None:
    try:
        found = os.stat(path)  # noqa: PTH116 - a million files
    except (OSError, ValueError):
        return None
    return found.st_dev, found.st_ino


def open_text(path: Path) -> TextIO:
    """Open a text file as UTF-8, with line ends unchanged.

    A pipe such as ``<(...)`` is read once per run and kept.
    """
    refuse_overwriting([path])
    # Line ends are kept, because a file name may contain one.
    file = path.open(encoding="utf-8-sig", errors="surrogateescape", newline="")
    found = os.fstat(file.fileno())
    run = _RUN.get(None)
    if stat.S_ISREG(found.st_mode) or run is None:
        return file
    with file:
        key = found.st_dev, found.st_ino
        if key not in run.streams:
            # A stream may be endless.
            text = file.read(_MOST_STREAMED)
            if len(text) == _MOST_STREAMED:
                raise DataError(
                    f"{path}: has {_MOST_STREAMED:,} characters or more; save it to a "
                    "file and give its path"
                )
            run.streams[key] = text
        return io.StringIO(run.streams[key], newline="")


def read_text(path: Path) -> str:
    """Read the text of a result file."""
    try:
        with open_text(path) as file:
            return file.read()
    except OSError as error:
        reason = (error.strerror or str(error)).lower()
        raise DataError(f"{path}: cannot be read: {reason}") from None


def write_whole(path: Path, data: str | bytes | Iterable[str]) -> None:
    """Write a file atomically: an interrupted run leaves the old or the new file.

    Links are followed. A replaced file keeps its permissions; a new one follows the
    umask.
    """
    place = pointed_to(path)
    part = place.with_name(f".{place.name[:50]}.{os.urandom(4).hex()}.part")
    try:
        # On Windows, only read-only exists, and such files cannot be replaced.
        keeps = sys.platform != "win32" and place.exists()
        mode = stat.S_IMODE(place.stat().st_mode) if keeps else None
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_BINARY", 0)
        handle = os.open(part, flags, 0o666 if mode is None else mode & 0o600)
    except OSError as error:
        raise DataError(_unwritten(path, error)) from None
    try:
        with os.fdopen(handle, "wb") as file:
            if isinstance(data, bytes):
                file.write(data)
            else:
                for text in [data] if isinstance(data, str) else data:
                    file.write(text.encode("utf-8", "surrogateescape"))
            file.flush()
            os.fsync(file.fileno())
        if mode is not None:
            part.chmod(mode)
        part.replace(place)
    except OSError as error:
        raise DataError(_unwritten(path, error)) from None
    finally:
        part.unlink(missing_ok=True)


def pointed_to(path: Path) -> Path:
    """The target of a path after following links; it may not exist."""
    # Path.resolve raises different errors for loops in different Python versions.
    return Path(os.path.realpath(path))


def _unwritten(path: Path, error: OSError) -> str:
    return f"{path}: cannot be written: {(error.strerror or str(error)).lower()}"
