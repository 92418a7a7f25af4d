"""Compiled loops and the threads that run them: Numba, an extra of the package."""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Final

import numba

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

_ANY_ORDER: Final = {"reassoc", "contract", "nsz"}
"""What lets sums and products go to the lanes of a vector unit; NaN stays NaN."""


def compiled(*, any_order: bool = False) -> Callable[[Callable[..., Any]], Any]:
    """Compile a loop that lets go of the interpreter, kept on disk where one can.

    Args:
        any_order: Whether what the loop itself writes as a sum or a product may be
            taken in any order; functions that it calls are not meant.
    """
    how: dict[str, Any] = {"nogil": True, "fastmath": any_order and _ANY_ORDER}

    def apply(function: Callable[..., Any]) -> Any:  # noqa: ANN401 - as Numba has it
        try:
            return numba.njit(**how, cache=True)(function)
        except RuntimeError:  # no folder can be written
            return numba.njit(**how)(function)

    return apply


@lru_cache(maxsize=1)
def _threads() -> ThreadPoolExecutor:
    return ThreadPoolExecutor(os.cpu_count() or 1, "cdstats-loop")


def in_threads(
    call: Callable[[slice], Any], size: int, threads: int, least: int = 1
) -> Iterable[Any]:
    """What a function gives for consecutive parts of ``range(size)``, in their order.

    Args:
        call: Takes a part; a compiled loop in it runs beside others.
        size: The end of the last part.
        threads: Parts at most.
        least: The size of a part at least.
    """
    step = max(-(-size // max(threads, 1)), least, 1)
    parts: Iterator[slice] = (slice(at, at + step) for at in range(0, size, step))
    return _threads().map(call, parts) if step < size else map(call, parts)
