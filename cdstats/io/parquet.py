"""Parquet files with images in columns; each row is a file ``FILE#column#number``.

A column has encoded images, plain or in a struct ``{bytes, path}`` as Hugging Face
datasets save them. Rows are read forward, a few at a time.
"""

from __future__ import annotations

import os
import re
import shlex
from bisect import bisect_right
from collections import Counter
from contextlib import contextmanager
from itertools import accumulate, count
from pathlib import Path, PurePath
from typing import TYPE_CHECKING, Any, Final, NamedTuple, NoReturn

from cdstats.core.columns import printable
from cdstats.core.errors import CdstatsError, DataError, UsageError, counted
from cdstats.core.secrets import Sealed
from cdstats.io.addresses import is_address
from cdstats.io.containers import ENDING, Archive, is_parquet, member_in
from cdstats.io.copies import copied_table
from cdstats.io.file_kinds import path_choices
from cdstats.io.found import FoundFile, FoundFiles
from cdstats.io.limits import check_memory
from cdstats.io.naming import LABELS, role_of, split_above, split_named
from cdstats.io.signatures import file_format

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence
    from types import ModuleType

_NUMBERS: Final = re.compile(r"(?:[-_.]?\d+(?:-of-\d+)?)?\Z")
"""Shard number in a file name, as in ``train-00000-of-00002``."""
_MAGIC: Final = (b"PAR1", b"PARE")
_BUFFER: Final = 1 << 20
_BATCH_BYTES: Final = 1 << 24
_BATCH_ROWS: Final = 64
_BOMB: Final = 64
"""Compression ratio above which a column cannot contain images."""
_PAGE_BYTES: Final = (1 << 31) - 1
"""Size limit for a page in the format; a page is unpacked whole."""
_COPIES: Final = 4
"""Copies of a page in memory: unpacked, as an array, as a value and as bytes."""
_SHOWN: Final = 8
ROWS_PAIR: Final = (
    "Rows of a Parquet file pair by the file name in their path column; if either file "
    "lacks paths, rows pair by index"
)


class ColumnError(DataError):
    """The user must choose the column of images."""


class _Column(NamedTuple):
    """A column of bytes.

    Attributes:
        steps: Path of field names to the values.
        leaves: Columns to read: the bytes and, in a struct, the paths.
    """

    name: str
    steps: tuple[str, ...]
    leaves: tuple[str, ...]
    is_struct: bool


class ParquetFile(Archive[_Column]):
    """An open local file, as an archive whose members are columns of bytes.

    Raises:
        DataError: If it is damaged.
    """

    def __init__(self, path: str) -> None:
        library = _library()
        super().__init__(path)
        head = self._file.read(4)
        if head not in _MAGIC:
            found = f"begins with {head!r}, not PAR1" if head else "is empty (0 bytes)"
            raise DataError(f"is not a Parquet file: it {found}")
        with _damage():
            self._table = library.ParquetFile(
                self._file,
                pre_buffer=False,
                buffer_size=_BUFFER,
                page_checksum_verification=True,
            )
            found = self._table.metadata
            self.rows = int(found.num_rows)
            groups = map(found.row_group, range(found.num_row_groups))
            self._starts = [0, *accumulate(group.num_rows for group in groups)]
            schema = self._table.schema_arrow
            self.members |= {one.name: one for one in _columns(schema)}
        self._size = os.fstat(self._file.fileno()).st_size
        self._readers: dict[str, _Reader] = {}

    def read(self, name: str) -> bytes:
        """Read the image ``column#number``.

        Raises:
            DataError: If the row does not exist, has no image, or is damaged.
        """
        column, _, number = name.rpartition("#")
        if column not in self.members or not number.isdecimal():
            raise DataError(f"has no column {column!r} with images")
        if int(number) >= self.rows:
            raise DataError(f"has {counted(self.rows, 'row')}; {number} was asked for")
        value = self._reader(column).value(int(number))
        path = value.get("path") if isinstance(value, dict) else None
        data = value.get("bytes") if isinstance(value, dict) else value
        if data is not None:
            return bytes(data)
        if path:
            raise DataError(
                f"holds the path {path!r} but no bytes; save the dataset with its "
                "images embedded, as push_to_hub does"
            )
        raise DataError("the row has no image (null)")

    def _reader(self, column: str) -> _Reader:
        if column not in self._readers:
            found = self.members[column]
            self._readers[column] = _Reader(
                self._table, self._size, self._starts, found
            )
        return self._readers[column]

    def chosen(self, wanted: str, typed: str) -> str:
        """The column of images; an error if the choice is not unique.

        Args:
            wanted: The requested column; empty if none is requested.
            typed: The path to which messages append a column.

        Raises:
            ColumnError: If the column does not exist or the choice is not unique.
        """
        if wanted in self.members:
            return wanted
        held = {name: self.holds(name) for name in self.members}
        images = [name for name, kind in held.items() if kind]
        images = images or [name for name, one in self.members.items() if one.is_struct]
        if len(images) == 1 and not wanted:
            return images[0]
        shown = ", ".join(f"{name} ({held[name] or 'no image'})" for name in images)
        if wanted:
            types = {one.name: one.type for one in self._table.schema_arrow}
            what = f"has no column {wanted!r}"
            if wanted in types:
                what = f"column {wanted} holds {_short(types[wanted])}, not images"
            raise ColumnError(f"{what}; images: {shown or 'in no column'}")
        if not images:
            raise ColumnError(f"no column holds images; {self._described()}")
        best = min(images, key=lambda name: _rank(name.rpartition(".")[2]))
        raise ColumnError(
            f"{len(images)} columns hold images: {shown}. Name one, such as "
            f"{shlex.quote(f'{typed}#{best}')}"
        )

    def _described(self) -> str:
        fields = [
            f"{one.name} ({_short(one.type)})" for one in self._table.schema_arrow
        ]
        more = ", ..." if len(fields) > _SHOWN else ""
        return f"columns: {', '.join(fields[:_SHOWN]) or 'none'}{more}"

    def holds(self, column: str) -> str:
        """The format of the first image in a column; empty if there is none."""
        for value in self._reader(column).first():
            data = value.get("bytes") if isinstance(value, dict) else value
            if data is not None:
                return file_format(bytes(data[:16])) or ""
        return ""

    def paths(self, column: str) -> list[str]:
        """The path in each row of a struct; empty strings if there are none."""
        found = self.members[column]
        if len(found.leaves) == 1:
            return [""] * self.rows
        with _damage():
            batches = self._table.iter_batches(columns=[found.leaves[1]])
            values = [v for one in batches for v in one.column(0).to_pylist()]
        inner = (_inner(value, found.steps[1:]) for value in values)
        return [str(one.get("path") or "") if one else "" for one in inner]


