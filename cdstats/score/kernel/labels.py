"""The short way on a processor: labels beside probabilities, one logarithm a pixel.

What a pixel adds to the sums are products of two classes and five features, so one
product of matrices for each short run gives all of them.
"""

from __future__ import annotations

import threading
from typing import Any, Final

import torch
from torch import Tensor

from cdstats.core.sums import BINS
from cdstats.score.kernel.tile import (
    CHANGED,
    LOG_FLOOR,
    RUN,
    UNCHANGED,
    Options,
    TileSums,
    binned,
    bins_of,
    saturated_wrong,
    term_sums,
    total,
    working_type,
)

_TINY: Final = 1e-43
"""Below this a logarithm may pass the floor."""
_FEW_DIGITS: Final = 2
"""Squares below this part of their pixels do not follow from others in all digits."""
_NEITHER: Final = 0.5
"""What stands where nothing is: it is not saturated, which would take long to count."""


class _Scratch:
    """Matrices to compute in, kept by each thread: fresh memory is slow.

    Attributes:
        changed: 1 on changed pixels, else 0.
        unchanged: 1 on unchanged pixels, else 0.
        probs: Probabilities, 0.5 on ignored pixels.
        misses: Probability less label: what the wrong class was given, with a sign.
        logs: Logarithms of the probability of the right class.
        squares: Squared misses.
        hits: 1 where a pixel is predicted changed, else 0.
        right: Probability of the right class; then -2p on changed pixels, and on
            unchanged ones what rounding took from it.
    """

    def __init__(self, pixels: int, dtype: torch.dtype) -> None:
        # Whatever mode or default device the caller is in, this outlives it.
        with torch.inference_mode(mode=False), torch.device("cpu"):
            self._classes = torch.zeros((2, pixels), dtype=dtype)
            self._features = torch.zeros((5, pixels), dtype=dtype)
            self.probs = torch.zeros(pixels, dtype=dtype)
            self.one = torch.ones((), dtype=dtype)
        self.changed, self.unchanged = self._classes
        self.misses, self.logs, self.squares, self.hits, self.right = self._features
        self._left = self._classes.view(2, -1, RUN).transpose(0, 1)
        self._right = self._features.view(5, -1, RUN).permute(1, 2, 0)

    def products(self, rows: int) -> tuple[Tensor, Tensor]:
        """Each feature summed over each class, for each row; float64, ``(R, 2, 5)``.

        A product of matrices for each short run reads every feature once. The second
        result holds the misses of each row by bin, ``(R, 15)``.
        """
        found = torch.bmm(self._left, self._right).double()
        misses = self._binned_misses(rows, found[:, :, 0].sum(1))
        return found.view(rows, -1, 2, 5).sum(1), misses

    def _binned_misses(self, rows: int, sums: Tensor) -> Tensor:
        """The misses of each row by bin, from the sums of short runs.

        Most runs lie in one bin; the pixels of others are looked at one by one.
        """
        probs = self.probs.view(-1, RUN)
        # Faster than both at once, in torch.aminmax.
        low, high = bins_of(probs.amin(1)), bins_of(probs.amax(1))
        mixed = (low != high).nonzero().flatten()
        row = torch.arange(len(low), device=low.device) // (len(low) // rows)
        sums[mixed] = 0
        found = torch.bincount(row * BINS + low, sums, rows * BINS).view(rows, BINS)
        if len(mixed):
            valid = (
                self.changed.view(-1, RUN)[mixed] + self.unchanged.view(-1, RUN)[mixed]
            )
            misses = self.misses.view(-1, RUN)[mixed] * valid
            found.index_add_(0, row[mixed], binned(probs[mixed], misses))
        return found


_LOCAL: Final = threading.local()


def _scratch(pixels: int, dtype: torch.dtype) -> _Scratch:
    held: dict[Any, _Scratch] = _LOCAL.__dict__
    key = (pixels, dtype)
    if key not in held:
        held.clear()
        held[key] = _Scratch(pixels, dtype)
    return held[key]


