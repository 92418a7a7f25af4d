"""Lists of files: masks to read, or splits of the masks beside them."""

from __future__ import annotations

import os
import re
from collections import Counter, defaultdict
from contextlib import suppress
from dataclasses import dataclass, field
from functools import cached_property, lru_cache, partial
from pathlib import Path, PurePath, PurePosixPath
from typing import TYPE_CHECKING, Final, NamedTuple, TextIO

from cdstats.core.errors import DataError, counted
from cdstats.core.secrets import sealed
from cdstats.io.addresses import Address, is_address, looks_like_address, two_slashes
from cdstats.io.containers import (
    ENDING,
    as_folder,
    inside,
    member_in,
    read_member,
)
from cdstats.io.copies import fetch, folder
from cdstats.io.found import FoundFile, FoundFiles
from cdstats.io.naming import (
    LABELS,
    naturally,
    plays_a_part,
    role_of,
    some,
    split_in,
    usual_split,
    words_in,
)
from cdstats.io.outputs import open_text, read_text
from cdstats.io.signatures import EXTENSIONS

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

_LONGEST: Final = 1 << 16
"""Longest line; system limits for paths are far below."""
UNLISTED: Final = "unlisted"
"""Split of masks that no list names."""
_LISTS: Final = ("train", "val", "test")
_LIST_FOLDERS: Final = (
    *("list", "", "lists", "split", "splits"),
    *("ImageSets", "ImageSets/Main"),
)
"""Folders that may hold the lists of a dataset; in a store without a listing, only the
first."""
_LIST_WORDS: Final = frozenset(
    ("list", "lists", "set", "names", "name", "file", "files", "id", "ids", "split")
)
"""Words in names of lists in addition to the split, as in ``train_list.txt``."""
LIST_ENDS: Final = (".txt", ".csv", ".lst", ".json")
"""Extensions of lists; only the first is read."""
_SPLITS: Final = frozenset(("split", "splits"))
"""Words in names of files that may list every split."""
_OWN_NAMES: Final = 4
"""Number of names of a mask that refer to the mask itself, not to a folder."""
_MOST_ASKED: Final = 16
"""Mask folders in a store whose lists are searched; each costs several requests."""
_KNOWN: Final = EXTENSIONS | {".gif", ".webp", ".jp2"}
_FILES: Final = EXTENSIONS | {".pt", ".pth", ENDING}


def list_lines(place: str) -> Iterator[str]:
    """Read the lines of a list, including empty ones."""
    path = Path(place)
    if is_address(place):
        try:
            copy = fetch(place)  # keeps the temporary file
            path = copy.path
        except DataError as error:
            raise DataError(f"@{place}: list {error}") from None
    try:
        with open_text(path) as file:
            yield from lines_of(file, f"@{place}")
    except OSError as error:
        reason = (error.strerror or str(error)).lower()
        raise DataError(f"@{place}: list cannot be read: {reason}") from None


def beside_list(place: str, line: str) -> str:
    """Resolve a line of a list that is in a store to an address."""
    if not is_address(place) or looks_like_address(line):
        return line
    address = Address.parse(place)
    return address.with_key(str(PurePosixPath(address.key).parent / line))


def lines_of(file: TextIO, name: str) -> Iterator[str]:
    """Read the lines of an open list."""
    while line := file.readline(_LONGEST):
        if len(line) == _LONGEST:
            raise DataError(
                f"{name}: is not a list of files: a line is longer than "
                f"{_LONGEST - 1:,} characters"
            )
        if "\0" in line:
            raise DataError(
                f"{name}: is not a list of files: a line has a null character; write "
                "one name per line"
            )
        yield line.rstrip("\r\n")


def listed_file(text: str) -> FoundFile:
    """A file from its address in a list, with the split of its folders."""
    folder()
    file = named_file(text)
    member = f"#{file.member}" if file.member else ""
    split = split_in(PurePosixPath(file.path).parts[:-1])
    return file._replace(name=f"{file.path}{member}", split=split)


