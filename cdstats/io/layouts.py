"""Masks among the files below a folder, by folder names first and file names second.

The words and patterns are data, in ``data/layouts.toml``. A folder with two masks for
the same images is refused, and the message gives a path for each.
"""

from __future__ import annotations

import glob
import re
from collections import Counter, defaultdict
from fnmatch import fnmatch
from functools import lru_cache
from pathlib import Path, PurePath, PurePosixPath
from typing import TYPE_CHECKING, Final, NamedTuple

from cdstats.core.errors import DataError, counted
from cdstats.core.vocabulary import known_layouts, known_looks, shapes_of
from cdstats.io.file_kinds import (
    file_words,
    masks_by_file,
    name_the_same,
    path_choices,
)
from cdstats.io.naming import (
    LABELS,
    Role,
    is_mask_folder,
    label_rank,
    names_change_alone,
    naturally,
    plays_a_part,
    role_of,
    some,
    split_in,
    split_named,
    words_in,
)
from cdstats.io.signatures import EXTENSIONS, FORMATS

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence
    from collections.abc import Set as AbstractSet

    from cdstats.core.counts import Value
    from cdstats.core.presets import Preset

_LOOKED_AT: Final = 500
"""Number of files whose names are compared with known datasets."""
_ABOVE: Final = 4
"""Last folders of a path that may name the dataset."""
_OPENED: Final = 8
"""Number of masks opened to see whether a preset fits."""
_OTHER: Final = label_rank(Role.OTHER)
_BESIDE: Final = tuple(
    end for one in ("HDF5", "MAT", "ZARR") for end in FORMATS[one].extensions
)
_YEAR: Final = re.compile(r"(19|20)\d\d(\d\d){0,2}")


class Chosen(NamedTuple):
    """Masks among some files, in natural order, and notes on skipped files."""

    names: list[str]
    notes: list[str]


class Search(NamedTuple):
    """Files to search for: their extensions, and whether they are masks.

    `preset` is the encoding of the masks, which may exclude files. With `known`, the
    presets of recognised datasets exclude files too.
    """

    extensions: frozenset[str] = EXTENSIONS
    masks: bool = True
    preset: Preset | None = None
    known: bool = False

    def choose(self, folder: Path, names: Iterable[str]) -> Chosen:
        """The files to read below a folder."""
        if not self.masks:
            return choose_predictions(folder, naturally(names))
        return choose_masks(folder, names, self.preset, known=self.known)


def splits_of(names: Iterable[str]) -> Callable[[str], str]:
    """A function from the folder of a file to its split.

    A folder next to split folders is a split too, unless its name states a kind of
    file.

    Example:
        >>> of = splits_of(["train/label/1.png", "tier3/label/2.png", "label/3.png"])
        >>> of("train/label"), of("tier3/label"), of("label")
        ('train', 'tier3', '')
    """
    bases = {parts[:-1] for parts in _split_folders(names)}
    longest = sorted(bases, key=len, reverse=True)

    def split_of(folder: str) -> str:
        parts = PurePosixPath(folder).parts
        split = split_in(parts)
        for base in () if split else longest:
            own = parts[len(base) : len(base) + 1]
            if own and parts[: len(base)] == base and not plays_a_part(own[0]):
                return own[0]
        return split

    return split_of


def split_notes(names: Iterable[str]) -> list[str]:
    """Notes on splits whose masks are in several folders."""
    homes: dict[str, set[str]] = defaultdict(set)
    for parts in _split_folders(names):
        homes[split_named(parts[-1])].add("/".join(parts))
    several = [split for split, found in homes.items() if len(found) > 1]
    return [
        f"split {split} is read from {some(naturally(homes[split]))}; to count "
        "separately, name each"
        for split in sorted(several)[:1]
    ]


def _split_folders(names: Iterable[str]) -> set[tuple[str, ...]]:
    """The folders of files, cut off below the folder that names a split."""
    found = set[tuple[str, ...]]()
    for folder in _folders(names):
        parts = folder.split("/")
        ends = [at + 1 for at, part in enumerate(parts) if split_named(part)]
        found.add(tuple(parts[: max(ends, default=0)]))
    return found - {()}


def path_end(folder: PurePath) -> str:
    """The last folders of a path, which may name the dataset."""
    return "/".join(folder.parts[-_ABOVE:])


