"""All checks of one dataset, and the result of an audit."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any

from cdstats.core.audit_records import (
    SEVERITIES,
    BinarisationShare,
    Duplicate,
    Finding,
    HeatMap,
    RegionSizes,
    SplitAudit,
    SplitShift,
    ValueShare,
    split_audit,
)
from cdstats.core.records import ALL, once, split_order
from cdstats.render.table import Displayed, Table, flat_scalars
from cdstats.scan import evidence, findings
from cdstats.scan.findings import split_shifts

if TYPE_CHECKING:
    from collections.abc import Sequence

    import pandas as pd

    from cdstats.core.errors import Level, Message
    from cdstats.core.records import ImageRecord
    from cdstats.scan.evidence import Seen


@dataclass(frozen=True, repr=False)
class AuditResult(Displayed):
    """The result of `cdstats.audit`.

    Attributes:
        findings: Problems and notable properties, most severe first.
        splits: Histogram of images by change fraction; a row for each dataset and
            each split.
        values: The stored values of each split.
        binarisations: The change fraction of each split under every usual rule.
        regions: Sizes of the changed regions of each split.
        shifts: Distances between the change fractions of the splits of a dataset.
        duplicates: Groups of masks with identical labels.
        heat_maps: Frequency of change by position in the image, for datasets whose
            masks have one size.
        images: The row of each mask.
        not_checked: Names of the checks that were skipped.
        messages: Notes, warnings and errors about finding and reading the masks.
        unread: Number of inputs that could not be read at all.
    """

    findings: tuple[Finding, ...] = ()
    splits: tuple[SplitAudit, ...] = ()
    values: tuple[ValueShare, ...] = ()
    binarisations: tuple[BinarisationShare, ...] = ()
    regions: tuple[RegionSizes, ...] = ()
    shifts: tuple[SplitShift, ...] = ()
    duplicates: tuple[Duplicate, ...] = ()
    heat_maps: tuple[HeatMap, ...] = ()
    images: tuple[ImageRecord, ...] = ()
    not_checked: tuple[str, ...] = ()
    messages: tuple[Message, ...] = ()
    unread: int = 0

    @property
    def failed(self) -> int:
        """Number of masks that could not be counted."""
        return sum(row.status == "failed" for row in self.images)

    def table(self) -> Table:
        """The findings, most severe first."""
        names = ("severity", "check", "dataset", "split", "images", "text")
        return Table.of(Finding, self.findings, names)

    def to_dict(self) -> dict[str, float]:
        """The rows of datasets and splits, and the number of findings by severity."""
        count = Counter(one.level for one in self.findings)
        found = {f"{level.value}s": float(count[level]) for level in SEVERITIES}
        return flat_scalars(self.splits) | found

    def frame(self) -> pd.DataFrame:
        """The rows of datasets and splits as a data frame."""
        from cdstats.render.writers import frame

        return frame(self.splits, SplitAudit)

    def finding_frame(self) -> pd.DataFrame:
        """The findings as a data frame, most severe first."""
        from cdstats.render.writers import frame

        return frame(self.findings, Finding)

    def has(self, level: Level) -> bool:
        """Whether any finding is at least this severe."""
        worse = SEVERITIES[: SEVERITIES.index(level) + 1]
        return any(one.level in worse for one in self.findings)


def examine(
    name: str, seen: Sequence[Seen], speck: int, connectivity: int
) -> AuditResult:
    """The results of all checks of one dataset."""
    unreadable = {one.row.path for one in seen if one.mask is None}
    rows = [one.row for one in seen]
    found, splits, shifts = row_parts(name, rows, unreadable)
    told = list(found)
    values: list[ValueShare] = []
    binarisations: list[BinarisationShare] = []
    regions: list[RegionSizes] = []
    for split in _splits(rows):
        own = [one for one in seen if one.row.split == split]
        place = (name, split or ALL)
        held = evidence.value_shares(*place, own)
        shares = evidence.binarisation_shares(*place, own)
        sizes = evidence.region_sizes_of(*place, own, speck, connectivity)
        told += findings.stray_findings(place, own, held)
        told += findings.binarisation_findings(place, own, shares)
        told += findings.region_findings(place, own, sizes)
        values += held
        binarisations += shares
        regions.append(sizes)
    told += findings.listed_twice_findings(name, rows)
    groups = evidence.duplicates(name, seen)
    # A mask may be in two splits; the following checks need it once.
    seen = [*{one.row.path: one for one in seen}.values()]
    told += findings.duplicate_findings(name, groups)
    told += findings.image_findings(name, seen)
    heat = evidence.heat_map(name, seen)
    return AuditResult(
        tuple(told),
        splits,
        tuple(values),
        tuple(binarisations),
        tuple(regions),
        shifts,
        tuple(groups),
        (heat,) if heat else (),
        tuple(rows),
    )


def row_parts(
    name: str, rows: Sequence[ImageRecord], unreadable: set[str] | None
) -> tuple[tuple[Finding, ...], tuple[SplitAudit, ...], tuple[SplitShift, ...]]:
    """Results of the checks that need only counts: findings, splits and shifts."""
    told: list[Finding] = []
    each = once(rows)
    splits = [split_audit(name, ALL, each)]
    for split in _splits(rows):
        own = [row for row in rows if row.split == split]
        told += findings.failure_findings((name, split), own, unreadable)
        told += findings.row_findings((name, split), own)
        if split:
            splits.append(split_audit(name, split, own))
    shifts = split_shifts(name, rows)
    told += findings.shift_findings(shifts)
    told += findings.size_findings(name, each)
    return tuple(told), tuple(splits), tuple(shifts)


def _splits(rows: Sequence[ImageRecord]) -> list[str]:
    return sorted({row.split for row in rows}, key=split_order)


def joined(
    parts: Sequence[AuditResult], not_checked: tuple[str, ...] = ()
) -> AuditResult:
    """The parts as one result, most severe findings first."""
    names = [one.name for one in fields(AuditResult)]
    lists: dict[str, Any] = {
        name: tuple(one for part in parts for one in getattr(part, name))
        for name in names
        if name not in ("not_checked", "unread")
    }
    lists["findings"] = tuple(
        sorted(lists["findings"], key=lambda one: SEVERITIES.index(one.level))
    )
    unread = sum(part.unread for part in parts)
    return AuditResult(**lists, not_checked=not_checked, unread=unread)
