"""Class weights from pixel counts, by named scheme.

Every scheme gives two numbers, for unchanged and changed pixels; None if undefined
because a class is absent.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from statistics import fmean
from typing import TYPE_CHECKING, Final

from cdstats.core.counts import PixelCounts
from cdstats.core.errors import UsageError, counted

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from cdstats.core.records import ImageRecord


EFFECTIVE_BASE: Final = 0.9999
"""Base b of the effective number, the largest one in its paper."""
_SAME: Final = 0.01
"""Relative difference below which two weights count as equal."""
_Pair = tuple[float | None, float | None]


@dataclass(frozen=True, slots=True)
class Tally(PixelCounts):
    """Counts for weights, over images with valid pixels.

    ``beside_changed`` is the number of valid pixels in images with change.
    """

    images: int = 0
    without_change: int = 0
    beside_changed: int = 0
    beside_unchanged: int = 0


@dataclass(frozen=True, slots=True)
class Scheme:
    """A named weighting scheme with its results.

    The two weights are for pixels, for images (sampling), or the bias of a channel.
    Their ratio is ``pos_weight`` for one channel; None for schemes that do not weight
    pixels. In formulas, n1 pixels are changed, n0 unchanged, n both.
    """

    scheme: str
    unchanged_weight: float | None
    changed_weight: float | None
    weight_ratio: float | None
    formula: str
    source: str
    remark: str


def tally(rows: Iterable[ImageRecord]) -> Tally:
    """Sum the counted images with valid pixels."""
    counts = [one for row in rows if (one := row.counts).valid]
    total = sum(counts, PixelCounts())
    return Tally(
        *(total.changed, total.unchanged, total.ignored),
        images=len(counts),
        without_change=sum(one.changed == 0 for one in counts),
        beside_changed=sum(one.valid for one in counts if one.changed),
        beside_unchanged=sum(one.valid for one in counts if one.unchanged),
    )


def _inverse(power: float) -> Callable[[Tally], _Pair]:
    """Weights (n / 2 nc) to some power."""

    def weights(counts: Tally) -> _Pair:
        both = (counts.unchanged, counts.changed)
        zero, one = ((counts.valid / (2 * n)) ** power if n else None for n in both)
        return zero, one

    return weights


def _median_frequency(counts: Tally) -> _Pair:
    """Median class frequency divided by the frequency of each class."""
    if not counts.changed or not counts.unchanged:
        return None, None
    zero = counts.unchanged / counts.beside_unchanged
    one = counts.changed / counts.beside_changed
    middle = fmean((zero, one))
    return middle / zero, middle / one


def _enet(counts: Tally) -> _Pair:
    if not counts.valid:
        return None, None
    shares = (counts.unchanged / counts.valid, counts.changed / counts.valid)
    zero, one = (1 / math.log(1.02 + share) for share in shares)
    return zero, one


def _effective_number(counts: Tally) -> _Pair:
    """Weights (1 - b) / (1 - b^n), scaled to a sum of 2 as in the paper's code."""
    if not counts.changed or not counts.unchanged:
        return None, None
    # expm1 and log1p avoid the cancellation in 1 - b^n for few pixels.
    log_base = math.log1p(EFFECTIVE_BASE - 1)
    zero, one = (
        1 / -math.expm1(n * log_base) for n in (counts.unchanged, counts.changed)
    )
    return 2 * zero / (zero + one), 2 * one / (zero + one)


def _beta(counts: Tally) -> _Pair:
    changed = counts.beta
    return (None if changed is None else 1 - changed), changed


def _prior_bias(counts: Tally) -> _Pair:
    if not counts.changed or not counts.unchanged:
        return None, None
    return 0.0, math.log(counts.changed) - math.log(counts.unchanged)


def sampling_weights(counts: Tally) -> _Pair:
    """Weights of images without and with change that balance their frequency."""
    without, changed = counts.without_change, counts.images - counts.without_change
    if not without or not changed:
        return (1.0 if without else None), (1.0 if changed else None)
    return counts.images / (2 * without), counts.images / (2 * changed)


@dataclass(frozen=True, slots=True)
class _Named:
    weights: Callable[[Tally], _Pair]
    formula: str
    source: str
    remark: str = ""
    is_pixel: bool = True


