"""Which figures records can give."""

from __future__ import annotations

from typing import TYPE_CHECKING

from cdstats.render.figures.chart import Chart, Missing
from cdstats.render.figures.mask_charts import charts_of_masks
from cdstats.render.figures.score_charts import charts_of_scores

if TYPE_CHECKING:
    from cdstats.core.material import Material


def charts(material: Material) -> tuple[list[Chart], list[Missing]]:
    """The figures of some records in the order of `FIGURES`, and what is missing.

    Args:
        material: The records. Figures about masks are missing without reason where
            there are no masks, and so are those about predictions.
    """
    found: list[Chart] = []
    missing: list[Missing] = []
    of_masks = charts_of_masks(material.masks) if material.masks else ()
    of_scores = charts_of_scores(material.scores) if material.scores else ()
    for one in (*of_masks, *of_scores):
        if isinstance(one, Chart):
            found.append(one)
        else:
            missing.append(one)
    return found, missing
