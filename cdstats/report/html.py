"""A report as one HTML file without scripts or external resources."""

from __future__ import annotations

import base64
import html
import re
from collections import Counter
from dataclasses import dataclass, field, replace
from functools import partial
from typing import TYPE_CHECKING, Any, Final

from cdstats.core.charts import CurveSummary
from cdstats.core.columns import UNDEFINED, column, columns_of, plain, printable
from cdstats.core.comparison_records import IN_SAMPLE_WAY
from cdstats.core.errors import Level, counted
from cdstats.core.labelling import REFUSED
from cdstats.core.metrics import metrics_of
from cdstats.core.records import ALL, SummaryRecord
from cdstats.core.rule_sensitivity import RuleSensitivity
from cdstats.core.score_records import DatasetScore, Stated
from cdstats.core.signature import signature_notes
from cdstats.render.comparison import comparison_notes
from cdstats.render.figures import FIGURES, FigureFormat, style
from cdstats.render.figures.charts import curve_summaries, figures_of
from cdstats.render.figures.files import figure_bytes, file_stems
from cdstats.render.figures.scores import WORDS, png_bytes
from cdstats.render.figures.style import OUTCOMES, styled
from cdstats.render.masks import rules_of, summary_columns
from cdstats.render.scores import OTHERWISE, sensitivity_footnotes
from cdstats.render.table import Table
from cdstats.render.terminal import share
from cdstats.score.measures import FEW_IMAGES

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from cdstats.core.catalogue import LossResult, Shares
    from cdstats.core.columns import Record
    from cdstats.core.material import MaskMaterial, Material, ScoreMaterial
    from cdstats.render.figures.charts import Chart

MOST_ROWS: Final = 64
"""Largest number of rows of a figure that are included as a table."""
MOST_FAILURES: Final = 20
"""Largest number of reasons of failures that are listed."""
_NAMED: Final = 3
"""Number of files named by a finding or a reason."""
_MINUS: Final = "\N{MINUS SIGN}"
_SMALL: Final = 5e-4
"""Smaller numbers would be rounded to 0.000."""
_ONE_MODEL: Final = "predictions"
"""Label of a model without a name."""

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
"""CSS variables of the colours that depend on the theme of the page."""
_NAME: Final = re.compile(r'(\bid="|url\(#|href="#)')
_TAG: Final = re.compile(r"<[^>]*>")
_SIZE: Final = re.compile(r' (?:width|height)="[\d.]+pt"')


