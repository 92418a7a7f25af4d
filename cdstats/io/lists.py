"""Lists of files: of the masks to read, or of the splits of the masks beside them."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass, field, replace
from functools import cached_property, lru_cache, partial
from pathlib import Path, PurePath, PurePosixPath
from typing import TYPE_CHECKING, Final, TextIO

from cdstats.core.errors import DataError, counted
from cdstats.core.secrets import sealed
from cdstats.io.addresses import Address, is_address, looks_like_address, two_slashes
from cdstats.io.copies import fetch, folder
from cdstats.io.found import FoundFile, FoundFiles
from cdstats.io.naming import (
    LABELS,
    naturally,
    plays_a_part,
    role_of,
    split_in,
    usual_split,
    words_in,
)
from cdstats.io.outputs import open_text, read_text
from cdstats.io.signatures import EXTENSIONS

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from collections.abc import Set as AbstractSet

_LONGEST: Final = 1 << 16
"""Characters of a line at most: far above what any system allows for a path."""
UNLISTED: Final = "unlisted"
"""The split of masks that no list names."""
_LISTS: Final = ("train", "val", "test")
_LIST_FOLDERS: Final = (
    *("list", "", "lists", "split", "splits"),
    *("ImageSets", "ImageSets/Main"),
)
"""Where the lists of a dataset lie in its folder; of a store that is not listed, the
first alone."""
_LIST_WORDS: Final = frozenset(
    ("list", "lists", "set", "names", "name", "file", "files", "id", "ids", "split")
)
"""Words of the name of a list beside its split, as in ``train_list.txt``."""
_SHOWN: Final = 3
"""Lists that are not used and named in a note."""
_LIST_ENDS: Final = (".txt", ".csv", ".lst")
"""Ends of the names of lists, of which the first is read."""
_OWN_NAMES: Final = 4
"""Names of a mask that are not those of a folder."""
_MOST_ASKED: Final = 16
"""Mask folders of a store beside which lists are looked for: each costs requests."""
_KNOWN: Final = EXTENSIONS | {".gif", ".webp", ".jp2"}
_FILES: Final = EXTENSIONS | {".pt", ".pth"}


def list_lines(place: str) -> Iterator[str]:
    """The lines of a list that hold something, without the blanks around them.

    The names in a list of a store are made addresses.
    """
    try:
        if is_address(place):
            yield from _remote_lines(place)
            return
        with open_text(Path(place)) as file:
            yield from lines_of(file, f"@{place}")
    except OSError as error:
        reason = (error.strerror or str(error)).lower()
        raise DataError(f"@{place}: the list cannot be read: {reason}") from None


def lines_of(file: TextIO, name: str) -> Iterator[str]:
    """The lines of an open list that hold something."""
    while line := file.readline(_LONGEST):
        if len(line) == _LONGEST:
            raise DataError(
                f"{name}: is no list of files: a line of it is longer than "
                f"{_LONGEST - 1:,} characters"
            )
        if "\0" in line:
            raise DataError(
                f"{name}: is no list of files: a line of it holds a null character; "
                "write each name in a line of its own"
            )
        if line := line.strip():
            yield line


def _remote_lines(place: str) -> Iterator[str]:
    address = Address.parse(place)
    try:
        copy = fetch(place)  # named, as its file goes when nobody holds it
    except DataError as error:
        raise DataError(f"@{place}: the list {error}") from None
    above = PurePosixPath(address.key).parent
    with open_text(copy.path) as file:
        for line in lines_of(file, f"@{place}"):
            yield (
                line
                if looks_like_address(line)
                else address.with_key(str(above / line))
            )


def text_if_there(place: str) -> str | None:
    """The text of a list in a store, or None where there is none to be read."""
    from cdstats.io.remote import NotGivenError

    try:
        copy = fetch(place)
    except NotGivenError:
        return None
    except DataError as error:
        raise DataError(f"{place}: the list {error}") from None
    return read_text(copy.path)


def listed_file(text: str) -> FoundFile:
    """A file by its address in a list, with the split that its folders tell."""
    folder()
    file = named_file(text)
    member = f"#{file.member}" if file.member else ""
    split = split_in(PurePosixPath(file.path).parts[:-1])
    return replace(file, name=f"{file.path}{member}", split=split)


def named_file(text: str) -> FoundFile:
    """A file by its address, or the member of it that follows ``#``."""
    place = sealed(text)
    path, hash_, member = place.rpartition("#")
    if hash_ and names_file(path):
        return FoundFile(place.like(path), "", "", member)
    return FoundFile(place, "")


