"""`cdstats.compare`: several models on the same images, with paired intervals."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from cdstats.core.arguments import takes
from cdstats.core.comparison_names import ImageMeasure
from cdstats.core.options import CompareOptions, LossOptions
from cdstats.score.bootstrap import Resampling
from cdstats.score.comparison import compare_run
from cdstats.score.grid import Ground
from cdstats.score.interpret import choose_predictions
from cdstats.score.loss import score_predictions
from cdstats.score.results import choose_losses
from cdstats.score.same_images import check_pairs

if TYPE_CHECKING:
    from cdstats.score.comparison import Comparison


@takes(CompareOptions)
def compare(options: CompareOptions) -> Comparison:
    """Compare the saved predictions of several models on the same masks.

    The difference of each measure to the first model comes with an interval: images are
    drawn with replacement, the same ones for every model, and the interval holds the
    middle of the differences (percentile bootstrap). No correction is made for
    comparing many models. The beta of a dataset stays the same in every resample.

    Predictions are scored as by `cdstats.loss`. From the rows that an earlier run kept
    (``from_file``), average precision and best thresholds are not among the measures:
    they need probabilities.

    Returns:
        Records of models and images.

    Raises:
        UsageError: If an option is not understood, or there is one model alone.
        DataError: If nothing pairs, or models differ in the images or pixels that they
            score.
    """
    return compare_models(options)


def compare_models(options: CompareOptions) -> Comparison:
    """What `compare` gives, from its options."""
    baseline, common = options.baseline, options.common
    how = Resampling(options.resamples, options.confidence, options.seed)
    merged = Ground.of(options).merges
    run = score_predictions(
        LossOptions.of(
            options,
            histograms=options.curves,
            check=partial(check_pairs, baseline=baseline, common=common, merged=merged),
        )
    )
    measures = tuple(dict.fromkeys(ImageMeasure(name) for name in options.measures))
    logits = choose_predictions(options).all_logits
    further = choose_losses(options.losses, options.beta, logits=logits)
    return compare_run(run, further, how, measures, baseline, common)
