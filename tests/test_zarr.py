"""Zarr stores: every way to store chunks, damage, and what a path names."""

import json
import os
import struct
import zlib
from itertools import count
from pathlib import Path
from typing import Any

import numcodecs
import numpy as np
import pytest
import zarr
from helpers import run, save
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from zarr.codecs import BloscCodec, Crc32cCodec, GzipCodec, TransposeCodec, ZstdCodec

from cdstats.io.counting import Task, count_file
from cdstats.io.zarr import named_array

Options = dict[str, Any]
MASK = (np.random.default_rng(2).random((3, 20, 31)) > 0.7).astype(np.uint8)
PACKERS = {
    2: (
        None,
        *(numcodecs.get_codec({"id": n}) for n in ("blosc", "zstd", "lz4", "gzip")),
    ),
    3: (None, BloscCodec(), ZstdCodec(), GzipCodec(), (ZstdCodec(), Crc32cCodec())),
}
NUMBER = count()


def store(path: Path, array: Any = MASK, **options: Any) -> Path:
    zarr.create_array(path, data=array, **options)
    return path


def reason(path: Path, member: str = "") -> str:
    (one,) = count_file(Task(str(path), member))
    assert one.mask is None
    return one.reason


def edit(path: Path, **values: Any) -> None:
    known = json.loads(path.read_text())
    path.write_text(json.dumps(known | values))


@given(
    array=arrays.arrays(
        st.sampled_from(["<i2", ">u2", "f4", "u1", "?"]),
        arrays.array_shapes(min_dims=2, max_dims=3, max_side=7),
        elements=st.integers(0, 1),
    ),
    version=st.sampled_from([2, 3]),
    data=st.data(),
)
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_part_of_an_array_is_that_of_zarr(
    array: Any, version: int, data: st.DataObject, tmp_path: Path
) -> None:
    path = tmp_path / f"{next(NUMBER)}.zarr"
    chunks = tuple(data.draw(st.integers(1, n + 1)) for n in array.shape)
    options: Options = {"compressors": data.draw(st.sampled_from(PACKERS[version]))}
    if version == 2:
        options["order"] = data.draw(st.sampled_from("CF"))
        separator = data.draw(st.sampled_from("./"))
        options["chunk_key_encoding"] = {"name": "v2", "separator": separator}
    else:
        if data.draw(st.booleans()):
            options["shards"] = tuple(n * data.draw(st.integers(1, 3)) for n in chunks)
        if data.draw(st.booleans()):
            order = data.draw(st.permutations(range(array.ndim)))
            options["filters"] = [TransposeCodec(order=tuple(order))]
    store(path, array, chunks=chunks, zarr_format=version, **options)
    found = named_array(path, "", 10**9).values
    start = [data.draw(st.integers(0, n - 1)) for n in array.shape]
    part = tuple(slice(at, None) for at in start)
    np.testing.assert_array_equal(np.asarray(found[part]), zarr.open(path)[part])  # type: ignore[index]


@pytest.mark.parametrize("version", [2, 3])
def test_chunks_that_are_not_stored_hold_the_fill_value(
    version: Any, tmp_path: Path
) -> None:
    path = tmp_path / "a.zarr"
    made = zarr.create_array(
        path, shape=(6, 8), chunks=(3, 4), dtype="u1", fill_value=1, zarr_format=version
    )
    made[:3] = 0
    (one,) = count_file(Task(str(path)))
    assert one.mask is not None
    assert one.mask.counts.values == {0: 24, 1: 24}
    if version == 2:
        edit(path / ".zarray", fill_value=None)
        assert "never written" in reason(path)


@pytest.mark.parametrize("value", ["NaN", "0x7fc00000"])
def test_a_fill_value_of_nan_is_nodata_where_it_is_declared(
    value: str, tmp_path: Path
) -> None:
    path = tmp_path / "a.zarr"
    made = zarr.create_array(path, shape=(4, 4), chunks=(2, 4), dtype="f4")
    made[:2] = 1
    nan = "AAAAAAAA+H8="  # as xarray writes it
    edit(path / "zarr.json", fill_value=value, attributes={"_FillValue": nan})
    (one,) = count_file(Task(str(path)))
    assert one.mask is not None
    assert (one.mask.nodata, one.mask.counts.values) == ("nan", {1: 8, "nan": 8})
    edit(path / "zarr.json", attributes={"scale_factor": 0.5})
    assert "scale_factor 0.5" in reason(path)


