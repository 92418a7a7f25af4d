"""`cdstats.errors`: maps of correct and wrong pixels of predictions."""

from __future__ import annotations

import re
import zlib
from contextlib import suppress
from dataclasses import dataclass, field, replace
from functools import partial
from io import SEEK_END
from itertools import groupby
from pathlib import Path, PurePosixPath
from tempfile import SpooledTemporaryFile
from typing import IO, TYPE_CHECKING, Final

import numpy as np

from cdstats.core.arguments import takes, texts
from cdstats.core.charts import ErrorCounts, ErrorMap
from cdstats.core.errors import CdstatsError, DataError, one_file
from cdstats.core.metrics import Confusion
from cdstats.core.options import ErrorOptions, LossOptions
from cdstats.io.georeference import Georeference
from cdstats.io.held import as_files
from cdstats.io.images import image_bytes, refuse_others, write_image
from cdstats.io.outputs import check_folder
from cdstats.io.signatures import EXTENSIONS
from cdstats.render.figures.style import OUTCOMES
from cdstats.render.table import Displayed, Table
from cdstats.score.grid import Ground, Uncovered
from cdstats.score.loss import score_predictions
from cdstats.score.pictures import (
    IGNORED,
    outcomes,
    scales_of,
    thumbnails,
)

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from numpy.typing import NDArray

    from cdstats.core.errors import Message
    from cdstats.core.score_records import Place, ScoreRecord
    from cdstats.io.pairing import FilePair
    from cdstats.score.reading import PairReader, RankedPair
    from cdstats.score.results import LossRun
    from cdstats.score.scenes import Loaded

VALUES: Final = {"tn": 0, "tp": 1, "fp": 2, "fn": 3, "ignored": 255}
"""Pixel values of a map."""
COLOURS: Final = {value: OUTCOMES[name] for name, value in VALUES.items()}
_HELD_BYTES: Final = 1 << 26
"""Largest size of compressed maps in memory; larger ones wait on disk."""
_SIDE: Final = 256
"""Longer side of a thumbnail, in pixels."""
_ENDING: Final = re.compile(
    f"({'|'.join(map(re.escape, sorted(EXTENSIONS)))})(?=#|$)", re.IGNORECASE
)
_UNSAFE: Final = re.compile(r'[<>:"|?*#\\\x00-\x1f]')
"""Characters that are not allowed in file names on every system."""
_Key = tuple[str, str, str]
"""The model, split and mask of a map."""


@dataclass(frozen=True, repr=False)
class ErrorMaps(Displayed):
    """The result of `cdstats.errors`.

    Attributes:
        models: The pixels of each model by outcome.
        images: A row for each map, and for each prediction without a map.
        messages: Notes, warnings and errors.
        scores: The result of `cdstats.loss` for the same predictions.
    """

    models: tuple[ErrorCounts, ...]
    images: tuple[ErrorMap, ...]
    messages: tuple[Message, ...]
    scores: LossRun = field(repr=False)

    @property
    def failed(self) -> int:
        """Number of predictions without a map."""
        return sum(row.status == "failed" for row in self.images)

    @property
    def unread(self) -> int:
        """Number of inputs that could not be read at all, such as folders."""
        return self.scores.unread

    def table(self) -> Table:
        """The rows of the models."""
        return Table.of(ErrorCounts, self.models)


@takes(ErrorOptions, partial(as_files, stay=False))
def errors(options: ErrorOptions) -> ErrorMaps:
    """Write a map of errors for each mask and model.

    The values are 0 TN, 1 TP, 2 FP, 3 FN and 255 ignored.

    Predictions are scored as by `cdstats.loss`, and the pixels of a map add up to the
    counts of the scores. A map is a PNG file with a palette, or a GeoTIFF with a colour
    table if the mask has a georeference. It is written to the folder of its model under
    the name of its mask, with thumbnails of the images in folders such as ``A`` and
    ``B`` beside the mask folder.

    Raises:
        UsageError: If an option is invalid, or the folder has images that are not maps.
        DataError: If nothing pairs, or the meaning of the predictions is unclear.
    """
    return write_maps(options)


