"""All files below a folder on disk, in a store or in an archive."""

from __future__ import annotations

import errno
import os
import re
import shlex
from array import array
from bisect import insort
from collections import Counter
from dataclasses import dataclass, field, replace
from functools import cache
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, ClassVar, Final, NamedTuple, TypeVar

from cdstats.core.errors import DataError, UsageError, counted
from cdstats.core.vocabulary import vocabulary
from cdstats.io.addresses import Address
from cdstats.io.containers import as_folder, open_archive, stem_of
from cdstats.io.found import FoundFile, FoundFiles
from cdstats.io.layouts import splits_of
from cdstats.io.lists import LIST_ENDS, names_file
from cdstats.io.naming import (
    is_image_folder,
    says_split_or_masks,
    some,
    split_above,
    split_named,
)
from cdstats.io.patterns import Descent, Pattern
from cdstats.io.sidecars import AUXILIARY
from cdstats.io.signatures import ZARR_FILES, is_zarr, wanted_texts

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from cdstats.io.patterns import State
    from cdstats.io.stores import Listed

MASK_FILE: Final = ".msk"
"""Suffix that GDAL appends to the name of an image to find its mask file."""

_SHOWN: Final = 60
"""Most characters of a member name that a message shows."""
_TEXTS: Final = tuple(end for end in LIST_ENDS if end != ".json")
"""Extensions of lists; JSON beside images usually describes one image each."""


class Holder(NamedTuple):
    """A place other than a disk that holds files, and advice for messages."""

    name: str
    way_out: str
    archives: str


STORE: Final = Holder(
    "a store",
    "copy the images and these files to this machine",
    "archives in a store cannot be read; download them and give the local paths",
)
ARCHIVE_ENDS: Final = (".zip", ".tar", ".gz", ".tgz")
ARCHIVE: Final = Holder(
    "an archive",
    "unpack it and name its folder",
    "nested archives cannot be read; unpack the outer one",
)