def label_sums(scores: Tensor, target: Tensor, options: Options) -> TileSums | None:
    """The sums of probabilities and labels, with one logarithm for a pixel.

    The logarithm is of p or of ``1 - p``. What rounding ``1 - p`` loses is summed and
    added back, so that very small probabilities keep their loss: ``ln(q + d)`` is
    ``ln q + d`` as far as a d of one rounding matters.

    Returns:
        None where a valid score is no probability.
    """
    rows, width = scores.shape
    dtype = working_type(scores.dtype, scores.device)
    room = _scratch(rows * -(-width // RUN) * RUN, dtype)
    _fill(room, scores.reshape(-1), target.reshape(-1))
    probs, unchanged = room.probs, room.unchanged
    low, high = torch.aminmax(probs)
    if not (low >= 0 and high <= 1):
        return None
    torch.sub(unchanged, probs, out=room.right).abs_()
    torch.log(room.right, out=room.logs)
    saturated = bool(low < _TINY or high == 1)
    if saturated:
        room.logs.clamp_(min=LOG_FLOOR)
    torch.sub(probs, room.changed, out=room.misses)
    torch.mul(room.misses, room.misses, out=room.squares)
    torch.ge(probs, options.cut(dtype), out=room.hits)
    torch.sub(unchanged, room.right, out=room.right).sub_(probs)
    first, shape = slice(0, rows * width), (rows, width)
    pixels = (
        probs[first].view(shape),
        room.changed[first].view(shape),
        unchanged[first].view(shape),
    )
    return _gather(room.products(rows), pixels, options, saturated)


def _fill(room: _Scratch, scores: Tensor, target: Tensor) -> None:
    """Put pixels where they are computed; what pads them has no class."""
    pixels = scores.numel()
    room.probs[:pixels].copy_(scores)
    room.changed[:pixels].copy_(target)
    if int(target.max()) <= CHANGED:
        torch.sub(room.one, room.changed, out=room.unchanged)
    else:
        _leave_out_ignored(room, target)
    room.probs[pixels:] = _NEITHER
    for padded in (room.changed, room.unchanged):
        padded[pixels:] = 0


def _leave_out_ignored(room: _Scratch, target: Tensor) -> None:
    """Give ignored pixels no class and the probability 0.5, whatever they hold."""
    pixels = slice(0, target.numel())
    room.changed[pixels].copy_(target == CHANGED)
    room.unchanged[pixels].copy_(target == UNCHANGED)
    # masked_fill, not a product: NaN under an ignored pixel times 0 is still NaN.
    room.probs[pixels].masked_fill_(target > CHANGED, _NEITHER)


def _gather(
    summed: tuple[Tensor, Tensor],
    pixels: tuple[Tensor, Tensor, Tensor],
    options: Options,
    saturated: bool,
) -> TileSums:
    """The columns of `TileSums`, from the products of features and classes."""
    products, gaps = summed
    # Fewer pixels than a float32 counts: exact.
    n1, n0 = (one.sum(1).round().long() for one in pixels[1:])
    tp, fp = products[:, :, 3].round().long().unbind(1)
    none = torch.zeros_like(n1)
    wrong = saturated_wrong(*pixels) if saturated else none
    counts = (n1 + n0, tp, fp, n1 - tp, n0 - fp, wrong, none, none)
    missed, missed_sq = -products[:, 0, 0], products[:, 0, 2]
    sums = (
        *(-products[:, 0, 1], -products[:, 1, 1] - products[:, 1, 4]),
        *(missed, missed_sq),
        *(products[:, 0, 4] / -2, _squares(n1 - 2 * missed + missed_sq, n1, pixels)),
        *(products[:, 1, 0], products[:, 1, 2]),
        *(n1.double(), n1.double()),
    )
    terms = term_sums(*pixels, options.terms)
    columns = torch.cat([torch.stack(sums, dim=1), gaps], dim=1)
    return TileSums(columns, torch.stack(counts, dim=1), terms)


def _squares(
    derived: Tensor, changed: Tensor, pixels: tuple[Tensor, Tensor, Tensor]
) -> Tensor:
    """Σ y p² of each row: as it follows from the misses, unless p is small.

    Where it is, the difference of two large sums has few digits, and it is summed.
    """
    for row in (derived < changed / _FEW_DIGITS).nonzero().flatten().tolist():
        probs, positive, _ = (one[row : row + 1] for one in pixels)
        derived[row : row + 1] = total(probs * probs * positive)
    return derived
