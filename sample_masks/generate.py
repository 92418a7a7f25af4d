"""Writes the synthetic masks of this folder, and their true counts to expected.csv.

Only NumPy, Pillow and rasterio take part, so that the counts do not come from the
program they test. The same versions of the three write the same bytes every time.
"""

import argparse
import csv
import io
from collections.abc import Callable, Iterator
from dataclasses import astuple, dataclass, fields
from pathlib import Path

import numpy as np
import rasterio
from numpy.typing import NDArray
from PIL import Image
from rasterio.transform import from_origin

Bytes = NDArray[np.uint8]
Bools = NDArray[np.bool_]
Floats = NDArray[np.float64]
Shape = Callable[[Floats, Floats], Floats]

SEED = 118
NEW_ZEALAND = "EPSG:2193"

CDD_SIDE = 256
CDD_FILES = {"train": 10, "val": 3, "test": 3}
CDD_CHANGED = 134_069  # of 16 x 256 x 256: a thousandth of DASNet's CDD row
CDD_WITHOUT_CHANGE = "CDD/test/OUT/00001.jpg"
CDD_ADJUSTED = "CDD/test/OUT/00002.jpg"
JPEG_QUALITY = 95

BCDD_SHAPE = (1024, 2048)
BCDD_CHANGED = 89_720  # the share of DASNet's BCDD row

AWKWARD_SIDE = 64


@dataclass(frozen=True)
class Expected:
    """True counts of one mask, and the options with which the program finds them."""

    path: str
    width: int
    height: int
    changed: int
    unchanged: int
    ignored: int
    options: str


def count(path: str, changed: Bools, ignored: Bools, options: str = "") -> Expected:
    height, width = changed.shape
    return Expected(
        path,
        width,
        height,
        changed=int((changed & ~ignored).sum()),
        unchanged=int((~changed & ~ignored).sum()),
        ignored=int(ignored.sum()),
        options=options,
    )


# Shapes: the distance of each pixel from the outline, positive inside.


def blob(rng: np.random.Generator, radius: float) -> Shape:
    """A field or a clearing: a circle with a wavy outline."""
    centre = rng.uniform(0.1, 0.9, 2) * CDD_SIDE
    waves = [(k, rng.uniform(0, 0.4 / k), rng.uniform(0, 6.28)) for k in range(2, 7)]

    def inside(x: Floats, y: Floats) -> Floats:
        angle = np.arctan2(y - centre[1], x - centre[0])
        outline = 1 + sum(size * np.cos(k * angle + at) for k, size, at in waves)
        return np.asarray(radius * outline - np.hypot(x - centre[0], y - centre[1]))

    return inside


def road(rng: np.random.Generator, width: float) -> Shape:
    """A thin road that winds from the left edge to the right one."""
    slope, at = rng.uniform(-0.5, 0.5), rng.uniform(0.25, 0.75) * CDD_SIDE
    swing, length = rng.uniform(3, 18), rng.uniform(90, 220)
    turned = rng.random() < 0.5

    def inside(x: Floats, y: Floats) -> Floats:
        along, across = (y, x) if turned else (x, y)
        phase = 6.28 * along / length
        middle = at + slope * (along - CDD_SIDE / 2) + swing * np.sin(phase)
        steepness = slope + swing * 6.28 / length * np.cos(phase)
        return np.asarray(width / 2 - np.abs(across - middle) / np.hypot(1, steepness))

    return inside


def house(centre: Floats, size: Floats, angle: float) -> Shape:
    """A rectangle of a given size, turned by an angle."""
    cos, sin = np.cos(angle), np.sin(angle)

    def inside(x: Floats, y: Floats) -> Floats:
        dx, dy = x - centre[0], y - centre[1]
        along, across = np.abs(cos * dx + sin * dy), np.abs(cos * dy - sin * dx)
        return np.asarray(np.minimum(size[0] / 2 - along, size[1] / 2 - across))

    return inside


