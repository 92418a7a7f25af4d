"""What GDAL only says while it decodes: a warning there means pixels made up.

GDAL reads on after a broken line of a fax strip or a JPEG that ends early, warns, and
fills the rest. It tells the logger of rasterio, so it is heard there.
"""

from __future__ import annotations

import logging
import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final

from cdstats.core.errors import DataError

if TYPE_CHECKING:
    from collections.abc import Iterator

_LOGGER: Final = logging.getLogger("rasterio._err")


class _Ear(logging.Filter):
    """Keeps the messages of threads that listen; those of other threads pass.

    The level of the logger is lowered only while a thread listens, so that a program
    that imports this package keeps its own.
    """

    def __init__(self) -> None:
        super().__init__()
        self._threads = threading.local()
        self._lock = threading.Lock()
        self._listening = 0
        self._level = logging.NOTSET

    def start(self) -> None:
        """Listen in this thread."""
        self._threads.said = []
        with self._lock:
            if not self._listening:
                self._level = _LOGGER.level
                # GDAL's errors that do not end a read are told at this level.
                _LOGGER.setLevel(logging.INFO)
            self._listening += 1

    def stop(self) -> list[str]:
        """What was said in this thread."""
        said: list[str] = self._threads.said
        self._threads.said = None
        with self._lock:
            self._listening -= 1
            if not self._listening:
                _LOGGER.setLevel(self._level)
        return said

    def filter(self, record: logging.LogRecord) -> bool:
        """Whether a message goes on to whoever set up logging."""
        said = getattr(self._threads, "said", None)
        if said is not None:
            said.append(record.getMessage())
            return False
        usual = logging.getLogger("rasterio").getEffectiveLevel()
        return record.levelno >= (self._level or usual if self._listening else 0)


_EAR: Final = _Ear()
_LOGGER.addFilter(_EAR)


@contextmanager
def no_warnings() -> Iterator[None]:
    """Refuse what GDAL decodes with a warning.

    Raises:
        DataError: With the first warning.
    """
    _EAR.start()
    try:
        yield
    finally:
        said = _EAR.stop()
    if said:
        raise DataError(f"cannot be decoded: {' '.join(said[0].split())}")
