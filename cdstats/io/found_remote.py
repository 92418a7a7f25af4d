"""From an address to the files that it names: one file, or those of a folder."""

from __future__ import annotations

import re
from dataclasses import dataclass, field, replace
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Final, TypeVar

import numpy as np

from cdstats.core.errors import DataError, UsageError
from cdstats.core.messages import counted
from cdstats.io import remote
from cdstats.io.addresses import Address, two_slashes
from cdstats.io.copies import folder
from cdstats.io.found import FoundFile, FoundFiles
from cdstats.io.layouts import split_notes, splits_of
from cdstats.io.lists import named_file, names_file
from cdstats.io.naming import (
    dataset_name,
    says_split_or_masks,
    split_above,
    usual_split,
)
from cdstats.io.patterns import Pattern, is_pattern
from cdstats.io.signatures import wanted_texts

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence
    from concurrent.futures import Future

    from numpy.typing import NDArray

    from cdstats.io.layouts import Chosen, Search

Result = TypeVar("Result")
_MASK_FILE: Final = ".msk"
"""What GDAL appends to the name of an image to find its mask file."""
_MASKED: Final = (".png", ".jpg", ".jpeg", ".bmp", ".tif", ".tiff")


@dataclass(frozen=True)
class RemoteFiles:
    """The files that an address names.

    Attributes:
        name: The dataset that its folders name; empty for a single file.
        home: The folder of the dataset; empty where none was named.
        root: What the names of the files are relative to.
        files: The files.
        notes: What was decided on the way.
        texts: Addresses of the texts in its folders, which may list splits.
    """

    name: str
    home: str
    root: Path
    files: FoundFiles = field(default_factory=FoundFiles)
    notes: list[str] = field(default_factory=list)
    texts: list[str] = field(default_factory=list)


def find_remote(text: str, search: Search) -> RemoteFiles:
    """Find what an address names.

    Args:
        text: An address of a file, folder, pattern or glob; ``FILE#member`` too.
        search: Which files a folder, pattern or glob reads.

    Raises:
        DataError: If nothing is there, or a list of files cannot be read to its end.
        UsageError: If the address or pattern is not understood.
    """
    folder()
    file = named_file(text)
    address = Address.parse(file.path)
    varies = is_pattern(text) or "*" in text
    if address.scheme in ("s3", "gs"):
        varies = varies or bool(re.search(r"[?\[]", text))
    if not varies and not file.member and _is_folder(address, text):
        return _folder(address, search)
    if not varies:
        notes = ask_mask_files([file.path], file.path)
        files = FoundFiles([file])
        return RemoteFiles("", "", Path(file.path).parent, files, notes)
    return _matching(text, search)


def ask_mask_files(addresses: Sequence[str], where: str) -> list[str]:
    """Refuse objects with a mask file beside them; a store is asked for each.

    Args:
        addresses: The addresses of images.
        where: What named them.

    Returns:
        A note where the store does not tell.

    Raises:
        DataError: If there is a mask file, or the store cannot be asked.
    """
    images = [
        one
        for one in map(Address.parse, addresses)
        if one.scheme in ("s3", "gs") and one.key.lower().endswith(_MASKED)
    ]
    beside = [replace(one, key=f"{one.key}{_MASK_FILE}") for one in images]
    answers = [remote.start(remote.is_object(one)) for one in beside]
    told = {
        str(one): _is_there(one, image, answer)
        for one, image, answer in zip(beside, images, answers, strict=True)
    }
    refuse_mask_files([name for name, is_there in told.items() if is_there], where)
    denied = [name for name, is_there in told.items() if is_there is None]
    if not denied:
        return []
    return [
        f"access denied to {counted(len(denied), 'mask file')} (.msk) beside images, "
        f"first {denied[0]}: read as if there were none, as stores also deny what does "
        "not exist"
    ]


def _is_there(
    beside: Address, image: Address, answer: Future[bool | None]
) -> bool | None:
    """Whether a mask file is there; False where its image cannot be read either.

    Raises:
        DataError: If the store tells of the image, and not of its mask file.
    """
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


def refuse_mask_files(found: Sequence[str], where: str) -> None:
    """Refuse objects with a mask file beside them, as that would not be read.

    Raises:
        DataError: If there are any.
    """
    if found:
        raise DataError(
            f"{where}: {counted(len(found), 'mask file')} (.msk) beside images, first "
            f"{found[0]}: hides pixels, and is not read from a store. Copy the images "
            "and mask files to this machine"
        )


def _is_folder(address: Address, text: str) -> bool:
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


def _folder(address: Address, search: Search) -> RemoteFiles:
    listing = _listing(address, search.extensions)
    chosen = _chosen(address, listing.names, search)
    listing.refuse_mask_files(address, chosen.names)
    if not chosen.names:
        kind, expected = wanted_texts(search.extensions)
        raise DataError(
            f"{address}: is not there, or holds no {kind}s; expected {expected}"
        )
    folders = _folders(address)
    while folders and says_split_or_masks(folders[-1]):
        folders = folders[:-1]
    return RemoteFiles(
        dataset_name(_folders(address)),
        f"{address.scheme}://{'/'.join(folders)}",
        _path(address),
        FoundFiles(_files(address, chosen.names, listing)),
        [*chosen.notes, *(split_notes(chosen.names) if search.masks else [])],
        listing.texts,
    )