def scene(rng: np.random.Generator) -> list[Shape]:
    """The changes of one CDD mask: some fields, some roads, some houses."""
    sizes = np.exp(rng.uniform(1.5, 4.3, rng.integers(1, 5)))
    blobs = [blob(rng, size) for size in sizes]
    roads = [road(rng, rng.uniform(3, 7)) for _ in range(rng.integers(0, 3))]
    angle = rng.uniform(0, 1.57)
    houses = [
        house(rng.uniform(10, 246, 2), rng.uniform(6, 24, 2), angle)
        for _ in range(rng.integers(0, 9))
    ]
    return [*blobs, *roads, *houses]


# CDD: grey JPEG.


def depth(shapes: list[Shape]) -> Floats:
    """How far inside the nearest shape each pixel lies; negative outside."""
    y, x = np.mgrid[:CDD_SIDE, :CDD_SIDE].astype(np.float64)
    return np.asarray(np.max([shape(x, y) for shape in shapes], axis=0))


def grey(inside: Floats) -> Bytes:
    """White on black, with the outline smoothed over one pixel."""
    return np.asarray(255 * np.clip(inside + 0.5, 0, 1)).round().astype(np.uint8)


def jpeg(values: Bytes) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(values).save(buffer, "JPEG", quality=JPEG_QUALITY)
    return buffer.getvalue()


def decoded(data: bytes) -> Bytes:
    return np.asarray(Image.open(io.BytesIO(data)))


def changed_pixels(data: bytes) -> int:
    return int((decoded(data) >= 128).sum())


def adjusted(shapes: list[Shape], wanted: int) -> bytes:
    """The shapes grown or shrunk to the changed pixels wanted, after decoding."""
    inside = depth(shapes)
    files = (jpeg(grey(inside + growth)) for growth in np.linspace(-1, 1, 2001))
    return min(files, key=lambda data: abs(changed_pixels(data) - wanted))


def cdd_files() -> dict[str, bytes]:
    """Path and bytes of each mask; one is adjusted so that all hold CDD_CHANGED."""
    rng = np.random.default_rng(SEED)
    names = [
        f"CDD/{split}/OUT/{number:05}.jpg"
        for split, files in CDD_FILES.items()
        for number in range(files)
    ]
    scenes = {name: scene(rng) for name in names}
    files = {name: jpeg(grey(depth(shapes))) for name, shapes in scenes.items()}
    files[CDD_WITHOUT_CHANGE] = jpeg(np.zeros((CDD_SIDE, CDD_SIDE), np.uint8))
    others = sum(changed_pixels(files[n]) for n in names if n != CDD_ADJUSTED)
    files[CDD_ADJUSTED] = adjusted(scenes[CDD_ADJUSTED], CDD_CHANGED - others)
    return files


def write_cdd(folder: Path) -> Iterator[Expected]:
    for path, data in cdd_files().items():
        target = folder / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(data)
        values = decoded(data)
        yield count(path, values >= 128, np.zeros_like(values, bool))


# BCDD: one GeoTIFF.


def write_geotiff(path: Path, values: Bytes, nodata: int | None = None) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    height, width = values.shape
    with rasterio.open(
        path,
        "w",
        driver="GTiff",
        width=width,
        height=height,
        count=1,
        dtype="uint8",
        nodata=nodata,
        crs=NEW_ZEALAND,
        transform=from_origin(1_570_000, 5_180_000, 0.2, 0.2),
        compress="deflate",
        tiled=True,
        blockxsize=256,
        blockysize=256,
    ) as dataset:
        dataset.write(values, 1)


def building(rng: np.random.Generator, block: int) -> Bools:
    """A rectangle, often with a wing, turned as its street runs; 64 x 64."""
    y, x = np.mgrid[:64, :64].astype(np.float64)
    angle = 0.4 * block + rng.normal(0, 0.03)
    size, centre = rng.uniform(12, 34, 2), rng.uniform(26, 38, 2)
    wing = house(centre + rng.uniform(-9, 9, 2), size * rng.uniform(0.4, 0.8, 2), angle)
    main = house(centre, size, angle)
    return np.asarray((main(x, y) > 0) | (wing(x, y) > 0))


