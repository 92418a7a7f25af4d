"""What became of a damaged file, in cdstats and in readers that check nothing more."""

from __future__ import annotations

import os
import warnings
from collections import Counter
from enum import Enum
from functools import cache
from typing import TYPE_CHECKING, Any

import h5py
import numpy as np
import rasterio
import scipy.io
from PIL import Image

from cdstats.io.counting import Task, count_file

from .clean import Clean, clean_files

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from cdstats.core.counts import Counted

    from .clean import Array


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
        path.write_bytes(file.data)
        counts[file.name] = count_file(Task(str(path)))
        _check(file, counts[file.name], path)
        for name, reader in naive_readers(format_).items():
            naive[name][file.name] = _print(reader, path)
        path.unlink()
    return counts, naive


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
        found = count_file(Task(str(path)))
    except Exception as error:  # noqa: BLE001 - what came through is the finding
        return Outcome.RAISED, repr(error)
    if found in expected:
        return Outcome.TRUE, ""
    reasons = [one.reason for one in found if one.mask is None]
    if reasons and all(reasons):
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


@cache
def naive_readers(format_: str) -> dict[str, Callable[[Path], Array]]:
    """The usual ways to read a file of a format."""
    if format_ in ("npy", "npz"):
        return {"NumPy": _load}
    if format_ in ("hdf5", "mat"):
        return {"h5py": _h5py} if format_ == "hdf5" else {"SciPy": _scipy}
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
