"""Keeping freed memory: a process that counts masks needs as much again at once."""

from __future__ import annotations

import os
from typing import Final

TRIM_BYTES: Final = 1 << 27
"""Free memory that a process keeps."""
MAP_BYTES: Final = 1 << 25
"""Blocks of memory up to this size are kept, too."""
_TRIM, _MAP = "MALLOC_TRIM_THRESHOLD_", "MALLOC_MMAP_THRESHOLD_"
SETTINGS: Final = {_TRIM: str(TRIM_BYTES), _MAP: str(MAP_BYTES)}
"""What makes glibc keep it, as the environment of a new process.

Otherwise the memory of each mask goes back to the system, which clears it for the next
one: that takes as long as counting it.
"""
_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3


def keep_freed() -> None:
    """Have this process keep freed memory, where its C library is glibc.

    What the environment says stands.
    """
    if _TRIM in os.environ or _MAP in os.environ:
        return
    import ctypes

    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (AttributeError, OSError, TypeError):
        return  # another C library
    mallopt(_M_TRIM_THRESHOLD, TRIM_BYTES)
    mallopt(_M_MMAP_THRESHOLD, MAP_BYTES)
