"""Choosing the device that computes."""

from __future__ import annotations

import torch

from cdstats.core.errors import UsageError
from cdstats.core.messages import counted


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
    kind, _, number = name.partition(":")
    known = kind in ("cpu", "cuda", "mps") and (not number or kind == "cuda")
    if not known or (number and not number.isdigit()):
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
