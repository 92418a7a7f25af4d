"""Pairing of predictions with masks by key, path, or index in a stack."""

from __future__ import annotations

import shlex
from collections import Counter, defaultdict
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Final, NamedTuple
from urllib.parse import urlencode

from cdstats.core.errors import DataError, UsageError, counted
from cdstats.core.labelling import NO_ORIGIN, Origin
from cdstats.io.addresses import is_address
from cdstats.io.containers import (
    are_same,
    inner_name,
    member_in,
    pattern_in,
    shared_folder,
    typed_inside,
)
from cdstats.io.discovery import (
    UNASSIGNED,
    find_files,
    find_masks,
    find_sheets,
    of_split,
    split_name,
)
from cdstats.io.found import identity
from cdstats.io.lists import UNLISTED
from cdstats.io.naming import (
    PARTS,
    natural_key,
    role_of,
    split_in,
    split_named,
    usual_split,
    without_part,
)
from cdstats.io.parquet import ROWS_PAIR, row_keys
from cdstats.io.patterns import (
    PLACES,
    UNKEPT,
    Pattern,
    is_pattern,
    suggest_patterns,
)
from cdstats.io.predictions import PREDICTION_EXTENSIONS
from cdstats.io.sheets import BY_SHEET, RunLine, names_of_runs
from cdstats.io.signatures import is_one

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from cdstats.core.presets import Preset
    from cdstats.io.found import FoundFile, FoundSet

_SHOWN: Final = 3

_NO_SPLIT: Final = (UNASSIGNED, UNLISTED, "")
"""Values for masks without a split."""


