"""HDF5, NetCDF-4 and MATLAB 7.3 files, read chunk by chunk.

Arrays with external data are refused: links to other files, external storage, and
filters that HDF5 would load as plugins.
"""

from __future__ import annotations

import math
import zlib
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from cdstats.core.errors import DataError, counted
from cdstats.io.arrays import (
    NOT_NUMBERS,
    NamedArray,
    array_images,
    array_in_groups,
)
from cdstats.io.limits import check_memory
from cdstats.io.npy import damage
from cdstats.io.signatures import open_regular

if TYPE_CHECKING:
    from pathlib import Path

    import h5py

    from cdstats.io.blocks import ImageFile, OpenImage

_HEAD_BYTES: Final = 64
_END: Final = (40, 44, 28, 28)
"""Offset of the end-of-file address, by version of the superblock."""
MOST_OBJECTS: Final = 100_000
CACHE_BYTES: Final = 1 << 27
"""Cache for unpacked chunks, so that reading adjacent rows unpacks each chunk once."""
_SLOTS: Final = 10_007
_SHUFFLE, _SUM, _LZF, _DEFLATE, _SZIP = 2, 3, 32000, 1, 4
_PACKINGS: Final = frozenset((_DEFLATE, _SZIP, _LZF))
_FILTERS: Final = _PACKINGS | {_SHUFFLE, _SUM}
"""Filters built into HDF5 and h5py; others are plugins, which run code."""
_TRUSTED_BYTES: Final = 1 << 20
"""Smaller chunks need no check: deflate expands at most 1,032 times."""
_PIECE: Final = 1 << 14
"""Deflated bytes unpacked at once; they unpack to 16 MiB at most."""
_ADDED_BYTES: Final = 1 << 10
"""Most bytes that a filter may add to a chunk."""


def open_images(file: ImageFile) -> list[OpenImage]:
    """Open the masks of the only array, or of the named one."""
    return array_images(file, named_array(file.path, file.member, file.max_pixels))


def named_array(
    path: Path,
    member: str,
    max_pixels: int,
    *,
    matlab: bool = False,
) -> NamedArray:
    """Find an array of a file without reading its numbers."""
    try:
        import h5py
    except ImportError:
        raise DataError(
            "is an HDF5 file, and h5py is not installed: pip install 'cdstats[hdf5]'"
        ) from None
    kind = "MAT" if matlab else "HDF5"
    with damage(kind):
        file = h5py.File(path, "r", locking=False)
        _check_length(path, file.userblock_size)
        found = _Found(matlab=matlab)
        found.walk(file)
        return array_in_groups(
            *(found.arrays, found.others, member, kind, max_pixels, _with_cache),
            fortran=matlab,
        )


def _check_length(path: Path, start: int) -> None:
    """Refuse a file with bytes after its end, which HDF5 accepts."""
    opened, size = open_regular(path)
    with opened as file:
        file.seek(start)
        head = file.read(_HEAD_BYTES)
    at = _END[head[8]]
    end = int.from_bytes(head[at : at + 8], "little")
    if size != end:
        raise DataError(
            f"HDF5 file is damaged: its header gives {end:,} bytes, but it has "
            f"{size:,}; copy it with h5repack if it is intact"
        )


@dataclass
class _Found:
    """The numeric arrays of a file by path, and descriptions of all other objects."""

    matlab: bool
    arrays: dict[str, h5py.Dataset] = field(default_factory=dict)
    others: dict[str, str] = field(default_factory=dict)

    def walk(self, file: h5py.File) -> None:
        """Collect every array that is not behind a link."""
        import h5py

        groups, seen = [("", file)], 0
        known = {h5py.h5o.get_info(file.id).addr}
        while groups:
            above, group = groups.pop()
            for name in group:
                if (seen := seen + 1) > MOST_OBJECTS:
                    raise DataError(f"holds more than {MOST_OBJECTS:,} objects")
                path = f"{above}{name}"
                link = group.get(name, getlink=True)
                if not isinstance(link, h5py.HardLink):
                    outside = isinstance(link, h5py.ExternalLink)
                    self.others[path] = (
                        "a link to another file" if outside else "a link to a name"
                    )
                    continue
                found = group[name]
                if isinstance(found, h5py.Dataset):
                    if text := self._refusal(found):
                        self.others[path] = text
                    else:
                        self.arrays[path] = found
                elif not isinstance(found, h5py.Group) or path.startswith("#"):
                    continue
                elif self.matlab and "MATLAB_sparse" in found.attrs:
                    self.others[path] = "a sparse matrix: save full(...) of it"
                elif (place := h5py.h5o.get_info(found.id).addr) not in known:
                    known.add(place)
                    groups.append((f"{path}/", found))

    def _refusal(self, dataset: h5py.Dataset) -> str:
        """Description of a dataset that is not a numeric array; empty if it is."""
        stated = dataset.attrs.get("MATLAB_class", b"") if self.matlab else b""
        stated = getattr(stated, "decode", lambda: "")()
        if stated in ("char", "cell", "struct", "function_handle"):
            return stated.replace("_", " ")
        if dataset.shape is None or (self.matlab and "MATLAB_empty" in dataset.attrs):
            return "empty"
        if dataset.external or dataset.is_virtual:
            return "numbers in other files (external or virtual storage)"
        return NOT_NUMBERS.get(dataset.dtype.kind, "")


