"""The records of `cdstats weights`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from cdstats.core.recommendation import Recommendation
    from cdstats.core.weights import Scheme


@dataclass(frozen=True, slots=True)
class SamplingWeight:
    """How often a sampler should draw an image; None for one without a valid pixel."""

    split: str
    path: str
    weight: float | None


@dataclass(frozen=True, slots=True)
class DatasetWeights:
    """The class weights of one dataset.

    Attributes:
        dataset: Its name.
        split: The split that was counted; ``"all"`` for every image.
        basis: The same in words.
        images: Images with a valid pixel.
        without_change: Those without a changed pixel.
        failed: Masks of the split that could not be counted.
        changed: Changed pixels.
        unchanged: Unchanged pixels.
        ignored: Ignored pixels.
        change_fraction: Changed / (changed + unchanged).
        imbalance_ratio: Majority / minority class.
        rule: The rule that gave the labels; empty when masks followed several.
        recommendation: The weights to start with.
        schemes: The named schemes side by side.
        sampling: A weight for each image.
    """

    dataset: str
    split: str
    basis: str
    images: int
    without_change: int
    failed: int
    changed: int
    unchanged: int
    ignored: int
    change_fraction: float | None
    imbalance_ratio: float | None
    rule: str
    recommendation: Recommendation
    schemes: tuple[Scheme, ...]
    sampling: tuple[SamplingWeight, ...]

    def scheme(self, name: str) -> Scheme:
        """The scheme of a name.

        Raises:
            KeyError: If there is none.
        """
        return {one.scheme: one for one in self.schemes}[name]