def looks_like(folder: PurePath, names: Sequence[str]) -> tuple[str, ...]:
    """Presets of datasets whose files and folders have names like these."""
    first = {_folder(name): name for name in reversed(names)}
    some = [*names[:_LOOKED_AT], *list(first.values())[:_LOOKED_AT]]
    above = path_end(folder)
    return known_looks({f"{above}/{name}".lower() for name in some})


def without_left_out(names: Iterable[str], preset: Preset | None) -> Chosen:
    """The files that a preset does not exclude, and a note on the others."""
    ordered = naturally(names)
    shapes = [shape.lower() for shape in preset.leave_out] if preset else []
    kept = [
        name
        for name in ordered
        if not any(fnmatch(name.rpartition("/")[2].lower(), one) for one in shapes)
    ]
    if not preset or len(kept) == len(ordered):
        return Chosen(ordered, [])
    files = counted(len(ordered) - len(kept), "file")
    shown = ", ".join(preset.leave_out)
    return Chosen(kept, [f"skipped {files} ({shown}) as preset {preset.name} does"])


def _laid_out(folder: Path, names: Iterable[str]) -> set[str]:
    """The files that match the layout of a known dataset."""
    above = path_end(folder.absolute())
    return {name for name in names if known_layouts(f"{above}/{name}")}


def _without_left_out(folder: Path, names: list[str]) -> Chosen:
    """The files that the presets of their layouts do not exclude."""
    from cdstats.core.presets import preset

    notes, above = list[str](), path_end(folder.absolute())
    known = {one for name in names for one in known_layouts(f"{above}/{name}")}
    for one in (preset(name) for name in shapes_of("layouts") if name in known):
        if one.leave_out and any(
            one.name in known_layouts(f"{above}/{name}") for name in names
        ):
            names, more = without_left_out(names, one)
            notes += more
    return Chosen(names, notes)


def choose_masks(
    folder: Path,
    names: Iterable[str],
    preset: Preset | None = None,
    *,
    known: bool = False,
) -> Chosen:
    """Choose the masks among the files below a folder by their names.

    Change labels take precedence over other labels, and these over images, predictions
    and unknown files. Folder names decide first, such as ``label`` beside ``A``, then
    file names, such as ``1_mask.png`` beside ``1.jpg``. Two masks of the same images
    are refused.
    """
    chosen = without_left_out(names, preset)
    if known and not preset:
        chosen = _without_left_out(folder, chosen.names)
    ordered, notes = chosen.names, chosen.notes
    if not ordered:
        return chosen
    prefer = preset.prefer if preset else _usual_choice(folder, ordered)
    sure = _laid_out(folder, ordered) if known and not preset else set()
    kept, note = _by_folder(folder, ordered, prefer, sure)
    kept, beside = _without_stacks(kept)
    note += beside
    _refuse_parallel_folders(folder, kept)
    _refuse_unnamed_folders(folder, ordered, kept)
    notes += note
    if not (preset and preset.pair):
        looks = () if preset else looks_like(folder.absolute(), kept)
        kept, note = masks_by_file(folder, kept, looks)
        notes += note
    return Chosen(kept, notes)


def choose_predictions(folder: Path, names: list[str]) -> Chosen:
    """Choose the predictions among files that may include labels or images.

    Names that say predictions take precedence over unknown names, and these over
    labels; images come last.

    Example:
        >>> names = ["A/1.png", "L/1.png", "pred/1.png"]
        >>> found = choose_predictions(Path("out"), names)
        >>> found.names, found.notes
        (['pred/1.png'], ['read the predictions in pred; skipped A, L'])
    """
    if not names:
        return Chosen(names, [])
    notes = []
    lettered = _are_lettered(_folders(names))
    by_folder = {name: _folder_role(_folder(name), lettered) for name in names}
    kept = _best_predictions(by_folder)
    if Role.IMAGE in by_folder.values() and by_folder[kept[0]] in LABELS:
        folders = some(naturally(_folders(names)))
        raise DataError(
            f"{folder}: has images and labels like a dataset ({folders}); expected "
            "predictions. To score the labels, name their folder"
        )
    skipped = _folders(names) - _folders(kept)
    if skipped:
        read = naturally({_folder(name) or "." for name in kept})
        told = f"read the predictions in {some(read)}"
        notes.append(f"{told}; skipped {some(naturally(skipped))}")
    kept, beside = _without_stacks(kept)
    notes += beside
    said = {name: file_words(name) for name in kept}
    best = set(_best_predictions({name: role for name, (role, _) in said.items()}))
    images = {said[name][1] for name in best}
    if left := [n for n in kept if n not in best and said[n][1] in images]:
        kept = [n for n in kept if n in best or said[n][1] not in images]
        notes.append(f"read the predictions {some(kept)}; skipped {some(left)}")
    return Chosen(kept, notes)


