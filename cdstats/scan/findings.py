"""Findings of an audit, from the rows and the inspected masks of a dataset."""

from __future__ import annotations

import warnings
from collections import Counter
from typing import TYPE_CHECKING, Final, Literal

from cdstats.core.audit_records import Finding, SplitShift
from cdstats.core.columns import UNDEFINED
from cdstats.core.errors import Level, counted
from cdstats.core.labelling import REFUSED
from cdstats.core.labels import shares_text
from cdstats.core.records import ALL, split_order
from cdstats.scan.evidence import IN_USE

if TYPE_CHECKING:
    from collections.abc import Sequence

    from cdstats.core.audit_records import (
        BinarisationShare,
        Duplicate,
        RegionSizes,
        ValueShare,
    )
    from cdstats.core.records import ImageRecord
    from cdstats.io.beside import Beside
    from cdstats.scan.evidence import Seen

SHIFT_DISTANCE: Final = 0.1
"""Smallest distance between two splits that is reported."""
SHIFT_PROBABILITY: Final = 0.01
"""p-value below which such a distance is reported."""
MANY_SPECKS: Final = 0.1
"""Share of specks among the regions from which they are a warning."""


def _findings(
    place: tuple[str, str], *told: tuple[Level, str, str, Sequence[str]]
) -> list[Finding]:
    """Findings from tuples of level, check, text and paths; skipped without paths."""
    dataset, split = place[0], place[1] or ALL
    return [
        Finding(level.value, check, dataset, split, len(paths), text, tuple(paths))
        for level, check, text, paths in told
        if paths
    ]


def row_findings(place: tuple[str, str], rows: Sequence[ImageRecord]) -> list[Finding]:
    """Findings about the labels of a split: masks of one class or without labels."""
    ok = [row for row in rows if row.status == "ok"]
    valid = [row for row in ok if row.change_fraction is not None]
    none = [row.path for row in valid if row.changed == 0]
    whole = [row.path for row in valid if row.unchanged == 0]
    empty = [row.path for row in ok if row.change_fraction is None]
    share = f"{100 * len(none) / len(valid):.3g} %" if valid else ""
    changed = sum(row.changed or 0 for row in valid)
    pixels = changed + sum(row.unchanged or 0 for row in valid)
    mostly = [row.path for row in valid] if 2 * changed > pixels else []
    share_changed = f"{100 * changed / pixels:.3g} %" if pixels else ""
    level = Level.WARNING if valid and len(none) == len(valid) else Level.NOTE
    without = (
        f"no changed pixel in {_masks(none)} ({share}): with per-image "
        "beta these images contribute zero loss"
    )
    wholly = f"every valid pixel of {_masks(whole)} is changed"
    inverted = f"{share_changed} of the valid pixels are changed: inverted masks?"
    ignored = f"every pixel of {_masks(empty)} is ignored"
    return _findings(
        place,
        (level, "without-change", without, none),
        (Level.WARNING, "wholly-changed", wholly, whole),
        (Level.WARNING, "mostly-changed", inverted, mostly),
        (Level.WARNING, "wholly-ignored", ignored, empty),
    )


def failure_findings(
    place: tuple[str, str], rows: Sequence[ImageRecord], unreadable: set[str] | None
) -> list[Finding]:
    """Masks that could not be read or labelled, grouped by kind of failure.

    ``unreadable`` is None if the rows do not tell the two kinds apart.
    """
    kinds: dict[str, list[ImageRecord]] = {}
    for row in rows:
        if row.status != "failed":
            continue
        kind = "failed" if unreadable is None else "values"
        if row.reason.startswith(REFUSED):
            kind = "encoding"
        elif unreadable and row.path in unreadable:
            kind = "unreadable"
        kinds.setdefault(kind, []).append(row)
    found: list[Finding] = []
    for check, same in kinds.items():
        reasons = Counter(row.reason for row in same)
        several = f", {len(reasons):,} reasons, such as" if len(reasons) > 1 else ""
        reason = reasons.most_common(1)[0][0].removeprefix(REFUSED)
        text = f"{_masks(same)}{several}: {reason}"
        paths = [row.path for row in same]
        found += _findings(place, (Level.ERROR, check, text, paths))
    return found


