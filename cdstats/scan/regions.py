"""Connected regions of changed pixels: how many, and how large."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

CONNECTIVITY: Final = 8
"""Neighbours of a pixel: 8 with the diagonal ones, 4 without."""
_STRIP_PIXELS: Final = 1 << 24


def region_sizes(
    changed: NDArray[np.bool_],
    connectivity: int = CONNECTIVITY,
    *,
    strip_pixels: int = _STRIP_PIXELS,
) -> NDArray[np.int64]:
    """Pixels of each connected region, in no order.

    Args:
        changed: Which pixels are changed; bool, ``(height, width)``.
        connectivity: 8 or 4 neighbours.
        strip_pixels: Pixels labelled at once; regions that cross strips are joined.

    Example:
        >>> diagonal = np.eye(3, dtype=bool)
        >>> region_sizes(diagonal).tolist(), region_sizes(diagonal, 4).tolist()
        ([3], [1, 1, 1])
    """
    from scipy import ndimage

    if not changed.any():
        return np.zeros(0, dtype=np.int64)
    height, width = changed.shape
    rows = max(1, strip_pixels // width)
    structure = ndimage.generate_binary_structure(2, 2 if connectivity == 8 else 1)
    sizes: list[NDArray[np.int64]] = []
    seams: list[NDArray[np.int64]] = []
    above: NDArray[Any] | None = None
    first = 0
    for row in range(0, height, rows):
        labels, count = ndimage.label(changed[row : row + rows], structure)
        sizes.append(np.bincount(labels.reshape(-1), minlength=count + 1)[1:])
        top = np.where(labels[0] > 0, labels[0] + first, 0).astype(np.int64)
        if above is not None:
            seams.append(_seam(above, top, connectivity))
        above = np.where(labels[-1] > 0, labels[-1] + first, 0).astype(np.int64)
        first += count
    return _joined(np.concatenate(sizes), seams)


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
    """Sizes of the regions whose parts touch."""
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
    """The smallest size that a share of the regions does not exceed.

    Args:
        sizes: Regions of each size, at least one.
        share: A share in [0, 1].

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
