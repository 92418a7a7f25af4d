"""Class weights as a recommendation, as a table of schemes, and as code to paste."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from enum import StrEnum
from textwrap import wrap
from typing import TYPE_CHECKING, Any, Final

from rich.text import Text

from cdstats import __version__
from cdstats.core.columns import UNDEFINED, printable
from cdstats.core.errors import counted
from cdstats.render.terminal import add_numbers, pairs_grid, plain_grid, results_console
from cdstats.render.writers import json_lines

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from rich.console import Console
    from rich.table import Table as Grid

    from cdstats.core.weights import DatasetWeights, Scheme

_BAR: Final = 12
_WIDTH: Final = 100
_LONG: Final = 1e7
"""Weights from this value are written with an exponent."""


@dataclass(frozen=True)
class WeightsDocument:
    """The weights of all datasets; ``explain`` adds formulas and sources on screen."""

    datasets: Sequence[DatasetWeights]
    scheme: str | None = None
    explain: bool = False

    def show(self) -> Iterable[str]:
        """Print the weights to the screen."""
        console = results_console()
        for place, one in enumerate(self.datasets):
            if place:
                console.print()
            _print_dataset(console, one, explain=self.explain)
        return ()

    def pasted(
        self,
        write: Callable[[DatasetWeights, _Chosen, str], str],
        names: Sequence[str],
        start: str = "",
    ) -> Iterable[str]:
        """Lines of code; with several datasets, each name is a dict by dataset."""
        several = len(self.datasets) > 1
        yield start if self.datasets else ""
        if several:
            yield "".join(f"{name} = {{}}\n" for name in names) + "\n"
        for place, one in enumerate(self.datasets):
            key = f"[{one.dataset!r}]" if several else ""
            chosen, text = _chosen(one, self.scheme), one.recommendation.text
            yield "\n" if place else ""
            if chosen is not None:
                yield write(one, chosen, key)
            elif text.startswith("none"):
                yield _head(one, text)
            else:
                yield _head(one, "none: the scheme gives no weight here")


_Chosen = tuple[float, float, str]


def _print_dataset(console: Console, one: DatasetWeights, *, explain: bool) -> None:
    first = Text(printable(one.dataset), style="bold")
    first.append(f": {one.recommendation.text}")
    width = min(console.width, _WIDTH)
    console.print(first, width=width)
    console.print(f"counts: {counts_text(one)}", style="dim", markup=False, width=width)
    if not one.images:
        return
    console.print()
    console.print(_table(one.schemes), crop=False)
    console.print()
    if explain:
        console.print(_glossary(one.schemes), width=width)
        console.print()
    rule = f"rule: {printable(one.rule)}; " if one.rule else ""
    hint = "n1 changed, n0 unchanged, n both" if explain else "formulas: --explain"
    note = f"{rule}{hint}; cdstats {__version__}"
    console.print(note, style="dim", markup=False)


def _glossary(rows: Sequence[Scheme]) -> Grid:
    grid = pairs_grid()
    for row in rows:
        text = Text(row.formula)
        text.append(f" [{row.source}]", style="dim")
        if row.remark:
            text.append(f"; {row.remark}")
        grid.add_row(Text(row.scheme), text)
    return grid


def _table(rows: Sequence[Scheme]) -> Grid:
    table = plain_grid(2)
    table.add_column("Scheme", no_wrap=True)
    add_numbers(table, "Unchanged", "Changed", "Changed/\nunchanged")
    table.add_column("", no_wrap=True)
    most = max((row.weight_ratio or 1 for row in rows), default=1)
    for row in rows:
        numbers = (row.unchanged_weight, row.changed_weight, row.weight_ratio)
        # The bars are on a logarithmic scale.
        ratio, bar = row.weight_ratio or 1, ""
        if ratio > 1:
            bar = "█" * round(_BAR * math.log(ratio) / math.log(most))
        table.add_row(row.scheme, *map(_number, numbers), Text(bar, style="cyan"))
    return table


def _number(value: float | None) -> str:
    if value is None:
        return UNDEFINED
    plain = abs(value) < _LONG and (value == 0 or abs(value) >= 1e-3)
    if not plain:
        return f"{value:.2e}"
    return f"{value:,.0f}" if abs(value) >= 1e4 else f"{value:.4g}"


def yaml_text(data: Any) -> str:  # noqa: ANN401 - plain lists, dicts and values
    """Plain data as YAML that reads back as equal data.

    Example:
        >>> print(yaml_text({"path": "no: yes", "weight": 1e-05}), end="")
        path: 'no: yes'
        weight: 1.0e-05
    """
    import yaml

    plain = _lists(data)
    text: str = yaml.dump(plain, Dumper=yaml.SafeDumper, sort_keys=False, width=1000)
    return text


def _lists(data: Any) -> Any:  # noqa: ANN401 - plain lists, dicts and values
    """The data with tuples converted to lists, because YAML has no tuples."""
    if isinstance(data, dict):
        return {name: _lists(value) for name, value in data.items()}
    return [_lists(one) for one in data] if isinstance(data, (list, tuple)) else data


def _chosen(one: DatasetWeights, scheme: str | None) -> _Chosen | None:
    """The weights to paste, unchanged class first, and their description."""
    if scheme is None:
        found = one.recommendation
        return (*found.weight, found.text) if found.weight else None
    row = next(row for row in one.schemes if row.scheme == scheme)
    zero, changed = row.unchanged_weight, row.changed_weight
    if not zero or changed is None:
        return None
    return zero, changed, f"{row.scheme}: {row.formula}; {row.source}"


def counts_text(one: DatasetWeights) -> str:
    """A summary of the counts: the split, its images and its pixels."""
    share = UNDEFINED
    if one.change_fraction is not None:
        share = f"{100 * one.change_fraction:.4g} %"
    images = counted(one.images, "image")
    parts = [
        f"{one.basis}, {images} ({one.without_change:,} without change)",
        f"{one.changed:,} changed, {one.unchanged:,} unchanged pixels ({share})",
    ]
    if one.failed:
        parts.append(f"masks not counted: {one.failed:,}")
    return printable("; ".join(parts))


def _comment(lines: Sequence[str]) -> str:
    """Comment lines, wrapped; line breaks in names are escaped."""
    return "".join(f"# {row}\n" for line in lines for row in wrap(printable(line), 86))


def _head(one: DatasetWeights, reason: str) -> str:
    name = f"{one.dataset}: {counts_text(one)}"
    return _comment([name, reason, f"cdstats {__version__}"])


def _torch(one: DatasetWeights, chosen: _Chosen, key: str) -> str:
    """Lines of Python: two losses, the prior bias and the sampling weights."""
    zero, changed, reason = chosen
    lines = [
        _head(one, reason),
        _comment(["One channel: the mean divides by the pixels, not by the weights."]),
        f"bce{key} = nn.BCEWithLogitsLoss("
        f"pos_weight=torch.tensor({changed / zero!r}))\n",
        _comment(["Two channels: the mean divides by the sum of the pixels' weights."]),
        f"ce{key} = nn.CrossEntropyLoss(weight=torch.tensor([{zero!r}, {changed!r}]), "
        "ignore_index=255)\n",
    ]
    further = {row.scheme: row for row in one.schemes}
    bias = further["prior-bias"].changed_weight
    if bias is not None:
        lines.append(
            _comment(["Bias of the last layer for which it predicts the prior."])
        )
        lines.append(f"prior_bias{key} = {bias!r}\n")
    sampling = further["image-sampling"]
    pair = (sampling.unchanged_weight, sampling.changed_weight)
    if None not in pair:
        lines.append(
            _comment(
                ["WeightedRandomSampler: weight of an image by whether it has change."]
            )
        )
        weight = f"{{False: {pair[0]!r}, True: {pair[1]!r}}}"
        lines.append(f"image_weight{key} = {weight}\n")
    return "".join(lines)


def _opencd(one: DatasetWeights, chosen: _Chosen, key: str) -> str:
    zero, changed, reason = chosen
    notes = [
        "Two channels. MMSegmentation 1.x divides by the sum of the weights, 0.x by",
        "the pixels; avg_non_ignore=True excludes ignored pixels from both.",
    ]
    if one.ignored:
        notes += [
            f"{counted(one.ignored, 'pixel')} ignored: MMSegmentation 1.x looks up the "
            "weight of each",
            "label, and 255 has none. Check that your version accepts it.",
        ]
    loss = "type='mmseg.CrossEntropyLoss'"
    return "".join(
        [
            _head(one, reason),
            _comment(notes),
            _call(
                f"loss_decode{key} = dict(",
                f"{loss}, use_sigmoid=False, loss_weight=1.0",
                f"class_weight=[{zero!r}, {changed!r}]",
                "avg_non_ignore=True",
            ),
            _comment(["One channel (out_channels=1): class_weight is pos_weight."]),
            _call(
                f"loss_decode_one_channel{key} = dict(",
                f"{loss}, use_sigmoid=True",
                f"class_weight=[{changed / zero!r}]",
                "avg_non_ignore=True",
            ),
        ]
    )


def _call(start: str, *arguments: str) -> str:
    between = ",\n" + " " * len(start)
    return f"{start}{between.join(arguments)})\n"


class WeightsFormat(StrEnum):
    """An output format of weights."""

    TABLE = "table"
    JSON = "json"
    YAML = "yaml"
    TORCH = "torch"
    OPENCD = "opencd"

    @property
    def is_pasted(self) -> bool:
        """Whether the format is code for one scheme."""
        return self in (WeightsFormat.TORCH, WeightsFormat.OPENCD)

    def write(self, one: WeightsDocument) -> Iterable[str]:
        """The text of weights in parts; a table is printed instead."""
        if self is WeightsFormat.TABLE:
            return one.show()
        if self is WeightsFormat.JSON:
            return json_lines({"datasets": one.datasets})
        if self is WeightsFormat.YAML:
            return [yaml_text({"datasets": [asdict(row) for row in one.datasets]})]
        if self is WeightsFormat.OPENCD:
            return one.pasted(_opencd, ("loss_decode", "loss_decode_one_channel"))
        names = ("bce", "ce", "prior_bias", "image_weight")
        return one.pasted(_torch, names, "import torch\nfrom torch import nn\n\n")
