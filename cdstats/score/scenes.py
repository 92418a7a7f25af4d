"""The predictions of one model on one mask, placed and checked for coverage."""

from __future__ import annotations

import shlex
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from cdstats.core.detection import MANY_LEVELS
from cdstats.core.errors import DataError, counted, one_file
from cdstats.core.label_hash import label_hash
from cdstats.core.labels import Label
from cdstats.io.blocks import BLOCK_PIXELS, Block
from cdstats.io.georeference import (
    Georeference,
    difference,
    reach,
    resampled,
)
from cdstats.io.limits import check_memory
from cdstats.io.npy import numpy_type
from cdstats.io.predictions import PALETTE
from cdstats.io.targets import CODES, SOFT_IGNORED, distinct
from cdstats.score.choices import Kind, ModelChoice, Nodata
from cdstats.score.grid import (
    NO_GRID,
    Edge,
    GridMode,
    Mosaic,
    Piece,
    Tiles,
    edge_text,
    overlap_text,
    place,
)

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from numpy.typing import NDArray
    from torch import Tensor

    from cdstats.core.pixel_terms import Array
    from cdstats.core.score_records import Place
    from cdstats.io.blocks import OpenImage
    from cdstats.io.georeference import Where
    from cdstats.io.pairing import Crop
    from cdstats.score.grid import Ground, Placed
    from cdstats.score.targets import Target

    Window = tuple[int, int, int, int]
    """First row, end of rows, first column, end of columns; ends are exclusive."""

_NAMED: Final = 6
"""Number of colours that a message names."""


@dataclass(frozen=True, slots=True)
class Loaded:
    """A block of a prediction with its labels, or the reason for its failure.

    Attributes:
        number: Number of the row, from 0, in the order of reading.
        rank: Number of its pair in the order of the rows.
        scores: The stored numbers, an array or a GPU tensor; ``(h, w)``.
        target: Labels (uint8) or soft targets (float64), of the same kind; ``(h, w)``.
        corner: First row and column of the block, relative to ``origin``.
        scene: Number of the scene: a prediction, or all crops of a mask.
        covered: Where the prediction has scores; None for everywhere.
        cut: Number of crops that were cut at an edge of their mask.
        labels: Hash of the labels that have scores.
        greys: The `grey_class` of each pixel of the mask, if requested.
        origin: First row and column of the row's area on the mask.
    """

    number: int
    rank: int
    place: Place
    size: tuple[int, int] | None
    scores: Any = None
    target: Any = None
    corner: tuple[int, int] = (0, 0)
    dtype: str = ""
    reason: str = ""
    scene: int = 0
    covered: NDArray[np.bool_] | None = None
    grid: str = NO_GRID
    difference: str = ""
    cut: int = 0
    is_jpeg: bool = False
    labels: int = 0
    origin: tuple[int, int] = (0, 0)
    greys: NDArray[np.uint8] | None = None

    @property
    def nbytes(self) -> int:
        """Bytes of the scores and labels."""
        return sum(
            held.nbytes for held in (self.scores, self.target) if held is not None
        )

    def failed(self, reason: str) -> Loaded:
        """The same row without pixels, with a reason."""
        return replace(self, scores=None, target=None, covered=None, reason=reason)


