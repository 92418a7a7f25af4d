"""HDF5, NetCDF-4 and MATLAB files and Zarr stores as masks and predictions."""

import csv
import io
import struct
import zlib
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
import scipy.io
import zarr
from helpers import run, save
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from numpy.typing import NDArray

from cdstats.io import arrays as mask_arrays
from cdstats.io import hdf5 as hdf5_files
from cdstats.io import npy
from cdstats.io.counting import Task, count_file
from cdstats.io.predictions import open_predictions

MATLAB_73 = b"MATLAB 7.3 MAT-file, Platform: GLNXA64".ljust(124) + b"\0\2IM"
PACKED = {"compression": "gzip", "shuffle": True, "fletcher32": True}
Array = NDArray[Any]


def masks(count: int = 40) -> NDArray[np.uint8]:
    rng = np.random.default_rng(3)
    shares = rng.random((count, 1, 1)) * 0.5
    return (rng.random((count, 21, 34)) < shares).astype(np.uint8) * np.uint8(255)


def hdf5(path: Path, arrays: dict[str, Any], **options: Any) -> Path:
    with h5py.File(path, "w") as file:
        for name, array in arrays.items():
            file.create_dataset(name, data=array, **options)
    return path


def matlab_73(path: Path, arrays: dict[str, Any], **options: Any) -> Path:
    """A file as MATLAB writes it: by columns, behind 512 bytes of its own."""
    classes = {"uint8": "uint8", "bool": "logical", "float64": "double"}
    with h5py.File(path, "w", userblock_size=512) as file:
        for name, array in arrays.items():
            kept = array.astype(np.uint8) if array.dtype == bool else array
            made = file.create_dataset(name, data=kept.T, **options)
            made.attrs["MATLAB_class"] = np.bytes_(classes[array.dtype.name])
    with path.open("r+b") as raw:
        raw.write(MATLAB_73)
    return path


def matlab_5(path: Path, arrays: dict[str, Any], *, packed: bool = True) -> Path:
    path.parent.mkdir(exist_ok=True)
    scipy.io.savemat(path, arrays, do_compression=packed)
    return path


def zarr_store(
    path: Path, arrays: dict[str, Any], version: Any = 3, **options: Any
) -> Path:
    group = zarr.create_group(path, zarr_format=version)
    for name, array in arrays.items():
        group.create_array(name, data=array, **options)
    return path


def write(kind: str, folder: Path, arrays: dict[str, Any]) -> Path:
    name = kind.replace(" ", "-")
    chunks = {"chunks": (3, 8, 9)} if len(arrays) == 1 else {}
    match kind:
        case "hdf5":
            return hdf5(folder / f"{name}.h5", arrays)
        case "hdf5 packed":
            return hdf5(folder / f"{name}.hdf5", arrays, **PACKED, **chunks)
        case "matlab 5":
            return matlab_5(folder / f"{name}.mat", arrays)
        case "matlab 5 plain":
            return matlab_5(folder / f"{name}.mat", arrays, packed=False)
        case "zarr 2" | "zarr 3":
            return zarr_store(folder / f"{name}.zarr", arrays, int(kind[-1]), **chunks)
        case _:
            return matlab_73(folder / f"{name}.mat", arrays, compression="gzip")


FILES = ("hdf5", "hdf5 packed", "matlab 5", "matlab 5 plain", "matlab 7.3")
KINDS = (*FILES, "zarr 2", "zarr 3")


def rows(text: str, *paths: str) -> list[list[str]]:
    """The rows of a CSV without the columns of paths."""
    found = csv.DictReader(io.StringIO(text))
    return [[row[name] for name in row if name not in paths] for row in found]


def reason(path: Path, member: str = "") -> str:
    (one,) = count_file(Task(str(path), member))
    assert one.mask is None
    return one.reason


@pytest.mark.parametrize("kind", KINDS)
def test_a_stack_gives_the_rows_of_the_same_masks_as_png(
    kind: str, tmp_path: Path
) -> None:
    stack = masks()
    for number, mask in enumerate(stack):
        save(tmp_path / "png" / f"{number:02}.png", mask)
    path = write(kind, tmp_path, {"label": stack})
    options = ("--by", "image", "--format", "csv")
    whole = run("ratio", f"X={tmp_path}/png", *options)
    for text in (f"X={path}", f"X={path}#label"):
        done = run("ratio", text, *options)
        assert (done.code, done.err) == (whole.code, whole.err)
        assert rows(done.out, "path") == rows(whole.out, "path")
        stem = text.rpartition("/")[2]
        assert done.column("path") == [f"{stem}#{number}" for number in range(40)]


