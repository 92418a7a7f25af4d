"""Whether the pixels that a TIFF file declares lie in it.

GDAL fills what is missing from the tables of a file with zeros, and reads as many bytes
as fit, without a word. This reads the tables: every strip or tile must have an entry,
lie inside the file and hold as many bytes as its pixels need, or be marked as left out.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, BinaryIO, Final

import numpy as np

from cdstats.core.errors import DataError
from cdstats.io.directories import read_page, read_tables
from cdstats.io.gaps import check_extents
from cdstats.io.limits import MAX_PIXELS
from cdstats.io.strips import Strip, check_lengths, check_strips, check_sums

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

    from cdstats.io.directories import Layout, Page, Tables
    from cdstats.io.gaps import Extents
    from cdstats.io.strips import Strips

_MOST_LOST: Final = 12_288
"""Places that are tried at most; a file that was changed in place has a few."""
_PIECE: Final = 1 << 20
_OVERLAP: Final = 64


def check_tiff(file: BinaryIO, size: int, most: int = MAX_PIXELS) -> list[Strips]:
    """Check the tables of every page of a TIFF file.

    Args:
        file: The file, or its bytes in memory.
        size: Its bytes.
        most: Pixels of a page above which nothing of it is unpacked.

    Returns:
        The pages that follow one another.

    Raises:
        DataError: If a strip or tile is missing, lies outside the file, overlaps
            another or does not hold its pixels, bytes follow the last of them, or a
            page lies in the file to which nothing points.
    """
    tables = read_tables(file, size)
    for page in tables.pages:
        check_strips(page, size)
    chain = [page.strips for page in tables.chain]
    # Nothing is unpacked before it is certain that strips do not overlap.
    unused = check_extents(file, tables.extents, tables.pages, size, len(chain))
    unpacked = set[Strip]()
    for page in tables.pages:
        check_lengths(file, page, most, unpacked)
    if unused:
        _check_lost(file, tables, unused)
    return chain


def _check_lost(file: BinaryIO, tables: Tables, unused: Extents) -> None:
    """Check that no page with pixels of its own lies where nothing points to.

    Raises:
        DataError: If one does.
    """
    held = np.unique(
        np.concatenate([page.places.astype(np.int64) for page in tables.pages])
    )
    lost = [
        page
        for page in _unreferenced(file, tables.layout, unused)
        if not _are_held(page.strips.places, held)
    ]
    if not all(_are_replaced(lost, tables.chain)):
        raise DataError(
            "TIFF file is damaged: it holds a page that no other one leads to; "
            "copy it with gdal_translate if it is right"
        )


def _are_held(places: NDArray[np.unsignedinteger], held: NDArray[np.int64]) -> bool:
    """Whether any of these strips is one of the held ones, which are in order."""
    own = places[places > 0].astype(np.int64)
    at = np.searchsorted(held, own).clip(max=held.size - 1)
    return bool((held[at] == own).any())


def _are_replaced(lost: list[Page], chain: list[Page]) -> list[bool]:
    """Whether each of some lost pages was written anew.

    A program that changes a file in place writes a directory behind the others and
    leaves the old one, which goes on with the same page, or with what that page was.
    """
    anew: dict[tuple[int, int, int], int] = {}
    for page in chain:
        key = (page.following, page.strips.width, page.strips.length)
        anew[key] = max(page.place, anew.get(key, 0))
    now: dict[int, int] = {}
    for _ in lost:
        known = len(now)
        for page in lost:
            following = now.get(page.following, page.following)
            place = anew.get((following, page.strips.width, page.strips.length), 0)
            if place > page.place:
                now[page.place] = place
        if len(now) == known:
            break
    return [page.place in now for page in lost]


def _unreferenced(file: BinaryIO, layout: Layout, unused: Extents) -> Iterator[Page]:
    """The directories that begin in bytes of a file that belong to nothing."""
    seen = set[int]()
    count = 8 if layout.big else 2
    for start, length in unused:
        for at in _sizes(file, layout, start, length):
            # A kind, or a name, may stand before the size.
            for before in range(3):
                place = at - count - before * layout.entry
                if place < start or place in seen:
                    continue
                seen.add(place)
                if len(seen) > _MOST_LOST:
                    raise DataError(
                        "TIFF file is damaged: directories lie in it that belong to "
                        "no page"
                    )
                page = read_page(file, layout, place)
                if page is not None:
                    yield page


def _sizes(file: BinaryIO, layout: Layout, start: int, length: int) -> Iterator[int]:
    """Where a stretch holds two entries that look like the width and the length."""
    one = (1).to_bytes(8 if layout.big else 4, "little")
    width, height = rb"\x00\x01[\x03\x04]\x00", rb"\x01\x01[\x03\x04]\x00"
    if layout.order == ">":
        one = one[::-1]
        width, height = rb"\x01\x00\x00[\x03\x04]", rb"\x01\x01\x00[\x03\x04]"
    value = b".{%d}" % len(one)
    pattern = re.compile(width + one + value + height + one, re.DOTALL)
    for at in range(start, start + length, _PIECE):
        file.seek(at)
        piece = file.read(min(_PIECE + _OVERLAP, start + length - at))
        yield from (at + found.start() for found in pattern.finditer(piece))


def check_rows(file: BinaryIO, size: int, page: int, start: int, stop: int) -> None:
    """Check the sums of the pixels of some rows of a page, and of its mask.

    Args:
        file: The file, whose tables have been checked.
        size: Its bytes.
        page: The number of the page, from 0.
        start: First row.
        stop: The row after the last one.

    Raises:
        DataError: If a sum does not hold.
    """
    pages = read_tables(file, size).pages
    if page >= len(pages):
        raise DataError("TIFF file has changed while it was read")
    own = pages[page]
    masks = [
        other
        for other in pages[page + 1 :]
        if other.is_mask and (other.width, other.length) == (own.width, own.length)
    ]
    for one in [own, *masks]:
        check_sums(file, one, start, stop)