def write_maps(options: ErrorOptions) -> ErrorMaps:
    """The result of `errors` for an options record."""
    folder = Path(options.folder)
    read = [*texts(options.pred), str(options.target or "")]
    check_folder(folder, read, "maps would be taken for masks")
    for path in sorted(folder.rglob("*")):
        if _ENDING.search(path.name) and path.is_file():
            refuse_others(path)
    with SpooledTemporaryFile(_HELD_BYTES) as file:
        drawing = _Drawing(file)
        run = score_predictions(LossOptions.of(options), drawing.read)
        fill = Ground.of(options).uncovered is Uncovered.UNCHANGED
        rows = tuple(_Maps(run, folder).write(drawing, fill))
    names = dict.fromkeys(row.model for row in rows)
    models = tuple(
        ErrorCounts.of(name, [row for row in rows if row.model == name])
        for name in names
    )
    return ErrorMaps(models, rows, run.messages, run)


def _stem(folder: Path, model: str, target: str) -> Path:
    """The path of the map of a mask, without suffix.

    Example:
        >>> _stem(Path("out"), "a:b", "../x/1.png#3").as_posix()
        'out/a_b/x/1_3'
    """
    path = PurePosixPath(model) / _ENDING.sub("", target).lstrip("/")
    parts = (part for part in path.parts if part not in ("..", "/"))
    return folder.joinpath(*(_UNSAFE.sub("_", part) for part in parts))


@dataclass(frozen=True)
class _Map:
    """The outcomes of the pixels of a mask for each scale, and the mask file.

    Each of ``parts`` is the offset and length of compressed outcomes.
    """

    mask: str
    shape: tuple[int, int]
    where: Georeference | None
    parts: tuple[tuple[int, int], ...]


class _Drawing:
    """Draws maps from blocks while these are read for scoring.

    The divisor of integers is known only after all are read, so a map is drawn for each
    possible scale. Maps are kept on disk; reading a mask again replaces its maps.
    """

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file
        self._maps: dict[_Key, _Map] = {}

    def read(self, reader: PairReader, pairs: Sequence[RankedPair]) -> Iterator[Loaded]:
        """The blocks of `PairReader.read`, each drawn on its map."""
        by_rank = dict(pairs)
        for _, scene in groupby(reader.read(pairs), key=lambda one: one.scene):
            drawn: dict[_Key, tuple[_Map, dict[float, NDArray[np.uint8]]]] = {}
            for loaded in scene:
                labels = loaded.target
                if loaded.scores is not None and labels is not None:
                    # Blocks that cannot be drawn are refused by scoring.
                    with suppress(DataError), one_file():
                        if labels.dtype == np.uint8:
                            self._draw(drawn, loaded, reader, by_rank[loaded.rank])
                yield loaded
            for key, (one, canvases) in drawn.items():
                with one_file():
                    parts = tuple(map(self._put, canvases.values()))
                self._maps[key] = replace(one, parts=parts)

    @staticmethod
    def _draw(
        drawn: dict[_Key, tuple[_Map, dict[float, NDArray[np.uint8]]]],
        loaded: Loaded,
        reader: PairReader,
        pair: FilePair,
    ) -> None:
        place = loaded.place
        choice, key = reader.choice.of(place.model), _key(place)
        if key not in drawn:
            mask = reader.mask_of(pair, place.target)
            where = mask.image.georeference()
            where = where if isinstance(where, Georeference) else None
            drawn[key] = (
                _Map(mask.photographed, mask.shape, where, ()),
                {
                    scale: np.full(mask.shape, IGNORED, np.uint8)
                    for scale in scales_of(loaded, choice)
                },
            )
        row, column = np.add(loaded.corner, loaded.origin).tolist()
        for scale, canvas in drawn[key][1].items():
            found = outcomes(loaded, choice, scale)
            height, width = found.shape
            canvas[row : row + height, column : column + width] = found

    def _put(self, canvas: NDArray[np.uint8]) -> tuple[int, int]:
        data = zlib.compress(canvas.tobytes(), 1)
        return self._file.seek(0, SEEK_END), self._file.write(data)

    def of(self, row: ScoreRecord) -> _Map:
        """The map of a row.

        Raises:
            DataError: If no map was drawn.
        """
        if (found := self._maps.get(_key(row.place))) is None:
            raise DataError("has no map, because its pixels could not be compared")
        return found

    def values(self, one: _Map, counts: Confusion, fill: bool) -> NDArray[np.uint8]:
        """The pixels of a map, with the scale that matches the counts.

        Raises:
            DataError: If no scale matches.
        """
        kinds = [VALUES[name] for name in ("tp", "fp", "fn", "tn", "ignored")]
        # Pixels without a score are ignored, or predicted unchanged.
        codes = np.array(kinds + (kinds[:4] if fill else [VALUES["ignored"]] * 4))
        wanted = [counts.tn, counts.tp, counts.fp, counts.fn]
        for start, size in one.parts:
            self._file.seek(start)
            held = np.frombuffer(zlib.decompress(self._file.read(size)), np.uint8)
            shown = codes.astype(np.uint8)[held]
            if np.bincount(shown, minlength=4)[:4].tolist() == wanted:
                return shown.reshape(one.shape)
        raise DataError("the pixels of its map do not match its counts")


