"""The rows of `cdstats ratio`; the order of their fields is the order of columns."""

from __future__ import annotations

import math
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any, ClassVar, Final, Literal, Protocol, TypeVar

from cdstats.core import imbalance

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from cdstats.core.counts import PixelCounts

ALL: Final = "all"
"""The ``split`` of a dataset row."""
MIXED: Final = "mixed"
"""The ``rule`` of a row whose masks were read by more than one rule."""


T = TypeVar("T")


class Record(Protocol):
    """A frozen dataclass whose fields are columns."""

    __dataclass_fields__: ClassVar[dict[str, Any]]


@dataclass(frozen=True, slots=True)
class ImageRecord:
    """The counts of one mask, or the reason why it has none."""

    dataset: str
    split: str
    path: str
    width: int | None
    height: int | None
    pixels: int | None
    changed: int | None
    unchanged: int | None
    ignored: int | None
    change_ratio: float | None
    change_fraction: float | None
    rule: str
    status: Literal["ok", "failed"]
    reason: str

    @classmethod
    def counted(
        cls,
        place: tuple[str, str, str],
        size: tuple[int, int],
        counts: PixelCounts,
        rule: str,
    ) -> ImageRecord:
        """The row of a counted mask.

        Args:
            place: Dataset, split and path.
            size: Width and height in pixels.
            counts: Pixels by label.
            rule: The rule that gave the labels.

        Raises:
            ValueError: If the counts do not add up to width x height, or one is
                negative.
        """
        least = min(*size, counts.changed, counts.unchanged, counts.ignored)
        if least < 0 or counts.pixels != size[0] * size[1]:
            raise ValueError(
                f"{place[2]}: {counts} does not fill {size[0]} x {size[1]}"
            )
        changed, unchanged = counts.changed, counts.unchanged
        return cls(
            dataset=place[0],
            split=place[1],
            path=place[2],
            width=size[0],
            height=size[1],
            pixels=counts.pixels,
            changed=changed,
            unchanged=unchanged,
            ignored=counts.ignored,
            change_ratio=imbalance.change_ratio(changed, unchanged),
            change_fraction=imbalance.change_fraction(changed, unchanged),
            rule=rule,
            status="ok",
            reason="",
        )

    @classmethod
    def failed(
        cls,
        place: tuple[str, str, str],
        reason: str,
        size: tuple[int, int] | None = None,
    ) -> ImageRecord:
        """The row of a mask that could not be counted."""
        return cls(
            dataset=place[0],
            split=place[1],
            path=place[2],
            width=size[0] if size else None,
            height=size[1] if size else None,
            pixels=size[0] * size[1] if size else None,
            changed=None,
            unchanged=None,
            ignored=None,
            change_ratio=None,
            change_fraction=None,
            rule="",
            status="failed",
            reason=reason,
        )


@dataclass(frozen=True, slots=True)
class SummaryRecord:
    """The counts of a split, or of a dataset (``split`` is ``"all"``)."""

    dataset: str
    split: str
    images: int
    failed: int
    without_change: int
    pixels: int
    changed: int
    unchanged: int
    ignored: int
    change_ratio: float | None
    change_fraction: float | None
    imbalance_ratio: float | None
    beta: float | None
    pos_weight: float | None
    mean_image_change_fraction: float | None
    median_image_change_fraction: float | None
    rule: str
    width: int | None
    height: int | None


def summarise(dataset: str, split: str, images: Iterable[ImageRecord]) -> SummaryRecord:
    """Add up image rows to the row of a split or dataset.

    ``images`` counts the masks that were counted, ``failed`` those that were not;
    ``without_change`` the counted ones with valid pixels and none changed.

    Example:
        >>> summarise("CDD", "all", []).change_ratio is None
        True
    """
    rows = list(images)
    ok = [row for row in rows if row.status == "ok"]
    pixels, changed, unchanged, ignored = (
        sum(getattr(row, name) for row in ok)
        for name in ("pixels", "changed", "unchanged", "ignored")
    )
    fractions = [row.change_fraction for row in ok if row.change_fraction is not None]
    return SummaryRecord(
        dataset=dataset,
        split=split,
        images=len(ok),
        failed=len(rows) - len(ok),
        without_change=sum(fraction == 0 for fraction in fractions),
        pixels=pixels,
        changed=changed,
        unchanged=unchanged,
        ignored=ignored,
        change_ratio=imbalance.change_ratio(changed, unchanged),
        change_fraction=imbalance.change_fraction(changed, unchanged),
        imbalance_ratio=imbalance.imbalance_ratio(changed, unchanged),
        beta=imbalance.beta(changed, unchanged),
        pos_weight=imbalance.pos_weight(changed, unchanged),
        mean_image_change_fraction=_mean(fractions),
        median_image_change_fraction=_median(fractions),
        rule=_common([row.rule for row in ok], MIXED) or "",
        width=_common([row.width for row in ok], None),
        height=_common([row.height for row in ok], None),
    )


def summaries(
    datasets: Sequence[str], images: Sequence[ImageRecord]
) -> tuple[SummaryRecord, ...]:
    """The rows of every dataset, each followed by the rows of its named splits."""
    rows: list[SummaryRecord] = []
    for dataset in datasets:
        own = [row for row in images if row.dataset == dataset]
        rows.append(summarise(dataset, ALL, own))
        rows.extend(
            summarise(dataset, split, (row for row in own if row.split == split))
            for split in sorted({row.split for row in own} - {""}, key=split_order)
        )
    return tuple(rows)


def split_order(split: str) -> tuple[int, str]:
    """Sort key of a split: train, val, test, then others by name.

    Example:
        >>> sorted(["tier3", "test", "train", "hold"], key=split_order)
        ['train', 'test', 'hold', 'tier3']
    """
    usual = ("", "train", "val", "test")
    return (usual.index(split) if split in usual else len(usual), split)


def columns(record: type[Record]) -> tuple[str, ...]:
    """The column names of a kind of record."""
    return tuple(field.name for field in fields(record))


def _mean(numbers: list[float]) -> float | None:
    """The mean; ``fsum`` makes it independent of the order."""
    return math.fsum(numbers) / len(numbers) if numbers else None


def _median(numbers: list[float]) -> float | None:
    """The median; its module is loaded when it is needed, not for every help text."""
    import statistics

    return statistics.median(numbers) if numbers else None


def _common(values: list[T], otherwise: T | None) -> T | None:
    """The value that all share, ``otherwise`` when they differ, None for no value."""
    if not values:
        return None
    return values[0] if len(set(values)) == 1 else otherwise