class Scene:
    """The predictions of one model on one mask: one prediction, or crops in order.

    ``merged`` is the common row of all crops, or None if each crop has its own row.
    ``is_complete`` is whether all predictions could be read so far.
    """

    def __init__(
        self,
        mask: Target,
        ground: Ground,
        choice: ModelChoice,
        crops: Sequence[Crop] = (),
    ) -> None:
        self.mask = mask
        self._ground, self._choice = ground, choice
        self._tiles = Tiles(crops, mask.shape) if crops else None
        self.merged: Loaded | None = None
        self._mosaic = Mosaic(mask.shape, ground.overlap)
        self._rows: list[Loaded] = []
        self._windows: list[Window] = []
        self._seen = np.zeros(2, dtype=np.int64)
        self.is_complete = True
        self._misplaced = ""

    def fail(self, row: Loaded, reason: str) -> Iterator[Loaded]:
        """Record a prediction that cannot be scored."""
        if self.merged is None:
            yield row.failed(reason)
        elif self.is_complete:
            of = f"{row.place.pred}: " if self._tiles else ""
            yield replace(self.merged, grid=_grid(self.merged, row)).failed(
                f"{of}{reason}"
            )
        self.is_complete = False

    def add(
        self, row: Loaded, image: OpenImage, crop: Crop | None = None
    ) -> Iterator[Loaded]:
        """Read a prediction of the whole mask or a crop, and yield complete blocks.

        If crops are merged, only the name of ``row`` is used.
        """
        if self.merged is not None and not self.is_complete:
            return
        try:
            with one_file():
                both = image.georeference(), self.mask.georeference
                if all(isinstance(one, Georeference) for one in both):
                    row = replace(row, grid=self._ground.grid.value)
                yield from self._counted(self._add(row, image, crop, both))
        except DataError as error:
            yield from self.fail(row, str(error))

    def finish(self) -> Iterator[Loaded]:
        """Yield the remaining blocks; rows fail if valid pixels have no score."""
        try:
            with one_file():
                if self.is_complete and self.merged is not None:
                    rest = self._mosaic.advance(self.mask.shape[0])
                    yield from self._counted(self._rest(rest))
                    self._rows.append(self.merged)
                    if self._mosaic.is_empty:
                        yield self.merged.failed("shares no pixel with its mask")
                reason = self._misplaced
                if self.is_complete and self._rows and self._ground.must_cover:
                    reason = self._lacking()
                yield from (row.failed(reason) for row in self._rows if reason)
        except DataError as error:
            for row in (self.merged,) if self.merged else self._rows:
                yield row.failed(str(error))

    def _counted(self, blocks: Iterator[Loaded]) -> Iterator[Loaded]:
        """Pass on blocks, and count their valid pixels with a score."""
        for loaded in blocks:
            if loaded.target is not None and (self._tiles or self.merged):
                self._seen += valid_pixels(loaded.target, loaded.covered)
            yield loaded

    def _lacking(self) -> str:
        """The reason if valid pixels of the mask have no score, or empty."""
        labels = self.mask.labels
        unchanged, changed = (valid_pixels(labels) - self._seen).tolist()
        if not changed + unchanged:
            return ""
        of = "" if labels.dtype != np.uint8 else f" ({changed:,} of them changed)"
        pixels = counted(changed + unchanged, "valid pixel")
        return (
            f"{pixels}{of} of the mask have no prediction. --uncovered ignore excludes "
            "them, --uncovered unchanged counts them as predicted unchanged"
        )

    def _add(
        self,
        row: Loaded,
        image: OpenImage,
        crop: Crop | None,
        georeferences: tuple[Where | None, Where | None],
    ) -> Iterator[Loaded]:
        size, shape, ground = (image.width, image.height), self.mask.shape, self._ground
        corner, pixels = None, image.resident if crop is None else None
        labels = self.mask.read_on(None if pixels is None else pixels.device)[0]
        if crop is not None and self._tiles is not None:
            try:
                corner = self._corner(self._tiles, crop, size, georeferences)
            except DataError as error:
                # Tile positions depend on each other, so all tiles fail.
                self._misplaced = str(error)
                raise
        at = place(*georeferences, (size, self.mask.size), corner, ground.grid)
        fits = (at.row, at.column, *shape) == (0, 0, *size[::-1])
        if crop is None and not (fits and not at.warp):
            if row.grid == NO_GRID or not ground.moves:
                raise DataError(
                    f"is {size[::-1]} but its mask {row.place.target} is {shape}"
                )
            self.merged = row
        top, bottom = max(at.row, 0), min(at.row + size[1], shape[0])
        left, right = max(at.column, 0), min(at.column + size[0], shape[1])
        if at.warp:
            top, bottom, left, right = 0, shape[0], 0, shape[1]
        elif top >= bottom or left >= right:
            raise DataError(
                f"covers rows {at.row}-{at.row + size[1] - 1} and columns {at.column}-"
                f"{at.column + size[0] - 1}, outside its mask of {shape}"
            )
        extent = right - left, bottom - top
        is_cut = crop is not None and not ground.moves and extent != size
        if self.merged is not None:
            self.merged = replace(
                self.merged,
                grid=_grid(self.merged, row),
                size=self.mask.size,
                difference=self.merged.difference or at.difference,
                cut=self.merged.cut + is_cut,
            )
            yield from self._put(image, at, crop)
            return
        row = replace(
            row,
            size=extent,
            origin=(top, left),
            difference=at.difference,
            cut=int(is_cut),
        )
        if pixels is not None:
            yield self._on_device(row, pixels, labels)
            return
        if crop is not None:
            # Pixels that two crops cover would count twice.
            for up, down, west, east in self._windows:
                if top < down and up < bottom and left < east and west < right:
                    raise DataError(overlap_text(max(up, top), max(west, left)))
            self._windows.append((top, bottom, left, right))
            self._rows.append(row)
        for piece, own in self._pieces(image, at, labels):
            yield replace(
                row,
                scores=piece.scores,
                target=np.ascontiguousarray(own),
                corner=(piece.row - top, piece.column - left),
                dtype=_type_name(image, piece.scores),
                labels=label_hash(own, self.mask.size, (piece.row, piece.column)),
                greys=self._greys(piece, own),
            )

    def _on_device(self, row: Loaded, pixels: Tensor, labels: Tensor) -> Loaded:
        """A prediction in GPU memory, as one block."""
        from cdstats.io.resident import label_hash, one_channel

        scores: Array
        off: Array
        logits, scale = self._choice.kind is Kind.LOGIT, self._choice.scale
        scores, off = one_channel(pixels, logits=logits, scale=scale)
        refuse_half(Block(0, 0, scores, half=off), labels, self._choice)
        return replace(
            row,
            scores=scores,
            target=labels,
            dtype=numpy_type(scores).name,
            labels=label_hash(labels, self.mask.size),
        )

    def _greys(self, piece: Piece, labels: NDArray[Any]) -> NDArray[np.uint8] | None:
        greys, (height, width) = self.mask.greys, labels.shape
        if greys is None:
            return None
        return greys[
            piece.row : piece.row + height, piece.column : piece.column + width
        ]

    def _corner(
        self,
        tiles: Tiles,
        crop: Crop,
        size: tuple[int, int],
        georeferences: tuple[Where | None, Where | None],
    ) -> tuple[int, int]:
        corners, ground = tiles.corners(crop, size[1], size[0]), self._ground
        if len(corners) == 1:
            return corners[0]
        if ground.edge is not Edge.REFUSE:
            return corners[ground.edge is Edge.SHIFT]
        own, mask = georeferences
        if isinstance(own, Georeference) and isinstance(mask, Georeference):
            fit = [one for one in corners if not difference(own, mask, size, one)]
            if ground.grid is not GridMode.IGNORE:
                return (fit or corners)[0]
        raise DataError(edge_text(self.mask.shape, size[::-1], ground.overlap))

    def _pieces(
        self, image: OpenImage, at: Placed, labels: NDArray[Any]
    ) -> Iterator[tuple[Piece, NDArray[Any]]]:
        """The blocks of a prediction, cut to its mask, with their labels."""
        for block in image.blocks():
            part = _cut(block, at, labels.shape)
            height, width = part.values.shape[:2]
            if not height or not width:
                continue
            own = labels[
                part.row : part.row + height, part.column : part.column + width
            ]
            scores = np.ascontiguousarray(one_channel(part))
            refuse_half(part, own, self._choice)
            covered = None
            if part.hidden is not None and self._choice.nodata is not Nodata.IGNORE:
                _refuse_gaps(part.hidden, own)
            elif part.hidden is not None and part.hidden.any():
                # Hidden pixels count as covered and ignored, because no other
                # prediction covers them.
                covered = ~part.hidden
                if self.merged is None:
                    self._seen += valid_pixels(own, part.hidden)
                    own = np.where(covered, own, ignored_label(own))
            yield Piece(part.row, part.column, scores, covered), own

    def _put(self, image: OpenImage, at: Placed, crop: Crop | None) -> Iterator[Loaded]:
        """Add a prediction to the mosaic, and yield complete rows."""
        middle = 2 * at.row + image.height, 2 * at.column + image.width
        each = (piece for piece, _ in self._pieces(image, at, self.mask.labels))
        for piece in self._warped(image) if at.warp else each:
            # Crops are sorted by name, which is not their order if they are moved.
            top = piece.row if crop is None else at.row
            if crop is not None and self._ground.moves:
                top = 0
            if self.merged is not None and not self.merged.dtype:
                name = _type_name(image, piece.scores)
                self.merged = replace(self.merged, dtype=name)
            yield from self._rest(self._mosaic.advance(top))
            self._mosaic.put(piece, middle)

    def _rest(self, pieces: Iterator[Piece]) -> Iterator[Loaded]:
        """Blocks of complete rows of the mosaic, with their labels."""
        for piece in pieces:
            if self.merged is not None:
                own = self.mask.labels[piece.row : piece.row + len(piece.scores)]
                yield replace(
                    self.merged,
                    scores=piece.scores,
                    target=np.ascontiguousarray(own),
                    corner=(piece.row, piece.column),
                    dtype=self._mosaic.type_name(self.merged.dtype),
                    covered=piece.covered,
                    labels=label_hash(
                        own, self.mask.size, (piece.row, piece.column), piece.covered
                    ),
                    greys=self._greys(piece, own),
                )

    def _warped(self, image: OpenImage) -> Iterator[Piece]:
        """A prediction resampled to the grid of its mask, in blocks."""
        mask, own = self.mask.georeference, image.georeference()
        size = image.width, image.height
        if not (isinstance(own, Georeference) and isinstance(mask, Georeference)):
            return
        source, dtype, nearest = _source(image, self._choice.kind)
        gaps = self._choice.nodata is not Nodata.IGNORE and np.isnan(source).any()
        full = np.ones(source.shape, np.float32) if gaps else None
        top, bottom, left, right = reach(own, mask, size, self.mask.size)
        step = max(BLOCK_PIXELS // max(right - left, 1), 1)
        for row in range(top, bottom, step):
            window = row, min(row + step, bottom), left, right
            found = resampled(source, own, mask, window, nearest=nearest)
            covered = ~np.isnan(found)
            if full is not None:
                reached = ~np.isnan(resampled(full, own, mask, window, nearest=nearest))
                labels = self.mask.labels[row : window[1], left:right]
                _refuse_gaps(reached & ~covered, labels)
            found[~covered] = 0
            if dtype.kind in "iu":
                found = np.rint(found)
            yield Piece(row, left, found.astype(dtype), covered)


def _grid(merged: Loaded, row: Loaded) -> str:
    """The grid mode of merged crops after adding another one."""
    return row.grid if merged.grid == NO_GRID else merged.grid


def _source(
    image: OpenImage, kind: Kind | None
) -> tuple[NDArray[np.floating[Any]], np.dtype[Any], bool]:
    """A whole prediction, NaN without a value; its type; whether it has labels.

    Labels are resampled by nearest neighbour.
    """
    check_memory(4 * image.width * image.height, "resample it with gdalwarp")
    source: NDArray[Any] = np.full((image.height, image.width), np.nan, np.float32)
    dtype = np.dtype(np.float32)
    for block in image.blocks():
        scores, dtype = one_channel(block), block.values.dtype
        if block.half is not None and block.half.any():
            raise DataError("has half transparent pixels; expected none or all")
        if dtype.itemsize > source.itemsize:
            source = source.astype(np.float64)
        lacking = np.zeros(scores.shape, bool) if block.hidden is None else block.hidden
        part = source[
            block.row : block.row + scores.shape[0],
            block.column : block.column + scores.shape[1],
        ]
        # A NaN that is not declared as nodata must not look like a gap.
        numbers = np.where(np.isnan(scores), np.inf, scores)
        part[~lacking] = numbers[~lacking]
    labels = kind is Kind.HARD or image.format == PALETTE
    return source, dtype, labels or (kind is None and _has_two_values(source))


def _has_two_values(source: NDArray[np.floating[Any]]) -> bool:
    """Whether there are at most two distinct values, as in labels of any type."""
    low, high = np.nanmin(source, initial=np.inf), np.nanmax(source, initial=-np.inf)
    return bool(((source == low) | (source == high) | np.isnan(source)).all())


def _cut(block: Block, at: Placed, shape: tuple[int, ...]) -> Block:
    """The part of a block inside the mask, with its position on the mask."""
    row, column = at.row + block.row, at.column + block.column
    part = (
        slice(max(-row, 0), max(shape[0] - row, 0)),
        slice(max(-column, 0), max(shape[1] - column, 0)),
    )
    return Block(
        max(row, 0),
        max(column, 0),
        block.values[part],
        None if block.hidden is None else block.hidden[part],
        None if block.half is None else block.half[part],
    )


def valid_pixels(
    labels: NDArray[Any], covered: NDArray[np.bool_] | None = None
) -> NDArray[np.int64]:
    """Number of unchanged and changed pixels; for soft targets valid pixels and 0."""
    if covered is not None:
        labels = labels[covered]
    if labels.dtype != np.uint8:
        return np.array([np.count_nonzero(labels >= 0), 0])
    return np.array([np.count_nonzero(labels == label) for label in (0, 1)])


def _type_name(image: OpenImage, scores: NDArray[Any]) -> str:
    """The name of the stored type, which may differ from the type in memory."""
    stored = image.format.startswith(("bfloat", "float8", PALETTE))
    return image.format if stored else scores.dtype.name


def one_channel(block: Block) -> NDArray[Any]:
    """The scores of a block; the channels of a colour image must be equal."""
    if not block.is_colour:
        return block.values
    first: NDArray[Any] = block.values[..., 0]
    if (block.values == first[..., None]).all():
        return first
    values = distinct(block)
    if len(values) > MANY_LEVELS:
        raise DataError(
            f"holds {len(values):,} colours: looks like an image, not a prediction"
        )
    text = "its colour channels differ; expected one channel. "
    colours = [shlex.quote(str(value)) for value in values if value != 0]
    if len(colours) == 1 and len(values) == 2:
        rule = f"--pred-changed {colours[0]} --pred-unchanged 0"
        raise DataError(f"{text}If black is unchanged: {rule}")
    named = [*map(str, values[:_NAMED]), *["..."] * (len(values) > _NAMED)]
    raise DataError(
        f"{text}It holds {', '.join(named)}. Name its colours with --pred-changed and "
        "--pred-unchanged, or choose one with --pred-band N"
    )


def ignored_label(labels: NDArray[Any]) -> NDArray[Any]:
    """The value of ignored pixels in labels or in soft targets."""
    label = CODES[Label.IGNORED] if labels.dtype == np.uint8 else SOFT_IGNORED
    found: NDArray[Any] = np.array(label, dtype=labels.dtype)
    return found


def _is_valid(labels: Array) -> Array:
    """Whether each label or soft target is valid."""
    soft = "float" in str(labels.dtype)
    return labels >= 0 if soft else labels != CODES[Label.IGNORED]


def _refuse_gaps(lacking: NDArray[np.bool_], labels: NDArray[Any]) -> None:
    pixels = int((lacking & _is_valid(labels)).sum())
    if pixels:
        raise DataError(
            f"has no score at {counted(pixels, 'valid pixel')}: transparent, masked "
            "out or declared nodata. --pred-nodata ignore excludes them, keep scores "
            "the stored values"
        )


def refuse_half(block: Block, labels: Array, choice: ModelChoice) -> None:
    """Raise if the score of a valid pixel is ambiguous."""
    if block.half is None:
        return
    wrong = block.half & _is_valid(labels)
    if wrong.any():
        values = block.values[wrong]
        floating = "float" in str(values.dtype) and choice.scale is None
        logits = floating and bool((values < 0).any() or (values > 1).any())
        raise DataError(
            "has two channels that do not add up to 1, or half transparent pixels, at "
            f"{counted(int(wrong.sum()), 'valid pixel')}; "
            + (
                "scores before the softmax need --kind logit"
                if logits
                else "choose the channel of the change scores with --pred-band N"
            )
        )
