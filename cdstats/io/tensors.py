"""Tensor files, ``.pt``: checked first, then read; code in them is never run."""

from __future__ import annotations

import warnings
import zipfile
from typing import TYPE_CHECKING, Any, Final

from cdstats.core.errors import DataError, counted
from cdstats.io.archives import check_parts
from cdstats.io.limits import check_memory, check_pixels

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

_EXACT: Final = ("float16", "float32", "float64")
"""Floating types that NumPy has; others are converted to float32."""


def tensor_array(path: Path, key: str, max_pixels: int) -> tuple[NDArray[Any], str]:
    """Read a tensor from a ``.pt`` file; returns the array and its dtype."""
    # PyTorch decides in the same way.
    with path.open("rb") as file:
        is_archive = file.read(4) == b"PK\3\4"
    lengths = _check_archive(path) if is_archive else None
    with warnings.catch_warnings():
        # PyTorch warns of tensor kinds that are refused below.
        warnings.simplefilter("ignore")
        found = None
        try:
            found = _load(path, is_archive=is_archive)
            return _plain(_choose(found, key), lengths, max_pixels)
        except DataError:
            raise
        except Exception as error:  # noqa: BLE001 - torch raises many kinds
            said = (str(error).strip().splitlines() or [type(error).__name__])[0]
            text = f"PT file is damaged or not a tensor file: {said}"
            if found is not None:
                text = f"holds a tensor that cannot be read: {said}"
            elif "weights_only" in str(error) or "Unsupported" in str(error):
                text = "holds Python objects besides tensors, which are never loaded"
            raise DataError(text) from None


def _plain(
    tensor: Any,  # noqa: ANN401 - a tensor, of a module that is loaded late
    lengths: set[int] | None,
    max_pixels: int,
) -> tuple[NDArray[Any], str]:
    """Convert a tensor to an array; returns it with its dtype."""
    dense = str(tensor.layout) == "torch.strided" and not tensor.is_meta
    if not dense or tensor.is_complex() or tensor.is_quantized:
        what = tensor.dtype if dense else f"{tensor.layout} on {tensor.device}"
        raise DataError(f"holds a tensor of {what}; expected plain numbers")
    stored = tensor.untyped_storage().nbytes()
    if tensor.numel() * tensor.element_size() > stored:
        # A stride of 0 can claim any shape for a single stored number.
        width = tensor.shape[-1]
        check_pixels(width, tensor.numel() // width, max_pixels)
    if lengths is not None and stored not in lengths:
        raise DataError("PT file is damaged: a tensor is shorter than its shape")
    name = str(tensor.dtype).removeprefix("torch.")
    if tensor.is_floating_point() and name not in _EXACT:
        check_memory(tensor.numel() * 4, "save it as float16 or float32")
        tensor = tensor.float()
    array: NDArray[Any] = tensor.detach().numpy()
    return array, name


def _check_archive(path: Path) -> set[int]:
    """Verify all checksums, which PyTorch does not; returns the sizes of the parts."""
    try:
        with zipfile.ZipFile(path) as archive:
            parts = archive.infolist()
            if any(part.compress_type != zipfile.ZIP_STORED for part in parts):
                raise DataError(
                    "holds compressed tensors, which torch.save never writes; save it "
                    "again with torch.save"
                )
            check_parts(path, archive, "PT")
            wrong = archive.testzip()
    except (zipfile.BadZipFile, EOFError, ValueError) as error:
        raise DataError(f"PT file is damaged: {error}") from None
    except RuntimeError as error:
        # A part is encrypted or has an unknown compression.
        raise DataError(f"PT file cannot be read: {error}") from None
    if wrong is not None:
        raise DataError(
            f"PT file is damaged: wrong checksum of {wrong} (if it was saved without "
            "checksums, save it again)"
        )
    return {part.file_size for part in parts}


def _load(path: Path, *, is_archive: bool) -> Any:  # noqa: ANN401 - what it holds
    import torch

    size = path.stat().st_size
    check_memory(size, "save it as .npy, which is read block by block")
    with path.open("rb") as file:
        # PyTorch checks the length of each tensor and stops after the last one.
        source: Any = path if is_archive else file
        found = torch.load(source, map_location="cpu", weights_only=True)
        if not is_archive and (more := size - file.tell()):
            raise DataError(
                f"PT file is damaged: {counted(more, 'byte')} after the last tensor, "
                "such as a second file"
            )
        return found


def _choose(data: Any, key: str) -> Any:  # noqa: ANN401 - what the file holds
    import torch

    if isinstance(data, torch.Tensor):
        return data
    if not isinstance(data, dict):
        raise DataError(f"holds a {type(data).__name__}; expected a tensor or a dict")
    tensors = {str(k): v for k, v in data.items() if isinstance(v, torch.Tensor)}
    listed = ", ".join(f"{name} {tuple(t.shape)}" for name, t in tensors.items())
    if key and key in tensors:
        return tensors[key]
    if not tensors:
        raise DataError("holds a dict without a tensor; expected a tensor, or several")
    if key or len(tensors) != 1:
        asked = f"no tensor {key!r}" if key else counted(len(tensors), "tensor")
        raise DataError(f"holds {asked}: {listed}; choose one with FILE#KEY")
    return next(iter(tensors.values()))
