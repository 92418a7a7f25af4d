"""Archives of arrays and tensors whose parts are doubled, lost, joined or odd."""

from __future__ import annotations

import io
import struct
import tracemalloc
import warnings
import zipfile
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import pytest
import torch

from cdstats.core.errors import DataError
from cdstats.io.counting import Task, count_file
from cdstats.io.predictions import open_predictions

if TYPE_CHECKING:
    from pathlib import Path

MASK: Final = np.zeros((10, 10), np.uint8)
MASK[:5] = 1


def npy_of(array: Any, header: str = "") -> bytes:
    """A `.npy` file, or one with a header of another text."""
    if not header:
        stream = io.BytesIO()
        np.save(stream, array)
        return bytes(stream.getvalue())
    text = header.encode().ljust(117) + b"\n"
    return (
        b"\x93NUMPY\1\0" + struct.pack("<H", len(text)) + text + bytes(array.tobytes())
    )


def archive_of(path: Path, *parts: tuple[str, bytes], packed: int = 0) -> Path:
    with warnings.catch_warnings(), zipfile.ZipFile(path, "w", packed) as archive:
        warnings.simplefilter("ignore")
        for name, data in parts:
            archive.writestr(name, data)
    return path


def reason_of(path: Path) -> str:
    (one,) = count_file(Task(str(path)))
    return one.reason


def prediction_reason(path: Path) -> str:
    with pytest.raises(DataError) as caught:
        open_predictions(str(path), "", [None])
    return str(caught.value)


def saved(path: Path, data: Any) -> Path:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.save(data, path)
    return path


@pytest.mark.parametrize("second", ["m.npy", "m"])
def test_two_arrays_of_one_name_are_refused(tmp_path: Path, second: str) -> None:
    whole, other = npy_of(MASK), npy_of(1 - MASK)
    path = archive_of(tmp_path / "a.npz", ("m.npy", whole), (second, other))
    assert "two parts of one name" in reason_of(path)


@pytest.mark.parametrize("lost", [0, 1])
def test_an_array_that_the_archive_does_not_list_is_refused(
    tmp_path: Path, lost: int
) -> None:
    parts = ("a.npy", npy_of(MASK)), ("b.npy", npy_of(1 - MASK))
    data = archive_of(tmp_path / "a.npz", *parts).read_bytes()
    first = data.index(b"PK\1\2")
    second, end = data.index(b"PK\1\2", first + 4), data.index(b"PK\5\6")
    kept = data[second:end] if lost == 0 else data[first:second]
    ending = bytearray(data[end:])
    struct.pack_into("<HHII", ending, 8, 1, 1, len(kept), first)
    (tmp_path / "a.npz").write_bytes(data[:first] + kept + ending)
    assert ("another file" if lost == 0 else "not all listed") in reason_of(
        tmp_path / "a.npz"
    )


@pytest.mark.parametrize("packed", [zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_arrays_packed_otherwise_than_numpy_does_are_not_unpacked(
    tmp_path: Path, packed: int
) -> None:
    array = np.zeros((1 << 12, 1 << 12), np.uint8)
    path = archive_of(tmp_path / "a.npz", ("m.npy", npy_of(array)), packed=packed)
    del array
    tracemalloc.start()
    try:
        assert "np.savez_compressed" in reason_of(path)
        assert "np.savez_compressed" in prediction_reason(path)
        assert tracemalloc.get_traced_memory()[1] < 4_000_000
    finally:
        tracemalloc.stop()


class Pipe(io.RawIOBase):
    """Something that is written to from its start to its end."""

    def __init__(self) -> None:
        self.data = b""

    def writable(self) -> bool:
        return True

    def write(self, data: Any) -> int:
        self.data += bytes(data)
        return len(data)


def test_an_archive_that_was_written_to_a_pipe_is_read(tmp_path: Path) -> None:
    """Lengths and sums lie behind its parts."""
    pipe = Pipe()
    with zipfile.ZipFile(pipe, "w") as archive:
        archive.writestr("a.npy", npy_of(MASK))
        archive.writestr("b.npy", npy_of(MASK))
    (tmp_path / "a.npz").write_bytes(pipe.data)
    (one,) = count_file(Task(str(tmp_path / "a.npz"), "b"))
    assert one.mask is not None
    assert dict(one.mask.counts.values) == {0: 50, 1: 50}


def test_two_files_of_tensors_in_one_are_refused(tmp_path: Path) -> None:
    first = saved(tmp_path / "a.pt", torch.full((64, 64), 0.1)).read_bytes()
    second = saved(tmp_path / "b.pt", torch.full((64, 64), 0.9)).read_bytes()
    for data in (first + second, first + bytes(9) + second):
        (tmp_path / "a.pt").write_bytes(data)
        assert "another file" in prediction_reason(tmp_path / "a.pt")


def test_a_file_of_tensors_without_its_middle_is_damaged(tmp_path: Path) -> None:
    data = saved(tmp_path / "a.pt", torch.rand(16, 16)).read_bytes()
    (tmp_path / "a.pt").write_bytes(data[:200] + data[300:])
    assert "damaged" in prediction_reason(tmp_path / "a.pt")


def odd_tensors() -> dict[str, Any]:
    plain = torch.rand(16, 16)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        nested = torch.nested.nested_tensor([plain, plain])
    return {
        "negated": torch.complex(plain, plain).conj().imag,
        "nested": nested,
        "bits": torch.zeros(16, 16, dtype=torch.uint8).view(torch.bits8),
    }


@pytest.mark.parametrize("name", ["negated", "nested", "bits"])
def test_an_odd_tensor_is_refused_and_ends_no_run(tmp_path: Path, name: str) -> None:
    path = saved(tmp_path / "a.pt", odd_tensors()[name])
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        reason = prediction_reason(path)
    assert "tensor" in reason


HEADERS: Final = {
    "python2": "{'descr': '|u1', 'fortran_order': False, 'shape': (10L, 10L), }",
    "literal": "{'descr': '|u1', 'fortran_order': False, 'shape': (10, 10or 1), }",
}


@pytest.mark.parametrize("suffix", [".npy", ".npz"])
@pytest.mark.parametrize("name", HEADERS)
def test_odd_headers_are_read_or_refused_without_noise(
    tmp_path: Path, suffix: str, name: str
) -> None:
    data = npy_of(MASK, HEADERS[name])
    path = tmp_path / f"a{suffix}"
    if suffix == ".npy":
        path.write_bytes(data)
    else:
        archive_of(path, ("m.npy", data))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        (one,) = count_file(Task(str(path)))
        if name == "python2":
            assert one.reason == ""
            (image,) = open_predictions(str(path), "", [None])
            assert np.array_equal(next(image.blocks()).values, MASK)
        else:
            assert "damaged" in one.reason
            assert "damaged" in prediction_reason(path)
