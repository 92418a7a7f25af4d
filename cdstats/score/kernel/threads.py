"""Threads for loops that let go of the interpreter."""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor
from functools import lru_cache
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable

Result = TypeVar("Result")


@lru_cache(maxsize=1)
def _threads() -> ThreadPoolExecutor:
    return ThreadPoolExecutor(os.cpu_count() or 1, "cdstats-loop")


def in_threads(
    call: Callable[[slice], Result],
    size: int,
    threads: int,
    *,
    least: int = 1,
    grain: int = 1,
) -> list[Result]:
    """What a function gives for parts of ``range(size)``, in their order."""
    step = -(-max(-(-size // threads), least) // grain) * grain
    parts = [slice(at, min(at + step, size)) for at in range(0, size, step)]
    if not parts:
        return []
    # The caller works too: one thread less has to be woken.
    others = [_threads().submit(call, part) for part in parts[:-1]]
    last = call(parts[-1])
    return [*(other.result() for other in others), last]
