"""Keeping freed memory: measured by the pages that the system clears anew."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

FREED = """
import resource, sys
import numpy as np
from cdstats.engine.work import keep_freed

if sys.argv[1] == "keep":
    keep_freed()
for _ in range(3):
    np.ones(4_000_000, np.uint8)
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(20):
    one, two = np.ones(4_000_000, np.uint8), np.ones(4_000_000, np.uint8)
    del one, two
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


def pages(how: str, **settings: str) -> int:
    """Pages cleared for forty arrays of a thousand pages each."""
    names = ("MALLOC_TRIM_THRESHOLD_", "MALLOC_MMAP_THRESHOLD_")
    rest = {name: value for name, value in os.environ.items() if name not in names}
    done = subprocess.run(
        [sys.executable, "-c", FREED, how],
        env={**rest, **settings},
        capture_output=True,
        text=True,
        check=True,
    )
    return int(done.stdout)


def is_glibc() -> bool:
    return sys.platform == "linux" and "CS_GNU_LIBC_VERSION" in os.confstr_names


@pytest.mark.skipif(not is_glibc(), reason="the settings are those of glibc")
def test_freed_memory_is_used_again() -> None:
    assert pages("keep") < 10_000 < pages("leave")


@pytest.mark.skipif(not is_glibc(), reason="the settings are those of glibc")
def test_what_the_environment_says_of_memory_stands() -> None:
    assert (
        pages("keep", MALLOC_TRIM_THRESHOLD_="0", MALLOC_MMAP_THRESHOLD_="0") > 10_000
    )
