"""`cdstats.weights`: class weights of a loss, from masks or from counted rows."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from cdstats.core.arguments import takes
from cdstats.core.errors import DataError
from cdstats.core.options import RatioOptions, WeightsOptions
from cdstats.core.records import ALL, once
from cdstats.core.weights import (
    DatasetWeights,
    SamplingWeight,
    recommend,
    sampling_weights,
    schemes,
    tally,
)
from cdstats.io.held import as_files
from cdstats.io.naming import usual_split
from cdstats.render.table import Displayed, Table, flat_scalars
from cdstats.scan.ratio import count_masks
from cdstats.scan.rows import failures

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from cdstats.core.errors import Message
    from cdstats.core.records import ImageRecord

TRAIN: Final = "train"


@dataclass(frozen=True, repr=False)
class WeightsResult(Displayed):
    """The result of `cdstats.weights`.

    Attributes:
        datasets: The weights of each dataset.
        images: The image rows from which they are computed.
        messages: Notes, warnings and errors.
        unread: Number of inputs that could not be read at all.
    """

    datasets: tuple[DatasetWeights, ...]
    images: Sequence[ImageRecord]
    messages: tuple[Message, ...] = ()
    unread: int = 0

    def table(self) -> Table:
        """The counts of each dataset, with the recommended weights as notes."""
        names = (
            *("dataset", "split", "images", "changed", "unchanged"),
            *("change_fraction", "imbalance_ratio"),
        )
        notes = [f"{one.dataset}: {one.recommendation.text}" for one in self.datasets]
        return Table.of(DatasetWeights, self.datasets, names, notes)

    def to_dict(self) -> dict[str, float]:
        """The counts of each dataset, and its weights by name and scheme.

        A key is, for example, ``DATASET/SCHEME/changed_weight``.
        """
        found = super().to_dict()
        for one in self.datasets:
            found |= flat_scalars(one.schemes, one.dataset, one.split)
        return found

    @property
    def failed(self) -> int:
        """Number of masks that could not be counted."""
        return sum(1 for _ in self.failures())

    def failures(self, leave_out: str = "") -> Iterator[ImageRecord]:
        """The rows of masks that could not be counted.

        Args:
            leave_out: Skip rows whose reason starts with this text.
        """
        return failures(self.images, leave_out)


@takes(WeightsOptions, as_files)
def weights(options: WeightsOptions) -> WeightsResult:
    """Class weights for training, from the counts of masks.

    Only the split ``train`` is used if there is one, so that weights do not depend on
    test masks. Masks are counted as by `cdstats.ratio`.

    Raises:
        UsageError: If both or neither of ``paths`` and ``from_file`` are given, if
            mask options are given with ``from_file``, or if a rule, preset or pattern
            is invalid.
        DataError: If ``from_file`` has no image rows, or no rows of the split.

    Example:
        >>> found = weights("sample_masks/CDD").datasets[0]
        >>> found.basis, round(found.scheme("pos-weight").changed_weight, 3)
        ('train split', 6.559)
    """
    return weigh_masks(options)


def weigh_masks(options: WeightsOptions) -> WeightsResult:
    """The result of `weights` for an options record."""
    wanted = None if options.split is None else usual_split(options.split)
    result = count_masks(RatioOptions.of(options))
    own: dict[str, list[ImageRecord]] = {}
    for row in result.images:
        own.setdefault(row.dataset, []).append(row)
    held = {row.split for rows in own.values() for row in rows}
    if options.from_file is not None and wanted is not None and wanted not in held:
        names = ", ".join(sorted(held - {""})) or "no split"
        raise DataError(
            f"{options.from_file}: has no split {wanted!r}; it holds {names}"
        )
    found = tuple(_dataset(name, rows, wanted) for name, rows in own.items())
    return WeightsResult(found, result.images, result.messages, result.unread)


def _dataset(
    name: str, images: Sequence[ImageRecord], split: str | None
) -> DatasetWeights:
    chosen, basis = _basis({row.split for row in images}, split)
    own = (row for row in images if chosen in (ALL, row.split))
    rows = once(own) if chosen == ALL else [*own]
    counts = tally(rows)
    pair = sampling_weights(counts)
    rules = {row.rule for row in rows if row.status == "ok"}
    return DatasetWeights(
        dataset=name,
        split=chosen,
        basis=basis,
        images=counts.images,
        without_change=counts.without_change,
        failed=sum(row.status == "failed" for row in rows),
        changed=counts.changed,
        unchanged=counts.unchanged,
        ignored=counts.ignored,
        change_fraction=counts.change_fraction,
        imbalance_ratio=counts.imbalance_ratio,
        rule=min(rules) if len(rules) == 1 else "",
        recommendation=recommend(counts),
        schemes=schemes(counts),
        sampling=tuple(
            SamplingWeight(
                row.split,
                row.path,
                None if row.change_fraction is None else pair[bool(row.changed)],
            )
            for row in rows
        ),
    )


def _basis(splits: set[str], wanted: str | None) -> tuple[str, str]:
    """The split whose counts are used, and its description."""
    if wanted is not None:
        return wanted, f"{wanted} split"
    if TRAIN in splits:
        return TRAIN, "train split"
    if splits <= {""}:
        return ALL, "all images (no splits found)"
    return ALL, "all splits, test included" if "test" in splits else "all splits"
