"""A report as one HTML file that needs no network and no script."""

from __future__ import annotations

import base64
import html
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from cdstats.core.columns import columns_of, plain, printable
from cdstats.core.messages import counted
from cdstats.core.records import ALL
from cdstats.render.figures import style
from cdstats.render.figures.charts import charts
from cdstats.render.figures.errors import WORDS, png_bytes
from cdstats.render.figures.files import file_stems
from cdstats.render.figures.names import FIGURES
from cdstats.render.figures.output import FigureFormat, figure_bytes
from cdstats.render.figures.style import OUTCOMES, styled
from cdstats.report.html_tables import (
    HtmlTable,
    curve_table,
    dataset_table,
    failures,
    loss_table,
    metrics_table,
    record_table,
    stated_notes,
)

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from cdstats.core.columns import Record
    from cdstats.core.material import Material, Picture
    from cdstats.render.figures.chart import Chart

MOST_ROWS: Final = 64
"""Rows of a figure that the page holds as a table too."""


THEMED: Final = {
    style.INK: "ink",
    style.MUTED: "muted",
    style.GRID: "grid",
    style.PAPER: "paper",
    style.BLUE: "blue",
    style.VERMILION: "vermilion",
    style.GREEN: "green",
    style.ORANGE: "orange",
    style.SKY: "sky",
    style.PURPLE: "purple",
}
"""Colours that a page sets for its theme, by the names of their variables."""
_NAME: Final = re.compile(r'(\bid="|url\(#|href="#)')
_SIZE: Final = re.compile(r' (?:width|height)="[\d.]+pt"')


@dataclass(frozen=True)
class Figure:
    """A figure of the page.

    Attributes:
        name: Its name among the elements of the page.
        title: What it shows.
        caption: Unit, rule and reading.
        svg: The drawing.
        table: Its rows; None where they are too many for a page.
        rows: How many they are.
    """

    name: str
    title: str
    caption: str
    svg: str
    table: HtmlTable | None
    rows: int


@dataclass(frozen=True)
class Thumbnail:
    """A picture of the page: its data, and what it shows in words."""

    data: str
    width: int
    height: int
    title: str
    counts: str


@dataclass(frozen=True)
class Gallery:
    """The worst images of a model."""

    model: str
    thumbnails: tuple[Thumbnail, ...]


