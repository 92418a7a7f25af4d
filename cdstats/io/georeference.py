"""Georeferences of images, comparison of grids, and resampling between two grids."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from cdstats.core.errors import DataError
from cdstats.io.sidecars import world_numbers

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import NDArray
    from rasterio.crs import CRS
    from rasterio.io import DatasetReader
    from rasterio.transform import Affine

    from cdstats.io.sidecars import Auxiliary

    Points = Sequence[tuple[float, float]]

TOLERANCE: Final = 0.01
"""Largest distance, in pixels, between grids that count as equal."""
_EDGE_POINTS: Final = 17
"""Points per edge that are transformed to another CRS."""
_MARGIN: Final = 2
"""Pixels beyond an edge that bilinear resampling may need."""


@dataclass(frozen=True)
class Georeference:
    """Affine transform from column and row to coordinates, with the CRS if known."""

    transform: Affine
    crs: CRS | None = None

    @property
    def name(self) -> str:
        """Code or name of the CRS."""
        if self.crs is None:
            return "without a CRS"
        code = self.crs.to_string()
        named = re.search(r'\["([^"]*)"', code)
        return named[1] if named else code


@dataclass(frozen=True)
class Unplaced:
    """Georeference other than an affine transform; it cannot be compared."""

    text: str


Where = Georeference | Unplaced
"""Georeference of an image."""
_POINTS: Final = Unplaced("control points or RPCs instead of a transform")


def georeference_of(dataset: DatasetReader) -> Where | None:
    """The georeference in a file; None if it has none."""
    if not dataset.transform.is_identity:
        return Georeference(dataset.transform, dataset.crs)
    return _POINTS if dataset.gcps[0] or dataset.tags(ns="RPC") else None


def georeference_with(
    own: Callable[[], Where | None], beside: Auxiliary, path: str
) -> Where | None:
    """The georeference of an image and the files beside it.

    As in GDAL, an ``.aux.xml`` file takes precedence over the image, and the image
    over a world file.
    """
    system = _crs(beside.system)
    if beside.transform:
        from rasterio.transform import Affine

        transform = Affine.from_gdal(*beside.transform)
        if system is None and isinstance(found := own(), Georeference):
            system = found.crs
        return Georeference(transform, system)
    found = _POINTS if beside.has_points else own()
    if found is None and (values := world_numbers(path)):
        from rasterio.transform import Affine

        # A world file gives the centre of the first pixel.
        a, d, b, e, x, y = values
        corner = Affine(a, b, x - (a + b) / 2, d, e, y - (d + e) / 2)
        found = Georeference(corner)
    if system is not None and isinstance(found, Georeference):
        found = replace(found, crs=system)
    return found


def _crs(text: str) -> CRS | None:
    if not text:
        return None
    from rasterio.crs import CRS
    from rasterio.errors import CRSError

    try:
        return CRS.from_user_input(text)
    except CRSError:
        return None


def _places(transform: Affine, points: Points) -> NDArray[np.float64]:
    """Coordinates of points; written out because Affine's operators vary by version."""
    a, b, c, d, e, f = transform[:6]
    with np.errstate(invalid="ignore"):  # points outside the CRS are infinite
        found: NDArray[np.float64] = np.array(points) @ [[a, d], [b, e]] + [c, f]
    return found


def positions(
    points: Points, of: Georeference, on: Georeference
) -> NDArray[np.float64]:
    """Columns and rows in one grid of points given in another grid.

    Args:
        points: Column and row of each point.
        of: Grid of the points.
        on: Grid of the result.

    Returns:
        Columns and rows; float64, ``(N, 2)``; NaN for points that cannot be
        transformed.
    """
    from rasterio.warp import transform

    xs, ys = _places(of.transform, points).T.tolist()
    try:
        if of.crs and on.crs and of.crs != on.crs:
            xs, ys = transform(of.crs, on.crs, xs, ys)
        inverse = ~on.transform
    except Exception:  # noqa: BLE001 - PROJ's errors share no public base
        return np.full((len(points), 2), np.nan)
    found = _places(inverse, list(zip(xs, ys, strict=True)))
    found[~np.isfinite(found)] = np.nan
    return found


def reach(
    own: Georeference,
    mask: Georeference,
    size: tuple[int, int],
    whole: tuple[int, int],
) -> tuple[int, int, int, int]:
    """The area of a mask that an image on another grid may cover.

    Args:
        own: Grid of the image.
        mask: Grid of the mask.
        size: Width and height of the image.
        whole: Width and height of the mask.

    Returns:
        First row, the row after the last, first column, the column after the last.
    """
    shares = np.linspace(0, 1, _EDGE_POINTS).tolist()
    edge = [
        (across * size[0], down * size[1])
        for across in shares
        for down in (shares if across in (0, 1) else (0, 1))
    ]
    found = positions(edge, own, mask)
    if np.isnan(found).any():
        return 0, whole[1], 0, whole[0]
    low = np.floor(found.min(axis=0)) - _MARGIN
    high = np.ceil(found.max(axis=0)) + _MARGIN
    left, top = np.clip(low, 0, whole).astype(int).tolist()
    right, bottom = np.clip(high, 0, whole).astype(int).tolist()
    return top, bottom, left, right