def named_file(text: str) -> FoundFile:
    """A file from its address, with the member after ``#`` if there is one."""
    place = sealed(text)
    path, member = member_in(place)
    if member and names_file(path):
        return FoundFile(place.like(path), "", "", member)
    return FoundFile(place, "")


def names_file(place: str) -> bool:
    """Whether a name has the extension of a readable file."""
    return PurePosixPath(place).suffix.lower() in _FILES


# Lists of splits.


class _Line(NamedTuple):
    """Paths in a line, and the same without folders of masks or images."""

    paths: frozenset[str]
    names: frozenset[str]


class _SplitList(NamedTuple):
    split: str
    path: Path
    lines: tuple[_Line, ...]


@dataclass(frozen=True)
class _Listed:
    """The lists in one folder, and the masks that they may name."""

    base: PurePath
    lists: tuple[_SplitList, ...]
    unused: tuple[str, ...] = ()
    masks: set[str] = field(default_factory=set)

    def lines(self) -> Iterator[tuple[_SplitList, frozenset[str]]]:
        """The names in each line; if a line has the path of a mask, only that."""
        for entry in self.lists:
            for line in entry.lines:
                yield entry, line.paths & self.masks or line.names

    @cached_property
    def splits(self) -> dict[str, list[str]]:
        """The splits of every listed name."""
        found: dict[str, dict[str, None]] = {}
        for entry, names in self.lines():
            for name in names:
                found.setdefault(name, {})[entry.split] = None
        return {name: [*splits] for name, splits in found.items()}

    def below(self, path: PurePath) -> str:
        """The path of a mask relative to the folder, without extension."""
        return _without_extension(path.relative_to(self.base).as_posix())

    def name_of(self, path: PurePath) -> str:
        """The name by which lists refer to a mask; empty if no list does."""
        names = _names_of(self.below(path))
        return next((name for name in names if name in self.splits), "")

    def name(self, entry: _SplitList) -> str:
        """The path of a list relative to the folder."""
        return entry.path.relative_to(self.base).as_posix()


