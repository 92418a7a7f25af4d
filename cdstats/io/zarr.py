"""Zarr stores, versions 2 and 3, in folders, read chunk by chunk.

Chunks are unpacked into buffers of the size in the metadata, so that none can exceed
it. Unknown codecs and object codecs are refused.
"""

from __future__ import annotations

import base64
import json
import math
import os
import struct
import zlib
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import product
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from cdstats.core.errors import DataError
from cdstats.io.arrays import (
    NOT_NUMBERS,
    NamedArray,
    array_images,
    array_in_groups,
)
from cdstats.io.hdf5 import CACHE_BYTES, MOST_OBJECTS
from cdstats.io.limits import check_memory
from cdstats.io.npy import Shape, damage
from cdstats.io.signatures import open_regular

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping
    from pathlib import Path

    from numpy.typing import NDArray

    from cdstats.io.blocks import ImageFile, OpenImage

_KIND: Final = "Zarr"
_MOST_JSON: Final = 1 << 24
_MOST_CHUNKS: Final = 1 << 26
_ADDED_BYTES: Final = 1 << 10
"""Bytes that a codec may add to a chunk, in addition to 1/64."""
_SUM: Final = "crc32c"
_SUM_BYTES: Final = 4
_DEFLATED: Final = ("gzip", "zlib")
_PACKINGS: Final = (*_DEFLATED, "blosc", "zstd", "lz4")
_INTEGERS: Final = [
    f"{sign}int{bits}" for sign in ("", "u") for bits in (8, 16, 32, 64)
]
_TYPES: Final = ("bool", *_INTEGERS, "float16", "float32", "float64")
_NONE: Final = (1 << 64) - 1
"""Offset and length of a chunk that is missing in a shard."""


def open_images(file: ImageFile) -> list[OpenImage]:
    """Open the masks of the only array, or of the named one."""
    return array_images(file, named_array(file.path, file.member, file.max_pixels))


def named_array(path: Path, member: str, max_pixels: int) -> NamedArray:
    """Find an array of a store without reading its numbers."""
    with damage(_KIND):
        arrays, others = _found_in(path)
        return array_in_groups(
            *(arrays, others, member, _KIND, max_pixels, _Array.opened)
        )


def _found_in(root: Path) -> tuple[dict[str, _Array], dict[str, str]]:
    """The numeric arrays of a store by path, and descriptions of other objects."""
    arrays, others = dict[str, _Array](), dict[str, str]()
    folders, known, seen = [("", root)], set[tuple[int, int]](), 0
    while folders:
        name, folder = folders.pop()
        stored = folder.stat()
        node = _metadata(folder)
        if node is None or (place := (stored.st_dev, stored.st_ino)) in known:
            continue
        known.add(place)
        if node["is_array"]:
            name = name or folder.resolve().name.removesuffix(".zarr")
            made = _array(folder, node)
            if isinstance(made, str):
                others[name] = made
            else:
                arrays[name] = made
            continue
        with os.scandir(folder) as entries:
            inner = [entry.name for entry in entries if entry.is_dir()]
        if (seen := seen + len(inner)) > MOST_OBJECTS:
            raise DataError(f"holds more than {MOST_OBJECTS:,} objects")
        above = f"{name}/" if name else ""
        folders += [(f"{above}{one}", folder / one) for one in sorted(inner)[::-1]]
    return arrays, others


def _metadata(folder: Path) -> dict[str, Any] | None:
    if (found := _json(folder / "zarr.json")) is not None:
        return found | {"is_array": found["node_type"] == "array"}
    if (found := _json(folder / ".zarray")) is not None:
        attributes = _json(folder / ".zattrs") or {}
        return found | {"is_array": True, "attributes": attributes}
    is_group = (folder / ".zgroup").is_file()
    return {"is_array": False} if is_group else None


def _json(path: Path) -> dict[str, Any] | None:
    data = _bytes(path, _MOST_JSON)
    if data is None:
        return None
    found = json.loads(data)
    if not isinstance(found, dict):
        raise DataError(f"{_KIND} store is damaged: {path.name} is not a JSON object")
    return found


def _bytes(path: Path, most: int) -> bytes | None:
    try:
        opened, size = open_regular(path)
    except FileNotFoundError:
        return None
    with opened as file:
        if size > most:
            raise DataError(
                f"{_KIND} store is damaged: {path.name} has {size:,} bytes; expected "
                f"at most {most:,}"
            )
        return file.readall()


