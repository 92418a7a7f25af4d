"""Masks and predictions in GPU memory: they are counted and labelled there.

Only distinct values and their counts are copied to CPU memory. Each function agrees
with its counterpart for arrays.
"""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import torch
from torch import Tensor

from cdstats.core.counts import ValueCounts
from cdstats.core.errors import DataError
from cdstats.core.label_hash import (
    ODD,
    OF_CHANGED,
    OF_UNCHANGED,
    hash_factors,
    total_hash,
)
from cdstats.core.values import MAX_DISTINCT, count_values
from cdstats.io.blocks import Block
from cdstats.io.counting import TOO_MANY
from cdstats.io.predictions import SUM_TOLERANCE
from cdstats.io.targets import label_block

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

    from cdstats.core.labels import LabelRule
    from cdstats.io.blocks import OpenImage

_CHUNK: Final = 1 << 24
"""Pixels that are hashed at a time; each needs about 30 bytes."""
_HALF: Final = 32
_SIGN: Final = 1 << 63


@contextmanager
def in_order(device: torch.device) -> Iterator[None]:
    """Wait for a GPU, and run the work of all threads in order on one stream."""
    torch.cuda.synchronize(device)
    with torch.cuda.stream(torch.cuda.default_stream(device)):
        yield


def sent(array: NDArray[Any], device: torch.device) -> Tensor:
    """Copy an array to a GPU."""
    return torch.from_numpy(array).to(device)


def on_host(tensor: Tensor) -> NDArray[Any]:
    """Copy a few numbers of a GPU tensor to an array."""
    found: NDArray[Any] = tensor.cpu().numpy()
    return found


def value_counts(pixels: Tensor, edges: tuple[float, ...] | None) -> ValueCounts | None:
    """Count each value as `count_image` does; None if values must be folded there."""
    values, counts = torch.unique(_with_one_nan(pixels), return_counts=True)
    held = _distinct(values)
    if held is None and edges is None:
        raise DataError(TOO_MANY)
    if held is None:
        return None
    last = len(held) - 1
    each = [*on_host(counts[:last]).tolist(), int(counts[last:].sum())]
    return ValueCounts(dict(zip(count_values(held), each, strict=True)))


def labels_of(image: OpenImage, pixels: Tensor, rule: LabelRule) -> Tensor | None:
    """Label each pixel as `read_labels` does; None if that has to decide."""
    values, place = torch.unique(_with_one_nan(pixels), return_inverse=True)
    held = _distinct(values)
    if held is None:
        return None
    try:
        table = label_block(image, Block(0, 0, held[None]), rule)[0]
    except DataError:
        return None  # `read_labels` reports the first such pixel
    return sent(table, pixels.device)[place.clamp(max=len(held) - 1)]


def _with_one_nan(pixels: Tensor) -> Tensor:
    """Pixels whose NaNs all have the same sign, so that they are sorted last."""
    if pixels.is_floating_point():
        return torch.where(pixels.isnan(), torch.nan, pixels)
    return pixels.byte() if pixels.dtype is torch.bool else pixels


def _distinct(values: Tensor) -> NDArray[Any] | None:
    """The sorted values with at most one NaN; None if there are too many."""
    numbers = int((values == values).sum())
    held = min(numbers + 1, len(values))
    return None if held > MAX_DISTINCT else on_host(values[:held])


def soft_targets(pixels: Tensor) -> Tensor | None:
    """Soft targets as `read_soft` gives them; None if some are invalid."""
    soft = pixels.double()
    return soft if ((soft >= 0) & (soft <= 1)).all() else None


def label_hash(labels: Tensor, size: tuple[int, int]) -> int:
    """`core.label_hash.label_hash` of a whole mask.

    It uses signed words, whose products have the same bits as those of unsigned words.
    """
    parts = hash_factors(size)
    of_rows, steps = (sent(part.view(np.int64), labels.device) for part in parts)
    total, rows = 0, max(_CHUNK // max(size[0], 1), 1)
    for top in range(0, len(labels), rows):
        sums = (_weights(labels[top : top + rows]) * steps).sum(1)
        total += int((sums * of_rows[top : top + rows]).sum())
    return total_hash([total]) or 0


def _weights(labels: Tensor) -> Tensor:
    """The weight of each pixel in the hash."""
    if not labels.is_floating_point():
        unchanged = torch.where(labels == 0, _signed(OF_UNCHANGED), 0)
        return torch.where(labels == 1, _signed(OF_CHANGED), unchanged)
    bits = (labels + 0.0).view(torch.int64) + _signed(int(ODD))
    bits = (bits ^ (bits >> _HALF & (1 << _HALF) - 1)) * _signed(int(ODD))
    return torch.where(labels < 0, 0, bits)


def _signed(word: int) -> int:
    """The signed number with the same 64 bits."""
    return (word ^ _SIGN) - _SIGN


def one_channel(
    planes: Tensor, *, logits: bool, scale: float | None = None
) -> tuple[Tensor, Tensor | None]:
    """The change scores of one or two floating channels, ``(..., C, height, width)``.

    The second result marks pixels whose two probabilities do not add up to 1 or
    ``scale``.
    """
    first, last = planes[..., 0, :, :], planes[..., -1, :, :]
    if planes.shape[-3] == 1:
        return last, None
    if logits:
        wide = torch.promote_types(planes.dtype, torch.float32)
        return last.to(wide) - first.to(wide), None
    full = scale or 1
    # Not "greater": a sum that is no number does not add up either.
    return last, ~((first.float() + last.float() - full).abs() <= SUM_TOLERANCE * full)
