"""Pairing predictions with their masks: by key, by path, by number in a stack."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING

from cdstats.core.errors import DataError
from cdstats.io.discovery import find_files, find_masks
from cdstats.io.naming import is_mask_folder, natural_key
from cdstats.io.patterns import Pattern, is_pattern
from cdstats.io.predictions import PREDICTION_EXTENSIONS

if TYPE_CHECKING:
    from collections.abc import Sequence

    from cdstats.core.presets import Preset
    from cdstats.io.found import FoundFile, FoundSet

_SHOWN = 3


@dataclass(frozen=True, slots=True)
class Crop:
    """Where a prediction lies in its full mask: its first row and column."""

    row: int
    column: int


@dataclass(frozen=True, slots=True)
class FilePair:
    """A file of predictions and the file of its masks.

    Attributes:
        model: The name of the model; empty when there is one without a name.
        prediction: The file of predictions; None when a mask has none.
        target: The file of masks; None when a prediction has none.
        crop: The window of the mask that the prediction covers; None for all of it.
    """

    model: str
    prediction: FoundFile | None
    target: FoundFile | None
    crop: Crop | None = None


@dataclass(frozen=True)
class Pairs:
    """All pairs of a run, in the order of models and keys, with notes about them."""

    pairs: tuple[FilePair, ...]
    notes: tuple[str, ...] = ()


@dataclass
class _Side:
    """The files of one side by their key."""

    text: str
    files: dict[str, list[tuple[FoundFile, dict[str, str]]]] = field(
        default_factory=lambda: defaultdict(list)
    )


def find_pairs(
    predictions: Sequence[str],
    target: str,
    *,
    split: str | None = None,
    preset: Preset | None = None,
) -> Pairs:
    """Find which prediction belongs to which mask.

    Args:
        predictions: Paths as typed, each may be ``NAME=PATH``.
        target: The path of the masks as typed.
        split: The split of the masks to keep; None for all.
        preset: The encoding of the masks, which may leave files out.

    Raises:
        DataError: If a path is missing, two files have one key, or nothing pairs.
        UsageError: If a pattern is not understood.
    """
    masks = _one(find_masks([target], split=split, preset=preset), target)
    sides = [
        (found, text)
        for text in predictions
        for found in find_files([text], PREDICTION_EXTENSIONS)
    ]
    pairs: list[FilePair] = []
    notes = list(masks.notes)
    for found, text in sides:
        _refuse_problems(found)
        notes += found.notes
        name = found.name if _is_named(text) else ""
        pairs += _pair(name, found, text, masks, target)
    return Pairs(tuple(pairs), tuple(dict.fromkeys(notes)))


def _is_named(text: str) -> bool:
    return "=" in text and not Path(text).exists()


def _one(found: list[FoundSet], text: str) -> FoundSet:
    masks = found[0]
    _refuse_problems(masks)
    if not masks.files:
        raise DataError(f"{text}: holds no mask")
    return masks


def _refuse_problems(found: FoundSet) -> None:
    if found.problems and not found.files:
        raise DataError(found.problems[0])


def _pair(
    model: str, found: FoundSet, text: str, masks: FoundSet, target: str
) -> list[FilePair]:
    """The pairs of one ``--pred``; its pattern may name several models."""
    if len(found.files) == 1 and len(masks.files) == 1 and not is_pattern(text):
        return [FilePair(model, found.files[0], masks.files[0])]
    left, right = _keys(found, text, ""), _keys(masks, target, "")
    crops = "{y}" in text and "{y}" not in target
    _refuse_doubles(right, crops=False)
    _refuse_doubles(left, crops=crops)
    if not left.files.keys() & right.files.keys():
        raise DataError(_nothing_text(left, right))
    pairs = [
        FilePair(parts.get("model", model), file, mask, _crop(parts, crops))
        for key in sorted(left.files, key=natural_key)
        for file, parts in left.files[key]
        for mask in [right.files[key][0][0] if key in right.files else None]
    ]
    models = list(dict.fromkeys(pair.model for pair in pairs)) or [model]
    missing = [
        FilePair(name, None, mask)
        for name in models
        for key, ((mask, _),) in right.files.items()
        if key not in left.files
    ]
    every = pairs + missing
    return sorted(every, key=lambda pair: natural_key(pair.model))


def _crop(parts: dict[str, str], crops: bool) -> Crop | None:
    return Crop(int(parts["y"]), int(parts["x"])) if crops else None


def _keys(found: FoundSet, text: str, key: str) -> _Side:
    """Files by the key of a pattern, or by their path without mask folders."""
    side = _Side(text)
    pattern = Pattern(_place(text)) if is_pattern(text) else None
    prefix = ""
    if pattern and pattern.folder != ".":
        prefix = f"{pattern.folder.rstrip('/')}/"
    for file in found.files:
        parts = pattern.match(prefix + file.name) if pattern else None
        parts = parts or {}
        key = parts["key"] if "key" in parts else _path_key(file.name)
        side.files[key].append((file, parts))
    return side


def _place(text: str) -> str:
    name, equals, place = text.partition("=")
    return place if equals and "/" not in name else text


def _path_key(name: str) -> str:
    path = PurePosixPath(name)
    folders = [part for part in path.parts[:-1] if not is_mask_folder(part)]
    stem = path.name if "#" in path.suffix else path.stem
    return "/".join([*folders, stem])


def _refuse_doubles(side: _Side, *, crops: bool) -> None:
    for key, files in side.files.items():
        places = [
            (parts.get("model"), parts.get("y"), parts.get("x"))
            if crops
            else (parts.get("model"),)
            for _, parts in files
        ]
        if len(set(places)) < len(places):
            names = " and ".join(file.name for file, _ in files[:2])
            raise DataError(f"{side.text}: {names} have the same key {key!r}")


def _nothing_text(left: _Side, right: _Side) -> str:
    """Why nothing pairs: three names of each side and a pattern that would."""
    first, second = (
        [file.name for files in side.files.values() for file, _ in files][:_SHOWN]
        for side in (left, right)
    )
    hint = _suggest(first[0], second[0])
    return (
        f"no prediction pairs with a mask: {left.text} holds {', '.join(first)}; "
        f"{right.text} holds {', '.join(second)}.{hint}"
    )


def _suggest(prediction: str, mask: str) -> str:
    """Patterns in which what the two names share is the key."""
    shared = _longest_shared(PurePosixPath(prediction).stem, PurePosixPath(mask).stem)
    if not shared:
        return " Name the key that they share as {} in a pattern on both sides"
    one, two = (name.replace(shared, "{}", 1) for name in (prediction, mask))
    return f" Try --pred '.../{one}' --target '.../{two}'"


def _longest_shared(first: str, second: str) -> str:
    parts = [
        first[start:end]
        for start in range(len(first))
        for end in range(start + 1, len(first) + 1)
        if first[start:end] in second
    ]
    return max(parts, key=len, default="")
