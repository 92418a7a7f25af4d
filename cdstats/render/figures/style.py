"""Style of figures: sizes, colours, axes and labels."""

from __future__ import annotations

from contextlib import contextmanager
from functools import cache
from typing import TYPE_CHECKING, Any, Final

from cdstats.core.columns import printable
from cdstats.core.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from matplotlib.artist import Artist
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

COLUMN: Final = 3.5
"""Width of a journal column, in inches."""
INK, MUTED, GRID, PAPER = "#1b1f24", "#5b6470", "#d5dae0", "#fefefe"
BLUE, VERMILION, GREEN, ORANGE, SKY, PURPLE = (
    *("#0072b2", "#d55e00", "#009e73"),
    *("#e69f00", "#56b4e9", "#cc79a7"),
)
SERIES: Final = (BLUE, VERMILION, GREEN, PURPLE, ORANGE, SKY)
"""Colours of Okabe and Ito, which colour-blind readers can distinguish on white."""
DASHES: Final = ("-", (0, (4, 1.5)), (0, (1, 1.2)))
OUTCOMES: Final = {
    "tp": "#f5f5f5",
    "fp": VERMILION,
    "fn": SKY,
    "tn": "#22272e",
    "ignored": "#8a8f98",
}
"""Colours of the pixels of an error image, which differ also in brightness."""
_COMPILED_PARTS: Final = {"matplotlib": "matplotlib.figure"}
"""The module of a package that imports its compiled parts."""
_LONGEST: Final = 22
_LINE: Final = 0.125
"""Height of a line of the legend, in inches."""
_STYLE: Final[Any] = {
    "font.family": "DejaVu Sans",
    "font.size": 7.5,
    "axes.titlesize": 8,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "axes.titlepad": 6,
    "axes.labelsize": 7.5,
    "xtick.labelsize": 7,
    "ytick.labelsize": 7,
    "axes.linewidth": 0.6,
    "axes.edgecolor": MUTED,
    "axes.labelcolor": INK,
    "axes.facecolor": "none",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.axisbelow": True,
    "axes.grid": True,
    "grid.color": GRID,
    "grid.linewidth": 0.5,
    "xtick.color": MUTED,
    "ytick.color": MUTED,
    "xtick.labelcolor": INK,
    "ytick.labelcolor": INK,
    "xtick.major.width": 0.6,
    "ytick.major.width": 0.6,
    "xtick.major.size": 2.5,
    "ytick.major.size": 2.5,
    "xtick.minor.size": 0,
    "ytick.minor.size": 0,
    "text.color": INK,
    # Dollar signs in names are not formulas.
    "text.parse_math": False,
    "lines.linewidth": 1.3,
    "figure.facecolor": PAPER,
    "savefig.facecolor": PAPER,
    "svg.fonttype": "none",
    "pdf.fonttype": 42,
}


def check_installed(*packages: str) -> None:
    """Raise if one of these packages is not installed or cannot be imported."""
    from importlib import import_module
    from importlib.util import find_spec

    missing = [name for name in packages if find_spec(name) is None]
    if missing:
        raise UsageError(
            f"{' and '.join(missing)} not installed: install the extra with "
            "pip install 'cdstats[report]'"
        )
    for name in packages:
        try:
            import_module(_COMPILED_PARTS.get(name, name))
        except Exception as error:  # noqa: BLE001 - whatever a broken package raises
            first = next(iter(str(error).splitlines()), type(error).__name__)
            raise UsageError(
                f"{name} is installed and cannot be loaded: {printable(first)}. Repair "
                "it with pip install --force-reinstall 'cdstats[report]'"
            ) from None


@contextmanager
def styled() -> Iterator[None]:
    """A context in which figures have the style of cdstats, not the user's style."""
    from matplotlib import rc_context, rcdefaults

    with rc_context():
        rcdefaults()
        with rc_context(_STYLE):
            yield


def new_figure(height: float, *, width: float = COLUMN) -> Figure:
    """A figure with the width of a journal column and an automatic layout."""
    from matplotlib.figure import Figure

    return Figure(figsize=(width, height), layout="constrained")


def new_axes(height: float, *, grid: str = "both") -> tuple[Figure, Axes]:
    """A figure with one pair of axes."""
    figure = new_figure(height)
    axes = figure.add_subplot()
    axes.grid(visible=False)
    if grid:
        axes.grid(visible=True, axis=grid)  # type: ignore[arg-type]
    return figure, axes


def series_style(number: int) -> dict[str, Any]:
    """Colour and dashes of a line; the first eighteen are distinct."""
    return {
        "color": SERIES[number % len(SERIES)],
        "linestyle": DASHES[number // len(SERIES) % len(DASHES)],
    }


def whole_ticks(axes: Axes, name: str) -> None:
    """Keep the ticks of an axis at whole numbers."""
    from matplotlib.ticker import MaxNLocator

    axis = axes.xaxis if name == "x" else axes.yaxis
    axis.set_major_locator(MaxNLocator("auto", integer=True, steps=[1, 2, 2.5, 5, 10]))


def log_ticks(
    axes: Axes,
    name: str,
    ends: tuple[float, float],
    shown: Callable[[float], str],
    digits: Sequence[int] = (1,),
) -> None:
    """Label only multiples of powers of ten, by ``digits``, on a logarithmic axis."""
    every = (digit * 10.0**n for n in range(-4, 10) for digit in digits)
    ticks = [one for one in every if ends[0] * 0.999 <= one <= ends[1] * 1.001]
    names = [shown(tick) for tick in ticks]
    (axes.set_xticks if name == "x" else axes.set_yticks)(ticks, names)
    axes.minorticks_off()


def label(text: str, longest: int = _LONGEST) -> str:
    """A name for a figure, shortened in its middle, in characters of the font.

    Example:
        >>> label("a" * 40)
        'aaaaaaaaaaa…aaaaaaaaaa'
    """
    shown = "".join(
        c if ord(c) in _signs() else ascii(c)[1:-1] for c in printable(text)
    )
    if len(shown) <= longest:
        return shown
    tail = (longest - 1) // 2
    return f"{shown[: longest - 1 - tail]}…{shown[-tail:]}"


@cache
def _signs() -> frozenset[int]:
    from matplotlib.font_manager import findfont, get_font

    return frozenset(get_font(findfont("DejaVu Sans")).get_charmap())


def key_height(entries: int, across: int) -> float:
    """Height of a legend with this number of entries, in inches."""
    return _LINE * 1.15 * -(-entries // across)


def key_above(
    figure: Figure, entries: Sequence[tuple[Artist, str]], *, across: int
) -> None:
    """Draw a legend above the axes, in rows from left to right."""
    handles, names = zip(*entries, strict=True)
    rows = -(-len(names) // across)
    # Matplotlib fills a legend by columns, but it is read by rows.
    order = [row * across + column for column in range(across) for row in range(rows)]
    order = [place for place in order if place < len(names)]
    if len(names) % across:
        order = list(range(len(names)))
    key = figure.legend(
        [handles[place] for place in order],
        [""] * len(order),
        loc="outside upper left",
        ncols=across,
        frameon=False,
        fontsize=7,
        handlelength=1.8,
        handletextpad=0.5,
        columnspacing=1.4,
        borderpad=0.1,
    )
    # Older versions of matplotlib skip labels that start with an underscore.
    for text, place in zip(key.get_texts(), order, strict=True):
        text.set_text(names[place])
