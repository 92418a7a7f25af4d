"""The options that everything shares which counts masks."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypedDict

if TYPE_CHECKING:
    from collections.abc import Callable
    from os import PathLike


class CountOptions(TypedDict, total=False):
    """Options of `cdstats.ratio` other than its paths and split."""

    changed: str | None
    unchanged: str | None
    ignore: str | None
    preset: str | None
    band: int | None
    jobs: int | None
    max_pixels: int
    strict: bool
    cache: str | PathLike[str] | None
    progress: Callable[[int, int, int], None] | None
