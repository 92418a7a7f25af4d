"""Crops of one mask: where each lies, and all of them put together row by row."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, NamedTuple

import numpy as np

from cdstats.core.errors import DataError, counted
from cdstats.io.blocks import BLOCK_PIXELS
from cdstats.io.patterns import PLACES
from cdstats.score.grid import Overlap

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from numpy.typing import NDArray

    from cdstats.io.pairing import Crop

_FAR: Final = np.iinfo(np.int64).max


class Piece(NamedTuple):
    """A block of a prediction on its mask.

    Attributes:
        row: Its first row in the mask.
        column: Its first column in the mask.
        scores: The stored numbers; ``(h, w)``.
        covered: Where there is one; None for everywhere.
    """

    row: int
    column: int
    scores: NDArray[Any]
    covered: NDArray[np.bool_] | None = None


class Tiles:
    """Where the crops of a mask lie; numbers need the size of the first tile."""

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
        """The row and column of a mask at which a crop begins.

        Two where its number does not tell: a tile that reaches past the edge of the
        mask is padded there, or it was moved back inside.
        """
        if crop.place == PLACES[0]:
            return [(crop.row, crop.column)]
        if (crop.row, crop.column) == self._start:
            self._size = height, width
        if self._size is None:
            raise DataError(
                "its number says where it lies only beside the first tile, which "
                "is missing or cannot be read"
            )
        rows, columns = (
            -(-a // b) for a, b in zip(self._shape, self._size, strict=True)
        )
        self._check_numbers(rows, columns, self._size)
        number = crop.row - self._first, crop.column - self._first
        row, column = divmod(number[0], columns) if self._single else number
        padded = row * self._size[0], column * self._size[1]
        shifted = []
        for have, size, at, whole in zip(
            (height, width), self._size, padded, self._shape, strict=True
        ):
            if have not in (size, min(size, whole - at)):
                raise DataError(
                    f"a tile is {(height, width)}, but the first tile of its mask "
                    f"{self._size}; expected tiles of one size"
                )
            shifted.append(min(at, max(whole - have, 0)))
        return list(dict.fromkeys((padded, (shifted[0], shifted[1]))))

    @property
    def _start(self) -> tuple[int, int]:
        return self._first, 0 if self._single else self._first

    def _check_numbers(self, rows: int, columns: int, size: tuple[int, int]) -> None:
        """Refuse numbers that do not fit the mask, or that may start at 0 or 1."""
        count, first = rows * columns, self._first
        every = {(n + first, 0) for n in range(count)}
        if not self._single:
            every = {
                (r + first, c + first) for r in range(rows) for c in range(columns)
            }
        if self._numbers == every:
            return
        have = counted(len(self._numbers), "tile")
        if self._numbers - every:
            raise DataError(
                f"{have} of {size} with numbers up to {self._last} do not fit the mask "
                f"of {self._shape}, which takes {rows} x {columns} of them side by "
                "side. Name crops by {y} and {x}"
            )
        if first:
            raise DataError(
                f"tiles start at {min(self._numbers)[0]}, and {len(self._numbers):,} "
                f"of {count:,} are there: whether numbers start at 0 or 1 is known "
                "only where none is missing. Name crops by {y} and {x}"
            )
        if self._single and self._shape[1] % size[1]:
            raise DataError(
                f"{have} of {count:,} are there, and the width of {size} does not "
                f"divide that of the mask of {self._shape}: the tiles of a row are "
                "known only where none is missing. Name crops by {y} and {x}"
            )

    @property
    def _last(self) -> str:
        ends = zip(*self._numbers, strict=True)
        last = [max(numbers) for numbers in ends]
        return str(last[0] if self._single else tuple(last))


class Mosaic:
    """Takes the crops of a mask from top to bottom and gives its rows once complete."""

    def __init__(self, shape: tuple[int, int], overlap: Overlap) -> None:
        self._height, self._width = shape
        self._overlap = overlap
        self._top = 0
        self._dtype: np.dtype[Any] = np.dtype(np.uint8)
        self._scores: NDArray[Any] | None = None
        self._count = np.zeros((0, shape[1]), dtype=np.uint16)
        self._distance = np.zeros((0, shape[1]), dtype=np.int64)

    @property
    def is_empty(self) -> bool:
        """Whether no block was added."""
        return self._scores is None

    def put(self, piece: Piece, middle: tuple[int, int]) -> None:
        """Add a block of a crop."""
        self._grow(piece.row + piece.scores.shape[0], piece.scores.dtype)
        if self._scores is None:
            return
        top = piece.row - self._top
        window = (
            slice(top, top + piece.scores.shape[0]),
            slice(piece.column, piece.column + piece.scores.shape[1]),
        )
        count, scores = self._count[window], self._scores[window]
        own = np.ones(count.shape, bool) if piece.covered is None else piece.covered
        if self._overlap is Overlap.REFUSE and (own & (count > 0)).any():
            row, column = np.argwhere(own & (count > 0))[0].tolist()
            raise DataError(overlap_text(piece.row + row, piece.column + column))
        if self._overlap is Overlap.MEAN:
            scores[own] += piece.scores[own]
        elif self._overlap is Overlap.CENTRE:
            self._take_nearest(piece, middle, window, own)
        else:
            new = own & (count == 0)
            scores[new] = piece.scores[new]
        count[own] += 1

    def _take_nearest(
        self,
        piece: Piece,
        middle: tuple[int, int],
        window: tuple[slice, slice],
        own: NDArray[np.bool_],
    ) -> None:
        """Take the pixels to whose crop's middle it is nearer than to earlier ones."""
        height, width = piece.scores.shape
        down = 2 * np.arange(piece.row, piece.row + height) + 1 - middle[0]
        across = 2 * np.arange(piece.column, piece.column + width) + 1 - middle[1]
        distance = down[:, None].astype(np.int64) ** 2 + across[None, :] ** 2
        before = self._distance[window]
        near = own & (distance < before)
        before[near] = distance[near]
        if self._scores is not None:
            self._scores[window][near] = piece.scores[near]

    def _grow(self, bottom: int, dtype: np.dtype[Any]) -> None:
        """Hold the rows up to one."""
        if self._scores is None:
            self._dtype = dtype
            held = np.dtype(np.float64) if self._overlap is Overlap.MEAN else dtype
            self._scores = np.zeros((0, self._width), dtype=held)
        if dtype != self._dtype:
            raise DataError(
                f"holds {dtype} numbers, other crops of its mask {self._dtype}"
            )
        rows = bottom - self._top - len(self._count)
        if rows > 0:
            shape = (rows, self._width)
            self._scores = np.concatenate(
                [self._scores, np.zeros(shape, self._scores.dtype)]
            )
            self._count = np.concatenate([self._count, np.zeros(shape, np.uint16)])
            if self._overlap is Overlap.CENTRE:
                far = np.full(shape, _FAR)
                self._distance = np.concatenate([self._distance, far])

    def advance(self, row: int) -> Iterator[Piece]:
        """The rows above one, which no further crop reaches."""
        if self._scores is None:
            return
        self._grow(row, self._dtype)
        step = max(BLOCK_PIXELS // self._width, 1)
        while self._top < row:
            rows = min(step, row - self._top)
            yield self._rows(rows)
            self._top += rows
            self._scores = self._scores[rows:]
            self._count = self._count[rows:]
            self._distance = self._distance[rows:]

    def finish(self) -> Iterator[Piece]:
        """The rows that are left."""
        yield from self.advance(self._height)

    def _rows(self, rows: int) -> Piece:
        """The first rows that are held: scores, and where there are any."""
        count = self._count[:rows]
        scores = np.zeros(0) if self._scores is None else self._scores[:rows]
        if self._overlap is Overlap.MEAN:
            scores = self._mean(scores, count)
        return Piece(self._top, 0, scores, count > 0)

    def _mean(self, total: NDArray[Any], count: NDArray[np.uint16]) -> NDArray[Any]:
        """Means of the type of the crops; fractions of integers stay float64."""
        scores: NDArray[Any] = total / np.maximum(count, 1)
        if self._dtype.kind == "f":
            return scores.astype(np.result_type(self._dtype, np.float32))
        return scores if (count > 1).any() else scores.astype(self._dtype)

    def type_name(self, name: str) -> str:
        """The type of the numbers that it gives; fractions of integers keep theirs."""
        if self._overlap is Overlap.MEAN and self._dtype.kind == "f":
            return np.result_type(self._dtype, np.float32).name
        return name


def overlap_text(row: int, column: int) -> str:
    """Why a crop is refused that begins to overlap another at a pixel."""
    return (
        f"overlaps another crop of its mask, at row {row:,} and column {column:,}: "
        "pixels would count twice. --overlap mean, first or centre merges them"
    )


def edge_text(shape: tuple[int, int], size: tuple[int, int], overlap: Overlap) -> str:
    """Why numbered tiles are refused that reach past the edge of their mask."""
    merge = "--overlap first " if overlap is Overlap.REFUSE else ""
    return (
        f"tiles of {size} do not divide the mask of {shape}, and the last ones are as "
        "large as the others: either padded past the edge, or shifted back inside. "
        f"--edge pad cuts them at the edge, {merge}--edge shift shifts them. Where all "
        "tiles overlap, name them by {y} and {x}"
    )
