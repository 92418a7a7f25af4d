"""Whole files of every format and kind, made from arrays that are known."""

from __future__ import annotations

import gzip
import io
import struct
import tarfile
import zipfile
import zlib
from dataclasses import dataclass, field
from functools import cache
from typing import TYPE_CHECKING, Any, Final

import h5py
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import rasterio
import scipy.io
import tifffile
import zarr
from numcodecs import get_codec
from PIL import Image
from rasterio.shutil import copy
from zarr.codecs import BloscCodec, Crc32cCodec, GzipCodec, ZstdCodec

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from numpy.typing import NDArray

Array = np.ndarray[Any, np.dtype[Any]]
SHAPE: Final = (48, 60)
PNG_PASSES: Final = (
    *((0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4)),
    *((0, 2, 2, 4), (1, 0, 2, 2), (0, 1, 1, 2)),
)
"""First column and row, steps across and down of the passes of an interlaced PNG."""
TILED: Final = {"tiled": True, "blockxsize": 16, "blockysize": 16}


@dataclass(frozen=True, eq=False)
class Clean:
    """A whole file.

    Attributes:
        format: The format that it is counted under, a key of `FORMATS`.
        name: What it is, with the extension of its format.
        data: Its bytes.
        pixels: The numbers that it holds; None where the format changes them (JPEG).
            Of a file of several pages, one page after the other.
        pages: How many pages it has.
        inner: Where it lies in a store, which is a folder; empty for a file by itself.
        beside: The other files of the store.
    """

    format: str
    name: str
    data: bytes
    pixels: Array | None
    pages: int = 1
    inner: str = ""
    beside: dict[str, bytes] = field(default_factory=dict)

    def write(self, path: Path, data: bytes) -> None:
        """Write other bytes of it, and the rest of its store."""
        if not self.inner:
            path.write_bytes(data)
            return
        for inner, held in (*self.beside.items(), (self.inner, data)):
            file = path / inner
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_bytes(held)


def mask() -> NDArray[np.uint8]:
    """A mask of 0 and 255: two fields of change, and single pixels."""
    rng = np.random.default_rng(7)
    found = (rng.random(SHAPE) < 0.03).astype(np.uint8)
    found[5:20, 8:31] = 1
    found[30:41, 40:55] = 1
    return found * np.uint8(255)


def colours() -> NDArray[np.uint8]:
    """The mask in red on blue."""
    on = mask() == 255
    return np.dstack([on * np.uint8(255), np.zeros_like(mask()), ~on * np.uint8(255)])


def _pillow(array: Array, kind: str, mode: str = "", **options: Any) -> bytes:
    image = Image.fromarray(array)
    stream = io.BytesIO()
    (image.convert(mode) if mode else image).save(stream, kind, **options)
    return stream.getvalue()


def _palette(kind: str, levels: list[int]) -> bytes:
    image = Image.fromarray(mask() // np.uint8(255))
    image.putpalette(levels)
    stream = io.BytesIO()
    image.save(stream, kind)
    return stream.getvalue()


def _interlaced(array: Array) -> bytes:
    parts = [array[top::down, left::right] for left, top, right, down in PNG_PASSES]
    lines = b"".join(b"\0" + row.tobytes() for part in parts for row in part)
    height, width = array.shape
    header = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 1)
    chunks = ((b"IHDR", header), (b"IDAT", zlib.compress(lines)), (b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(data)) + kind + data
        + struct.pack(">I", zlib.crc32(kind + data))
        for kind, data in chunks
    )  # fmt: skip


def _pngs() -> Iterator[tuple[str, bytes, Array]]:
    grey, rgb = mask(), colours()
    on = grey // np.uint8(255)
    alpha = np.full(SHAPE, 255, np.uint8)
    yield "grey1.png", _pillow(grey, "PNG", "1"), on
    yield "grey8.png", _pillow(grey, "PNG"), grey
    yield "grey16.png", _pillow(grey.astype(np.uint16) * 3, "PNG"), grey * np.uint16(3)
    yield "grey-alpha.png", _pillow(np.dstack([grey, alpha]), "PNG"), grey
    yield "rgb.png", _pillow(rgb, "PNG"), rgb
    yield "rgba.png", _pillow(np.dstack([rgb, alpha]), "PNG"), rgb
    yield "palette1.png", _palette("PNG", [0, 0, 0, 255, 255, 255]), grey
    yield "palette8.png", _palette("PNG", [*[0, 0, 9, 255, 0, 0] * 20]), on
    yield "interlaced.png", _interlaced(grey), grey


