"""What runs in a worker process: it takes batches from one pipe, answers on another.

A worker is started without the program's main module, so it loads what the work needs
and nothing else. It ends when its pipe is closed, whatever became of the program.
"""

from __future__ import annotations

import gc
import os
import pickle
import sys
import time
import traceback
from typing import TYPE_CHECKING, Any, BinaryIO, Final

from cdstats.engine.work import attempt, tell

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from cdstats.core.division import Watch

START: Final = (
    "import gc, pickle, sys; gc.disable(); "
    "sys.path[:] = pickle.load(sys.stdin.buffer); "
    "from cdstats.engine.worker import serve; serve()"
)
FLUSH_SECONDS: Final = 0.1
"""Results are sent on at least this often: what has been sent survives the worker."""
ALIVE_SECONDS: Final = 0.2
"""A long item sends an empty answer at most this often, as a sign of progress."""


def serve() -> None:
    """Work on batches until there are no more.

    An answer is a pair of seconds and results, or the exception that the work raised.
    """
    source, answers = sys.stdin.buffer, os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # what the work prints goes to standard error
    sys.modules.setdefault("boto3", None)  # type: ignore[arg-type] # as in the program
    try:
        function, watch = pickle.load(source)  # noqa: S301 - from the program itself
        # Modules stay to the end; looking for garbage in them costs a start 10 ms.
        gc.freeze()
        gc.enable()
        _answer(answers, (0.0, []))
        while True:
            try:
                items, careful = pickle.load(source)  # noqa: S301
            except EOFError:
                return
            _work(function, items, careful, watch, answers)
    except BrokenPipeError:
        os._exit(0)  # nobody reads any more
    except BaseException as error:  # noqa: BLE001 - raised again by the program
        _answer(answers, _portable(error))


def _work(
    function: Callable[[Any], Any],
    items: Sequence[Any],
    careful: bool,
    watch: Watch,
    out: BinaryIO,
) -> None:
    """Answer with the results of a batch, in few pieces or, if careful, one by one."""
    found: list[Any] = []
    start = told = time.perf_counter()

    def alive() -> None:
        nonlocal told
        if time.perf_counter() - told > ALIVE_SECONDS:
            told = time.perf_counter()
            _answer(out, (0.0, []))

    watch = watch._replace(alive=alive)
    tell(function, items)
    for left, item in zip(reversed(range(len(items))), items, strict=True):
        found.append(attempt(function, item, watch))
        spent = time.perf_counter() - start
        if careful or spent > FLUSH_SECONDS or not left:
            _answer(out, (spent, found))
            found, start = [], time.perf_counter()


def _answer(out: BinaryIO, content: tuple[float, list[Any]] | BaseException) -> None:
    # Whole before it is written: what cannot travel must not spoil the pipe.
    out.write(pickle.dumps(content, pickle.HIGHEST_PROTOCOL))
    out.flush()


def _portable(error: BaseException) -> BaseException:
    """The error itself where it can travel, else its text; with where it happened."""
    error.add_note("".join(traceback.format_exception(error)))
    try:
        pickle.loads(pickle.dumps(error))  # noqa: S301
    except Exception:  # noqa: BLE001 - whatever an exception's own code raises
        return RuntimeError(f"{type(error).__name__}: {error}")
    return error