@dataclass(frozen=True)
class _Coding:
    """Encoding of the numbers of a chunk.

    Attributes:
        order: Order of the axes in storage.
        codecs: Codecs in the order of encoding.
    """

    shape: Shape
    dtype: np.dtype[Any]
    order: Shape
    codecs: tuple[str, ...]

    @property
    def size(self) -> int:
        """Decoded size in bytes."""
        return math.prod(self.shape) * self.dtype.itemsize

    @property
    def most(self) -> int:
        """Largest valid encoded size in bytes."""
        return self.size + self.size // 64 + _ADDED_BYTES

    def numbers(self, data: bytes) -> NDArray[Any]:
        """Decode a chunk."""
        sizes = [self.size]
        for codec in self.codecs:
            sizes.append(sizes[-1] + _SUM_BYTES if codec == _SUM else -1)
        for codec, size in zip(self.codecs[::-1], sizes[-2::-1], strict=True):
            data = _without_sum(data) if codec == _SUM else _unpacked(codec, data, size)
        if len(data) != self.size:
            raise DataError(
                f"{_KIND} store is damaged: a chunk has {len(data):,} bytes; expected "
                f"{self.size:,}"
            )
        stored = np.frombuffer(data, self.dtype)
        shape = [self.shape[axis] for axis in self.order]
        return stored.reshape(shape).transpose(np.argsort(self.order))


def _without_sum(data: bytes) -> bytes:
    with _needed():
        import google_crc32c
    found = google_crc32c.value(bytes(data[:-_SUM_BYTES]))
    if struct.pack("<I", found) != data[-_SUM_BYTES:]:
        raise DataError(f"{_KIND} store is damaged: a checksum (CRC-32C) is wrong")
    return data[:-_SUM_BYTES]


def _unpacked(codec: str, data: bytes, size: int) -> bytes:
    """Decompress to exactly `size` bytes, never more."""
    if codec in _DEFLATED:
        unpacker = zlib.decompressobj(47)
        found = unpacker.decompress(data, size + 1)
        whole = unpacker.eof and not unpacker.unused_data and len(found) == size
    else:
        with _needed():
            import numcodecs
        if codec == "blosc" and data[12:16] != struct.pack("<I", len(data)):
            raise DataError(f"{_KIND} store is damaged: a chunk was cut short")
        # A chunk that is too short leaves the rest of the buffer unchanged.
        out = np.full(size, 0xAA, np.uint8)
        unpacker = numcodecs.get_codec({"id": codec})
        unpacker.decode(data, out)
        whole = out[-1] != 0xAA
        if not whole:
            out[-1] = 0x55
            unpacker.decode(data, out)
            whole = out[-1] == 0xAA
        found = out.tobytes()
    if not whole:
        raise DataError(
            f"{_KIND} store is damaged: a chunk does not unpack to {size:,} bytes"
        )
    return found


@contextmanager
def _needed() -> Iterator[None]:
    """Turn a missing library into an error that names the extra."""
    try:
        yield
    except ImportError:
        raise DataError(
            "is a Zarr store with a codec whose library is not installed: "
            "pip install 'cdstats[zarr]'"
        ) from None


@dataclass(frozen=True)
class _Shards:
    """Layout of files with several chunks and an index of their positions."""

    shape: Shape
    has_sum: bool
    is_last: bool

    def parts(self, data: bytes, count: int) -> list[tuple[int, int]]:
        """Offset and length of each chunk."""
        size = 16 * count + _SUM_BYTES * self.has_sum
        index = data[-size:] if self.is_last else data[:size]
        if len(index) < size:
            raise DataError(f"{_KIND} store is damaged: a shard was cut short")
        numbers = _without_sum(index) if self.has_sum else index
        pairs = struct.unpack(f"<{2 * count}Q", numbers)
        return list(zip(pairs[::2], pairs[1::2], strict=True))


