"""What lies between the tables and pixels of a TIFF file: padding, or lost parts."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, BinaryIO, Final

import numpy as np

from cdstats.core.errors import DataError
from cdstats.core.messages import counted

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from cdstats.io.strips import Strips

Extents = list[tuple[int, int]]
"""First byte and number of bytes of stretches of a file."""
_GHOST: Final = re.compile(rb"GDAL_STRUCTURAL_METADATA_SIZE=(\d{6}) bytes\n")
_LEADER, _TRAILER = b"BLOCK_LEADER=SIZE_AS_UINT4\n", b"LAST_4_BYTES_REPEATED\n"
_FRAME: Final = 4
"""Bytes that GDAL may put before and after each tile."""
_FILLED: Final = re.compile(
    rb"\0{,15}(II\*\0\x08\0{3}|MM\0\*\0{3}\x08"
    rb"|II\+\0\x08\0{3}\x10\0{7}|MM\0\+\0\x08\0{9}\x10)"
)
"""What Pillow puts before each further page: zeros, and the header of a file."""
_ALIGNED: Final = 16
_SMALLEST: Final = 18
"""Bytes of the smallest directory."""
_HEADER: Final = 16
"""Bytes of the longer header, behind which GDAL describes how a file is ordered."""
_MOST_READ: Final = 1 << 12


def check_extents(
    file: BinaryIO, tables: Extents, pages: list[Strips], size: int, chain: int
) -> Extents:
    """Check that no stretch of a file holds two things and that nothing follows.

    Args:
        file: The file.
        tables: First byte and number of bytes of the header and of each table.
        pages: Its pages.
        size: Its bytes.
        chain: How many of the pages follow one another.

    Returns:
        Stretches that belong to nothing and are large enough to hold a directory.

    Raises:
        DataError: If stretches overlap, bytes follow the last, or strips are left out
            or shared while bytes of the file belong to nothing.
    """
    starts, lengths, strip, shared = _stretches(tables, pages)
    ends = starts + lengths
    gaps = starts[1:] - ends[:-1]
    if (gaps < 0).any():
        raise DataError("TIFF file is damaged: parts of it overlap")
    if size == ends[-1] and not gaps.any():
        return []
    leader, trailer = _frames(file, int(ends[0]))
    _check_tail(file, int(ends[-1]), size, trailer, several=chain > 1)
    gaps = _without_frames(gaps, leader * strip[1:], trailer * strip[:-1])
    left_out = sum(int(page.left_out.sum()) for page in pages)
    strict = bool(left_out or shared)
    fixed = chain > 1 and all(page.is_plain for page in pages)
    shortest = int(lengths[strip].min()) if strip.any() else 0
    unused: Extents = []
    for at in np.flatnonzero(gaps > (0 if strict or fixed else _SMALLEST - 1)):
        length, stop = int(gaps[at]), int(starts[at + 1] - leader * strip[at + 1])
        if not _is_padding(file, stop - length, stop, shortest):
            unused.append((stop - length, length))
    if strict and unused:
        raise DataError(
            f"TIFF file is damaged, or was changed in place: {left_out:,} strips or "
            f"tiles are left out and {shared:,} shared, while "
            f"{sum(length for _, length in unused):,} bytes belong to none; copy it "
            "with gdal_translate if it is right"
        )
    if fixed and any(length < _SMALLEST for _, length in unused):
        # Plain strips have no reason to move, and nothing else is as short.
        raise DataError("TIFF file is damaged: bytes between its pages belong to none")
    return [one for one in unused if one[1] >= _SMALLEST]


def _stretches(
    tables: Extents, pages: list[Strips]
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.bool_], int]:
    """All that a file holds, in order: first bytes, lengths, which are strips.

    The last number tells how often a stretch is named again.
    """
    table = np.array(tables, dtype=np.int64).reshape(-1, 2)
    starts, lengths = [table[:, 0]], [table[:, 1]]
    for page in pages:
        there = page.lengths > 0
        starts.append(page.places[there].astype(np.int64))
        lengths.append(page.lengths[there].astype(np.int64))
    start, length = np.concatenate(starts), np.concatenate(lengths)
    strip = np.arange(start.size) >= len(table)
    order = np.lexsort((length, start))
    start, length, strip = start[order], length[order], strip[order]
    same = (np.diff(start) == 0) & (np.diff(length) == 0)
    kept = np.concatenate([[True], ~same])
    return start[kept], length[kept], strip[kept], int(same.sum())


def _frames(file: BinaryIO, end: int) -> tuple[int, int]:
    """Bytes that GDAL puts before and after each tile, as its ghost area says."""
    ghost = _ghost(file, end)
    return _FRAME * (_LEADER in ghost), _FRAME * (_TRAILER in ghost)


def _ghost(file: BinaryIO, start: int) -> bytes:
    """The area in which GDAL describes how a file is ordered; empty without one."""
    file.seek(start)
    data = file.read(_MOST_READ)
    found = _GHOST.match(data)
    return data[: found.end() + int(found[1])] if found else b""


def _without_frames(
    gaps: NDArray[np.int64], leaders: NDArray[np.int64], trailers: NDArray[np.int64]
) -> NDArray[np.int64]:
    """What gaps hold beside the bytes that GDAL puts around tiles."""
    rest = gaps - leaders - trailers
    return np.where(rest >= 0, rest, gaps)


def _check_tail(
    file: BinaryIO, end: int, size: int, trailer: int, *, several: bool
) -> None:
    """Check what follows the last stretch: padding of pages, or the end of a tile.

    Raises:
        DataError: If it is anything else.
    """
    if size == end:
        return
    if size == end + trailer:
        file.seek(end - trailer)
        last = file.read(2 * trailer)
        if last[:trailer] == last[trailer:]:
            return
    # Pillow fills up a file of several pages.
    if several and size % _ALIGNED == 0 and size - end < _ALIGNED:
        file.seek(end)
        if not any(file.read(size - end)):
            return
    raise DataError(
        f"TIFF file is damaged: it has {counted(size - end, 'byte')} after its pixels "
        "and tables"
    )


def _is_padding(file: BinaryIO, start: int, stop: int, shortest: int) -> bool:
    """Whether bytes fill a file up to where the next part may begin, and hold nothing.

    Zeros are none if a lost strip could have been as short.
    """
    length = stop - start
    if length > _MOST_READ:
        return False
    ghost = _ghost(file, start) if start <= _HEADER else b""
    if ghost:
        return len(ghost) == length or _is_padding(
            file, start + len(ghost), stop, shortest
        )
    file.seek(start)
    data = file.read(length)
    filled = _FILLED.fullmatch(data)
    if filled:
        return (start + filled.start(1)) % _ALIGNED == 0
    aligned = length < _ALIGNED and stop % (1 << length.bit_length()) == 0
    return not any(data) and aligned and (length == 1 or length < shortest)