def stray_findings(
    place: tuple[str, str], seen: Sequence[Seen], values: Sequence[ValueShare]
) -> list[Finding]:
    """Counted masks that contain values outside the domain of their split."""
    strays = {row.value: row.pixels for row in values if row.is_stray and row.label}
    paths = [
        one.row.path
        for one in seen
        if one.is_ok and one.mask and strays.keys() & one.mask.counts.values.keys()
    ]
    text = f"{_masks(paths)} with values that few other masks contain: "
    text += shares_text(strays, total=None)
    return _findings(place, (Level.WARNING, "values", text, paths))


def binarisation_findings(
    place: tuple[str, str], seen: Sequence[Seen], shares: Sequence[BinarisationShare]
) -> list[Finding]:
    """Loaders whose rule counts other pixels as changed than the rule in use."""
    own = next((row.changed for row in shares if row.loaders == IN_USE), 0)
    other = [row for row in shares if row.loaders != IN_USE and row.changed != own]
    if not other:
        return []
    far = [row for row in other if row.changed * 2 < own or row.changed > own * 2]
    texts = []
    for row in far or other:
        share = UNDEFINED
        if row.change_fraction is not None:
            share = f"{100 * row.change_fraction:.4g} %"
        by = f" ({row.loaders})" if far else ""
        texts.append(f"{row.rule} calls {share} changed{by}")
    text = f"loaders with another rule read other labels: {'; '.join(texts)}"
    level = Level.WARNING if far else Level.NOTE
    paths = [one.row.path for one in seen if one.is_ok]
    return _findings(place, (level, "binarisation", text, paths))


def region_findings(
    place: tuple[str, str], seen: Sequence[Seen], sizes: RegionSizes
) -> list[Finding]:
    """Changed regions too small to be objects."""
    limit = sizes.speck_limit
    paths = [
        one.row.path
        for one in seen
        if one.view is not None and (one.view.sizes < limit).any()
    ]
    share = sizes.specks / sizes.regions if sizes.regions else 0
    text = (
        f"{sizes.specks:,} of {sizes.regions:,} changed regions ({100 * share:.3g} %) "
        f"are specks below {limit} pixels: labelling or compression noise?"
    )
    level = Level.WARNING if share >= MANY_SPECKS else Level.NOTE
    return _findings(place, (level, "specks", text, paths))


def shift_findings(shifts: Sequence[SplitShift]) -> list[Finding]:
    """Splits whose change fractions differ clearly and significantly."""
    return [
        Finding(
            Level.WARNING.value,
            "shift",
            one.dataset,
            one.split or ALL,
            one.images,
            f"change per image differs from {one.reference}: Kolmogorov-Smirnov "
            f"distance {one.ks_distance:.2f}, p = {one.p_value:.2g} if images were "
            "independent",
        )
        for one in shifts
        if one.ks_distance >= SHIFT_DISTANCE and one.p_value < SHIFT_PROBABILITY
    ]


def duplicate_findings(dataset: str, groups: Sequence[Duplicate]) -> list[Finding]:
    """Duplicate masks: leakage across splits, or repetition inside a split."""
    found: list[Finding] = []
    for is_leak, level, check, what in (
        (True, Level.ERROR, "leakage", "across splits (leakage)"),
        (False, Level.WARNING, "duplicate", "inside a split"),
    ):
        same = [one for one in groups if one.is_leak is is_leak]
        paths = [path for one in same for path in one.paths]
        exact = sum(one.is_byte_equal for one in same)
        files = f"; {exact:,} with identical files" if exact else ""
        number = counted(len(same), "group")
        text = f"{_masks(paths)} in {number} with identical labels {what}{files}"
        found += _findings((dataset, ALL), (level, check, text, paths))
    return found


def listed_twice_findings(dataset: str, rows: Sequence[ImageRecord]) -> list[Finding]:
    """Masks that are listed in more than one split."""
    splits: dict[str, set[str]] = {}
    for row in rows:
        splits.setdefault(row.path, set()).add(row.split)
    paths = [path for path, held in splits.items() if len(held) > 1]
    if not paths:
        return []
    several = " and ".join(sorted(splits[paths[0]], key=split_order))
    text = f"{_masks(paths)} in more than one split, first {paths[0]} in {several}"
    return _findings((dataset, ALL), (Level.ERROR, "leakage", text, paths))


