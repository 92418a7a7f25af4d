"""Where a whole file holds what: parts, and the bytes that nothing in the file checks.

Written from the specifications and for files of `clean` alone; it shares nothing with
the readers that it helps to judge.
"""

from __future__ import annotations

import io
import re
import struct
import zipfile
import zlib
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Final

import h5py
import pyarrow.parquet as pq

from .clean import Clean, clean_files

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

_TIFF_SIZES: Final = {
    1: 1,
    2: 1,
    3: 2,
    4: 4,
    5: 8,
    7: 1,
    11: 4,
    12: 8,
    13: 4,
    16: 8,
    18: 8,
}
_TIFF_STRUCTURE: Final = frozenset(
    (254, 256, 257, 258, 259, 273, 277, 278, 279, 284, 322, 323, 324, 325, 330)
)
"""Tags that say where pixels are and how many; the others say what they mean."""


@dataclass(frozen=True)
class Part:
    """A stretch of a file.

    Attributes:
        start: Its first byte.
        stop: The byte after its last.
        unchecked: Whether another value of a byte here may give a file that is as
            valid, of another mask: nothing in the file could tell.
        strip: Whether it is a strip or tile: they may change places unnoticed.
        place: Whether it tells where the only strip of a page is: pages may exchange
            theirs unnoticed.
    """

    start: int
    stop: int
    unchecked: bool = False
    strip: bool = False
    place: bool = False


@cache
def parts_of(file: Clean) -> tuple[Part, ...]:
    """The parts of a whole file, in their order."""
    found = _PARSERS[file.format.partition("-")[0]](file)
    return tuple(sorted(found, key=lambda part: (part.start, part.stop)))


def is_unchecked(file: Clean, places: list[int]) -> bool:
    """Whether nothing in a file could tell that the bytes at these places changed."""
    open_parts = [part for part in parts_of(file) if part.unchecked]
    return all(any(p.start <= at < p.stop for p in open_parts) for at in places)


def is_recombined(source: Clean, data: bytes) -> bool:
    """Whether a file is put together from whole parts that have sums of their own.

    These are the chunks of a PNG, and the headers of tar archives.
    """
    if source.format == "tar":
        known = {one for file in clean_files("tar") for one in _headers(file.data)}
        return len(data) % 512 == 0 and {*_headers(data)} <= known
    if source.format != "png" or data[:8] != source.data[:8]:
        return False
    at = 8
    while at + 12 <= len(data):
        (length,) = struct.unpack_from(">I", data, at)
        chunk = data[at + 4 : at + 8 + length]
        if data[at + 8 + length : at + 12 + length] != zlib.crc32(chunk).to_bytes(4):
            return False
        at += 12 + length
    return at == len(data)