def names_file(place: str) -> bool:
    """Whether a name ends as those of files that are read."""
    return PurePosixPath(place).suffix.lower() in _FILES


# Lists of splits.


@dataclass(frozen=True)
class _Line:
    """The names in the columns of a line."""

    paths: frozenset[str]
    names: frozenset[str]


@dataclass(frozen=True)
class _SplitList:
    """The lines of one list file."""

    split: str
    path: Path
    lines: tuple[_Line, ...]

    def names(self, masks: AbstractSet[str]) -> Iterator[frozenset[str]]:
        """The names of each line: of a mask whose path is written, that path alone."""
        for line in self.lines:
            yield line.paths & masks or line.names


@dataclass(frozen=True)
class _Listed:
    """The lists of one folder."""

    base: PurePath
    lists: tuple[_SplitList, ...]
    unused: tuple[str, ...] = ()
    masks: set[str] = field(default_factory=set)

    @cached_property
    def splits(self) -> dict[str, list[str]]:
        """The splits of every name in the lists."""
        found: dict[str, list[str]] = {}
        for entry in self.lists:
            for name in frozenset[str]().union(*entry.names(self.masks)):
                found.setdefault(name, []).append(entry.split)
        return found

    def below(self, path: PurePath) -> str:
        """The path of a mask below the folder, without its extension."""
        return _without_extension(path.relative_to(self.base).as_posix())

    def __str__(self) -> str:
        return ", ".join(map(self.name, self.lists))

    def name(self, entry: _SplitList) -> str:
        """The path of a list below the folder."""
        return entry.path.relative_to(self.base).as_posix()


