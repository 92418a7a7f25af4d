"""`cdstats.errors`: where predictions are right and wrong, pixel by pixel."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from functools import partial
from itertools import groupby
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Final

import numpy as np

from cdstats.core.arguments import takes, texts
from cdstats.core.charts import ErrorCounts, ErrorMap
from cdstats.core.errors import CdstatsError, DataError
from cdstats.core.metrics import Confusion
from cdstats.core.options import ErrorOptions, LossOptions
from cdstats.io.georeference import Georeference
from cdstats.io.held import as_files
from cdstats.io.images import image_bytes, refuse_others, write_image
from cdstats.io.outputs import check_folder
from cdstats.io.signatures import EXTENSIONS
from cdstats.render.figures.style import OUTCOMES
from cdstats.render.table import Displayed, Table
from cdstats.score.grid import Uncovered
from cdstats.score.loss import score_predictions
from cdstats.score.pictures import (
    IGNORED,
    outcomes,
    scales_of,
    thumbnails,
)
from cdstats.score.reading import PairReader, place_of

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from numpy.typing import NDArray

    from cdstats.core.errors import Message
    from cdstats.core.score_records import ScoreRecord
    from cdstats.io.pairing import FilePair
    from cdstats.score.curves import Curves
    from cdstats.score.results import LossRun
    from cdstats.score.targets import Target

VALUES: Final = {"tn": 0, "tp": 1, "fp": 2, "fn": 3, "ignored": 255}
"""What a pixel of a map means."""
COLOURS: Final = {value: OUTCOMES[name] for name, value in VALUES.items()}
_SIDE: Final = 256
"""Pixels along the longer side of a thumbnail."""
_ENDING: Final = re.compile(
    f"({'|'.join(map(re.escape, sorted(EXTENSIONS)))})(?=#|$)", re.IGNORECASE
)
_UNSAFE: Final = re.compile(r'[<>:"|?*#\\\x00-\x1f]')
"""Characters that the name of a file cannot have everywhere."""
_Key = tuple[str, str, str]
"""What tells a map from others: model, split and mask."""


@dataclass(frozen=True, repr=False)
class ErrorMaps(Displayed):
    """What `errors` wrote.

    Attributes:
        models: The pixels of each model by outcome.
        images: A row for each map, and for each prediction without one.
        messages: Notes, warnings and errors.
        scores: What `loss` gives for the same predictions.
    """

    models: tuple[ErrorCounts, ...]
    images: tuple[ErrorMap, ...]
    messages: tuple[Message, ...]
    scores: LossRun = field(repr=False)

    @property
    def failed(self) -> int:
        """Predictions without a map."""
        return sum(row.status == "failed" for row in self.images)

    @property
    def unread(self) -> int:
        """Inputs that could not be read at all, such as a folder."""
        return self.scores.unread

    def table(self) -> Table:
        """The rows of the models."""
        return Table.of(ErrorCounts, self.models)


@takes(ErrorOptions, as_files)
def errors(options: ErrorOptions) -> ErrorMaps:
    """Write a map of errors for each mask and model.

    The values are 0 TN, 1 TP, 2 FP, 3 FN and 255 ignored.

    Predictions are scored as by `cdstats.loss` and read again for the maps, whose
    pixels must add up to the counts of the scores. A map is a PNG file with a palette,
    or a GeoTIFF with a colour table where its mask has a georeference. It lies in a
    folder of its model, under the name of its mask, with thumbnails of the images in
    folders such as ``A`` and ``B`` beside the folder of the mask.

    Raises:
        UsageError: If an option is not understood, or a file would be overwritten that
            is no map.
        DataError: If nothing pairs, or what the predictions are is refused.
    """
    return write_maps(options)


def write_maps(options: ErrorOptions) -> ErrorMaps:
    """What `errors` gives, from its options."""
    folder = Path(options.folder)
    read = [*texts(options.pred), str(options.target or "")]
    check_folder(folder, read, "maps would be taken for masks")
    scored = LossOptions.of(
        options, histograms=True, check=partial(_refuse_files, folder)
    )
    run = score_predictions(scored)
    rows = tuple(_Maps(run, folder).write()) if run.curves else ()
    names = dict.fromkeys(row.model for row in rows)
    models = tuple(
        ErrorCounts.of(name, [row for row in rows if row.model == name])
        for name in names
    )
    return ErrorMaps(models, rows, run.messages, run)


def _refuse_files(folder: Path, pairs: Sequence[FilePair]) -> None:
    """Refuse before a pixel is read what would be refused when a map is written."""
    for pair in pairs:
        if pair.prediction is not None and pair.target is not None:
            stem = _stem(folder, pair.model, place_of(pair).target)
            for ending in (".png", ".tif"):
                refuse_others(stem.with_name(stem.name + ending))


def _stem(folder: Path, model: str, target: str) -> Path:
    """Where the map of a mask goes, without the ending of its name.

    Example:
        >>> _stem(Path("out"), "a:b", "../x/1.png#3").as_posix()
        'out/a_b/x/1_3'
    """
    path = PurePosixPath(model) / _ENDING.sub("", target).lstrip("/")
    parts = (part for part in path.parts if part not in ("..", "/"))
    return folder.joinpath(*(_UNSAFE.sub("_", part) for part in parts))


class _Map:
    """The outcome of every pixel of a mask, once for each scale."""

    def __init__(self, mask: Target, scales: tuple[float, ...]) -> None:
        self.mask = mask
        self.held: dict[float, NDArray[np.uint8]] = {
            scale: np.full(mask.shape, IGNORED, np.uint8) for scale in scales
        }

    def values(self, counts: Confusion, fill: bool) -> NDArray[np.uint8]:
        """The map whose pixels add up to counts.

        Raises:
            DataError: If there is none.
        """
        kinds = [VALUES[name] for name in ("tp", "fp", "fn", "tn", "ignored")]
        # Pixels without a score are ignored, or predicted unchanged.
        codes = np.array(kinds + (kinds[:4] if fill else [VALUES["ignored"]] * 4))
        wanted = [counts.tn, counts.tp, counts.fp, counts.fn]
        for held in self.held.values():
            shown = codes.astype(np.uint8)[held]
            if np.bincount(shown.reshape(-1), minlength=4)[:4].tolist() == wanted:
                return shown
        raise DataError("read again, its pixels differ from its counts")


class _Maps:
    """Reads the predictions of a run again and writes their maps."""

    def __init__(self, run: LossRun, folder: Path) -> None:
        if run.curves is None:
            raise ValueError("expected a run that can be read again")
        self._curves: Curves = run.curves
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
                self._rows.setdefault((row.model, row.split, row.target), []).append(
                    row
                )

    def write(self) -> Iterator[ErrorMap]:
        """A row for each map that was written, then those without a map."""
        how, share = self._curves.how, self._curves.share
        fill = how.ground.uncovered is Uncovered.UNCHANGED
        places = {row.place for rows in self._rows.values() for row in rows}
        pairs = dict(share.pairs)
        reader = PairReader(share.targets, how.choice, how.ground)
        left = dict(self._rows)
        for _, scene in groupby(reader.read(share.pairs), key=lambda one: one.scene):
            maps: dict[_Key, _Map] = {}
            for loaded in scene:
                place = loaded.place
                if place not in places or loaded.scores is None:
                    continue
                key = (place.model, place.split, place.target)
                choice, pair = how.choice.of(place.model), pairs[loaded.rank]
                if key not in maps:
                    mask = reader.mask_of(pair, place.target)
                    maps[key] = _Map(mask, scales_of(loaded, choice))
                row, column = np.add(loaded.corner, loaded.origin).tolist()
                for scale, held in maps[key].held.items():
                    found = outcomes(loaded, choice, scale)
                    height, width = found.shape
                    held[row : row + height, column : column + width] = found
            for key, one in maps.items():
                yield self._written(left.pop(key), one, fill)
        for rows in left.values():
            yield ErrorMap.of(rows, reason="could not be read again")
        yield from self._failed

    def _written(self, rows: list[ScoreRecord], one: _Map, fill: bool) -> ErrorMap:
        """The row of a map, which is written with its thumbnails."""
        counts = sum((row.confusion for row in rows), Confusion())
        try:
            values = one.values(counts, fill)
            where = one.mask.image.georeference()
            where = where if isinstance(where, Georeference) else None
            stem = _stem(self._folder, rows[0].model, rows[0].target)
            path = self._free(stem, "png" if where is None else "tif")
            write_image(path, image_bytes(values, COLOURS, where))
            self._write_thumbnails(one, path)
        except CdstatsError as error:
            return ErrorMap.of(rows, reason=str(error))
        return ErrorMap.of(rows, path=path.relative_to(self._folder).as_posix())

    def _write_thumbnails(self, one: _Map, path: Path) -> None:
        """Write the images beside a mask: read once for all models."""
        known, found = self._thumbnails
        if known != one.mask.file.path:
            found = thumbnails(one.mask, _SIDE)
            self._thumbnails = one.mask.file.path, found
        for name, data in found:
            stem = path.with_name(f"{path.name.rpartition('.')[0]}_{name}")
            write_image(self._free(stem, "jpg"), data)

    def _free(self, stem: Path, ending: str) -> Path:
        """A file that this run has not written."""
        number, path = 2, stem.with_name(f"{stem.name}.{ending}")
        while str(path).lower() in self._used:
            path = stem.with_name(f"{stem.name}-{number}.{ending}")
            number += 1
        self._used.add(str(path).lower())
        return path
