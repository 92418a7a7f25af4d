"""Texts as cells of a CSV file that a spreadsheet may open.

A spreadsheet runs a cell that begins with one of a few signs. Such a text gets an
apostrophe in front, and loses it when it is read again.
"""

from __future__ import annotations

import re
from typing import Final

_FORMULA: Final = re.compile(r"'*[=+\-@\t\r]")


def to_cell(text: str) -> str:
    """A text that no spreadsheet takes for a formula.

    Example:
        >>> to_cell("=cmd()"), to_cell("a=b"), to_cell("'=")
        ("'=cmd()", 'a=b', "''=")
    """
    return f"'{text}" if _FORMULA.match(text) else text


def from_cell(text: str) -> str:
    """The text of a cell, as `to_cell` was given it.

    Example:
        >>> from_cell("'=cmd()"), from_cell("a=b"), from_cell("'q")
        ('=cmd()', 'a=b', "'q")
    """
    return text[1:] if text.startswith("'") and _FORMULA.match(text) else text