class SplitLists:
    """The lists of splits that lie beside masks.

    A list may have several columns; a mask belongs to it when a column names the mask,
    an image of the same name, or a folder that holds it.
    """

    def __init__(
        self, files: FoundFiles, root: PurePath, texts: Sequence[str] = ()
    ) -> None:
        self._files = files
        folders = sorted({_anywhere(folder) for folder in files.folders()})
        if len(folders) > _MOST_ASKED and is_address(files[0].path):
            folders = []
        read = lru_cache(maxsize=None)(partial(_read_lists, root, texts))
        found = {folder: _nearest(folder, root, read) for folder in folders}
        self._listed = {folder: one for folder, one in found.items() if one}
        self._used = [*{id(one): one for one in self._listed.values()}.values()]
        for lists, path, _ in self._beside():
            lists.masks.add(lists.below(path))

    def _beside(self) -> Iterator[tuple[_Listed, PurePath, FoundFile]]:
        """The masks that lists lie beside."""
        for file in self._files if self._listed else ():
            path = _anywhere(file.path)
            if lists := self._listed.get(path.parent):
                yield lists, path, file

    def split(self) -> tuple[FoundFiles, list[str]]:
        """Give masks the splits of the lists that name them."""
        if not self._used:
            return self._files, []
        placed, first, count, known = FoundFiles(), "", 0, 0
        owners: dict[tuple[int, str], FoundFile] = {}
        for file in self._files:
            path = _anywhere(file.path)
            lists = self._listed.get(path.parent)
            names = _names_of(lists.below(path)) if lists else []
            name = next((n for n in names if lists and n in lists.splits), "")
            found = lists.splits[name] if lists and name else []
            if lists and name in names[:_OWN_NAMES]:
                _refuse_two(
                    lists, name, owners.setdefault((id(lists), name), file), file
                )
            known += bool(found)
            splits = list(dict.fromkeys(found)) or [UNLISTED]
            for number, split in enumerate(splits):
                placed.append(replace(file, split=split, again=number > 0))
            if len(splits) > 1:
                count += 1
                first = first or f"{file.name} in {' and '.join(splits)}"
        beside = naturally({name for one in self._used for name in one.unused})
        some = ", ".join(beside[:_SHOWN])
        if len(beside) > _SHOWN:
            some += f" and {len(beside) - _SHOWN} more"
        used = ", ".join(filter(None, map(str, self._used)))
        if not used:
            text = f"no splits from {some}; expected train.txt, val.txt, test.txt"
            return self._files, [text]
        other = f"; not used: {some}" if beside else ""
        if not known:
            text = f"splits from {used}: not used, they name none of these masks"
            return self._files, [f"{text}{other}"]
        notes = [f"splits from {used}{other}", *self._missing()]
        if count:
            are = "mask is" if count == 1 else "masks are"
            notes.append(
                f"{count:,} {are} in more than one list, first {first}; each counts in "
                "all of its lists and once in the row all"
            )
        return placed, notes

    def _missing(self) -> Iterator[str]:
        """How many names of each list have no mask."""
        held = {
            n for lists, path, _ in self._beside() for n in _names_of(lists.below(path))
        }
        held |= self._unread()
        for one in self._used:
            for entry in one.lists:
                if count := sum(not names & held for names in entry.names(one.masks)):
                    has = "has" if count == 1 else "have"
                    yield f"{counted(count, 'name')} of {one.name(entry)} {has} no mask"

    def _unread(self) -> set[str]:
        """What lists may call files beside the masks, of which a few alone are read."""
        return {
            name
            for folder, lists in self._listed.items()
            if not is_address(folder.as_posix()) and os.access(folder, os.R_OK)
            for file in Path(folder).iterdir()
            for name in _names_of(lists.below(file))
        }

    def beside_folders(self) -> list[str]:
        """What to tell where lists say otherwise than the folders of the splits."""
        masks: dict[tuple[int, str], dict[str, str]] = {}
        unlisted = 0
        for lists, path, file in self._beside():
            names = [n for n in _names_of(lists.below(path)) if n in lists.splits]
            unlisted += not names
            for name in names:
                masks.setdefault((id(lists), name), {}).setdefault(
                    file.split, file.name
                )
        others = [
            f"{next(iter(splits.values()))} in {one.name(entry)}"
            for one in self._used
            for entry in one.lists
            for names in entry.names(one.masks)
            if (
                splits := {
                    s: n for x in names for s, n in masks.get((id(one), x), {}).items()
                }
            )
            and entry.split not in splits
        ]
        if not masks or not (others or unlisted):
            return []
        told = []
        if others:
            told.append(
                f"they place {counted(len(others), 'mask')} in another split, first "
                f"{others[0]}"
            )
        if unlisted:
            told.append(f"they lack {counted(unlisted, 'mask')}")
        used = ", ".join(filter(None, map(str, self._used)))
        return [f"splits from folders, not from {used}: {'; '.join(told)}"]


def _refuse_two(lists: _Listed, name: str, one: FoundFile, two: FoundFile) -> None:
    """Refuse a listed name that is that of two masks of different images."""
    paths = [_anywhere(file.path) for file in (one, two)]
    images = [
        [part for part in lists.below(path).split("/") if role_of(part) not in LABELS]
        for path in paths
    ]
    if images[0] == images[1]:
        return
    entry = next(e for e in lists.lists if any(name in n for n in e.names(lists.masks)))
    written = paths[0].relative_to(lists.base).as_posix()
    raise DataError(
        f"{entry.path}: the name {name} fits {one.name} and {two.name}; expected one "
        f"mask. Write the path below {lists.base.name} in the list: {written}"
    )


def _anywhere(path: str) -> PurePath:
    """A path that means the same in every folder; an address as it is."""
    return PurePath(path if is_address(path) else os.path.abspath(path))  # noqa: PTH100


def _nearest(
    folder: PurePath, root: PurePath, read: Callable[[PurePath], _Listed]
) -> _Listed | None:
    """The lists nearest to a folder of masks, in it, beside it or above it."""
    above = (folder, *folder.parents)
    mask = next((one for one in above if plays_a_part(one.name)), folder)
    within = (one for one in above if one.is_relative_to(root))
    bases = dict.fromkeys([*within, mask.parent])
    found = [one for one in map(read, bases) if one.lists or one.unused]
    return next((one for one in found if one.lists), next(iter(found), None))


