"""Choosing what computes: the device, and on a processor whether loops are compiled."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Final

import torch

from cdstats.core.errors import UsageError
from cdstats.core.messages import counted

if TYPE_CHECKING:
    from collections.abc import Iterable

_PAYS: Final = 1 << 29
"""Bytes of predictions from which compiled loops save more than their start takes."""


def choose_device(name: str) -> torch.device:
    """The device of a name.

    Args:
        name: ``auto`` (CUDA, then MPS, then the processor), ``cpu``, ``cuda``,
            ``cuda:N`` or ``mps``.

    Raises:
        UsageError: If the name is unknown or the device is not there.

    Example:
        >>> choose_device("cpu")
        device(type='cpu')
    """
    cuda, mps = torch.cuda.is_available(), torch.backends.mps.is_available()
    if name == "auto":
        return torch.device("cuda" if cuda else "mps" if mps else "cpu")
    kind, colon, number = name.partition(":")
    known = kind in ("cpu", "cuda", "mps") and (not colon or kind == "cuda")
    if not known or (colon and not (number.isascii() and number.isdecimal())):
        raise UsageError(f"--device {name}: expected auto, cpu, cuda, cuda:N or mps")
    there = {
        "cpu": 1,
        "cuda": torch.cuda.device_count() if cuda else 0,
        "mps": int(mps),
    }
    if int(number or 0) >= there[kind]:
        have = "no MPS device"
        if kind == "cuda":
            have = counted(there["cuda"], "CUDA device") if cuda else "no CUDA device"
        raise UsageError(f"--device {name} is not there: this machine has {have}")
    return torch.device(name)


def device_text(device: torch.device) -> str:
    """A device in words, with its card's name.

    Example:
        >>> device_text(torch.device("cpu"))
        'cpu'
    """
    if device.type != "cuda":
        return str(device)
    return f"{device} ({torch.cuda.get_device_name(device)})"


def has_numba() -> bool:
    """Whether Numba is installed, which the extra ``cdstats[fast]`` brings."""
    return find_spec("numba") is not None


def compiling_pays(paths: Iterable[str]) -> bool:
    """Whether Numba is installed, and a run has enough to read for it.

    Numba takes half a second to start. The order of the files does not matter, so the
    same files are always summed in the same way.

    Args:
        paths: The files of predictions; what cannot be looked up counts as empty.
    """
    held, seen = 0, set()
    for path in paths if has_numba() else ():
        file = Path(path)
        if path not in seen and file.is_file():
            held += file.stat().st_size
        if held >= _PAYS:
            return True
        seen.add(path)
    return False
