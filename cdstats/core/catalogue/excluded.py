"""Losses of the surveys that no saved prediction can be scored with, and why."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Mapping

_WINDOWS: Final = "it is computed on local windows"
_NETWORK: Final = "it steers training, through parts of the network beside its output"

NOT_SCORES: Final[Mapping[str, str]] = {
    "region_mutual_information": f"{_WINDOWS}, the neighbourhood of every pixel",
    "robust_t_loss": "its parameter nu is learned during training",
    "hausdorff_erosion": f"{_WINDOWS}, by repeated erosion; hausdorff_dt is its "
    "distance-transform form",
    "hausdorff_convolution": f"{_WINDOWS}, by convolutions; hausdorff_dt is its "
    "distance-transform form",
    "shape_aware": "the distance between the contours of a probability map and of a "
    "mask has no agreed definition",
    "boundary_aware": _NETWORK,
    "active_boundary": "it moves boundaries pixel by pixel during training",
    "inverseform": "it needs a trained network that compares boundaries",
    "conditional_boundary": "it needs the features of each pixel's neighbours",
    "region_wise": "its maps of pixel weights are chosen for training",
    "boundary_difference_over_union": "the boundary length in its weight alpha has no "
    "agreed definition; with alpha=0 it is jaccard",
    "cldice": "it needs soft skeletons, computed on local windows",
    "cmssl": f"{_WINDOWS}, weighed by the largest structural error of the image",
    "ssim": _WINDOWS,
    "ldam": "its margins shift the logits during training",
}
"""Name to reason; `cdstats.core.catalogue.lookup` joins them to a message."""
