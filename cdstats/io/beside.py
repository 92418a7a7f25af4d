"""The images beside a mask, such as ``A/1.png`` and ``B/1.png`` of ``label/1.png``."""

from __future__ import annotations

import io
import os
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Final

from cdstats.core.errors import DataError
from cdstats.io.naming import is_image_folder, is_mask_folder, naturally
from cdstats.io.regular import open_regular
from cdstats.io.sidecars import read_auxiliary
from cdstats.io.signatures import file_format

if TYPE_CHECKING:
    from collections.abc import Mapping

    from cdstats.io.georeference import Where

_EXTENSIONS: Final = frozenset((".png", ".jpg", ".jpeg", ".bmp", ".tif", ".tiff"))
_HEAD: Final = 64
_END: Final = b"\0\0\0\0IEND\xaeB`\x82"
"""The closing chunk of a PNG, put behind its header to read that alone."""


@dataclass(frozen=True, slots=True)
class Beside:
    """An image folder beside a mask, and the mask's image in it.

    Attributes:
        folder: The folder's name, such as ``"A"``.
        name: The image's name; empty when the folder holds none of the mask's name.
        size: Its width and height; None when they cannot be read.
        difference: How its grid differs from that of the mask, in words.
    """

    folder: str
    name: str = ""
    size: tuple[int, int] | None = None
    difference: str = ""


def images_beside(path: str) -> tuple[Beside, ...]:
    """The image of a mask in each image folder beside the mask's folder."""
    mask = Path(path)
    for folder in mask.parents:
        if is_mask_folder(folder.name):
            below = mask.parent.relative_to(folder)
            names = _image_folders(str(folder.parent))
            own = _georeference(mask) if names else None
            return tuple(
                _beside(folder.parent / n / below, n, mask, own) for n in names
            )
    return ()


def forget_folders() -> None:
    """Forget what folders hold: another run may find other files in them."""
    _image_folders.cache_clear()
    _stems.cache_clear()


def _beside(folder: Path, name: str, mask: Path, own: Where | None) -> Beside:
    found = _stems(str(folder)).get(mask.stem)
    if not found:
        return Beside(name)
    size = _size(folder / found)
    there = _georeference(folder / found) if own and size else None
    if own is None or there is None or size is None:
        return Beside(name, found, size)
    from cdstats.io.georeference import Unplaced, difference

    if isinstance(own, Unplaced) or isinstance(there, Unplaced):
        return Beside(name, found, size)
    return Beside(name, found, size, difference(there, own, size))


def _georeference(path: Path) -> Where | None:
    """Where an image lies; None where its file does not say, or cannot be read."""
    from cdstats.io.georeference import georeference_with
    from cdstats.io.masks import open_masks

    try:
        if path.suffix.lower() not in (".tif", ".tiff"):
            return georeference_with(lambda: None, read_auxiliary(str(path)), str(path))
        return open_masks(str(path), "", 1)[0].georeference()
    except DataError:
        return None


@lru_cache(maxsize=64)
def _image_folders(folder: str) -> tuple[str, ...]:
    try:
        with os.scandir(folder) as entries:
            names = [e.name for e in entries if is_image_folder(e.name) and e.is_dir()]
    except OSError:
        return ()
    return tuple(naturally(names))


@lru_cache(maxsize=64)
def _stems(folder: str) -> Mapping[str, str]:
    """The image files of a folder by their names without extension."""
    try:
        with os.scandir(folder) as entries:
            names = [entry.name for entry in entries]
    except OSError:
        return {}
    images = (name for name in names if Path(name).suffix.lower() in _EXTENSIONS)
    return {Path(name).stem: name for name in images}


def _size(path: Path) -> tuple[int, int] | None:
    """Width and height by the file's header alone; None for what has no such header."""
    try:
        with io.BufferedReader(open_regular(path)[0]) as file:
            head = file.read(_HEAD)
            kind = file_format(head)
            if kind == "JPEG":
                from cdstats.io.jpeg import jpeg_header

                return jpeg_header(file)[:2]
        return _other_size(path, kind, head)
    except (OSError, DataError):
        # A broken image is its reader's to tell of; here it has no size to compare.
        return None


def _other_size(path: Path, kind: str | None, head: bytes) -> tuple[int, int] | None:
    if kind == "PNG":
        from cdstats.io.png import read_png_header

        header = read_png_header(io.BytesIO(head[:33] + _END), verify=False)
        return header.width, header.height
    if kind == "BMP":
        parts = (head[at : at + 4] for at in (18, 22))
        width, height = (int.from_bytes(p, "little", signed=True) for p in parts)
        return abs(width), abs(height)
    if kind == "TIFF":
        from cdstats.io.masks import open_masks

        image = open_masks(str(path), "", 1)[0]
        return image.width, image.height
    return None
