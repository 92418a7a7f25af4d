"""The screen of `cdstats loss`: what a paper needs, and what makes it misleading."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from rich import box
from rich.table import Table
from rich.text import Text

from cdstats.core.columns import UNDEFINED, printable
from cdstats.core.messages import Level, Message, counted
from cdstats.core.metrics import Over, metrics_of
from cdstats.core.score_records import DatasetScore

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rich.console import Console

_TITLES = {"bce": "BCE", "class_mean_bce": "balanced, class mean"}
_SCREEN: Final = 80
"""The width that the table of losses keeps to."""
_NAME: Final = 29
"""Signs of the longest name of a loss."""


@dataclass(frozen=True, slots=True)
class LossLine:
    """One line of the screen.

    Attributes:
        name: The name of the loss in the catalogue.
        label: Its name.
        params: Its parameters, as typed, after what its value is taken over.
        mean: Its mean over pixels, or its pooled value, or its mean over images.
        of_loss: Share of the loss that comes from changed pixels.
        of_gradient: Share of the gradient that comes from changed pixels.
        beta: The β of balanced cross-entropy, as typed.
        total: Its sum over pixels.
    """

    name: str
    label: str
    mean: float | None
    params: str = ""
    of_loss: float | None = None
    of_gradient: float | None = None
    beta: str | float | None = None
    total: float | None = None

    @property
    def title(self) -> str:
        """What the line is called."""
        if self.name == "balanced_ce" and isinstance(self.beta, str):
            return f"balanced, beta/{self.beta}"
        if self.name == "balanced_ce":
            return f"balanced, beta {self.beta}"
        return _TITLES.get(self.name, self.label)


def print_scores(
    console: Console,
    dataset: DatasetScore,
    lines: Sequence[LossLine],
    trivial: Sequence[LossLine],
) -> None:
    """Print the metrics and losses of one model."""
    if dataset.model:
        console.print(Text(printable(dataset.model), style="bold"))
    console.print(Text(metrics_text(dataset), style="bold"))
    width = min(console.width, _SCREEN)
    table = _losses_table(dataset, lines)
    console.print(table, width=width, crop=False)
    if trivial:
        head = "for reference, mean BCE and class-mean BCE of"
        console.print(Text(head, style="dim"))
    for line in trivial:
        text = f"  {line.label}: {_number(line.mean)}, {_number(line.total)}"
        console.print(Text(text, style="dim"))


def _losses_table(dataset: DatasetScore, lines: Sequence[LossLine]) -> Table:
    table = Table(
        box=box.SIMPLE_HEAD,
        pad_edge=False,
        show_edge=False,
        collapse_padding=True,
        padding=0,
    )
    table.add_column("", overflow="fold", max_width=_NAME)
    for head in ("Mean", "From\nchanged", "Gradient\nchanged"):
        table.add_column(Text(head, justify="right"), justify="right", no_wrap=True)
    table.add_column("", overflow="fold")
    for line in lines:
        table.add_row(
            Text(line.title),
            _number(line.mean),
            _share(line.of_loss),
            _share(line.of_gradient),
            _remark(line, dataset),
        )
    return table


def metrics_text(dataset: DatasetScore) -> str:
    """The metrics of the changed class in one line."""
    parts = (
        f"{one.title} {_number_of(getattr(dataset, name))}"
        for name, one in metrics_of(DatasetScore).items()
        if one.headline and one.over is Over.POOLED
    )
    return f"changed, pooled: {'  '.join(parts)}"


def _number_of(value: float | None) -> str:
    return UNDEFINED if value is None else format(value, ".3f")


def _remark(line: LossLine, dataset: DatasetScore) -> str:
    if line.name == "class_mean_bce" and dataset.changed and dataset.unchanged:
        changed = dataset.ce_changed_sum / dataset.changed
        unchanged = dataset.ce_unchanged_sum / dataset.unchanged
        return f"changed {changed:.3f}, unchanged {unchanged:.3f}"
    if line.name == "balanced_ce" and line.total is not None:
        return f"sum {_total(line.total)}; not on BCE's scale"
    return line.params


def _total(value: float) -> str:
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.4g}"


def _number(value: float | None) -> str:
    if value is None:
        return UNDEFINED
    return f"{value:.3f}" if abs(value) >= 0.001 or value == 0 else f"{value:.3g}"


def _share(value: float | None) -> str:
    return UNDEFINED if value is None else f"{100 * value:.1f} %"


def score_notes(
    dataset: DatasetScore,
    hard: bool,
    one_class_bce: float | None,
    beta: str | float,
) -> list[Message]:
    """What makes the numbers of a model misleading."""
    where = f"{dataset.model}: " if dataset.model else ""
    texts = []
    if hard:
        texts.append(
            "every p is 0 or 1: BCE is 100 x the error rate, not a likelihood; "
            "compare F1"
        )
    if dataset.saturated_wrong and dataset.bce_sum:
        share = 100 * 100 * dataset.saturated_wrong / dataset.bce_sum
        texts.append(
            f"exactly 0 or 1 and wrong on {counted(dataset.saturated_wrong, 'pixel')}: "
            f"100 each, {share:.1f} % of BCE"
        )
    if dataset.images_one_class:
        text = f"{counted(dataset.images_one_class, 'image')} of one class"
        if beta == "image":
            text += ": nothing added to balanced CE with beta/image"
        if one_class_bce is not None:
            text += f"; their mean BCE is {_number(one_class_bce)}"
        texts.append(text)
    if dataset.images_without_valid:
        count = counted(dataset.images_without_valid, "image")
        texts.append(f"{count} without a valid pixel: undefined, left out of means")
    return [Message(Level.NOTE, where + text) for text in texts]
