"""Where results go: checked before a file is read, written when all is counted.

Results are printed in any format, and written to files whole: never over an input, and
never at the cost of the results.
"""

from __future__ import annotations

import os
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

import typer

from cdstats.core.columns import printable
from cdstats.core.errors import DataError, UsageError
from cdstats.io.signatures import file_format
from cdstats.render.table import Table
from cdstats.render.writers import Format, csv_lines

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from cdstats.core.arguments import StrPath
    from cdstats.core.columns import Record
    from cdstats.core.records import ImageRecord
    from cdstats.render.table import Document

MOST_IMAGES: Final = 20
"""Image rows that a table adds by itself."""
_ENDINGS: Final = {one.ending: one for one in Format if one.ending}
_SPLIT_LISTS: Final = ("train.txt", "val.txt", "test.txt")
_FLUSH_SECONDS: Final = 0.5
"""How long a printed row waits for others."""


@dataclass(frozen=True)
class Output:
    """The format and the files of one run.

    Attributes:
        format: The format of standard output.
        csv: The file of image rows.
        summary: The file of totals, whose ending names its format.

    Raises:
        UsageError: If the ending names none.
    """

    format: Format
    csv: Path | None = None
    summary: Path | None = None

    def __post_init__(self) -> None:
        if self.summary and self.summary.suffix.lower() not in _ENDINGS:
            raise UsageError(
                f"--summary {self.summary}: expected a name that ends in "
                f"{', '.join(_ENDINGS)}"
            )

    def print(self, document: Document) -> None:
        """Print results to standard output.

        A terminal, which a name could steer, gets control characters of CSV as escapes;
        a file or a pipe gets the very text.
        """
        lines = self.format.write(document)
        if self.format is Format.CSV and sys.stdout.isatty():
            lines = (printable(line.removesuffix("\n")) + "\n" for line in lines)
        sys.stdout.writelines(lines)

    def write(
        self, kind: type[Record], rows: Iterable[Record], totals: Document
    ) -> bool:
        """Write the files that were asked for, and tell of each that cannot be written.

        Args:
            kind: The kind of image rows.
            rows: The image rows.
            totals: What the summary holds.

        Returns:
            Whether all are written.
        """
        written = []
        if self.csv:
            written.append(_write(self.csv, csv_lines(Table.of(kind, rows))))
        if self.summary:
            one = _ENDINGS[self.summary.suffix.lower()]
            written.append(_write(self.summary, one.write(totals)))
        return all(written)


class RowPrinter:
    """Prints image rows as they come, for a reader that takes them one by one.

    It is wanted where rows alone are printed, in their own order and not to a person. A
    file that was asked for comes first: a reader that ends early must not take it away.

    Args:
        output: Where results go.
        columns: The columns that were chosen.
        by_image: Whether image rows are printed, in their own order.
    """

    def __init__(
        self, output: Output, columns: tuple[str, ...] | None, *, by_image: bool
    ) -> None:
        self._format = output.format
        self._columns = columns
        self._flushed = time.monotonic()
        self.has_printed = False
        is_lines = output.format in (Format.CSV, Format.JSONL)
        alone = output.csv is None and output.summary is None
        self.is_wanted = is_lines and by_image and alone and not sys.stdout.isatty()

    def __call__(self, row: ImageRecord) -> None:
        """Print a row; the names of the columns before the first."""
        from cdstats.render.masks import CountsDocument

        document = CountsDocument((), [row], by_image=True, columns=self._columns)
        lines = list(self._format.write(document))
        sys.stdout.writelines(lines[-1:] if self.has_printed else lines)
        self.has_printed = True
        if time.monotonic() - self._flushed > _FLUSH_SECONDS:
            sys.stdout.flush()
            self._flushed = time.monotonic()


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


def _write(path: Path, text: Iterable[str]) -> bool:
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