def _jpegs() -> Iterator[tuple[str, bytes, None]]:
    grey, rgb = mask(), colours()
    yield "grey.jpg", _pillow(grey, "JPEG", quality=95), None
    yield "rgb.jpg", _pillow(rgb, "JPEG", quality=90), None
    yield "rgb444.jpg", _pillow(rgb, "JPEG", quality=90, subsampling=0), None
    yield "progressive.jpg", _pillow(grey, "JPEG", progressive=True), None
    yield "restarts.jpg", _pillow(grey, "JPEG", restart_marker_rows=1), None
    yield "optimised.jpg", _pillow(grey, "JPEG", optimize=True), None


def _bmps() -> Iterator[tuple[str, bytes, Array]]:
    grey, rgb = mask(), colours()
    yield "grey1.bmp", _pillow(grey, "BMP", "1"), grey
    yield "grey8.bmp", _pillow(grey, "BMP"), grey
    yield "rgb.bmp", _pillow(rgb, "BMP"), rgb
    yield "palette.bmp", _palette("BMP", [0, 0, 9, 255, 0, 0]), grey // np.uint8(255)


def _gdal(array: Array, **profile: Any) -> bytes:
    bands = array[None] if array.ndim == 2 else np.moveaxis(array, -1, 0)
    count, height, width = bands.shape
    place = rasterio.Affine(2, 0, 9, 0, -2, 9)
    with rasterio.MemoryFile() as memory:
        with memory.open(
            driver="GTiff", height=height, width=width, count=count,
            dtype=bands.dtype, transform=place, **profile,
        ) as file:  # fmt: skip
            file.write(bands)
        data: bytes = memory.read()
    return data


def _plain_tiffs() -> Iterator[tuple[str, bytes, Array]]:
    grey, rgb = mask(), colours()
    yield "one-strip.tif", _gdal(grey, blockysize=SHAPE[0]), grey
    yield "strips.tif", _gdal(grey, blockysize=7), grey
    yield "tiles.tif", _gdal(grey, **TILED), grey
    yield "big.tif", _gdal(grey, blockysize=7, BIGTIFF="YES"), grey
    yield "motorola.tif", _gdal(grey, blockysize=7, ENDIANNESS="BIG"), grey
    yield "rgb.tif", _gdal(rgb, photometric="RGB", blockysize=9), rgb
    yield "planes.tif", _gdal(rgb, photometric="RGB", interleave="band"), rgb
    yield "wide.tif", _gdal(grey.astype(np.uint16), **TILED), grey.astype(np.uint16)
    yield "float.tif", _gdal(grey / np.float32(255)), grey / np.float32(255)
    yield "pillow.tif", _pillow(grey, "TIFF"), grey
    yield "pillow1.tif", _pillow(grey, "TIFF", "1"), grey // np.uint8(255)


def _packed_tiffs(names: tuple[str, ...]) -> Iterator[tuple[str, bytes, Array]]:
    grey = mask()
    for name in names:
        yield f"{name}-strips.tif", _gdal(grey, compress=name, blockysize=7), grey
        yield f"{name}-tiles.tif", _gdal(grey, compress=name, **TILED), grey
        yield f"{name}-one-strip.tif", _gdal(grey, compress=name, blockysize=48), grey
    if names[0] in ("lzw", "deflate"):
        name, wide = names[0], grey.astype(np.uint16)
        yield f"{name}-predictor.tif", _gdal(wide, compress=name, predictor=2), wide
        pillow = {"lzw": "tiff_lzw", "deflate": "tiff_adobe_deflate"}[name]
        yield f"{name}-pillow.tif", _pillow(grey, "TIFF", compression=pillow), grey


def _other_tiffs() -> Iterator[tuple[str, bytes, Array | None]]:
    grey = mask()
    on = grey // np.uint8(255)
    yield "lzma.tif", _gdal(grey, compress="lzma", blockysize=16), grey
    for name in ("ccittfax3", "ccittfax4", "ccittrle"):
        yield f"{name}.tif", _gdal(on, compress=name, nbits=1, blockysize=16), on
    yield "jpeg-tiles.tif", _gdal(grey, compress="jpeg", **TILED), None


