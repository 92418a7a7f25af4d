"""Losses that weigh each pixel by its distance to the boundary of the change mask."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from cdstats.core.catalogue.entry import Entry, Parameter, Reduction
from cdstats.core.pixel_terms import Term

if TYPE_CHECKING:
    from cdstats.core.sums import Pair, SumsTable

_BOUNDARY: Final = Term("boundary")
_PENALTY: Final = Term("distance_map_penalised_ce")


def _boundary(s: SumsTable) -> Pair:
    return s.term(_BOUNDARY)


def _hausdorff_dt(s: SumsTable, *, alpha: float) -> Pair:
    return s.term(Term("hausdorff_dt", (alpha,)))


def _distance_map_penalised_ce(s: SumsTable) -> Pair:
    changed, unchanged = s.term(_PENALTY)
    return s.ce_changed_sum + changed, s.ce_unchanged_sum + unchanged


ENTRIES: Final = (
    Entry(
        name="boundary",
        title="boundary loss",
        reduction=Reduction.PIXEL,
        formula=(
            "phi p, phi the distance to the change mask: +d outside, -(d-1) inside, 0 "
            "if the image has one class"
        ),
        source="Kervadec et al. 2019, arXiv 1812.07032; MONAI",
        pitfalls=(
            "Negative for good predictions of objects thicker than two pixels. Grows "
            "with image size, and images of one class add 0. Meant as an addition to a "
            "region loss."
        ),
        terms=lambda: (_BOUNDARY,),
        parts=_boundary,
    ),
    Entry(
        name="hausdorff_dt",
        title="Hausdorff distance-transform loss",
        reduction=Reduction.PIXEL,
        formula=(
            "(p-y)^2 (d_p^alpha + d_y^alpha), d the distance to the boundary, on both "
            "sides, of p > 0.5 and of y; 0 if one class"
        ),
        source="Karimi and Salcudean 2019, arXiv 1904.10030",
        pitfalls=(
            "Other code measures distances inside the masks only, where a far false "
            "alarm gets no weight from y. An image without change gets weight from its "
            "prediction alone."
        ),
        parameters=(Parameter("alpha", 2, "power of the distances", open_low=True),),
        terms=lambda alpha: (Term("hausdorff_dt", (alpha,)),),
        parts=_hausdorff_dt,
    ),
    Entry(
        name="distance_map_penalised_ce",
        title="distance-map penalised cross-entropy",
        reduction=Reduction.PIXEL,
        formula=(
            "(1+phi) CE, phi = (max d - d)/max d, d the distance to the other class "
            "and max d its maximum on the same side; 0 if the image has one class"
        ),
        source="Caliva et al. 2019, arXiv 1908.03679",
        pitfalls=(
            "Sources differ in phi; here it is 0 far from the boundary. A much used "
            "implementation computes the weights and returns the unweighted mean."
        ),
        terms=lambda: (_PENALTY,),
        parts=_distance_map_penalised_ce,
    ),
)