def _names_of(path: str) -> list[str]:
    """What a list may call a mask, the surest first, by its path below the list.

    The first `_OWN_NAMES` name the mask, the others a folder that holds it.
    """
    *folders, name = path.split("/")
    own = [folder for folder in folders if not plays_a_part(folder)]
    places = [folder for folder in folders if role_of(folder) not in LABELS]
    above = ("/".join(own[: end + 1]) for end in reversed(range(len(own))))
    mine = ["/".join([*parts, name]) for parts in (folders, places, own, ())]
    return [*mine, *above, *reversed(own)]


def _without_extension(name: str) -> str:
    stem, dot, extension = name.rpartition(".")
    return stem if dot and f".{extension.lower()}" in _KNOWN else name


def _read_lists(root: PurePath, texts: Sequence[str], base: PurePath) -> _Listed:
    """The lists of a dataset whose folder is given: all of one place."""
    lists: list[_SplitList] = []
    unused: list[str] = []
    for place in _LIST_FOLDERS:
        here: list[_SplitList] = []
        named = _named_lists(root, texts, base, place)
        for path, split in named.items():
            is_first = not lists and split not in {entry.split for entry in here}
            text = _text(path) if split and is_first else None
            if text is not None:
                lines = filter(None, map(str.strip, text.splitlines()))
                here.append(_SplitList(split, path, tuple(map(_columns, lines))))
            elif base.is_relative_to(root) or not is_address(_address(path)):
                unused.append(path.relative_to(base).as_posix())
        lists = lists or sorted(here, key=lambda entry: _LISTS.index(entry.split))
    return _Listed(base, tuple(lists), tuple(naturally(unused)))


def _named_lists(
    root: PurePath, texts: Sequence[str], base: PurePath, place: str
) -> dict[Path, str]:
    """The lists in a folder with their split, the one of the shortest name first.

    Of a list whose name says more than its split, such as its fold, that is empty.
    """
    folder = Path(base, place)
    address = _address(folder)
    if not is_address(address):
        try:
            with os.scandir(folder) as there:
                files = [one for one in there if one.name.endswith(_LIST_ENDS)]
            names = [one.name for one in files if one.is_file()]
        except OSError:
            names = []  # files in it may be read by name, or fail in rows of their own
    elif base.is_relative_to(root):
        above = (one.rpartition("/") for one in texts)
        names = [name for where, _, name in above if where == address]
    else:
        # Each request costs time: only the usual names are asked for.
        names = [f"{split}.txt" for split in _LISTS] if place == "list" else []
    found: dict[Path, str] = {}
    for name in sorted(names, key=lambda one: (len(one), one)):
        words = {*words_in(PurePath(name).stem)}
        told = {usual_split(word) for word in words} & {*_LISTS}
        plain = name.endswith(".txt") and len(told) == len(words - _LIST_WORDS) == 1
        if told or words & {"trainval"}:
            found[folder / name] = told.pop() if plain else ""
    return found


def _address(path: Path) -> str:
    return two_slashes(path.as_posix())


def _text(path: Path) -> str | None:
    """The text of a list; None where there is none. Web servers are not asked."""
    place = _address(path)
    if is_address(place):
        return text_if_there(place) if place.startswith(("s3://", "gs://")) else None
    return read_text(path)


def _columns(line: str) -> _Line:
    """The names of a line: as a whole, or in columns; folders of images dropped."""
    columns = {line, *re.split(r"[ \t,;]+", line), *re.split(r"[\t,;]", line)}
    names = {column.strip().strip("\"'").replace("\\", "/") for column in columns}
    # Beside names with an extension, bare numbers are labels and no names.
    files = {name for name in names if _without_extension(name) != name}
    paths = frozenset(
        _without_extension(name.removeprefix("./")) for name in files or names if name
    )
    return _Line(paths, frozenset(one for path in paths for one in _listed_names(path)))


def _listed_names(path: str) -> set[str]:
    *folders, last = path.split("/")
    own = [folder for folder in folders if not plays_a_part(folder)]
    found = {"/".join([*own, last])}
    if own and (not own[0] or own[0].endswith(":")) and len(own) < len(folders):
        # A path of another machine: what follows its folder of images is the name.
        said = [at for at, folder in enumerate(folders) if plays_a_part(folder)]
        found.add("/".join([*folders[said[-1] + 1 :], last]))
    return found