def _with_cache(dataset: h5py.Dataset) -> h5py.Dataset:
    """The same array with its chunks checked and a chunk cache."""
    import h5py

    if dataset.chunks is None:
        if dataset.size and not dataset.id.get_storage_size():
            raise DataError("holds an array that was never written")
        return dataset
    size = math.prod(dataset.chunks) * dataset.dtype.itemsize
    check_memory(size, "save it in smaller chunks")
    _check_filters(dataset)
    _check_chunks(dataset, size)
    access = h5py.h5p.create(h5py.h5p.DATASET_ACCESS)
    access.set_chunk_cache(_SLOTS, max(size, CACHE_BYTES), 1.0)
    file, name = dataset.file, dataset.name
    # HDF5 ignores the settings for a dataset that is already open.
    dataset.id.close()
    return h5py.Dataset(h5py.h5d.open(file.id, name.encode(), access))


def _filters(dataset: h5py.Dataset) -> list[tuple[int, str]]:
    made = dataset.id.get_create_plist()
    found = map(made.get_filter, range(made.get_nfilters()))
    return [(code, name.decode(errors="replace")) for code, _, _, name in found]


def _check_filters(dataset: h5py.Dataset) -> None:
    import h5py

    filters = _filters(dataset)
    for code, name in filters:
        if code not in _FILTERS or not h5py.h5z.filter_avail(code):
            raise DataError(
                f"is compressed with {name or code}, which is not supported: save "
                "it with gzip"
            )
    codes = [code for code, _ in filters]
    if len(set(codes)) < len(codes) or len(_PACKINGS & {*codes}) > 1:
        raise DataError("HDF5 file is damaged: its chunks are compressed twice")


def _check_chunks(dataset: h5py.Dataset, size: int) -> None:
    """Refuse chunks that were never written or inflate too far.

    HDF5 reads the former as zeros, and the latter may fill the memory.
    """
    lengths = zip(dataset.shape, dataset.chunks, strict=True)
    most = math.prod(-(-length // step) for length, step in lengths)
    held = dataset.id.get_num_chunks()
    if held != most:
        missing = counted(most - held, "chunk")
        raise DataError(f"holds an array of {most:,} chunks, {missing} never written")
    packings = _PACKINGS & {code for code, _ in _filters(dataset)}
    stored: list[Any] = []
    dataset.id.chunk_iter(stored.append)
    for one in stored:
        is_long = one.size > size + _ADDED_BYTES
        if not is_long and _DEFLATE in packings and one.size > _TRUSTED_BYTES:
            mask, data = dataset.id.read_direct_chunk(one.chunk_offset)
            is_long = not mask and _unpacks_beyond(data, size + _ADDED_BYTES)
        if is_long:
            raise DataError("HDF5 file is damaged: a chunk is longer than its numbers")


def _unpacks_beyond(data: bytes, most: int) -> bool:
    """Whether deflated bytes inflate to more than `most`; HDF5 checks for damage."""
    unpacker, total = zlib.decompressobj(), 0
    try:
        for start in range(0, len(data), _PIECE):
            total += len(unpacker.decompress(data[start : start + _PIECE]))
            if unpacker.eof or total > most:
                break
    except zlib.error:
        return False
    return total > most