@pytest.mark.parametrize("kind", KINDS)
def test_predictions_score_as_the_same_maps_in_npy(kind: str, tmp_path: Path) -> None:
    stack = masks(6)
    maps = np.random.default_rng(4).random(stack.shape)
    np.save(tmp_path / "maps.npy", maps)
    np.save(tmp_path / "masks.npy", stack)
    path = write(kind, tmp_path, {"prob": maps, "label": stack})
    options = ("--by", "image", "--format", "csv")
    whole = run(
        *("loss", "--pred", tmp_path / "maps.npy"),
        *("--target", tmp_path / "masks.npy", *options),
    )
    done = run("loss", "--pred", f"{path}#prob", "--target", f"{path}#label", *options)
    assert (done.code, done.err) == (whole.code, whole.err)
    assert rows(done.out, "pred", "target") == rows(whole.out, "pred", "target")
    assert done.column("pred")[3] == f"{path.name}#prob#3"


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("dtype", ["uint8", "bool", "float64"])
def test_one_mask_counts_as_its_array(kind: str, dtype: str, tmp_path: Path) -> None:
    mask = (masks(1)[0] > 0).astype(dtype)
    path = write(kind, tmp_path, {"m": mask, "threshold": np.array([[0.5]])})
    (one,) = count_file(Task(str(path)))
    assert one.mask is not None
    assert (one.mask.width, one.mask.height) == (34, 21)
    assert one.mask.counts.values == {1: int(mask.sum()), 0: int((mask == 0).sum())}


@given(
    stack=arrays.arrays(
        st.sampled_from(["<i2", ">u2", "f4", "u1"]),
        arrays.array_shapes(min_dims=2, max_dims=4, max_side=6),
        elements=st.integers(0, 9),
    ),
    transposed=st.booleans(),
    data=st.data(),
)
def test_any_part_of_an_array_is_that_of_numpy(
    stack: Array, transposed: bool, data: st.DataObject
) -> None:
    with h5py.File("a", "w", driver="core", backing_store=False) as file:
        held = file.create_dataset("a", data=stack.T if transposed else stack)
        stored = npy.stored_array(
            stack.shape,
            held.dtype,
            0,
            mask_arrays.Parts(held, "HDF5"),
            fortran=transposed,
        )
        axes = data.draw(st.permutations(range(stack.ndim)))
        start = data.draw(st.integers(0, stack.shape[axes[0]] - 1))
        part = stored.transpose(*axes)[start:, None]
        expected = stack.transpose(*axes)[start:, None]
        np.testing.assert_array_equal(np.asarray(part), expected)
        np.testing.assert_array_equal(np.asarray(part[0]), expected[0])


@pytest.mark.parametrize("packed", [True, False])
def test_matlab_5_agrees_with_scipy(packed: bool, tmp_path: Path) -> None:
    rng = np.random.default_rng(5)
    held = {
        "a_name_longer_than_four": rng.integers(-9, 9, (7, 5)).astype("i2"),
        "tiny": np.array([[1, 0], [0, 1]], "u1"),
        "single": rng.random((6, 4)).astype("f4"),
        "whole": np.eye(5),
        "large": rng.integers(0, 9, (3, 40, 50)).astype("u4"),
    }
    path = matlab_5(tmp_path / "a.mat", held, packed=packed)
    scipy_found = scipy.io.loadmat(path)
    for name, array in held.items():
        images = open_predictions(str(path), name, ())
        found = [next(iter(image.blocks())).values for image in images]
        expected = np.reshape(scipy_found[name], (-1, *array.shape[-2:]))
        np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize("kind", KINDS)
