"""Rows of an earlier run: reading them, and comparing new rows with them."""

from __future__ import annotations

import json
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from cdstats.core.counts import PixelCounts
from cdstats.core.errors import CdstatsError, DataError
from cdstats.core.records import ImageRecord, SummaryRecord, split_order, summaries
from cdstats.core.reference import Difference, differences
from cdstats.io.naming import natural_key
from cdstats.io.outputs import read_text
from cdstats.io.rows import checked_record, csv_rows, parse_record, refuse_duplicates
from cdstats.scan.ratio import RatioResult

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

_IMAGE_COUNTS: Final = ("width", "height", "pixels", "changed", "unchanged", "ignored")
_SUMMARY_COUNTS: Final = (
    *("images", "failed", "without_change"),
    *("pixels", "changed", "unchanged", "ignored", "width", "height"),
)


@dataclass(frozen=True)
class Saved:
    """The rows of a file written by ``--csv``, ``--summary`` or ``--format``."""

    images: tuple[ImageRecord, ...] = ()
    datasets: tuple[SummaryRecord, ...] = ()


def read_saved(path: Path) -> Saved:
    """The image and summary rows of a result file."""
    text = read_text(path)
    with _naming(path):
        if text.lstrip().startswith("{"):
            data = json.loads(text)
            images = [checked_record(ImageRecord, r) for r in data.get("images", ())]
            totals = [checked_record(SummaryRecord, r) for r in data["datasets"]]
        else:
            rows = csv_rows(text)
            by_image = "path" in rows[0]
            images = [parse_record(ImageRecord, r) for r in rows if by_image]
            totals = [parse_record(SummaryRecord, r) for r in rows if not by_image]
        for row in images:
            if row.status not in ("ok", "failed"):
                raise ValueError(f"{row.path}: the status is {row.status!r}")
            missing = [name for name in _IMAGE_COUNTS if getattr(row, name) is None]
            if row.status == "ok" and missing:
                raise ValueError(f"{row.path}: has no {missing[0]}")
        refuse_duplicates((row.dataset, row.split, row.path) for row in images)
        refuse_duplicates((row.dataset, row.split) for row in totals)
        return Saved(tuple(images), tuple(totals))


@contextmanager
def _naming(path: Path) -> Iterator[None]:
    """Name the file in errors about invalid rows."""
    try:
        yield
    except CdstatsError:
        raise
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise DataError(
            f"{path}: is not a result file of `cdstats ratio` ({error})"
        ) from None


def ratio_from(path: Path) -> RatioResult:
    """The result of an earlier run, computed from its image rows without the masks."""
    saved = read_saved(path)
    if not saved.images:
        raise DataError(
            f"{path}: holds no image rows; the option csv of `cdstats ratio` writes "
            "them"
        )
    with _naming(path):
        rows = [_recounted(row) for row in saved.images]
    names = tuple(dict.fromkeys(row.dataset for row in rows))
    # The same order as in a run over the masks.
    rows.sort(
        key=lambda row: (
            names.index(row.dataset),
            split_order(row.split),
            natural_key(row.path),
        )
    )
    return RatioResult(summaries(names, rows), tuple(rows))


def _recounted(row: ImageRecord) -> ImageRecord:
    """The row recomputed from its counts; the ratios in the file are not used."""
    place = (row.dataset, row.split, row.path)
    width, height, pixels, *labels = (getattr(row, name) for name in _IMAGE_COUNTS)
    if row.status == "failed":
        return ImageRecord.failed(place, row.reason, (width, height) if width else None)
    counts = PixelCounts(*labels)
    if counts.pixels != pixels:
        raise ValueError(f"{row.path}: {counts} are not {pixels} pixels")
    return ImageRecord.counted(place, (width, height), counts, row.rule)


def against_saved(result: RatioResult, saved: Saved) -> list[Difference]:
    """The counts that differ from an earlier run, dataset rows first."""
    datasets: Iterable[SummaryRecord] = saved.datasets
    if not saved.datasets:
        names = tuple(dict.fromkeys(row.dataset for row in saved.images))
        datasets = summaries(names, saved.images)
    found = differences(datasets, result.datasets, _SUMMARY_COUNTS)
    if saved.images:
        found += differences(saved.images, result.images, _IMAGE_COUNTS)
    return found