def _key(place: Place) -> _Key:
    return place.model, place.split, place.target


class _Maps:
    def __init__(self, run: LossRun, folder: Path) -> None:
        self._folder = folder
        self._used: set[str] = set()
        self._thumbnails: tuple[str, tuple[tuple[str, bytes], ...]] = ("", ())
        self._rows: dict[_Key, list[ScoreRecord]] = {}
        self._failed: list[ErrorMap] = []
        for row in run.images:
            soft = isinstance(row.changed, float)
            reason = row.reason or "soft targets: no pixel is right or wrong" * soft
            if reason:
                self._failed.append(ErrorMap.of([row], reason=reason))
            else:
                self._rows.setdefault(_key(row.place), []).append(row)

    def write(self, drawing: _Drawing, fill: bool) -> Iterator[ErrorMap]:
        """Write the maps; a row for each, followed by predictions without a map."""
        for rows in self._rows.values():
            yield self._written(rows, drawing, fill)
        yield from self._failed

    def _written(
        self, rows: list[ScoreRecord], drawing: _Drawing, fill: bool
    ) -> ErrorMap:
        """Write a map with its thumbnails, and return its row."""
        counts = sum((row.confusion for row in rows), Confusion())
        try:
            one = drawing.of(rows[0])
            values = drawing.values(one, counts, fill)
            stem = _stem(self._folder, rows[0].model, rows[0].target)
            path = self._free(stem, "png" if one.where is None else "tif")
            write_image(path, image_bytes(values, COLOURS, one.where))
            self._write_thumbnails(one, path)
        except CdstatsError as error:
            return ErrorMap.of(rows, reason=str(error))
        return ErrorMap.of(rows, path=path.relative_to(self._folder).as_posix())

    def _write_thumbnails(self, one: _Map, path: Path) -> None:
        known, found = self._thumbnails
        if not one.mask or known != one.mask:
            found = thumbnails(one.mask, one.shape[::-1], _SIDE)
            self._thumbnails = one.mask, found
        for name, data in found:
            stem = path.with_name(f"{path.name.rpartition('.')[0]}_{name}")
            write_image(self._free(stem, "jpg"), data)

    def _free(self, stem: Path, ending: str) -> Path:
        """A path that this run has not written."""
        number, path = 2, stem.with_name(f"{stem.name}.{ending}")
        while str(path).lower() in self._used:
            path = stem.with_name(f"{stem.name}-{number}.{ending}")
            number += 1
        self._used.add(str(path).lower())
        return path
