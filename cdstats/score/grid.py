"""Position of predictions on their mask, and merging of the crops of a mask."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import numpy as np

from cdstats.core.errors import DataError, Level, Message, UsageError, counted
from cdstats.io.blocks import BLOCK_PIXELS
from cdstats.io.georeference import TOLERANCE, Unplaced, deviations, difference, reach
from cdstats.io.patterns import PLACES
from cdstats.score.choices import Kind

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Sequence

    from numpy.typing import NDArray

    from cdstats.core.options import ScoreOptions
    from cdstats.io.georeference import Where
    from cdstats.io.pairing import Crop

NO_GRID: Final = "none"
"""The grid of a row if the prediction or its mask has no georeference."""


class GridMode(Enum):
    """Treatment of different georeferences of a prediction and its mask."""

    CHECK = "check"
    OVERLAP = "overlap"
    WARP = "warp"
    IGNORE = "ignore"


class Uncovered(Enum):
    """Treatment of valid pixels of a mask that no prediction covers."""

    FAIL = "fail"
    IGNORE = "ignore"
    UNCHANGED = "unchanged"


class Overlap(Enum):
    """The score of a pixel that several crops cover."""

    REFUSE = "refuse"
    MEAN = "mean"
    FIRST = "first"
    CENTRE = "centre"


class Edge(Enum):
    """Position of numbered full-size tiles that extend past the edge of their mask."""

    REFUSE = "refuse"
    PAD = "pad"
    SHIFT = "shift"


@dataclass(frozen=True, slots=True)
class Ground:
    """Options for the position, coverage and overlap of predictions on masks."""

    grid: GridMode = GridMode.CHECK
    uncovered: Uncovered = Uncovered.FAIL
    overlap: Overlap = Overlap.REFUSE
    edge: Edge = Edge.REFUSE

    @classmethod
    def of(cls, options: ScoreOptions) -> Ground:
        """The values from options.

        If predictions are moved or resampled, uncovered pixels are ignored by default.
        """
        mode = GridMode(options.grid)
        moves = mode in (GridMode.OVERLAP, GridMode.WARP)
        usual = Uncovered.IGNORE if moves else Uncovered.FAIL
        rest = Uncovered(options.uncovered) if options.uncovered else usual
        return cls(mode, rest, Overlap(options.overlap), Edge(options.edge))

    @property
    def moves(self) -> bool:
        """Whether predictions are moved or resampled to the grid of their mask."""
        return self.grid in (GridMode.OVERLAP, GridMode.WARP)

    @property
    def merges(self) -> bool:
        """Whether all crops of a mask are merged into one row."""
        alone = self.overlap is Overlap.REFUSE and self.must_cover
        return self.moves or not alone

    @property
    def must_cover(self) -> bool:
        """Whether uncovered valid pixels are a failure."""
        return self.uncovered is Uncovered.FAIL

    def refuse_labels(self, kinds: Collection[Kind | None]) -> None:
        """Raise if labels would be averaged."""
        if Kind.HARD in kinds and self.overlap is Overlap.MEAN:
            raise UsageError(
                "--overlap mean would average labels; choose --overlap first or "
                "centre, or --kind prob"
            )

    def notes(self, uncovered: str | None) -> list[Message]:
        """Notes on options that are implied by others."""
        if uncovered is not None or not self.moves:
            return []
        text = (
            f"--grid {self.grid.value} implies --uncovered ignore: valid pixels "
            "without a prediction are ignored, and counted in the column uncovered"
        )
        return [Message(Level.NOTE, text)]


class Placed(NamedTuple):
    """The first row and column of a prediction on its mask, or that it is resampled.

    ``difference`` describes a difference of the grids that is ignored or unresolved.
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
    """The position of a prediction on its mask."""
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


_FAR: Final = np.iinfo(np.int64).max


class Piece(NamedTuple):
    """A block of a prediction with its position on the mask and its coverage."""

    row: int
    column: int
    scores: NDArray[Any]
    covered: NDArray[np.bool_] | None = None