def _ordered(array: Array, compress: str) -> bytes:
    """A cloud-optimised TIFF, in which GDAL describes how it is ordered."""
    with rasterio.MemoryFile(_gdal(array)) as plain, rasterio.MemoryFile() as memory:
        with plain.open() as file:
            copy(
                file, memory.name, driver="COG", blocksize=128, compress=compress,
                overviews="NONE",
            )  # fmt: skip
        data: bytes = memory.read()
    return data


def _short_parts() -> Iterator[tuple[str, bytes, Array, int]]:
    """Strips of a few bytes, tiles of one value each, and files of several pages."""
    bars = np.repeat(np.arange(40, dtype=np.uint8) % 2 * np.uint8(255), 256)
    bars = bars.reshape(40, 256)
    on = (bars // np.uint8(255))[:, :64]
    yield "packbits-rows.tif", _gdal(bars, compress="packbits", blockysize=1), bars, 1
    yield "lzw-rows.tif", _gdal(bars, compress="lzw", blockysize=1), bars, 1
    yield "bits-rows.tif", _gdal(on, nbits=1, blockysize=1), on, 1
    board = np.zeros((384, 256), np.uint8)
    board[:128, 128:] = board[256:] = 255
    board[:60, :70] = 255
    for name in ("deflate", "lzw", "zstd"):
        yield f"{name}-ordered-tiles.tif", _ordered(board, name), board, 1
    grey = mask()
    pages = np.stack(
        [grey, np.zeros_like(grey), grey // 255 * 7, np.full_like(grey, 255)]
    )
    yield "deflate-pages.tif", _gdal_pages(pages), pages, len(pages)
    images = [Image.fromarray(page) for page in pages]
    for name, packing in (("plain", None), ("packed", "packbits")):
        stream = io.BytesIO()
        images[0].save(
            stream, "TIFF", save_all=True, append_images=images[1:], compression=packing
        )
        yield f"{name}-pages.tif", stream.getvalue(), pages, len(pages)


def _gdal_pages(pages: Array) -> bytes:
    with rasterio.MemoryFile(ext=".tif") as memory:
        for number, page in enumerate(pages):
            more = {"APPEND_SUBDATASET": True} if number else {}
            with rasterio.open(
                memory.name, "w", driver="GTiff", width=page.shape[1],
                height=page.shape[0], count=1, dtype=page.dtype, compress="deflate",
                transform=rasterio.Affine(2, 0, 9, 0, -2, 9), **more,
            ) as file:  # fmt: skip
                file.write(page, 1)
        data: bytes = memory.read()
    return data


def _written_by_tifffile() -> Iterator[tuple[str, bytes, Array, int]]:
    """Stacks that share the values of their tags, and pyramids in inner directories."""
    grey, rgb = mask(), colours()
    pages = np.stack([grey, grey[::-1], grey // 255 * 7])
    many = np.stack([np.roll(grey[:23, :30], at, axis=1) for at in range(12)])
    stacks: list[tuple[str, Array, dict[str, Any]]] = [
        ("stack", pages, {}),
        ("strips", pages, {"rowsperstrip": 7}),
        ("tiles", pages, {"tile": (16, 16)}),
        ("many", many, {}),
        ("big", pages, {"bigtiff": True, "metadata": None}),
        ("motorola", pages.astype(np.uint16), {"byteorder": ">"}),
        ("imagej", many, {"imagej": True, "resolution": (2.6, 2.6)}),
        ("ome", pages, {"ome": True, "metadata": {"UUID": "urn:uuid:0"}}),
        ("deflate-stack", pages, {"compression": "zlib"}),
        ("deflate-tiles", many, {"compression": "zlib", "tile": (16, 16)}),
    ]
    for name, stack, options in stacks:
        kind: dict[str, Any] = {}
        if name != "imagej":
            kind["photometric"] = "minisblack"
        yield f"{name}.tif", _tifffile(stack, **kind, **options), stack, len(stack)
    yield "rgb.tif", _tifffile(rgb, photometric="rgb", rowsperstrip=9), rgb, 1
    for name, packing in (("tiles", None), ("deflate-tiles", "zlib")):
        yield f"{name}-pyramid.tif", _pyramid(pages, packing), pages, len(pages)


def _tifffile(array: Array, **options: Any) -> bytes:
    stream = io.BytesIO()
    tifffile.imwrite(stream, array, **options)
    return stream.getvalue()


def _pyramid(pages: Array, packing: str | None) -> bytes:
    stream = io.BytesIO()
    with tifffile.TiffWriter(stream) as writer:
        for level in range(3):
            kind: dict[str, Any] = {"subfiletype": 1} if level else {"subifds": 2}
            writer.write(
                pages[:, :: 1 << level, :: 1 << level],
                photometric="minisblack",
                tile=(16, 16),
                compression=packing,
                **kind,
            )
    return stream.getvalue()


def _npys() -> Iterator[tuple[str, bytes, Array]]:
    grey = mask()
    for name, array in {
        "uint8": grey,
        "bool": grey == 255,
        "int64": grey.astype(np.int64),
        "float32": grey / np.float32(255),
        "fortran": np.asfortranarray(grey),
    }.items():
        stream = io.BytesIO()
        np.save(stream, array)
        yield f"{name}.npy", stream.getvalue(), array


def _npzs() -> Iterator[tuple[str, bytes, Array]]:
    grey = mask()
    arrays: dict[str, Array] = {
        "uint8": grey,
        "int64": grey.astype(np.int64),
        "fortran": np.asfortranarray(grey),
    }
    for name, array in arrays.items():
        for kind, save in (("stored", np.savez), ("packed", np.savez_compressed)):
            stream = io.BytesIO()
            save(stream, mask=array)
            yield f"{kind}-{name}.npz", stream.getvalue(), array


def _hdf5s() -> Iterator[tuple[str, bytes, Array]]:
    """Arrays in chunks of either kind of description, and one that is not packed."""
    grey = mask()
    pack: dict[str, Any] = {"chunks": (20, 35), "fletcher32": True, "shuffle": True}
    kinds: list[tuple[str, Array, str, dict[str, Any]]] = [
        ("packed", grey, "earliest", pack | {"compression": "gzip"}),
        ("wide", grey.astype(np.int16), "earliest", pack | {"compression": "gzip"}),
        ("latest", grey, "latest", pack | {"compression": "gzip"}),
        ("plain", grey, "earliest", {}),
    ]
    for name, array, version, options in kinds:
        stream = io.BytesIO()
        with h5py.File(stream, "w", libver=version) as file:
            file.create_dataset("mask", data=array, **options)
        yield f"{name}.h5", stream.getvalue(), array


def _mats() -> Iterator[tuple[str, bytes, Array]]:
    grey = mask()
    arrays: dict[str, Array] = {"uint8": grey, "double": grey / 255}
    for name, array in arrays.items():
        for kind, packed in (("plain", False), ("packed", True)):
            stream: Any = io.BytesIO()
            scipy.io.savemat(stream, {"mask": array}, do_compression=packed)
            data = stream.getvalue()
            head = b"MATLAB 5.0 MAT-file".ljust(116)  # without the time of day
            yield f"{kind}-{name}.mat", head + data[116:], array


def _matlab_hdf5s() -> Iterator[tuple[str, bytes, Array]]:
    """Arrays by columns in an HDF5 file behind a header of MATLAB 7.3."""
    grey = mask()
    header = b"MATLAB 7.3 MAT-file".ljust(124) + b"\0\2IM"
    packed = {"compression": "gzip", "chunks": (20, 35)}
    for name, array, options in (
        ("packed", grey, packed),
        ("wide", grey / 255, packed),
        ("plain", grey, {}),
    ):
        stream = io.BytesIO()
        with h5py.File(stream, "w", userblock_size=512) as file:
            file.create_dataset("mask", data=array.T, **options)
        data = header + stream.getvalue()[len(header) :]
        yield f"{name}.mat", data, array


def images() -> tuple[Array, dict[str, bytes]]:
    """Four masks, each with a count of its own, and their PNG files by name."""
    grey = mask()
    masks = np.stack([grey, 255 - grey, np.roll(grey, 9) // 255, grey // 255 * 7])
    return masks, {f"label/{n}.png": _pillow(one, "PNG") for n, one in enumerate(masks)}


def _zips() -> Iterator[tuple[str, bytes, Array, int]]:
    masks, files = images()
    for name in ("stored", "deflated", "streamed", "zip64"):
        stream = io.BytesIO()
        packing = zipfile.ZIP_STORED if name == "stored" else zipfile.ZIP_DEFLATED
        seeks = name != "streamed"
        with zipfile.ZipFile(
            stream if seeks else _Pipe(stream), "w", packing
        ) as archive:
            for member, data in files.items():
                info = zipfile.ZipInfo(member)
                info.compress_type = packing
                with archive.open(info, "w", force_zip64=name == "zip64") as file:
                    file.write(data)
        yield f"{name}.zip", stream.getvalue(), masks, len(masks)


class _Pipe(io.RawIOBase):
    """A stream that cannot go back, so that sums stand behind the data."""

    def __init__(self, stream: io.BytesIO) -> None:
        self._stream = stream

    def writable(self) -> bool:
        return True

    def write(self, data: Any) -> int:
        return self._stream.write(data)


def _tars() -> Iterator[tuple[str, bytes, Array, int]]:
    masks, files = images()
    long = {f"label/{'x' * 150}{name[6:]}": data for name, data in files.items()}
    for name, form, held in (
        ("ustar", tarfile.USTAR_FORMAT, files),
        ("gnu", tarfile.GNU_FORMAT, long),
        ("pax", tarfile.PAX_FORMAT, long),
    ):
        stream = io.BytesIO()
        with tarfile.open(fileobj=stream, mode="w", format=form) as archive:
            for member, data in held.items():
                info = tarfile.TarInfo(member)
                info.size = len(data)
                archive.addfile(info, io.BytesIO(data))
        yield f"{name}.tar", stream.getvalue(), masks, len(masks)


def _packed_tars() -> Iterator[tuple[str, bytes, Array, int]]:
    for name, data, masks, number in _tars():
        yield f"{name}.gz", gzip.compress(data, mtime=0), masks, number


def _parquets() -> Iterator[tuple[str, bytes, Array, int]]:
    masks, files = images()
    named = [{"bytes": data, "path": name} for name, data in files.items()]
    struct_ = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
    plain = pa.array([*files.values()], pa.large_binary())
    kinds: list[tuple[str, Any, dict[str, Any]]] = [
        ("snappy", pa.array(named, struct_), {}),
        ("groups", pa.array(named, struct_), {"row_group_size": 2}),
        ("bytes", plain, {"compression": "none", "use_dictionary": False}),
        ("summed", plain, {"compression": "zstd", "write_page_checksum": True}),
    ]
    for name, column, options in kinds:
        stream = io.BytesIO()
        pq.write_table(pa.table({"label": column}), stream, **options)
        yield f"{name}.parquet", stream.getvalue(), masks, len(masks)


def _zarrs() -> Iterator[tuple[str, bytes, Array, int, str, dict[str, bytes]]]:
    """Each file of a store by itself: its description, or a chunk."""
    grey = mask()
    kinds: dict[str, dict[str, Any]] = {
        "plain": {"compressors": None},
        "gzip": {"compressors": GzipCodec()},
        "zstd": {"compressors": ZstdCodec()},
        "summed": {"compressors": (BloscCodec(), Crc32cCodec())},
        "shards": {"shards": (48, 60), "compressors": GzipCodec()},
        "blosc2": {"zarr_format": 2, "compressors": get_codec({"id": "blosc"})},
        "lz42": {"zarr_format": 2, "compressors": get_codec({"id": "lz4"})},
    }
    for kind, options in kinds.items():
        memory = zarr.storage.MemoryStore()
        zarr.create_array(memory, data=grey, chunks=(24, 30), **options)
        store = {
            name: held.to_bytes() for name, held in sorted(memory._store_dict.items())
        }
        for number, (inner, data) in enumerate(store.items()):
            beside = {name: held for name, held in store.items() if name != inner}
            yield f"{kind}-{number}.zarr", data, grey, 1, inner, beside


FORMATS: Final[dict[str, Callable[[], Iterator[Any]]]] = {
    "png": _pngs,
    "jpeg": _jpegs,
    "bmp": _bmps,
    "tiff": _plain_tiffs,
    "tiff-lzw": lambda: _packed_tiffs(("lzw", "packbits")),
    "tiff-deflate": lambda: _packed_tiffs(("deflate", "zstd")),
    "tiff-other": _other_tiffs,
    "tiff-short": _short_parts,
    "tiff-tifffile": _written_by_tifffile,
    "npy": _npys,
    "npz": _npzs,
    "hdf5": _hdf5s,
    "mat": _mats,
    "mat73": _matlab_hdf5s,
    "zip": _zips,
    "tar": _tars,
    "tar.gz": _packed_tars,
    "parquet": _parquets,
    "zarr": _zarrs,
}
"""What makes the files of each format."""


@cache
def clean_files(kind: str) -> tuple[Clean, ...]:
    """The whole files of a format."""
    return tuple(
        Clean(kind, name, data, pixels, *more)
        for name, data, pixels, *more in FORMATS[kind]()
    )