def _folders(address: Address) -> tuple[str, ...]:
    return (address.host, *PurePosixPath(address.key).parts)


def _path(address: Address) -> Path:
    """An address as a path, for names alone; it has one slash after the scheme."""
    return Path(f"{address.scheme}:", *_folders(address))


class _Listing:
    """Names of the files of a folder, with the mark of each.

    Marks are found by the hashes of names, which take less memory than a table of them;
    two names of one hash have none.
    """

    def __init__(
        self,
        names: list[str],
        marks: NDArray[np.int64],
        texts: list[str],
        mask_files: list[str],
    ) -> None:
        self.names = names
        self.texts = texts
        self._mask_files = mask_files
        hashes = np.fromiter(map(hash, names), np.int64, len(names))
        self._hashes, places, times = np.unique(
            hashes, return_index=True, return_counts=True
        )
        self._marks = np.where(times[:, None] == 1, marks[places], -1)

    def refuse_mask_files(self, address: Address, names: Sequence[str]) -> None:
        """Refuse files of which one has a mask file beside it.

        Raises:
            DataError: If there is one.
        """
        masked = {one[: -len(_MASK_FILE)] for one in self._mask_files}.intersection(
            names if self._mask_files else ()
        )
        first = [f"{name}{_MASK_FILE}" for name in sorted(masked)]
        refuse_mask_files(first, str(address))

    def mark(self, name: str) -> tuple[int, int] | None:
        """The mark of the object of a name of the list; None where it is not known."""
        place = int(np.searchsorted(self._hashes, hash(name)))
        size, version = self._marks[place].tolist()
        return (size, version) if size >= 0 else None


def _listing(address: Address, extensions: frozenset[str]) -> _Listing:
    """The files below a folder whose names have one of some extensions."""
    listed = _told(str(address), remote.start(remote.objects_below(address)).result)
    start = len(address.key) + 1 if address.key else 0
    wanted = [
        place
        for place, key in enumerate(listed.keys)
        if PurePosixPath(key).suffix.lower() in extensions
        and not any(part.startswith(".") for part in key[start:].split("/"))
    ]
    marks = np.frombuffer(listed.marks, np.int64).reshape(-1, 2)
    names = [listed.keys[place][start:] for place in wanted]
    texts: list[str] = [
        address.with_key(key) for key in listed.keys if key.endswith(".txt")
    ]
    beside = [key[start:] for key in listed.keys if key.lower().endswith(_MASK_FILE)]
    return _Listing(names, marks[wanted], texts, beside)


def _chosen(address: Address, names: list[str], search: Search) -> Chosen:
    try:
        return search.choose(_path(address), names)
    except DataError as error:
        raise DataError(two_slashes(str(error))) from None


def _files(
    address: Address, names: Iterable[str], listing: _Listing
) -> Iterator[FoundFile]:
    """The files of a folder, with the splits that folder names tell."""
    names = tuple(names)
    above, split_of = split_above(_folders(address)), splits_of(names)
    start = f"{address.key}/" if address.key else ""
    for name in names:
        split = split_of(name.rpartition("/")[0]) or above
        place = address.with_key(start + name)
        yield FoundFile(place, name, split, mark=listing.mark(name))


def _matching(text: str, search: Search) -> RemoteFiles:
    """The files that a pattern or a glob matches, and those in folders it matches."""
    address = Address.parse(text)
    pattern = Pattern(str(address))
    start = f"{address.scheme}:/{address.host}"
    if "[" in text or not pattern.folder.startswith(start):
        raise UsageError(
            f"{text}: the bucket or server of a pattern does not vary, and [] "
            "is not read in an address; name parts with {}, * or ?"
        )
    root = replace(address, key=pattern.folder[len(start) :].strip("/"))
    listing = _listing(root, search.extensions)
    named = search.named(listing.names)
    names = named.names
    below = Pattern(f"{pattern.text}/**")
    files = FoundFiles()
    deeper: list[str] = []
    for name in names:
        place = f"{pattern.folder}/{name}"
        found = pattern.match(place)
        if found is not None:
            (file,) = _files(root, [name], listing)
            split = found.get("split")
            files.append(replace(file, split=usual_split(split)) if split else file)
        elif not is_pattern(text) and below.match(place) is not None:
            deeper.append(name)
    chosen = _chosen(root, deeper, search)
    listing.refuse_mask_files(root, [*(file.name for file in files), *chosen.names])
    files.extend(_files(root, chosen.names, listing))
    if not files:
        first = f"; the folder holds {names[0]}, ..." if names else ""
        kind, _ = wanted_texts(search.extensions)
        raise DataError(f"{text}: matches no {kind}{first}")
    name = dataset_name(_folders(root))
    notes = named.notes + chosen.notes
    return RemoteFiles(name, "", _path(root), files, notes)