def test_objects_and_unknown_codecs_are_refused_by_name(tmp_path: Path) -> None:
    path = tmp_path / "a.zarr"
    group = zarr.create_group(path, zarr_format=2)
    group.create_array("text", shape=3, dtype=str)
    group.create_array("record", shape=3, dtype=[("a", "u1"), ("b", "u1")])
    group.create_array("label", data=MASK)
    told = reason(path, "text")
    assert "text as references or texts" in told
    assert "record as records" in reason(path, "record")
    edit(path / "label" / ".zarray", filters=[{"id": "pickle"}])
    assert "compressed with 'pickle', which is not supported" in reason(path, "label")
    store(tmp_path / "b.zarr", compressors=[ZstdCodec(), GzipCodec()])
    assert "several compressors" in reason(tmp_path / "b.zarr")
    words = zarr.create_array(tmp_path / "c.zarr", shape=3, dtype=str)
    assert words.metadata.zarr_format == 3
    assert "c (string values)" in reason(tmp_path / "c.zarr")


@pytest.mark.parametrize("name", ["gzip", "zlib", "zstd", "blosc", "lz4"])
@pytest.mark.parametrize("length", [1 << 22, 100])
def test_a_chunk_of_another_length_is_refused(
    name: str, length: int, tmp_path: Path
) -> None:
    packer = numcodecs.get_codec({"id": name})
    options: Options = {"chunks": MASK.shape, "zarr_format": 2}
    path = store(tmp_path / "a.zarr", compressors=packer, **options)
    chunk = path / "0.0.0"
    assert all(one.mask for one in count_file(Task(str(path))))
    chunk.write_bytes(packer.encode(np.zeros(length, np.uint8)))
    assert all(one.mask is None for one in count_file(Task(str(path))))
    chunk.write_bytes(bytes(1 << 20))
    assert "expected at most" in reason_of_all(path)


def reason_of_all(path: Path) -> str:
    (found,) = {one.reason for one in count_file(Task(str(path)))}
    return found


