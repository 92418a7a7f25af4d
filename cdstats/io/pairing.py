"""Pairing predictions with their masks: by key, by path, by number in a stack."""

from __future__ import annotations

import re
import shlex
from collections import Counter, defaultdict
from dataclasses import dataclass, field, replace
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Final

from cdstats.core.errors import DataError, UsageError, counted
from cdstats.io.addresses import is_address
from cdstats.io.discovery import (
    UNASSIGNED,
    find_files,
    find_masks,
    of_split,
    split_name,
)
from cdstats.io.lists import UNLISTED
from cdstats.io.naming import (
    Role,
    natural_key,
    role_of,
    split_in,
    split_named,
    usual_split,
)
from cdstats.io.patterns import PLACES, Pattern, is_pattern
from cdstats.io.predictions import PREDICTION_EXTENSIONS

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from cdstats.core.presets import Preset
    from cdstats.io.found import FoundFile, FoundSet

_PARTS: Final = (Role.CHANGE, Role.TRUTH, Role.OTHER, Role.PREDICTION)
"""Roles of folders that say nothing of the image."""
_SHOWN: Final = 3
_TRIED: Final = 12
_WHOLE: Final = "whole"
"""The part of a path that names all crops of its mask together."""
_NO_SPLIT: Final = (UNASSIGNED, UNLISTED, "")
"""Splits of masks for which neither folders nor lists tell one."""


@dataclass(frozen=True, slots=True)
class Crop:
    """Where a prediction lies in its full mask.

    Attributes:
        row: Its first row, the row of its tile, or the number of its tile.
        column: Its first column, or the column of its tile; 0 beside a number.
        place: The names that its pattern gives to these.
        whole: The name of all crops of its mask together.
    """

    row: int
    column: int
    place: tuple[str, ...] = PLACES[0]
    whole: str = field(default="", compare=False)

    def __str__(self) -> str:
        words = {"y": "row", "x": "column", "row": "tile row", "col": "tile column"}
        numbers = zip(self.place, (self.row, self.column), strict=False)
        return ", ".join(f"{words.get(name, 'tile')} {n}" for name, n in numbers)


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

    def anywhere(self) -> FilePair:
        """The same pair by paths that mean the same in another working folder."""
        return replace(
            self,
            prediction=self.prediction and self.prediction.anywhere(),
            target=self.target and self.target.anywhere(),
        )


@dataclass(frozen=True)
class Pairs:
    """All pairs of a run, in the order of models and keys, with notes about them.

    Problems are inputs that could not be read, as one line each.
    """

    pairs: tuple[FilePair, ...]
    notes: tuple[str, ...] = ()
    problems: tuple[str, ...] = ()


@dataclass
class _Side:
    """The files of one side by their key."""

    text: str
    files: dict[str, list[tuple[FoundFile, dict[str, str]]]] = field(
        default_factory=lambda: defaultdict(list)
    )

    def first(self, key: str) -> FoundFile | None:
        """The file of a key, if there is one."""
        return self.files[key][0][0] if key in self.files else None


@dataclass(frozen=True)
class _Masks:
    """The masks to score against."""

    text: str
    found: FoundSet
    others: FoundSet
    split: str = ""


def find_pairs(
    predictions: Sequence[str],
    target: str,
    *,
    split: str | None = None,
    preset: Preset | None = None,
) -> Pairs:
    """Find which prediction belongs to which mask."""
    masks = _masks(target, split, preset)
    notes, problems = list(masks.found.notes), list(masks.found.problems)
    models: dict[str, list[tuple[FoundSet, str]]] = {}
    for text in predictions:
        name, place = split_name(text)
        for found in find_files([place], PREDICTION_EXTENSIONS):
            _refuse_problems(found)
            notes += found.notes
            problems += found.problems
            alone = len(predictions) == 1
            models.setdefault(name or ("" if alone else found.name), []).append(
                (found, place)
            )
    pairs: list[FilePair] = []
    for model, sides in models.items():
        own, texts = _pair(model, sides, masks)
        pairs += own
        notes += [f"{model}: {text}" if model else text for text in texts]
    others, texts = _without_masks(pairs)
    told = tuple(dict.fromkeys((*notes, *texts)))
    return Pairs(tuple(others), told, tuple(dict.fromkeys(problems)))


