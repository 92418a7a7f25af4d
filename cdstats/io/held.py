"""Masks and predictions that are held in memory, for functions that read files.

Arrays, tensors and PIL images are written to a temporary folder, one file for each
image, and read from there as saved ones are: every rule, option and number is the same,
and a generator takes no more memory than one image. Tensors of a CUDA device are kept
there, and their files hold no numbers: see `cdstats.io.npy.RESIDENT`.
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
"""Keys of an item that holds a prediction and its mask."""
_SIDES: Final = ((PRED, TARGET), ("threshold_from", "threshold_target"))
"""Arguments that hold predictions and their masks."""
_ON_HOST: Final = ("scheduler", "pred_changed", "rule_sensitivity")
"""Options that need pixels on the host."""
_COLOURS: Final = 3
_BFLOAT: Final = "torch.bfloat16"
_NUMBERS: Final = re.compile(r"torch\.(bool|uint8|int\d+|b?float(16|32|64))")
"""Types of tensors that a device counts and scores."""
_NAME: Final = re.compile(r"(?!.*\.(?:pth?|txt)$)[\w.-]*\w[\w.-]*(/[\w.-]*\w[\w.-]*)*")
"""The names of images: parts of a path, without blanks."""


class _Room(ExitStack):
    """Where images are put while a function runs: files, or tensors that ``stay``."""

    def __init__(self, *, stay: bool) -> None:
        super().__init__()
        self._stay = stay
        self.devices: set[Any] = set()

    def folder(self) -> Path:
        """A new folder."""
        from tempfile import TemporaryDirectory

        return Path(self.enter_context(TemporaryDirectory(prefix="cdstats-")))

    def stays(self, image: Any, role: str) -> bool:  # noqa: ANN401 - as above
        """Whether an image is a tensor that stays: no colours, nor a stack of masks."""
        if not (self._stay and hasattr(image, "detach") and is_on_device(image)):
            return False
        plain = role == PRED or image.ndim == 2 or image.shape[0] == 1
        known = _NUMBERS.fullmatch(str(image.dtype)) is not None
        return plain and known and str(image.layout) == "torch.strided"

    def keep(self, path: Path, tensor: Tensor) -> None:
        """Have a file stand for a tensor, whose memory may be used for the next one."""
        path.write_bytes(np.lib.format.MAGIC_PREFIX)
        key = os.path.abspath(path)  # noqa: PTH100 - as it is found
        own = tensor.detach().clone()
        RESIDENT[key] = own.float() if str(own.dtype) == _BFLOAT else own
        self.callback(RESIDENT.pop, key)
        if tensor.is_cuda:
            self.devices.add(tensor.device)


def is_on_device(tensor: Tensor) -> bool:
    """Whether a tensor lies on a CUDA device of which a quarter is free."""
    if tensor.device.type != "cuda":
        return False
    from torch import cuda

    free, total = cuda.mem_get_info(tensor.device)
    kept = cuda.memory_reserved(tensor.device) - cuda.memory_allocated(tensor.device)
    return free + kept > total // 4


@contextmanager
def as_files(
    given: Mapping[str, Any], *, models: bool = False, stay: bool = True
) -> Iterator[dict[str, Any]]:
    """Arguments in which files stand for images that are held; removed afterwards.

    With ``stay``, tensors of a CUDA device stay there if all can be computed there.
    """
    known = dict(given)
    elsewhere = known.get("engine", "local"), known.get("device")
    stay &= elsewhere[0] == "local" and elsewhere[1] != "cpu"
    stay &= not any(known.get(name) for name in _ON_HOST)
    with _Room(stay=stay) as room:
        if "paths" in known:
            known["paths"] = _taken(known["paths"], "masks", TARGET, room)
            if RESIDENT:
                known["jobs"] = 1  # other processes do not have them
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
    value: Any,  # noqa: ANN401 - whatever a caller gives
    name: str,
    role: str,
    room: _Room,
    *,
    models: bool = False,
) -> Any:  # noqa: ANN401 - paths as they were given, or a list of files
    """An argument as paths."""
    if value is None or isinstance(value, (str, bytes, PathLike)):
        return value
    items: Iterable[tuple[Any, Any]]
    if isinstance(value, Mapping):
        if all(isinstance(one, (str, PathLike, int, float)) for one in value.values()):
            return value
        if models or not all(map(_is_array, value.values())):
            return {k: _taken(one, name, role, room) for k, one in value.items()}
        items = value.items()
    elif _is_array(value):
        items = enumerate(_split(value, role))
    else:
        first, again = _peeked(value)
        if not (_is_array(first) or isinstance(first, (Mapping, tuple))):
            return again
        items = enumerate(again)
    return _saved(room, items, {role: name})[role]


def _pairs(value: Any, room: _Room) -> dict[str, Any]:  # noqa: ANN401
    """Predictions and masks of items that hold both; nothing where they do not."""
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
    """Whether a value is an array, a tensor or a PIL image; not a column of paths."""
    known = hasattr(value, "__array__") or hasattr(value, "__array_interface__")
    return known and getattr(value, "ndim", 2) > 1


def _peeked(value: Any) -> tuple[Any, Any]:  # noqa: ANN401 - as above
    """The first item of an iterable or a dataset read by index, and all of them."""
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
    """The images of one array; a shape that could be two things is refused."""
    shape = tuple(np.shape(value))
    colours = role == TARGET and shape[-1:] == (_COLOURS,)
    if len(shape) == 3 and colours:
        array = _array(value)
        if array.dtype != np.uint8:
            raise TypeError(
                f"an array {shape} of {array.dtype} is one mask of colours, or "
                f"{shape[0]} masks of {shape[1]} x 3 pixels: pass a list of masks"
            )
        return iter([array])
    if len(shape) == 3 and shape[0] == 2 and role == PRED:
        raise TypeError(
            f"predictions {shape} are two maps, or one of two channels: pass "
            "preds[:, None] or preds[None]"
        )
    if len(shape) == 4 and colours and shape[1] == 1:
        raise TypeError(f"masks {shape} hold channels first or last: pass a list")
    if len(shape) == 2:
        return iter([value])
    if len(shape) in (3, 4):
        return (value[number] for number in range(shape[0]))
    raise TypeError(f"an array {shape}: expected (H, W), (N, H, W) or (N, 1, H, W)")


def _array(value: Any) -> NDArray[Any]:  # noqa: ANN401 - as above
    """An array, a tensor of any device or a PIL image as an array."""
    if hasattr(value, "detach"):
        value = value.detach().cpu()
        if str(value.dtype) == _BFLOAT:
            value = value.float()
    return np.asarray(value)


def _saved(
    room: _Room, items: Iterable[tuple[Any, Any]], names: dict[str, str]
) -> dict[str, str]:
    """Save images for each role, and give the lists of their files."""
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
    """Save an image under its name."""
    if isinstance(item, Mapping):
        if role not in item:
            raise TypeError(f"item {name} has no {role!r}; it has {', '.join(item)}")
        item = item[role]
    if not _is_array(item):
        kind = type(item).__name__
        raise TypeError(
            f"item {name} is {kind}; expected an array, a tensor, a PIL image or "
            f"{{'pred': ..., 'target': ...}}. Of tuples give one part: "
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
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("xb") as file:
        if stays:
            room.keep(path, array)
        elif role == TARGET and array.ndim == 3 and array.dtype == np.uint8:
            file.write(_bmp(array))
        else:
            np.save(file, array)


def _bmp(colours: NDArray[np.uint8]) -> bytes:
    """Colours ``(H, W, 3)`` as a BMP file: a reader of arrays takes numbers alone."""
    height, width, channels = colours.shape
    if channels != _COLOURS:
        raise TypeError(f"a mask {colours.shape}: expected (H, W) or (H, W, 3)")
    rows = np.zeros((height, -(-width * 3 // 4) * 4), np.uint8)
    rows[:, : width * 3] = colours[::-1, :, ::-1].reshape(height, -1)
    head = struct.pack("<IiiHHIIiiII", 40, width, height, 1, 24, 0, 0, 0, 0, 0, 0)
    size = 14 + len(head)
    return (
        struct.pack("<2sIII", b"BM", size + rows.size, 0, size) + head + rows.tobytes()
    )
