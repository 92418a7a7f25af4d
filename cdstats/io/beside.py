"""The images beside a mask, such as ``A/1.png`` and ``B/1.png`` of ``label/1.png``."""

from __future__ import annotations

import os
from contextlib import suppress
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Final

from cdstats.core.errors import DataError
from cdstats.io.naming import is_image_folder, is_mask_folder, naturally

if TYPE_CHECKING:
    from collections.abc import Mapping

    from cdstats.io.blocks import OpenImage

_EXTENSIONS: Final = frozenset((".png", ".jpg", ".jpeg", ".bmp", ".tif", ".tiff"))


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
            own = _image(mask) if names else None
            return tuple(
                _beside(folder.parent / n / below, n, mask, own) for n in names
            )
    return ()


def forget_folders() -> None:
    """Forget what folders hold: another run may find other files in them."""
    _image_folders.cache_clear()
    _stems.cache_clear()


def _beside(folder: Path, name: str, mask: Path, own: OpenImage | None) -> Beside:
    found = _stems(str(folder)).get(mask.stem)
    if not found:
        return Beside(name)
    path, size, text = folder / found, None, ""
    if image := _image(path):
        from cdstats.io.georeference import Georeference, difference

        size = image.width, image.height
        with suppress(DataError):
            here, there = image.georeference(), own.georeference() if own else None
            if isinstance(here, Georeference) and isinstance(there, Georeference):
                text = difference(here, there, size)
    return Beside(name, found, size, text, str(path))


def _image(path: Path) -> OpenImage | None:
    """An image that is opened but not decoded; None where that fails."""
    from cdstats.io.masks import open_masks

    try:
        return open_masks(str(path), "", 1)[0]
    except DataError:
        return None  # a broken image is its reader's to report


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