class Tiles:
    """Positions of the crops of a mask; numbers need the size of the first tile."""

    def __init__(self, crops: Sequence[Crop], shape: tuple[int, int]) -> None:
        self._numbers = {(crop.row, crop.column) for crop in crops}
        self._single = len(crops[0].place) == 1
        self._shape = shape
        self._size: tuple[int, int] | None = None
        zero = any(
            row == 0 or (column == 0 and not self._single)
            for row, column in self._numbers
        )
        self._first = 0 if zero else 1

    def corners(self, crop: Crop, height: int, width: int) -> list[tuple[int, int]]:
        """The possible first rows and columns of a crop on the mask.

        There are two if the number is ambiguous: a tile that extends past the edge of
        the mask is either padded or shifted inside. The first crop must come first.

        Raises:
            DataError: If the position cannot be found from the number.
        """
        if crop.place == PLACES[0]:
            return [(crop.row, crop.column)]
        first = self._first
        if (crop.row, crop.column) == (first, 0 if self._single else first):
            self._size = height, width
        if self._size is None:
            raise DataError(
                "its position depends on the size of the first tile, which is missing "
                "or cannot be read"
            )
        rows, columns = (
            -(-a // b) for a, b in zip(self._shape, self._size, strict=True)
        )
        self._check_numbers(rows, columns, self._size)
        row, column = crop.row - first, crop.column - first
        if self._single:
            row, column = divmod(row, columns)
        padded = row * self._size[0], column * self._size[1]
        shifted = []
        for have, size, at, whole in zip(
            (height, width), self._size, padded, self._shape, strict=True
        ):
            if have not in (size, min(size, whole - at)):
                raise DataError(
                    f"a tile is {(height, width)}, but the first tile of its mask is "
                    f"{self._size}; expected tiles of one size"
                )
            shifted.append(min(at, max(whole - have, 0)))
        return list(dict.fromkeys((padded, (shifted[0], shifted[1]))))

    def _check_numbers(self, rows: int, columns: int, size: tuple[int, int]) -> None:
        """Raise if numbers do not fit the mask, or their meaning is ambiguous."""
        count, first = rows * columns, self._first
        shape = (count, 1) if self._single else (rows, columns)
        start = (first, 0) if self._single else (first, first)
        every = {(r + start[0], c + start[1]) for r, c in np.ndindex(shape)}
        if self._numbers == every:
            return
        have = counted(len(self._numbers), "tile")
        if self._numbers - every:
            ends = tuple(map(max, zip(*self._numbers, strict=True)))
            last = ends[0] if self._single else ends
            raise DataError(
                f"{have} of {size} with numbers up to {last} do not fit the mask of "
                f"{self._shape}, which consists of {rows} x {columns} such tiles. "
                "Name crops by {y} and {x}"
            )
        if first:
            raise DataError(
                f"tile numbers start at {min(self._numbers)[0]}, and "
                f"{len(self._numbers):,} of {count:,} tiles were found: whether "
                "numbers start at 0 or 1 is known only if no tile is missing. Name "
                "crops by {y} and {x}"
            )
        if self._single and self._shape[1] % size[1]:
            raise DataError(
                f"{have} of {count:,} were found, and the width of the mask of "
                f"{self._shape} is not a multiple of that of tiles of {size}: tile "
                "positions are known only if no tile is missing. Name crops by {y} and "
                "{x}"
            )


class Mosaic:
    """Merges the crops of a mask, added from top to bottom, and returns whole rows."""

    def __init__(self, shape: tuple[int, int], overlap: Overlap) -> None:
        self._width, self._overlap, self._top = shape[1], overlap, 0
        self._dtype: np.dtype[Any] = np.dtype(np.uint8)
        self._scores: NDArray[Any] | None = None
        self._count = np.zeros((0, shape[1]), dtype=np.uint16)
        self._distance = np.zeros((0, shape[1]), dtype=np.int64)

    @property
    def is_empty(self) -> bool:
        """Whether no block was added."""
        return self._scores is None

    def put(self, piece: Piece, middle: tuple[int, int]) -> None:
        """Add a block of a crop; ``middle`` is twice the centre of the crop.

        Raises:
            DataError: If a refused overlap occurs, or crops have different types.
        """
        height, width = piece.scores.shape
        held = self._grow(piece.row + height, piece.scores.dtype)
        top = piece.row - self._top
        window = np.s_[top : top + height, piece.column : piece.column + width]
        count, scores = self._count[window], held[window]
        own = np.ones(count.shape, bool) if piece.covered is None else piece.covered
        if self._overlap is Overlap.REFUSE and (own & (count > 0)).any():
            row, column = np.argwhere(own & (count > 0))[0].tolist()
            raise DataError(overlap_text(piece.row + row, piece.column + column))
        if self._overlap is Overlap.MEAN:
            scores[own] += piece.scores[own]
        else:
            new = own & (count == 0)
            if self._overlap is Overlap.CENTRE:
                # Take the pixels that are nearer to this centre than to earlier ones.
                down = 2 * np.arange(piece.row, piece.row + height) + 1 - middle[0]
                across = 2 * np.arange(piece.column, piece.column + width) + 1
                across -= middle[1]
                distance = down[:, None].astype(np.int64) ** 2 + across[None, :] ** 2
                before = self._distance[window]
                new = own & (distance < before)
                before[new] = distance[new]
            scores[new] = piece.scores[new]
        count[own] += 1

    def _grow(self, bottom: int, dtype: np.dtype[Any]) -> NDArray[Any]:
        """Extend the buffers to row ``bottom``; return the buffer of scores."""
        if self._scores is None:
            self._dtype = dtype
            kind = np.dtype(np.float64) if self._overlap is Overlap.MEAN else dtype
            self._scores = np.zeros((0, self._width), dtype=kind)
        if dtype != self._dtype:
            raise DataError(
                f"holds {dtype}, but other crops of its mask hold {self._dtype}"
            )
        rows = bottom - self._top - len(self._count)
        if rows > 0:
            new = np.zeros((rows, self._width), np.uint16)
            below = new.astype(self._scores.dtype)
            self._scores = np.concatenate([self._scores, below])
            self._count = np.concatenate([self._count, new])
            if self._overlap is Overlap.CENTRE:
                far = np.full(new.shape, _FAR)
                self._distance = np.concatenate([self._distance, far])
        return self._scores

    def advance(self, row: int) -> Iterator[Piece]:
        """The rows above ``row``, which no further crop overlaps."""
        if self._scores is None:
            return
        held = self._grow(row, self._dtype)
        step = max(BLOCK_PIXELS // self._width, 1)
        while self._top < row:
            rows = min(step, row - self._top)
            count, scores = self._count[:rows], held[:rows]
            if self._overlap is Overlap.MEAN:
                # Fractions of integers stay float64.
                scores = scores / np.maximum(count, 1)
                if self._dtype.kind == "f":
                    scores = scores.astype(np.result_type(self._dtype, np.float32))
                elif not (count > 1).any():
                    scores = scores.astype(self._dtype)
            yield Piece(self._top, 0, scores, count > 0)
            self._top += rows
            held = self._scores = held[rows:]
            self._count = self._count[rows:]
            self._distance = self._distance[rows:]

    def type_name(self, name: str) -> str:
        """The type name of merged scores; means of integers keep the stored type."""
        if self._overlap is Overlap.MEAN and self._dtype.kind == "f":
            return np.result_type(self._dtype, np.float32).name
        return name


def overlap_text(row: int, column: int) -> str:
    """The reason for refusing a crop that overlaps another from this pixel."""
    return (
        f"overlaps another crop of its mask, at row {row:,} and column {column:,}: "
        "pixels would count twice. --overlap mean, first or centre merges them"
    )


def edge_text(shape: tuple[int, int], size: tuple[int, int], overlap: Overlap) -> str:
    """The reason for refusing numbered tiles that extend past the edge of the mask."""
    merge = "--overlap first " if overlap is Overlap.REFUSE else ""
    return (
        f"the mask of {shape} is not a multiple of tiles of {size}, and the last tiles "
        "have full size: either padded past the edge, or shifted inside. --edge pad "
        f"cuts them at the edge, {merge}--edge shift shifts them. If all tiles "
        "overlap, name them by {y} and {x}"
    )
