"""Errors that files and options cause, each with its exit code; messages."""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

NO_MEMORY: Final = "does not fit into memory"
DIED: Final = "the process that read it died (out of memory?)"
REPORT_HINT: Final = (
    "This is a bug in cdstats: please report this line, with the file if you can share "
    "it"
)
"""Marks the reason of a file that ended in an exception that nobody foresaw."""


class CdstatsError(Exception):
    """An error that the user can fix; its text says where, what, and the way out."""

    exit_code = 1


class DataError(CdstatsError):
    """A file that cannot be used as it is."""


class FileFailedError(DataError):
    """Work on one file ended in an exception that is no `CdstatsError`."""


class UsageError(CdstatsError, ValueError):
    """An option, rule, preset or device that does not exist or does not fit."""

    exit_code = 2


@contextmanager
def one_file() -> Iterator[None]:
    """Limit any exception to the file that is being worked on.

    Every ``with`` block works on a single file. A damaged file can lead to an exception
    that no reader foresees, and must not end a run over a million others.

    Raises:
        FileFailedError: In place of every exception other than a `CdstatsError`; its
            text is a reason for the row of the file.
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

        # The traceback, for those who look for the bug.
        logging.getLogger("cdstats").debug(REPORT_HINT, exc_info=True)
        raise FileFailedError(_unexpected_text(error)) from error


def _unexpected_text(error: Exception) -> str:
    said = " ".join(str(error).split())
    kind = type(error).__name__
    return f"unexpected {kind}{said and ': '}{said}. {REPORT_HINT}"


def access_text(error: OSError) -> str:
    """Why the system does not give a file's bytes."""
    if isinstance(error, FileNotFoundError):
        return "is not there"
    if isinstance(error, PermissionError):
        return "may not be read: permission denied"
    if isinstance(error, IsADirectoryError):
        return "is a folder; expected a file"
    return f"cannot be read: {error.strerror or error}"


class Level(Enum):
    """How much a message matters."""

    NOTE = "note"
    WARNING = "warning"
    ERROR = "error"


@dataclass(frozen=True, slots=True)
class Message:
    """One thing to tell the user, beginning with the file or dataset that it is about.

    Each of ``ways`` names options that settle it, for the arguments ``sources``.
    ``failed`` is the number of files that failed, if it is about them.
    """

    level: Level
    text: str
    ways: tuple[str, ...] = ()
    sources: tuple[str, ...] = ()
    failed: int = 0


def unread_of(messages: Iterable[Message]) -> int:
    """Inputs that could not be read at all, such as a folder."""
    return sum(one.level is Level.ERROR and not one.failed for one in messages)


def counted(number: int, noun: str, verb: str = "") -> str:
    """A number of things in words, and a verb that agrees with it.

    Example:
        >>> counted(1, "image"), counted(1200, "image")
        ('1 image', '1,200 images')
        >>> counted(1, "image", "differ"), counted(2, "image", "differ")
        ('1 image differs', '2 images differ')
    """
    one = number == 1
    agreeing = f" {verb}{'s' if one else ''}" if verb else ""
    return f"{number:,} {noun}{'' if one else 's'}{agreeing}"