@dataclass(frozen=True, slots=True)
class Crop:
    """Position of a prediction in its full mask.

    Attributes:
        row: First row, row of the tile, or index of the tile.
        column: First column, or column of the tile; 0 with an index.
        place: Names of the pattern fields that give the position.
        whole: Common name of all crops of the mask.
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
    """A file of predictions and the matching file of masks.

    Attributes:
        model: Name of the model; empty for a single model without a name.
        prediction: File of predictions; None if a mask has none.
        target: File of masks; None if a prediction has none.
        crop: Window of the mask that the prediction covers; None for the whole mask.
        words: Words of patterns, or cells of a sheet: ``scene=a&city=b``.
    """

    model: str
    prediction: FoundFile | None
    target: FoundFile | None
    crop: Crop | None = None
    words: str = ""

    def anywhere(self) -> FilePair:
        """The same pair with absolute paths."""
        prediction = self.prediction and self.prediction.anywhere()
        target = self.target and self.target.anywhere()
        return replace(self, prediction=prediction, target=target)


@dataclass(frozen=True)
class Pairs:
    """All pairs of a run, ordered by model and key, with notes.

    `problems` are messages on inputs that could not be read, ``origin`` is the location
    of the masks.
    """

    pairs: tuple[FilePair, ...]
    notes: tuple[str, ...] = ()
    problems: tuple[str, ...] = ()
    origin: Origin = NO_ORIGIN


class _Entry(NamedTuple):
    """A file with its pattern fields and its position in the mask.

    ``run`` holds the fields that patterns of the other side lack.
    """

    file: FoundFile
    parts: dict[str, str]
    crop: Crop | None
    run: str = ""

    @property
    def identity(self) -> tuple[str | None, Crop | None]:
        """Distinguishes files of one key within a run."""
        return self.parts.get("model"), self.crop


class _Side(dict[str, list[_Entry]]):
    """Predictions or masks by key: pattern fields, or the path.

    Args:
        sets: Datasets with their paths as typed.
        crops: Whether the files are crops of masks.
        splits: Whether the key contains the split instead of split folders.
        words: Pattern fields that form the key; empty if the sides share none.
        rows: Keys of table rows by their path.
    """

    def __init__(
        self,
        sets: Sequence[tuple[FoundSet, str]],
        *,
        crops: bool,
        splits: bool,
        words: Sequence[str],
        rows: Mapping[str, str],
    ) -> None:
        super().__init__()
        self._rows, self._words = rows, words
        self.text = ", ".join(text for _, text in sets)
        for found, text in sets:
            typed = pattern_in(text)
            pattern = Pattern(typed) if is_pattern(typed) else None
            shared = shared_folder(file.name for file in found.files)
            for file in found.files:
                self._add(file, text, pattern, crops, splits, shared)

    def _add(
        self,
        file: FoundFile,
        text: str,
        pattern: Pattern | None,
        crops: bool,
        splits: bool,
        shared: str,
    ) -> None:
        prefix = pattern.start if pattern else ""
        is_inside = inner_name(file.name) is not None
        name = file.key_name
        whole = name if is_inside else prefix + name
        parts = (pattern.match(whole) if pattern else None) or {}
        split = file.split if splits and file.split not in _NO_SPLIT else ""
        if is_inside:
            name = without_part(name.removeprefix(shared))
        if file.member and text.endswith(f"#{file.member}"):
            name = name.removesuffix(f"#{file.member}")
        name = self._rows.get(file.path, name)
        named = [parts[one] for one in self._words or ("key",) if one in parts]
        key = "/".join(named) or _path_key(name, split)
        key = f"{split}/{key}" if split else key
        crop = None
        if pattern and pattern.place:
            numbers = [int(parts[one]) for one in pattern.place]
            if crops:
                whole = pattern.named(parts).removeprefix(prefix)
                row, column = [*numbers, 0][:2]
                crop = Crop(row, column, pattern.place, whole)
            else:
                key = f"{key} at {', '.join(map(str, numbers))}"
        own = sorted(parts.keys() - {*self._words, *UNKEPT})
        run = " ".join(f"{word}={parts[word]}" for word in own)
        self.setdefault(key, []).append(_Entry(file, parts, crop, run))

    @property
    def found(self) -> list[FoundFile]:
        """All files of this side."""
        return [entry.file for entries in self.values() for entry in entries]

    @property
    def has_runs(self) -> bool:
        """Whether files of one key differ only by fields that the other side lacks."""
        found = self.values()
        return any(len({e.identity for e in some}) < len(some) for some in found)

    def doubles(self, *, runs: bool = False) -> Iterator[str]:
        """Messages on files of one key that cannot be distinguished."""
        for key, entries in self.items():
            if len({(e.identity, runs and e.run) for e in entries}) < len(entries):
                names = " and ".join(entry.file.name for entry in entries[:2])
                way = ", or models by --pred 'FOLDER/{model}/{}.png'" if runs else ""
                text = f"{names} have the same key {key!r}; name one folder{way}"
                yield f"{self.text}: {text}"


class _Masks(NamedTuple):
    """The masks to score against, and the masks of other splits.

    `split` is the common split of the masks; empty if there are several.
    """

    text: str
    found: FoundSet
    others: FoundSet
    split: str


def find_pairs(
    predictions: Sequence[str],
    target: str | None,
    *,
    split: str | None = None,
    preset: Preset | None = None,
    known: bool = False,
) -> Pairs:
    """Pair predictions with masks; sheets give both."""
    if target is None:
        return _pairs_of_sheets(predictions, split, preset)
    masks = _masks(target, split, preset, known)
    notes, problems = list(masks.found.notes), list(masks.found.problems)
    models: dict[str, list[tuple[FoundSet, str]]] = defaultdict(list)
    for text in predictions:
        name, place = split_name(text)
        for found in find_files([place], PREDICTION_EXTENSIONS):
            _refuse_problems(found)
            notes += found.notes
            problems += found.problems
            alone = len(predictions) == 1
            models[name or ("" if alone else found.name)].append((found, place))
    pairs: list[FilePair] = []
    for model, sides in models.items():
        own, texts = _pair(model, sides, masks)
        pairs += own
        notes += [f"{model}: {text}" if model else text for text in texts]
    others, texts = _without_masks(pairs)
    told = tuple(dict.fromkeys((*notes, *texts)))
    once = dict.fromkeys(problems)
    return Pairs(tuple(others), told, tuple(once), masks.found.origin)


def _pairs_of_sheets(
    predictions: Sequence[str], split: str | None, preset: Preset | None
) -> Pairs:
    """Pairs from sheets; the model comes from the line or from NAME=."""
    given = [split_name(text) for text in predictions]
    sheets = find_sheets([place for _, place in given], preset)
    _refuse_problems(sheets.masks)
    kept = sheets.masks if split is None else of_split(sheets.masks, split)
    _refuse_problems(kept)
    wanted = {*map(identity, kept.files)}
    found, lines, skipped = list[FilePair](), list[RunLine](), 0
    for number, line, prediction, target in sheets.lines:
        name, place = given[number]
        if name and line.model:
            text = "the model is given by NAME= and in the column model; expected one"
            raise UsageError(f"{name}={place}: {text}")
        if split is not None and (target is None or identity(target) not in wanted):
            skipped += 1
            continue
        model = name or line.model or ("" if len(given) == 1 else place.lstrip("@"))
        found.append(FilePair(model, prediction, target, None, _words(line.words)))
        lines.append((model, target and identity(target), line.words))
    pairs = defaultdict[str, list[FilePair]](list)
    for model, pair in zip(names_of_runs(lines), found, strict=True):
        pairs[model].append(replace(pair, model=model))
    for model, own in pairs.items():
        _refuse_two(model, own)
        own.sort(key=lambda one: natural_key(one.target.name if one.target else ""))
    others, texts = _without_masks([pair for own in pairs.values() for pair in own])
    if skipped:
        texts.append(f"{counted(skipped, 'prediction')} outside split {split} skipped")
    told = dict.fromkeys((*sheets.notes, *texts))
    return Pairs(tuple(others), tuple(told), sheets.masks.problems, sheets.masks.origin)


def _refuse_two(model: str, pairs: Sequence[FilePair]) -> None:
    """Refuse a mask for which one model has two predictions."""
    seen: dict[tuple[str, str], FilePair] = {}
    for pair in pairs:
        first = pair.target and seen.setdefault(identity(pair.target), pair)
        if first and first is not pair and pair.target:
            names = [one.prediction.name for one in (first, pair) if one.prediction]
            raise DataError(
                f"{pair.target.name}: has two predictions of "
                f"{model or 'the model without a name'}, {' and '.join(names)}"
            )


def _masks(
    target: str, split: str | None, preset: Preset | None, known: bool
) -> _Masks:
    """The masks of a split without duplicates, and the masks of other splits."""
    found = find_masks([target], preset=preset, known=known)[0]
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
        kept._replace(files=[file for file in kept.files if not file.again]),
        found._replace(files=others),
        splits.pop() if len(splits) == 1 else "",
    )


def _without_masks(pairs: Sequence[FilePair]) -> tuple[list[FilePair], list[str]]:
    """The pairs without predictions that are the mask itself, and notes on those."""
    same = [_is_mask(pair) for pair in pairs]
    skipped = Counter(
        pair.model for pair, mask in zip(pairs, same, strict=True) if mask
    )
    kept = [
        replace(pair, prediction=None, crop=None) if mask else pair
        for pair, mask in zip(pairs, same, strict=True)
    ]
    own = {pair.model for pair in kept if pair.prediction}
    if skipped and not own:
        raise DataError(
            "the predictions are the masks themselves; expected other files"
        )
    notes = [
        (f"{model}: " if model else "")
        + (counted(count, "prediction") if model in own else "the model")
        + " skipped: masks are not scored against themselves"
        for model, count in skipped.items()
    ]
    return [pair for pair in kept if pair.model in own], notes


def _is_mask(pair: FilePair) -> bool:
    one, two = pair.prediction, pair.target
    if one is None or two is None or one.member != two.member:
        return False
    return one.path == two.path or are_same(one.path, two.path)


def _is_file(text: str, found: FoundSet) -> bool:
    file, member = member_in(text)
    if len(found.files) > 1:
        return False
    if is_address(text):
        return [str(one.path) for one in found.files] in ([text], [file])
    if typed := typed_inside(text):
        names = [one.name for one in found.files]
        return [inner_name(name) for name in names] == [typed.member]
    return is_one(Path(text)) or bool(member and is_one(Path(file)))


def _refuse_problems(found: FoundSet) -> None:
    if found.problems and not found.files:
        raise DataError(found.problems[0])


def _pair(
    model: str, sides: list[tuple[FoundSet, str]], masks: _Masks
) -> tuple[list[FilePair], list[str]]:
    """The pairs of one argument, whose pattern may name several models, and notes."""
    if (
        len(sides) == 1
        and _is_file(sides[0][1], sides[0][0])
        and (len(masks.found.files) == 1 or _is_file(masks.text, masks.found))
    ):
        return [FilePair(model, sides[0][0].files[0], masks.found.files[0])], []
    places = {_place(text): text for _, text in sides}
    crops = any(places) and not _place(masks.text)
    if crops and len(places) > 1:
        raise UsageError(
            f"{' and '.join(places.values())} give positions of crops in two ways; "
            "expected one for each model"
        )
    rows = row_keys(
        [file for found, _ in sides for file in found.files],
        masks.found.files,
        masks.others.files,
    )
    left, right, others = _sides(sides, masks, rows, crops=crops)
    if not left.keys() & right.keys() or any(_ambiguities(left, right)):
        again = _sides(sides, masks, rows, crops=crops, splits=True)
        if again[0].keys() & again[1].keys():
            left, right, others = again
    for text in _ambiguities(left, right):
        raise DataError(text)
    skipped = _skip_others(left, right, others, masks.split)
    if not left.keys() & right.keys():
        raise DataError(_no_pairs_text(left, right, skipped, rows))
    target = {key: entries[0] for key, entries in right.items()}
    pairs: dict[str, list[FilePair]] = defaultdict(list)
    has_runs = left.has_runs
    lacking: dict[str, set[str]] = defaultdict(lambda: {*right})
    for key in sorted(left, key=natural_key):
        for file, parts, crop, run in left[key]:
            name, mask = parts.get("model", model), target.get(key)
            name = f"{name} {run}".strip() if has_runs else name
            words = _words({**(mask.parts if mask else {}), **parts})
            pairs[name].append(FilePair(name, file, mask and mask.file, crop, words))
            lacking[name].discard(key)
    found = [
        pair
        for name in sorted(pairs, key=natural_key)
        for pair in (
            *pairs[name],
            *(
                FilePair(name, None, target[k].file, words=_words(target[k].parts))
                for k in right
                if k in lacking[name]
            ),
        )
    ]
    return found, [*filter(None, (skipped, _split_note(found)))]


def _split_note(pairs: Sequence[FilePair]) -> str:
    """A note if the typed folders are of different splits."""
    for one, two in ((pair.prediction, pair.target) for pair in pairs):
        splits = [file.split for file in (one, two) if file]
        if len(set(splits)) == 2 and not {*splits} & {*_NO_SPLIT}:
            return (
                f"predictions from a folder of split {splits[0]} are scored against "
                f"masks of split {splits[1]}"
            )
    return ""


def _skip_others(left: _Side, right: _Side, others: _Side, split: str) -> str:
    """Remove predictions of other splits than that of the masks; returns a note."""
    if not split:
        return ""
    away = [
        key
        for key, entries in left.items()
        if key not in right
        and (key in others or {split, ""}.isdisjoint(map(_stated_split, entries)))
    ]
    count = sum(len(left.pop(key)) for key in away)
    return f"{counted(count, 'prediction')} outside split {split} skipped" * bool(count)


def _sides(
    sides: list[tuple[FoundSet, str]],
    masks: _Masks,
    rows: Mapping[str, str],
    *,
    crops: bool,
    splits: bool = False,
) -> tuple[_Side, _Side, _Side]:
    """Predictions, masks, and masks of other splits, by key."""
    named = [
        _pattern_words(text) for text in (masks.text, *(text for _, text in sides))
    ]
    words = sorted(frozenset.intersection(*named))
    side = partial(_Side, splits=splits, words=words, rows=rows)
    return (
        side(sides, crops=crops),
        side([(masks.found, masks.text)], crops=False),
        side([(masks.others, masks.text)], crops=False),
    )


def _pattern_words(text: str) -> frozenset[str]:
    """The fields of a pattern, including its key; empty for other paths."""
    text = pattern_in(text)
    return Pattern(text).words if is_pattern(text) else frozenset()


def _words(parts: Mapping[str, str]) -> str:
    """Values of pattern fields as URL query text, without keys and positions."""
    own = sorted((n, text) for n, text in parts.items() if n not in UNKEPT and text)
    return urlencode(own)


def _place(text: str) -> tuple[str, ...]:
    text = pattern_in(text)
    return Pattern(text).place if is_pattern(text) else ()


def _path_key(name: str, split: str) -> str:
    """A path without label and prediction folders, and without folders of the split."""
    path = PurePosixPath(name)
    folders = [
        part
        for part in path.parts[:-1]
        if role_of(part) not in PARTS
        and not (split and split in (split_named(part), part))
    ]
    stem = path.name if "#" in path.suffix else path.stem
    return "/".join([*folders, stem])


def _stated_split(entry: _Entry) -> str:
    """The split in the path of a prediction, below the typed folder."""
    if "split" in entry.parts:
        return usual_split(entry.parts["split"])
    return split_in(PurePosixPath(entry.file.name).parts[:-1])


def _ambiguities(left: _Side, right: _Side) -> Iterator[str]:
    """Messages on pairs that are ambiguous or of different splits."""
    yield from right.doubles()
    yield from left.doubles(runs=True)
    for key in filter(right.__contains__, left):
        mask = right[key][0].file
        for entry in left[key]:
            split = _stated_split(entry)
            if mask.split not in _NO_SPLIT and split not in ("", mask.split):
                yield (
                    f"{left.text}: {entry.file.name} is in split {split}, but its "
                    f"mask {mask.name} is in split {mask.split}. If they belong "
                    "together, give the folder of the predictions itself"
                )


def _no_pairs_text(
    left: _Side, right: _Side, skipped: str, rows: Mapping[str, str]
) -> str:
    """The message if nothing pairs: example names, and patterns that would pair."""
    if not left:
        return f"no prediction pairs with a mask: {skipped}"
    if rows:
        shown, beside = (", ".join(list(side)[:_SHOWN]) for side in (left, right))
        return (
            f"no prediction pairs with a mask: {left.text} holds {shown}; {right.text} "
            f"holds {beside}. {ROWS_PAIR}"
        )
    first, second = ([file.key_name for file in side.found] for side in (left, right))
    own, of_masks = (
        {file.split for file in side.found} - {*_NO_SPLIT} for side in (left, right)
    )
    names: dict[str, list[str]] = defaultdict(list)
    for file in right.found:
        names["" if own or len(of_masks) < 2 else file.split].append(file.key_name)
    # Equal numbers in two splits are different images; without a split, of any split.
    apart = own and of_masks and own.isdisjoint(of_masks)
    ways = {
        split: " --target ".join(map(_quoted_path, (left.text, right.text), found))
        for split, some in names.items()
        if not apart and (found := suggest_patterns(first, some))
    }
    hint = "Mark their common key as {} in patterns for both sides"
    if min(len(first), len(second)) == 1 < max(len(first), len(second)):
        one, two = (some[0] + "#0" * (len(some) == 1) for some in (first, second))
        hint = f"{BY_SHEET} {one},{two}"
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


def _quoted_path(folder: str, pattern: str) -> str:
    """The path of a pattern in a typed folder, quoted for a shell."""
    if typed := typed_inside(folder):
        return shlex.quote(f"{typed.archive}!{pattern}")
    is_folder = is_address(folder) or Path(folder).is_dir()
    return shlex.quote(f"{folder.rstrip('/') if is_folder else '...'}/{pattern}")
