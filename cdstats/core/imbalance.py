"""Ratios, fractions and weights that follow from two pixel counts.

Every function takes integers and returns None where the quantity is undefined.
"""

from __future__ import annotations


def change_ratio(changed: int, unchanged: int) -> float | None:
    """Changed / unchanged, DASNet's ratio; undefined without an unchanged pixel.

    Example:
        >>> round(change_ratio(134_068_750, 914_507_250), 3)
        0.147

    References:
        Chen et al., "DASNet", 2020 (https://arxiv.org/abs/2003.03608), dataset table.
    """
    return changed / unchanged if unchanged else None


def change_fraction(changed: int, unchanged: int) -> float | None:
    """Changed / (changed + unchanged), in [0, 1]; undefined without a valid pixel."""
    valid = changed + unchanged
    return changed / valid if valid else None


def imbalance_ratio(changed: int, unchanged: int) -> float | None:
    """Majority / minority class, at least 1; undefined when a class is absent."""
    minority = min(changed, unchanged)
    return max(changed, unchanged) / minority if minority else None


def beta(changed: int, unchanged: int) -> float | None:
    """Weight of the changed class in balanced cross-entropy: unchanged / valid.

    References:
        Xie and Tu, "Holistically-Nested Edge Detection", 2015, eq. 2
        (https://arxiv.org/abs/1504.06375).
    """
    valid = changed + unchanged
    return unchanged / valid if valid else None


def pos_weight(changed: int, unchanged: int) -> float | None:
    """Unchanged / changed, torch's ``pos_weight``; undefined without change."""
    return unchanged / changed if changed else None
