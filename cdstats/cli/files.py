"""Result files: never over an input, and never at the cost of the results."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Final

import typer

from cdstats.core.errors import DataError, UsageError
from cdstats.io.signatures import file_format
from cdstats.report.files import pointed_to, write_whole

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from cdstats.core.arguments import StrPath

_SPLIT_LISTS: Final = ("train.txt", "val.txt", "test.txt")


def refuse_inputs(
    outputs: Sequence[StrPath | None], inputs: Sequence[StrPath | None]
) -> None:
    """Refuse to write over what is read, or over what is no file.

    Raises:
        UsageError: If an output is an input, a list of a split or a file in a format
            of masks, if its folder is not there, or if two outputs are one file.
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


def write_all(texts: Mapping[Path, str | Iterable[str]]) -> bool:
    """Write result files, and tell of each that cannot be written.

    Returns:
        Whether all are written.
    """
    written = [_write(path, text) for path, text in texts.items()]
    return all(written)


def _write(path: Path, text: str | Iterable[str]) -> bool:
    try:
        write_whole(path, text)
    except DataError as error:
        typer.echo(f"error: {error}", err=True)
        return False
    return True


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