@pytest.mark.parametrize(
    "options",
    [
        pytest.param({"compressors": GzipCodec()}, id="gzip"),
        pytest.param({"compressors": (BloscCodec(), Crc32cCodec())}, id="sum"),
        pytest.param({"compressors": ZstdCodec(checksum=True)}, id="zstd"),
        pytest.param(
            {
                "shards": (3, 20, 32),
                "chunks": (1, 10, 16),
                "compressors": Crc32cCodec(),
            },
            id="shards",
        ),
    ],
)
def test_any_flipped_bit_or_lost_byte_of_a_chunk_with_a_sum_is_noticed(
    options: Options, tmp_path: Path
) -> None:
    path = store(tmp_path / "a.zarr", **({"chunks": MASK.shape} | options))
    chunk = path / "c" / "0" / "0" / "0"
    whole = chunk.read_bytes()
    expected = [one.mask for one in count_file(Task(str(path)))]
    damaged = [whole[:-1], whole[: len(whole) // 2], whole[:3], b"", whole + b"\0"]
    for at in range(0, len(whole), max(len(whole) // 97, 1)):
        flipped = bytearray(whole)
        flipped[at] ^= 1 << at % 8
        damaged.append(bytes(flipped))
    for data in damaged[:-1] if "shards" in options else damaged:
        chunk.write_bytes(data)
        found = [one.mask for one in count_file(Task(str(path)))]
        # The flags and the time of a gzip header mean nothing.
        assert None in found or (found == expected and data[10:] == whole[10:])


def test_damaged_metadata_are_refused(tmp_path: Path) -> None:
    path = store(tmp_path / "a.zarr")
    whole = json.loads((path / "zarr.json").read_text())
    changes: list[dict[str, Any]] = [
        {"shape": [-3, 20, 31]},
        {"shape": [3, 20]},
        {"shape": "x"},
        {
            "chunk_grid": {
                "name": "regular",
                "configuration": {"chunk_shape": [0, 1, 1]},
            }
        },
        {"chunk_grid": {"name": "rectilinear"}},
        {"data_type": {"name": "numpy.datetime64"}},
        {"codecs": []},
        {"codecs": [{"name": "transpose", "configuration": {"order": [0, 0, 1]}}]},
        {"node_type": 3},
        {
            "chunk_key_encoding": {
                "name": "default",
                "configuration": {"separator": "/../"},
            }
        },
        {"storage_transformers": [{"name": "x"}]},
        {"fill_value": "x" * 9, "shape": [3, 200, 310]},
    ]
    for change in changes:
        (path / "zarr.json").write_text(json.dumps(whole | change))
        assert reason_of_all(path), change
    for text in ("[]", "{", "", "[" * 100_000):
        (path / "zarr.json").write_text(text)
        assert "damaged" in reason(path)
    (path / "zarr.json").write_text(
        json.dumps(whole | {"shape": [1, 1 << 30, 1 << 30]})
    )
    assert "raise --max-pixels" in reason(path)
    grid = {"name": "regular", "configuration": {"chunk_shape": [1, 1, 1]}}
    many = {"shape": [1 << 20, 1 << 10, 1 << 10], "chunk_grid": grid}
    (path / "zarr.json").write_text(json.dumps(whole | many))
    assert "holds 1,099,511,627,776 chunks" in reason(path)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="needs pipes")
def test_a_pipe_in_place_of_a_chunk_is_refused(tmp_path: Path) -> None:
    path = store(tmp_path / "a.zarr", chunks=MASK.shape)
    chunk = path / "c" / "0" / "0" / "0"
    chunk.unlink()
    os.mkfifo(chunk)
    assert "expected a regular file" in reason_of_all(path)


def test_a_circle_of_links_ends(tmp_path: Path) -> None:
    path = tmp_path / "a.zarr"
    group = zarr.create_group(path)
    group.create_group("deep").create_array("label", data=MASK)
    (path / "deep" / "again").symlink_to(path)
    assert len(count_file(Task(str(path), "deep/label"))) == 3


def csv(*paths: object, **_: Any) -> Any:
    return run("ratio", *paths, "--by", "image", "--format", "csv")


def test_a_store_is_told_from_a_folder_wherever_it_is_named(tmp_path: Path) -> None:
    plain = tmp_path / "masks"  # without .zarr in its name
    group = zarr.create_group(plain)
    group.create_group("test").create_array("label", data=MASK)
    group.create_array("lat", data=np.arange(20.0))
    rows = [f"masks#{number}" for number in range(3)]
    assert csv(plain).column("path") == rows
    changed = csv(plain).column("changed")
    done = csv(f"{plain}#/test/label")
    assert done.column("path")[1] == "masks#/test/label#1"
    listed = tmp_path / "l.txt"
    listed.write_text("masks#test/label\n")
    assert csv(f"@{listed}").column("changed") == changed
    for name in ("a", "b"):
        store(tmp_path / "each" / f"{name}.zarr")
    for text in (f"{tmp_path}/each", f"{tmp_path}/each/*.zarr"):
        found = csv(text)
        assert found.column("changed") == changed * 2
        assert found.column("path")[3] == "b.zarr#0"
    save(tmp_path / "each" / "c.png", MASK[0] * np.uint8(255))
    found = csv(tmp_path / "each")
    assert found.column("path") == ["c.png"]
    assert "skipped a.zarr, b.zarr beside other files" in found.err


def test_predictions_pair_with_masks_by_number(tmp_path: Path) -> None:
    maps = np.random.default_rng(4).random(MASK.shape).astype(np.float32)
    store(tmp_path / "p.zarr", maps)
    store(tmp_path / "m.zarr")
    np.save(tmp_path / "p.npy", maps)
    np.save(tmp_path / "m.npy", MASK)
    found, expected = (
        run(
            *(
                "loss",
                "--pred",
                tmp_path / f"p.{end}",
                "--target",
                tmp_path / f"m.{end}",
            ),
            *("--by", "image", "--format", "csv"),
        )
        for end in ("zarr", "npy")
    )
    assert found.code == 0
    assert found.column("bce_sum") == expected.column("bce_sum")
    assert found.column("pred") == [f"p.zarr#{number}" for number in range(3)]


def test_a_cache_notices_a_changed_chunk(tmp_path: Path) -> None:
    path = store(tmp_path / "a.zarr", MASK[0], chunks=(20, 31), compressors=None)
    chunk = path / "c" / "0" / "0"
    for one in (chunk, *path.rglob("*"), path):
        os.utime(one, (1, 1))
    cache = ("--cache", tmp_path / "c.sqlite", "--format", "csv")
    first = run("ratio", path, *cache).column("changed")
    assert run("ratio", path, *cache).column("changed") == first
    data = bytearray(chunk.read_bytes())
    data[:31] = [1] * 31 if not data[0] else [0] * 31
    chunk.write_bytes(data)
    assert run("ratio", path, *cache).column("changed") != first


@pytest.mark.parametrize("name", ["masks.zarr.zip", "masks.zip"])
def test_a_store_in_an_archive_is_refused_with_a_way_out(
    name: str, tmp_path: Path
) -> None:
    inner = zarr.storage.ZipStore(tmp_path / name, mode="w")
    zarr.create_array(inner, data=MASK)
    inner.close()
    done = csv(tmp_path / name)
    assert done.code == 1
    assert "a Zarr store is read from a local folder" in done.err


def test_without_numcodecs_the_extra_is_named_and_gzip_is_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("numcodecs", "google_crc32c"):
        monkeypatch.setitem(__import__("sys").modules, name, None)
    path = store(tmp_path / "a.zarr", compressors=BloscCodec())
    assert "pip install 'cdstats[zarr]'" in reason_of_all(path)
    plain = store(tmp_path / "b.zarr", compressors=GzipCodec())
    assert all(one.mask for one in count_file(Task(str(plain))))


def test_deflated_chunks_are_unpacked_to_their_end(tmp_path: Path) -> None:
    path = store(
        tmp_path / "a.zarr", MASK[0], chunks=(20, 31), zarr_format=2,
        compressors=numcodecs.Zlib(),
    )  # fmt: skip
    data = zlib.compress(MASK[0].tobytes())
    (path / "0.0").write_bytes(data[:-4] + struct.pack(">I", 1))
    assert "damaged" in reason(path)