@dataclass
class Listing:
    """The content of a folder on disk, in a store or in an archive.

    Attributes:
        root: The folder as typed.
        names: Files with a requested extension, relative to the folder, with forward
            slashes.
        problems: Folders and links that could not be read.
        others: Number of other files by lowercase extension, except those in image
            folders.
        texts: Text files in a store, which may list splits.
        mask_files: Mask files (.msk) in a store.
        auxiliary: Images in a store that have an ``.aux.xml`` file.
        is_there: Whether the folder exists; stores do not report empty folders.
        zarr: A file of a Zarr store that is not on disk; may be empty.
    """

    root: Path
    names: list[str] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)
    others: Counter[str] = field(default_factory=Counter)
    texts: list[str] = field(default_factory=list)
    mask_files: list[str] = field(default_factory=list)
    auxiliary: list[str] = field(default_factory=list)
    is_there: bool = True
    zarr: str = ""
    holder: ClassVar[Holder | None] = None

    @property
    def place(self) -> Path:
        """The absolute path of the folder."""
        return Path(os.path.abspath(self.root))  # noqa: PTH100 - follows no link

    @property
    def folders(self) -> tuple[str, ...]:
        """The names of the folder and its parents."""
        return self.place.parts

    def files(self, names: Iterable[str]) -> FoundFiles:
        """Files in natural order, with the splits that their folders state."""
        names = tuple(names)
        masked = {f"{one}{MASK_FILE}" for one in names} if self.mask_files else set()
        if self.holder and (beside := sorted(masked.intersection(self.mask_files))):
            raise DataError(
                f"{self.root}: {counted(len(beside), 'mask file')} (.msk) beside "
                f"images, first {beside[0]}: the hidden pixels are not read from "
                f"{self.holder.name}; {self.holder.way_out}"
            )
        above, told = split_above(self.folders), splits_of(names)

        @cache
        def split_of(folder: str) -> str:
            return told(folder) or above

        return self._built(names, split_of)

    def _built(
        self, names: Sequence[str], split_of: Callable[[str], str]
    ) -> FoundFiles:
        return FoundFiles.walked(str(self.root / "_")[:-1], names, split_of)

    def add(self, above: str, name: str, extensions: frozenset[str]) -> None:
        """Add a file, given its folder and name."""
        suffix = _suffix(name)
        if suffix in extensions:
            self.names.append(f"{above}{name}")
        elif not is_image_folder(above[:-1].rpartition("/")[2] or self.root.name):
            self.others[suffix] += 1

    @property
    def base(self) -> Path:
        """The folder that file names are relative to."""
        return self.root

    def inner(self, name: str) -> str:
        """The part of a name that patterns are compared with."""
        return name

    def take(self, name: str, text: str, extensions: frozenset[str]) -> bool:
        """Add a file that is not on disk; True if it is one to read.

        `text` is the path for reading it if it is a list.
        """
        if name.lower().endswith(MASK_FILE):
            self.mask_files.append(name)
        if name.endswith(AUXILIARY):
            self.auxiliary.append(name.removesuffix(AUXILIARY))
        if name.endswith(_TEXTS):
            self.texts.append(text)
        if name.rpartition("/")[2] in ZARR_FILES:
            self.zarr = self.zarr or name
        if name.startswith(".") or "/." in name or name.endswith("/"):
            return False
        above, slash, last = name.rpartition("/")
        known = len(self.names)
        self.add(above + slash, last, extensions)
        return len(self.names) > known

    def unread_notes(self) -> list[str]:
        """Notes on the number of data files in unsupported formats."""
        known, notes = vocabulary()["unread"]["extensions"], list[str]()
        for ending, number in sorted(self.others.items()):
            why = "unsupported format"
            if ending in ARCHIVE_ENDS:
                way = shlex.quote(f"{self.root}/**/*{ending}")
                why = f"give the archives as paths to read them, such as {way}"
                why = self.holder.archives if self.holder else why
            if ending in known:
                notes.append(f"{counted(number, f'{ending} file')} skipped: {why}")
        return notes

    def auxiliary_notes(self, names: Iterable[str]) -> list[str]:
        """A note if any of these files has an ``.aux.xml`` file, which is not read."""
        beside = sorted({*self.auxiliary}.intersection(names))
        if not beside or not self.holder:
            return []
        return [
            f"{counted(len(beside), 'image')} with an .aux.xml file, first {beside[0]}"
            f": not read from {self.holder.name}, though it may declare nodata or a "
            f"georeference. If it does, {self.holder.way_out}"
        ]

    def empty_text(self, extensions: frozenset[str]) -> str:
        """The message for a folder without files of the requested extensions."""
        kind, expected = wanted_texts(extensions)
        holds = "holds" if self.is_there else "not found, or it holds"
        where = str(self.root).removesuffix("!")
        text = f"{where}: {holds} no {kind}s; expected {expected}"
        if self.zarr and self.holder:
            return (
                f"{text}. {self.zarr}: a Zarr store is read from a local folder, "
                f"not from {self.holder.name}"
            )
        vector = {".geojson", ".json", ".shp", ".gpkg"} & self.others.keys()
        if vector:
            kinds = ", ".join(sorted(vector))
            return f"{text}. {kinds}: vector labels; rasterise them first"
        return ". ".join([text, *self.unread_notes()])


# Folders of this machine.


class _Visit(NamedTuple):
    prefix: str
    state: State
    seen: set[tuple[int, int, State]] | None = None


def walk(
    root: Path, extensions: frozenset[str], descent: Descent | None = None
) -> Listing:
    """Find every file with one of some extensions below a folder.

    Hidden files and folders are skipped unless a pattern names them. Symbolic links are
    followed, but a recursive search reads each folder only once, so that links cannot
    form a loop or count a file twice.
    """
    found, descent = Listing(root), descent or Descent()
    folders, links = [_Visit("", descent.start())], list[_Visit]()
    while folders or links:
        # Real folders come first, so that a link to one of them is skipped.
        visit = folders.pop() if folders else links.pop()
        if visit.seen is None and descent.is_deep(visit.state):
            visit = visit._replace(seen=set())
        inner: list[_Visit] = []
        for entry in _entries(visit, descent, found):
            if not _is_folder(entry, extensions, found.problems):
                found.add(visit.prefix, entry.name, extensions)
            elif state := descent.enter(visit.state, entry.name):
                below = _Visit(f"{visit.prefix}{entry.name}/", state, visit.seen)
                if entry.is_symlink():
                    insort(links, below, key=lambda one: one.prefix)
                else:
                    inner.append(below)
        folders += sorted(inner, key=lambda one: one.prefix)
    found.problems.sort()
    return found


