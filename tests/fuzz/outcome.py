"""What became of a damaged file, in cdstats and in readers that check nothing more."""

from __future__ import annotations

import io
import os
import shutil
import tarfile
import warnings
import zipfile
from collections import Counter
from enum import Enum
from functools import cache
from typing import TYPE_CHECKING, Any, Final

import h5py
import numpy as np
import pyarrow.parquet as pq
import rasterio
import scipy.io
import zarr
from PIL import Image

from cdstats.core.counts import Counted
from cdstats.io.counting import Task, count_file
from cdstats.io.discovery import find_masks

from .clean import Clean, clean_files

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from pathlib import Path

    from .clean import Array

CONTAINERS: Final = (".zip", ".tar", ".tar.gz", ".parquet")
"""Names of files that hold files."""


class Outcome(Enum):
    """What became of a file."""

    TRUE = "true count"
    FAILED = "failed row"
    WRONG = "silent miscount"
    RAISED = "raised"
    NOISY = "noise on the screen"
    CRASHED = "crash"
    HUNG = "hang"


Truth = tuple[dict[str, list["Counted"]], dict[str, dict[str, Any]]]


def learn(format_: str, folder: Path) -> Truth:
    """What cdstats and each naive reader make of the whole files of a format.

    Raises:
        ValueError: If cdstats does not count a whole file as the array it was made
            from, or as Pillow decodes it.
    """
    counts: dict[str, list[Counted]] = {}
    naive: dict[str, dict[str, Any]] = {name: {} for name in naive_readers(format_)}
    for file in clean_files(format_):
        path = folder / file.name
        file.write(path, file.data)
        counts[file.name] = count(path)
        _check(file, counts[file.name], path)
        for name, reader in naive_readers(format_).items():
            naive[name][file.name] = _print(reader, path)
        remove(path)
    return counts, naive


def count(path: Path) -> list[Counted]:
    """What a path counts as: a file, a store, or all that a container holds."""
    if not path.name.endswith(CONTAINERS):
        return count_file(Task(str(path)))
    (found,) = find_masks([str(path)])
    rows = [Counted("", None, problem) for problem in found.problems]
    for file in found.files:
        name = file.name.removeprefix(path.name)
        (one,) = count_file(Task(file.path, file.member))
        rows.append(one._replace(member=name))
    return rows


def remove(path: Path) -> None:
    """Remove a file or a store."""
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink()


def _check(file: Clean, counted: list[Counted], path: Path) -> None:
    pixels = file.pixels if file.pixels is not None else np.asarray(Image.open(path))
    for one, page in zip(counted, pixels if file.pages > 1 else [pixels], strict=True):
        if one.mask is None or one.mask.counts.values != tally(page):
            raise ValueError(f"{file.name} is not counted as it was made: {one}")


def tally(pixels: Array) -> dict[Any, int]:
    """Pixels of each value, one by one; of each colour where channels differ."""
    if pixels.ndim == 2:
        return dict(Counter((pixels * 1).ravel().tolist()))
    total: Counter[Any] = Counter()
    for red, green, blue in pixels.reshape(-1, 3).tolist():
        equal = red == green == blue
        total[red if equal else f"#{red:02x}{green:02x}{blue:02x}"] += 1
    return dict(total)


def judge(path: Path, *expected: list[Counted]) -> tuple[Outcome, str]:
    """What cdstats makes of a damaged file that may count in ways, and a word."""
    try:
        found = count(path)
    except Exception as error:  # noqa: BLE001 - what came through is the finding
        return Outcome.RAISED, repr(error)
    if found in expected:
        return Outcome.TRUE, ""
    reasons = [one.reason for one in found if one.mask is None]
    counted = {repr(one) for one in found if one.mask is not None}
    is_true = any(counted <= {*map(repr, rows)} for rows in expected)
    if reasons and all(reasons) and is_true:
        return Outcome.FAILED, reasons[0]
    return Outcome.WRONG, str(found)


def _pillow(path: Path) -> Array:
    with Image.open(path) as image:
        return np.asarray(image)


def _rasterio(path: Path) -> Array:
    with rasterio.open(path) as file:
        found: Array = file.read()
        return found


def _load(path: Path) -> Array:
    loaded = np.load(path)
    return np.asarray(loaded["mask"] if hasattr(loaded, "files") else loaded)


def _h5py(path: Path) -> Array:
    with h5py.File(path) as file:
        return np.asarray(file["mask"])


def _scipy(path: Path) -> Array:
    return np.asarray(scipy.io.loadmat(path)["mask"])


def _zarr(path: Path) -> Array:
    return np.asarray(zarr.open_array(path, mode="r")[:])


def _members(path: Path) -> Array:
    if path.suffix == ".zip":
        with zipfile.ZipFile(path) as archive:
            return _stacked(map(archive.read, sorted(archive.namelist())))
    with tarfile.open(path) as tar:
        found = sorted(tar.getmembers(), key=lambda member: member.name)
        return _stacked(file.read() for one in found if (file := tar.extractfile(one)))


def _pyarrow(path: Path) -> Array:
    rows = pq.read_table(path)["label"].to_pylist()
    return _stacked(row["bytes"] if isinstance(row, dict) else row for row in rows)


def _stacked(files: Iterable[bytes]) -> Array:
    return np.stack([np.asarray(Image.open(io.BytesIO(data))) for data in files])


@cache
def naive_readers(format_: str) -> dict[str, Callable[[Path], Array]]:
    """The usual ways to read a file of a format."""
    if format_ in ("npy", "npz"):
        return {"NumPy": _load}
    alone = {
        "hdf5": ("h5py", _h5py),
        "mat": ("SciPy", _scipy),
        "mat73": ("h5py", _h5py),
        "zip": ("zipfile and Pillow", _members),
        "tar": ("tarfile and Pillow", _members),
        "tar.gz": ("tarfile and Pillow", _members),
        "parquet": ("pyarrow and Pillow", _pyarrow),
        "zarr": ("zarr", _zarr),
    }
    if format_ in alone:
        return dict([alone[format_]])
    return {"Pillow": _pillow, "rasterio": _rasterio}


def judge_naive(format_: str, name: str, path: Path, expected: object) -> Outcome:
    """What a naive reader makes of a damaged file."""
    try:
        found = _print(naive_readers(format_)[name], path)
    except Exception:  # noqa: BLE001 - any error is a refusal
        return Outcome.FAILED
    return Outcome.TRUE if found == expected else Outcome.WRONG


def _print(reader: Callable[[Path], Array], path: Path) -> object:
    """The shape of an array and how often it holds each value."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        pixels = reader(path)
    values, numbers = np.unique(pixels, return_counts=True)
    return pixels.shape, values.tolist(), numbers.tolist()


class Screen:
    """The standard streams of this process, led into a file that tells what came.

    Libraries in C write past Python, so the streams themselves are turned.
    """

    def __init__(self, path: Path) -> None:
        self._file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_TRUNC)
        for stream in (1, 2):
            os.dup2(self._file, stream)

    def taken(self) -> str:
        """What was written since the last call."""
        size = os.fstat(self._file).st_size
        text = os.pread(self._file, size, 0).decode(errors="replace")
        os.ftruncate(self._file, 0)
        os.lseek(self._file, 0, os.SEEK_SET)
        return text
