"""The long mode: `python -m tests.fuzz --files 20000 --format png`."""

from __future__ import annotations

import argparse
import sys
import time

from .clean import FORMATS
from .damage import damaged_file
from .outcome import Outcome
from .runner import Tally, run_format

COLUMNS = (
    "format", "files", "true", "failed", "silent", "unchecked", "silent, unchecked",
    "raised", "noise", "crash", "hang", "naive readers, silent",
)  # fmt: skip


def row(tally: Tally) -> str:
    """A line of the table."""
    found = tally.outcomes
    naive = ", ".join(
        f"{name} {counts[Outcome.WRONG]:,}"
        + (f" (+{broken} hung or crashed)" if broken else "")
        for name, counts in tally.naive.items()
        for broken in [counts[Outcome.HUNG] + counts[Outcome.CRASHED]]
    )
    numbers = (
        tally.files, found[Outcome.TRUE], found[Outcome.FAILED],
        tally.silent(unchecked=False), tally.unchecked, tally.silent(unchecked=True),
        found[Outcome.RAISED], found[Outcome.NOISY], found[Outcome.CRASHED],
        found[Outcome.HUNG],
    )  # fmt: skip
    cells = (tally.format, *(f"{number:,}" for number in numbers), naive or "-")
    return "| " + " | ".join(cells) + " |"


def main() -> int:
    """Run the formats asked for; 1 if a promise was broken."""
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description=__doc__)
    parser.add_argument("--files", type=int, default=20_000, help="per format")
    parser.add_argument("--format", action="append", choices=list(FORMATS))
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--first", type=int, default=0, help="number of the first file")
    parser.add_argument("--no-naive", action="store_true", help="cdstats alone")
    parser.add_argument("--show", type=int, default=10, help="findings to print")
    options = parser.parse_args()
    print("| " + " | ".join(COLUMNS) + " |")
    print("|" + " --- |" * len(COLUMNS))
    broken = 0
    for format_ in options.format or FORMATS:
        start = time.perf_counter()
        tally = run_format(
            format_,
            options.files,
            options.seed,
            first=options.first,
            naive=not options.no_naive,
        )
        print(row(tally), flush=True)
        broken += len(tally.broken_promises)
        for one in tally.broken_promises[: options.show]:
            file = damaged_file(format_, options.seed, one.number)
            print(
                f"  {one.outcome.value}: {file.source.name}, {file.kind}, number "
                f"{one.number}: {one.text.strip()[:300]}",
                file=sys.stderr,
            )
        print(f"  {time.perf_counter() - start:.0f} s", file=sys.stderr)
    return int(broken > 0)


if __name__ == "__main__":
    sys.exit(main())