def _entries(
    visit: _Visit, descent: Descent, found: Listing
) -> Iterator[os.DirEntry[str] | Path]:
    """The entries of a folder; none if the folder was read before."""
    place, state, seen = Path(found.root, visit.prefix), visit.state, visit.seen
    try:
        if name := descent.only(state):
            (place / name).lstat()
            yield place / name
            return
        if seen is not None:
            status = place.stat()
            key = (status.st_dev, status.st_ino, state)
            if key in seen:
                return
            seen.add(key)
        with os.scandir(place) as entries:
            for entry in entries:
                if not entry.name.startswith(".") or descent.fits(state, entry.name):
                    yield entry
    except OSError as error:
        is_missing = isinstance(error, FileNotFoundError | NotADirectoryError)
        if not (name and is_missing):
            text = f"{place}: the folder cannot be read: {_reason(error)}"
            found.problems.append(text)


def _is_folder(
    entry: os.DirEntry[str] | Path, extensions: frozenset[str], problems: list[str]
) -> bool:
    """Whether an entry is a folder and not a Zarr store; broken links are not."""
    try:
        is_store = entry.name.lower().endswith(".zarr") and is_zarr(os.fspath(entry))
        return entry.is_dir() and not is_store
    except OSError as error:
        # The row of the file will report why it cannot be read.
        if error.errno != errno.ELOOP and _suffix(entry.name) not in extensions:
            problems.append(f"{os.fspath(entry)}: cannot be read: {_reason(error)}")
        return False


def _suffix(name: str) -> str:
    return os.path.splitext(name)[1].lower()  # noqa: PTH122 - a million names


def _reason(error: OSError) -> str:
    return (error.strerror or str(error)).lower()


Result = TypeVar("Result")


def is_folder(address: Address, text: str) -> bool:
    """Whether an address is a folder; on a web server, if it ends with a slash."""
    if address.is_folder or address.scheme not in ("s3", "gs"):
        return address.is_folder
    from cdstats.io import stores

    found = _ask(text, stores.start(stores.is_object(address)).result)
    return not (names_file(address.key) if found is None else found)


def _ask(text: str, ask: Callable[[], Result]) -> Result:
    """Ask a store; errors get the address prepended."""
    try:
        return ask()
    except DataError as error:
        raise DataError(f"{text}: {error}") from None


class StoreListing(Listing):
    """The content of a folder in a store, with size and version of each file."""

    holder = STORE

    def __init__(
        self, address: Address, listed: Listed, extensions: frozenset[str]
    ) -> None:
        folders = PurePosixPath(address.key).parts
        root = Path(f"{address.scheme}:", address.host, *folders)
        super().__init__(root, is_there=bool(listed.keys))
        self._address = address
        self._start = f"{address.key}/" if address.key else ""
        self._places, self._marks = array("q"), listed.marks
        for place, key in enumerate(listed.keys):
            name = key.removeprefix(self._start)
            if self.take(name, address.with_key(key), extensions):
                self._places.append(place)

    @property
    def place(self) -> Path:
        """The folder as a path, for names only."""
        return self.root

    @property
    def folders(self) -> tuple[str, ...]:
        """The bucket or server, and the folders in it."""
        return self.root.parts[1:]

    def _built(
        self, names: Sequence[str], split_of: Callable[[str], str]
    ) -> FoundFiles:
        marks: dict[str, tuple[int, int]] = {}
        for name, at in zip(self.names, self._places, strict=True):
            if self._marks[2 * at] >= 0:
                marks[name] = self._marks[2 * at], self._marks[2 * at + 1]
        return FoundFiles(
            FoundFile(
                self._address.with_key(self._start + name),
                name,
                split_of(name.rpartition("/")[0]),
                mark=marks.get(name),
            )
            for name in names
        )


def list_store(address: Address, extensions: frozenset[str]) -> StoreListing:
    """List the files below a folder in a store."""
    from cdstats.io import stores

    listed = _ask(str(address), stores.start(stores.objects_below(address)).result)
    return StoreListing(address, listed, extensions)