def _masks(target: str, split: str | None, preset: Preset | None) -> _Masks:
    """The masks of a split, each once, beside those of the other splits."""
    found = find_masks([target], preset=preset)[0]
    _refuse_problems(found)
    kept = found if split is None else of_split(found, split)
    _refuse_problems(kept)
    if not kept.files:
        raise DataError(f"{target}: holds no mask")
    names = {file.name for file in kept.files} if kept is not found else set()
    others = [f for f in found.files if names and f.name not in names]
    splits = {file.split for file in kept.files}
    return _Masks(
        split_name(target)[1],
        replace(kept, files=[file for file in kept.files if not file.again]),
        replace(found, files=others),
        splits.pop() if len(splits) == 1 else "",
    )


def _without_masks(pairs: Sequence[FilePair]) -> tuple[list[FilePair], list[str]]:
    """The pairs whose prediction is not the mask itself, and notes on the others."""
    same = [_is_mask(pair) for pair in pairs]
    marked = list(zip(pairs, same, strict=True))
    own = {pair.model for pair, is_mask in marked if pair.prediction and not is_mask}
    if any(same) and not own:
        raise DataError("the predictions are the masks themselves; expected others")
    notes = []
    for model, count in Counter(p.model for p, is_mask in marked if is_mask).items():
        files = counted(count, "prediction") if model in own else "the model"
        of = f"{model}: " if model else ""
        notes.append(f"{of}{files} skipped: masks are not scored against themselves")
    kept = [
        replace(pair, prediction=None, crop=None) if is_mask else pair
        for pair, is_mask in marked
        if pair.model in own
    ]
    return kept, notes


def _is_mask(pair: FilePair) -> bool:
    """Whether a prediction is the file that it would be scored against."""
    one, two = pair.prediction, pair.target
    if one is None or two is None or one.member != two.member:
        return False
    try:
        return one.path == two.path or Path(one.path).samefile(two.path)
    except OSError:
        return False


def _is_file(text: str, found: FoundSet) -> bool:
    """Whether a path names one file, or a part of one."""
    file, _, member = text.rpartition("#")
    if is_address(text):
        return [str(one.path) for one in found.files] in ([text], [file])
    return Path(text).is_file() or bool(member and Path(file).is_file())


def _refuse_problems(found: FoundSet) -> None:
    if found.problems and not found.files:
        raise DataError(found.problems[0])


def _pair(
    model: str, sides: list[tuple[FoundSet, str]], masks: _Masks
) -> tuple[list[FilePair], list[str]]:
    """The pairs of one name, whose pattern may name several models, and notes."""
    if (
        len(sides) == 1
        and _is_file(sides[0][1], sides[0][0])
        and _is_file(masks.text, masks.found)
    ):
        return [FilePair(model, sides[0][0].files[0], masks.found.files[0])], []
    places = {_place(text): text for _, text in sides}
    crops = any(places) and not _place(masks.text)
    if crops and len(places) > 1:
        raise UsageError(
            f"{' and '.join(places.values())} place crops in two ways; "
            "expected one for each model"
        )
    left, right, others = _sides(sides, masks, crops=crops)
    if not left.files.keys() & right.files.keys() or any(_unclear(left, right, crops)):
        again = _sides(sides, masks, crops=crops, splits=True)
        if again[0].files.keys() & again[1].files.keys():
            left, right, others = again
    for text in _unclear(left, right, crops):
        raise DataError(text)
    skipped = _skip_others(left, right, others, masks.split)
    if not left.files.keys() & right.files.keys():
        raise DataError(_nothing_text(left, right, skipped))
    named = dict.fromkeys(
        parts.get("model", model) for files in left.files.values() for _, parts in files
    )
    pairs = [
        pair
        for name in sorted(named, key=natural_key)
        for pair in _pair_model(name, model, left, right, crops)
    ]
    return pairs, [*filter(None, (skipped, _apart_text(pairs)))]


def _apart_text(pairs: Sequence[FilePair]) -> str:
    """What to tell where the typed folders name different splits."""
    for one, two in ((pair.prediction, pair.target) for pair in pairs):
        splits = [file.split for file in (one, two) if file]
        if len(set(splits)) == 2 and not {*splits} & {*_NO_SPLIT}:
            return (
                f"predictions from a folder of split {splits[0]} are scored against "
                f"masks of split {splits[1]}"
            )
    return ""


def _skip_others(left: _Side, right: _Side, others: _Side, split: str) -> str:
    """Remove the predictions of other splits than the masks', and tell of them."""
    if not split:
        return ""
    away = [
        key
        for key, files in left.files.items()
        if key not in right.files
        and (key in others.files or {split, ""}.isdisjoint(_told(*f) for f in files))
    ]
    count = sum(len(left.files.pop(key)) for key in away)
    return f"{counted(count, 'prediction')} outside split {split} skipped" * bool(count)


