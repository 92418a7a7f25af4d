"""The data of a report or a set of figures, as records from any source."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from numpy.typing import NDArray

    from cdstats.core.audit_records import (
        BinarisationShare,
        Finding,
        HeatMap,
        RegionSizes,
        SplitShift,
    )
    from cdstats.core.catalogue import LossResult, Shares
    from cdstats.core.charts import WorstImage
    from cdstats.core.comparison_records import ComparedModel
    from cdstats.core.curves import Curve
    from cdstats.core.records import ImageRecord, SummaryRecord
    from cdstats.core.rule_sensitivity import RuleSensitivity
    from cdstats.core.score_records import DatasetScore, ScoreRecord


@dataclass(frozen=True)
class MaskMaterial:
    """Data on masks."""

    datasets: tuple[SummaryRecord, ...]
    images: tuple[ImageRecord, ...]
    shifts: tuple[SplitShift, ...] = ()
    binarisations: tuple[BinarisationShare, ...] = ()
    regions: tuple[RegionSizes, ...] = ()
    heat_maps: tuple[HeatMap, ...] = ()
    has_pixels: bool = True
    findings: tuple[Finding, ...] = ()


@dataclass(frozen=True)
class Trivial:
    """Losses of a predictor with one constant probability."""

    name: str
    prob: float
    bce: float | None
    balanced: float | None
    class_mean: float | None


@dataclass(frozen=True)
class ModelScore:
    """Data on one model: losses, and curves in a report.

    ``one_class_bce`` is the mean BCE of images with a single class, which contribute 0
    to balanced cross-entropy with per-image β.
    """

    dataset: DatasetScore
    losses: tuple[LossResult, ...]
    shares: tuple[Shares, ...]
    trivial: tuple[Trivial, ...] = ()
    one_class_bce: float | None = None
    hard: bool = False
    curve: Curve | None = None

    @property
    def name(self) -> str:
        """Name of the model; empty for a single model without a name."""
        return self.dataset.model

    @property
    def is_hard(self) -> bool:
        """Whether predictions are labels, which have only one threshold."""
        kind = self.dataset.kind
        return "hard" in kind and "probabilities" not in kind and "logits" not in kind

    @property
    def is_soft(self) -> bool:
        """Whether targets are soft, so that there is no confusion."""
        return self.dataset.tp is None


@dataclass(frozen=True)
class Picture:
    """A downsampled map of right and wrong pixels.

    Attributes:
        image: Row of the image with its counts.
        width: Width of the prediction in pixels.
        height: Height of the prediction in pixels.
        shares: Shares of tp, fp, fn, tn and ignored pixels per cell of the map;
            float64, ``(rows, columns, 5)``.
        beside: Downsampled images of the same area with their folder names; PNG files.
    """

    image: WorstImage
    width: int
    height: int
    shares: NDArray[Any]
    beside: tuple[tuple[str, bytes], ...] = ()


@dataclass(frozen=True)
class ScoreMaterial:
    """Data on saved predictions."""

    models: tuple[ModelScore, ...]
    images: tuple[ScoreRecord, ...]
    pictures: tuple[Picture, ...] = ()
    threshold: float | None = 0.5
    has_pixels: bool = True
    compared: tuple[ComparedModel, ...] = ()
    rule_sensitivity: tuple[RuleSensitivity, ...] = ()


@dataclass(frozen=True)
class Provenance:
    """Sources of a report."""

    version: str
    command: str = ""
    sources: tuple[str, ...] = ()
    rules: tuple[str, ...] = ()
    lists: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Material:
    """All data of a report."""

    provenance: Provenance
    masks: MaskMaterial | None = None
    scores: ScoreMaterial | None = None

    @property
    def failures(self) -> list[tuple[str, str]]:
        """Failed masks and predictions, with reasons."""
        found: list[tuple[str, ImageRecord | ScoreRecord]] = []
        if self.masks:
            found += [(_joined(r.dataset, r.path), r) for r in self.masks.images]
        if self.scores:
            found += [
                (_joined(r.model, r.pred or r.target), r) for r in self.scores.images
            ]
        return [(name, row.reason) for name, row in found if row.status == "failed"]


def _joined(owner: str, name: str) -> str:
    return f"{owner}: {name}" if owner else name


def list_hash(rows: Iterable[Sequence[str]]) -> str:
    """SHA-256 of a list of files: one line per file, with tab-separated parts.

    Example:
        >>> list_hash([("CDD", "train/0.png")])[:12]
        'd62afcd5bae6'
    """
    import hashlib

    text = "".join("\t".join(row) + "\n" for row in rows)
    return hashlib.sha256(text.encode("utf-8", "surrogateescape")).hexdigest()
