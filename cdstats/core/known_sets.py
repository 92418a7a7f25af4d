"""Known sets of masks, by which a score's dataset is recognised from its labels.

Published counts and ``data/known_sets.toml`` come with the package; sets added by
``cdstats published --add`` are in a file of the user.
"""

from __future__ import annotations

import difflib
import json
import os
import sys
import tomllib
from dataclasses import dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from cdstats.core.errors import DataError, UsageError, access_text, counted
from cdstats.core.label_hash import hash_of_text
from cdstats.core.records import ALL
from cdstats.core.reference import PublishedRecord, published
from cdstats.core.vocabulary import DATA

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

FILE: Final = "known_sets.toml"
EVERY: Final = "published"
"""Name for all published counts, matched by dataset."""
_DASNET: Final = "dasnet"
_TYPES: Final = {"int": int, "str": str, "bool": bool}
_MANY: Final = 10
"""Least number of masks for which an equal number and size suggests a known set."""
_COUNTED: Final = ("exact", "rounded")
"""Status of published counts that identify a set."""


@dataclass(frozen=True, slots=True)
class KnownSet:
    """Masks of a dataset or split, by number, pixels and labels.

    Attributes:
        dataset: Name of the dataset.
        split: Name of the split; ``all`` for all masks.
        images: Number of masks.
        pixels: Changed and unchanged pixels; None if unknown.
        changed: Changed pixels.
        labels: Hash of the labels; empty if only counts are known.
        version: Source, or how the files are cut.
        rounded: Whether the source rounded ``changed`` to float32.
    """

    dataset: str
    split: str
    images: int
    pixels: int | None
    changed: int
    labels: str = ""
    version: str = ""
    rounded: bool = False

    def __str__(self) -> str:
        name = self.dataset if self.split == ALL else f"{self.dataset} {self.split}"
        told = counted(self.images, "mask")
        return f"{name} ({told}{self.version and f', {self.version}'})"

    def holds(self, line: Mapping[str, str]) -> bool | None:
        """Whether a signature is from this set; None for sets of other sizes."""
        pixels = self.pixels in (None, int(line["px"]))
        if line["images"] != str(self.images) or not pixels:
            return None
        if self.labels and "labels" in line:
            return self.labels == line["labels"]
        changed = int(line["changed"])
        if self.rounded:
            return bool(np.float32(changed) == np.float32(self.changed))
        return changed == self.changed


def published_of(name: str) -> tuple[PublishedRecord, ...]:
    """Published counts of a dataset, of ``DASNet``, or all: ``published``.

    Sets of the user come last.

    Raises:
        UsageError: If the name is unknown.
        DataError: If the user's file cannot be read.
    """
    known, wanted = (*published(), *map(_row_of, _own_sets())), name.lower()
    rows = tuple(
        row
        for row in known
        if wanted in (EVERY, row.dataset.lower())
        or (wanted == _DASNET and row.is_dasnet)
    )
    if rows:
        return rows
    names = sorted({row.dataset for row in known})
    near = difflib.get_close_matches(name, names, n=3, cutoff=0.4)
    hint = f"; did you mean {' or '.join(near)}?" if near else ""
    raise UsageError(
        f"nothing published under {name!r} and no such file{hint} `cdstats published` "
        "lists all"
    )


def _row_of(own: KnownSet) -> PublishedRecord:
    """A set of the user in the form of a published row."""
    return PublishedRecord(
        dataset=own.dataset,
        split=own.split,
        images=own.images,
        height=None,
        width=None,
        changed=own.changed,
        unchanged=None if own.pixels is None else own.pixels - own.changed,
        change_ratio_as_published="",
        status="own",
        source=own.version or str(own_file()),
        change_fraction_as_published="",
    )


def known_sets() -> list[KnownSet]:
    """All known sets, those of the user first.

    Raises:
        DataError: If the user's file cannot be read.
    """
    known = [*_own_sets(), *_sets_of(DATA / FILE)]
    named = {(one.dataset, one.split) for one in known}
    rest = (one for one in _published_sets() if (one.dataset, one.split) not in named)
    return [*known, *rest]


