"""The encodings of public datasets, read from ``data/presets.toml``."""

from __future__ import annotations

import difflib
import re
import tomllib
from collections import Counter
from dataclasses import dataclass
from functools import cache, cached_property
from typing import TYPE_CHECKING

from cdstats.core.errors import UsageError
from cdstats.core.labels import Label, LabelRule
from cdstats.core.refusals import has_heavy_ends
from cdstats.core.vocabulary import DATA, shapes_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from cdstats.core.counts import Value


@dataclass(frozen=True)
class Preset:
    """Encoding of the masks in a public dataset.

    The field order is the column order of ``cdstats presets``.

    Attributes:
        name: Value of ``--preset``.
        dataset: Name of the dataset.
        changed: Changed values, as a rule.
        unchanged: Unchanged values, as a rule.
        ignore: Values excluded from every ratio, as a rule; may be empty.
        band: Band of the mask, from 1.
        masks: Location of the masks in the published dataset.
        size: Published size and splits.
        quirks: Advice to read before counting.
        source: Source of the encoding.
        leave_out: Names that are skipped in folders.
        two_peaks: Whether a mask must have its grey levels near 0 and near 255.
        pair: Whether ``change.bmp`` and ``unchanged.bmp`` form one mask.
        prefer: Folders to prefer over other label folders, in order.
        variable: Name of the mask array in MATLAB files.
        layout: Path endings of masks that only this dataset and few others have.
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
    prefer: tuple[str, ...] = ()
    variable: str = ""
    layout: tuple[str, ...] = ()

    @property
    def short(self) -> str:
        """Name of the dataset without parts and copies."""
        return re.split(r" / |, | and | \(|/| crops| <| cm\.png", self.dataset)[0]

    @cached_property
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
    text = (DATA / "presets.toml").read_text(encoding="utf-8")
    tables = tomllib.loads(text)
    for name, table in tables.items():
        table["layout"] = shapes_of("layouts").get(name, [])
        table.update({k: tuple(v) for k, v in table.items() if isinstance(v, list)})
    return tuple(Preset(name=name, **table) for name, table in tables.items())


def fitting(values: Mapping[Value, int], names: Iterable[str]) -> list[Preset]:
    """Presets that include every value of masks and find both classes.

    Example:
        >>> [one.name for one in fitting({1: 9, 2: 1}, ["oscd-tif", "hi-ucd"])]
        ['oscd-tif']
    """
    known = {one.name: one for one in presets()}
    return [known[name] for name in names if _fits(known[name], values)]


def _fits(one: Preset, values: Mapping[Value, int]) -> bool:
    held = _in_band(values, one.band)
    is_threshold = any(sign in one.changed + one.unchanged for sign in "<>")
    if one.pair or not held or (is_threshold and not has_heavy_ends(held)):
        return False
    labels = {value: one.rule.named(value) for value in held}
    unnamed = [value for value, label in labels.items() if label is None]
    # "rest" is weak evidence for several values: white may be unchanged.
    found = {*labels.values(), *map(one.rule.label, unnamed)} - {None}
    is_named = not unnamed or (len(unnamed) == 1 and one.rule.label(*unnamed))
    return bool(is_named) and found >= {Label.CHANGED, Label.UNCHANGED}


def _in_band(values: Mapping[Value, int], band: int | None) -> Mapping[Value, int]:
    """The values of one band; empty if the masks lack it."""
    coloured = any(str(value).startswith("#") for value in values)
    if band is None or (band == 1 and not coloured):
        return values
    if not coloured:
        return {}
    found: Counter[Value] = Counter()
    for value, pixels in values.items():
        text = str(value)
        is_colour = text.startswith("#")
        found[int(text[2 * band - 1 : 2 * band + 1], 16) if is_colour else value] += (
            pixels
        )
    return found


def preset(name: str) -> Preset:
    """The preset with a name."""
    known = {entry.name: entry for entry in presets()}
    if name in known:
        return known[name]
    near = difflib.get_close_matches(name, known, n=3, cutoff=0.4)
    hint = f"did you mean {' or '.join(near)}? " if near else ""
    raise UsageError(f"no preset {name!r}; {hint}`cdstats presets` lists all")
