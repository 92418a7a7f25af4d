"""Whether a prediction covers the ground of its mask, and where on the mask it lies."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING, Final, NamedTuple, TypeVar

import numpy as np

from cdstats.core.errors import DataError, Level, Message, UsageError
from cdstats.io.georeference import TOLERANCE, Unplaced, deviations, difference, reach
from cdstats.score.choices import Kind

if TYPE_CHECKING:
    from collections.abc import Collection

    from cdstats.core.options import ScoreOptions
    from cdstats.io.georeference import Where

Choice = TypeVar("Choice", bound=Enum)
NO_GRID: Final = "none"
"""What stands for the grid where a prediction or its mask has no georeference."""


class GridMode(Enum):
    """What is done about the georeferences of a prediction and its mask."""

    CHECK = "check"
    OVERLAP = "overlap"
    WARP = "warp"
    IGNORE = "ignore"


class Uncovered(Enum):
    """What valid pixels of a mask are that no prediction covers."""

    FAIL = "fail"
    IGNORE = "ignore"
    UNCHANGED = "unchanged"


class Overlap(Enum):
    """Which score a pixel gets that several crops cover."""

    REFUSE = "refuse"
    MEAN = "mean"
    FIRST = "first"
    CENTRE = "centre"


class Edge(Enum):
    """Where numbered tiles of full size lie that reach past the edge of their mask."""

    REFUSE = "refuse"
    PAD = "pad"
    SHIFT = "shift"


@dataclass(frozen=True, slots=True)
class Ground:
    """Which ground is scored, and with which pixels of the predictions."""

    grid: GridMode = GridMode.CHECK
    uncovered: Uncovered = Uncovered.FAIL
    overlap: Overlap = Overlap.REFUSE
    edge: Edge = Edge.REFUSE

    @classmethod
    def of(cls, options: ScoreOptions) -> Ground:
        """The ground that options name; ``overlap`` and ``warp`` leave pixels out.

        A choice about uncovered pixels that the user made stays.
        """
        mode = _member(GridMode, "grid", options.grid)
        moves = mode in (GridMode.OVERLAP, GridMode.WARP)
        usual = Uncovered.IGNORE if moves else Uncovered.FAIL
        rest = _member(Uncovered, "uncovered", options.uncovered or usual.value)
        overlap = _member(Overlap, "overlap", options.overlap)
        return cls(mode, rest, overlap, _member(Edge, "edge", options.edge))

    @property
    def moves(self) -> bool:
        """Whether a prediction may lie elsewhere than its mask."""
        return self.grid in (GridMode.OVERLAP, GridMode.WARP)

    @property
    def merges(self) -> bool:
        """Whether all crops of a mask make one row."""
        alone = self.overlap is Overlap.REFUSE and self.must_cover
        return self.moves or not alone

    @property
    def must_cover(self) -> bool:
        """Whether valid pixels that no prediction covers are a failure."""
        return self.uncovered is Uncovered.FAIL

    def refuse_labels(self, kinds: Collection[Kind | None]) -> None:
        """Refuse means of labels, which are none."""
        if Kind.HARD in kinds and self.overlap is Overlap.MEAN:
            raise UsageError(
                "--overlap mean makes fractions of labels: choose --overlap first or "
                "centre, or --kind prob"
            )

    def notes(self, uncovered: str | None) -> list[Message]:
        """What to tell about options that follow from others."""
        if uncovered is not None or not self.moves:
            return []
        text = (
            f"--grid {self.grid.value} implies --uncovered ignore: valid pixels that "
            "no prediction covers are left out, and counted in the column uncovered"
        )
        return [Message(Level.NOTE, text)]


def _member(kind: type[Choice], name: str, text: str) -> Choice:
    try:
        return kind(text)
    except ValueError:
        known = ", ".join(str(one.value) for one in kind)
        raise UsageError(f"--{name} {text}: expected one of {known}") from None


class Placed(NamedTuple):
    """Where a prediction lies on its mask.

    Attributes:
        row: The row of the mask at which its first row lies.
        column: The column of the mask at which its first column lies.
        difference: How its grid differs, where that is ignored or cannot be told.
        warp: Whether it is to be resampled onto the grid of its mask.
    """

    row: int
    column: int
    difference: str = ""
    warp: bool = False


def place(
    own: Where | None,
    mask: Where | None,
    sizes: tuple[tuple[int, int], tuple[int, int]],
    corner: tuple[int, int] | None,
    mode: GridMode,
) -> Placed:
    """Find where a prediction lies on its mask."""
    row, column = corner or (0, 0)
    if own is None or mask is None:
        return Placed(row, column)
    if isinstance(own, Unplaced):
        return Placed(row, column, f"has {own.text}")
    if isinstance(mask, Unplaced):
        return Placed(row, column, f"has a mask with {mask.text}")
    size = sizes[0]
    text = difference(own, mask, size, corner)
    if not text or mode is GridMode.IGNORE:
        return Placed(row, column, text)
    top, bottom, left, right = reach(own, mask, *sizes)
    if top == bottom or left == right:
        raise DataError(
            f"{text}; the two share no pixel. --grid ignore compares the arrays as "
            "they are"
        )
    moved = deviations(own, mask, size, (row, column))
    if mode is GridMode.WARP and np.isfinite(moved).any():
        return Placed(row, column, warp=True)
    whole = np.rint(moved[0]) if np.isfinite(moved[0]).all() else moved[0]
    is_shift = bool((np.abs(moved - whole) <= TOLERANCE).all())
    if mode is GridMode.OVERLAP and is_shift:
        across, down = (int(number) for number in whole)
        return Placed(row + down, column + across)
    ways = ["--grid ignore compares the arrays as they are"]
    if np.isfinite(moved).any():
        ways.insert(0, "--grid warp resamples it")
    else:
        text = f"{text}; no transformation between the two is known"
    if is_shift:
        ways.insert(0, "--grid overlap scores the pixels in common")
    raise DataError(f"{text}. {', '.join(ways)}")
