"""Lists of files: a name or an address in each line, in a file or in a store."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Final, TextIO

from cdstats.core.errors import DataError
from cdstats.io.addresses import Address, is_address, shown
from cdstats.io.copies import fetch, folder
from cdstats.io.found import FoundFile
from cdstats.io.naming import split_in
from cdstats.io.signatures import EXTENSIONS

if TYPE_CHECKING:
    from collections.abc import Iterator

_LONGEST: Final = 1 << 16
"""Characters of a line at most: far above what any system allows for a path."""
_FILES: Final = EXTENSIONS | {".pt", ".pth"}


def list_lines(place: str) -> Iterator[str]:
    """The lines of a list that hold something, without the blanks around them.

    The names in a list of a store are made addresses.

    Args:
        place: The list's path or address.

    Yields:
        Each line, when it is asked for.

    Raises:
        DataError: If the list cannot be read, or a line is no name.
    """
    try:
        if is_address(place):
            yield from _remote_lines(place)
            return
        with _opened(Path(place)) as file:
            yield from lines_of(file, f"@{place}")
    except OSError as error:
        reason = (error.strerror or str(error)).lower()
        raise DataError(f"@{shown(place)}: the list cannot be read: {reason}") from None


def lines_of(file: TextIO, name: str) -> Iterator[str]:
    """The lines of an open list that hold something.

    Args:
        file: The list.
        name: What it is called in a message.

    Raises:
        DataError: If a line is no name: too long, or with a null character.
    """
    while line := file.readline(_LONGEST):
        if len(line) == _LONGEST:
            raise DataError(
                f"{name}: is no list of files: a line of it is longer than "
                f"{_LONGEST - 1:,} characters"
            )
        if "\0" in line:
            raise DataError(
                f"{name}: is no list of files: a line of it holds a null character; "
                "write each name in a line of its own"
            )
        if line := line.strip():
            yield line


def _opened(path: Path) -> TextIO:
    return path.open(encoding="utf-8-sig", errors="surrogateescape")


def _remote_lines(place: str) -> Iterator[str]:
    address = Address.parse(place)
    try:
        copy = fetch(place)  # named, as its file goes when nobody holds it
    except DataError as error:
        raise DataError(f"@{shown(place)}: the list {error}") from None
    above = PurePosixPath(address.key).parent
    with _opened(copy.path) as file:
        for line in lines_of(file, f"@{shown(place)}"):
            yield line if is_address(line) else address.with_key(str(above / line))


def text_if_there(place: str) -> str | None:
    """The text of a list in a store, or None where there is none to be read.

    Raises:
        DataError: If the store does not tell.
    """
    from cdstats.io.remote import NotGivenError

    try:
        copy = fetch(place)
    except NotGivenError:
        return None
    except DataError as error:
        raise DataError(f"{place}: the list {error}") from None
    return copy.path.read_text(encoding="utf-8-sig", errors="replace")


def listed_file(text: str) -> FoundFile:
    """A file by its address in a list, with the split that its folders tell."""
    folder()
    file = named_file(text)
    place = shown(file.path)
    member = f"#{file.member}" if file.member else ""
    split = split_in(PurePosixPath(place).parts[:-1])
    return replace(file, name=f"{place}{member}", split=split)


def named_file(text: str) -> FoundFile:
    """A file by its address, or the member of it that follows ``#``."""
    path, hash_, member = text.rpartition("#")
    if hash_ and names_file(shown(path)):
        return FoundFile(path, "", "", member)
    return FoundFile(text, "")


def names_file(place: str) -> bool:
    """Whether a name ends as those of files that are read."""
    return PurePosixPath(place).suffix.lower() in _FILES
