"""From scores and labels to sums: the one pass over the pixels.

A module each: `arrays` in NumPy and `loops`, which Numba compiles, serve a processor;
`tensors` in torch and `fused`, which Triton compiles, serve a device.

Pixels come as tiles, rows of a matrix, each of one image, so that images of any size
share a batch. What pads a tile is ignored and enters no sum. A tile is summed in the
precision of its scores (at least float32), and everything beyond it in float64, so the
result does not depend on how tiles are put into batches.
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
