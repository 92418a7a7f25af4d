"""Errors caused by files and options, with exit codes; and messages."""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

NO_MEMORY: Final = "does not fit into memory"
DIED: Final = "its worker process died (out of memory?)"
REPORT_HINT: Final = (
    "This is a bug in cdstats: please report this line, with the file if you can share "
    "it"
)
"""Added to the reason of a file that failed with an unexpected exception."""


class CdstatsError(Exception):
    """An error that the user can fix; its text says where, what, and the way out."""

    exit_code = 1


class DataError(CdstatsError):
    """A file that cannot be used."""


class FileFailedError(DataError):
    """Work on a file failed with an exception other than `CdstatsError`."""


class UsageError(CdstatsError, ValueError):
    """An option, rule, preset or device that does not exist or does not fit."""

    exit_code = 2


@contextmanager
def one_file() -> Iterator[None]:
    """Turn any exception into a failure of the current file.

    Every ``with`` block works on one file. A damaged file may cause an unexpected
    exception, which must not end a run over many other files.

    Raises:
        FileFailedError: Instead of any exception other than `CdstatsError`; its text
            is the reason in the row of the file.
    """
    try:
        yield
    except CdstatsError:
        raise
    except MemoryError:
        raise FileFailedError(NO_MEMORY) from None
    except OSError as error:
        raise FileFailedError(access_text(error)) from None
    except Exception as error:
        import logging

        # The traceback helps to find the bug.
        logging.getLogger("cdstats").debug(REPORT_HINT, exc_info=True)
        raise FileFailedError(_unexpected_text(error)) from error


def _unexpected_text(error: Exception) -> str:
    said = " ".join(str(error).split())
    kind = type(error).__name__
    return f"unexpected {kind}{said and ': '}{said}. {REPORT_HINT}"


def access_text(error: OSError) -> str:
    """The message if a file cannot be read."""
    if isinstance(error, FileNotFoundError):
        return "not found"
    if isinstance(error, PermissionError):
        return "cannot be read: permission denied"
    if isinstance(error, IsADirectoryError):
        return "is a folder; expected a file"
    return f"cannot be read: {error.strerror or error}"


class Level(Enum):
    """Severity of a message."""

    NOTE = "note"
    WARNING = "warning"
    ERROR = "error"


@dataclass(frozen=True, slots=True)
class Message:
    """A message for the user, beginning with its file or dataset.

    Each of ``ways`` is a set of options that resolves it, for the arguments
    ``sources``. ``failed`` is the number of failed files, if it is about these.
    """

    level: Level
    text: str
    ways: tuple[str, ...] = ()
    sources: tuple[str, ...] = ()
    failed: int = 0


def unread_of(messages: Iterable[Message]) -> int:
    """Number of inputs that could not be read at all, such as folders."""
    return sum(one.level is Level.ERROR and not one.failed for one in messages)


def counted(number: int, noun: str, verb: str = "") -> str:
    """A number with its noun, and optionally a verb, in the right number.

    Example:
        >>> counted(1, "image"), counted(1200, "image")
        ('1 image', '1,200 images')
        >>> counted(1, "image", "differ"), counted(2, "image", "differ")
        ('1 image differs', '2 images differ')
    """
    one = number == 1
    agreeing = f" {verb}{'s' if one else ''}" if verb else ""
    return f"{number:,} {noun}{'' if one else 's'}{agreeing}"