def _sides(
    sides: list[tuple[FoundSet, str]],
    masks: _Masks,
    *,
    crops: bool,
    splits: bool = False,
) -> tuple[_Side, _Side, _Side]:
    """Predictions, masks and masks of other splits by their keys."""
    left = _Side(", ".join(text for _, text in sides))
    for found, text in sides:
        _add_keys(left, found, text, crops, splits)
    right, others = _Side(masks.text), _Side(masks.text)
    _add_keys(right, masks.found, masks.text, False, splits)
    _add_keys(others, masks.others, masks.text, False, splits)
    return left, right, others


def _pair_model(
    name: str, default: str, left: _Side, right: _Side, crops: bool
) -> list[FilePair]:
    """The pairs of one model, then the masks that it lacks."""
    own = {
        key: [(f, p) for f, p in files if p.get("model", default) == name]
        for key, files in left.files.items()
    }
    pairs = [
        FilePair(name, file, right.first(key), _crop(parts, crops))
        for key in sorted(own, key=natural_key)
        for file, parts in own[key]
    ]
    lacking = [
        FilePair(name, None, right.first(key))
        for key in right.files
        if not own.get(key)
    ]
    return pairs + lacking


def _place(text: str) -> tuple[str, ...]:
    """The parts of a path that say where a crop lies."""
    return Pattern(text).place if is_pattern(text) else ()


def _crop(parts: dict[str, str], crops: bool) -> Crop | None:
    if not crops:
        return None
    place = next(place for place in PLACES if set(place) <= parts.keys())
    row, column = [*(int(parts[name]) for name in place), 0][:2]
    return Crop(row, column, place, parts[_WHOLE])


def _add_keys(
    side: _Side, found: FoundSet, text: str, crops: bool, splits: bool
) -> None:
    """Add files by the key of a pattern, or by their path without usual folders.

    With ``splits``, the split of a file replaces the folders that tell it.
    """
    pattern = Pattern(text) if is_pattern(text) else None
    prefix = ""
    if pattern and pattern.folder != ".":
        prefix = f"{pattern.folder.rstrip('/')}/"
    for file in found.files:
        parts = (pattern.match(prefix + file.name) if pattern else None) or {}
        name = file.name
        if file.member and text.endswith(f"#{file.member}"):
            name = name.removesuffix(f"#{file.member}")
        split = file.split if splits and file.split not in _NO_SPLIT else ""
        key = parts["key"] if "key" in parts else _path_key(name, split)
        key = f"{split}/{key}" if split else key
        if crops and pattern:
            parts[_WHOLE] = pattern.named(parts).removeprefix(prefix)
        elif pattern and pattern.place:
            numbers = (str(int(parts[name])) for name in pattern.place)
            key = f"{key} at {', '.join(numbers)}"
        side.files[key].append((file, parts))


def _path_key(name: str, split: str) -> str:
    """A path without folders of labels, of predictions or of a split that is known."""
    path = PurePosixPath(name)
    folders = [
        part
        for part in path.parts[:-1]
        if role_of(part) not in _PARTS
        and not (split and split in (split_named(part), part))
    ]
    stem = path.name if "#" in path.suffix else path.stem
    return "/".join([*folders, stem])


def _told(file: FoundFile, parts: dict[str, str]) -> str:
    """The split that the path of a prediction tells below the folder that was typed."""
    if "split" in parts:
        return usual_split(parts["split"])
    return split_in(PurePosixPath(file.name).parts[:-1])


def _unclear(left: _Side, right: _Side, crops: bool) -> Iterator[str]:
    """Why some predictions and masks do not belong to each other for certain."""
    yield from _doubles(right, crops=False)
    yield from _doubles(left, crops=crops)
    for key in filter(right.files.__contains__, left.files):
        mask = right.files[key][0][0]
        for file, parts in left.files[key]:
            split = _told(file, parts)
            if mask.split not in _NO_SPLIT and split not in ("", mask.split):
                yield (
                    f"{left.text}: {file.name} lies in split {split}, but its mask "
                    f"{mask.name} is of split {mask.split}. If they belong together, "
                    "name the folder of the predictions itself"
                )


