"""Pictures of where predictions are right and wrong."""

from __future__ import annotations

import io
import math
from typing import TYPE_CHECKING, Any, Final

from cdstats.render.figures.style import (
    COLUMN,
    OUTCOMES,
    PAPER,
    label,
    new_figure,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

    from matplotlib.figure import Figure

    from cdstats.core.material import Picture

WORDS: Final = {
    "tp": "found (TP)",
    "fp": "false alarm (FP)",
    "fn": "missed (FN)",
    "tn": "no change (TN)",
    "ignored": "ignored",
}
_ACROSS: Final = 3


def coloured(picture: Picture) -> Any:  # noqa: ANN401 - an array
    """A picture in colours; floating, ``(rows, columns, 3)``, from 0 to 1."""
    from matplotlib.colors import to_rgb

    return (picture.shares @ [to_rgb(OUTCOMES[name]) for name in OUTCOMES]).clip(0, 1)


def png_bytes(picture: Picture) -> bytes:
    """A picture as a PNG file; equal bytes for equal pictures."""
    from matplotlib.image import imsave

    data = io.BytesIO()
    # Without it the file would name the version of matplotlib.
    metadata: Any = {"Software": None}
    imsave(data, coloured(picture), format="png", metadata=metadata)
    return data.getvalue()


def draw_errors(pictures: Sequence[Picture]) -> Figure:
    """The pictures in rows of three, with a key of their colours."""
    from matplotlib.patches import Patch

    rows = math.ceil(len(pictures) / _ACROSS)
    figure = new_figure(0.35 + rows * (COLUMN / _ACROSS + 0.22))
    grid = figure.subplots(rows, _ACROSS, squeeze=False)
    cells = [axes for line in grid for axes in line]
    for axes in cells:
        axes.set_axis_off()
    for axes, picture in zip(cells, pictures, strict=False):
        axes.imshow(coloured(picture), interpolation="nearest")
        name = label(picture.image.pred, 20)
        title = f"{name}\n{100 * picture.image.wrong_share:.2g} % wrong"
        axes.set_title(title, fontsize=6, fontweight="normal", loc="center", pad=2)
    keys = [
        Patch(facecolor=OUTCOMES[name], edgecolor="#5b6470", linewidth=0.4, label=text)
        for name, text in WORDS.items()
        if name != "ignored" or any(p.image.ignored for p in pictures)
    ]
    figure.legend(
        handles=keys,
        loc="outside upper left",
        ncols=5,
        frameon=False,
        fontsize=6.5,
        handlelength=1,
        handletextpad=0.4,
        columnspacing=1.2,
    )
    figure.set_facecolor(PAPER)
    return figure
