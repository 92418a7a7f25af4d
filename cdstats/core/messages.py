"""What is told beside a result: notes, warnings and errors."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum


class Level(Enum):
    """How much a message matters."""

    NOTE = "note"
    WARNING = "warning"
    ERROR = "error"


@dataclass(frozen=True, slots=True)
class Message:
    """One thing to tell the user.

    Attributes:
        level: How much it matters.
        text: What to say; starts with the file or dataset that it is about.
        ways: Options, or arguments of the Python function, any of which settles what
            is told.
        sources: The arguments that named the dataset which the ways settle.
    """

    level: Level
    text: str
    ways: tuple[str, ...] = ()
    sources: tuple[str, ...] = ()


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
