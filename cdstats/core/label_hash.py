"""An additive hash of labels: the same however a mask is cut, stored or ordered.

A pixel of label L at row r and column c of a mask adds W(L) A(r) (P(c+1) - P(c)) modulo
2^64, where A and P are random numbers that follow from the size of the mask. A run of
one label telescopes to W(L) A(r) (P(end) - P(start)), so only the ends of runs cost
time. Ignored pixels, and those without a prediction, add nothing. The hash tells apart
what happens by accident; it is no protection against someone who wants a collision.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, Final

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Iterable

    from numpy.typing import NDArray

    Words = NDArray[np.uint64]

_WORD: Final = np.uint64
_ALL: Final = (1 << 64) - 1
_ODD: Final = _WORD(0x9E3779B97F4A7C15)
_IGNORED: Final = 255
_DENSE: Final = 24
"""Pixels for each end of a run below which every pixel is looked at: noise."""
_WIDEST: Final = 1 << 16
"""Columns whose bytes a float32 adds without rounding."""
_CHUNK: Final = 1 << 16
"""Pixels whose weights are held together, so that they fit the cache."""


def label_hash(
    labels: NDArray[Any],
    size: tuple[int, int],
    corner: tuple[int, int] = (0, 0),
    covered: NDArray[np.bool_] | None = None,
) -> int:
    """The hash of a part of a mask; the sum of those of its parts is that of the whole.

    Args:
        labels: Labels 0, 1 and 255 (uint8), or soft targets (float64), negative where
            they are ignored; ``(h, w)``.
        size: Width and height of the whole mask.
        corner: The first row and column of the part.
        covered: Where there is a prediction; None for everywhere.

    Returns:
        A number below 2^64; add such numbers by `total_hash`.

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
    seed = _mixed(np.array([size[0] << 32 | size[1]], _WORD))
    (row, column), ends = corner, np.arange(width + 1, dtype=_WORD)
    of_rows = _mixed(np.arange(row, row + height, dtype=_WORD) ^ seed) | _WORD(1)
    of_columns = _mixed(~((ends + _WORD(column)) ^ seed))
    if labels.dtype == np.uint8:
        at = np.flatnonzero(labels[:, 1:] != labels[:, :-1])
        if at.size * _DENSE < labels.size:
            return _hash_of_runs(labels, at, of_rows, of_columns)
    steps, total = of_columns[1:] - of_columns[:-1], 0
    rows = max(_CHUNK // width, 1)
    for top in range(0, height, rows):
        part = np.s_[top : top + rows]
        total += int((_sums_of_rows(labels[part], steps) * of_rows[part]).sum())
    return total & _ALL


def total_hash(parts: Iterable[int | None]) -> int | None:
    """The hash of several parts, masks or datasets together; None if one has none."""
    total = 0
    for part in parts:
        if part is None:
            return None
        total += part
    return total & _ALL


def hash_text(number: int | None) -> str:
    """A hash as 16 digits; empty where there is none."""
    return "" if number is None else f"{number:016x}"


def hash_of_text(text: str) -> int | None:
    """The hash that a text holds; None for an empty one.

    Raises:
        ValueError: If it is none.
    """
    if text and not re.fullmatch("[0-9a-f]{16}", text):
        raise ValueError(f"labels is {text!r}")
    return int(text, 16) if text else None


def _hash_of_runs(
    labels: NDArray[np.uint8], at: NDArray[np.intp], of_rows: Words, of_columns: Words
) -> int:
    """The hash of rows of few runs, whose inner ends are given."""
    width = labels.shape[1]
    # Places between two pixels of a row, of which there is one less than pixels.
    row = at // (width - 1) if width > 1 else at
    flat, at = np.ascontiguousarray(labels).reshape(-1), at + row
    inner = _WEIGHTS.take(flat.take(at)) - _WEIGHTS.take(flat.take(at + 1))
    inner *= of_columns.take(at + 1 - row * width) * of_rows.take(row)
    first, last = _WEIGHTS[labels[:, 0]], _WEIGHTS[labels[:, -1]]
    outer = of_rows * (last * of_columns[-1] - first * of_columns[0])
    return (int(inner.sum()) + int(outer.sum())) & _ALL


def _sums_of_rows(labels: NDArray[Any], steps: Words) -> Words:
    """What the pixels of each row add, by the step at each column."""
    if labels.dtype != np.uint8 or labels.shape[1] > _WIDEST:
        found: Words = _weights(labels) @ steps
        return found
    # Products of bytes in float32 are exact, and several times faster.
    limbs = np.frombuffer(steps.astype("<u8").tobytes(), np.uint8)
    limbs = limbs.reshape(-1, 8).astype(np.float32)
    changed, valid = labels == 1, labels != _IGNORED
    of_changed = _joined(changed.astype(np.float32) @ limbs)
    if valid.all():
        of_valid = np.full(len(labels), steps.sum(dtype=_WORD))
    else:
        of_valid = _joined(valid.astype(np.float32) @ limbs)
    step: Words = _WEIGHTS[1:2] - _WEIGHTS[:1]
    return of_valid * _WEIGHTS[:1] + of_changed * step


def _joined(limbs: NDArray[np.float32]) -> Words:
    """Sums of words from the sums of their bytes."""
    places = _WORD(8) * np.arange(8, dtype=_WORD)
    found: Words = (limbs.astype(_WORD) << places).sum(1, dtype=_WORD)
    return found


def _weights(labels: NDArray[Any]) -> Words:
    """The weight of each pixel: of its label, or of the bits of a soft target."""
    if labels.dtype == np.uint8:
        found: Words = _WEIGHTS[labels]
        return found
    # Adding 0 makes -0 and 0 one; 0 must weigh something, and short fractions differ in
    # their highest bits alone.
    bits = (labels.astype(np.float64) + 0.0).view(_WORD) + _ODD
    bits ^= bits >> _WORD(32)
    bits *= _ODD
    bits[labels < 0] = 0
    return bits


def _mixed(words: Words) -> Words:
    """Words that look random: the finaliser of splitmix64 (Steele et al., 2014)."""
    found = words + _ODD
    found = (found ^ (found >> _WORD(30))) * _WORD(0xBF58476D1CE4E5B9)
    found = (found ^ (found >> _WORD(27))) * _WORD(0x94D049BB133111EB)
    found ^= found >> _WORD(31)
    return found


_WEIGHTS: Final = _mixed(np.arange(256, dtype=_WORD))
_WEIGHTS[_IGNORED] = 0
