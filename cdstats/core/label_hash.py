"""An additive hash of labels, independent of tiling, file format and order.

A pixel with label L at row r and column c adds W(L) A(r) (P(c+1) - P(c)) modulo 2^64,
where A and P are random numbers derived from the size of the mask. Thus a run of one
label adds W(L) A(r) (P(end) - P(start)). Eight pixels of a row are packed into a byte,
and a table gives the sum for each byte. Ignored pixels, and pixels without a
prediction, add nothing. The hash detects accidental differences; it does not protect
against deliberate collisions.
"""

from __future__ import annotations

import re
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Final

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Iterable

    from numpy.typing import NDArray

    Words = NDArray[np.uint64]

_WORD: Final = np.uint64
_ALL: Final = (1 << 64) - 1
ODD: Final = _WORD(0x9E3779B97F4A7C15)
_IGNORED: Final = 255
_BYTE: Final = 8
"""Pixels per table lookup."""
_STRIPE: Final = 1 << 12
"""Columns per table of one MiB; a multiple of eight."""
_CHUNK: Final = 1 << 14
"""Numbers processed together, to fit the cache."""


def label_hash(
    labels: NDArray[Any],
    size: tuple[int, int],
    corner: tuple[int, int] = (0, 0),
    covered: NDArray[np.bool_] | None = None,
) -> int:
    """Hash of a part of a mask; the hashes of its parts add up to that of the mask.

    Args:
        labels: Labels 0, 1 and 255 (uint8), or soft targets (float64), negative if
            ignored; ``(h, w)``.
        size: Width and height of the whole mask.
        corner: First row and column of the part.
        covered: Mask of pixels with a prediction; None for all.

    Returns:
        A number below 2^64; add such numbers with `total_hash`.

    Example:
        >>> mask = np.eye(4, dtype=np.uint8)
        >>> parts = [label_hash(mask[:3], (4, 4)), label_hash(mask[3:], (4, 4), (3, 0))]
        >>> total_hash(parts) == label_hash(mask, (4, 4))
        True
    """
    height, width = labels.shape
    if not height or not width:
        return 0
    if covered is not None:
        none = _IGNORED if labels.dtype == np.uint8 else -1
        labels = np.where(covered, labels, labels.dtype.type(none))
    row, column = corner
    of_rows = _of_rows(size, row, height)
    if labels.dtype != np.uint8:
        return _hash_of_soft(labels, _steps(size, column, width), of_rows)
    total, more = 0, OF_CHANGED - OF_UNCHANGED
    for left in range(0, width, _STRIPE):
        part = labels[:, left : left + _STRIPE]
        table = _table(size, column + left, part.shape[1])
        valid = int(table[:, -1].sum()) * int(of_rows.sum())
        if part.max() == _IGNORED:
            valid -= _sum_of(part == _IGNORED, table, of_rows)
            part = part == 1
        total += OF_UNCHANGED * valid + more * _sum_of(part, table, of_rows)
    return total & _ALL


def hash_factors(size: tuple[int, int]) -> tuple[Words, Words]:
    """A(r) of all rows and P(c+1) - P(c) of all columns of a mask."""
    return _of_rows(size, 0, size[1]), _steps(size, 0, size[0])


def total_hash(parts: Iterable[int | None]) -> int | None:
    """Hash of several parts, masks or datasets; None if any is missing."""
    total = 0
    for part in parts:
        if part is None:
            return None
        total += part
    return total & _ALL


def hash_text(number: int | None) -> str:
    """Format a hash as 16 hexadecimal digits; empty for None."""
    return "" if number is None else f"{number:016x}"


def hash_of_text(text: str) -> int | None:
    """Parse a hash; None for an empty text.

    Raises:
        ValueError: If the text is not a hash.
    """
    if text and not re.fullmatch("[0-9a-f]{16}", text):
        raise ValueError(f"labels is {text!r}")
    return int(text, 16) if text else None


def _seed(size: tuple[int, int]) -> Words:
    return _mixed(np.array([size[0] << 32 | size[1]], _WORD))


def _of_rows(size: tuple[int, int], row: int, height: int) -> Words:
    """A(r) of each row."""
    rows = np.arange(row, row + height, dtype=_WORD)
    return _mixed(rows ^ _seed(size)) | _WORD(1)


def _steps(size: tuple[int, int], column: int, width: int) -> Words:
    """P(c+1) - P(c) of each column."""
    ends = np.arange(column, column + width + 1, dtype=_WORD)
    return np.diff(_mixed(~(ends ^ _seed(size))))


@lru_cache(16)
def _table(size: tuple[int, int], column: int, width: int) -> Words:
    """Sums of steps for each byte of eight columns; the first is the high bit."""
    steps = np.zeros(-(-width // _BYTE) * _BYTE, _WORD)
    steps[:width] = _steps(size, column, width)
    sums = np.zeros((len(steps) // _BYTE, 1), _WORD)
    for step in steps.reshape(-1, _BYTE).T:
        # Later columns have lower bits.
        sums = np.stack([sums, sums + step[:, None]], 2).reshape(len(step), -1)
    return sums


def _sum_of(flags: NDArray[Any], table: Words, of_rows: Words) -> int:
    """Sum over nonzero pixels, by row and column only."""
    total, first = 0, np.arange(len(table)) * len(table[0])
    rows = max(_CHUNK // len(first), 1)
    for top in range(0, len(flags), rows):
        packed = np.packbits(flags[top : top + rows], axis=1)
        sums = table.take(packed + first).sum(1)
        total += int((sums * of_rows[top : top + rows]).sum())
    return total


def _hash_of_soft(labels: NDArray[Any], steps: Words, of_rows: Words) -> int:
    """Hash of soft targets, which have different weights per pixel."""
    total, rows = 0, max(_CHUNK // len(steps), 1)
    for top in range(0, len(labels), rows):
        sums = _weights(labels[top : top + rows]) @ steps
        total += int((sums * of_rows[top : top + rows]).sum())
    return total & _ALL


def _weights(labels: NDArray[Any]) -> Words:
    """Weights of soft targets, from their bits."""
    # Adding 0 turns -0 into 0. The odd constant gives 0 a weight; short fractions
    # differ only in their high bits.
    bits = (labels.astype(np.float64) + 0.0).view(_WORD) + ODD
    bits ^= bits >> _WORD(32)
    bits *= ODD
    bits[labels < 0] = 0
    return bits


def _mixed(words: Words) -> Words:
    """Pseudorandom words: the finaliser of splitmix64 (Steele et al., 2014)."""
    found = words + ODD
    found = (found ^ (found >> _WORD(30))) * _WORD(0xBF58476D1CE4E5B9)
    found = (found ^ (found >> _WORD(27))) * _WORD(0x94D049BB133111EB)
    found ^= found >> _WORD(31)
    return found


OF_UNCHANGED, OF_CHANGED = (int(one) for one in _mixed(np.arange(2, dtype=_WORD)))
