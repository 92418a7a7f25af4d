"""Where counts come from: masks, or the rows of an earlier run."""

from __future__ import annotations

from typing import TYPE_CHECKING

from cdstats.core.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path


def check_source(
    paths: Sequence[str] | None, from_file: Path | None, rules: Sequence[object]
) -> None:
    """Refuse a run without a source, or with rules for rows that are counted.

    Args:
        paths: The masks named.
        from_file: The file of ``--from``.
        rules: The values of the options that go with masks alone.

    Raises:
        UsageError: If there is no source, or too much of it.
    """
    if from_file is None and not paths:
        raise UsageError("no masks named: give a PATH, or --from FILE.csv")
    if from_file and (paths or any(rule is not None for rule in rules)):
        raise UsageError(
            "--from reads rows that are counted already; leave out PATH, rules, "
            "--band, --split and --jobs"
        )
