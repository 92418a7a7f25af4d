"""The long mode: `python -m tests.interruption --kills 50`."""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from pathlib import Path

from .killing import kill_often
from .scene import COMMANDS, MASKS, write_masks, write_predictions


def main() -> int:
    """Kill the commands asked for; 1 if a promise was broken."""
    parser = argparse.ArgumentParser(
        prog="python -m tests.interruption", description=__doc__
    )
    parser.add_argument("--kills", type=int, default=50, help="for each command")
    parser.add_argument("--command", action="append", choices=list(COMMANDS))
    parser.add_argument("--masks", type=int, default=MASKS)
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    print("| command | kills | files absent | old | new | resumed, equal | broken |")
    print("| :-- | --: | --: | --: | --: | --: | --: |")
    broken = 0
    with tempfile.TemporaryDirectory() as name:
        scene = Path(name)
        write_masks(scene, options.masks)
        write_predictions(scene, 20)
        for number, called in enumerate(options.command or COMMANDS):
            start = time.monotonic()
            tally = kill_often(
                COMMANDS[called],
                scene,
                scene / f"out{number}",
                options.kills,
                options.seed,
            )
            numbers = (
                tally.kills,
                *(tally.left[what] for what in ("absent", "old", "new")),
                tally.resumed,
                len(tally.broken),
            )
            print("| " + " | ".join([called, *map(str, numbers)]) + " |", flush=True)
            for text in tally.broken:
                print(f"  {text}", file=sys.stderr)
            broken += len(tally.broken)
            print(f"  {time.monotonic() - start:.0f} s", file=sys.stderr)
    return int(broken > 0)


if __name__ == "__main__":
    sys.exit(main())
