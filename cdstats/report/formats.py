"""The formats of results; nothing is loaded for their names."""

from __future__ import annotations

from enum import StrEnum


class Format(StrEnum):
    """How results are written to standard output."""

    TABLE = "table"
    CSV = "csv"
    JSON = "json"
    JSONL = "jsonl"
    MARKDOWN = "markdown"
    LATEX = "latex"


class WeightsFormat(StrEnum):
    """How weights are written to standard output."""

    TABLE = "table"
    JSON = "json"
    YAML = "yaml"
    TORCH = "torch"
    OPENCD = "opencd"

    @property
    def is_pasted(self) -> bool:
        """Whether it is lines of code, which hold the weights of one scheme."""
        return self in (WeightsFormat.TORCH, WeightsFormat.OPENCD)