def _without_stacks(names: list[str]) -> tuple[list[str], list[str]]:
    """The files without array stacks beside images, and notes on skipped stacks.

    A stack beside images is a copy of all masks, or something else such as weights.
    """
    left = [name for name in names if name.lower().endswith(_BESIDE)]
    if not left or len(left) == len(names):
        return names, []
    kept = [name for name in names if not name.lower().endswith(_BESIDE)]
    return kept, [
        f"skipped {some(left)} beside other files: to read one, give its path"
    ]


def _folder_role(folder: str, lettered: bool) -> Role:
    """The role stated by the deepest folder that states any."""
    parts = reversed(PurePosixPath(folder).parts)
    roles = (role_of(part) for part in parts if not lettered or len(part) > 1)
    silent = (Role.NONE, Role.LOOSE)
    return next((role for role in roles if role not in silent), Role.NONE)


def _best_predictions(roles: Mapping[str, Role]) -> list[str]:
    """The names most likely to be predictions; all if they are of one kind."""
    order = (
        (Role.PREDICTION,),
        (Role.NONE, Role.LOOSE),
        (Role.CHANGE, Role.TRUTH, Role.OTHER),
    )
    found = ([name for name, role in roles.items() if role in one] for one in order)
    return next(filter(None, found), list(roles))


def _usual_choice(folder: Path, names: Sequence[str]) -> tuple[str, ...]:
    """The usual mask folders of a dataset that its name and files identify."""
    above = folder.absolute()
    known = looks_like(above, names)
    if not known:
        return ()
    from cdstats.core.presets import preset

    dataset = "/".join(above.parts[-_ABOVE:]).lower()
    found = (one for one in map(preset, known) if one.short.lower() in dataset)
    return next((one.prefer for one in found if one.prefer), ())


# Folders.


class _Place(NamedTuple):
    """Parsed folders of a file.

    `kind` is a glob of the folders that state the role, `home` the folders above
    without splits, and `rest` all other folders, which the files of one image share.
    """

    role: Role
    kind: str
    home: tuple[str, ...]
    rest: str


@lru_cache(maxsize=4096)
def _place(folder: str, lettered: bool) -> _Place:
    parts = PurePosixPath(folder).parts
    roles = [
        Role.NONE if lettered and len(part) == 1 else role_of(part) for part in parts
    ]
    for at, part in enumerate(parts):
        # A folder named "change" may hold a whole dataset.
        named = roles[at] is Role.CHANGE and names_change_alone(part)
        if named and set(roles[at + 1 :]) & {Role.IMAGE, Role.TRUTH, Role.PREDICTION}:
            roles[at] = Role.NONE
    if any(role is not Role.LOOSE for role in roles if role in LABELS):
        roles = [Role.NONE if role is Role.LOOSE else role for role in roles]
    labels = [at for at, role in enumerate(roles) if role in LABELS]
    said = [at for at, role in enumerate(roles) if role is not Role.NONE]
    role = _role(roles, labels)
    if labels:
        is_year = [_YEAR.fullmatch(part) and role is not Role.CHANGE for part in parts]
        years = {at for at in range(labels[0] + 1, len(parts)) if is_year[at]}
        said = sorted({at for at in said if at >= labels[0]} | years)
        role = Role.OTHER if years else role
    first = said[0] if said else len(parts)
    home = tuple(part for part in parts[:first] if not split_named(part))
    rest = "/".join(part for at, part in enumerate(parts) if at not in said)
    return _Place(role, _glob_of(parts, said), home, rest)


def _are_lettered(folders: Iterable[str]) -> bool:
    """Whether single letters name places: C exists besides the dates A and B."""
    return any(
        len(part) == 1 and part.isalpha() and role_of(part) is Role.NONE
        for folder in folders
        for part in folder.split("/")
    )


