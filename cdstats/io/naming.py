"""What folder names say: where masks lie, what split, and what dataset."""

from __future__ import annotations

import re
from functools import lru_cache
from itertools import takewhile
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

MASK_FOLDERS: Final = frozenset(
    (
        "label",
        "labels",
        "out",
        "gt",
        "mask",
        "cm",
        "target",
        "targets",
        "change label",
        "change_label",
    )
)
"""Folders that hold masks, in lower case."""
IMAGE_FOLDERS: Final = frozenset(
    (
        *("a", "b", "t1", "t2", "time1", "time2", "im1", "im2", "image1", "image2"),
        *("before", "after", "images", "pre-event", "post-event"),
    )
)
"""Folders that hold the images beside masks, in lower case."""
_SPLITS: Final = {
    "train": "train",
    "training": "train",
    "trainset": "train",
    "val": "val",
    "valid": "val",
    "validation": "val",
    "validate": "val",
    "valset": "val",
    "test": "test",
    "testing": "test",
    "testset": "test",
}
_DIGITS: Final = re.compile(r"(\d+)")


def is_mask_folder(name: str) -> bool:
    """Whether a folder's name says that it holds masks."""
    return name.lower() in MASK_FOLDERS


def is_image_folder(name: str) -> bool:
    """Whether a folder's name says that it holds the images beside masks."""
    return name.lower() in IMAGE_FOLDERS


def usual_split(name: str) -> str:
    """The usual name of a split for any of its spellings, else the name as it is.

    Example:
        >>> usual_split("Validation"), usual_split("tier3")
        ('val', 'tier3')
    """
    return _SPLITS.get(name.lower(), name)


def split_in(folders: Sequence[str]) -> str:
    """The split that folder names tell, the one nearest to the file; may be empty.

    Example:
        >>> split_in(("Real", "Train", "OUT")), split_in(("label",))
        ('train', '')
    """
    return next(
        (_SPLITS[f.lower()] for f in reversed(folders) if f.lower() in _SPLITS), ""
    )


def split_above(folders: Sequence[str]) -> str:
    """The split that the last folders of a path tell, mask folders aside.

    Example:
        >>> split_above(("LEVIR-CD", "train", "label")), split_above(("test", "me"))
        ('train', '')
    """
    last = takewhile(says_split_or_masks, reversed(folders))
    return split_in(tuple(last)[::-1])


def says_split_or_masks(folder: str) -> bool:
    """Whether a folder's name is that of a split or says that it holds masks."""
    return is_mask_folder(folder) or folder.lower() in _SPLITS


def dataset_name(folders: Sequence[str]) -> str:
    """A dataset's name: its last folder that is neither a mask folder nor a split.

    Example:
        >>> dataset_name(("data", "LEVIR-CD", "train", "label"))
        'LEVIR-CD'
    """
    kept = [folder for folder in folders if not says_split_or_masks(folder)]
    return kept[-1] if kept else "masks"


def natural_key(text: str) -> bytes:
    """Sort key of a path that reads numbers as numbers, folder by folder.

    A number comes before other text, and by its value; of two numbers of one value,
    the one whose digits come first. The key is made of bytes because a key for each
    of a million names must be small.

    Example:
        >>> sorted(["tile_10.png", "tile_9.png"], key=natural_key)
        ['tile_9.png', 'tile_10.png']
    """
    folder, slash, name = text.rpartition("/")
    return (_folder_key(folder) if slash else b"") + _natural_part(name)


@lru_cache(maxsize=1024)
def _folder_key(text: str) -> bytes:
    """The key of a folder; the files in it ask for it one after the other."""
    return b"".join(map(_natural_part, text.split("/")))


def _natural_part(text: str) -> bytes:
    """The key of a folder or file: its texts and numbers, each closed by a zero."""
    words = _DIGITS.split(text)
    key = [_closed(words[0])]
    for digits, word in zip(words[1::2], words[2::2], strict=True):
        key += [_number(digits), _closed(word)]
    return b"".join([*key, b"\0"])


def _number(digits: str) -> bytes:
    """The key of a run of digits; those that are no ASCII come after all numbers."""
    if not digits.isascii():
        return b"\2" + _closed(digits)
    value = digits.lstrip("0").encode()
    zeros = b"0" * (len(digits) - len(value))
    # More zeros come first before a number, as its digits do, and last without one.
    end = b"\xff" if value else b"\0"
    return b"".join((b"\1", len(value).to_bytes(4, "big"), value, zeros, end))


def _closed(text: str) -> bytes:
    r"""A text in UTF-8, which keeps its order, closed by a byte below all others."""
    data = text.encode("utf-8", "surrogatepass")
    return data.replace(b"\1", b"\1\2").replace(b"\0", b"\1\1") + b"\0"


def naturally(names: Iterable[str]) -> list[str]:
    """Names in natural order."""
    return sorted(names, key=natural_key)
