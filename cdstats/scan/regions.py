"""Number and sizes of the connected regions of changed pixels."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

STRIP_PIXELS: Final = 1 << 22
"""Pixels that are labelled in one call."""


class Regions:
    """Counts connected regions in strips of rows, from top to bottom.

    Connectivity is 4, or 8 with diagonal neighbours.
    """

    def __init__(self, connectivity: int) -> None:
        self._connectivity = connectivity
        self._sizes: list[NDArray[np.int64]] = []
        self._seams: list[NDArray[np.int64]] = []
        self._above: NDArray[np.int64] | None = None
        self._found = 0

    def add(self, changed: NDArray[np.bool_]) -> None:
        """Add the next strip; bool, ``(rows, width)``."""
        if not changed.any():
            self._above = None
            return
        from scipy import ndimage

        structure = ndimage.generate_binary_structure(2, 1 + (self._connectivity == 8))
        labels, count = ndimage.label(changed, structure)
        self._sizes.append(np.bincount(labels.reshape(-1), minlength=count + 1)[1:])
        first, last = (
            np.where(row > 0, row + self._found, 0).astype(np.int64)
            for row in (labels[0], labels[-1])
        )
        if self._above is not None:
            self._seams.append(_seam(self._above, first, self._connectivity))
        self._above = last
        self._found += count

    @property
    def sizes(self) -> NDArray[np.int64]:
        """Pixels of each region, in no particular order."""
        if not self._sizes:
            return np.zeros(0, dtype=np.int64)
        return _joined(np.concatenate(self._sizes), self._seams)


def _seam(
    above: NDArray[np.int64], below: NDArray[np.int64], connectivity: int
) -> NDArray[np.int64]:
    """Pairs of regions that touch across two rows; ``(pairs, 2)``."""
    pairs = [np.stack([above, below])]
    if connectivity == 8:
        pairs.append(np.stack([above[1:], below[:-1]]))
        pairs.append(np.stack([above[:-1], below[1:]]))
    touching = np.concatenate(pairs, axis=1)
    return np.unique(touching[:, (touching > 0).all(axis=0)].T, axis=0)


def _joined(
    sizes: NDArray[np.int64], seams: list[NDArray[np.int64]]
) -> NDArray[np.int64]:
    """Sizes of the regions after joining the parts that touch."""
    if not any(seam.size for seam in seams):
        return sizes
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    pairs = np.concatenate(seams) - 1
    ones = np.ones(len(pairs), dtype=np.int8)
    graph = coo_array((ones, (pairs[:, 0], pairs[:, 1])), shape=(len(sizes),) * 2)
    count, place = connected_components(graph, directed=False)
    total = np.zeros(count, dtype=np.int64)
    np.add.at(total, place, sizes)
    return total


def quantile(sizes: Mapping[int, int], share: float) -> int:
    """The smallest size such that this share of the regions is at most as large.

    Example:
        >>> quantile({1: 3, 10: 1}, 0.5), quantile({1: 3, 10: 1}, 1)
        (1, 10)
    """
    needed = share * sum(sizes.values())
    ordered = sorted(sizes)
    seen = 0
    for size in ordered:
        seen += sizes[size]
        if seen >= needed:
            return size
    return ordered[-1]
