"""The files below a folder of a store, and the mask files beside objects."""

from __future__ import annotations

from array import array
from dataclasses import replace
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Final, TypeVar

import numpy as np

from cdstats.core.errors import DataError, UsageError, counted
from cdstats.io import remote
from cdstats.io.addresses import Address
from cdstats.io.found import FoundFile, FoundFiles
from cdstats.io.listing import MASK_FILE, Listing, refuse_mask_files
from cdstats.io.lists import names_file
from cdstats.io.patterns import Pattern
from cdstats.io.sidecars import AUXILIARY

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from concurrent.futures import Future

    from cdstats.io.remote import Listed

Result = TypeVar("Result")
_ASKED: Final = 1000
"""Objects of a list of which a store is asked for mask files."""
_MASKED: Final = (".png", ".jpg", ".jpeg", ".bmp", ".tif", ".tiff")


def ask_mask_files(addresses: Sequence[str], where: str) -> list[str]:
    """Refuse objects with a mask file beside them; a store is asked for each."""
    images = [
        one
        for one in map(Address.parse, addresses[:_ASKED])
        if one.scheme in ("s3", "gs") and one.key.lower().endswith(_MASKED)
    ]
    beside = [replace(one, key=f"{one.key}{MASK_FILE}") for one in images]
    answers = [remote.start(remote.is_object(one)) for one in beside]
    told = {
        str(one): _is_there(one, image, answer)
        for one, image, answer in zip(beside, images, answers, strict=True)
    }
    refuse_mask_files([name for name, is_there in told.items() if is_there], where)
    denied = [name for name, is_there in told.items() if is_there is None]
    notes = []
    if denied:
        notes.append(
            f"access denied to {counted(len(denied), 'mask file')} (.msk) beside "
            f"images, first {denied[0]}: read as if there were none, as stores also "
            "deny what does not exist"
        )
    if len(addresses) > _ASKED:
        text = f"mask files (.msk) were looked for beside the first {_ASKED:,} objects"
        notes.append(text)
    return notes


def _is_there(
    beside: Address, image: Address, answer: Future[bool | None]
) -> bool | None:
    """Whether a mask file is there; False where its image cannot be read either."""
    try:
        return answer.result()
    except DataError as error:
        try:
            if not remote.start(remote.is_object(image)).result():
                return False
        except DataError:
            return False  # the row of the image has the reason
        raise DataError(
            f"{beside}: {error}; if it exists, it hides pixels. Try again, or "
            "copy the images to this machine"
        ) from None


def is_folder(address: Address, text: str) -> bool:
    """Whether an address is that of a folder; a server's says so by its last slash."""
    if address.is_folder or address.scheme not in ("s3", "gs"):
        return address.is_folder
    found = _told(text, remote.start(remote.is_object(address)).result)
    return not (names_file(address.key) if found is None else found)


def _told(text: str, ask: Callable[[], Result]) -> Result:
    """An answer of a store; what fails is told with its address."""
    try:
        return ask()
    except DataError as error:
        raise DataError(f"{text}: {error}") from None


class StoreListing(Listing):
    """What lies below a folder of a store, with the mark of each file.

    Marks are found by the hashes of names, which take less memory than a table of them;
    two names of one hash have none.
    """

    def __init__(
        self, address: Address, listed: Listed, extensions: frozenset[str]
    ) -> None:
        folders = PurePosixPath(address.key).parts
        root = Path(f"{address.scheme}:", address.host, *folders)
        super().__init__(root, is_there=bool(listed.keys))
        self._address = address
        self._start = f"{address.key}/" if address.key else ""
        wanted = array("q")
        for place, key in enumerate(listed.keys):
            name = key.removeprefix(self._start)
            if name.lower().endswith(MASK_FILE):
                self.mask_files.append(name)
            if name.endswith(AUXILIARY):
                self.auxiliary.append(name.removesuffix(AUXILIARY))
            if name.endswith(".txt"):
                self.texts.append(address.with_key(key))
            if name.startswith(".") or "/." in name or name.endswith("/"):
                continue
            before = len(self.names)
            above, slash, last = name.rpartition("/")
            self.add(above + slash, last, extensions)
            wanted.extend([place] * (len(self.names) - before))
        hashes = np.fromiter(map(hash, self.names), np.int64, len(self.names))
        self._hashes, places, times = np.unique(
            hashes, return_index=True, return_counts=True
        )
        marks = np.frombuffer(listed.marks, np.int64).reshape(-1, 2)[wanted]
        self._marks = np.where(times[:, None] == 1, marks[places], -1)

    @property
    def place(self) -> Path:
        """The folder as a path, for names alone."""
        return self.root

    @property
    def folders(self) -> tuple[str, ...]:
        """The bucket or server, and the names of the folders in it."""
        return self.root.parts[1:]

    def _built(
        self, names: Sequence[str], split_of: Callable[[str], str]
    ) -> FoundFiles:
        return FoundFiles(
            FoundFile(
                self._address.with_key(self._start + name),
                name,
                split_of(name.rpartition("/")[0]),
                mark=self._mark(name),
            )
            for name in names
        )

    def _mark(self, name: str) -> tuple[int, int] | None:
        """The mark of the object of a name of the list; None where it is not known."""
        place = int(np.searchsorted(self._hashes, hash(name)))
        size, version = self._marks[place].tolist()
        return (size, version) if size >= 0 else None


def listing(address: Address, extensions: frozenset[str]) -> StoreListing:
    """What lies below a folder of a store."""
    listed = _told(str(address), remote.start(remote.objects_below(address)).result)
    return StoreListing(address, listed, extensions)


def matching(text: str, extensions: frozenset[str]) -> tuple[Pattern, StoreListing]:
    """A pattern or glob, and what lies below its folder."""
    address = Address.parse(text)
    pattern = Pattern(str(address))
    start = f"{address.scheme}:/{address.host}"
    if "[" in text or not pattern.folder.startswith(start):
        raise UsageError(
            f"{text}: the bucket or server of a pattern does not vary, and [] "
            "is not read in an address; name parts with {}, * or ?"
        )
    root = replace(address, key=pattern.folder[len(start) :].strip("/"))
    return pattern, listing(root, extensions)
