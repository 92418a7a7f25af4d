"""Lists of files: of the masks to read, or of the splits of the masks beside them."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass, replace
from functools import lru_cache, partial
from pathlib import Path, PurePath, PurePosixPath
from typing import TYPE_CHECKING, Final, TextIO

from cdstats.core.errors import DataError
from cdstats.core.messages import counted
from cdstats.io.addresses import Address, is_address, shown, two_slashes
from cdstats.io.copies import fetch, folder
from cdstats.io.found import FoundFile, FoundFiles
from cdstats.io.naming import plays_a_part, split_in, usual_split, words_in
from cdstats.io.outputs import open_text, read_text
from cdstats.io.signatures import EXTENSIONS

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

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
_MOST_ASKED: Final = 16
"""Mask folders of a store beside which lists are looked for: each costs requests."""
_KNOWN: Final = EXTENSIONS | {".gif", ".webp", ".jp2"}
_FILES: Final = EXTENSIONS | {".pt", ".pth"}


def list_lines(place: str) -> Iterator[str]:
    """The lines of a list that hold something, without the blanks around them.

    The names in a list of a store are made addresses.

    Args:
        place: The list's path or address.

    Yields:
        Each line, when it is asked for.

    Raises:
        DataError: If the list cannot be read, or a line is no name.
    """
    try:
        if is_address(place):
            yield from _remote_lines(place)
            return
        with open_text(Path(place)) as file:
            yield from lines_of(file, f"@{place}")
    except OSError as error:
        reason = (error.strerror or str(error)).lower()
        raise DataError(f"@{shown(place)}: the list cannot be read: {reason}") from None


def lines_of(file: TextIO, name: str) -> Iterator[str]:
    """The lines of an open list that hold something.

    Args:
        file: The list.
        name: What it is called in a message.

    Raises:
        DataError: If a line is no name: too long, or with a null character.
    """
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
        raise DataError(f"@{shown(place)}: the list {error}") from None
    above = PurePosixPath(address.key).parent
    with open_text(copy.path) as file:
        for line in lines_of(file, f"@{shown(place)}"):
            yield line if is_address(line) else address.with_key(str(above / line))


def text_if_there(place: str) -> str | None:
    """The text of a list in a store, or None where there is none to be read.

    Raises:
        DataError: If the store does not tell.
    """
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
    place = shown(file.path)
    member = f"#{file.member}" if file.member else ""
    split = split_in(PurePosixPath(place).parts[:-1])
    return replace(file, name=f"{place}{member}", split=split)


def named_file(text: str) -> FoundFile:
    """A file by its address, or the member of it that follows ``#``."""
    path, hash_, member = text.rpartition("#")
    if hash_ and names_file(shown(path)):
        return FoundFile(path, "", "", member)
    return FoundFile(text, "")


def names_file(place: str) -> bool:
    """Whether a name ends as those of files that are read."""
    return PurePosixPath(place).suffix.lower() in _FILES


# Lists of splits.


@dataclass(frozen=True)
class _SplitList:
    """The names in one list file: for each line, those of its columns."""

    split: str
    path: Path
    lines: tuple[frozenset[str], ...]


@dataclass(frozen=True)
class _Listed:
    """The lists of one folder, and the splits of every name in them."""

    base: PurePath
    lists: tuple[_SplitList, ...]
    splits: dict[str, list[str]]
    unused: tuple[str, ...] = ()

    def find(self, path: PurePath) -> list[str]:
        """The splits of a mask: by its path, else by its name or a folder alone."""
        names = _names_of(path.relative_to(self.base).as_posix())
        return next((self.splits[name] for name in names if name in self.splits), [])


def split_by_lists(
    files: FoundFiles, root: PurePath, texts: Sequence[str] = ()
) -> tuple[FoundFiles, list[str]]:
    """Give files without a split those of the lists that name them.

    A list may have several columns; a mask belongs to it when a column names the mask,
    an image of the same name, or a folder that holds it.

    Args:
        files: Masks, none of which has a split.
        root: The folder of the dataset, above which no list is looked for.
        texts: Addresses of the texts below it, where it lies in a store.

    Returns:
        The masks with their splits, those in several lists once for each, and notes:
        which lists were used, names without a mask, and masks in two lists.
    """
    folders = sorted({_anywhere(folder) for folder in files.folders()})
    if not files or (len(folders) > _MOST_ASKED and is_address(files[0].path)):
        return files, []
    read = lru_cache(maxsize=None)(partial(_read_lists, root, texts))
    listed = {folder: _nearest(folder, root, read) for folder in folders}
    if not any(listed.values()):
        return files, []
    placed, held = FoundFiles(), set[str]()
    first, count, known = "", 0, 0
    for file in files:
        path = _anywhere(file.path)
        lists = listed[path.parent]
        found = lists.find(path) if lists else []
        known += bool(found)
        splits = list(dict.fromkeys(found)) or [UNLISTED]
        for number, split in enumerate(splits):
            placed.append(replace(file, split=split, again=number > 0))
        if lists:
            held.update(_names_of(path.relative_to(lists.base).as_posix()))
        if len(splits) > 1:
            count += 1
            first = first or f"{file.name} in {' and '.join(splits)}"
    used = [*{id(one): one for one in listed.values() if one}.values()]
    if not known:
        return files, [f"{_used_text(used)}: not used, they name none of these masks"]
    notes = [_used_text(used), *(_missing(used, held))]
    if count:
        are = "mask is" if count == 1 else "masks are"
        notes.append(
            f"{count:,} {are} in more than one list, first {first}; each counts in all "
            "of its lists and once in the row all"
        )
    return placed, notes


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
    return next((found for base in bases if (found := read(base)).lists), None)


