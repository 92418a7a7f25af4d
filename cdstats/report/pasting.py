"""Class weights as text: JSON, YAML, and lines to paste into training code."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Any, Final

from cdstats.core.columns import UNDEFINED, printable
from cdstats.report.formats import WeightsFormat
from cdstats.report.tables import json_text

if TYPE_CHECKING:
    from collections.abc import Sequence

    from cdstats.core.weight_records import DatasetWeights


_ASSIGNED: Final = {
    WeightsFormat.TORCH: ("bce", "ce", "prior_bias", "image_weight"),
    WeightsFormat.OPENCD: ("loss_decode", "loss_decode_one_channel"),
}
"""Names that lines of code assign; of several datasets each is a dict by dataset."""


def weights_text(
    datasets: Sequence[DatasetWeights],
    output: WeightsFormat,
    scheme: str | None,
    version: str,
) -> str:
    """The weights of every dataset as text.

    Args:
        datasets: Their weights.
        output: Any format but the table.
        scheme: The scheme whose weights are pasted; None for the recommended ones.
        version: The program's.
    """
    if output in (WeightsFormat.JSON, WeightsFormat.YAML):
        data = {"datasets": [asdict(one) for one in datasets]}
        return json_text(data) if output is WeightsFormat.JSON else yaml_text(data)
    write = _torch if output is WeightsFormat.TORCH else _opencd
    start = "import torch\nfrom torch import nn\n\n" if write is _torch else ""
    several = len(datasets) > 1
    if several:
        start += "".join(f"{name} = {{}}\n" for name in _ASSIGNED[output]) + "\n"
    parts = (
        write(
            one, _chosen(one, scheme), version, f"[{one.dataset!r}]" if several else ""
        )
        for one in datasets
    )
    return start + "\n".join(parts)


def yaml_text(data: Any) -> str:  # noqa: ANN401 - plain lists, dicts and values
    """Plain data as YAML that reads back equal, whatever its texts hold.

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
    """The data with lists for tuples, which YAML has no plain form for."""
    if isinstance(data, dict):
        return {name: _lists(value) for name, value in data.items()}
    return [_lists(one) for one in data] if isinstance(data, (list, tuple)) else data


def _chosen(one: DatasetWeights, scheme: str | None) -> tuple[float, float, str] | None:
    """The weights to paste, unchanged first, and what to say of them."""
    if scheme is None:
        found = one.recommendation
        return (*found.weight, found.text) if found.weight else None
    row = next(row for row in one.schemes if row.scheme == scheme)
    zero, changed = row.unchanged_weight, row.changed_weight
    if not zero or changed is None:
        return None
    return zero, changed, f"{row.scheme}: {row.formula}; {row.source}"


def counts_text(one: DatasetWeights) -> str:
    """What was counted: the split, its images and its pixels."""
    share = UNDEFINED
    if one.change_fraction is not None:
        share = f"{100 * one.change_fraction:.4g} %"
    images = f"{one.images:,} image{'' if one.images == 1 else 's'}"
    parts = [
        f"{one.basis}, {images} ({one.without_change:,} without change)",
        f"{one.changed:,} changed, {one.unchanged:,} unchanged pixels ({share})",
    ]
    if one.failed:
        parts.append(f"masks not counted: {one.failed:,}")
    return printable("; ".join(parts))


def _comment(lines: Sequence[str]) -> str:
    """Lines of comments; a name cannot end its line."""
    return "".join(f"# {printable(line)}\n" for line in lines)


def _head(one: DatasetWeights, reason: str, version: str) -> str:
    name = f"{one.dataset}: {counts_text(one)}"
    return _comment([name, reason, f"cdstats {version}"])


def _torch(
    one: DatasetWeights,
    chosen: tuple[float, float, str] | None,
    version: str,
    key: str,
) -> str:
    """Lines of Python: the two losses, and the further numbers that follow."""
    if chosen is None:
        return _head(one, _undefined(one), version)
    zero, changed, reason = chosen
    lines = [
        _head(one, reason, version),
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
        lines.append(_comment(["Bias of the last layer that predicts the prior."]))
        lines.append(f"prior_bias{key} = {bias!r}\n")
    sampling = further["image-sampling"]
    pair = (sampling.unchanged_weight, sampling.changed_weight)
    if None not in pair:
        lines.append(
            _comment(["WeightedRandomSampler: has change -> weight of image."])
        )
        weight = f"{{False: {pair[0]!r}, True: {pair[1]!r}}}"
        lines.append(f"image_weight{key} = {weight}\n")
    return "".join(lines)


def _opencd(
    one: DatasetWeights,
    chosen: tuple[float, float, str] | None,
    version: str,
    key: str,
) -> str:
    """Lines of an Open-CD or MMSegmentation configuration."""
    if chosen is None:
        return _head(one, _undefined(one), version)
    zero, changed, reason = chosen
    notes = [
        "Two channels. MMSegmentation 1.x divides by the sum of the weights, 0.x by",
        "the pixels; avg_non_ignore=True leaves ignored pixels out of either.",
    ]
    if one.ignored:
        notes += [
            f"{one.ignored:,} pixels are ignored here: MMSegmentation 1.x takes the "
            "weight of each",
            "label, and 255 has none. Check that yours does not fail on it.",
        ]
    loss = "type='mmseg.CrossEntropyLoss'"
    return "".join(
        [
            _head(one, reason, version),
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
    """A call with an argument in a line, below each other."""
    between = ",\n" + " " * len(start)
    return f"{start}{between.join(arguments)})\n"


def _undefined(one: DatasetWeights) -> str:
    text = one.recommendation.text
    return text if text.startswith("none") else "none: the scheme gives no weight here"
