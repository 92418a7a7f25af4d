"""Rows of an audit, computed from the inspected masks of a dataset."""

from __future__ import annotations

import filecmp
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from cdstats.core.audit_records import (
    BinarisationShare,
    Duplicate,
    HeatMap,
    RegionSizes,
    ValueShare,
)
from cdstats.core.binarisation import LOADERS, Binarisation, binarisation
from cdstats.core.counts import PixelCounts, value_order
from cdstats.core.detection import MANY_LEVELS
from cdstats.core.labels import REST, Range, names
from cdstats.core.records import split_order
from cdstats.scan.regions import quantile

if TYPE_CHECKING:
    from collections.abc import Sequence

    from cdstats.core.counts import MaskCounts, Value
    from cdstats.core.labels import LabelRule
    from cdstats.core.records import ImageRecord
    from cdstats.io.found import FoundFile
    from cdstats.scan.inspection import Inspected, View

IN_USE = "this run"


@dataclass(frozen=True, slots=True)
class Seen:
    """An inspected mask with its row, its rule and its file."""

    row: ImageRecord
    rule: LabelRule | None
    inspected: Inspected
    view: View | None
    file: FoundFile

    @property
    def is_ok(self) -> bool:
        """Whether the mask was counted."""
        return self.row.status == "ok"

    @property
    def mask(self) -> MaskCounts | None:
        """Counts of the mask by value."""
        return self.inspected.counted.mask


def value_shares(dataset: str, split: str, seen: Sequence[Seen]) -> list[ValueShare]:
    """The values of a split; values outside its domain are marked as strays.

    The domain contains the values that the rule names individually, the most frequent
    value of each label, and labelled values that occur in at least half of the masks.
    With more values than codes can have, as in JPEG files, it contains every labelled
    value.
    """
    pixels: Counter[Value] = Counter()
    images: Counter[Value] = Counter()
    labels: dict[Value, str] = {}
    named: set[Value] = set()
    for one in seen:
        if one.mask is None:
            continue
        pixels.update(one.mask.counts.values)
        images.update(one.mask.counts.values.keys())
        if one.is_ok and one.rule:
            for value in one.mask.counts.values:
                if value not in labels:
                    label = one.rule.label_in(one.mask, value)
                    labels[value] = label.value if label else ""
                    if _names_alone(one.rule, one.mask, value):
                        named.add(value)
    total = sum(pixels.values())
    often = {value for value in images if 2 * images[value] >= len(seen)}
    if len(labels) > MANY_LEVELS:
        named |= labels.keys()
    most = {
        max((v for v in labels if labels[v] == label), key=lambda v: pixels[v])
        for label in set(labels.values())
    }
    domain = named | (often & labels.keys()) | most
    return [
        ValueShare(
            dataset,
            split,
            value,
            labels.get(value, ""),
            pixels[value],
            pixels[value] / total,
            images[value],
            bool(domain) and value not in domain,
        )
        for value in sorted(pixels, key=value_order)
    ]


def _names_alone(rule: LabelRule, mask: MaskCounts, value: Value) -> bool:
    """Whether a term of the rule names only this value, or only its colour."""
    colour = (mask.palette or {}).get(value) if isinstance(value, int) else None
    return value == mask.nodata or any(
        names(term, one)
        for term in (*rule.changed, *rule.unchanged, *rule.ignored)
        if term != REST and not (isinstance(term, Range) and not term.is_point)
        for one in (value, colour)
        if one is not None
    )


def binarisation_shares(
    dataset: str, split: str, seen: Sequence[Seen]
) -> list[BinarisationShare]:
    """The change fraction of a split under its own rule and three common rules."""
    ok = [one for one in seen if one.is_ok]
    found = [binarisation(o.mask, o.rule) for o in ok if o.mask and o.rule]
    if not found:
        return []
    total = sum(found, Binarisation())
    changed = sum(one.row.changed or 0 for one in ok)
    rules = sorted({one.row.rule for one in ok})
    rows = [(rules[0] if len(rules) == 1 else "mixed", changed, IN_USE)]
    rows += [(rule, total.counts[rule], LOADERS[rule]) for rule in LOADERS]
    return [
        BinarisationShare(dataset, split, rule, n, _fraction(n, total.valid), loaders)
        for rule, n, loaders in rows
    ]


def region_sizes_of(
    dataset: str, split: str, seen: Sequence[Seen], speck: int, connectivity: int
) -> RegionSizes:
    """The sizes of changed regions of a split."""
    views = [one.view for one in seen if one.view is not None]
    sizes: Counter[int] = Counter()
    for view in views:
        pairs = zip(view.sizes.tolist(), view.counts.tolist(), strict=True)
        sizes.update(dict(pairs))
    specks = {size: n for size, n in sizes.items() if size < speck}
    low, q25, median, q75, high = (
        quantile(sizes, share) if sizes else None for share in (0, 0.25, 0.5, 0.75, 1)
    )
    where = (dataset, split, len(views), sum(sizes.values()))
    speck_pixels = sum(size * n for size, n in specks.items())
    told = (sum(specks.values()), speck_pixels, speck, connectivity)
    return RegionSizes(*where, low, q25, median, q75, high, *told)


def duplicates(dataset: str, seen: Sequence[Seen]) -> list[Duplicate]:
    """Groups of masks with identical labels; masks of one class are not compared."""
    groups: dict[bytes, list[Seen]] = {}
    for one in seen:
        if one.view is not None and one.row.changed and one.row.unchanged:
            groups.setdefault(one.view.digest, []).append(one)
    return [
        Duplicate(
            dataset,
            tuple(sorted({one.row.split for one in group}, key=split_order)),
            len(group),
            group[0].row.changed or 0,
            _are_byte_equal([one.file for one in group]),
            tuple(one.row.path for one in group),
        )
        # A mask listed in two splits is not a duplicate of itself.
        for held in groups.values()
        if len(group := [*{one.row.path: one for one in held}.values()]) > 1
    ]


def _are_byte_equal(files: Sequence[FoundFile]) -> bool:
    """Whether all masks are whole files with identical bytes."""
    paths = {file.path for file in files}
    if len(paths) < len(files) or any(file.member or file.partner for file in files):
        return False
    first, *others = paths
    there = all(Path(path).is_file() for path in paths)
    return there and all(filecmp.cmp(first, path, shallow=False) for path in others)


def heat_map(dataset: str, seen: Sequence[Seen]) -> HeatMap | None:
    """Frequency of change by position; None unless all masks have the same size."""
    ok = [one for one in seen if one.view is not None]
    sizes = {(one.row.width, one.row.height) for one in ok}
    if len(sizes) != 1:
        return None
    ((width, height),) = sizes
    views = [one.view for one in ok if one.view is not None]
    changed = np.sum([view.cells for view in views], axis=0)
    valid = np.sum([view.valid for view in views], axis=0)
    cells = tuple(
        tuple(map(_fraction, cs, vs))
        for cs, vs in zip(changed.tolist(), valid.tolist(), strict=True)
    )
    return HeatMap(dataset, width or 0, height or 0, len(views), cells)


def _fraction(changed: int, valid: int) -> float | None:
    return PixelCounts(changed, valid - changed).change_fraction