def _headers(data: bytes) -> Iterator[bytes]:
    """The headers of a tar archive."""
    at = 0
    while size := data[at + 124 : at + 135].strip(b"\0"):
        yield data[at : at + 512]
        number = int(size, 8) if re.fullmatch(rb"[0-7]+", size) else 0
        at += 512 + -(-number // 512) * 512


def _png(file: Clean) -> Iterator[Part]:
    yield Part(0, 8)
    at = 8
    while at < len(file.data):
        (length,) = struct.unpack_from(">I", file.data, at)
        yield Part(at, at + 12 + length)
        at += 12 + length


def _jpeg(file: Clean) -> Iterator[Part]:
    """Segments. Tables, colour marks and coded pixels have no check."""
    data, at = file.data, 2
    yield Part(0, 2)
    while at < len(data):
        marker = data[at + 1]
        stop = at + 2
        if marker != 0xD9:
            stop += int.from_bytes(data[at + 2 : at + 4])
        # Of a table or mark, its kind and length are structure.
        yield Part(at, min(at + 4, stop))
        if stop > at + 4:
            yield Part(at + 4, stop, unchecked=True)
        at = stop
        if marker == 0xDA:
            end = next(
                found.start()
                for found in re.finditer(rb"\xff[^\x00\xd0-\xd7]", data[at:])
            )
            yield Part(at, at + end, unchecked=True)
            at += end


def _bmp(file: Clean) -> Iterator[Part]:
    start = int.from_bytes(file.data[10:14], "little")
    # Rows are filled up to four bytes: a width of as many bytes is as good.
    yield Part(0, 18)
    yield Part(18, 19, unchecked=True)
    yield Part(19, 54)
    if start > 54:
        yield Part(54, start, unchecked=True)
    yield Part(start, len(file.data), unchecked=True)


def _tiff(file: Clean) -> Iterator[Part]:
    data = file.data
    order, big = "<" if data[:2] == b"II" else ">", data[2:4] in (b"+\0", b"\0+")
    head, entry, word = (16, 20, "Q") if big else (8, 12, "I")
    count_code, half = ("Q", 8) if big else ("H", 4)
    waiting = [*struct.unpack_from(f"{order}{word}", data, head - half)]
    known = {0}
    yield Part(0, head)
    while waiting:
        place = waiting.pop()
        if place in known:
            continue
        known.add(place)
        tables: dict[int, tuple[int, ...]] = {}
        (count,) = struct.unpack_from(f"{order}{count_code}", data, place)
        first = place + struct.calcsize(count_code)
        yield Part(place, first)
        for at in range(first, first + count * entry, entry):
            tag, kind, number = struct.unpack_from(f"{order}HH{word}", data, at)
            meaning = tag not in _TIFF_STRUCTURE
            if ("tiles" in file.name and tag in (256, 257)) or (
                "bits" in file.name and tag == 256
            ):
                # Any size that takes as many tiles, or bytes of a row, is as good.
                yield Part(at, at + entry - half)
                yield Part(at + entry - half, at + entry, unchecked=True)
            else:
                only = tag == 273 and number == 1
                yield Part(at, at + entry, unchecked=meaning, place=only)
            size, value = _TIFF_SIZES[kind] * number, at + entry - half
            if size > half:
                (value,) = struct.unpack_from(f"{order}{word}", data, value)
                # Pages may share the values of a tag.
                if value not in known:
                    yield Part(value, value + size, unchecked=meaning)
                known.add(value)
            code = {3: "H", 4: "I", 13: "I", 16: "Q", 18: "Q"}.get(kind)
            if code:
                tables[tag] = struct.unpack_from(f"{order}{number}{code}", data, value)
        last = first + count * entry
        yield Part(last, last + half)
        waiting += [
            *tables.get(330, ()),
            *struct.unpack_from(f"{order}{word}", data, last),
        ]
        for offsets, lengths in ((273, 279), (324, 325)):
            for start, length in zip(
                tables.get(offsets, ()), tables.get(lengths, ()), strict=True
            ):
                checked = file.name.startswith("deflate")
                yield Part(start, start + length, unchecked=not checked, strip=True)


def _with_gaps(
    file: Clean, parts: Iterable[Part], *, unchecked: bool = False
) -> Iterator[Part]:
    """Parts of a file, and what lies between them."""
    at = 0
    for part in sorted(parts, key=lambda part: part.start):
        if part.start > at:
            yield Part(at, part.start, unchecked)
        yield part
        at = part.stop
    if at < len(file.data):
        yield Part(at, len(file.data), unchecked)


def _npy(file: Clean) -> Iterator[Part]:
    data = file.data
    start = 10 + int.from_bytes(data[8:10], "little")
    kind = re.search(rb"'descr': '([^']*)', 'fortran_order': (\w+)", data)
    if kind is None:
        raise ValueError(f"{file.name} has no header")
    yield Part(0, kind.start(1))
    yield Part(kind.start(1), kind.end(2), unchecked=True)
    yield Part(kind.end(2), start)
    yield Part(start, len(data), unchecked=True)


def _zip(file: Clean) -> Iterator[Part]:
    data = file.data
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        for info in archive.infolist():
            yield Part(info.header_offset, info.header_offset + 30)
            name, extra = struct.unpack_from("<HH", data, info.header_offset + 26)
            first = info.header_offset + 30 + name + extra
            yield Part(info.header_offset + 30, first)
            yield Part(first, first + info.compress_size)
        yield Part(archive.start_dir, len(data) - 22)
    yield Part(len(data) - 22, len(data))


def _hdf5(file: Clean) -> Iterator[Part]:
    """Chunks between descriptions; only the latest kind of these has any sums."""
    with h5py.File(io.BytesIO(file.data)) as opened:
        mask, start = opened["mask"], opened.userblock_size
        if start:
            yield Part(0, 128)
            yield Part(128, start, unchecked=True)
        if mask.chunks is None:
            at = mask.id.get_offset()
            yield Part(at, at + mask.id.get_storage_size(), unchecked=True)
            return
        for chunk in map(mask.id.get_chunk_info, range(mask.id.get_num_chunks())):
            at = chunk.byte_offset
            yield Part(at, at + chunk.size, strip=True)


def _mat(file: Clean) -> Iterator[Part]:
    packed = file.name.startswith("packed")
    yield Part(0, 124, unchecked=True)
    yield Part(124, 128)
    yield Part(128, 136, unchecked=not packed)
    yield Part(136, len(file.data), unchecked=not packed)


def _tar(file: Clean) -> Iterator[Part]:
    """Headers, which have sums, and what is between them: files and long names."""
    at = 0
    for header in _headers(file.data):
        start, size = at + 512, int(header[124:135], 8)
        yield Part(at, start)
        at = start + -(-size // 512) * 512
        is_name = header[156:157] in (b"L", b"x")
        yield Part(start, at, unchecked=is_name, strip=not is_name)


def _parquet(file: Clean) -> Iterator[Part]:
    """Pages of a column, with sums in a file of them, and the description, without."""
    found = pq.read_metadata(io.BytesIO(file.data))
    groups = map(found.row_group, range(found.num_row_groups))
    for column in (g.column(n) for g in groups for n in range(g.num_columns)):
        checked = file.name.startswith("summed")
        start, pages = column.dictionary_page_offset, column.data_page_offset
        stop = (start or pages) + column.total_compressed_size
        if start:
            yield Part(start, pages, unchecked=not checked)
        yield Part(pages, stop, unchecked=not checked)
    end = len(file.data) - 8
    yield Part(0, 4)
    yield Part(end - int.from_bytes(file.data[end : end + 4], "little"), end, True)


def _zarr(file: Clean) -> Iterator[Part]:
    """A chunk, or the description of an array as JSON."""
    summed = file.name.startswith(("gzip", "summed", "shards"))
    is_text = file.inner in ("zarr.json", ".zarray", ".zattrs")
    size = max(len(file.data) // 4, 1)
    for start in range(0, len(file.data), size):
        stop = min(start + size, len(file.data))
        yield Part(start, stop, unchecked=is_text or not summed)


_PARSERS: Final[dict[str, Callable[[Clean], Iterator[Part]]]] = {
    "png": _png,
    "jpeg": _jpeg,
    "bmp": _bmp,
    "tiff": lambda file: _with_gaps(file, _tiff(file)),
    "npy": _npy,
    "npz": _zip,
    "hdf5": lambda file: _with_gaps(
        file, _hdf5(file), unchecked=not file.name.startswith("latest")
    ),
    "mat": _mat,
    "mat73": lambda file: _with_gaps(file, _hdf5(file), unchecked=True),
    "zip": lambda file: _with_gaps(file, _zip(file)),
    "tar": lambda file: _with_gaps(file, _tar(file)),
    "tar.gz": lambda file: _with_gaps(file, [Part(10, len(file.data) - 8)]),
    "parquet": lambda file: _with_gaps(file, _parquet(file)),
    "zarr": _zarr,
}
