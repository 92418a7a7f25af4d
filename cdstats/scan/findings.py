"""From what was seen of a dataset's masks to what a person should know."""

from __future__ import annotations

import warnings
from collections import Counter
from typing import TYPE_CHECKING, Final, Literal

from cdstats.core.audit_records import Finding, SplitShift
from cdstats.core.labelling import REFUSED
from cdstats.core.labels import shares_text
from cdstats.core.messages import Level, counted
from cdstats.core.records import ALL, split_order
from cdstats.scan.evidence import IN_USE, specks_in

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
"""Distance of two splits from which their difference matters ..."""
SHIFT_PROBABILITY: Final = 0.01
"""... when chance alone would give it less often than this."""
MANY_SPECKS: Final = 0.1
"""Share of regions that are specks from which they are a warning."""


def _finding(
    level: Level,
    check: str,
    place: tuple[str, str],
    text: str,
    paths: Sequence[str],
) -> list[Finding]:
    """A finding about some masks; none when there is no mask."""
    if not paths:
        return []
    dataset, split = place[0], place[1] or ALL
    return [Finding(level.value, check, dataset, split, len(paths), text, tuple(paths))]


def row_findings(place: tuple[str, str], rows: Sequence[ImageRecord]) -> list[Finding]:
    """What the rows of a split tell: one-class masks, and what failed at all."""
    ok = [row for row in rows if row.status == "ok"]
    valid = [row for row in ok if row.change_fraction is not None]
    none = [row.path for row in valid if row.changed == 0]
    whole = [row.path for row in valid if row.unchanged == 0]
    empty = [row.path for row in ok if row.change_fraction is None]
    share = f"{100 * len(none) / len(valid):.3g} %" if valid else ""
    changed = sum(row.changed or 0 for row in valid)
    pixels = changed + sum(row.unchanged or 0 for row in valid)
    mostly = 2 * changed > pixels
    share_changed = f"{100 * changed / pixels:.3g} %" if pixels else ""
    level = Level.WARNING if valid and len(none) == len(valid) else Level.NOTE
    return [
        *_finding(
            level,
            "without-change",
            place,
            f"no changed pixel in {_masks(none)} ({share}): they add nothing to a "
            "loss whose beta comes from each image",
            none,
        ),
        *_finding(
            Level.WARNING,
            "wholly-changed",
            place,
            f"every valid pixel of {_masks(whole)} is changed",
            whole,
        ),
        *_finding(
            Level.WARNING,
            "mostly-changed",
            place,
            f"{share_changed} of the valid pixels are changed: inverted masks?",
            [row.path for row in valid] if mostly else [],
        ),
        *_finding(
            Level.WARNING,
            "wholly-ignored",
            place,
            f"every pixel of {_masks(empty)} is ignored",
            empty,
        ),
    ]


def failure_findings(
    place: tuple[str, str], rows: Sequence[ImageRecord], unreadable: set[str] | None
) -> list[Finding]:
    """What could not be read, where that is known still, or not be labelled."""
    failed = [row for row in rows if row.status == "failed"]
    kinds: dict[str, list[ImageRecord]] = {}
    for row in failed:
        kinds.setdefault(_failure(row, unreadable), []).append(row)
    found: list[Finding] = []
    for check, same in kinds.items():
        reason = Counter(row.reason for row in same).most_common(1)[0][0]
        text = f"{_masks(same)}: {reason.removeprefix(REFUSED)}"
        found += _finding(Level.ERROR, check, place, text, [row.path for row in same])
    return found


def _failure(row: ImageRecord, unreadable: set[str] | None) -> str:
    if row.reason.startswith(REFUSED):
        return "encoding"
    if unreadable is None:
        return "failed"
    return "unreadable" if row.path in unreadable else "values"


