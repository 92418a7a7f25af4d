"""Lists of files: a name or an address in each line, in a file or in a store."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path, PurePosixPath
from typing import Final

from cdstats.core.errors import DataError
from cdstats.io.addresses import Address, is_address, shown
from cdstats.io.copies import fetch, folder
from cdstats.io.found import FoundFile
from cdstats.io.naming import split_in
from cdstats.io.signatures import EXTENSIONS

_FILES: Final = EXTENSIONS | {".pt", ".pth"}


def list_text(place: str) -> str:
    """The lines of a list; the names in a list of a store are made addresses.

    Args:
        place: The list's path or address.

    Raises:
        DataError: If the list cannot be read.
    """
    try:
        if is_address(place):
            return _remote_text(place)
        return _text(Path(place))
    except OSError as error:
        reason = (error.strerror or str(error)).lower()
        raise DataError(f"@{shown(place)}: the list cannot be read: {reason}") from None


def _text(path: Path) -> str:
    return path.read_text(encoding="utf-8-sig", errors="surrogateescape")


def _remote_text(place: str) -> str:
    address = Address.parse(place)
    try:
        copy = fetch(place)  # named, as its file goes when nobody holds it
    except DataError as error:
        raise DataError(f"@{shown(place)}: the list {error}") from None
    above = PurePosixPath(address.key).parent
    lines = (line.strip() for line in _text(copy.path).splitlines())
    return "\n".join(
        line if is_address(line) else address.with_key(str(above / line))
        for line in lines
        if line
    )


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