def _role(roles: Sequence[Role], labels: Sequence[int]) -> Role:
    for role in (Role.PREDICTION, Role.ASIDE):
        if role in roles:
            return role
    if labels:
        if Role.CHANGE in roles:
            return Role.CHANGE
        below = Role.IMAGE in roles[labels[0] :]
        return Role.OTHER if below else roles[labels[-1]]
    return Role.IMAGE if Role.IMAGE in roles else Role.NONE


def _glob_of(parts: Sequence[str], said: Sequence[int]) -> str:
    """A glob of the parts at some indices of a path."""
    text = ""
    for number, at in enumerate(said):
        apart = number and at != said[number - 1] + 1
        text += ("/**/" if apart else "/") * bool(number) + glob.escape(parts[at])
    return text


def _folder(name: str) -> str:
    return name.rpartition("/")[0]


def _folders(names: Iterable[str]) -> set[str]:
    return {_folder(name) for name in names}


def _by_folder(
    folder: Path, names: list[str], prefer: Sequence[str], sure: AbstractSet[str]
) -> tuple[list[str], list[str]]:
    """The files in the most likely mask folders, and notes on skipped files.

    Files in `sure` are masks if any of their folders is a label folder.
    """
    folders = {name: _folder(name) for name in names}
    lettered = _are_lettered({*folders.values()})
    places = {name: _place(folder, lettered) for name, folder in folders.items()}
    if preferred := _preferred(names, prefer):
        kept = preferred
    else:
        is_inside = is_mask_folder(folder.absolute().name)
        kept = _most_likely(names, places, is_inside)
        more = {name for name in sure if places[name].role in LABELS}.difference(kept)
        kept = naturally({*kept, *more}) if more else kept
    if len(kept) == len(names):
        kinds = {place.kind for place in places.values() if place.role in LABELS}
        several = len(kinds) > 1 and len({place.home for place in places.values()}) == 1
        read = f"read the masks in {some(naturally(kinds))}"
        return names, [f"{read}; to count separately, name each"] * several
    held = set(kept)
    near, notes = names, list[str]()
    if places[kept[0]].role in LABELS:
        near, notes = _beside(names, kept, places)
    left = [name for name in near if name not in held]
    above = {one for name in kept for one in _above(folders[name])}
    outside = {n for n in left if not places[n].kind and folders[n] in above}
    shown = naturally(
        {
            places[name].kind or folders[name].rpartition("/")[2]
            for name in left
            if name not in outside
        }
    )
    if outside:
        shown.append("files outside them")
    shapes = naturally({places[name].kind for name in kept} - {""})
    where = f"read the masks in {', '.join(shapes)}"
    text = [where if shapes else "no folder name indicates masks"]
    if shown:
        text.append(f"skipped {', '.join(shown)}")
    return kept, ["; ".join(text + notes)]


def _preferred(names: Sequence[str], prefer: Sequence[str]) -> list[str]:
    """The files in the first folder of `prefer` that exists."""
    found = ([n for n in names if one in n.split("/")[:-1]] for one in prefer)
    return next(filter(None, found), [])


def _most_likely(
    names: list[str], places: dict[str, _Place], is_inside: bool
) -> list[str]:
    """The files of the most likely role in each folder with labels."""
    best: dict[tuple[str, ...], int] = {}
    for place in set(places.values()):
        if place.role in LABELS:
            own = label_rank(place.role)
            best[place.home] = min(own, best.get(place.home, own))
    change = [home for home, own in best.items() if own == 0]

    def is_wanted(place: _Place) -> bool:
        if place.role not in LABELS:
            return is_inside and place.role is Role.NONE and () not in change
        if change and label_rank(place.role) == _OTHER:
            return False
        below = any(place.home[: len(home)] == home for home in change)
        return label_rank(place.role) == (0 if below else best[place.home])

    kept = [name for name in names if is_wanted(places[name])]
    for role in (Role.NONE, Role.PREDICTION):
        kept = kept or [name for name in names if places[name].role is role]
    return kept or names