def stray_findings(
    place: tuple[str, str], seen: Sequence[Seen], values: Sequence[ValueShare]
) -> list[Finding]:
    """Masks that were counted although they hold values outside the domain."""
    strays = {row.value: row.pixels for row in values if row.is_stray and row.label}
    paths = [
        one.row.path
        for one in seen
        if one.is_ok and one.mask and strays.keys() & one.mask.counts.values.keys()
    ]
    text = f"{_masks(paths)} hold values few others hold: "
    return _finding(
        Level.WARNING, "values", place, text + shares_text(strays, total=None), paths
    )


def binarisation_findings(
    place: tuple[str, str], seen: Sequence[Seen], shares: Sequence[BinarisationShare]
) -> list[Finding]:
    """Loaders that would make something else of the masks than the rule does."""
    own = next((row.changed for row in shares if row.loaders == IN_USE), 0)
    other = [row for row in shares if row.loaders != IN_USE and row.changed != own]
    if not other:
        return []
    far = [row for row in other if row.changed * 2 < own or row.changed > own * 2]
    texts = [
        f"{row.rule} calls {_percent(row.change_fraction)} changed"
        + (f" ({row.loaders})" if far else "")
        for row in far or other
    ]
    paths = [one.row.path for one in seen if one.is_ok]
    level = Level.WARNING if far else Level.NOTE
    text = "loaders with another rule see other masks: "
    return _finding(level, "binarisation", place, text + "; ".join(texts), paths)


def region_findings(
    place: tuple[str, str], seen: Sequence[Seen], sizes: RegionSizes
) -> list[Finding]:
    """Changed regions too small to be objects."""
    paths = [one.row.path for one in seen if specks_in(one, sizes.speck_limit)]
    share = sizes.specks / sizes.regions if sizes.regions else 0
    text = (
        f"{sizes.specks:,} of {sizes.regions:,} changed regions ({100 * share:.3g} %) "
        f"are specks below {sizes.speck_limit} pixels: noise of labelling or of "
        "compression?"
    )
    level = Level.WARNING if share >= MANY_SPECKS else Level.NOTE
    return _finding(level, "specks", place, text, paths)


def shift_findings(shifts: Sequence[SplitShift]) -> list[Finding]:
    """Splits whose images differ in change by more than chance and taste allow."""
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
    """Equal masks: across splits a leak, inside one a repetition."""
    found: list[Finding] = []
    for is_leak in (True, False):
        same = [one for one in groups if one.is_leak is is_leak]
        paths = [path for one in same for path in one.paths]
        exact = sum(one.is_byte_equal for one in same)
        groups_text = counted(len(same), "group")
        what = "across splits (leakage)" if is_leak else "inside a split"
        files = f"; byte-equal files: {exact:,} of them" if exact else ""
        text = f"{_masks(paths)} in {groups_text} of equal labels {what}{files}"
        level = Level.ERROR if is_leak else Level.WARNING
        check = "leakage" if is_leak else "duplicate"
        found += _finding(level, check, (dataset, ALL), text, paths)
    return found


def listed_twice_findings(dataset: str, rows: Sequence[ImageRecord]) -> list[Finding]:
    """Masks that the lists of two splits name."""
    splits: dict[str, set[str]] = {}
    for row in rows:
        splits.setdefault(row.path, set()).add(row.split)
    paths = [path for path, held in splits.items() if len(held) > 1]
    if not paths:
        return []
    several = " and ".join(sorted(splits[paths[0]], key=split_order))
    text = f"{_masks(paths)} in more than one split, first {paths[0]} in {several}"
    return _finding(Level.ERROR, "leakage", (dataset, ALL), text, paths)