def _published_sets() -> Iterable[KnownSet]:
    for row in published():
        if row.status in _COUNTED and row.changed is not None:
            rounded, pixels = row.status == "rounded", None
            if row.width and row.height:
                pixels = row.images * row.width * row.height
            size = f"{row.width} x {row.height}" if row.width else ""
            place = row.dataset, row.split, row.images
            yield KnownSet(*place, pixels, row.changed, "", size, rounded)


def recognised(line: Mapping[str, str]) -> str:
    """Text on the known set that a signature is from; empty if there is none.

    Sets with equal numbers of masks and pixels but different labels are mentioned.
    """
    if not {"images", "px", "changed"} <= line.keys() or line.get("rule") == "soft":
        return ""
    found = [(one, one.holds(line)) for one in known_sets()]
    same = [str(one) for one, holds in found if holds]
    if same:
        return f"masks are {' = '.join(dict.fromkeys(same))}"
    near = dict.fromkeys(
        f"{one}, which has {one.changed:,} changed pixels"
        for one, holds in found
        if holds is False and one.images >= _MANY
    )
    if not near:
        return ""
    own = f"{int(line['changed']):,} changed pixels"
    return f"masks have {own} and labels that differ from {'; '.join(near)}"


def own_file() -> Path:
    """Path of the user's file."""
    home = Path(os.path.expanduser("~"))  # noqa: PTH111 - raises nothing without one
    if sys.platform == "win32":
        folder = Path(os.environ.get("APPDATA") or home / "AppData/Roaming")
    elif sys.platform == "darwin":
        folder = home / "Library/Application Support"
    else:
        folder = Path(os.environ.get("XDG_CONFIG_HOME") or home / ".config")
    return folder / "cdstats" / FILE


def _own_sets() -> list[KnownSet]:
    return _sets_of(own_file()) if own_file().exists() else []


def _sets_of(path: Path) -> list[KnownSet]:
    """Parse a file with a table ``[[set]]`` for each set."""
    kinds = {f.name: _TYPES[str(f.type).split()[0]] for f in fields(KnownSet)}
    try:
        tables = tomllib.loads(path.read_text(encoding="utf-8")).get("set", [])
        for table in tables:
            for name, value in table.items():
                if type(value) is not kinds[name]:
                    raise ValueError(f"{name} is {value!r}")
            hash_of_text(table.get("labels", ""))
        return [KnownSet(**{"pixels": None, **table}) for table in tables]
    except OSError as error:
        raise DataError(f"{path}: {access_text(error)}") from None
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise DataError(
            f"{path}: not a file of known sets ({error}). Correct it, or remove it and "
            "add your sets again with cdstats published --add NAME PATH"
        ) from None


def entries_text(sets: Iterable[KnownSet]) -> str:
    """Format sets for a file that `known_sets` reads."""
    lines = []
    for one in sets:
        told: dict[str, Any] = {f.name: getattr(one, f.name) for f in fields(KnownSet)}
        lines.append("[[set]]")
        lines += [
            f"{name} = {json.dumps(value, ensure_ascii=False)}"
            for name, value in told.items()
            if value not in ("", None, False)
        ]
        lines.append("")
    return "\n".join(lines)


def with_added(sets: Iterable[KnownSet]) -> str:
    """The user's file with added sets; these replace sets of the same name.

    Raises:
        UsageError: If a name is reserved for published counts.
    """
    new = list(sets)
    names = {(one.dataset, one.split) for one in new}
    for name in {one.dataset for one in new}:
        if name.lower() in (EVERY, _DASNET):
            raise UsageError(f"--add {name}: is reserved for published counts")
    kept = [one for one in _own_sets() if (one.dataset, one.split) not in names]
    return entries_text([*kept, *new])
