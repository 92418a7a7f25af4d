"""Sums and counts on a GPU, for tiles sent in batches and for tensors already there."""

from __future__ import annotations

from collections import deque
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import torch

from cdstats.core.histogram import LevelCounts
from cdstats.io import resident
from cdstats.io.npy import numpy_type
from cdstats.io.resident import on_host
from cdstats.score.batching import Accumulated, TileBatches, native
from cdstats.score.kernel import CHANGED, IGNORED, TILE, UNCHANGED, TileSums
from cdstats.score.kernel.tensors import tensor_sums
from cdstats.score.levels import (
    BITS,
    CODES,
    HALF,
    LOW,
    ROUNDINGS,
    Numbers,
    ranks_of_codes,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray
    from torch import Tensor

    from cdstats.score.kernel.tile import TermFunction

    Tile = tuple[int, NDArray[Any], NDArray[Any]]

_BYTES_OF_PIXEL: Final = 64
"""Largest device memory per pixel during computation, in bytes."""
_MOST_ROWS: Final = 256
"""Largest number of tiles per batch; small batches overlap with reading."""
_IN_FLIGHT: Final = 2
"""Number of batches that the device may be computing while the next is filled."""


class DeviceBatches(TileBatches):
    """Collects tiles into batches and sums them on a device.

    Tiles are collected in pinned memory and sent when the batch is full, and sums are
    fetched some batches later, so that reading, copying and computing overlap. Padding
    of tiles is ignored.
    """

    def __init__(
        self,
        device: str,
        rows: int | None,
        threshold: float,
        logits: bool,
        terms: Sequence[TermFunction],
    ) -> None:
        super().__init__(threshold, logits, terms)
        self._device = torch.device(device)
        if rows is None and self._device.type == "cuda":
            # A third of the free memory.
            free, _ = torch.cuda.mem_get_info(self._device)
            rows = max(1, min(_MOST_ROWS, free // 3 // (TILE * _BYTES_OF_PIXEL)))
        self._rows = rows or 64
        self._waiting: list[Tile] = []
        self._flying: deque[tuple[list[int], TileSums]] = deque()

    def flush(self) -> None:
        """Compute all waiting tiles; every image must be complete."""
        super().flush()
        self._send()
        self._fetch(0)

    def _compute(self, image: int, flat: NDArray[Any], labels: NDArray[Any]) -> None:
        for at in range(0, flat.size, TILE):
            self._waiting.append((image, flat[at : at + TILE], labels[at : at + TILE]))
            if len(self._waiting) >= self._rows:
                self._send()

    def _send(self) -> None:
        waiting, self._waiting = self._waiting, []
        batches: dict[object, list[Tile]] = {}
        for tile in waiting:
            batches.setdefault((tile[1].dtype, tile[2].dtype), []).append(tile)
        for tiles in batches.values():
            first, labels = as_tensor(tiles[0][1]), as_tensor(tiles[0][2])
            pinned, shape = self._device.type == "cuda", (len(tiles), TILE)
            scores = torch.zeros(shape, dtype=first.dtype, pin_memory=pinned)
            fill = IGNORED if labels.dtype is torch.uint8 else -1
            target = torch.full(shape, fill, dtype=labels.dtype, pin_memory=pinned)
            for row, (_, part, label) in enumerate(tiles):
                scores[row, : part.size] = as_tensor(part)
                target[row, : label.size] = as_tensor(label)
            self._on_device([image for image, _, _ in tiles], scores, target)

    def _on_device(self, images: list[int], scores: Tensor, target: Tensor) -> None:
        """Start a batch on the device; it is halved if memory is insufficient."""
        try:
            moved = scores.to(self._device, non_blocking=True)
            labels = target.to(self._device, non_blocking=True)
            self._flying.append((images, tensor_sums(moved, labels, **self._options)))
        except torch.OutOfMemoryError:
            if len(images) == 1 and not self._flying:
                raise
            self._fetch(0)
            half = max(len(images) // 2, 1)
            self._rows = half
            torch.cuda.empty_cache()
            for part in (slice(0, half), slice(half, None)):
                if images[part]:
                    self._on_device(images[part], scores[part], target[part])
        self._fetch(_IN_FLIGHT)

    def _fetch(self, left: int) -> None:
        """Fetch the sums of the oldest batches until ``left`` are in flight."""
        while len(self._flying) > left:
            images, found = self._flying.popleft()
            sums, terms = (x.cpu().double().numpy() for x in (found.sums, found.terms))
            self._take(images, TileSums(sums, found.counts.cpu().numpy(), terms))


def as_tensor(array: NDArray[Any]) -> Tensor:
    """The array as a tensor, without a copy if possible."""
    own = native(array)
    if not (own.flags.writeable and own.flags.c_contiguous):
        own = own.copy()
    return torch.from_numpy(own)


class ResidentBatches(TileBatches):
    """Sums images in GPU memory, one at a time, and copies their sums to the CPU."""

    def add(self, image: int, scores: Tensor, target: Tensor) -> None:  # type: ignore[override]
        """Add an image."""
        flat, labels = scores.flatten(), target.flatten()
        held = self.images.setdefault(image, Accumulated())
        whole = len(flat) // TILE * TILE
        for part in (slice(whole), slice(whole, None)):
            if width := min(len(flat[part]), TILE):
                tiles = (one[part].view(-1, width) for one in (flat, labels))
                found = tensor_sums(*tiles, **self._options)
                each = found.sums, found.counts, found.terms
                held.add(*(on_host(one.sum(0)) for one in each))


def _divided(scores: Tensor, scale: float) -> Tensor:
    """`levels.divided`; dividing by a Python number would multiply by its inverse."""
    wide = scores if scores.dtype is torch.float64 else scores.float()
    return wide / wide.new_full((), scale)


def _stored(values: Tensor, labels: Tensor, _: bool) -> LevelCounts:
    """`levels.count_stored`."""
    flat, label = values.flatten(), labels.flatten()
    # As integers, equal NaNs are equal.
    words = {torch.bool: torch.uint8, torch.float16: torch.int16}
    flat = flat.view(words.get(flat.dtype, flat.dtype))
    parts = []
    for one in (CHANGED, UNCHANGED):
        both = torch.unique(flat[label == one], return_counts=True)
        held, pixels = map(on_host, both)
        held = held.view(np.float16) if values.dtype is torch.float16 else held
        none = 0 * pixels
        pair = (pixels, none) if one == CHANGED else (none, pixels)
        parts.append(LevelCounts.grouped(held, *pair))
    return LevelCounts.joined(parts)


def levels_on_device(
    scores: Tensor, labels: Tensor, bits: NDArray[np.uint64], *, logits: bool
) -> LevelCounts:
    """Count the levels of scores by label; see `levels.rounded_down`."""
    ranks = _ranks(scores, logits)
    codes = _codes_of(ranks)
    firsts = ranks_of_codes(np.arange(CODES))
    shifts, least = (
        resident.sent(one.astype(int), ranks.device)[codes] for one in (bits, firsts)
    )
    found = _stored(torch.maximum(ranks >> shifts << shifts, least), labels, False)
    return replace(found, values=found.values.astype(np.uint64))


def _ranks(scores: Tensor, logits: bool) -> Tensor:
    """`levels.ranks_of`, as signed integers, which are large enough."""
    wide = scores.double()
    if logits:
        upper = wide >= 0
        far = (-wide.abs()).exp()
        rest = far / (1 + far)
    else:
        upper = wide >= 0.5
        rest = torch.where(upper, 1 - wide, wide.abs())
    bits = rest.view(torch.int64)
    ranks = torch.where(upper, 2 * int(HALF) - bits, bits)
    return ranks - ranks.clamp(0, int(ROUNDINGS)) if logits else ranks


def _codes_of(ranks: Tensor) -> Tensor:
    """The same as `levels.codes_of`, for tensors."""
    return ((ranks >> int(BITS)) - int(LOW)).clamp(0, CODES - 1)


ON_DEVICE: Final = Numbers(
    lambda tensor: tensor,
    numpy_type,
    lambda tensor, dtype: tensor.to(getattr(torch, dtype)),
    lambda tensor: int(tensor.count_nonzero()),
    _divided,
    _stored,
    lambda scores, logits: _codes_of(_ranks(scores, logits)),
    on_host,
)
