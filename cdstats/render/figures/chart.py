"""One figure and what it is drawn from, or why there is none."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from matplotlib.figure import Figure

    from cdstats.core.columns import Record


@dataclass(frozen=True)
class Chart:
    """One figure, and what it is drawn from.

    Attributes:
        figure: Its kind, one of `FIGURES`.
        subject: The dataset or model that it is about; empty for all.
        title: What it shows.
        caption: Unit, rule and reading of what it shows.
        rows: What it is drawn from.
        kind: The kind of the rows.
        draw: Draws it; in a context of `styled`.
    """

    figure: str
    subject: str
    title: str
    caption: str
    rows: Sequence[Record]
    kind: type[Record]
    draw: Callable[[], Figure]


@dataclass(frozen=True)
class Missing:
    """A figure that the records do not give, and why."""

    figure: str
    reason: str
