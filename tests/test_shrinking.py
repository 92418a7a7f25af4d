"""Arrays in files are read block by block; a file that shrinks fails alone."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

import cdstats
from cdstats.core.errors import DataError
from cdstats.io import npy
from cdstats.io.masks import open_masks
from cdstats.io.npy import StoredArray, by_number, npy_array
from cdstats.io.predictions import open_predictions

if TYPE_CHECKING:
    from collections.abc import Callable

ORDERS = [np.ascontiguousarray, np.asfortranarray]


def numbers(shape: tuple[int, ...], dtype: str = "<f4") -> np.ndarray[Any, Any]:
    return np.arange(np.prod(shape)).reshape(shape).astype(dtype)


@pytest.mark.parametrize("span", [1, 40, 1 << 22], ids=["each", "some", "all"])
@pytest.mark.parametrize("dtype", ["u1", ">f4", "<i8", "?"])
@pytest.mark.parametrize("order", ORDERS)
def test_parts_of_a_stored_array_are_those_of_numpy(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    order: Callable[..., Any],
    dtype: str,
    span: int,
) -> None:
    monkeypatch.setattr(npy, "_SPAN_BYTES", span)
    array = order(numbers((4, 5, 6, 2), dtype))
    np.save(tmp_path / "a.npy", array)
    stored = npy_array(tmp_path / "a.npy")
    assert (stored.shape, stored.dtype) == (array.shape, array.dtype)
    keys: list[Any] = [
        slice(None),
        3,
        (2, slice(1, 4)),
        (slice(1, 3), slice(None), slice(2, 9), slice(1, 2)),
        (None, -1, slice(None), slice(4, 1)),
    ]
    for key in keys:
        np.testing.assert_array_equal(np.asarray(stored[key]), array[key])
    turned, expected = stored.transpose(0, 3, 1, 2), array.transpose(0, 3, 1, 2)
    np.testing.assert_array_equal(np.asarray(turned), expected)
    np.testing.assert_array_equal(
        np.asarray(turned[1, 1:2, 2:4]), expected[1, 1:2, 2:4]
    )
    parts = by_number(turned)
    for number in (2, 0, 3, 1):
        np.testing.assert_array_equal(np.asarray(parts(number)), expected[number])


@pytest.mark.parametrize("shape", [(), (0,), (3, 0), (1, 4, 1)], ids=str)
def test_axes_of_no_or_one_number(tmp_path: Path, shape: tuple[int, ...]) -> None:
    np.save(tmp_path / "a.npy", numbers(shape))
    stored = npy_array(tmp_path / "a.npy")
    np.testing.assert_array_equal(np.asarray(stored), numbers(shape))
    if 0 not in shape:
        flat = stored.reshape(*(n for n in shape if n != 1), 1)
        assert np.asarray(flat).tolist() == numbers(flat.shape).tolist()
    with pytest.raises(ValueError, match="cannot be reshaped"):
        stored.reshape(7)


def test_a_header_of_negative_lengths_is_damage(tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", np.zeros((11, 13), np.uint8))
    data = (tmp_path / "a.npy").read_bytes()
    (tmp_path / "a.npy").write_bytes(data.replace(b"(11, 13), ", b"(-11, -13)"))
    with pytest.raises(DataError, match="NPY file is damaged"):
        npy_array(tmp_path / "a.npy")


@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize("shape", [(256, 512), (3, 1024, 2048)], ids=str)
def test_a_mask_that_shrinks_before_it_is_read_fails(
    tmp_path: Path, order: Callable[..., Any], shape: tuple[int, ...]
) -> None:
    path = tmp_path / "a.npy"
    np.save(path, order(np.zeros(shape, np.uint8)))
    images = open_masks(str(path), "", None)
    os.truncate(path, 4096)
    with pytest.raises(DataError, match="NPY file was changed while it was read"):
        list(images[-1].blocks())


@pytest.mark.parametrize("shape", [(2, 256, 512), (256, 512, 2), (256, 512)], ids=str)
def test_a_prediction_that_shrinks_before_it_is_read_fails(
    tmp_path: Path, shape: tuple[int, ...]
) -> None:
    path = tmp_path / "a.npy"
    np.save(path, np.full(shape, 0.5, np.float32))
    (image,) = open_predictions(str(path), "", [(512, 256)])
    os.truncate(path, 4096)
    with pytest.raises(DataError, match="NPY file was changed while it was read"):
        list(image.blocks())


def test_no_reader_maps_a_file() -> None:
    root = Path(cdstats.__file__).parent
    maps = ("import mmap", "mmap_mode=", "mmap=True", "memmap(")
    sources = {path.name: path.read_text("utf-8") for path in root.rglob("*.py")}
    assert not [name for name, text in sources.items() if any(m in text for m in maps)]


@pytest.mark.parametrize("version", [1, 2])
def test_a_header_too_long_for_numpy_is_told_in_one_line(
    tmp_path: Path, version: int
) -> None:
    text = "{'descr': '|u1', 'fortran_order': False, 'shape': (4, 4), }"
    header = text.ljust(20_000).encode() + b"\n"
    length = len(header).to_bytes(2 * version, "little")
    path = tmp_path / "a.npy"
    path.write_bytes(b"\x93NUMPY" + bytes([version, 0]) + length + header + bytes(16))
    (one,) = cdstats.ratio(path, changed=1, unchanged=0).images
    assert one.reason == "NPY file is damaged: the header of an array is too long"


def test_an_array_by_columns_is_read_at_one_go(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    array = np.asfortranarray(numbers((2, 300, 200), "u1"))
    np.save(tmp_path / "a.npy", array)
    monkeypatch.setattr(npy, "_SPAN_BYTES", 1000)
    stored = npy_array(tmp_path / "a.npy")
    reads: list[tuple[int, ...]] = []
    usual = StoredArray.read

    def read(self: StoredArray) -> Any:
        reads.append(self.shape)
        return usual(self)

    monkeypatch.setattr(StoredArray, "read", read)
    part = by_number(stored)
    for number in (1, 0):
        np.testing.assert_array_equal(np.asarray(part(number)), array[number])
    assert reads == [(200, 300, 2)]
