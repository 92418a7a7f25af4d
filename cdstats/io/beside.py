"""Images beside a mask, such as ``A/1.png`` and ``B/1.png`` for ``label/1.png``."""

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
    """An image folder beside a mask folder, and the image with the mask's name.

    Attributes:
        name: File name of the image; empty if the folder has no matching image.
        difference: Text on how its grid differs from the mask's; empty if equal.
        path: Path of the image; empty if there is none.
    """

    folder: str
    name: str = ""
    size: tuple[int, int] | None = None
    difference: str = ""
    path: str = ""


def images_beside(path: str) -> tuple[Beside, ...]:
    """The image of the same name in each image folder beside the mask folder."""
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
    """Clear cached folder listings, because files may change between runs."""
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
    """Open an image without decoding it; None if it fails."""
    from cdstats.io.masks import open_masks

    try:
        return open_masks(str(path), "", 1)[0]
    except DataError:
        return None  # the reader of the images reports broken ones


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
    """Image file names of a folder by their stems."""
    try:
        with os.scandir(folder) as entries:
            names = [entry.name for entry in entries]
    except OSError:
        return {}
    images = (name for name in names if Path(name).suffix.lower() in _EXTENSIONS)
    return {Path(name).stem: name for name in images}
