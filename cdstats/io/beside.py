"""The images beside a mask, such as ``A/1.png`` and ``B/1.png`` of ``label/1.png``."""

from __future__ import annotations

import os
import struct
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Final

from cdstats.core.errors import DataError
from cdstats.io.naming import is_image_folder, is_mask_folder, naturally
from cdstats.io.sidecars import read_auxiliary
from cdstats.io.signatures import file_format, open_regular

if TYPE_CHECKING:
    from collections.abc import Mapping

    from cdstats.io.georeference import Where

_EXTENSIONS: Final = frozenset((".png", ".jpg", ".jpeg", ".bmp", ".tif", ".tiff"))
_HEAD: Final = 64


@dataclass(frozen=True, slots=True)
class Beside:
    """An image folder beside a mask, and the mask's image in it.

    Attributes:
        name: The image's name; empty when the folder holds none of the mask's name.
        difference: How its grid differs from that of the mask, in words.
        path: Where the image lies; empty as its name.
    """

    folder: str
    name: str = ""
    size: tuple[int, int] | None = None
    difference: str = ""
    path: str = ""


def images_beside(path: str) -> tuple[Beside, ...]:
    """The image of a mask in each image folder beside the mask's folder."""
    mask = Path(path).absolute()
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
    path = folder / found
    size, text = _size(path), ""
    there = _georeference(path) if own and size else None
    if own is not None and there is not None and size is not None:
        from cdstats.io.georeference import Unplaced, difference

        if not (isinstance(own, Unplaced) or isinstance(there, Unplaced)):
            text = difference(there, own, size)
    return Beside(name, found, size, text, str(path))


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
    """Width and height, by the header alone; None where they cannot be read."""
    try:
        opened, _ = open_regular(path)
        with opened as file:
            head = file.read(_HEAD)
            match file_format(head):
                case "PNG" if head[12:16] == b"IHDR":
                    return struct.unpack(">2I", head[16:24])
                case "BMP":
                    width, height = struct.unpack("<2i", head[18:26])
                    return abs(width), abs(height)
                case "JPEG":
                    from cdstats.io.jpeg import read_jpeg

                    frame = read_jpeg(head + file.readall())
                    return frame.width, frame.height
                case "TIFF":
                    from cdstats.io.masks import open_masks

                    image = open_masks(str(path), "", 1)[0]
                    return image.width, image.height
    except (OSError, DataError, struct.error):
        # A broken image is its reader's to tell of; here it has no size to compare.
        pass
    return None
