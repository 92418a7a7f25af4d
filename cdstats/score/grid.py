"""Whether a prediction covers the ground of its mask, and where on the mask it lies."""

from __future__ import annotations

import math
from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING, Final, NamedTuple, TypeVar

import numpy as np

from cdstats.core.errors import DataError, UsageError
from cdstats.core.messages import Level, Message
from cdstats.io.georeference import TOLERANCE, positions
from cdstats.score.interpret import Kind

if TYPE_CHECKING:
    from collections.abc import Collection

    from numpy.typing import NDArray

    from cdstats.io.georeference import Georeference

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


@dataclass(frozen=True, slots=True)
class Ground:
    """Which ground is scored, and with which pixels of the predictions.

    Attributes:
        grid: What is done about georeferences.
        uncovered: What valid pixels are that no prediction covers.
        overlap: Which score a pixel gets that several crops cover.
    """

    grid: GridMode = GridMode.CHECK
    uncovered: Uncovered = Uncovered.FAIL
    overlap: Overlap = Overlap.REFUSE

    @classmethod
    def of(cls, grid: str, uncovered: str, overlap: str) -> Ground:
        """The ground that options name; ``overlap`` and ``warp`` leave pixels out.

        Raises:
            UsageError: If a name is unknown.
        """
        mode = _member(GridMode, "grid", grid)
        rest = _member(Uncovered, "uncovered", uncovered)
        if mode in (GridMode.OVERLAP, GridMode.WARP) and rest is Uncovered.FAIL:
            rest = Uncovered.IGNORE
        return cls(mode, rest, _member(Overlap, "overlap", overlap))

    @property
    def moves(self) -> bool:
        """Whether a prediction may lie elsewhere than its mask."""
        return self.grid in (GridMode.OVERLAP, GridMode.WARP)

    @property
    def merges(self) -> bool:
        """Whether all crops of a mask make one row."""
        return self.overlap is not Overlap.REFUSE or not self.must_cover

    @property
    def must_cover(self) -> bool:
        """Whether valid pixels that no prediction covers are a failure."""
        return self.uncovered is Uncovered.FAIL

    def refuse_labels(self, kinds: Collection[Kind | None]) -> None:
        """Refuse means of labels, which are none.

        Raises:
            UsageError: If predictions are labels and crops of them are averaged.
        """
        if Kind.HARD in kinds and self.overlap is Overlap.MEAN:
            raise UsageError(
                "--overlap mean makes fractions of labels: choose --overlap first or "
                "centre, or --kind prob"
            )

    def notes(self, uncovered: str) -> list[Message]:
        """What to tell about options that follow from others.

        Args:
            uncovered: What was asked for about uncovered pixels.
        """
        if uncovered == self.uncovered.value:
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
        grid: What was done about georeferences; `NO_GRID` where there are none.
        difference: How its grid differs, where that is ignored.
        warp: Whether it is to be resampled onto the grid of its mask.
    """

    row: int
    column: int
    grid: str
    difference: str = ""
    warp: bool = False


def place(
    own: Georeference | None,
    mask: Georeference | None,
    size: tuple[int, int],
    corner: tuple[int, int] | None,
    mode: GridMode,
) -> Placed:
    """Find where a prediction lies on its mask.

    Args:
        own: The georeference of the prediction; None where it has none.
        mask: The georeference of the mask.
        size: Width and height of the prediction.
        corner: The row and column at which a crop should lie; None for a prediction
            of the whole mask.
        mode: What is done about a difference.

    Raises:
        DataError: If the grids differ, and the mode does not settle it.
    """
    row, column = corner or (0, 0)
    if own is None or mask is None:
        return Placed(row, column, NO_GRID)
    moved = _deviations(own, mask, size, (row, column))
    if (np.abs(moved) <= TOLERANCE).all():
        return Placed(row, column, mode.value)
    text = _difference(own, mask, size, moved, corner)
    if mode is GridMode.IGNORE:
        return Placed(row, column, mode.value, text)
    if mode is GridMode.WARP:
        return Placed(row, column, mode.value, warp=True)
    whole = np.rint(moved[0]) if np.isfinite(moved[0]).all() else moved[0]
    is_shift = bool((np.abs(moved - whole) <= TOLERANCE).all())
    if mode is GridMode.OVERLAP and is_shift:
        across, down = (int(number) for number in whole)
        return Placed(row + down, column + across, mode.value)
    ways = ["--grid warp resamples it", "--grid ignore compares the arrays as they are"]
    if is_shift:
        ways.insert(0, "--grid overlap scores the pixels in common")
    raise DataError(f"{text}. {', '.join(ways)}")


def _deviations(
    own: Georeference,
    mask: Georeference,
    size: tuple[int, int],
    corner: tuple[int, int],
) -> NDArray[np.float64]:
    """How far the corners lie from where they should, in pixels of the mask.

    Returns:
        Columns and rows; of the corners upper left, upper right, lower left and lower
        right; NaN where a corner has no place in the system of the mask.
    """
    corners = _corners(size)
    wanted = np.array(corners, dtype=np.float64) + np.array(corner[::-1])
    moved: NDArray[np.float64] = positions(corners, own, mask) - wanted
    return moved


def _corners(size: tuple[int, int]) -> list[tuple[float, float]]:
    width, height = size
    return [(0, 0), (width, 0), (0, height), (width, height)]


def _difference(
    own: Georeference,
    mask: Georeference,
    size: tuple[int, int],
    moved: NDArray[np.float64],
    corner: tuple[int, int] | None,
) -> str:
    """How the grid of a prediction differs from that of its mask, in words."""
    parts = []
    if own.crs and mask.crs and own.crs != mask.crs:
        names = own.name, mask.name
        if names[0] == names[1]:
            names = f"another {own.name}", names[1]
        parts.append(f"is {names[0]}, its mask {names[1]}")
    if not np.isfinite(moved).all():
        return parts[0] if parts else "has a georeference that cannot be inverted"
    if np.ptp(moved, axis=0).max() <= 2 * TOLERANCE:
        where = "its mask"
        if corner is not None:
            where = f"row {corner[0]:,}, column {corner[1]:,} of its mask"
        parts.append(f"lies {_shift(moved.mean(axis=0), mask)} of {where}")
    elif not parts:
        parts.append(_shape(own, mask, size, moved))
    return " and ".join(parts)


def _shift(moved: NDArray[np.float64], mask: Georeference) -> str:
    """A shift in pixels, by points of the compass where rows or columns follow them."""
    across, down = moved.tolist()
    a, b, _, d, e, _ = mask.transform[:6]
    if max(abs(b), abs(d)) <= 1e-6 * min(abs(a), abs(e)):
        named = (
            (across if a > 0 else -across, "east", "west"),
            (down if e > 0 else -down, "north", "south"),
        )
    else:
        named = ((across, "right", "left"), (down, "below", "above"))
    texts = [
        f"{_pixels(abs(number))} {more if number > 0 else less}"
        for number, more, less in named
        if abs(number) > TOLERANCE / 2
    ]
    return " and ".join(texts)


def _pixels(number: float) -> str:
    text = f"{number:,.2f}".rstrip("0").rstrip(".")
    return f"{text} pixel{'' if text == '1' else 's'}"


def _shape(
    own: Georeference,
    mask: Georeference,
    size: tuple[int, int],
    moved: NDArray[np.float64],
) -> str:
    """How grids of one system differ in pixel size or direction."""
    corners = moved + np.array(_corners(size))
    along = (corners[1] - corners[0]) / size[0]
    down = (corners[2] - corners[0]) / size[1]
    if along[0] * down[1] - along[1] * down[0] < 0:
        names = ("north-up", "south-up")
        ups = [names[one.transform.e > 0] for one in (own, mask)]
        if ups[0] != ups[1]:
            return f"is {ups[0]}, its mask {ups[1]}"
        return "is mirrored against its mask"
    sizes = [_pixel_size(one) for one in (own, mask)]
    if sizes[0] != sizes[1]:
        return f"has pixels of {sizes[0]}, its mask of {sizes[1]}"
    angle = math.degrees(math.atan2(along[1], along[0]))
    if abs(angle) > 1e-4:
        return f"is rotated by {abs(angle):.4g} degrees against its mask"
    return "is sheared against its mask"


def _pixel_size(one: Georeference) -> str:
    a, b, _, d, e, _ = one.transform[:6]
    return f"{math.hypot(a, d):.9g} x {math.hypot(b, e):.9g}"
