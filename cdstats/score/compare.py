"""`cdstats.compare`: several models on the same images, with paired intervals."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from cdstats.core.comparison_names import BY_DEFAULT, ImageMeasure
from cdstats.core.errors import UsageError
from cdstats.io.limits import MAX_PIXELS
from cdstats.score.bootstrap import Resampling
from cdstats.score.comparison import compare_run
from cdstats.score.loss import loss
from cdstats.score.results import choose_losses
from cdstats.score.same_images import check_pairs
from cdstats.score.saved import loss_from

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from os import PathLike
    from pathlib import Path

    from cdstats.score.comparison import Comparison

    StrPath = str | PathLike[str]


def compare(
    pred: StrPath | Sequence[StrPath],
    target: StrPath,
    *,
    baseline: str | None = None,
    common: bool = False,
    curves: bool = True,
    measures: Sequence[ImageMeasure | str] = BY_DEFAULT,
    resamples: int = 2000,
    confidence: float = 0.95,
    seed: int = 0,
    kind: str | None = None,
    device: str = "auto",
    batch_size: int | None = None,
    beta: str | float = "image",
    losses: Sequence[str] = (),
    threshold: float = 0.5,
    changed: str | None = None,
    unchanged: str | None = None,
    ignore: str | None = None,
    preset: str | None = None,
    band: int | None = None,
    split: str | None = None,
    max_pixels: int = MAX_PIXELS,
    progress: Callable[[int, int], None] | None = None,
) -> Comparison:
    """Compare the saved predictions of several models on the same masks.

    The difference of each measure to the first model comes with an interval: images are
    drawn with replacement, the same ones for every model, and the interval holds the
    middle of the differences (percentile bootstrap). No correction is made for
    comparing many models.

    Args:
        pred: Predictions of two or more models: ``NAME=PATH`` for each, or one pattern
            with ``{model}``.
        target: The masks: a file, folder, glob, pattern or address.
        baseline: The model that the others are compared with; by default the first.
        common: Compare the images that all models scored, instead of refusing models
            that differ in their images.
        curves: Whether to give average precision and the best threshold, for which
            floating predictions are read a second time.
        measures: The measures of an image by which `Comparison.differing` is ordered.
        resamples: How many times images are drawn.
        confidence: The share of the resamples inside an interval.
        seed: Where the random numbers start.
        kind: As for `cdstats.loss`, as are the arguments that follow.
        device: Where to compute.
        batch_size: Tiles in a batch on a device.
        beta: β of balanced cross-entropy. That of a dataset stays the same in every
            resample.
        losses: Further losses.
        threshold: A pixel is predicted changed when p is at least this.
        changed: Values of the masks that are changed.
        unchanged: Values that are unchanged.
        ignore: Values that are in no sum.
        preset: Name of a public dataset's encoding.
        band: Band of the masks, counted from 1.
        split: Keep this split alone.
        max_pixels: Pixels that a mask or prediction may declare.
        progress: Called with images done and pixels so far.

    Returns:
        Records of models and images.

    Raises:
        UsageError: If an option is not understood, or there is one model alone.
        DataError: If nothing pairs, or models differ in the images or pixels that they
            score.
    """
    how = Resampling(resamples, confidence, seed)
    chosen = _image_measures(measures)
    run = loss(
        pred,
        target,
        kind=kind,
        device=device,
        batch_size=batch_size,
        beta=beta,
        losses=losses,
        threshold=threshold,
        changed=changed,
        unchanged=unchanged,
        ignore=ignore,
        preset=preset,
        band=band,
        split=split,
        max_pixels=max_pixels,
        histograms=curves,
        check=partial(check_pairs, baseline=baseline, common=common),
        progress=progress,
    )
    further = choose_losses(losses, beta, logits=kind == "logit")
    return compare_run(run, further, how, chosen, baseline, common)


def compare_from(
    path: Path,
    *,
    baseline: str | None = None,
    common: bool = False,
    measures: Sequence[ImageMeasure | str] = BY_DEFAULT,
    resamples: int = 2000,
    confidence: float = 0.95,
    seed: int = 0,
    beta: str | float = "image",
    losses: Sequence[str] = (),
) -> Comparison:
    """Compare models from the rows that ``cdstats loss --csv`` kept of them.

    Average precision and best thresholds are not among the measures: they need
    probabilities.

    Args:
        path: The file.
        baseline: As for `compare`, as are the arguments that follow.
        common: Whether images that a model lacks are left out.
        measures: The measures of an image by which images are ordered.
        resamples: How many times images are drawn.
        confidence: The share of the resamples inside an interval.
        seed: Where the random numbers start.
        beta: β of balanced cross-entropy.
        losses: Further losses.

    Raises:
        UsageError: If an option is not understood, or there is one model alone.
        DataError: If the file is no such file, or models differ in their images.
    """
    how = Resampling(resamples, confidence, seed)
    chosen = _image_measures(measures)
    run = loss_from(path, losses, beta)
    return compare_run(run, choose_losses(losses, beta), how, chosen, baseline, common)


def _image_measures(names: Sequence[ImageMeasure | str]) -> tuple[ImageMeasure, ...]:
    try:
        return tuple(dict.fromkeys(ImageMeasure(name) for name in names))
    except ValueError as error:
        known = ", ".join(one.value for one in ImageMeasure)
        raise UsageError(f"{error}; expected one of {known}") from None
