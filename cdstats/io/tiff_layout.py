"""Checks that the blocks of a TIFF file match the pixels that its tables declare.

GDAL silently fills missing blocks with zeros and truncates long ones. Therefore every
strip or tile must have an entry, lie inside the file and not overlap others, and the
file must end with its last block or table.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, BinaryIO, Final

import numpy as np

from cdstats.core.errors import DataError, counted

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from cdstats.io.tiff_tables import Page, Tables

_MOST_SAMPLES: Final = 1 << 12
_MOST_BYTES: Final = 1 << 62
_MOST_READ: Final = 1 << 12
_MOST_FILLED: Final = 1 << 22
_GHOST: Final = re.compile(rb"GDAL_STRUCTURAL_METADATA_SIZE=(\d{6}) bytes\n")
_LEADER, _TRAILER = b"BLOCK_LEADER=SIZE_AS_UINT4\n", b"LAST_4_BYTES_REPEATED\n"
_FRAME: Final = 4
"""Bytes that GDAL may write before and after each tile."""
_ALIGNED: Final = 16
_PIECE: Final = 1 << 20


def check_layout(file: BinaryIO, size: int, tables: Tables) -> None:
    """Check that all blocks of every page exist and have valid positions."""
    for page in tables.pages:
        _check_blocks(page, size)
    _check_extents(file, size, tables)
    for page in tables.pages:
        wrong = _wrong_lengths(file, page) & ~page.left_out
        if wrong.any():
            raise DataError(
                f"TIFF file is damaged: {counted(int(wrong.sum()), page.kind)} with "
                "wrong length"
            )


def _check_blocks(page: Page, size: int) -> None:
    """Check that a page lists all its blocks, inside the file."""
    if 0 in (page.width, page.length, page.block_width, page.block_length):
        raise DataError("TIFF file is damaged: a page has no pixels")
    if not page.samples or page.bits[0] == 0:
        raise DataError("TIFF file is damaged: its pixels have no bits")
    if page.samples > _MOST_SAMPLES:
        # GDAL takes seconds to open a file with a huge number of bands.
        raise DataError(
            f"TIFF file is damaged: it declares {counted(page.samples, 'band')}"
        )
    if page.row_bytes * max(page.block_length, page.length) >= _MOST_BYTES:
        raise DataError("TIFF file is damaged: its declared size is impossible")
    for what, numbers in (("offsets", page.offsets), ("lengths", page.byte_counts)):
        if numbers.size != page.needed:
            raise DataError(
                f"TIFF file is damaged: it has the {what} of {numbers.size:,} of "
                f"{counted(page.needed, page.kind)}"
            )
    half = int(((page.offsets == 0) ^ (page.byte_counts == 0)).sum())
    if half:
        raise DataError(
            f"TIFF file is damaged: {counted(half, page.kind)} without offset or length"
        )
    if (page.offsets.astype(np.float64) + page.byte_counts > size).any():
        raise DataError("TIFF file is cut short: pixels are beyond its end")


def _check_extents(file: BinaryIO, size: int, tables: Tables) -> None:
    """Check for overlaps, trailing bytes, and lost data in sparse files.

    Pages may share the values of their tags, as in stacks written by tifffile.
    """
    table = np.array(sorted(set(tables.extents)), dtype=np.int64)
    blocks = [
        np.stack([page.offsets, page.byte_counts], axis=1)[page.byte_counts > 0]
        for page in tables.pages
    ]
    every = np.concatenate(blocks).astype(np.int64)
    # np.unique would import numpy.ma.
    every = every[np.lexsort(every.T[::-1])]
    is_first = np.ones(len(every), bool)
    is_first[1:] = np.diff(every, axis=0).any(1)
    block = every[is_first]
    start, length = np.concatenate([table, block]).T
    is_block = np.arange(start.size) >= len(table)
    order = np.argsort(start, kind="stable")
    start, length, is_block = start[order], length[order], is_block[order]
    gaps = start[1:] - (start + length)[:-1]
    if (gaps < 0).any():
        raise DataError("TIFF file is damaged: parts of it overlap")
    end, ghost = int(start[-1] + length[-1]), _ghost(file, int(length[0]))
    if size != end:
        file.seek(end)
        rest = file.read(min(size - end, _MOST_FILLED))
        ends = (
            # Pillow pads multi-page files.
            len(tables.chain) > 1
            and len(rest) < _ALIGNED
            and not size % _ALIGNED
            and not any(rest),
            # GDAL repeats the last bytes of a tile.
            _TRAILER in ghost
            and len(rest) == _FRAME
            and rest == _before(file, end, _FRAME, _FRAME),
            # tifffile copies each directory from the previous one, with unused values.
            not is_block[-1] and rest == _before(file, end, _stride(tables), len(rest)),
        )
        if size - end > len(rest) or not any(ends):
            raise DataError(
                f"TIFF file is damaged: it has {counted(size - end, 'byte')} after its "
                "pixels and tables"
            )
    left_out = sum(int(page.left_out.sum()) for page in tables.pages)
    shared = len(every) - len(block)
    lengths, stride = dict(tables.extents), _stride(tables)
    # Smallest gap that may be a lost page: a directory in multi-page files; otherwise
    # pixels and tables, because editing a table in place leaves the old one behind.
    least = min(lengths[page.place] for page in tables.chain)
    if sum(page.is_image for page in tables.chain) == 1:
        pixels = min(int(page.byte_counts.sum()) for page in tables.chain)
        is_plain = all(page.is_plain for page in tables.chain)
        least = pixels + sum(lengths.values()) if is_plain else size
    if not (left_out or shared or gaps.max(initial=0) >= least):
        return
    # A zeroed table looks like a sparse file, and an unreferenced page is not missed,
    # but both leave unused bytes.
    frames = _FRAME * (_LEADER in ghost) * is_block[1:]
    frames = frames + _FRAME * (_TRAILER in ghost) * is_block[:-1]
    gaps[0] -= len(ghost)
    gaps = np.where(gaps >= frames, gaps - frames, gaps)
    shortest = max(min(int(length[is_block].min(initial=1)), _MOST_READ), 2)
    unused = 0
    for at in np.flatnonzero(gaps).tolist():
        gap = int(gaps[at])
        place = int(start[at + 1]) - gap
        is_zero = _is_same(file, place, gap, 0)
        lost = bool(left_out or shared) and not (is_zero and gap < shortest)
        if gap >= least and not is_zero:
            # tifffile copies directories together with their values.
            lost = lost or not _is_same(file, place, gap, stride)
        unused += gap * lost
    if unused:
        raise DataError(
            "TIFF file is damaged or was changed in place: "
            f"{counted(left_out, tables.chain[0].kind)} omitted and {shared:,} "
            f"shared, while {counted(unused, 'byte')} belong to no page; rewrite the "
            "file if it is intact"
        )


def _stride(tables: Tables) -> int:
    """Distance between the last two directories; 0 for a single page."""
    *_, before, last = 0, *sorted(page.place for page in tables.pages)
    return last - before if before else 0


def _before(file: BinaryIO, end: int, back: int, length: int) -> bytes:
    """Read bytes that lie `back` bytes before a position."""
    file.seek(max(end - back, 0))
    return file.read(min(length, back))


def _ghost(file: BinaryIO, start: int) -> bytes:
    """The area in which GDAL describes the block order; empty if there is none."""
    file.seek(start)
    data = file.read(_MOST_READ)
    found = _GHOST.match(data)
    return data[: found.end() + int(found[1])] if found else b""


def _is_same(file: BinaryIO, start: int, length: int, back: int) -> bool:
    """Whether bytes repeat those `back` bytes earlier; for 0, whether all are 0."""
    if back and not length <= back <= start:
        return False
    for at in range(start, start + length, _PIECE):
        size = min(_PIECE, start + length - at)
        file.seek(at)
        piece = file.read(size)
        if piece != (_before(file, at, back, size) if back else bytes(size)):
            return False
    return True


def _wrong_lengths(file: BinaryIO, page: Page) -> NDArray[np.bool_]:
    """Mask of uncompressed blocks with a length other than that of their pixels."""
    if not page.is_plain:
        return np.zeros(page.needed, dtype=np.bool_)
    wrong: NDArray[np.bool_] = page.byte_counts.astype(np.int64) != page.decoded_bytes()
    if page.tiled:
        return wrong
    whole = page.row_bytes * page.block_length
    for last in range(page.down - 1, page.needed, page.down):
        if wrong[last] and page.byte_counts[last] == whole <= _MOST_FILLED:
            # GDAL writes a last strip with one value at full height.
            file.seek(int(page.offsets[last]))
            data, pixel = file.read(whole), max(page.row_bytes // page.block_width, 1)
            wrong[last] = data != data[:pixel] * (whole // pixel)
    return wrong