_SCHEMES: Final = {
    "inverse-frequency": _Named(
        _inverse(1), "n / (2 nc)", "scikit-learn, class_weight='balanced'"
    ),
    "inverse-sqrt": _Named(
        _inverse(0.5), "sqrt(n / (2 nc))", "Mahajan et al. 2018, arXiv:1805.00932"
    ),
    "inverse-square": _Named(
        _inverse(2),
        "(n / (2 nc))^2",
        "generalised Dice, Sudre et al. 2017, arXiv:1707.03237",
        "meant for class sums of a Dice loss, too steep for cross-entropy",
    ),
    "median-frequency": _Named(
        _median_frequency,
        "median(f) / fc, fc = nc / valid pixels of the images that hold c",
        "Eigen and Fergus 2015, arXiv:1411.4734; SegNet, arXiv:1511.00561",
    ),
    "enet": _Named(
        _enet, "1 / ln(1.02 + nc / n)", "ENet, Paszke et al. 2016, arXiv:1606.02147"
    ),
    "effective-number": _Named(
        _effective_number,
        f"(1 - b) / (1 - b^nc), b = {EFFECTIVE_BASE}, scaled to a sum of 2",
        "Cui et al. 2019, arXiv:1901.05555",
    ),
    "hed-beta": _Named(
        _beta,
        "changed n0 / n, unchanged n1 / n",
        "HED, Xie and Tu 2015, arXiv:1504.06375, eq. 2",
        "HED uses n0 and n1 of each image, so images without change add 0",
    ),
    "pos-weight": _Named(
        lambda counts: (1.0, counts.pos_weight),
        "changed n0 / n1, unchanged 1",
        "torch.nn.BCEWithLogitsLoss",
    ),
    "focal-alpha": _Named(
        _beta,
        "alpha = n0 / n, unchanged 1 - alpha",
        "Lin et al. 2017, arXiv:1708.02002, sec. 3.1: inverse class frequency",
        "the paper's 0.25 is for gamma = 2 and gives changed pixels less weight",
    ),
    "prior-bias": _Named(
        _prior_bias,
        "ln(n1 / n0) on the changed channel of the last layer, not a weight",
        "RetinaNet, arXiv:1708.02002, sec. 4.1: -ln((1 - pi) / pi), there pi = 0.01",
        is_pixel=False,
    ),
    "image-sampling": _Named(
        sampling_weights,
        "images / (2 images of the group), groups: without and with change",
        "torch.utils.data.WeightedRandomSampler",
        "draws images more or less often, which changes the pixel counts above",
        is_pixel=False,
    ),
}
PIXEL_SCHEMES: Final = tuple(n for n, named in _SCHEMES.items() if named.is_pixel)
"""Names of the schemes that weight pixels."""


def schemes(counts: Tally) -> tuple[Scheme, ...]:
    """Every named scheme, evaluated for some counts."""
    found = []
    for name, named in _SCHEMES.items():
        (zero, one), ratio, remark = named.weights(counts), None, named.remark
        if named.is_pixel and zero and one is not None:
            ratio = one / zero
        if name == "effective-number" and ratio and abs(ratio - 1) < _SAME:
            remark = (
                "the weights are equal for this many pixels: plain cross-entropy; "
                "the scheme needs counts of images, objects or tiles"
            )
        row = Scheme(name, zero, one, ratio, named.formula, named.source, remark)
        found.append(row)
    return tuple(found)


def check_scheme(name: str, *, pasted: bool = True) -> str:
    """Check the name of a pixel scheme, for outputs of a single scheme."""
    if not pasted:
        raise UsageError("--scheme requires --format torch or opencd")
    if name not in PIXEL_SCHEMES:
        raise UsageError(
            f"no scheme {name!r} weights pixels; expected {', '.join(PIXEL_SCHEMES)}"
        )
    return name


@dataclass(frozen=True, slots=True)
class SamplingWeight:
    """Sampling weight of an image; None without valid pixels."""

    split: str
    path: str
    weight: float | None


@dataclass(frozen=True, slots=True)
class DatasetWeights:
    """The class weights of a dataset.

    ``split`` is the counted split, ``"all"`` for every image, and ``basis`` describes
    it; ``rule`` is empty if masks have different rules.
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
        """The scheme with a name; raises `KeyError` if there is none."""
        return {one.scheme: one for one in self.schemes}[name]


NEARLY_EVEN: Final = 2.0
"""Imbalance ratio up to which no weights are recommended."""
FEW_PIXELS: Final = 1000
FEW_IMAGES: Final = 10
"""Fewer changed pixels, or images with change, make a ratio unreliable."""


@dataclass(frozen=True, slots=True)
class Recommendation:
    """The recommended weights: for one channel, and for two, unchanged first.

    None if no weight is defined. The text includes the reason.
    """

    pos_weight: float | None
    weight: tuple[float, float] | None
    text: str


def recommend(counts: Tally) -> Recommendation:
    """Recommend weights: none for nearly even classes, else the square root.

    A weight w on changed pixels moves the decision point to a true probability of
    1 / (1 + w). The full ratio n0 / n1 moves it to the share of changed pixels; its
    square root lies halfway on the log odds scale.
    """
    ratio = counts.pos_weight
    if not ratio:
        absent = "changed" if counts.unchanged else "unchanged"
        reason = f"no pixel is {absent}" if counts.valid else "no pixel is valid"
        return Recommendation(None, None, f"none: {reason}, so no weight is defined")
    share = 100 * counts.changed / counts.valid
    if 1 / NEARLY_EVEN <= ratio <= NEARLY_EVEN:
        text = f"no weights: {share:.3g} % of the valid pixels are changed, nearly even"
        return Recommendation(1.0, (1.0, 1.0), text)
    root, caution = math.sqrt(ratio), ""
    images = counts.images - counts.without_change
    if ratio < 1:
        caution = "most pixels are changed, so check whether masks are inverted: "
    elif counts.changed < FEW_PIXELS and images < FEW_IMAGES:
        pixels = counted(counts.changed, "changed pixel")
        caution = f"only {pixels} in {counted(images, 'image')}: "
    text = (
        f"{caution}pos_weight {root:.4g}, or weight=[1, {root:.4g}] for "
        f"two channels: the square root of unchanged / changed = {ratio:.4g}; at "
        f"threshold 0.5, pixels are predicted changed from a true probability of "
        f"{100 / (1 + ratio):.3g} % with the full ratio, {100 / (1 + root):.3g} % with "
        "the root"
    )
    return Recommendation(root, (1.0, root), text)
