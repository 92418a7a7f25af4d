"""Figures as PDF, SVG and PNG files, and their rows as CSV files.

The bytes of a figure depend only on its rows.
"""

from __future__ import annotations

import io
import re
from typing import TYPE_CHECKING, Any, Final

from cdstats.render.figures import FIGURES, FigureFormat
from cdstats.render.figures.style import styled
from cdstats.render.table import Table
from cdstats.render.writers import csv_lines

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from matplotlib.figure import Figure

    from cdstats.render.figures.charts import Chart

_DPI: Final = 300


_METADATA: Final[dict[FigureFormat, dict[str, Any]]] = {
    FigureFormat.PDF: {"CreationDate": None, "Producer": None, "Creator": None},
    FigureFormat.SVG: {"Date": None, "Creator": None},
    FigureFormat.PNG: {"Software": None},
}


def figure_bytes(figure: Figure, name: str, output: FigureFormat) -> bytes:
    """The bytes of a figure in a file format."""
    from matplotlib import rc_context

    if (layout := figure.get_layout_engine()) is not None:
        # Each further drawing would compute a slightly different layout.
        layout.execute(figure)
        figure.set_layout_engine(None)
    data = io.BytesIO()
    with rc_context({"svg.hashsalt": name}):
        figure.savefig(data, format=output.value, dpi=_DPI, metadata=_METADATA[output])
    return data.getvalue()


def file_stems(found: Sequence[Chart]) -> list[str]:
    """The file name of each figure, without suffix.

    A figure that occurs once has its plain name; otherwise the name of its dataset or
    model is appended, with other than ASCII letters and digits replaced.

    Example:
        >>> file_stems([])
        []
    """
    kinds = [one.figure for one in found]
    stems: list[str] = []
    for one in found:
        stem = one.figure
        if kinds.count(one.figure) > 1:
            subject = re.sub(r"[^\w.+-]+", "_", one.subject, flags=re.ASCII).strip("._")
            stem = f"{one.figure}-{subject[:60] or 'other'}"
        number, plain = 2, stem
        while stem.lower() in {other.lower() for other in stems}:
            stem = f"{plain}-{number}"
            number += 1
        stems.append(stem)
    return stems


def is_figure_name(stem: str) -> bool:
    """Whether `file_stems` can return a name.

    Example:
        >>> is_figure_name("distribution-LEVIR-CD"), is_figure_name("distributions")
        (True, False)
    """
    return stem in FIGURES or stem.startswith(tuple(f"{name}-" for name in FIGURES))


def figure_files(
    found: Sequence[Chart], formats: Sequence[FigureFormat]
) -> Iterator[tuple[str, bytes]]:
    """Names and bytes of the files of figures: every format, and the rows as CSV."""
    for stem, one in zip(file_stems(found), found, strict=True):
        with styled():
            figure = one.draw()
            for output in formats:
                yield f"{stem}.{output.value}", figure_bytes(figure, stem, output)
        rows = "".join(csv_lines(Table.of(one.kind, one.rows)))
        yield f"{stem}.csv", rows.encode("utf-8", "surrogateescape")