def image_findings(dataset: str, seen: Sequence[Seen]) -> list[Finding]:
    """Masks that do not fit the images beside them."""
    pairs = [(one, beside) for one in seen for beside in one.inspected.beside]
    matched = {beside.folder for _, beside in pairs if beside.name}
    missing = [
        (one, beside)
        for one, beside in pairs
        if not beside.name and beside.folder in matched
    ]
    wrong = [(one, b) for one, b in pairs if _differs(one, b)]
    found: list[Finding] = []
    if wrong:
        one, beside = wrong[0]
        text = (
            f"size differs from the image beside it: {one.row.path} is "
            f"{_size(one.inspected.counted.size)}, {beside.folder}/{beside.name} is "
            f"{_size(beside.size)}"
        )
        found += _finding(Level.ERROR, "size", (dataset, ALL), text, _paths(wrong))
    moved = [(one, beside) for one, beside in pairs if beside.difference]
    if moved:
        one, beside = moved[0]
        text = (
            f"grid differs from that of the image beside it: {beside.folder}/"
            f"{beside.name} {beside.difference} {one.row.path}"
        )
        found += _finding(Level.WARNING, "grid", (dataset, ALL), text, _paths(moved))
    if missing:
        folders = ", ".join(sorted({beside.folder for _, beside in missing}))
        text = f"no image of that name in {folders}"
        found += _finding(Level.WARNING, "image", (dataset, ALL), text, _paths(missing))
    return found


def _differs(one: Seen, beside: Beside) -> bool:
    size = one.inspected.counted.size
    return size is not None and beside.size is not None and size != beside.size


def _paths(pairs: Sequence[tuple[Seen, Beside]]) -> list[str]:
    return list(dict.fromkeys(one.row.path for one, _ in pairs))


def size_findings(dataset: str, rows: Sequence[ImageRecord]) -> list[Finding]:
    """Masks of several sizes, which a batch cannot hold as they are."""
    sizes = Counter((r.width or 0, r.height or 0) for r in rows if r.status == "ok")
    if len(sizes) < 2:
        return []
    ordered = sorted(sizes, key=lambda size: size[0] * size[1])
    text = (
        f"masks have {len(sizes):,} sizes, from {_size(ordered[0])} to "
        f"{_size(ordered[-1])}"
    )
    paths = [row.path for row in rows if row.status == "ok"]
    return _finding(Level.NOTE, "sizes", (dataset, ALL), text, paths)


def _masks(some: Sequence[object]) -> str:
    return counted(len(some), "mask")


def _size(size: tuple[int, int] | None) -> str:
    return f"{size[0]} x {size[1]}" if size else "unknown"


def _percent(fraction: float | None) -> str:
    return "–" if fraction is None else f"{100 * fraction:.4g} %"


_EXACT: Final = 200
"""Images of a split up to which the probability is exact."""


def split_shifts(dataset: str, rows: Sequence[ImageRecord]) -> list[SplitShift]:
    """The distance of each split from the first, train where there is one.

    References:
        Hodges, "The significance probability of the Smirnov two-sample test", 1958,
        as `scipy.stats.ks_2samp` computes it.
    """
    splits: dict[str, list[float]] = {}
    for row in rows:
        if row.change_fraction is not None:
            splits.setdefault(row.split, []).append(row.change_fraction)
    names = sorted(splits, key=split_order)
    return [
        _shift(dataset, (names[0], splits[names[0]]), (name, splits[name]))
        for name in names[1:]
    ]


def _shift(
    dataset: str, first: tuple[str, list[float]], other: tuple[str, list[float]]
) -> SplitShift:
    from scipy.stats import ks_2samp

    sizes = (len(first[1]), len(other[1]))
    method: Literal["exact", "asymp"] = "exact" if max(sizes) <= _EXACT else "asymp"
    with warnings.catch_warnings():
        # Where rounding takes an exact probability beyond 1, SciPy says so and gives
        # the asymptotic one, which is near 1 as well.
        warnings.simplefilter("ignore", RuntimeWarning)
        found = ks_2samp(first[1], other[1], method=method)
    distance, probability = float(found.statistic), float(found.pvalue)
    return SplitShift(dataset, first[0], other[0], *sizes, distance, probability)