def _doubles(side: _Side, *, crops: bool) -> Iterator[str]:
    """Why files of one key cannot be told apart."""
    for key, files in side.files.items():
        places = [(parts.get("model"), _crop(parts, crops)) for _, parts in files]
        if len(set(places)) < len(places):
            names = " and ".join(file.name for file, _ in files[:2])
            yield f"{side.text}: {names} have the same key {key!r}"


def _nothing_text(left: _Side, right: _Side, skipped: str) -> str:
    """Why nothing pairs: three names of each side and patterns that would."""
    if not left.files:
        return f"no prediction pairs with a mask: {skipped}"
    first, second = (
        [file.name for files in side.files.values() for file, _ in files]
        for side in (left, right)
    )
    one, two = (
        {file.split for files in side.files.values() for file, _ in files}
        - {*_NO_SPLIT}
        for side in (left, right)
    )
    # The numbers of two splits mean different images.
    apart = one and two and one.isdisjoint(two)
    # Predictions that tell no split may be those of any split.
    parts = {"": second} if one or len(two) < 2 else _by_split(right)
    ways = {
        split: " --target ".join(map(_whole, (left.text, right.text), found))
        for split, names in parts.items()
        if not apart and (found := _suggest(first, names))
    }
    hint = "Name the key that they share as {} in a pattern on both sides"
    if ways:
        told = (
            f"--pred {way}" + (f" if they are of {s}" if s and len(ways) > 1 else "")
            for s, way in ways.items()
        )
        hint = f"Try {'; '.join(told)}"
    shown, beside = (", ".join(names[:_SHOWN]) for names in (first, second))
    return (
        f"no prediction pairs with a mask: {left.text} holds {shown}; {right.text} "
        f"holds {beside}. {hint}"
    )


def _by_split(side: _Side) -> dict[str, list[str]]:
    """The names of the files of each split."""
    names: dict[str, list[str]] = {}
    for files in side.files.values():
        for file, _ in files:
            names.setdefault(file.split, []).append(file.name)
    return names


def _whole(folder: str, pattern: str) -> str:
    """A pattern below a folder that was typed, quoted for a shell."""
    is_folder = is_address(folder) or Path(folder).is_dir()
    return shlex.quote(f"{folder.rstrip('/') if is_folder else '...'}/{pattern}")


def _suggest(predictions: list[str], masks: list[str]) -> tuple[str, str] | None:
    """The patterns, made from a name of each side, that pair most files, if any do."""
    same = {PurePosixPath(_stem(name)).name: name for name in reversed(masks)}
    tried = {
        (one.replace(shared, "{}", 1), two.replace(shared, "{}", 1))
        for one in predictions[:_TRIED]
        for two in [
            *masks[:_TRIED],
            *filter(None, [same.get(PurePosixPath(_stem(one)).name)]),
        ]
        if (shared := _longest_shared(_stem(one), _stem(two)))
    }
    fit = {both: _paired(both, predictions, masks) for both in sorted(tried)}
    best = max(fit, key=lambda both: (fit[both], -sum(map(len, both))), default=None)
    fewer = min(len(predictions), len(masks))
    if best is None or 2 * fit[best] <= fewer:
        return None
    models = re.sub(r"^[^/{}]+/", "{model}/", best[0])
    held = [
        sum(map(bool, map(Pattern(one).match, predictions)))
        for one in (best[0], models)
    ]
    return (models, best[1]) if held[1] > held[0] else best


def _paired(patterns: tuple[str, str], predictions: list[str], masks: list[str]) -> int:
    """How many names two patterns pair."""
    splits = [{*filter(None, map(split_named, one.split("/")))} for one in patterns]
    if splits[0] and splits[1] and splits[0].isdisjoint(splits[1]):
        return 0  # The numbers of two splits mean different images.
    keys = [
        {found["key"] for name in names if (found := Pattern(text).match(name))}
        for text, names in zip(patterns, (predictions, masks), strict=True)
    ]
    return len(keys[0] & keys[1])


def _stem(name: str) -> str:
    return PurePosixPath(name).with_suffix("").as_posix()


def _longest_shared(first: str, second: str) -> str:
    """The longest run of whole words and numbers that is in both names."""
    return max(
        _runs(first) & _runs(second), key=lambda run: (len(run), run), default=""
    )


def _runs(name: str) -> set[str]:
    """All runs of words and numbers of a name, each within one folder."""
    parts = re.findall(r"[^\W\d_]+|\d+|[\W_]", name)
    places = [at for at, part in enumerate(parts) if part.isalnum()]
    runs = ("".join(parts[i : j + 1]) for i in places for j in places if i <= j)
    return {run for run in runs if "/" not in run}