def buildings(rng: np.random.Generator) -> Bytes:
    """Buildings in some blocks of a grid of streets, BCDD_CHANGED pixels in all."""
    values = np.zeros(BCDD_SHAPE, np.uint8)
    rows, columns = BCDD_SHAPE[0] // 64, BCDD_SHAPE[1] // 64
    missing = BCDD_CHANGED
    for cell in rng.permutation(rows * columns):
        row, column = divmod(int(cell), columns)
        block = row // 4 * 4 + column // 8
        if block % 5 == 2:  # not built up
            continue
        inside = np.flatnonzero(building(rng, block))[:missing]
        values[row * 64 :, column * 64 :][:64, :64].flat[inside] = 1
        missing -= len(inside)
    return values


def write_bcdd(folder: Path) -> Iterator[Expected]:
    path = "BCDD/change label/change_label.tif"
    values = buildings(np.random.default_rng(SEED))
    write_geotiff(folder / path, values)
    yield count(path, values == 1, np.zeros_like(values, bool))


# Awkward masks: codes that are misread without a word.


def disc(radius: float, x: float = 32, y: float = 32) -> Bools:
    rows, columns = np.mgrid[:AWKWARD_SIDE, :AWKWARD_SIDE]
    return np.asarray(np.hypot(columns - x, rows - y) < radius)


def border(width: int) -> Bools:
    inner = np.zeros((AWKWARD_SIDE, AWKWARD_SIDE), bool)
    inner[width:-width, width:-width] = True
    return ~inner


def write_one_two(folder: Path) -> Expected:
    """1 is unchanged and 2 changed, as in OSCD: any threshold takes all or nothing."""
    changed = disc(14, 24, 28) | disc(8, 48, 46)
    path = "awkward/one_two.tif"
    Image.fromarray(np.where(changed, 2, 1).astype(np.uint8)).save(folder / path)
    return count(path, changed, np.zeros_like(changed), "--preset oscd-tif")


def write_palette(folder: Path) -> Expected:
    """The five greys of CDnet 2014, stored as the indices 0 to 4 of a palette."""
    greys = [0, 50, 85, 170, 255]
    areas = [disc(20, 34, 36), border(5), disc(17), disc(14)]
    indices = np.zeros((AWKWARD_SIDE, AWKWARD_SIDE), np.uint8)
    for index, area in enumerate(areas, start=1):
        indices[area] = index
    image = Image.frombytes("P", (AWKWARD_SIDE, AWKWARD_SIDE), indices.tobytes())
    image.putpalette(bytes(np.repeat(greys, 3).tolist()))
    path = "awkward/palette.png"
    image.save(folder / path)
    ignored = (indices == 2) | (indices == 3)
    return count(path, indices == 4, ignored, "--preset cdnet2014")


def write_rgba(folder: Path) -> Expected:
    """White under a fully transparent border, which must not count as changed."""
    changed, transparent = disc(15, 30, 34), border(6)
    white = np.where(changed | transparent, 255, 0)
    alpha = np.where(transparent, 0, 255)
    channels = np.stack([white, white, white, alpha], axis=-1).astype(np.uint8)
    path = "awkward/rgba.png"
    Image.fromarray(channels).save(folder / path)
    return count(path, changed, transparent)


def write_nodata(folder: Path) -> Expected:
    """0 and 1 beside 255, which the file declares as nodata."""
    changed, outside = disc(12, 20, 40), ~disc(31)
    values = np.where(outside, 255, changed).astype(np.uint8)
    path = "awkward/nodata.tif"
    write_geotiff(folder / path, values, nodata=255)
    return count(path, changed, outside)


def write_awkward(folder: Path) -> Iterator[Expected]:
    (folder / "awkward").mkdir(parents=True, exist_ok=True)
    for write in (write_one_two, write_palette, write_rgba, write_nodata):
        yield write(folder)


def generate(folder: Path) -> list[Expected]:
    """Writes all masks and expected.csv below a folder; returns the rows."""
    rows = [*write_cdd(folder), *write_bcdd(folder), *write_awkward(folder)]
    with (folder / "expected.csv").open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow([field.name for field in fields(Expected)])
        writer.writerows(astuple(row) for row in rows)
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "folder",
        nargs="?",
        type=Path,
        default=Path(__file__).parent,
        help="where to write (default: beside this script)",
    )
    for row in generate(parser.parse_args().folder):
        print(row.path, row.changed, row.unchanged, row.ignored)


if __name__ == "__main__":
    main()