def report_html(material: Material) -> str:
    """The page: tables, figures, pictures and where all of it comes from.

    Equal records give equal pages.

    Args:
        material: The records.
    """
    from jinja2 import Environment, PackageLoader, StrictUndefined

    environment = Environment(
        loader=PackageLoader("cdstats.report", "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        finalize=_finalize,
    )
    found, missing = charts(material)
    drawn = [one for one in found if one.figure != "errors"]
    masks, scores = material.masks, material.scores
    stated = stated_notes(scores) if scores else ()
    pairs = list(zip(drawn, _figures(drawn, stated), strict=True))
    return environment.get_template("report.html").render(
        provenance=material.provenance,
        lede=list(_lede(material)),
        masks=masks,
        scores=scores,
        datasets=dataset_table(masks.datasets) if masks else None,
        mask_groups=_mask_groups(material, pairs),
        metrics=metrics_table(scores) if scores else None,
        losses=loss_table(scores) if scores else None,
        curves=curve_table(scores) if scores else None,
        score_figures=[figure for one, figure in pairs if one.figure not in _OF_MASKS],
        galleries=_galleries(material),
        key=[(OUTCOMES[name], text) for name, text in WORDS.items()],
        missing=[(FIGURES[one.figure], one.reason) for one in missing],
        failures=failures(material),
    )


def _finalize(value: Any) -> Any:  # noqa: ANN401 - whatever a template prints
    """Texts without control characters; what is marked as safe stays as it is."""
    return printable(value) if type(value) is str else value


_OF_MASKS: Final = tuple(FIGURES)[:5]


def _mask_groups(
    material: Material, pairs: list[tuple[Chart, Figure]]
) -> list[tuple[str, list[Figure]]]:
    """The figures of each dataset, in the order of datasets."""
    rows = material.masks.datasets if material.masks else ()
    own = [(one, figure) for one, figure in pairs if one.figure in _OF_MASKS]
    return [
        (row.dataset, [figure for one, figure in own if one.subject == row.dataset])
        for row in rows
        if row.split == ALL
    ]


def _figures(found: list[Chart], stated: Sequence[str]) -> Iterator[Figure]:
    for number, (stem, one) in enumerate(zip(file_stems(found), found, strict=True), 1):
        name = f"figure-{number}"
        whole = f"{one.title}: {one.subject}" if one.subject else one.title
        with styled():
            data = figure_bytes(one.draw(), stem, FigureFormat.SVG)
        table = None
        if len(one.rows) <= MOST_ROWS:
            notes = () if one.figure in _OF_MASKS else stated
            caption = f"Rows of the figure {whole}"
            table = record_table(caption, one.rows, one.kind, notes=notes)
        svg = inline_svg(data.decode("utf-8"), name, whole, one.caption)
        yield Figure(name, one.title, one.caption, svg, table, len(one.rows))


def _galleries(material: Material) -> list[Gallery]:
    pictures = material.scores.pictures if material.scores else ()
    models = dict.fromkeys(one.image.model for one in pictures)
    return [
        Gallery(model, tuple(_thumbnail(p) for p in pictures if p.image.model == model))
        for model in models
    ]


def _thumbnail(picture: Picture) -> Thumbnail:
    image = picture.image
    data = base64.b64encode(png_bytes(picture)).decode("ascii")
    counts = ", ".join(
        f"{name.upper()} {plain(getattr(image, name))}"
        for name in ("tp", "fp", "fn", "tn")
    )
    height, width = picture.shares.shape[:2]
    title = f"{image.pred}: {100 * image.wrong_share:.3g} % wrong"
    return Thumbnail(f"data:image/png;base64,{data}", width, height, title, counts)


def _lede(material: Material) -> Iterator[str]:
    """What the report comes to, in a sentence for each dataset and one for models."""
    for row in material.masks.datasets if material.masks else ():
        if row.split == ALL:
            ratio = _shown(row, "change_ratio")
            fraction = _shown(row, "change_fraction")
            yield (
                f"{row.dataset or 'Masks'}: {counted(row.images, 'mask')}, changed / "
                f"unchanged {ratio}, {fraction} of the valid pixels are changed"
            )
    models = [one.dataset for one in material.scores.models] if material.scores else []
    known = [one for one in models if one.f1_pooled is not None]
    if known:
        best = max(known, key=lambda one: one.f1_pooled or 0.0)
        name = f"{best.model}, " if best.model else ""
        highest = "Highest F1 of the changed class" if len(known) > 1 else "F1"
        yield (
            f"{highest}, pooled: {name}{_shown(best, 'f1_pooled')}; class-mean "
            f"BCE {_shown(best, 'class_mean_bce')}"
        )


def _shown(row: Record, name: str) -> str:
    return columns_of(type(row))[name].cell(getattr(row, name))


def inline_svg(text: str, name: str, title: str, description: str) -> str:
    """An SVG file as an element of a page.

    Args:
        text: The file, as matplotlib writes it.
        name: A name that no other figure of the page has.
        title: What the figure shows, for those who cannot see it.
        description: What it says.
    """
    start = text.index("<svg")
    body = re.sub(r"<metadata>.*?</metadata>", "", text[start:], flags=re.DOTALL)
    body = _NAME.sub(rf"\g<1>{name}-", body)
    for colour, variable in THEMED.items():
        body = body.replace(colour, f"var(--{variable})")
    head, _, rest = body.partition(">")
    head = _SIZE.sub("", head)
    words = (
        f'<title id="{name}-title">{html.escape(printable(title))}</title>'
        f'<desc id="{name}-desc">{html.escape(printable(description))}</desc>'
    )
    role = f'role="img" aria-labelledby="{name}-title" aria-describedby="{name}-desc"'
    return f"{head} {role}>{words}{rest.strip()}"
