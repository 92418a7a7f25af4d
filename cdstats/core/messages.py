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
    """One thing to tell the user, beginning with the file or dataset that it is about.

    Each of ``ways`` names options that settle it, for the arguments ``sources``.
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