def _names_of(path: str) -> list[str]:
    """What a list may call a mask, the surest first, by its path below the list."""
    *folders, name = _without_extension(path).split("/")
    own = [folder for folder in folders if not plays_a_part(folder)]
    whole = "/".join([*own, name])
    above = ("/".join(own[: end + 1]) for end in reversed(range(len(own))))
    return [whole, "/".join([*folders, name]), name, *above, *reversed(own)]


def _without_extension(name: str) -> str:
    stem, dot, extension = name.rpartition(".")
    return stem if dot and f".{extension.lower()}" in _KNOWN else name


def _read_lists(root: PurePath, texts: Sequence[str], base: PurePath) -> _Listed:
    """The lists of a dataset whose folder is given."""
    lists: list[_SplitList] = []
    for place in _LIST_FOLDERS:
        named = _named_lists(root, texts, base, place)
        for split in _LISTS:
            for path in named.get(split, [])[:1]:
                if (text := _text(path)) is not None:
                    lines = filter(None, map(str.strip, text.splitlines()))
                    lists.append(_SplitList(split, path, tuple(map(_columns, lines))))
        if lists:
            break
    splits: dict[str, list[str]] = {}
    for entry in lists:
        for name in frozenset[str]().union(*entry.lines):
            splits.setdefault(name, []).append(entry.split)
    used = {entry.path for entry in lists}
    beside = _named_lists(root, texts, base, "") if lists else {}
    unused = {one.name for paths in beside.values() for one in paths if one not in used}
    return _Listed(base, tuple(lists), splits, tuple(sorted(unused)))


def _named_lists(
    root: PurePath, texts: Sequence[str], base: PurePath, place: str
) -> dict[str, list[Path]]:
    """The lists of each split in a folder, the one of the shortest name first."""
    folder = Path(base, place)
    address = two_slashes(folder.as_posix())
    if not is_address(address):
        names = [one.name for one in folder.glob("*.txt") if one.is_file()]
    elif base.is_relative_to(root):
        above = (one.rpartition("/") for one in texts)
        names = [name for where, _, name in above if where == address]
    else:
        # Each request costs time: only the usual names are asked for.
        names = [f"{split}.txt" for split in _LISTS] if place == "list" else []
    found: dict[str, list[Path]] = {}
    for name in sorted(names, key=lambda one: (len(one), one)):
        words = set(words_in(name.removesuffix(".txt"))) - _LIST_WORDS
        split = usual_split(words.pop()) if len(words) == 1 else ""
        if split in _LISTS:
            found.setdefault(split, []).append(folder / name)
    return found


def _text(path: Path) -> str | None:
    """The text of a list; None where there is none. Web servers are not asked."""
    place = two_slashes(path.as_posix())
    if is_address(place):
        return text_if_there(place) if place.startswith(("s3://", "gs://")) else None
    return read_text(path)


def _columns(line: str) -> frozenset[str]:
    """The names of a line: as a whole, or in columns; folders of images dropped."""
    columns = {line, *re.split(r"[ \t,;]+", line), *re.split(r"[\t,;]", line)}
    names = {column.strip().strip("\"'").replace("\\", "/") for column in columns}
    # Beside names with an extension, bare numbers are labels and no names.
    files = {name for name in names if _without_extension(name) != name}
    names = files or names
    return frozenset(one for name in names if name for one in _listed_names(name))


def _listed_names(name: str) -> set[str]:
    *folders, last = _without_extension(name.removeprefix("./")).split("/")
    own = [folder for folder in folders if not plays_a_part(folder)]
    found = {"/".join([*own, last])}
    if own and (not own[0] or own[0].endswith(":")) and len(own) < len(folders):
        # A path of another machine: what follows its folder of images is the name.
        said = [at for at, folder in enumerate(folders) if plays_a_part(folder)]
        found.add("/".join([*folders[said[-1] + 1 :], last]))
    return found


def _used_text(used: Sequence[_Listed]) -> str:
    names = dict.fromkeys(_list_name(e, one) for one in used for e in one.lists)
    beside = {name for one in used for name in one.unused}
    other = f"; not used: {', '.join(sorted(beside))}" if beside else ""
    return f"splits from {', '.join(names)}{other}"


def _list_name(entry: _SplitList, listed: _Listed) -> str:
    return entry.path.relative_to(listed.base).as_posix()


def _missing(used: Sequence[_Listed], held: set[str]) -> list[str]:
    return [
        f"{counted(count, 'name')} of {_list_name(entry, one)} "
        f"{'has' if count == 1 else 'have'} no mask"
        for one in used
        for entry in one.lists
        if (count := sum(not (line & held) for line in entry.lines))
    ]
