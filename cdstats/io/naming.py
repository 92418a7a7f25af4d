"""Meaning of folder and file names: kind of content, split and dataset."""

from __future__ import annotations

import re
from enum import Enum
from functools import cache, lru_cache
from itertools import takewhile
from typing import TYPE_CHECKING, Final

from cdstats.core.vocabulary import vocabulary

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

_SMALLEST: Final = 64
"""Smallest number in a folder name that is read as a tile size in pixels."""
_DIGITS: Final = re.compile(rb"[0-9]+")
_WORD: Final = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|[0-9]+")


class Role(Enum):
    """The content of files, as stated by the name of a folder or file."""

    CHANGE = "change labels"
    TRUTH = "labels"
    OTHER = "labels of one date, classes or another kind"
    LOOSE = "labels with unknown words"
    IMAGE = "images"
    PREDICTION = "predictions"
    ASIDE = "neither"
    NONE = ""


LABELS: Final = (Role.CHANGE, Role.TRUTH, Role.OTHER, Role.LOOSE)
"""Roles of masks, the most certain first."""
PARTS: Final = (Role.CHANGE, Role.TRUTH, Role.OTHER, Role.PREDICTION)
"""Roles of names that do not identify an image."""


def label_rank(role: Role) -> int:
    """Certainty of a label role: 0 for change, 1 for labels, 2 for all others."""
    return min(LABELS.index(role), 2)


@cache
def _splits() -> dict[str, str]:
    table = vocabulary()["splits"]
    return {word: split for split, words in table.items() for word in words}


def words_in(name: str) -> list[str]:
    """The words and numbers of a name, in lower case.

    Example:
        >>> words_in("GT_CD"), words_in("labelA-2018"), words_in("testmask")
        (['gt', 'cd'], ['label', 'a', '2018'], ['test', 'mask'])
    """
    return [
        part for word in _WORD.findall(name) for part in _without_split(word.lower())
    ]


def _without_split(word: str) -> tuple[str, ...]:
    """A word, or split and word if joined, as in ``trainlabel``."""
    known = vocabulary()["words"]
    for split in _splits():
        rest = word.removeprefix(split)
        if rest != word and rest and any(rest in words for words in known.values()):
            return split, rest
    return (word,)


@lru_cache(maxsize=4096)
def role_of(name: str) -> Role:
    """The role of a folder or file name; give file names without their number.

    Example:
        >>> [role_of(name).name for name in ("label_cd", "GT", "label1", "im1", "rome")]
        ['CHANGE', 'TRUTH', 'OTHER', 'IMAGE', 'NONE']
    """
    known, names = vocabulary()["words"], vocabulary()["names"]
    words = [word for word in words_in(name) if word not in _splits()]
    whole = "".join(words)
    for role in (Role.CHANGE, Role.TRUTH, Role.IMAGE, Role.ASIDE):
        if whole in names[role.name.lower()]:
            return role
    held = {word for word in words if not word.isdigit() and len(word) > 1}
    unknown = held - frozenset().union(*known.values())
    truth, change = held & known["truth"], held & known["change"]
    if held & known["aside"] and not unknown:
        return Role.ASIDE
    if held & known["prediction"] or (held & known["map"] and change and not truth):
        return Role.PREDICTION
    image, other = held & known["image"], held & known["other"]
    if truth:
        image -= {"image", "images", "img", "imgs"}
        change |= held & known["change_label"]
        if change and not (unknown or image or other):
            return Role.CHANGE
        if unknown:
            return Role.LOOSE
        parts = any(word.isdigit() or len(word) == 1 for word in words)
        return Role.OTHER if image or other or parts else Role.TRUTH
    if held and held <= set(known["change_alone"]):
        return Role.CHANGE
    if unknown or not held:
        return Role.NONE
    if other:
        return Role.OTHER
    if image:
        return Role.IMAGE
    return Role.CHANGE if change else Role.NONE


def without_part(name: str) -> str:
    """A file name without the word that states its kind.

    Example:
        >>> without_part("a/7.label.png"), without_part("a/7.png")
        ('a/7.png', 'a/7.png')
    """
    stem, dot, ending = name.rpartition(".")
    image, _, part = stem.rpartition(".")
    return f"{image}{dot}{ending}" if image and role_of(part) in PARTS else name