def report_html(material: Material) -> str:
    """The page of a report: tables, figures, error images and provenance.

    Equal records give equal pages.
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
    environment.filters |= {"tied": tied, "is_wide": is_wide}
    found, missing = figures_of(material)
    drawn = [one for one in found if one.figure != "errors"]
    masks, scores = material.masks, material.scores
    stated = _stated_notes(scores) if scores else ()
    failed = _failures(material)
    more = len(failed) - MOST_FAILURES
    pairs = list(zip(drawn, _figures(drawn, stated), strict=True))
    # For label predictions losses say less than metrics, so they are folded.
    labels = scores is not None and all(one.is_hard for one in scores.models)
    folded = [figure for one, figure in pairs if labels and one.figure == _OF_LOSS]
    return environment.get_template("report.html").render(
        provenance=material.provenance,
        lede=list(_lede(material)),
        masks=masks,
        scores=scores,
        datasets=_dataset_table(masks.datasets) if masks else None,
        mask_groups=_mask_groups(material, pairs),
        findings=_findings(masks) if masks else (),
        metrics=_metrics_table(scores) if scores else None,
        differences=_difference_table(scores) if scores else None,
        otherwise=_sensitivity_table(scores) if scores else None,
        losses=_loss_table(scores) if scores else None,
        labels=labels,
        loss_figures=folded,
        curves=_curve_table(scores) if scores else None,
        score_figures=[
            figure
            for one, figure in pairs
            if one.figure not in _OF_MASKS and figure not in folded
        ],
        galleries=_galleries(material),
        key=[(OUTCOMES[name], text) for name, text in WORDS.items()],
        missing=[(FIGURES[one.figure], one.reason) for one in missing],
        failures=failed[:MOST_FAILURES] + ([f"and {more:,} more"] if more > 0 else []),
    )


def _finalize(value: Any) -> Any:  # noqa: ANN401 - whatever a template prints
    """Plain texts with control characters escaped; safe markup is unchanged."""
    if type(value) is not str:
        return value
    return "\xa0".join(map(printable, value.split("\xa0")))


def tied(text: str) -> str:
    r"""A text with no-break spaces between numbers and their signs or units.

    Example:
        >>> tied("256 x 256 pixels, 7 % at p >= 0.5").replace("\xa0", "_")
        '256_x_256_pixels, 7_% at p_>=_0.5'
    """
    return _TIE.sub("\xa0", text)


def is_wide(table: Table) -> bool:
    """Whether a table is wider than the screen of a phone."""
    rows = [[one.line for one in table.columns], *table.cells]
    widest = (max(map(len, column)) for column in zip(*rows, strict=True))
    return sum(widest) + _BETWEEN * len(table.columns) > _PHONE


_PHONE: Final = 46
"""Width of a phone screen, in characters of a table."""
_BETWEEN: Final = 3
_TIE: Final = re.compile(
    r"(?<=\d) (?=%|x \d|(?:pixel|mask|image|bin|resample)s?\b|more\b|wrong\b)"
    r"|(?<=\d x) (?=\d)|(?<=[:=]) (?=\d)| (?=>= )|(?<=[TF][PN]) (?=\d)|(?<=%) (?=wrong)"
)
_OF_MASKS: Final = tuple(FIGURES)[:5]
_OF_LOSS: Final = "loss-beta"


def _mask_groups(
    material: Material, pairs: list[tuple[Chart, dict[str, Any]]]
) -> list[tuple[str, list[dict[str, Any]]]]:
    rows = material.masks.datasets if material.masks else ()
    own = [(one, figure) for one, figure in pairs if one.figure in _OF_MASKS]
    return [
        (row.dataset, [figure for one, figure in own if one.subject == row.dataset])
        for row in rows
        if row.split == ALL
    ]


def _figures(found: list[Chart], stated: Sequence[str]) -> Iterator[dict[str, Any]]:
    """The figures of the page, each with its rows unless there are too many."""
    for number, (stem, one) in enumerate(zip(file_stems(found), found, strict=True), 1):
        name = f"figure-{number}"
        whole = f"{one.title}: {one.subject}" if one.subject else one.title
        with styled():
            data = figure_bytes(one.draw(), stem, FigureFormat.SVG)
        table = None
        if len(one.rows) <= MOST_ROWS:
            notes = () if one.figure in _OF_MASKS else stated
            caption = f"Rows of the figure {whole}"
            own = one.kind.__annotations__
            table = _table(caption, one.kind, one.rows, own, notes)
        yield {
            "name": name,
            "title": one.title,
            "caption": one.caption,
            "svg": inline_svg(data.decode("utf-8"), name, whole, one.caption),
            "table": table,
            "rows": len(one.rows),
        }


def _galleries(material: Material) -> list[dict[str, Any]]:
    found: dict[str, list[dict[str, Any]]] = {}
    for picture in material.scores.pictures if material.scores else ():
        image = picture.image
        data = base64.b64encode(png_bytes(picture)).decode("ascii")
        height, width = picture.shares.shape[:2]
        names = ("tp", "fp", "fn", "tn")
        thumbnail = {
            "data": f"data:image/png;base64,{data}",
            "width": width,
            "height": height,
            "name": image.pred,
            "wrong": f"{100 * image.wrong_share:.3g} % wrong",
            "counts": ", ".join(
                f"{n.upper()} {plain(getattr(image, n))}" for n in names
            ),
            "beside": [
                (name, f"data:image/jpeg;base64,{base64.b64encode(photo).decode()}")
                for name, photo in picture.beside
            ],
            "target": image.target,
        }
        found.setdefault(image.model, []).append(thumbnail)
    return [{"model": name, "thumbnails": own} for name, own in found.items()]


def _lede(material: Material) -> Iterator[str]:
    """The summary of the report: a sentence per dataset, and one for the models."""
    for row in material.masks.datasets if material.masks else ():
        if row.split == ALL:
            if not row.images:
                number = counted(row.failed, "mask")
                yield f"{row.dataset or 'Masks'}: none of {number} could be counted"
                continue
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
            f"{highest}, pooled: {name}{_shown(best, 'f1_pooled')}; IoU "
            f"{_shown(best, 'iou_pooled')}"
        )


def _findings(masks: MaskMaterial) -> list[tuple[str, str, str]]:
    """Severity, check and text of each finding, most severe first."""
    several = len({row.dataset for row in masks.datasets}) > 1
    found = []
    for one in masks.findings:
        names = (one.dataset * several, one.split * (one.split != ALL))
        place = " ".join(name for name in names if name)
        shown = one.paths[:_NAMED] if one.level is not Level.NOTE else ()
        more = len(one.paths) - len(shown)
        rest = f" and {more:,} more" * (more > 0)
        files = f" [{', '.join(shown)}{rest}]" if shown else ""
        text = f"{place}: {one.text}{files}" if place else f"{one.text}{files}"
        found.append((one.severity, one.check, text))
    return found


def _failures(material: Material) -> list[str]:
    """The failures, grouped by reason; refused masks are described by findings."""
    images = material.masks.images if material.masks else ()
    refused = [row for row in images if row.reason.startswith(REFUSED)]
    told = {f"{row.dataset}: {row.path}".removeprefix(": ") for row in refused}
    texts = [
        f"{name or 'masks'}: {counted(number, 'mask')} refused; see Findings"
        for name, number in Counter(row.dataset for row in refused).items()
    ]
    reasons: dict[str, list[str]] = {}
    for name, reason in material.failures:
        if not (name in told and reason.startswith(REFUSED)):
            reasons.setdefault(reason, []).append(name)
    for reason, names in reasons.items():
        more = len(names) - _NAMED
        rest = f" and {more:,} more" * (more > 0)
        texts.append(f"{', '.join(names[:_NAMED])}{rest}: {reason}")
    return texts


def _shown(row: Record, name: str) -> str:
    return columns_of(type(row))[name].cell(getattr(row, name))


def inline_svg(text: str, name: str, title: str, description: str) -> str:
    """An SVG file as an HTML element with unique ids, theme colours and a title."""
    start = text.index("<svg")
    body = re.sub(r"<metadata>.*?</metadata>", "", text[start:], flags=re.DOTALL)
    body = _NAME.sub(rf"\g<1>{name}-", body)
    # Colours are replaced only inside tags, because a text may look like a colour.
    colours = re.compile("|".join(THEMED))
    body = _TAG.sub(
        lambda tag: colours.sub(lambda one: f"var(--{THEMED[one[0]]})", tag[0]), body
    )
    head, _, rest = body.partition(">")
    head = _SIZE.sub("", head)
    words = (
        f'<title id="{name}-title">{html.escape(printable(title))}</title>'
        f'<desc id="{name}-desc">{html.escape(printable(description))}</desc>'
    )
    role = f'role="img" aria-labelledby="{name}-title" aria-describedby="{name}-desc"'
    return f"{head} {role}>{words}{rest.strip()}"


# Tables


def _signed(value: float) -> str:
    """A difference with its sign and enough decimals not to be 0."""
    text = f"{value:+.2g}" if 0 < abs(value) < _SMALL else f"{value + 0.0:+.3f}"
    return text.replace("-", _MINUS)


@dataclass(frozen=True, slots=True)
class _DifferenceRow:
    measure: str
    model: str
    value: float | None
    difference: float | None = field(metadata=column(format=_signed))
    interval: str = field(metadata=column("95 % interval", align="right"))
    same_sign: float | None = field(metadata=column("Same sign", format=share))


@dataclass(frozen=True, slots=True)
class _LossRow:
    model: str
    loss: str
    mean: str = field(metadata=column(align="right"))
    changed: float | None = field(metadata=column("From changed", format=share))
    gradient: float | None = field(metadata=column("Gradient changed", format=share))
    sum: int | None


def _table(
    caption: str,
    kind: type[Record],
    rows: Sequence[Record],
    names: Iterable[str],
    notes: Iterable[str],
) -> Table:
    """A table of records in which no number is rounded to 0."""
    table = Table.of(kind, rows, names, notes)
    columns = [replace(c, format=partial(_unrounded, c.format)) for c in table.columns]
    return replace(table, columns=tuple(columns), caption=caption)


def _unrounded(shown: Callable[[Any], str], value: Any) -> str:  # noqa: ANN401 - of any record
    if isinstance(value, float) and 0 < abs(value) < _SMALL:
        return f"{value:.2g}".replace("-", _MINUS)
    text = shown(value)
    return text.replace("-", _MINUS) if isinstance(value, float) else text


def _dataset_table(rows: Sequence[SummaryRecord]) -> Table:
    """The table of the DASNet paper for these datasets, with rules and definitions."""
    rules = [f"rule of {at or 'masks'}: {rule}" for at, rule in rules_of(rows).items()]
    ratio = "change ratio = changed / unchanged; change fraction = changed / valid"
    caption = "Changed and unchanged pixels of each dataset and split"
    names = (*summary_columns(rows), "beta")
    return _table(caption, SummaryRecord, rows, names, [*rules, ratio])


def _stated_notes(scores: ScoreMaterial) -> tuple[str, ...]:
    """Notes on decisions made before scoring, shown below every table of scores."""
    return Stated.notes(one.dataset for one in scores.models)


def _metrics_table(scores: ScoreMaterial) -> Table:
    rows = [replace(m.dataset, model=m.name or _ONE_MODEL) for m in scores.models]
    known = metrics_of(DatasetScore).items()
    names = ("model", "images", *(name for name, one in known if one.headline))
    pooled = "pooled over all pixels unless stated otherwise; undefined numbers: –"
    signed = signature_notes(one.dataset for one in scores.models)
    notes = (pooled, *_stated_notes(scores), *signed)
    return _table("Metrics of the changed class", DatasetScore, rows, names, notes)


def _sensitivity_table(scores: ScoreMaterial) -> Table | None:
    """The metrics with masks binarised by other rules, if they were requested."""
    found = scores.rule_sensitivity
    rows = [replace(one, model=one.model or _ONE_MODEL) for one in found]
    caption = "Metrics with masks binarised by other rules"
    notes = sensitivity_footnotes(found)
    return _table(caption, RuleSensitivity, rows, OTHERWISE, notes) if rows else None


def _difference_table(scores: ScoreMaterial) -> Table | None:
    """Paired differences of models with intervals; None for a single model."""
    if not scores.compared:
        return None
    first, *others = scores.compared
    labels = all(one.is_hard for one in scores.models)
    rows = []
    for name in (*_COMPARED, *(() if labels else _COMPARED_LOSSES)):
        title = columns_of(DatasetScore)[name].line
        for one in others:
            found = one.compared.get(name)
            gap = found.to_first if found else None
            if found is None or gap is None or gap.difference is None:
                continue
            interval = UNDEFINED
            if gap.low is not None and gap.high is not None:
                interval = f"{_signed(gap.low)} to {_signed(gap.high)}"
            model = one.model or _ONE_MODEL
            parts = (found.value, gap.difference, interval, gap.same_sign)
            rows.append(_DifferenceRow(title, model, *parts))
    caption = f"Differences from {first.model or _ONE_MODEL}, on the same images"
    # The table of metrics already states rule, threshold and signature.
    told = Stated.notes(scores.compared)
    notes = [
        note
        for note in comparison_notes(scores.compared)[1:]
        if note not in told and not note.startswith(("masks: ", "signature"))
    ]
    drawn = first.images - first.images_without_valid
    if drawn < FEW_IMAGES:
        few = "intervals from so few images are unreliable and too narrow"
        notes.insert(0, f"{counted(drawn, 'image')} compared: {few}")
    if first.left_out:
        number = counted(first.left_out, "image")
        notes.insert(0, f"{number} excluded, because a model lacks them")
    names = columns_of(_DifferenceRow)
    return _table(caption, _DifferenceRow, rows, names, notes) if rows else None


_COMPARED: Final = ("f1_pooled", "iou_pooled", "precision_pooled", "recall_pooled")
_COMPARED_LOSSES: Final = ("bce_mean", "class_mean_bce")


def _loss_table(scores: ScoreMaterial) -> Table:
    rows = [
        _loss_row(one.name or _ONE_MODEL, result, share)
        for one in scores.models
        for result, share in zip(one.losses, one.shares, strict=True)
    ]
    notes = [
        f"nats, logs clamped at {_MINUS}100; means over pixels unless stated otherwise",
        "class_mean_bce is on the scale of BCE, balanced_ce is not",
    ]
    if any(one.is_hard for one in scores.models):
        notes.append(
            "predictions are labels, so BCE is 100 × the error rate; use F1 or IoU"
        )
    notes += _stated_notes(scores)
    return _table("Losses", _LossRow, rows, columns_of(_LossRow), notes)


def _loss_row(model: str, result: LossResult, shares: Shares) -> _LossRow:
    typed = ", ".join(
        f"{name}={'none' if value is None else value}"
        for name, value in result.params.items()
    )
    loss = f"{result.loss} ({typed})" if typed else result.loss
    mean, over = result.shown
    text = UNDEFINED if mean is None else plain(mean)
    text += f" ({over})" if over else ""
    total = None if result.sum is None else round(result.sum)
    return _LossRow(model, loss, text, shares.loss, shares.gradient, total)


def _curve_table(scores: ScoreMaterial) -> Table | None:
    """Summaries of the curves; None if no model has a curve."""
    found = curve_summaries(scores)
    rows = [replace(one, model=one.model or _ONE_MODEL) for one in found]
    notes = (
        "pixels pooled over all images; the best F1 is optimistic, because its "
        "threshold was chosen on the same images",
        IN_SAMPLE_WAY,
        "ECE: expected calibration error in 15 bins of equal width",
        *_stated_notes(scores),
    )
    names = columns_of(CurveSummary)
    caption = "Average precision, best F1 and calibration"
    return _table(caption, CurveSummary, rows, names, notes) if rows else None
