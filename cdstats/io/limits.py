"""How much a file may ask for before it is refused."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Final

from cdstats.core.errors import DataError
from cdstats.core.messages import counted
from cdstats.core.options import MAX_PIXELS as MAX_PIXELS
from cdstats.io.blocks import WHOLE_PIXELS

if TYPE_CHECKING:
    from collections.abc import Sequence

    from cdstats.io.blocks import OpenImage

_MEMORY_SHARE: Final = 2
"""Of the memory of the machine, what is unpacked at once may take one part in this."""

_IMAGE_BYTES: Final = 1024
"""Memory that an opened image of a stack takes beside its pixels, at most."""


def check_pixels(width: int, height: int, most: int) -> None:
    """Refuse an image that declares more pixels than wanted.

    Raises:
        DataError: If it does.

    Example:
        >>> check_pixels(3, 2, most=5)
        Traceback (most recent call last):
        cdstats.core.errors.DataError: declares 3 x 2 pixels; more than 5 are ...
    """
    if width * height > most:
        raise DataError(
            f"declares {width:,} x {height:,} pixels; more than {most:,} are refused "
            "as damage or a trap. If it is right, raise --max-pixels"
        )


def check_images(images: Sequence[OpenImage], most: int) -> None:
    """Refuse images of which one declares more pixels than wanted.

    Raises:
        DataError: If one does.
    """
    for image in images:
        check_pixels(image.width, image.height, most)


def check_row(width: int) -> None:
    """Refuse an array of rows that are too long to be held, several of each at once.

    Raises:
        DataError: If it is one.
    """
    if width > WHOLE_PIXELS:
        raise DataError(
            f"has rows of {width:,} pixels; expected at most {WHOLE_PIXELS:,}. Save "
            "it in several rows"
        )


def check_memory(size: int, way_out: str) -> None:
    """Refuse what has to be unpacked at once and would fill half of the memory.

    Args:
        size: Its bytes.
        way_out: What to do about it.

    Raises:
        DataError: If it would.
    """
    memory = _memory()
    if memory and size > memory // _MEMORY_SHARE:
        raise DataError(
            f"unpacks to {size:,} bytes at once, of {memory:,} of memory; {way_out}"
        )


def check_stack(count: int) -> None:
    """Refuse a stack of so many images that their descriptions would fill the memory.

    Raises:
        DataError: If it is one.
    """
    check_memory(
        count * _IMAGE_BYTES,
        f"it holds {counted(count, 'image')}: save them in several files",
    )


def _memory() -> int:
    """Bytes of memory of this machine; 0 where the system does not tell."""
    names = getattr(os, "sysconf_names", {})
    if "SC_PHYS_PAGES" not in names:
        return 0
    return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
