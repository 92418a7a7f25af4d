"""The masks of a file as text, for a cache."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from cdstats.core.counted import Counted
from cdstats.core.counts import MaskCounts, ValueCounts

if TYPE_CHECKING:
    from collections.abc import Sequence


def to_text(counted: Sequence[Counted]) -> str:
    """The masks of a file as text that `from_text` reads back, every number exact.

    Example:
        >>> mask = MaskCounts(2, 1, ValueCounts({0: 1, "nan": 1}), format="TIFF")
        >>> from_text(to_text([Counted("", mask, size=(2, 1))]))[0].mask == mask
        True
    """
    return json.dumps([_mask_list(one) for one in counted], separators=(",", ":"))


def _mask_list(one: Counted) -> list[Any]:
    if one.mask is None:
        return [one.member, one.reason, one.size]
    mask, counts = one.mask, one.mask.counts
    facts = [
        *(mask.width, mask.height, list(counts.values.items())),
        *(counts.masked, counts.half_transparent, int(counts.folded)),
        *(mask.nodata, list(mask.palette.items()) if mask.palette else None),
        mask.format,
    ]
    return [one.member, facts]


def from_text(text: str) -> list[Counted]:
    """The masks of a file from their text.

    Raises:
        ValueError: If it is no such text.
    """
    return [_counted(*one) for one in json.loads(text)]


def _counted(
    member: str, facts: list[Any] | str, size: list[int] | None = None
) -> Counted:
    if isinstance(facts, str):
        return Counted(member, None, facts, (size[0], size[1]) if size else None)
    width, height, values, masked, half, folded, nodata, palette, kind = facts
    counts = ValueCounts(dict(values), masked, half, bool(folded))
    colours = dict(palette) if palette else None
    mask = MaskCounts(width, height, counts, nodata, colours, kind)
    return Counted(member, mask, size=(width, height))