def test_several_arrays_are_listed_and_refused(kind: str, tmp_path: Path) -> None:
    path = write(kind, tmp_path, {"pred": masks(2), "gt": masks(2)})
    told = reason(path)
    assert "pred (2, 21, 34)" in told
    assert "gt (2, 21, 34)" in told
    assert "FILE#NAME" in told
    assert "no array 'x'" in reason(path, "x")
    assert "holds 2 images; #7" in reason(path, "gt#7")
    assert len(count_file(Task(str(path), "gt"))) == 2
    (one,) = count_file(Task(str(path), "gt#1"))
    assert one.mask is not None


def test_a_group_and_one_image_of_its_array_have_names(tmp_path: Path) -> None:
    path = hdf5(tmp_path / "a.h5", {"test/label": masks(3), "x": masks(2)})
    done = run("ratio", f"{path}#/test/label#2", "--by", "image", "--format", "csv")
    assert done.column("path") == ["a.h5#/test/label#2"]
    listed = tmp_path / "l.txt"
    listed.write_text("a.h5#test/label#2\n")
    assert run("ratio", f"@{listed}", "--by", "image", "--format", "csv").column(
        "changed"
    ) == done.column("changed")
    folder = tmp_path / "each"
    for name in ("a", "b"):
        save(tmp_path / "png" / f"{name}.png", masks(1)[0])
        folder.mkdir(exist_ok=True)
        hdf5(folder / f"{name}.h5", {"out/prob": masks(1)[0] / 255, "z": masks(1)})
    scored = run(
        *("loss", "--pred", f"{folder}/#/out/prob", "--target", tmp_path / "png"),
        *("--format", "csv", "--by", "image"),
    )
    assert scored.column("pred") == ["a.h5#/out/prob", "b.h5#/out/prob"]


def test_a_file_of_arrays_beside_pictures_is_skipped_with_a_note(
    tmp_path: Path,
) -> None:
    save(tmp_path / "m" / "a.png", masks(1)[0])
    hdf5(tmp_path / "m" / "weights.h5", {"w": np.zeros((4, 5))})
    matlab_5(tmp_path / "m" / "a.mat", {"label": masks(1)[0]})
    done = run("ratio", tmp_path / "m", "--by", "image", "--format", "csv")
    assert (done.code, done.column("path")) == (0, ["a.png"])
    assert "skipped a.mat, weights.h5 beside other files" in done.err


def test_netcdf_nodata_is_ignored_and_packed_numbers_are_refused(
    tmp_path: Path,
) -> None:
    mask = masks(1)[0] // np.uint8(255)
    mask[:2] = 9
    path = hdf5(tmp_path / "a.nc", {"label": mask, "lat": np.arange(21.0)})
    with h5py.File(path, "r+") as file:
        file["label"].attrs["_FillValue"] = np.array([9], np.uint8)
    done = run("ratio", path, "--by", "image", "--format", "csv")
    assert done.column("ignored") == ["68"]
    with h5py.File(path, "r+") as file:
        file["label"].attrs["scale_factor"] = 0.5
    assert "scale_factor 0.5" in reason(path)


def test_other_files_and_code_are_never_opened(tmp_path: Path) -> None:
    secret = tmp_path / "secret.raw"
    secret.write_bytes(bytes(21 * 34))
    other = hdf5(tmp_path / "other.h5", {"label": masks(1)[0]})
    path = tmp_path / "a.h5"
    layout = h5py.VirtualLayout((21, 34), "u1")
    layout[:] = h5py.VirtualSource(other, "label", (21, 34))
    with h5py.File(path, "w") as file:
        file["link"] = h5py.ExternalLink("other.h5", "label")
        file["name"] = h5py.SoftLink("/link")
        file.create_virtual_dataset("virtual", layout)
        file.create_dataset("raw", (21, 34), "u1", external=[(str(secret), 0, 21 * 34)])
        file.create_dataset("ref", (2, 2), h5py.ref_dtype)
        file.create_dataset("text", data=[["a", "b"]], dtype=h5py.string_dtype())
        file["loop"] = file["/"]
    expected = {
        "link": "a link to another file",
        "name": "a link to a name",
        "virtual": "numbers in other files",
        "raw": "numbers in other files",
        "ref": "references or texts",
        "text": "references or texts",
    }
    for name, text in expected.items():
        assert text in reason(path, name)
    assert "holds no array, but" in reason(path)


