"""Where counts come from: masks, or the rows of an earlier run."""

from __future__ import annotations

from typing import TYPE_CHECKING

from cdstats.core.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path


def check_source(
    paths: Sequence[str] | None, from_file: Path | None, options: Mapping[str, object]
) -> None:
    """Refuse a run without a source, or with options for masks beside counted rows.

    Args:
        paths: The masks named.
        from_file: The file of ``--from``.
        options: The options that go with masks alone, and their values.

    Raises:
        UsageError: If there is no source, or too much of it.
    """
    if from_file is None and not paths:
        raise UsageError("no masks named: give a PATH, or --from FILE.csv")
    given = [name for name, value in options.items() if value is not None]
    if from_file and (paths or given):
        left_out = ", ".join([*(["PATH"] if paths else []), *given])
        raise UsageError(
            f"--from reads rows that are counted already; leave out {left_out}"
        )