def image_findings(dataset: str, seen: Sequence[Seen]) -> list[Finding]:
    """Masks that do not match the images in the folders beside them."""
    pairs = [(one, beside) for one in seen for beside in one.inspected.beside]
    matched = {beside.folder for _, beside in pairs if beside.name}
    missing = [p for p in pairs if not p[1].name and p[1].folder in matched]
    wrong = [
        (one, beside)
        for one, beside in pairs
        if one.inspected.counted.size
        and beside.size
        and one.inspected.counted.size != beside.size
    ]
    moved = [(one, beside) for one, beside in pairs if beside.difference]
    size = grid = ""
    for one, beside in wrong[:1]:
        size = (
            f"size differs from that of the image: {one.row.path} is "
            f"{_size(one.inspected.counted.size)}, {beside.folder}/{beside.name} is "
            f"{_size(beside.size)}"
        )
    for one, beside in moved[:1]:
        grid = (
            f"grid differs from that of the image: {beside.folder}/"
            f"{beside.name} {beside.difference} {one.row.path}"
        )
    folders = ", ".join(sorted({beside.folder for _, beside in missing}))
    return _findings(
        (dataset, ALL),
        (Level.ERROR, "size", size, _paths(wrong)),
        (Level.WARNING, "grid", grid, _paths(moved)),
        (
            Level.WARNING,
            "image",
            f"no image with the same name in {folders}",
            _paths(missing),
        ),
    )


def _paths(pairs: Sequence[tuple[Seen, Beside]]) -> list[str]:
    return list(dict.fromkeys(one.row.path for one, _ in pairs))


def size_findings(dataset: str, rows: Sequence[ImageRecord]) -> list[Finding]:
    """Masks of several sizes, which cannot be stacked into one batch."""
    ok = [row for row in rows if row.status == "ok"]
    sizes = {(row.width or 0, row.height or 0): None for row in ok}
    if len(sizes) < 2:
        return []
    ordered = sorted(sizes, key=lambda size: size[0] * size[1])
    ends = f"from {_size(ordered[0])} to {_size(ordered[-1])}"
    text = f"masks have {len(sizes):,} sizes, {ends}"
    paths = [row.path for row in ok]
    return _findings((dataset, ALL), (Level.NOTE, "sizes", text, paths))


def _masks(some: Sequence[object]) -> str:
    return counted(len(some), "mask")


def _size(size: tuple[int, int] | None) -> str:
    return f"{size[0]} x {size[1]}" if size else "unknown"


_EXACT: Final = 200
"""Largest split, in images, for which the p-value is computed exactly."""


def split_shifts(dataset: str, rows: Sequence[ImageRecord]) -> list[SplitShift]:
    """The distance of each split from the first split, which is train if present.

    References:
        Hodges, "The significance probability of the Smirnov two-sample test", 1958,
        as `scipy.stats.ks_2samp` computes it.
    """
    splits: dict[str, list[float]] = {}
    for row in rows:
        if row.change_fraction is not None:
            splits.setdefault(row.split, []).append(row.change_fraction)
    if len(splits) < 2:
        return []
    from scipy.stats import ks_2samp

    first, *others = sorted(splits, key=split_order)
    shifts = []
    for name in others:
        sizes = (len(splits[first]), len(splits[name]))
        exact = max(sizes) <= _EXACT
        method: Literal["exact", "asymp"] = "exact" if exact else "asymp"
        with warnings.catch_warnings():
            # If rounding takes the exact p-value above 1, SciPy warns and returns the
            # asymptotic value, which is also near 1.
            warnings.simplefilter("ignore", RuntimeWarning)
            found = ks_2samp(splits[first], splits[name], method=method)
        numbers = float(found.statistic), float(found.pvalue)
        shifts.append(SplitShift(dataset, first, name, *sizes, *numbers))
    return shifts
