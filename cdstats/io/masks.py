"""Opening of mask files; the content decides on the reader."""

from __future__ import annotations

from functools import partial
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING

from cdstats.core.errors import DataError, one_file
from cdstats.io.blocks import ImageFile, guarded, select_image
from cdstats.io.containers import inside, is_parquet, read_member
from cdstats.io.copies import copy_of, open_copy
from cdstats.io.limits import MAX_PIXELS, check_images
from cdstats.io.sidecars import mask_file, read_auxiliary
from cdstats.io.signatures import (
    FORMATS,
    file_format,
    foreign_text,
    is_zarr,
    open_regular,
)

if TYPE_CHECKING:
    from cdstats.io.blocks import OpenImage
    from cdstats.io.georeference import Where
    from cdstats.io.sidecars import Auxiliary


def open_masks(
    path: str, member: str, band: int | None, max_pixels: int = MAX_PIXELS
) -> list[OpenImage]:
    """Open the mask or the stack of masks in a file."""
    with one_file():
        if copy := copy_of(path):
            images = open_copy(
                copy, lambda place: _checked(str(place), member, band, max_pixels)
            )
        else:
            images = _checked(path, member, band, max_pixels)
        return [guarded(image) for image in images]


def _checked(
    path: str, member: str, band: int | None, max_pixels: int
) -> list[OpenImage]:
    images, names_members = _open(path, member, band, max_pixels)
    check_images(images, max_pixels)
    if not names_members and (beside := mask_file(path)):
        raise DataError(
            f"its mask file {Path(beside).name} hides pixels, and is not supported; "
            "save hidden pixels as a value in the image and name it with --ignore"
        )
    return images


def _open(
    path: str, member: str, band: int | None, max_pixels: int
) -> tuple[list[OpenImage], bool]:
    """Open the images, and tell whether the reader has selected the member."""
    kind, data = _kind_and_bytes(path)
    reader = import_module(f"cdstats.io.{FORMATS[kind].reader}")
    asked = ImageFile(Path(path), kind, data, member, band, max_pixels)
    if FORMATS[kind].names_members:
        return reader.open_images(asked), True
    beside = read_auxiliary(path)
    images: list[OpenImage] = reader.open_images(
        asked._replace(nodata=beside.nodata.get(band or 1))
    )
    return [
        image._replace(georeference=partial(_where, image, beside, path))
        for image in select_image(images, member)
    ], False


def _kind_and_bytes(path: str) -> tuple[str, bytes | None]:
    """The format of a file, and its bytes if the reader takes bytes."""
    if inside(path):
        data: bytes | None = read_member(path)
        head = data[:16] if data else b""
        kind = file_format(head)
    else:
        # Unbuffered, because the whole file is read in one call.
        try:
            opened, size = open_regular(path)
        except (IsADirectoryError, PermissionError):
            if is_zarr(path):
                return "ZARR", None
            raise
        with opened as file:
            head, data = file.read(16), None
            kind = file_format(head)
            if kind and size <= FORMATS[kind].held:
                data = head + file.readall()
    if kind is None:
        if is_parquet(path) and not inside(path):
            from cdstats.io.parquet import refuse_table

            refuse_table(path)
        raise DataError(foreign_text(head))
    return kind, data


def _where(image: OpenImage, beside: Auxiliary, path: str) -> Where | None:
    """The georeference of an image or of the files beside it."""
    from cdstats.io.georeference import georeference_with

    return georeference_with(image.georeference, beside, path)
