"""Masks and predictions in memory, passed to functions that read files.

Each array, tensor or PIL image is saved to a temporary folder and read as a file, so
that options and numbers agree with files. A generator needs the memory of one image.
CUDA tensors stay on their GPU: `cdstats.io.npy.RESIDENT` maps empty files to them.
"""

from __future__ import annotations

import os
import re
import struct
from collections.abc import Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from itertools import chain
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from cdstats.core.errors import UsageError
from cdstats.core.options import NO_PAIRS
from cdstats.io.npy import RESIDENT

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from torch import Tensor

PRED: Final = "pred"
TARGET: Final = "target"
"""Keys of an item with a prediction and its mask."""
_SIDES: Final = ((PRED, TARGET), ("threshold_from", "threshold_target"))
"""Arguments for predictions and their masks."""
_ON_HOST: Final = ("scheduler", "pred_changed", "rule_sensitivity")
"""Options that need pixels in CPU memory."""
_COLOURS: Final = 3
_BYTES_OF_PIXEL: Final = 128
"""Largest GPU memory per pixel while an image is counted and ranked, in bytes."""
_BFLOAT: Final = "torch.bfloat16"
_NUMBERS: Final = re.compile(r"torch\.(bool|uint8|int\d+|b?float(16|32|64))")
"""Tensor types that can be counted and scored on a GPU."""
_NAME: Final = re.compile(r"(?!.*\.(?:pth?|txt)$)[\w.-]*\w[\w.-]*(/[\w.-]*\w[\w.-]*)*")
"""Image names: path components without blanks."""


class _Room(ExitStack):
    """Temporary folders and GPU tensors that are kept while a function runs."""

    def __init__(self, *, stay: bool) -> None:
        super().__init__()
        self._stay = stay
        self.devices: set[Any] = set()
        self.is_used = False

    def folder(self) -> Path:
        """Make a folder."""
        from tempfile import TemporaryDirectory

        return Path(self.enter_context(TemporaryDirectory(prefix="cdstats-")))

    def stays(self, image: Any, role: str) -> bool:  # noqa: ANN401 - as above
        """Whether an image stays on its GPU; colours and stacks of masks do not."""
        if not (self._stay and hasattr(image, "detach") and is_on_device(image)):
            return False
        plain = role == PRED or image.ndim == 2 or image.shape[0] == 1
        known = _NUMBERS.fullmatch(str(image.dtype)) is not None
        return plain and known and str(image.layout) == "torch.strided"

    def keep(self, path: Path, tensor: Tensor) -> None:
        """Keep a copy of a GPU tensor in place of the contents of a file."""
        self.is_used = True
        path.write_bytes(np.lib.format.MAGIC_PREFIX)
        key = os.path.abspath(path)  # noqa: PTH100 - as it is found
        own = tensor.detach().clone()
        RESIDENT[key] = own.float() if str(own.dtype) == _BFLOAT else own
        self.callback(RESIDENT.pop, key)
        if tensor.is_cuda:
            self.devices.add(tensor.device)