def is_mask_folder(name: str) -> bool:
    """Whether a folder name is usual for masks."""
    return name.lower() in vocabulary()["datasets"]["masks"]


def is_image_folder(name: str) -> bool:
    """Whether a folder name is usual for images beside masks."""
    return name.lower() in vocabulary()["datasets"]["images"]


def names_change_alone(name: str) -> bool:
    """Whether a name says change but not labels."""
    known, held = vocabulary()["words"], set(words_in(name))
    alone = held & {*known["change"], *known["change_alone"]}
    return bool(alone) and not held & known["truth"]


def plays_a_part(name: str) -> bool:
    """Whether a folder name states the kind of its files, not a place or scene."""
    return role_of(name) not in (Role.NONE, Role.LOOSE) or is_image_folder(name)


def usual_split(name: str) -> str:
    """The usual name of a split for any spelling; other names are unchanged."""
    return _splits().get(name.lower(), name)


def split_in(folders: Sequence[str]) -> str:
    """The split of the nearest folder that names one; may be empty."""
    return next(filter(None, map(split_named, reversed(folders))), "")


@lru_cache(maxsize=4096)
def split_named(folder: str) -> str:
    """The split that a folder name is or ends with; empty for none.

    Example:
        >>> split_named("train_256"), split_named("OSCD - Test Labels")
        ('train', 'test')
    """
    known = vocabulary()["words"]
    kinds = ("truth", "image", "prediction", "plain")
    after = frozenset[str]().union(*(known[kind] for kind in kinds))
    words = words_in(folder)
    while len(words) > 1 and words[-1] not in _splits():
        is_size = words[-1].isdigit() and int(words[-1]) >= _SMALLEST
        if words[-1] not in after and not is_size:
            break
        words.pop()
    return _splits().get(words[-1], "") if words else ""


def split_above(folders: Sequence[str]) -> str:
    """The split named by the last folders of a path, ignoring mask folders."""
    last = takewhile(says_split_or_masks, reversed(folders))
    return split_in([*reversed([*last])])


def says_split_or_masks(folder: str) -> bool:
    """Whether a folder name is that of a split or of masks."""
    return is_mask_folder(folder) or folder.lower() in _splits()


def dataset_name(folders: Sequence[str]) -> str:
    """The last folder that is neither a mask folder nor a split."""
    kept = [folder for folder in folders if not says_split_or_masks(folder)]
    return kept[-1] if kept else "masks"


def natural_key(text: str) -> bytes:
    """Sort key of a path that orders numbers by value, folder by folder.

    Numbers sort before text; of equal numbers, the one with more zeros comes first. The
    key is bytes to save memory with a million names.
    """
    folder, slash, name = text.rpartition("/")
    return (_folder_key(folder) if slash else b"") + _natural_part(name)


@lru_cache(maxsize=1024)
def _folder_key(text: str) -> bytes:
    """The key of a folder, cached because its files are sorted consecutively."""
    return b"".join(map(_natural_part, text.split("/")))


def _natural_part(text: str) -> bytes:
    """The key of one component: its texts and numbers, each ended by a zero byte.

    Names that are not valid Unicode use their bytes.
    """
    try:
        data = text.encode("utf-8", "surrogateescape")
    except UnicodeEncodeError:
        data = text.encode("utf-8", "surrogatepass")
    data = data.replace(b"\1", b"\1\2").replace(b"\0", b"\1\1")
    return _DIGITS.sub(_number_key, data) + b"\0\0"


def _number_key(digits: re.Match[bytes]) -> bytes:
    value = digits[0].lstrip(b"0")
    zeros = digits[0][: len(digits[0]) - len(value)]
    # More leading zeros sort first before a number, and last if there is no number.
    end = b"\xff" if value else b"\0"
    return b"".join((b"\0\1", len(value).to_bytes(4, "big"), value, zeros, end))


def some(names: Sequence[str], most: int = 3) -> str:
    """The first names of a list, and the number of others."""
    more = f" and {len(names) - most:,} more" if len(names) > most else ""
    return f"{', '.join(names[:most])}{more}"


def naturally(names: Iterable[str]) -> list[str]:
    """Sort names in natural order."""
    return sorted(names, key=natural_key)
