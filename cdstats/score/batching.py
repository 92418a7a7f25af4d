"""Tiles of many images in one batch: filled, computed, and added up per image."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import torch

from cdstats.score.kernel import IGNORED, TILE, TileSums, tile_sums
from cdstats.score.states import Accumulated

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray
    from torch import Tensor

    from cdstats.score.kernel.tile import TermFunction

_BYTES_OF_PIXEL: Final = 64
"""Memory that a pixel takes on a device while it is computed, at most."""
_MOST_ROWS: Final = 256
"""Tiles of a batch at most: small ones overlap with reading the next."""
_IN_FLIGHT: Final = 2
"""Batches that a device may still be working on while the next one is filled."""


class TileBatches:
    """Collects pixels into batches of tiles and sums them on a device.

    On a processor a block is summed where it lies. For a device, tiles are gathered in
    pinned memory and sent when the batch is full, and their sums are fetched some
    batches later, so that reading, copying and computing overlap; a tile never holds
    two images, and what fills it up is ignored.

    Args:
        device: Where to compute.
        rows: Tiles of a batch; None for what the device's memory takes.
        threshold: A pixel is predicted changed when its probability is at least this.
        logits: Whether the scores are logits.
        terms: Functions of probabilities and class to be summed too.
        compiled: Whether a processor sums in compiled loops, where they can.
    """

    def __init__(
        self,
        device: torch.device,
        rows: int | None,
        threshold: float,
        logits: bool,
        terms: Sequence[TermFunction],
        *,
        compiled: bool = False,
    ) -> None:
        self._device = device
        self._rows = rows or rows_that_fit(device)
        self._options = {
            "threshold": threshold,
            "logits": logits,
            "terms": terms,
            "compiled": compiled,
        }
        self._waiting: list[tuple[int, NDArray[Any], NDArray[Any]]] = []
        self._partial: dict[int, tuple[NDArray[Any], NDArray[Any]]] = {}
        self._flying: deque[tuple[list[int], TileSums]] = deque()
        self.images: dict[int, Accumulated] = {}

    def add(self, image: int, scores: NDArray[Any], target: NDArray[Any]) -> None:
        """Add pixels of an image: scores and, of the same length, targets."""
        flat, labels = scores.reshape(-1), target.reshape(-1)
        self.images.setdefault(image, Accumulated())
        if image in self._partial:
            before = self._partial.pop(image)
            flat = np.concatenate([before[0], flat])
            labels = np.concatenate([before[1], labels])
        whole = flat.size // TILE * TILE
        if whole < flat.size:
            self._partial[image] = flat[whole:], labels[whole:]
        self._compute_tiles(image, flat[:whole], labels[:whole])

    def end(self, image: int) -> None:
        """Compute the last tile of an image, which may not be full."""
        if image in self._partial:
            self._compute_tiles(image, *self._partial.pop(image))

    def _compute_tiles(
        self, image: int, flat: NDArray[Any], labels: NDArray[Any]
    ) -> None:
        """Sum tiles where they lie, or put them into a batch for a device."""
        if self._device.type == "cpu":
            if flat.size:
                width = min(TILE, flat.size)
                found = self._sums(
                    as_tensor(flat).view(-1, width), as_tensor(labels).view(-1, width)
                )
                self._take([image] * (flat.size // width), found)
            return
        for at in range(0, flat.size, TILE):
            self._waiting.append((image, flat[at : at + TILE], labels[at : at + TILE]))
            if len(self._waiting) >= self._rows:
                self._send()

    def flush(self) -> None:
        """Compute what waits; every image is complete."""
        for image in list(self._partial):
            self.end(image)
        self._send()
        self._fetch(0)

    def _send(self) -> None:
        """Compute the tiles that wait for a device."""
        waiting, self._waiting = self._waiting, []
        while waiting:
            kind, soft = waiting[0][1].dtype, waiting[0][2].dtype
            same = [w for w in waiting if (w[1].dtype, w[2].dtype) == (kind, soft)]
            waiting = [w for w in waiting if (w[1].dtype, w[2].dtype) != (kind, soft)]
            scores, target = self._gather(same)
            self._on_device([image for image, _, _ in same], scores, target)

    def _gather(
        self, tiles: Sequence[tuple[int, NDArray[Any], NDArray[Any]]]
    ) -> tuple[Tensor, Tensor]:
        """Tiles as matrices in pinned memory, filled up with ignored pixels."""
        first, labels = as_tensor(tiles[0][1]), as_tensor(tiles[0][2])
        pinned = self._device.type == "cuda"
        shape = (len(tiles), TILE)
        scores = torch.zeros(shape, dtype=first.dtype, pin_memory=pinned)
        fill = IGNORED if labels.dtype is torch.uint8 else -1
        target = torch.full(shape, fill, dtype=labels.dtype, pin_memory=pinned)
        for row, (_, part, label) in enumerate(tiles):
            scores[row, : part.size] = as_tensor(part)
            target[row, : label.size] = as_tensor(label)
        return scores, target

    def _on_device(self, images: list[int], scores: Tensor, target: Tensor) -> None:
        """Start a batch on the device; in halves where the memory does not suffice."""
        try:
            moved = scores.to(self._device, non_blocking=True)
            labels = target.to(self._device, non_blocking=True)
            self._flying.append((images, self._sums(moved, labels)))
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
        """Take the sums of the oldest batches until some are left in flight."""
        while len(self._flying) > left:
            self._take(*self._flying.popleft())

    def _sums(self, scores: Tensor, target: Tensor) -> TileSums:
        return tile_sums(scores, target, **self._options)  # type: ignore[arg-type]

    def _take(self, images: list[int], found: TileSums) -> None:
        """Add tiles to their images, in order: the result is always the same."""
        for image, sums, counts, terms in zip(images, *_to_host(found), strict=True):
            self.images[image].add(sums, counts, terms)


def rows_that_fit(device: torch.device) -> int:
    """Tiles that a third of the free memory of a device takes."""
    if device.type != "cuda":
        return 64
    free, _ = torch.cuda.mem_get_info(device)
    return max(1, min(_MOST_ROWS, free // 3 // (TILE * _BYTES_OF_PIXEL)))


def as_tensor(array: NDArray[Any]) -> Tensor:
    """An array as a tensor without a copy where that is possible."""
    own = native(array)
    if not (own.flags.writeable and own.flags.c_contiguous):
        own = own.copy()
    return torch.from_numpy(own)


def native(array: NDArray[Any]) -> NDArray[Any]:
    """An array in the byte order of this machine, without a copy if it is."""
    return array.astype(array.dtype.newbyteorder("="), copy=False)


def _to_host(
    found: TileSums,
) -> tuple[NDArray[np.float64], NDArray[np.int64], NDArray[np.float64]]:
    return (
        found.sums.cpu().double().numpy(),
        found.counts.cpu().numpy(),
        found.terms.cpu().double().numpy(),
    )
