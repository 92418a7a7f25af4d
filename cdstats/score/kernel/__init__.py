"""From scores and labels to sums in one pass over the pixels.

On the CPU, `arrays` uses NumPy and `loops` is compiled by Numba. On a GPU, `tensors`
uses torch and `fused` is compiled by Triton.

Pixels come as tiles, the rows of a matrix. Each tile has pixels of one image, so that
images of any size share a batch; padding is ignored. A tile is summed in the precision
of its scores (at least float32), and tiles are added in float64, so the result does not
depend on the batches.
"""

from __future__ import annotations

from cdstats.score.kernel.arrays import array_sums
from cdstats.score.kernel.tile import (
    CALIBRATION,
    CHANGED,
    COUNTS,
    IGNORED,
    LOG_FLOOR,
    SUMS,
    TILE,
    UNCHANGED,
    TileSums,
)

__all__ = [
    "CALIBRATION",
    "CHANGED",
    "COUNTS",
    "IGNORED",
    "LOG_FLOOR",
    "SUMS",
    "TILE",
    "UNCHANGED",
    "TileSums",
    "array_sums",
]