class _Reader:
    """Reads a column forward; going back rereads its row group."""

    def __init__(
        self,
        table: Any,  # noqa: ANN401 - pyarrow has no types
        size: int,
        starts: list[int],
        column: _Column,
    ) -> None:
        self._table, self._size = table, size
        self._starts, self._column = starts, column
        self._group, self._start = -1, 0
        self._broken = ""
        self._values: Any = ()
        self._batches: Iterator[Any] = iter(())

    def value(self, number: int) -> Any:  # noqa: ANN401 - bytes, a struct or None
        """The value of a row; None for null."""
        try:
            with _damage():
                group = bisect_right(self._starts, number) - 1
                if group != self._group or number < self._start:
                    self._open(group)
                while number >= self._start + len(self._values):
                    if self._broken:
                        raise DataError(self._broken)
                    self._start += len(self._values)
                    self._values = ()
                    self._values = next(self._batches).column(0)
                value = self._values[number - self._start].as_py()
        except DataError as error:
            self._broken = str(error)
            raise
        except BaseException:
            self._group = -1  # the position of the iterator is unknown now
            raise
        return _inner(value, self._column.steps[1:])

    def first(self) -> Iterator[Any]:
        """The first values, including nulls."""
        for number in range(min(self._starts[-1], _BATCH_ROWS)):
            yield self.value(number)

    def _open(self, group: int) -> None:
        self._group, self._start = group, self._starts[group]
        self._values, self._broken = (), ""
        found = self._table.metadata
        facts, schema = found.row_group(group), found.schema
        paths = [schema.column(place).path for place in range(found.num_columns)]
        _check_packing(int(facts.total_byte_size), self._size)
        # pyarrow aborts on damaged column metadata, except in the first read, which
        # raises an exception.
        next(self._of_group(1), None)
        chunk = facts.column(paths.index(self._column.leaves[0]))
        size = int(chunk.total_uncompressed_size)
        _check_packing(size, int(chunk.total_compressed_size))
        # With a dictionary, every row may refer to the largest value.
        one = size if chunk.has_dictionary_page else size // max(facts.num_rows, 1)
        rows = min(max(_BATCH_BYTES // max(one, 1), 1), _BATCH_ROWS)
        self._batches = self._of_group(rows)

    def _of_group(self, rows: int) -> Iterator[Any]:
        """Batches of at most `rows` rows from the open row group."""
        batches: Iterator[Any] = self._table.iter_batches(
            rows,
            row_groups=[self._group],
            columns=list(self._column.leaves),
            use_threads=False,
        )
        return batches


def _check_packing(size: int, packed: int) -> None:
    """Refuse a page that may unpack to more than memory allows."""
    if size > _BOMB * packed:
        check_memory(_COPIES * min(size, _PAGE_BYTES), "save the images unpacked")


def _inner(value: Any, steps: Iterable[str]) -> Any:  # noqa: ANN401 - a struct or None
    """A field inside nested structs; None if a struct is null."""
    for step in steps:
        value = None if value is None else value[step]
    return value


def _columns(fields: Iterable[Any], above: tuple[str, ...] = ()) -> Iterator[_Column]:
    """All columns of bytes in a schema, including those inside structs."""
    from pyarrow import types

    def is_bytes(kind: Any) -> bool:  # noqa: ANN401 - pyarrow has no types
        is_found = kind is not None
        return is_found and (types.is_binary(kind) or types.is_large_binary(kind))

    for field in fields:
        steps = (*above, field.name)
        name, kind = ".".join(steps), field.type
        inner = {one.name: one.type for one in kind} if types.is_struct(kind) else {}
        if is_bytes(kind):
            yield _Column(name, steps, (name,), is_struct=False)
        elif is_bytes(inner.get("bytes")):
            leaves = [f"{name}.{one}" for one in ("bytes", "path") if one in inner]
            yield _Column(name, steps, tuple(leaves), is_struct=True)
        elif inner:
            yield from _columns(kind, steps)


def _short(kind: object) -> str:
    text = str(kind)
    return text if len(text) <= 40 else f"{text[:37]}..."


def _rank(name: str) -> tuple[int, str]:
    """Rank of a name by how certainly it states masks; the lowest is best."""
    role = role_of(name)
    return LABELS.index(role) if role in LABELS else len(LABELS), name


def _library() -> ModuleType:
    try:
        import pyarrow.parquet
    except ImportError:
        raise UsageError(
            "Parquet files need the package pyarrow: pip install 'cdstats[parquet]'"
        ) from None
    module: ModuleType = pyarrow.parquet
    return module


@contextmanager
def _damage() -> Iterator[None]:
    """Turn pyarrow's many exceptions on damage into `DataError`."""
    try:
        yield
    except (CdstatsError, MemoryError):
        raise
    except FileNotFoundError:
        raise DataError("not found") from None
    except Exception as error:  # noqa: BLE001 - pyarrow raises many kinds
        said = " ".join(str(error).split()) or type(error).__name__
        raise DataError(f"Parquet file is damaged or cut short: {said[:200]}") from None


# Finding rows.


def apart(folder: Path, names: list[str]) -> tuple[list[str], list[str]]:
    """The files to read if tables and images share a folder, and a note on tables.

    Raises:
        DataError: If a table has images too.
    """
    tables = [name for name in names if is_parquet(name)]
    others = [name for name in names if not is_parquet(name)]
    if not tables or not others:
        return names, []
    local = folder.is_dir()  # tables in a store are not downloaded to inspect them
    try:
        held = [n for n in tables if local and _holds_images(str(folder / n))]
    except UsageError as error:
        return others, [f"{counted(len(tables), 'Parquet file')} skipped: {error}"]
    if held:
        kinds = (f"*{ENDING}", f"*{PurePath(others[0]).suffix}")
        raise DataError(
            f"{folder}: images are in Parquet files ({held[0]}) and beside them "
            f"({others[0]}); read one: {path_choices(folder, kinds)}"
        )
    number = counted(len(tables), "Parquet file")
    why = "no column holds images" if local else "give their paths to read their rows"
    return others, [f"{number} skipped: {why}"]


def _holds_images(path: str) -> bool:
    """Whether a file has images; True if damaged, so that its row has the reason."""
    try:
        with _opened(path) as file:
            return any(map(file.holds, file.members))
    except DataError:
        return True


def refuse_table(path: str) -> NoReturn:
    """Raise the reason why a file has no rows of images."""
    with _opened(path) as file:
        file.chosen("", path)
    raise DataError("was changed while it was read")


@contextmanager
def _opened(path: str, *, anew: bool = False) -> Iterator[ParquetFile]:
    copy = copied_table(path, anew=anew) if is_address(path) else None
    file = ParquetFile(str(copy.path) if copy else path)
    try:
        yield file
    finally:
        file.close()


def rows_of(files: FoundFiles, typed: str = "") -> FoundFiles:
    """Replace each Parquet file by its rows; other files are unchanged.

    An unreadable file remains, and its row will have the reason.

    Args:
        files: The files.
        typed: The path of all files as typed; empty if each has a different one.

    Raises:
        ColumnError: If the user must choose the column of images.
    """
    if not any(is_parquet(file.path) for file in files):
        return files
    found, column = FoundFiles(), ""
    known: dict[tuple[str, str], tuple[str, range]] = {}
    for file in files:
        if not is_parquet(file.path):
            found.append(file)
            continue
        wanted, number = _column_and_row(file.member)
        key = file.path, wanted
        try:
            if key not in known:
                with _opened(file.path, anew=True) as opened:
                    column = opened.chosen(
                        wanted or column, _without_column(typed or file.name, file)
                    )
                    known[key] = column, range(opened.rows)
        except ColumnError as error:
            raise ColumnError(printable(f"{file.path}: {error}")) from None
        except DataError:
            # Reading this file will report the reason.
            found.append(file._replace(member=""))
            continue
        column, rows = known[key]
        if number:
            rows = range(int(number), int(number) + 1)
        found.extend(_named(file, column, rows))
    if not found:
        raise DataError(f"{files[0].path}: has no rows")
    return found


def _without_column(typed: str, file: FoundFile) -> str:
    return typed.removesuffix(f"#{file.member}") if file.member else typed


def _with(path: str, end: str) -> str:
    return path.like(f"{path}{end}") if isinstance(path, Sealed) else f"{path}{end}"


def _column_and_row(member: str) -> tuple[str, str]:
    column, _, number = member.rpartition("#")
    return (column, number) if number.isdecimal() else (member, "")


def _named(file: FoundFile, column: str, rows: range) -> Iterator[FoundFile]:
    path = PurePath(file.path)
    name = file.name.removesuffix(f"#{file.member}") if file.name else path.name
    split = file.split or split_named(_NUMBERS.sub("", path.stem))
    split = split or ("" if file.name else split_above(path.parent.parts))
    for row in rows:
        end = f"#{column}#{row}"
        yield file._replace(
            path=_with(file.path, end),
            name=f"{name}{end}",
            split=split,
            member="",
        )


# Pairing rows.


def row_keys(
    predictions: Sequence[FoundFile],
    masks: Sequence[FoundFile],
    others: Sequence[FoundFile],
) -> dict[str, str]:
    """Pairing keys of table rows: the file name in their path, or an index.

    If any row of either table has no path, rows pair by their index within the split.
    The masks of other splits get keys too.

    Raises:
        DataError: If rows pair by index but predictions and masks differ in number.
    """
    sides = (predictions, (*masks, *others))
    paths = [_stored_paths(side) for side in sides]
    whole = [len(told) == len(side) for told, side in zip(paths, sides, strict=True)]
    if all(whole) and not all(all(told.values()) for told in paths):
        _refuse_uneven(predictions, masks)
        return _numbers(predictions) | _numbers(masks) | _numbers(others)
    named = {
        row: path or f"#{row.rpartition('#')[2]}"
        for told in paths
        for row, path in told.items()
    }
    last = {row: PurePath(path.replace("\\", "/")).name for row, path in named.items()}
    for side in sides:
        keys = [(file.split, last[file.path]) for file in side if file.path in last]
        if len({*keys}) < len(keys):
            return named
    return last


def _refuse_uneven(
    predictions: Sequence[FoundFile], masks: Sequence[FoundFile]
) -> None:
    """Refuse pairing by index if predictions and masks differ in number."""
    held, wanted = (Counter(one.split for one in side) for side in (predictions, masks))
    if len(wanted) > 1 and wanted.keys() - held.keys():
        raise DataError(
            "rows without a path pair by index within a split, but the masks are in "
            f"{', '.join(sorted(wanted))}: choose one with --split"
        )
    for split, number in wanted.items():
        own = held[split if split in held else ""]
        if own != number:
            where = f" of split {split}" if split else ""
            raise DataError(
                f"{counted(own, 'prediction')} for {counted(number, 'mask')}{where}: "
                "rows without a path pair by index, so expected equal numbers. Save "
                "the image name as the path of each row"
            )


def _numbers(files: Iterable[FoundFile]) -> dict[str, str]:
    """The index of each row within its split."""
    counters: dict[str, Iterator[int]] = {}
    return {
        file.path: f"#{next(counters.setdefault(file.split, count()))}"
        for file in files
    }


def _stored_paths(files: Iterable[FoundFile]) -> dict[str, str]:
    """The stored path of each table row; may be empty."""
    known: dict[tuple[str, str], list[str]] = {}
    found = {}
    for file in files:
        place, member = member_in(file.path)
        column, number = _column_and_row(member)
        if not (is_parquet(place) and number):
            continue
        if (place, column) not in known:
            with _opened(place) as opened:
                known[place, column] = opened.paths(column)
        found[file.path] = known[place, column][int(number)]
    return found