def test_what_matlab_holds_beside_arrays_is_named(tmp_path: Path) -> None:
    held = {
        "s": {"a": 1},
        "c": np.array([["x", 2]], object),
        "t": "words",
        "z": scipy.sparse.csc_array(np.eye(4)),
        "i": np.eye(4) * 1j,
    }
    path = matlab_5(tmp_path / "a.mat", held)
    expected = ("struct", "cell", "char", "a sparse matrix", "complex numbers")
    for name, text in zip(held, expected, strict=True):
        assert f"{name} as {text}" in reason(path, name)
    with h5py.File(tmp_path / "b.mat", "w", userblock_size=512) as file:
        file.create_dataset("t", data=np.zeros((2, 2), "u2")).attrs["MATLAB_class"] = (
            np.bytes_("char")
        )
        file.create_group("z").attrs["MATLAB_sparse"] = 4
        file["#refs#/a"] = np.zeros((5, 5))
        file["e"] = np.array([0, 0], "u8")
        file["e"].attrs["MATLAB_empty"] = 1
    with (tmp_path / "b.mat").open("r+b") as raw:
        raw.write(MATLAB_73)
    told = reason(tmp_path / "b.mat")
    assert all(text in told for text in ("t (char)", "z (a sparse", "e (empty)"))
    assert "#refs#" not in told


@pytest.mark.parametrize(
    ("preset", "cube", "name", "held", "expected"),
    [
        (
            *("river", "river_before", "groundtruth"),
            *({"lakelabel_v1": [[0, 255], [0, 0]]}, "1,3,0"),
        ),
        (
            *("bay-area", "Bay_Area_2013", "bayArea_gtChanges2.mat"),
            *({"HypeRvieW": [[0, 1], [2, 2]]}, "1,2,1"),
        ),
        (
            *("santa-barbara", "barbara_2014", "barbara_gtChanges"),
            *({"HypeRvieW": [[0, 1], [2, 2]]}, "1,2,1"),
        ),
        (
            *("hermiston", "hermiston2004", "rdChangesHermiston_5classes"),
            *({"gt5clasesHermiston": [[0, 5], [2, 0]]}, "2,2,0"),
        ),
        (
            *("farmland", "", "China_Change_Dataset"),
            *({"Binary": [[0.0, 1], [1, 1]], "T1": np.ones((2, 2, 9))}, "3,1,0"),
        ),
    ],
)
def test_a_preset_finds_the_variable_of_a_scene(
    preset: str,
    cube: str,
    name: str,
    held: dict[str, Any],
    expected: str,
    tmp_path: Path,
) -> None:
    path = matlab_5(tmp_path / "River" / f"{name}.mat", held)
    if cube:
        matlab_5(tmp_path / "River" / f"{cube}.mat", {"x": np.ones((4, 4, 7))})
    for place in (tmp_path / "River", path):
        done = run("ratio", place, "--preset", preset, "--by", "image", "--format=csv")
        (row,) = done.rows()
        found = ",".join(row[column] for column in ("changed", "unchanged", "ignored"))
        assert (done.code, found) == (0, expected), done.err
        assert row["path"] == f"{name}.mat#{next(iter(held))}"
    named = run("ratio", f"{path}#{next(iter(held))}", "--format=csv")
    (row,) = named.rows()
    found = ",".join(row[column] for column in ("changed", "unchanged", "ignored"))
    assert found == expected
    assert f"(--preset {preset}), because it looks like" in named.err


def test_a_stack_along_the_last_axis_is_refused(tmp_path: Path) -> None:
    path = matlab_5(tmp_path / "a.mat", {"m": np.zeros((8, 8, 3), "u1")})
    assert "permute(x, [3 1 2])" in reason(path)


@pytest.mark.parametrize("chunks", [None, (5, 7)])
def test_an_array_that_was_not_written_is_refused(
    chunks: tuple[int, int] | None, tmp_path: Path
) -> None:
    with h5py.File(tmp_path / "a.h5", "w") as file:
        made = file.create_dataset("m", (10, 14), "u1", chunks=chunks)
        if chunks:
            made[:5] = 1
    assert "never written" in reason(tmp_path / "a.h5")


