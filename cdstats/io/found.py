"""Records of discovered masks and datasets, before any file is opened."""

from __future__ import annotations

import os
from array import array
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Final, NamedTuple, overload

import numpy as np

from cdstats.core.labelling import NO_ORIGIN, Origin
from cdstats.core.secrets import Sealed
from cdstats.io.addresses import is_address
from cdstats.io.containers import inner_name
from cdstats.io.naming import natural_key

_ENCODING: Final = ("utf-8", "surrogatepass")


def _anywhere(path: str) -> str:
    return path if "://" in path else os.path.abspath(path)  # noqa: PTH100


class FoundFile(NamedTuple):
    """A mask file, or one array or image of it.

    Attributes:
        path: Location of the file.
        name: Path relative to the dataset, with forward slashes.
        split: Its split; may be empty.
        member: The array or image to read; empty for all.
        partner: The file of unchanged pixels, when two files make one mask.
        mark: Size and version of an object, if the listing of its store has them.
        again: Whether an earlier split also has the file. The row of the dataset then
            counts it there.
    """

    path: str
    name: str
    split: str = ""
    member: str = ""
    partner: str = ""
    mark: tuple[int, int] | None = None
    again: bool = False

    @property
    def key_name(self) -> str:
        """Key for pairing: the path, within its archive if it is a member.

        Of two files that form one mask, the key is that of the first.
        """
        name = self.name.partition(" + ")[0] if self.partner else self.name
        return inner_name(name) or name

    def anywhere(self) -> FoundFile:
        """The same file with a path that does not depend on the working folder."""
        partner = self.partner and _anywhere(self.partner)
        return self._replace(path=_anywhere(self.path), partner=partner)


class _Shared(NamedTuple):
    """Fields that many files share.

    `again` is True if an earlier split also has the files.
    """

    folder: str
    split: str
    again: bool = False


