"""What discovery finds: the masks of each dataset, before any is opened."""

from __future__ import annotations

import json
from array import array
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Final, NamedTuple, overload

_ENCODING: Final = ("utf-8", "surrogatepass")


@dataclass(frozen=True, slots=True)
class FoundFile:
    """A mask file, or one array or image of it.

    Attributes:
        path: Where the file is.
        name: Its path below the dataset's, with forward slashes.
        split: Its split; empty for none.
        member: The array or image to read; empty for all.
        partner: The file of unchanged pixels, when two files make one mask.
    """

    path: str
    name: str
    split: str = ""
    member: str = ""
    partner: str = ""


class _Shared(NamedTuple):
    """What many files have in common.

    Attributes:
        folder: What stands before the name in the path; None where the text of a file
            holds its name, path, member and partner as JSON.
        split: The split.
    """

    folder: str | None
    split: str


class FoundFiles(Sequence[FoundFile]):
    """Files held as the bytes of their names, each built when it is asked for.

    A file takes about 12 bytes beside its name.

    Example:
        >>> files = FoundFiles([FoundFile("/data/train/1.png", "train/1.png", "train")])
        >>> files.append(FoundFile("/data/2.npz", "2.npz#a", member="a"))
        >>> files[0].path, files[-1].member, len(files)
        ('/data/train/1.png', 'a', 2)
    """

    def __init__(self, files: Iterable[FoundFile] = ()) -> None:
        self._texts = bytearray()
        self._ends = array("Q")
        self._kinds = array("I")
        self._shared: list[_Shared] = []
        self._places: dict[_Shared, int] = {}
        self.extend(files)

    def append(self, file: FoundFile) -> None:
        """Add a file at the end."""
        if file.member or file.partner or not file.path.endswith(file.name):
            shared = _Shared(None, file.split)
            text = json.dumps([file.name, file.path, file.member, file.partner])
        else:
            shared = _Shared(file.path.removesuffix(file.name), file.split)
            text = file.name
        if shared not in self._places:
            self._places[shared] = len(self._shared)
            self._shared.append(shared)
        self._texts += text.encode(*_ENCODING)
        self._ends.append(len(self._texts))
        self._kinds.append(self._places[shared])

    def extend(self, files: Iterable[FoundFile]) -> None:
        """Add files at the end."""
        for file in files:
            self.append(file)

    def placed(self, order: Iterable[int]) -> FoundFiles:
        """The files at some places, in that order."""
        return FoundFiles(self[place] for place in order)

    @property
    def splits(self) -> tuple[str, ...]:
        """The splits that files have, each once."""
        return tuple(dict.fromkeys(shared.split for shared in self._shared))

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
        start = self._ends[place - 1] if place else 0
        text = self._texts[start : self._ends[place]].decode(*_ENCODING)
        folder, split = self._shared[self._kinds[place]]
        if folder is not None:
            return FoundFile(folder + text, text, split)
        name, path, member, partner = json.loads(text)
        return FoundFile(path, name, split, member, partner)


@dataclass(frozen=True, slots=True)
class FoundSet:
    """The masks of one dataset.

    Attributes:
        name: The dataset's name.
        files: Its masks, in natural order.
        notes: What was decided on the way, for the user.
        problems: Inputs that could not be read, as one line each.
    """

    name: str
    files: Sequence[FoundFile] = ()
    notes: tuple[str, ...] = field(default=())
    problems: tuple[str, ...] = field(default=())
