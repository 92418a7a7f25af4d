"""SQLite databases: what cannot go on is told as one line."""

from __future__ import annotations

import sqlite3
from contextlib import contextmanager
from typing import TYPE_CHECKING

from cdstats.core.errors import CdstatsError, DataError

if TYPE_CHECKING:
    from collections.abc import Iterator


@contextmanager
def telling(where: object) -> Iterator[None]:
    """Say of which file it is that a database cannot go on.

    Args:
        where: The file, as a message names it.

    Raises:
        DataError: If SQLite fails, or what it holds cannot be true (`ValueError`).
    """
    try:
        yield
    except CdstatsError:
        raise
    except sqlite3.OperationalError as error:
        if "decode" in str(error):
            text = (
                f"{where}: is damaged (a text in it); remove it, or name another file"
            )
            raise DataError(text) from None
        raise DataError(f"{where}: cannot be used: {error}") from None
    except (sqlite3.DatabaseError, ValueError) as error:
        raise DataError(
            f"{where}: is damaged ({error}); remove it, or name another file"
        ) from None
