"""What many tests share: running a command, and writing one array as a file."""

import csv
import io
import json
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import rasterio
from numpy.typing import ArrayLike
from PIL import Image
from typer.testing import CliRunner

from cdstats.cli import app
from cdstats.io.signatures import FORMATS, FileFormat


@dataclass(frozen=True)
class Done:
    """What a command left: exit code and both streams."""

    code: int
    out: str
    err: str

    def rows(self) -> list[dict[str, str]]:
        return list(csv.DictReader(io.StringIO(self.out)))

    def column(self, name: str) -> list[str]:
        return [row[name] for row in self.rows()]

    def data(self) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(self.out)
        return found


def run(*arguments: object, stdin: str | None = None) -> Done:
    """Run a command of cdstats; whatever happens, no traceback leaves it."""
    done = CliRunner().invoke(app, [str(one) for one in arguments], input=stdin)
    assert isinstance(done.exception, SystemExit | None), repr(done.exception)
    assert "Traceback" not in done.stderr
    return Done(done.exit_code, done.stdout, done.stderr)


def unheld() -> dict[str, FileFormat]:
    """The formats of mask files, of which none is held in memory."""
    return {name: one._replace(held=-1) for name, one in FORMATS.items()}


def save(path: Path, values: ArrayLike, **options: object) -> Path:
    """Write an array in the format of the file's name; True is white in an image."""
    path.parent.mkdir(parents=True, exist_ok=True)
    array = np.asarray(values)
    if array.dtype == bool and path.suffix not in (".npy", ".pt", ".pth"):
        array = array * np.uint8(255)
    if path.suffix == ".npy":
        np.save(path, array)
    elif path.suffix in (".pt", ".pth"):
        import torch

        torch.save(torch.from_numpy(array), path)
    elif path.suffix == ".tif":
        is_colour = array.ndim == 3 and array.shape[-1] == 3
        bands = np.moveaxis(array, -1, 0) if is_colour else array
        bands = bands.reshape(-1, *bands.shape[-2:])
        count, height, width = bands.shape
        shape = {"width": width, "height": height, "count": count}
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # rasterio misses a georeference
            with rasterio.open(
                path, "w", "GTiff", dtype=array.dtype, **shape, **options
            ) as file:
                file.write(bands)
    else:
        kind = np.uint16 if array.dtype == np.uint16 else np.uint8
        Image.fromarray(array.astype(kind)).save(path)
    return path
