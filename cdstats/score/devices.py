"""Choice of the device, and of compiled loops on the CPU."""

from __future__ import annotations

import ctypes
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Final

from cdstats.core.errors import UsageError, counted

if TYPE_CHECKING:
    from collections.abc import Iterable

_LEAST_BYTES: Final = 1 << 29
"""Bytes of predictions from which compiled loops save time despite their start."""


def choose_device(name: str) -> str:
    """The name of the device to compute on; imports torch only if it may be a GPU.

    Example:
        >>> choose_device("cpu")
        'cpu'
    """
    kind, colon, number = name.partition(":")
    known = kind in ("auto", "cpu", "cuda", "mps") and (not colon or kind == "cuda")
    if not known or (colon and not (number.isascii() and number.isdecimal())):
        raise UsageError(f"--device {name}: expected auto, cpu, cuda, cuda:N or mps")
    if kind == "cpu" or (kind == "auto" and not _may_have_device()):
        return "cpu"
    import torch

    cuda, mps = torch.cuda.is_available(), torch.backends.mps.is_available()
    if name == "auto":
        return "cuda" if cuda else "mps" if mps else "cpu"
    found = torch.cuda.device_count() if cuda else 0
    if int(number or 0) >= (found if kind == "cuda" else int(mps)):
        have = "no MPS device"
        if kind == "cuda":
            have = counted(found, "CUDA device") if cuda else "no CUDA device"
        raise UsageError(f"--device {name}: device not found; this machine has {have}")
    return name


def _may_have_device() -> bool:
    """Whether the machine has a driver for a GPU that torch supports.

    Looking for the library of a driver is fast; importing torch is slow.
    """
    if sys.platform == "darwin":
        return True
    if Path("/dev/kfd").exists():
        return True
    try:
        ctypes.CDLL("nvcuda.dll" if sys.platform == "win32" else "libcuda.so.1")
    except OSError:
        return False
    return True


def device_text(device: str) -> str:
    """The name of a device, with the name of the GPU.

    Example:
        >>> device_text("cpu")
        'cpu'
    """
    if not device.startswith("cuda"):
        return device
    import torch

    return f"{device} ({torch.cuda.get_device_name(device)})"


def has_numba() -> bool:
    """Whether Numba is installed; it comes with the extra ``cdstats[fast]``."""
    return find_spec("numba") is not None


def compiling_pays(paths: Iterable[str]) -> bool:
    """Whether Numba is installed, and a run reads enough bytes to benefit from it.

    Numba takes half a second to start. The result does not depend on the order of the
    files, so the same files are always summed in the same way.
    """
    held, seen = 0, set()
    for path in paths if has_numba() else ():
        file = Path(path)
        if path not in seen and file.is_file():
            held += file.stat().st_size
        if held >= _LEAST_BYTES:
            return True
        seen.add(path)
    return False
