"""What folder names say: where masks lie, what split, and what dataset."""

from __future__ import annotations

import re
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


def natural_key(text: str) -> tuple[tuple[tuple[bool, int, str], ...], ...]:
    """Sort key of a path that reads numbers as numbers, folder by folder.

    Example:
        >>> sorted(["tile_10.png", "tile_9.png"], key=natural_key)
        ['tile_9.png', 'tile_10.png']
    """
    return tuple(_natural_part(part) for part in text.split("/"))


def _natural_part(text: str) -> tuple[tuple[bool, int, str], ...]:
    parts = _DIGITS.split(text)
    digits = ((part.isascii() and part.isdigit()) for part in parts)
    return tuple(
        (not number, int(part) if number else 0, part)
        for part, number in zip(parts, digits, strict=True)
    )


def naturally(names: Iterable[str]) -> list[str]:
    """Names in natural order."""
    return sorted(names, key=natural_key)
