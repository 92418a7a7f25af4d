"""The encodings of public datasets, read from ``data/presets.toml``."""

from __future__ import annotations

import difflib
import tomllib
from dataclasses import dataclass
from functools import cache
from importlib.resources import files

from cdstats.core.errors import UsageError
from cdstats.core.labels import LabelRule


@dataclass(frozen=True)
class Preset:
    """How one public dataset codes its masks.

    The field order is the column order of ``cdstats presets``.

    Attributes:
        name: What ``--preset`` takes.
        dataset: The dataset's name.
        changed: Changed values, as a rule.
        unchanged: Unchanged values, as a rule.
        ignore: Values that count in no ratio, as a rule; empty for none.
        band: The band that holds the mask, counted from 1.
        masks: Where the masks lie in the dataset as published.
        size: Published size and splits.
        quirks: What to know before counting.
        source: Where the encoding was read.
        leave_out: Names that a folder scan leaves out.
        two_peaks: Whether a mask must show its grey levels near 0 and near 255.
        pair: Whether ``change.bmp`` and ``unchanged.bmp`` are read together.
        prefer: The folder to read where it lies beside other folders of labels.
    """

    name: str
    dataset: str
    changed: str
    unchanged: str
    ignore: str = ""
    band: int | None = None
    masks: str = ""
    size: str = ""
    quirks: str = ""
    source: str = ""
    leave_out: tuple[str, ...] = ()
    two_peaks: bool = False
    pair: bool = False
    prefer: str = ""

    @property
    def rule(self) -> LabelRule:
        """The label rule of the dataset."""
        return LabelRule.parse(
            changed=self.changed,
            unchanged=self.unchanged,
            ignored=self.ignore,
            origin=f"preset {self.name}",
        )


@cache
def presets() -> tuple[Preset, ...]:
    """All presets, in the order of the data file.

    Example:
        >>> [preset.name for preset in presets()][:2]
        ['levir-cd', 'levir-cd-256']
    """
    text = files("cdstats").joinpath("data/presets.toml").read_text(encoding="utf-8")
    tables = tomllib.loads(text)
    for table in tables.values():
        table.update({k: tuple(v) for k, v in table.items() if isinstance(v, list)})
    return tuple(Preset(name=name, **table) for name, table in tables.items())


def preset(name: str) -> Preset:
    """The preset of a name.

    Raises:
        UsageError: If there is none; the message names the nearest.
    """
    known = {entry.name: entry for entry in presets()}
    if name in known:
        return known[name]
    near = difflib.get_close_matches(name, known, n=3, cutoff=0.4)
    hint = f"; did you mean {' or '.join(near)}?" if near else ""
    raise UsageError(f"no preset {name!r}{hint} `cdstats presets` lists all")
