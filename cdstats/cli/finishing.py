"""Commands that finish a run with a refused encoding from its counts."""

from __future__ import annotations

import os
import shlex
import sys
import time
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Final

from cdstats.core.errors import DataError, Level, Message
from cdstats.core.secrets import holds_secret

if TYPE_CHECKING:
    from collections.abc import Sequence

    from cdstats.scan.ratio import RatioResult

_SUFFIX: Final = ".sqlite"
_DAYS: Final = 7
"""Days for which the counts of a refused run are kept."""


def with_commands(
    result: RatioResult,
    cache: Path | None,
    arguments: Sequence[str],
    paths: Sequence[str],
) -> list[Message]:
    """The messages of a run; for refused splits with the commands that finish them.

    Without a cache, the counts are saved to a file in the user's cache folder.
    """
    options: tuple[str, ...] = ()
    if cache is None and result.counts is not None:
        try:
            cache = _kept(result)
        except DataError as error:
            text = f"the counts cannot be saved for another rule: {error}"
            return [*result.messages, Message(Level.WARNING, text)]
        options = ("--cache", str(cache))
    found: list[Message] = []
    texts: set[str] = set()
    for one in result.messages:
        told = one
        if one.ways and cache:
            own = _of_dataset(arguments, paths, one.sources)
            text = _ways_text(one.ways, cache, options, own)
            # Splits that are refused for the same reason have the same commands.
            again = "  the command for the split above also finishes this split"
            told = replace(one, text=f"{one.text}\n{again if text in texts else text}")
            texts.add(text)
        found.append(told)
    return found


def _of_dataset(
    arguments: Sequence[str], paths: Sequence[str], sources: Sequence[str]
) -> list[str]:
    """The arguments without the paths of other datasets, which need other rules."""
    left = list(arguments)
    for path in paths:
        if path not in sources and path in left:
            # The last occurrence, because the value of an option may be the same word.
            left.reverse()
            left.remove(path)
            left.reverse()
    return left


def _kept(result: RatioResult) -> Path:
    """A file with the counts of a run, readable only by the user."""
    folder = kept_folder()
    try:
        folder.mkdir(parents=True, exist_ok=True)
        folder.chmod(0o700)
        _remove_old(folder)
        import tempfile

        handle, name = tempfile.mkstemp(suffix=_SUFFIX, dir=folder)
    except OSError as error:
        reason = (error.strerror or str(error)).lower()
        raise DataError(f"{folder}: {reason}") from None
    os.close(handle)
    kept = Path(name)
    try:
        if result.counts is not None:
            result.counts.copy_to(kept)
    except DataError:
        kept.unlink(missing_ok=True)
        raise
    return kept


def kept_folder() -> Path:
    """The folder in the user's cache for counts of refused runs."""
    home = Path(os.path.expanduser("~"))  # noqa: PTH111 - raises nothing without one
    if not home.is_absolute():
        import tempfile

        home = Path(tempfile.gettempdir())
    if sys.platform == "win32":
        usual = Path(os.environ.get("LOCALAPPDATA") or home / "AppData/Local")
    elif sys.platform == "darwin":
        usual = home / "Library/Caches"
    else:
        usual = Path(os.environ.get("XDG_CACHE_HOME") or home / ".cache")
    return usual / "cdstats" / "refused"


def remove_used(result: RatioResult, cache: Path) -> None:
    """Remove the saved counts of a refused run after a run has used all of them.

    A cache that the user named is never removed.
    """
    is_kept = cache.absolute().parent == kept_folder() and cache.suffix == _SUFFIX
    if is_kept and not any(one.ways for one in result.messages):
        from cdstats.scan.cache import states_in

        if states_in(cache) <= len(result.images):
            _remove(cache)


def _remove_old(folder: Path) -> None:
    oldest = time.time() - _DAYS * 24 * 3600
    for path in folder.glob(f"*{_SUFFIX}"):
        with suppress(OSError):  # another run may use or remove it meanwhile
            if path.stat().st_mtime < oldest:
                _remove(path)


def _remove(database: Path) -> None:
    for ending in ("", "-wal", "-shm"):
        with suppress(OSError):  # in use on Windows; removed as an old one later
            database.with_name(database.name + ending).unlink()


def _ways_text(
    ways: Sequence[str], cache: Path, options: Sequence[str], arguments: Sequence[str]
) -> str:
    command, *rest = arguments
    finish = "this command finishes"
    if len(ways) > 1:
        finish = "each of these commands finishes"
    lines = [f"  counts saved in {cache}; {finish} without reading the masks again:"]
    for way in ways:
        start = shlex.join(["cdstats", command, *options])
        lines.append(" ".join(["   ", start, way, shlex.join(rest)]).rstrip())
    if any(argument.rpartition("=")[2] == "-" for argument in arguments):
        lines.append("  (give the list on standard input again)")
    if any(map(holds_secret, rest)):
        lines.append("  (insert the passwords and signatures of URLs again)")
    return "\n".join(lines)
