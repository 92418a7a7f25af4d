"""Rows saved by an earlier run, read back; and rows held against them."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from cdstats.core.errors import DataError
from cdstats.core.records import ImageRecord, SummaryRecord, summaries
from cdstats.core.reference import Difference, differences
from cdstats.io.rows import csv_rows, parse_record, read_text
from cdstats.scan.ratio import RatioResult

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from pathlib import Path

_IMAGE_COUNTS: Final = ("width", "height", "pixels", "changed", "unchanged", "ignored")
_SUMMARY_COUNTS: Final = (
    *("images", "failed", "without_change"),
    *("pixels", "changed", "unchanged", "ignored"),
)


@dataclass(frozen=True)
class Saved:
    """The rows of a file that ``--csv``, ``--summary`` or ``--format`` wrote."""

    images: tuple[ImageRecord, ...] = ()
    datasets: tuple[SummaryRecord, ...] = ()


def read_saved(path: Path) -> Saved:
    """Read the rows that a file holds.

    Raises:
        DataError: If it is not a CSV or JSON file that `cdstats ratio` wrote.
    """
    text = read_text(path)
    try:
        if path.suffix.lower() == ".json":
            return _from_json(json.loads(text))
        return _from_csv(csv_rows(text))
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise DataError(
            f"{path}: is not a file that `cdstats ratio` wrote with --csv or --summary "
            f"({error})"
        ) from None


def _from_json(data: Mapping[str, Any]) -> Saved:
    images = tuple(ImageRecord(**row) for row in data.get("images", ()))
    return Saved(images, tuple(SummaryRecord(**row) for row in data["datasets"]))


def _from_csv(rows: list[dict[str, str]]) -> Saved:
    if "path" in rows[0]:
        return Saved(images=tuple(parse_record(ImageRecord, row) for row in rows))
    return Saved(datasets=tuple(parse_record(SummaryRecord, row) for row in rows))


def ratio_from(path: Path) -> RatioResult:
    """The result that the image rows of an earlier run give, without a pixel read.

    Raises:
        DataError: If the file holds no image rows.
    """
    saved = read_saved(path)
    if not saved.images:
        raise DataError(f"{path}: holds no image rows; write them with --csv")
    names = tuple(dict.fromkeys(row.dataset for row in saved.images))
    return RatioResult(summaries(names, saved.images), saved.images)


def against_saved(result: RatioResult, path: Path) -> list[Difference]:
    """The integers that differ from an earlier run, dataset rows first.

    Args:
        result: The rows now.
        path: A file that an earlier run wrote.

    Returns:
        Differences of the kinds of rows that the file holds. Image rows alone are
        added up, so that their sums are compared too.
    """
    saved = read_saved(path)
    datasets: Iterable[SummaryRecord] = saved.datasets
    if not saved.datasets:
        names = tuple(dict.fromkeys(row.dataset for row in saved.images))
        datasets = summaries(names, saved.images)
    found = differences(datasets, result.datasets, _SUMMARY_COUNTS)
    if saved.images:
        found += differences(saved.images, result.images, _IMAGE_COUNTS)
    return found
