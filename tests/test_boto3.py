"""boto3: not loaded by rasterio in the program, and there for stores all the same."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import rasterio


def test_a_raster_is_counted_without_boto3(tmp_path: Path) -> None:
    path = tmp_path / "a.tif"
    how = {"driver": "GTiff", "width": 64, "height": 64, "count": 1, "dtype": "uint8"}
    how["transform"] = rasterio.Affine(2, 0, 0, 0, -2, 0)
    with rasterio.open(path, "w", compress="lzw", **how) as file:
        file.write(np.eye(64, dtype=np.uint8), 1)
    code = (
        "import sys; from cdstats.cli import run\n"
        "try: run()\n"
        "finally: print(sys.modules['boto3'], 'botocore' in sys.modules, "
        "'rasterio' in sys.modules, file=sys.stderr)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, "ratio", "-q", str(path)],
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stderr == "None False True\n"


def test_a_store_gets_boto3_back() -> None:
    code = (
        "import sys; sys.modules['boto3'] = None\n"
        "from cdstats.io.addresses import Address\n"
        "from cdstats.io.stores import store\n"
        "store(Address.parse('s3://bucket/a.png'))\n"
        "import boto3; print(boto3.__name__)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        check=True,
        env={"AWS_EC2_METADATA_DISABLED": "true"},
    )
    assert done.stdout == "boto3\n"
