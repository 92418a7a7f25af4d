"""Output of `cdstats compare`: models, differences with intervals, images."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Any, Final

from rich.text import Text

from cdstats.core.columns import (
    UNDEFINED,
    columns_of,
    further_columns,
    own_first,
    printable,
)
from cdstats.core.comparison_records import (
    ALL_DRAWN,
    IN_SAMPLE_WAY,
    PARTS,
    SD,
    ComparedModel,
    DifferingImage,
)
from cdstats.core.errors import counted
from cdstats.core.score_records import ScoreRecord, Stated
from cdstats.core.signature import signature_notes
from cdstats.render.scores import PAPER_SCALE, SCALE, is_thresholded
from cdstats.render.table import Document, Table, needed, row_object
from cdstats.render.terminal import (
    add_numbers,
    add_texts,
    plain_grid,
    print_notes,
    print_table,
    screen_table,
    share,
)

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence

    from rich.console import Console
    from rich.table import Table as Grid

    from cdstats.core.columns import Column
    from cdstats.core.comparison_records import Compared, Difference

_SCREEN: Final = 80
"""Largest width of a table, in characters."""
_PLOT: Final = 17
"""Width of the drawing of an interval, in characters; odd, so that it has a middle."""
_MODELS: Final = (
    *("model", "precision_pooled", "recall_pooled", "f1_pooled", "iou_pooled"),
    *("kappa", "bce_mean", "class_mean_bce", "balanced_ce_mean"),
)
_CURVES: Final = (
    *("model", "average_precision", "f1_pooled"),
    *("best_f1_in_sample", "best_threshold_in_sample"),
)
_WIDE: Final = (
    *("precision_pooled", "recall_pooled", "class_mean_bce", "balanced_ce_mean"),
    "kappa",
)
"""Columns that a narrow table omits."""
_DIFFERENCES: Final = (
    *("f1_pooled", "average_precision", "best_f1_in_sample"),
    *("bce_mean", "class_mean_bce"),
)
_TITLES: Final = {
    "f1_pooled": "F1 of all images together",
    "average_precision": "AP, average precision of all pixels",
    "best_f1_in_sample": "F1 at the best threshold of each model, in-sample",
    "bce_mean": "BCE, mean over pixels",
    "class_mean_bce": "BCE, mean of the class means",
}
_MOST_IMAGES: Final = 5
_MOST_COLUMNS: Final = 6
"""Largest number of models whose values of an image are columns."""
_MOST_DIGITS: Final = 6


@dataclass(frozen=True)
class _Scale:
    """Range and number of decimals of the differences of one measure."""

    low: float
    high: float
    decimals: int

    @classmethod
    def of(cls, found: Sequence[Compared], known: int) -> _Scale:
        ends, digits = [0.0], 3
        for gap in (one.to_first for one in found if one.to_first):
            each = (gap.difference, gap.low, gap.high)
            numbers = [number for number in each if number is not None]
            ends += numbers
            most = max(map(abs, numbers), default=0.0)
            if most > 0:
                digits = max(digits, 1 - math.floor(math.log10(most)))
        return cls(min(ends), max(ends), min(digits, known))

    def place(self, number: float) -> int:
        """The position of a number in the drawing."""
        share = (number - self.low) / (self.high - self.low)
        return round(share * (_PLOT - 1))

    def number(self, value: float | None, sign: str = "") -> str:
        """A number with the decimals of the measure."""
        return UNDEFINED if value is None else f"{value + 0.0:{sign},.{self.decimals}f}"

    def drawing(self, found: Difference) -> str:
        """A drawing of the interval and of zero on a line."""
        if self.high == self.low:
            return ""
        signs, zero = ["·"] * _PLOT, "│"
        if found.low is not None and found.high is not None:
            for at in range(self.place(found.low), self.place(found.high) + 1):
                signs[at] = "─"
            # The sign states whether zero is inside, also where rounding hides it.
            zero = "┼" if found.low <= 0 <= found.high else "│"
        signs[self.place(0.0)] = zero
        if found.difference is not None:
            signs[self.place(found.difference)] = "●"
        return "".join(signs)


def compare_document(
    device: str,
    models: Sequence[ComparedModel],
    differing: Sequence[DifferingImage],
    images: Sequence[ScoreRecord],
    asked: Sequence[str],
    losses: Collection[str],
    differences: Sequence[str] = (),
    *,
    by_image: bool = False,
    adds_images: bool = False,
    columns: tuple[str, ...] | None = None,
) -> Document:
    """The output of `cdstats compare`: models, and images on which they differ.

    The measures ``asked`` are shown with the usual ones, or ``differences`` instead of
    both; lower is better for ``losses``. With ``by_image``, formats with a single table
    contain the differing images; with ``adds_images``, the screen shows the images with
    the largest differences below the models.
    """

    def every() -> Table:
        if by_image:
            return Table.of(DifferingImage, differing, columns)
        return Table.of(ComparedModel, models, columns)

    def shown() -> Table:
        if by_image:
            names = columns or _image_columns(differing)
            return Table.of(DifferingImage, differing, names, _stated_notes(models))
        table = Table.of(
            ComparedModel, models, columns or paper_columns(models, differences)
        )
        joins = columns is None
        notes = comparison_notes(models, table.columns, joins=joins)
        return replace(
            table,
            notes=tuple(notes),
            ranks=True,
            joins=joins,
            wide=() if columns else _WIDE,
        )

    def data() -> Mapping[str, Any]:
        own = own_first(DifferingImage)
        return {
            "device": device,
            **compare_totals(models),
            "differing": ({n: getattr(one, n) for n in own} for one in differing),
            "images": map(row_object, images),
        }

    def show(console: Console) -> None:
        if columns:
            print_table(console, every())
        elif by_image:
            print_differing(console, differing, models, every=True)
        else:
            print_models(
                console, models, differences or (*_DIFFERENCES, *asked), losses
            )
            if adds_images:
                print_differing(console, differing, models)
        console.print()
        print_notes(console, (*comparison_notes(models, short=True), SCALE))

    return Document(every, shown, data, show)


def compare_totals(models: Sequence[ComparedModel]) -> dict[str, Any]:
    """The models as written to a JSON ``--summary`` file, each measure an object."""
    blank = dict.fromkeys(PARTS)
    names = columns_of(ComparedModel)
    found = []
    for model in models:
        measures = {
            name: {
                "value": one.value,
                **(asdict(one.to_first) if one.to_first else blank),
                SD: one.sd,
            }
            for name, one in model.compared.items()
        }
        found.append({**{n: getattr(model, n) for n in names}, "measures": measures})
    return {"models": found}


def _image_columns(rows: Sequence[DifferingImage]) -> tuple[str, ...]:
    kept = needed(
        "target part split measure spread",
        part=any(row.part for row in rows),
        split=any(row.split for row in rows),
    )
    return (*kept, *further_columns(rows))


def paper_columns(
    models: Sequence[ComparedModel], differences: Sequence[str] = ()
) -> tuple[str, ...]:
    """The columns of a table for papers: measures, and intervals of some of them."""
    parts = ("difference", "low", "high")
    shown = differences or ("f1_pooled", "bce_mean")
    further = {n: [f"{n}_{p}" for p in parts] for n in shown}
    if any(model.repeats for model in models):
        further = {name: [f"{name}_{SD}", *own] for name, own in further.items()}
    names = _defined(models, tuple(dict.fromkeys((*_MODELS, *differences))))
    return tuple(one for n in names for one in (n, *further.get(n, ())))


def _defined(models: Sequence[ComparedModel], names: Sequence[str]) -> tuple[str, ...]:
    held = {
        name
        for model in models
        for name, one in model.compared.items()
        if one.value is not None
    }
    return tuple(n for n in names if n in ("model", _CURVES[-1]) or n in held)


def print_models(
    console: Console,
    models: Sequence[ComparedModel],
    differences: Sequence[str],
    losses: Collection[str],
) -> None:
    """Print the models, then their differences from the first model by measure.

    Lower is better for ``losses``.
    """
    width = min(console.width, _SCREEN)
    own = Table.of(ComparedModel, models, _defined(models, _MODELS))
    console.print(screen_table(own, width), crop=False)
    if any(model.average_precision_within is not None for model in models):
        console.print()
        own = Table.of(ComparedModel, models, _defined(models, _CURVES))
        console.print(screen_table(own, width), crop=False)
    for name in _defined(models, differences):
        found = [model.compared[name] for model in models]
        if all(one.value is None for one in found[1:]):
            continue
        console.print()
        better = "lower" if name in losses else "higher"
        title = f"{_TITLES.get(name, name)} ({better} is better)"
        console.print(Text(printable(title), style="bold"))
        table = _difference_table(models, found, console.encoding)
        console.print(table, width=width, crop=False)


def _difference_table(
    models: Sequence[ComparedModel], found: Sequence[Compared], encoding: str
) -> Grid:
    table = plain_grid()
    add_texts(table, "Model", min_width=8)
    percent = f"{100 * models[0].confidence:.10g} %"
    add_numbers(table, "Value", "Difference", f"{percent} interval")
    table.add_column("", no_wrap=True)
    add_numbers(table, "Same\nsign")
    scale = _Scale.of(found, _known_digits(models, found))
    for model, one in zip(models, found, strict=True):
        cells = ["", "", "", ""]
        if gap := one.to_first:
            ends = [scale.number(end, "+") for end in (gap.low, gap.high)]
            interval = UNDEFINED if UNDEFINED in ends else " to ".join(ends)
            drawing = scale.drawing(gap) if encoding.startswith("utf") else ""
            difference = scale.number(gap.difference, "+")
            cells = [difference, interval, drawing, share(gap.same_sign)]
        value = scale.number(one.value)
        value += "" if one.sd is None else f" ± {scale.number(one.sd)}"
        table.add_row(Text(printable(model.model)), value, *cells)
    return table


def _known_digits(models: Sequence[ComparedModel], found: Sequence[Compared]) -> int:
    """Number of exact decimals of a measure; AP and best F1 have an error bound."""
    names = ("average_precision", "best_f1_in_sample")
    bounds = [
        model.average_precision_within or 0.0
        for model, one in zip(models, found, strict=True)
        if any(model.compared.get(name) is one for name in names)
    ]
    most = max(bounds, default=0.0)
    return min(_MOST_DIGITS, int(-math.log10(most))) if most else _MOST_DIGITS


def print_differing(
    console: Console,
    images: Sequence[DifferingImage],
    models: Sequence[ComparedModel],
    *,
    every: bool = False,
) -> None:
    """Print the images on which models differ most by each measure, or all images."""
    width = min(console.width, _SCREEN)
    for measure in dict.fromkeys(image.measure for image in images):
        own = [one for one in images if one.measure == measure]
        if not every:
            own = [one for one in own if one.spread][:_MOST_IMAGES]
        if not own:
            continue
        console.print()
        title = f"images where {columns_of(ScoreRecord)[measure].line} differs most"
        console.print(Text(title, style="bold"))
        if len(models) <= _MOST_COLUMNS:
            names = (f"{n} {one.model}" for n, one in enumerate(models, 1))
            text = Text(f"  {printable(', '.join(names))}", style="dim")
            console.print(text, width=width)
        console.print(_differing_table(own, models), width=width, crop=False)


def _differing_table(
    images: Sequence[DifferingImage], models: Sequence[ComparedModel]
) -> Grid:
    """Each image with the values of all models, or of the lowest and highest one."""
    table = plain_grid()
    add_texts(table, "Mask", min_width=12)
    few = models if len(models) <= _MOST_COLUMNS else []
    add_numbers(table, *(str(n) for n in range(1, len(few) + 1)), "Spread")
    add_texts(table, *(() if few else ("Lowest", "Highest")))
    for image in images:
        table.add_row(
            Text(printable(image.part or image.target)),
            *(_plain(image.values[model.model]) for model in few),
            _plain(image.spread),
            *(
                Text(f"{_plain(image.values[name])} {printable(name)}")
                for name in (() if few else (image.lowest, image.highest))
            ),
        )
    return table


def _plain(value: float | None) -> str:
    if value is None:
        return UNDEFINED
    return f"{value:.3f}" if value == 0 or abs(value) >= 0.001 else f"{value:.2g}"


def comparison_notes(
    models: Sequence[ComparedModel],
    columns: Sequence[Column] | None = None,
    *,
    joins: bool = False,
    short: bool = False,
) -> list[str]:
    """Footnotes on the method and the limits of the intervals.

    With ``columns``, only the footnotes of these columns.
    """

    def concern(*parts: str) -> bool:
        names = None if columns is None else [one.name for one in columns]
        return names is None or any(part in name for name in names for part in parts)

    first = models[0]
    images = counted(first.images - first.images_without_valid, "image")
    grouped = f"groups: {images} by {first.group}" if first.group else ""
    images = counted(first.groups, "group") if first.group else images
    drawn = f"{counted(first.resamples, 'resample')} of {images}, seed {first.seed}"
    if first.groups <= ALL_DRAWN and not first.repeats:
        every = counted(first.groups**first.groups, "resample")
        drawn = f"all {every} of {images}"
    notes = []
    if concern("_difference", "_same_sign"):
        text = f"differences from {first.model or 'the first model'}"
        if concern("_same_sign"):
            text += "; same sign: share of resamples on the same side of 0"
        notes.append(text)
    if first.repeats:
        runs = ", ".join(f"{one.model} {one.repeats}" for one in models)
        notes.append(
            f"mean ± sd (n-1) over runs: {runs}; each resample draws runs, too"
        )
    has_intervals = concern("_low", "_high")
    if has_intervals:
        kind = f"{100 * first.confidence:.10g} % percentile intervals"
        kind = f"±: half the width of {kind}" if joins else kind
        notes += [f"{kind}, paired bootstrap: {drawn}", *filter(None, [grouped])]
    undefined = max(
        (
            one.to_first.undefined
            for model in models[1:]
            for one in model.compared.values()
            if one.to_first is not None and one.to_first.difference is not None
        ),
        default=0,
    )
    if undefined and concern("_low", "_high", "_same_sign", "_undefined"):
        notes.append(
            f"in {counted(undefined, 'resample')} a measure is not defined: no image "
            "with change, or none without, was drawn"
        )
    if len(models) > 2 and has_intervals:
        notes.append(
            f"intervals of {len(models) - 1:,} models are not corrected for multiple "
            "comparisons"
        )
    within = [model.average_precision_within for model in models]
    known = [value for value in within if value is not None]
    if known and concern("in_sample"):
        notes.append(
            "in-sample: the best threshold is chosen on these images, so its F1 is "
            "optimistic"
        )
        notes.append(IN_SAMPLE_WAY)
    if known and concern("average_precision", "best_f1"):
        notes.append(
            "AP, best F1: exact"
            if max(known) == 0
            else f"AP, best F1: within {max(known):.2g} of the values of sorted pixels"
        )
    if columns is None:
        return [*notes, *_stated_notes(models, short=short)]
    scale = [PAPER_SCALE] if any(one.better == "lower" for one in columns) else []
    stated = _stated_notes(models, threshold=is_thresholded(columns))
    return [*notes, *stated, *scale]


def _stated_notes(
    models: Sequence[ComparedModel], *, threshold: bool = True, short: bool = False
) -> list[str]:
    """Footnotes with the rules of the masks, other decisions, and the signatures."""
    known = Stated.of(models)
    rules = [f"masks: {known.rule}"] if known.rule else []
    stated = Stated.notes(models, threshold=threshold)
    return [*rules, *stated, *signature_notes(models, short=short)]
