"""The screen of `cdstats compare`: models, differences with intervals, images."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
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
    ComparedModel,
    DifferingImage,
)
from cdstats.core.errors import counted
from cdstats.core.options import PARTS
from cdstats.core.score_records import ScoreRecord, Stated
from cdstats.render.table import Table, needed
from cdstats.render.terminal import (
    plain_grid,
    print_notes,
    print_table,
    screen_table,
)

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence

    from rich.console import Console
    from rich.table import Table as Grid

    from cdstats.core.comparison_records import Compared, Difference

_SCREEN: Final = 80
"""The width that tables keep to."""
_PLOT: Final = 17
"""Signs of the drawing of an interval: odd, so that it has a middle."""
_MODELS: Final = (
    *("model", "precision_pooled", "recall_pooled", "f1_pooled", "iou_pooled"),
    *("kappa", "bce_mean", "class_mean_bce", "balanced_ce_mean"),
)
_CURVES: Final = (
    *("model", "average_precision", "f1_pooled"),
    *("best_f1_in_sample", "best_threshold_in_sample"),
)
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
"""Models whose values of an image stand side by side."""
_MOST_DIGITS: Final = 6


@dataclass(frozen=True)
class _Scale:
    """The numbers of one measure: their ends, and the decimals of the smallest."""

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
        """The sign of the drawing where a number lies."""
        share = (number - self.low) / (self.high - self.low)
        return round(share * (_PLOT - 1))

    def number(self, value: float | None, sign: str = "") -> str:
        """A number with the decimals of the measure."""
        return UNDEFINED if value is None else f"{value + 0.0:{sign},.{self.decimals}f}"

    def drawing(self, one: Compared) -> str:
        """The interval on a line, with the zero that it may or may not hold."""
        found = one.to_first
        if found is None or self.high == self.low:
            return ""
        signs = ["·"] * _PLOT
        if found.low is not None and found.high is not None:
            for at in range(self.place(found.low), self.place(found.high) + 1):
                signs[at] = "─"
        zero = self.place(0.0)
        signs[zero] = "┼" if _holds_zero(found) else "│"
        if found.difference is not None:
            signs[self.place(found.difference)] = "●"
        return "".join(signs)


def _holds_zero(found: Difference) -> bool:
    """Whether an interval holds 0, however close its end is drawn to it."""
    if found.low is None or found.high is None:
        return False
    return found.low <= 0 <= found.high


@dataclass(frozen=True)
class CompareDocument:
    """The comparison of `cdstats compare`."""

    device: str
    models: Sequence[ComparedModel]
    differing: Sequence[DifferingImage]
    images: Sequence[ScoreRecord]
    further: Sequence[str] = ()
    losses: Collection[str] = ()
    by_image: bool = False
    adds_images: bool = False
    columns: tuple[str, ...] | None = None

    def every(self) -> Table:
        """All columns of images, or of models."""
        if self.by_image:
            return Table.of(DifferingImage, self.differing, self.columns)
        return Table.of(ComparedModel, self.models, self.columns)

    def shown(self) -> Table:
        """The columns of a paper."""
        if self.by_image:
            names = self.columns or _image_columns(self.differing)
            notes = _stated_notes(self.models)
            return Table.of(DifferingImage, self.differing, names, notes)
        names = self.columns or paper_columns(self.models)
        notes = comparison_notes(self.models)
        return Table.of(ComparedModel, self.models, names, notes)

    def data(self) -> Mapping[str, Any]:
        """Models, differing images and predictions."""
        return {
            "device": self.device,
            "models": map(_model, self.models),
            "differing": map(_differing, self.differing),
            "images": [{**asdict(row), **row.losses} for row in self.images],
        }

    def show(self, console: Console) -> None:
        """Print models with their differences, images, or the columns chosen."""
        if self.columns:
            print_table(console, self.every())
        elif self.by_image:
            print_differing(console, self.differing, self.models, every=True)
        else:
            print_models(console, self.models, self.further, self.losses)
            if self.adds_images:
                print_differing(console, self.differing, self.models)
        console.print()
        notes = comparison_notes(self.models)
        print_notes(console, (*notes, "nats, logs clamped at -100"))


@dataclass(frozen=True)
class CompareSummary(CompareDocument):
    """The models of a ``--summary`` file."""

    def data(self) -> Mapping[str, Any]:
        """The models alone."""
        return {"models": map(_model, self.models)}


def _image_columns(rows: Sequence[DifferingImage]) -> tuple[str, ...]:
    kept = needed(
        "target part split measure spread",
        part=any(row.part for row in rows),
        split=any(row.split for row in rows),
    )
    return (*kept, *further_columns(rows))


def _differing(image: DifferingImage) -> dict[str, Any]:
    """An image with the value of each model, and what is stated at the end."""
    return {name: getattr(image, name) for name in own_first(DifferingImage)}


def _model(model: ComparedModel) -> dict[str, Any]:
    """A model with its measures as an object each."""
    blank = dict.fromkeys(PARTS)
    measures = {
        name: {"value": one.value, **(asdict(one.to_first) if one.to_first else blank)}
        for name, one in model.compared.items()
    }
    plain = {name: getattr(model, name) for name in columns_of(ComparedModel)}
    return {**plain, "measures": measures}


def model_table_columns(models: Sequence[ComparedModel]) -> tuple[str, ...]:
    """The columns of the table of models that are defined for one of them."""
    return _defined(models, _MODELS)


def paper_columns(models: Sequence[ComparedModel]) -> tuple[str, ...]:
    """The columns of a table for papers: measures, and intervals of two of them."""
    columns = list(model_table_columns(models))
    for name in ("f1_pooled", "bce_mean"):
        if name in columns:
            place = columns.index(name) + 1
            columns[place:place] = [
                f"{name}_{part}" for part in ("difference", "low", "high")
            ]
    return tuple(columns)


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
    further: Sequence[str],
    losses: Collection[str],
) -> None:
    """Print the models, then how far each is from the first."""
    width = min(console.width, _SCREEN)
    own = Table.of(ComparedModel, models, model_table_columns(models))
    table = screen_table(own, width)
    console.print(table, crop=False)
    if any(model.average_precision_within is not None for model in models):
        console.print()
        own = Table.of(ComparedModel, models, _defined(models, _CURVES))
        table = screen_table(own, width)
        console.print(table, crop=False)
    for name in _defined(models, (*_DIFFERENCES, *further)):
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
    table.add_column("Model", overflow="fold", min_width=8)
    percent = f"{100 * models[0].confidence:.10g} %"
    for head in ("Value", "Difference", f"{percent} interval"):
        table.add_column(head, justify="right", no_wrap=True)
    table.add_column("", no_wrap=True)
    table.add_column(Text("Same\nsign", justify="right"), justify="right", no_wrap=True)
    scale = _Scale.of(found, _known_digits(models, found))
    for model, one in zip(models, found, strict=True):
        gap = one.to_first
        table.add_row(
            Text(printable(model.model)),
            scale.number(one.value),
            scale.number(gap.difference, "+") if gap else "",
            _interval(one, scale),
            scale.drawing(one) if encoding.startswith("utf") else "",
            _share(gap.same_sign) if gap else "",
        )
    return table


def _known_digits(models: Sequence[ComparedModel], found: Sequence[Compared]) -> int:
    """Decimals of a measure that are known: AP and best F1 may not have all."""
    names = ("average_precision", "best_f1_in_sample")
    bounds = [
        model.average_precision_within or 0.0
        for model, one in zip(models, found, strict=True)
        if any(model.compared.get(name) is one for name in names)
    ]
    most = max(bounds, default=0.0)
    return min(_MOST_DIGITS, int(-math.log10(most))) if most else _MOST_DIGITS


def _interval(one: Compared, scale: _Scale) -> str:
    gap = one.to_first
    if gap is None:
        return ""
    if gap.low is None or gap.high is None:
        return UNDEFINED
    return f"{scale.number(gap.low, '+')} to {scale.number(gap.high, '+')}"


def _share(value: float | None) -> str:
    return UNDEFINED if value is None else f"{100 * value:.1f} %"


def print_differing(
    console: Console,
    images: Sequence[DifferingImage],
    models: Sequence[ComparedModel],
    *,
    every: bool = False,
) -> None:
    """Print the images on which models differ most, or every one, by each measure."""
    for measure in dict.fromkeys(image.measure for image in images):
        own = [one for one in images if one.measure == measure]
        if not every:
            own = [one for one in own if one.spread][:_MOST_IMAGES]
        if not own:
            continue
        console.print()
        title = f"images where {_one_line(measure)} differs most"
        console.print(Text(title, style="bold"))
        if len(models) <= _MOST_COLUMNS:
            names = (f"{n} {one.model}" for n, one in enumerate(models, 1))
            text = Text(f"  {printable(', '.join(names))}", style="dim")
            console.print(text, width=min(console.width, _SCREEN))
        table = _differing_table(own, models)
        console.print(table, width=min(console.width, _SCREEN), crop=False)


def _differing_table(
    images: Sequence[DifferingImage], models: Sequence[ComparedModel]
) -> Grid:
    """Each image with the value of every model, or of the two that are farthest."""
    table = plain_grid()
    table.add_column("Mask", overflow="fold", min_width=12)
    few = len(models) <= _MOST_COLUMNS
    heads = [str(n) for n in range(1, len(models) + 1)] if few else []
    for head in (*heads, "Spread"):
        table.add_column(head, justify="right", no_wrap=True)
    for head in () if few else ("Lowest", "Highest"):
        table.add_column(head, overflow="fold")
    for image in images:
        values = [image.values[model.model] for model in models]
        ends = () if few else (image.lowest, image.highest)
        table.add_row(
            Text(printable(image.part or image.target)),
            *(map(_plain, values) if few else ()),
            _plain(image.spread),
            *(Text(_end(image, name)) for name in ends),
        )
    return table


def _end(image: DifferingImage, model: str) -> str:
    return f"{_plain(image.values[model])} {printable(model)}"


def _plain(value: float | None) -> str:
    if value is None:
        return UNDEFINED
    return f"{value:.3f}" if value == 0 or abs(value) >= 0.001 else f"{value:.2g}"


def _one_line(measure: str) -> str:
    return columns_of(ScoreRecord)[measure].line


def comparison_notes(models: Sequence[ComparedModel]) -> list[str]:
    """Footnotes: how the intervals were made, and what they do not say."""
    first = models[0]
    drawn = first.images - first.images_without_valid
    notes = [
        f"differences from {first.model or 'the first model'}; same sign: share of "
        "resamples on that side of 0",
        f"{100 * first.confidence:.10g} % percentile intervals, paired bootstrap: "
        f"{_resamples_text(first, drawn)}",
    ]
    undefined = max(
        (
            one.to_first.undefined
            for model in models[1:]
            for one in model.compared.values()
            if one.to_first is not None and one.to_first.difference is not None
        ),
        default=0,
    )
    if undefined:
        notes.append(
            f"in {counted(undefined, 'resample')} a measure is not defined: no image "
            "with change, or none without, was drawn"
        )
    if len(models) > 2:
        notes.append(
            f"no correction for comparing {len(models) - 1:,} models is made: some "
            "intervals miss by chance"
        )
    within = [model.average_precision_within for model in models]
    known = [value for value in within if value is not None]
    if known:
        notes += [
            "in-sample: the best threshold on these images, too good for others",
            "AP, best F1: exact"
            if max(known) == 0
            else f"AP, best F1: within {max(known):.2g} of those of the sorted pixels",
        ]
    return [*notes, *_stated_notes(models)]


def _stated_notes(models: Sequence[ComparedModel]) -> list[str]:
    """The rules of the masks, which all models share, and what else was decided."""
    known = Stated.of(models)
    rules = [f"masks: {known.rule}"] if known.rule else []
    return [*rules, *Stated.notes(models)]


def _resamples_text(first: ComparedModel, images: int) -> str:
    drawn = counted(images, "image")
    if images <= ALL_DRAWN:
        return f"all {counted(images**images, 'resample')} of {drawn}"
    return f"{counted(first.resamples, 'resample')} of {drawn}, seed {first.seed}"