class SplitLists:
    """The split lists of a dataset.

    A list may have several columns. A mask belongs to a list if a column has the name
    of the mask, of an image with the same stem, or of a folder above.

    Args:
        files: Masks of one dataset.
        root: The folder of the dataset; lists outside are ignored.
        texts: Addresses of text files in it, for a dataset in a store.
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
        used = (lists.name(entry) for lists in self._used for entry in lists.lists)
        self._names = ", ".join(used)
        for lists, path, _ in self._beside():
            lists.masks.add(lists.below(path))

    def _beside(self) -> Iterator[tuple[_Listed, PurePath, FoundFile]]:
        """The masks that have lists, with their lists."""
        for file in self._files if self._listed else ():
            path = _anywhere(file.path)
            if lists := self._listed.get(path.parent):
                yield lists, path, file

    def split(self) -> tuple[FoundFiles, list[str]]:
        """Assign splits to masks from the lists.

        Raises:
            DataError: If a listed name matches several masks.
        """
        if not self._used:
            return self._files, []
        beside = some(naturally({name for one in self._used for name in one.unused}))
        if not self._names:
            text = f"no splits from {beside}; expected train.txt, val.txt, test.txt"
            return self._files, [text]
        placed, several, known = FoundFiles(), list[str](), False
        owners: dict[tuple[int, str], FoundFile] = {}
        for file in self._files:
            splits = [UNLISTED]
            path = _anywhere(file.path)
            if lists := self._listed.get(path.parent):
                name = lists.name_of(path)
                splits = lists.splits.get(name, splits)
                known |= bool(name)
                if name in _names_of(lists.below(path))[:_OWN_NAMES]:
                    first = owners.setdefault((id(lists), name), file)
                    _refuse_two(lists, name, first, file)
            for number, split in enumerate(splits):
                placed.append(file._replace(split=split, again=number > 0))
            if len(splits) > 1:
                several.append(
                    "" if several else f"{file.name} in {' and '.join(splits)}"
                )
        other = f"; not used: {beside}" if beside else ""
        if not known:
            text = f"splits from {self._names}: not used, because they name no mask"
            return self._files, [f"{text}{other}"]
        notes = [f"splits from {self._names}{other}", *self._missing()]
        if several:
            are = "mask is" if len(several) == 1 else "masks are"
            notes.append(
                f"{len(several):,} {are} in more than one list, first {several[0]}; "
                "each counts in all of its lists and once in the row all"
            )
        return placed, notes

    def _missing(self) -> Iterator[str]:
        held = {
            n for lists, path, _ in self._beside() for n in _names_of(lists.below(path))
        }
        # Lists may name other files than the masks, so all files are looked up.
        for above, lists in self._listed.items():
            if not is_address(above.as_posix()) and os.access(above, os.R_OK):
                for file in Path(above).iterdir():
                    held.update(_names_of(lists.below(file)))
        for one in self._used:
            lacking = Counter(one.name(e) for e, n in one.lines() if not n & held)
            for name in map(one.name, one.lists):
                if count := lacking[name]:
                    has = "has" if count == 1 else "have"
                    yield f"{counted(count, 'name')} of {name} {has} no mask"

    def beside_folders(self) -> list[str]:
        """A note if lists and folders disagree about splits."""
        named = [(one, one.name_of(path), file) for one, path, file in self._beside()]
        held = defaultdict[tuple[int, str], set[str]](set)
        for lists, name, file in named:
            held[id(lists), name].add(file.split)
        unlisted = sum(not name for _, name, _ in named)
        others = [
            f"{file.name} in {lists.name(entry)}"
            for lists, name, file in named
            for entry in lists.lists
            if name and entry.split == lists.splits[name][0]
            if held[id(lists), name].isdisjoint(lists.splits[name])
        ]
        told = []
        if others:
            told.append(
                f"they place {counted(len(others), 'mask')} in another split, first "
                f"{others[0]}"
            )
        if unlisted:
            told.append(f"they lack {counted(unlisted, 'mask')}")
        if not told or unlisted == len(self._files):
            return []
        return [f"splits from folders, not from {self._names}: {'; '.join(told)}"]


def _refuse_two(lists: _Listed, name: str, one: FoundFile, two: FoundFile) -> None:
    """Refuse a listed name that matches masks of two images."""
    paths = [_anywhere(file.path) for file in (one, two)]
    images = [
        [part for part in lists.below(path).split("/") if role_of(part) not in LABELS]
        for path in paths
    ]
    if images[0] == images[1]:
        return
    entry = next(entry for entry, names in lists.lines() if name in names)
    written = paths[0].relative_to(lists.base).as_posix()
    raise DataError(
        f"{entry.path}: the name {name} matches {one.name} and {two.name}; expected "
        f"one mask. Write the path below {lists.base.name} in the list: {written}"
    )


def _anywhere(path: str) -> PurePath:
    """An absolute path; addresses are unchanged."""
    return PurePath(path) if is_address(path) else as_folder(path)


def _nearest(
    folder: PurePath, root: PurePath, read: Callable[[PurePath], _Listed]
) -> _Listed | None:
    """The nearest lists: in the folder of the masks, beside it or above it."""
    above = (folder, *folder.parents)
    mask = next((one for one in above if plays_a_part(one.name)), folder)
    within = (one for one in above if one.is_relative_to(root))
    found = [*map(read, dict.fromkeys([*within, mask.parent]))]
    used = [one for one in found if one.lists] + [one for one in found if one.unused]
    return used[0] if used else None


def _names_of(path: str) -> list[str]:
    """Names by which a list may refer to a mask, the most specific first.

    The first `_OWN_NAMES` refer to the mask, the others to a folder above it.
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
    """Read the lists of one folder; all come from the same subfolder."""
    lists: dict[str, _SplitList] = {}
    unused: list[str] = []
    for place in _LIST_FOLDERS:
        here: dict[str, _SplitList] = {}
        for path, split in _named_lists(root, texts, base, place).items():
            is_first = split and not lists and split not in here
            text = _text(path) if is_first else None
            if text is not None:
                lines = filter(None, map(str.strip, text.splitlines()))
                here[split] = _SplitList(split, path, tuple(map(_columns, lines)))
            elif base.is_relative_to(root) or not is_address(_address(path)):
                unused.append(path.relative_to(base).as_posix())
        lists = lists or here
    ordered = tuple(lists[split] for split in _LISTS if split in lists)
    return _Listed(base, ordered, tuple(naturally(unused)))


