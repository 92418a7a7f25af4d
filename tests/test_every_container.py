"""The same masks and predictions in every container: the same bytes come out."""

import io
import re
import tarfile
import zipfile
from pathlib import Path

import h5py
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import scipy.io
import zarr
from helpers import Done, run
from PIL import Image

from cdstats.io.naming import naturally

COUNT = 12
STRUCT = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
CONTAINERS = (
    *("a.zip", "a.tar", "a.tar.gz", "shard-{00..03}.tar", "@list.txt"),
    *("a.parquet", "parquet", "a.npy", "a.npz", "a.h5", "a.nc", "a.mat"),
    *("2.zarr", "3.zarr"),
)
ONE_OF_EACH = ("a.zip", "a.tar.gz", "a.parquet", "a.h5", "a.mat", "3.zarr")


def png(array: np.ndarray) -> bytes:
    out = io.BytesIO()
    Image.fromarray(array).save(out, "png")
    return out.getvalue()


def tar(path: Path, files: list[tuple[str, bytes]]) -> None:
    with tarfile.open(path, "w:gz" if path.suffix == ".gz" else "w") as archive:
        for name, data in files:
            member = tarfile.TarInfo(name)
            member.size = len(data)
            archive.addfile(member, io.BytesIO(data))


def fill(home: Path, stack: np.ndarray) -> None:
    """Save images in every container."""
    for folder in ("png", "parquet"):
        (home / folder).mkdir(parents=True)
    files = [(f"{number:02}.png", png(one)) for number, one in enumerate(stack)]
    for name, data in files:
        (home / "png" / name).write_bytes(data)
    (home / "list.txt").write_text("".join(f"png/{name}\n" for name, _ in files))
    with zipfile.ZipFile(home / "a.zip", "w") as archive:
        for name, data in files:
            archive.writestr(name, data)
    tar(home / "a.tar", files)
    tar(home / "a.tar.gz", files)
    rows = [{"bytes": data, "path": name} for name, data in files]
    table = pa.table({"label": pa.array(rows, STRUCT)})
    pq.write_table(table, home / "a.parquet", row_group_size=5)
    for number in range(4):
        part = slice(number * 3, number * 3 + 3)
        tar(home / f"shard-{number:02}.tar", files[part])
        name = f"part-{number:05}-of-00004.parquet"
        pq.write_table(table[part], home / "parquet" / name)
    np.save(home / "a.npy", stack)
    np.savez_compressed(home / "a.npz", label=stack)
    for ending in ("h5", "nc"):
        with h5py.File(home / f"a.{ending}", "w") as file:
            file.create_dataset(
                "label", data=stack, chunks=(3, 8, 9), compression="gzip"
            )
    scipy.io.savemat(home / "a.mat", {"label": stack}, do_compression=True)
    for version in (2, 3):
        path = home / f"{version}.zarr"
        zarr.create_array(path, data=stack, chunks=(3, 8, 9), zarr_format=version)


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    rng = np.random.default_rng(3)
    shares = rng.random((COUNT, 1, 1)) * 0.5
    masks = (rng.random((COUNT, 21, 34)) < shares) * np.uint8(255)
    seen = np.where(rng.random(masks.shape) < 0.85, masks, 255 - masks) // 2
    noise = rng.integers(0, 128, masks.shape, dtype=np.uint8)
    path = tmp_path_factory.mktemp("containers")
    fill(path / "m", masks)
    fill(path / "p", seen + noise)
    return path


def place(folder: Path, container: str) -> str:
    is_list = container.startswith("@")
    return f"@{folder}/{container[1:]}" if is_list else f"{folder}/{container}"


def numbered(done: Done, home: Path, container: str) -> str:
    """What a command printed, with numbers in place of the names of images."""
    rows = run("ratio", f"X={place(home / 'm', container)}", *IMAGES).column("path")
    text = done.out + done.err
    text = text.replace(place(home / "m", container), "MASKS")
    text = text.replace(place(home / "p", container), "PREDICTIONS")
    for name in sorted(rows, key=len, reverse=True):
        text = re.sub(rf"{re.escape(name)}(?!\d)", f"<{rows.index(name)}>", text)
    return text


IMAGES = ("--by", "image", "--format", "csv")


@pytest.mark.parametrize("container", CONTAINERS)
def test_masks_give_the_same_csv_but_for_the_path(home: Path, container: str) -> None:
    whole = run("ratio", f"X={home}/m/png", *IMAGES)
    done = run("ratio", f"X={place(home / 'm', container)}", *IMAGES)
    assert (done.code, done.err) == (0, whole.err)
    # Only the path may have a comma before it is cut out.
    cut = re.compile(r"^([^,]*,[^,]*),[^,]*,", re.M)
    assert cut.sub(r"\1,", done.out) == cut.sub(r"\1,", whole.out)
    assert len(set(done.column("path"))) == COUNT


def outcome(
    command: str, home: Path, container: str, out: Path
) -> tuple[str, list[bytes]]:
    """What a command printed, and the files that it wrote."""
    masks, preds = (place(home / folder, container) for folder in "mp")
    scored = ("--pred", preds, "--target", masks)
    shown = ("--only", "regions", "--only", "heat-map", "--only", "calibration")
    options = {
        "audit": (f"X={masks}", "--format", "json"),
        "weights": (f"X={masks}", "--format", "json"),
        "loss": (*scored, *IMAGES),
        "compare": (
            "--pred",
            f"a={preds}",
            "--pred",
            f"b={preds}",
            *scored[2:],
            "--resamples=99",
        ),
        "errors": (*scored, "-o", out),
        "plot": ("--masks", f"X={masks}", *scored, "-o", out, "--format=svg", *shown),
    }
    done = run(command, *options[command])
    assert done.code == 0, done.err
    text = numbered(done, home, container).replace(str(out), "OUT")
    # Files on a disk are compared byte by byte as well.
    text = re.sub(r'"not_checked": \[[^]]*\]', "", text)
    names = naturally(str(path) for path in out.rglob("*.*"))
    return text, [Path(name).read_bytes() for name in names]


@pytest.mark.parametrize(
    "command", ["audit", "weights", "loss", "compare", "errors", "plot"]
)
def test_every_command_gives_the_same_of_each_container(
    home: Path, tmp_path: Path, command: str
) -> None:
    expected = outcome(command, home, "png", tmp_path / "png")
    assert (command in ("errors", "plot")) == bool(expected[1])
    for container in ONE_OF_EACH[:: 2 if command == "plot" else 1]:
        found = outcome(command, home, container, tmp_path / container)
        assert found == expected, container


def test_a_report_of_an_archive_has_the_figures_of_pixels(
    home: Path, tmp_path: Path
) -> None:
    path = tmp_path / "r.html"
    done = run("report", "--masks", home / "m" / "a.parquet", "-o", path)
    assert done.code == 0
    assert "needs the pixels" not in done.err
    assert "Regions" in path.read_text(encoding="utf-8")