def is_on_device(tensor: Tensor) -> bool:
    """Whether a tensor is on a CUDA device with enough memory free.

    That is a quarter of the memory, and what counting the image needs.
    """
    if tensor.device.type != "cuda":
        return False
    from torch import cuda

    free, total = cuda.mem_get_info(tensor.device)
    kept = cuda.memory_reserved(tensor.device) - cuda.memory_allocated(tensor.device)
    return free + kept > max(total // 4, _BYTES_OF_PIXEL * tensor.numel())


@contextmanager
def as_files(
    given: Mapping[str, Any], *, models: bool = False, stay: bool = True
) -> Iterator[dict[str, Any]]:
    """Replace images in memory by temporary files, which are removed afterwards.

    With ``stay``, CUDA tensors stay on their GPU unless an option needs them elsewhere.
    """
    known = dict(given)
    stay &= known.get("engine", "local") == "local" and known.get("device") != "cpu"
    stay &= not any(known.get(name) for name in _ON_HOST)
    with _Room(stay=stay) as room:
        if "paths" in known:
            known["paths"] = _taken(known["paths"], "masks", TARGET, room)
            if room.is_used:
                known["jobs"] = 1  # worker processes cannot read them
        for pred, target in _SIDES:
            if pred in known and known.get(target) is None:
                named = {PRED: pred, TARGET: target}
                both = _pairs(known[pred], room)
                known |= {named[role]: paths for role, paths in both.items()}
            elif pred in known:
                known[pred] = _taken(known[pred], "preds", PRED, room, models=models)
                known[target] = _taken(known[target], "targets", TARGET, room)
        for device in room.devices:
            from cdstats.io.resident import in_order

            room.enter_context(in_order(device))
        yield known


def _taken(
    value: Any,  # noqa: ANN401 - any argument
    name: str,
    role: str,
    room: _Room,
    *,
    models: bool = False,
) -> Any:  # noqa: ANN401 - the given paths, or a list file
    """Convert an argument to paths."""
    if value is None or isinstance(value, (str, bytes, PathLike)):
        return value
    items: Iterable[tuple[Any, Any]]
    if isinstance(value, Mapping):
        if all(isinstance(one, (str, PathLike, int, float)) for one in value.values()):
            return value
        if models or not all(map(_is_array, value.values())):
            return {k: _taken(one, name, role, room) for k, one in value.items()}
        items = value.items()
        if name == "masks":
            _refuse_stacks(value)
    elif _is_array(value):
        items = enumerate(_split(value, role))
    else:
        first, again = _peeked(value)
        if not (_is_array(first) or isinstance(first, (Mapping, tuple))):
            return again
        items = enumerate(again)
    return _saved(room, items, {role: name})[role]


def _refuse_stacks(named: Mapping[str, Any]) -> None:
    """Refuse arrays of several masks, which may be a dataset or one image each."""
    for key, value in named.items():
        shape = tuple(np.shape(value)) if hasattr(value, "ndim") else ()
        if len(shape) > 2 and shape[0] != 1 and shape[-1] != _COLOURS:
            raise TypeError(
                f"{key!r} is an array {shape}, which may be a dataset or one image: "
                "for a dataset of masks pass list(array)"
            )


def _pairs(value: Any, room: _Room) -> dict[str, Any]:  # noqa: ANN401
    """Save predictions and masks of items that hold both; empty for other values."""
    if value is None or isinstance(value, (str, bytes, PathLike, Mapping)):
        return {}
    first = value
    if not _is_array(value):
        first, value = _peeked(value)
        if isinstance(first, Mapping):
            both = {PRED: "preds", TARGET: "targets"}
            return _saved(room, enumerate(value), both)
    if _is_array(first):
        raise UsageError(NO_PAIRS)
    return {PRED: _taken(value, "preds", PRED, room)}


def _is_array(value: object) -> bool:
    """Whether a value is an array, tensor or PIL image, and not a column of paths."""
    known = hasattr(value, "__array__") or hasattr(value, "__array_interface__")
    return known and getattr(value, "ndim", 2) > 1


def _peeked(value: Any) -> tuple[Any, Any]:  # noqa: ANN401 - as above
    """The first item of an iterable or indexed dataset, and an iterator over all."""
    if getattr(value, "ndim", 1) == 0:
        return None, value
    if hasattr(value, "__getitem__") and hasattr(value, "__len__"):
        items: Iterator[Any] = (value[at] for at in range(len(value)))
    elif isinstance(value, Iterable):
        items = iter(value)
    else:
        return None, value
    first = next(items, None)
    if not hasattr(value, "__len__"):
        return first, [] if first is None else chain([first], items)
    is_held = _is_array(first) or isinstance(first, (Mapping, tuple))
    return first, chain([first], items) if is_held else value


def _split(value: Any, role: str) -> Iterator[Any]:  # noqa: ANN401
    """The images of one array; ambiguous shapes are refused."""
    shape = tuple(np.shape(value))
    colours = role == TARGET and shape[-1:] == (_COLOURS,)
    if len(shape) == 3 and colours:
        array = _array(value)
        if array.dtype != np.uint8:
            raise TypeError(
                f"an array {shape} of {array.dtype} may be one RGB mask, or "
                f"{shape[0]} masks of {shape[1]} x 3 pixels: pass a list of masks"
            )
        return iter([array])
    if len(shape) == 3 and shape[0] == 2 and role == PRED:
        raise TypeError(
            f"predictions {shape} may be two maps, or one of two channels: pass "
            "preds[:, None] or preds[None]"
        )
    if len(shape) == 4 and colours and shape[1] == 1:
        raise TypeError(f"masks {shape} have channels: pass a list")
    if len(shape) == 2:
        return iter([value])
    if len(shape) in (3, 4):
        return (value[number] for number in range(shape[0]))
    raise TypeError(f"an array {shape}: expected (H, W), (N, H, W) or (N, 1, H, W)")


def _array(value: Any) -> NDArray[Any]:  # noqa: ANN401 - as above
    """Convert an array, a tensor on any device or a PIL image to an array."""
    if hasattr(value, "detach"):
        value = value.detach().cpu()
        if str(value.dtype) == _BFLOAT:
            value = value.float()
    return np.asarray(value)


def _saved(
    room: _Room, items: Iterable[tuple[Any, Any]], names: dict[str, str]
) -> dict[str, str]:
    """Save the images of each role and return the lists of files."""
    places = {role: room.folder() for role in names}
    keys = []
    for key, item in items:
        for role, place in places.items():
            _save(room, place, str(key), item, role)
        keys.append(f"{key}\n")
    lists = {role: place / f"{names[role]}.txt" for role, place in places.items()}
    for listed in lists.values():
        listed.write_text("".join(keys), encoding="utf-8")
    return {role: f"@{listed}" for role, listed in lists.items()}


def _save(room: _Room, folder: Path, name: str, item: object, role: str) -> None:
    if isinstance(item, Mapping):
        if role not in item:
            raise TypeError(f"item {name} has no {role!r}; it has {', '.join(item)}")
        item = item[role]
    if not _is_array(item):
        kind = type(item).__name__
        raise TypeError(
            f"item {name} is {kind}; expected an array, a tensor, a PIL image or "
            f"{{'pred': ..., 'target': ...}}. From tuples, pass one element: "
            "(target for _, target in data)"
        )
    if not _NAME.fullmatch(name):
        raise TypeError(
            f"image {name!r}: expected a name of letters, digits, '_', '-', '.', '/'"
        )
    stays = room.stays(item, role)
    array: Any = item if stays else _array(item)
    if array.ndim == 3 and array.shape[0] == 1:
        array = array[0]
    path = folder / name
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        file = path.open("xb")
    except (FileExistsError, NotADirectoryError):
        raise TypeError(
            f"image {name!r}: another image has this name or a part of it, as 'a' and "
            "'a/b'"
        ) from None
    with file:
        if stays:
            room.keep(path, array)
        elif role == TARGET and _is_colour(array):
            file.write(_bmp(array))
        else:
            np.save(file, array)


def _is_colour(array: NDArray[Any]) -> bool:
    """Whether an array is one colour image, and not a stack of masks."""
    if array.ndim != 3 or array.dtype != np.uint8:
        return False
    if array.shape[0] == _COLOURS != array.shape[-1]:
        raise TypeError(
            f"a mask {array.shape} may be 3 masks or one of 3 channels: pass masks as "
            "(3, 1, H, W), colours as (H, W, 3)"
        )
    return array.shape[-1] in (_COLOURS, _COLOURS + 1)


def _bmp(colours: NDArray[np.uint8]) -> bytes:
    """Encode colours ``(H, W, 3)`` as BMP, because array files cannot hold colours."""
    height, width, channels = colours.shape
    if channels != _COLOURS:
        raise TypeError(
            f"a mask {colours.shape}: expected (H, W), (H, W, 3) or (N, H, W)"
        )
    rows = np.zeros((height, -(-width * 3 // 4) * 4), np.uint8)
    rows[:, : width * 3] = colours[::-1, :, ::-1].reshape(height, -1)
    head = struct.pack("<IiiHHIIiiII", 40, width, height, 1, 24, 0, 0, 0, 0, 0, 0)
    size = 14 + len(head)
    return (
        struct.pack("<2sIII", b"BM", size + rows.size, 0, size) + head + rows.tobytes()
    )