def deviations(
    own: Georeference,
    mask: Georeference,
    size: tuple[int, int],
    corner: tuple[int, int],
) -> NDArray[np.float64]:
    """Distances of the corners of an image from their expected positions.

    Returns:
        Columns and rows in pixels of the mask, for the corners upper left, upper right,
        lower left and lower right; NaN if a corner cannot be transformed.
    """
    wanted = np.array(_corners(size), dtype=np.float64) + np.array(corner[::-1])
    moved: NDArray[np.float64] = positions(_corners(size), own, mask) - wanted
    return moved


def _corners(size: tuple[int, int]) -> list[tuple[float, float]]:
    width, height = size
    return [(0, 0), (width, 0), (0, height), (width, height)]


def difference(
    own: Georeference,
    mask: Georeference,
    size: tuple[int, int],
    corner: tuple[int, int] | None = None,
) -> str:
    """Text on how an image grid differs from that of its mask; empty if equal."""
    moved = deviations(own, mask, size, corner or (0, 0))
    if (np.abs(moved) <= TOLERANCE).all():
        return ""
    parts = []
    plain = deviations(replace(own, crs=None), mask, size, corner or (0, 0))
    if not (np.abs(moved - plain) <= TOLERANCE).all():
        # Two names may denote the same CRS, so positions decide.
        names = own.name, mask.name
        if names[0] == names[1]:
            names = f"a different {own.name}", names[1]
        parts.append(f"is {names[0]}, its mask {names[1]}")
    if not np.isfinite(moved).all():
        return parts[0] if parts else "has a georeference that cannot be inverted"
    spread, shift = np.ptp(moved, axis=0).max(), np.abs(moved.mean(axis=0)).max()
    if spread <= min(2 * TOLERANCE, shift / 2):
        where = "its mask"
        if corner is not None:
            where = f"row {corner[0]:,}, column {corner[1]:,} of its mask"
        parts.append(f"lies {_shift(moved.mean(axis=0), mask)} of {where}")
    elif not parts:
        parts.append(_shape(own, mask))
    return " and ".join(parts)


def _shift(moved: NDArray[np.float64], mask: Georeference) -> str:
    """A shift in pixels; by compass directions if the grid is aligned with them."""
    across, down = moved.tolist()
    a, b, _, d, e, _ = mask.transform[:6]
    if max(abs(b), abs(d)) <= 1e-6 * min(abs(a), abs(e)):
        named = (
            (across if a > 0 else -across, "east", "west"),
            (down if e > 0 else -down, "north", "south"),
        )
    else:
        named = ((across, "right", "left"), (down, "below", "above"))
    texts = []
    for number, more, less in named:
        if abs(number) > TOLERANCE / 2:
            text = f"{abs(number):,.2f}" if abs(number) >= 0.1 else f"{abs(number):.2g}"
            text = text.rstrip("0").rstrip(".") if "." in text else text
            pixels = "pixel" if text == "1" else "pixels"
            texts.append(f"{text} {pixels} {more if number > 0 else less}")
    return " and ".join(texts)


def _shape(own: Georeference, mask: Georeference) -> str:
    """Text on how grids of one CRS differ in pixel size or direction."""
    grids = [one.transform[:6] for one in (own, mask)]
    sizes = [
        f"{math.hypot(a, d):.9g} x {math.hypot(b, e):.9g}" for a, b, _, d, e, _ in grids
    ]
    if sizes[0] != sizes[1]:
        return f"has pixels of {sizes[0]}, its mask of {sizes[1]}"
    return "is rotated, mirrored or sheared relative to its mask"


def resampled(
    values: NDArray[np.floating[Any]],
    of: Georeference,
    on: Georeference,
    window: tuple[int, int, int, int],
    *,
    nearest: bool,
) -> NDArray[np.floating[Any]]:
    """Resample an image to a window of another grid.

    Args:
        values: The image, with NaN for missing values; floating, ``(H, W)``.
        of: Grid of the image.
        on: Grid of the result.
        window: First row, row after the last, first column, column after the last.
        nearest: Nearest neighbour if True, otherwise bilinear.

    Returns:
        The image with the dtype of ``values``; NaN outside its extent.
    """
    from rasterio.crs import CRS
    from rasterio.transform import Affine
    from rasterio.warp import Resampling, reproject

    top, bottom, left, right = window
    a, b, _, d, e, _ = on.transform[:6]
    ((x, y),) = _places(on.transform, [(left, top)]).tolist()
    found = np.full((bottom - top, right - left), np.nan, dtype=values.dtype)
    # If both grids share one CRS, any CRS works, because no transformation is needed.
    systems = [CRS.from_epsg(3857)] * 2
    if of.crs and on.crs and of.crs != on.crs:
        systems = [of.crs, on.crs]
    try:
        reproject(
            values,
            found,
            src_transform=of.transform,
            src_crs=systems[0],
            dst_transform=Affine(a, b, x, d, e, y),
            dst_crs=systems[1],
            src_nodata=np.nan,
            dst_nodata=np.nan,
            resampling=Resampling.nearest if nearest else Resampling.bilinear,
            tolerance=0,
        )
    except Exception as error:  # noqa: BLE001 - GDAL's errors share no public base
        raise DataError(
            f"cannot be resampled to the grid of its mask: {error}"
        ) from None
    return found