class FoundFiles(Sequence[FoundFile]):
    """A sequence of files, stored as bytes and built on access.

    A file takes about 12 bytes in addition to its name, or 28 if any file has a mark.

    Attributes:
        are_named: Whether every file has a name.
    """

    def __init__(self, files: Iterable[FoundFile] = ()) -> None:
        self._texts = bytearray()
        self._ends = array("Q")
        self._kinds = array("I")
        self._marks = array("q")
        self._shared: dict[_Shared, int] = {}
        self._order: list[_Shared] = []
        self._whole: dict[int, FoundFile] = {}
        self._settled = False
        self.are_named = True
        self.extend(files)

    @classmethod
    def walked(
        cls, prefix: str, names: Iterable[str], split_of: Callable[[str], str]
    ) -> FoundFiles:
        """Build from the file names of one folder."""
        found = cls()
        for name in names:
            shared = _Shared(prefix, split_of(name.rpartition("/")[0]))
            found._add(name, shared)
        found._settled = True
        return found

    def append(self, file: FoundFile) -> None:
        """Add a file at the end."""
        self._settled = False
        self.are_named &= bool(file.name)
        path, name = file.path, file.name
        if file.mark is not None or self._marks:
            unmarked = 2 * len(self._ends) - len(self._marks)
            self._marks.extend([-1] * unmarked)
            self._marks.extend(file.mark or (-1, -1))
        is_whole = file.member or file.partner or not path.endswith(name)
        if is_whole or (isinstance(path, Sealed) and (path.login or path.query)):
            self._whole[len(self)] = file
        folder = "" if is_whole else path.removesuffix(name)
        self._add(name, _Shared(folder, file.split, file.again))

    def _add(self, text: str, shared: _Shared) -> None:
        place = self._shared.setdefault(shared, len(self._order))
        if place == len(self._order):
            self._order.append(shared)
        self._texts += text.encode(*_ENCODING)
        self._ends.append(len(self._texts))
        self._kinds.append(place)

    def extend(self, files: Iterable[FoundFile]) -> None:
        """Add files at the end."""
        for file in files:
            self.append(file)

    def placed(self, order: Iterable[int]) -> FoundFiles:
        """The files at some indices, in that order."""
        return FoundFiles(self[place] for place in order)

    def unique(self) -> FoundFiles:
        """The files without duplicates of path and member; the last one is kept."""
        if self._settled:
            return self
        hashes = np.fromiter((hash(identity(f)) for f in self), np.int64, len(self))
        found, times = np.unique(hashes, return_counts=True)
        if len(found) == len(self):
            return self
        again = set(found[times > 1].tolist())
        last = {
            identity(self[place]): place
            for place, code in enumerate(hashes.tolist())
            if code in again
        }
        return self.placed(
            place
            for place, f in enumerate(self)
            if last.get(identity(f), place) == place
        )

    def ordered(self) -> FoundFiles:
        """The files in natural order of their names."""
        if self._settled or all(
            one <= other for one, other in pairwise(map(_order, self))
        ):
            return self
        places = range(len(self))
        return self.placed(sorted(places, key=lambda place: _order(self[place])))

    def folders(self) -> set[str]:
        """The folders of all files."""
        first: dict[tuple[int, bytes], int] = {}
        start = 0
        for place, end in enumerate(self._ends):
            above = bytes(self._texts[start:end].rpartition(b"/")[0])
            first.setdefault((self._kinds[place], above), place)
            start = end
        paths = {self[place].path for place in first.values()}
        paths |= {file.path for file in self._whole.values()}
        return {os.path.dirname(path) for path in paths}  # noqa: PTH120 - as they are

    @property
    def splits(self) -> tuple[str, ...]:
        """The distinct splits of the files."""
        return tuple(dict.fromkeys(shared.split for shared in self._order))

    def __len__(self) -> int:
        return len(self._ends)

    @overload
    def __getitem__(self, place: int) -> FoundFile: ...

    @overload
    def __getitem__(self, place: slice) -> FoundFiles: ...

    def __getitem__(self, place: int | slice) -> FoundFile | FoundFiles:
        if isinstance(place, slice):
            return self.placed(range(len(self))[place])
        place = range(len(self))[place]
        return self._built(self._ends[place - 1] if place else 0, place)

    def __iter__(self) -> Iterator[FoundFile]:
        start = 0
        for place, end in enumerate(self._ends):
            yield self._built(start, place)
            start = end

    def _built(self, start: int, place: int) -> FoundFile:
        """Build the file at an index, whose text begins at `start`."""
        if place in self._whole:
            return self._whole[place]
        name = self._texts[start : self._ends[place]].decode(*_ENCODING)
        folder, split, again = self._order[self._kinds[place]]
        size, version = self._marks[2 * place : 2 * place + 2] or (-1, -1)
        mark = (size, version) if size >= 0 else None
        return FoundFile(folder + name, name, split, mark=mark, again=again)


def identity(file: FoundFile) -> tuple[str, str]:
    """Key that identifies a file; addresses are compared as spelled."""
    if is_address(file.path):
        return file.path, file.member
    return os.path.abspath(file.path), file.member  # noqa: PTH100 - follows no link


def _order(file: FoundFile) -> tuple[bytes, str]:
    return natural_key(file.name), file.member


class FoundSet(NamedTuple):
    """The masks of one dataset, in natural order.

    `problems` are messages on inputs that could not be read, `sources` the arguments
    of the dataset, and `origin` its location with known datasets of similar names.
    """

    name: str
    files: Sequence[FoundFile] = ()
    notes: tuple[str, ...] = ()
    problems: tuple[str, ...] = ()
    sources: tuple[str, ...] = ()
    origin: Origin = NO_ORIGIN


def paired(files: FoundFiles) -> FoundFiles:
    """Join each ``change`` file with the ``unchanged`` file beside it."""
    pairs = FoundFiles()
    known = {file.path for file in files}
    for file in files:
        path = Path(file.path)
        partner = f"{file.path.removesuffix(path.name)}unchanged{path.suffix}"
        if isinstance(file.path, Sealed):
            partner = file.path.like(partner)
        if path.stem == "change" and (partner in known or Path(partner).exists()):
            name = f"{file.name} + {Path(partner).name}"
            pairs.append(file._replace(name=name, partner=partner))
    return pairs