def match_store(text: str, extensions: frozenset[str]) -> tuple[Pattern, StoreListing]:
    """Parse a pattern or glob, and list the files below its folder."""
    address = Address.parse(text)
    pattern = Pattern(str(address))
    start = f"{address.scheme}:/{address.host}"
    if "[" in text or not pattern.folder.startswith(start):
        raise UsageError(
            f"{text}: the bucket or server cannot contain patterns, and [] is not "
            "supported in an address; use {}, * or ? in the path"
        )
    root = replace(address, key=pattern.folder[len(start) :].strip("/"))
    return pattern, list_store(root, extensions)


# Archives.


class ArchiveListing(Listing):
    """The content of archives, from one folder in each, as a single folder.

    Args:
        text: The archives as typed.
        paths: The archives that the text matches.
        below: The folder within them; empty for all.
        extensions: Extensions of the files to find.
    """

    holder = ARCHIVE

    def __init__(
        self, text: str, paths: Sequence[str], below: str, extensions: frozenset[str]
    ) -> None:
        super().__init__(Path(f"{text}!", below))
        self._paths, self._below = paths, below
        self._home = Path(os.path.commonpath([os.path.abspath(p) for p in paths]))  # noqa: PTH100
        start = f"{below}/" if below else ""
        members = [(p, n) for p in paths for n in self._members(p, extensions, start)]
        times = Counter(name for _, name in members)
        self._real: dict[str, tuple[str, str]] = {}
        self.is_there = bool(members) or not below
        for path, name in members:
            # Shards with equal member names become separate folders.
            apart = f"{stem_of(path)}/{name}" if times[name] > 1 else name
            self._real[apart] = path, start + name
            self.take(apart, str(as_folder(f"{path}!{start}{name}")), extensions)

    def _members(
        self, path: str, extensions: frozenset[str], start: str
    ) -> Iterator[str]:
        """The members below the folder; damage is reported as a problem."""
        try:
            archive = open_archive(path)
        except OSError as error:
            self.problems.append(f"{path}: cannot be read: {_reason(error)}")
            return
        except DataError as error:
            self.problems.append(f"{path}: {error}")
            return
        for reason, names in archive.hostile.items():
            if wanted := [repr(n[:_SHOWN]) for n in names if _suffix(n) in extensions]:
                number = counted(len(wanted), "member")
                self.problems.append(
                    f"{path}: {number} skipped ({some(wanted)}): {reason}"
                )
        for name in archive.members:
            if name.startswith(start):
                yield name.removeprefix(start)

    @property
    def place(self) -> Path:
        """The folder to which the archive would be unpacked, for names only."""
        return Path(*self.folders)

    @property
    def folders(self) -> tuple[str, ...]:
        """The parents of the archive, its name without extension, and the folder.

        The name of a shard, such as ``train-0003``, is replaced by its split.
        """
        below = PurePosixPath(self._below).parts
        if len(self._paths) > 1:
            return (*self.base.parts, *below)
        stem = stem_of(self._paths[0])
        return (*self.base.parts, _shard_split(stem) or stem, *below)

    @property
    def base(self) -> Path:
        """The parent folder of the archive or of all archives."""
        return self._home if len(self._paths) > 1 else self._home.parent

    def inner(self, name: str) -> str:
        """The name of a member relative to the folder."""
        return self._real[name][1][len(self._below) :].lstrip("/")

    def _built(
        self, names: Sequence[str], split_of: Callable[[str], str]
    ) -> FoundFiles:
        shards = {path: _shard_split(stem_of(path)) for path in self._paths}
        places = {path: os.path.relpath(path, self.base) for path in self._paths}
        short = {path: place.replace(os.sep, "/") for path, place in places.items()}
        return FoundFiles(
            FoundFile(
                f"{path}!{member}",
                f"{short[path]}!{member}",
                split_of(name.rpartition("/")[0]) or shards[path],
            )
            for name in names
            for path, member in [self._real[name]]
        )


def _shard_split(stem: str) -> str:
    """The split that an archive name states, on its own or before a number.

    Example:
        >>> _shard_split("train-0003"), _shard_split("val"), _shard_split("LEVIR-256")
        ('train', 'val', '')
    """
    word = re.sub(r"[-_.]?\d+$", "", stem)
    is_split = word != stem or says_split_or_masks(word)
    return split_named(word) if is_split else ""