def test_chunks_that_unpack_to_more_than_they_hold_are_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(hdf5_files, "_TRUSTED_BYTES", 1 << 10)
    path = tmp_path / "a.h5"
    with h5py.File(path, "w") as file:
        made = file.create_dataset("m", (64, 64), "u1", chunks=(64, 64), **PACKED)
        made.id.write_direct_chunk((0, 0), zlib.compress(bytes(1 << 22), 9))
    assert "longer than its numbers" in reason(path)


@pytest.mark.parametrize("version", ["earliest", "latest"])
def test_bytes_behind_the_end_are_refused(version: str, tmp_path: Path) -> None:
    path = tmp_path / "a.h5"
    with h5py.File(path, "w", libver=version) as file:
        file["m"] = masks(1)[0]
    assert count_file(Task(str(path)))[0].mask is not None
    path.write_bytes(path.read_bytes() + b"more")
    assert "h5repack" in reason(path)


def test_a_chunk_larger_than_the_usual_cache_is_unpacked_once(tmp_path: Path) -> None:
    size = hdf5_files.CACHE_BYTES + 2
    path = tmp_path / "a.h5"
    with h5py.File(path, "w") as file:
        row = np.zeros((2, size // 2), np.uint8)
        file.create_dataset("m", data=row, chunks=row.shape, compression="lzf")
    opened: Any = hdf5_files.named_array(path, "", 1 << 40).values
    access = opened._source._dataset.id.get_access_plist()
    assert access.get_chunk_cache()[1] == size


def test_a_single_number_is_not_a_mask(tmp_path: Path) -> None:
    assert "has the shape ()" in reason(hdf5(tmp_path / "a.h5", {"m": np.uint8(1)}))


def test_an_unknown_filter_is_refused_and_not_loaded(tmp_path: Path) -> None:
    path = tmp_path / "a.h5"
    with h5py.File(path, "w") as file:
        made = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
        made.set_chunk((10, 14))
        made.set_filter(32015, h5py.h5z.FLAG_OPTIONAL)
        space = h5py.h5s.create_simple((10, 14))
        held = h5py.h5d.create(file.id, b"m", h5py.h5t.NATIVE_UINT8, space, made)
        h5py.Dataset(held)[:] = 1
    assert "32015" in reason(path)


@pytest.mark.parametrize("kind", FILES)
def test_a_file_that_is_cut_short_is_refused(kind: str, tmp_path: Path) -> None:
    path = write(kind, tmp_path, {"label": masks(3)})
    data = path.read_bytes()
    for size in (len(data) - 1, len(data) * 2 // 3, 130, 20):
        path.write_bytes(data[:size])
        for one in count_file(Task(str(path))):
            assert one.mask is None
            assert one.reason


@pytest.mark.parametrize("kind", ["hdf5 packed", "matlab 5"])
def test_any_flipped_bit_of_checked_pixels_is_noticed(
    kind: str, tmp_path: Path
) -> None:
    path = write(kind, tmp_path, {"label": masks(3)})
    whole = path.read_bytes()
    if kind == "matlab 5":
        places = range(136, len(whole))
    else:
        with h5py.File(path) as file:
            one = file["label"].id.get_chunk_info(0)
        places = range(one.byte_offset, one.byte_offset + one.size)
    for at in places[:: max(len(places) // 97, 1)]:
        data = bytearray(whole)
        data[at] ^= 1 << at % 8
        path.write_bytes(data)
        assert any(one.mask is None for one in count_file(Task(str(path)))), at


def test_a_matlab_variable_that_tells_of_too_many_bytes_is_refused(
    tmp_path: Path,
) -> None:
    path = matlab_5(tmp_path / "a.mat", {"m": np.zeros((99, 99))}, packed=False)
    data = bytearray(path.read_bytes())
    at = data.index(struct.pack("<2I2i", 5, 8, 99, 99))
    data[at + 8 : at + 16] = struct.pack("<2i", 1 << 30, 1 << 30)
    path.write_bytes(data)
    assert "length of a variable differs from its header" in reason(path)


def test_without_h5py_the_extra_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = hdf5(tmp_path / "a.h5", {"m": masks(1)[0]})
    monkeypatch.setitem(__import__("sys").modules, "h5py", None)
    assert "pip install 'cdstats[hdf5]'" in reason(path)