def _beside(
    names: list[str], kept: list[str], places: dict[str, _Place]
) -> tuple[list[str], list[str]]:
    """Files in or beside mask folders, and a note on files elsewhere.

    Files elsewhere may belong to another dataset.
    """
    homes = {places[name].home for name in kept}
    near = {
        folder: any(_without_splits(folder)[: len(home)] == home for home in homes)
        for folder in _folders(names)
    }
    apart = [name for name in names if not near[_folder(name)]]
    if not apart:
        return names, []
    read = {one for name in kept for one in (*_above(_folder(name)), _folder(name))}
    # The topmost folder of each skipped file that has no files to read.
    highest = {
        folder: next((o for o in _above(folder) if o not in read), folder) or "."
        for folder in dict.fromkeys(map(_folder, apart))
    }
    note = (
        f"skipped {counted(len(apart), 'other file')}, in "
        f"{some([*dict.fromkeys(highest.values())])}: to read them, name their folder"
    )
    return [name for name in names if near[_folder(name)]], [note]


@lru_cache(maxsize=1024)
def _above(folder: str) -> tuple[str, ...]:
    parts = folder.split("/")
    return tuple("/".join(parts[:end]) for end in range(len(parts)))


@lru_cache(maxsize=1024)
def _without_splits(folder: str) -> tuple[str, ...]:
    parts = PurePosixPath(folder).parts
    return tuple(part for part in parts if not split_named(part))


def _refuse_parallel_folders(folder: Path, names: list[str]) -> None:
    """Refuse label folders with a mask for the same images."""
    kinds: dict[str, set[str]] = defaultdict(set)
    lettered = _are_lettered(_folders(names))
    if len({_place(_folder(name), lettered).kind for name in names}) < 2:
        return
    for name in names:
        place = _place(_folder(name), lettered)
        if place.role in LABELS:
            parts = PurePosixPath(name).parts[:-1]
            said = {word for word in words_in(parts[-1]) if len(word) > 1}
            stem = PurePosixPath(name).stem.replace(parts[-1], "")
            left = [word for word in words_in(stem) if word not in said]
            where = f"{split_in(parts)}/{'/'.join(place.home)}//{place.rest}"
            kinds[place.kind].add(f"{where}/{'_'.join(left)}")
    doubled = _parallel(kinds)
    if doubled:
        known = _fitting_presets(folder, names)
        choices = path_choices(folder, doubled)
        if known:
            options = " or ".join(f"--preset {one.name}" for one in known)
            choices = f"looks like {known[0].short}: {options}"
        raise DataError(
            f"{folder}: {' and '.join(doubled)} have labels for the same images; read "
            f"one: {choices}"
        )


def _refuse_unnamed_folders(folder: Path, names: list[str], kept: list[str]) -> None:
    """Refuse folders beside images with two files per image, such as gain and loss.

    Folders of places, such as ``paris/1.png`` and ``rome/1.png``, have different
    images.
    """
    if len(kept) == len(names):
        return
    lettered = _are_lettered(_folders(names))
    held = {name: _place(_folder(name), lettered) for name in names}
    images = {
        (split_in(_folder(n).split("/")), place.home, PurePosixPath(n).stem)
        for n, place in held.items()
        if place.role is Role.IMAGE
    }
    homes = {home for _, home, _ in images}
    kinds: dict[str, set[tuple[str, tuple[str, ...], str]]] = defaultdict(set)
    for name in kept:
        folders = _without_splits(_folder(name))
        above, last = folders[:-1], folders[-1:]
        if last and held[name].role is Role.NONE and above in homes:
            image = split_in(_folder(name).split("/")), above, PurePosixPath(name).stem
            kinds[glob.escape(last[0])] |= {image} & images
    doubled = _parallel(kinds)
    if doubled:
        raise DataError(
            f"{folder}: {' and '.join(doubled)} have files for the same images, and no "
            f"name indicates masks; read one: {path_choices(folder, doubled)}"
        )


def _fitting_presets(folder: Path, names: list[str]) -> list[Preset]:
    """Presets that read one of several label folders and fit its values."""
    from cdstats.core.presets import fitting, preset
    from cdstats.io.counting import Task, count_file

    found = []
    for known in map(preset, looks_like(folder.absolute(), names)):
        values: Counter[Value] = Counter()
        for name in _preferred(names, known.prefer)[:_OPENED]:
            for one in count_file(Task(str(folder / name))):
                values.update(one.mask.counts.values if one.mask else {})
        found += fitting(values, [known.name])
    return found


def _parallel(kinds: Mapping[str, AbstractSet[object]]) -> list[str]:
    """Kinds whose files have the same image names as another kind."""
    found: set[str] = set()
    for kind, keys in kinds.items():
        for other, others in kinds.items():
            if kind < other and name_the_same(keys, others):
                found |= {kind, other}
    return naturally(found)
