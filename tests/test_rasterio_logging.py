"""A program that imports cdstats keeps the logging that it set up."""

from __future__ import annotations

import logging
import sys
from typing import TYPE_CHECKING

import numpy as np
import pytest
from PIL import Image

import cdstats
from cdstats.core.errors import DataError
from cdstats.io import raster

if TYPE_CHECKING:
    from pathlib import Path

NAMES = ("rasterio", "rasterio._env", "rasterio._err", "rasterio._io")


@pytest.mark.parametrize("level", [logging.NOTSET, logging.DEBUG, logging.ERROR])
def test_counting_keeps_the_levels_of_the_loggers_of_rasterio(
    level: int, tmp_path: Path
) -> None:
    logger = logging.getLogger("rasterio._err")
    before = logger.level
    logger.setLevel(level)
    try:
        levels = [logging.getLogger(name).getEffectiveLevel() for name in NAMES]
        mask = Image.fromarray(np.tri(4, dtype=np.uint8) * 255)
        mask.save(tmp_path / "0.tif")
        cdstats.ratio(tmp_path)
        assert logger.level == level
        assert [logging.getLogger(n).getEffectiveLevel() for n in NAMES] == levels
    finally:
        logger.setLevel(before)


def test_a_thread_that_listens_takes_the_warnings_and_gives_the_level_back(
    caplog: pytest.LogCaptureFixture,
) -> None:
    logger = logging.getLogger("rasterio._err")
    before = logger.level
    with pytest.raises(DataError, match="made up"), raster.no_warnings("a.tif"):
        logger.info("line 3 is made up")
    assert logger.level == before
    assert not caplog.records
    logger.warning("passes")
    assert [record.getMessage() for record in caplog.records] == ["passes"]


def test_a_message_that_is_no_text_is_a_warning_all_the_same() -> None:
    def say() -> None:
        # As rasterio's handler of messages fails: where no caller can catch it.
        class Handler:
            def __del__(self) -> None:
                b"tag \xff is odd".decode()

        Handler()

    before = sys.unraisablehook
    said = r"cannot be decoded: tag \\xff is odd"
    with pytest.raises(DataError, match=said), raster.no_warnings("a.tif"):
        say()
    assert sys.unraisablehook is before
