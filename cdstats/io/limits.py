"""Limits on the size and memory of files."""

from __future__ import annotations

import os
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Final

from cdstats.core.division import WATCH, NeedsAllMemoryError
from cdstats.core.errors import DataError, counted
from cdstats.core.options import MAX_PIXELS as MAX_PIXELS
from cdstats.io.blocks import WHOLE_PIXELS

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from cdstats.io.blocks import OpenImage

_MEMORY_SHARE: Final = 2
"""All workers of a run together may use 1/2 of the memory."""
_GROUPS: Final = Path("/proc/self/cgroup")
_GROUP_ROOT: Final = Path("/sys/fs/cgroup")

_LEAST_SPACE: Final = 400_000_000
_IMAGE_BYTES: Final = 3072
"""Memory per image of a stack in addition to its pixels."""


def check_pixels(width: int, height: int, most: int) -> None:
    """Refuse an image that declares more than `most` pixels.

    Example:
        >>> check_pixels(3, 2, most=5)
        Traceback (most recent call last):
        cdstats.core.errors.DataError: declares 3 x 2 pixels; the limit is 5, ...
    """
    if width * height > most:
        raise DataError(
            f"declares {width:,} x {height:,} pixels; the limit is {most:,}, because "
            "the file may be damaged or malicious. If it is intact, raise --max-pixels"
        )


def check_images(images: Sequence[OpenImage], most: int) -> None:
    """Refuse images if any of them declares more than `most` pixels."""
    for image in images:
        check_pixels(image.width, image.height, most)


def check_row(width: int) -> None:
    """Refuse an array whose rows are too long for memory."""
    if width > WHOLE_PIXELS:
        raise DataError(
            f"has rows of {width:,} pixels; expected at most {WHOLE_PIXELS:,}. Save "
            "it in several rows"
        )


def check_memory(size: int, way_out: str) -> None:
    """Refuse an allocation that exceeds the memory of the run; may raise a retry.

    All workers of a run share half of the memory.
    """
    memory = _memory()
    budget = memory // _MEMORY_SHARE
    if memory and size > budget:
        raise DataError(
            f"needs {size:,} bytes at once, more than half of the memory available to "
            f"this process ({memory:,} bytes); {way_out}"
        )
    if memory and size > budget // WATCH.get().workers:
        raise NeedsAllMemoryError


def memory_share() -> int:
    """Memory per worker in bytes; a small default if the system reports none."""
    return (_memory() or _LEAST_SPACE) // _MEMORY_SHARE // WATCH.get().workers


def check_address_space() -> None:
    """Refuse an ``ulimit -v`` with which libraries fail or hang when loaded.

    With any other limit, OpenBLAS is told to use fewer threads to save address space.
    """
    limit = _address_space()
    if not limit:
        return
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    if limit < _LEAST_SPACE:
        raise DataError(
            f"the address space is limited to {limit:,} bytes (ulimit -v); expected at "
            f"least {_LEAST_SPACE:,}"
        )


def check_stack(count: int) -> None:
    """Refuse a stack with more images than memory can describe."""
    check_memory(
        count * _IMAGE_BYTES,
        f"it holds {counted(count, 'image')}: save them in several files",
    )


@cache
def _memory() -> int:
    """Memory available to this process in bytes; 0 if unknown."""
    return min(filter(None, (_physical(), _address_space(), *_of_groups())), default=0)


def _physical() -> int:
    if "SC_PHYS_PAGES" not in getattr(os, "sysconf_names", {}):
        return 0
    return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")


def _address_space() -> int:
    """The limit of ``ulimit -v``; 0 if there is none."""
    try:
        import resource
    except ImportError:  # Windows
        return 0
    limit, _ = resource.getrlimit(resource.RLIMIT_AS)
    return 0 if limit == resource.RLIM_INFINITY else limit


def _of_groups() -> Iterator[int]:
    """Memory limits of the control groups of this process, as set by containers."""
    try:
        lines = _GROUPS.read_text("utf-8").splitlines()
    except OSError:
        return
    for line in lines:
        _, controllers, group = line.split(":", 2)
        root, name = _GROUP_ROOT, "memory.max"
        if controllers:
            root, name = _GROUP_ROOT / "memory", "memory.limit_in_bytes"
            if "memory" not in controllers.split(","):
                continue
        place = root / group.lstrip("/")
        for folder in (place, *place.parents):
            with suppress(OSError, ValueError):
                # Without a limit, the file has "max" or a huge number.
                yield int((folder / name).read_text("ascii"))
            if folder == root:
                break