def _named_lists(
    root: PurePath, texts: Sequence[str], base: PurePath, place: str
) -> dict[Path, str]:
    """The lists in a folder with their splits, shortest names first.

    The split is empty if the name has more words, such as the number of a fold.
    """
    folder = Path(base, place)
    address = _address(folder)
    names: list[str] = []
    if not is_address(address):
        # Unreadable files are reported when read by name.
        with suppress(OSError), os.scandir(folder) as there:
            files = [one for one in there if one.name.endswith(LIST_ENDS)]
            names = [one.name for one in files if one.is_file()]
    if base.is_relative_to(root):
        above = (one.rpartition("/") for one in texts)
        names += [name for where, _, name in above if where == address]
    elif is_address(address) and place == "list":
        # Each request takes time, so only the usual names are tried.
        names = [f"{split}.txt" for split in _LISTS]
    found: dict[Path, str] = {}
    for name in sorted(names, key=lambda one: (len(one), one)):
        words = {*words_in(PurePath(name).stem)}
        told = {usual_split(word) for word in words} & {*_LISTS}
        plain = name.endswith(".txt") and len(told) == len(words - _LIST_WORDS) == 1
        lists_all = words & _SPLITS and not name.endswith(".txt")
        if told or lists_all or "trainval" in words:
            found[folder / name] = told.pop() if plain else ""
    return found


def _address(path: Path) -> str:
    return two_slashes(path.as_posix())


def _text(path: Path) -> str | None:
    """The text of a list; None if it does not exist, or is on a web server.

    Raises:
        DataError: If the store fails.
    """
    place = _address(path)
    if not is_address(place) and not inside(place):
        return read_text(path)
    if place.startswith(("http://", "https://")):
        return None
    from cdstats.io.stores import NotGivenError

    try:
        if inside(place):
            return read_member(place).decode("utf-8-sig", "surrogateescape")
        copy = fetch(place)
    except NotGivenError:
        return None
    except DataError as error:
        raise DataError(f"{place}: list {error}") from None
    return read_text(copy.path)


def _columns(line: str) -> _Line:
    """Names in a line, as a whole and in columns, without image folders."""
    columns = {line, *re.split(r"[ \t,;]+", line), *re.split(r"[\t,;]", line)}
    names = {column.strip().strip("\"'").replace("\\", "/") for column in columns}
    # If some names have an extension, bare numbers are labels.
    files = {name for name in names if _without_extension(name) != name}
    paths = frozenset(
        _without_extension(name.removeprefix("./")) for name in files or names if name
    )
    listed = set[str]()
    for path in paths:
        *folders, last = path.split("/")
        said = [at for at, folder in enumerate(folders) if plays_a_part(folder)]
        own = [folder for folder in folders if not plays_a_part(folder)]
        listed.add("/".join([*own, last]))
        if said and own and (not own[0] or own[0].endswith(":")):
            # In an absolute path from another machine, use the part after `A`, `label`.
            listed.add("/".join([*folders[said[-1] + 1 :], last]))
    return _Line(paths, frozenset(listed))
