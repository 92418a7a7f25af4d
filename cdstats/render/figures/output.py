"""Figures as files: PDF, SVG and PNG whose bytes depend on their rows alone."""

from __future__ import annotations

import io
from enum import StrEnum
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_DPI: Final = 300


class FigureFormat(StrEnum):
    """A format of figures."""

    PDF = "pdf"
    SVG = "svg"
    PNG = "png"


_METADATA: Final[dict[FigureFormat, dict[str, Any]]] = {
    FigureFormat.PDF: {"CreationDate": None, "Producer": None, "Creator": None},
    FigureFormat.SVG: {"Date": None, "Creator": None},
    FigureFormat.PNG: {"Software": None},
}


def figure_bytes(figure: Figure, name: str, output: FigureFormat) -> bytes:
    """A figure as a file.

    Args:
        figure: A figure drawn in the style of this program.
        name: The name of the figure: names inside an SVG depend on it.
        output: The format.
    """
    from matplotlib import rc_context

    if figure.get_layout_engine() is not None:
        # Every drawing would lay it out again, a little differently each time.
        figure.draw_without_rendering()
        figure.set_layout_engine("none")
    data = io.BytesIO()
    with rc_context({"svg.hashsalt": name}):
        figure.savefig(data, format=output.value, dpi=_DPI, metadata=_METADATA[output])
    return data.getvalue()
