"""The one pass over the pixels: which way each tile takes."""

from __future__ import annotations

from contextlib import contextmanager
from functools import lru_cache
from typing import TYPE_CHECKING, Final

import torch
from torch import Tensor

from cdstats.score.kernel.general import any_sums
from cdstats.score.kernel.labels import label_sums
from cdstats.score.kernel.tile import (
    COUNTS,
    FUSED_TYPES,
    TILE,
    Options,
    TileSums,
    together,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from cdstats.score.kernel.tile import TermFunction

    Pass = Callable[[Tensor, Tensor, Options], TileSums]

_DEVICE_PIXELS: Final = TILE << 8
"""Pixels computed together on a device."""
_EXACT: Final = "highest"
_OUTSIDE: Final = COUNTS.index("outside")
_ROWS: Final = 8
"""Tiles computed together on a processor."""


def tile_sums(
    scores: Tensor,
    target: Tensor,
    *,
    threshold: float = 0.5,
    logits: bool = False,
    terms: Sequence[TermFunction] = (),
    compiled: bool = False,
) -> TileSums:
    """Sum tiles of scores and labels, in one pass.

    Args:
        scores: Probabilities of change, or scores before the sigmoid; floating,
            ``(T, n)``.
        target: 1 changed, 0 unchanged, 255 ignored, uint8; or soft targets in [0, 1],
            floating, negative where ignored; ``(T, n)``, on the device of ``scores``.
        threshold: A pixel is predicted changed when its probability is at least this.
        logits: Whether ``scores`` are logits.
        terms: Functions of probabilities and class (True for changed) whose values
            are to be summed over each class.
        compiled: Whether float32 probabilities beside labels are summed in compiled
            loops on a processor, in float64; needs Numba. It pays for many pixels.

    Returns:
        The sums of each tile, on the device of ``scores``.

    Raises:
        ValueError: If the shapes differ or are no matrices, or the target is neither
            uint8 nor floating.

    Example:
        >>> scores = torch.tensor([[0.9, 0.2, 0.4, 0.1]], dtype=torch.float64)
        >>> target = torch.tensor([[1, 0, 1, 255]], dtype=torch.uint8)
        >>> found = tile_sums(scores, target)
        >>> [round(x, 6) for x in found.sums[0, :2].tolist()]
        [1.021651, 0.223144]

    References:
        The clamp at -100: ``torch.nn.BCELoss``. Weights of any kind come later: see
        Xie and Tu, 2015, eq. 2 (https://arxiv.org/abs/1504.06375) for the two sums.
    """
    if scores.shape != target.shape or scores.ndim != 2:
        raise ValueError(f"scores {scores.shape} and target {target.shape} differ")
    if target.dtype is not torch.uint8 and not target.is_floating_point():
        raise ValueError(f"target is {target.dtype}; expected uint8 or floating")
    options = Options(threshold, logits, tuple(terms), compiled)
    with _in_full_precision(scores.device):
        parts = [
            _columns(scores[:, at : at + TILE], target[:, at : at + TILE], options)
            for at in range(0, max(scores.shape[1], 1), TILE)
        ]
    return TileSums(
        torch.stack([part.sums for part in parts]).sum(0),
        torch.stack([part.counts for part in parts]).sum(0),
        torch.stack([part.terms for part in parts]).sum(0),
    )


@contextmanager
def _in_full_precision(device: torch.device) -> Iterator[None]:
    """Keep the caller's autocast and fast products of matrices out of the sums."""
    precision = torch.get_float32_matmul_precision()
    try:
        if precision != _EXACT:
            torch.set_float32_matmul_precision(_EXACT)
        with torch.autocast(device.type, enabled=False):
            yield
    finally:
        if precision != _EXACT:
            torch.set_float32_matmul_precision(precision)


def _columns(scores: Tensor, target: Tensor, options: Options) -> TileSums:
    """Sum rows of at most a tile: a few at once on a processor, more on a device."""
    step, sums = _ROWS, _rows
    if scores.device.type == "cpu":
        if _fits_loops(scores, target, options):
            return _looped(scores, target, options)
    else:
        fused = _fused_pass(scores, target, options)
        if fused is not None:
            return fused(scores.contiguous(), target.contiguous(), options)
        step, sums = max(_DEVICE_PIXELS // max(scores.shape[1], 1), 1), any_sums
    parts = [
        sums(scores[at : at + step], target[at : at + step], options)
        for at in range(0, max(len(scores), 1), step)
    ]
    return together(parts)


def _fits_loops(scores: Tensor, target: Tensor, options: Options) -> bool:
    """Whether the compiled loops sum what was asked for."""
    plain = _is_plain(target, options) and not options.terms
    return options.compiled and plain and scores.dtype is torch.float32


def _looped(scores: Tensor, target: Tensor, options: Options) -> TileSums:
    """Sum rows in compiled loops, and those that hold no probabilities in any way."""
    from cdstats.score.kernel.loops import loop_sums

    found = loop_sums(scores, target, options)
    for row in found.counts[:, _OUTSIDE].nonzero().flatten().tolist():
        one = slice(row, row + 1)
        other = any_sums(scores[one], target[one], options)
        found.sums[one], found.counts[one] = other.sums, other.counts
    return found


def _rows(scores: Tensor, target: Tensor, options: Options) -> TileSums:
    """The short way for rows of labels beside probabilities, any other for the rest."""
    # Rows of another width would meet the vector units of a processor elsewhere.
    aligned = len(scores) == 1 or scores.shape[1] == TILE
    if _is_plain(target, options) and aligned and scores.numel():
        found = label_sums(scores, target, options)
        if found is not None:
            return found
    if len(scores) <= 1:
        return any_sums(scores, target, options)
    # One row that is out of the ordinary changes nothing for the others.
    rows = zip(scores.unsqueeze(1), target.unsqueeze(1), strict=True)
    return together([_rows(p, y, options) for p, y in rows])


def _is_plain(target: Tensor, options: Options) -> bool:
    """Whether labels lie beside probabilities."""
    return not options.logits and target.dtype is torch.uint8


def _fused_pass(scores: Tensor, target: Tensor, options: Options) -> Pass | None:
    """The pass that Triton compiles, where it can and the request is plain."""
    if scores.device.type != "cuda" or options.terms or not scores.numel():
        return None
    if not _is_plain(target, options) or scores.dtype not in FUSED_TYPES:
        return None
    return _compiled(scores.device)


@lru_cache
def _compiled(device: torch.device) -> Pass | None:
    """The fused pass of a device, once it has given the sums of one pixel; or None.

    Triton is not there on every platform, and needs a C compiler on first use.
    """
    try:
        from cdstats.score.kernel.fused import fused_sums

        pixel = torch.full((1, 1), 0.5, device=device)
        label = torch.ones((1, 1), dtype=torch.uint8, device=device)
        found = fused_sums(pixel, label, Options(0.5, logits=False, terms=()))
        works = bool(found.counts[0, 1] == 1)
    except Exception:  # noqa: BLE001 - a compiler fails with errors of any kind
        return None
    return fused_sums if works else None