@dataclass
class _Array:
    """An array of a store that is read by slicing."""

    folder: Path
    shape: Shape
    coding: _Coding
    shards: _Shards | None
    key: str
    fill: Any
    attrs: Mapping[str, Any]
    _kept: dict[Shape, NDArray[Any] | None] = field(default_factory=dict)

    @property
    def dtype(self) -> np.dtype[Any]:
        """Type of the numbers."""
        return self.coding.dtype

    def opened(self) -> _Array:
        """The same array, after checking that its chunks fit in memory."""
        size = math.prod(self._file_shape) * self.dtype.itemsize
        check_memory(2 * size, "save it in smaller chunks")
        lengths = zip(self.shape, self._file_shape, strict=True)
        number = math.prod(-(-length // step) for length, step in lengths)
        if number > _MOST_CHUNKS:
            raise DataError(
                f"holds {number:,} chunks; expected at most {_MOST_CHUNKS:,}: save it "
                "in larger chunks"
            )
        return self

    @property
    def _file_shape(self) -> Shape:
        return self.shards.shape if self.shards else self.coding.shape

    def __getitem__(self, keys: tuple[slice, ...]) -> NDArray[Any]:
        """Read a part; each slice has a start and a stop."""
        found = np.empty([key.stop - key.start for key in keys], self.dtype)
        steps = self._file_shape
        ranges = [
            range(key.start // step, -(-key.stop // step))
            for key, step in zip(keys, steps, strict=True)
        ]
        for place in product(*ranges):
            chunk = self._chunk(place)
            into, of = list[slice](), list[slice]()
            for key, at, step in zip(keys, place, steps, strict=True):
                start, stop = max(key.start, at * step), min(key.stop, (at + 1) * step)
                into.append(slice(start - key.start, stop - key.start))
                of.append(slice(start - at * step, stop - at * step))
            found[tuple(into)] = self._fill() if chunk is None else chunk[tuple(of)]
        return found

    def _fill(self) -> Any:  # noqa: ANN401 - a number
        if self.fill is None:
            raise DataError("holds an array with a chunk that was never written")
        return self.fill

    def _chunk(self, place: Shape) -> NDArray[Any] | None:
        """The numbers of a chunk file, cached; None if it does not exist."""
        if place not in self._kept:
            read = self._read(place)
            size = math.prod(self._file_shape) * self.dtype.itemsize
            while self._kept and (len(self._kept) + 1) * size > CACHE_BYTES:
                del self._kept[next(iter(self._kept))]
            self._kept[place] = read
        return self._kept[place]

    def _read(self, place: Shape) -> NDArray[Any] | None:
        separator, prefix = self.key[-1], self.key[:-1]
        name = prefix + separator.join(map(str, place)) if place else prefix or "0"
        inner = self.coding
        both = zip(self._file_shape, inner.shape, strict=True)
        steps = [whole // part for whole, part in both]
        count = math.prod(steps)
        data = _bytes(self.folder / name, (inner.most + 16) * count + _SUM_BYTES)
        if data is None:
            return None
        if self.shards is None:
            return inner.numbers(data)
        found = np.empty(self._file_shape, self.dtype)
        parts = self.shards.parts(data, count)
        for at, (start, size) in zip(product(*map(range, steps)), parts, strict=True):
            into = tuple(
                slice(number * part, (number + 1) * part)
                for number, part in zip(at, inner.shape, strict=True)
            )
            if start == size == _NONE:
                found[into] = self._fill()
            elif start + size > len(data):
                raise DataError(f"{_KIND} store is damaged: a shard was cut short")
            else:
                found[into] = inner.numbers(data[start : start + size])
        return found


def _array(folder: Path, node: dict[str, Any]) -> _Array | str:
    """Parse the metadata of an array; returns a description if it is unsupported."""
    shape = _lengths(node["shape"], least=0)
    attributes = node.get("attributes", {})
    if node["zarr_format"] == 2:
        if not isinstance(node["dtype"], str):
            return NOT_NUMBERS["V"]
        dtype = np.dtype(node["dtype"])
        if text := NOT_NUMBERS.get(dtype.kind, ""):
            return text
        codec = (node["compressor"] or {}).get("id")
        filters = [one["id"] for one in node["filters"] or ()]
        order = tuple(range(len(shape)))[:: -1 if node["order"] == "F" else 1]
        chunks = _lengths(node["chunks"])
        codecs = _known([*filters, *([codec] if codec else [])])
        coding = _Coding(chunks, dtype, order, codecs)
        key = node.get("dimension_separator", ".")
        shards = None
    else:
        name = node["data_type"]
        if name not in _TYPES:
            return f"{name if isinstance(name, str) else name.get('name')} values"
        chunks = _lengths(_settings(node["chunk_grid"], "regular")["chunk_shape"])
        coding, shards = _coding(node["codecs"], chunks, np.dtype(name))
        encoding = node["chunk_key_encoding"]
        ends = encoding.get("configuration", {})
        key = ends.get("separator", ".")
        if encoding["name"] != "v2":
            key = f"c{ends.get('separator', '/')}" + ends.get("separator", "/")
        if node.get("storage_transformers"):
            raise DataError("uses a storage transformer, which is not supported")
    if len(chunks) != len(shape) or len(key) > 3 or key[-1] not in "./":
        raise DataError(f"{_KIND} store is damaged: its chunks do not fit its shape")
    fill = _fill_value(node.get("fill_value"), coding.dtype)
    return _Array(folder, shape, coding, shards, key, fill, _plain(attributes))


def _lengths(value: Any, least: int = 1) -> Shape:  # noqa: ANN401 - JSON
    found = tuple(map(int, value))
    if any(one < least for one in found):
        raise DataError(f"{_KIND} store is damaged: its shape is {found}")
    return found


def _settings(value: dict[str, Any], *names: str) -> dict[str, Any]:
    """The configuration of a metadata entry with one of the given names."""
    if value["name"] not in names:
        raise DataError(
            f"is stored with {value['name']!r}, which is not supported; expected "
            f"{' or '.join(names)}"
        )
    found: dict[str, Any] = value.get("configuration") or {}
    return found


def _known(codecs: Iterable[str]) -> tuple[str, ...]:
    """Names of supported codecs: any checksums, and at most one compressor."""
    found = tuple(codec.removeprefix("numcodecs.") for codec in codecs)
    for codec in found:
        if codec not in (*_PACKINGS, _SUM):
            raise DataError(
                f"is compressed with {codec!r}, which is not supported; save it with "
                f"{', '.join(_PACKINGS[:-1])} or {_PACKINGS[-1]}"
            )
    if sum(codec in _PACKINGS for codec in found) > 1:
        raise DataError("uses several compressors, which is not supported; use one")
    return found


def _coding(
    codecs: list[dict[str, Any]], shape: Shape, dtype: np.dtype[Any]
) -> tuple[_Coding, _Shards | None]:
    """The encoding of version 3 chunks, and their shards if any."""
    order, rest = tuple(range(len(shape))), list(codecs)
    if rest[0]["name"] == "transpose":
        order = _lengths(_settings(rest.pop(0), "transpose")["order"], least=0)
    first, *packed = rest
    settings = _settings(first, "bytes", "sharding_indexed")
    names = _known(one["name"] for one in packed)
    if first["name"] == "bytes":
        ends = settings.get("endian", "little")
        dtype = dtype.newbyteorder("<" if ends == "little" else ">")
        return _Coding(shape, dtype, order, names), None
    inner = _lengths(settings["chunk_shape"])
    is_plain = order == tuple(range(len(shape))) and not names
    parts = list(zip(shape, inner, strict=True))
    sums = [one["name"] for one in settings["index_codecs"]]
    coding, deeper = _coding(settings["codecs"], inner, dtype)
    if deeper or not is_plain or any(whole % part for whole, part in parts):
        raise DataError("uses an unsupported layout of shards")
    ends = settings["index_codecs"][0].get("configuration", {}).get("endian", "little")
    if sums not in (["bytes"], ["bytes", _SUM]) or ends != "little":
        raise DataError("uses an unsupported shard index")
    is_last = settings.get("index_location", "end") == "end"
    return coding, _Shards(shape, len(sums) > 1, is_last)


def _fill_value(value: Any, dtype: np.dtype[Any]) -> Any:  # noqa: ANN401 - JSON
    """The value of pixels in missing chunks; None if there is none."""
    if value is None:
        return None
    if isinstance(value, str) and value.startswith("0x"):
        return np.frombuffer(bytes.fromhex(value[2:]), dtype.newbyteorder(">"))[0]
    return np.array(float(value) if dtype.kind == "f" else value).astype(dtype)[()]


def _plain(attributes: Mapping[str, Any]) -> dict[str, Any]:
    """Attributes with the nodata value as a number; xarray may write base64."""
    found = dict(attributes)
    if isinstance(text := found.get("_FillValue"), str) and len(text) == 12:
        found["_FillValue"] = struct.unpack("<d", base64.b64decode(text))[0]
    return found
