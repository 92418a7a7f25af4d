"""Loops that Numba compiles, which the extra ``cdstats[fast]`` brings."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import numba

if TYPE_CHECKING:
    from collections.abc import Callable

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
